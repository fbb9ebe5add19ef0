//! SIP, SIPS and other URIs (RFC 3261 §19.1), read over the received text.

use std::fmt;

use crate::{Host, Params, lex};

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme<'a> {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Any other, `im:` and `pres:` included, as received.
    Other(&'a str),
}

impl<'a> Scheme<'a> {
    /// The name without colon; lower case for the known ones.
    pub fn as_str(&self) -> &'a str {
        match *self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Tel => "tel",
            Self::Other(name) => name,
        }
    }
}

/// Why a text is no URI we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No scheme, or characters in it that no scheme has.
    #[error("the URI has no valid scheme")]
    Scheme,
    /// Blanks, angle brackets, quotes or control characters.
    #[error("the URI contains blanks, quotes, angle brackets or control characters")]
    Characters,
    /// User part or password.
    #[error("the user part of the URI is malformed")]
    User,
    /// Host or port; an IPv6 address without brackets, too.
    #[error("the host or port of the URI is malformed")]
    Host,
    /// Parameters.
    #[error("the parameters of the URI are malformed")]
    Params,
    /// Headers (what follows `?`).
    #[error("the headers part of the URI is malformed")]
    Headers,
}

/// A URI. Only [`Uri::parse`] makes one, so a `Uri` never holds what could break out of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    source: &'a str,
    scheme: Scheme<'a>,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: Host<'a>,
    port: Option<u16>,
    params: Params<'a>,
    headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads a URI that fills `text`: no blanks around it, no angle brackets.
    ///
    /// # Errors
    /// [`UriError`]. Unknown schemes are no error: they are a [`Scheme::Other`].
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        let (scheme, rest) = lex::cut(text, b':').ok_or(UriError::Scheme)?;
        let scheme = if scheme.eq_ignore_ascii_case("sip") {
            Scheme::Sip
        } else if scheme.eq_ignore_ascii_case("sips") {
            Scheme::Sips
        } else if scheme.eq_ignore_ascii_case("tel") {
            Scheme::Tel
        } else {
            let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
            if !scheme_ok {
                return Err(UriError::Scheme);
            }
            Scheme::Other(scheme)
        };
        let blank = Self {
            source: text,
            scheme,
            user: None,
            password: None,
            host: Host::None,
            port: None,
            params: Params::default(),
            headers: None,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => blank.parse_sip(rest),
            Scheme::Tel => blank.parse_tel(rest),
            Scheme::Other(name) if name.eq_ignore_ascii_case("im") || name.eq_ignore_ascii_case("pres") => {
                blank.parse_sip(rest)
            }
            Scheme::Other(_) => blank.parse_opaque(rest),
        }
    }

    fn parse_sip(mut self, rest: &'a str) -> Result<Self, UriError> {
        // `@` must be escaped everywhere else, so there is one at most; two would let two parsers disagree.
        let rest = match lex::cut(rest, b'@') {
            Some((user_info, rest)) => {
                let (user, password) = match lex::cut(user_info, b':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (user_info, None),
                };
                if user.is_empty()
                    || !lex::is_user_part(user)
                    || password.is_some_and(|p| !lex::is_user_part(p))
                {
                    return Err(UriError::User);
                }
                self.user = Some(user);
                self.password = password;
                rest
            }
            None => rest,
        };
        let (rest, headers) = match lex::cut(rest, b'?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        if headers.is_some_and(|h| h.is_empty() || !lex::is_uri_tail(h)) {
            return Err(UriError::Headers);
        }
        self.headers = headers;
        let (host_port, params) = lex::cut_before(rest, b';');
        if host_port.bytes().any(lex::is_blank) {
            return Err(UriError::Characters);
        }
        (self.host, self.port) = Host::parse_with_port(host_port).ok_or(UriError::Host)?;
        self.params = Params::of_uri(params).ok_or(UriError::Params)?;
        Ok(self)
    }

    fn parse_tel(mut self, rest: &'a str) -> Result<Self, UriError> {
        let (number, params) = lex::cut_before(rest, b';');
        let digits = number.strip_prefix('+').unwrap_or(number);
        let legal = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#' | b'-' | b'.' | b'(' | b')');
        if digits.is_empty() || !digits.bytes().all(legal) {
            return Err(UriError::User);
        }
        self.user = Some(number);
        self.params = Params::of_uri(params).ok_or(UriError::Params)?;
        Ok(self)
    }

    fn parse_opaque(self, rest: &'a str) -> Result<Self, UriError> {
        let illegal = |b: u8| b <= b' ' || b == 0x7f || matches!(b, b'"' | b'<' | b'>');
        if rest.is_empty() || rest.bytes().any(illegal) {
            return Err(UriError::Characters);
        }
        Ok(self)
    }

    /// The URI as received.
    pub fn as_str(&self) -> &'a str {
        self.source
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme<'a> {
        self.scheme
    }

    /// `sip:` or `sips:`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// User part as received, escapes kept; [`escape::decode_user`](crate::escape::decode_user) reads it.
    /// For `tel:` the number.
    pub fn user(&self) -> Option<&'a str> {
        self.user
    }

    /// Password: never forwarded, never logged (ADR-19).
    pub fn password(&self) -> Option<&'a str> {
        self.password
    }

    /// The host; [`Host::None`] for URIs without one.
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// URI parameters, byte for byte.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// What follows `?`: illegal in a Request-URI, and never turned into header fields.
    pub fn headers(&self) -> Option<&'a str> {
        self.headers
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source)
    }
}
