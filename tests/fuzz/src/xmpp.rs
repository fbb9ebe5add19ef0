//! XMPP: reading a stream, and everything that is done with one element.

#[path = "../../../xmpp/tests/common/oracle.rs"]
mod oracle;

#[path = "../../../xmpp/tests/common/borrowed.rs"]
mod borrowed;

use nuncio_xmpp::{
    Condition, Element, ErrorType, Jid, ReadError, ReadLimits, StanzaError, StreamError, StreamItem,
    StreamReader, addresses, check_iq, classify, escape, ns, write_error_reply,
};

/// Small ones, so that they are met.
const LIMITS: ReadLimits = ReadLimits {
    stanza: 512,
    tag: 256,
    depth: 6,
    elements: 12,
    attributes: 8,
    name: 24,
    namespace: 48,
    declarations: 8,
};

/// However a stream is cut into reads, the same items and the same error come out of it.
///
/// The first byte of the input is the size of the reads.
pub fn frame(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = read(stream, stream.len().max(1));
    let pieces = read(stream, usize::from(size).max(1));
    assert_eq!(whole, pieces, "reads of {size} bytes");
    for item in &whole.0 {
        match item {
            StreamItem::Element(element) => touch(element),
            StreamItem::Header(header) => {
                let _ = (header.check(), header.has_features());
            }
            StreamItem::Close => {}
        }
    }
}

fn read(stream: &[u8], size: usize) -> (Vec<StreamItem>, Option<ReadError>) {
    let mut reader = StreamReader::new(LIMITS);
    let mut items = Vec::new();
    for chunk in stream.chunks(size) {
        reader.push(chunk);
        loop {
            match reader.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => {
                    let _ = (error.stream_condition(), error.to_string());
                    return (items, Some(error));
                }
            }
        }
        assert!(reader.buffered() < LIMITS.stanza, "what waits is bounded");
    }
    (items, None)
}

/// One document: as a tree and as a document to be dropped it is the same, whatever the limits.
pub fn document(data: &[u8]) {
    borrowed::assert_same(data, &ReadLimits::default());
    borrowed::assert_same(data, &LIMITS);
}

/// One document: the oracle is of one mind with us, and what is written is what was read. Also text where addresses are
/// expected.
pub fn stanza(data: &[u8]) {
    document(data);
    let ours = Element::parse_document(data, &ReadLimits::default());
    if let Ok(element) = &ours {
        touch(element);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        address(text);
        escaped(text);
    }
    // XML declarations have known differences of their own, and long tokens are beyond the oracle.
    if data.len() > 4096 || oracle::has_declaration(data) {
        return;
    }
    match (ours, oracle::rxml(&oracle::without_known_differences(data))) {
        (Ok(ours), Ok(theirs)) => assert_eq!(oracle::ours(&ours), theirs),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(error)) => assert!(oracle::may_be_milder(data), "only rxml refuses: {error}"),
        (Err(error), Ok(_)) => assert!(oracle::may_be_stricter(error, data), "only we refuse: {error}"),
    }
}

fn touch(element: &Element) {
    let mut out = b"<p xmlns='jabber:server'>".to_vec();
    element.write(&mut out, ns::SERVER);
    out.extend_from_slice(b"</p>");
    // Writing declares more than the input may have needed to, hence more room.
    let room = ReadLimits {
        stanza: usize::MAX,
        tag: usize::MAX,
        depth: 64,
        attributes: 256,
        declarations: 4096,
        ..ReadLimits::default()
    };
    let again = Element::parse_document(&out, &room).unwrap();
    assert_eq!(again.elements().next(), Some(element));

    let _ = (
        classify(element),
        check_iq(element),
        StanzaError::from_element(element),
        StreamError::from_element(element),
    );
    if let Ok(addresses) = addresses(element) {
        address(addresses.from.as_str());
        address(addresses.to.as_str());
    }
    let mut out = Vec::new();
    if write_error_reply(&mut out, element, ErrorType::Cancel, Condition::ServiceUnavailable, None, None) {
        let reply = Element::parse_document(&out, &room).unwrap();
        assert_eq!((reply.attr("from"), reply.attr("to")), (element.attr("to"), element.attr("from")));
        assert_eq!((reply.attr("id"), reply.elements().count()), (element.attr("id"), 1));
    }
    element.elements().for_each(touch);
}

fn address(text: &str) {
    if let Ok(jid) = Jid::parse(text) {
        assert_eq!(Jid::parse(jid.as_str()), Ok(jid.clone()));
        assert!(!jid.as_str().chars().any(char::is_control));
        assert!(!jid.local().unwrap_or_default().contains(['"', '&', '\'', '/', ':', '<', '>', '@', ' ']));
    }
}

/// Whatever the text, it becomes one text node and one attribute value, differing only in what XML cannot hold.
fn escaped(text: &str) {
    let mut out = b"<a b='".to_vec();
    escape::attr(&mut out, text);
    out.extend_from_slice(b"'>");
    escape::text(&mut out, text);
    out.extend_from_slice(b"</a>");
    let room = ReadLimits { stanza: usize::MAX, tag: usize::MAX, ..ReadLimits::default() };
    let read = Element::parse_document(&out, &room).unwrap();
    let legal = |c: char| {
        if matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..) { c } else { '\u{fffd}' }
    };
    let expected: String = text.chars().map(legal).collect();
    assert_eq!((read.attr("b"), &*read.text()), (Some(expected.as_str()), expected.as_str()));
}
