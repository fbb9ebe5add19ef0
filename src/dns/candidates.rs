//! From a domain or a host to the addresses to try, in order.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::{join, join_all};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{DnsError, Family, Resolve, SrvRecord, is_private, order_srv};

#[cfg(test)]
mod tests;

/// SRV records of one domain, both services together, that are looked at; those tried last are left out first (S2S-08).
pub const MAX_SRV_RECORDS: usize = 16;
/// Addresses of one host that are tried (S2S-08).
pub const MAX_ADDRESSES_PER_HOST: usize = 8;
/// Addresses that are tried in all (S2S-08).
pub const MAX_CANDIDATES: usize = 32;

/// The port of XMPP servers without SRV records (RFC 6120 §14.7).
const XMPP_SERVER_PORT: u16 = 5269;

/// One address to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// Where to connect.
    pub address: SocketAddr,
    /// The name that led to the address, for logs. Never an identity to compare a certificate with (S2S-07).
    pub host: String,
    /// How the name was found.
    pub origin: Origin,
    /// TLS begins with the first byte (XEP-0368); otherwise STARTTLS.
    pub direct_tls: bool,
}

impl Candidate {
    /// Whether both belong to the same target: only such addresses compete with each other.
    pub fn same_target(&self, other: &Self) -> bool {
        let target = |candidate: &Self| (candidate.address.port(), candidate.direct_tls, candidate.origin);
        self.host == other.host && target(self) == target(other)
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direct = if self.direct_tls { ", Direct TLS" } else { "" };
        write!(f, "{} ({}{direct})", self.host, self.address)
    }
}

/// How a [`Candidate`] was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// By an SRV record.
    Srv {
        /// The record's priority.
        priority: u16,
        /// The record's weight.
        weight: u16,
    },
    /// The domain's own address, because it has no SRV records.
    NoSrv,
    /// The domain's own address, because the question for SRV records was not answered (RFC 6120 §3.2.1 item 9).
    SrvUnanswered,
    /// A host or an address that was given.
    Given,
}

/// Which addresses DNS may lead to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// The protocols.
    pub family: Family,
    /// Private, loopback and link-local ones as well.
    pub private: bool,
}

/// What a search came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// In the order of trying; never empty.
    pub candidates: Vec<Candidate>,
    /// What DNS said and is not tried, and why.
    pub left_out: Vec<LeftOut>,
}

/// Something that DNS said, or did not say, that leads nowhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LeftOut {
    /// The question for the SRV records of a service had no answer.
    Unanswered(DnsError),
    /// The target of an SRV record has no address.
    Target(DnsError),
    /// A private address, which DNS may not lead to.
    Private(String, IpAddr),
    /// So many records or addresses were more than are looked at.
    TooMany(usize),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) | Self::Target(error) => error.fmt(f),
            Self::Private(host, address) => write!(
                f,
                "{host} has the private address {address}, which DNS may not lead to (xmpp.connect.private_addresses)"
            ),
            Self::TooMany(count) => write!(f, "{count} records or addresses more than are looked at"),
        }
    }
}

/// The addresses of an XMPP domain's server, in the order of trying (RFC 6120 §3.2, XEP-0368).
///
/// SRV records decide where there are any, of both services together; only without an answer to the question for
/// `_xmpp-server` are the domain's own addresses used, with port 5269. `seed` is fresh randomness: it decides among SRV
/// records of equal priority. All questions of a kind are asked at once, so that the whole takes as long as two.
///
/// # Errors
///
/// When there is nothing to connect to. If several targets fail for different reasons, the error is the most hopeful one:
/// a target that may resolve later outweighs one that does not exist.
pub async fn xmpp_server_candidates(
    resolver: &dyn Resolve,
    domain: &str,
    reach: Reach,
    seed: u64,
) -> Result<Found, DnsError> {
    if let Some(address) = literal(domain) {
        let given = given_address(address, XMPP_SERVER_PORT, domain, reach.family)?;
        return Found::default().admit(domain, reach, given).finish(domain, None);
    }
    let domain = ascii_name(domain)?;
    let (service, direct) = (format!("_xmpp-server._tcp.{domain}"), format!("_xmpps-server._tcp.{domain}"));
    let (service, direct) = join(resolver.srv(&service), resolver.srv(&direct)).await;
    // “.” in the records for Direct TLS says that there is none, not that there is no service; but a zone that says so
    // knows of XMPP, and means no more than its records.
    let silent = direct.as_ref().map_or(true, Vec::is_empty);
    let mut found = Found::default();
    let mut offers = Vec::new();
    let direct = direct.unwrap_or_else(|error| {
        found.unanswered(error);
        Vec::new()
    });
    offers.extend(direct.into_iter().map(|record| Offer { record, direct_tls: true }));
    let origin = match service {
        Ok(records) if !records.is_empty() => {
            offers.extend(records.into_iter().map(|record| Offer { record, direct_tls: false }));
            None
        }
        Ok(_) | Err(DnsError::NoSuchDomain { .. } | DnsError::BadName { .. }) => Some(Origin::NoSrv),
        Err(error) => {
            found.unanswered(error);
            Some(Origin::SrvUnanswered)
        }
    };
    match origin {
        Some(origin) if silent => {
            let addresses = resolver.addresses(&domain, reach.family).await?;
            let own = candidates_of(&domain, &addresses, XMPP_SERVER_PORT, origin);
            found.admit(&domain, reach, own).finish(&domain, None)
        }
        _ => srv_candidates(resolver, &domain, offers, found, reach, seed).await,
    }
}

