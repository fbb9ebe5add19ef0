use std::borrow::Cow;

use memchr::memchr2;
use smallvec::SmallVec;

use super::chars;
use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;

/// A name as it stands in a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QName<'a> {
    /// Empty without one.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

/// The attributes of one tag: names checked and different from each other, values still escaped.
pub(super) type RawAttributes<'a> = SmallVec<[(QName<'a>, &'a str); 8]>;

impl<'a> QName<'a> {
    /// Splits and checks a name (XML Namespaces section 4: `QName`).
    pub(super) fn parse(name: &'a str, limits: &ReadLimits) -> Result<Self, ReadError> {
        let (prefix, local) = match name.split_once(':') {
            Some((prefix, local)) => {
                if !chars::is_ncname(prefix) {
                    return Err(ReadErrorKind::Name.into());
                }
                (prefix, local)
            }
            None => ("", name),
        };
        if !chars::is_ncname(local) {
            return Err(ReadErrorKind::Name.into());
        }
        if prefix.len() > limits.name || local.len() > limits.name {
            return Err(ReadErrorKind::NameTooLong.into());
        }
        Ok(Self { prefix, local })
    }
}

/// Splits what stands between the name of a tag and its `>` or `/>` into attributes. quick-xml's own iterator lets
/// attributes stand without white space between them and takes any name; this one does not.
pub(super) fn attributes<'a>(mut rest: &'a str, limits: &ReadLimits) -> Result<RawAttributes<'a>, ReadError> {
    let mut attributes = RawAttributes::new();
    loop {
        let trimmed = trim_start(rest);
        if trimmed.is_empty() {
            return Ok(attributes);
        }
        if trimmed.len() == rest.len() {
            // No white space before the attribute.
            return Err(ReadErrorKind::Markup.into());
        }
        let (name, after) = trimmed.split_once('=').ok_or(ReadErrorKind::Markup)?;
        let name = QName::parse(name.trim_end_matches([' ', '\t', '\n', '\r']), limits)?;
        let after = trim_start(after);
        let quote = match after.as_bytes().first() {
            Some(quote @ (b'"' | b'\'')) => *quote,
            _ => return Err(ReadErrorKind::Markup.into()),
        };
        let after = after.get(1..).unwrap_or_default();
        let end = memchr2(quote, b'<', after.as_bytes()).ok_or(ReadErrorKind::Markup)?;
        if after.as_bytes().get(end) == Some(&b'<') {
            return Err(ReadErrorKind::Markup.into());
        }
        let (value, tail) = after.split_at(end);
        if attributes.iter().any(|(other, _)| *other == name) {
            return Err(ReadErrorKind::DuplicateAttribute.into());
        }
        if attributes.len() == limits.attributes {
            return Err(ReadErrorKind::TooManyAttributes.into());
        }
        attributes.push((name, value));
        rest = tail.get(1..).unwrap_or_default();
    }
}

/// Resolves references and normalises white space in an attribute value (XML 1.0 section 3.3.3).
pub(super) fn value(raw: &str) -> Result<Cow<'_, str>, ReadError> {
    if !raw.bytes().any(|byte| byte == b'&' || byte < b' ') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.bytes().position(|byte| byte == b'&' || byte < b' ') {
        let (run, tail) = rest.split_at(at);
        value.push_str(run);
        rest = match tail.strip_prefix('&') {
            Some(reference) => {
                let (name, after) = reference.split_once(';').ok_or(ReadErrorKind::Markup)?;
                value.push(self::reference(name)?);
                after
            }
            None => {
                value.push(' ');
                tail.strip_prefix("\r\n").or_else(|| tail.get(1..)).unwrap_or_default()
            }
        };
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

/// The character that stands for what is written between `&` and `;`.
pub(super) fn reference(name: &str) -> Result<char, ReadError> {
    let Some(number) = name.strip_prefix('#') else {
        return match name {
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "amp" => Ok('&'),
            "apos" => Ok('\''),
            "quot" => Ok('"'),
            name if chars::is_ncname(name) => Err(ReadErrorKind::EntityReference.into()),
            _ => Err(ReadErrorKind::Markup.into()),
        };
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // `from_str_radix` would take a sign.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ReadErrorKind::Markup.into());
    }
    let code = u32::from_str_radix(digits, radix).map_err(|_| ReadErrorKind::Character)?;
    char::from_u32(code).filter(|c| chars::is_char(*c)).ok_or_else(|| ReadErrorKind::Character.into())
}

/// Line ends become LF (XML 1.0 section 2.11).
pub(super) fn normalise_lines(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// Character data must not hold `]]>` (XML 1.0 section 2.4).
pub(super) fn check_text(text: &str) -> Result<(), ReadError> {
    let bytes = text.as_bytes();
    for at in memchr::memchr_iter(b'>', bytes) {
        if bytes.get(..at).is_some_and(|before| before.ends_with(b"]]")) {
            return Err(ReadErrorKind::CdataEnd.into());
        }
    }
    Ok(())
}

/// True when nothing but XML white space is there.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| chars::is_space(byte))
}

fn trim_start(s: &str) -> &str {
    s.trim_start_matches([' ', '\t', '\n', '\r'])
}
