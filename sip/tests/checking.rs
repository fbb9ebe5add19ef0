//! What is refused, with what, and what is not.

mod common;

use common::{LYNC_MESSAGE, message};
use nuncio_sip::{
    DropReason, HeaderError, HeaderName, Message, check_request, check_request_with, check_response,
};

fn request(change: &[(&str, &str)]) -> Message {
    let mut text = "INVITE sip:romeo@example.net SIP/2.0\nVia: SIP/2.0/TLS fe:5061;branch=z9hG4bK1\n\
        Max-Forwards: 70\nFrom: <sip:julia@contoso.com>;tag=a1\nTo: <sip:romeo@example.net>\nCall-ID: id\n\
        CSeq: 2 INVITE\nContact: <sip:julia@contoso.com>\n\n"
        .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    message(&text)
}

fn verdict(change: &[(&str, &str)]) -> Result<(), (u16, String)> {
    check_request(&request(change)).map_err(|r| (r.status, r.reason.into_owned()))
}

fn without(line: &str) -> Vec<(String, String)> {
    vec![(format!("\n{line}"), "\nX-Was".to_owned())]
}

#[test]
fn a_plain_request_passes() {
    assert_eq!(verdict(&[]), Ok(()));
    assert_eq!(check_request(&message(LYNC_MESSAGE)), Ok(()));
    assert_eq!(verdict(&[("INVITE", "FOO")]), Ok(()), "501 is for the layer that knows the methods");
}

#[test]
fn each_mandatory_field_is_missed() {
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let changes = without(name);
        let changes: Vec<_> = changes.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(verdict(&changes), Err((400, format!("Missing {name} Header Field"))));
    }
}

#[test]
fn each_field_that_matters_is_read() {
    let bad = |name: &str| Err((400, format!("Malformed {name} Header Field")));
    for (from, to, name) in [
        ("SIP/2.0/TLS fe", "SIP/2.0 TLS fe", "Via"),
        ("<sip:julia@contoso.com>;tag", "<sip:julia@contoso.com;tag", "From"),
        ("To: <sip:", "To: <", "To"),
        ("Call-ID: id", "Call-ID: i d", "Call-ID"),
        ("CSeq: 2 INVITE", "CSeq: INVITE", "CSeq"),
        ("CSeq: 2 INVITE", "CSeq: 99999999999 INVITE", "CSeq"),
        ("Max-Forwards: 70", "Max-Forwards: -1", "Max-Forwards"),
        ("Contact: <", "Contact: , <", "Contact"),
        ("Contact:", "Record-Route: <sip:x\nContact:", "Record-Route"),
        ("Contact:", "Expires: never\nContact:", "Expires"),
        ("Contact:", "Content-Type: text\nContact:", "Content-Type"),
        ("Contact:", "Event: a b\nContact:", "Event"),
        ("Contact:", "Subscription-State: ;\nContact:", "Subscription-State"),
    ] {
        assert_eq!(verdict(&[(from, to)]), bad(name), "{to}");
    }
    // Vias below the top one belong to others.
    assert_eq!(verdict(&[("Max-Forwards", "Via: ???\nMax-Forwards")]), Ok(()));
}

#[test]
fn versions() {
    assert_eq!(verdict(&[("SIP/2.0\nVia", "sip/2.0\nVia")]), Ok(()));
    for version in ["SIP/1.0", "SIP/2.1", "SIP/7.0", "SIP/"] {
        let change = format!("{version}\nVia");
        assert_eq!(
            verdict(&[("SIP/2.0\nVia", &change)]),
            Err((505, "Version Not Supported".into())),
            "{version}"
        );
    }
}

#[test]
fn sip_34_adr_09_schemes() {
    let with =
        |uri: &str| verdict(&[("INVITE sip:romeo@example.net", &format!("INVITE {uri}"))]).map_err(|e| e.0);
    assert_eq!(with("sips:romeo@example.net"), Ok(()), "DEC-17 is for the layer that knows where it leads");
    for uri in ["tel:+14255550100", "im:a@b", "pres:a@b", "xmpp:a@b", "http://a/", "urn:service:sos"] {
        assert_eq!(with(uri), Err(416), "{uri}");
    }
    for uri in ["romeo@example.net", "sip:", "<sip:a@b>", "sip:a@b?Route=%3Csip:x%3E", "tel:x", "sip:a@b@c"] {
        assert_eq!(with(uri), Err(400), "{uri}");
    }
}

