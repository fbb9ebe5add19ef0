//! What TLS showed about the peer, and whether its certificate speaks for a domain
//! (RFC 6120 §13.7.1.2, RFC 9525 §6).

use std::fmt::{self, Write as _};
use std::sync::Arc;

use compact_str::CompactString;

use super::evidence::unquoted;
use crate::jid::Domain;

/// The facts of one TLS handshake, as plain data. *Chain* and *names* are two separate facts: a
/// stream may have one without the other, and what is said about it depends on which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// Whether the peer's certificate leads to a root we trust, judged for a server's certificate
    /// whichever role the peer played (DEC-14).
    pub chain: ChainStatus,
    /// Every name of the peer's end-entity certificate that can speak for an XMPP server. Whoever connects chooses how many
    /// there are: they are kept once, whatever is said of them.
    pub names: Arc<[PresentedName]>,
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

impl PresentedName {
    /// Characters of a name that are shown. No name in DNS is longer.
    pub const SHOWN: usize = 253;
}

impl fmt::Display for PresentedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => beginning(f, name),
            Self::Srv(name) => beginning(f, name).and_then(|()| f.write_str(" (SRV)")),
            Self::XmppAddr(jid) => beginning(f, jid).and_then(|()| f.write_str(" (XMPP)")),
        }
    }
}

/// Whoever made the certificate chose the name, and its length. What is not written like a domain or a JID is quoted:
/// it could read like words of ours.
fn beginning(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || ".-_*@/:".contains(c));
    let (open, close) = if plain { ("", "") } else { ("“", "”") };
    f.write_str(open)?;
    let mut characters = name.chars();
    let shown = characters.by_ref().take(PresentedName::SHOWN).map(unquoted);
    shown.flat_map(char::escape_debug).try_for_each(|character| f.write_char(character))?;
    if characters.next().is_some() {
        f.write_char('…')?;
    }
    f.write_str(close)
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
            names: names.into(),
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
    fn sec_35_a_name_is_shown_as_far_as_names_go_and_visibly_cut_there() {
        let shown = |length| PresentedName::Dns("x".repeat(length).into()).to_string();
        assert_eq!(shown(PresentedName::SHOWN), "x".repeat(PresentedName::SHOWN));
        assert_eq!(shown(PresentedName::SHOWN + 1), "x".repeat(PresentedName::SHOWN) + "…");
    }

    #[test]
    fn sec_35_a_name_that_reads_like_words_of_ours_is_quoted() {
        for (name, expected) in [
            ("*.münchen.example", "*.münchen.example"),
            ("x; set sasl to optional", "“x; set sasl to optional”"),
            ("x”; set sasl to “optional", "“x\\\"; set sasl to \\\"optional”"),
            ("", "“”"),
        ] {
            assert_eq!(PresentedName::Dns(name.into()).to_string(), expected);
        }
        assert_eq!(
            PresentedName::Srv("_xmpp-server.a.example".into()).to_string(),
            "_xmpp-server.a.example (SRV)"
        );
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
