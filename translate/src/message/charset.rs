//! Character sets of bodies, all made UTF-8 (IM-06).
//!
//! Those that front ends and their clients send: Unicode, and what the same clients used before. An unknown one is refused,
//! never guessed, and so are bytes that stand for nothing in the set they claim: half a message is worse than none.

use std::borrow::Cow;

use super::body::BodyRefusal;
use super::code_pages::{self as pages, Upper};

/// Where ISO 8859-15 differs from ISO 8859-1.
const LATIN_9: [(u8, char); 8] =
    [(0xa4, '€'), (0xa6, 'Š'), (0xa8, 'š'), (0xb4, 'Ž'), (0xb8, 'ž'), (0xbc, 'Œ'), (0xbd, 'œ'), (0xbe, 'Ÿ')];

/// Longest name of a character set looked at, in octets.
const NAME_MAX: usize = 24;

/// The text of `bytes`. Without a character set they are UTF-8, of which US-ASCII is a part (RFC 3261 §7.4.1).
pub(super) fn decode<'a>(bytes: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, BodyRefusal> {
    let Some(charset) = charset else { return utf8(bytes) };
    let mut name = [0; NAME_MAX];
    let text = match folded(charset, &mut name).ok_or(BodyRefusal::Charset)? {
        b"utf8" => return utf8(bytes),
        b"usascii" | b"ascii" | b"ansix341968" => {
            return if bytes.is_ascii() { utf8(bytes) } else { Err(BodyRefusal::Text) };
        }
        b"iso88591" | b"iso885911987" | b"latin1" | b"l1" => {
            Some(bytes.iter().map(|&byte| char::from(byte)).collect())
        }
        b"iso885915" | b"latin9" | b"l9" => Some(bytes.iter().map(|&byte| latin_9(byte)).collect()),
        b"utf16be" => utf16(bytes, u16::from_be_bytes),
        b"utf16le" => utf16(bytes, u16::from_le_bytes),
        b"utf16" => match bytes {
            [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
            [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
            // Without a mark big-endian (RFC 2781 §4.3).
            _ => utf16(bytes, u16::from_be_bytes),
        },
        name => single_bytes(bytes, windows(name).ok_or(BodyRefusal::Charset)?),
    };
    text.map(Cow::Owned).ok_or(BodyRefusal::Text)
}

/// UTF-8, checked.
pub(super) fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, BodyRefusal> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| BodyRefusal::Text)
}

/// The character for a byte of windows-1252, where it stands for one.
pub(super) fn windows_1252(byte: u8) -> Option<char> {
    upper(byte, &pages::WINDOWS_1252)
}

/// Letters and digits in lower case: names differ in hyphens, underscores and colons only (RFC 2978 §2.3, UTS 22).
fn folded<'a>(name: &str, into: &'a mut [u8; NAME_MAX]) -> Option<&'a [u8]> {
    let mut length = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
        *into.get_mut(length)? = byte.to_ascii_lowercase();
        length += 1;
    }
    into.get(..length)
}

fn windows(name: &[u8]) -> Option<&'static Upper> {
    let number =
        [b"windows".as_slice(), b"xcp", b"cp"].iter().find_map(|prefix| name.strip_prefix(*prefix))?;
    Some(match number {
        b"1250" => &pages::WINDOWS_1250,
        b"1251" => &pages::WINDOWS_1251,
        b"1252" => &pages::WINDOWS_1252,
        b"1253" => &pages::WINDOWS_1253,
        b"1254" => &pages::WINDOWS_1254,
        b"1255" => &pages::WINDOWS_1255,
        b"1256" => &pages::WINDOWS_1256,
        b"1257" => &pages::WINDOWS_1257,
        b"1258" => &pages::WINDOWS_1258,
        _ => return None,
    })
}

fn single_bytes(bytes: &[u8], page: &Upper) -> Option<String> {
    bytes.iter().map(|&byte| upper(byte, page)).collect()
}

