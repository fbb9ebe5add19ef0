//! Cleaning of text on its way into a header field (SEC-30).

use std::borrow::Cow;

use crate::lex;

/// Longest display name written, in bytes.
pub const MAX_DISPLAY: usize = 256;
/// Longest value of free text written, in bytes. Below [`Limits::HEADER`](crate::Limits::HEADER).
pub const MAX_TEXT: usize = 8 * 1024;

/// Text as the value of a header field: CR, LF, NUL, all other control characters and the Unicode line ends
/// become spaces, blanks at the ends go, and what passes [`MAX_TEXT`] is cut between characters.
pub fn header_text(text: &str) -> Cow<'_, str> {
    clean(text, MAX_TEXT)
}

/// A display name as a quoted string, quotes included; cut at [`MAX_DISPLAY`] bytes before escaping. Empty if
/// nothing is left of it.
pub fn display_name(name: &str) -> String {
    let clean = clean(name, MAX_DISPLAY);
    if clean.is_empty() {
        return String::new();
    }
    let mut out = String::with_capacity(clean.len() + 8);
    out.push('"');
    for c in clean.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn clean(text: &str, limit: usize) -> Cow<'_, str> {
    let text =
        if text.len() > limit { text.get(..text.floor_char_boundary(limit)).unwrap_or("") } else { text };
    let breaks_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(breaks_line) {
        let spaced: String = text.chars().map(|c| if breaks_line(c) { ' ' } else { c }).collect();
        return Cow::Owned(lex::trim(&spaced).to_owned());
    }
    Cow::Borrowed(lex::trim(text))
}

/// Writes `Name: value` and CRLF. A name that is no token writes nothing.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    if !lex::is_token(name) {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(header_text(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whether a caller's field name is one that the builder itself writes.
pub(super) fn is_framing(name: &str) -> bool {
    use crate::HeaderName as H;
    matches!(
        H::from(name),
        H::Via | H::From | H::To | H::CallId | H::CSeq | H::MaxForwards | H::ContentLength | H::ContentType
    )
}

/// Content-Type (if it is one), Content-Length, the empty line and the body.
pub(super) fn body(out: &mut Vec<u8>, body: Option<(&str, &[u8])>) {
    if let Some((media, _)) = body
        && crate::ContentType::parse(media).is_ok()
    {
        field(out, "Content-Type", media);
    }
    let bytes = body.map_or(&b""[..], |(_, bytes)| bytes);
    out.extend_from_slice(b"Content-Length: ");
    decimal(out, u64::try_from(bytes.len()).unwrap_or(0));
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(bytes);
}

pub(super) fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
}

/// `SIP/2.0 200 OK` and CRLF.
pub(super) fn status_line(out: &mut Vec<u8>, status: u16, reason: &str) {
    out.extend_from_slice(b"SIP/2.0 ");
    decimal(out, u64::from(status.clamp(100, 699)));
    out.push(b' ');
    let phrase = if reason.is_empty() { crate::StatusCode(status).phrase() } else { reason };
    out.extend_from_slice(header_text(phrase).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// As [`field`], for values that come from a parsed message and are to be handed on as they are: no length cap.
/// They hold no line end, because they were cut out between line ends.
pub(super) fn field_verbatim(out: &mut Vec<u8>, name: &str, value: &str) {
    if value.contains(['\r', '\n']) {
        return field(out, name, value);
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
