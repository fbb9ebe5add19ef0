//! Transactions, dialogs and methods (SIP-20 to SIP-45 of docs/conformance.md).

use std::collections::BTreeSet;
use std::time::Duration;

use nuncio::gateway::SipPeer;
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Reach, Reply};
use crate::text::Request;

const BOB: &str = "bob@fabrikam.com";

fn hello(id: &str) -> String {
    format!(
        "<message from='bob@fabrikam.com/home' to='alice@contoso.com' id='{id}'><body>{id}</body></message>"
    )
}

#[test]
fn sip_20_a_front_end_that_never_answers_is_given_up_after_timer_f() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", &hello("b1"));
    assert_eq!(house.requests().len(), 1);
    house.advance(Duration::from_millis(31_999));
    assert!(house.stanzas("fabrikam.com").is_empty());
    house.advance(Duration::from_millis(2));
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].condition(), Some("remote-server-timeout"));
    let text = &errors[0].child("error").unwrap().child("text").unwrap().text;
    assert!(text.contains("may or may not have arrived"), "{text}");
    assert!(house.requests().is_empty(), "never twice");
}

#[test]
fn sip_21_branch_sent_by_and_method_make_a_transaction() {
    let mut house = House::new();
    let wire = house.front_end();
    let first = Request::message(BOB, "one");
    let other_sender = first.clone().set(|request| {
        request.via = request.via.replace("fe.contoso.com:5061", "fe2.contoso.com:5061");
        request.call_id = "other".to_owned();
    });
    assert_eq!(house.ask(wire, first.bytes()).status(), Some(200));
    assert_eq!(house.ask(wire, other_sender.bytes()).status(), Some(200));
    assert_eq!(house.stanzas("fabrikam.com").len(), 2);
    // Without the cookie the fields RFC 2543 went by decide.
    let old = |call_id: &str| {
        let request = Request::message(BOB, "old").set(|request| {
            request.via = "SIP/2.0/TLS fe.contoso.com:5061;branch=1".to_owned();
            request.from = "<sip:alice@contoso.com>;tag=old".to_owned();
            request.call_id = call_id.to_owned();
        });
        request.bytes()
    };
    for (call_id, stanzas) in [("old1", 1), ("old1", 0), ("old2", 1)] {
        assert_eq!(house.ask(wire, old(call_id)).status(), Some(200));
        assert_eq!(house.stanzas("fabrikam.com").len(), stanzas, "{call_id}");
    }
}

#[test]
fn sip_23_responses_copy_what_they_must_and_keep_their_tag() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    let request =
        Request::message(BOB, "hi").with("Via: SIP/2.0/TLS inner.contoso.com;branch=z9hG4bK-in;x=\"y, z\"");
    house.send(wire, request.bytes());
    house.advance(Duration::from_secs(4));
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    let answers = house.taken(wire);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status().unwrap()).collect();
    assert_eq!(statuses, [100, 200]);
    for answer in &answers {
        let vias: Vec<_> =
            answer.headers.iter().filter(|(name, _)| name == "Via").map(|(_, value)| value).collect();
        assert_eq!(vias.len(), 2);
        assert!(vias[0].starts_with(&request.via), "{answer}");
        assert_eq!(vias[1], "SIP/2.0/TLS inner.contoso.com;branch=z9hG4bK-in;x=\"y, z\"");
        assert_eq!(answer.header("From"), Some(&*request.from));
        assert_eq!(answer.header("Call-ID"), Some(&*request.call_id));
        assert_eq!(answer.header("CSeq"), Some("1 MESSAGE"));
        assert!(answer.must("To").unwrap().starts_with("<sip:bob@fabrikam.com>;tag=n1."), "{answer}");
    }
    assert_eq!(answers[0].header("To"), answers[1].header("To"));
}

#[test]
fn sip_24_methods_that_are_known_or_not() {
    let mut house = House::new();
    let wire = house.front_end();
    for (method, status) in [
        ("REGISTER", 405),
        ("PUBLISH", 405),
        ("SERVICE", 405),
        ("NEGOTIATE", 405),
        ("FOO", 501),
        ("message", 501),
    ] {
        let answer = house.ask(wire, Request::new(method, BOB).with("Event: presence").bytes());
        assert_eq!(answer.status(), Some(status), "{method}");
        assert_eq!(
            answer.header("Allow"),
            Some("INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, UPDATE, SUBSCRIBE, NOTIFY, OPTIONS"),
            "{method}"
        );
    }
    // Neither is answered.
    for method in ["ACK", "BENOTIFY"] {
        house.send(wire, Request::new(method, BOB).with("Event: presence").bytes());
        assert!(house.taken(wire).is_empty(), "{method}");
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn sip_25_extensions_that_are_required_and_not_there() {
    let mut house = House::new();
    let wire = house.front_end();
    let answer = house.ask(wire, Request::message(BOB, "hi").with("Require: 100rel, eventlist").bytes());
    assert_eq!((answer.status(), answer.header("Unsupported")), (Some(420), Some("100rel, eventlist")));
    assert!(house.stanzas("fabrikam.com").is_empty());
    let proxy = Request::message(BOB, "hi").with("Proxy-Require: nothing").with("Supported: 100rel");
    assert_eq!(house.ask(wire, proxy.bytes()).status(), Some(200));
    // A CANCEL is never refused for an extension.
    let cancel = Request::new("CANCEL", BOB).with("Require: nothing");
    assert_eq!(house.ask(wire, cancel.bytes()).status(), Some(481));
}

#[test]
fn sip_27_a_slow_partner_costs_100_and_never_408() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "hi").bytes());
    house.advance(Duration::from_millis(3_499));
    assert!(house.taken(wire).is_empty());
    house.advance(Duration::from_millis(2));
    let trying: Vec<_> = house.taken(wire).iter().map(|answer| answer.status()).collect();
    assert_eq!(trying, [Some(100)]);
    house.advance(Duration::from_secs(7));
    let answers = house.taken(wire);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].status(), Some(504), "after the hold time of ten seconds");
    assert!(answers[0].header("ms-diagnostics").unwrap().contains("fabrikam.com"));
}

