//! Cutting a byte stream into messages (RFC 3261 §18.3, RFC 5626 §4.4.1), with limits enforced while reading.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use memchr::memmem::Finder;

use crate::message::{Head, Length, Reading, read, read_folded};
use crate::{Defect, Limits, Message, ParseError};

/// What stands on a connection.
#[derive(Clone, Debug)]
pub enum Frame {
    /// One message. Look at [`check_request`](crate::check_request) or
    /// [`check_response`](crate::check_response) before using it.
    Message(Message),
    /// CRLFCRLF between messages: answer CRLF at once (SIP-12).
    Ping,
    /// A single CRLF between messages: the answer to our ping — or the first half of a ping whose second half
    /// has not arrived yet. In that case `Ping` follows.
    Pong,
}

/// The stream cannot be cut any further: answer if possible, then close.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct FrameError {
    /// What happened.
    pub kind: FrameErrorKind,
    /// Status of the answer.
    pub status: u16,
    /// What happened, in words; fit for a reason phrase.
    pub reason: &'static str,
    /// The head as far as it was read, without body, if it says enough to be answered.
    pub head: Option<Message>,
}

/// Why a stream cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameErrorKind {
    /// The bytes are no SIP message.
    NotSip(ParseError),
    /// Content-Length is missing, no number, or repeated (SIP-10).
    Length(ParseError),
    /// The head passes [`Limits::head`].
    HeadTooLarge,
    /// The body passes [`Framer::MAX_SKIPPED`].
    BodyTooLarge,
}

impl FrameError {
    fn not_sip(why: ParseError) -> Self {
        let reason = match why {
            ParseError::StartLine => "Not a SIP Message",
            ParseError::FoldedStartLine => "Folded Start Line",
            _ => "Line Not Ended by CRLF",
        };
        Self { kind: FrameErrorKind::NotSip(why), status: 400, reason, head: None }
    }

    fn length(why: ParseError, head: Message) -> Self {
        let reason = match why {
            ParseError::LengthMissing => "Missing Content-Length",
            ParseError::LengthRepeated => "Repeated Content-Length",
            _ => "Invalid Content-Length",
        };
        Self { kind: FrameErrorKind::Length(why), status: 400, reason, head: Some(head) }
    }
}

/// Cuts messages out of a receive buffer. Work is proportional to the bytes received, however they are split:
/// the search for the end of a head goes on where it stopped, and a head is read once.
///
/// A body above [`Limits::body`] costs its message only: the message is handed out at once without body and
/// marked [`Defect::BodyTooLarge`], and the body is skipped as it arrives — many users share a connection, and
/// one of them must not be able to cut it.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    head_end: Finder<'static>,
    /// Bytes at the start of the buffer known not to begin the end of a head.
    scanned: usize,
    /// A head whose body has not arrived completely, and the size of the whole.
    pending: Option<(Arc<Head>, usize)>,
    skip: u64,
    /// The last thing read was a CRLF handed out as `Pong`.
    half_ping: bool,
    mid_message: bool,
    failed: bool,
}

impl Framer {
    /// The largest body that is skipped. Beyond it the connection is given up.
    pub const MAX_SKIPPED: u64 = 16 * 1024 * 1024;

