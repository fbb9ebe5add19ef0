//! What is not acceptable XML on a stream, and the condition each gets (S2S-22 to S2S-26, SEC-01 to SEC-05).

mod common;

use common::{PREFIX_FREE, PREFIXED, read, read_all, read_stanza};
use nuncio_xmpp::{Element, ReadErrorKind as K, ReadLimits, StreamCondition as C, StreamItem};

/// The twenty-one inputs that quick-xml on its own judges too mildly or that every reader has to refuse.
const BAD: &[(&str, &[u8], K, C)] = &[
    ("undeclared element prefix", b"<x:message/>", K::UnboundPrefix, C::NotWellFormed),
    ("duplicate attribute", b"<message a='1' a='2'/>", K::DuplicateAttribute, C::NotWellFormed),
    ("mismatched end", b"<message><body></message></body>", K::EndTag, C::NotWellFormed),
    ("unquoted attribute", b"<message a=1/>", K::Markup, C::NotWellFormed),
    ("bad UTF-8", b"<message><body>\xc3\x28</body></message>", K::Encoding, C::UnsupportedEncoding),
    ("rebinding xml", b"<message xmlns:xml='urn:x'/>", K::Declaration, C::NotWellFormed),
    ("comment", b"<message><!-- x --></message>", K::Comment, C::RestrictedXml),
    ("processing instruction", b"<message><?php x?></message>", K::ProcessingInstruction, C::RestrictedXml),
    ("DOCTYPE", b"<!DOCTYPE message [<!ENTITY a 'b'>]><message/>", K::Doctype, C::RestrictedXml),
    ("undeclared entity", b"<message>&nbsp;</message>", K::EntityReference, C::RestrictedXml),
    ("reference to NUL", b"<message>&#0;</message>", K::Character, C::NotWellFormed),
    ("raw control character", b"<message>\x01</message>", K::Character, C::NotWellFormed),
    ("U+FFFF", b"<message>\xef\xbf\xbf</message>", K::Character, C::NotWellFormed),
    ("undeclared attribute prefix", b"<message x:a='1'/>", K::UnboundPrefix, C::NotWellFormed),
    (
        "duplicate by expanded name",
        b"<message xmlns:x='urn:a' xmlns:y='urn:a' x:a='1' y:a='1'/>",
        K::DuplicateAttribute,
        C::NotWellFormed,
    ),
    ("end of CDATA in text", b"<message>]]></message>", K::CdataEnd, C::NotWellFormed),
    ("less-than in attribute", b"<message a='<'/>", K::Markup, C::NotWellFormed),
    ("bad name start", b"<-message/>", K::Name, C::NotWellFormed),
    ("undeclaring a prefix", b"<message xmlns:a=''/>", K::Declaration, C::NotWellFormed),
    (
        "encoding declared in mid-stream",
        b"<?xml version='1.0' encoding='ISO-8859-1'?>",
        K::ProcessingInstruction,
        C::RestrictedXml,
    ),
    ("no space between attributes", b"<message a='1'b='2'/>", K::Markup, C::NotWellFormed),
];

