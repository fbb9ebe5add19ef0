//! One of our certificates with its private key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as RustlsError, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pem::{self, PemError};
use super::{CertificateError, PeerCertificate, Usage, date, printable};

/// A certificate chain and the private key that belongs to it.
pub struct Identity {
    key: Arc<CertifiedKey>,
    certificate: PeerCertificate,
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read, or is not what it should be.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate of the chain is unusable.
    #[error("certificate {index} in {} is unusable: {why}", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Its number in the file, from 1.
        index: usize,
        /// What is wrong with it.
        why: CertificateError,
    },
    /// The certificates are not in the order in which each is issued by the next.
    #[error(
        "certificate {index} in {} (“{subject}”) is not the issuer of the one before it (“{issuer}”): the file must have \
         the server's certificate first, then its issuer's, and so on; leave out what does not belong there",
        file.display()
    )]
    ChainOrder {
        /// The file.
        file: PathBuf,
        /// The number of the certificate that does not fit, from 1.
        index: usize,
        /// Its subject.
        subject: String,
        /// The issuer that the one before it names.
        issuer: String,
    },
    /// The private key is of a kind or length that cannot be used.
    #[error("the private key in {} is unusable: {detail}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The private key belongs to another certificate.
    #[error(
        "the private key in {} does not belong to the first certificate in {} (“{subject}”)", key.display(),
        certificate.display()
    )]
    KeyMismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// The certificate's subject.
        subject: String,
    },
}

/// Something about a usable certificate that will make peers refuse it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IdentityConcern {
    /// It has expired.
    Expired {
        /// When.
        since: SystemTime,
    },
    /// It is not valid yet.
    NotYetValid {
        /// From when on it is.
        from: SystemTime,
    },
    /// The file has only the server's certificate. That is right only if every peer knows its issuer as a root.
    IssuerNotIncluded {
        /// The issuer.
        issuer: String,
    },
    /// It is restricted to usages other than TLS servers.
    NotForServers,
}

impl Identity {
    /// Loads a chain (our certificate first) and its private key from PEM files.
    ///
    /// # Errors
    ///
    /// Each says which file is concerned and what to do.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, IdentityError> {
        Self::from_pem(&pem::read(certificate)?, certificate, &pem::read(key)?, key)
    }

    /// As [`Self::load`], from texts; the files are only named in errors.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn from_pem(
        certificate: &[u8],
        certificate_file: &Path,
        key: &[u8],
        key_file: &Path,
    ) -> Result<Self, IdentityError> {
        let chain = pem::certificates(certificate, certificate_file)?;
        let facts = check_chain(&chain, certificate_file)?;
        let unusable = |error: &RustlsError| IdentityError::Key {
            file: key_file.into(),
            detail: match error {
                RustlsError::General(detail) => printable(detail),
                other => printable(&other.to_string()),
            },
        };
        let key = pem::private_key(key, key_file)?;
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| unusable(&error))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => Ok(Self { key: Arc::new(key), certificate: facts }),
            Err(RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(IdentityError::KeyMismatch {
                    key: key_file.into(),
                    certificate: certificate_file.into(),
                    subject: facts.subject,
                })
            }
            Err(error) => Err(unusable(&error)),
        }
    }

    /// What our certificate says.
    pub fn certificate(&self) -> &PeerCertificate {
        &self.certificate
    }

    /// The chain as it is sent, for [`super::judge_chain`].
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// What will make peers refuse the certificate, as far as can be seen from here.
    pub fn concerns(&self, now: SystemTime) -> Vec<IdentityConcern> {
        let facts = &self.certificate;
        let mut concerns = Vec::new();
        if facts.not_after < now {
            concerns.push(IdentityConcern::Expired { since: facts.not_after });
        }
        if facts.not_before > now {
            concerns.push(IdentityConcern::NotYetValid { from: facts.not_before });
        }
        if self.key.cert.len() == 1 && !facts.self_signed {
            concerns.push(IdentityConcern::IssuerNotIncluded { issuer: facts.issuer.clone() });
        }
        if facts.usages.as_ref().is_some_and(|usages| !usages.contains(&Usage::ServerAuth)) {
            concerns.push(IdentityConcern::NotForServers);
        }
        concerns
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl fmt::Display for IdentityConcern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { since } => write!(f, "the certificate expired on {}", date(*since)),
            Self::NotYetValid { from } => write!(f, "the certificate is not valid before {}", date(*from)),
            Self::IssuerNotIncluded { issuer } => write!(
                f,
                "the file has only the server's certificate; unless its issuer “{issuer}” is a root that peers know, append \
                 the issuer's certificate"
            ),
            Self::NotForServers => f.write_str(
                "the certificate is restricted to usages other than serverAuth; peers will refuse it",
            ),
        }
    }
}

