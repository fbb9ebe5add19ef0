//! The small values of the file: words, durations, labels, log filters.
//!
//! Each type can only hold what is right; the way in is [`Text::parse`], whose error is a sentence for the administrator.

use std::fmt;
use std::time::Duration;

use compact_str::CompactString;

use crate::tls::Backend;

/// Why a value was refused, as a sentence that goes behind the name of its key.
///
/// Nothing branches on it: the only reader is a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// A value that is written as quoted text in the file.
pub trait Text: Sized {
    /// What the value is, with its article: "a domain", "a log format".
    const WHAT: &'static str;
    /// What to say when a number stands there instead of text.
    const AS_NUMBER: Option<&'static str> = None;
    /// What may be written, for the documentation: "`\"human\"` or `\"json\"`".
    fn allowed() -> String {
        Self::WHAT.trim_start_matches("a ").trim_start_matches("an ").to_owned()
    }

    /// Reads the text between the quotes.
    ///
    /// # Errors
    /// A sentence that quotes the text and says what is expected.
    fn parse(text: &str) -> Result<Self, ValueError>;
}

/// How words are written and read: those of a type with `ALL` and `as_str`.
macro_rules! text_of_words {
    ($name:ty: $what:literal) => {
        impl Text for $name {
            const WHAT: &'static str = $what;

            fn allowed() -> String {
                let words: Vec<String> = Self::ALL.iter().map(|w| format!("`\"{w}\"`")).collect();
                words.join(", ")
            }

            fn parse(text: &str) -> Result<Self, ValueError> {
                if let Some(word) = Self::ALL.iter().find(|w| w.as_str() == text) {
                    return Ok(*word);
                }
                Err(not_a_word(text, $what, Self::ALL.iter().map(|w| w.as_str())))
            }
        }
    };
}
pub(super) use text_of_words;

/// Words: an enum whose values are fixed strings.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident: $what:literal { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        text_of_words! { $name: $what }
    };
}

words! {
    /// `log.format`
    pub enum LogFormat: "a log format" {
        /// One line of text per event.
        Human = "human",
        /// One JSON object per event and line.
        Json = "json",
    }
}

words! {
    /// `log.addresses`
    pub enum LogAddresses: "a way to log addresses" {
        /// As they are.
        Full = "full",
        /// The domain only.
        Domain = "domain",
        /// A keyed hash in place of the user part.
        Hashed = "hashed",
    }
}

words! {
    /// How messages go to the users of a front end.
    pub enum Im: "a way to send messages" {
        /// In sessions as long as the front end knows INVITE, else alone.
        Automatic = "automatic",
        /// In sessions.
        Session = "session",
        /// Alone.
        Pager = "pager",
    }
}

words! {
    /// Which internet protocols an outbound connection, or a listener on `[::]`, uses.
    pub enum Family: "an address family" {
        /// IPv6 and IPv4.
        Any = "any",
        /// IPv4 only.
        Ipv4 = "ipv4",
        /// IPv6 only.
        Ipv6 = "ipv6",
    }
}

words! {
    /// By which records of DNS the hosts of a domain are found.
    pub enum Lookup: "a way to look up front ends" {
        /// NAPTR, `_sips._tcp`, then the domain's own address (RFC 3263).
        Sip = "sip",
        /// `_sipfederationtls._tcp`, as Edge servers find each other.
        Federation = "federation",
    }
}

words! {
    /// What a front end takes us for, and who tells it how far contacts are trusted.
    pub enum TrustModel: "a trust model" {
        /// A SIP server as any other.
        Plain = "plain",
        /// A federated peer of an Access Edge.
        Edge = "edge",
        /// A trusted server behind the front ends.
        Server = "server",
    }
}

words! {
    /// Which library does TLS with a front end.
    pub enum TlsBackend: "a TLS backend" {
        /// rustls: TLS 1.2 and 1.3, authenticated encryption only.
        Rustls = "rustls",
        /// OpenSSL: TLS 1.2, also with CBC.
        OpensslLegacy = "openssl-legacy",
    }
}

