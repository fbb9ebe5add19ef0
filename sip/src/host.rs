//! The host part of URIs and Vias (RFC 3261 §25.1, RFC 5118, RFC 5954).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lex;

/// A host as it stands in a URI or Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A domain name as received, in its case.
    Name(&'a str),
    /// An IPv4 literal.
    V4(Ipv4Addr),
    /// An IPv6 literal; brackets on the wire.
    V6(Ipv6Addr),
    /// URIs without a host: `tel:` and the schemes we do not know.
    None,
}

impl<'a> Host<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']')?;
            // The grammar of RFC 3261 lets a third colon slip in (RFC 5118 §4.10).
            let parsed = address.parse().or_else(|_| address.replacen(":::", "::", 1).parse());
            return parsed.ok().map(Self::V6);
        }
        if text.as_bytes().last().is_some_and(u8::is_ascii_digit)
            && let Ok(v4) = text.parse()
        {
            return Some(Self::V4(v4));
        }
        lex::is_host_name(text).then_some(Self::Name(text))
    }

    /// `host` or `host:port`, without blanks.
    pub fn parse_with_port(text: &'a str) -> Option<(Self, Option<u16>)> {
        let (host, port) = if text.starts_with('[') {
            let (host, rest) = text.split_at_checked(text.find(']')? + 1)?;
            let rest = lex::trim(rest);
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        } else {
            match lex::cut(text, b':') {
                Some((host, port)) => (lex::trim(host), Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(port) => Some(u16::try_from(lex::number(lex::trim(port))?).ok()?),
            None => None,
        };
        Some((Self::parse(host)?, port))
    }

    /// The domain name, if it is one.
    pub fn name(&self) -> Option<&'a str> {
        match *self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The address, if it is a literal.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Self::V4(v4) => Some(v4.into()),
            Self::V6(v6) => Some(v6.into()),
            Self::Name(_) | Self::None => None,
        }
    }

    /// Names without regard to case, addresses as addresses.
    pub fn is_same(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Host::V4(b)) => a == b,
            (Self::V6(a), Host::V6(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(v4) => v4.fmt(f),
            Self::V6(v6) => write!(f, "[{v6}]"),
            Self::None => Ok(()),
        }
    }
}
