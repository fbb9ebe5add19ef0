//! What a remote user may not know (mission, rule 3): every refusal is the same bytes, and takes the time that a front
//! end takes. And the trust that decides (the trust levels, messages only so far).

use std::time::Duration;

use nuncio_translate::judge::{Partner, PartnerType, Refusal, Snapshot, UserPolicy, UserRule, Verdict, Who};
use nuncio_world::xml::Element;

use crate::house::{House, Reply};
use crate::text::Request;

const TAKES: Duration = Duration::from_millis(137);
const SENT: Duration = Duration::from_secs(2);

fn message(from: &str, to: &str, more: &str) -> String {
    format!("<message from='{from}' to='{to}' id='id-1' {more}><body>let me in</body></message>")
}

fn iq(from: &str, to: &str) -> String {
    format!("<iq type='get' from='{from}' to='{to}' id='id-1'><vCard xmlns='vcard-temp'/></iq>")
}

/// The answer without what belongs to the sender: his address and ours, his id, and the kind of his stanza.
fn blank(answer: &Element) -> String {
    let mut text = answer.raw.clone();
    for name in ["from", "to", "id"] {
        let value = answer.attribute(name).unwrap();
        let found = ["'", "\""].iter().any(|quote| {
            let attribute = format!("{name}={quote}{value}{quote}");
            let there = text.contains(&attribute);
            text = text.replacen(&attribute, &format!("{name}=?"), 1);
            there
        });
        assert!(found, "{text}");
    }
    let kind = &answer.name;
    text.replacen(&format!("<{kind} "), "<stanza ", 1).replace(&format!("</{kind}>"), "</stanza>")
}

/// Lets the partner say it; the answer and how long it took.
fn answered(house: &mut House, remote: &str, xml: &str) -> (String, Duration) {
    let begin = house.now.instant;
    house.partner_says(remote, xml);
    loop {
        let answers = house.stanzas(remote);
        let took = house.now.instant - begin;
        match &answers[..] {
            [answer] => return (blank(answer), took),
            [] => assert!(took < SENT, "no answer to {xml}"),
            more => panic!("{more:?}"),
        }
        house.advance(Duration::from_millis(1));
    }
}

fn refusing_house(status: u16) -> House {
    let mut house = House::new();
    house.front_end_takes = TAKES;
    house.rule = Box::new(move |_| Reply::Status(status, "Because alice is on holiday"));
    house
}