const MORE: &[(&str, &[u8], K)] = &[
    ("reference to a control character", b"<message>&#1;</message>", K::Character),
    ("reference to NUL in an attribute", b"<message a='&#0;'/>", K::Character),
    ("reference to a surrogate", b"<message>&#xD800;</message>", K::Character),
    ("reference beyond Unicode", b"<message>&#x110000;</message>", K::Character),
    ("reference beyond any integer", b"<message>&#99999999999999999999;</message>", K::Character),
    ("reference to U+FFFE", b"<message>&#xFFFE;</message>", K::Character),
    ("signed reference", b"<message>&#+65;</message>", K::Markup),
    ("upper-case hexadecimal mark", b"<message>&#X41;</message>", K::Markup),
    ("empty references", b"<message>&#;</message>", K::Markup),
    ("empty hexadecimal reference", b"<message>&#x;</message>", K::Markup),
    ("nameless reference", b"<message>&;</message>", K::Markup),
    ("bare ampersand", b"<message>a & b</message>", K::Markup),
    ("bare ampersand at the end", b"<message>a &</message>", K::Markup),
    ("bare ampersand in an attribute", b"<message a='a & b'/>", K::Markup),
    ("entity in an attribute", b"<message a='&nbsp;'/>", K::EntityReference),
    ("overlong slash", b"<message>\xc0\xaf</message>", K::Encoding),
    ("overlong NUL", b"<message>\xe0\x80\x80</message>", K::Encoding),
    ("raw surrogate", b"<message>\xed\xa0\x80</message>", K::Encoding),
    ("beyond U+10FFFF", b"<message>\xf4\x90\x80\x80</message>", K::Encoding),
    ("truncated sequence", b"<message>\xe2\x82</message>", K::Encoding),
    ("U+FFFE", b"<message a='\xef\xbf\xbe'/>", K::Character),
    ("NUL in a name", b"<mess\0age/>", K::Character),
    ("NUL in a value", b"<message a='\0'/>", K::Character),
    ("binding xmlns", b"<message xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>", K::Declaration),
    ("binding to the xmlns namespace", b"<message xmlns:a='http://www.w3.org/2000/xmlns/'/>", K::Declaration),
    (
        "binding to the xml namespace",
        b"<message xmlns:a='http://www.w3.org/XML/1998/namespace'/>",
        K::Declaration,
    ),
    ("xml namespace as default", b"<message xmlns='http://www.w3.org/XML/1998/namespace'/>", K::Declaration),
    ("default namespace twice", b"<message xmlns='a' xmlns='b'/>", K::DuplicateAttribute),
    ("prefix declared twice", b"<message xmlns:a='a' xmlns:a='a'/>", K::DuplicateAttribute),
    ("xmlns as element prefix", b"<xmlns:message/>", K::UnboundPrefix),
    ("two colons", b"<a:b:c/>", K::Name),
    ("leading colon", b"<:a/>", K::Name),
    ("trailing colon", b"<a:/>", K::Name),
    ("colon in a declared prefix", b"<message xmlns:a:b='urn:x'/>", K::Name),
    ("prefix out of scope", b"<message><a xmlns:x='urn:x'/><x:b/></message>", K::UnboundPrefix),
    ("attribute without value", b"<message a/>", K::Markup),
    ("attribute without name", b"<message ='1'/>", K::Name),
    ("slash in mid-tag", b"<message / a='1'/>", K::Markup),
    ("attribute in an end tag", b"<message></message a='1'>", K::EndTag),
    ("end tag of another case", b"<message></Message>", K::EndTag),
    ("space before the name of an end tag", b"<message></ message>", K::EndTag),
    ("slash in an end tag", b"<message></message/>", K::EndTag),
    ("other prefix for the same namespace", b"<x:a xmlns:x='urn:x' xmlns:y='urn:x'></y:a>", K::EndTag),
    ("lower-case CDATA", b"<message><![cdata[x]]></message>", K::Markup),
    ("CDATA between stanzas", b"<![CDATA[x]]>", K::StrayContent),
    ("conditional section", b"<message><![INCLUDE[x]]></message>", K::Markup),
    ("comment between stanzas", b"<!-- x -->", K::Comment),
    ("instruction between stanzas", b"<?x?>", K::ProcessingInstruction),
    ("declaration in mid-stream", b"<?xml version='1.0'?>", K::ProcessingInstruction),
    ("text between stanzas", b"x", K::StrayContent),
    ("reference between stanzas", b"&#32;", K::StrayContent),
    ("signature between stanzas", b"\xef\xbb\xbf<message/>", K::StrayContent),
    ("no-break space between stanzas", b"\xc2\xa0<message/>", K::StrayContent),
    ("end tag of another root", b"</stream>", K::EndTag),
    ("end of the wrong element", b"</message>", K::EndTag),
];

#[test]
fn s2s_23_s2s_24_s2s_25_each_bad_input_gets_its_condition() {
    assert_eq!(BAD.len(), 21);
    for (what, input, kind, condition) in BAD {
        let error = read_stanza(input).expect_err(what);
        assert_eq!(error.kind, *kind, "{what}");
        assert_eq!(error.stream_condition(), *condition, "{what}");
    }
}

#[test]
fn s2s_24_sec_05_more_that_is_not_well_formed() {
    for (what, input, kind) in MORE {
        assert_eq!(read_stanza(input).expect_err(what).kind, *kind, "{what}");
    }
}

#[test]
fn sec_01_documents_go_through_the_same_strict_path() {
    let limits = ReadLimits::default();
    for (what, input, kind, _) in BAD {
        // In a document these two stand where they are legal XML, and are refused for what they are.
        if matches!(*what, "encoding declared in mid-stream") {
            let error = Element::parse_document(input, &limits).expect_err(what);
            assert_eq!(error.kind, K::Encoding);
            continue;
        }
        assert_eq!(Element::parse_document(input, &limits).expect_err(what).kind, *kind, "{what}");
    }
    for (what, input, kind) in [
        ("nothing", "", K::Incomplete),
        ("white space", " \n", K::Incomplete),
        ("unfinished", "<a><b/>", K::Incomplete),
        ("unfinished declaration", "<?xml version='1.0'", K::Incomplete),
        ("two roots", "<a/><b/>", K::Markup),
        ("text behind", "<a/>x", K::Markup),
        ("comment behind", "<a/><!--x-->", K::Comment),
        ("text before", "x<a/>", K::Markup),
        ("end tag", "</a>", K::EndTag),
        ("instruction before", "<?xml-stylesheet href='x'?><a/>", K::ProcessingInstruction),
        ("declaration behind white space", " <?xml version='1.0'?><a/>", K::ProcessingInstruction),
    ] {
        assert_eq!(Element::parse_document(input.as_bytes(), &limits).expect_err(what).kind, kind, "{what}");
    }
    let lol = "<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;'>]><lolz>&b;</lolz>";
    assert_eq!(Element::parse_document(lol.as_bytes(), &limits).expect_err("laughs").kind, K::Doctype);
}

