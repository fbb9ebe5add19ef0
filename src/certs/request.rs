//! Keys, and requests to have them certified (PKCS #10, RFC 2986).

use std::fmt;

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, string::PrintableString,
};
use yasna::models::ObjectIdentifier;
use yasna::{DERWriter, Tag, construct_der};
use zeroize::Zeroizing;

use crate::config::Domain;

/// Names that one request may carry; CAs take 100, some fewer.
pub(super) const MAX_NAMES: usize = 100;
/// Longest common name (RFC 5280, ub-common-name), and the same for the other texts of a subject but the country.
const MAX_TEXT: usize = 64;

/// id-on-xmppAddr (RFC 6120 §13.7.1.4), id-on-dnsSRV (RFC 4985).
const XMPP_ADDR: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 5];
const DNS_SRV: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 7];

/// A kind of key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with 2048 bits: what Lync asks for by default, and what everybody takes.
    #[default]
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA on the curve P-256.
    P256,
}

impl KeyKind {
    /// All kinds, with the words for them.
    pub const ALL: [(&str, Self); 4] = [
        ("rsa2048", Self::Rsa2048),
        ("rsa3072", Self::Rsa3072),
        ("rsa4096", Self::Rsa4096),
        ("p256", Self::P256),
    ];

    /// A new key of this kind, as PKCS #8 in PEM.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(self) -> Result<Zeroizing<String>, RequestError> {
        let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        let key = match self {
            Self::Rsa2048 => rsa(RsaKeySize::_2048),
            Self::Rsa3072 => rsa(RsaKeySize::_3072),
            Self::Rsa4096 => rsa(RsaKeySize::_4096),
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        };
        let key = key.map_err(|error| RequestError::Key(error.to_string()))?;
        Ok(Zeroizing::new(key.serialize_pem()))
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "RSA, 2048 bits",
            Self::Rsa3072 => "RSA, 3072 bits",
            Self::Rsa4096 => "RSA, 4096 bits",
            Self::P256 => "ECDSA, P-256",
        })
    }
}

/// Whose certificate it is to be. What is absent stays out of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// O
    pub organisation: Option<String>,
    /// OU
    pub unit: Option<String>,
    /// L
    pub locality: Option<String>,
    /// ST
    pub state: Option<String>,
    /// C, two letters.
    pub country: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Whose it is to be.
    pub subject: Subject,
    /// dNSNames, in A-labels. The first one is the common name too, for people and old software, if it is not too long.
    pub names: Vec<String>,
    /// XMPP domains for each of which an SRVName and an XmppAddr are asked for. Public CAs do not issue those, and some refuse
    /// a request that has them; with a CA of one's own they make a certificate that is for XMPP and says so.
    pub xmpp_names: Vec<Domain>,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// It in PEM.
    pub pem: String,
}

/// Why no request was made. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is nothing to put into the certificate.
    #[error(
        "there is no name to ask for: the configuration does not say by which name the gateway is called there; give it with --name"
    )]
    NoName,
    /// More than `MAX_NAMES`.
    #[error(
        "{0} names are more than a CA takes ({MAX_NAMES}); spread the domains over several [[certificate]] entries"
    )]
    TooManyNames(usize),
    /// A text of the subject cannot be in one.
    #[error("{0}")]
    Subject(String),
    /// There is no key.
    #[error("no key can be made: {0}")]
    Key(String),
    /// The request cannot be made with this key.
    #[error("the request cannot be signed with this key: {0}; leave --keep-key out, and a new one is made")]
    Sign(String),
}

/// Makes a request for the key in this PEM text.
///
/// # Errors
/// See [`RequestError`].
pub fn request(key: &str, wanted: &Request) -> Result<Made, RequestError> {
    if wanted.names.is_empty() {
        return Err(RequestError::NoName);
    }
    if wanted.names.len() > MAX_NAMES {
        return Err(RequestError::TooManyNames(wanted.names.len()));
    }
    let sign = |error: rcgen::Error| RequestError::Sign(error.to_string());
    let key = KeyPair::from_pem(key).map_err(sign)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(wanted)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if std::ptr::eq(key.algorithm(), &PKCS_RSA_SHA256) {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    // Public CAs give clientAuth to nobody any more, and leave it out; others may give it, and some servers ask for it.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let names = construct_der(|writer| alternative_names(writer, wanted));
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], names)];
    let request = params.serialize_request(&key).map_err(sign)?;
    Ok(Made { pem: request.pem().map_err(sign)? })
}

fn subject(wanted: &Request) -> Result<DistinguishedName, RequestError> {
    let Subject { organisation, unit, locality, state, country } = &wanted.subject;
    let mut name = DistinguishedName::new();
    if let Some(country) = country {
        let letters = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic());
        let code = PrintableString::try_from(country.to_ascii_uppercase()).ok().filter(|_| letters);
        let wrong = || {
            let text =
                format!("country {country:?} is not a code of two letters, such as DE or FR (ISO 3166)");
            RequestError::Subject(text)
        };
        name.push(DnType::CountryName, DnValue::PrintableString(code.ok_or_else(wrong)?));
    }
    for (what, kind, text) in [
        ("state", DnType::StateOrProvinceName, state),
        ("locality", DnType::LocalityName, locality),
        ("organisation", DnType::OrganizationName, organisation),
        ("unit", DnType::OrganizationalUnitName, unit),
    ] {
        let Some(text) = text else { continue };
        let text = text.trim();
        if text.is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
            let text = format!("{what} has to be a text of 1 to {MAX_TEXT} characters in one line");
            return Err(RequestError::Subject(text));
        }
        name.push(kind, text);
    }
    // What follows a name that is too long is not the name.
    if let Some(first) = wanted.names.first().filter(|name| name.len() <= MAX_TEXT) {
        name.push(DnType::CommonName, first.as_str());
    }
    Ok(name)
}

