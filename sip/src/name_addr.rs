//! `name-addr` and `addr-spec` with header parameters: From, To, Contact, Route and their kin.

use std::borrow::Cow;

use crate::params::{self, Params};
use crate::{HeaderError, Uri, lex};

/// An address in a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    source: &'a str,
    /// Display name without quotes and backslashes; `None` if absent or empty. It is text from outside: it may
    /// hold control characters.
    pub display: Option<Cow<'a, str>>,
    /// The address.
    pub uri: Uri<'a>,
    /// Parameters of the header field, not of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one address (no comma list) with its parameters.
    ///
    /// # Errors
    /// [`HeaderError::Address`] or [`HeaderError::Uri`].
    pub fn parse(text: &'a str) -> Result<Self, HeaderError> {
        let source = lex::trim(text);
        if source.starts_with('"') {
            let (inside, rest) = lex::quoted(source).ok_or(HeaderError::Address)?;
            let rest = rest.trim_start_matches(lex::LWS);
            return Self::in_angles(source, params::unescape(inside), rest);
        }
        match source.find('<').and_then(|at| source.split_at_checked(at)) {
            // A `<` behind `:` or `;` belongs to a parameter or to nothing: let the other form judge it.
            Some((display, rest)) if !display.contains([':', ';', '"']) => {
                if !lex::is_display_text(display) {
                    return Err(HeaderError::Address);
                }
                Self::in_angles(source, Cow::Borrowed(lex::trim(display)), rest)
            }
            _ => Self::bare(source),
        }
    }

    fn in_angles(source: &'a str, display: Cow<'a, str>, rest: &'a str) -> Result<Self, HeaderError> {
        let (uri, rest) =
            rest.strip_prefix('<').and_then(|r| r.split_once('>')).ok_or(HeaderError::Address)?;
        Ok(Self {
            source,
            display: (!display.is_empty()).then_some(display),
            uri: Uri::parse(uri)?,
            params: Params::of_header(rest).ok_or(HeaderError::Params)?,
        })
    }

    /// Without angle brackets everything behind `;` belongs to the header field, and `,` and `?` may not stand
    /// in the URI at all (RFC 3261 §20).
    fn bare(source: &'a str) -> Result<Self, HeaderError> {
        let (uri, params) = match source.find(';').and_then(|at| source.split_at_checked(at)) {
            Some(parts) => parts,
            None => (source, ""),
        };
        let uri = lex::trim(uri);
        if uri.contains([',', '?']) {
            return Err(HeaderError::Address);
        }
        Ok(Self {
            source,
            display: None,
            uri: Uri::parse(uri)?,
            params: Params::of_header(params).ok_or(HeaderError::Params)?,
        })
    }

    /// The whole address as received, for handing on unchanged.
    pub fn as_str(&self) -> &'a str {
        self.source
    }

    /// The `tag` parameter of From and To.
    pub fn tag(&self) -> Option<&'a str> {
        self.params.get("tag").flatten()
    }
}
