//! Bodies in every form: nothing lost, nothing doubled, and limits (IM-03…IM-06, PD-09).

use bytes::Bytes;
use nuncio_sip::Message;
use nuncio_translate::message::from_sip::{self, BodyRefusal, MessageRefusal};
use nuncio_translate::message::{Formats, MOST_LEVELS, MOST_PARTS};
use nuncio_xmpp::{Element, ReadLimits, ns};
use proptest::prelude::*;

fn translated(kind: &str, body: &[u8], formats: Formats) -> Result<Element, MessageRefusal> {
    let head = format!(
        "MESSAGE sip:j@f.example SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:r@c.example>;tag=1\r\nTo: <sip:j@f.example>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let message = Message::parse(Bytes::from([head.as_bytes(), body].concat())).unwrap();
    let ends = from_sip::ends(&message, |_| true).unwrap();
    let mut out = Vec::new();
    from_sip::write(&message, &ends, "ID", formats, None, &mut out)?;
    let text = String::from_utf8(out).unwrap().replacen("<message", "<message xmlns='jabber:server'", 1);
    Ok(Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap())
}

/// The text of the one body.
fn body(kind: &str, body: &[u8]) -> Result<String, MessageRefusal> {
    let stanza = translated(kind, body, Formats::default())?;
    assert_eq!(stanza.elements().filter(|child| child.is("body", ns::SERVER)).count(), 1);
    assert!(stanza.elements().all(|child| matches!(child.name(), "body" | "thread")));
    Ok(stanza.child("body", ns::SERVER).unwrap().text().into_owned())
}

fn refusal(kind: &str, content: &str) -> BodyRefusal {
    match body(kind, content.as_bytes()) {
        Err(MessageRefusal::Body(refusal)) => refusal,
        other => panic!("{kind}: {other:?}"),
    }
}

/// The same text in every form that loses nothing of it.
fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let lines = text.replace('\n', "\r\n");
    let quoted: String = lines.bytes().map(|byte| format!("={byte:02X}")).collect();
    let quoted = quoted.as_bytes().chunks(72).collect::<Vec<_>>().join(b"=\r\n".as_slice());
    let html = text.replace('&', "&amp;").replace('<', "&lt;");
    let part =
        |head: &str, content: &[u8]| [b"--b1\r\n", head.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat();
    let end = b"--b1--\r\n".as_slice();
    let plain = part("Content-Type: text/plain;charset=UTF-8", lines.as_bytes());
    let other = part("Content-Type: text/html", b"<b>something else</b>");
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        ("text/plain", text.into()),
        ("text/plain;charset=UTF-8;msgr=WAAtAE0A+/", lines.clone().into()),
        ("text/plain;charset=utf-16le", utf16),
        ("text/html", format!("<html><body><pre>{html}</pre></body></html>").into()),
        ("multipart/alternative;boundary=b1", [&other, &plain, end].concat()),
        ("multipart/alternative;boundary=b1", [&plain, &other, end].concat()),
        (
            "multipart/related;boundary=b1",
            [&part("Content-Transfer-Encoding: quoted-printable", &quoted), end].concat(),
        ),
        (
            "message/cpim",
            [b"From: <im:x@y>\r\n\r\nContent-Type: text/plain\r\n\r\n", lines.as_bytes()].concat(),
        ),
    ]
}

#[test]
fn im_03_a_hundred_kilobytes_arrive_whole_in_every_form() {
    let piece = "Zeile <&> \"x\"\nשלום עולם مرحبا 👩‍💻🏳️‍🌈 ü e\u{301}\n\n";
    let text = piece.repeat(100_000 / piece.len() + 1) + "end";
    assert!(text.len() > 100_000);
    for (kind, content) in forms(&text) {
        assert!(body(kind, &content).unwrap() == text, "{kind}");
    }
}

#[test]
fn im_03_long_html_arrives_whole_with_and_without_form() {
    let html = "<div>line &amp; <b>more</b></div>".repeat(5000);
    let text = ["line & more"; 5000].join("\n");
    for xhtml_im in [false, true] {
        let stanza =
            translated("text/html", html.as_bytes(), Formats { xhtml_im, ..Formats::default() }).unwrap();
        assert!(stanza.child("body", ns::SERVER).unwrap().text() == text);
        // Too long to be an ornament.
        assert!(stanza.elements().all(|child| child.name() != "html"));
    }
}

