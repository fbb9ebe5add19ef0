//! Character classes of the SIP grammar (RFC 3261 §25.1) and the two scanners that everything else is
//! built on: find a delimiter outside quotes, and step over a quoted string.

const TOKEN: u16 = 1;
const WORD: u16 = 1 << 1;
const USER: u16 = 1 << 2;
const PARAM: u16 = 1 << 3;
const HOST: u16 = 1 << 4;
const USER_SEEN: u16 = 1 << 5;
const DISPLAY: u16 = 1 << 6;
const VALUE: u16 = 1 << 7;
const TAIL: u16 = 1 << 8;

const CLASS: [u16; 256] = classes();

#[allow(clippy::indexing_slicing, reason = "runs at compile time")]
const fn contains(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

#[allow(clippy::indexing_slicing, reason = "runs at compile time")]
const fn classes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let alnum = b.is_ascii_alphanumeric();
        let mut class = 0;
        if alnum || contains(b"-.!%*_+`'~", b) {
            class |= TOKEN;
        }
        if alnum || contains(b"-.!%*_+`'~()<>:\\\"/[]?{}", b) {
            class |= WORD;
        }
        // What our own user parts keep (RFC 7247 Table 1); everything else leaves as %HH.
        if alnum || contains(b"!$&'()*+,-./;=?_~", b) {
            class |= USER;
        }
        if alnum || contains(b"-_.!~*'()[]/:&+$", b) {
            class |= PARAM;
        }
        // The underscore is not in the grammar, and is in many a DNS name.
        if alnum || contains(b"-._", b) {
            class |= HOST;
        }
        // What a received user part may hold: all that cannot end a URI where URIs stand.
        if b > b' ' && b != 0x7f && !contains(b"\"<>@#:", b) {
            class |= USER_SEEN;
        }
        // Parameters and headers of a URI.
        if b > b' ' && b != 0x7f && !contains(b"\"<>@#", b) {
            class |= TAIL;
        }
        // An unquoted display name: tokens and blanks by the grammar, raw UTF-8 by custom.
        if alnum || contains(b"-.!%*_+`'~ \t", b) || b >= 0x80 {
            class |= DISPLAY;
        }
        // An unquoted parameter value. Wider than the grammar: `received` carries bare IPv6 (RFC 5118 §4.5), Lync
        // writes base64 with its `=`.
        if b > b' ' && b != 0x7f && !contains(b"\";,<>", b) {
            class |= VALUE;
        }
        table[i] = class;
        i += 1;
    }
    table
}

fn class(byte: u8) -> u16 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

fn all(text: &str, wanted: u16) -> bool {
    // No early exit: the loop over a short text is cheaper without branches, and most texts pass.
    text.bytes().fold(wanted, |so_far, b| so_far & class(b)) == wanted
}

pub(crate) fn is_token_char(byte: u8) -> bool {
    class(byte) & TOKEN != 0
}

pub(crate) fn is_value_char(byte: u8) -> bool {
    class(byte) & VALUE != 0
}

/// `token`: method names, tags, branches, parameter names.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && all(text, TOKEN)
}

pub(crate) fn is_token_bytes(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| class(b) & TOKEN != 0)
}

/// `callid = word [ "@" word ]`.
pub(crate) fn is_call_id(text: &str) -> bool {
    let (local, host) = cut(text, b'@').unwrap_or((text, "x"));
    !local.is_empty() && !host.is_empty() && all(local, WORD) && all(host, WORD)
}

pub(crate) fn is_user_char(byte: u8) -> bool {
    class(byte) & USER != 0
}

pub(crate) fn is_param_char(byte: u8) -> bool {
    class(byte) & PARAM != 0
}

pub(crate) fn is_host_name(text: &str) -> bool {
    !text.is_empty() && all(text, HOST)
}

/// User part or password as received: legal or tolerated characters and well-formed escapes.
pub(crate) fn is_user_part(text: &str) -> bool {
    escaped_run(text, USER_SEEN)
}

/// URI parameters and headers as received. `%` must begin an escape there, too.
pub(crate) fn is_uri_tail(text: &str) -> bool {
    escaped_run(text, TAIL)
}

