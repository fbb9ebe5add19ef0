//! SIP: cutting a stream, everything that is done with one message, and session descriptions.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use nuncio_sip::sdp::{Description, MAX_MEDIA, MAX_SIZE, Offer, Origin};
use nuncio_sip::{
    CommaList, Frame, Framer, HeaderName, Limits, Message, NameAddr, ResponseHead, Uri, Via, check_request,
    check_response, escape,
};

/// Small ones, so that they are met.
const LIMITS: Limits = Limits { head: 2048, header: 512, header_count: 32, body: 512 };

/// However a stream is cut into reads, the same messages come out of it.
///
/// The first byte of the input is the size of the reads.
pub fn frame(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = cut(stream, stream.len().max(1));
    let pieces = cut(stream, usize::from(size).max(1));
    assert_eq!(whole, pieces, "reads of {size} bytes");
}

/// Messages of a stream read in chunks, and whether it ended with an error.
fn cut(stream: &[u8], size: usize) -> (Vec<Bytes>, bool) {
    let mut framer = Framer::new(LIMITS);
    let mut buf = BytesMut::new();
    let mut messages = Vec::new();
    for chunk in stream.chunks(size) {
        buf.extend_from_slice(chunk);
        loop {
            match framer.next(&mut buf) {
                Ok(Some(Frame::Message(message))) => {
                    touch(&message);
                    messages.push(message.raw().clone());
                }
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => {
                    assert!((400..600).contains(&error.status));
                    if let Some(head) = &error.head {
                        touch(head);
                    }
                    return (messages, true);
                }
            }
        }
        assert!(buf.len() <= LIMITS.head + LIMITS.body, "the buffer is bounded");
    }
    (messages, false)
}

/// One message, and pieces of text where URIs, addresses and Vias are expected.
pub fn message(data: &[u8]) {
    if let Ok(message) = Message::parse(Bytes::copy_from_slice(data)) {
        touch(&message);
        // Folds are gone after the first reading; the second one finds the same.
        let again = Message::parse(message.raw().clone()).unwrap();
        assert_eq!(again.raw(), message.raw());
        assert!(again.fields().eq(message.fields()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        pieces(text);
    }
}

fn pieces(text: &str) {
    if let Ok(uri) = Uri::parse(text) {
        assert_eq!(uri.as_str(), text);
        assert!(!text.contains(['\r', '\n', ' ', '<', '>', '"']));
        // What is a URI alone is the same URI in angle brackets.
        let framed = format!("<{text}>;tag=x");
        let address = NameAddr::parse(&framed).unwrap();
        assert_eq!((address.uri, address.tag()), (uri, Some("x")));
        assert_eq!(Uri::parse(&format!("{text} ")).ok().map(|u| u.user().is_some()), None);
    }
    if let Ok(address) = NameAddr::parse(text) {
        assert_eq!(NameAddr::parse(address.as_str()).unwrap(), address);
        let params: String = address.params.iter().map(|p| param(p)).collect();
        assert!(params.len() <= address.params.as_str().len());
    }
    if let Ok(via) = Via::parse(text) {
        assert_eq!(Via::parse(via.as_str()).unwrap(), via);
        assert!(via.is_sent_by(via.sent_by()));
    }
    assert!(CommaList::new(text).all(|element| element.len() <= text.len()));
    assert_eq!(escape::decode_param(&escape::encode_param(text)).ok().as_deref(), plain(text));
    assert_eq!(escape::decode_user(&escape::encode_user(text)).ok().as_deref(), plain(text));
}

fn plain(text: &str) -> Option<&str> {
    (!text.chars().any(char::is_control)).then_some(text)
}

fn param((name, value): (&str, Option<&str>)) -> String {
    value.map_or_else(|| format!(";{name}"), |value| format!(";{name}={value}"))
}

/// Reads everything there is to read, checks, answers, and reads the answer.
fn touch(m: &Message) {
    let _ = (m.uri(), m.from_header(), m.to_header(), m.cseq(), m.call_id(), m.max_forwards(), m.expires());
    let _ = (m.content_type(), m.event(), m.subscription_state(), m.retry_after(), m.date(), m.min_expires());
    let _ = (m.vias().count(), m.contacts().count(), m.routes().count(), m.record_routes().count());
    let _ = (
        m.content_language().count(),
        m.content_encoding().count(),
        m.accept().count(),
        m.warnings().count(),
    );
    let _ = (m.require().count(), m.supported().count(), m.allow().count(), m.asserted_identities().count());
    let _ = (m.method(), m.reason(), m.version(), m.status(), m.defect(), m.body());
    for (name, raw_name, value) in m.fields() {
        assert_eq!(HeaderName::from_bytes(raw_name), name);
        assert!(!value.contains(&b'\n') && !value.contains(&b'\r'));
        if let Ok(text) = std::str::from_utf8(value) {
            pieces(text);
        }
    }
    if !m.is_request() {
        let _ = check_response(m, "gw.example.com");
        return;
    }
    let checked = check_request(m);
    let source: SocketAddr = ([192, 0, 2, 9], 5061).into();
    let head = ResponseHead::from_request(m, "tag", source);
    if checked.is_ok() {
        assert!(m.uri().is_ok() && m.from_header().is_ok() && m.to_header().is_ok() && m.cseq().is_ok());
        assert!(head.is_ok(), "what passes can be answered");
    }
    let (Ok(head), Ok(via)) = (head, m.top_via()) else { return };
    let status = checked.err().map_or(200, |rejection| rejection.status);
    let mut out = Vec::new();
    head.write(&mut out, status, "", &[], None);
    let limits = Limits { head: usize::MAX, header: usize::MAX, ..Limits::default() };
    let answer = Message::parse_with(out.into(), &limits).unwrap();
    assert_eq!(answer.status().map(|s| s.0), Some(status));
    assert_eq!(answer.defect(), None);
    assert_eq!(answer.header_bytes(HeaderName::From), m.header_bytes(HeaderName::From));
    let top = answer.top_via().unwrap();
    assert_eq!((top.sent_by(), top.transport, top.branch()), (via.sent_by(), via.transport, via.branch()));
    assert_eq!(answer.vias().count(), m.vias().count());
}

/// Whatever is offered: the answer has the same media in the same order, all but one with port 0, and can be read.
pub fn sdp(data: &[u8]) {
    let Ok(offer) = Offer::parse(data) else { return };
    assert!(data.len() <= MAX_SIZE && offer.media().len() <= MAX_MEDIA);
    let origin = Origin { id: 1, version: 2, address: [192, 0, 2, 1].into() };
    let ours = Description { origin, accept_types: "text/plain" };
    let own = Uri::parse("sip:bob@fabrikam.com").unwrap();
    let Ok(answer) = ours.answer(&offer, &own) else {
        assert!(offer.messages().is_err());
        return;
    };
    let chosen = offer.messages().unwrap();
    // What was offered as "m=x" comes back as "m=x": it may be a little longer than the limit for what is read.
    if answer.len() <= MAX_SIZE {
        let answered = Offer::parse(answer.as_bytes()).unwrap();
        assert_eq!(answered.media().len(), offer.media().len());
        for (place, (ours, theirs)) in answered.media().iter().zip(offer.media()).enumerate() {
            assert_eq!((ours.kind, ours.protocol), (theirs.kind, theirs.protocol));
            assert_eq!(ours.port != 0, place == chosen);
        }
    }
}
