//! What in the make of a certificate keeps peers from taking it: key, signature, usages.

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::super::Findings;
use crate::certs::{key_in_words, signature_in_words};
use crate::tls::{Identity, printable};

/// id-pe-tlsfeature (RFC 7633).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";

/// Looks at each certificate of the chain that is sent. `windows`: whether who is shown it may run on Windows.
pub(super) fn check(identity: &Identity, windows: bool, findings: &mut Findings) {
    for (number, der) in identity.chain().iter().enumerate() {
        // One that cannot be read has been spoken of.
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
        let what = match number {
            0 => "it".to_owned(),
            _ => format!("its issuer “{}”", printable(&certificate.subject().to_string())),
        };
        signature(&what, &certificate, findings);
        if number == 0 {
            key(&certificate, windows, findings);
            usages(&certificate, findings);
        }
    }
}

fn signature(what: &str, certificate: &X509Certificate<'_>, findings: &mut Findings) {
    // Nobody looks at how a root is signed.
    if certificate.subject().as_raw() == certificate.issuer().as_raw() {
        return;
    }
    let signature = signature_in_words(&certificate.signature_algorithm.algorithm.to_id_string());
    if ["SHA-1", "MD5"].iter().any(|weak| signature.starts_with(weak)) {
        findings.wrong(
            format!("{what} is signed with {signature}, which nobody accepts any more (RFC 9155)"),
            "have it issued anew, with SHA-256".to_owned(),
        );
    }
}

fn key(certificate: &X509Certificate<'_>, windows: bool, findings: &mut Findings) {
    let key = certificate.public_key();
    let words = key_in_words(key);
    let (short, common) = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => (rsa.key_size() < 2048, true),
        _ => (false, ["ECDSA, P-256", "ECDSA, P-384"].contains(&words.as_str())),
    };
    let fix =
        "make a new key with “nuncio cert request” (RSA or P-256), and have a certificate issued for it";
    if short {
        findings.wrong(format!("its key ({words}) is too short (RFC 9325 §4.5)"), fix.to_owned());
    } else if !common {
        let who = if windows { "Windows servers do not" } else { "many servers do not" };
        findings.warning(format!("its key is of a kind that {who} know: {words}"), fix.to_owned());
    } else {
        findings.good(format!("its key is good ({words})"));
    }
}

fn usages(certificate: &X509Certificate<'_>, findings: &mut Findings) {
    let anew = |what: &str| format!("have it issued anew {what}");
    if let Ok(Some(usage)) = certificate.key_usage()
        && !usage.value.digital_signature()
    {
        findings.wrong(
            "its key usage lacks digitalSignature: with TLS 1.3, or forward secrecy, it cannot be used (RFC 8446 §4.4.2.2)"
                .to_owned(),
            anew("as a server's, key usage digitalSignature"),
        );
    }
    let must_staple = certificate
        .extensions()
        .iter()
        .any(|extension| matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { oid } if oid.to_id_string() == TLS_FEATURE));
    if must_staple {
        findings.warning(
            "it promises stapled OCSP answers (“must staple”), which this gateway does not give: who insists on them refuses it"
                .to_owned(),
            anew("without that extension"),
        );
    }
}
