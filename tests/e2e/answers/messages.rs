//! Pager messages through the whole gateway (ARC and IM of docs/conformance.md), both ways: answers, order, repeats, ids.

use std::time::Duration;

use nuncio::gateway::SipPeer;

use crate::house::{House, NAME, Plan, Reach, Reply};
use crate::text::Request;

pub(crate) const ALICE: &str = "alice@contoso.com";
pub(crate) const BOB: &str = "bob@fabrikam.com";

pub(crate) fn from_bob(id: &str, attributes: &str, children: &str) -> String {
    format!("<message from='bob@fabrikam.com/home' to='{ALICE}' id='{id}' {attributes}>{children}</message>")
}

#[test]
fn dec_01_200_comes_with_the_completed_write_and_202_never() {
    let mut house = House::new();
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "first").bytes()).status(), Some(200));
    house.line("fabrikam.com").stalled = true;
    house.send(wire, Request::message(BOB, "second").bytes());
    house.advance(Duration::from_secs(3));
    assert!(house.taken(wire).is_empty(), "what is in our buffers is not delivered");
    house.line("fabrikam.com").stalled = false;
    house.run();
    let statuses: Vec<_> = house.taken(wire).iter().map(|answer| answer.status()).collect();
    assert_eq!(statuses, [Some(200)]);
    assert_eq!(house.stanzas("fabrikam.com").len(), 2);
}

#[test]
fn dec_01_a_write_that_does_not_end_is_reported_as_doubtful() {
    let mut house = House::new();
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "first").bytes());
    house.taken(wire);
    house.line("fabrikam.com").stalled = true;
    house.send(wire, Request::message(BOB, "second").bytes());
    house.advance(Duration::from_secs(11));
    let answers = house.taken(wire);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status()).collect();
    assert_eq!(statuses, [Some(100), Some(504)]);
    assert!(
        answers[1].must("ms-diagnostics").unwrap().contains("may or may not have arrived"),
        "{}",
        answers[1]
    );
}

#[test]
fn im_02_neither_contact_nor_body_nor_accept() {
    let mut house = House::new();
    let wire = house.front_end();
    let answer =
        house.ask(wire, Request::message(BOB, "hi").with("Record-Route: <sip:fe.contoso.com;lr>").bytes());
    assert_eq!((answer.status(), answer.header("Contact"), answer.body.as_str()), (Some(200), None, ""));
    house.partner_says("fabrikam.com", &from_bob("b", "", "<body>hi</body>"));
    let request = house.requests().remove(0);
    for name in ["Contact", "Accept", "Record-Route", "Expires"] {
        assert_eq!(request.header(name), None, "{request}");
    }
    assert!(!request.must("To").unwrap().contains("tag="), "no dialog");
}

#[test]
fn im_07_the_answer_is_immediate_where_the_stream_stands() {
    let mut house = House::new();
    let wire = house.front_end();
    let before = house.now;
    for number in 0..3 {
        let answer = house.ask(wire, Request::message(BOB, &number.to_string()).bytes());
        assert_eq!(answer.status(), Some(200));
    }
    assert_eq!(house.now, before);
}

#[test]
fn im_09_and_16_one_pending_per_pair_and_all_in_order() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    for number in 0..200 {
        house.partner_says(
            "fabrikam.com",
            &from_bob(&format!("m{number}"), "", &format!("<body>{number}</body>")),
        );
    }
    // Another conversation does not wait for this one.
    house.partner_says(
        "fabrikam.com",
        "<message from='carol@fabrikam.com' to='alice@contoso.com'><body>c</body></message>",
    );
    for number in 0..200 {
        let requests = house.requests();
        let mine: Vec<_> = requests.iter().filter(|request| request.body != "c").collect();
        assert_eq!(mine.len(), 1, "while one waits for its answer");
        assert_eq!(mine[0].body, number.to_string());
        let (hop, answer) = (house.hop(), mine[0].answer(200, "OK", &[]).unwrap());
        house.send(hop, answer);
    }
    assert!(house.requests().is_empty());
    assert!(house.stanzas("fabrikam.com").is_empty(), "all delivered, no error");
}

