//! From a SIP domain to the front ends that serve it (RFC 3263 §4; and as Lync federates, `_sipfederationtls._tcp`).
//!
//! What comes out are hosts and ports. Their addresses are looked up when a connection is made
//! ([`host_candidates`](super::host_candidates)), so that those of one host compete with each other and hosts do not.

use std::fmt;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::candidates::ascii_name;
use super::{DnsError, Family, MAX_SRV_RECORDS, NaptrRecord, Resolve, SrvRecord, order_srv};

#[cfg(test)]
mod tests;

/// NAPTR records of one domain that are followed.
pub const MAX_NAPTR_RECORDS: usize = 8;

/// The port of SIP over TLS (RFC 3261 §19.1.2).
const SIPS_PORT: u16 = 5061;

/// By which records a domain is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SipLookup {
    /// NAPTR, `_sips._tcp`, then the domain's own address (RFC 3263).
    Sip,
    /// `_sipfederationtls._tcp`, whose hosts have to be in the domain itself.
    Federation,
}

/// A host that serves a SIP domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipTarget {
    /// Its name, in A-labels.
    pub host: String,
    pub port: u16,
    /// Lower is tried first; among equal ones chance has decided.
    pub rank: u32,
}

/// What DNS says of a SIP domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipTargets {
    /// In the order of trying; never empty.
    pub targets: Vec<SipTarget>,
    /// The names of the SRV records, in order of preference. The place of its name is the upper half of a target's rank.
    pub services: Vec<String>,
    /// The first question without an answer: what it was about is as it was known before.
    pub unanswered: Option<DnsError>,
    /// The questions that led there, and what was answered and is not followed, for people.
    pub evidence: Vec<String>,
}

impl SipTargets {
    /// Those of one service, if it stood at this place.
    fn of<'a>(&'a self, service: &str, place: u32) -> impl Iterator<Item = SipTarget> + 'a {
        let before = self.services.iter().position(|known| known == service);
        let own = self.targets.iter().filter(move |target| usize::try_from(target.rank >> 16).ok() == before);
        own.map(move |target| SipTarget { rank: (place << 16) | (target.rank & 0xffff), ..target.clone() })
    }
}

impl fmt::Display for SipTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The hosts that serve a SIP domain over TLS, in the order of trying. `seed` decides among those of equal priority: the same
/// one decides in the same way as long as the records are the same. `known` is what was found the last time: what DNS does
/// not answer now stays as it was.
///
/// # Errors
/// When DNS names none, or did not answer.
pub async fn sip_targets(
    resolver: &dyn Resolve,
    domain: &str,
    lookup: SipLookup,
    seed: u64,
    known: Option<&SipTargets>,
) -> Result<SipTargets, DnsError> {
    let domain = ascii_name(domain)?;
    let search = Search { resolver, evidence: Vec::new(), unanswered: None, seed, known };
    match lookup {
        SipLookup::Sip => search.sip(domain).await,
        SipLookup::Federation => search.federation(domain).await,
    }
}

struct Search<'a> {
    resolver: &'a dyn Resolve,
    evidence: Vec<String>,
    unanswered: Option<DnsError>,
    seed: u64,
    known: Option<&'a SipTargets>,
}

