//! What DNS says of us, against what it has to say.

mod front_ends;
mod hosts;
mod patience;
mod wanted;

use std::collections::HashSet;

use crate::checks::{Finding, Findings};
use crate::config::{Config, Domain};
use crate::dns::{DnsError, Resolve, SrvRecord};

pub(crate) use front_ends::family;
use patience::Patience;
pub use wanted::{HostRecords, Record, Wanted, Zone, wanted};

/// Asks DNS for everything that partners and front ends ask it for to find us, and for what we ask it to find front ends.
pub async fn compare(config: &Config, resolver: &dyn Resolve) -> Vec<Finding> {
    let mut findings = Findings::default();
    let resolver: &dyn Resolve = &Patience::with(resolver);
    let wanted = wanted(config);
    let ours: HashSet<&str> = config.xmpp_hosts().iter().map(|host| host.as_str()).collect();
    let mut targets = HashSet::new();
    for zone in &wanted.zones {
        let domain =
            Domain::new(&zone.domain).map_or_else(|_| zone.domain.clone(), |d| d.to_unicode().into_owned());
        findings.about(format!("domain {domain}"));
        if ours.is_empty() {
            findings.warning(
                "it cannot be told where its records have to lead: sip.name is an address".to_owned(),
                "name the hosts that partners connect to in xmpp.hosts".to_owned(),
            );
            continue;
        }
        let check = Check { zone, ours: &ours, resolver };
        check.service("_xmpp-server", &mut findings, &mut targets).await;
        check.service("_xmpps-server", &mut findings, &mut targets).await;
        check.federation(config, &mut findings).await;
    }
    for host in &wanted.hosts {
        let for_partners = ours.contains(host.name.as_str());
        hosts::check(config, resolver, &host.name, for_partners, &mut findings).await;
    }
    // Wherever else partners are led.
    let mut strangers: Vec<&String> =
        targets.iter().filter(|target| !ours.contains(target.as_str())).collect();
    strangers.sort_unstable();
    for target in strangers {
        hosts::check(config, resolver, target, true, &mut findings).await;
    }
    front_ends::check(config, resolver, &mut findings).await;
    findings.into_list()
}

/// One of our domains.
struct Check<'a> {
    zone: &'a Zone,
    ours: &'a HashSet<&'a str>,
    resolver: &'a dyn Resolve,
}

