//! Errors through the whole gateway, both ways (EXS, ESX and ERR of docs/conformance.md).

use std::time::Duration;

use nuncio_world::xml::Element;
use nuncio_xmpp::about::{About, ContactKind};
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Reach, Reply};
use crate::text::Request;

const BOB: &str = "bob@fabrikam.com";

fn hello(id: &str) -> String {
    format!(
        "<message from='bob@fabrikam.com/home' to='alice@contoso.com' id='{id}' type='chat'><body>secret words</body>\
         </message>"
    )
}

/// ERR-01: the shape of an error, whatever it says.
fn check_shape(error: &Element, id: &str) {
    assert_eq!(error.name, "message");
    assert_eq!(error.attribute("type"), Some("error"), "{error}");
    assert_eq!(error.attribute("from"), Some("alice@contoso.com"), "{error}");
    assert_eq!(error.attribute("to"), Some("bob@fabrikam.com/home"), "{error}");
    assert_eq!(error.attribute("id"), Some(id), "{error}");
    assert_eq!(error.children.len(), 1, "{error}");
    let inner = error.child("error").unwrap();
    assert!(
        ["auth", "cancel", "continue", "modify", "wait"].contains(&inner.attribute("type").unwrap()),
        "{error}"
    );
    let defined = "urn:ietf:params:xml:ns:xmpp-stanzas";
    let conditions = inner.children.iter().filter(|child| child.name != "text");
    assert_eq!(conditions.count(), 1, "{error}");
    assert!(inner.children.iter().all(|child| child.attribute("xmlns") == Some(defined)), "{error}");
    assert!(!error.raw.contains("secret words"), "ERR-03: {error}");
}

/// What a remote user learns who may not know whether the SIP user exists (DEC-03): the table where it says nothing
/// about him, `service-unavailable` everywhere else.
fn expected(status: u16) -> &'static str {
    match status {
        380 | 406 | 415 | 416 | 421 | 482 | 483 | 488 | 505 | 606 => "not-acceptable",
        405 | 420 | 439 | 501 => "feature-not-implemented",
        408 | 504 => "remote-server-timeout",
        413 | 414 | 440 | 489 | 513 => "policy-violation",
        423 => "resource-constraint",
        491 => "unexpected-request",
        502 => "remote-server-not-found",
        300..=399 | 401 | 403 | 404 | 407 | 410 | 430 | 480 | 481 | 484..=487 => "service-unavailable",
        400..=499 => "bad-request",
        500..=599 => "internal-server-error",
        _ => "service-unavailable",
    }
}

#[test]
fn err_01_and_06_every_status_of_a_front_end_becomes_one_proper_error() {
    for status in 300..700 {
        let mut house = House::new();
        house.rule = Box::new(move |_| Reply::Status(status, "Gone<fishing>"));
        house.partner_says("fabrikam.com", &hello("b1"));
        house.advance(Duration::from_secs(40));
        let errors = house.stanzas("fabrikam.com");
        assert_eq!(errors.len(), 1, "{status}");
        check_shape(&errors[0], "b1");
        assert_eq!(errors[0].condition(), Some(expected(status)), "{status}");
        // ARC-08: not even the reason, which may name the user.
        assert!(!errors[0].raw.contains("fishing"), "{status}: {}", errors[0]);
        assert_eq!(house.count("xmpp_to_sip_failed"), 1, "{status}");
    }
}

#[test]
fn err_06_provisional_and_positive_answers_are_no_errors() {
    for status in [200, 202, 299] {
        let mut house = House::new();
        house.rule = Box::new(move |_| Reply::Status(status, "Fine"));
        house.partner_says("fabrikam.com", &hello("b1"));
        house.advance(Duration::from_secs(60));
        assert!(house.stanzas("fabrikam.com").is_empty(), "{status}");
        assert_eq!(house.count("xmpp_to_sip_delivered"), 1, "{status}");
    }
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", &hello("b1"));
    let (hop, request) = (house.hop(), house.requests().remove(0));
    house.send(hop, request.answer(100, "Trying", &[]).unwrap());
    house.send(hop, request.answer(183, "Progress", &[]).unwrap());
    assert!(house.stanzas("fabrikam.com").is_empty());
    house.send(hop, request.answer(404, "Not Found", &[]).unwrap());
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
}