#[test]
fn im_16_order_is_kept_towards_xmpp() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let (one, two) = (house.front_end(), house.front_end());
    for number in 0..500 {
        let wire = if number % 2 == 0 { one } else { two };
        house.send(wire, Request::message(BOB, &number.to_string()).bytes());
    }
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    for number in 500..1000 {
        house.send(one, Request::message(BOB, &number.to_string()).bytes());
    }
    let bodies: Vec<_> = house.stanzas("fabrikam.com").iter().map(|m| m.body().unwrap().to_owned()).collect();
    let expected: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(bodies, expected);
    assert_eq!(house.taken(one).len() + house.taken(two).len(), 1000);
}

/// What XEP-0359 has for archives: said to be given by us.
fn forged_ids(id: &str) -> String {
    format!(
        "<stanza-id xmlns='urn:xmpp:sid:0' by='contoso.com' id='{id}'/>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='{ALICE}' id='{id}'/><origin-id xmlns='urn:xmpp:sid:0' id='{id}'/>"
    )
}

#[test]
fn im_45_ids_that_claim_to_be_ours_reach_nobody_and_do_not_come_back() {
    let mut house = House::new();
    let forged = forged_ids("forged");
    house.partner_says("fabrikam.com", &from_bob("m", "", &format!("{forged}<body>hi</body>")));
    let request = house.requests().remove(0);
    assert!(request.body == "hi" && !request.to_string().contains("forged"), "{request}");
    // The error to one that is refused says nothing of them either.
    house.rule = Box::new(|_| Reply::Status(404, "Not Found"));
    house.partner_says("fabrikam.com", &from_bob("n", "", &format!("<body>hi</body>{forged}")));
    house.advance(Duration::from_secs(1));
    let error = house.stanzas("fabrikam.com").remove(0);
    assert!(error.attribute("type") == Some("error") && !error.raw.contains("forged"), "{error}");
}

#[test]
fn im_45_an_error_is_ours_by_its_own_id_only() {
    let mut house = House::new();
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "hi").bytes()).status(), Some(200));
    let ours = house.stanzas("fabrikam.com").remove(0).attribute("id").unwrap().to_owned();
    let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let about = |id: &str| {
        format!(
            "<message type='error' from='{BOB}' to='{ALICE}' id='{id}'>{}{error}</message>",
            forged_ids(&ours)
        )
    };
    house.partner_says("fabrikam.com", &about("of his own"));
    house.advance(Duration::from_secs(1));
    assert!(house.requests().is_empty(), "a notice for what was not shown to be ours");
    house.partner_says("fabrikam.com", &about(&ours));
    house.advance(Duration::from_secs(1));
    assert_eq!(house.requests().len(), 1);
}

#[test]
fn im_17_and_dec_27_a_repeat_gets_the_same_answer_and_no_second_stanza() {
    let mut house = House::new();
    let wire = house.front_end();
    let request = Request::message(BOB, "once").bytes();
    let first = house.ask(wire, &request);
    let second = house.ask(wire, &request);
    assert_eq!(first, second, "To tag and all");
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
    let refused = Request::message("bob@stranger.example", "x").bytes();
    let (first, second) = (house.ask(wire, &refused), house.ask(wire, &refused));
    assert_eq!((first.status(), &first), (Some(403), &second));

    // While it waits, a repeat is absorbed.
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    house.send(wire, &request);
    house.send(wire, &request);
    assert!(house.taken(wire).is_empty());
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    assert_eq!((house.taken(wire).len(), house.stanzas("fabrikam.com").len()), (1, 1));
}

#[test]
fn dec_27_memory_ends_after_five_seconds_or_256_requests() {
    let mut house = House::new();
    let wire = house.front_end();
    let request = Request::message(BOB, "again").bytes();
    house.ask(wire, &request);
    house.advance(Duration::from_millis(4_999));
    house.ask(wire, &request);
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
    house.advance(Duration::from_secs(6));
    house.ask(wire, &request);
    assert_eq!(house.stanzas("fabrikam.com").len(), 1, "now it is new");
    for number in 0..255 {
        house.ask(wire, Request::new("OPTIONS", &format!("u{number}@contoso.com")).bytes());
    }
    assert_eq!(house.ask(wire, &request).status(), Some(200));
    house.ask(wire, Request::new("OPTIONS", "contoso.com").bytes());
    assert_eq!(
        house.ask(wire, &request).status(),
        Some(482),
        "its answer is forgotten, the message is not (IM-18)"
    );
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn im_18_a_merged_request_gets_482() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    let request = Request::message(BOB, "hi");
    house.send(wire, request.bytes());
    let merged =
        request.set(|request| request.via = "SIP/2.0/TLS edge.contoso.com;branch=z9hG4bK-other".to_owned());
    assert_eq!(house.ask(wire, merged.bytes()).status(), Some(482));
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
}

