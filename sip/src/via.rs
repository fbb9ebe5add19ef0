//! Via (RFC 3261 §18, §20.42).

use std::net::IpAddr;

use crate::{HeaderError, Host, Params, lex};

/// One element of a Via list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    source: &'a str,
    sent_by: &'a str,
    /// `TLS`, `TCP`, …: as received.
    pub transport: &'a str,
    /// Host of sent-by.
    pub host: Host<'a>,
    /// Port of sent-by, if written.
    pub port: Option<u16>,
    /// Parameters, Microsoft's included, byte for byte.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// The cookie that marks a branch as unique (RFC 3261 §8.1.1.7).
    pub const COOKIE: &'static str = "z9hG4bK";

    /// Reads one element (no comma list).
    ///
    /// # Errors
    /// [`HeaderError::Via`], [`HeaderError::Params`].
    pub fn parse(text: &'a str) -> Result<Self, HeaderError> {
        Self::read(lex::trim(text)).ok_or(HeaderError::Via)
    }

    fn read(source: &'a str) -> Option<Self> {
        let (protocol, rest) = lex::cut(source, b'/')?;
        let (version, rest) = lex::cut(rest, b'/')?;
        if !lex::trim(protocol).eq_ignore_ascii_case("SIP") || !lex::is_token(lex::trim(version)) {
            return None;
        }
        let rest = lex::trim(rest);
        let (transport, rest) = rest.split_at_checked(rest.bytes().position(lex::is_blank)?)?;
        let (sent_by, params) = lex::cut_before(rest, b';');
        let sent_by = lex::trim(sent_by);
        let (host, port) = Host::parse_with_port(sent_by)?;
        let params = Params::of_header(params)?;
        lex::is_token(transport).then_some(Self { source, sent_by, transport, host, port, params })
    }

    /// The element as received.
    pub fn as_str(&self) -> &'a str {
        self.source
    }

    /// `host[:port]` as received.
    pub fn sent_by(&self) -> &'a str {
        self.sent_by
    }

    /// Whether sent-by names `host[:port]`: names without regard to case, addresses as addresses (SIP-09).
    pub fn is_sent_by(&self, host_port: &str) -> bool {
        if self.sent_by == host_port {
            return true;
        }
        // Every request is asked whether it has been here before, and hardly any has.
        if let Host::Name(name) = self.host
            && host_port.get(..name.len()).is_none_or(|start| !start.eq_ignore_ascii_case(name))
        {
            return false;
        }
        Host::parse_with_port(host_port)
            .is_some_and(|(host, port)| self.host.is_same(&host) && self.port == port)
    }

    /// The `branch` parameter, whatever it holds.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch").flatten()
    }

    /// The branch, if it identifies a transaction by itself. `None` — no branch (Lync clients), no cookie, or
    /// nothing behind the cookie (RFC 4475 §3.2.1) — means matching by the rules of RFC 2543 (SIP-21).
    pub fn transaction_branch(&self) -> Option<&'a str> {
        let branch = self.branch()?;
        let (cookie, rest) = branch.split_at_checked(Self::COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(Self::COOKIE) && !rest.is_empty()).then_some(branch)
    }

    /// The `received` parameter; IPv6 with or without brackets (SIP-43).
    pub fn received(&self) -> Option<IpAddr> {
        let value = self.params.get("received").flatten()?;
        let bare = value.strip_prefix('[').and_then(|v| v.strip_suffix(']')).unwrap_or(value);
        bare.parse().ok()
    }

    /// `Some(None)`: the peer asks for the port (RFC 3581); `Some(Some(port))`: it was filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|value| value.and_then(|v| v.parse().ok()))
    }
}
