use compact_str::CompactString;

use super::condition::{Condition, ErrorType};
use super::{StanzaKind, classify, is_error};
use crate::xml::{Element, StartTag, escape, ns};

/// What an error stanza says (RFC 6120 section 8.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// What the sender can do; the condition's own type when the peer gave none that is defined.
    pub error_type: ErrorType,
    /// The defined condition; [`Condition::Undefined`] when there is none we know (ERR-05).
    pub condition: Condition,
    /// The address `gone` and `redirect` point to.
    pub new_address: Option<CompactString>,
    /// The text, as sent.
    pub text: Option<CompactString>,
    /// Who says so, as sent.
    pub by: Option<CompactString>,
    /// Local name and namespace of the application-specific condition.
    pub application: Option<(CompactString, CompactString)>,
}

impl StanzaError {
    /// Reads a stanza of type `error`; `None` for any other. An error without `<error/>` is an undefined condition.
    pub fn from_element(stanza: &Element) -> Option<Self> {
        if !is_error(stanza) {
            return None;
        }
        let mut read = Self {
            error_type: ErrorType::Cancel,
            condition: Condition::Undefined,
            new_address: None,
            text: None,
            by: None,
            application: None,
        };
        let Some(error) = stanza.child("error", stanza.ns()) else { return Some(read) };
        let mut seen = false;
        for child in error.elements() {
            if child.ns() != ns::STANZA_ERRORS {
                read.application.get_or_insert_with(|| (child.name().into(), child.ns().into()));
            } else if child.name() == "text" {
                read.text.get_or_insert_with(|| child.text().into());
            } else if !seen {
                seen = true;
                read.condition = Condition::read(child.name());
                if matches!(read.condition, Condition::Gone | Condition::Redirect) {
                    let address = child.text();
                    read.new_address = (!address.is_empty()).then(|| address.into());
                }
            }
        }
        read.by = error.attr("by").map(Into::into);
        read.error_type = error
            .attr("type")
            .and_then(ErrorType::from_name)
            .unwrap_or_else(|| read.condition.default_type());
        Some(read)
    }
}

/// Appends the error that answers `original`: same kind, `type='error'`, addresses swapped as they were sent, same `id`,
/// one condition (ERR-01), nothing of the payload (ERR-03).
///
/// Returns false, and appends nothing, when the original must not be answered: it is an error itself (ERR-02), the result
/// of an IQ, or no stanza.
pub fn write_error_reply(
    out: &mut Vec<u8>,
    original: &Element,
    error_type: ErrorType,
    condition: Condition,
    text: Option<&str>,
    by: Option<&str>,
) -> bool {
    let Some(kind) = classify(original) else { return false };
    if is_error(original) || kind == StanzaKind::Iq && original.attr("type") == Some("result") {
        return false;
    }
    let (from, to, id) = (original.attr("to"), original.attr("from"), original.attr("id"));
    write_error(out, kind, from, to, id, error_type, condition, text, by);
    true
}

/// Appends an error stanza from its parts, for callers that kept the addresses and no longer have the original. The
/// default namespace in scope is the content namespace.
#[expect(clippy::too_many_arguments, reason = "the parts of an error stanza, one each")]
pub fn write_error(
    out: &mut Vec<u8>,
    kind: StanzaKind,
    from: Option<&str>,
    to: Option<&str>,
    id: Option<&str>,
    error_type: ErrorType,
    condition: Condition,
    text: Option<&str>,
    by: Option<&str>,
) {
    StartTag::open(out, kind.as_str())
        .opt_attr("from", from)
        .opt_attr("to", to)
        .opt_attr("id", id)
        .attr("type", "error")
        .end();
    write_reason(out, error_type, by, condition.as_str(), text);
    StartTag::close(out, kind.as_str());
}

/// Appends the `<error/>` of something of type `error`.
pub(crate) fn write_reason(
    out: &mut Vec<u8>,
    error_type: ErrorType,
    by: Option<&str>,
    condition: &'static str,
    text: Option<&str>,
) {
    StartTag::open(out, "error").attr("type", error_type.as_str()).opt_attr("by", by).end();
    StartTag::open(out, condition).ns(ns::STANZA_ERRORS).empty();
    if let Some(text) = text {
        StartTag::open(out, "text").ns(ns::STANZA_ERRORS).attr("xml:lang", "en").end();
        escape::text(out, text);
        StartTag::close(out, "text");
    }
    StartTag::close(out, "error");
}