/// The addresses of a configured `host` (a name, or an IP address, with or without brackets) and port.
///
/// # Errors
///
/// When there is nothing to connect to.
pub async fn host_candidates(
    resolver: &dyn Resolve,
    host: &str,
    port: u16,
    family: Family,
) -> Result<Vec<Candidate>, DnsError> {
    if let Some(address) = literal(host) {
        return given_address(address, port, host, family);
    }
    let host = ascii_name(host)?;
    let addresses = resolver.addresses(&host, family).await?;
    Ok(candidates_of(&host, &addresses, port, Origin::Given))
}

/// The addresses of another host that the partner's server named: one that is given with its port as it is, any other as
/// those of an [XMPP domain](xmpp_server_candidates). A partner leads no further than DNS may.
///
/// # Errors
///
/// When there is nothing to connect to.
pub async fn redirect_candidates(
    resolver: &dyn Resolve,
    host: &str,
    port: Option<u16>,
    reach: Reach,
    seed: u64,
) -> Result<Found, DnsError> {
    let Some(port) = port else { return xmpp_server_candidates(resolver, host, reach, seed).await };
    let given = host_candidates(resolver, host, port, reach.family).await?;
    Found::default().admit(host, reach, given).finish(host, None)
}

/// A record of one of the two services.
struct Offer {
    record: SrvRecord,
    direct_tls: bool,
}

impl Borrow<SrvRecord> for Offer {
    fn borrow(&self) -> &SrvRecord {
        &self.record
    }
}

async fn srv_candidates(
    resolver: &dyn Resolve,
    domain: &str,
    mut offers: Vec<Offer>,
    mut found: Found,
    reach: Reach,
    seed: u64,
) -> Result<Found, DnsError> {
    // “.” means “no service” only when it stands alone; beside others it is an error of the zone, and no host.
    offers.retain(|offer| !offer.record.target.is_empty());
    if offers.is_empty() {
        return Err(DnsError::NoService { domain: domain.to_owned() });
    }
    let mut offers = order_srv(offers, &mut StdRng::seed_from_u64(seed));
    direct_first(&mut offers);
    found.too_many(offers.len().saturating_sub(MAX_SRV_RECORDS));
    offers.truncate(MAX_SRV_RECORDS);
    // All targets at once: a target whose DNS is dead must not delay the others.
    let resolved = offers.iter().map(|offer| resolve_target(resolver, &offer.record.target, reach.family));
    let answers = join_all(resolved).await;

    let mut seen = HashSet::new();
    let mut failure: Option<DnsError> = None;
    for (Offer { record, direct_tls }, answer) in offers.iter().zip(answers) {
        let origin = Origin::Srv { priority: record.priority, weight: record.weight };
        match answer {
            Ok(addresses) => {
                let mut own = candidates_of(&record.target, &addresses, record.port, origin);
                own.iter_mut().for_each(|candidate| candidate.direct_tls = *direct_tls);
                own.retain(|candidate| seen.insert((candidate.address, *direct_tls)));
                found = found.admit(&record.target, reach, own);
            }
            Err(error) => {
                found.left_out.push(LeftOut::Target(error.clone()));
                failure = Some(more_hopeful(failure, error));
            }
        }
    }
    found.finish(domain, failure)
}

