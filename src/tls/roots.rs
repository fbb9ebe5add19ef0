//! The roots of trust of one side.

use std::fmt;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::{CertificateDer, TrustAnchor};

use super::chain::words;
use super::pem::{self, PemError};
use super::printable;

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

/// What those are called that the operating system comes with.
const SYSTEM: &str = "the system's roots";

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
        Self::from_system(&Self::read_system()?)
    }

    /// The certificates that [`Self::system`] takes, as they are.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn read_system() -> Result<Vec<CertificateDer<'static>>, RootsError> {
        let loaded = rustls_native_certs::load_native_certs();
        if loaded.certs.is_empty() {
            let detail = loaded
                .errors
                .first()
                .map_or_else(|| "it has none".to_owned(), |error| printable(&error.to_string()));
            return Err(RootsError::System { detail });
        }
        Ok(loaded.certs)
    }

    /// Takes the system's certificates.
    ///
    /// # Errors
    ///
    /// When none of them can serve.
    pub fn from_system(certificates: &[CertificateDer<'_>]) -> Result<Self, RootsError> {
        // A system's store may hold a few odd ones; they are no reason to trust none.
        let anchors: Vec<_> = certificates.iter().filter_map(|der| anchor(der).ok()).collect();
        if anchors.is_empty() {
            return Err(RootsError::System { detail: "none of them can serve as a root".to_owned() });
        }
        Ok(Self { anchors, source: SYSTEM.to_owned() })
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

    /// Whether they are those that the system comes with.
    pub fn is_system(&self) -> bool {
        self.source == SYSTEM
    }

    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
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

pub(super) fn anchor(der: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, webpki::Error> {
    Ok(webpki::anchor_from_trusted_cert(der)?.to_owned())
}
