//! One pass over the head of a message: start line, then the place of every header field.

use smallvec::SmallVec;

use crate::{HeaderName, Limits, StatusCode, lex};

/// Why bytes are no SIP message at all. Nothing in them can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither request line nor status line.
    #[error("the first line is neither a SIP request line nor a SIP status line")]
    StartLine,
    /// The first header line begins with a blank.
    #[error("the start line is folded")]
    FoldedStartLine,
    /// A line ends with LF alone, or a CR stands alone: two readers could see two different heads.
    #[error("a line of the head is not ended by CRLF")]
    LineEnd,
    /// The empty line after the header fields is missing.
    #[error("the head of the message is incomplete")]
    Incomplete,
    /// No Content-Length, on a stream (RFC 3261 §18.3).
    #[error("the Content-Length header field is missing")]
    LengthMissing,
    /// Content-Length holds something else than one number.
    #[error("the Content-Length header field holds no number")]
    LengthInvalid,
    /// Content-Length stands more than once.
    #[error("the Content-Length header field stands more than once")]
    LengthRepeated,
    /// Fewer or more bytes than Content-Length announces.
    #[error("the body has not the length that Content-Length announces")]
    BodyLength,
    /// The head is larger than the limit.
    #[error("the head of the message is too large")]
    HeadTooLarge,
}

/// The first thing found wrong with a message whose end is nevertheless known: it is answered, and the
/// connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// More than one space, or other blanks, in the start line (RFC 4475 §3.1.2.8–10).
    #[error("the start line contains surplus blanks")]
    StartLineBlanks,
    /// A line without colon, or without a token before it.
    #[error("a header line has no field name")]
    HeaderLine,
    /// A field that may stand only once stands twice.
    #[error("the {0} header field stands more than once")]
    Repeated(HeaderName),
    /// [`Limits::header`].
    #[error("a header field is too large")]
    HeaderTooLarge,
    /// [`Limits::header_count`].
    #[error("there are too many header fields")]
    TooManyHeaders,
    /// [`Limits::body`]; the body was skipped.
    #[error("the body is too large")]
    BodyTooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        // Heads are limited far below 4 GiB: `read` refuses larger ones before it makes a span.
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        usize::try_from(self.start).unwrap_or(usize::MAX)..usize::try_from(self.end).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: HeaderName,
    pub(crate) name_len: u8,
    pub(crate) line: u32,
    pub(crate) value: Span,
}

impl Field {
    pub(crate) fn name_span(&self) -> Span {
        Span { start: self.line, end: self.line.saturating_add(u32::from(self.name_len)) }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Request { method: Span, uri: Span, version: Span },
    Response { version: Span, status: StatusCode, reason: Span },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Missing,
    Invalid,
    Repeated,
    Bytes(u64),
}

/// A typical Lync message has 15–25 header fields; beyond that the index moves to the heap.
type Fields = SmallVec<[Field; 24]>;

#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) start: Start,
    pub(crate) fields: Fields,
    pub(crate) length: Length,
    pub(crate) defect: Option<Defect>,
    /// Bytes of the head, the empty line included.
    pub(crate) end: usize,
}

#[allow(clippy::large_enum_variant, reason = "the large one is the rule")]
pub(crate) enum Reading {
    Head(Head),
    /// A header field is continued on the next line: [`unfold`], then read again.
    Folded,
}

/// Reads a head up to the empty line that ends it.
pub(crate) fn read(head: &[u8], limits: &Limits) -> Result<Reading, ParseError> {
    if u32::try_from(head.len()).is_err() {
        return Err(ParseError::HeadTooLarge);
    }
    let mut lines = Lines { bytes: head, at: 0 };
    let (start_at, start_line) = lines.next().ok_or(ParseError::Incomplete)??;
    let (start, mut defect) = start_line_of(start_line, start_at)?;
    let mut fields = Fields::new();
    let mut length = Length::Missing;
    let mut seen: u128 = 0;
    let mut line_count = 1;
    loop {
        let (at, line) = lines.next().ok_or(ParseError::Incomplete)??;
        line_count += 1;
        match line.first() {
            None => break,
            Some(b' ' | b'\t') if line_count == 2 => return Err(ParseError::FoldedStartLine),
            Some(b' ' | b'\t') => return Ok(Reading::Folded),
            Some(_) => {}
        }
        if line.len() > limits.header {
            defect = defect.or(Some(Defect::HeaderTooLarge));
        }
        let Some(colon) = lex::position(line, b':') else {
            defect = defect.or(Some(Defect::HeaderLine));
            continue;
        };
        let name_bytes = trim_end(line.get(..colon).unwrap_or_default());
        let name = HeaderName::from_bytes(name_bytes);
        let name_len = u8::try_from(name_bytes.len()).ok();
        let (Some(name_len), true) = (name_len, name != HeaderName::Other || lex::is_token_bytes(name_bytes))
        else {
            defect = defect.or(Some(Defect::HeaderLine));
            continue;
        };
        let value_at = colon + 1 + leading_blanks(line.get(colon + 1..).unwrap_or_default());
        let value = trim_end(line.get(value_at..).unwrap_or_default());
        if name.is_single() {
            let bit = 1u128 << (name as u8);
            if seen & bit != 0 {
                defect = defect.or(Some(Defect::Repeated(name)));
            }
            seen |= bit;
        }
        if name == HeaderName::ContentLength {
            length = match length {
                Length::Missing => length_of(value),
                _ => Length::Repeated,
            };
        }
        if fields.len() >= limits.header_count {
            defect = defect.or(Some(Defect::TooManyHeaders));
            continue;
        }
        fields.push(Field {
            name,
            name_len,
            line: u32::try_from(at).unwrap_or(u32::MAX),
            value: Span::new(at + value_at, at + value_at + value.len()),
        });
    }
    let end = lines.at;
    // Every CR belongs to a line end, or it stands alone inside a line.
    let crs = memchr::memchr_iter(b'\r', head.get(..end).unwrap_or(head)).count();
    if crs != line_count {
        return Err(ParseError::LineEnd);
    }
    Ok(Reading::Head(Head { start, fields, length, defect, end }))
}

