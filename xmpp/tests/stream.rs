//! Streams as peers send them: headers in both styles, stanzas, restarts, closing — however the bytes arrive.

mod common;

use common::{PREFIX_FREE, PREFIXED, header, read, read_all};
use nuncio_xmpp::{Element, ReadLimits, StreamCondition as C, StreamItem, StreamReader, classify, ns};
use proptest::prelude::*;

const STANZAS: &str = "<message from='romeo@example.net/orchard' to=\"juliet@example.com\" id='a&gt;1' type='chat' xml:lang='en'>\
    <body>Art thou not Romeo, &amp; a <![CDATA[<Montague>]]>?</body><active xmlns='http://jabber.org/protocol/chatstates'/>\
    <x:thing xmlns:x='urn:example:x' x:a='1' a='2'/></message>\r\n \
    <presence from='romeo@example.net' to='juliet@example.com'/><db:result from='a' to='b'>key</db:result>\n</stream:stream >";

#[test]
fn s2s_11_both_styles_of_headers_give_the_same_stanzas() {
    let prefixed = format!("{PREFIXED}<message from='a@b' to='c@d'><body>x</body></message></stream:stream>");
    let free = format!(
        "{PREFIX_FREE}<message xmlns='jabber:server' from='a@b' to='c@d'><body>x</body></message></stream>"
    );
    let (a, none) = read(prefixed.as_bytes());
    assert_eq!((a.len(), none), (3, None));
    let (b, none) = read(free.as_bytes());
    assert_eq!((b.len(), none), (3, None));
    assert_eq!(a[1..], b[1..]);
    let StreamItem::Element(message) = &a[1] else { panic!("{a:?}") };
    assert!(classify(message).is_some());
    assert_eq!(message.child("body", ns::SERVER).map(|body| body.text().into_owned()).as_deref(), Some("x"));
}

#[test]
fn s2s_10_s2s_12_s2s_15_the_header_tells_what_it_is() {
    let ours = header(PREFIXED);
    assert_eq!(ours.check(), Ok(()));
    assert_eq!(ours.stream_prefix.as_deref(), Some("stream"));
    assert_eq!(ours.content_ns.as_ref().map(nuncio_xmpp::Namespace::as_str), Some(ns::SERVER));
    assert_eq!((ours.from.as_deref(), ours.to.as_deref()), (Some("example.net"), Some("example.com")));
    assert_eq!((ours.lang.as_deref(), ours.id.as_deref()), (Some("en"), None));
    assert!(ours.dialback_ns && ours.has_features());

    let free = header(PREFIX_FREE);
    assert_eq!(free.check(), Ok(()));
    assert_eq!((free.stream_prefix, free.content_ns, free.dialback_ns), (None, None, false));
    assert_eq!(free.id.as_deref(), Some("hTiXkW+ih9k2SqdGkk/AZi0OJ/Q="));

    let odd = header("<foobar:stream xmlns:foobar='http://etherx.jabber.org/streams' xmlns='jabber:server'>");
    assert_eq!((odd.check(), odd.stream_prefix.as_deref()), (Ok(()), Some("foobar")));
    assert_eq!((odd.version, odd.has_features()), (None, false));

    for (wrong, condition) in [
        (
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            C::InvalidNamespace,
        ),
        (
            "<stream:stream xmlns='jabber:server' xmlns:stream='http://wrong.namespace.example.org/'>",
            C::InvalidNamespace,
        ),
        ("<stream xmlns='jabber:server'>", C::InvalidNamespace),
        ("<stream>", C::InvalidNamespace),
        ("<stream:flow xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>", C::BadFormat),
    ] {
        assert_eq!(header(wrong).check(), Err(condition), "{wrong}");
    }
}

#[test]
fn s2s_15_versions_are_numbers() {
    for (text, version) in [
        ("1.0", Some((1, 0))),
        ("1.1", Some((1, 1))),
        ("11.0", Some((11, 0))),
        ("01.010", Some((1, 10))),
        ("0.9", Some((0, 9))),
        ("1", None),
        ("1.", None),
        (".0", None),
        ("+1.0", None),
        ("1.0.0", None),
        ("99999999999.0", None),
        ("", None),
    ] {
        let read = header(&format!("<stream xmlns='http://etherx.jabber.org/streams' version='{text}'>"));
        assert_eq!(read.version, version, "{text}");
    }
}