/// The same request as another edge passes it on.
fn copy(request: &Request, edge: u32) -> Vec<u8> {
    let via = format!("SIP/2.0/TLS edge{edge}.contoso.com;branch=z9hG4bK-e{edge}");
    request.clone().set(|request| request.via = via).bytes()
}

#[test]
fn im_18_a_message_forked_over_two_edges_is_delivered_once() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let (first, second) = (house.front_end(), house.connect_as(SipPeer::FrontEnd(1), false));
    let request = Request::message(BOB, "hi");
    house.send(first, copy(&request, 1));
    assert_eq!(house.ask(second, copy(&request, 2)).status(), Some(482), "it is under way");
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    assert_eq!(house.taken(first).iter().map(|answer| answer.status()).collect::<Vec<_>>(), [Some(200)]);
    assert_eq!(house.ask(second, copy(&request, 3)).status(), Some(482), "it has been delivered");
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
}

#[test]
fn im_18_a_message_that_was_refused_is_taken_over_another_edge() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let (first, second) = (house.front_end(), house.front_end());
    let request = Request::message(BOB, "hi");
    house.send(first, copy(&request, 1));
    house.advance(Duration::from_secs(11));
    let refusal = house.taken(first).pop().expect("it is answered");
    assert!(refusal.status() >= Some(400), "{refusal}");
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    assert_eq!(house.ask(second, copy(&request, 2)).status(), Some(200));
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
}

#[test]
fn arc_06_our_own_output_fed_back_goes_nowhere() {
    let mut house = House::new();
    let wire = house.front_end();
    house.partner_says("fabrikam.com", &from_bob("x", "", "<body>round</body>"));
    let mut sent = 0;
    while let Some(request) = house.requests.pop_front() {
        sent += 1;
        assert!(sent < 3, "it goes round");
        // As a proxy sends it on; and as one that hides where it was.
        let on = request.raw.replacen("Via: ", "Via: SIP/2.0/TLS fe;branch=z9hG4bK-fe\r\nVia: ", 1);
        let answer = house.ask(wire, on);
        assert_eq!(answer.status(), Some(482), "{answer}");
        assert!(answer.must("ms-diagnostics").unwrap().contains("our own"), "{answer}");
        let answer = house.ask(wire, request.raw.replace(NAME, "fe.contoso.com"));
        assert_eq!(answer.status(), Some(403), "{answer}");
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
}

/// Gateway A reaches fabrikam.com over XMPP, where gateway B stands, whose front end routes fabrikam.com to A again.
#[test]
fn arc_07_two_gateways_with_crossed_domains_come_to_an_end() {
    let mut a = House::new();
    let mut b = House::planned(Plan {
        served: &["fabrikam.com"],
        partners: &[("contoso.com", nuncio_translate::judge::PartnerType::Federated, true)],
        label: "n2",
        ..Plan::default()
    });
    let wire = a.front_end();
    a.send(wire, Request::message(BOB, "round and round").bytes());
    let (mut rounds, mut last) = (0, None);
    loop {
        last = a.taken(wire).pop().or(last);
        let Some(stanza) = a.stanzas("fabrikam.com").pop() else { break };
        rounds += 1;
        assert!(rounds <= 100, "it does not end");
        b.partner_says("contoso.com", &stanza.raw);
        let Some(request) = b.requests().pop() else { break };
        // As a proxy does: another Via, one hop less.
        let hops: u32 = request.must("Max-Forwards").unwrap().parse().unwrap();
        let forwarded = request
            .raw
            .replace(&format!("Max-Forwards: {hops}"), &format!("Max-Forwards: {}", hops.saturating_sub(1)))
            .replacen("Via: ", &format!("Via: SIP/2.0/TLS fe;branch=z9hG4bK-r{rounds}\r\nVia: "), 1);
        // Two gateways have two names.
        a.send(wire, forwarded.replace(NAME, "nuncio.fabrikam.com"));
    }
    assert!((2..=60).contains(&rounds), "{rounds} rounds");
    let refused =
        last.is_some_and(|answer| answer.status() == Some(483)) || !b.stanzas("contoso.com").is_empty();
    assert!(refused, "and the end of it is reported");
}

#[test]
fn im_20_what_waited_says_since_when() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    house.send(wire, Request::message(BOB, "early").bytes());
    house.advance(Duration::from_secs(4));
    house.send(wire, Request::message(BOB, "late").bytes());
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    let stanzas = house.stanzas("fabrikam.com");
    let delay = stanzas[0].child("delay").unwrap();
    assert_eq!(
        (delay.attribute("stamp"), delay.attribute("from")),
        (Some("2026-11-20T14:18:05.000Z"), Some("contoso.com"))
    );
    assert!(stanzas[1].child("delay").is_none());
}