/// Turns each fold — CRLF before a blank — into two blanks: the same meaning (RFC 3261 §7.3.1) in as many bytes.
pub(crate) fn unfold(head: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = head.get(at..).and_then(|rest| memchr::memmem::find(rest, b"\r\n")) {
        let cr = at + found;
        if let Some([r, n, b' ' | b'\t']) = head.get_mut(cr..cr + 3) {
            (*r, *n) = (b' ', b' ');
        }
        at = cr + 2;
    }
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(usize, &'a [u8]), ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.bytes.get(start..)?;
        let lf = memchr::memchr(b'\n', rest)?;
        self.at = start + lf + 1;
        Some(match rest.get(..lf) {
            Some([line @ .., b'\r']) => Ok((start, line)),
            _ => Err(ParseError::LineEnd),
        })
    }
}

fn start_line_of(line: &[u8], at: usize) -> Result<(Start, Option<Defect>), ParseError> {
    if line.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/")) {
        return status_line_of(line, at).map(|start| (start, None));
    }
    let trimmed = lex::trim_bytes(line);
    let mut defect = (trimmed.len() != line.len()).then_some(Defect::StartLineBlanks);
    let at = at + leading_blanks(line);
    let first = memchr::memchr(b' ', trimmed).ok_or(ParseError::StartLine)?;
    let last = memchr::memrchr(b' ', trimmed).ok_or(ParseError::StartLine)?;
    let version = trimmed.get(last + 1..).unwrap_or_default();
    let method = trimmed.get(..first).unwrap_or_default();
    if !version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"SIP/")) || !lex::is_token_bytes(method) {
        return Err(ParseError::StartLine);
    }
    let uri = trimmed.get(first + 1..last).filter(|u| !u.is_empty()).ok_or(ParseError::StartLine)?;
    if memchr::memchr2(b' ', b'\t', uri).is_some() {
        defect = Some(Defect::StartLineBlanks);
    }
    let start = Start::Request {
        method: Span::new(at, at + first),
        uri: Span::new(at + first + 1, at + last),
        version: Span::new(at + last + 1, at + trimmed.len()),
    };
    Ok((start, defect))
}

/// `SIP/2.0 200 OK`; the space before an empty reason may be missing.
fn status_line_of(line: &[u8], at: usize) -> Result<Start, ParseError> {
    let space = memchr::memchr(b' ', line).ok_or(ParseError::StartLine)?;
    let after = line.get(space + 1..).unwrap_or_default();
    let code_len = memchr::memchr(b' ', after).unwrap_or(after.len());
    let code = after.get(..code_len).unwrap_or_default();
    if code.is_empty() || !code.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::StartLine);
    }
    let status = match code {
        [a, b, c] => StatusCode([a, b, c].iter().fold(0, |sum, d| sum * 10 + u16::from(*d - b'0'))),
        _ => StatusCode::OVERLARGE,
    };
    let reason_at = (space + 1 + code_len + 1).min(line.len());
    Ok(Start::Response {
        version: Span::new(at, at + space),
        status,
        reason: Span::new(at + reason_at, at + line.len()),
    })
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !lex::is_blank(*b)).map_or(0, |last| last + 1);
    bytes.get(..end).unwrap_or_default()
}

fn leading_blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

fn length_of(value: &[u8]) -> Length {
    std::str::from_utf8(value).ok().and_then(lex::number).map_or(Length::Invalid, Length::Bytes)
}