/// Of records that are equal in priority and weight, those for Direct TLS come first (DEC-15); else the order stays.
fn direct_first(offers: &mut [Offer]) {
    let rank = |offer: &Offer| (offer.record.priority, offer.record.weight);
    for at in 0..offers.len() {
        let Some((here, rest)) = offers.get_mut(at..).and_then(<[Offer]>::split_first_mut) else { return };
        if here.direct_tls {
            continue;
        }
        if let Some(direct) = rest.iter_mut().find(|other| other.direct_tls && rank(other) == rank(here)) {
            std::mem::swap(here, direct);
        }
    }
}

impl Found {
    fn unanswered(&mut self, error: DnsError) {
        // That there is no such service is an answer.
        if !matches!(error, DnsError::NoSuchDomain { .. }) {
            self.left_out.push(LeftOut::Unanswered(error));
        }
    }

    fn too_many(&mut self, count: usize) {
        if count > 0 {
            self.left_out.push(LeftOut::TooMany(count));
        }
    }

    /// Adds the addresses of a host that may be tried.
    fn admit(mut self, host: &str, reach: Reach, candidates: Vec<Candidate>) -> Self {
        for candidate in candidates {
            let address = candidate.address.ip();
            if reach.private || !is_private(address) {
                self.candidates.push(candidate);
            } else {
                self.left_out.push(LeftOut::Private(host.to_owned(), address));
            }
        }
        self
    }

    /// Enough of it, or why there is nothing.
    fn finish(mut self, domain: &str, failure: Option<DnsError>) -> Result<Self, DnsError> {
        self.too_many(self.candidates.len().saturating_sub(MAX_CANDIDATES));
        self.candidates.truncate(MAX_CANDIDATES);
        if !self.candidates.is_empty() {
            return Ok(self);
        }
        let private = self.left_out.iter().find_map(|left_out| match left_out {
            LeftOut::Private(_, address) => {
                Some(DnsError::Private { domain: domain.to_owned(), address: *address })
            }
            _ => None,
        });
        let none = || DnsError::NoAddress { name: domain.to_owned(), wanted: Family::Any.as_str() };
        Err(private.or(failure).unwrap_or_else(none))
    }
}

async fn resolve_target(
    resolver: &dyn Resolve,
    target: &str,
    family: Family,
) -> Result<Vec<IpAddr>, DnsError> {
    resolver.addresses(&ascii_name(target)?, family).await
}

fn candidates_of(host: &str, addresses: &[IpAddr], port: u16, origin: Origin) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    addresses
        .iter()
        .filter(|address| seen.insert(**address))
        .take(MAX_ADDRESSES_PER_HOST)
        .map(|address| Candidate {
            address: SocketAddr::new(*address, port),
            host: host.to_owned(),
            origin,
            direct_tls: false,
        })
        .collect()
}

fn given_address(address: IpAddr, port: u16, host: &str, family: Family) -> Result<Vec<Candidate>, DnsError> {
    if !family.admits(address) {
        return Err(DnsError::NoAddress { name: host.to_owned(), wanted: family.as_str() });
    }
    Ok(candidates_of(host, &[address], port, Origin::Given))
}

/// Of two failures, the one after which trying again has more sense.
fn more_hopeful(known: Option<DnsError>, new: DnsError) -> DnsError {
    use super::DnsErrorKind::DoesNotExist;
    match known {
        Some(known) if known.kind() != DoesNotExist || new.kind() == DoesNotExist => known,
        _ => new,
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// The name as DNS holds it: A-labels, lower case, no trailing dot. Anything that a resolver could read in another way
/// (escapes, blanks) is refused.
pub(super) fn ascii_name(name: &str) -> Result<String, DnsError> {
    let bad = || DnsError::BadName { name: name.chars().take(300).flat_map(char::escape_debug).collect() };
    let ascii = idna::domain_to_ascii(name.strip_suffix('.').unwrap_or(name)).map_err(|_| bad())?;
    let label_fits = |label: &str| (1..=63).contains(&label.len());
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = ascii.len() <= 253 && ascii.bytes().all(known) && ascii.split('.').all(label_fits);
    if fits { Ok(ascii) } else { Err(bad()) }
}