impl Search<'_> {
    async fn sip(mut self, domain: String) -> Result<SipTargets, DnsError> {
        let mut targets = Vec::new();
        let (mut refusal, mut answers) = (None, 0);
        let services = self.services(&domain).await;
        for (place, service) in (0u32..).zip(&services) {
            match self.srv(service).await {
                Ok(records) => {
                    answers += 1;
                    targets.extend(self.ordered(records, place));
                }
                // That it is not offered there is an answer.
                Err(error @ DnsError::NoService { .. }) => {
                    answers += 1;
                    refusal = Some(error);
                }
                Err(error) => {
                    targets.extend(self.known.into_iter().flat_map(|known| known.of(service, place)));
                    self.unanswered.get_or_insert(error);
                }
            }
        }
        if !targets.is_empty() && answers > 0 {
            return Ok(self.found(targets, services));
        }
        // RFC 3263 §4.2: without SRV records the domain is the name of the host. If it is not known that there are none, that
        // would be to go elsewhere.
        if let Some(error) = self.unanswered.take().or(refusal) {
            return Err(error);
        }
        self.resolver.addresses(&domain, Family::Any).await?;
        self.evidence.push(format!("{domain} itself, port {SIPS_PORT}"));
        let own = SipTarget { host: domain, port: SIPS_PORT, rank: 0 };
        Ok(self.found(vec![own], services))
    }

    fn found(self, targets: Vec<SipTarget>, services: Vec<String>) -> SipTargets {
        SipTargets { targets, services, unanswered: self.unanswered, evidence: self.evidence }
    }

    /// The names at which SRV records are, in order of preference. What NAPTR offers over anything but TLS is none of ours.
    async fn services(&mut self, domain: &str) -> Vec<String> {
        let mut records = match self.resolver.naptr(domain).await {
            Ok(records) => records,
            Err(DnsError::NoSuchDomain { .. }) => Vec::new(),
            // Where it led the last time it still leads. Without that SRV records are asked for as if there were none, for
            // servers that know no NAPTR are many; and nothing else is.
            Err(error) => {
                self.evidence.push(error.to_string());
                self.unanswered = Some(error);
                if let Some(known) = self.known {
                    return known.services.clone();
                }
                Vec::new()
            }
        };
        records.sort_by_key(|record| (record.order, record.preference));
        let (ours, others): (Vec<_>, Vec<_>) = records.into_iter().partition(NaptrRecord::is_sip_over_tls);
        if !others.is_empty() {
            let names: Vec<_> =
                others.iter().map(|record| record.service.escape_debug().to_string()).collect();
            self.evidence.push(format!("NAPTR {domain} not followed: {}", names.join(", ")));
        }
        let mut services: Vec<String> = Vec::new();
        for record in ours.into_iter().take(MAX_NAPTR_RECORDS) {
            match ascii_name(&record.replacement) {
                Ok(name) if !services.contains(&name) => {
                    self.evidence.push(format!("NAPTR {domain}: {} at {name}", record.service));
                    services.push(name);
                }
                Ok(_) => {}
                Err(error) => self.evidence.push(error.to_string()),
            }
        }
        if services.is_empty() {
            services.push(format!("_sips._tcp.{domain}"));
        }
        services
    }

    async fn federation(mut self, domain: String) -> Result<SipTargets, DnsError> {
        let service = format!("_sipfederationtls._tcp.{domain}");
        let records = self.srv(&service).await?;
        if records.is_empty() {
            return Err(DnsError::NoSuchDomain { name: service });
        }
        let (own, foreign): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| is_in(&record.target, &domain));
        for record in &foreign {
            self.evidence.push(format!("{} left out: it is not in {domain}", record.target));
        }
        let targets = self.ordered(own, 0);
        match foreign.into_iter().next() {
            Some(foreign) if targets.is_empty() => {
                Err(DnsError::OtherDomain { domain, target: foreign.target })
            }
            _ => Ok(self.found(targets, vec![service])),
        }
    }

    /// The records there are, with names that can be asked for; none is no error.
    async fn srv(&mut self, service: &str) -> Result<Vec<SrvRecord>, DnsError> {
        let mut records = match self.resolver.srv(service).await {
            Ok(records) => records,
            Err(DnsError::NoSuchDomain { .. }) => Vec::new(),
            Err(error) => {
                self.evidence.push(error.to_string());
                return Err(error);
            }
        };
        let dot = !records.is_empty() && records.iter().all(|record| record.target.is_empty());
        if dot {
            return Err(DnsError::NoService { domain: service.to_owned() });
        }
        records.retain_mut(|record| match ascii_name(&record.target) {
            Ok(name) => {
                record.target = name;
                true
            }
            Err(error) => {
                self.evidence.push(error.to_string());
                false
            }
        });
        let names: Vec<_> = records.iter().map(words).collect();
        let said = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        self.evidence.push(format!("SRV {service}: {said}"));
        Ok(records)
    }

    fn ordered(&mut self, mut records: Vec<SrvRecord>, place: u32) -> Vec<SipTarget> {
        // Servers give them in another order each time.
        records.sort_unstable_by(|a, b| {
            (a.priority, a.weight, &a.target, a.port).cmp(&(b.priority, b.weight, &b.target, b.port))
        });
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(place.into()));
        let mut ordered = order_srv(records, &mut random);
        if let Some(more @ 1..) = ordered.len().checked_sub(MAX_SRV_RECORDS) {
            self.evidence.push(format!("{more} records more than are looked at"));
            ordered.truncate(MAX_SRV_RECORDS);
        }
        let target = |record: SrvRecord| SipTarget {
            host: record.target,
            port: record.port,
            rank: (place << 16) | u32::from(record.priority),
        };
        let mut targets: Vec<SipTarget> = Vec::with_capacity(ordered.len());
        for target in ordered.into_iter().map(target) {
            let known = |known: &SipTarget| (&known.host, known.port) == (&target.host, target.port);
            if !targets.iter().any(known) {
                targets.push(target);
            }
        }
        targets
    }
}

fn words(record: &SrvRecord) -> String {
    format!("{}:{} (priority {}, weight {})", record.target, record.port, record.priority, record.weight)
}

/// Whether a host is the domain, or below it: as Edge servers ask of the federation record.
fn is_in(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}
