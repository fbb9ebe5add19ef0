//! Escaping for output (SEC-08, SEC-32). What XML 1.0 cannot carry is replaced by U+FFFD, so nothing that passes through
//! here can end a tag, start one, or make a peer's parser give up.

use super::chars;

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Appends character data.
pub fn text(out: &mut Vec<u8>, text: &str) {
    append(out, text, chars::needs_care_in_text, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        // Always, so that `]]>` never appears.
        b'>' => Some(b"&gt;"),
        // A literal CR would be read back as LF (XML 1.0 section 2.11).
        b'\r' => Some(b"&#xD;"),
        b'\t' | b'\n' => None,
        _ => Some(REPLACEMENT),
    });
}

/// Appends an attribute value, without the quotes; fits between either kind.
pub fn attr(out: &mut Vec<u8>, value: &str) {
    append(out, value, chars::needs_care_in_attr, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\'' => Some(b"&apos;"),
        b'"' => Some(b"&quot;"),
        // Literal white space would be normalised to spaces (XML 1.0 section 3.3.3).
        b'\t' => Some(b"&#x9;"),
        b'\n' => Some(b"&#xA;"),
        b'\r' => Some(b"&#xD;"),
        _ => Some(REPLACEMENT),
    });
}

/// Copies runs of harmless bytes; `care` tells where a run ends, `replace` what stands for the byte there (`None`: itself).
#[inline]
fn append(
    out: &mut Vec<u8>,
    s: &str,
    care: impl Fn(u8) -> bool,
    replace: impl Fn(u8) -> Option<&'static [u8]>,
) {
    // Nearly always there is nothing to escape, and without branches that is soon known.
    if !s.bytes().fold(false, |found, byte| found | care(byte)) {
        return out.extend_from_slice(s.as_bytes());
    }
    out.reserve(s.len());
    let mut rest = s.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| care(byte)) {
        let (run, tail) = rest.split_at(at);
        out.extend_from_slice(run);
        let Some((&byte, after)) = tail.split_first() else { return };
        if byte == 0xEF {
            // U+FFFE and U+FFFF are the only characters beyond ASCII that a str can hold and XML cannot.
            let (replacement, skip): (&[u8], usize) = match tail {
                [0xEF, 0xBF, 0xBE | 0xBF, ..] => (REPLACEMENT, 3),
                _ => (b"\xEF", 1),
            };
            out.extend_from_slice(replacement);
            rest = tail.get(skip..).unwrap_or_default();
            continue;
        }
        match replace(byte) {
            Some(replacement) => out.extend_from_slice(replacement),
            None => out.push(byte),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_text(s: &str) -> String {
        let mut out = Vec::new();
        text(&mut out, s);
        String::from_utf8(out).unwrap()
    }

    fn as_attr(s: &str) -> String {
        let mut out = Vec::new();
        attr(&mut out, s);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn sec_08_markup_characters_are_escaped() {
        assert_eq!(as_text("a<b>&c]]>'\""), "a&lt;b&gt;&amp;c]]&gt;'\"");
        assert_eq!(as_attr("a<b>&c'\""), "a&lt;b&gt;&amp;c&apos;&quot;");
        assert_eq!(as_text("tab\tnl\ncr\r"), "tab\tnl\ncr&#xD;");
        assert_eq!(as_attr("tab\tnl\ncr\r"), "tab&#x9;nl&#xA;cr&#xD;");
    }

    #[test]
    fn sec_32_only_xml_characters_go_out() {
        assert_eq!(as_text("a\0b\u{1}c\u{1f}d\u{7f}"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{7f}");
        assert_eq!(as_attr("\u{8}\u{b}\u{c}\u{e}"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(as_text("x\u{fffe}y\u{ffff}z"), "x\u{fffd}y\u{fffd}z");
        // Neighbours in the same three-byte block, the ZWNBSP and the planes above stay.
        assert_eq!(
            as_attr("\u{fffd}\u{fffc}\u{ff21}\u{feff}\u{1fffe}😀é"),
            "\u{fffd}\u{fffc}\u{ff21}\u{feff}\u{1fffe}😀é"
        );
    }

    #[test]
    fn every_ascii_character_comes_out_as_an_xml_character() {
        for byte in 0..128u8 {
            let s = char::from(byte).to_string();
            for out in [as_text(&s), as_attr(&s)] {
                assert!(out.chars().all(chars::is_char), "{byte}: {out:?}");
            }
        }
    }
}
