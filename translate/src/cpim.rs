//! `message/cpim` (RFC 3862): header fields of its own, then a MIME entity (PD-09).
//!
//! Who wrote to whom is what SIP has authenticated: From, To and cc in here are never read (SEC-37).

use std::borrow::Cow;

use smallvec::SmallVec;

/// The media type.
pub const MEDIA_TYPE: &str = "message/cpim";
/// The namespace of header fields without a prefix (RFC 3862 §6).
pub const CORE: &str = "urn:ietf:params:cpim-headers:";

/// Longest block of header fields, in octets.
pub const HEAD_MAX: usize = 16 * 1024;
/// Most header fields.
pub const MOST_FIELDS: usize = 64;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpimError {
    /// A line that is no header field, or no empty line behind them.
    #[error("the header fields of message/cpim are malformed")]
    Malformed,
    /// More than [`HEAD_MAX`] octets or [`MOST_FIELDS`] fields.
    #[error("message/cpim has more than {MOST_FIELDS} header fields, or more than {HEAD_MAX} octets of them")]
    TooLarge,
}

/// A message taken apart. Borrows the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Cpim<'a> {
    head: &'a str,
    /// The MIME entity: its header fields, an empty line, its content.
    pub entity: &'a [u8],
}

/// A header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Namespace name; empty for a prefix that nobody declared.
    pub ns: &'a str,
    /// Name without prefix, case and all.
    pub name: &'a str,
    /// The `lang` parameter.
    pub lang: Option<&'a str>,
    /// As written.
    pub value: &'a str,
}

impl<'a> Cpim<'a> {
    /// # Errors
    /// [`CpimError`].
    pub fn read(message: &'a [u8]) -> Result<Self, CpimError> {
        let mut rest = message;
        for _ in 0..=MOST_FIELDS {
            let line_end = memchr::memchr(b'\n', rest).ok_or(CpimError::Malformed)?;
            let line = rest.get(..line_end).unwrap_or_default();
            let head = message.get(..message.len() - rest.len()).unwrap_or_default();
            rest = rest.get(line_end + 1..).unwrap_or_default();
            if message.len() - rest.len() > HEAD_MAX {
                return Err(CpimError::TooLarge);
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                let head = std::str::from_utf8(head).map_err(|_| CpimError::Malformed)?;
                return Ok(Self { head, entity: rest });
            }
            // No folding, and no controls (§2.2).
            let name_end = memchr::memchr(b':', line).ok_or(CpimError::Malformed)?;
            let name = line.get(..name_end).unwrap_or_default();
            let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            if !is_name || line.iter().any(u8::is_ascii_control) {
                return Err(CpimError::Malformed);
            }
        }
        Err(CpimError::TooLarge)
    }

    /// The header fields in order, namespaces resolved.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let mut scope = Scope::default();
        self.head.lines().filter_map(move |line| {
            let (name, rest) = line.split_once(':')?;
            let (lang, value) = parameters(rest);
            let (ns, name) = scope.resolve(name);
            let field = Field { ns, name, lang, value: value.trim() };
            if field.is(CORE, "NS") {
                scope.declare(field.value);
            }
            Some(field)
        })
    }

    /// The first field of this name.
    pub fn field(&self, ns: &str, name: &str) -> Option<Field<'a>> {
        self.fields().find(|field| field.is(ns, name))
    }

    /// The first name in a Require field (§4.7) that is not understood, as it stands there. `understands` is asked with
    /// namespace and name.
    pub fn unmet(&self, understands: impl Fn(&str, &str) -> bool) -> Option<&'a str> {
        let mut scope = Scope::default();
        for field in self.fields() {
            if field.is(CORE, "NS") {
                scope.declare(field.value);
            }
            if field.is(CORE, "Require") {
                for name in field.value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    let (ns, local) = scope.resolve(name);
                    if !understands(ns, local) {
                        return Some(name);
                    }
                }
            }
        }
        None
    }
}

