//! What pager messages say, and in which form, through the whole gateway (IM and PD of docs/conformance.md), both ways.

use std::time::Duration;

use nuncio_translate::message::Formats;

use crate::house::{House, Plan};
use crate::messages::{BOB, from_bob};
use crate::text::Request;

#[test]
fn im_05_and_06_bodies_that_cannot_be_passed_on() {
    let mut house = House::new();
    let wire = house.front_end();
    let typed = |kind: &str, body: &[u8]| {
        Request::new("MESSAGE", BOB).with(format!("Content-Type: {kind}")).with_body(body)
    };
    for (request, status, header) in [
        (typed("application/foo", b"x"), 415, "Accept"),
        (typed("text/rtf", b"{\\rtf1 x}"), 415, "Accept"),
        (typed("text/html", b"<img src=x>"), 415, "Accept"),
        (typed("message/cpim", b"Require: x\r\n\r\n\r\nx"), 415, "Accept"),
        (typed("message/cpim", b"x"), 400, ""),
        (typed("text/plain;charset=koi8-r", b"x"), 415, "Accept"),
        (typed("text/plain", b"x").with("Content-Encoding: gzip"), 415, "Accept-Encoding"),
        (typed("text/plain", b"\xff\xfe"), 400, ""),
        (typed("text/plain;charset=us-ascii", b"\xc3\xbc"), 400, ""),
        (Request::new("MESSAGE", BOB).with_body("no type"), 400, ""),
    ] {
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        assert!(
            header.is_empty() || answer.header(header).is_some_and(|value| !value.is_empty()),
            "{answer}"
        );
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
    for (request, expected) in [
        (typed("text/plain;charset=iso-8859-1", b"f\xfcr"), "für"),
        (typed("TEXT/Plain", "für".as_bytes()), "für"),
        (typed("text/plain; charset=\"utf-8\"; format=flowed", "für".as_bytes()), "für"),
        (typed("text/plain;charset=utf-16le", b"f\0\xfc\0r\0"), "für"),
        (typed("text/plain; charset=UTF-8; msgr=WAAtAE0A", "für".as_bytes()), "für"),
        (typed("text/html", b"<b>f&uuml;r</b><br>dich"), "für\ndich"),
    ] {
        assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
        assert_eq!(house.stanzas("fabrikam.com")[0].body(), Some(expected));
    }
}

#[test]
fn im_04_html_crosses_as_text_and_keeps_its_form_only_where_that_is_wanted() {
    for xhtml_im in [false, true] {
        let mut house =
            House::planned(Plan { formats: Formats { xhtml_im, ..Formats::default() }, ..Plan::default() });
        let wire = house.front_end();
        let html = "<p onclick='x()'>Hi <b>Bob</b></p><script>x()</script>";
        let request = Request::new("MESSAGE", BOB).with("Content-Type: text/html").with_body(html);
        assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
        let stanza = house.stanzas("fabrikam.com").remove(0);
        assert_eq!(stanza.body(), Some("Hi Bob"));
        let kept = stanza.child("html").map(ToString::to_string);
        assert_eq!(kept.is_some(), xhtml_im, "{stanza}");
        if let Some(kept) = kept {
            assert!(kept.contains("<strong>Bob</strong>") && !kept.contains("x()"), "{kept}");
        }
    }
}

#[test]
fn pd_09_cpim_never_says_who_writes() {
    let mut house = House::new();
    let wire = house.front_end();
    let cpim = "From: Carol <im:carol@contoso.com>\r\nTo: <im:eve@fabrikam.com>\r\nSubject: Lunch\r\n\r\n\
                Content-Type: text/plain\r\n\r\nHi";
    let request = Request::new("MESSAGE", BOB).with("Content-Type: message/cpim").with_body(cpim);
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!(stanza.attribute("from"), Some("alice@contoso.com"));
    assert_eq!((stanza.attribute("to"), stanza.body()), (Some(BOB), Some("Hi")));
}

#[test]
fn im_12_types() {
    let mut house = House::new();
    for (kind, crosses) in [
        ("chat", true),
        ("normal", true),
        ("headline", true),
        ("what", true),
        ("groupchat", false),
        ("error", false),
    ] {
        house.partner_says("fabrikam.com", &from_bob(kind, &format!("type='{kind}'"), "<body>x</body>"));
        house.advance(Duration::from_secs(1));
        assert_eq!(house.requests().len(), usize::from(crosses), "{kind}");
        let answers = house.stanzas("fabrikam.com");
        assert_eq!(answers.len(), usize::from(kind == "groupchat"), "{kind}");
        assert!(answers.iter().all(|answer| answer.condition() == Some("service-unavailable")));
    }
    // SIP → XMPP: no type, which is normal.
    let wire = house.front_end();
    house.ask(wire, Request::message(BOB, "x").bytes());
    assert_eq!(house.stanzas("fabrikam.com")[0].attribute("type"), None);
}

#[test]
fn im_13_and_xi_15_what_says_nothing_sends_nothing() {
    let mut house = House::new();
    for children in [
        "",
        "<subject>only</subject>",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<body xmlns='urn:other'>foreign</body>",
        "<received xmlns='urn:xmpp:receipts' id='x'/>",
        "<body/>",
    ] {
        house.partner_says("fabrikam.com", &from_bob("x", "type='chat'", children));
        house.advance(Duration::from_secs(1));
        assert!(house.requests().is_empty() && house.stanzas("fabrikam.com").is_empty(), "{children}");
    }
    let rich = "<x xmlns='urn:unknown'><body>not this</body></x><body>this</body><body xml:lang='fr'>ceci</body>\
        <active xmlns='http://jabber.org/protocol/chatstates'/>";
    house.partner_says("fabrikam.com", &from_bob("y", "", rich));
    assert_eq!(house.requests()[0].body, "this");
    house.partner_says("fabrikam.com", &from_bob("z", "xml:lang='fr'", rich));
    let request = house.requests().remove(0);
    assert_eq!((request.body.as_str(), request.header("Content-Language")), ("this", Some("fr")));
}

#[test]
fn im_14_the_language_of_the_stream_is_that_of_its_stanzas() {
    let mut house = House::new();
    let stream = crate::partner::Stream::open(
        &house.gateway,
        house.served,
        "fabrikam.com",
        "contoso.com",
        Some("de"),
        house.now,
    );
    house.streams.push(stream);
    for (attributes, lang) in [("", "de"), ("xml:lang='pt-BR'", "pt-BR")] {
        house.partner_says("fabrikam.com", &from_bob("x", attributes, "<body>x</body>"));
        assert_eq!(house.requests()[0].header("Content-Language"), Some(lang));
    }
}

#[test]
fn im_15_the_first_of_several_languages() {
    let mut house = House::new();
    let wire = house.front_end();
    for (header, lang) in
        [("Content-Language: de-AT, en", Some("de-AT")), ("Content-Language: d\u{e9}", None)]
    {
        let answer = house.ask(wire, Request::message(BOB, "x").with(header).bytes());
        assert_eq!(answer.status(), Some(200));
        assert_eq!(house.stanzas("fabrikam.com")[0].attribute("xml:lang"), lang);
    }
}
