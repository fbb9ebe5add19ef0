//! The body of a MESSAGE as text (IM-03…IM-06).

use std::borrow::Cow;

use nuncio_sip::{ContentType, HeaderName, Message};

use super::multipart;

/// Why a body is not text we can pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// A body without Content-Type, or with one that cannot be read.
    #[error("the Content-Type header field is missing or malformed")]
    ContentType,
    /// Neither text/plain nor multipart/alternative with a plain part.
    #[error("only text/plain can be passed on")]
    MediaType,
    /// A character set we do not convert.
    #[error("the character set is not supported")]
    Charset,
    /// Compressed, or encoded in another way.
    #[error("the content encoding is not supported")]
    Encoding,
    /// Bytes that are no text in the character set they claim, or in UTF-8 if they claim none.
    #[error("the body is not text in its character set")]
    Text,
}

/// Reads the body. `bytes` is `message.body()`, which the caller keeps alive.
pub(super) fn read<'a>(message: &Message, bytes: &'a [u8]) -> Result<Cow<'a, str>, BodyRefusal> {
    let coded = |token: Result<nuncio_sip::Token<'_>, _>| {
        !token.is_ok_and(|t| t.token.eq_ignore_ascii_case("identity"))
    };
    if message.content_encoding().any(coded) {
        return Err(BodyRefusal::Encoding);
    }
    if message.header(HeaderName::ContentType).is_some_and(is_plain_utf8) {
        return utf8(bytes);
    }
    let kind = message.content_type().map_err(|_| BodyRefusal::ContentType)?;
    let Some(kind) = kind else {
        return if bytes.is_empty() { Ok(Cow::Borrowed("")) } else { Err(BodyRefusal::ContentType) };
    };
    if kind.is("text", "plain") {
        return decode(bytes, Some(kind));
    }
    if kind.is("multipart", "alternative") {
        let boundary = kind.param("boundary").ok_or(BodyRefusal::ContentType)?;
        let (kind, part) = multipart::plain_part(bytes, &boundary).ok_or(BodyRefusal::MediaType)?;
        return decode(part, kind);
    }
    Err(BodyRefusal::MediaType)
}

/// The two spellings nearly everybody uses, told apart from all others without reading parameters.
fn is_plain_utf8(value: &str) -> bool {
    let Some((media, rest)) = value.split_at_checked("text/plain".len()) else { return false };
    let charset = rest.strip_prefix(';').map(|parameter| parameter.trim_start_matches(' '));
    media.eq_ignore_ascii_case("text/plain")
        && (rest.is_empty() || charset.is_some_and(|charset| charset.eq_ignore_ascii_case("charset=utf-8")))
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, BodyRefusal> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| BodyRefusal::Text)
}

fn decode<'a>(bytes: &'a [u8], kind: Option<ContentType<'_>>) -> Result<Cow<'a, str>, BodyRefusal> {
    let charset = kind.and_then(|kind| kind.charset());
    let is = |names: &[&str]| {
        charset.as_deref().is_some_and(|c| names.iter().any(|name| c.eq_ignore_ascii_case(name)))
    };
    if charset.is_none() || is(&["utf-8", "utf8"]) {
        return utf8(bytes);
    }
    if is(&["us-ascii", "ascii"]) {
        return std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.is_ascii())
            .map(Cow::Borrowed)
            .ok_or(BodyRefusal::Text);
    }
    if is(&["iso-8859-1", "latin1", "iso8859-1"]) {
        return Ok(Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()));
    }
    let text = if is(&["utf-16be"]) {
        utf16(bytes, u16::from_be_bytes)
    } else if is(&["utf-16le"]) {
        utf16(bytes, u16::from_le_bytes)
    } else if is(&["utf-16"]) {
        match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
            // Without a mark big-endian (RFC 2781 §4.3).
            _ => utf16(bytes, u16::from_be_bytes),
        }
    } else {
        return Err(BodyRefusal::Charset);
    };
    text.map(Cow::Owned).ok_or(BodyRefusal::Text)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(units.iter().map(|&pair| unit(pair))).collect::<Result<_, _>>().ok()
}

/// Calls `piece` with the text between line ends and `line_end` for each of them: CRLF, CR and LF count alike. XML knows
/// LF only (XML 1.0 §2.11), text/plain CRLF only (RFC 2046 §4.1.1); each side gets its own.
pub(super) fn lines<'a, T>(text: &'a str, state: &mut T, piece: fn(&mut T, &'a str), line_end: fn(&mut T)) {
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        let (line, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        piece(state, line);
        line_end(state);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
    piece(state, rest);
}
