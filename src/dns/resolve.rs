//! The question asked of DNS, as a trait, so that tests answer it from a table.

use std::net::IpAddr;

use futures_util::future::BoxFuture;

use super::DnsError;

/// Asks DNS. Names are in ASCII (A-labels), absolute, without the trailing dot.
///
/// Implementations bound the time of each question, and never use search lists.
pub trait Resolve: Send + Sync {
    /// The SRV records at `name`. An existing name without any is `Ok` and empty; a missing one is
    /// [`DnsError::NoSuchDomain`].
    fn srv<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<SrvRecord>, DnsError>>;

    /// The addresses of `host` of that family, IPv6 and IPv4 taking turns, IPv6 first (RFC 8305 §4). Never `Ok` and empty:
    /// an existing name without any is [`DnsError::NoAddress`].
    fn addresses<'a>(&'a self, host: &'a str, family: Family)
    -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>>;
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SrvRecord {
    /// Lower is tried first.
    pub priority: u16,
    /// The share among records of equal priority.
    pub weight: u16,
    /// TCP port.
    pub port: u16,
    /// Host name without the trailing dot; empty for the target “.”.
    pub target: String,
}

/// Which addresses may be used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Family {
    /// IPv6 and IPv4.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Family {
    /// Whether an address belongs to the family.
    pub fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }

    /// The family in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "IPv4 or IPv6",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}