impl Check<'_> {
    /// The records of one service, against those that have to be there.
    async fn service(&self, service: &str, findings: &mut Findings, targets: &mut HashSet<String>) {
        let name = format!("{service}._tcp.{}", self.zone.domain);
        let wanted: Vec<&Record> = self.zone.records.iter().filter(|record| record.name == name).collect();
        let found = match self.resolver.srv(&name).await {
            Ok(found) => found,
            Err(DnsError::NoSuchDomain { .. }) => Vec::new(),
            Err(error) => {
                findings.wrong(error.to_string(), ASK_AGAIN.to_owned());
                return;
            }
        };
        targets.extend(
            found.iter().filter(|record| !record.target.is_empty()).map(|record| lower(&record.target)),
        );
        let (dots, found): (Vec<SrvRecord>, Vec<SrvRecord>) =
            found.into_iter().partition(|record| record.target.is_empty());
        // “.” is all there is to be.
        let refused = wanted.iter().any(|record| record.target.is_empty());
        match (wanted.is_empty() || refused, found.is_empty(), dots.is_empty()) {
            (true, true, dotless) => {
                if refused && dotless {
                    findings.warning(
                        format!("there is no record {name}: who knows no Direct TLS looks for the domain's own address, port 5269"),
                        create(&wanted),
                    );
                } else if refused {
                    findings.good(format!("{name} says that there is no such service, and there is none"));
                }
            }
            (false, true, true) => self.nothing(&name, &wanted, findings).await,
            (false, true, false) => findings.wrong(
                format!("{name} says that there is no such service (its target is “.”)"),
                create(&wanted),
            ),
            (_, false, dotless) => {
                if !dotless {
                    findings.warning(
                        format!("{name} has a record with the target “.” beside others, which means nothing"),
                        "delete that record".to_owned(),
                    );
                }
                self.records(&name, &wanted, &found, findings);
            }
        }
    }

    /// There is no record where there has to be one.
    async fn nothing(&self, name: &str, wanted: &[&Record], findings: &mut Findings) {
        if name.starts_with("_xmpps-server.") {
            findings.warning(
                format!("there is no record {name}: nobody finds the listener for Direct TLS"),
                create(wanted),
            );
            return;
        }
        let domain = &self.zone.domain;
        let own = self.resolver.addresses(domain, crate::dns::Family::Any).await;
        let instead = match own {
            Ok(addresses) => {
                let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                format!("partners try {domain} itself, port 5269, at {}", list.join(", "))
            }
            Err(_) => "no partner finds it".to_owned(),
        };
        findings.wrong(format!("there is no record {name}: {instead}"), create(wanted));
    }

    /// There are records; are they ours?
    fn records(&self, name: &str, wanted: &[&Record], found: &[SrvRecord], findings: &mut Findings) {
        let place = |target: &str, port: u16| format!("{target}:{port}");
        let all: Vec<_> = found.iter().map(words).collect();
        let right = |record: &&SrvRecord| {
            let target = lower(&record.target);
            wanted.iter().any(|wanted| wanted.target == target && wanted.port == record.port)
        };
        let (good, odd): (Vec<&SrvRecord>, Vec<&SrvRecord>) = found.iter().partition(right);
        if good.is_empty() {
            let mut ports: Vec<u16> = wanted.iter().map(|record| record.port).collect();
            ports.dedup();
            let to_us = odd.iter().find(|record| self.ours.contains(lower(&record.target).as_str()));
            match (wanted, to_us) {
                // Listeners take TLS from the first byte on the port for STARTTLS, too.
                ([], _) => {
                    let text =
                        format!("{name} leads to {}, but no listener is for Direct TLS alone", all.join(", "));
                    match odd.iter().all(|record| self.ours.contains(lower(&record.target).as_str())) {
                        true => findings.note(format!("{text}; an ordinary listener takes it, too")),
                        false => findings.wrong(
                            text,
                            "add an [[xmpp.listener]] with direct_tls = true, or see that the record leads to a listener; each \
                             takes Direct TLS, too"
                                .to_owned(),
                        ),
                    }
                }
                // What stands in between cannot be seen from here.
                (_, Some(record)) => findings.warning(
                    format!(
                        "{name} leads to {}, where no listener of this kind is: the configuration has {}; right only where ports \
                         are translated on the way",
                        place(&record.target, record.port),
                        join(&ports)
                    ),
                    create(wanted) + " in its place, unless ports are translated",
                ),
                (_, None) => findings.wrong(
                    format!("{name} leads elsewhere: {}", all.join(", ")),
                    create(wanted) + " in its place; if other hosts are meant, name them in xmpp.hosts",
                ),
            }
            return;
        }
        findings.good(format!(
            "{name} leads to {}",
            good.iter().map(|record| words(record)).collect::<Vec<_>>().join(", ")
        ));
        if !odd.is_empty() {
            let list: Vec<_> = odd.iter().map(|record| words(record)).collect();
            findings.warning(
                format!("{name} also leads to {}: a part of the partners, or all when the first is away, go there", list.join(", ")),
                "delete these records, or name their hosts in xmpp.hosts if they are ours".to_owned(),
            );
        }
        let missing: Vec<&Record> = wanted
            .iter()
            .filter(|record| {
                !good.iter().any(|found| lower(&found.target) == record.target && found.port == record.port)
            })
            .copied()
            .collect();
        if !missing.is_empty() {
            let list: Vec<_> = missing.iter().map(|record| place(&record.target, record.port)).collect();
            findings.warning(format!("{name} does not lead to {}", list.join(", ")), create(&missing));
        }
    }

    /// Who federates by SIP for the domain is for its Edge to say; not us.
    async fn federation(&self, config: &Config, findings: &mut Findings) {
        let name = format!("_sipfederationtls._tcp.{}", self.zone.domain);
        let Ok(found) = self.resolver.srv(&name).await else { return };
        let names: Vec<String> = config.sip.called().map(|called| called.name.host.to_string()).collect();
        let to_us = |record: &&SrvRecord| {
            let target = lower(&record.target);
            self.ours.contains(target.as_str()) || names.contains(&target)
        };
        if let Some(record) = found.iter().find(to_us) {
            findings.warning(
                format!(
                    "{name} leads to {}, this gateway: SIP partners of the domain are sent here, and refused",
                    record.target
                ),
                "let it lead to the Access Edge of the domain, or delete it".to_owned(),
            );
        }
    }
}

const ASK_AGAIN: &str = "see to the DNS servers (dns.servers), and check again";

/// Names in DNS have no case.
fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn words(record: &SrvRecord) -> String {
    let SrvRecord { priority, weight, port, target } = record;
    format!("{target}:{port} (priority {priority}, weight {weight})")
}

fn create(records: &[&Record]) -> String {
    let lines: Vec<_> = records.iter().map(|record| format!("“{record}”")).collect();
    format!("create {}", lines.join(" and "))
}

fn join(ports: &[u16]) -> String {
    match ports {
        [] => "no such port".to_owned(),
        [port] => format!("port {port}"),
        ports => format!("ports {}", ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests;