#[test]
fn a_full_pair_says_so_and_loses_nothing() {
    let mut house = House::planned(Plan { pair_queue: 3, ..Plan::default() });
    house.rule = Box::new(|_| Reply::Silence);
    for number in 0..5 {
        house.partner_says("fabrikam.com", &from_bob(&format!("m{number}"), "", "<body>x</body>"));
    }
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(errors.len(), 1, "one pending, three waiting, one too many");
    assert_eq!((errors[0].condition(), errors[0].attribute("id")), (Some("resource-constraint"), Some("m4")));
    assert_eq!(errors[0].child("error").unwrap().attribute("type"), Some("wait"));
    // What waited too long is reported as well, in order.
    house.advance(Duration::from_secs(11));
    let ids: Vec<_> =
        house.stanzas("fabrikam.com").iter().map(|e| e.attribute("id").unwrap().to_owned()).collect();
    assert_eq!(ids, ["m1", "m2", "m3"]);
}

/// F2 of the example, as the proxy sends it to us, and F3, which it passes on by the second Via.
#[test]
fn tv_53_the_flow_of_rfc_3428() {
    let mut house = House::new();
    let wire = house.front_end();
    let message = Request::new("MESSAGE", BOB)
        .with("Via: SIP/2.0/TCP user1pc.domain.com;branch=z9hG4bK776sgdkse;\r\n  received=1.2.3.4")
        .with("Content-Type: text/plain")
        .with_body("Watson, come here.")
        .set(|request| {
            request.via = "SIP/2.0/TLS proxy.domain.com;branch=z9hG4bK123dsghds".to_owned();
            request.from = "sip:alice@contoso.com;tag=49394".to_owned();
            request.to = "sip:bob@fabrikam.com".to_owned();
            request.call_id = "asd88asd77a@1.2.3.4".to_owned();
            request.max_forwards = Some(69);
        });
    let answer = house.ask(wire, message.bytes());
    assert_eq!((answer.status(), answer.body.as_str()), (Some(200), ""));
    let vias: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "Via").map(|(_, value)| value).collect();
    assert_eq!(vias.len(), 2, "{answer}");
    assert!(vias[0].contains("z9hG4bK123dsghds") && vias[1].contains("z9hG4bK776sgdkse"), "{answer}");
    assert!(vias[1].contains("received=1.2.3.4"), "{answer}");
    assert_eq!(answer.header("From"), Some("sip:alice@contoso.com;tag=49394"));
    assert!(answer.must("To").unwrap().starts_with("sip:bob@fabrikam.com;tag="), "{answer}");
    assert_eq!(
        (answer.header("Call-ID"), answer.header("CSeq")),
        (Some("asd88asd77a@1.2.3.4"), Some("1 MESSAGE"))
    );
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!(stanza.body(), Some("Watson, come here."));
    assert_eq!((stanza.attribute("from"), stanza.attribute("to")), (Some(ALICE), Some(BOB)));
}
