//! Text that changes sides: made safe for the place it goes to (SEC-30…SEC-36).
//!
//! Three places:
//!
//! - [`one_line`] for SIP header values: one line, no control characters.
//! - [`displayable`] for display names and status notes: one line, and nothing invisible or direction-changing in it.
//! - [`LogSafe`] and [`LogAddress`] for logs: escaped, capped, and without secrets.
//!
//! Text going *into XML* needs no function here: the writer of `nuncio_xmpp` lets only XML 1.0 characters out (SEC-32).
//! Bodies are never touched by [`displayable`]: what a user wrote arrives as he wrote it.

use std::borrow::Cow;
use std::fmt;

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// Longest Subject we put in a SIP header, in octets. A subject is a courtesy; the body is never cut.
pub const SUBJECT_CAP: usize = 512;
/// Longest reason phrase or stanza error text carried to the other side, in octets.
pub const REASON_CAP: usize = 256;
/// Longest display name or note carried to the other side, in octets.
pub const DISPLAY_CAP: usize = 256;
/// Longest field written to a log, in characters before escaping.
pub const LOG_CAP: usize = 256;

/// Makes `text` fit for a SIP header value: one line without control characters, at most `cap` octets.
///
/// Every run of line breaks and other controls (C0, DEL, C1, U+2028, U+2029) becomes one space; the ends are trimmed
/// (SEC-30). Borrowed when there was nothing to do, which is nearly always. Cutting happens between characters.
pub fn one_line(text: &str, cap: usize) -> Cow<'_, str> {
    clean(text, cap, |_, _, _| false)
}

/// Makes `text` fit to be shown as somebody's name or note: [`one_line`] without characters that hide or reorder what is
/// read (SEC-34).
///
/// Bidirectional controls and invisible characters are removed. The joiners U+200C and U+200D stay between two non-ASCII
/// characters, because Persian, Indic scripts and emoji are spelt with them; between ASCII letters they only disguise.
pub fn displayable(text: &str, cap: usize) -> Cow<'_, str> {
    clean(text, cap, |previous, character, next| match character {
        '\u{200c}' | '\u{200d}' => {
            !(previous.is_some_and(|c| !c.is_ascii()) && next.is_some_and(|c| !c.is_ascii()))
        }
        other => is_invisible(other),
    })
}

/// True for characters that end a line or control a terminal: C0, DEL, C1 and the Unicode line separators.
pub fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// A string as it may stand in a log line: controls, invisible and direction-changing characters escaped, at most
/// [`LOG_CAP`] characters (SEC-35).
///
/// Written through `Display`; nothing is allocated.
#[derive(Clone, Copy)]
pub struct LogSafe<'a>(pub &'a str);

/// The same of any length: for texts of our own, in which what others wrote has been shortened already. What is at their
/// end, often the advice, is not lost.
#[derive(Clone, Copy)]
pub struct LogWhole<'a>(pub &'a str);

/// How addresses of users appear in logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privacy {
    /// As they are.
    #[default]
    Clear,
    /// The domain only, behind a `*` if there is a user part.
    Domain,
    /// The user part replaced by a short keyed tag: lines of one user can be found together, and no name stands there.
    /// The key lives as long as the operator wants the lines to be comparable.
    Hidden([u8; 16]),
}

/// A JID or SIP URI as it may stand in a log line.
///
/// A password in the user part and the headers of a SIP URI are never shown, whatever the privacy (ADR-19); a resource
/// is dropped unless they are [clear](Privacy::Clear).
#[derive(Clone, Copy)]
pub struct LogAddress<'a> {
    address: &'a str,
    privacy: Privacy,
}

impl<'a> LogAddress<'a> {
    /// Wraps an address; accepts any text, also what is no address at all.
    pub fn new(address: &'a str, privacy: Privacy) -> Self {
        Self { address, privacy }
    }
}

fn clean(
    text: &str,
    cap: usize,
    unwanted: impl Fn(Option<char>, char, Option<char>) -> bool,
) -> Cow<'_, str> {
    if is_plain(text, cap) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(cap));
    // A gap is what stands between two visible characters: kept if it is spaces only, one space if it holds a control.
    let (mut gap, mut broken) = (0, false);
    let mut previous = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if unwanted(previous, character, characters.peek().copied()) {
            continue;
        }
        previous = Some(character);
        if character == ' ' || is_control(character) {
            gap += 1;
            broken |= character != ' ';
            continue;
        }
        let spaces = if out.is_empty() {
            0
        } else if broken {
            1
        } else {
            gap
        };
        if out.len() + spaces + character.len_utf8() > cap {
            break;
        }
        out.extend(std::iter::repeat_n(' ', spaces));
        out.push(character);
        (gap, broken) = (0, false);
    }
    Cow::Owned(out)
}

