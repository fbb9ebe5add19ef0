//! Nothing that one protocol carries as text becomes structure of the other (standards §8.3).

use bytes::Bytes;
use nuncio_sip::{HeaderName, Message};
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::message::to_sip::{self, Languages, PAGER_CAP, Reading, Request, RequestError};
use nuncio_translate::message::{Formats, from_sip};
use nuncio_translate::notice;
use nuncio_translate::pair::{Cause, Notice};
use nuncio_xmpp::{BareJid, Condition, Element, Jid, ReadLimits, ns};
use proptest::prelude::*;
use std::time::UNIX_EPOCH;

/// Text with everything that ends a line, a quote, a tag or a parameter somewhere, and words that would matter.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"(\r\n|\r|\n|\x00|\x85|\u{2028}|[<>"'&;:,@%\\= ]|Route: <sip:evil>|X: y|</body>|\]\]>|[a-zA-Z0-9]){0,24}"#,
        any::<String>(),
    ]
}

fn contact() -> Contact {
    Contact::from_jid(&BareJid::parse("juliet@fabrikam.com").unwrap()).unwrap()
}

fn user() -> SipUser {
    SipUser::from_jid(&BareJid::parse("romeo@contoso.com").unwrap()).unwrap()
}

fn request<'a>(sender: &'a Contact, resource: Option<&'a str>, recipient: &'a SipUser) -> Request<'a> {
    Request {
        sender,
        resource,
        recipient,
        sent_by: "edge.contoso.com:5061",
        branch: "z9hG4bKn1x",
        tag: "n1tag",
        call_token: "n1token",
        extra: &[],
        cap: None,
    }
}

