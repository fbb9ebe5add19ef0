//! The addresses of pager messages through the whole gateway (ADR and ARC-05 of docs/conformance.md), both ways.

use std::time::Duration;

use nuncio_world::xml::escape;

use crate::house::House;
use crate::messages::{ALICE, BOB, from_bob};
use crate::text::Request;

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
