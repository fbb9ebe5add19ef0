//! The addresses of a host that others connect to.

use std::net::IpAddr;

use super::ASK_AGAIN;
use crate::checks::Findings;
use crate::config::{Config, Listener};
use crate::dns::{DnsError, Family, Resolve, is_private};

/// Looks up a host of ours, and what the records of our domains lead to. `for_partners`: they find it; otherwise front ends.
pub(super) async fn check(
    config: &Config,
    resolver: &dyn Resolve,
    host: &str,
    for_partners: bool,
    findings: &mut Findings,
) {
    findings.about(format!("host {host}"));
    if for_partners && let Ok(Some(real)) = resolver.alias(host).await {
        findings.warning(
            format!("it is an alias (CNAME) of {real}; the target of an SRV record may not be one (RFC 2782), and some servers do not follow it"),
            format!("give {host} the addresses themselves, or let the records lead to {real} (and xmpp.hosts)"),
        );
    }
    let addresses = match resolver.addresses(host, Family::Any).await {
        Ok(addresses) => addresses,
        Err(DnsError::NoSuchDomain { .. } | DnsError::NoAddress { .. }) if !for_partners => {
            findings.warning(
                "it has no address in the DNS that this machine asks; front ends have to find it in theirs"
                    .to_owned(),
                format!("create A or AAAA records for {host} where front ends ask"),
            );
            return;
        }
        Err(error @ (DnsError::NoSuchDomain { .. } | DnsError::NoAddress { .. })) => {
            findings.wrong(error.to_string(), format!("create A or AAAA records for {host}"));
            return;
        }
        Err(error) => {
            findings.wrong(error.to_string(), ASK_AGAIN.to_owned());
            return;
        }
    };
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    findings.good(format!("it is at {}", list.join(", ")));
    if for_partners {
        private(config, &addresses, findings);
        families(host, &config.xmpp.listeners, &addresses, findings);
    }
}

fn private(config: &Config, addresses: &[IpAddr], findings: &mut Findings) {
    let private: Vec<_> =
        addresses.iter().filter(|address| is_private(**address)).map(ToString::to_string).collect();
    if private.is_empty() {
        return;
    }
    let (text, all) = (private.join(", "), private.len() == addresses.len());
    let split = "let the records for the internet have public addresses; if this is an answer for the inside only (split DNS), \
                 ask a server outside: dns.servers";
    if config.xmpp.connect.private_addresses {
        findings.note(format!("{text}: a private address, for partners in the same network only"));
    } else if all {
        findings.wrong(
            format!("{text}: a private address, which no partner on the internet reaches"),
            split.to_owned(),
        );
    } else {
        findings
            .warning(format!("{text}: a private address, at which partners try in vain"), split.to_owned());
    }
}

/// Whether somebody listens on each family that DNS leads to, and DNS leads to each that somebody listens on.
fn families(host: &str, listeners: &[Listener], addresses: &[IpAddr], findings: &mut Findings) {
    let takes = |family: Family| {
        listeners.iter().any(|listener| {
            let both = listener.bind.ip().is_unspecified() && !listener.only_v6;
            family.admits(listener.bind.ip()) || (family == Family::Ipv4 && both)
        })
    };
    for (family, kind) in [(Family::Ipv4, "A"), (Family::Ipv6, "AAAA")] {
        let has = addresses.iter().any(|address| family.admits(*address));
        let words = family.as_str();
        match (takes(family), has) {
            (true, false) if family == Family::Ipv6 => {
                let text = "it has no AAAA record, and a listener takes IPv6: partners with IPv6 alone do not reach it";
                findings.note(text.to_owned());
            }
            (true, false) => findings.warning(
                "it has no A record: partners with IPv4 alone, which is many, do not reach it".to_owned(),
                format!("create “{host}. IN A ADDRESS”"),
            ),
            (false, true) => findings.warning(
                format!("it has an {words} address, and no listener takes {words}, unless something in between translates"),
                format!("add an [[xmpp.listener]] for {words}, or delete the {kind} record"),
            ),
            _ => {}
        }
    }
}
