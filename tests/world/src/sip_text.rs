//! Just enough SIP to speak and to check it: messages as text.
//!
//! Written apart from the code under test, as [`crate::xml`] is.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// A SIP message as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipMessage {
    /// Request line or status line.
    pub start: String,
    /// The header fields in order, names as written.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The bytes as they came.
    pub raw: String,
}

impl SipMessage {
    /// Takes one message from the buffer, if a complete one is there; keep-alive CRLFs in front are skipped.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>> {
        let blank = buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        buffer.drain(..blank);
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&buffer[..head])?.to_owned();
        let mut lines = text.split("\r\n");
        let start = lines.next().context("no first line")?.to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').with_context(|| format!("no header: {line:?}"))?;
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut message = Self { start, headers, body: String::new(), raw: String::new() };
        let length: usize = message.header("Content-Length").context("no Content-Length")?.parse()?;
        let end = head + 4 + length;
        if buffer.len() < end {
            return Ok(None);
        }
        message.body = String::from_utf8(buffer[head + 4..end].to_vec())?;
        message.raw = String::from_utf8(buffer.drain(..end).collect())?;
        Ok(Some(message))
    }

    /// The first header field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The values of all header fields of that name, in order; commas divide none of them.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// As [`Self::header`], for one that must be there.
    pub fn must(&self, name: &str) -> Result<&str> {
        self.header(name).with_context(|| format!("no {name} in\n{}", self.raw))
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        if self.status().is_some() { None } else { self.start.split(' ').next() }
    }

    /// The URI inside the angle brackets of From or To.
    pub fn address(&self, name: &str) -> Result<&str> {
        let value = self.must(name)?;
        let inside = value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(uri, _)| uri);
        Ok(inside.unwrap_or_else(|| value.split(';').next().unwrap_or(value)))
    }

    /// An answer to this request, with further header lines.
    pub fn answer(&self, status: u16, reason: &str, more: &[(&str, &str)]) -> Result<String> {
        self.answer_with(status, reason, more, "")
    }

    /// The same with a body, whose type is among the header lines.
    pub fn answer_with(
        &self,
        status: u16,
        reason: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Result<String> {
        ensure!(self.status().is_none(), "an answer to an answer");
        let mut text = format!("SIP/2.0 {status} {reason}\r\n");
        for (name, value) in &self.headers {
            let value = match name.to_ascii_lowercase().as_str() {
                "via" | "from" | "call-id" | "cseq" => value.clone(),
                "to" if value.contains(";tag=") => value.clone(),
                "to" => format!("{value};tag=agent"),
                _ => continue,
            };
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in more {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        Ok(text)
    }
}

impl fmt::Display for SipMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::SipMessage;

    const REQUEST: &[u8] = b"\r\n\r\nMESSAGE sip:b@y SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\n\
        From: \"A\" <sip:a@x>;tag=1\r\nTo: sip:b@y\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Length: 2\r\n\r\nhiSIP";

    #[test]
    fn takes_one_message_and_leaves_the_rest() {
        let mut buffer = REQUEST.to_vec();
        let message = SipMessage::take(&mut buffer).unwrap().unwrap();
        assert_eq!(message.method(), Some("MESSAGE"));
        assert_eq!(message.body, "hi");
        assert_eq!(message.address("From").unwrap(), "sip:a@x");
        assert_eq!(message.address("To").unwrap(), "sip:b@y");
        assert_eq!(buffer, b"SIP");
        assert!(SipMessage::take(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn answers_with_the_headers_of_the_request() {
        let message = SipMessage::take(&mut REQUEST.to_vec()).unwrap().unwrap();
        let mut answer = message.answer(404, "Not Found", &[]).unwrap().into_bytes();
        let answer = SipMessage::take(&mut answer).unwrap().unwrap();
        assert_eq!(answer.status(), Some(404));
        assert_eq!(answer.header("to"), Some("sip:b@y;tag=agent"));
        assert_eq!(answer.header("via"), message.header("via"));
    }
}