#[test]
fn xe_13_and_sec_43_uniform_refusals_are_the_same_bytes_and_take_the_same_time() {
    let mut seen = Vec::new();
    // The front end says no, for any reason.
    for status in [404, 403, 480, 486, 410, 401, 407, 484, 485, 600, 603, 604, 302] {
        let mut house = refusing_house(status);
        let (text, took) =
            answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com/home", "nobody@contoso.com", ""));
        assert_eq!(took, TAKES, "{status}");
        seen.push((format!("front end: {status}"), text));
    }
    // The gateway says no. It has seen how long the front end takes.
    let gateway_refuses = [
        (
            "trust, a user who is there",
            "public.example",
            message("eve@public.example/x", "alice@contoso.com", "type='chat'"),
        ),
        ("trust, nobody", "public.example", message("eve@public.example", "nobody@contoso.com", "")),
        ("group chat", "fabrikam.com", message("bob@fabrikam.com", "alice@contoso.com", "type='groupchat'")),
        (
            "group chat, nobody",
            "fabrikam.com",
            message("bob@fabrikam.com", "nobody@contoso.com", "type='groupchat'"),
        ),
        ("iq", "fabrikam.com", iq("bob@fabrikam.com/home", "alice@contoso.com")),
        ("iq to a device", "fabrikam.com", iq("bob@fabrikam.com/home", "alice@contoso.com/phone")),
        ("iq, nobody", "fabrikam.com", iq("bob@fabrikam.com/home", "nobody@contoso.com")),
        ("iq without trust", "public.example", iq("eve@public.example", "alice@contoso.com")),
    ];
    for (what, remote, xml) in gateway_refuses {
        let mut house = refusing_house(404);
        answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "nobody@contoso.com", ""));
        house.requests();
        let (text, took) = answered(&mut house, remote, &xml);
        assert_eq!(took, TAKES, "{what}");
        assert!(house.requests().is_empty(), "{what}: something crossed");
        seen.push((what.to_owned(), text));
    }
    // The partner is disabled while its stream is open.
    let mut house = refusing_house(404);
    answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "nobody@contoso.com", ""));
    house.requests();
    let partner =
        Partner { domain: "fabrikam.com".into(), partner_type: PartnerType::Federated, enabled: false };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]));
    let (text, took) =
        answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "alice@contoso.com", ""));
    assert_eq!(took, TAKES);
    assert!(house.requests().is_empty());
    seen.push(("disabled".to_owned(), text));

    // The administrator's policy denies it to the SIP user.
    let mut house = refusing_house(404);
    answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "nobody@contoso.com", ""));
    house.requests();
    house.gateway.set_policy(denying("alice@contoso.com"));
    let (text, took) =
        answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "alice@contoso.com", ""));
    assert_eq!(took, TAKES);
    assert!(house.requests().is_empty());
    seen.push(("denied by policy".to_owned(), text));

    // The administrator has blocked the contact, or his whole domain.
    for blocked in ["bob@fabrikam.com", "fabrikam.com"] {
        let mut house = refusing_house(404);
        answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "nobody@contoso.com", ""));
        house.requests();
        let policy = house.gateway.policy().as_ref().clone();
        house.gateway.set_policy(policy.with_generation(2).with_blocked([blocked.into()]));
        let (text, took) =
            answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "alice@contoso.com", ""));
        assert_eq!(took, TAKES, "{blocked}");
        assert!(house.requests().is_empty(), "{blocked}: something crossed");
        seen.push((format!("blocked: {blocked}"), text));
    }

    let (first, expected) = &seen[0];
    assert!(expected.contains("<service-unavailable ") && !expected.contains("text"), "{expected}");
    for (what, text) in &seen {
        assert_eq!(text, expected, "{what} differs from {first}");
    }
}

/// A policy that denies one SIP user everything.
fn denying(user: &str) -> Snapshot {
    let partner =
        Partner { domain: "fabrikam.com".into(), partner_type: PartnerType::Federated, enabled: true };
    let rule = UserRule { who: vec![Who::User(user.into())], partners: Vec::new(), verdict: Verdict::Deny };
    Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]).with_users(UserPolicy::new(
        true,
        Verdict::Allow,
        vec![rule],
    ))
}

#[test]
fn trust_a_sip_user_whom_policy_denies_is_told_so_and_others_are_not_affected() {
    let mut house = House::new();
    let wire = house.front_end();
    house.gateway.set_policy(denying("alice@contoso.com"));
    let answer = house.ask(wire, Request::message("bob@fabrikam.com", "x").bytes());
    assert_eq!(answer.status(), Some(403));
    let why = answer.must("ms-diagnostics").unwrap();
    assert!(why.starts_with("1002;") && why.contains("user-denied"), "{why}");
    assert!(house.stanzas("fabrikam.com").is_empty());
    let carol = Request::message("bob@fabrikam.com", "x")
        .set(|request| request.from = "<sip:carol@contoso.com>;tag=1".to_owned());
    assert_eq!(house.ask(wire, carol.bytes()).status(), Some(200));
}

#[test]
fn sec_43_the_time_of_a_refusal_is_drawn_from_those_of_the_front_end() {
    let mut house = House::new();
    let times = [20, 45, 90].map(Duration::from_millis);
    for (number, time) in times.into_iter().enumerate() {
        house.front_end_takes = time;
        // What the front end accepts is no model for a refusal, nor is one that took too long to be normal.
        let slow = number == 1;
        house.rule = Box::new(|_| Reply::Status(404, "Not Found"));
        answered(&mut house, "fabrikam.com", &message("bob@fabrikam.com", "nobody@contoso.com", ""));
        house.rule = Box::new(|_| Reply::Status(200, "OK"));
        house.front_end_takes = if slow { Duration::from_secs(20) } else { Duration::from_millis(1) };
        house.partner_says("fabrikam.com", &message("bob@fabrikam.com", "alice@contoso.com", ""));
        house.advance(Duration::from_secs(30));
    }
    let mut drawn = std::collections::BTreeSet::new();
    for number in 0..60 {
        let xml = message(&format!("eve{number}@public.example"), "alice@contoso.com", "");
        drawn.insert(answered(&mut house, "public.example", &xml).1);
    }
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), times);
}