/// Reads every certificate, and checks that each is issued by the next: peers with TLS 1.2 may insist on it.
fn check_chain(chain: &[CertificateDer<'_>], file: &Path) -> Result<PeerCertificate, IdentityError> {
    let unusable =
        |index: usize, why| IdentityError::Certificate { file: file.into(), index: index + 1, why };
    let mut leaf = None;
    let mut issuer: Option<(Vec<u8>, String)> = None;
    for (index, der) in chain.iter().enumerate() {
        let facts = PeerCertificate::from_der(der).map_err(|why| unusable(index, why))?;
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|error| unusable(index, CertificateError::Malformed(printable(&error.to_string()))))?;
        if let Some((raw, name)) = issuer
            && raw != parsed.subject().as_raw()
        {
            let subject = facts.subject;
            return Err(IdentityError::ChainOrder {
                file: file.into(),
                index: index + 1,
                subject,
                issuer: name,
            });
        }
        issuer = Some((parsed.issuer().as_raw().to_vec(), facts.issuer.clone()));
        leaf.get_or_insert(facts);
    }
    leaf.ok_or_else(|| unusable(0, CertificateError::Malformed("there is none".to_owned())))
}

#[cfg(test)]
impl Identity {
    /// Without checking that the key belongs to the certificate, or that the certificate is readable: for impostors.
    pub(super) fn unchecked(
        chain: Vec<CertificateDer<'static>>,
        key_pem: &str,
        certificate: PeerCertificate,
    ) -> Self {
        let key = pem::private_key(key_pem.as_bytes(), Path::new("k.pem")).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Self { key: Arc::new(CertifiedKey::new(chain, key)), certificate }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::ExtendedKeyUsagePurpose;
    use tempfile::TempDir;

    use super::*;
    use crate::tls::testing::{Ca, eku, now, pem as to_pem, validity, version_1};

    #[test]
    fn tls_19_a_chain_with_its_key_is_loaded() {
        let ca = Ca::new("Root");
        let intermediate = ca.intermediate("Between");
        let mut issued = intermediate.server(&["a.ex"]);
        issued.chain.push(intermediate.der());
        let identity = load(&issued.pem(), &issued.key_pem()).unwrap();
        assert_eq!(identity.chain(), issued.chain);
        assert_eq!(identity.certificate().subject, "CN=server");
        assert_eq!(identity.concerns(now()), []);
        assert!(!format!("{identity:?}").contains("key:"), "the key must not be printable");
    }

    #[test]
    fn tls_19_chain_and_key_may_share_a_file() {
        let issued = Ca::new("Root").server(&["a.ex"]);
        let both = format!("{}{}", issued.key_pem(), issued.pem());
        assert!(load(&both, &both).is_ok());
    }

    #[test]
    fn errors_say_which_file_is_wrong_and_how() {
        let ca = Ca::new("Root");
        let (one, two) = (ca.server(&["one.ex"]), ca.server(&["two.ex"]));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let reversed = to_pem(&[ca.der(), one.chain[0].clone()]);
        let cut = one.pem().replace("-----END CERTIFICATE-----", "");
        let csr = "-----BEGIN CERTIFICATE REQUEST-----\r\nAAAA\r\n-----END CERTIFICATE REQUEST-----\r\n";
        let cases = [
            (
                one.pem(),
                two.key_pem(),
                "the private key in KEY does not belong to the first certificate in CERT (“CN=server”)",
            ),
            (String::new(), one.key_pem(), "CERT has no certificate: it is empty"),
            (one.key_pem(), one.key_pem(), "CERT has no certificate: it has PRIVATE KEY"),
            (csr.to_owned(), one.key_pem(), "CERT has no certificate: it has CERTIFICATE REQUEST"),
            (one.pem(), one.pem(), "KEY has no private key: it has CERTIFICATE"),
            (
                one.pem(),
                "hello".to_owned(),
                "KEY has no private key: it is not PEM (there is no line “-----BEGIN …-----”)",
            ),
            (
                one.pem(),
                encrypted.to_owned(),
                "the private key in KEY is encrypted; remove the password (for example with `openssl pkey`) and protect the \
                 file by its permissions",
            ),
            (
                one.pem(),
                one.key_pem() + &two.key_pem(),
                "KEY has 2 private keys; leave only the one that belongs to the certificate",
            ),
            (
                reversed,
                one.key_pem(),
                "certificate 2 in CERT (“CN=server”) is not the issuer of the one before it (“CN=Root”): the file must have \
                 the server's certificate first, then its issuer's, and so on; leave out what does not belong there",
            ),
            (cut, one.key_pem(), "CERT is broken PEM: the line “-----END CERTIFICATE-----” is missing"),
            (
                version_1().pem(),
                one.key_pem(),
                "certificate 1 in CERT is unusable: it is an X.509 version 1 certificate; only version 3 is accepted: have \
                 it issued anew",
            ),
        ];
        for (certificate, key, expected) in cases {
            assert_eq!(load(&certificate, &key).unwrap_err(), expected);
        }
        let garbage = to_pem(&[b"garbage".to_vec().into()]);
        assert!(
            load(&garbage, &one.key_pem())
                .unwrap_err()
                .starts_with("certificate 1 in CERT is unusable: it is not a")
        );
        let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(
            load(&one.pem(), broken_key).unwrap_err().starts_with("the private key in KEY is unusable: ")
        );
    }

    #[test]
    fn a_missing_file_and_der_are_named() {
        let issued = Ca::new("Root").server(&["a.ex"]);
        let folder = TempDir::new().unwrap();
        let (certificate, key) = (folder.path().join("c.der"), folder.path().join("k.pem"));
        let error = Identity::load(&certificate, &key).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cannot read {}: No such file or directory (os error 2)", certificate.display())
        );
        fs::write(&certificate, &issued.chain[0]).unwrap();
        fs::write(&key, issued.key_pem()).unwrap();
        let error = Identity::load(&certificate, &key).unwrap_err().to_string();
        assert!(
            error.ends_with("has no certificate: it seems to be DER, not PEM (convert it with `openssl`)"),
            "{error}"
        );
    }