impl From<TlsBackend> for Backend {
    fn from(configured: TlsBackend) -> Self {
        match configured {
            TlsBackend::Rustls => Self::Rustls,
            TlsBackend::OpensslLegacy => Self::OpensslLegacy,
        }
    }
}

words! {
    /// The trust level of a partner.
    pub enum PartnerType: "a partner type" {
        /// An organisation that is trusted like our own users.
        Federated = "federated",
        /// A public provider that verifies who its users are.
        PublicVerified = "public-verified",
        /// A public provider where anybody can call himself anything.
        PublicUnverified = "public-unverified",
    }
}

words! {
    /// What a policy rule says.
    pub enum Verdict: "a verdict" {
        /// They may.
        Allow = "allow",
        /// They may not, whatever other rules say.
        Deny = "deny",
    }
}

pub(crate) fn not_a_word(
    text: &str,
    what: &str,
    words: impl Iterator<Item = &'static str> + Clone,
) -> ValueError {
    let list: Vec<String> = words.clone().map(|w| format!("\"{w}\"")).collect();
    let expected = match list.as_slice() {
        [head @ .., last] if !head.is_empty() => format!("{} or {last}", head.join(", ")),
        _ => list.join(""),
    };
    let mut sentence = format!("{} is not {what}; expected {expected}", quoted(text));
    if let Some(word) = nearest(text, words) {
        sentence.push_str(&format!("; did you mean \"{word}\"?"));
    }
    ValueError::new(sentence)
}

/// The candidate that `text` most likely was meant to be: at most one typing slip in three letters.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs length × length: what is longer than any word of ours is no slip of it.
    if text.len() > 64 {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let slips = (text.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&text, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `text` in quotes, shortened, control characters made visible: fit for a terminal.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).map(printable).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// A name that somebody gave, fit for a terminal: of one that is endless only the beginning.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(LONGEST_SHOWN).map(printable).collect();
    if name.chars().nth(LONGEST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// A sentence of ours in which words of others may stand: of those that are endless only the beginning.
pub(crate) fn with_words_cut(sentence: &str) -> String {
    let (mut cut, mut length) = (String::with_capacity(sentence.len().min(4096)), 0_usize);
    for c in sentence.chars() {
        length = if c.is_whitespace() { 0 } else { length.saturating_add(1) };
        match length {
            ..=LONGEST_SHOWN => cut.push(c),
            length if length == LONGEST_SHOWN + 1 => cut.push('…'),
            _ => {}
        }
    }
    cut
}

/// How many characters of a name or word are shown.
const LONGEST_SHOWN: usize = 200;

/// Control and bidirectional formatting characters do not reach a terminal.
pub(crate) fn printable(c: char) -> char {
    match c {
        '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

impl Text for Duration {
    const WHAT: &'static str = "a duration";
    const AS_NUMBER: Option<&'static str> = Some("; write it with its unit and in quotes, such as \"10s\"");

    fn allowed() -> String {
        "duration: `\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`, `\"45d\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let refused = || {
            ValueError::new(format!(
                "{} is not a duration; expected a whole number with its unit (ms, s, m, h or d), such as \"10s\"",
                quoted(text)
            ))
        };
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| refused())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refused()),
        };
        number.checked_mul(millis).map(Self::from_millis).ok_or_else(refused)
    }
}

/// A duration as it is written in the file: in the largest unit that divides it.
pub(crate) fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis != 0 && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// The label of this node: 1 to 16 of a–z and 0–9. It goes into every identifier that we generate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeLabel(CompactString);

impl NodeLabel {
    /// The longest label, in characters.
    pub const MAX: usize = 16;

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for NodeLabel {
    const WHAT: &'static str = "a node label";

    fn allowed() -> String {
        "1 to 16 of a–z and 0–9".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        let right = !text.is_empty()
            && text.len() <= Self::MAX
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if right {
            return Ok(Self(text.into()));
        }
        Err(ValueError::new(format!(
            "{} is not a node label; expected 1 to 16 of the characters a–z and 0–9",
            quoted(text)
        )))
    }
}

/// What is logged: a directive of `tracing_subscriber::EnvFilter`, known to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    const LEVELS: [&'static str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