    /// For one connection, from its first byte on.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            head_end: Finder::new(b"\r\n\r\n"),
            scanned: 0,
            pending: None,
            skip: 0,
            half_ping: false,
            mid_message: false,
            failed: false,
        }
    }

    /// Takes the next frame from the front of `buf`; `None` asks for more bytes. Between calls bytes may only be
    /// added at the end of `buf`.
    ///
    /// # Errors
    /// [`FrameError`]. After it the framer swallows whatever comes.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let result = self.step(buf);
        if result.is_err() {
            self.failed = true;
        }
        if self.failed {
            buf.clear();
        }
        self.mid_message = !self.failed && (self.skip > 0 || self.pending.is_some() || !buf.is_empty());
        result
    }

    /// Bytes of an unfinished message were there when [`Framer::next`] was last called: silence from now on is
    /// the peer's fault, and keep-alive is not possible.
    pub fn mid_message(&self) -> bool {
        self.mid_message
    }

    fn step(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if self.failed {
            return Ok(None);
        }
        if self.skip > 0 {
            let here = usize::try_from(self.skip).unwrap_or(usize::MAX).min(buf.len());
            buf.advance(here);
            self.skip -= u64::try_from(here).unwrap_or(0);
            if self.skip > 0 {
                return Ok(None);
            }
        }
        if self.pending.is_none() {
            if self.scanned == 0
                && let Some(frame) = self.keep_alive(buf)
            {
                return Ok(Some(frame));
            }
            if buf.is_empty() || buf.as_ref() == b"\r" {
                return Ok(None);
            }
            self.half_ping = false;
            let Some(end) = self.find_head_end(buf)? else { return Ok(None) };
            self.scanned = 0;
            if let Some(message) = self.begin(buf, end)? {
                return Ok(Some(Frame::Message(message)));
            }
        }
        match self.pending.take() {
            Some((head, total)) if buf.len() >= total => {
                let raw = buf.split_to(total).freeze();
                Ok(Some(Frame::Message(Message::new(raw, head))))
            }
            pending => {
                self.pending = pending;
                Ok(None)
            }
        }
    }

    fn keep_alive(&mut self, buf: &mut BytesMut) -> Option<Frame> {
        if buf.starts_with(b"\r\n\r\n") && !self.half_ping {
            buf.advance(4);
            return Some(Frame::Ping);
        }
        if buf.starts_with(b"\r\n") {
            buf.advance(2);
            self.half_ping = !self.half_ping;
            return Some(if self.half_ping { Frame::Pong } else { Frame::Ping });
        }
        None
    }

    fn find_head_end(&mut self, buf: &BytesMut) -> Result<Option<usize>, FrameError> {
        let fresh = buf.get(self.scanned..).unwrap_or_default();
        let end = self.head_end.find(fresh).map(|at| self.scanned + at + 4);
        if end.unwrap_or(buf.len()) > self.limits.head {
            return Err(self.head_too_large(buf));
        }
        if end.is_none() {
            // A line without CR will not get better, and a peer that never writes CRLF would never end.
            let cr_before = |lf: usize| lf > 0 && buf.get(lf - 1) == Some(&b'\r');
            if !memchr::memchr_iter(b'\n', fresh).all(|at| cr_before(self.scanned + at)) {
                return Err(FrameError::not_sip(ParseError::LineEnd));
            }
            self.scanned = buf.len().saturating_sub(3);
        }
        Ok(end)
    }

    /// Reads the head; a message comes back at once if its body is to be skipped.
    fn begin(&mut self, buf: &mut BytesMut, end: usize) -> Result<Option<Message>, FrameError> {
        let head_bytes = buf.get_mut(..end).unwrap_or_default();
        let head = match read(head_bytes, &self.limits) {
            Ok(Reading::Head(head)) => Ok(head),
            Ok(Reading::Folded) => read_folded(head_bytes, &self.limits),
            Err(why) => Err(why),
        };
        let mut head = head.map_err(FrameError::not_sip)?;
        let length = match head.length {
            Length::Bytes(length) => length,
            Length::Missing => return Err(self.bad_length(buf, head, ParseError::LengthMissing)),
            Length::Invalid => return Err(self.bad_length(buf, head, ParseError::LengthInvalid)),
            Length::Repeated => return Err(self.bad_length(buf, head, ParseError::LengthRepeated)),
        };
        match usize::try_from(length) {
            Ok(body) if body <= self.limits.body => {
                self.pending = Some((Arc::new(head), end + body));
                Ok(None)
            }
            _ => {
                head.defect = head.defect.or(Some(Defect::BodyTooLarge));
                let message = Message::new(buf.split_to(end).freeze(), Arc::new(head));
                if length > Self::MAX_SKIPPED {
                    return Err(FrameError {
                        kind: FrameErrorKind::BodyTooLarge,
                        status: 413,
                        reason: "Request Entity Too Large",
                        head: Some(message),
                    });
                }
                self.skip = length;
                Ok(Some(message))
            }
        }
    }

    fn bad_length(&self, buf: &mut BytesMut, head: Head, why: ParseError) -> FrameError {
        let raw = buf.split_to(head.end).freeze();
        FrameError::length(why, Message::new(raw, Arc::new(head)))
    }

    /// What was read up to the limit may already name the transaction: then it can be answered.
    fn head_too_large(&self, buf: &BytesMut) -> FrameError {
        let within = buf.get(..self.limits.head.min(buf.len())).unwrap_or_default();
        let head =
            memchr::memmem::rfind(within, b"\r\n").and_then(|at| within.get(..at + 2)).and_then(|lines| {
                let mut raw = BytesMut::with_capacity(lines.len() + 2);
                raw.extend_from_slice(lines);
                raw.extend_from_slice(b"\r\n");
                let head = match read(&raw, &self.limits).ok()? {
                    Reading::Head(head) => head,
                    Reading::Folded => read_folded(&mut raw, &self.limits).ok()?,
                };
                Some(Message::new(raw.freeze(), Arc::new(head)))
            });
        FrameError { kind: FrameErrorKind::HeadTooLarge, status: 513, reason: "Message Too Large", head }
    }
}
