//! Header values and URIs: what is accepted, what it means, and what is refused.

mod common;

use std::net::IpAddr;

use common::{LYNC_MESSAGE, message, wire};
use nuncio_sip::{
    CSeq, CommaList, ContentType, Defect, Event, HeaderError, HeaderName, Host, Message, Method, NameAddr,
    RetryAfter, Scheme, SubscriptionState, Uri, UriError, Via, WarningValue, check_request,
};

#[test]
fn a_lync_message_is_read_and_kept() {
    let m = message(LYNC_MESSAGE);
    assert_eq!((m.is_request(), m.method(), m.defect()), (true, Method::Message, None));
    assert_eq!(check_request(&m), Ok(()));
    let uri = m.uri().unwrap();
    assert_eq!(uri.as_str(), "sip:romeo@example.net;opaque=user:epid:Xk3-QwErTyUiOpAsDfGh;gruu");
    assert_eq!(uri.params().get("opaque"), Some(Some("user:epid:Xk3-QwErTyUiOpAsDfGh")));
    assert_eq!(uri.params().get("GRUU"), Some(None));
    assert_eq!(uri.params().get("gr"), None);
    let from = m.from_header().unwrap();
    assert_eq!(from.display.as_deref(), Some("Jülia Öz"));
    assert_eq!((from.tag(), from.params.get("epid")), (Some("a1b2c3"), Some(Some("0123456789"))));
    let via = m.top_via().unwrap();
    assert_eq!((via.transport, via.sent_by(), via.branch()), ("TLS", "10.0.0.7:50123", None));
    assert_eq!(via.params.get("ms-received-cid"), Some(Some("2600")));
    assert_eq!(m.call_id(), Ok("6f0e1a2b3c4d5e6f"));
    assert_eq!(m.cseq(), Ok(CSeq { number: 2, method: Method::Message }));
    assert_eq!(m.max_forwards(), Ok(Some(69)));
    assert_eq!(m.supported().count(), 4);
    let route = m.record_routes().next().unwrap().unwrap();
    assert_eq!(
        route.as_str(),
        "<sip:fe1.contoso.com:5061;transport=tls;ms-fe=fe1.contoso.com;opaque=state:T:F:Ci.R3f4;lr;\
         ms-route-sig=aa1b>;ms-rrsig=bbzQ;tag=9F8E"
    );
    assert_eq!(m.header(HeaderName::MsConversationId), Some("Ac3f"));
    let media = m.content_type().unwrap().unwrap();
    assert!(media.is("TEXT", "Plain") && media.charset().as_deref() == Some("UTF-8"));
    assert_eq!(&m.raw()[..], wire(LYNC_MESSAGE), "not a byte changed");
    assert_eq!(&m.share(m.call_id().unwrap())[..], b"6f0e1a2b3c4d5e6f");
    assert_eq!(&m.share("elsewhere")[..], b"elsewhere");
}

#[test]
fn sip_15_compact_names_any_case_any_order() {
    let m = message(
        "SUBSCRIBE sip:a@b SIP/2.0\nl : 0\nk: x,\n y\nO: presence;id=7\nM:<sip:c@d>\ni:g\nF:<sip:c@d>;tag=1\n\
         t:sip:a@b\nv:SIP/2.0/TLS e\ncSEQ:1 SUBSCRIBE\nu: presence , x\n\n",
    );
    assert_eq!(check_request(&m), Ok(()));
    assert_eq!(m.supported().collect::<Vec<_>>(), ["x", "y"]);
    let event = m.event().unwrap().unwrap();
    assert_eq!((event.package, event.id()), ("presence", Some("7")));
    assert_eq!(m.list(HeaderName::AllowEvents).collect::<Vec<_>>(), ["presence", "x"]);
    assert_eq!(m.other("allow-EVENTS"), Some("presence , x"));
}

