//! Whether a certificate chain leads to a root that we trust.

use std::fmt;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::roots::{Roots, anchor};
use super::{CertificateError, PeerCertificate, certificate, date, printable};

#[cfg(test)]
mod tests;

/// What the chain of a certificate is worth, whatever names it carries.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChainStatus {
    /// It leads to one of the roots, is valid now, and may be used for TLS servers.
    Valid,
    /// The peer presented no certificate.
    Missing,
    /// The certificate is signed by itself and is none of the roots.
    SelfSigned,
    /// The certificate or one of its issuers has expired.
    Expired {
        /// Since when.
        since: SystemTime,
    },
    /// The certificate or one of its issuers is not valid yet.
    NotYetValid {
        /// From when on it is.
        from: SystemTime,
    },
    /// The chain ends at an issuer that is none of the roots.
    UnknownIssuer {
        /// That issuer's distinguished name.
        issuer: String,
    },
    /// Its extended key usage is restricted, and not to TLS servers.
    WrongUsage {
        /// The usages that it names.
        has: String,
    },
    /// The certificate or one of its issuers has been revoked.
    Revoked,
    /// The revocation list of one of its issuers cannot be relied on.
    RevocationUnknown {
        /// What is wrong with it.
        detail: String,
    },
    /// It is none of those whose keys were configured for this peer.
    NotPinned {
        /// Its key: SHA-256 of the SubjectPublicKeyInfo in base64, as it would be configured.
        key: String,
    },
    /// Anything else that is wrong with it.
    Other(String),
}

/// Judges a chain as the peer sent it: its own certificate first, then issuers in any order.
///
/// The certificate must be usable for TLS *servers*, or be unrestricted, whichever role the peer plays: public CAs no longer
/// issue certificates for TLS clients, and those of SIP edges never were (DEC-14, TLS-18). Neither a subject nor certain key
/// usages of CAs are required (DEC-25). Revocation is not looked at.
pub fn judge_chain(chain: &[CertificateDer<'_>], roots: &Roots, now: SystemTime) -> ChainStatus {
    judge_with(chain, roots, &[], now).0
}

/// As [`judge_chain`], and looks the chain up in revocation lists, as far as there are any of its issuers. Of a valid one also
/// until when its issuers are: when the first certificate expires between that of the peer and the root, which is believed for
/// as long as it is configured. What else the peer sent does not count.
pub(super) fn judge_with(
    chain: &[CertificateDer<'_>],
    roots: &Roots,
    crls: &[&CertRevocationList<'_>],
    now: SystemTime,
) -> (ChainStatus, Option<SystemTime>) {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return (ChainStatus::Missing, None);
    };
    let end_entity = match EndEntityCert::try_from(leaf) {
        Ok(end_entity) => end_entity,
        Err(error) => return (unreadable(leaf, &error), None),
    };
    let now =
        UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let revocation = RevocationOptionsBuilder::new(crls).ok().map(|options| {
        let options = options.with_depth(RevocationCheckDepth::Chain);
        let options = options.with_status_policy(UnknownStatusPolicy::Allow);
        options.with_expiration_policy(ExpirationPolicy::Enforce).build()
    });
    let verdict = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        roots.anchors(),
        intermediates,
        now,
        KeyUsage::server_auth(),
        revocation,
        None,
    );
    match verdict {
        Ok(path) => {
            let issuers = path.intermediate_certificates().filter_map(|issuer| not_after(&issuer.der()));
            (ChainStatus::Valid, issuers.min())
        }
        Err(error) => (status(error, leaf, intermediates, roots), None),
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate::system_time(certificate.validity().not_after))
}

impl ChainStatus {
    /// Whether the chain is good.
    pub fn is_valid(&self) -> bool {
        *self == Self::Valid
    }
}

impl fmt::Display for ChainStatus {
    /// A clause that says what is wrong, for the middle of an error message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => f.write_str("the certificate is valid"),
            Self::Missing => f.write_str("no certificate was presented"),
            Self::SelfSigned => f.write_str("the certificate is self-signed and not among the trusted roots"),
            Self::Expired { since } => {
                write!(f, "the certificate or one of its issuers expired on {}", date(*since))
            }
            Self::NotYetValid { from } => {
                write!(f, "the certificate or one of its issuers is not valid before {}", date(*from))
            }
            Self::UnknownIssuer { issuer } => write!(
                f,
                "the certificate's issuer “{issuer}” is not among the trusted roots, and no certificate that leads from it \
                 to one was presented"
            ),
            Self::WrongUsage { has } => {
                write!(f, "the certificate is restricted to {has}; serverAuth (or no restriction) is needed")
            }
            Self::Revoked => f.write_str("the certificate or one of its issuers has been revoked"),
            Self::RevocationUnknown { detail } => write!(
                f,
                "whether the certificate has been revoked cannot be known: {detail}; put a newer list into the crls that are set for this peer"
            ),
            Self::NotPinned { key } => write!(
                f,
                "the certificate's key is none of the partner's pins; add \"{key}\" to them only if the partner confirms \
                 that it is his"
            ),
            Self::Other(detail) => write!(f, "the certificate cannot be verified: {detail}"),
        }
    }
}