#[test]
fn err_07_transport_trouble_and_what_may_have_arrived() {
    // Never written: no doubt.
    let mut house = House::new();
    house.front_end_reach = Reach::Down(FailureKind::Unreachable);
    house.partner_says("fabrikam.com", &hello("b1"));
    house.advance(Duration::from_secs(11));
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(errors.len(), 1);
    check_shape(&errors[0], "b1");
    assert_eq!(errors[0].condition(), Some("internal-server-error"), "503, ESX-41");
    assert!(!errors[0].raw.contains("may or may not"), "{}", errors[0]);

    // Written, then the connection breaks: doubt, and no second attempt.
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", &hello("b1"));
    let hop = house.hop();
    house.cut(hop);
    house.advance(Duration::from_secs(60));
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(errors.len(), 1);
    check_shape(&errors[0], "b1");
    assert!(errors[0].raw.contains("may or may not have arrived"), "{}", errors[0]);
    assert_eq!(house.requests().len(), 1, "never twice");
}

#[test]
fn never_twice_a_second_front_end_is_tried_only_where_the_first_surely_did_not_take_it() {
    let hops = crate::house::Plan {
        next_hops: &[(0, "fe1.contoso.com:5061"), (0, "fe2.contoso.com:5061")],
        ..crate::house::Plan::default()
    };
    let mut house = House::planned(hops);
    let mut first = true;
    house.rule = Box::new(move |_| {
        if std::mem::take(&mut first) { Reply::Status(503, "Busy") } else { Reply::Status(200, "OK") }
    });
    house.partner_says("fabrikam.com", &hello("b1"));
    house.advance(Duration::from_secs(20));
    let requests = house.requests();
    assert_eq!((house.connects.as_slice(), requests.len()), (&[0, 1][..], 2));
    assert_eq!(requests[0].header("Call-ID"), requests[1].header("Call-ID"));
    assert_ne!(requests[0].header("Via"), requests[1].header("Via"), "a new transaction (RFC 3263 §4.3)");
    assert!(house.stanzas("fabrikam.com").is_empty());
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
}

#[test]
fn err_02_and_03_errors_are_not_answered_and_become_no_message() {
    let mut house = House::new();
    for stanza in [
        "<message type='error' from='bob@fabrikam.com' to='alice@contoso.com' id='1'><body>x</body>\
         <error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
        "<message type='error' from='bob@fabrikam.com' to='alice@contoso.com'/>",
        "<message type='error' from='bob@fabrikam.com' to='a&amp;b@contoso.com'><body>x</body></message>",
        "<iq type='error' from='bob@fabrikam.com' to='alice@contoso.com' id='2'/>",
        "<iq type='result' from='bob@fabrikam.com' to='alice@contoso.com' id='3'/>",
        "<iq type='result' from='fabrikam.com' to='contoso.com' id='4'><a xmlns='b'/><a xmlns='b'/></iq>",
        "<presence type='error' from='bob@fabrikam.com' to='alice@contoso.com'/>",
    ] {
        house.partner_says("fabrikam.com", stanza);
        house.advance(Duration::from_secs(5));
        assert!(house.requests().is_empty(), "{stanza}");
        assert!(house.stanzas("fabrikam.com").is_empty(), "{stanza}");
    }
    assert_eq!(house.count("foreign_errors"), 2);
}

#[test]
fn err_04_exs_16_and_17_a_partner_out_of_reach() {
    for (kind, status, diagnostic) in [
        (FailureKind::DomainNotFound, 404, "1008;"),
        (FailureKind::Unresolvable, 504, "1008;"),
        (FailureKind::Unreachable, 504, "1007;"),
        (FailureKind::Negotiation, 504, "1007;"),
    ] {
        let mut house = House::new();
        house.reach.insert("fabrikam.com", Reach::Down(kind));
        let wire = house.front_end();
        house.send(wire, Request::message(BOB, "x").bytes());
        house.advance(Duration::from_secs(15));
        let answer = house.taken(wire).pop().unwrap();
        assert_eq!(answer.status(), Some(status), "{kind:?}");
        assert!(answer.must("ms-diagnostics").unwrap().starts_with(diagnostic), "{kind:?}: {answer}");
        assert_eq!(house.count("sip_to_xmpp_failed"), 1, "{kind:?}");
    }
}