#[test]
fn comma_lists_know_quotes_and_angles() {
    let split = |v| CommaList::new(v).collect::<Vec<_>>();
    assert_eq!(split("a, b ,c"), ["a", "b", "c"]);
    assert_eq!(
        split("\"x, \\\" y\" <sip:a,b@c;d=\",>, <sip:e>"),
        ["\"x, \\\" y\" <sip:a,b@c;d=\",>", "<sip:e>"]
    );
    assert_eq!(split("a,,b,"), ["a", "", "b", ""]);
    assert_eq!(split(""), Vec::<&str>::new());
}

#[test]
fn uris() {
    type Expected<'a> = (Scheme<'a>, Option<&'a str>, Option<&'a str>, Host<'a>, Option<u16>, &'a str);
    let name = Host::Name;
    let table: [(&str, Expected<'_>); 14] = [
        ("sip:a@b", (Scheme::Sip, Some("a"), None, name("b"), None, "")),
        ("SIPS:a:pw@b:5061", (Scheme::Sips, Some("a"), Some("pw"), name("b"), Some(5061), "")),
        ("sip:b.example.com", (Scheme::Sip, None, None, name("b.example.com"), None, "")),
        ("sip:a@[2001:db8::1]:5061;lr", (Scheme::Sip, Some("a"), None, v6("2001:db8::1"), Some(5061), ";lr")),
        ("sip:a@192.0.2.1", (Scheme::Sip, Some("a"), None, Host::V4([192, 0, 2, 1].into()), None, "")),
        (
            "sip:romeo%40example.net@gw",
            (Scheme::Sip, Some("romeo%40example.net"), None, name("gw"), None, ""),
        ),
        (
            "sip:+1425;ext=7@b;user=phone",
            (Scheme::Sip, Some("+1425;ext=7"), None, name("b"), None, ";user=phone"),
        ),
        ("sip:a/b?c@d", (Scheme::Sip, Some("a/b?c"), None, name("d"), None, "")),
        ("sip:fü{}|^[]@b", (Scheme::Sip, Some("fü{}|^[]"), None, name("b"), None, "")),
        (
            "sip:a@b;gr=urn:uuid:1;x=[::1]/&+$",
            (Scheme::Sip, Some("a"), None, name("b"), None, ";gr=urn:uuid:1;x=[::1]/&+$"),
        ),
        ("sip:under_score.example", (Scheme::Sip, None, None, name("under_score.example"), None, "")),
        ("im:a@b", (Scheme::Other("im"), Some("a"), None, name("b"), None, "")),
        ("pres:a@b", (Scheme::Other("pres"), Some("a"), None, name("b"), None, "")),
        ("tel:+1-425;ext=1", (Scheme::Tel, Some("+1-425"), None, Host::None, None, ";ext=1")),
    ];
    for (text, expected) in table {
        let uri = Uri::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let seen = (uri.scheme(), uri.user(), uri.password(), uri.host(), uri.port(), uri.params().as_str());
        assert_eq!(seen, expected, "{text}");
        assert_eq!(uri.as_str(), text);
    }
    assert_eq!(Uri::parse("sip:a@b?Subject=x&To=y").unwrap().headers(), Some("Subject=x&To=y"));
    assert_eq!(Uri::parse("urn:service:sos").unwrap().scheme(), Scheme::Other("urn"));
}

fn v6(text: &str) -> Host<'static> {
    Host::V6(text.parse().unwrap())
}