fn status(
    error: webpki::Error,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Roots,
) -> ChainStatus {
    use webpki::Error;
    let facts = PeerCertificate::from_der(leaf);
    let is_root = || anchor(leaf).is_ok_and(|leaf| roots.anchors().contains(&leaf));
    let self_signed = facts.as_ref().is_ok_and(|facts| facts.self_signed) && !is_root();
    match error {
        // “openssl req -x509” makes self-signed certificates that claim to be a CA's.
        Error::UnknownIssuer | Error::CaUsedAsEndEntity if self_signed => ChainStatus::SelfSigned,
        Error::UnknownIssuer => ChainStatus::UnknownIssuer { issuer: missing_issuer(leaf, intermediates) },
        Error::CertExpired { not_after, .. } => ChainStatus::Expired { since: system_time(not_after) },
        Error::CertNotValidYet { not_before, .. } => {
            ChainStatus::NotYetValid { from: system_time(not_before) }
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            let usages = facts.ok().and_then(|facts| facts.usages).unwrap_or_default();
            let names: Vec<_> = usages.iter().map(ToString::to_string).collect();
            ChainStatus::WrongUsage {
                has: if names.is_empty() { "no usage".into() } else { printable(&names.join(", ")) },
            }
        }
        Error::CertRevoked => ChainStatus::Revoked,
        Error::CrlExpired { next_update, .. } => ChainStatus::RevocationUnknown {
            detail: format!("the list of its issuer ran out on {}", date(system_time(next_update))),
        },
        Error::InvalidCrlSignatureForPublicKey => ChainStatus::RevocationUnknown {
            detail: "the list of its issuer is not signed by that issuer".to_owned(),
        },
        error => ChainStatus::Other(words(&error)),
    }
}

fn unreadable(leaf: &CertificateDer<'_>, error: &webpki::Error) -> ChainStatus {
    ChainStatus::Other(match PeerCertificate::from_der(leaf) {
        Err(detail @ CertificateError::OldVersion(_)) => detail.to_string(),
        _ => words(error),
    })
}

/// The issuer at which the chain breaks off, found by following names from the peer's certificate.
fn missing_issuer(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> String {
    let parse = |der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
    let Some(mut last) = parse(leaf) else {
        return String::new();
    };
    let issuers: Vec<_> = intermediates.iter().filter_map(|der| parse(der)).collect();
    // At most one step for each certificate, so that a circle ends.
    for _ in &issuers {
        let issuer = issuers.iter().find(|issuer| issuer.subject().as_raw() == last.issuer().as_raw());
        match issuer {
            Some(issuer) if issuer.subject().as_raw() != last.subject().as_raw() => last = issuer.clone(),
            _ => break,
        }
    }
    printable(&last.issuer().to_string())
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Errors of the verifier in words.
pub(super) fn words(error: &webpki::Error) -> String {
    use webpki::Error;
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) => "it is not well-formed".to_owned(),
        Error::CaUsedAsEndEntity => "it is a CA's certificate, not a server's".to_owned(),
        Error::CertDistrusted => "its key is known to be compromised".to_owned(),
        Error::EndEntityUsedAsCa => "one of its issuers is not a CA".to_owned(),
        Error::InvalidSignatureForPublicKey => "its signature, or that of an issuer, is wrong".to_owned(),
        Error::NameConstraintViolation => "its names are outside those its issuer may certify".to_owned(),
        Error::PathLenConstraintViolated => {
            "there are more intermediate CAs than its issuer allows".to_owned()
        }
        Error::UnsupportedCertVersion => "it, or an issuer, is not an X.509 version 3 certificate".to_owned(),
        Error::UnsupportedCriticalExtension => {
            "it has a critical extension that is not understood".to_owned()
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "it, or an issuer, is signed with an algorithm that is not accepted (for example SHA-1)"
                .to_owned()
        }
        other => printable(&other.to_string()),
    }
}
