//! Where a responder sends us instead (`see-other-host`, RFC 6120 §4.9.3.19).

use std::fmt::{self, Display, Formatter};

use crate::jid::Domain;

/// Another host of the same service. It is where to connect, never who is to be there: the stream has the same `to`, and the
/// certificate is held against the same domain (S2S-30).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// A name, or an address.
    pub host: Domain,
    /// Without one the host is looked up as a domain with an XMPP service.
    pub port: Option<u16>,
}

impl Redirect {
    /// Reads `domainpart` or `domainpart:port`; an IPv6 address has brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(host) = Domain::parse(text) {
            return Some(Self { host, port: None });
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { host: Domain::parse(host).ok()?, port: Some(port) })
    }
}

impl Display for Redirect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_str())?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2s_30_a_host_with_or_without_port_and_nothing_else() {
        for (text, host, port) in [
            ("xmpp.example.com", "xmpp.example.com", None),
            (" \n xmpp.Example.com:9222 \n", "xmpp.example.com", Some(9222)),
            ("192.0.2.1:5269", "192.0.2.1", Some(5269)),
            ("[2001:db8::1]:9222", "[2001:db8::1]", Some(9222)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
        ] {
            let redirect = Redirect::parse(text).unwrap();
            assert_eq!((redirect.host.as_str(), redirect.port), (host, port), "{text}");
        }
        for text in [
            "",
            ":5269",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:x",
            "2001:db8::1",
            "a b",
            "u@a.example",
        ] {
            assert_eq!(Redirect::parse(text), None, "{text}");
        }
    }
}