/// Printable ASCII without outer spaces within the cap: nothing in it can need work. The common case, decided bytewise.
fn is_plain(text: &str, cap: usize) -> bool {
    text.len() <= cap
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

/// Characters without a glyph, and those that change the direction of what follows.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'                    // soft hyphen
        | '\u{34f}'                 // combining grapheme joiner
        | '\u{61c}'                 // Arabic letter mark
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers
        | '\u{180b}'..='\u{180e}'   // Mongolian selectors and vowel separator
        | '\u{200b}'                // zero width space
        | '\u{200e}' | '\u{200f}'   // left-to-right and right-to-left mark
        | '\u{202a}'..='\u{202e}'   // embeddings and overrides
        | '\u{2060}'..='\u{206f}'   // word joiner, invisible operators, isolates, deprecated format characters
        | '\u{feff}'                // zero width no-break space
        | '\u{fff9}'..='\u{fffb}'   // interlinear annotation
        | '\u{e0000}'..='\u{e007f}' // tags
    )
}

impl fmt::Display for LogSafe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, character) in self.0.chars().enumerate() {
            if count == LOG_CAP {
                return f.write_str("…");
            }
            write_escaped(character, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for LogWhole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| write_escaped(character, f))
    }
}

fn write_escaped(character: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    let invisible = is_invisible(character) || matches!(character, '\u{200c}' | '\u{200d}');
    match character {
        // Escaped so that an escape in the output always is one of ours.
        '\\' => f.write_str("\\\\"),
        _ if is_control(character) || invisible => write!(f, "{}", character.escape_unicode()),
        _ => f.write_char(character),
    }
}

impl fmt::Debug for LogSafe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LogAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = AddressParts::split(self.address);
        f.write_str(parts.scheme)?;
        match (parts.user, self.privacy) {
            (Some(user), Privacy::Clear) => write!(f, "{}@{}", LogSafe(user), LogSafe(parts.rest)),
            (Some(user), Privacy::Hidden(key)) => {
                write!(f, "~{:08x}@{}", short_tag(&key, user, parts.domain), LogSafe(parts.domain))
            }
            (Some(_), Privacy::Domain) => write!(f, "*@{}", LogSafe(parts.domain)),
            (None, Privacy::Clear) => LogSafe(parts.rest).fmt(f),
            (None, Privacy::Domain | Privacy::Hidden(_)) => LogSafe(parts.domain).fmt(f),
        }
    }
}

impl fmt::Debug for LogAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The pieces of an address that logs care about; any text has them.
struct AddressParts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    /// Domain with what follows it, without URI headers.
    rest: &'a str,
    domain: &'a str,
}

impl<'a> AddressParts<'a> {
    fn split(address: &'a str) -> Self {
        let is_uri =
            |scheme: &&str| address.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        let scheme_len =
            ["sip:", "sips:"].iter().find(|scheme| is_uri(scheme)).map_or(0, |scheme| scheme.len());
        let (scheme, address) = address.split_at_checked(scheme_len).unwrap_or(("", address));
        let uri = !scheme.is_empty();
        let (user, rest) = match address.split_once('@') {
            // In a JID an `@` behind the first slash belongs to the resource.
            Some((user, rest)) if uri || !user.contains('/') => (Some(user), rest),
            _ => (None, address),
        };
        let user = user.map(|user| if uri { before(user, ':') } else { user });
        let rest = if uri { before(rest, '?') } else { rest };
        let domain = rest.split(if uri { [';', ':'] } else { ['/', '/'] }).next().unwrap_or(rest);
        Self { scheme, user, rest, domain }
    }
}

fn before(text: &str, mark: char) -> &str {
    text.split_once(mark).map_or(text, |(head, _)| head)
}

