//! What a certificate says, as plain data.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest as hash_of};
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate, X509Version};

use super::{date, printable};

/// id-on-xmppAddr (RFC 6120 §13.7.1.4).
const OID_XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
/// id-on-dnsSRV (RFC 4985).
const OID_SRV_NAME: &str = "1.3.6.1.5.5.7.8.7";

/// The facts of an end-entity certificate. Nothing here has been verified by anyone: see [`super::judge_chain`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerCertificate {
    /// The subject's distinguished name, for display.
    pub subject: String,
    /// The subject's (last) common name.
    pub common_name: Option<String>,
    /// The issuer's distinguished name, for display.
    pub issuer: String,
    /// The serial number in hexadecimal, bytes separated by colons.
    pub serial: String,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
    /// SHA-256 of the whole certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of the public key with its algorithm (SubjectPublicKeyInfo): what a pin is made of.
    pub spki_sha256: [u8; 32],
    /// The subject alternative names; `None` if the extension is absent, which is not the same as empty (RFC 5922 §7.1).
    pub alternative_names: Option<Vec<SanName>>,
    /// The extended key usages; `None` if the extension is absent, which means: no restriction.
    pub usages: Option<Vec<Usage>>,
    /// Whether subject and issuer are the same name.
    pub self_signed: bool,
    /// Whether it is a CA's certificate.
    pub is_ca: bool,
}

/// A subject alternative name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SanName {
    /// dNSName.
    Dns(String),
    /// uniformResourceIdentifier.
    Uri(String),
    /// id-on-dnsSRV: `_service.domain`.
    SrvName(String),
    /// id-on-xmppAddr: a JID, of a server just the domain.
    XmppAddr(String),
    /// Any other kind, for display only.
    Other(String),
}

/// A purpose that a certificate's extended key usage names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Usage {
    /// id-kp-serverAuth.
    ServerAuth,
    /// id-kp-clientAuth.
    ClientAuth,
    /// anyExtendedKeyUsage.
    Any,
    /// Another purpose, by its object identifier.
    Other(String),
}

/// Why a certificate cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// It is not a DER-encoded X.509 certificate.
    #[error("it is not a well-formed X.509 certificate ({0})")]
    Malformed(String),
    /// It is of X.509 version 1 or 2, which cannot carry alternative names and which TLS libraries refuse.
    #[error("it is an X.509 version {0} certificate; only version 3 is accepted: have it issued anew")]
    OldVersion(u32),
}

impl PeerCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// When it is malformed or of X.509 version 1 or 2.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let malformed =
            |detail: &dyn fmt::Display| CertificateError::Malformed(printable(&detail.to_string()));
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| malformed(&error))?;
        if !rest.is_empty() {
            return Err(malformed(&"bytes after its end"));
        }
        if certificate.version() != X509Version::V3 {
            return Err(CertificateError::OldVersion(certificate.version().0.saturating_add(1)));
        }
        // An extension that cannot be read is an error, not an absent one: only where alternative names are absent does the
        // common name count.
        let alternative_names = certificate
            .subject_alternative_name()
            .map_err(|error| malformed(&error))?
            .map(|extension| extension.value.general_names.iter().map(san_name).collect());
        let usages = certificate
            .extended_key_usage()
            .map_err(|error| malformed(&error))?
            .map(|extension| usages(extension.value));
        let common_name = certificate.subject().iter_common_name().last();
        Ok(Self {
            subject: printable(&certificate.subject().to_string()),
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            issuer: printable(&certificate.issuer().to_string()),
            serial: printable(&certificate.raw_serial_as_string()),
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
            sha256: sha256(der),
            spki_sha256: sha256(certificate.public_key().raw),
            alternative_names,
            usages,
            self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            is_ca: certificate.is_ca(),
        })
    }

    /// The subject alternative names, none if the extension is absent.
    pub fn names(&self) -> &[SanName] {
        self.alternative_names.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.subject.is_empty() { "(no subject)" } else { &self.subject };
        write!(
            f,
            "{subject}, issued by {}, valid {} to {}, serial {}",
            if self.self_signed { "itself" } else { &self.issuer },
            date(self.not_before),
            date(self.not_after),
            self.serial
        )
    }
}

