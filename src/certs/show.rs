//! What is in a file with certificates or requests, for people and programs.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::tls::{PeerCertificate, SanName, Section, Usage, date, printable, san_name, sections, usages};

/// One thing in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ShownItem {
    /// A certificate.
    Certificate {
        /// Its subject.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// In hexadecimal.
        serial: String,
        /// `DNS:contoso.com` and so on.
        names: Vec<String>,
        /// Its key: `RSA, 2048 bits`.
        key: String,
        /// How it is signed: `SHA-256 with RSA`.
        signature: String,
        /// What it may be used for; `None`: anything.
        usages: Option<Vec<String>>,
        /// Whether it is a CA's.
        ca: bool,
        /// Start of validity.
        not_before: String,
        /// End of validity.
        not_after: String,
        /// SHA-256 of all of it, in hexadecimal.
        sha256: String,
        /// SHA-256 of its public key in base64: a pin.
        pin: String,
    },
    /// A signing request.
    Request {
        /// Its subject.
        subject: String,
        /// As of a certificate.
        names: Vec<String>,
        /// As of a certificate.
        key: String,
        /// What is asked for.
        usages: Vec<String>,
        /// Whether it is signed with the key that it is for.
        signed: bool,
    },
    /// A private key, of which nothing is shown.
    PrivateKey,
    /// A section of another kind.
    Other {
        /// Its label in the file.
        label: String,
    },
}

/// Why nothing can be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// It is neither PEM nor a certificate in DER.
    #[error("it holds neither PEM (no line “-----BEGIN …-----”) nor a certificate or request in DER")]
    Nothing,
    /// A section cannot be read.
    #[error("section {0} is broken: {1}")]
    Broken(usize, String),
}

/// Everything in a file: PEM, or one certificate or request in DER.
///
/// # Errors
/// See [`ShowError`].
pub fn show(text: &[u8]) -> Result<Vec<ShownItem>, ShowError> {
    if let Ok(item) = certificate(text).or_else(|_| request(text)) {
        return Ok(vec![item]);
    }
    let sections = sections(text).map_err(|(number, why)| ShowError::Broken(number, why))?;
    if sections.is_empty() {
        return Err(ShowError::Nothing);
    }
    let item = |(number, section)| {
        let broken = |why| ShowError::Broken(number, why);
        Ok(match section {
            Section::Certificate(der) => certificate(&der).map_err(broken)?,
            Section::Request(der) => request(&der).map_err(broken)?,
            Section::PrivateKey => ShownItem::PrivateKey,
            Section::Other(label) => ShownItem::Other { label },
        })
    };
    (1..).zip(sections).map(item).collect()
}

fn certificate(der: &[u8]) -> Result<ShownItem, String> {
    let facts = PeerCertificate::from_der(der).map_err(|error| error.to_string())?;
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| printable(&error.to_string()))?;
    Ok(ShownItem::Certificate {
        names: names(facts.names()),
        key: key(parsed.public_key()),
        signature: signature(&parsed.signature_algorithm.algorithm.to_id_string()),
        usages: facts.usages.as_deref().map(|list| list.iter().map(Usage::to_string).collect()),
        ca: facts.is_ca,
        not_before: date(facts.not_before),
        not_after: date(facts.not_after),
        sha256: hex(&facts.sha256),
        pin: STANDARD.encode(facts.spki_sha256),
        subject: facts.subject,
        issuer: facts.issuer,
        serial: facts.serial,
    })
}

fn request(der: &[u8]) -> Result<ShownItem, String> {
    let (_, parsed) =
        X509CertificationRequest::from_der(der).map_err(|error| printable(&error.to_string()))?;
    let info = &parsed.certification_request_info;
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for extension in parsed.requested_extensions().into_iter().flatten() {
        match extension {
            ParsedExtension::SubjectAlternativeName(list) => {
                found.extend(list.general_names.iter().map(san_name));
            }
            ParsedExtension::ExtendedKeyUsage(list) => {
                wanted.extend(usages(list).iter().map(Usage::to_string));
            }
            _ => {}
        }
    }
    Ok(ShownItem::Request {
        subject: printable(&info.subject.to_string()),
        names: names(&found),
        key: key(&info.subject_pki),
        usages: wanted,
        signed: parsed.verify_signature().is_ok(),
    })
}

fn names(names: &[SanName]) -> Vec<String> {
    let named = |name: &SanName| {
        let kind = match name {
            SanName::Dns(_) => "DNS:",
            SanName::Uri(_) => "URI:",
            SanName::SrvName(_) => "SRV:",
            SanName::XmppAddr(_) => "XMPP:",
            SanName::Other(_) => "",
        };
        format!("{kind}{name}")
    };
    names.iter().map(named).collect()
}