fn short_tag(key: &[u8; 16], user: &str, domain: &str) -> u32 {
    let mut hasher = SipHasher24::new_with_key(key);
    let mut absorb = |text: &str| text.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
    absorb(user);
    absorb("@");
    absorb(domain);
    // Half the hash is plenty to tell the users of one log apart.
    (hasher.finish() >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sec_30_one_line_keeps_clean_text_without_copying() {
        assert!(matches!(one_line("Budget 2027 (draft)", SUBJECT_CAP), Cow::Borrowed("Budget 2027 (draft)")));
        assert_eq!(one_line("Grüße, 東京", SUBJECT_CAP), "Grüße, 東京");
    }

    #[test]
    fn sec_30_one_line_folds_every_line_break_and_control_into_one_space() {
        for (dirty, clean) in [
            ("a\r\nRoute: <sip:evil>", "a Route: <sip:evil>"),
            ("a\r\n\r\nb", "a b"),
            ("a\u{2028}b\u{2029}c", "a b c"),
            ("a\u{85}b\u{9f}c\u{7f}d", "a b c d"),
            ("\0a\0", "a"),
            ("a\tb", "a b"),
            ("  a  ", "a"),
            ("a \r\n b", "a b"),
            ("a  b\r\nc", "a  b c"),
            ("\r\n", ""),
        ] {
            assert_eq!(one_line(dirty, SUBJECT_CAP), clean, "{dirty:?}");
        }
    }

    #[test]
    fn sec_30_the_cap_counts_octets_and_cuts_between_characters() {
        assert_eq!(one_line("abcd", 4), "abcd");
        assert_eq!(one_line("abcde", 4), "abcd");
        assert_eq!(one_line("ääää", 5), "ää");
        assert_eq!(one_line("ab cd", 3), "ab");
    }

    #[test]
    fn sec_34_names_lose_direction_controls_and_invisible_characters() {
        assert_eq!(displayable("admin\u{202e}gro.elpmaxe", DISPLAY_CAP), "admingro.elpmaxe");
        assert_eq!(displayable("Ju\u{200b}li\u{ad}et\u{feff}", DISPLAY_CAP), "Juliet");
        assert_eq!(displayable("ad\u{200c}min\u{200d}", DISPLAY_CAP), "admin");
        assert_eq!(displayable("\u{2067}abc\u{2069}", DISPLAY_CAP), "abc");
    }

    #[test]
    fn sec_34_joiners_stay_where_scripts_and_emoji_need_them() {
        for text in ["نمی‌خواهم", "👩‍💻", "क्‍ष"] {
            assert_eq!(displayable(text, DISPLAY_CAP), text);
        }
    }

    #[test]
    fn sec_34_headers_of_bodies_keep_them() {
        assert_eq!(one_line("a\u{202e}b", SUBJECT_CAP), "a\u{202e}b");
    }

    #[test]
    fn sec_35_log_text_shows_controls_as_escapes_and_is_capped() {
        assert_eq!(LogSafe("a\nb\u{1b}[31mc").to_string(), "a\\u{a}b\\u{1b}[31mc");
        assert_eq!(LogSafe("\u{202e}x\\n").to_string(), "\\u{202e}x\\\\n");
        assert_eq!(LogSafe(&"x".repeat(LOG_CAP)).to_string(), "x".repeat(LOG_CAP));
        assert_eq!(LogSafe(&"x".repeat(LOG_CAP + 1)).to_string(), "x".repeat(LOG_CAP) + "…");
        assert_eq!(format!("{:?}", LogSafe("a\nb")), "a\\u{a}b");
        assert_eq!(LogWhole("a\nb\u{202e}").to_string(), "a\\u{a}b\\u{202e}");
        assert_eq!(LogWhole(&"x".repeat(LOG_CAP + 1)).to_string(), "x".repeat(LOG_CAP + 1));
    }

    #[test]
    fn adr_19_passwords_and_uri_headers_are_never_logged() {
        let shown = |address| LogAddress::new(address, Privacy::Clear).to_string();
        assert_eq!(
            shown("sip:alice:secret@example.com;transport=tls?Subject=x"),
            "sip:alice@example.com;transport=tls"
        );
        assert_eq!(shown("SIPS:alice:s3cr3t@example.com"), "SIPS:alice@example.com");
        assert_eq!(shown("juliet@example.com/balcony"), "juliet@example.com/balcony");
        assert_eq!(shown("example.com/a@b"), "example.com/a@b");
        assert_eq!(shown("not an address\n"), "not an address\\u{a}");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn sec_35_hidden_addresses_keep_only_domain_and_a_stable_tag() {
        let hidden = |address, key| LogAddress::new(address, Privacy::Hidden([key; 16])).to_string();
        let first = hidden("sip:alice:secret@example.com;gr=x?a=b", 1);
        assert!(first.starts_with("sip:~") && first.ends_with("@example.com"), "{first}");
        assert!(!first.contains("alice") && !first.contains("secret"));
        assert_eq!(first.replace("sip:", ""), hidden("ALICE@example.com/phone", 1));
        assert_ne!(first, hidden("sip:bob@example.com", 1));
        assert_ne!(first, hidden("sip:alice@example.com", 2));
        assert_eq!(hidden("example.com/secret", 1), "example.com");
    }

    #[test]
    fn sec_35_domain_only_shows_nothing_of_the_user() {
        let shown = |address| LogAddress::new(address, Privacy::Domain).to_string();
        for address in ["alice@example.com", "alice@example.com/phone", "bob@example.com"] {
            assert_eq!(shown(address), "*@example.com");
        }
        assert_eq!(shown("sip:alice:secret@example.com;gr=x?a=b"), "sip:*@example.com");
        assert_eq!(shown("example.com/secret"), "example.com");
    }

    proptest! {
        #[test]
        fn one_line_is_one_line_within_its_cap_and_stable(text: String, cap in 0usize..64) {
            let once = one_line(&text, cap).into_owned();
            prop_assert!(once.len() <= cap);
            prop_assert!(!once.chars().any(is_control));
            prop_assert_eq!(one_line(&once, cap), once.as_str());
            let shown = displayable(&text, cap).into_owned();
            prop_assert!(shown.len() <= cap && !shown.chars().any(|c| is_control(c) || is_invisible(c)));
        }

        #[test]
        fn log_text_never_holds_a_control(text: String) {
            prop_assert!(!LogSafe(&text).to_string().chars().any(is_control));
            prop_assert!(!LogAddress::new(&text, Privacy::Clear).to_string().chars().any(is_control));
        }
    }
}