#[test]
fn documents_with_declaration_and_signature_are_read() {
    for document in [
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:a@b'><x/></presence>",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:a@b'><x/></presence>\n",
        "\u{feff}<?xml version='1.0' encoding='UTF-8' standalone='yes'?><p:presence xmlns:p='urn:ietf:params:xml:ns:pidf' entity='pres:a@b'><p:x/></p:presence>",
    ] {
        let root = Element::parse_document(document.as_bytes(), &ReadLimits::default()).expect(document);
        assert!(root.is("presence", "urn:ietf:params:xml:ns:pidf"), "{document}");
        assert_eq!(root.attr("entity"), Some("pres:a@b"));
        assert!(root.child("x", "urn:ietf:params:xml:ns:pidf").is_some());
    }
}

#[test]
fn pd_01_what_is_said_from_outside_counts_for_more_than_the_declaration() {
    let document = "<?xml version='1.0' encoding='ISO-8859-1'?><a>ü</a>".as_bytes();
    let limits = ReadLimits::default();
    let declared = Element::parse_document(document, &limits).map_err(|error| error.kind);
    assert_eq!(declared, Err(K::Encoding));
    assert_eq!(
        Element::parse_utf8_document(document, &limits).map(|a| a.text().into_owned()),
        Ok("ü".into())
    );
    let latin =
        Element::parse_utf8_document(b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xfc</a>", &limits);
    assert_eq!(latin.map_err(|error| error.kind), Err(K::Encoding));
}

#[test]
fn s2s_25_s2s_26_the_start_of_a_stream_is_judged() {
    let rest = PREFIXED.strip_prefix("<?xml version='1.0'?>").unwrap();
    for declaration in [
        "",
        "\n ",
        "<?xml version='1.0'?>",
        "<?xml version='1.0' standalone='no'?>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<?xml version = '1.0' encoding = 'utf-8' standalone='no' ?>",
    ] {
        let (items, error) = read(format!("{declaration}{rest}").as_bytes());
        assert_eq!((items.len(), error), (1, None), "{declaration}");
    }
    for (declaration, kind, condition) in [
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", K::Encoding, C::UnsupportedEncoding),
        ("<?xml version='1.0' encoding='UTF-16'?>", K::Encoding, C::UnsupportedEncoding),
        ("<?xml version='2.0'?>", K::Markup, C::NotWellFormed),
        ("<?xml version='1.1'?>", K::Markup, C::NotWellFormed),
        ("<?xml encoding='UTF-8'?>", K::Markup, C::NotWellFormed),
        ("<?xml encoding='UTF-8' version='1.0'?>", K::Markup, C::NotWellFormed),
        ("<?xml version='1.0' version='1.0'?>", K::DuplicateAttribute, C::NotWellFormed),
        ("<?xml version='1.0' standalone='maybe'?>", K::Markup, C::NotWellFormed),
        ("<?xml version='1.0' other='x'?>", K::Markup, C::NotWellFormed),
        (" <?xml version='1.0'?>", K::ProcessingInstruction, C::RestrictedXml),
        ("<?xml-model href='x'?>", K::ProcessingInstruction, C::RestrictedXml),
        ("<?xml version='1.0'?><?xml version='1.0'?>", K::ProcessingInstruction, C::RestrictedXml),
        ("<!DOCTYPE stream>", K::Doctype, C::RestrictedXml),
        ("<!-- hello -->", K::Comment, C::RestrictedXml),
        ("GET / HTTP/1.1\r\n\r\n", K::Markup, C::NotWellFormed),
        ("\u{feff}", K::Markup, C::NotWellFormed),
        ("</stream:stream>", K::EndTag, C::NotWellFormed),
    ] {
        let (items, error) = read(format!("{declaration}{rest}").as_bytes());
        let error = error.expect(declaration);
        assert_eq!(
            (items.len(), error.kind, error.stream_condition()),
            (0, kind, condition),
            "{declaration}"
        );
    }
    let endless = format!("<?xml version='1.0'{}", " ".repeat(200));
    assert_eq!(read(endless.as_bytes()).1.expect("endless").kind, K::Markup);
    for utf16 in [&b"\xff\xfe<\0?\0"[..], b"\xfe\xff\0<\0?", b"<\0s\0", b"\0<\0s"] {
        assert_eq!(read(utf16).1.expect("UTF-16").stream_condition(), C::UnsupportedEncoding, "{utf16:?}");
    }
}

#[test]
fn s2s_25_zero_width_no_break_space_is_a_character_like_any_other() {
    let message =
        read_stanza("<message><body>\u{feff}a\u{feff}</body></message>".as_bytes()).expect("a message");
    assert_eq!(message.child("body", "jabber:server").expect("a body").text(), "\u{feff}a\u{feff}");
}

#[test]
fn sec_03_limits_before_authentication_are_smaller_and_settable() {
    let long = format!("<message><body>{}</body></message>", "x".repeat(20_000));
    let before = ReadLimits::BEFORE_AUTHENTICATION;
    let (items, error) = read_all(before, &[PREFIXED.as_bytes(), long.as_bytes()]);
    let error = error.expect("too big");
    assert_eq!((items.len(), error.kind), (1, K::StanzaTooBig));
    assert_eq!(error.stream_condition(), C::PolicyViolation);
    assert!(error.is_too_big());
    let mut reader = nuncio_xmpp::StreamReader::new(before);
    reader.push(PREFIXED.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Header(_)))));
    reader.set_limits(ReadLimits::AUTHENTICATED);
    reader.push(long.as_bytes());
    assert!(matches!(reader.next(), Ok(Some(StreamItem::Element(_)))));
}

