//! A request on its way to a front end, and the token that stands for it.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::HopConnection;
use crate::connection::{Connection, SendRefused};
use crate::{Message, Method};

/// A whole request of ours, ready to be written, with the place of its Via branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutRequest {
    bytes: Bytes,
    /// Where the branch begins, where the branch that the caller chose ends, and where it ends now.
    begins: usize,
    base_ends: usize,
    ends: usize,
}

/// The branch does not stand in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the branch does not stand in the request")]
pub struct NoBranch;

impl OutRequest {
    /// `branch` is the branch of its top Via.
    ///
    /// # Errors
    /// [`NoBranch`]: the request could not be matched with its response.
    pub fn new(bytes: impl Into<Bytes>, branch: &str) -> Result<Self, NoBranch> {
        let bytes = bytes.into();
        let is_it = |at: &usize| {
            let parameter = bytes.get(*at..).and_then(|rest| rest.strip_prefix(PARAMETER));
            parameter.is_some_and(|value| value.starts_with(branch.as_bytes())) && !branch.is_empty()
        };
        let found = memchr::memchr_iter(b';', &bytes).find(is_it).ok_or(NoBranch)?;
        let begins = found + PARAMETER.len();
        let ends = begins + branch.len();
        Ok(Self { bytes, begins, base_ends: ends, ends })
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn branch(&self) -> &str {
        self.bytes.get(self.begins..self.ends).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
    }

    /// The branch without the number of the attempt.
    pub(super) fn base_branch(&self) -> &str {
        self.bytes
            .get(self.begins..self.base_ends)
            .and_then(|b| std::str::from_utf8(b).ok())
            .unwrap_or_default()
    }

    pub(super) fn is_invite(&self) -> bool {
        self.bytes.starts_with(b"INVITE ")
    }

    pub fn method(&self) -> Method<'_> {
        let name = self.bytes.split(|b| *b == b' ').next().unwrap_or_default();
        Method::new(std::str::from_utf8(name).unwrap_or_default())
    }

    /// Makes it a new transaction (RFC 3263 §4.3): the branch gets the number of the attempt as suffix, so
    /// that it is unique and still tells which request it belongs to.
    pub(super) fn renumber(&mut self, attempt: u32) {
        let suffix = format!(".{attempt}");
        let head = self.bytes.get(..self.base_ends).unwrap_or_default();
        let tail = self.bytes.get(self.ends..).unwrap_or_default();
        let bytes = [head, suffix.as_bytes(), tail].concat();
        self.ends = self.base_ends + suffix.len();
        self.bytes = bytes.into();
    }

    /// Gives it another Request-URI; `uri` must be one.
    pub(super) fn readdress(&mut self, uri: &str) {
        let Some(method) = memchr::memchr(b' ', &self.bytes) else { return };
        let old = self.bytes.get(method + 1..).and_then(|rest| memchr::memchr(b' ', rest));
        let Some(end) = old.map(|length| method + 1 + length).filter(|end| *end < self.begins) else {
            return;
        };
        let head = self.bytes.get(..=method).unwrap_or_default();
        let tail = self.bytes.get(end..).unwrap_or_default();
        let moved = |place: usize| place - end + method + 1 + uri.len();
        (self.begins, self.base_ends, self.ends) =
            (moved(self.begins), moved(self.base_ends), moved(self.ends));
        self.bytes = [head, uri.as_bytes(), tail].concat().into();
    }
}

const PARAMETER: &[u8] = b";branch=";

/// One request that the group has taken. It is the only one of its kind: it goes out with
/// [`HopOutput::Send`](super::HopOutput::Send), travels as the envelope of a [`Connection`], and must be
/// handed back to the group with the outcome.
#[must_use = "a request that is not handed back to its group is lost"]
pub struct Outgoing<E> {
    pub(super) request: OutRequest,
    pub(super) envelope: E,
    /// Place in the order of arrival.
    pub(super) number: u64,
    pub(super) pushed: Instant,
    /// Where it was sent last.
    pub(super) sent: Option<Sent>,
    /// How often a connection has taken it and it came to an answer.
    pub(super) attempts: u32,
    /// The 503 or the redirect it got, should nobody else take it.
    pub(super) refusal: Option<Box<Message>>,
    /// It has followed a redirect, and follows no other.
    pub(super) redirected: bool,
    /// Nobody wants it any more: it is not sent again.
    pub(super) cancelled: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) connection: HopConnection,
    pub(super) target: usize,
    pub(super) at: Instant,
}

impl<E> Outgoing<E> {
    pub fn request(&self) -> &OutRequest {
        &self.request
    }

    pub fn envelope(&self) -> &E {
        &self.envelope
    }
}

impl<E> fmt::Debug for Outgoing<E> {
    /// Without the bytes, which hold what people write to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("number", &self.number)
            .field("branch", &self.request.branch())
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl<E> Connection<Outgoing<E>> {
    /// Sends what a group has given out.
    ///
    /// # Errors
    /// Hand it back with [`HopGroup::refused`](super::HopGroup::refused).
    pub fn send(&mut self, outgoing: Outgoing<E>, now: Instant) -> Result<(), SendRefused<Outgoing<E>>> {
        self.send_on(outgoing, &[], now)
    }

    /// The same with [header lines](Connection::send_with) for the next hop that the connection leads to.
    ///
    /// # Errors
    /// Hand it back with [`HopGroup::refused`](super::HopGroup::refused).
    pub fn send_on(
        &mut self,
        outgoing: Outgoing<E>,
        lines: &[&str],
        now: Instant,
    ) -> Result<(), SendRefused<Outgoing<E>>> {
        let request = outgoing.request.clone();
        self.send_with(&request.bytes, lines, request.branch(), request.method(), outgoing, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str =
        "MESSAGE sip:a@x SIP/2.0\r\nVia: SIP/2.0/TLS n;branch=z9hG4bKn1a\r\nTo: <sip:a@x>\r\n\r\n";

    #[test]
    fn finds_branch_and_method() {
        let request = OutRequest::new(RAW, "z9hG4bKn1a").unwrap();
        assert_eq!(request.branch(), "z9hG4bKn1a");
        assert_eq!(request.method(), Method::Message);
        assert_eq!(OutRequest::new(RAW, "z9hG4bKn1b"), Err(NoBranch));
        assert_eq!(OutRequest::new(RAW, ""), Err(NoBranch));
    }

    #[test]
    fn another_request_uri_changes_nothing_else_and_the_branch_is_still_found() {
        let mut request = OutRequest::new(RAW, "z9hG4bKn1a").unwrap();
        for uri in ["sip:a@a-longer-name.example:5061", "sip:b"] {
            request.readdress(uri);
            let expected = RAW.replacen("sip:a@x", uri, 1);
            assert_eq!((request.bytes().as_ref(), request.branch()), (expected.as_bytes(), "z9hG4bKn1a"));
        }
        request.renumber(2);
        assert_eq!(request.branch(), "z9hG4bKn1a.2");
    }

    #[test]
    fn sip_13_a_new_attempt_changes_the_branch_and_nothing_else() {
        let mut request = OutRequest::new(RAW, "z9hG4bKn1a").unwrap();
        for attempt in [2, 3, 10] {
            request.renumber(attempt);
            let branch = format!("z9hG4bKn1a.{attempt}");
            assert_eq!(request.branch(), branch);
            assert_eq!(request.bytes(), &RAW.replace("z9hG4bKn1a", &branch));
        }
    }
}
