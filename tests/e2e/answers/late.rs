//! Errors that come after the SIP user was told that all is well (DEC-02), and what may have been lost: a MESSAGE from the
//! contact's address says so, without the body.

use std::time::Duration;

use crate::house::{House, Plan, Reply};
use crate::text::Request;

const BODY: &str = "the words nobody else may read";

/// alice writes to bob; the id of her stanza.
fn alice_writes(house: &mut House, to: &str) -> String {
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(to, BODY).bytes()).status(), Some(200));
    let domain = to.rsplit('@').next().unwrap();
    house.stanzas(domain).remove(0).attribute("id").unwrap().to_owned()
}

fn error(from: &str, to: &str, id: &str, condition: &str, by: &str) -> String {
    format!(
        "<message type='error' from='{from}' to='{to}' id='{id}'><body>{BODY}</body><error type='cancel' {by}>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>Words of the partner</text></error></message>"
    )
}

#[test]
fn a_late_error_becomes_a_notice_from_the_contact() {
    let mut house = House::new();
    let id = alice_writes(&mut house, "bob@fabrikam.com");
    house.advance(Duration::from_secs(90));
    house.partner_says(
        "fabrikam.com",
        &error("bob@fabrikam.com/x", "alice@contoso.com", &id, "item-not-found", ""),
    );
    let requests = house.requests();
    assert_eq!(requests.len(), 1);
    let notice = &requests[0];
    assert_eq!(notice.start, "MESSAGE sip:alice@contoso.com SIP/2.0");
    assert_eq!(notice.address("From").unwrap(), "sip:bob@fabrikam.com");
    assert_eq!(notice.header("Content-Type"), Some("text/plain;charset=UTF-8"));
    assert_eq!(
        notice.body,
        "Your message to bob@fabrikam.com of 2026-11-20 14:18:05 UTC was not delivered: the recipient does not exist \
         (reported by bob@fabrikam.com)."
    );
    assert!(house.stanzas("fabrikam.com").is_empty(), "an error is not answered");
    assert_eq!((house.count("late_errors"), house.count("notices_delivered")), (1, 1));
}

/// The id of a stanza is good for a day; whoever has it must not make the SIP user hear of it again and again.
#[test]
fn an_error_sent_again_is_not_told_again_for_as_long_as_its_id_is_good() {
    let mut house = House::new();
    let id = alice_writes(&mut house, "bob@fabrikam.com");
    let stanza = error("bob@fabrikam.com/x", "alice@contoso.com", &id, "item-not-found", "");
    for _ in 0..30 {
        house.partner_says("fabrikam.com", &stanza);
        house.advance(Duration::from_secs(3600));
    }
    assert_eq!(house.requests().len(), 1);
    assert_eq!((house.count("late_errors"), house.count("late_errors_repeated")), (1, 23));
    assert_eq!(house.count("foreign_errors"), 6, "a day old, or older");
    assert_eq!(house.gateway.holdings().pairs, 0, "nothing is kept any longer");
}

/// After a restart nothing is known of the pair. What is learnt is kept all the same.
#[test]
fn an_error_sent_again_after_a_restart_is_told_once() {
    let mut before = House::new();
    let id = alice_writes(&mut before, "bob@fabrikam.com");
    let mut after = House::planned(Plan { unix_ms: Plan::default().unix_ms + 3_600_000, ..Plan::default() });
    let stanza = error("bob@fabrikam.com/x", "alice@contoso.com", &id, "item-not-found", "");
    for _ in 0..10 {
        after.partner_says("fabrikam.com", &stanza);
        after.advance(Duration::from_secs(600));
    }
    assert_eq!(after.requests().len(), 1);
}