#[test]
fn sip_25_extensions() {
    let m = request(&[("Contact:", "Require: a, B\nRequire: c\nProxy-Require: p\nContact:")]);
    let rejection = check_request(&m).unwrap_err();
    assert_eq!((rejection.status, &*rejection.reason), (420, "Bad Extension"));
    assert_eq!(rejection.headers.as_slice(), [(HeaderName::Unsupported, "a, B, c".to_owned())]);
    let rejection = check_request_with(&m, &["A", "c"]).unwrap_err();
    assert_eq!(rejection.headers.as_slice(), [(HeaderName::Unsupported, "B".to_owned())]);
    assert_eq!(check_request_with(&m, &["a", "b", "c"]), Ok(()));
    assert_eq!(verdict(&[("Contact:", "Require: \nContact:")]), Ok(()));
    assert_eq!(verdict(&[("Contact:", "Require: a b\nContact:")]).unwrap_err().0, 400, "never echoed");
    for method in ["ACK", "CANCEL"] {
        assert_eq!(verdict(&[("INVITE", method), ("Contact:", "Require: a\nContact:")]), Ok(()), "{method}");
    }
}

#[test]
fn sip_39_100rel_is_an_extension_like_others() {
    assert_eq!(verdict(&[("Contact:", "Require: 100rel\nContact:")]).unwrap_err().0, 420);
    assert_eq!(verdict(&[("Contact:", "Supported: 100rel\nContact:")]), Ok(()));
}

#[test]
fn the_method_of_cseq() {
    assert_eq!(verdict(&[("2 INVITE", "2 invite")]).unwrap_err().0, 400, "methods are case-sensitive");
    assert_eq!(verdict(&[("INVITE sip", "Invite sip")]), Ok(()), "an unknown method gets its 501");
}

const RESPONSE: &str = "SIP/2.0 200 OK\nVia: SIP/2.0/TLS gw.contoso.com:5061;branch=z9hG4bK1\n\
    From: <sip:a@b>;tag=1\nTo: <sip:c@d>;tag=2\nCall-ID: x\nCSeq: 1 MESSAGE\n\n";

fn response(from: &str, to: &str) -> Result<(), DropReason> {
    assert!(RESPONSE.contains(from), "{from}");
    check_response(&message(&RESPONSE.replace(from, to)), "gw.contoso.com:5061")
}

#[test]
fn responses() {
    assert_eq!(response("x", "x"), Ok(()));
    assert_eq!(response("gw.contoso.com", "GW.Contoso.COM"), Ok(()));
    assert_eq!(response("200 OK", "699"), Ok(()));
    assert_eq!(response("200 OK", "100 Trying"), Ok(()));
    for status in ["099", "700", "999", "20", "2000", "000"] {
        assert_eq!(response("200", status), Err(DropReason::Status), "{status}");
    }
    assert_eq!(response("SIP/2.0 200", "SIP/3.0 200"), Err(DropReason::Version));
    for foreign in ["gw.contoso.com", "gw.contoso.com:5060", "evil:5061", "192.0.2.1:5061"] {
        assert_eq!(response("gw.contoso.com:5061", foreign), Err(DropReason::ForeignVia), "SIP-09 {foreign}");
    }
    let two = [";branch=z9hG4bK1, SIP/2.0/TLS x", ";branch=z9hG4bK1\nv: SIP/2.0/TLS x", ";branch=z9hG4bK1,"];
    for vias in two {
        assert_eq!(response(";branch=z9hG4bK1", vias), Err(DropReason::SeveralVias), "SIP-45 {vias}");
    }
    let missing = |name| Err(DropReason::Header(HeaderError::Missing(name)));
    assert_eq!(response("Via", "X-Via"), missing(HeaderName::Via));
    assert_eq!(response("From", "X-From"), missing(HeaderName::From));
    assert_eq!(response("To", "X-To"), missing(HeaderName::To));
    assert_eq!(response("Call-ID", "X-Id"), missing(HeaderName::CallId));
    assert_eq!(response("CSeq", "X-CSeq"), missing(HeaderName::CSeq));
    let number = Err(DropReason::Header(HeaderError::Number(HeaderName::RetryAfter)));
    assert_eq!(response("CSeq", "Retry-After: 99999999999\nCSeq"), number);
    assert!(matches!(response("CSeq", "f: <sip:x@y>\nCSeq"), Err(DropReason::Defect(_))));
}

#[test]
fn a_response_with_a_skipped_body_still_counts() {
    use bytes::BytesMut;
    use nuncio_sip::{Frame, Framer, Limits};
    let bytes = common::wire(&format!("{RESPONSE}{}", "z".repeat(11)));
    let mut framer = Framer::new(Limits { body: 10, ..Limits::default() });
    let Ok(Some(Frame::Message(m))) = framer.next(&mut BytesMut::from(&bytes[..])) else {
        panic!("no message")
    };
    assert!(m.defect().is_some());
    assert_eq!(check_response(&m, "gw.contoso.com:5061"), Ok(()));
}
