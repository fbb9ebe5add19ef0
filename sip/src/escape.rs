//! Percent escapes of user parts and URI parameters (RFC 3261 §19.1.2, RFC 3986 §2).

use std::borrow::Cow;

use crate::lex;

/// Why an escaped text stands for nothing we pass on (ADR-18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EscapeError {
    /// `%` without two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Malformed,
    /// The escapes decode to bytes that are no UTF-8.
    #[error("the escapes do not decode to UTF-8")]
    NotUtf8,
    /// The escapes decode to NUL or another control character.
    #[error("a control character is escaped")]
    Control,
}

/// Text → user part of a SIP URI. What RFC 7247 Table 1 allows stays, all else becomes `%HH` (ADR-02, ADR-05).
pub fn encode_user(text: &str) -> Cow<'_, str> {
    encode(text, lex::is_user_char)
}

/// Text → name or value of a URI parameter, `gr` above all: only `paramchar` stays (ADR-12).
pub fn encode_param(text: &str) -> Cow<'_, str> {
    encode(text, lex::is_param_char)
}

/// User part of a URI → text. Unescapes once only (RFC 4475 §3.1.1.3).
///
/// # Errors
/// [`EscapeError`]: broken escapes, no UTF-8, or control characters, raw ones included.
pub fn decode_user(user: &str) -> Result<Cow<'_, str>, EscapeError> {
    decode(user)
}

/// Name or value of a URI parameter → text; the same rules as [`decode_user`].
///
/// # Errors
/// [`EscapeError`].
pub fn decode_param(value: &str) -> Result<Cow<'_, str>, EscapeError> {
    decode(value)
}

fn encode(text: &str, keep: fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(keep) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex(byte >> 4));
            out.push(hex(byte & 15));
        }
    }
    Cow::Owned(out)
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

fn decode(text: &str) -> Result<Cow<'_, str>, EscapeError> {
    let decoded = if memchr::memchr(b'%', text.as_bytes()).is_none() {
        Cow::Borrowed(text)
    } else {
        let mut out = Vec::with_capacity(text.len());
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let high = bytes.next().and_then(digit).ok_or(EscapeError::Malformed)?;
                let low = bytes.next().and_then(digit).ok_or(EscapeError::Malformed)?;
                out.push(high << 4 | low);
            } else {
                out.push(byte);
            }
        }
        Cow::Owned(String::from_utf8(out).map_err(|_| EscapeError::NotUtf8)?)
    };
    if decoded.chars().any(char::is_control) {
        return Err(EscapeError::Control);
    }
    Ok(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adr_05_user_set() {
        assert_eq!(encode_user("here's_a&b/c;d=e?f"), "here's_a&b/c;d=e?f");
        assert_eq!(encode_user("a#b%c[d]"), "a%23b%25c%5Bd%5D");
        assert_eq!(encode_user("\"q\":x<y>@ \\"), "%22q%22%3Ax%3Cy%3E%40%20%5C");
        assert_eq!(encode_user("fü\r\n"), "f%C3%BC%0D%0A");
    }

    #[test]
    fn adr_12_param_set() {
        assert_eq!(encode_param("x;transport=udp"), "x%3Btransport%3Dudp");
        assert_eq!(encode_param("a b\"?@<>,é"), "a%20b%22%3F%40%3C%3E%2C%C3%A9");
        assert_eq!(encode_param("home[1]/x:&+$"), "home[1]/x:&+$");
    }

    #[test]
    fn adr_18_refusals() {
        assert_eq!(decode_user("value%41"), Ok("valueA".into()));
        assert_eq!(decode_user("%2541"), Ok("%41".into()));
        assert_eq!(decode_user("null-%00-null"), Err(EscapeError::Control));
        assert_eq!(decode_user("%C3%28"), Err(EscapeError::NotUtf8));
        assert_eq!(decode_user("%zy"), Err(EscapeError::Malformed));
        assert_eq!(decode_user("%4"), Err(EscapeError::Malformed));
        assert_eq!(decode_user("%C2%85"), Err(EscapeError::Control));
    }
}