fn names(message: &Message) -> Vec<String> {
    message.fields().map(|(_, name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 1_000 } else { 30_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sec_30_and_sec_36_xmpp_text_never_makes_a_header_field(
        subject in hostile(), thread in hostile(), lang in hostile(), resource in hostile(), body in hostile(), kind in hostile(),
    ) {
        let stanza = Element::new("message", ns::SERVER).with_attr("type", &kind).with_lang(&lang)
            .with_child(Element::new("subject", ns::SERVER).with_text(&subject))
            .with_child(Element::new("body", ns::SERVER).with_text(&body))
            .with_child(Element::new("thread", ns::SERVER).with_text(&thread));
        let from = Jid::parse(&format!("juliet@fabrikam.com/{resource}"));
        let resource = from.as_ref().ok().and_then(Jid::resource);
        let (contact, user) = (contact(), user());
        let mut out = Vec::new();
        let Reading::Instant(instant) = to_sip::read(&stanza, Languages::default()) else { return Ok(()) };
        to_sip::write(&instant, &request(&contact, resource, &user), &mut out).unwrap();
        let message = Message::parse(Bytes::from(out)).unwrap();
        prop_assert!(nuncio_sip::check_request(&message).is_ok());
        let mut expected = vec!["Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq"];
        expected.extend(message.header(HeaderName::Subject).map(|_| "Subject"));
        expected.extend(message.header(HeaderName::ContentLanguage).map(|_| "Content-Language"));
        expected.extend(["Content-Type", "Content-Length"]);
        prop_assert_eq!(names(&message), expected);
        // SEC-31, SEC-36, IM-02.
        prop_assert_eq!(message.request_uri(), "sip:romeo@contoso.com");
        prop_assert_eq!(message.header(HeaderName::ContentType), Some("text/plain;charset=UTF-8"));
        let from = message.from_header().unwrap();
        prop_assert_eq!(from.tag(), Some("n1tag"));
        prop_assert_eq!(from.uri.params().iter().count(), usize::from(resource.is_some()));
        prop_assert!(message.call_id().unwrap().ends_with("n1token"));
        // IM-03: the text itself is untouched but for its line ends.
        let unified = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(unified(std::str::from_utf8(&message.body()).unwrap()), unified(&body));
    }

    #[test]
    fn sec_32_sip_text_never_makes_an_element(
        subject in r#"[ -~é\u{202e}]{0,40}"#, body in hostile(), call_id in r#"[a-zA-Z0-9<>"/:?{}\\\[\]()*+.%-]{1,20}"#, lang in r"[a-z-]{1,12}",
    ) {
        let raw = format!(
            "MESSAGE sip:juliet@fabrikam.com SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:romeo@contoso.com>;tag=1\r\nTo: <sip:juliet@fabrikam.com>\r\nCall-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\n\
             Subject: {subject}\r\nContent-Language: {lang}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        let message = Message::parse(Bytes::from(raw)).unwrap();
        let mut out = Vec::new();
        let ends = from_sip::ends(&message, |domain| domain == "contoso.com").unwrap();
        from_sip::write(&message, &ends, "n1.m1.1.x", Formats::default(), None, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap().replacen("<message ", "<message xmlns='jabber:server' ", 1);
        let stanza = Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap();
        let children: Vec<_> = stanza.elements().map(Element::name).collect();
        let with_subject: &[&str] = &["subject", "body", "thread"];
        prop_assert!(children == with_subject || children == ["body", "thread"], "{:?}", children);
        prop_assert_eq!(stanza.attrs().count(), 3 + usize::from(stanza.lang().is_some()));
        let legal = |c: char| matches!(c, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
        let carried: String = body.replace("\r\n", "\n").replace('\r', "\n").chars()
            .map(|c| if legal(c) { c } else { '\u{fffd}' }).collect();
        prop_assert_eq!(stanza.child("body", ns::SERVER).unwrap().text(), carried);
    }

    #[test]
    fn notices_are_one_line_whatever_reports(by in hostile()) {
        let notice = Notice::new(Cause::Error { condition: Condition::Forbidden, by: by.as_str().into() }, UNIX_EPOCH);
        let (contact, user) = (contact(), user());
        let mut out = Vec::new();
        to_sip::write(&notice::instant(&notice, &contact), &request(&contact, None, &user), &mut out).unwrap();
        let message = Message::parse(Bytes::from(out)).unwrap();
        let body = message.body();
        let text = std::str::from_utf8(&body).unwrap();
        prop_assert!(!text.chars().any(nuncio_translate::text::is_control));
        prop_assert!(text.starts_with("Your message to juliet@fabrikam.com of 1970-01-01 00:00:00 UTC was not delivered: "));
        prop_assert_eq!(message.header(HeaderName::ContentLanguage), Some("en"));
    }
}

#[test]
fn im_10_the_cap_counts_the_whole_request() {
    let (contact, user) = (contact(), user());
    let stanza = |length| {
        Element::new("message", ns::SERVER)
            .with_child(Element::new("body", ns::SERVER).with_text(&"x".repeat(length)))
    };
    let write = |length, cap| {
        let mut out = Vec::new();
        let request = Request { cap, ..request(&contact, None, &user) };
        let stanza = stanza(length);
        let Reading::Instant(instant) = to_sip::read(&stanza, Languages::default()) else {
            panic!("no message")
        };
        to_sip::write(&instant, &request, &mut out).map(|()| out.len())
    };
    let around = write(1000, None).unwrap() - 1000;
    let most = PAGER_CAP - around;
    assert_eq!(write(most, Some(PAGER_CAP)), Ok(PAGER_CAP));
    assert_eq!(write(most + 1, Some(PAGER_CAP)), Err(RequestError::TooLarge { cap: PAGER_CAP }));
    assert_eq!(write(most + 1, None), Ok(PAGER_CAP + 1));
    assert_eq!(RequestError::TooLarge { cap: PAGER_CAP }.failure().condition, Condition::PolicyViolation);
}

#[test]
fn im_03_every_character_crosses_both_ways() {
    let (contact, user) = (contact(), user());
    // Every character XML can hold, but CR, which is a line end there. Debug builds take some of those beyond the BMP.
    let step = if cfg!(debug_assertions) { 31 } else { 1 };
    let beyond = ('\u{10000}'..=char::MAX).step_by(step);
    let all: String = ('\u{20}'..='\u{fffd}').chain(['\t', '\n']).chain(beyond).collect();
    for piece in all.chars().collect::<Vec<_>>().chunks(20_000) {
        let text: String = piece.iter().collect();
        let stanza =
            Element::new("message", ns::SERVER).with_child(Element::new("body", ns::SERVER).with_text(&text));
        let mut sip = Vec::new();
        let Reading::Instant(instant) = to_sip::read(&stanza, Languages::default()) else {
            panic!("no message")
        };
        to_sip::write(&instant, &request(&contact, None, &user), &mut sip).unwrap();
        let message = Message::parse(Bytes::from(sip)).unwrap();
        let mut xml = Vec::new();
        // The way back: the two change places.
        let ends = from_sip::ends(&message, |domain| domain == "fabrikam.com").unwrap();
        from_sip::write(&message, &ends, "x", Formats::default(), None, &mut xml).unwrap();
        let xml = String::from_utf8(xml).unwrap().replacen("<message ", "<message xmlns='jabber:server' ", 1);
        let back = Element::parse_document(xml.as_bytes(), &ReadLimits::default()).unwrap();
        assert!(back.child("body", ns::SERVER).unwrap().text() == text);
    }
}