#[test]
fn sec_44_a_full_lane_is_480_with_a_time_and_the_partners_name() {
    let lane = nuncio_xmpp::lane::LaneConfig { capacity: 5, ..Default::default() };
    let mut house = House::planned(crate::house::Plan { lane, ..Default::default() });
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    for _ in 0..5 {
        house.send(wire, Request::message(BOB, "x").bytes());
    }
    assert!(house.taken(wire).is_empty());
    let answer = house.ask(wire, Request::message(BOB, "x").bytes());
    assert_eq!((answer.status(), answer.header("Retry-After")), (Some(480), Some("5")));
    assert!(answer.must("ms-diagnostics").unwrap().contains("fabrikam.com"), "{answer}");
    // Nobody else is touched (SEC-45).
    let other = house.ask(wire, Request::message("x@public.example", "x").bytes());
    assert_eq!(other.status(), Some(200));
}

#[test]
fn xi_11_to_13_iqs_and_presence() {
    let mut house = House::new();
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    for (kind, to, children, expected) in [
        ("get", "contoso.com", ping, None),
        ("get", "alice@contoso.com", ping, Some("service-unavailable")),
        ("get", "alice@contoso.com/fe", ping, Some("service-unavailable")),
        ("set", "contoso.com", ping, Some("service-unavailable")),
        ("get", "contoso.com", "<query xmlns='jabber:iq:version'/>", Some("service-unavailable")),
        ("get", "contoso.com", "", Some("bad-request")),
        ("get", "contoso.com", "<a xmlns='b'/><a xmlns='b'/>", Some("bad-request")),
        ("what", "contoso.com", ping, Some("bad-request")),
    ] {
        let iq = format!(
            "<iq type='{kind}' id='i&lt;1&gt;' from='bob@fabrikam.com/home' to='{to}'>{children}</iq>"
        );
        house.partner_says("fabrikam.com", &iq);
        house.advance(Duration::from_secs(1));
        let answers = house.stanzas("fabrikam.com");
        assert_eq!(answers.len(), 1, "{iq}");
        assert_eq!(answers[0].condition(), expected, "{iq}");
        assert_eq!(answers[0].attribute("id"), Some("i<1>"), "XI-13: {iq}");
        assert_eq!(answers[0].attribute("from"), Some(to), "{iq}");
        assert_eq!(answers[0].attribute("type"), Some(if expected.is_none() { "result" } else { "error" }));
    }
    for (kind, errors) in [("subscribe", 0), ("probe", 0), ("unavailable", 0), ("foo", 1)] {
        let presence =
            format!("<presence type='{kind}' from='bob@fabrikam.com' to='alice@contoso.com' id='p'/>");
        house.partner_says("fabrikam.com", &presence);
        house.advance(Duration::from_secs(1));
        let answers = house.stanzas("fabrikam.com");
        assert_eq!(answers.len(), errors, "{kind}");
        assert!(
            answers
                .iter()
                .all(|answer| answer.name == "presence" && answer.condition() == Some("bad-request"))
        );
    }
    // Only the wish to see somebody is for the front end.
    assert!(house.requests().iter().all(|request| request.method() == Some("SUBSCRIBE")));
}

