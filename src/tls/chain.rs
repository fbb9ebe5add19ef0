//! Whether a certificate chain leads to a root that we trust.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem::{self, PemError};
use super::{CertificateError, PeerCertificate, date, printable};

/// The roots that certificates of one side must chain to.
#[derive(Clone)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    source: String,
}

/// Why roots cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read as PEM with certificates.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate in the file cannot serve as root.
    #[error("certificate {index} in {} cannot serve as a root: {detail}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Its number in the file, from 1.
        index: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The system has no roots, or none that can be read.
    #[error("the system's root certificates cannot be loaded: {detail}; name a file with roots instead")]
    System {
        /// What was met.
        detail: String,
    },
}

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
    /// Anything else that is wrong with it.
    Other(String),
}

/// Judges a chain as the peer sent it: its own certificate first, then issuers in any order.
///
/// The certificate must be usable for TLS *servers*, or be unrestricted, whichever role the peer plays: public CAs no longer
/// issue certificates for TLS clients, and those of SIP edges never were (DEC-14, TLS-18). Neither a subject nor certain key
/// usages of CAs are required (DEC-25). Revocation is not looked at.
pub fn judge_chain(chain: &[CertificateDer<'_>], roots: &Roots, now: SystemTime) -> ChainStatus {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return ChainStatus::Missing;
    };
    let end_entity = match EndEntityCert::try_from(leaf) {
        Ok(end_entity) => end_entity,
        Err(error) => return unreadable(leaf, &error),
    };
    let now =
        UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let verdict = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &roots.anchors,
        intermediates,
        now,
        KeyUsage::server_auth(),
        None,
        None,
    );
    match verdict {
        Ok(_) => ChainStatus::Valid,
        Err(error) => status(error, leaf, intermediates),
    }
}

impl Roots {
    /// Loads the certificates of a PEM file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has no certificate, or has one that cannot serve as a root.
    pub fn from_pem_file(file: &Path) -> Result<Self, RootsError> {
        Self::from_pem(&pem::read(file)?, file)
    }

    /// Takes the certificates of PEM text; `file` is only named in errors.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pem_file`].
    pub fn from_pem(text: &[u8], file: &Path) -> Result<Self, RootsError> {
        let certificates = pem::certificates(text, file)?;
        let unusable =
            |(index, detail): (usize, String)| RootsError::Unusable { file: file.into(), index, detail };
        Self::from_certificates(&certificates, &file.display().to_string()).map_err(unusable)
    }

    /// The roots that the operating system comes with. (The environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` replace
    /// them.)
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn system() -> Result<Self, RootsError> {
        let loaded = rustls_native_certs::load_native_certs();
        // A system's store may hold a few odd ones; they are no reason to trust none.
        let anchors: Vec<_> = loaded.certs.iter().filter_map(|der| anchor(der).ok()).collect();
        if anchors.is_empty() {
            let detail = loaded
                .errors
                .first()
                .map_or_else(|| "it has none".to_owned(), |error| printable(&error.to_string()));
            return Err(RootsError::System { detail });
        }
        Ok(Self { anchors, source: "the system's roots".to_owned() })
    }

    /// How many roots there are.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether there is none, so that no chain is ever valid.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Where they came from, for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    fn from_certificates(certificates: &[CertificateDer<'_>], source: &str) -> Result<Self, (usize, String)> {
        let anchors = certificates
            .iter()
            .enumerate()
            .map(|(index, der)| anchor(der).map_err(|error| (index + 1, words(&error))))
            .collect::<Result<_, _>>()?;
        Ok(Self { anchors, source: source.to_owned() })
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({} from {})", self.anchors.len(), self.source)
    }
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
            Self::Other(detail) => write!(f, "the certificate cannot be verified: {detail}"),
        }
    }
}