fn escaped_run(text: &str, wanted: u16) -> bool {
    let (so_far, percent) =
        text.bytes().fold((wanted, false), |(so_far, percent), b| (so_far & class(b), percent | (b == b'%')));
    so_far == wanted && (!percent || escapes_ok(text))
}

fn escapes_ok(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        matches!(bytes.get(at + 1..at + 3), Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
    })
}

pub(crate) fn is_display_text(text: &str) -> bool {
    all(text, DISPLAY)
}

pub(crate) const LWS: [char; 2] = [' ', '\t'];

/// Without blanks at both ends. Folds are blanks already: reading replaces them.
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|b| !is_blank(*b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !is_blank(*b)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What stands before and after the first `byte`, an ASCII character.
pub(crate) fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = position(text.as_bytes(), byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What stands before the first `byte`, and from it on.
pub(crate) fn cut_before(text: &str, byte: u8) -> (&str, &str) {
    position(text.as_bytes(), byte).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// Like `memchr`, for texts so short that its set-up costs more than the search: eight bytes at a time, the
/// classic test for a zero byte in a word.
pub(crate) fn position(bytes: &[u8], byte: u8) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let wanted = LOW.wrapping_mul(u64::from(byte));
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let zero_where_equal = u64::from_le_bytes(*word) ^ wanted;
        // Bytes above the first hit may be marked wrongly, the first one never is.
        let hits = zero_where_equal.wrapping_sub(LOW) & !zero_where_equal & HIGH;
        if hits != 0 {
            return Some(at + usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0));
        }
        at += 8;
    }
    rest.iter().position(|b| *b == byte).map(|found| at + found)
}

pub(crate) fn trim_bytes(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// `text` begins with a quote: the characters inside (escapes untouched) and what follows the closing quote.
pub(crate) fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => {
                let (inside, rest) = inner.split_at_checked(at)?;
                return Some((inside, rest.strip_prefix('"')?));
            }
            _ => {}
        }
    }
    None
}

/// Position of the first `delimiter` that stands outside quoted strings and, if `angles`, outside `<…>`.
pub(crate) fn find_outside(text: &str, delimiter: u8, angles: bool) -> Option<usize> {
    let first = memchr::memchr(delimiter, text.as_bytes())?;
    let before = text.as_bytes().get(..first).unwrap_or_default();
    if memchr::memchr2(b'"', if angles { b'<' } else { b'"' }, before).is_none() {
        return Some(first);
    }
    let mut bytes = text.bytes().enumerate();
    let mut in_quotes = false;
    let mut in_angles = false;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if in_quotes => {
                bytes.next();
            }
            b'"' if !in_angles => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'<' if angles => in_angles = true,
            b'>' if angles => in_angles = false,
            b if b == delimiter && !in_angles => return Some(at),
            _ => {}
        }
    }
    None
}

/// Splits off what stands before the first top-level `delimiter`.
pub(crate) fn split_outside(text: &str, delimiter: u8, angles: bool) -> (&str, Option<&str>) {
    match find_outside(text, delimiter, angles).and_then(|at| text.split_at_checked(at)) {
        Some((head, tail)) => (head, tail.get(1..)),
        None => (text, None),
    }
}

/// Decimal digits only — no sign, no blanks — with any number of leading zeros. `None` on overflow.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |sum, b| {
        if !b.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

pub(crate) fn number_u32(text: &str) -> Option<u32> {
    number(text).and_then(|n| u32::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_that_of_the_first() {
        for len in 0..40 {
            for at in 0..len {
                // Neighbours in value and repeated hits are what the word test could stumble over.
                for filler in [b':' - 1, b':' + 1, 0, 0x80, 0xff, b':' ^ 0x80] {
                    let mut bytes = vec![filler; len];
                    assert_eq!(position(&bytes, b':'), None);
                    bytes[at] = b':';
                    bytes[len - 1] = b':';
                    assert_eq!(position(&bytes, b':'), Some(at), "{at} of {len}, filler {filler}");
                }
            }
        }
    }
}
