//! Content-Transfer-Encoding of parts (RFC 2045 §6). SIP itself carries any byte; parts that were made for mail do not.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::body::BodyRefusal;

/// With and without padding: both are met.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How the content of a part is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Transfer {
    /// `7bit`, `8bit`, `binary`, or nothing said.
    #[default]
    AsIs,
    QuotedPrintable,
    Base64,
}

impl Transfer {
    /// `None` for one that nobody knows.
    pub(crate) fn of(value: &str) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|name| value.trim().eq_ignore_ascii_case(name));
        if is(&["7bit", "8bit", "binary"]) {
            Some(Self::AsIs)
        } else if is(&["quoted-printable"]) {
            Some(Self::QuotedPrintable)
        } else if is(&["base64"]) {
            Some(Self::Base64)
        } else {
            None
        }
    }

    /// The content itself.
    pub(crate) fn decode(self, content: &[u8]) -> Result<Cow<'_, [u8]>, BodyRefusal> {
        match self {
            Self::AsIs => Ok(Cow::Borrowed(content)),
            Self::QuotedPrintable => Ok(Cow::Owned(quoted_printable(content))),
            Self::Base64 => base64(content).map(Cow::Owned).ok_or(BodyRefusal::Text),
        }
    }
}

fn base64(content: &[u8]) -> Option<Vec<u8>> {
    // Line ends, and blanks that a relay may have left.
    let dense: Vec<u8> = content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(dense).ok()
}

/// What is no escape stays as it is, as RFC 2045 §6.7 advises: it is text somebody wrote.
fn quoted_printable(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut lines = content.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let last = lines.peek().is_none();
        let (text, line_end): (_, &[u8]) = match line.strip_suffix(b"\r") {
            _ if last => (line, b""),
            Some(text) => (text, b"\r\n"),
            None => (line, b"\n"),
        };
        // Blanks at the end of a line are of the transport (rule 3).
        let text = text.trim_ascii_end();
        match text.strip_suffix(b"=") {
            Some(text) => unescape(text, &mut out),
            None => {
                unescape(text, &mut out);
                out.extend_from_slice(line_end);
            }
        }
    }
    out
}

fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'=', text) {
        let (before, escape) = text.split_at(at);
        out.extend_from_slice(before);
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = match escape {
            [_, high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(byte.unwrap_or(b'='));
        text = escape.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(transfer: &str, content: &str) -> String {
        let transfer = Transfer::of(transfer).unwrap();
        String::from_utf8(transfer.decode(content.as_bytes()).unwrap().into_owned()).unwrap()
    }

    #[test]
    fn quoted_printable_gives_back_what_was_written() {
        for (written, text) in [
            ("Gr=C3=BC=c3=9Fe", "Grüße"),
            ("one =\r\nline=  \r\n, still", "one line, still"),
            ("two  \r\nlines", "two\r\nlines"),
            ("two\nlines=\n", "two\nlines"),
            ("1=3D1 =ZZ = =4", "1=1 =ZZ = =4"),
            ("blank at the end=20", "blank at the end "),
            ("soft at the end=", "soft at the end"),
            ("", ""),
        ] {
            assert_eq!(decoded("Quoted-Printable", written), text, "{written:?}");
        }
    }

    #[test]
    fn base64_is_read_with_line_ends_and_without_padding() {
        for written in ["R3LDvMOfZQ==", "R3LDvMOfZQ", "R3LD\r\nvMOf\r\nZQ==\r\n"] {
            assert_eq!(decoded("BASE64", written), "Grüße", "{written:?}");
        }
        for broken in ["R3L*", "R", "=R3LD"] {
            assert_eq!(Transfer::Base64.decode(broken.as_bytes()), Err(BodyRefusal::Text), "{broken:?}");
        }
    }

    #[test]
    fn only_what_can_be_undone_is_known() {
        for as_is in ["7bit", "8BIT", " binary "] {
            assert_eq!(Transfer::of(as_is), Some(Transfer::AsIs));
        }
        for unknown in ["", "x-uuencode", "gzip", "base-64"] {
            assert_eq!(Transfer::of(unknown), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_comes_back(bytes: Vec<u8>) {
            let escaped = |line: &[u8]| line.iter().map(|byte| format!("={byte:02X}")).collect::<String>() + "=\r\n";
            let quoted: String = bytes.chunks(25).map(escaped).collect();
            prop_assert_eq!(&*Transfer::QuotedPrintable.decode(quoted.as_bytes()).unwrap(), &*bytes);
            let encoded = BASE64.encode(&bytes);
            prop_assert_eq!(&*Transfer::Base64.decode(encoded.as_bytes()).unwrap(), &*bytes);
        }
    }
}
