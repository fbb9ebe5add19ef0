use std::borrow::Cow;

use memchr::memchr2;
use smallvec::SmallVec;

use super::chars;
use super::error::{ReadError, ReadErrorKind};
use super::limits::ReadLimits;

/// A name as it stands in a tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct QName<'a> {
    /// Empty without one.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

/// The attributes of one tag: names checked and different from each other, values still escaped.
pub(super) type RawAttributes<'a> = SmallVec<[(QName<'a>, &'a str); 8]>;

impl PartialEq for QName<'_> {
    fn eq(&self, other: &Self) -> bool {
        // Lengths differ nearly always, and tell without a call.
        self.local.len() == other.local.len()
            && self.prefix.len() == other.prefix.len()
            && self.local == other.local
            && self.prefix == other.prefix
    }
}

impl<'a> QName<'a> {
    /// The prefix this attribute declares, empty for the default namespace; `None` when it declares nothing.
    pub(super) fn declared(&self) -> Option<&'a str> {
        match self.prefix.len() {
            0 => (self.local.len() == 5 && self.local == "xmlns").then_some(""),
            5 => (self.prefix == "xmlns").then_some(self.local),
            _ => None,
        }
    }

    /// Splits and checks a name (XML Namespaces section 4: `QName`).
    pub(super) fn parse(name: &'a str, limits: &ReadLimits) -> Result<Self, ReadError> {
        let (prefix, local) = match chars::ascii_ncname(name.as_bytes()) {
            length if length > 0 && length == name.len() => ("", name),
            _ => Self::split(name)?,
        };
        if prefix.len() > limits.name || local.len() > limits.name {
            return Err(ReadErrorKind::NameTooLong.into());
        }
        Ok(Self { prefix, local })
    }

    fn split(name: &'a str) -> Result<(&'a str, &'a str), ReadError> {
        let (prefix, local) =
            name.split_once(':').map_or((None, name), |(prefix, local)| (Some(prefix), local));
        if prefix.is_some_and(|prefix| !chars::is_ncname(prefix)) || !chars::is_ncname(local) {
            return Err(ReadErrorKind::Name.into());
        }
        Ok((prefix.unwrap_or_default(), local))
    }
}

/// Splits what stands between the name of a tag and its `>` or `/>` into attributes. quick-xml's own iterator lets
/// attributes stand without white space between them and takes any name; this one does not.
pub(super) fn attributes<'a>(
    mut rest: &'a str,
    limits: &ReadLimits,
    attributes: &mut RawAttributes<'a>,
) -> Result<(), ReadError> {
    loop {
        let trimmed = trim_start(rest);
        if trimmed.is_empty() {
            return Ok(());
        }
        if trimmed.len() == rest.len() {
            // No white space before the attribute.
            return Err(ReadErrorKind::Markup.into());
        }
        let (name, after) = trimmed.split_at(name_length(trimmed.as_bytes()));
        let after = trim_start(after);
        if !after.starts_with('=') {
            return Err(ReadErrorKind::Markup.into());
        }
        let name = QName::parse(name, limits)?;
        let after = trim_start(after.get(1..).unwrap_or_default());
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

/// Octets up to the `=` or the white space that ends the name of an attribute.
fn name_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'=' || chars::is_space(byte)).unwrap_or(bytes.len())
}

/// Resolves references and normalises white space in an attribute value (XML 1.0 section 3.3.3).
pub(super) fn value(raw: &str) -> Result<Cow<'_, str>, ReadError> {
    // Without branches this is a handful of vector instructions for the usual value.
    if !raw.bytes().fold(false, |found, byte| found | (byte == b'&') | (byte < b' ')) {
        return Ok(Cow::Borrowed(raw));
    }
    normalised(raw).map(Cow::Owned)
}

fn normalised(raw: &str) -> Result<String, ReadError> {
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
    Ok(value)
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
pub(super) fn normalise_lines(text: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr(b'\r', text.as_bytes()).is_none() {
        return text;
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
    let spaces = s.bytes().take_while(|&byte| chars::is_space(byte)).count();
    s.get(spaces..).unwrap_or_default()
}
