//! Blocks that would cut us off from our own front ends.

use std::net::IpAddr;

use futures_util::future::join_all;

use super::dns::family;
use super::{Finding, Findings};
use crate::config::{BlockAddress, Config, FrontEnd, Host, HostPort, Lookup, Network, NextHop};
use crate::dns::{Dns, DnsConfig, Resolve, SipLookup, host_candidates, sip_targets};

/// What to do about it.
const SMALLER: &str = "block a smaller network, or take the front end out of [[sip.front_end]] first";

/// What is to be said of a block with a front end in it, and what to do about it.
pub(crate) fn cuts_off(network: &Network, front_end: &str, address: IpAddr) -> (String, &'static str) {
    let text = format!(
        "the block of {network} keeps out our own front end {front_end}, which is at {address}: no connection with it stands or \
         comes about under it"
    );
    (text, SMALLER)
}

/// Front ends whose entries say where they are without DNS.
pub(crate) fn by_entries(config: &Config) -> impl Iterator<Item = (&str, IpAddr)> {
    config.sip.front_ends.iter().flat_map(|front_end| {
        let literal = |hop: &NextHop| match hop {
            NextHop::At(HostPort { host: Host::Address(address), .. }) => Some(*address),
            NextHop::At(_) | NextHop::Of(_) => None,
        };
        front_end.next_hops.iter().filter_map(literal).map(|address| (front_end.name.as_str(), address))
    })
}

/// Looks at the blocks of networks. DNS is asked for front ends that are named only where there is any such block; what it does
/// not answer is for the check of DNS to tell.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    let network = |address: &BlockAddress| match address {
        BlockAddress::Network(network) => Some(*network),
        BlockAddress::Contact(_) | BlockAddress::Domain(_) => None,
    };
    let networks: Vec<Network> = config.blocks.iter().filter_map(|block| network(&block.address)).collect();
    if networks.is_empty() {
        return findings.into_list();
    }
    let mut found: Vec<(&str, IpAddr)> = by_entries(config).collect();
    let servers = config.dns.servers.clone().unwrap_or_default();
    if let Ok(resolver) = Dns::new(&DnsConfig { servers, timeout: config.dns.timeout }) {
        let named = config.sip.front_ends.iter().map(|front_end| by_names(config, front_end, &resolver));
        let named = join_all(named).await;
        let with_name = config.sip.front_ends.iter().zip(named);
        found.extend(with_name.flat_map(|(front_end, addresses)| {
            addresses.into_iter().map(|address| (front_end.name.as_str(), address))
        }));
    }
    found.sort_unstable();
    found.dedup();
    for network in networks {
        findings.about(format!("[[block]] {network}"));
        for (front_end, address) in found.iter().filter(|(_, address)| network.contains(*address)) {
            let (text, fix) = cuts_off(&network, front_end, *address);
            findings.warning(text, fix.to_owned());
        }
    }
    findings.into_list()
}

/// Where DNS says that the hosts of a front end are.
async fn by_names(config: &Config, front_end: &FrontEnd, resolver: &dyn Resolve) -> Vec<IpAddr> {
    let mut hosts = Vec::new();
    for next_hop in &front_end.next_hops {
        match next_hop {
            NextHop::At(HostPort { host: Host::Address(_), .. }) => {}
            NextHop::At(HostPort { host, port }) => hosts.push((host.to_string(), *port)),
            NextHop::Of(domain) => {
                let how = match front_end.lookup {
                    Lookup::Sip => SipLookup::Sip,
                    Lookup::Federation => SipLookup::Federation,
                };
                let found = sip_targets(resolver, domain.as_str(), how, 0, None).await;
                let targets = found.into_iter().flat_map(|found| found.targets);
                hosts.extend(targets.map(|target| (target.host, target.port)));
            }
        }
    }
    let family = family(config.sip.connect.family);
    let looked = hosts.iter().map(|(host, port)| host_candidates(resolver, host, *port, family));
    let known = join_all(looked).await.into_iter().flatten().flatten();
    known.map(|candidate| candidate.address.ip()).collect()
}