#[test]
fn sec_04_every_limit_holds_at_the_limit_and_not_one_past_it() {
    let limits = ReadLimits {
        stanza: 4096,
        tag: 2048,
        depth: 4,
        elements: 6,
        attributes: 5,
        name: 10,
        namespace: 33,
        declarations: 5,
    };
    let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>";
    let judge = |stanza: &str| {
        let (items, error) = read_all(limits, &[header.as_bytes(), stanza.as_bytes()]);
        assert_eq!(items.len() == 2, error.is_none(), "{stanza}: {items:?}");
        error.map(|error| error.kind)
    };
    let sized = |size: usize| format!("<m>{}</m>", "x".repeat(size - 7));
    let tagged = |size: usize| format!("<m a='{}'/>", "x".repeat(size - 9));
    let named = |size: usize| format!("<{}/>", "n".repeat(size));
    let attribute_named = |size: usize| format!("<m {}='1'/>", "n".repeat(size));
    let in_namespace = |size: usize| format!("<m xmlns='{}'/>", "n".repeat(size));
    // The header holds two declarations already.
    let declaring =
        |count: usize| format!("<m {}/>", (0..count).map(|n| format!("xmlns:p{n}='u' ")).collect::<String>());
    let with_attributes =
        |count: usize| format!("<m {}/>", (0..count).map(|n| format!("a{n}='u' ")).collect::<String>());
    let deep = |depth: usize| format!("{}{}", "<m>".repeat(depth), "</m>".repeat(depth));
    let wide = |count: usize| format!("<m>{}</m>", "<m/>".repeat(count - 1));
    for (make, limit, kind) in [
        (&sized as &dyn Fn(usize) -> String, limits.stanza, K::StanzaTooBig),
        (&tagged, limits.tag, K::TagTooLong),
        (&named, limits.name, K::NameTooLong),
        (&attribute_named, limits.name, K::NameTooLong),
        (&in_namespace, limits.namespace, K::NameTooLong),
        (&declaring, limits.declarations - 2, K::TooManyDeclarations),
        (&with_attributes, limits.attributes, K::TooManyAttributes),
        (&deep, limits.depth, K::TooDeep),
        (&wide, limits.elements, K::TooManyElements),
    ] {
        assert_eq!(judge(&make(limit)), None, "at the limit for {kind:?}");
        assert_eq!(judge(&make(limit + 1)), Some(kind), "one past the limit for {kind:?}");
    }
}

#[test]
fn sec_02_sec_03_the_header_has_limits_too() {
    let limits = ReadLimits { tag: 300, ..ReadLimits::BEFORE_AUTHENTICATION };
    for endless in [format!("<stream:stream a='{}", "x".repeat(400)), format!("<{}", "s".repeat(400))] {
        assert_eq!(read_all(limits, &[endless.as_bytes()]).1.expect("endless").kind, K::TagTooLong);
    }
    assert_eq!(read_all(limits, &[PREFIX_FREE.as_bytes()]).0.len(), 1);
}
