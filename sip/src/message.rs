//! A received message: its bytes and the index over them.

mod index;
mod typed;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

pub use index::{Defect, ParseError};
pub(crate) use index::{Head, Length, Reading, Span, Start, read, unfold};

use crate::{HeaderName, Limits, Method, StatusCode, lex};

/// A SIP message over its receive buffer. Moving and cloning are cheap: bytes and index are shared.
#[derive(Clone, Debug)]
pub struct Message {
    raw: Raw,
    head: Arc<Head>,
}

/// The bytes of a message. They are looked at once for being text: each field would have to be, each time it is asked
/// for, otherwise.
#[derive(Clone, Debug)]
enum Raw {
    /// All of it is UTF-8, the body included: the rule.
    Text(ByteString),
    /// Something in it is not; the rest is read all the same.
    Mixed(Bytes),
}

impl Raw {
    fn new(raw: Bytes) -> Self {
        ByteString::try_from(raw.clone()).map_or(Self::Mixed(raw), Self::Text)
    }

    fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Mixed(bytes) => bytes,
        }
    }

    /// The text of a span, unless it is none.
    fn text(&self, span: Span) -> Option<&str> {
        match self {
            // Spans begin and end at ASCII characters, so a part of text is text.
            Self::Text(text) => text.get(span.range()),
            Self::Mixed(bytes) => std::str::from_utf8(span.of(bytes)).ok(),
        }
    }
}

impl Message {
    /// Reads one complete message: structure only, header values are read when asked for.
    ///
    /// The bytes are kept as they are, except that folded header lines (RFC 3261 §7.3.1) come out with blanks in
    /// place of the line ends.
    ///
    /// # Errors
    /// [`ParseError`], if the bytes are not exactly one message as it stands on a stream.
    pub fn parse(raw: Bytes) -> Result<Self, ParseError> {
        Self::parse_with(raw, &Limits::default())
    }

    /// [`Message::parse`] with other limits.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse_with(raw: Bytes, limits: &Limits) -> Result<Self, ParseError> {
        let (raw, head) = match read(&raw, limits)? {
            Reading::Head(head) => (raw, head),
            Reading::Folded => {
                let end = memchr::memmem::find(&raw, b"\r\n\r\n").ok_or(ParseError::Incomplete)? + 4;
                let mut copy = raw.to_vec();
                let head = read_folded(copy.get_mut(..end).unwrap_or_default(), limits)?;
                (Bytes::from(copy), head)
            }
        };
        let end = head.end;
        if end > limits.head {
            return Err(ParseError::HeadTooLarge);
        }
        match head.length {
            Length::Missing => Err(ParseError::LengthMissing),
            Length::Invalid => Err(ParseError::LengthInvalid),
            Length::Repeated => Err(ParseError::LengthRepeated),
            Length::Bytes(n) if u64::try_from(raw.len() - end) == Ok(n) => Ok(Self::new(raw, Arc::new(head))),
            Length::Bytes(_) => Err(ParseError::BodyLength),
        }
    }

    pub(crate) fn new(raw: Bytes, head: Arc<Head>) -> Self {
        Self { raw: Raw::new(raw), head }
    }

    /// Request, not response.
    pub fn is_request(&self) -> bool {
        matches!(self.head.start, Start::Request { .. })
    }

    /// The method: of a request from its first line, of a response from CSeq (empty extension without one).
    pub fn method(&self) -> Method<'_> {
        match self.head.start {
            Start::Request { method, .. } => Method::new(self.text(method)),
            Start::Response { .. } => self.cseq().map_or(Method::Extension(""), |cseq| cseq.method),
        }
    }

    /// The Request-URI as received; empty for a response, and for bytes that are not UTF-8.
    pub fn request_uri(&self) -> &str {
        match self.head.start {
            Start::Request { uri, .. } => self.text(uri),
            Start::Response { .. } => "",
        }
    }

    /// `SIP/2.0`, as received.
    pub fn version(&self) -> &str {
        match self.head.start {
            Start::Request { version, .. } | Start::Response { version, .. } => self.text(version),
        }
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<StatusCode> {
        match self.head.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response; empty for requests, and for bytes that are not UTF-8.
    pub fn reason(&self) -> &str {
        match self.head.start {
            Start::Request { .. } => "",
            Start::Response { reason, .. } => self.text(reason),
        }
    }

    /// The whole message.
    pub fn raw(&self) -> &Bytes {
        self.raw.bytes()
    }

    /// The body; empty if it was skipped for its size ([`Defect::BodyTooLarge`]).
    pub fn body(&self) -> Bytes {
        let raw = self.raw();
        raw.slice(self.head.end.min(raw.len())..)
    }

    /// The first thing wrong with the structure, if anything is.
    pub fn defect(&self) -> Option<Defect> {
        self.head.defect
    }

    /// Value of the first field of this name, without blanks around it. `None` also for bytes that are not
    /// UTF-8: [`Message::header_bytes`] tells the two apart.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.field(name).and_then(|field| self.raw.text(field.value))
    }

    /// As [`Message::header`], as bytes.
    pub fn header_bytes(&self, name: HeaderName) -> Option<&[u8]> {
        self.field(name).map(|f| f.value.of(self.raw()))
    }

    /// Values of all fields of this name in order; comma lists are not split. Values that are not UTF-8 are
    /// left out.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &str> + Clone {
        self.head.fields.iter().filter(move |f| f.name == name).filter_map(|f| self.raw.text(f.value))
    }

    /// As [`Message::headers`], as bytes.
    pub fn headers_bytes(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> + Clone {
        self.head.fields.iter().filter(move |f| f.name == name).map(|f| f.value.of(self.raw()))
    }

    /// Value of the first field with this name, known to [`HeaderName`] or not.
    pub fn other(&self, name: &str) -> Option<&str> {
        let known = HeaderName::from(name);
        if known != HeaderName::Other {
            return self.header(known);
        }
        let is_it = |f: &&index::Field| {
            f.name == HeaderName::Other && f.name_span().of(self.raw()).eq_ignore_ascii_case(name.as_bytes())
        };
        self.head.fields.iter().find(is_it).and_then(|f| self.raw.text(f.value))
    }

    /// Every field in order: table entry, name as received, value.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, &[u8], &[u8])> {
        self.head
            .fields
            .iter()
            .map(|f| (f.name, lex::trim_bytes(f.name_span().of(self.raw())), f.value.of(self.raw())))
    }

    /// The bytes behind a value of this message, for keeping without copying. `value` must be a part of this
    /// message; a copy is made of anything else.
    pub fn share(&self, value: &str) -> Bytes {
        let start = value.as_ptr().addr().wrapping_sub(self.raw().as_ptr().addr());
        match start.checked_add(value.len()) {
            Some(end) if end <= self.raw().len() => self.raw().slice(start..end),
            _ => Bytes::copy_from_slice(value.as_bytes()),
        }
    }

    fn text(&self, span: Span) -> &str {
        self.raw.text(span).unwrap_or_default()
    }

    fn field(&self, name: HeaderName) -> Option<&index::Field> {
        self.head.fields.iter().find(|f| f.name == name)
    }
}

/// Unfolds and reads a head that [`read`] found folded.
pub(crate) fn read_folded(head: &mut [u8], limits: &Limits) -> Result<Head, ParseError> {
    unfold(head);
    match read(head, limits)? {
        Reading::Head(head) => Ok(head),
        // A fold of a fold cannot be left; if it were, refusing is safe.
        Reading::Folded => Err(ParseError::LineEnd),
    }
}
