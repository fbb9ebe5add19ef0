//! Answers as data.

use std::borrow::Cow;

use bytes::Bytes;

use crate::StatusCode;

/// The final answer to a request; Via, From, To, Call-ID and CSeq are the connection's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "somebody waits for it"]
pub struct Answer {
    pub status: u16,
    /// Fit for the wire.
    pub reason: Cow<'static, str>,
    /// In the order in which they are written. A Record-Route stands here byte for byte as it came.
    pub headers: Vec<(&'static str, String)>,
    /// Content-Type and body; few answers have one.
    pub body: Option<Box<(&'static str, Bytes)>>,
    /// Code and text of a Warning (RFC 3261 §20.43). Who warns is what we are called on the connection that it leaves on.
    pub warning: Option<Box<(u16, String)>>,
    /// The evidence, in words for whoever runs the front end; empty with a 2xx.
    pub why: Cow<'static, str>,
}

impl Answer {
    pub fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let (headers, why) = (Vec::new(), Cow::Borrowed(""));
        Self { status, reason: reason.into(), headers, body: None, warning: None, why }
    }

    /// With the registered phrase.
    pub fn plain(status: u16) -> Self {
        Self::new(status, StatusCode(status).phrase())
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn with_body(mut self, media: &'static str, body: Bytes) -> Self {
        self.body = Some(Box::new((media, body)));
        self
    }

    pub(crate) fn warning(mut self, code: u16, text: String) -> Self {
        self.warning = Some(Box::new((code, text)));
        self
    }

    /// Says why, with what it was seen by.
    pub fn because(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.why = why.into();
        self
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of the first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
