//! Names on the SIP side (RFC 5922 §7).

use super::{MatchedName, NameKind, NameMatch, NameMismatch, normalise};
use crate::tls::{PeerCertificate, SanName, printable};

/// Whether a certificate speaks for one of `names`: by SIP URIs without user part; if it has none, by dNSNames; if it has no
/// alternative names at all, by its common name. Whole names only, no wildcards (SIP-02, SIP-03).
pub fn sip_names_match(certificate: &PeerCertificate, names: &[String]) -> NameMatch {
    let (identities, kind) = identities(certificate);
    let matched = names.iter().find_map(|expected| {
        let wanted = normalise(expected)?;
        let presented = identities.iter().find(|identity| identity.eq_ignore_ascii_case(&wanted))?;
        Some(MatchedName { expected: expected.clone(), presented: printable(presented), kind })
    });
    matched.map_or_else(
        || NameMatch::Mismatch(mismatch(certificate, &identities, kind, names)),
        NameMatch::Matched,
    )
}

/// The SIP identities of a certificate, all of one kind (RFC 5922 §7.1).
fn identities(certificate: &PeerCertificate) -> (Vec<&str>, NameKind) {
    let Some(names) = &certificate.alternative_names else {
        return (certificate.common_name.as_deref().into_iter().collect(), NameKind::CommonName);
    };
    let hosts: Vec<_> = names
        .iter()
        .filter_map(|name| match name {
            SanName::Uri(uri) => sip_host(uri),
            _ => None,
        })
        .collect();
    if !hosts.is_empty() {
        return (hosts, NameKind::SipUri);
    }
    let dns = names.iter().filter_map(|name| match name {
        SanName::Dns(name) => Some(name.as_str()),
        _ => None,
    });
    (dns.collect(), NameKind::Dns)
}

/// The host of a SIP URI without user part; of no other scheme, `sips` neither.
fn sip_host(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let host = rest.split([':', ';', '?']).next()?;
    (!host.is_empty()).then_some(host)
}

fn mismatch(
    certificate: &PeerCertificate,
    identities: &[&str],
    kind: NameKind,
    names: &[String],
) -> NameMismatch {
    let wildcard = identities.iter().any(|identity| identity.starts_with('*'));
    let ignored_dns = kind == NameKind::SipUri
        && certificate.names().iter().any(|name| match name {
            SanName::Dns(name) => names.iter().any(|expected| expected.eq_ignore_ascii_case(name)),
            _ => false,
        });
    let ignored_common_name = kind != NameKind::CommonName
        && certificate
            .common_name
            .as_ref()
            .is_some_and(|name| names.iter().any(|other| other.eq_ignore_ascii_case(name)));
    let remark = if ignored_dns {
        Some("its DNS names do not count because it has a SIP URI")
    } else if wildcard {
        Some("wildcards do not count for SIP")
    } else if ignored_common_name {
        Some("its common name does not count because it has alternative names")
    } else {
        None
    };
    NameMismatch {
        presented: identities.iter().map(|identity| printable(identity)).collect(),
        expected: names.iter().map(|name| printable(name)).collect(),
        counts: match kind {
            NameKind::SipUri => "SAN URI sip:host",
            NameKind::CommonName => "common name, since it has no SAN",
            _ => "SAN dNSName or URI sip:host",
        },
        remark: remark.map(str::to_owned),
    }
}
