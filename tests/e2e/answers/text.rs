//! SIP requests as text.

use std::sync::atomic::{AtomicU64, Ordering};

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A request under construction: what a test does not say is usual.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) uri: String,
    pub(crate) via: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) call_id: String,
    pub(crate) cseq: String,
    pub(crate) max_forwards: Option<u8>,
    pub(crate) more: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request from alice@contoso.com.
    pub(crate) fn new(method: &'static str, to: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            method,
            uri: format!("sip:{to}"),
            via: format!("SIP/2.0/TLS fe.contoso.com:5061;branch=z9hG4bK-t{number}"),
            from: format!("<sip:alice@contoso.com>;tag=a{number}"),
            to: format!("<sip:{to}>"),
            call_id: format!("call-{number}@fe.contoso.com"),
            cseq: format!("1 {method}"),
            max_forwards: Some(70),
            more: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A text message from alice@contoso.com.
    pub(crate) fn message(to: &str, body: &str) -> Self {
        Self::new("MESSAGE", to).with("Content-Type: text/plain;charset=UTF-8").with_body(body)
    }

    pub(crate) fn with(mut self, line: impl Into<String>) -> Self {
        self.more.push(line.into());
        self
    }

    pub(crate) fn with_body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(crate) fn set(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} SIP/2.0\r\nVia: {}\r\n", self.method, self.uri, self.via);
        if let Some(hops) = self.max_forwards {
            text += &format!("Max-Forwards: {hops}\r\n");
        }
        text += &format!(
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
            self.from, self.to, self.call_id, self.cseq
        );
        for line in &self.more {
            text += &format!("{line}\r\n");
        }
        text += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
