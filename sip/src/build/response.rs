//! Responses with more than a status.

use super::{ResponseHead, text};
use crate::{NameAddr, Uri, lex};

/// Appends a response to a buffer, field by field, on top of its [`ResponseHead`].
#[derive(Debug)]
pub struct ResponseBuilder<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> ResponseBuilder<'o> {
    /// Status line and what is copied from the request. An empty `reason` becomes the registered phrase.
    pub fn new(out: &'o mut Vec<u8>, head: &ResponseHead, status: u16, reason: &str) -> Self {
        text::status_line(out, status, reason);
        out.extend_from_slice(head.as_bytes());
        Self { out }
    }

    /// Contact.
    #[must_use]
    pub fn contact(self, uri: &Uri<'_>) -> Self {
        self.out.extend_from_slice(b"Contact: <");
        self.out.extend_from_slice(uri.as_str().as_bytes());
        self.out.extend_from_slice(b">\r\n");
        self
    }

    /// A Record-Route of the request, byte for byte: front ends sign them.
    #[must_use]
    pub fn record_route(self, address: &NameAddr<'_>) -> Self {
        text::field_verbatim(self.out, "Record-Route", address.as_str());
        self
    }

    /// Any other field with free text; the rules of
    /// [`RequestBuilder::header`](crate::RequestBuilder::header).
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        if !text::is_framing(name) {
            text::field(self.out, name, value);
        }
        self
    }

    /// A field whose value must be a token; dropped if it is not one.
    #[must_use]
    pub fn token_header(self, name: &str, value: &str) -> Self {
        if lex::is_token(value) { self.header(name, value) } else { self }
    }

    /// Content-Type, Content-Length and body. A media type that is none is left out.
    pub fn finish(self, body: Option<(&str, &[u8])>) {
        text::body(self.out, body);
    }
}