fn eve_writes(house: &mut House) -> bool {
    house.partner_says("public.example", &message("eve@public.example/x", "alice@contoso.com", ""));
    house.advance(Duration::from_secs(1));
    let (crossed, refused) = (house.requests().len(), house.stanzas("public.example").len());
    assert_eq!(crossed + refused, 1, "either or");
    crossed == 1
}

#[test]
fn trust_public_unverified_contacts_may_answer_for_a_day() {
    let mut house = House::new();
    let wire = house.front_end();
    assert!(!eve_writes(&mut house), "before the SIP user wrote");
    // Somebody else's message opens nothing, nor one to somebody else.
    let carol = Request::message("eve@public.example", "x")
        .set(|request| request.from = "<sip:carol@contoso.com>;tag=1".to_owned());
    house.ask(wire, carol.bytes());
    house.ask(wire, Request::message("mallory@public.example", "x").bytes());
    house.stanzas("public.example");
    assert!(!eve_writes(&mut house), "somebody else wrote");

    let last = house.now;
    house.ask(wire, Request::message("eve@public.example", "x").bytes());
    house.stanzas("public.example");
    assert!(eve_writes(&mut house), "after he wrote");
    let day = Duration::from_secs(24 * 3600);
    house.advance((last.instant + day - Duration::from_secs(2)) - house.now.instant);
    assert!(eve_writes(&mut house), "until the end of the day");
    house.advance(Duration::from_secs(2));
    assert!(!eve_writes(&mut house), "and no longer");

    // His next message opens it again.
    house.ask(wire, Request::message("eve@public.example", "x").bytes());
    house.stanzas("public.example");
    assert!(eve_writes(&mut house));
    assert_eq!(house.count("xmpp_to_sip_refused"), 3);
}

#[test]
fn trust_a_refused_message_of_the_sip_user_opens_nothing() {
    let mut house = House::new();
    let wire = house.front_end();
    let html =
        Request::new("MESSAGE", "eve@public.example").with("Content-Type: text/html").with_body("<b/>");
    assert_eq!(house.ask(wire, html.bytes()).status(), Some(415));
    assert!(!eve_writes(&mut house));
}

#[test]
fn trust_a_message_for_which_there_was_no_way_opens_nothing() {
    let mut house = House::new();
    house.features.insert(
        "public.example",
        "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>",
    );
    let wire = house.front_end();
    let carol = Request::message("eve@public.example", "x")
        .set(|request| request.from = "<sip:carol@contoso.com>;tag=1".to_owned());
    assert_eq!(house.ask(wire, carol.bytes()).status(), Some(200), "the limit is known now");
    house.stanzas("public.example");
    let long = Request::message("eve@public.example", &"x".repeat(10_000));
    assert_eq!(house.ask(wire, long.bytes()).status(), Some(513));
    assert!(!eve_writes(&mut house), "there is nothing to answer");
    assert_eq!(house.ask(wire, Request::message("eve@public.example", "x").bytes()).status(), Some(200));
    house.stanzas("public.example");
    assert!(eve_writes(&mut house));
}

/// What waits is judged again when it leaves.
#[test]
fn trust_what_waits_when_a_partner_is_disabled_does_not_leave() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    for _ in 0..2 {
        house.partner_says("fabrikam.com", &message("bob@fabrikam.com", "alice@contoso.com", ""));
    }
    house.reach.insert("fabrikam.com", crate::house::Reach::Pending);
    let wire = house.front_end();
    house.send(wire, Request::message("bob@fabrikam.com", "x").bytes());
    let partner =
        Partner { domain: "fabrikam.com".into(), partner_type: PartnerType::Federated, enabled: false };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(partner, Vec::new())]));
    house.reach.insert("fabrikam.com", crate::house::Reach::Up);
    let (hop, first) = (house.hop(), house.requests().remove(0));
    house.send(hop, first.answer(200, "OK", &[]).unwrap());
    house.advance(Duration::from_secs(1));
    assert!(house.requests().is_empty(), "the second message left");
    let stanzas = house.stanzas("fabrikam.com");
    assert!(stanzas.iter().all(|stanza| stanza.attribute("type") == Some("error")), "{stanzas:?}");
    let answers = house.taken(wire);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].status(), Some(403));
    assert!(answers[0].must("ms-diagnostics").unwrap().contains("partner-disabled"), "{}", answers[0]);
}

