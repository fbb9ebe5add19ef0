//! Requests we originate.

use super::{BuildError, text};
use crate::{CSeq, Host, Method, NameAddr, Params, Uri, lex};

/// Appends a request to a buffer, field by field. The first unusable mandatory part fails the whole request at
/// [`RequestBuilder::finish`], and the buffer is left as it was.
#[derive(Debug)]
pub struct RequestBuilder<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    error: Option<BuildError>,
}

impl<'o> RequestBuilder<'o> {
    /// The request line. A [`Uri`] is safe by construction.
    pub fn new(out: &'o mut Vec<u8>, method: Method<'_>, uri: &Uri<'_>) -> Self {
        let start = out.len();
        let error = (!method.is_token()).then_some(BuildError::Method);
        out.extend_from_slice(method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(uri.as_str().as_bytes());
        out.extend_from_slice(b" SIP/2.0\r\n");
        Self { out, start, error }
    }

    /// `Via: SIP/2.0/transport sent-by;branch=…`.
    #[must_use]
    pub fn via(self, transport: &str, sent_by: &str, branch: &str) -> Self {
        let sent_by_ok = Host::parse_with_port(sent_by).is_some() && !sent_by.contains(lex::LWS);
        if !lex::is_token(transport) || !sent_by_ok || !lex::is_token(branch) {
            return self.fail(BuildError::Via);
        }
        for part in ["Via: SIP/2.0/", transport, " ", sent_by, ";branch=", branch, "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        self
    }

    /// Max-Forwards.
    #[must_use]
    pub fn max_forwards(self, hops: u8) -> Self {
        self.out.extend_from_slice(b"Max-Forwards: ");
        text::decimal(self.out, u64::from(hops));
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// From with our tag.
    #[must_use]
    pub fn from(self, display: Option<&str>, uri: &Uri<'_>, tag: &str) -> Self {
        self.address("From", display, uri, Some(tag), "")
    }

    /// To; with the peer's tag inside a dialog.
    #[must_use]
    pub fn to(self, display: Option<&str>, uri: &Uri<'_>, tag: Option<&str>) -> Self {
        self.address("To", display, uri, tag, "")
    }

    /// To of a dialog: the other side's tag, if it has one, and the parameters that stand behind it (`tag;epid=…`).
    #[must_use]
    pub fn to_party(self, uri: &Uri<'_>, party: &str) -> Self {
        let (tag, params) = party.split_at(party.find(';').unwrap_or(party.len()));
        if Params::of_header(params).is_none() || params.bytes().any(|byte| byte.is_ascii_control()) {
            return self.fail(BuildError::Tag);
        }
        self.address("To", None, uri, Some(tag).filter(|tag| !tag.is_empty()), params)
    }

    /// Contact.
    #[must_use]
    pub fn contact(self, uri: &Uri<'_>) -> Self {
        self.address("Contact", None, uri, None, "")
    }

    fn address(
        self,
        name: &str,
        display: Option<&str>,
        uri: &Uri<'_>,
        tag: Option<&str>,
        params: &str,
    ) -> Self {
        if tag.is_some_and(|tag| !lex::is_token(tag)) {
            return self.fail(BuildError::Tag);
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let quoted = display.map(text::display_name).unwrap_or_default();
        if !quoted.is_empty() {
            self.out.extend_from_slice(quoted.as_bytes());
            self.out.push(b' ');
        }
        self.out.push(b'<');
        self.out.extend_from_slice(uri.as_str().as_bytes());
        self.out.push(b'>');
        if let Some(tag) = tag {
            self.out.extend_from_slice(b";tag=");
            self.out.extend_from_slice(tag.as_bytes());
        }
        self.out.extend_from_slice(params.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(self, call_id: &str) -> Self {
        if !lex::is_call_id(call_id) {
            return self.fail(BuildError::CallId);
        }
        for part in ["Call-ID: ", call_id, "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        self
    }

    /// CSeq.
    #[must_use]
    pub fn cseq(self, cseq: CSeq<'_>) -> Self {
        if !cseq.method.is_token() {
            return self.fail(BuildError::Method);
        }
        self.out.extend_from_slice(b"CSeq: ");
        text::decimal(self.out, u64::from(cseq.number));
        for part in [" ", cseq.method.as_str(), "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
        self
    }

    /// A Route taken from a Record-Route or Contact, byte for byte.
    #[must_use]
    pub fn route(self, address: &NameAddr<'_>) -> Self {
        text::field_verbatim(self.out, "Route", address.as_str());
        self
    }

    /// Any other field with free text. A name that is no token, or that belongs to this builder's own methods,
    /// writes nothing; the value is cleaned by [`header_text`](crate::header_text).
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
    ///
    /// # Errors
    /// The first [`BuildError`]; the buffer is then as it was before [`RequestBuilder::new`].
    pub fn finish(self, body: Option<(&str, &[u8])>) -> Result<(), BuildError> {
        if let Some(error) = self.error {
            self.out.truncate(self.start);
            return Err(error);
        }
        text::body(self.out, body);
        Ok(())
    }

    fn fail(mut self, error: BuildError) -> Self {
        self.error = self.error.or(Some(error));
        self
    }
}