#[test]
fn bytes_may_arrive_in_any_portions() {
    let input = format!("{PREFIXED}{STANZAS}");
    let (expected, error) = read(input.as_bytes());
    assert_eq!((expected.len(), error), (5, None));
    assert_eq!(expected.last(), Some(&StreamItem::Close));
    for at in 0..=input.len() {
        let (one, two) = input.as_bytes().split_at(at);
        let (items, error) = read_all(ReadLimits::default(), &[one, two]);
        assert_eq!((&items, error), (&expected, None), "split at {at}");
    }
    let single: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
    assert_eq!(read_all(ReadLimits::default(), &single), (expected, None));
}

#[test]
fn what_was_read_is_what_was_meant() {
    let (items, _) = read(format!("{PREFIXED}{STANZAS}").as_bytes());
    let StreamItem::Element(message) = &items[1] else { panic!("{items:?}") };
    assert_eq!((message.name(), message.ns(), message.lang()), ("message", ns::SERVER, Some("en")));
    assert_eq!(message.attr("id"), Some("a>1"));
    assert_eq!(message.attr("lang"), None);
    let body = message.child("body", ns::SERVER).expect("a body");
    assert_eq!(body.text(), "Art thou not Romeo, & a <Montague>?");
    assert_eq!(body.children().len(), 1);
    let thing = message.child("thing", "urn:example:x").expect("a thing");
    assert_eq!((thing.attr("a"), thing.attr_ns("a", "urn:example:x")), (Some("2"), Some("1")));
    assert!(message.child("active", ns::SERVER).is_none());
    let StreamItem::Element(result) = &items[3] else { panic!("{items:?}") };
    assert!(result.is("result", ns::DIALBACK));
}

#[test]
fn white_space_is_normalised_as_xml_says() {
    let (items, _) =
        read(format!("{PREFIXED}<message a='1\t2\r\n3\n4&#xA;5&#13;'>x\r\ny\rz&#13;\n</message>").as_bytes());
    let StreamItem::Element(message) = &items[1] else { panic!("{items:?}") };
    assert_eq!(message.attr("a"), Some("1 2 3 4\n5\r"));
    assert_eq!(message.text(), "x\ny\nz\r\n");
}

#[test]
fn s2s_18_sec_06_a_restart_forgets_what_came_before() {
    let mut reader = StreamReader::new(ReadLimits::default());
    reader.push(
        format!(
            "{PREFIXED}<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><message from='evil@example.org"
        )
        .as_bytes(),
    );
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Header(_)))));
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Element(_)))));
    assert_eq!(reader.next(), Ok(None));
    assert_eq!(reader.buffered(), "<message from='evil@example.org".len());
    assert_eq!(reader.reset(), "<message from='evil@example.org".len());
    // Neither the piece of a stanza nor the old header's declarations are there any more.
    reader.push(PREFIX_FREE.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Header(_)))));
    reader.push(b"<db:result>x</db:result>");
    assert!(reader.next().is_err());
    assert_eq!(reader.reset(), 0);
    reader.push(PREFIXED.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Header(_)))));
}

#[test]
fn nothing_comes_after_the_end() {
    let (items, error) = read(format!("{PREFIXED}</stream:stream>garbage<!-- -->").as_bytes());
    assert_eq!((items.len(), items.last(), error), (2, Some(&StreamItem::Close), None));
    let empty = PREFIX_FREE.replace('>', "/>");
    let (items, error) = read(empty.as_bytes());
    assert_eq!((items.len(), items.last(), error), (2, Some(&StreamItem::Close), None));
}

#[test]
fn white_space_keepalives_are_not_hoarded() {
    let mut reader = StreamReader::new(ReadLimits { stanza: 64, ..ReadLimits::default() });
    reader.push(b"<stream xmlns='http://etherx.jabber.org/streams'>");
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Header(_)))));
    for _ in 0..100 {
        reader.push(b" \r\n\t ");
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.buffered(), 0);
    }
}