/// Policies that forbid alice to write to bob, each with the rule that says so.
fn forbidding() -> Vec<(Refusal, Snapshot)> {
    let partner = |enabled| {
        let partner =
            Partner { domain: "fabrikam.com".into(), partner_type: PartnerType::Federated, enabled };
        (partner, Vec::new())
    };
    let of = |enabled| Snapshot::new(2, ["contoso.com".into()], [partner(enabled)]);
    let users = |enabled, default| of(true).with_users(UserPolicy::new(enabled, default, vec![]));
    vec![
        (Refusal::DomainNotServed, Snapshot::new(2, ["other.example".into()], [partner(true)])),
        (Refusal::UnlistedDomain, Snapshot::new(2, ["contoso.com".into()], [])),
        (Refusal::PartnerDisabled, of(false)),
        (Refusal::DomainBlocked, of(true).with_blocked(["fabrikam.com".into()])),
        (Refusal::ContactBlocked, of(true).with_blocked(["bob@fabrikam.com".into()])),
        (Refusal::FederationOff, users(false, Verdict::Allow)),
        (Refusal::UserDenied, denying("alice@contoso.com")),
        (Refusal::UserNotAllowed, users(true, Verdict::Deny)),
    ]
}

/// Whether the stream that it waits for opens after that, or never does.
#[test]
fn trust_what_waits_and_is_forbidden_meanwhile_is_refused_by_the_rule_that_forbids_it() {
    let rules = forbidding();
    let of_users = Refusal::ALL.into_iter().filter(|refusal| *refusal != Refusal::SipUserFirst);
    assert_eq!(rules.iter().map(|(rule, _)| *rule).collect::<Vec<_>>(), of_users.collect::<Vec<_>>());
    for (rule, policy) in rules {
        for opens in [true, false] {
            let mut house = House::new();
            house.reach.insert("fabrikam.com", crate::house::Reach::Pending);
            let wire = house.front_end();
            house.send(wire, Request::message("bob@fabrikam.com", "x").bytes());
            house.gateway.set_policy(policy.clone());
            if opens {
                house.reach.insert("fabrikam.com", crate::house::Reach::Up);
            }
            house.advance(Duration::from_secs(15));
            assert!(house.stanzas("fabrikam.com").is_empty(), "{rule:?}: it left");
            let answers = house.taken(wire);
            let answer = answers.last().expect("an answer");
            assert_eq!(answer.status(), Some(403), "{rule:?}, opens: {opens}: {answer}");
            let why = answer.must("ms-diagnostics").unwrap();
            assert!(why.contains(&format!("({})", rule.name())), "{rule:?}, opens: {opens}: {why}");
            let trail = house.store.audit_trail();
            let recorded = trail.iter().filter_map(|entry| entry.to.as_deref());
            let recorded = recorded.filter(|what| what.ends_with(&format!("({})", rule.name()))).count();
            assert_eq!(recorded, 1, "{rule:?}, opens: {opens}: {trail:?}");
        }
    }
}

#[test]
fn what_does_not_cross_is_refused_with_a_reason_and_counted() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut count = 0;
    for (method, status, why) in [
        ("PUBLISH", 405, "do not cross"),
        ("BYE", 481, "a session that the gateway does not know"),
        ("NONSENSE", 501, "does not know this method"),
    ] {
        let answer = house.ask(wire, Request::new(method, "bob@fabrikam.com").bytes());
        assert_eq!(answer.status(), Some(status), "{method}");
        let diagnostics = answer.must("ms-diagnostics").unwrap();
        assert!(diagnostics.starts_with("1027;") && diagnostics.contains(why), "{method}: {diagnostics}");
        count += 1;
        assert_eq!(house.count("sip_requests_not_for_us"), count);
    }
}