#[test]
fn xe_01_xe_09_and_xe_10_what_the_domain_says_of_itself_is_this_and_nothing_else() {
    let mut house = House::new();
    let mut ask = |query: &str, node: &str| {
        house.partner_says(
            "fabrikam.com",
            &format!(
                "<iq type='get' id='d' from='fabrikam.com' to='contoso.com'>\
                 <query xmlns='http://jabber.org/protocol/disco#{query}'{node}/></iq>"
            ),
        );
        house.advance(Duration::from_secs(1));
        house.stanzas("fabrikam.com").remove(0)
    };
    let info = ask("info", "");
    assert_eq!(info.attribute("type"), Some("result"), "{info}");
    let said: Vec<_> = info.child("query").unwrap().children.iter().map(|child| child.raw.as_str()).collect();
    assert_eq!(
        said,
        [
            "<identity category='server' type='im' name='Nuncio'/>",
            "<identity category='gateway' type='simple' name='Nuncio'/>",
            "<feature var='http://jabber.org/protocol/disco#info'/>",
            "<feature var='http://jabber.org/protocol/disco#items'/>",
            "<feature var='urn:xmpp:ping'/>",
            r"<feature var='jid\20escaping'/>",
        ]
    );
    // There are no items, at no node, and no information about any node.
    for node in ["", " node='http://jabber.org/protocol/commands'", " node='&lt;x&gt;'"] {
        let items = ask("items", node);
        let query = items.child("query").unwrap();
        assert_eq!((items.attribute("type"), query.children.len()), (Some("result"), 0), "{items}");
        let same = node.replace(" node='", "").replace('\'', "").replace("&lt;x&gt;", "<x>");
        assert_eq!(query.attribute("node").unwrap_or_default(), same, "{items}");
    }
    let about_node = ask("info", " node='x'");
    assert_eq!(about_node.condition(), Some("service-unavailable"), "{about_node}");
}

/// The one answer to a request of `from`.
fn asked(house: &mut House, kind: &str, from: &str, to: &str, payload: &str) -> Element {
    let remote = from.rsplit_once('@').map_or(from, |(_, domain)| domain);
    house.partner_says(remote, &format!("<iq type='{kind}' id='q' from='{from}' to='{to}'>{payload}</iq>"));
    house.advance(Duration::from_secs(1));
    let mut answers = house.stanzas(remote);
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

#[test]
fn xe_04_and_xe_05_version_and_contact_addresses_are_told_as_configured() {
    let about = About {
        name: "Nuncio".into(),
        version: Some("1.2.3".into()),
        contacts: vec![(ContactKind::Abuse, vec!["mailto:abuse@contoso.com".into()])],
    };
    let mut house = House::planned(crate::house::Plan { about, ..Default::default() });
    let version =
        asked(&mut house, "get", "bob@fabrikam.com", "contoso.com", "<query xmlns='jabber:iq:version'/>");
    let said: Vec<_> =
        version.child("query").unwrap().children.iter().map(|child| child.raw.as_str()).collect();
    assert_eq!(said, ["<name>Nuncio</name>", "<version>1.2.3</version>"], "no operating system");
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let info = asked(&mut house, "get", "fabrikam.com", "contoso.com", info);
    assert!(info.raw.contains("<feature var='jabber:iq:version'/>"), "{info}");
    assert!(
        info.raw.contains(
            "<field var='abuse-addresses' type='list-multi'><value>mailto:abuse@contoso.com</value>"
        )
    );
}

#[test]
fn xe_06_a_vcard_is_refused_with_the_same_bytes_whoever_it_is_of() {
    let mut house = House::new();
    let vcard = "<vCard xmlns='vcard-temp'/>";
    for (kind, condition) in [("get", "service-unavailable"), ("set", "forbidden")] {
        let [known, unknown] = ["alice@contoso.com", "nobody@contoso.com"].map(|to| {
            let answer = asked(&mut house, kind, "bob@fabrikam.com", to, vcard);
            assert_eq!(answer.condition(), Some(condition), "{answer}");
            answer.raw.replace(to, "USER")
        });
        assert_eq!(known, unknown);
    }
    assert!(house.requests().is_empty(), "the front end is not asked for it");
}

#[test]
fn im_10_beyond_the_cap_the_sender_gets_policy_violation() {
    let mut house = House::planned(crate::house::Plan { message_cap: Some(1300), ..Default::default() });
    let body = |length: usize| hello("b1").replace("secret words", &"x".repeat(length));
    house.partner_says("fabrikam.com", &body(1));
    // Everything but the body.
    let overhead = house.requests().remove(0).raw.len() - 1;
    // One digit of Content-Length becomes three.
    let fits = 1300 - overhead - 2;
    house.partner_says("fabrikam.com", &body(fits));
    assert_eq!(house.requests().remove(0).raw.len(), 1300);
    house.partner_says("fabrikam.com", &body(fits + 1));
    assert!(house.requests().is_empty());
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].condition(), Some("policy-violation"));
}