#[test]
fn who_reports_is_said_only_as_far_as_the_stream_vouches_for_it() {
    for (by, shown) in [
        ("by='fabrikam.com'", "fabrikam.com"),
        ("by='spam@fabrikam.com/Call 0900 now'", "spam@fabrikam.com"),
        ("by='Your account was closed. Call 0900.'", "bob@fabrikam.com"),
        ("by='security@contoso.com'", "bob@fabrikam.com"),
        ("by=''", "bob@fabrikam.com"),
    ] {
        let mut house = House::new();
        let id = alice_writes(&mut house, "bob@fabrikam.com");
        let from = "bob@fabrikam.com/also words";
        house.partner_says("fabrikam.com", &error(from, "alice@contoso.com", &id, "forbidden", by));
        let body = house.requests().remove(0).body;
        assert!(body.ends_with(&format!("(reported by {shown}).")), "{by}: {body}");
        assert!(
            !body.contains("0900") && !body.contains("also words") && !body.contains("Words"),
            "{by}: {body}"
        );
    }
}

#[test]
fn err_05_exs_every_condition_is_told_in_words_and_never_with_the_body() {
    let conditions = [
        "bad-request",
        "conflict",
        "feature-not-implemented",
        "forbidden",
        "gone",
        "internal-server-error",
        "item-not-found",
        "jid-malformed",
        "not-acceptable",
        "not-allowed",
        "not-authorized",
        "policy-violation",
        "recipient-unavailable",
        "redirect",
        "registration-required",
        "remote-server-not-found",
        "remote-server-timeout",
        "resource-constraint",
        "service-unavailable",
        "subscription-required",
        "undefined-condition",
        "unexpected-request",
        "made-up",
    ];
    let mut seen = std::collections::BTreeMap::new();
    for condition in conditions {
        let mut house = House::new();
        let id = alice_writes(&mut house, "bob@fabrikam.com");
        house.partner_says(
            "fabrikam.com",
            &error("bob@fabrikam.com", "alice@contoso.com", &id, condition, ""),
        );
        let notice = house.requests().remove(0);
        assert!(!notice.raw.contains(BODY) && !notice.body.contains(['\r', '\n']), "{notice}");
        seen.insert(condition, notice.body);
    }
    // ERR-05: an unknown one is an undefined one; all others differ.
    assert_eq!(seen["made-up"], seen["undefined-condition"]);
    let different: std::collections::BTreeSet<_> = seen.values().collect();
    assert_eq!(different.len(), conditions.len() - 1);
}

#[test]
fn forged_altered_and_misplaced_ids_are_counted_and_dropped() {
    let mut house = House::new();
    let id = alice_writes(&mut house, "bob@fabrikam.com");
    let last = id.chars().last().unwrap();
    let altered = format!("{}{}", &id[..id.len() - 1], if last == '0' { '1' } else { '0' });
    let parts: Vec<_> = id.split('.').collect();
    let other_time = [parts[0], parts[1], "1jf0q8c3f", parts[3]].join(".");
    let other_kind = id.replacen(".m", ".p", 1);
    let (bob, alice) = ("bob@fabrikam.com", "alice@contoso.com");
    let mut forged = 0;
    for (from, to, id, is_forged) in [
        (bob, alice, altered.as_str(), true),
        (bob, alice, &other_time, true),
        (bob, alice, &other_kind, true),
        // Genuine, but of another conversation.
        ("carol@fabrikam.com", alice, &id, true),
        (bob, "carol@contoso.com", &id, true),
        // Not ours at all.
        (bob, alice, "purple1234", false),
        (bob, alice, "", false),
        (bob, alice, &id.to_uppercase(), false),
        (bob, alice, &format!(" {id}"), false),
        (bob, alice, &"x".repeat(10_000), false),
    ] {
        house.partner_says("fabrikam.com", &error(from, to, id, "item-not-found", ""));
        house.advance(Duration::from_secs(1));
        assert!(house.requests().is_empty(), "{from} {to} {id}");
        assert!(house.stanzas("fabrikam.com").is_empty(), "{from} {to} {id}");
        forged += u64::from(is_forged);
        assert_eq!(house.count("forged_ids"), forged, "{from} {to} {id}");
    }
    assert_eq!((house.count("foreign_errors"), house.count("late_errors")), (5, 0));
    // Another partner cannot use it either.
    house.partner_says("public.example", &error("bob@public.example", alice, &id, "item-not-found", ""));
    assert!(house.requests().is_empty());
}