    #[test]
    fn concerns_name_what_peers_will_object_to() {
        let ca = Ca::new("Root").intermediate("Between");
        let issued = ca.issue("x", |params| {
            validity(params, 2020, 2025);
            eku(params, &[ExtendedKeyUsagePurpose::ClientAuth]);
        });
        let identity = load(&issued.pem(), &issued.key_pem()).unwrap();
        assert_eq!(
            identity.concerns(now()),
            [
                IdentityConcern::Expired { since: issued.facts().not_after },
                IdentityConcern::IssuerNotIncluded { issuer: "CN=Between".to_owned() },
                IdentityConcern::NotForServers,
            ]
        );
        let early = ca.issue("x", |params| validity(params, 2030, 2031));
        let identity = load(&early.pem(), &early.key_pem()).unwrap();
        assert_eq!(
            identity.concerns(now())[0],
            IdentityConcern::NotYetValid { from: early.facts().not_before }
        );
    }

    /// Loads from real files; in errors their names become CERT and KEY.
    fn load(certificate: &str, key: &str) -> Result<Identity, String> {
        let folder = TempDir::new().unwrap();
        let (certificate_file, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        fs::write(&certificate_file, certificate).unwrap();
        fs::write(&key_file, key).unwrap();
        let plain = |path: &Path| path.display().to_string();
        Identity::load(&certificate_file, &key_file).map_err(|error| {
            error.to_string().replace(&plain(&certificate_file), "CERT").replace(&plain(&key_file), "KEY")
        })
    }
}
