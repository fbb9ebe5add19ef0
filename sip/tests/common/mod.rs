//! Shared by the tests of the wire layer.

#![allow(dead_code, reason = "each test file uses its part")]

use bytes::BytesMut;
use nuncio_sip::{Frame, FrameError, Framer, HeaderName, Limits, Message};

/// What one frame looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Message(Vec<u8>),
    Ping,
    Pong,
    Error(u16),
}

/// Feeds `chunks` one after the other and collects everything that comes out.
pub(crate) fn frames_of<'a>(limits: Limits, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let mut framer = Framer::new(limits);
    let mut buf = BytesMut::new();
    let mut seen = Vec::new();
    for chunk in chunks {
        buf.extend_from_slice(chunk);
        loop {
            match framer.next(&mut buf) {
                Ok(Some(Frame::Message(message))) => seen.push(Seen::Message(message.raw().to_vec())),
                Ok(Some(Frame::Ping)) => seen.push(Seen::Ping),
                Ok(Some(Frame::Pong)) => seen.push(Seen::Pong),
                Ok(None) => break,
                Err(error) => seen.push(Seen::Error(error.status)),
            }
        }
    }
    (seen, framer.mid_message())
}

/// A ping in two pieces is a pong and a ping; everything else comes out alike however it is cut.
pub(crate) fn without_keep_alive(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|s| !matches!(s, Seen::Ping | Seen::Pong)).collect()
}

/// The messages of a stream, and the error it ends with.
pub(crate) fn messages(bytes: &[u8]) -> (Vec<Message>, Option<FrameError>) {
    let mut framer = Framer::new(Limits::default());
    let mut buf = BytesMut::from(bytes);
    let mut out = Vec::new();
    loop {
        match framer.next(&mut buf) {
            Ok(Some(Frame::Message(message))) => out.push(message),
            Ok(Some(_)) => {}
            Ok(None) => return (out, None),
            Err(error) => return (out, Some(error)),
        }
    }
}

/// The one message in `text`, whose lines end with LF for legibility. Content-Length is added.
pub(crate) fn message(text: &str) -> Message {
    try_message(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

pub(crate) fn try_message(text: &str) -> Result<Message, nuncio_sip::ParseError> {
    Message::parse(wire(text).into())
}

/// LF → CRLF in the head, Content-Length added unless it is there.
pub(crate) fn wire(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| (text.trim_end_matches('\n'), ""));
    let mut out = head.replace('\n', "\r\n");
    let is_length = |line: &str| {
        line.split_once(':')
            .is_some_and(|(name, _)| HeaderName::from(name.trim()) == HeaderName::ContentLength)
    };
    if !head.lines().skip(1).any(is_length) {
        out.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    out.push_str("\r\n\r\n");
    out.push_str(body);
    out.into_bytes()
}

/// A MESSAGE as a Lync front end sends it: no branch, GRUU, signed routes, repeated Supported.
pub(crate) const LYNC_MESSAGE: &str = "\
MESSAGE sip:romeo@example.net;opaque=user:epid:Xk3-QwErTyUiOpAsDfGh;gruu SIP/2.0
Record-Route: <sip:fe1.contoso.com:5061;transport=tls;ms-fe=fe1.contoso.com;opaque=state:T:F:Ci.R3f4;lr;ms-route-sig=aa1b>;ms-rrsig=bbzQ;tag=9F8E
Content-Length: 7
Via: SIP/2.0/TLS 10.0.0.7:50123;ms-received-port=50123;ms-received-cid=2600
from: \"Jülia Öz\"<sip:julia@contoso.com>;tag=a1b2c3;epid=0123456789
To: <sip:romeo@example.net>;tag=55aa
Call-ID: 6f0e1a2b3c4d5e6f
CSEQ: 2 MESSAGE
Max-Forwards: 69
Contact: <sip:julia@contoso.com;opaque=user:epid:AbCdEf;gruu>
Supported: ms-dialog-route-set-update
Supported: timer
supported: histinfo, ms-safe-transfer
User-Agent: UCCAPI/15.0.4420.1017 OC/15.0.4420.1017 (Microsoft Lync)
Ms-Conversation-ID: Ac3f
ms-keep-alive: UAC;hop-hop=yes
Content-Type: text/plain; charset=UTF-8

ciao ab";