fn anchor(der: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, webpki::Error> {
    Ok(webpki::anchor_from_trusted_cert(der)?.to_owned())
}

fn status(
    error: webpki::Error,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> ChainStatus {
    use webpki::Error;
    let facts = PeerCertificate::from_der(leaf);
    let self_signed = facts.as_ref().is_ok_and(|facts| facts.self_signed);
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
                has: if names.is_empty() { "no usage".into() } else { names.join(", ") },
            }
        }
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
fn words(error: &webpki::Error) -> String {
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

#[cfg(test)]
mod tests {
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};

    use super::*;
    use crate::tls::testing::{Ca, Issued, San, eku, now, pem, san, self_signed, validity, version_1};

    #[test]
    fn tls_09_a_chain_to_a_root_is_valid_with_and_without_intermediate() {
        let ca = Ca::new("Root");
        assert_eq!(judge(&ca.server(&["a.ex"]), &ca), ChainStatus::Valid);
        let intermediate = ca.intermediate("Intermediate");
        let mut issued = intermediate.server(&["a.ex"]);
        assert_eq!(judge(&issued, &ca), ChainStatus::UnknownIssuer { issuer: "CN=Intermediate".to_owned() });
        issued.chain.push(intermediate.der());
        assert_eq!(judge(&issued, &ca), ChainStatus::Valid);
        issued.chain.push(ca.der());
        assert_eq!(judge(&issued, &ca), ChainStatus::Valid);
    }

    #[test]
    fn tls_09_another_ca_is_an_unknown_issuer_by_the_name_where_the_chain_ends() {
        let (ours, theirs) = (Ca::new("Ours"), Ca::new("Theirs"));
        let intermediate = theirs.intermediate("Between");
        let mut issued = intermediate.server(&["a.ex"]);
        issued.chain.push(intermediate.der());
        assert_eq!(judge(&issued, &ours), ChainStatus::UnknownIssuer { issuer: "CN=Theirs".to_owned() });
        // The same name is not the same root.
        let impostor = Ca::new("Ours");
        assert_ne!(judge(&impostor.server(&["a.ex"]), &ours), ChainStatus::Valid);
    }

    #[test]
    fn tls_09_expired_and_not_yet_valid() {
        let ca = Ca::new("Root");
        let expired = ca.issue("x", |params| validity(params, 2020, 2025));
        let ChainStatus::Expired { since } = judge(&expired, &ca) else {
            panic!("{:?}", judge(&expired, &ca))
        };
        assert_eq!(date(since), "2025-01-01 00:00:00 UTC");
        assert_eq!(since, expired.facts().not_after);
        let early = ca.issue("x", |params| validity(params, 2030, 2035));
        let ChainStatus::NotYetValid { from } = judge(&early, &ca) else {
            panic!("{:?}", judge(&early, &ca))
        };
        assert_eq!(from, early.facts().not_before);
        let old_ca = Ca::new("Root").intermediate("Old");
        let other = old_ca.issue("x", |params| validity(params, 2020, 2025));
        assert!(matches!(judge(&other, &ca), ChainStatus::Expired { .. }));
        // To the second: valid at notAfter, expired after it.
        let at = |offset| judge_chain(&expired.chain, &ca.roots(), since + Duration::from_secs(offset));
        assert_eq!((at(0), at(1)), (ChainStatus::Valid, ChainStatus::Expired { since }));
    }

    #[test]
    fn tls_09_self_signed_even_if_it_claims_to_be_a_ca() {
        let ca = Ca::new("Root");
        assert_eq!(judge(&self_signed("a.ex", |_| ()), &ca), ChainStatus::SelfSigned);
        let as_ca = self_signed("a.ex", |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        assert_eq!(judge(&as_ca, &ca), ChainStatus::SelfSigned);
    }

    #[test]
    fn tls_09_nothing_presented_is_missing() {
        assert_eq!(judge_chain(&[], &Ca::new("Root").roots(), now()), ChainStatus::Missing);
    }

    #[test]
    fn tls_18_the_usage_must_include_servers_or_be_open() {
        let ca = Ca::new("Root");
        let with = |usages: &[_]| judge(&ca.issue("x", |params| eku(params, usages)), &ca);
        assert_eq!(with(&[]), ChainStatus::Valid);
        assert_eq!(with(&[ServerAuth]), ChainStatus::Valid);
        assert_eq!(with(&[ServerAuth, ClientAuth]), ChainStatus::Valid);
        assert_eq!(with(&[ClientAuth]), ChainStatus::WrongUsage { has: "clientAuth".to_owned() });
        assert_eq!(
            with(&[ClientAuth, CodeSigning]),
            ChainStatus::WrongUsage { has: "clientAuth, codeSigning".to_owned() }
        );
    }

    #[test]
    fn dec_25_an_empty_subject_does_not_matter() {
        let ca = Ca::new("Root");
        let issued = ca.issue("", |params| san(params, &[San::Dns("a.ex")]));
        assert_eq!(issued.facts().subject, "");
        assert_eq!(judge(&issued, &ca), ChainStatus::Valid);
    }

    #[test]
    fn tls_09_a_leaf_cannot_issue_and_a_wrong_signature_does_not_pass() {
        let ca = Ca::new("Root");
        let mut forged = ca.server(&["a.ex"]);
        let mut der = forged.chain[0].to_vec();
        *der.last_mut().unwrap() ^= 1;
        forged.chain[0] = der.into();
        assert!(matches!(judge(&forged, &ca), ChainStatus::Other(_) | ChainStatus::UnknownIssuer { .. }));
        let constrained = Ca::with("Narrow", |params| {
            let permitted = rcgen::GeneralSubtree::DnsName("ex".to_owned());
            params.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![permitted],
                excluded_subtrees: Vec::new(),
            });
        });
        assert_eq!(judge(&constrained.server(&["a.ex"]), &constrained), ChainStatus::Valid);
        let ChainStatus::Other(detail) = judge(&constrained.server(&["a.com"]), &constrained) else {
            panic!()
        };
        assert_eq!(detail, "its names are outside those its issuer may certify");
    }

    #[test]
    fn tls_09_unreadable_certificates_say_why() {
        let roots = Ca::new("Root").roots();
        let status = judge_chain(&version_1().chain, &roots, now()).to_string();
        assert!(status.contains("X.509 version 1"), "{status}");
        let status = judge_chain(&[b"nonsense".to_vec().into()], &roots, now());
        assert_eq!(status, ChainStatus::Other("it is not well-formed".to_owned()));
    }

    #[test]
    fn tls_15_roots_come_from_a_file_or_say_what_is_wrong_with_it() {
        let (a, b) = (Ca::new("A"), Ca::new("B"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        std::fs::write(&file, format!("A comment\n{}{}", a.pem(), b.pem())).unwrap();
        let roots = Roots::from_pem_file(&file).unwrap();
        assert_eq!((roots.len(), roots.source()), (2, file.to_str().unwrap()));
        for ca in [&a, &b] {
            assert_eq!(judge_chain(&ca.server(&["x"]).chain, &roots, now()), ChainStatus::Valid);
        }

        let name = file.display();
        let key = a.server(&["x"]).key_pem();
        let cases = [
            (String::new(), format!("{name} has no certificate: it is empty")),
            (key, format!("{name} has no certificate: it has PRIVATE KEY")),
            (
                "hello".to_owned(),
                format!("{name} has no certificate: it is not PEM (there is no line “-----BEGIN …-----”)"),
            ),
            (
                pem(&[b"hello".to_vec().into()]),
                format!("certificate 1 in {name} cannot serve as a root: it is not well-formed"),
            ),
        ];
        for (text, expected) in cases {
            std::fs::write(&file, text).unwrap();
            assert_eq!(Roots::from_pem_file(&file).unwrap_err().to_string(), expected);
        }
        let missing = Roots::from_pem_file(Path::new("/no/such/file.pem")).unwrap_err().to_string();
        assert_eq!(missing, "cannot read /no/such/file.pem: No such file or directory (os error 2)");
    }

    fn judge(issued: &Issued, ca: &Ca) -> ChainStatus {
        judge_chain(&issued.chain, &ca.roots(), now())
    }
}
