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
        let (display, rest) = lex::cut_before(source, b'<');
        if rest.is_empty() {
            return Self::bare(source);
        }
        if lex::is_display_text(display) {
            return Self::in_angles(source, Cow::Borrowed(lex::trim(display)), rest);
        }
        // A `<` behind `:` or `;` belongs to a parameter or to nothing: let the other form judge it.
        if display.contains([':', ';', '"']) { Self::bare(source) } else { Err(HeaderError::Address) }
    }

    fn in_angles(source: &'a str, display: Cow<'a, str>, rest: &'a str) -> Result<Self, HeaderError> {
        let (uri, rest) =
            rest.strip_prefix('<').and_then(|r| lex::cut(r, b'>')).ok_or(HeaderError::Address)?;
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
        let (uri, params) = lex::cut_before(source, b';');
        let uri = lex::trim(uri);
        if memchr::memchr2(b',', b'?', uri.as_bytes()).is_some() {
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
