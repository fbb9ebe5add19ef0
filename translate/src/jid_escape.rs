//! JID escaping (XEP-0106): characters a localpart cannot hold, written as `\hh`.
//!
//! Ten sequences exist, in lower-case hexadecimal; everything else that looks like one stays as it is. A backslash that
//! would read as the start of a sequence is itself escaped as `\5c` (XEP-0106 §4.2 step 3), so [`unescape`] always undoes
//! [`escape`]. The reverse is not true: `a\5cb` and `a\b` both unescape to `a\b`. [`is_canonical`] tells which
//! localparts [`escape`] can produce; only those may cross (ADR-23).

use std::borrow::Cow;

/// Appends the escaped form of `text` to `out`. `text` is what people read: already percent-decoded and case-folded.
///
/// Whether the result may be a localpart is not checked: a leading or trailing `\20` is forbidden (XEP-0106 §4.1, see
/// [`has_outer_space`]), and PRECIS has its own opinion.
pub fn escape(text: &str, out: &mut impl Extend<char>) {
    for (at, character) in text.char_indices() {
        let must_escape = match character {
            '\\' => text.get(at + 1..at + 3).is_some_and(|pair| unescaped(pair).is_some()),
            other => escaped(other).is_some(),
        };
        match escaped(character) {
            Some(pair) if must_escape => out.extend(std::iter::once('\\').chain(pair.chars())),
            _ => out.extend([character]),
        }
    }
}

/// What a localpart stands for. Borrowed when it holds no sequence.
pub fn unescape(localpart: &str) -> Cow<'_, str> {
    let Some(first) = localpart.find('\\') else { return Cow::Borrowed(localpart) };
    let (head, mut rest) = localpart.split_at_checked(first).unwrap_or((localpart, ""));
    let mut out = String::with_capacity(localpart.len());
    out.push_str(head);
    while let Some(character) = rest.chars().next() {
        let (character, length) = match rest.get(1..3).and_then(unescaped) {
            Some(original) if character == '\\' => (original, 3),
            _ => (character, character.len_utf8()),
        };
        out.push(character);
        rest = rest.get(length..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// True if escaping what `localpart` stands for gives `localpart` again, and no escaped space stands at its ends.
pub fn is_canonical(localpart: &str) -> bool {
    if !localpart.contains('\\') {
        return true;
    }
    let text = unescape(localpart);
    let mut again = String::with_capacity(localpart.len());
    escape(&text, &mut again);
    again == localpart && !has_outer_space(&text)
}

/// True if `text` begins or ends with a space, which no escaped localpart may (ADR-15).
pub fn has_outer_space(text: &str) -> bool {
    text.starts_with(' ') || text.ends_with(' ')
}

const fn escaped(character: char) -> Option<&'static str> {
    Some(match character {
        ' ' => "20",
        '"' => "22",
        '&' => "26",
        '\'' => "27",
        '/' => "2f",
        ':' => "3a",
        '<' => "3c",
        '>' => "3e",
        '@' => "40",
        '\\' => "5c",
        _ => return None,
    })
}

fn unescaped(pair: &str) -> Option<char> {
    Some(match pair {
        "20" => ' ',
        "22" => '"',
        "26" => '&',
        "27" => '\'',
        "2f" => '/',
        "3a" => ':',
        "3c" => '<',
        "3e" => '>',
        "40" => '@',
        "5c" => '\\',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escape(text: &str) -> String {
        let mut out = String::new();
        super::escape(text, &mut out);
        out
    }

    /// XEP-0106 §4.3, §5.1, §5.2, §5.5 (IMPS), §5.7 (IRC): what people read, and the localpart.
    const XEP_0106: [(&str, &str); 18] = [
        ("space cadet", r"space\20cadet"),
        ("call me \"ishmael\"", r"call\20me\20\22ishmael\22"),
        ("at&t guy", r"at\26t\20guy"),
        ("d'artagnan", r"d\27artagnan"),
        ("/.fanboy", r"\2f.fanboy"),
        ("::foo::", r"\3a\3afoo\3a\3a"),
        ("<foo>", r"\3cfoo\3e"),
        ("user@host", r"user\40host"),
        (r"c:\net", r"c\3a\net"),
        (r"c:\\net", r"c\3a\\net"),
        (r"c:\cool stuff", r"c\3a\cool\20stuff"),
        (r"c:\5commas", r"c\3a\5c5commas"),
        ("here's_a_wild_&_/cr%zy/_address", r"here\27s_a_wild_\26_\2fcr%zy\2f_address"),
        (
            "here's_a_wild_&_/cr%zy/_address_for:<wv>(\"IMPS\")",
            r"here\27s_a_wild_\26_\2fcr%zy\2f_address_for\3a\3cwv\3e(\22IMPS\22)",
        ),
        (r"\3and\2is\5cool", r"\5c3and\2is\5c5cool"),
        ("somenick!user\"&'/:<>\\3address", r"somenick!user\22\26\27\2f\3a\3c\3e\5c3address"),
        (r"\2plus\2is\4", r"\2plus\2is\4"),
        (r"foo\bar", r"foo\bar"),
    ];

    #[test]
    fn tv_37_xep_0106_examples_hold_both_ways() {
        for (text, localpart) in XEP_0106 {
            assert_eq!(escape(text), localpart);
            assert_eq!(unescape(localpart), text);
            assert!(is_canonical(localpart), "{localpart}");
        }
    }

    #[test]
    fn adr_14_only_the_ten_lower_case_sequences_are_unescaped() {
        for localpart in [r"foo\41r", r"a\2", r"a\", r"a\2F", r"a\5C27", r"\é0", r"\2é", r"\\\"] {
            assert_eq!(unescape(localpart), localpart);
            assert!(is_canonical(localpart), "{localpart}");
        }
        assert_eq!(unescape(r"\\27"), r"\'");
    }

    #[test]
    fn adr_23_localparts_with_a_twin_are_not_canonical() {
        for localpart in [r"a\5cb", r"\5c", r"a\5c", r"\5c41", r"\5c\27"] {
            assert!(!is_canonical(localpart), "{localpart}");
        }
        assert!(is_canonical(r"a\5c27b"));
        assert!(is_canonical(r"a\5c5cb"));
    }

    #[test]
    fn adr_15_escaped_spaces_stand_inside_only() {
        assert!(!is_canonical(r"\20a"));
        assert!(!is_canonical(r"a\20"));
        assert!(is_canonical(r"a\20b"));
    }

    proptest! {
        #[test]
        fn unescaping_undoes_escaping(text in r#"([\\a-f0-9 "&'/:<>@]|\PC){0,24}"#) {
            let localpart = escape(&text);
            prop_assert!(!localpart.contains([' ', '"', '&', '\'', '/', ':', '<', '>', '@']));
            prop_assert_eq!(unescape(&localpart), text.as_str());
            prop_assert_eq!(is_canonical(&localpart), !has_outer_space(&text) || !localpart.contains('\\'));
        }

        #[test]
        fn canonical_localparts_are_those_that_come_back(localpart in r"([\\2-5a-f0c7]){0,12}") {
            prop_assert_eq!(is_canonical(&localpart),
                escape(&unescape(&localpart)) == localpart && !has_outer_space(&unescape(&localpart)));
        }
    }
}
