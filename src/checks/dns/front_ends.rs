//! Whether DNS leads us to the front ends.

use crate::checks::Findings;
use crate::config::{self, Config, HostPort, Lookup, NextHop};
use crate::dns::{Family, Resolve, SipLookup, host_candidates, sip_targets};

/// Looks up every next hop.
pub(super) async fn check(config: &Config, resolver: &dyn Resolve, findings: &mut Findings) {
    let family = family(config.sip.connect.family);
    for front_end in &config.sip.front_ends {
        findings.about(format!("front end {}", front_end.name));
        let lookup = front_end.lookup;
        for next_hop in &front_end.next_hops {
            match next_hop {
                NextHop::At(HostPort { host, port }) => {
                    addresses(resolver, &host.to_string(), *port, family, findings).await;
                }
                NextHop::Of(domain) => of_domain(resolver, domain.as_str(), lookup, family, findings).await,
            }
        }
    }
}

async fn of_domain(
    resolver: &dyn Resolve,
    domain: &str,
    lookup: Lookup,
    family: Family,
    findings: &mut Findings,
) {
    let how = match lookup {
        Lookup::Sip => SipLookup::Sip,
        Lookup::Federation => SipLookup::Federation,
    };
    match sip_targets(resolver, domain, how, 0, None).await {
        Ok(found) => {
            for target in found.targets {
                addresses(resolver, &target.host, target.port, family, findings).await;
            }
        }
        Err(error) => {
            let fix = "create the records, or list the hosts in next_hops; “nuncio check front-ends” shows all that DNS says";
            findings.wrong(error.to_string(), fix.to_owned());
        }
    }
}

async fn addresses(resolver: &dyn Resolve, host: &str, port: u16, family: Family, findings: &mut Findings) {
    match host_candidates(resolver, host, port, family).await {
        Ok(candidates) => {
            let list: Vec<_> =
                candidates.iter().map(|candidate| candidate.address.ip().to_string()).collect();
            findings.good(format!("{host}:{port} is at {}", list.join(", ")));
        }
        Err(error) => findings.wrong(
            format!("{host}:{port} cannot be found: {error}"),
            "create A or AAAA records for it, or correct next_hops".to_owned(),
        ),
    }
}

/// The addresses that connections go to.
pub(crate) fn family(family: config::Family) -> Family {
    match family {
        config::Family::Any => Family::Any,
        config::Family::Ipv4 => Family::Ipv4,
        config::Family::Ipv6 => Family::Ipv6,
    }
}
