//! The parts of a multipart body (RFC 2046 §5.1), and the header fields that a part begins with (RFC 2045 §3).

use std::borrow::Cow;

/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;

/// The pieces between the delimiter lines, each beginning with its header fields. None at all if the boundary is no
/// boundary. A part without a delimiter behind it was cut off on its way, and is not handed out.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let usable = (1..=BOUNDARY_MAX).contains(&boundary.len());
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let first = if usable { next_delimiter(body, &delimiter) } else { None };
    let mut rest = first.map(|(_, behind)| behind);
    std::iter::from_fn(move || {
        let here = rest?;
        // `--boundary--` ends the whole; text behind it is an epilogue.
        let content = after_line(here).filter(|_| !here.starts_with(b"--"))?;
        let (part, behind) = next_delimiter(content, &delimiter)?;
        rest = Some(behind);
        Some(part)
    })
}

/// The first field with the lines that continue it, and what follows; `None`: the bytes end in it.
pub fn field(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut from = 0;
    loop {
        let line_end = bytes.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)).map(|at| from + at);
        let Some(line_end) = line_end else { return (bytes, None) };
        let after = bytes.get(line_end + 1..).unwrap_or_default();
        let field = bytes.get(..line_end).unwrap_or_default();
        let field = field.strip_suffix(b"\r").unwrap_or(field);
        if field.is_empty() || !matches!(after.first(), Some(b' ' | b'\t')) {
            return (field, Some(after));
        }
        from = line_end + 1;
    }
}

/// One line of a field that may stand on several.
pub fn unfolded(value: &str) -> Cow<'_, str> {
    if !value.contains(['\r', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.chars().filter(|character| !matches!(character, '\r' | '\n')).collect())
}

/// What stands before the next delimiter line (without the line end that belongs to it), and what follows the delimiter.
fn next_delimiter<'a>(bytes: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let finder = memchr::memmem::Finder::new(delimiter);
    let mut from = 0;
    loop {
        let at = from + finder.find(bytes.get(from..)?)?;
        let before = bytes.get(..at)?;
        let behind = bytes.get(at + delimiter.len()..)?;
        let line_starts = before.is_empty() || before.ends_with(b"\n");
        if line_starts && ends_line(behind) {
            let before = before.strip_suffix(b"\n").unwrap_or(before);
            return Some((before.strip_suffix(b"\r").unwrap_or(before), behind));
        }
        // A delimiter begins a line: whatever else is in this one is none.
        from = at + memchr::memchr(b'\n', bytes.get(at..)?)? + 1;
    }
}

/// Behind a delimiter stand two hyphens or nothing, and blanks: anything else belongs to a longer boundary.
fn ends_line(behind: &[u8]) -> bool {
    let blank = behind.strip_prefix(b"--").unwrap_or(behind);
    let mut rest = blank.iter().skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
    rest.next().is_none_or(|&byte| byte == b'\n')
}

fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(memchr::memchr(b'\n', bytes)? + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(body: &str, boundary: &str) -> Vec<String> {
        parts(body.as_bytes(), boundary).map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
    }

    #[test]
    fn parts_are_what_stands_between_the_delimiters() {
        let body = "preamble\r\n--b\r\nA: x\r\n\r\none\r\n--b \r\n\r\ntwo\r\n\r\n--b--\r\nepilogue\r\n--b\r\nno part\r\n--b--";
        assert_eq!(texts(body, "b"), ["A: x\r\n\r\none", "\r\ntwo\r\n"]);
        assert_eq!(texts("--b\none\n--b--", "b"), ["one"]);
    }

    #[test]
    fn what_only_looks_like_a_delimiter_is_content() {
        let body = "--b\r\nx --b y\r\n--boundary\r\n--b-1\r\n--b--1\r\n--b--";
        assert_eq!(texts(body, "b"), ["x --b y\r\n--boundary\r\n--b-1\r\n--b--1"]);
    }

    #[test]
    fn unfinished_parts_are_none() {
        for body in ["--b\r\nnever ends", "--b--\r\nx\r\n--b--", "no delimiter", "", "--b"] {
            assert!(texts(body, "b").is_empty(), "{body:?}");
        }
        assert_eq!(texts("--b\r\none\r\n--b\r\ntwo", "b"), ["one"]);
    }

    #[test]
    fn boundaries_have_a_length() {
        let with = |length| {
            let boundary = "b".repeat(length);
            texts(&format!("--{boundary}\r\nx\r\n--{boundary}--"), &boundary).len()
        };
        assert_eq!((with(0), with(1), with(BOUNDARY_MAX), with(BOUNDARY_MAX + 1)), (0, 1, 1, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_trouble(body in r"(--b|--|\r\n|\n|[a-z:]|Content-Type: text/plain){0,40}") {
            let length: usize = parts(body.as_bytes(), "b").map(<[u8]>::len).sum();
            prop_assert!(length <= body.len());
        }
    }
}