impl<'a> Field<'a> {
    /// The name and the namespace are these.
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.name == name && self.ns == ns
    }

    /// The value with its escapes resolved (§2.3).
    pub fn text(&self) -> Cow<'a, str> {
        if !self.value.contains('\\') {
            return Cow::Borrowed(self.value);
        }
        let mut out = String::with_capacity(self.value.len());
        let mut rest = self.value;
        while let Some((before, escape)) = rest.split_once('\\') {
            out.push_str(before);
            let mut characters = escape.chars();
            let character = match characters.next() {
                Some('u') => match hex(escape) {
                    Some(character) => {
                        characters = escape.get(5..).unwrap_or_default().chars();
                        Some(character)
                    }
                    None => Some('u'),
                },
                Some('b') => Some('\u{8}'),
                Some('t') => Some('\t'),
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                other => other,
            };
            out.extend(character);
            rest = characters.as_str();
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// The character of `uxxxx`. Only what is a character by itself: half a surrogate pair is none.
fn hex(escape: &str) -> Option<char> {
    let digits = escape.get(1..5).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    char::from_u32(u32::from_str_radix(digits, 16).ok()?).or(Some(char::REPLACEMENT_CHARACTER))
}

/// `;lang=de;x="y" value` → the language and the value.
fn parameters(rest: &str) -> (Option<&str>, &str) {
    let mut lang = None;
    let mut rest = rest;
    while let Some(parameter) = rest.strip_prefix(';') {
        let mut quoted = false;
        let end = parameter.find(|c: char| {
            quoted ^= c == '"';
            !quoted && matches!(c, ';' | ' ')
        });
        let (parameter, behind) =
            parameter.split_at_checked(end.unwrap_or(parameter.len())).unwrap_or_default();
        lang = lang.or_else(|| parameter.strip_prefix("lang="));
        rest = behind;
    }
    (lang, rest)
}

/// Which namespaces prefixes stand for, so far (§3.4).
#[derive(Default)]
struct Scope<'a> {
    prefixes: SmallVec<[(&'a str, &'a str); 4]>,
}

impl<'a> Scope<'a> {
    /// `prefix <uri>`, or `<uri>` for names without prefix.
    fn declare(&mut self, value: &'a str) {
        if let Some((prefix, uri)) = value.split_once('<')
            && let Some(uri) = uri.strip_suffix('>')
        {
            self.prefixes.push((prefix.trim(), uri));
        }
    }

    /// Namespace and name of `prefix.name`. The last declaration counts.
    fn resolve(&self, name: &'a str) -> (&'a str, &'a str) {
        let (prefix, local) = name.split_once('.').unwrap_or(("", name));
        let declared = self.prefixes.iter().rev().find(|(known, _)| *known == prefix).map(|(_, uri)| *uri);
        (declared.unwrap_or(if prefix.is_empty() { CORE } else { "" }), local)
    }
}

