//! Certificates and keys in PEM files, with errors that name the file and what is in it instead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::rustls::pki_types::pem::{PemObject, SectionKind};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::printable;

/// Why a PEM file is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The PEM text is broken.
    #[error("{} is broken PEM: {detail}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is none of what was expected.
    #[error("{} has no {expected}: {found}", file.display())]
    Lacks {
        /// The file.
        file: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What there is instead.
        found: String,
    },
    /// The private key needs a password, and there is nobody to type it.
    #[error(
        "the private key in {} is encrypted; remove the password (for example with `openssl pkey`) and protect the file by \
         its permissions", file.display()
    )]
    Encrypted {
        /// The file.
        file: PathBuf,
    },
    /// There are several private keys.
    #[error("{} has {count} private keys; leave only the one that belongs to the certificate", file.display())]
    SeveralKeys {
        /// The file.
        file: PathBuf,
        /// How many.
        count: usize,
    },
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, PemError> {
    fs::read(file).map_err(|source| PemError::Read { file: file.into(), source })
}

/// All certificates of the text, at least one.
///
/// # Errors
/// When the text is no PEM, or has none.
pub(crate) fn certificates(text: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(&error, file))?;
    if certificates.is_empty() {
        return Err(lacks("certificate", text, file));
    }
    Ok(certificates)
}

/// Certificates as PEM text.
pub(crate) fn pem_text<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    const LINE: usize = 64;
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for (place, letter) in encoded.char_indices() {
            if place > 0 && place % LINE == 0 {
                text.push('\n');
            }
            text.push(letter);
        }
        text.push_str("\n-----END CERTIFICATE-----\n");
    }
    text
}

/// A section of a PEM text.
pub(crate) enum Section {
    Certificate(Vec<u8>),
    Request(Vec<u8>),
    /// Of which nothing is kept.
    PrivateKey,
    /// Something else, in words.
    Other(String),
}

/// Everything that PEM text has, in its order.
///
/// # Errors
/// The number of the section that is broken, and what is wrong with it.
pub(crate) fn sections(text: &[u8]) -> Result<Vec<Section>, (usize, String)> {
    let mut sections = Vec::new();
    for section in <(SectionKind, Vec<u8>) as PemObject>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|error| (sections.len() + 1, words(&error)))?;
        sections.push(match kind {
            SectionKind::Certificate => Section::Certificate(der),
            SectionKind::Csr => Section::Request(der),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                Section::PrivateKey
            }
            SectionKind::Crl => Section::Other("a revocation list".to_owned()),
            SectionKind::PublicKey => Section::Other("a public key".to_owned()),
            _ => Section::Other("something of no use here".to_owned()),
        });
    }
    Ok(sections)
}

/// All revocation lists of the text, at least one.
pub(super) fn revocation_lists(
    text: &[u8],
    file: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, PemError> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(&error, file))?;
    if lists.is_empty() {
        return Err(lacks("revocation list", text, file));
    }
    Ok(lists)
}

/// The one private key of the text.
pub(super) fn private_key(text: &[u8], file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let encrypted =
        contains(text, b"ENCRYPTED PRIVATE KEY-----") || contains(text, b"Proc-Type: 4,ENCRYPTED");
    if encrypted {
        return Err(PemError::Encrypted { file: file.into() });
    }
    let mut keys: Vec<_> = PrivateKeyDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(&error, file))?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), others) => Err(PemError::SeveralKeys { file: file.into(), count: others + 1 }),
        (None, _) => Err(lacks("private key", text, file)),
    }
}

fn broken(error: &tokio_rustls::rustls::pki_types::pem::Error, file: &Path) -> PemError {
    PemError::Broken { file: file.into(), detail: words(error) }
}

/// What is wrong with PEM.
fn words(error: &tokio_rustls::rustls::pki_types::pem::Error) -> String {
    use tokio_rustls::rustls::pki_types::pem::Error;
    let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    match error {
        Error::MissingSectionEnd { end_marker } => {
            // Depending on the library's version this is the label or the whole line.
            let label = text(end_marker);
            let label = label.trim().trim_matches('-').trim_start_matches("END ");
            format!("the line “-----END {label}-----” is missing")
        }
        Error::IllegalSectionStart { line } => format!("the line “{}” is malformed", text(line).trim_end()),
        Error::Base64Decode(_) => "a section is not base64 (was the file cut or edited?)".to_owned(),
        other => printable(&other.to_string()),
    }
}

fn lacks(expected: &'static str, text: &[u8], file: &Path) -> PemError {
    let mut labels: Vec<String> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let label =
            line.strip_prefix(b"-----BEGIN ").and_then(|rest| rest.trim_ascii_end().strip_suffix(b"-----"));
        if let Some(label) = label {
            let label = printable(&String::from_utf8_lossy(label));
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
    }
    let bundle = contains_pkcs7(text, &labels);
    let found = match (text, labels.as_slice()) {
        ([], _) => "it is empty".to_owned(),
        _ if bundle.is_some() => format!(
            "it is a bundle of the kind PKCS #7 (.p7b), which has to be unpacked first: openssl pkcs7 -inform {} -in FILE.p7b \
             -print_certs -out FILE.pem",
            bundle.unwrap_or_default()
        ),
        // A DER sequence.
        ([0x30, ..], []) => "it seems to be DER, not PEM (convert it with `openssl`)".to_owned(),
        (_, []) => "it is not PEM (there is no line “-----BEGIN …-----”)".to_owned(),
        (_, labels) => format!("it has {}", labels.join(", ")),
    };
    PemError::Lacks { file: file.into(), expected, found }
}

/// Whether it is what CAs on Windows hand out as .p7b, and in which form.
fn contains_pkcs7(text: &[u8], labels: &[String]) -> Option<&'static str> {
    if labels.iter().any(|label| label == "PKCS7" || label == "PKCS #7 SIGNED DATA" || label == "CMS") {
        return Some("PEM");
    }
    is_pkcs7(text).then_some("DER")
}

/// Whether it begins as signed data in DER: a sequence with that type in front (RFC 2315 §14).
pub(crate) fn is_pkcs7(der: &[u8]) -> bool {
    const SIGNED_DATA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    der.first() == Some(&0x30) && contains(der.get(..20).unwrap_or(der), &SIGNED_DATA)
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}
