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
        let params = Self { raw };
        if raw.is_empty() {
            return Some(params);
        }
        let names_ok = raw.strip_prefix(';')?.split(';').all(|p| !p.is_empty() && !p.starts_with('='));
        (names_ok && lex::is_uri_tail(raw)).then_some(params)
    }

    /// Parameters of a header field: blanks around `;` and `=` allowed, values token-like or quoted.
    pub(crate) fn of_header(raw: &'a str) -> Option<Self> {
        let raw = lex::trim(raw);
        let mut rest = raw;
        while !rest.is_empty() {
            rest = rest.strip_prefix(';')?.trim_start_matches(lex::LWS);
            let (one, tail) = match lex::find_outside(rest, b';', false) {
                Some(at) => rest.split_at_checked(at)?,
                None => (rest, ""),
            };
            let (name, value) = match one.split_once('=') {
                Some((name, value)) => (name, Some(lex::trim(value))),
                None => (one, None),
            };
            if !lex::is_token(lex::trim(name)) {
                return None;
            }
            let value_ok = value.is_none_or(|v| match v.starts_with('"') {
                true => lex::quoted(v).is_some_and(|(_, after)| after.is_empty()),
                false => lex::is_param_value(v),
            });
            if !value_ok {
                return None;
            }
            rest = tail;
        }
        Some(Self { raw })
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
        let rest = self.rest.trim_start_matches(lex::LWS).strip_prefix(';')?;
        let (one, tail) = match lex::find_outside(rest, b';', false).and_then(|at| rest.split_at_checked(at))
        {
            Some(parts) => parts,
            None => (rest, ""),
        };
        self.rest = tail;
        Some(match one.split_once('=') {
            Some((name, value)) => (lex::trim(name), Some(lex::trim(value))),
            None => (lex::trim(one), None),
        })
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
