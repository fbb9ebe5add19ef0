//! `;name=value` lists, of URIs and of header fields, kept as they came.

use std::borrow::Cow;

use crate::lex;

/// Parameters as received, byte for byte: empty, or beginning with `;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Params<'a> {
    raw: &'a str,
}

impl<'a> Params<'a> {
    /// Parameters of a URI (RFC 3261 §19.1.1): no blanks, no quotes, no empty names.
    pub(crate) fn of_uri(raw: &'a str) -> Option<Self> {
        let bytes = raw.as_bytes();
        if bytes.is_empty() {
            return Some(Self { raw });
        }
        let (mut names_ok, mut before) = (bytes.first() == Some(&b';'), b' ');
        for &byte in bytes {
            names_ok &= !(before == b';' && matches!(byte, b';' | b'='));
            before = byte;
        }
        (names_ok && before != b';' && lex::is_uri_tail(raw)).then_some(Self { raw })
    }

    /// Parameters of a header field: blanks around `;` and `=` allowed, values token-like or quoted.
    pub(crate) fn of_header(raw: &'a str) -> Option<Self> {
        let raw = lex::trim(raw);
        let mut rest = raw.as_bytes();
        while let [b';', tail @ ..] = rest {
            rest = skip(tail, lex::is_blank);
            let after_name = skip(rest, lex::is_token_char);
            if after_name.len() == rest.len() {
                return None;
            }
            rest = skip(after_name, lex::is_blank);
            if let [b'=', value @ ..] = rest {
                let value = skip(value, lex::is_blank);
                rest = match value {
                    [b'"', inside @ ..] => skip_quoted(inside)?,
                    _ => skip(value, lex::is_value_char),
                };
                rest = skip(rest, lex::is_blank);
            }
        }
        rest.is_empty().then_some(Self { raw })
    }

    /// The bytes as received.
    pub fn as_str(&self) -> &'a str {
        self.raw
    }

    /// No parameter at all.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// `None`: not there; `Some(None)`: there without value. Names are case-insensitive; the first one counts;
    /// the value is as received (quotes and escapes kept).
    pub fn get(&self, name: &str) -> Option<Option<&'a str>> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether a parameter of this name is there, with or without value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value without quotes and backslashes; `None` if absent or without value.
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).flatten().map(unquote)
    }

    /// All of them in order, values as received.
    pub fn iter(&self) -> ParamIter<'a> {
        ParamIter { rest: self.raw }
    }

    /// All of them with their source text, for changing one and copying the others.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'a>> {
        let mut rest = self.raw;
        std::iter::from_fn(move || {
            let (piece, tail) = piece(rest)?;
            rest = tail;
            Some(piece)
        })
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = (&'a str, Option<&'a str>);
    type IntoIter = ParamIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterator over the parameters of a [`Params`].
#[derive(Clone, Debug)]
pub struct ParamIter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (piece, tail) = piece(self.rest)?;
        self.rest = tail;
        Some((piece.name, piece.value))
    }
}

pub(crate) struct Piece<'a> {
    /// From `;` to the end of the value.
    pub(crate) source: &'a str,
    pub(crate) name: &'a str,
    pub(crate) value: Option<&'a str>,
}

/// The first parameter of valid `text`, and the rest. Outside quotes `;` ends a parameter, and quotes stand only
/// behind `=`.
fn piece(text: &str) -> Option<(Piece<'_>, &str)> {
    let bytes = text.as_bytes();
    let semicolon = lex::position(bytes, b';')?;
    let name_at = semicolon + 1;
    let after_semicolon = bytes.get(name_at..)?;
    let name_len =
        after_semicolon.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(after_semicolon.len());
    let name_end = name_at + name_len;
    let value_at = match bytes.get(name_end) {
        Some(b'=') => name_end + 1,
        _ => {
            let name = lex::trim(text.get(name_at..name_end)?);
            let (source, rest) = text.split_at_checked(name_end)?;
            return Some((Piece { source, name, value: None }, rest));
        }
    };
    let value_bytes = bytes.get(value_at..)?;
    let unquoted = match skip(value_bytes, lex::is_blank) {
        [b'"', inside @ ..] => skip_quoted(inside).unwrap_or_default(),
        _ => value_bytes,
    };
    let len = lex::position(unquoted, b';').unwrap_or(unquoted.len());
    let end = bytes.len() - unquoted.len() + len;
    let name = lex::trim(text.get(name_at..name_end)?);
    let value = Some(lex::trim(text.get(value_at..end)?));
    let (source, rest) = text.split_at_checked(end)?;
    Some((Piece { source, name, value }, rest))
}

fn skip(bytes: &[u8], over: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes.iter().position(|b| !over(*b)).unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

/// `bytes` begin behind the opening quote; what follows the closing one.
fn skip_quoted(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', bytes)?;
        match bytes.get(at..)? {
            [b'"', rest @ ..] => return Some(rest),
            [_, _, rest @ ..] => bytes = rest,
            _ => return None,
        }
    }
}

/// Content of a quoted string; any other text stays.
pub(crate) fn unquote(value: &str) -> Cow<'_, str> {
    match lex::quoted(value) {
        Some((inside, "")) => unescape(inside),
        _ => Cow::Borrowed(value),
    }
}

/// Resolves quoted-pairs.
pub(crate) fn unescape(inside: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Cow::Borrowed(inside);
    }
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}
