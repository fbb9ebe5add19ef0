//! Dialogs that INVITEs begin. Those of subscriptions are tested beside them.

use compact_str::{CompactString, format_compact};

use super::*;

const SIGNED: &str = "<sip:fe.example:5061;transport=tls;opaque=state:F;lr;ms-route-sig=x%2F-_>;tag=7";
const ORIGIN: Origin<'_> =
    Origin { sent_by: "gw.example:5061", contact_host: "gw.example:5061", headers: &[] };

struct Counted(u32);

impl Tokens for Counted {
    fn token(&mut self) -> CompactString {
        self.0 += 1;
        format_compact!("tok{}", self.0)
    }

    fn random(&mut self) -> u64 {
        0
    }
}

/// An INVITE of ours has left.
fn inviting() -> Dialog {
    let mut dialog = Dialog::outgoing("sip:romeo@im.example", "sip:juliet@sip.example").unwrap();
    dialog.begin(&mut Counted(0));
    write(&mut dialog, Method::Invite);
    dialog
}

fn write(dialog: &mut Dialog, method: Method<'_>) -> Message {
    let request = dialog.request(method, &ORIGIN, &mut Counted(9), &[], None).unwrap();
    Message::parse(request.bytes().clone()).unwrap()
}

fn ok(tag: &str, extra: &[&str]) -> Message {
    let mut text = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS gw.example:5061;branch=z9hG4bK\r\nFrom: <sip:romeo@im.example>;tag=tok2\r\n\
         To: <sip:juliet@sip.example>{tag}\r\nCall-ID: tok1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n"
    );
    extra.iter().for_each(|line| text.extend([line, "\r\n"]));
    text.push_str("\r\n");
    Message::parse(text.into()).unwrap()
}

const CONTACT: &str = "Contact: <sip:juliet@pc.example;gruu>";

fn confirmed(extra: &[&str]) -> Dialog {
    let mut dialog = inviting();
    dialog.confirm(&ok(";tag=fe1", &[&[CONTACT], extra].concat())).unwrap();
    dialog
}

#[test]
fn sip_30_the_route_set_of_a_2xx_is_reversed_and_byte_for_byte() {
    let rows =
        [format!("Record-Route: {SIGNED}, <sip:p2.example;lr>"), "Record-Route: <sip:p3.example;lr>".into()];
    let mut dialog = confirmed(&[&rows[0], &rows[1]]);
    let message = write(&mut dialog, Method::Message);
    let routes: Vec<_> = message.headers(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:p3.example;lr>", "<sip:p2.example;lr>", SIGNED]);
    assert_eq!(message.request_uri(), "sip:juliet@pc.example;gruu");
}

#[test]
fn sip_30_a_strict_router_of_a_2xx_gets_the_request_uri() {
    let mut dialog = confirmed(&["Record-Route: <sip:p2.example;lr>, <sip:strict.example>"]);
    let message = write(&mut dialog, Method::Message);
    assert_eq!(message.request_uri(), "sip:strict.example");
    let routes: Vec<_> = message.headers(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:p2.example;lr>", "<sip:juliet@pc.example;gruu>"]);
}

#[test]
fn sip_30_a_2xx_without_contact_or_tag_makes_no_dialog() {
    assert_eq!(inviting().confirm(&ok(";tag=fe1", &[])), Err(NoDialog::Contact));
    assert_eq!(inviting().confirm(&ok("", &[CONTACT])), Err(NoDialog::NoTag));
}

#[test]
fn an_ack_has_the_number_of_its_invite_and_uses_up_none() {
    let mut dialog = confirmed(&["Record-Route: <sip:p2.example;lr>"]);
    let ack = dialog.ack(1, &ORIGIN, &mut Counted(20), None).unwrap();
    let ack = Message::parse(ack.bytes().clone()).unwrap();
    assert_eq!(ack.header(HeaderName::CSeq), Some("1 ACK"));
    assert_eq!(ack.header(HeaderName::Route), Some("<sip:p2.example;lr>"));
    assert_eq!(ack.to_tag(), Some("fe1"));
    assert_eq!(write(&mut dialog, Method::Message).header(HeaderName::CSeq), Some("2 MESSAGE"));
}

#[test]
fn only_requests_that_refresh_the_target_carry_a_contact() {
    let mut dialog = confirmed(&[]);
    for (method, carries) in [
        (Method::Invite, true),
        (Method::Update, true),
        (Method::Message, false),
        (Method::Info, false),
        (Method::Bye, false),
    ] {
        assert_eq!(write(&mut dialog, method).header(HeaderName::Contact).is_some(), carries, "{method}");
    }
}

#[test]
fn a_fork_is_another_dialog_of_the_same_invite() {
    let mut first = confirmed(&[]);
    let mut second = first.fork(&ok(";tag=fe2", &["Contact: <sip:juliet@phone.example>"])).unwrap();
    let (one, two) = (write(&mut first, Method::Bye), write(&mut second, Method::Bye));
    assert_eq!((one.to_tag(), two.to_tag()), (Some("fe1"), Some("fe2")));
    assert_eq!(one.call_id(), two.call_id());
    assert_eq!(two.request_uri(), "sip:juliet@phone.example");
}

#[test]
fn a_request_uri_keeps_the_users_name_and_loses_headers_and_method() {
    for (contact, uri) in [
        ("sip:who?;method=x@pc.example;gruu", "sip:who?;method=x@pc.example;gruu"),
        ("sip:who?@pc.example;method=BYE;lr?Subject=x", "sip:who?@pc.example;lr"),
        ("sip:juliet@pc.example?Subject=x", "sip:juliet@pc.example"),
        ("sip:pc.example;METHOD=BYE;gruu?a=b", "sip:pc.example;gruu"),
    ] {
        let mut dialog = inviting();
        dialog.confirm(&ok(";tag=fe1", &[&format!("Contact: <{contact}>")])).unwrap();
        assert_eq!(write(&mut dialog, Method::Message).request_uri(), uri);
    }
}

#[test]
fn what_stands_behind_the_tag_of_the_other_side_goes_back_to_it() {
    let mut dialog = inviting();
    dialog.confirm(&ok(";epid=7b21e0c94d;tag=fe1;x=\"a;b\"", &[CONTACT])).unwrap();
    let to = "<sip:juliet@sip.example>;tag=fe1;epid=7b21e0c94d;x=\"a;b\"";
    assert_eq!(write(&mut dialog, Method::Message).header(HeaderName::To), Some(to));
    let mut again = Dialog::restore(dialog.record());
    assert_eq!(write(&mut again, Method::Message).header(HeaderName::To), Some(to));
    // It is no part of what a dialog is known by (RFC 3261 §12).
    assert_eq!(again.remote_tag(), "fe1");
    let theirs = |from: &str| {
        let text = format!(
            "INFO sip:romeo@gw.example SIP/2.0\r\nVia: SIP/2.0/TLS fe.example;branch=z9hG4bK1\r\nMax-Forwards: 9\r\n\
             From: <sip:juliet@sip.example>;{from}\r\nTo: <sip:romeo@im.example>;tag=tok2\r\nCall-ID: tok1\r\n\
             CSeq: 2 INFO\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    };
    assert!(again.owns(&theirs("tag=fe1")) && again.owns(&theirs("epid=other;tag=fe1")));
    assert!(!again.owns(&theirs("tag=fe2;epid=7b21e0c94d")));
}