#[test]
fn sip_28_cancel_finds_its_request_and_does_not_touch_it() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    let message = Request::message(BOB, "hi");
    let cancel = message.clone().set(|request| {
        request.method = "CANCEL";
        request.cseq = "1 CANCEL".to_owned();
        request.more.clear();
        request.body.clear();
    });
    house.send(wire, message.bytes());
    assert_eq!(house.ask(wire, cancel.bytes()).status(), Some(200));
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    let answers = house.taken(wire);
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].status(), answers[0].header("CSeq")), (Some(200), Some("1 MESSAGE")));
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
    assert_eq!(house.ask(wire, Request::new("CANCEL", BOB).bytes()).status(), Some(481));
}

#[test]
fn sip_29_and_31_a_request_in_a_dialog_that_nobody_knows_is_481() {
    let mut house = House::new();
    let wire = house.front_end();
    let inside = Request::message(BOB, "hi").set(|request| request.to += ";tag=never-ours");
    assert_eq!(house.ask(wire, inside.bytes()).status(), Some(481));
    for method in ["BYE", "INFO", "UPDATE", "PRACK", "REFER"] {
        let request = Request::new(method, BOB).set(|request| request.to += ";tag=never-ours");
        assert_eq!(house.ask(wire, request.bytes()).status(), Some(481), "{method}");
    }
    let notify = Request::new("NOTIFY", BOB).with("Event: presence").with("Subscription-State: active");
    assert_eq!(house.ask(wire, notify.bytes()).status(), Some(481));
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn sip_32_options_says_what_is_served() {
    let mut house = House::new();
    let wire = house.front_end();
    for to in ["contoso.com", "alice@contoso.com", BOB] {
        let answer = house.ask(wire, Request::new("OPTIONS", to).bytes());
        assert_eq!(answer.status(), Some(200));
        assert_eq!(
            answer.header("Allow"),
            Some("INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, UPDATE, SUBSCRIBE, NOTIFY, OPTIONS")
        );
        assert!(answer.header("Accept").unwrap().contains("text/plain"));
        assert_eq!(answer.header("Accept-Encoding"), Some("identity"));
        assert!(answer.header("Accept-Language").is_some());
        assert_eq!(answer.header("Supported"), Some("timer"));
    }
    assert!(house.lines.is_empty(), "a probe reaches no partner");
}

#[test]
fn sip_33_the_last_hop_may_be_ours_but_not_be_passed_on() {
    let mut house = House::new();
    let wire = house.front_end();
    let hops = |request: Request, hops| request.set(|request| request.max_forwards = hops).bytes();
    assert_eq!(house.ask(wire, hops(Request::new("OPTIONS", "contoso.com"), Some(0))).status(), Some(200));
    assert_eq!(house.ask(wire, hops(Request::message(BOB, "hi"), Some(0))).status(), Some(483));
    assert!(house.stanzas("fabrikam.com").is_empty());
    for number in [Some(1), None] {
        assert_eq!(house.ask(wire, hops(Request::message(BOB, "hi"), number)).status(), Some(200));
    }
    assert_eq!(house.stanzas("fabrikam.com").len(), 2);
}

#[test]
fn sip_34_recipients_that_are_nobody() {
    let mut house = House::new();
    let wire = house.front_end();
    for (uri, status) in [
        ("sip:bob@contoso.com", 404),
        ("sip:bob@stranger.example", 403),
        ("sip:bob@off.example", 403),
        ("sip:bob@192.0.2.1", 404),
        ("sip:bob@[2001:db8::1]", 404),
        ("sip:fabrikam.com", 404),
        ("tel:+14255550100", 416),
        ("im:bob@fabrikam.com", 416),
        ("sips:bob@fabrikam.com", 480),
    ] {
        let request = Request::message(BOB, "hi").set(|request| request.uri = uri.to_owned());
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{uri}: {answer}");
        let why = answer.header("ms-diagnostics");
        assert!(status == 416 || why.is_some_and(|why| why.contains("reason=")), "{uri}: {answer}");
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
    // Whatever To says, the Request-URI decides.
    let request = Request::message(BOB, "hi").set(|request| request.to = "<tel:+14255550100>".to_owned());
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
    assert_eq!(house.stanzas("fabrikam.com")[0].attribute("to"), Some(BOB));
}

/// 503 would take the whole gateway out of rotation for one partner's sake (EXS-19, ERR-04).
#[test]
fn sip_35_a_partners_trouble_is_never_503() {
    for (kind, status) in [
        (FailureKind::DomainNotFound, 404),
        (FailureKind::Unresolvable, 504),
        (FailureKind::Unreachable, 504),
        (FailureKind::Negotiation, 504),
    ] {
        let mut house = House::new();
        house.reach.insert("fabrikam.com", Reach::Down(kind));
        let wire = house.front_end();
        house.send(wire, Request::message(BOB, "hi").bytes());
        house.advance(Duration::from_secs(20));
        let answers = house.taken(wire);
        let last = answers.last().unwrap();
        assert_eq!(last.status(), Some(status), "{kind:?}: {last}");
        assert!(last.must("ms-diagnostics").unwrap().contains("says the test"), "the evidence: {last}");
        assert!(answers.iter().all(|answer| answer.header("Retry-After").is_none()));
    }
}

#[test]
fn sip_38_a_front_end_vouches_for_the_identity_it_asserts() {
    let mut house = House::new();
    let wire = house.front_end();
    let asserted =
        |identity: &str| Request::message(BOB, "hi").with(format!("P-Asserted-Identity: {identity}"));
    assert_eq!(house.ask(wire, asserted("<sip:carol@contoso.com>").bytes()).status(), Some(200));
    assert_eq!(house.stanzas("fabrikam.com")[0].attribute("from"), Some("carol@contoso.com"));
    // tel: says nothing about a SIP user.
    assert_eq!(house.ask(wire, asserted("<tel:+1425>, <sip:dan@contoso.com>").bytes()).status(), Some(200));
    assert_eq!(house.stanzas("fabrikam.com")[0].attribute("from"), Some("dan@contoso.com"));
    for identity in ["<sip:mallory@fabrikam.com>", "<sip:eve@sub.contoso.com>"] {
        assert_eq!(house.ask(wire, asserted(identity).bytes()).status(), Some(403), "{identity}");
    }
    let stranger = house.connect_as(SipPeer::Unlisted("names: evil.example".to_owned()), false);
    let answer = house.ask(stranger, asserted("<sip:carol@contoso.com>").bytes());
    assert_eq!(answer.status(), Some(403));
    assert!(answer.must("ms-diagnostics").unwrap().contains("evil.example"), "{answer}");
    assert!(!house.wires[stranger].open);
    assert!(house.stanzas("fabrikam.com").is_empty());
    assert_eq!(house.count("unlisted_sip_peers"), 1);
}

/// There are no credentials and no set of addresses that might be followed: both become errors.
#[test]
fn sip_40_and_41_challenges_and_redirections_are_neither_obeyed_nor_passed_on() {
    for (status, more) in [
        (401, ("WWW-Authenticate", "Digest realm=\"x\", nonce=\"y\"")),
        (407, ("Proxy-Authenticate", "Digest realm=\"x\", nonce=\"y\"")),
        (302, ("Contact", "<sip:secret@internal.contoso.com>")),
        (301, ("Contact", "<sip:alice@contoso.com>")),
    ] {
        let mut house = House::new();
        house.rule =
            Box::new(move |_| Reply::With(status, "See Secret Place", vec![(more.0, more.1.to_owned())]));
        house.partner_says("fabrikam.com", &hello("b1"));
        house.advance(Duration::from_secs(60));
        assert_eq!(house.requests().len(), 1, "{status}: sent once");
        let errors = house.stanzas("fabrikam.com");
        assert_eq!(errors.len(), 1, "{status}");
        assert_eq!(errors[0].condition(), Some("service-unavailable"), "{status}");
        assert!(!errors[0].raw.to_lowercase().contains("secret"), "{}", errors[0]);
    }
}

#[test]
fn sip_42_what_must_be_unique_is() {
    let mut house = House::new();
    for number in 0..50 {
        house.partner_says("fabrikam.com", &hello(&format!("b{number}")));
    }
    let requests = house.requests();
    assert_eq!(requests.len(), 50);
    let mut seen = BTreeSet::new();
    for request in &requests {
        let branch = request.must("Via").unwrap().split_once("branch=").unwrap().1;
        let tag = request.must("From").unwrap().split_once(";tag=").unwrap().1;
        let call_id = request.must("Call-ID").unwrap();
        assert!(branch.starts_with("z9hG4bKn1."), "{request}");
        for token in [branch, tag, call_id] {
            // 128 bits in hexadecimal, after the label of the node.
            assert!(token.split('.').nth(1).is_some_and(|random| random.len() >= 32), "{token}");
            assert!(seen.insert(token.to_owned()), "{token} again");
        }
        let cseq: u32 = request.must("CSeq").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(cseq < 1 << 31);
        assert_eq!(request.header("Max-Forwards"), Some("60"));
    }
}
