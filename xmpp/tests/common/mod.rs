//! Shared by the tests of the reader.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod borrowed;
pub mod oracle;

use nuncio_xmpp::{Element, ReadError, ReadLimits, StreamHeader, StreamItem, StreamReader};

/// A header as ejabberd and Prosody send it: content namespace as default, streams by prefix.
pub const PREFIXED: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' from='example.net' \
    to='example.com' xml:lang='en' version='1.0'>";

/// The prefix-free style of RFC 6120 section 9.2.
pub const PREFIX_FREE: &str = "<stream xmlns='http://etherx.jabber.org/streams' from='example.com' id='hTiXkW+ih9k2SqdGkk/AZi0OJ/Q=' \
    to='example.net' version='1.0' xml:lang='en'>";

/// Everything up to the end of the input, or up to the first error.
pub fn read_all(limits: ReadLimits, chunks: &[&[u8]]) -> (Vec<StreamItem>, Option<ReadError>) {
    let mut reader = StreamReader::new(limits);
    let mut items = Vec::new();
    for chunk in chunks {
        reader.push(chunk);
        loop {
            match reader.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error), "an error stays");
                    return (items, Some(error));
                }
            }
        }
    }
    (items, None)
}

pub fn read(input: &[u8]) -> (Vec<StreamItem>, Option<ReadError>) {
    read_all(ReadLimits::default(), &[input])
}

/// What a stanza after the usual header becomes.
pub fn read_stanza(stanza: &[u8]) -> Result<Element, ReadError> {
    let (mut items, error) = read(&[PREFIXED.as_bytes(), stanza].concat());
    match (items.pop(), error) {
        (_, Some(error)) => Err(error),
        (Some(StreamItem::Element(element)), None) => Ok(element),
        (other, None) => panic!("no element in {:?}: {other:?}", String::from_utf8_lossy(stanza)),
    }
}

pub fn header(input: &str) -> StreamHeader {
    match read(input.as_bytes()) {
        (items, None) => match items.into_iter().next() {
            Some(StreamItem::Header(header)) => header,
            other => panic!("no header in {input}: {other:?}"),
        },
        (_, Some(error)) => panic!("{input}: {error}"),
    }
}
