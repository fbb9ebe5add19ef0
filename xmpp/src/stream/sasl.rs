//! SASL EXTERNAL between servers (RFC 6120 §6, XEP-0178, RFC 4422 Appendix A): its encodings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use compact_str::CompactString;

use crate::jid::Domain;
use crate::named::named;
use crate::xml::{Element, StartTag, escape, ns};

pub(super) const EXTERNAL: &str = "EXTERNAL";

macro_rules! sasl_conditions {
    ($($variant:ident = $name:literal;)*) => {
        named! {
            /// The defined conditions of a SASL failure (RFC 6120 §6.5).
            pub enum SaslCondition {
                $(#[doc = concat!("`", $name, "`")] $variant = $name,)*
            }
        }
    };
}

sasl_conditions! {
    Aborted = "aborted";
    AccountDisabled = "account-disabled";
    CredentialsExpired = "credentials-expired";
    EncryptionRequired = "encryption-required";
    IncorrectEncoding = "incorrect-encoding";
    InvalidAuthzid = "invalid-authzid";
    InvalidMechanism = "invalid-mechanism";
    MalformedRequest = "malformed-request";
    MechanismTooWeak = "mechanism-too-weak";
    NotAuthorized = "not-authorized";
    TemporaryAuthFailure = "temporary-auth-failure";
}

impl SaslCondition {
    /// The condition of that name; one that nobody defined counts as `not-authorized` (RFC 6120 §6.5).
    pub fn read(name: &str) -> Self {
        Self::from_name(name).unwrap_or(Self::NotAuthorized)
    }
}

/// What an initiator's `<auth/>` or `<response/>` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// Nothing was sent: EXTERNAL wants an empty challenge then (RFC 4422 Appendix A).
    Absent,
    /// An empty one, `=`: the identity is that of the certificate and the stream.
    Empty,
    /// This identity.
    Domain(Domain),
}

/// Reads the character data of `<auth/>` or `<response/>`: strict base64 (SASL-04) of a domain and
/// nothing else (SASL-03).
pub(super) fn read_response(element: &Element) -> Result<Response, SaslCondition> {
    if element.elements().next().is_some() {
        return Err(SaslCondition::MalformedRequest);
    }
    let text = element.text();
    match &*text {
        "" => return Ok(Response::Absent),
        "=" => return Ok(Response::Empty),
        _ => {}
    }
    // This engine refuses foreign characters, white space, missing or misplaced padding and
    // trailing bits that are not zero.
    let identity = STANDARD.decode(text.as_bytes()).map_err(|_| SaslCondition::IncorrectEncoding)?;
    let identity = str::from_utf8(&identity).map_err(|_| SaslCondition::InvalidAuthzid)?;
    Domain::parse(identity).map(Response::Domain).map_err(|_| SaslCondition::InvalidAuthzid)
}

/// The condition and the text of a `<failure/>`.
pub(super) fn read_failure(failure: &Element) -> (SaslCondition, Option<CompactString>) {
    let condition = failure
        .elements()
        .find(|child| child.ns() == ns::SASL && child.name() != "text")
        .map_or(SaslCondition::NotAuthorized, |child| SaslCondition::read(child.name()));
    (condition, failure.child("text", ns::SASL).map(|text| CompactString::from(&*text.text())))
}

pub(super) fn write_failure(out: &mut Vec<u8>, condition: SaslCondition, text: Option<&str>) {
    StartTag::open(out, "failure").ns(ns::SASL).end();
    StartTag::open(out, condition.as_str()).empty();
    if let Some(text) = text {
        StartTag::open(out, "text").attr("xml:lang", "en").end();
        escape::text(out, text);
        StartTag::close(out, "text");
    }
    StartTag::close(out, "failure");
}

/// Writes our own identity as `name`, which is `auth` or `response`.
pub(super) fn write_identity(out: &mut Vec<u8>, name: &'static str, identity: Option<&Domain>) {
    let tag = StartTag::open(out, name).ns(ns::SASL);
    if name == "auth" { tag.attr("mechanism", EXTERNAL) } else { tag }.end();
    match identity {
        Some(domain) => out.extend_from_slice(STANDARD.encode(domain.as_str()).as_bytes()),
        None => out.push(b'='),
    }
    StartTag::close(out, name);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Response, SaslCondition> {
        read_response(&Element::new("auth", ns::SASL).with_text(text))
    }

    #[test]
    fn sasl_02_03_04_initial_responses() {
        let domain = |name: &str| Ok(Response::Domain(Domain::parse(name).unwrap()));
        for (text, expected) in [
            ("", Ok(Response::Absent)),
            ("=", Ok(Response::Empty)),
            // im.example.com
            ("aW0uZXhhbXBsZS5jb20=", domain("im.example.com")),
            // A.example
            ("QS5leGFtcGxl", domain("a.example")),
            // juliet@im.example.com, im.example.com/balcony, an empty domain and bytes that are not UTF-8
            ("anVsaWV0QGltLmV4YW1wbGUuY29t", Err(SaslCondition::InvalidAuthzid)),
            ("aW0uZXhhbXBsZS5jb20vYmFsY29ueQ==", Err(SaslCondition::InvalidAuthzid)),
            ("Lg==", Err(SaslCondition::InvalidAuthzid)),
            ("//8=", Err(SaslCondition::InvalidAuthzid)),
            // RFC 6120 §13.9.1
            ("=AAA", Err(SaslCondition::IncorrectEncoding)),
            ("BBBB=CCC", Err(SaslCondition::IncorrectEncoding)),
            ("aW0uZXhhbXBsZS5jb20", Err(SaslCondition::IncorrectEncoding)),
            ("aW0uZXhhbXBsZS5jb21=", Err(SaslCondition::IncorrectEncoding)),
            (" aW0uZXhhbXBsZS5jb20=", Err(SaslCondition::IncorrectEncoding)),
            ("aW0uZXhh\nbXBsZS5jb20=", Err(SaslCondition::IncorrectEncoding)),
            ("aW0uZXhhbXBsZS5jb20-", Err(SaslCondition::IncorrectEncoding)),
            ("==", Err(SaslCondition::IncorrectEncoding)),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sasl_04_an_element_inside_is_a_malformed_request() {
        let auth = Element::new("auth", ns::SASL).with_child(Element::new("x", ns::SASL));
        assert_eq!(read_response(&auth), Err(SaslCondition::MalformedRequest));
    }

    #[test]
    fn sasl_09_an_unknown_failure_is_not_authorized() {
        let failure = Element::new("failure", ns::SASL)
            .with_child(Element::new("text", ns::SASL).with_text("no"))
            .with_child(Element::new("from-the-future", ns::SASL));
        assert_eq!(read_failure(&failure), (SaslCondition::NotAuthorized, Some("no".into())));
        let empty = Element::new("failure", ns::SASL);
        assert_eq!(read_failure(&empty), (SaslCondition::NotAuthorized, None));
    }
}