#[test]
fn not_uris() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("a@b", UriError::Scheme),
        (":a@b", UriError::Scheme),
        ("1sip:a", UriError::Scheme),
        (" sip:a@b", UriError::Scheme),
        ("<sip:a@b>", UriError::Scheme),
        ("sip:", UriError::Host),
        ("sip:@b", UriError::User),
        ("sip::pw@b", UriError::User),
        ("sip:a b@c", UriError::User),
        ("sip:a%4@b", UriError::User),
        ("sip:a%zz@b", UriError::User),
        ("sip:a\"@b", UriError::User),
        ("sip:a\r\nRoute: x@b", UriError::User),
        ("sip:a:p:w@b", UriError::User),
        ("sip:a@b@c", UriError::Host),
        ("sip:a@b c", UriError::Characters),
        ("sip:a@b ", UriError::Characters),
        ("sip:a@b;x=c@d", UriError::Params),
        ("sip:2001:db8::10", UriError::Host),
        ("sip:a@[2001:db8::1", UriError::Host),
        ("sip:a@[::1]5060", UriError::Host),
        ("sip:a@b:", UriError::Host),
        ("sip:a@b:65536", UriError::Host),
        ("sip:a@b:-1", UriError::Host),
        ("sip:a@bü", UriError::Host),
        ("sip:a@b;", UriError::Params),
        ("sip:a@b;;lr", UriError::Params),
        ("sip:a@b;=x", UriError::Params),
        ("sip:a@b;lr>", UriError::Params),
        ("sip:a@b;x=%4", UriError::Params),
        ("sip:a@b;x=\"y\"", UriError::Params),
        ("sip:a@b?", UriError::Headers),
        ("sip:a@b?x=<y>", UriError::Headers),
        ("tel:", UriError::User),
        ("tel:hello", UriError::User),
        ("http:a b", UriError::Characters),
    ] {
        assert_eq!(Uri::parse(text).map(|u| u.as_str()), Err(error), "{text:?}");
    }
}

#[test]
fn addresses() {
    for (text, display, uri, params) in [
        ("sip:a@b", None, "sip:a@b", ""),
        ("sip:a@b;tag=1", None, "sip:a@b", ";tag=1"),
        ("<sip:a@b;lr>", None, "sip:a@b;lr", ""),
        ("<sip:a,b@c?d=e>;tag=1", None, "sip:a,b@c?d=e", ";tag=1"),
        ("A B <sip:a@b>", Some("A B"), "sip:a@b", ""),
        ("A<sip:a@b>", Some("A"), "sip:a@b", ""),
        ("Jürgen<sip:a@b> ; tag = 1", Some("Jürgen"), "sip:a@b", "; tag = 1"),
        ("\"\"<sip:a@b>", None, "sip:a@b", ""),
        ("\"a \\\"b\\\\\" <sip:a@b>", Some("a \"b\\"), "sip:a@b", ""),
        ("\"<sip:evil@x>, \"<sip:a@b>", Some("<sip:evil@x>, "), "sip:a@b", ""),
        ("<tel:+1>", None, "tel:+1", ""),
        (
            "<sip:a@b>;+sip.instance=\"<urn:uuid:1;2>\";q=1",
            None,
            "sip:a@b",
            ";+sip.instance=\"<urn:uuid:1;2>\";q=1",
        ),
    ] {
        let address = NameAddr::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let seen = (address.display.as_deref(), address.uri.as_str(), address.params.as_str());
        assert_eq!(seen, (display, uri, params), "{text}");
        assert_eq!(address.as_str(), text);
    }
}

