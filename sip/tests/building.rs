//! Builders: what comes out is what was meant, and nothing given to them can become anything else (SEC-30,
//! SEC-31).

mod common;

use std::net::SocketAddr;

use common::{LYNC_MESSAGE, message, messages};
use nuncio_sip::{
    BuildError, CSeq, HeaderName, MAX_DISPLAY, MAX_TEXT, Message, Method, RequestBuilder, ResponseBuilder,
    ResponseHead, Uri, UriBuilder, check_request, check_response, display_name, header_text,
};
use proptest::prelude::*;

fn source() -> SocketAddr {
    "10.0.0.9:40000".parse().unwrap()
}

fn request<'o>(out: &'o mut Vec<u8>, uri: &Uri<'_>) -> RequestBuilder<'o> {
    RequestBuilder::new(out, Method::Message, uri)
        .via("TLS", "gw.contoso.com:5061", "z9hG4bKn1-7")
        .max_forwards(70)
        .from(Some("Romeo \"M\\\""), &Uri::parse("sip:romeo@example.net").unwrap(), "tag1")
        .to(None, uri, None)
        .call_id("id@gw")
        .cseq(CSeq { number: 1, method: Method::Message })
}

#[test]
fn a_request_as_it_goes_out() {
    let uri = Uri::parse("sip:julia@contoso.com;opaque=user:epid:X;gruu").unwrap();
    let mut out = b"before".to_vec();
    request(&mut out, &uri)
        .contact(&Uri::parse("sip:gw.contoso.com:5061;transport=tls").unwrap())
        .header("Subject", "hello")
        .token_header("Content-Language", "de")
        .finish(Some(("text/plain;charset=UTF-8", "höi".as_bytes())))
        .unwrap();
    let expected = "beforeMESSAGE sip:julia@contoso.com;opaque=user:epid:X;gruu SIP/2.0\r\n\
        Via: SIP/2.0/TLS gw.contoso.com:5061;branch=z9hG4bKn1-7\r\n\
        Max-Forwards: 70\r\n\
        From: \"Romeo \\\"M\\\\\\\"\" <sip:romeo@example.net>;tag=tag1\r\n\
        To: <sip:julia@contoso.com;opaque=user:epid:X;gruu>\r\n\
        Call-ID: id@gw\r\n\
        CSeq: 1 MESSAGE\r\n\
        Contact: <sip:gw.contoso.com:5061;transport=tls>\r\n\
        Subject: hello\r\n\
        Content-Language: de\r\n\
        Content-Type: text/plain;charset=UTF-8\r\n\
        Content-Length: 4\r\n\r\nhöi";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_cannot_be_written_fails_whole() {
    let uri = Uri::parse("sip:a@b").unwrap();
    let build = |change: &dyn Fn(RequestBuilder<'_>) -> Result<(), BuildError>| {
        let mut out = b"before".to_vec();
        let result = change(request(&mut out, &uri));
        assert!(out.starts_with(b"before"));
        assert_eq!(result.is_err(), out == b"before", "all or nothing");
        result
    };
    assert_eq!(build(&|b| b.finish(None)), Ok(()));
    for branch in ["", "a b", "a;b", "a\r\nRoute: <sip:evil>", "a,b"] {
        assert_eq!(build(&|b| b.via("TLS", "gw", branch).finish(None)), Err(BuildError::Via), "{branch}");
    }
    for sent_by in ["", "g w", "gw;x", "gw:0x", "::1", "gw, SIP/2.0/TLS evil"] {
        assert_eq!(build(&|b| b.via("TLS", sent_by, "z").finish(None)), Err(BuildError::Via), "{sent_by}");
    }
    assert_eq!(build(&|b| b.via("T LS", "gw", "z").finish(None)), Err(BuildError::Via));
    for tag in ["", "a b", "a;lr", "a\r\nX: y", "ä"] {
        assert_eq!(build(&|b| b.to(None, &uri, Some(tag)).finish(None)), Err(BuildError::Tag), "{tag}");
    }
    for id in ["", "a b", "a@", "@b", "a@b@c", "a\r\nX: y", "ä"] {
        assert_eq!(build(&|b| b.call_id(id).finish(None)), Err(BuildError::CallId), "{id}");
    }
    let bad = CSeq { number: 1, method: Method::Extension("A B") };
    assert_eq!(build(&|b| b.cseq(bad).finish(None)), Err(BuildError::Method));
    let mut out = Vec::new();
    let bad = RequestBuilder::new(&mut out, Method::Extension("A\r\nB"), &uri).finish(None);
    assert_eq!((bad, out.len()), (Err(BuildError::Method), 0));
}

#[test]
fn optional_things_that_cannot_be_written_are_left_out() {
    let uri = Uri::parse("sip:a@b").unwrap();
    let mut out = Vec::new();
    request(&mut out, &uri)
        .header("Bad Name", "x")
        .header("Bad\r\nName", "x")
        .header("", "x")
        .header("content-length", "999")
        .header("l", "999")
        .header("Via", "SIP/2.0/TLS evil")
        .header("f", "<sip:evil@x>")
        .token_header("Content-Language", "de\r\nX: y")
        .token_header("Content-Language", "")
        .finish(Some(("text/plain\r\nX: y", b"body")))
        .unwrap();
    let m = Message::parse(out.into()).unwrap();
    let names: Vec<_> = m.fields().map(|(name, _, _)| name).collect();
    use HeaderName as H;
    assert_eq!(names, [H::Via, H::MaxForwards, H::From, H::To, H::CallId, H::CSeq, H::ContentLength]);
    assert_eq!(&m.body()[..], b"body");
}

#[test]
fn sec_30_text_cannot_leave_its_line() {
    for (text, clean) in [
        ("plain", "plain"),
        ("a\r\nRoute: <sip:evil>", "a  Route: <sip:evil>"),
        ("a\nb\rc\0d\u{1b}[0m\u{7f}e\u{85}f\u{9f}g", "a b c d [0m e f g"),
        ("a\u{2028}b\u{2029}c", "a b c"),
        ("  \t both ends \r\n", "both ends"),
        ("\u{1}", ""),
    ] {
        assert_eq!(header_text(text), clean, "{text:?}");
    }
    assert_eq!(header_text(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT);
    assert_eq!(header_text(&"x".repeat(MAX_TEXT + 1)).len(), MAX_TEXT);
    assert_eq!(
        header_text(&format!("{}é", "x".repeat(MAX_TEXT - 1))).len(),
        MAX_TEXT - 1,
        "between characters"
    );
}

#[test]
fn sec_30_display_names_are_quoted() {
    assert_eq!(display_name("a\"b\\c"), "\"a\\\"b\\\\c\"");
    assert_eq!(display_name("a\r\nb"), "\"a  b\"");
    assert_eq!((display_name(""), display_name("\r\n")), (String::new(), String::new()));
    assert_eq!(display_name(&"\"".repeat(MAX_DISPLAY + 1)).len(), 2 + 2 * MAX_DISPLAY);
}

#[test]
fn sec_31_uris_come_from_the_encoder() {
    let user = |u: &str, h: &str| UriBuilder::user(u, h).map(UriBuilder::build);
    assert_eq!(user("a@b;c?d#e f", "h").unwrap(), "sip:a%40b;c?d%23e%20f@h");
    assert_eq!(user("f\u{fc}\r\n", "[::1]:5061").unwrap(), "sip:f%C3%BC%0D%0A@[::1]:5061");
    assert_eq!(user("", "h"), Err(BuildError::User));
    for host in ["", "a b", "a;lr", "a?x=y", "a@b", "a\r\n", "::1", "bücher.example", "a:", " a:1 "] {
        assert_eq!(user("u", host), Err(BuildError::Host), "{host:?}");
    }
    let uri = UriBuilder::user("u", "h").unwrap().param("gr", Some("x;transport=udp?a=b\r\n<>")).unwrap();
    assert_eq!(uri.build(), "sip:u@h;gr=x%3Btransport%3Dudp%3Fa%3Db%0D%0A%3C%3E");
    assert_eq!(
        UriBuilder::domain("h").unwrap().param("", None).map(UriBuilder::build),
        Err(BuildError::Param)
    );
}

fn head(request: &Message) -> String {
    let head = ResponseHead::from_request(request, "our-tag", source()).unwrap();
    String::from_utf8(head.as_bytes().to_vec()).unwrap()
}

#[test]
fn sip_23_responses_copy_what_they_must() {
    let m = message(
        "MESSAGE sip:a@b SIP/2.0\nTo: \"x\" <sip:a@b>\nVia: SIP/2.0/TLS h:5061;branch=z9hG4bK1;x=\"y, z\" , SIP/2.0/TLS i\n\
         Contact: <sip:c@d>\nv: SIP/2.0/TCP j;branch=2\nFrom: <sip:c@d>;tag=1;epid=2\nCSeq: 0007  MESSAGE\ni: id\n\n",
    );
    assert_eq!(
        head(&m),
        "Via: SIP/2.0/TLS h:5061;branch=z9hG4bK1;x=\"y, z\";received=10.0.0.9, SIP/2.0/TLS i\r\n\
         Via: SIP/2.0/TCP j;branch=2\r\n\
         From: <sip:c@d>;tag=1;epid=2\r\n\
         To: \"x\" <sip:a@b>;tag=our-tag\r\n\
         Call-ID: id\r\n\
         CSeq: 0007  MESSAGE\r\n"
    );
}

#[test]
fn sip_23_a_tag_that_is_there_stays() {
    assert!(head(&message(LYNC_MESSAGE)).contains("\r\nTo: <sip:romeo@example.net>;tag=55aa\r\n"));
    let m = message("OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/TLS h\nTo: sip:a@b\n\n");
    let head = |tag| ResponseHead::from_request(&m, tag, source()).unwrap();
    assert!(head("a\r\nX: y").as_bytes().ends_with(b"\r\nTo: sip:a@b\r\n"));
    assert!(head("t").as_bytes().ends_with(b"\r\nTo: sip:a@b;tag=t\r\n"));
}

#[test]
fn sip_08_received_and_rport() {
    let top = |via: &str, from: &str| {
        let m = message(&format!("OPTIONS sip:a@b SIP/2.0\nVia: {via}\n\n"));
        let head = ResponseHead::from_request(&m, "t", from.parse().unwrap()).unwrap();
        String::from_utf8(head.as_bytes().to_vec())
            .unwrap()
            .trim_end()
            .trim_start_matches("Via: SIP/2.0/TLS ")
            .to_owned()
    };
    for (via, from, expected) in [
        ("10.0.0.9;branch=1", "10.0.0.9:1", "10.0.0.9;branch=1"),
        ("10.0.0.9;branch=1", "[::ffff:10.0.0.9]:1", "10.0.0.9;branch=1"),
        ("10.0.0.8;branch=1", "10.0.0.9:1", "10.0.0.8;branch=1;received=10.0.0.9"),
        ("h", "10.0.0.9:1", "h;received=10.0.0.9"),
        ("h;received=10.0.0.9", "10.0.0.9:1", "h;received=10.0.0.9"),
        ("h;received=6.6.6.6;x", "10.0.0.9:1", "h;x;received=10.0.0.9"),
        ("h;rport;x", "10.0.0.9:40000", "h;rport=40000;x;received=10.0.0.9"),
        ("10.0.0.9;rport", "10.0.0.9:1", "10.0.0.9;rport=1"),
        ("10.0.0.9;rport=7", "10.0.0.9:1", "10.0.0.9;rport=7"),
        ("h", "[2001:db8::1]:1", "h;received=2001:db8::1"),
        ("[2001:db8::1]", "[2001:db8::1]:1", "[2001:db8::1]"),
        (
            "h;ms-received-port=1;ms-received-cid=2",
            "10.0.0.9:1",
            "h;ms-received-port=1;ms-received-cid=2;received=10.0.0.9",
        ),
    ] {
        assert_eq!(top(&format!("SIP/2.0/TLS {via}"), from), expected, "{via} from {from}");
    }
}

#[test]
fn bad_requests_can_be_answered_if_they_have_a_via() {
    let m =
        message("OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/TLS 10.0.0.9\nTo: \"open <sip:a@b>\nCSeq: what\n\n");
    assert_eq!(head(&m), "Via: SIP/2.0/TLS 10.0.0.9\r\nTo: \"open <sip:a@b>\r\nCSeq: what\r\n");
    for via in ["what", ";;,SIP/2.0/TLS h"] {
        let m = message(&format!("OPTIONS sip:a@b SIP/2.0\nVia: {via}\nv: SIP/2.0/TLS i\n\n"));
        assert_eq!(head(&m), format!("Via: {via}\r\nVia: SIP/2.0/TLS i\r\n"));
    }
    let m = message("OPTIONS sip:a@b SIP/2.0\nX: y\n\n");
    assert!(ResponseHead::from_request(&m, "t", source()).is_err());
}

#[test]
fn a_response_as_it_goes_out() {
    let m = message(
        "OPTIONS sip:a@b SIP/2.0\nVia: SIP/2.0/TLS 10.0.0.9\nFrom: <sip:c@d>;tag=1\nTo: sip:a@b\ni: x\nCSeq: 1 OPTIONS\n\n",
    );
    let head = ResponseHead::from_request(&m, "t", source()).unwrap();
    let common = "Via: SIP/2.0/TLS 10.0.0.9\r\nFrom: <sip:c@d>;tag=1\r\nTo: sip:a@b;tag=t\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";
    let mut out = Vec::new();
    let extra = [("Allow", "OPTIONS"), ("Reason", "a\r\nX: y"), ("Bad Name", "x"), ("To", "<sip:evil@x>")];
    head.write(&mut out, 405, "", &extra, None);
    let expected = format!(
        "SIP/2.0 405 Method Not Allowed\r\n{common}Allow: OPTIONS\r\nReason: a  X: y\r\nContent-Length: 0\r\n\r\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    let mut out = Vec::new();
    ResponseBuilder::new(&mut out, &head, 200, "Fine\r\nX: y")
        .contact(&Uri::parse("sip:gw").unwrap())
        .record_route(&message(LYNC_MESSAGE).record_routes().next().unwrap().unwrap())
        .header("Supported", "x")
        .finish(Some(("text/plain", b"hi")));
    let response = Message::parse(out.into()).unwrap();
    assert_eq!(response.reason(), "Fine  X: y");
    assert_eq!(check_response(&response, "10.0.0.9"), Ok(()));
    let route = response.record_routes().next().unwrap().unwrap();
    assert!(route.as_str().ends_with(";ms-route-sig=aa1b>;ms-rrsig=bbzQ;tag=9F8E"));
}

/// Anything at all, with a liking for what means something in SIP.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "\\PC{0,8}".prop_map(String::from),
        3 => prop::sample::select(vec![
            "\r\n", "\r\n\r\n", "\n", "\r", "\0", "\"", "\\", "<", ">", ";", ",", "@", "%", "%0d%0a", ":", " ", "\t",
            "\u{85}", "\u{2028}", "Via: SIP/2.0/TLS x", "Route: <sip:evil>", "Content-Length: 0", "sip:", "tag=",
        ]).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// For what fails the whole message: mostly harmless, or nothing else would be tried.
fn rarely_hostile() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just(String::new()), 1 => hostile()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn sec_30_31_nothing_from_outside_can_inject(
        user in hostile(), gr in hostile(), display in hostile(), subject in hostile(), name in hostile(),
        language in hostile(), call_id in rarely_hostile(), tag in rarely_hostile(), branch in rarely_hostile(),
        media in hostile(),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let target = UriBuilder::user(&format!("u{user}"), "contoso.com").unwrap().param("gr", Some(&gr)).unwrap().build();
        let uri = Uri::parse(&target).unwrap();
        prop_assert_eq!(uri.host().name(), Some("contoso.com"));
        prop_assert_eq!(uri.params().iter().count(), 1);
        prop_assert_eq!(uri.headers(), None);

        let mut out = Vec::new();
        let built = RequestBuilder::new(&mut out, Method::Message, &uri)
            .via("TLS", "gw.contoso.com", &format!("z9hG4bK{branch}"))
            .max_forwards(70)
            .from(Some(&display), &uri, &format!("t{tag}"))
            .to(Some(&display), &uri, None)
            .call_id(&format!("c{call_id}"))
            .cseq(CSeq { number: 7, method: Method::Message })
            .header("Subject", &subject)
            .header(&format!("X-{name}"), &subject)
            .token_header("Content-Language", &language)
            .finish(Some((&media, &body)));
        if built.is_err() {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        let (messages, error) = messages(&out);
        prop_assert!(error.is_none());
        prop_assert_eq!(messages.len(), 1);
        let m = &messages[0];
        prop_assert_eq!(m.raw().len(), out.len());
        prop_assert_eq!(m.defect(), None);
        prop_assert_eq!(check_request(m), Ok(()));
        prop_assert_eq!(m.request_uri(), &target);
        prop_assert_eq!(&m.body()[..], &body[..]);
        prop_assert_eq!(m.header(HeaderName::Subject), Some(&*header_text(&subject)));
        use HeaderName as H;
        let allowed = [
            H::Via, H::MaxForwards, H::From, H::To, H::CallId, H::CSeq, H::Subject, H::Other, H::ContentLanguage,
            H::ContentType, H::ContentLength,
        ];
        for (place, (found, _, _)) in m.fields().enumerate() {
            prop_assert!(allowed.contains(&found), "{found} at {place}");
        }
        prop_assert_eq!(m.vias().count(), 1);
        prop_assert_eq!(m.routes().count(), 0);
        let from = m.from_header().unwrap();
        prop_assert_eq!(from.uri.as_str(), &target);
        prop_assert_eq!(from.params.iter().count(), 1);
        let shown = display_name(&display);
        prop_assert_eq!(from.display.is_some(), !shown.is_empty());
    }

    #[test]
    fn users_and_parameters_round_trip(text in "\\PC{1,20}") {
        let built = UriBuilder::user(&text, "h").unwrap().param("gr", Some(&text)).unwrap().build();
        let uri = Uri::parse(&built).unwrap();
        let user = nuncio_sip::escape::decode_user(uri.user().unwrap());
        let gr = nuncio_sip::escape::decode_param(uri.params().get("gr").flatten().unwrap());
        prop_assert_eq!(user.as_deref(), Ok(text.as_str()));
        prop_assert_eq!(gr.as_deref(), Ok(text.as_str()));
    }

    #[test]
    fn display_names_round_trip(text in "\\PC{0,60}") {
        let line = format!("{}<sip:a@b>", display_name(&text));
        let address = nuncio_sip::NameAddr::parse(&line).unwrap();
        let clean = header_text(&text).into_owned();
        prop_assert_eq!(address.display.as_deref().unwrap_or(""), clean);
    }

    #[test]
    fn responses_to_anything_answerable_are_whole(
        via in hostile(), from in hostile(), to in hostile(), reason in hostile(), value in hostile(), status in any::<u16>(),
    ) {
        let line = |s: &str| s.replace(['\r', '\n'], " ");
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS h;x={}\r\nFrom: {}\r\nTo: {}\r\nl: 0\r\n\r\n",
            line(&via), line(&from), line(&to),
        );
        let Ok(m) = Message::parse(text.into_bytes().into()) else { return Ok(()) };
        let Ok(head) = ResponseHead::from_request(&m, "t", source()) else { return Ok(()) };
        let mut out = Vec::new();
        head.write(&mut out, status, &reason, &[("Reason", &value), (&value, "x")], Some(("text/plain", b"hi")));
        let (messages, error) = messages(&out);
        prop_assert!(error.is_none());
        prop_assert_eq!(messages.len(), 1);
        prop_assert!(messages[0].status().unwrap().is_legal());
        prop_assert_eq!(messages[0].header_bytes(HeaderName::From), m.header_bytes(HeaderName::From));
        prop_assert_eq!(&messages[0].body()[..], b"hi");
    }
}
