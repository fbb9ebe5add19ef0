//! The part of a response that is copied from its request.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::text;
use crate::{HeaderError, HeaderName, Message, NameAddr, Via, lex};

/// Via, From, To, Call-ID and CSeq of the responses to one request (RFC 3261 §8.2.6.2), rendered once. Keeping
/// it instead of the request lets the request's buffer go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead(Box<[u8]>);

impl ResponseHead {
    /// Its length, in bytes.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Copies what responses need: every Via — the top one with `received` and `rport` filled in (SIP-08) —,
    /// From, To with `to_tag` unless it has a tag (no tag is added if `to_tag` is no token), Call-ID, CSeq.
    ///
    /// Works for requests that are to be refused, too: a field that is missing is left out, a malformed one is
    /// copied as it is, of repeated ones the first counts. That goes for Via as well: the answer takes the
    /// connection the request came on, and needs no Via to find it (RFC 4475 §3.1.2.1).
    ///
    /// # Errors
    /// [`HeaderError`] if there is no Via: nothing could match the answer.
    pub fn from_request(request: &Message, to_tag: &str, source: SocketAddr) -> Result<Self, HeaderError> {
        let to = request.header(HeaderName::To).and_then(|to| NameAddr::parse(to).ok());
        Self::render(request, request.top_via(), to.as_ref(), to_tag, source)
    }

    /// [`ResponseHead::from_request`] for callers that have read top Via and To; `to` is `None` if it is malformed.
    pub(crate) fn render(
        request: &Message,
        top: Result<Via<'_>, HeaderError>,
        to: Option<&NameAddr<'_>>,
        to_tag: &str,
        source: SocketAddr,
    ) -> Result<Self, HeaderError> {
        let top = match top {
            Err(missing @ HeaderError::Missing(_)) => return Err(missing),
            top => top.ok(),
        };
        // Names, separators, tag, received and rport on top of what is copied.
        let copied =
            [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
        let copied = copied.into_iter().flat_map(|name| request.headers_bytes(name)).map(|v| v.len() + 12);
        let mut out = Vec::with_capacity(copied.sum::<usize>() + to_tag.len() + 80);
        let mut rows = request.headers_bytes(HeaderName::Via);
        if let Some(top) = top
            && let Some(first) = rows.next()
        {
            out.extend_from_slice(b"Via: ");
            write_top_via(&mut out, &top, source);
            // What follows the top element in its own row is not ours to change.
            out.extend_from_slice(after_first_element(first));
            out.extend_from_slice(b"\r\n");
        }
        for row in rows {
            copy(&mut out, "Via", row);
        }
        if let Some(from) = request.header_bytes(HeaderName::From) {
            copy(&mut out, "From", from);
        }
        if let Some(value) = request.header_bytes(HeaderName::To) {
            copy_to(&mut out, value, to, to_tag);
        }
        for name in [HeaderName::CallId, HeaderName::CSeq] {
            if let Some(value) = request.header_bytes(name) {
                copy(&mut out, name.as_str(), value);
            }
        }
        Ok(Self(out.into_boxed_slice()))
    }

    /// Appends a whole response. Names that are no tokens, and the fields written here anyway, are left out of
    /// `extra`; values are cleaned, except that a Record-Route stays byte for byte; an empty `reason` becomes the
    /// registered phrase.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        status: u16,
        reason: &str,
        extra: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) {
        text::status_line(out, status, reason);
        out.extend_from_slice(&self.0);
        for (name, value) in extra {
            if HeaderName::from(*name) == HeaderName::RecordRoute {
                text::field_verbatim(out, HeaderName::RecordRoute.as_str(), value);
            } else if !text::is_framing(name) {
                text::field(out, name, value);
            }
        }
        text::body(out, body);
    }

    /// With one more field, in every response. The value is ours, and clean.
    #[must_use]
    pub(crate) fn with_field(self, name: HeaderName, value: &str) -> Self {
        let mut out = self.0.into_vec();
        copy(&mut out, name.as_str(), value.as_bytes());
        Self(out.into_boxed_slice())
    }

    /// The rendered fields.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn copy(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn copy_to(out: &mut Vec<u8>, value: &[u8], address: Option<&NameAddr<'_>>, tag: &str) {
    out.extend_from_slice(b"To: ");
    out.extend_from_slice(value);
    if address.is_some_and(|a| a.tag().is_none()) && lex::is_token(tag) {
        out.extend_from_slice(b";tag=");
        out.extend_from_slice(tag.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// What follows the first element of a Via row: nearly always nothing.
fn after_first_element(row: &[u8]) -> &[u8] {
    if memchr::memchr(b',', row).is_none() {
        return &[];
    }
    let text = std::str::from_utf8(row).unwrap_or_default();
    lex::find_outside(text, b',', true).and_then(|at| row.get(at..)).unwrap_or_default()
}

fn write_top_via(out: &mut Vec<u8>, via: &Via<'_>, source: SocketAddr) {
    // A socket of the other family reports IPv4 inside IPv6.
    let ip = source.ip().to_canonical();
    let by_name = via.host.ip() != Some(ip);
    let before_params = via.as_str().len() - via.params.as_str().len();
    out.extend_from_slice(via.as_str().as_bytes().get(..before_params).unwrap_or_default());
    let mut has_received = false;
    for param in via.params.pieces() {
        if param.name.eq_ignore_ascii_case("received") && by_name {
            // Ours replaces what the peer may have claimed about itself.
            has_received = via.received() == Some(ip);
            if !has_received {
                continue;
            }
        }
        out.extend_from_slice(param.source.as_bytes());
        if param.value.is_none() && param.name.eq_ignore_ascii_case("rport") {
            out.push(b'=');
            text::decimal(out, u64::from(source.port()));
        }
    }
    if by_name && !has_received {
        write_received(out, ip);
    }
}

/// Without brackets (RFC 5118 §4.5).
fn write_received(out: &mut Vec<u8>, ip: IpAddr) {
    out.extend_from_slice(b";received=");
    match ip {
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                text::decimal(out, u64::from(octet));
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}
