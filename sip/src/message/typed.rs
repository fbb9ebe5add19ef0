//! Typed access to header fields: read on demand, borrowed from the message.

use std::time::SystemTime;

use super::Message;
use crate::{
    CSeq, CommaList, ContentType, Event, HeaderError, HeaderName, Method, NameAddr, RetryAfter,
    SubscriptionState, Token, Uri, UriError, Via, WarningValue, lex, parse_date,
};

impl Message {
    /// Value of a field that must be there.
    ///
    /// # Errors
    /// [`HeaderError::Missing`], [`HeaderError::NotUtf8`].
    pub fn required(&self, name: HeaderName) -> Result<&str, HeaderError> {
        self.optional(name)?.ok_or(HeaderError::Missing(name))
    }

    /// Value of a field that may be there.
    ///
    /// # Errors
    /// [`HeaderError::NotUtf8`].
    pub fn optional(&self, name: HeaderName) -> Result<Option<&str>, HeaderError> {
        match self.field(name) {
            None => Ok(None),
            Some(field) => self.raw.text(field.value).map(Some).ok_or(HeaderError::NotUtf8(name)),
        }
    }

    /// Elements of all comma lists of this name.
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.headers(name).flat_map(CommaList::new)
    }

    /// The Request-URI, read.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn uri(&self) -> Result<Uri<'_>, UriError> {
        Uri::parse(self.request_uri())
    }

    /// The first element of the first Via.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn top_via(&self) -> Result<Via<'_>, HeaderError> {
        let value = self.required(HeaderName::Via)?;
        Via::parse(lex::split_outside(value, b',', true).0)
    }

    /// All Via elements, top first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.list(HeaderName::Via).map(Via::parse)
    }

    /// The Via elements below the top one.
    pub fn lower_vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.list(HeaderName::Via).skip(1).map(Via::parse)
    }

    /// From.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn from_header(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(self.required(HeaderName::From)?)
    }

    /// To.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn to_header(&self) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(self.required(HeaderName::To)?)
    }

    /// The tag of From, if the message passed its check: found behind the address, which is not read again.
    pub fn from_tag(&self) -> Option<&str> {
        self.header(HeaderName::From).and_then(tag)
    }

    /// The tag of To; as [`Message::from_tag`].
    pub fn to_tag(&self) -> Option<&str> {
        self.header(HeaderName::To).and_then(tag)
    }

    /// Call-ID, compared byte by byte.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let value = self.required(HeaderName::CallId)?;
        if !lex::is_call_id(value) {
            return Err(HeaderError::Malformed(HeaderName::CallId));
        }
        Ok(value)
    }

    /// CSeq.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn cseq(&self) -> Result<CSeq<'_>, HeaderError> {
        CSeq::parse(self.required(HeaderName::CSeq)?)
    }

    /// Max-Forwards: 0–255.
    ///
    /// # Errors
    /// [`HeaderError::Number`].
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let name = HeaderName::MaxForwards;
        let read = |v| lex::number(v).and_then(|n| u8::try_from(n).ok()).ok_or(HeaderError::Number(name));
        self.optional(name)?.map(read).transpose()
    }

    /// Expires, in seconds.
    ///
    /// # Errors
    /// [`HeaderError::Number`].
    pub fn expires(&self) -> Result<Option<u32>, HeaderError> {
        self.seconds(HeaderName::Expires)
    }

    /// Min-Expires, in seconds.
    ///
    /// # Errors
    /// [`HeaderError::Number`].
    pub fn min_expires(&self) -> Result<Option<u32>, HeaderError> {
        self.seconds(HeaderName::MinExpires)
    }

    fn seconds(&self, name: HeaderName) -> Result<Option<u32>, HeaderError> {
        self.optional(name)?.map(|v| lex::number_u32(v).ok_or(HeaderError::Number(name))).transpose()
    }

    /// Content-Type.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn content_type(&self) -> Result<Option<ContentType<'_>>, HeaderError> {
        self.optional(HeaderName::ContentType)?.map(ContentType::parse).transpose()
    }

    /// Event.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn event(&self) -> Result<Option<Event<'_>>, HeaderError> {
        self.optional(HeaderName::Event)?.map(Event::parse).transpose()
    }

    /// Subscription-State.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState<'_>>, HeaderError> {
        self.optional(HeaderName::SubscriptionState)?.map(SubscriptionState::parse).transpose()
    }

    /// Retry-After.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn retry_after(&self) -> Result<Option<RetryAfter<'_>>, HeaderError> {
        self.optional(HeaderName::RetryAfter)?.map(RetryAfter::parse).transpose()
    }

    /// Contact addresses. `*`, which only REGISTER may carry, is none.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.list(HeaderName::Contact).filter(|c| *c != "*").map(NameAddr::parse)
    }

    /// Route set of this request.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.list(HeaderName::Route).map(NameAddr::parse)
    }

    /// Record-Route, in the order received.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.list(HeaderName::RecordRoute).map(NameAddr::parse)
    }

    /// P-Asserted-Identity: to be believed only from an authenticated peer (SIP-38).
    pub fn asserted_identities(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.list(HeaderName::PAssertedIdentity).map(NameAddr::parse)
    }

    /// Content-Language tags.
    pub fn content_language(&self) -> impl Iterator<Item = Result<Token<'_>, HeaderError>> {
        self.tokens(HeaderName::ContentLanguage)
    }

    /// Content-Encoding codings.
    pub fn content_encoding(&self) -> impl Iterator<Item = Result<Token<'_>, HeaderError>> {
        self.tokens(HeaderName::ContentEncoding)
    }

    fn tokens(&self, name: HeaderName) -> impl Iterator<Item = Result<Token<'_>, HeaderError>> {
        self.list(name).filter(|t| !t.is_empty()).map(move |t| Token::parse(name, t))
    }

    /// Date; `None` if absent or unusable, which is never an error (RFC 4475 §3.1.2.12).
    pub fn date(&self) -> Option<SystemTime> {
        self.header(HeaderName::Date).and_then(parse_date)
    }

    /// Option tags in Require.
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.list(HeaderName::Require).filter(|t| !t.is_empty())
    }

    /// Option tags in Supported.
    pub fn supported(&self) -> impl Iterator<Item = &str> {
        self.list(HeaderName::Supported).filter(|t| !t.is_empty())
    }

    /// Methods in Allow.
    pub fn allow(&self) -> impl Iterator<Item = Method<'_>> {
        self.list(HeaderName::Allow).filter(|t| !t.is_empty()).map(Method::new)
    }

    /// Media ranges in Accept. Absent and empty differ: absent means `application/sdp` in an INVITE, and what
    /// the package says in a SUBSCRIBE; ask [`Message::header`] for the difference.
    pub fn accept(&self) -> impl Iterator<Item = Result<ContentType<'_>, HeaderError>> {
        self.list(HeaderName::Accept).filter(|t| !t.is_empty()).map(ContentType::parse)
    }

    /// Warnings.
    pub fn warnings(&self) -> impl Iterator<Item = Result<WarningValue<'_>, HeaderError>> {
        self.list(HeaderName::Warning).map(WarningValue::parse)
    }
}

/// The tag of a From or To that has been checked: parameters of the field stand behind the last `>`, or behind the first
/// `;` of an address without brackets.
fn tag(field: &str) -> Option<&str> {
    let mut params = field.get(memchr::memrchr(b'>', field.as_bytes()).map_or(0, |at| at + 1)..)?;
    loop {
        let (_, rest) = lex::cut(params, b';')?;
        let (param, _) = lex::cut_before(rest, b';');
        if let Some((name, value)) = lex::cut(param, b'=')
            && lex::trim(name).eq_ignore_ascii_case("tag")
        {
            return Some(lex::trim(value));
        }
        params = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_where_a_parser_finds_it() {
        for (field, expected) in [
            ("<sip:a@b>;tag=1", Some("1")),
            ("\"x>;tag=0\" <sip:a@b;tag=2>;q=1 ; Tag = 1", Some("1")),
            ("sip:a@b;tag=1", Some("1")),
            ("<sip:a@b;tag=2>", None),
            ("<sip:a@b>;stag=2", None),
            ("sip:a@b", None),
        ] {
            assert_eq!(tag(field), expected, "{field}");
            assert_eq!(NameAddr::parse(field).unwrap().tag(), expected, "{field}");
        }
    }
}
