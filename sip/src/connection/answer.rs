//! Answers to requests of the peer: what may go out, and what is kept of it.

use std::time::Instant;

use bytes::Bytes;
use compact_str::CompactString;

use super::arena::Handle;
use super::keys::Key;
use super::server::{Answered, Kind, Pending};
use super::{Connection, Phase, Responded, ServerTxn};
use crate::{ResponseHead, StatusCode};

impl<E> Connection<E> {
    /// Answers a request. Of provisional answers only 100 may go to a non-INVITE request, and 408 never
    /// (RFC 4320 §4): it goes out as 504. A 2xx to INVITE is repeated with [`Connection::repeat`].
    pub fn respond(
        &mut self,
        txn: ServerTxn,
        status: u16,
        reason: &str,
        extra: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
        now: Instant,
    ) -> Responded {
        let ServerTxn(handle) = txn;
        let Some(pending) = self.server.get(handle) else {
            self.counters.late_answers += 1;
            return Responded::Dropped;
        };
        if status < 200 {
            return self.respond_provisionally(handle, status, reason, extra, now);
        }
        if pending.kind == Kind::Invite {
            return self.answer_invite(handle, status, reason, extra, body, now);
        }
        let (status, reason) = match (status, pending.kind) {
            (408, Kind::NonInvite) => {
                self.counters.forbidden_answers += 1;
                (504, StatusCode(504).phrase())
            }
            _ => (status, reason),
        };
        let Some(pending) = self.server.end_with(handle, status, now) else { return Responded::Dropped };
        if self.phase == Phase::Closed {
            if pending.kind == Kind::Silent {
                return Responded::Silent;
            }
            let mut response = Vec::new();
            pending.head.write(&mut response, status, reason, extra, body);
            return Responded::Orphaned(response.into());
        }
        self.answer(
            Some(pending.key),
            &pending.head,
            pending.tag,
            pending.kind,
            status,
            reason,
            extra,
            body,
            now,
        )
    }

    /// Sends the 2xx to an INVITE once more: nobody has acknowledged it yet (RFC 3261 §13.3.1.4; CH-11). Possible for
    /// 64·T1 after it was given.
    pub fn repeat(&mut self, txn: ServerTxn) -> Responded {
        match self.server.accepted(txn.0).and_then(Pending::repeated) {
            Some(answered) if self.phase == Phase::Closed => {
                Responded::Orphaned(Bytes::copy_from_slice(&answered.response))
            }
            Some(answered) => {
                self.out.extend_from_slice(&answered.response);
                Responded::Sent
            }
            None => {
                self.counters.late_answers += 1;
                Responded::Dropped
            }
        }
    }

    /// The 2xx to this INVITE has its ACK, which may have come on any connection: nothing is left to be repeated.
    pub fn acknowledged(&mut self, txn: ServerTxn, now: Instant) {
        self.server.acknowledged(txn.0, now);
    }

    /// Sends a response whose own connection is gone ([`Responded::Orphaned`]).
    pub fn relay(&mut self, response: &[u8]) {
        if self.phase != Phase::Closed {
            self.write(response);
        }
    }

    fn respond_provisionally(
        &mut self,
        handle: Handle,
        status: u16,
        reason: &str,
        extra: &[(&str, &str)],
        now: Instant,
    ) -> Responded {
        let Some(pending) = self.server.get(handle) else { return Responded::Dropped };
        let allowed = match pending.kind {
            Kind::Invite => true,
            Kind::NonInvite => status == 100,
            Kind::Silent => false,
        };
        if !allowed || self.phase == Phase::Closed {
            self.counters.forbidden_answers += 1;
            return Responded::Dropped;
        }
        if status == 100 {
            write_trying(&mut self.out, &pending.head);
            self.server.proceed(handle);
        } else {
            let mut response = Vec::new();
            pending.head.write(&mut response, status, reason, extra, None);
            self.out.extend_from_slice(&response);
            self.server.ring(handle, Answered { status, response: response.into(), at: now });
        }
        Responded::Sent
    }

    /// Writes a final answer to INVITE. It is kept as it was sent, until ACK or for 64·T1.
    pub(super) fn answer_invite(
        &mut self,
        handle: Handle,
        status: u16,
        reason: &str,
        extra: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
        now: Instant,
    ) -> Responded {
        let Some(pending) = self.server.get(handle) else { return Responded::Dropped };
        let mut response = Vec::new();
        pending.head.write(&mut response, status, reason, extra, body);
        let responded = if self.phase == Phase::Closed {
            Responded::Orphaned(Bytes::copy_from_slice(&response))
        } else {
            self.out.extend_from_slice(&response);
            Responded::Sent
        };
        self.server.settle(handle, Answered { status, response: response.into(), at: now });
        responded
    }

    /// Writes a final answer and remembers it.
    #[expect(clippy::too_many_arguments, reason = "the parts of one response")]
    pub(super) fn answer(
        &mut self,
        key: Option<Key>,
        head: &ResponseHead,
        tag: CompactString,
        kind: Kind,
        status: u16,
        reason: &str,
        extra: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
        now: Instant,
    ) -> Responded {
        let begins = self.out.len();
        if kind != Kind::Silent {
            head.write(&mut self.out, status, reason, extra, body);
        }
        if let Some(key) = key {
            // Nearly every answer is a bare 200: status and tag bring it back, without a copy.
            let plain = extra.is_empty() && body.is_none() && reason == StatusCode(status).phrase();
            let response = match plain {
                true => None,
                false => self.out.get(begins..).map(Box::from),
            };
            self.server.remember(key, status, tag, response, now);
        }
        match kind {
            Kind::Silent => Responded::Silent,
            Kind::Invite | Kind::NonInvite => Responded::Sent,
        }
    }
}

pub(super) fn write_trying(out: &mut Vec<u8>, head: &ResponseHead) {
    head.write(out, 100, StatusCode(100).phrase(), &[], None);
}
