//! From a domain or a host to the addresses to try, in order.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{DnsError, Family, Resolve, SrvRecord, order_srv};

#[cfg(test)]
mod tests;

/// SRV records of one domain that are looked at; those tried last are left out first (S2S-08).
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

/// The addresses of an XMPP domain's server, in the order of trying (RFC 6120 §3.2).
///
/// SRV records decide where there are any; only without an answer to the SRV question are the domain's own addresses
/// used, with port 5269. `seed` is fresh randomness: it decides among SRV records of equal priority. All targets are
/// resolved at once, so that the whole takes as long as two questions to the resolver.
///
/// # Errors
///
/// When there is nothing to connect to. If several targets fail for different reasons, the error is the most hopeful one:
/// a target that may resolve later outweighs one that does not exist.
pub async fn xmpp_server_candidates(
    resolver: &dyn Resolve,
    domain: &str,
    family: Family,
    seed: u64,
) -> Result<Vec<Candidate>, DnsError> {
    if let Some(address) = literal(domain) {
        return given_address(address, XMPP_SERVER_PORT, domain, family);
    }
    let domain = ascii_name(domain)?;
    let service = format!("_xmpp-server._tcp.{domain}");
    let origin = match resolver.srv(&service).await {
        Ok(records) if !records.is_empty() => {
            return srv_candidates(resolver, &domain, records, family, seed).await;
        }
        Ok(_) | Err(DnsError::NoSuchDomain { .. } | DnsError::BadName { .. }) => Origin::NoSrv,
        Err(_) => Origin::SrvUnanswered,
    };
    let addresses = resolver.addresses(&domain, family).await?;
    Ok(candidates_of(&domain, &addresses, XMPP_SERVER_PORT, origin))
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

async fn srv_candidates(
    resolver: &dyn Resolve,
    domain: &str,
    mut records: Vec<SrvRecord>,
    family: Family,
    seed: u64,
) -> Result<Vec<Candidate>, DnsError> {
    // “.” means “no service” only when it stands alone; beside others it is an error of the zone, and no host.
    records.retain(|record| !record.target.is_empty());
    if records.is_empty() {
        return Err(DnsError::NoService { domain: domain.to_owned() });
    }
    let mut records = order_srv(records, &mut StdRng::seed_from_u64(seed));
    records.truncate(MAX_SRV_RECORDS);
    // All targets at once: a target whose DNS is dead must not delay the others.
    let answers =
        join_all(records.iter().map(|record| resolve_target(resolver, &record.target, family))).await;

    let mut seen = HashSet::new();
    let mut candidates = Vec::new();
    let mut failure: Option<DnsError> = None;
    for (record, answer) in records.iter().zip(answers) {
        let origin = Origin::Srv { priority: record.priority, weight: record.weight };
        match answer {
            Ok(addresses) => candidates.extend(
                candidates_of(&record.target, &addresses, record.port, origin)
                    .into_iter()
                    .filter(|candidate| seen.insert(candidate.address)),
            ),
            Err(error) => failure = Some(more_hopeful(failure, error)),
        }
    }
    candidates.truncate(MAX_CANDIDATES);
    match failure {
        Some(error) if candidates.is_empty() => Err(error),
        _ => Ok(candidates),
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
        .map(|address| Candidate { address: SocketAddr::new(*address, port), host: host.to_owned(), origin })
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
fn ascii_name(name: &str) -> Result<String, DnsError> {
    let bad = || DnsError::BadName { name: name.chars().take(300).flat_map(char::escape_debug).collect() };
    let ascii = idna::domain_to_ascii(name.strip_suffix('.').unwrap_or(name)).map_err(|_| bad())?;
    let label_fits = |label: &str| (1..=63).contains(&label.len());
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = ascii.len() <= 253 && ascii.bytes().all(known) && ascii.split('.').all(label_fits);
    if fits { Ok(ascii) } else { Err(bad()) }
}