/// GeneralNames (RFC 5280 §4.2.1.6).
fn alternative_names(writer: DERWriter<'_>, wanted: &Request) {
    writer.write_sequence(|writer| {
        for name in &wanted.names {
            writer.next().write_tagged_implicit(Tag::context(2), |writer| writer.write_ia5_string(name));
        }
        for domain in &wanted.xmpp_names {
            let service = format!("_xmpp-server.{domain}");
            other_name(writer.next(), DNS_SRV, |writer| writer.write_ia5_string(&service));
            // A JID has U-labels.
            other_name(writer.next(), XMPP_ADDR, |writer| writer.write_utf8_string(&domain.to_unicode()));
        }
    });
}

fn other_name(writer: DERWriter<'_>, kind: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_tagged_implicit(Tag::context(0), |writer| {
        writer.write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(kind));
            writer.next().write_tagged(Tag::context(0), value);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::super::show::{ShownItem, show};
    use super::*;

    fn wanted(names: &[&str]) -> Request {
        Request { names: names.iter().map(|&name| name.to_owned()).collect(), ..Request::default() }
    }

    fn made(kind: KeyKind, wanted: &Request) -> ShownItem {
        let made = request(&kind.generate().unwrap(), wanted).unwrap();
        let mut shown = show(made.pem.as_bytes()).unwrap();
        assert_eq!(shown.len(), 1);
        shown.remove(0)
    }

    #[test]
    fn a_request_carries_its_names_its_subject_and_both_usages_and_is_signed() {
        let subject = Subject {
            organisation: Some("Contoso Bücher GmbH".into()),
            unit: Some("IT".into()),
            locality: Some("Köln".into()),
            state: Some("NRW".into()),
            country: Some("de".into()),
        };
        let request = Request { subject, ..wanted(&["contoso.com", "xn--bcher-kva.example"]) };
        for (kind, key) in [(KeyKind::Rsa2048, "RSA, 2048 bits"), (KeyKind::P256, "ECDSA, P-256")] {
            let ShownItem::Request { subject, names, key: shown, usages, signed } = made(kind, &request)
            else {
                panic!("it is no request");
            };
            assert_eq!(subject, "C=DE, ST=NRW, L=Köln, O=Contoso Bücher GmbH, OU=IT, CN=contoso.com");
            assert_eq!(names, ["DNS:contoso.com", "DNS:xn--bcher-kva.example"]);
            assert_eq!((shown.as_str(), signed), (key, true));
            assert_eq!(usages, ["serverAuth", "clientAuth"]);
        }
    }

    #[test]
    fn tls_11_names_for_xmpp_alone_are_asked_for_in_both_forms() {
        let request =
            Request { xmpp_names: vec![Domain::new("bücher.example").unwrap()], ..wanted(&["contoso.com"]) };
        let ShownItem::Request { names, .. } = made(KeyKind::P256, &request) else {
            panic!("it is no request")
        };
        assert_eq!(
            names,
            ["DNS:contoso.com", "SRV:_xmpp-server.xn--bcher-kva.example", "XMPP:bücher.example"]
        );
    }

    #[test]
    fn a_common_name_that_would_be_too_long_is_left_out() {
        let long = format!("{}.{}.example", "a".repeat(28), "b".repeat(28));
        for (name, common) in [(&long[1..], true), (&long[..], false)] {
            assert_eq!(name.len(), if common { 64 } else { 65 });
            let ShownItem::Request { subject, names, .. } = made(KeyKind::P256, &wanted(&[name])) else {
                panic!("it is no request");
            };
            assert_eq!(subject.contains("CN="), common, "{subject}");
            assert_eq!(names, [format!("DNS:{name}")]);
        }
    }

    #[test]
    fn names_have_a_limit_and_texts_have_a_form() {
        let key = KeyKind::P256.generate().unwrap();
        let many: Vec<String> = (0..=MAX_NAMES).map(|number| format!("d{number}.example")).collect();
        let of = |names: &[String]| request(&key, &Request { names: names.to_vec(), ..Request::default() });
        assert!(of(&many[1..]).is_ok());
        assert_eq!(of(&many), Err(RequestError::TooManyNames(MAX_NAMES + 1)));
        assert_eq!(of(&[]), Err(RequestError::NoName));
        let with = |subject| request(&key, &Request { subject, ..wanted(&["a.example"]) });
        for country in ["D", "DEU", "4x", "ö"] {
            let subject = Subject { country: Some(country.into()), ..Subject::default() };
            assert!(matches!(with(subject), Err(RequestError::Subject(_))), "{country}");
        }
        for (text, good) in
            [("x".repeat(MAX_TEXT), true), ("x".repeat(MAX_TEXT + 1), false), (" ".into(), false)]
        {
            let subject = Subject { organisation: Some(text), ..Subject::default() };
            assert_eq!(with(subject).is_ok(), good);
        }
    }
}
