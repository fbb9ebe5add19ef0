//! The records that have to be in DNS for partners to find us.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::config::{Config, Listener};
use crate::dns::is_private;

/// Between the priorities of two hosts, so that others fit in.
const STEP: u16 = 10;

/// What has to be in the zone of one served domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// The domain, in A-labels.
    pub domain: String,
    /// Its SRV records.
    pub records: Vec<Record>,
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// `_xmpp-server._tcp.contoso.com`, without the last dot.
    pub name: String,
    /// Lower is tried first.
    pub priority: u16,
    /// The share among records of equal priority.
    pub weight: u16,
    /// TCP port; 0 with the target “.”.
    pub port: u16,
    /// The host, without the last dot; empty for “.”, which says that there is no such service.
    pub target: String,
}

/// A host that needs addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostRecords {
    /// Its name.
    pub name: String,
    /// Who has to find it.
    pub why: &'static str,
    /// Addresses that a listener is bound to. None if they are bound to all, or only to private ones behind a translation.
    pub addresses: Vec<IpAddr>,
}

/// Everything that `nuncio dns show` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// For each served domain, in the order of the configuration.
    pub zones: Vec<Zone>,
    /// For each host.
    pub hosts: Vec<HostRecords>,
}

/// What has to be in DNS.
pub fn wanted(config: &Config) -> Wanted {
    let targets: Vec<&str> = config.xmpp_hosts().iter().map(|host| host.as_str()).collect();
    let zone = |domain: &str| Zone { domain: domain.to_owned(), records: records(config, domain, &targets) };
    let zones = config.sip.domains.iter().map(|domain| zone(domain.as_str())).collect();
    let several = targets.len() > 1;
    let mut hosts: Vec<HostRecords> = Vec::new();
    for target in targets {
        // Which of several hosts has which address is not known here.
        let addresses = if several { Vec::new() } else { public(&config.xmpp.listeners) };
        hosts.push(HostRecords { name: target.to_owned(), why: "partners connect to it", addresses });
    }
    for called in config.sip.called() {
        let name = called.name.host.to_string();
        if matches!(called.name.host, crate::config::Host::Name(_))
            && !hosts.iter().any(|host| host.name == name)
        {
            let listeners = config.sip.listeners.iter().map(|listener| listener.bind.ip());
            let addresses = listeners.filter(|address| !address.is_unspecified()).collect();
            hosts.push(HostRecords { name, why: "front ends call the gateway by it", addresses });
        }
    }
    Wanted { zones, hosts }
}