#[test]
fn not_addresses() {
    for text in [
        "",
        "<>",
        "\"a <sip:a@b>",
        "\"a\\",
        "\"a\" sip:a@b",
        "Bell, A <sip:a@b>",
        "a@b <sip:a@b>",
        "<sip:a@b",
        "< sip:a@b >",
        "<sip:a@b>x",
        "<sip:a@b>;",
        "<sip:a@b>;;x",
        "<sip:a@b>;x=\"y",
        "<sip:a@b>;x=y z",
        "<sip:a@b>, <sip:c@d>",
        "sip:a@b?c=d",
        "sip:a,c@b",
        "sip:a@b;tag=<",
        "*",
    ] {
        assert!(NameAddr::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn parameters_in_quotes() {
    let address = NameAddr::parse("<sip:a@b>;a=\"x;y=\\\"z\\\"\" ; b = c;d;A=second").unwrap();
    let all: Vec<_> = address.params.iter().collect();
    assert_eq!(all, [("a", Some("\"x;y=\\\"z\\\"\"")), ("b", Some("c")), ("d", None), ("A", Some("second"))]);
    assert_eq!(address.params.value("A").as_deref(), Some("x;y=\"z\""));
    assert_eq!(address.params.value("b").as_deref(), Some("c"));
    assert_eq!((address.params.value("d"), address.params.contains("d")), (None, true));
}

#[test]
fn vias() {
    let via =
        Via::parse("SIP / 2.0 / TLS  Host.Example : 5061 ; branch = z9hG4bKx ;rport;received=[2001:db8::1]")
            .unwrap();
    assert_eq!((via.transport, via.host, via.port), ("TLS", Host::Name("Host.Example"), Some(5061)));
    assert_eq!((via.branch(), via.transaction_branch()), (Some("z9hG4bKx"), Some("z9hG4bKx")));
    assert_eq!(via.received(), Some("2001:db8::1".parse::<IpAddr>().unwrap()));
    assert_eq!(via.rport(), Some(None));
    assert!(via.is_sent_by("host.example:5061"));
    assert!(!via.is_sent_by("host.example") && !via.is_sent_by("host.example:5060") && !via.is_sent_by(""));
    let via = Via::parse("SIP/2.0/TLS [2001:DB8::1];rport=7").unwrap();
    assert!(via.is_sent_by("[2001:db8:0::1]"));
    assert_eq!(via.rport(), Some(Some(7)));
    for text in [
        "",
        "SIP/2.0/TLS",
        "SIP/2.0/TLS ",
        "SIP/2.0 TLS a",
        "HTTP/2.0/TLS a",
        "SIP/2.0/T LS a",
        "SIP/2.0/TLS a b",
        "SIP/2.0/TLS a;",
        "SIP/2.0/TLS a:x",
        "SIP/2.0/TLS 2001:db8::1",
        "SIP/2.0/TLS a;branch=\"x",
    ] {
        assert_eq!(Via::parse(text).map(|v| v.sent_by()), Err(HeaderError::Via), "{text:?}");
    }
}

#[test]
fn sip_21_branches_without_cookie_do_not_identify() {
    for (branch, identifies) in [
        ("z9hG4bKa", true),
        ("Z9HG4BKa", true),
        ("z9hG4bK", false),
        ("1", false),
        ("z9hG4b", false),
        ("390skdjuw", false),
    ] {
        let text = format!("SIP/2.0/TLS a;branch={branch}");
        assert_eq!(Via::parse(&text).unwrap().transaction_branch().is_some(), identifies, "{branch}");
    }
}

#[test]
fn numbers_have_ranges() {
    assert_eq!(CSeq::parse("4294967295 INVITE").unwrap().number, u32::MAX);
    assert_eq!(CSeq::parse("4294967296 INVITE"), Err(HeaderError::Number(HeaderName::CSeq)));
    for bad in ["", "1", "INVITE", "-1 INVITE", "1 IN VITE", "1INVITE"] {
        assert!(CSeq::parse(bad).is_err(), "{bad}");
    }
    let with = |line: &str| message(&LYNC_MESSAGE.replace("Max-Forwards: 69", line));
    assert_eq!(with("Max-Forwards: 255").max_forwards(), Ok(Some(255)));
    assert_eq!(check_request(&with("Max-Forwards: 256")).unwrap_err().status, 400);
    assert_eq!(with("Z: y").max_forwards(), Ok(None));
    assert_eq!(check_request(&with("Z: y")), Ok(()), "RFC 2543 agents do not write it");
    assert_eq!(with("Expires: 4294967295").expires(), Ok(Some(u32::MAX)));
    assert_eq!(check_request(&with("Expires: 4294967296")).unwrap_err().status, 400);
    assert_eq!(check_request(&with("Expires: soon")).unwrap_err().status, 400);
}

#[test]
fn small_values() {
    let state = SubscriptionState::parse("Active ; expires=59;reason=x ;retry-after = 4").unwrap();
    assert!(state.is("active"));
    assert_eq!((state.expires(), state.reason(), state.retry_after()), (Some(59), Some("x"), Some(4)));
    assert!(SubscriptionState::parse(";expires=1").is_err());
    assert_eq!(Event::parse("Presence").unwrap().package, "Presence");
    assert!(Event::parse("a b").is_err());
    let media = ContentType::parse("multipart/related ; boundary=\"a;b\"; type=x/y");
    assert_eq!(media.unwrap().param("boundary").as_deref(), Some("a;b"));
    assert!(ContentType::parse("*/*;q=0.1").is_ok());
    for bad in ["", "text", "text/", "/plain", "text/pl ain", "text/plain;x=\"y"] {
        assert!(ContentType::parse(bad).is_err(), "{bad}");
    }
    let retry = RetryAfter::parse("18000 (I'm \\( in (a) meeting) ;duration=60").unwrap();
    assert_eq!((retry.seconds, retry.params.get("duration")), (18_000, Some(Some("60"))));
    assert!(RetryAfter::parse("5 (open").is_err() && RetryAfter::parse("x").is_err());
    let warning = WarningValue::parse("301 isi.edu \"a \\\"b\\\"\"").unwrap();
    assert_eq!((warning.code, warning.agent, &*warning.text), (301, "isi.edu", "a \"b\""));
    assert!(WarningValue::parse("1812 overture \"x\"").is_err());
}

#[test]
fn bytes_that_are_no_utf8() {
    let with = |from: &[u8], subject: &[u8]| {
        let head =
            [b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS c\r\nFrom: ", from, b"\r\nSubject: ", subject];
        let rest = b"\r\nTo: <sip:a@b>\r\nCall-ID: g\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";
        Message::parse([&head.concat()[..], rest].concat().into()).unwrap()
    };
    // Where it means nothing to us it does no harm, and nothing behind it is lost.
    let m = with(b"<sip:d@e>;tag=f", b"Gr\xfc\xdfe");
    assert_eq!((m.header(HeaderName::Subject), m.call_id()), (None, Ok("g")));
    assert_eq!(m.header_bytes(HeaderName::Subject), Some(&b"Gr\xfc\xdfe"[..]));
    assert_eq!(check_request(&m), Ok(()));
    let m = with(b"J\xfcrgen <sip:d@e>;tag=f", b"x");
    let rejection = check_request(&m).unwrap_err();
    assert_eq!((rejection.status, &*rejection.reason), (400, "From Header Field Is Not UTF-8"));
    let uri = Message::parse(b"OPTIONS sip:\xff@b SIP/2.0\r\nl: 0\r\n\r\n".to_vec().into()).unwrap();
    assert_eq!(uri.request_uri(), "");
}

#[test]
fn a_fold_is_a_blank() {
    let m = message(
        &LYNC_MESSAGE
            .replace("To: <sip:romeo@example.net>;tag=55aa", "To:\n \t<sip:romeo@example.net>\n ;tag=55aa"),
    );
    assert_eq!(m.to_header().unwrap().tag(), Some("55aa"));
    assert_eq!(m.defect(), None);
    assert_eq!(check_request(&m), Ok(()));
    assert!(m.fields().all(|(_, _, value)| !value.contains(&b'\n')));
    let hidden = message("OPTIONS sip:a@b SIP/2.0\nSubject: x\n From: <sip:evil@x>\n\n");
    assert_eq!(
        (hidden.header(HeaderName::Subject), hidden.header(HeaderName::From)),
        (Some("x   From: <sip:evil@x>"), None)
    );
    assert_eq!(hidden.defect(), None::<Defect>);
}