/// Appends `name: value` and a line end. Controls and backslashes are escaped, so that a value stays on its line (§2.3.1).
pub fn write_field(name: &'static str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    for character in value.chars() {
        let escape = match character {
            '\\' => "\\\\",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\r' => "\\r",
            control if control.is_ascii_control() => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
                continue;
            }
            other => {
                out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        out.extend_from_slice(escape.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IMDN: &str = "urn:ietf:params:imdn";

    fn head(fields: &str) -> String {
        fields.replace('\n', "\r\n") + "\r\n\r\nContent-Type: text/plain\r\n\r\nx"
    }

    #[test]
    fn pd_09_header_fields_and_content_are_told_apart() {
        let message = head(
            "From: MR SANDERS <im:piglet@100akerwood.com>\nDateTime: 2000-12-13T13:40:00-08:00\n\
             Subject:;lang=fr beau temps pr\u{e9}vu\nSubject: it will be fine\nNS: imdn <urn:ietf:params:imdn>\nimdn.Message-ID: 34jk\n\
             other.Message-ID: x",
        );
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        assert_eq!(cpim.entity, b"Content-Type: text/plain\r\n\r\nx");
        let subject = cpim.field(CORE, "Subject").unwrap();
        assert_eq!((subject.lang, subject.value), (Some("fr"), "beau temps pr\u{e9}vu"));
        assert_eq!(cpim.field(IMDN, "Message-ID").unwrap().value, "34jk");
        assert_eq!(cpim.field("", "Message-ID").unwrap().value, "x");
        assert_eq!(cpim.field(CORE, "subject"), None, "names have case");
        assert_eq!(cpim.fields().count(), 7);
    }

    #[test]
    fn pd_09_prefixes_count_from_their_declaration_on() {
        let message = head(
            "i.Message-ID: 1\nNS: i <urn:ietf:params:imdn>\ni.Message-ID: 2\nNS: <urn:x>\nSubject: s\nNS: i <urn:y>",
        );
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        assert_eq!(cpim.field(IMDN, "Message-ID").unwrap().value, "2");
        assert_eq!((cpim.field(CORE, "Subject"), cpim.field("urn:x", "Subject").is_some()), (None, true));
        // The default namespace has changed, so this is no declaration any more.
        assert!(cpim.field("urn:x", "NS").is_some());
    }

    #[test]
    fn pd_09_requirements_are_looked_up_by_namespace() {
        let unmet = |fields: &str| {
            let message = head(fields);
            let cpim = Cpim::read(message.as_bytes()).unwrap();
            cpim.unmet(|ns, name| (ns, name) == (CORE, "Subject") || (ns, name) == (IMDN, "Message-ID"))
                .map(str::to_owned)
        };
        assert_eq!(unmet("From: <im:a@b>"), None);
        assert_eq!(unmet("Require: Subject"), None);
        assert_eq!(unmet("NS: i <urn:ietf:params:imdn>\nRequire: i.Message-ID, Subject"), None);
        assert_eq!(unmet("Require: Subject\nRequire: Subject,Vital").as_deref(), Some("Vital"));
        assert_eq!(
            unmet("Require: i.Message-ID\nNS: i <urn:ietf:params:imdn>").as_deref(),
            Some("i.Message-ID")
        );
        assert_eq!(unmet("Require: subject").as_deref(), Some("subject"));
    }

    #[test]
    fn pd_09_escapes_are_resolved() {
        let message = head(r#"Subject: a\\b \"c\" \'d\' \u00e9\u000a\t\x \ud800 \u12 \"#);
        let cpim = Cpim::read(message.as_bytes()).unwrap();
        assert_eq!(cpim.field(CORE, "Subject").unwrap().text(), "a\\b \"c\" 'd' é\n\tx \u{fffd} u12 ");
    }

    #[test]
    fn pd_09_what_is_no_header_field_is_refused() {
        for message in [
            "",
            "x",
            "From: <im:a@b>\r\n",
            "no colon\r\n\r\n",
            ": x\r\n\r\n",
            "a b: x\r\n\r\n",
            " A: x\r\n\r\n",
            "A: x\u{0}\r\n\r\n",
            "A: x\ry\r\n\r\n",
        ] {
            assert_eq!(Cpim::read(message.as_bytes()).unwrap_err(), CpimError::Malformed, "{message:?}");
        }
        assert_eq!(Cpim::read(b"A: \xff\r\n\r\n").unwrap_err(), CpimError::Malformed);
    }

    #[test]
    fn pd_09_the_header_has_limits() {
        let fields = |count| "A: b\r\n".repeat(count) + "\r\n";
        assert!(Cpim::read(fields(MOST_FIELDS).as_bytes()).is_ok());
        assert_eq!(Cpim::read(fields(MOST_FIELDS + 1).as_bytes()).unwrap_err(), CpimError::TooLarge);
        let long = |length: usize| format!("A: {}\r\n\r\n", "b".repeat(length - 7));
        assert!(Cpim::read(long(HEAD_MAX).as_bytes()).is_ok());
        assert_eq!(Cpim::read(long(HEAD_MAX + 1).as_bytes()).unwrap_err(), CpimError::TooLarge);
    }

    proptest! {
        #[test]
        fn pd_09_whatever_is_written_comes_back_on_one_line(value in r#"[a-z\\"'ü\x01-\x1f\x7f][a-z \\"'ü\x00-\x1f\x7f]{0,30}[a-z\\"'\x01]"#) {
            let mut out = Vec::new();
            write_field("Subject", &value, &mut out);
            out.extend_from_slice(b"\r\nx");
            let cpim = Cpim::read(&out).unwrap();
            prop_assert_eq!(cpim.fields().count(), 1);
            let field = cpim.field(CORE, "Subject").unwrap();
            prop_assert_eq!(field.text(), value);
        }

        #[test]
        fn any_bytes_are_read_without_trouble(message in r#"(A: |NS: |i <urn:x>|<|>|Require: |;lang=|"|\\u|\.|,|[a-z0-9]|\r\n|\n| ){0,40}"#) {
            if let Ok(cpim) = Cpim::read(message.as_bytes()) {
                let _ = cpim.fields().map(|field| field.text().len()).sum::<usize>();
                let _ = cpim.unmet(|_, _| false);
            }
        }
    }
}