/// A public key in words.
pub(crate) fn key(key: &SubjectPublicKeyInfo<'_>) -> String {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA, {} bits", rsa.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
            match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => "ECDSA, P-256".to_owned(),
                Some("1.3.132.0.34") => "ECDSA, P-384".to_owned(),
                Some("1.3.132.0.35") => "ECDSA, P-521".to_owned(),
                Some(other) => format!("ECDSA, curve {other}"),
                None => "ECDSA, curve given by parameters".to_owned(),
            }
        }
        _ => match key.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            "1.2.840.113549.1.1.10" => "RSA-PSS".to_owned(),
            other => format!("algorithm {other}"),
        },
    }
}

/// A signature algorithm in words.
pub(crate) fn signature(oid: &str) -> String {
    match oid {
        "1.2.840.113549.1.1.11" => "SHA-256 with RSA",
        "1.2.840.113549.1.1.12" => "SHA-384 with RSA",
        "1.2.840.113549.1.1.13" => "SHA-512 with RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10045.4.3.2" => "SHA-256 with ECDSA",
        "1.2.840.10045.4.3.3" => "SHA-384 with ECDSA",
        "1.2.840.10045.4.3.4" => "SHA-512 with ECDSA",
        "1.3.101.112" => "Ed25519",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "SHA-1 with RSA",
        "1.2.840.10045.4.1" => "SHA-1 with ECDSA",
        "1.2.840.113549.1.1.4" => "MD5 with RSA",
        other => return format!("algorithm {other}"),
    }
    .to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for ShownItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: &str| writeln!(f, "  {what:<11} {value}");
        match self {
            Self::Certificate {
                subject,
                issuer,
                serial,
                names,
                key,
                signature,
                usages,
                ca,
                not_before,
                not_after,
                sha256,
                pin,
            } => {
                line("certificate", if subject.is_empty() { "(no subject)" } else { subject })?;
                line("issued by", if issuer == subject { "itself" } else { issuer })?;
                line("names", &listed(names))?;
                line("valid", &format!("{not_before} to {not_after}"))?;
                line("key", key)?;
                line("signed", signature)?;
                let for_all = || "anything".to_owned();
                line("for", &usages.as_ref().map_or_else(for_all, |usages| listed(usages)))?;
                if *ca {
                    line("a CA's", "yes")?;
                }
                line("serial", serial)?;
                line("SHA-256", sha256)?;
                line("pin", pin)
            }
            Self::Request { subject, names, key, usages, signed } => {
                line("request", if subject.is_empty() { "(no subject)" } else { subject })?;
                line("names", &listed(names))?;
                line("key", key)?;
                line("for", &listed(usages))?;
                let says = if *signed {
                    "with this key, as it has to be"
                } else {
                    "NOT with this key: it is of no use"
                };
                line("signed", says)
            }
            Self::PrivateKey => line("private key", "(never shown)"),
            Self::Other { label } => line("other", label),
        }
    }
}

fn listed(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Ca, San, san};

    #[test]
    fn everything_in_a_file_is_shown_in_its_order_and_keys_are_not() {
        let ca = Ca::new("Root");
        let issued = ca.issue("contoso.com", |params| {
            san(
                params,
                &[San::Dns("contoso.com"), San::Srv("_xmpp-server.contoso.com"), San::Ip([192, 0, 2, 1])],
            );
        });
        let text = format!("some words\n{}{}{}", issued.key_pem(), issued.pem(), ca.pem());
        let shown = show(text.as_bytes()).unwrap();
        let [ShownItem::PrivateKey, leaf @ ShownItem::Certificate { names, key, signature, pin, .. }, root] =
            shown.as_slice()
        else {
            panic!("{shown:?}");
        };
        assert_eq!(names, &["DNS:contoso.com", "SRV:_xmpp-server.contoso.com", "IP address 192.0.2.1"]);
        assert_eq!((key.as_str(), signature.as_str()), ("ECDSA, P-256", "SHA-256 with ECDSA"));
        assert_eq!(pin, &STANDARD.encode(issued.facts().spki_sha256));
        assert!(root.to_string().contains("issued by   itself"), "{root}");
        assert!(root.to_string().contains("a CA's      yes"), "{root}");
        let everything: String = shown.iter().map(ToString::to_string).collect();
        let secret = issued.key_pem();
        let line = secret.lines().nth(1).unwrap();
        assert!(text.contains(line) && !everything.contains(line), "the key is shown");
        assert_eq!(show(&issued.chain[0]).unwrap(), std::slice::from_ref(leaf), "in DER");
    }

    #[test]
    fn what_is_none_of_it_is_told() {
        assert_eq!(show(b""), Err(ShowError::Nothing));
        assert_eq!(show(b"words"), Err(ShowError::Nothing));
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(show(broken), Err(ShowError::Broken(1, _))));
    }
}
