//! Blocks that would cut us off from our own front ends.

use std::net::IpAddr;

use crate::checks::blocks::{by_entries, cuts_off};
use crate::config::{Block, BlockAddress, Config};
use crate::gateway::Gateway;
use crate::net::now;

/// What is to be said of each of `which` blocks that has a front end in it: by its entry, by what DNS
/// said last of the names there, or by a connection that is there.
pub(super) fn all(gateway: &Gateway, config: &Config, which: impl Fn(&Block) -> bool) -> Vec<String> {
    let mut texts = Vec::new();
    for block in config.blocks.iter().filter(|block| which(block)) {
        let BlockAddress::Network(network) = block.address else { continue };
        let within = |address| network.contains(address);
        let of_entries = by_entries(config).filter(|(_, address)| within(*address));
        let seen = gateway.front_ends_within(within, now().instant);
        let mut found: Vec<(&str, IpAddr)> = of_entries.chain(seen).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() && network.is_everybody() {
            texts.push(format!(
                "the block of {network} keeps out whoever has an address of this kind, our own front ends as well; block a smaller \
                 network"
            ));
        }
        texts.extend(found.into_iter().map(|(name, address)| {
            let (text, fix) = cuts_off(&network, name, address);
            format!("{text}; {fix}")
        }));
    }
    texts
}
