//! The character classes of XML 1.0 (fifth edition) and XML Namespaces 1.0.

const TEXT: u8 = 1;
const ATTR: u8 = 2;
const NAME_START: u8 = 4;
const NAME: u8 = 8;

/// One byte of flags per byte of input, so that the hot loops ask one table.
const CLASS: [u8; 256] = build();

const fn build() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, bounded by the loop")]
    while byte < 256 {
        let mut class = 0;
        if byte < 0x20 {
            class |= ATTR;
            if byte != 0x09 && byte != 0x0A {
                class |= TEXT;
            }
        }
        if byte == b'&' as usize || byte == b'<' as usize || byte == b'>' as usize || byte == 0xEF {
            class |= TEXT | ATTR;
        }
        if byte == b'\'' as usize || byte == b'"' as usize {
            class |= ATTR;
        }
        let lower = byte | 0x20;
        if byte < 128 && lower >= b'a' as usize && lower <= b'z' as usize || byte == b'_' as usize {
            class |= NAME_START | NAME;
        }
        if byte >= b'0' as usize && byte <= b'9' as usize || byte == b'-' as usize || byte == b'.' as usize {
            class |= NAME;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

#[inline]
fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Character data must not copy this byte blindly: markup, a control, or the lead byte of U+FFFE and U+FFFF.
#[inline]
pub(super) fn needs_care_in_text(byte: u8) -> bool {
    class(byte) & TEXT != 0
}

/// As [`needs_care_in_text`], for attribute values: quotes and all white space but the space too.
#[inline]
pub(super) fn needs_care_in_attr(byte: u8) -> bool {
    class(byte) & ATTR != 0
}

/// XML 1.0 `Char`.
pub(super) fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Checks that a whole piece is made of XML characters. One pass without branches; the second look is for text with
/// characters from U+F000 up, which is rare.
pub(super) fn all_chars(text: &str) -> bool {
    let mut control = false;
    let mut maybe = false;
    for &byte in text.as_bytes() {
        control |= byte < 0x20 && byte != b'\t' && byte != b'\n' && byte != b'\r';
        maybe |= byte == 0xEF;
    }
    !control && (!maybe || text.chars().all(is_char))
}

/// XML 1.0 `S`.
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// A name without a colon (XML Namespaces `NCName`).
pub(super) fn is_ncname(name: &str) -> bool {
    if !name.is_empty() && ascii_ncname(name.as_bytes()) == name.len() {
        return true;
    }
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

/// Octets at the start that are an ASCII `NCName`; 0 when none is there.
#[inline]
pub(super) fn ascii_ncname(bytes: &[u8]) -> usize {
    match bytes.split_first() {
        Some((&first, rest)) if class(first) & NAME_START != 0 => {
            1 + rest.iter().take_while(|&&byte| class(byte) & NAME != 0).count()
        }
        _ => 0,
    }
}

/// The first byte of a tag's name can be this one; everything beyond ASCII is judged when the tag is complete.
#[inline]
pub(super) fn may_start_name(byte: u8) -> bool {
    class(byte) & NAME_START != 0 || byte >= 0x80
}

fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_fifth_edition() {
        for good in ["a", "message", "_x", "a-b.c1", "é", "日本", "a\u{b7}"] {
            assert!(is_ncname(good), "{good}");
        }
        for bad in
            ["", "1a", "-a", ".a", "a:b", "a b", "a\0", "\u{b7}a", "\u{d7}", "\u{fffe}", "a\u{2000}", "a/"]
        {
            assert!(!is_ncname(bad), "{bad:?}");
        }
    }

    #[test]
    fn characters_follow_the_production() {
        for good in [
            '\t',
            '\n',
            '\r',
            ' ',
            '\u{7f}',
            '\u{85}',
            '\u{d7ff}',
            '\u{e000}',
            '\u{fffd}',
            '\u{10000}',
            '\u{10ffff}',
        ] {
            assert!(is_char(good), "{good:?}");
        }
        for bad in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert!(!is_char(bad), "{bad:?}");
        }
    }
}