#[test]
fn s2s_22_namespaces_of_the_header_are_declared_again_on_output() {
    let input = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:foo='urn:foo'>\
        <message><foo:bar foo:a='1'/></message>";
    let (items, _) = read(input.as_bytes());
    let StreamItem::Element(message) = &items[1] else { panic!("{items:?}") };
    let mut out = Vec::new();
    message.write(&mut out, ns::SERVER);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "<message><bar xmlns='urn:foo' xmlns:a0='urn:foo' a0:a='1'/></message>"
    );
}

/// Any tree, from a small vocabulary so that names meet.
fn tree() -> impl Strategy<Value = Element> {
    let name = prop::sample::select(&["message", "body", "x", "é", "a.b-c_d"][..]);
    let namespace = prop::sample::select(
        &["", ns::SERVER, ns::CHAT_STATES, "urn:example:'\"<&>", ns::CLIENT, ns::XML][..],
    );
    let text = prop_oneof![
        any::<String>().prop_map(|text| text.chars().filter(|c| is_char(*c)).collect::<String>()),
        "[ -~\t\r\n]{0,20}",
        "(\\]|>|<|&|'|\"){0,6}",
    ];
    let attributes =
        prop::collection::vec((prop::sample::select(&["a", "from", "to", "id"][..]), text.clone()), 0..4);
    let leaf = (name, namespace, attributes, prop::option::of("[a-z]{2}")).prop_map(
        |(name, namespace, attributes, lang)| {
            let element = attributes
                .iter()
                .fold(Element::new(name, namespace), |e, (name, value)| e.with_attr(name, value));
            lang.iter().fold(element, |element, lang| element.with_lang(lang))
        },
    );
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let child = prop_oneof![inner.clone().prop_map(Ok), text.clone().prop_map(Err)];
        (inner, prop::collection::vec(child, 0..5)).prop_map(|(element, children)| {
            children.into_iter().fold(element, |element, child| match child {
                Ok(child) => element.with_child(child),
                Err(text) => element.with_text(&text),
            })
        })
    })
}

fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

proptest! {
    #[test]
    fn sec_08_what_is_written_is_read_back(element in tree(), parent in prop::sample::select(&["", ns::SERVER][..])) {
        let mut out = Vec::new();
        // The place of writing: an element whose default namespace is the parent's.
        out.extend_from_slice(format!("<p xmlns='{parent}'>").as_bytes());
        element.write(&mut out, parent);
        out.extend_from_slice(b"</p>");
        let place = Element::parse_document(&out, &ReadLimits::default());
        let place = place.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
        prop_assert_eq!(place.elements().next(), Some(&element), "{}", String::from_utf8_lossy(&out));
        // And writing is canonical: what was read is written the same.
        let mut again = Vec::new();
        place.elements().next().unwrap().write(&mut again, parent);
        prop_assert_eq!(&out[out.len() - 4 - again.len()..out.len() - 4], &again[..]);
    }

    #[test]
    fn any_bytes_are_read_or_refused_alike_however_they_are_packed(
        // Pieces of markup in any order go deeper than random bytes.
        pieces in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(vec![
                "<a>", "</a>", "<a/>", "<b x='1'>", "</b>", "<![CDATA[", "]]>", "<!--", "-->", "<?x?>", "&amp;", "&#0;", "&x;",
                "<x:a xmlns:x='u'/>", "x:", "'", "\"", ">", "<", "/", " ", "text", "=", "é", "\u{ffff}", "</stream:stream>", "xmlns=''",
            ]).prop_map(|s| s.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 1..3),
        ], 0..12),
        chunk in 1usize..7,
    ) {
        let limits = ReadLimits { stanza: 60, tag: 30, depth: 3, elements: 5, ..ReadLimits::default() };
        let head = b"<stream:stream xmlns:stream='u'>";
        let input = [head.as_slice(), &pieces.concat()].concat();
        let whole = read_all(limits, &[&input]);
        let chunks: Vec<&[u8]> = input.chunks(chunk).collect();
        prop_assert_eq!(read_all(limits, &chunks), whole);
    }
}