    /// The directive as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text for LogFilter {
    const WHAT: &'static str = "a log level";

    fn allowed() -> String {
        "`\"off\"`, `\"error\"`, `\"warn\"`, `\"info\"`, `\"debug\"`, `\"trace\"`, or a list such as `\"info,nuncio::dns=debug\"`".to_owned()
    }

    fn parse(text: &str) -> Result<Self, ValueError> {
        // EnvFilter takes a bare word that is no level for the name of a module and logs everything of it, and nothing
        // else: a slip in "info" would silence the log. So a bare word has to be a level here.
        for directive in text.split(',') {
            let level = match directive.rsplit_once('=') {
                Some((_, level)) => level,
                None => directive,
            };
            let level = level.trim();
            if level.is_empty() {
                let directive = directive.trim();
                let known = Self::LEVELS.map(quoted).join(", ");
                return Err(ValueError::new(match directive.strip_suffix('=') {
                    Some(part) if !part.is_empty() => format!(
                        "{} says for which part and not how much; a level has to follow the \"=\", for example \
                         \"{}=debug\"; levels are {known}",
                        quoted(directive),
                        part.chars().take(40).map(printable).collect::<String>(),
                    ),
                    _ => format!("a level is missing in {}; levels are {known}", quoted(text)),
                }));
            }
            if !Self::LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
                return Err(not_a_word(level, Self::WHAT, Self::LEVELS.into_iter()));
            }
        }
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(ValueError::new(format!("{} is not a log filter: {error}", quoted(text)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(Duration::parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "1.5s",
            "-1s",
            "10S",
            "10sec",
            "99999999999999999999s",
            "18446744073709551615h",
            "1m30s",
        ] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_their_largest_unit() {
        for text in ["500ms", "10s", "5m", "2h", "90s", "0ms"] {
            assert_eq!(Duration::parse(text).map(duration_text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_label_has_one_to_sixteen_characters() {
        assert!(NodeLabel::parse("abcdefgh12345678").is_ok());
        assert!(NodeLabel::parse("n").is_ok());
        for text in ["", "abcdefgh123456789", "N1", "n-1", "n 1", "ñ"] {
            assert!(NodeLabel::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_slip_in_a_level_is_not_taken_for_a_module() {
        assert!(LogFilter::parse("info,nuncio::dns=debug").is_ok());
        assert!(LogFilter::parse("WARN").is_ok());
        let error = LogFilter::parse("inof").unwrap_err().to_string();
        assert!(error.ends_with("did you mean \"info\"?"), "{error}");
        assert!(LogFilter::parse("nuncio=loud").is_err());
        for (text, expected) in [
            ("", "a level is missing in \"\"; levels are \"off\""),
            ("info,", "a level is missing in \"info,\"; levels are \"off\""),
            (
                "nonsense=",
                "\"nonsense=\" says for which part and not how much; a level has to follow the \"=\", for \
              example \"nonsense=debug\"; levels are",
            ),
        ] {
            let error = LogFilter::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn words_suggest_the_nearest() {
        let error = PartnerType::parse("public_verified").unwrap_err().to_string();
        assert_eq!(
            error,
            "\"public_verified\" is not a partner type; expected \"federated\", \"public-verified\" or \
             \"public-unverified\"; did you mean \"public-verified\"?"
        );
        assert!(!LogFormat::parse("xml").unwrap_err().to_string().contains("did you mean"));
    }

    #[test]
    fn quoting_shortens_and_disarms() {
        assert_eq!(quoted("a\u{1b}[31mb"), "\"a\u{FFFD}[31mb\"");
        assert_eq!(quoted(&"x".repeat(61)), format!("\"{}…\"", "x".repeat(60)));
        assert_eq!(quoted(&"x".repeat(60)), format!("\"{}\"", "x".repeat(60)));
    }
}
