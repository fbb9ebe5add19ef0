//! Blocks that would cut us off from our own front ends.

use std::net::IpAddr;

use crate::config::{Block, BlockAddress, Config, Host, HostPort, NextHop};
use crate::gateway::Gateway;

/// What is to be said of each of `which` blocks that has a front end in it: by its entry, or by a connection that is there.
pub(super) fn all(gateway: &Gateway, config: &Config, which: impl Fn(&Block) -> bool) -> Vec<String> {
    let mut texts = Vec::new();
    for block in config.blocks.iter().filter(|block| which(block)) {
        let BlockAddress::Network(network) = block.address else { continue };
        let within = |address| network.contains(address);
        let of_entries = by_entries(config).into_iter().filter(|(_, address)| within(*address));
        let connected = gateway.front_ends_within(within);
        let mut found: Vec<(&str, IpAddr)> = of_entries.chain(connected).collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() && network.is_everybody() {
            texts.push(format!(
                "the block of {network} keeps out whoever has an address of this kind, our own front ends as well; block a smaller \
                 network"
            ));
        }
        texts.extend(found.into_iter().map(|(name, address)| {
            format!(
                "the block of {network} keeps out our own front end {name}, which is at {address}: no connection with it stands or \
                 comes about under it; block a smaller network, or take the front end out of [[sip.front_end]] first"
            )
        }));
    }
    texts
}

/// Front ends whose entries say where they are without DNS.
fn by_entries(config: &Config) -> Vec<(&str, IpAddr)> {
    let mut found = Vec::new();
    for front_end in &config.sip.front_ends {
        for hop in &front_end.next_hops {
            if let NextHop::At(HostPort { host: Host::Address(address), .. }) = hop {
                found.push((front_end.name.as_str(), *address));
            }
        }
    }
    found
}