/// The ports on which streams may begin with STARTTLS, and those on which they begin with TLS.
pub(super) fn ports(config: &Config) -> (Vec<u16>, Vec<u16>) {
    let of = |direct: bool| {
        let all = &config.xmpp.listeners;
        // What is bound to loopback is for the tests of an administrator, unless there is nothing else.
        let for_others = |listener: &&Listener| !listener.bind.ip().is_loopback();
        let only_loopback = !all.iter().any(|listener| for_others(&listener));
        let mut ports: Vec<u16> = all
            .iter()
            .filter(|listener| listener.direct_tls == direct && (only_loopback || for_others(listener)))
            .map(|listener| listener.bind.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    (of(false), of(true))
}

fn records(config: &Config, domain: &str, targets: &[&str]) -> Vec<Record> {
    let (starttls, direct) = ports(config);
    let service = |service: &str, ports: &[u16]| -> Vec<Record> {
        let name = format!("{service}._tcp.{domain}");
        let each = (1..).zip(targets).flat_map(|(place, target)| {
            let record = |port: &u16| Record {
                name: name.clone(),
                priority: STEP.saturating_mul(place),
                weight: 0,
                port: *port,
                target: (*target).to_owned(),
            };
            ports.iter().map(record).collect::<Vec<_>>()
        });
        each.collect()
    };
    let mut records = service("_xmpp-server", &starttls);
    if records.is_empty() && !targets.is_empty() {
        // Without it, whoever knows no Direct TLS would look for the domain's own address.
        let name = format!("_xmpp-server._tcp.{domain}");
        records.push(Record { name, priority: 0, weight: 0, port: 0, target: String::new() });
    }
    records.extend(service("_xmpps-server", &direct));
    records
}

fn public(listeners: &[Listener]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = listeners.iter().map(|listener| listener.bind.ip()).collect();
    addresses.retain(|address| !is_private(*address));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl fmt::Display for Record {
    /// A line of a zone file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, priority, weight, port, target } = self;
        write!(f, "{name}. IN SRV {priority} {weight} {port} {target}.")
    }
}

impl fmt::Display for Wanted {
    /// A piece of a zone file, with comments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for zone in &self.zones {
            writeln!(f, "; In the zone of {}:", zone.domain)?;
            for record in &zone.records {
                if record.target.is_empty() {
                    writeln!(f, "; no listener takes STARTTLS: who knows no Direct TLS is told so")?;
                }
                writeln!(f, "{record}")?;
            }
            if zone.records.is_empty() {
                writeln!(
                    f,
                    "; nothing can be said: sip.name is an address; name the host of the gateway in xmpp.hosts"
                )?;
            }
            writeln!(f)?;
        }
        for host in &self.hosts {
            writeln!(
                f,
                "; {}: {}. It needs addresses of its own, not a CNAME (RFC 2782).",
                host.name, host.why
            )?;
            for address in &host.addresses {
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                writeln!(f, "{}. IN {kind} {address}", host.name)?;
            }
            if host.addresses.is_empty() {
                writeln!(f, "; {}. IN A ADDRESS, and IN AAAA ADDRESS if it is reached by IPv6", host.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::tests::config;

    const LISTENER: &str = "[[xmpp.listener]]\nbind = \"0.0.0.0:5269\"\n";

    fn said(listeners: &str, hosts: &str) -> Vec<String> {
        let change = [(LISTENER, listeners), ("[xmpp]\n", &*format!("[xmpp]\n{hosts}\n"))];
        let config = config("/etc".as_ref(), &change, "");
        let zones = wanted(&config).zones.into_iter().flat_map(|zone| zone.records);
        zones.map(|record| record.to_string()).collect()
    }

    #[test]
    fn s2s_01_each_domain_has_a_record_that_leads_to_the_host() {
        let domains = [("domains = [\"contoso.com\"]", "domains = [\"contoso.com\", \"bücher.example\"]")];
        let zones = wanted(&config("/etc".as_ref(), &domains, "")).zones;
        let lines: Vec<String> =
            zones.iter().flat_map(|zone| &zone.records).map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "_xmpp-server._tcp.contoso.com. IN SRV 10 0 5269 nuncio.contoso.com.",
                "_xmpp-server._tcp.xn--bcher-kva.example. IN SRV 10 0 5269 nuncio.contoso.com."
            ]
        );
    }

    #[test]
    fn s2s_04_listeners_for_direct_tls_have_records_of_their_own() {
        let direct = "[[xmpp.listener]]\nbind = \"0.0.0.0:5270\"\ndirect_tls = true\n";
        assert_eq!(
            said(&format!("{LISTENER}{direct}"), ""),
            [
                "_xmpp-server._tcp.contoso.com. IN SRV 10 0 5269 nuncio.contoso.com.",
                "_xmpps-server._tcp.contoso.com. IN SRV 10 0 5270 nuncio.contoso.com."
            ]
        );
        assert_eq!(said(direct, "")[0], "_xmpp-server._tcp.contoso.com. IN SRV 0 0 0 .");
    }

    #[test]
    fn several_hosts_follow_each_other_and_one_port_is_one_record() {
        let both = format!("{LISTENER}[[xmpp.listener]]\nbind = \"[::]:5269\"\nfamily = \"ipv6\"\n");
        assert_eq!(
            said(&both, "hosts = [\"a.contoso.com\", \"b.contoso.com\"]"),
            [
                "_xmpp-server._tcp.contoso.com. IN SRV 10 0 5269 a.contoso.com.",
                "_xmpp-server._tcp.contoso.com. IN SRV 20 0 5269 b.contoso.com."
            ]
        );
    }

    #[test]
    fn a_listener_on_loopback_is_for_nobody_else() {
        let local = "[[xmpp.listener]]\nbind = \"127.0.0.1:5270\"\ndirect_tls = true\n";
        assert_eq!(said(&format!("{LISTENER}{local}"), "").len(), 1);
        assert_eq!(said(local, "").len(), 2, "unless there is nothing else");
    }

    #[test]
    fn addresses_are_printed_as_far_as_they_are_known() {
        let of = |bind: &str| {
            let config = config("/etc".as_ref(), &[("0.0.0.0:5269", bind)], "");
            wanted(&config).to_string()
        };
        assert!(of("203.0.113.7:5269").contains("\nnuncio.contoso.com. IN A 203.0.113.7\n"));
        assert!(of("[2001:db8::7]:5269").contains("\nnuncio.contoso.com. IN AAAA 2001:db8::7\n"));
        for hidden in ["0.0.0.0:5269", "10.0.0.1:5269"] {
            assert!(of(hidden).contains("\n; nuncio.contoso.com. IN A ADDRESS"), "{hidden}");
        }
    }
}
