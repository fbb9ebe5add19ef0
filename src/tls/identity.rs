//! One of our certificates with its private key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as RustlsError, InconsistentKeys};
use x509_parser::asn1_rs::{Integer, Sequence};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::certificate::sha256;
#[cfg(feature = "openssl-legacy")]
use super::legacy;
use super::pem::{self, PemError};
use super::{CertificateError, PeerCertificate, Usage, date, printable};

#[cfg(test)]
mod tests;

/// Shorter RSA keys are not accepted, in bits (RFC 9325 §4.5).
const RSA_MIN: usize = 2048;

/// A certificate chain and the private key that belongs to it.
pub struct Identity {
    key: Arc<CertifiedKey>,
    certificate: PeerCertificate,
    /// The same key for OpenSSL, if it can use it.
    #[cfg(feature = "openssl-legacy")]
    legacy_key: Option<legacy::LegacyKey>,
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

/// Something about a usable certificate that peers may object to.
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
    /// The file ends with a root, which peers have already or do not believe.
    RootIncluded {
        /// The root.
        root: String,
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
        let short = chain.first().and_then(|leaf| short_rsa_key(leaf));
        let unusable = |error: &RustlsError| IdentityError::Key {
            file: key_file.into(),
            detail: match (short, error) {
                (Some(bits), _) => too_short(bits),
                (None, RustlsError::General(detail)) => printable(detail),
                (None, other) => printable(&other.to_string()),
            },
        };
        let key = pem::private_key(key, key_file)?;
        #[cfg(feature = "openssl-legacy")]
        let legacy_key = legacy::key(key.secret_der());
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| unusable(&error))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => Ok(Self {
                key: Arc::new(key),
                certificate: facts,
                #[cfg(feature = "openssl-legacy")]
                legacy_key,
            }),
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

    /// When the first certificate of the chain expires.
    pub fn ends(&self) -> SystemTime {
        let issuers = self.chain().iter().skip(1).filter_map(|der| PeerCertificate::from_der(der).ok());
        let first = issuers.map(|issuer| issuer.not_after).min();
        first.map_or(self.certificate.not_after, |first| first.min(self.certificate.not_after))
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
        if let [_, .., last] = self.key.cert.as_slice()
            && let Ok(last) = PeerCertificate::from_der(last)
            && last.self_signed
        {
            concerns.push(IdentityConcern::RootIncluded { root: last.subject });
        }
        if facts.usages.as_ref().is_some_and(|usages| !usages.contains(&Usage::ServerAuth)) {
            concerns.push(IdentityConcern::NotForServers);
        }
        concerns
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    #[cfg(feature = "openssl-legacy")]
    pub(super) fn legacy_key(&self) -> Option<&legacy::LegacyKey> {
        self.legacy_key.as_ref()
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
            Self::RootIncluded { root } => {
                write!(f, "the file ends with the root “{root}”, which peers do not need; leave it out")
            }
            Self::NotForServers => f.write_str(
                "the certificate is restricted to usages other than serverAuth; peers will refuse it",
            ),
        }
    }
}

/// SHA-256 of the public key that belongs to a private key in PEM, as [`PeerCertificate::spki_sha256`] is of a certificate's.
///
/// # Errors
/// When it is no private key, or of a kind that cannot be used. `file` is only named.
pub(crate) fn public_key_of(key: &[u8], file: &Path) -> Result<[u8; 32], IdentityError> {
    let unusable = |detail: &str| IdentityError::Key { file: file.into(), detail: printable(detail) };
    let key = pem::private_key(key, file)?;
    let short = rsa_bits(&key).filter(|bits| *bits < RSA_MIN);
    let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| match short {
        Some(bits) => unusable(&too_short(bits)),
        None => unusable(&error.to_string()),
    })?;
    let public = key.public_key().ok_or_else(|| unusable("its public key cannot be told"))?;
    Ok(sha256(&public))
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

fn too_short(bits: usize) -> String {
    format!(
        "an RSA key of {bits} bits is too short, {RSA_MIN} is the least; make a new key, and have a certificate issued for it"
    )
}

/// The bits of a private key, if it is one of RSA.
fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    match key {
        PrivateKeyDer::Pkcs1(key) => modulus_bits(key.secret_pkcs1_der()),
        // RFC 5208 §5: version, algorithm, and the key in an octet string.
        PrivateKeyDer::Pkcs8(key) => {
            let (_, info) = Sequence::from_der(key.secret_pkcs8_der()).ok()?;
            let (rest, _) = Integer::from_der(&info.content).ok()?;
            let (rest, _) = Sequence::from_der(rest).ok()?;
            let (_, inner) = <&[u8]>::from_der(rest).ok()?;
            modulus_bits(inner)
        }
        _ => None,
    }
}

/// RFC 8017 A.1.2: version, modulus, and more.
fn modulus_bits(pkcs1: &[u8]) -> Option<usize> {
    let (_, key) = Sequence::from_der(pkcs1).ok()?;
    let (rest, _) = Integer::from_der(&key.content).ok()?;
    let (_, modulus) = Integer::from_der(rest).ok()?;
    let bytes: &[u8] = modulus.as_ref();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(zeros..)?;
    let first = usize::try_from(bytes.first()?.leading_zeros()).ok()?;
    (bytes.len() * 8).checked_sub(first)
}

/// The bits of the certificate's RSA key, if they are too few.
fn short_rsa_key(der: &[u8]) -> Option<usize> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => Some(key.key_size()).filter(|bits| *bits < RSA_MIN),
        _ => None,
    }
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
        #[cfg(feature = "openssl-legacy")]
        let legacy_key = legacy::key(key.secret_der());
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Self {
            key: Arc::new(CertifiedKey::new(chain, key)),
            certificate,
            #[cfg(feature = "openssl-legacy")]
            legacy_key,
        }
    }
}
