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

    /// The NAPTR records at `name`; as with [`Resolve::srv`], none is no error.
    fn naptr<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<NaptrRecord>, DnsError>>;

    /// The name that `name` is an alias of (CNAME), if it is one.
    fn alias<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>, DnsError>>;

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

/// One NAPTR record (RFC 3403).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NaptrRecord {
    /// Lower is followed first.
    pub order: u16,
    /// The same among records of equal order.
    pub preference: u16,
    /// What the replacement is: “s” the name of SRV records.
    pub flags: String,
    /// The service and how it is reached, such as `SIPS+D2T`.
    pub service: String,
    /// A rule to make the next name with; empty where `replacement` is that name.
    pub regexp: String,
    /// The next name, without the trailing dot.
    pub replacement: String,
}

impl NaptrRecord {
    /// Whether it leads to SRV records of SIP over TLS (RFC 3263 §4.1): they have a replacement, and no rule.
    pub fn is_sip_over_tls(&self) -> bool {
        self.service.eq_ignore_ascii_case("SIPS+D2T")
            && self.flags.eq_ignore_ascii_case("s")
            && self.regexp.is_empty()
            && !self.replacement.is_empty()
    }
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
