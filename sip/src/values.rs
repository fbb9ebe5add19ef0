//! Typed header values other than addresses and Via.

use std::borrow::Cow;

use crate::params::{self, Params};
use crate::{HeaderError, HeaderName, Method, lex};

/// CSeq (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Sequence number; anything above 2³²−1 is refused.
    pub number: u32,
    /// Method, exactly as written.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// # Errors
    /// [`HeaderError::Number`], [`HeaderError::Malformed`].
    pub fn parse(value: &'a str) -> Result<Self, HeaderError> {
        let value = lex::trim(value);
        let blank = value.bytes().position(lex::is_blank).ok_or(HeaderError::Malformed(HeaderName::CSeq))?;
        let (number, method) = value.split_at_checked(blank).unwrap_or_default();
        let number = lex::number_u32(number).ok_or(HeaderError::Number(HeaderName::CSeq))?;
        let method = Method::new(lex::trim(method));
        if !method.is_token() {
            return Err(HeaderError::Malformed(HeaderName::CSeq));
        }
        Ok(Self { number, method })
    }
}

/// Content-Type, and each element of Accept (RFC 3261 §20.15, §20.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// `text` of `text/plain`, as received.
    pub main: &'a str,
    /// `plain` of `text/plain`, as received.
    pub sub: &'a str,
    /// `charset`, `boundary`, …
    pub params: Params<'a>,
}

impl<'a> ContentType<'a> {
    /// # Errors
    /// [`HeaderError::Malformed`], [`HeaderError::Params`].
    pub fn parse(value: &'a str) -> Result<Self, HeaderError> {
        let malformed = HeaderError::Malformed(HeaderName::ContentType);
        let (media, params) = head_and_params(value)?;
        let (main, sub) = lex::cut(media, b'/').ok_or(malformed)?;
        let (main, sub) = (lex::trim(main), lex::trim(sub));
        if !lex::is_token(main) || !lex::is_token(sub) {
            return Err(malformed);
        }
        Ok(Self { main, sub, params })
    }

    /// Compares type and subtype without regard to case.
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.main.eq_ignore_ascii_case(main) && self.sub.eq_ignore_ascii_case(sub)
    }

    /// A parameter without its quotes.
    pub fn param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.params.value(name)
    }

    /// The `charset` parameter.
    pub fn charset(&self) -> Option<Cow<'a, str>> {
        self.param("charset")
    }
}

/// Event (RFC 6665 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Package with templates; compared byte by byte.
    pub package: &'a str,
    /// `id` counts for matching, the others do not.
    pub params: Params<'a>,
}

impl<'a> Event<'a> {
    /// # Errors
    /// [`HeaderError::Malformed`], [`HeaderError::Params`].
    pub fn parse(value: &'a str) -> Result<Self, HeaderError> {
        let (package, params) = head_and_params(value)?;
        if !lex::is_token(package) {
            return Err(HeaderError::Malformed(HeaderName::Event));
        }
        Ok(Self { package, params })
    }

    /// The `id` parameter.
    pub fn id(&self) -> Option<&'a str> {
        self.params.get("id").flatten()
    }
}

/// Subscription-State (RFC 6665 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    /// `active`, `pending`, `terminated` or an extension, as received.
    pub state: &'a str,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> SubscriptionState<'a> {
    /// # Errors
    /// [`HeaderError::Malformed`], [`HeaderError::Params`].
    pub fn parse(value: &'a str) -> Result<Self, HeaderError> {
        let (state, params) = head_and_params(value)?;
        if !lex::is_token(state) {
            return Err(HeaderError::Malformed(HeaderName::SubscriptionState));
        }
        Ok(Self { state, params })
    }

    /// Compares the state without regard to case.
    pub fn is(&self, state: &str) -> bool {
        self.state.eq_ignore_ascii_case(state)
    }

    /// `expires`, in seconds.
    pub fn expires(&self) -> Option<u32> {
        self.params.get("expires").flatten().and_then(lex::number_u32)
    }

    /// `reason`, as received.
    pub fn reason(&self) -> Option<&'a str> {
        self.params.get("reason").flatten()
    }

    /// `retry-after`, in seconds.
    pub fn retry_after(&self) -> Option<u32> {
        self.params.get("retry-after").flatten().and_then(lex::number_u32)
    }
}

/// A token with parameters: Content-Language, Content-Encoding, Accept-Language, Accept-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The token, as received.
    pub token: &'a str,
    /// `q` and others.
    pub params: Params<'a>,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(name: HeaderName, value: &'a str) -> Result<Self, HeaderError> {
        let (token, params) = head_and_params(value)?;
        if !lex::is_token(token) {
            return Err(HeaderError::Malformed(name));
        }
        Ok(Self { token, params })
    }
}

/// Retry-After (RFC 3261 §20.33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter<'a> {
    /// Delay.
    pub seconds: u32,
    /// `duration`; a comment in parentheses before it is skipped.
    pub params: Params<'a>,
}

impl<'a> RetryAfter<'a> {
    /// # Errors
    /// [`HeaderError::Number`], [`HeaderError::Malformed`], [`HeaderError::Params`].
    pub fn parse(value: &'a str) -> Result<Self, HeaderError> {
        let value = lex::trim(value);
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        let (digits, rest) = value.split_at_checked(end).unwrap_or((value, ""));
        let seconds = lex::number_u32(digits).ok_or(HeaderError::Number(HeaderName::RetryAfter))?;
        let rest = after_comment(lex::trim(rest)).ok_or(HeaderError::Malformed(HeaderName::RetryAfter))?;
        Ok(Self { seconds, params: Params::of_header(rest).ok_or(HeaderError::Params)? })
    }
}

/// Steps over a `( … )` comment, nested ones and quoted-pairs included.
fn after_comment(text: &str) -> Option<&str> {
    if !text.starts_with('(') {
        return Some(text);
    }
    let mut depth = 0usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return text.get(at + 1..).map(lex::trim);
                }
            }
            _ => {}
        }
    }
    None
}

/// One element of Warning (RFC 3261 §20.43).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarningValue<'a> {
    /// Three digits.
    pub code: u16,
    /// Who warns: host or pseudonym.
    pub agent: &'a str,
    /// Text without quotes; text from outside.
    pub text: Cow<'a, str>,
}

impl<'a> WarningValue<'a> {
    /// # Errors
    /// [`HeaderError::Number`], [`HeaderError::Malformed`].
    pub fn parse(value: &'a str) -> Result<Self, HeaderError> {
        let malformed = HeaderError::Malformed(HeaderName::Warning);
        let (code, rest) = lex::trim(value).split_once(lex::LWS).ok_or(malformed)?;
        let code = lex::number_u32(code).filter(|_| code.len() == 3).and_then(|n| u16::try_from(n).ok());
        let code = code.ok_or(HeaderError::Number(HeaderName::Warning))?;
        let (agent, text) = lex::trim(rest).split_once(lex::LWS).ok_or(malformed)?;
        match lex::quoted(lex::trim(text)) {
            Some((inside, "")) => Ok(Self { code, agent, text: params::unescape(inside) }),
            _ => Err(malformed),
        }
    }
}

/// `value;params` → trimmed value and parameters.
fn head_and_params(value: &str) -> Result<(&str, Params<'_>), HeaderError> {
    let (head, params) = lex::cut_before(value, b';');
    Ok((lex::trim(head), Params::of_header(params).ok_or(HeaderError::Params)?))
}