impl fmt::Display for SanName {
    /// The name as in the certificate, made printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Dns(name)
        | Self::Uri(name)
        | Self::SrvName(name)
        | Self::XmppAddr(name)
        | Self::Other(name)) = self;
        f.write_str(&printable(name))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerAuth => "serverAuth",
            Self::ClientAuth => "clientAuth",
            Self::Any => "anyExtendedKeyUsage",
            Self::Other(oid) => oid,
        })
    }
}

/// SHA-256 over some texts, which are told apart: moving a byte from one to the next makes another digest.
pub(crate) fn digest(texts: &[impl AsRef<[u8]>]) -> [u8; 32] {
    let each: Vec<u8> = texts.iter().flat_map(|text| sha256(text.as_ref())).collect();
    sha256(&each)
}

/// SHA-256.
pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(hash_of(&SHA256, data).as_ref());
    hash
}

/// A name of a certificate, or of a request for one.
pub(crate) fn san_name(name: &GeneralName<'_>) -> SanName {
    match name {
        GeneralName::DNSName(name) => SanName::Dns((*name).to_owned()),
        GeneralName::URI(uri) => SanName::Uri((*uri).to_owned()),
        GeneralName::OtherName(oid, value) => other_name(oid, value),
        GeneralName::IPAddress(bytes) => SanName::Other(ip_address(bytes)),
        GeneralName::RFC822Name(address) => SanName::Other(format!("email {address}")),
        other => SanName::Other(other.to_string()),
    }
}

fn other_name(oid: &Oid<'_>, value: &[u8]) -> SanName {
    let oid = oid.to_id_string();
    match (oid.as_str(), other_name_text(value)) {
        (OID_XMPP_ADDR, Some(text)) => SanName::XmppAddr(text.to_owned()),
        (OID_SRV_NAME, Some(text)) => SanName::SrvName(text.to_owned()),
        _ => SanName::Other(format!("otherName {oid}")),
    }
}

/// The text of an otherName, `[0] EXPLICIT` around a string. An xmppAddr is to be a UTF8String and an SRVName an IA5String;
/// either type is taken for both, because common issuing tools mix them up and the type says nothing about who is named.
fn other_name_text(value: &[u8]) -> Option<&str> {
    const EXPLICIT_0: u8 = 0xa0;
    const UTF8_STRING: u8 = 0x0c;
    const IA5_STRING: u8 = 0x16;
    let inner = der_value(value, &[EXPLICIT_0])?;
    std::str::from_utf8(der_value(inner, &[UTF8_STRING, IA5_STRING])?).ok()
}

/// The content of a DER value with one of these tags that fills `der` to the end.
fn der_value<'a>(der: &'a [u8], tags: &[u8]) -> Option<&'a [u8]> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, content) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    (tags.contains(tag) && content.len() == length).then_some(content)
}

fn ip_address(bytes: &[u8]) -> String {
    let address = <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_or_else(|_| "a malformed IP address".to_owned(), |address| format!("IP address {address}"))
}

/// What an extended key usage names.
pub(crate) fn usages(extension: &x509_parser::extensions::ExtendedKeyUsage<'_>) -> Vec<Usage> {
    let mut usages = Vec::new();
    let known = [
        (extension.server_auth, Usage::ServerAuth),
        (extension.client_auth, Usage::ClientAuth),
        (extension.any, Usage::Any),
        (extension.code_signing, Usage::Other("codeSigning".to_owned())),
        (extension.email_protection, Usage::Other("emailProtection".to_owned())),
        (extension.time_stamping, Usage::Other("timeStamping".to_owned())),
        (extension.ocsp_signing, Usage::Other("OCSPSigning".to_owned())),
    ];
    usages.extend(known.into_iter().filter(|(present, _)| *present).map(|(_, usage)| usage));
    usages.extend(extension.other.iter().map(|oid| Usage::Other(oid.to_id_string())));
    usages
}

pub(super) fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if seconds < 0 { epoch.checked_sub(distance) } else { epoch.checked_add(distance) };
    time.unwrap_or(epoch)
}
