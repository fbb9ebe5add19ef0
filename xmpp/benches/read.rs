//! What reading and writing one stanza costs. `cargo bench -p nuncio-xmpp`; the figures are for comparison between
//! revisions on one machine, nothing is asserted. An argument selects the measurements whose names hold it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nuncio_xmpp::{Element, Jid, ReadLimits, StartTag, StreamItem, StreamReader, addresses, ns};

const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' version='1.0'>";

const STANZA: &str = "<message xml:lang='en' to='juliet@example.com' from='romeo@example.net/orchard' type='chat' \
    id='b4c5e7a1-93b0-4c7f-8d55-0c9f63a2b7e1'><body>Wherefore art thou, Romeo? Deny thy father</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <thread>e0ffe42b28561960c6b12b944a092794b9683a38</thread></message>";

fn main() {
    println!("stanza of {} octets", STANZA.len());
    let burst = STANZA.repeat(100);
    measure("reader, header once, burst of 100", 100, || {
        let mut reader = StreamReader::new(ReadLimits::default());
        reader.push(HEADER);
        reader.push(burst.as_bytes());
        let mut count = 0;
        while let Ok(Some(item)) = reader.next() {
            count += usize::from(matches!(black_box(&item), StreamItem::Element(_)));
        }
        assert_eq!(count, 100);
    });
    let limits = ReadLimits::default();
    measure("one document", 1, || {
        black_box(Element::parse_document(black_box(STANZA.as_bytes()), &limits).is_ok());
    });
    let Ok(element) = Element::parse_document(
        STANZA.replacen("<message", "<message xmlns='jabber:server'", 1).as_bytes(),
        &limits,
    ) else {
        return;
    };
    let mut out = Vec::new();
    measure("Element::write", 1, || {
        out.clear();
        black_box(&element).write(&mut out, ns::SERVER);
    });
    measure("addresses", 1, || {
        black_box(addresses(black_box(&element)).is_ok());
    });
    measure("StartTag", 1, || {
        out.clear();
        StartTag::open(&mut out, "message")
            .attr("from", black_box("romeo@example.net/orchard"))
            .attr("to", black_box("juliet@example.com"))
            .attr("type", "chat")
            .attr("id", black_box("b4c5e7a1-93b0-4c7f-8d55-0c9f63a2b7e1"))
            .end();
        StartTag::text_element(&mut out, "body", black_box("Wherefore art thou, Romeo? Deny thy father"));
        StartTag::close(&mut out, "message");
    });
    measure("Jid::parse, ASCII", 1, || {
        black_box(Jid::parse(black_box("romeo@example.net/orchard")).is_ok());
    });
    measure("Jid::parse, Unicode", 1, || {
        black_box(Jid::parse(black_box("tschüss@bücher.example/Büro")).is_ok());
    });
}

/// Prints the best of several runs, per item: the one least disturbed.
fn measure(what: &str, items: u32, mut run: impl FnMut()) {
    if std::env::args().skip(1).any(|wanted| wanted != "--bench" && !what.contains(&wanted)) {
        return;
    }
    let mut best = Duration::MAX;
    for _ in 0..15 {
        let mut rounds = 0u32;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            (0..10).for_each(|_| run());
            rounds += 10;
        }
        best = best.min(start.elapsed() / rounds);
    }
    println!("{what:40} {:6} ns", best.as_nanos() / u128::from(items));
}
