//! Requests that belong to the transaction of an INVITE of ours: ACK for an answer other than 2xx, and CANCEL.

use super::text;
use crate::{CSeq, HeaderName, Message, Method};

/// Writes what RFC 3261 §9.1 and §17.1.1.3 ask for: Request-URI, Call-ID, From, Route, the top Via and the CSeq number of
/// the INVITE; `to` is that of the response for ACK, that of the INVITE for CANCEL. What is copied are bytes that we wrote
/// ourselves, or that were cut out between two line ends. `fields` stand behind.
pub(crate) fn write_within_transaction(
    out: &mut Vec<u8>,
    invite: &Message,
    method: Method<'_>,
    to: &str,
    fields: &[(&str, String)],
) {
    for part in [method.as_str(), " ", invite.request_uri(), " SIP/2.0\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for name in [HeaderName::Via, HeaderName::MaxForwards, HeaderName::From] {
        copy(out, invite, name);
    }
    text::field_verbatim(out, HeaderName::To.as_str(), to);
    copy(out, invite, HeaderName::CallId);
    let number = invite.cseq().map_or(0, |CSeq { number, .. }| number);
    out.extend_from_slice(b"CSeq: ");
    text::decimal(out, u64::from(number));
    for part in [" ", method.as_str(), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for route in invite.headers(HeaderName::Route) {
        text::field_verbatim(out, HeaderName::Route.as_str(), route);
    }
    for (name, value) in fields {
        text::field(out, name, value);
    }
    text::body(out, None);
}

fn copy(out: &mut Vec<u8>, invite: &Message, name: HeaderName) {
    if let Some(value) = invite.header(name) {
        text::field_verbatim(out, name.as_str(), value);
    }
}
