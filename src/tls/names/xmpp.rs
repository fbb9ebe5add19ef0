//! Names on the XMPP side (RFC 6120 §13.7.1.2, RFC 9525 §6.3).

use super::{MatchedName, NameKind, NameMatch, NameMismatch, normalise};
use crate::tls::{PeerCertificate, SanName, printable};

/// What a server's SRVName begins with; another service's name does not count (TLS-13).
const SERVICE: &str = "_xmpp-server.";

/// Whether a certificate speaks for an XMPP domain: by id-on-xmppAddr, SRVName, or dNSName, in which the whole left-most label
/// may be `*` and then stands for exactly one label. The common name never counts (TLS-11, TLS-12).
pub fn xmpp_names_match(certificate: &PeerCertificate, domain: &str) -> NameMatch {
    let wanted = normalise(domain);
    let found = wanted.as_deref().and_then(|wanted| {
        [NameKind::XmppAddr, NameKind::SrvName, NameKind::Dns, NameKind::DnsWildcard].into_iter().find_map(
            |kind| {
                let name = certificate.names().iter().find(|name| speaks_for(name, kind, wanted))?;
                Some(MatchedName { expected: domain.to_owned(), presented: name.to_string(), kind })
            },
        )
    });
    found.map_or_else(
        || NameMatch::Mismatch(mismatch(certificate, domain, wanted.as_deref())),
        NameMatch::Matched,
    )
}

fn speaks_for(name: &SanName, kind: NameKind, wanted: &str) -> bool {
    match (kind, name) {
        // A JID with local or resource part is a user's; as a whole it equals no domain.
        (NameKind::XmppAddr, SanName::XmppAddr(jid)) => normalise(jid).as_deref() == Some(wanted),
        (NameKind::SrvName, SanName::SrvName(name)) => {
            srv_domain(name).is_some_and(|name| same(name, wanted))
        }
        (NameKind::Dns, SanName::Dns(name)) => same(name, wanted),
        (NameKind::DnsWildcard, SanName::Dns(name)) => wildcard_covers(name, wanted),
        _ => false,
    }
}

/// An exact name. Presented names must be A-labels already (RFC 5280 §7.2, RFC 4985 §2); a `*` equals nothing here, because
/// no domain that we expect has one.
fn same(presented: &str, wanted: &str) -> bool {
    presented.eq_ignore_ascii_case(wanted)
}

/// `*.example.com` covers `a.example.com`, and neither `example.com` nor `a.b.example.com`. Any other place of `*` makes the
/// name invalid (RFC 9525 §6.3).
fn wildcard_covers(presented: &str, wanted: &str) -> bool {
    let (Some(suffix), Some((_, parent))) = (presented.strip_prefix("*."), wanted.split_once('.')) else {
        return false;
    };
    suffix.eq_ignore_ascii_case(parent)
}

fn srv_domain(name: &str) -> Option<&str> {
    let (service, domain) = name.split_at_checked(SERVICE.len())?;
    service.eq_ignore_ascii_case(SERVICE).then_some(domain)
}

fn mismatch(certificate: &PeerCertificate, domain: &str, wanted: Option<&str>) -> NameMismatch {
    let names = certificate.names();
    let mut presented: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| !matches!(name, SanName::Uri(_) | SanName::Other(_))) {
        let name = name.to_string();
        if !presented.contains(&name) {
            presented.push(name);
        }
    }
    NameMismatch {
        remark: wanted.and_then(|wanted| remark(certificate, wanted)),
        presented,
        expected: vec![printable(domain)],
        counts: "SAN dNSName, SRVName or xmppAddr",
    }
}

/// What an administrator is likely to have overlooked.
fn remark(certificate: &PeerCertificate, wanted: &str) -> Option<String> {
    let common_name = certificate.common_name.as_deref().is_some_and(|name| same(name, wanted));
    if common_name {
        return Some("the common name does not count".to_owned());
    }
    certificate.names().iter().find_map(|name| match name {
        SanName::Dns(name) if name.to_ascii_lowercase().strip_prefix("*.") == Some(wanted) => {
            Some(format!("{} covers one label below, not the domain itself", printable(name)))
        }
        SanName::Dns(name) if normalise(name).as_deref() == Some(wanted) => {
            Some(format!("{} should stand in it as {wanted}", printable(name)))
        }
        SanName::SrvName(name)
            if name
                .split_once('.')
                .is_some_and(|(service, domain)| same(domain, wanted) && service.starts_with('_')) =>
        {
            Some(format!("{} is for another service", printable(name)))
        }
        _ => None,
    })
}