#[test]
fn an_id_from_before_a_restart_is_still_known_and_from_another_key_is_not() {
    let mut before = House::new();
    let id = alice_writes(&mut before, "bob@fabrikam.com");
    let later = |key| Plan { key, unix_ms: Plan::default().unix_ms + 3_600_000, ..Plan::default() };
    let stanza = error("bob@fabrikam.com", "alice@contoso.com", &id, "service-unavailable", "");

    let mut after = House::planned(later(*b"sixteen byte key"));
    after.partner_says("fabrikam.com", &stanza);
    let notice = after.requests().remove(0);
    assert!(notice.body.contains("of 2026-11-20 14:18:05 UTC was not delivered"), "{notice}");

    let mut other = House::planned(later(*b"another long key"));
    other.partner_says("fabrikam.com", &stanza);
    assert!(other.requests().is_empty());
    assert_eq!(other.count("forged_ids"), 1);
}

#[test]
fn what_was_written_and_never_proved_is_reported_as_doubtful() {
    let mut house = House::new();
    house.pings_answered = false;
    let wire = house.front_end();
    for _ in 0..3 {
        assert_eq!(house.ask(wire, Request::message("bob@fabrikam.com", BODY).bytes()).status(), Some(200));
        house.advance(Duration::from_secs(1));
    }
    house.rule = Box::new(|_| Reply::Silence);
    let now = house.now;
    house.line("fabrikam.com").cut(now);
    house.run();
    let first = house.requests().remove(0);
    assert!(first.body.contains("may not have arrived"), "{first}");
    let (hop, answer) = (house.hop(), first.answer(200, "OK", &[]).unwrap());
    house.send(hop, answer);
    // What followed while the first was pending is gathered in one.
    let second = house.requests();
    assert_eq!(second.len(), 1);
    assert!(
        second[0].body.starts_with("2 of your messages to bob@fabrikam.com, sent from "),
        "{}",
        second[0].body
    );
    assert!(!second[0].raw.contains(BODY));
    assert_eq!(house.count("sip_to_xmpp_may_be_lost"), 3);
}

#[test]
fn what_a_ping_has_proved_is_not_doubtful() {
    let mut house = House::new();
    alice_writes(&mut house, "bob@fabrikam.com");
    let now = house.now;
    house.line("fabrikam.com").cut(now);
    house.run();
    assert!(house.requests().is_empty());
    assert_eq!(house.count("sip_to_xmpp_may_be_lost"), 0);
}

#[test]
fn pg_01_an_error_answer_to_a_ping_proves_as_much_as_a_result() {
    let mut house = House::new();
    house.pings_answered = false;
    alice_writes(&mut house, "bob@fabrikam.com");
    // The lane sends one ping, and the next one only when that is answered.
    let ping = house.ping_of("fabrikam.com");
    house.partner_says(
        "fabrikam.com",
        &format!(
            "<iq type='error' id='{ping}' from='fabrikam.com' to='contoso.com'><error type='cancel'>\
             <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        ),
    );
    let now = house.now;
    house.line("fabrikam.com").cut(now);
    house.run();
    assert!(house.requests().is_empty(), "still in doubt");
    assert_eq!(house.count("sip_to_xmpp_may_be_lost"), 0);
}

#[test]
fn a_forged_ping_answer_proves_nothing() {
    let mut house = House::new();
    house.pings_answered = false;
    alice_writes(&mut house, "bob@fabrikam.com");
    house.partner_says(
        "public.example",
        "<iq type='result' id='n1.i1.0.0000000000000000' from='public.example' to='contoso.com'/>",
    );
    house.partner_says(
        "fabrikam.com",
        "<iq type='result' id='n1.i1.0.0000000000000000' from='fabrikam.com' to='contoso.com'/>",
    );
    assert_eq!(house.count("forged_ids"), 2);
    let now = house.now;
    house.line("fabrikam.com").cut(now);
    house.run();
    assert_eq!(house.requests().len(), 1, "still in doubt");
}
