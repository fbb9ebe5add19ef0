//! From bytes to text: what PowerShell writes is UTF-16 with a byte order mark by default, and UTF-8 if asked.

use std::borrow::Cow;

use super::ReadError;

/// The text of a file.
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, ReadError> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // Without a mark: every form begins with a character of ASCII.
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes),
        [0, first, ..] if *first != 0 => utf16(bytes, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::Encoding("neither UTF-8 nor UTF-16"))?;
    Ok(Cow::Borrowed(text))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'static, str>, ReadError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ReadError::Encoding("UTF-16 that ends in the middle of a character"));
    }
    let units = pairs.iter().map(|pair| unit(*pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.map(Cow::Owned).map_err(|_| ReadError::Encoding("UTF-16 with half characters in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_powershell_writes_is_the_same_text() {
        let expected = "<Objs>ü𝄞";
        let le: Vec<u8> = expected.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = expected.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let cases: [(&str, Vec<u8>); 6] = [
            ("UTF-8", expected.into()),
            ("UTF-8 with mark", [&b"\xEF\xBB\xBF"[..], expected.as_bytes()].concat()),
            ("UTF-16 LE with mark", [&b"\xFF\xFE"[..], &le].concat()),
            ("UTF-16 BE with mark", [&b"\xFE\xFF"[..], &be].concat()),
            ("UTF-16 LE", le),
            ("UTF-16 BE", be),
        ];
        for (name, bytes) in cases {
            assert_eq!(text(&bytes).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_the_way_to_export_it() {
        for bytes in [&b"Identity\n\xFCmlaut"[..], b"\xFF\xFE<", b"\xFF\xFE\x00\xD8<\x00"] {
            let error = text(bytes).unwrap_err().to_string();
            assert!(error.contains("-Encoding UTF8"), "{error}");
        }
    }
}
