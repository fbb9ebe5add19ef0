//! `multipart/alternative`: the plain part of it (RFC 2046 §5.1). What the richer parts say, the plain one says too.

use nuncio_sip::ContentType;

/// Most parts looked at.
const MOST_PARTS: usize = 16;
/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;

/// The first part of type text/plain that is not transfer-encoded: its type and its bytes.
pub(super) fn plain_part<'a>(body: &'a [u8], boundary: &str) -> Option<(Option<ContentType<'a>>, &'a [u8])> {
    if boundary.is_empty() || boundary.len() > BOUNDARY_MAX {
        return None;
    }
    parts(body, boundary).take(MOST_PARTS).find_map(read_part)
}

/// The pieces between the delimiter lines, each beginning with its header fields.
fn parts<'a>(body: &'a [u8], boundary: &str) -> impl Iterator<Item = &'a [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut rest = next_delimiter(body, &delimiter).map(|(_, after)| after);
    std::iter::from_fn(move || {
        let here = rest?;
        // `--boundary--` ends the whole; text behind it is an epilogue.
        let content = after_line(here).filter(|_| !here.starts_with(b"--"))?;
        let (part, after) = next_delimiter(content, &delimiter)?;
        rest = Some(after);
        Some(part)
    })
}

/// What stands before the next delimiter line (without the line end that belongs to it), and what follows the delimiter.
fn next_delimiter<'a>(bytes: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut from = 0;
    loop {
        let at = from + find(bytes.get(from..)?, delimiter)?;
        let before = bytes.get(..at)?;
        let after = bytes.get(at + delimiter.len()..)?;
        let line_starts = before.is_empty() || before.ends_with(b"\n");
        let line_goes_on =
            after.first().is_some_and(|byte| !matches!(byte, b'-' | b'\r' | b'\n' | b' ' | b'\t'));
        if line_starts && !line_goes_on {
            let before = before.strip_suffix(b"\n").unwrap_or(before);
            return Some((before.strip_suffix(b"\r").unwrap_or(before), after));
        }
        from = at + 1;
    }
}

fn read_part(part: &[u8]) -> Option<(Option<ContentType<'_>>, &[u8])> {
    let (mut kind, mut rest) = (None, part);
    loop {
        let line_end = rest.iter().position(|&byte| byte == b'\n');
        let line = trim_line(rest.get(..line_end.unwrap_or(rest.len()))?);
        rest = line_end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        if name.eq_ignore_ascii_case("Content-Type") {
            kind = Some(ContentType::parse(value).ok()?);
        }
        let as_it_is =
            ["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        if name.eq_ignore_ascii_case("Content-Transfer-Encoding") && !as_it_is {
            return None;
        }
        line_end?;
    }
    // A part without a type is plain text (RFC 2046 §5.1).
    kind.is_none_or(|kind| kind.is("text", "plain")).then_some((kind, rest))
}

fn trim_line(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(bytes.iter().position(|&byte| byte == b'\n')? + 1..)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(body: &str, boundary: &str) -> Option<String> {
        plain_part(body.as_bytes(), boundary).map(|(_, text)| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn the_plain_part_is_found_wherever_it_stands() {
        let body = "preamble\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b\r\n\
                    content-type: TEXT/plain; charset=UTF-8\r\n\r\nline 1\r\nline 2\r\n--b--\r\nepilogue";
        assert_eq!(plain(body, "b").as_deref(), Some("line 1\r\nline 2"));
    }

    #[test]
    fn parts_without_header_fields_are_plain() {
        assert_eq!(plain("--b\r\n\r\nhello\r\n--b--", "b").as_deref(), Some("hello"));
    }

    #[test]
    fn what_only_looks_like_a_delimiter_is_text() {
        let body = "--b\r\n\r\nx --b y\r\n--boundary\r\n--b--";
        assert_eq!(plain(body, "b").as_deref(), Some("x --b y\r\n--boundary"));
    }

    #[test]
    fn encoded_foreign_or_unfinished_parts_are_not_taken() {
        for body in [
            "--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--",
            "--b\r\nContent-Type: text/html\r\n\r\nx\r\n--b--",
            "--b\r\n\r\nnever ends",
            "--b--\r\n\r\nx\r\n--b--",
            "no delimiter",
            "",
            "--b",
        ] {
            assert_eq!(plain(body, "b"), None, "{body:?}");
        }
        assert_eq!(plain("--\r\n\r\nx\r\n----", ""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_trouble(body in r"(--b|--|\r\n|\n|[a-z:]|Content-Type: text/plain){0,40}") {
            let _ = plain_part(body.as_bytes(), "b");
        }
    }
}