#[test]
fn im_04_the_form_stands_beside_the_text_if_it_is_wanted() {
    let content = b"--b\r\n\r\nHi you\r\n--b\r\nContent-Type: text/html\r\n\r\nHi <b>you</b>\r\n--b--";
    for xhtml_im in [false, true] {
        let stanza = translated(
            "multipart/alternative;boundary=b",
            content,
            Formats { xhtml_im, ..Formats::default() },
        )
        .unwrap();
        assert_eq!(stanza.child("body", ns::SERVER).unwrap().text(), "Hi you");
        assert_eq!(stanza.child("html", "http://jabber.org/protocol/xhtml-im").is_some(), xhtml_im);
    }
}

#[test]
fn an_empty_plain_part_does_not_hide_what_html_says() {
    let content = b"--b\r\n\r\n \r\n--b\r\nContent-Type: text/html\r\n\r\nHi <b>you</b>\r\n--b--";
    assert_eq!(body("multipart/alternative;boundary=b", content).unwrap(), "Hi you");
    let content = b"--b\r\n\r\n \r\n--b\r\nContent-Type: text/html\r\n\r\n<img src=x>\r\n--b--";
    assert_eq!(body("multipart/alternative;boundary=b", content).unwrap(), " ");
}

#[test]
fn a_file_is_not_taken_for_the_message() {
    let file = "--b\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nfile\r\n";
    let kind = "multipart/alternative;boundary=b";
    assert_eq!(body(kind, format!("{file}--b\r\n\r\nHi\r\n--b--").as_bytes()).unwrap(), "Hi");
    assert_eq!(refusal(kind, &format!("{file}--b--")), BodyRefusal::MediaType);
}

#[test]
fn parts_are_counted() {
    let with = |count: usize| {
        "--b\r\nContent-Type: text/rtf\r\n\r\nx\r\n".repeat(count - 1) + "--b\r\n\r\nHi\r\n--b--"
    };
    let kind = "multipart/alternative;boundary=b";
    assert_eq!(body(kind, with(MOST_PARTS).as_bytes()).unwrap(), "Hi");
    assert_eq!(refusal(kind, &with(MOST_PARTS + 1)), BodyRefusal::TooManyParts);
}

#[test]
fn what_is_refused_does_not_depend_on_whether_form_is_kept() {
    let kind = "multipart/alternative;boundary=b";
    let with = |count: usize| {
        let first = "--b\r\n\r\nHi\r\n";
        first.to_owned() + &"--b\r\nContent-Type: text/html\r\n\r\n<b>Hi</b>\r\n".repeat(count - 1) + "--b--"
    };
    let deep =
        format!("{}--b--", "--b\r\n\r\nHi\r\n--b\r\nContent-Type: multipart/alternative;boundary=b\r\n\r\n");
    for xhtml_im in [false, true] {
        let answer =
            |content: &str| translated(kind, content.as_bytes(), Formats { xhtml_im, ..Formats::default() });
        assert!(answer(&with(MOST_PARTS)).is_ok() && answer(&deep).is_ok());
        let refused = answer(&with(MOST_PARTS + 1)).unwrap_err();
        assert_eq!(refused, MessageRefusal::Body(BodyRefusal::TooManyParts), "{xhtml_im}");
    }
}

#[test]
fn levels_are_counted() {
    let with = |levels: usize| {
        let inner = |level: usize| {
            format!("--b{level}\r\nContent-Type: multipart/alternative;boundary=b{}\r\n\r\n", level + 1)
        };
        let starts: String = (1..levels).map(inner).collect();
        let ends: String = (1..levels).rev().map(|level| format!("\r\n--b{level}--")).collect();
        format!("{starts}--b{levels}\r\n\r\nHi\r\n--b{levels}--{ends}")
    };
    let kind = "multipart/alternative;boundary=b1";
    assert_eq!(body(kind, with(MOST_LEVELS).as_bytes()).unwrap(), "Hi");
    assert_eq!(refusal(kind, &with(MOST_LEVELS + 1)), BodyRefusal::TooManyParts);
}

#[test]
fn pd_09_cpim_is_the_outermost_or_nothing() {
    let cpim = "From: <im:x@y>\r\n\r\nContent-Type: text/plain\r\n\r\nHi";
    let inside = format!("A: b\r\n\r\nContent-Type: message/cpim\r\n\r\n{cpim}");
    assert_eq!(refusal("message/cpim", &inside), BodyRefusal::MediaType);
    let part = format!("--b\r\nContent-Type: message/cpim\r\n\r\n{cpim}\r\n--b--");
    assert_eq!(refusal("multipart/related;boundary=b", &part), BodyRefusal::MediaType);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn im_03_what_is_written_arrives_word_for_word_in_every_form(
        text in "[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\r\u{fffe}\u{ffff}]{0,300}",
    ) {
        // White space around it is all that HTML may lose.
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        prop_assume!(!text.is_empty());
        for (kind, content) in forms(text) {
            prop_assert_eq!(body(kind, &content).unwrap(), text, "{}", kind);
        }
    }
}