fn upper(byte: u8, page: &Upper) -> Option<char> {
    let Some(above) = usize::from(byte).checked_sub(0x80) else { return Some(char::from(byte)) };
    let point = page.get(above).copied().filter(|point| *point != 0)?;
    char::from_u32(u32::from(point))
}

fn latin_9(byte: u8) -> char {
    let other = LATIN_9.iter().find(|(place, _)| *place == byte);
    other.map_or_else(|| char::from(byte), |(_, character)| *character)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    char::decode_utf16(units.iter().map(|&pair| unit(pair))).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], charset: &str) -> Result<String, BodyRefusal> {
        decode(bytes, Some(charset)).map(Cow::into_owned)
    }

    #[test]
    fn im_06_each_set_gives_its_own_characters() {
        for (charset, bytes, expected) in [
            ("UTF-8", "Grüße 👋".as_bytes(), "Grüße 👋"),
            ("utf8", b"x", "x"),
            ("US-ASCII", b"x", "x"),
            ("iso-8859-1", b"f\xfcr \xa4", "für ¤"),
            ("ISO_8859-1:1987", b"\xe9", "é"),
            ("iso-8859-15", b"5 \xa4 \xbd\xbe\xe9", "5 € œŸé"),
            ("windows-1250", b"\x8elu\x9dou\xe8k\xfd", "Žluťoučký"),
            ("Windows-1251", b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
            ("cp1252", b"\x93\x80 5\x94 \x96 na\xefve", "“€ 5” – naïve"),
            ("windows-1253", b"\xea\xe1\xeb\xe7\xec\xdd\xf1\xe1", "καλημέρα"),
            ("windows-1254", b"\xdeeker \xfd\xf0", "Şeker ığ"),
            ("windows-1255", b"\xf9\xec\xe5\xed", "שלום"),
            ("windows-1256", b"\xe3\xd1\xcd\xc8\xc7", "مرحبا"),
            ("windows-1257", b"\xd0iauliai", "Šiauliai"),
            ("x-cp1258", b"Vi\xea\xf2t", "Viê\u{323}t"),
            ("utf-16", b"\xff\xfe=\xd8K\xdc", "👋"),
            ("utf-16", b"\xfe\xff\0f\0\xfc", "fü"),
            ("utf-16", b"\0f", "f"),
            ("utf-16le", b"f\0\xfc\0", "fü"),
            ("utf-16be", b"\xd8=\xdcK", "👋"),
        ] {
            assert_eq!(text(bytes, charset).as_deref(), Ok(expected), "{charset}");
        }
        assert_eq!(decode("ü".as_bytes(), None).as_deref(), Ok("ü"));
    }

    #[test]
    fn im_06_bytes_that_stand_for_nothing_are_no_text() {
        for (charset, bytes) in [
            ("utf-8", b"\xff".as_slice()),
            ("utf-8", b"\xed\xa0\x80"),
            ("us-ascii", b"\xfc"),
            ("utf-16", b"\0f\0"),
            ("utf-16be", b"\xd8\x3d"),
            ("windows-1252", b"\x81"),
            ("windows-1255", b"\xff"),
        ] {
            assert_eq!(text(bytes, charset), Err(BodyRefusal::Text), "{charset}");
        }
    }

    #[test]
    fn im_06_other_sets_are_refused_whatever_their_names() {
        for charset in ["koi8-r", "utf-7", "utf-32", "shift_jis", "windows-874", "", "ü", &"x".repeat(100)] {
            assert_eq!(text(b"x", charset), Err(BodyRefusal::Charset), "{charset:?}");
        }
        // The longest name looked at, and one more.
        assert_eq!(text(b"x", &"x".repeat(NAME_MAX)), Err(BodyRefusal::Charset));
        assert_eq!(text(b"x", &"x".repeat(NAME_MAX + 1)), Err(BodyRefusal::Charset));
    }
}
