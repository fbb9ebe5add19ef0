//! The machine on a virtual clock.

mod alias;
mod client;
mod ending;
mod invite_client;
mod invite_server;
mod keep_alive;
mod matching;
mod merging;
mod probe;
mod random;
mod repeats;
mod server;

use std::sync::Arc;

use bytes::BytesMut;

use super::*;
use crate::{Frame, Framer, HeaderName, Limits};

pub(super) const SENT_BY: &str = "nuncio.example:5061";

/// A connection, its clock, and what its driver would hold.
pub(super) struct Rig {
    pub(super) connection: Connection<u32>,
    pub(super) start: Instant,
    pub(super) now: Instant,
    tags: u32,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ConnectionConfig)) -> Self {
        let mut config = ConnectionConfig::new("192.0.2.7:40000".parse().unwrap(), SENT_BY, [7; 16]);
        config.merging = Some(Arc::new(merging::House::default()));
        change(&mut config);
        let now = Instant::now();
        Self { connection: Connection::new(config, now), start: now, now, tags: 0 }
    }

    /// Sets the clock to a time after the start, without firing anything.
    pub(super) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(millis);
        self
    }

    /// As [`Rig::at`], and fires what is due.
    pub(super) fn tick(&mut self, millis: u64) -> &mut Self {
        self.at(millis);
        self.connection.handle_timeout(self.now);
        self
    }

    pub(super) fn receive(&mut self, text: impl AsRef<str>) {
        let message = Message::parse(text.as_ref().to_owned().into()).unwrap();
        let tags = &mut self.tags;
        let tag = || {
            *tags += 1;
            format!("tag{tags}")
        };
        self.connection.receive(message, tag, self.now);
    }

    pub(super) fn poll(&mut self) -> Vec<Output<u32>> {
        std::iter::from_fn(|| self.connection.poll()).collect()
    }

    /// The only output, which is a request.
    pub(super) fn request(&mut self) -> (ServerTxn, Message) {
        match <[_; 1]>::try_from(self.poll()) {
            Ok([Output::Request { txn, message }]) => (txn, message),
            other => panic!("one request expected: {other:?}"),
        }
    }

    pub(super) fn respond(&mut self, txn: ServerTxn, status: u16) -> Responded {
        self.connection.respond(txn, status, "", &[], None, self.now)
    }

    pub(super) fn send(&mut self, branch: &str, envelope: u32) -> Result<(), SendRefused<u32>> {
        let bytes = outgoing(branch);
        self.connection.send_request(bytes.as_bytes(), branch, Method::Message, envelope, self.now)
    }

    pub(super) fn written(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.connection.transmit(&mut out);
        out
    }

    /// The messages written since the last call.
    pub(super) fn sent(&mut self) -> Vec<Message> {
        let mut buffer = BytesMut::from(&self.written()[..]);
        let mut framer = Framer::new(Limits::default());
        let mut messages = Vec::new();
        while let Some(frame) = framer.next(&mut buffer).unwrap() {
            match frame {
                Frame::Message(message) => messages.push(message),
                other => panic!("not a message: {other:?}"),
            }
        }
        assert!(buffer.is_empty(), "half a message was written");
        messages
    }

    pub(super) fn statuses(&mut self) -> Vec<u16> {
        self.sent().iter().map(|message| message.status().unwrap().0).collect()
    }

    pub(super) fn counters(&self) -> Counters {
        *self.connection.counters()
    }
}

/// A request of the peer.
#[derive(Clone, Copy)]
pub(super) struct Req<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) via: &'a str,
    pub(super) from_tag: &'a str,
    pub(super) to: &'a str,
    pub(super) call_id: &'a str,
    pub(super) cseq: u32,
    pub(super) extra: &'a str,
}

pub(super) const REQ: Req<'static> = Req {
    method: "MESSAGE",
    uri: "sip:juliet@example.com",
    via: "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK1",
    from_tag: "f1",
    to: "<sip:juliet@example.com>",
    call_id: "call-1",
    cseq: 1,
    extra: "",
};

impl Req<'_> {
    pub(super) fn text(&self) -> String {
        let Self { method, uri, via, from_tag, to, call_id, cseq, extra } = self;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
             From: <sip:romeo@contoso.example>;tag={from_tag}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{extra}Content-Length: 0\r\n\r\n"
        )
    }
}

/// A request of ours.
pub(super) fn outgoing(branch: &str) -> String {
    let via = format!("SIP/2.0/TLS {SENT_BY};branch={branch}");
    Req { via: &via, call_id: branch, ..REQ }.text()
}

/// A response to [`outgoing`].
pub(super) fn response(branch: &str, status: u16) -> String {
    response_to(&format!("SIP/2.0/TLS {SENT_BY};branch={branch}"), "MESSAGE", status)
}

pub(super) fn response_to(via: &str, method: &str, status: u16) -> String {
    format!(
        "SIP/2.0 {status} Whatever\r\nVia: {via}\r\nFrom: <sip:romeo@contoso.example>;tag=f1\r\n\
         To: <sip:juliet@example.com>;tag=t1\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

pub(super) fn to_tag(message: &Message) -> String {
    message.to_header().unwrap().tag().unwrap().to_owned()
}

pub(super) fn header(message: &Message, name: HeaderName) -> String {
    message.header(name).unwrap_or_default().to_owned()
}

/// Another transaction of the same peer.
pub(super) fn other(branch: &str, call_id: &str) -> String {
    let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch={branch}");
    Req { via: &via, call_id, ..REQ }.text()
}
