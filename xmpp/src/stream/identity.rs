//! What TLS showed about the peer, and whether its certificate speaks for a domain
//! (RFC 6120 §13.7.1.2, RFC 9525 §6).

use compact_str::CompactString;

use crate::jid::Domain;

/// The facts of one TLS handshake, as plain data. *Chain* and *names* are two separate facts: a
/// stream may have one without the other, and what is said about it depends on which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// Whether the peer's certificate leads to a root we trust, judged for a server's certificate
    /// whichever role the peer played (DEC-14).
    pub chain: ChainStatus,
    /// Every name of the peer's end-entity certificate that can speak for an XMPP server.
    pub names: Vec<PresentedName>,
    /// Protocol version, for people: `TLSv1.3`.
    pub protocol: CompactString,
    /// Cipher suite, for people.
    pub cipher: CompactString,
    /// When the first certificate of a trusted chain expires, in milliseconds of Unix time. `None`: none that counts does.
    pub expires_ms: Option<u64>,
}

impl TlsFacts {
    /// Whether one of the names of the certificate is for `domain` (TLS-10…13).
    pub fn covers(&self, domain: &Domain) -> bool {
        let ascii = domain.to_ascii();
        self.names.iter().any(|name| name.covers_ascii(&ascii))
    }

    /// Whether the certificate proves that the peer is `domain`.
    pub fn proves(&self, domain: &Domain) -> bool {
        self.chain == ChainStatus::Trusted && self.covers(domain)
    }
}

/// The verdict on a certificate chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainStatus {
    /// It leads to a trusted root; every certificate in it is valid now.
    Trusted,
    /// The peer showed no certificate.
    Absent,
    /// It does not hold: the reason, in words (`certificate expired on …`, `unknown issuer …`).
    Untrusted(CompactString),
}

/// A name in a certificate's subjectAltName, as presented. The common name is never one (RFC 9525).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresentedName {
    /// dNSName, perhaps with `*` as its left-most label.
    Dns(CompactString),
    /// id-on-dnsSRV: the whole of it, `_xmpp-server.example.com`.
    Srv(CompactString),
    /// id-on-xmppAddr: a JID that is a domain.
    XmppAddr(CompactString),
}

impl PresentedName {
    /// Whether this name is for the domain (TLS-10…13).
    pub fn covers(&self, domain: &Domain) -> bool {
        self.covers_ascii(&domain.to_ascii())
    }

    /// The same for a domain in A-labels.
    fn covers_ascii(&self, ascii: &str) -> bool {
        match self {
            Self::Dns(name) => dns_covers(name, ascii),
            // TLS-13: a name for another service of the domain is not ours to accept, and a service
            // name carries no wildcard (RFC 4985 §2).
            Self::Srv(name) => {
                strip_prefix_ignore_case(name, "_xmpp-server.").is_some_and(|host| same_host(host, ascii))
            }
            Self::XmppAddr(jid) => {
                Domain::parse(jid).is_ok_and(|domain| same_host(&domain.to_ascii(), ascii))
            }
        }
    }
}

impl std::fmt::Display for PresentedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "{}", name.escape_debug()),
            Self::Srv(name) => write!(f, "{} (SRV)", name.escape_debug()),
            Self::XmppAddr(jid) => write!(f, "{} (XMPP)", jid.escape_debug()),
        }
    }
}

/// One `*`, as the whole left-most label, matches exactly one label (TLS-12). Any other `*` is an
/// ordinary character that no host name contains.
fn dns_covers(presented: &str, ascii: &str) -> bool {
    match presented.strip_prefix("*.") {
        Some(parent) => {
            ascii.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && same_host(parent, rest))
        }
        None => same_host(presented, ascii),
    }
}

fn same_host(presented: &str, ascii: &str) -> bool {
    let presented = presented.strip_suffix('.').unwrap_or(presented);
    !presented.is_empty() && presented.eq_ignore_ascii_case(ascii)
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| text.get(prefix.len()..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(names: &[PresentedName]) -> TlsFacts {
        TlsFacts {
            chain: ChainStatus::Trusted,
            names: names.to_vec(),
            protocol: "TLSv1.3".into(),
            cipher: "TLS13_AES_128_GCM_SHA256".into(),
            expires_ms: None,
        }
    }

    fn covers(name: PresentedName, domain: &str) -> bool {
        facts(&[name]).covers(&Domain::parse(domain).unwrap())
    }

    #[test]
    fn tls_12_dns_names_match_by_label() {
        for (name, domain, expected) in [
            ("example.com", "example.com", true),
            ("EXAMPLE.com", "example.com", true),
            ("example.com.", "example.com", true),
            ("example.com", "im.example.com", false),
            ("*.example.com", "im.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.*.example.com", "a.b.example.com", false),
            ("f*.example.com", "foo.example.com", false),
            ("im.*.com", "im.example.com", false),
            ("*", "example", false),
            ("*.", "example.com", false),
            ("", "example.com", false),
            ("xn--mnchen-3ya.example", "münchen.example", true),
            ("*.xn--mnchen-3ya.example", "im.münchen.example", true),
        ] {
            assert_eq!(covers(PresentedName::Dns(name.into()), domain), expected, "{name} for {domain}");
        }
    }

    #[test]
    fn tls_13_a_service_name_speaks_for_its_service_only() {
        for (name, expected) in [
            ("_xmpp-server.example.com", true),
            ("_XMPP-Server.Example.com", true),
            ("_xmpp-client.example.com", false),
            ("_xmpp-server.*.com", false),
            ("_xmpp-server.", false),
            ("example.com", false),
        ] {
            assert_eq!(covers(PresentedName::Srv(name.into()), "example.com"), expected, "{name}");
        }
    }

    #[test]
    fn tls_11_an_xmpp_address_speaks_for_its_own_domain_only() {
        for (name, expected) in [
            ("example.com", true),
            ("juliet@example.com", false),
            ("example.com/balcony", false),
            ("*.example.com", false),
            ("com", false),
        ] {
            assert_eq!(covers(PresentedName::XmppAddr(name.into()), "example.com"), expected, "{name}");
        }
    }

    #[test]
    fn a_chain_without_the_name_proves_nothing_and_the_name_without_a_chain_neither() {
        let domain = Domain::parse("example.com").unwrap();
        let mut facts = facts(&[PresentedName::Dns("example.com".into())]);
        assert!(facts.proves(&domain));
        assert!(!facts.proves(&Domain::parse("example.net").unwrap()));
        facts.chain = ChainStatus::Untrusted("unknown issuer".into());
        assert!(facts.covers(&domain) && !facts.proves(&domain));
    }
}
