//! Golden pairs: SIP beside XMPP, both directions.
//!
//! Each file of `golden/` holds one case: a line that says what it shows, options, then sections. Lines of SIP end with
//! CRLF, and the Content-Length of a request that comes in is added here. Lines of XMPP are joined. `⏎` stands for
//! a line feed in XML text, `{{hh}}` for a byte.

mod golden_case;

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use nuncio_sip::Message;
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::message::to_sip::{self, Languages, Reading, Request, SessionMessage};
use nuncio_translate::message::{Formats, encrypted, from_sip, insert_delay};
use nuncio_translate::typing::ChatState;
use nuncio_xmpp::{Element, Jid, ReadLimits};

use golden_case::{Case, for_each_case};

fn expected(case: &Case) -> (&str, &str) {
    assert_eq!(case.sections.len(), 2, "{}: two sections", case.name);
    (&case.sections[1].0, &case.sections[1].1)
}

/// Resolves `{{hh}}`.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, more)) = rest.split_once("{{") {
        out.extend_from_slice(plain.as_bytes());
        let (hex, after) = more.split_once("}}").unwrap();
        out.push(u8::from_str_radix(hex, 16).unwrap());
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn request(section: &str) -> Message {
    let (head, body) = section.split_once("\n\n").unwrap();
    let body = bytes(&body.replace('\n', "\r\n"));
    let mut raw = bytes(&head.replace('\n', "\r\n"));
    raw.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    raw.extend_from_slice(&body);
    Message::parse(Bytes::from(raw)).unwrap()
}

fn joined(section: &str) -> String {
    section.replace('\n', "").replace('⏎', "\n")
}

fn stanza(text: &str) -> Element {
    Element::parse_document(text.as_bytes(), &ReadLimits::default())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check_from_sip(case: &Case) {
    let request = request(case.section("sip"));
    let mut out = b"before".to_vec();
    let formats = Formats { xhtml_im: case.option("xhtml-im").is_some(), ..Formats::default() };
    // In a session, by its thread and perhaps the resource that the contact wrote from.
    let chat = case.option("thread").map(|thread| from_sip::Chat {
        thread: thread.into(),
        resource: case.option("resource").map(Into::into),
        state: case.option("active").map(|_| ChatState::Active),
    });
    let ends = from_sip::ends(&request, |domain| domain == "example.net").and_then(|ends| match &chat {
        Some(chat) => from_sip::ends_in_session(&request, ends.sender, ends.contact, chat),
        None => Ok(ends),
    });
    let outcome =
        ends.and_then(|ends| from_sip::write(&request, &ends, "ID", formats, chat.as_ref(), &mut out));
    match expected(case) {
        ("xmpp", expected) => {
            outcome.unwrap_or_else(|refusal| panic!("{}: {refusal}", case.name));
            let written = String::from_utf8(out.split_off("before".len())).unwrap();
            assert_eq!(written, joined(expected), "{}", case.name);
            // What we write, we can read.
            stanza(&written.replacen("<message ", "<message xmlns='jabber:server' ", 1));
            let mut delayed = written.into_bytes();
            assert!(insert_delay(&mut delayed, UNIX_EPOCH, "example.net"));
        }
        ("answer", expected) => {
            let refusal = outcome.expect_err(&case.name);
            let mut answer = format!("{} {}", refusal.status(), refusal.reason());
            if let Some((name, value)) = refusal.header() {
                answer.push_str(&format!("\n{name}: {value}"));
            }
            if let Some((code, text)) = refusal.warning() {
                answer.push_str(&format!("\nWarning: {code} edge.example.net \"{text}\""));
            }
            assert_eq!(answer, expected, "{}", case.name);
            assert_eq!(out, b"before", "{}: nothing is left behind", case.name);
        }
        (other, _) => panic!("{}: unknown section {other}", case.name),
    }
}

fn check_from_xmpp(case: &Case) {
    let stanza = stanza(&joined(case.section("xmpp")));
    let (kind, expected) = expected(case);
    let from = match Jid::parse(stanza.attr("from").unwrap()) {
        Ok(from) => from,
        Err(error) => {
            assert_eq!(
                (kind, error.to_string().replace(" of the address", "")),
                ("refused", expected.into())
            );
            return;
        }
    };
    let sender = Contact::from_jid(&from.bare()).unwrap();
    let recipient = SipUser::from_jid(&Jid::parse(stanza.attr("to").unwrap()).unwrap().bare()).unwrap();
    let request = Request {
        sender: &sender,
        resource: from.resource(),
        recipient: &recipient,
        sent_by: "x2s.example.com",
        branch: "z9hG4bKbranch",
        tag: "TAG",
        call_token: "TOKEN",
        extra: &[],
        cap: None,
    };
    let formats =
        Formats { refuse_encrypted: case.option("refuse-encrypted").is_some(), ..Formats::default() };
    if let Some(failure) = encrypted::refusal(&stanza, formats) {
        let refused = format!("{} {}", failure.kind, failure.condition);
        assert_eq!((kind, expected), ("error", refused.as_str()), "{}", case.name);
        return;
    }
    let languages =
        Languages { recipient: case.option("recipient-language"), stream: case.option("stream-language") };
    match (kind, to_sip::read(&stanza, languages)) {
        ("sip", Reading::Instant(instant)) => {
            let mut out = b"before".to_vec();
            to_sip::write(&instant, &request, &mut out)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let written = out.split_off("before".len());
            let (head, body) = expected.split_once("\n\n").unwrap();
            let length = head.rsplit_once("Content-Length: ").unwrap().1.parse().unwrap();
            // The file's end cannot hold the last line end of a body; Content-Length tells whether there is one.
            let mut body = body.to_owned();
            while body.replace('\n', "\r\n").len() < length {
                body.push('\n');
            }
            let expected = format!("{head}\n\n{body}").replace('\n', "\r\n");
            assert_eq!(String::from_utf8(written.clone()).unwrap(), expected, "{}", case.name);
            let read = Message::parse(Bytes::from(written)).unwrap();
            nuncio_sip::check_request(&read).unwrap();
        }
        ("session", Reading::Instant(instant)) => {
            let said = SessionMessage::from(&instant);
            let (media, body) = said.body();
            let mut written = String::new();
            for (name, value) in said.fields() {
                written.push_str(&format!("{name}: {value}\n"));
            }
            let body = std::str::from_utf8(body).unwrap();
            assert!(!body.replace("\r\n", "").contains('\n'), "{}: bare line feeds", case.name);
            written.push_str(&format!("Content-Type: {media}\n\n{}", body.replace("\r\n", "\n")));
            assert_eq!(written, expected, "{}", case.name);
        }
        ("error", Reading::Refuse(failure)) => {
            assert_eq!(format!("{} {}", failure.kind, failure.condition), expected, "{}", case.name);
        }
        ("nothing", Reading::Nothing | Reading::Error(_)) => {}
        (kind, reading) => panic!("{}: {kind} expected, {reading:?} found", case.name),
    }
}

#[test]
fn golden_pairs() {
    let (from_sip, from_xmpp) = for_each_case("golden", check_from_sip, check_from_xmpp);
    assert!(from_sip >= 59 && from_xmpp >= 26, "{from_sip}, {from_xmpp}");
}
