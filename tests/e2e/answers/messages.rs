//! Pager messages through the whole gateway (ARC, ADR and IM of docs/conformance.md), both ways.

use std::time::Duration;

use nuncio_translate::message::Formats;
use nuncio_world::xml::escape;

use crate::house::{House, NAME, Plan, Reach, Reply};
use crate::text::Request;

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";

fn from_bob(id: &str, attributes: &str, children: &str) -> String {
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
fn im_05_and_06_bodies_that_cannot_be_passed_on() {
    let mut house = House::new();
    let wire = house.front_end();
    let typed = |kind: &str, body: &[u8]| {
        Request::new("MESSAGE", BOB).with(format!("Content-Type: {kind}")).with_body(body)
    };
    for (request, status, header) in [
        (typed("application/foo", b"x"), 415, "Accept"),
        (typed("text/rtf", b"{\\rtf1 x}"), 415, "Accept"),
        (typed("text/html", b"<img src=x>"), 415, "Accept"),
        (typed("message/cpim", b"Require: x\r\n\r\n\r\nx"), 415, "Accept"),
        (typed("message/cpim", b"x"), 400, ""),
        (typed("text/plain;charset=koi8-r", b"x"), 415, "Accept"),
        (typed("text/plain", b"x").with("Content-Encoding: gzip"), 415, "Accept-Encoding"),
        (typed("text/plain", b"\xff\xfe"), 400, ""),
        (typed("text/plain;charset=us-ascii", b"\xc3\xbc"), 400, ""),
        (Request::new("MESSAGE", BOB).with_body("no type"), 400, ""),
    ] {
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        assert!(
            header.is_empty() || answer.header(header).is_some_and(|value| !value.is_empty()),
            "{answer}"
        );
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
    for (request, expected) in [
        (typed("text/plain;charset=iso-8859-1", b"f\xfcr"), "für"),
        (typed("TEXT/Plain", "für".as_bytes()), "für"),
        (typed("text/plain; charset=\"utf-8\"; format=flowed", "für".as_bytes()), "für"),
        (typed("text/plain;charset=utf-16le", b"f\0\xfc\0r\0"), "für"),
        (typed("text/plain; charset=UTF-8; msgr=WAAtAE0A", "für".as_bytes()), "für"),
        (typed("text/html", b"<b>f&uuml;r</b><br>dich"), "für\ndich"),
    ] {
        assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
        assert_eq!(house.stanzas("fabrikam.com")[0].body(), Some(expected));
    }
}

#[test]
fn im_04_html_crosses_as_text_and_keeps_its_form_only_where_that_is_wanted() {
    for xhtml_im in [false, true] {
        let mut house =
            House::planned(Plan { formats: Formats { xhtml_im, ..Formats::default() }, ..Plan::default() });
        let wire = house.front_end();
        let html = "<p onclick='x()'>Hi <b>Bob</b></p><script>x()</script>";
        let request = Request::new("MESSAGE", BOB).with("Content-Type: text/html").with_body(html);
        assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
        let stanza = house.stanzas("fabrikam.com").remove(0);
        assert_eq!(stanza.body(), Some("Hi Bob"));
        let kept = stanza.child("html").map(ToString::to_string);
        assert_eq!(kept.is_some(), xhtml_im, "{stanza}");
        if let Some(kept) = kept {
            assert!(kept.contains("<strong>Bob</strong>") && !kept.contains("x()"), "{kept}");
        }
    }
}

#[test]
fn pd_09_cpim_never_says_who_writes() {
    let mut house = House::new();
    let wire = house.front_end();
    let cpim = "From: Carol <im:carol@contoso.com>\r\nTo: <im:eve@fabrikam.com>\r\nSubject: Lunch\r\n\r\n\
                Content-Type: text/plain\r\n\r\nHi";
    let request = Request::new("MESSAGE", BOB).with("Content-Type: message/cpim").with_body(cpim);
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!(stanza.attribute("from"), Some("alice@contoso.com"));
    assert_eq!((stanza.attribute("to"), stanza.body()), (Some(BOB), Some("Hi")));
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

#[test]
fn im_12_types() {
    let mut house = House::new();
    for (kind, crosses) in [
        ("chat", true),
        ("normal", true),
        ("headline", true),
        ("what", true),
        ("groupchat", false),
        ("error", false),
    ] {
        house.partner_says("fabrikam.com", &from_bob(kind, &format!("type='{kind}'"), "<body>x</body>"));
        house.advance(Duration::from_secs(1));
        assert_eq!(house.requests().len(), usize::from(crosses), "{kind}");
        let answers = house.stanzas("fabrikam.com");
        assert_eq!(answers.len(), usize::from(kind == "groupchat"), "{kind}");
        assert!(answers.iter().all(|answer| answer.condition() == Some("service-unavailable")));
    }
    // SIP → XMPP: no type, which is normal.
    let wire = house.front_end();
    house.ask(wire, Request::message(BOB, "x").bytes());
    assert_eq!(house.stanzas("fabrikam.com")[0].attribute("type"), None);
}

#[test]
fn im_13_and_xi_15_what_says_nothing_sends_nothing() {
    let mut house = House::new();
    for children in [
        "",
        "<subject>only</subject>",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<body xmlns='urn:other'>foreign</body>",
        "<received xmlns='urn:xmpp:receipts' id='x'/>",
        "<body/>",
    ] {
        house.partner_says("fabrikam.com", &from_bob("x", "type='chat'", children));
        house.advance(Duration::from_secs(1));
        assert!(house.requests().is_empty() && house.stanzas("fabrikam.com").is_empty(), "{children}");
    }
    let rich = "<x xmlns='urn:unknown'><body>not this</body></x><body>this</body><body xml:lang='fr'>ceci</body>\
        <active xmlns='http://jabber.org/protocol/chatstates'/>";
    house.partner_says("fabrikam.com", &from_bob("y", "", rich));
    assert_eq!(house.requests()[0].body, "this");
    house.partner_says("fabrikam.com", &from_bob("z", "xml:lang='fr'", rich));
    let request = house.requests().remove(0);
    assert_eq!((request.body.as_str(), request.header("Content-Language")), ("this", Some("fr")));
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
fn im_14_the_language_of_the_stream_is_that_of_its_stanzas() {
    let mut house = House::new();
    let stream = crate::partner::Stream::open(
        &house.gateway,
        house.served,
        "fabrikam.com",
        "contoso.com",
        Some("de"),
        house.now,
    );
    house.streams.push(stream);
    for (attributes, lang) in [("", "de"), ("xml:lang='pt-BR'", "pt-BR")] {
        house.partner_says("fabrikam.com", &from_bob("x", attributes, "<body>x</body>"));
        assert_eq!(house.requests()[0].header("Content-Language"), Some(lang));
    }
}

#[test]
fn im_15_the_first_of_several_languages() {
    let mut house = House::new();
    let wire = house.front_end();
    for (header, lang) in
        [("Content-Language: de-AT, en", Some("de-AT")), ("Content-Language: d\u{e9}", None)]
    {
        let answer = house.ask(wire, Request::message(BOB, "x").with(header).bytes());
        assert_eq!(answer.status(), Some(200));
        assert_eq!(house.stanzas("fabrikam.com")[0].attribute("xml:lang"), lang);
    }
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
    house.ask(wire, &request);
    assert!(house.stanzas("fabrikam.com").is_empty());
    house.ask(wire, Request::new("OPTIONS", "contoso.com").bytes());
    house.ask(wire, &request);
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
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

#[test]
fn arc_05_sips_is_not_translated() {
    let mut house = House::new();
    let wire = house.front_end();
    let target = Request::message(BOB, "x").set(|request| request.uri = "sips:bob@fabrikam.com".to_owned());
    let to = Request::message(BOB, "x").set(|request| request.to = "<SIPS:bob@fabrikam.com>".to_owned());
    for request in [target, to] {
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(480));
        assert_eq!(answer.header("Warning"), Some("380 nuncio.contoso.com \"SIPS Not Allowed\""));
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
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
fn adr_16_and_dec_04_addresses_come_back_as_they_were() {
    let mut house = House::new();
    let wire = house.front_end();
    for (user, local) in [
        ("o'malley", r"o\27malley"),
        ("a%5C27b", r"a\5c27b"),
        ("a%5Cb", r"a\b"),
        ("user%40other.example", r"user\40other.example"),
        ("space%20cadet", r"space\20cadet"),
        ("f%C3%BC", "fü"),
        ("%22q%22%3Ax%3Cy%3E", r"\22q\22\3ax\3cy\3e"),
    ] {
        let request = Request::message(BOB, "x").set(|request| {
            request.uri = format!("sip:{user}@fabrikam.com");
            request.from = format!("<sip:{user}@contoso.com>;tag=1");
        });
        assert_eq!(house.ask(wire, request.bytes()).status(), Some(200), "{user}");
        let stanza = house.stanzas("fabrikam.com").remove(0);
        assert_eq!(stanza.attribute("to"), Some(&*format!("{local}@fabrikam.com")));
        assert_eq!(stanza.attribute("from"), Some(&*format!("{local}@contoso.com")));
        let back = format!(
            "<message from='{}' to='{}'><body>x</body></message>",
            escape(stanza.attribute("to").unwrap()),
            escape(stanza.attribute("from").unwrap())
        );
        house.partner_says("fabrikam.com", &back);
        let request = house.requests().remove(0);
        assert_eq!(request.start, format!("MESSAGE sip:{user}@contoso.com SIP/2.0"));
        assert_eq!(request.address("From").unwrap(), format!("sip:{user}@fabrikam.com"));
    }
}

#[test]
fn adr_08_domains_change_their_form() {
    let mut house = House::new();
    let wire = house.front_end();
    let request = Request::message("u@xn--bcher-kva.example", "x");
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
    let stanza = house.stanzas("bücher.example").remove(0);
    assert_eq!(stanza.attribute("to"), Some("u@bücher.example"));
    house.partner_says(
        "bücher.example",
        "<message from='u@bücher.example' to='alice@contoso.com'><body>x</body></message>",
    );
    assert_eq!(house.requests()[0].address("From").unwrap(), "sip:u@xn--bcher-kva.example");
}

#[test]
fn adr_17_and_23_bad_and_ambiguous_jids_cost_their_stanza_only() {
    let mut house = House::new();
    for (from, to) in [
        (r"a\5cb@fabrikam.com", "alice@contoso.com"),
        ("bob@fabrikam.com", r"a\5cb@contoso.com"),
        ("bob@fabrikam.com", "a&amp;b@contoso.com"),
        ("bob@fabrikam.com", "&#x1F4A9;@contoso.com"),
        ("b ob@fabrikam.com", "alice@contoso.com"),
        ("bob@fabrikam.com", "contoso.com"),
    ] {
        let stanza = format!("<message from='{from}' to='{to}' id='bad'><body>x</body></message>");
        house.partner_says("fabrikam.com", &stanza);
        house.advance(Duration::from_secs(1));
        assert!(house.requests().is_empty(), "{from} → {to}");
        let errors = house.stanzas("fabrikam.com");
        assert_eq!(errors.len(), 1, "{from} → {to}");
        assert_eq!(errors[0].condition(), Some("jid-malformed"), "{from} → {to}");
        assert_eq!(errors[0].attribute("id"), Some("bad"));
    }
    house.partner_says("fabrikam.com", &from_bob("good", "", "<body>x</body>"));
    assert_eq!(house.requests().len(), 1, "the stream lives on");
    assert_eq!(house.streams.len(), 1);
}

#[test]
fn adr_12_a_resource_cannot_become_a_parameter() {
    let mut house = House::new();
    let stanza = "<message from='bob@fabrikam.com/x;transport=udp>,&lt;sip:evil@x ü' to='alice@contoso.com'>\
        <body>x</body></message>";
    house.partner_says("fabrikam.com", stanza);
    let request = house.requests().remove(0);
    let expected = "sip:bob@fabrikam.com;gr=x%3Btransport%3Dudp%3E%2C%3Csip%3Aevil%40x%20%C3%BC";
    let plain_colon = expected.replace("%3A", ":");
    let from = request.address("From").unwrap();
    assert!(from == expected || from == plain_colon, "{from}");
    // And back again: the full JID if we are given it.
    let wire = house.front_end();
    let reply = Request::message(BOB, "re").set(|request| request.uri = from.to_owned());
    assert_eq!(house.ask(wire, reply.bytes()).status(), Some(200));
    let to = house.stanzas("fabrikam.com")[0].attribute("to").unwrap().to_owned();
    assert_eq!(to, "bob@fabrikam.com/x;transport=udp>,<sip:evil@x ü");
}

#[test]
fn adr_18_users_that_are_no_text() {
    let mut house = House::new();
    let wire = house.front_end();
    for user in ["null-%00-null", "%C3%28", "%20a", "a%0D%0Ab", "%zz", "%ED%A0%80"] {
        let to = Request::message(BOB, "x").set(|request| request.uri = format!("sip:{user}@fabrikam.com"));
        let status = house.ask(wire, to.bytes()).status().unwrap();
        assert!(matches!(status, 400 | 404), "{user}: {status}");
        let from = Request::message(BOB, "x")
            .set(|request| request.from = format!("<sip:{user}@contoso.com>;tag=1"));
        let status = house.ask(wire, from.bytes()).status().unwrap();
        assert!(matches!(status, 400 | 403), "{user}: {status}");
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn adr_19_passwords_and_header_parts_stay_behind() {
    let mut house = House::new();
    let wire = house.front_end();
    let request = Request::message(BOB, "x").set(|request| {
        request.uri = "sip:bob:hunter2@fabrikam.com;user=phone".to_owned();
        request.from = "<sip:alice:hunter2@contoso.com>;tag=1".to_owned();
    });
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!((stanza.attribute("from"), stanza.attribute("to")), (Some(ALICE), Some(BOB)));
    assert!(!stanza.raw.contains("hunter2"));
    let request = Request::message(BOB, "x").set(|request| request.uri += "?Subject=stolen");
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(400));
}

#[test]
fn adr_21_only_served_domains_appear_as_from() {
    let mut house = House::new();
    let wire = house.front_end();
    for from in [
        "mallory@fabrikam.com",
        "mallory@evil.example",
        "eve@sub.contoso.com",
        "eve@contoso.com.evil.example",
    ] {
        let request = Request::message(BOB, "x").set(|request| request.from = format!("<sip:{from}>;tag=1"));
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(403), "{from}");
        assert!(answer.must("ms-diagnostics").unwrap().contains("domain"), "{answer}");
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
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
