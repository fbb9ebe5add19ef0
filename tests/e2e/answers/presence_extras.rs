//! What front ends in the style of Lync add to subscriptions: BENOTIFY, the first document in the 2xx, a subscription that its
//! notifications extend. As notifier it is given to who asks; as subscriber what comes is taken.

use nuncio_world::sip_text::SipMessage;

use crate::house::{House, Reply};
use crate::presence_formats::{CATEGORIES, LYNC, MSRTC, categories, note, state, subscribe_with};
use crate::text::Request;
use crate::watching::*;

/// A house whose front end answers everything but BENOTIFY.
fn quiet_house() -> House {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("BENOTIFY") => Reply::Silence,
        _ => accepts(request),
    });
    house
}

/// Alice's client in the style of Lync watches bob, who is available.
fn watched() -> (House, usize, Dialog) {
    let mut house = quiet_house();
    let wire = house.front_end();
    let request = subscribe_with(LYNC);
    let answer = house.ask(wire, request.bytes());
    let dialog = Dialog::made(&request, &answer);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(3 * SECOND);
    assert_eq!(house.told(PARTNER), ["subscribe", "probe"]);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(10 * SECOND);
    house.requests();
    (house, wire, dialog)
}

/// A refresh of the same client.
fn refresh(dialog: &mut Dialog, expires: u32) -> Request {
    let mut refresh = dialog.request("SUBSCRIBE");
    refresh.more = subscribe_with(LYNC).more;
    refresh.more.retain(|line| !line.starts_with("Expires"));
    refresh.with(format!("Expires: {expires}"))
}

fn shows(request: &SipMessage) -> (&str, &str, &str) {
    (
        request.method().unwrap(),
        request.must("Subscription-State").unwrap(),
        if request.body.contains("<availability>3500") { "available" } else { "else" },
    )
}

#[test]
fn who_asks_for_benotify_gets_it_and_is_told_so() {
    let mut house = quiet_house();
    let wire = house.front_end();
    let answer = house.ask(wire, subscribe_with(LYNC).bytes());
    assert_eq!(answer.header("Supported"), Some("com.microsoft.autoextend, ms-benotify"), "{answer}");
    // Nothing is to be seen yet, so nothing stands in the answer.
    assert_eq!((answer.header("ms-piggyback-cseq"), answer.body.as_str()), (None, ""), "{answer}");
    let first = house.request();
    assert_eq!((first.method(), first.header("CSeq")), (Some("BENOTIFY"), Some("1 BENOTIFY")));
    assert_eq!(first.must("Subscription-State").unwrap(), "pending;expires=28800");
}

#[test]
fn who_does_not_ask_gets_nothing_of_it() {
    let mut house = house();
    let wire = house.front_end();
    let answer = house.ask(wire, subscribe(BOB, 3600).bytes());
    assert_eq!((answer.status(), answer.header("Supported")), (Some(200), None), "{answer}");
    assert_eq!(house.request().method(), Some("NOTIFY"));
    house.partner_says(PARTNER, &stanza("carol@fabrikam.com", "type='subscribe'", ""));
    let ours = house.request();
    assert_eq!((ours.header("Supported"), ours.header("Proxy-Require")), (None, None), "{ours}");
}

#[test]
fn nobody_waits_for_an_answer_to_a_benotify() {
    let (mut house, _, _) = watched();
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(SECOND);
    assert_eq!(house.request().method(), Some("BENOTIFY"));
    // Long after a transaction would have ended, and the subscription with it.
    house.advance(2 * MINUTE);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(SECOND);
    assert_eq!(shows(&house.request()), ("BENOTIFY", "active;expires=28800", "available"));
}

#[test]
fn a_benotify_that_dies_with_its_connection_goes_out_on_the_next_one() {
    let (mut house, _, _) = watched();
    let hop = house.hop();
    house.wires[hop].stuck = true;
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(10 * SECOND);
    assert!(house.requests().is_empty());
    house.cut(hop);
    house.advance(SECOND);
    assert_eq!(shows(&house.request()), ("BENOTIFY", "active;expires=28800", "else"));
    house.advance(MINUTE);
    assert!(house.requests().is_empty(), "once");
}

#[test]
fn an_answer_to_a_benotify_is_not_listened_to() {
    let (mut house, _, _) = watched();
    house.rule = Box::new(|_| Reply::Status(481, "Call/Transaction Does Not Exist"));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(6 * SECOND);
    assert_eq!(house.requests().len(), 2);
}

#[test]
fn a_second_endpoint_is_told_with_the_answer() {
    let (mut house, wire, _) = watched();
    let mut second = subscribe_with(LYNC);
    second.from += ";epid=second";
    let answer = house.ask(wire, second.bytes());
    for (name, value) in [
        ("ms-piggyback-cseq", "1"),
        ("Event", "presence"),
        ("Subscription-State", "active;expires=28800"),
        ("Content-Type", CATEGORIES),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer}");
    }
    assert!(answer.to_string().contains("Supported: ms-piggyback-first-notify"), "{answer}");
    assert!(answer.body.contains("<availability>3500"), "{answer}");
    house.advance(MINUTE);
    assert!(house.requests().is_empty(), "no NOTIFY follows");
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='unavailable'", ""));
    house.advance(SECOND);
    let requests = house.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests.iter().any(|request| request.header("CSeq") == Some("2 BENOTIFY")), "{requests:?}");
}

#[test]
fn a_refresh_is_told_with_the_answer() {
    let (mut house, wire, mut dialog) = watched();
    let answer = house.ask(wire, refresh(&mut dialog, 600).bytes());
    assert_eq!(answer.header("Subscription-State"), Some("active;expires=600"), "{answer}");
    assert!(answer.body.contains("<availability>3500"), "{answer}");
    house.run();
    assert!(house.requests().is_empty());
}

#[test]
fn each_notification_extends_the_subscription() {
    let (mut house, wire, mut dialog) = watched();
    house.ask(wire, refresh(&mut dialog, 600).bytes());
    house.advance(8 * MINUTE);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(SECOND);
    assert_eq!(shows(&house.request()).1, "active;expires=600");
    house.advance(9 * MINUTE);
    assert!(house.requests().is_empty(), "it has not ended");
    house.advance(2 * MINUTE);
    assert_eq!(shows(&house.request()).1, "terminated;reason=timeout");
}

#[test]
fn a_front_end_that_has_forgotten_is_found_out_although_it_answers_nothing() {
    let (mut house, wire, mut dialog) = watched();
    house.ask(wire, refresh(&mut dialog, 600).bytes());
    house.rule = Box::new(|request| match request.method() {
        Some("BENOTIFY") => Reply::Silence,
        _ => Reply::Status(481, "Call/Transaction Does Not Exist"),
    });
    let mut methods = Vec::new();
    for show in ["dnd", "away", "dnd", "away"] {
        let show = format!("<show>{show}</show>");
        house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", &show));
        house.advance(5 * MINUTE);
        methods.extend(house.requests().iter().map(|request| request.method().unwrap().to_owned()));
    }
    assert_eq!(methods, ["BENOTIFY", "BENOTIFY", "BENOTIFY", "NOTIFY"]);
    assert_eq!(house.told(PARTNER), ["unavailable"], "alice is gone");
}

#[test]
fn a_benotify_is_taken_in_and_never_answered() {
    let mut house = house();
    let (wire, mut dialog) = house.contact_asks(BOB);
    let benotify = |dialog: &mut Dialog, media: &str, availability| {
        let more = [state(availability, ""), note("Working at home")];
        dialog
            .request("BENOTIFY")
            .with(format!("Subscription-State: {OPEN}"))
            .with(format!("Contact: {HERE}"))
            .with(format!("Content-Type: {media}"))
            .with_body(categories(&more))
    };
    house.taken(wire);
    house.send(wire, benotify(&mut dialog, CATEGORIES, 15500).bytes());
    house.run();
    assert_eq!(house.told(PARTNER), ["subscribed", "available sip away Working at home"]);
    // Neither what cannot be read, nor what belongs to no subscription, nor what is in no dialog.
    house.send(wire, benotify(&mut dialog, MSRTC, 3500).bytes());
    dialog.remote = dialog.remote.replace(";tag=", ";tag=x");
    house.send(wire, benotify(&mut dialog, CATEGORIES, 3500).bytes());
    house.send(wire, Request::new("BENOTIFY", ALICE).with("Event: presence").bytes());
    house.run();
    assert!(house.told(PARTNER).is_empty());
    let answers = house.taken(wire);
    assert!(answers.iter().all(|message| message.status().is_none()), "{answers:?}");
}

#[test]
fn a_document_in_the_answer_of_a_front_end_is_shown() {
    let mut house = house();
    house.rule = Box::new(|request| {
        let Reply::With(_, _, mut more) = accepts(request) else { return accepts(request) };
        more.push(("Supported", "ms-piggyback-first-notify".to_owned()));
        more.push(("ms-piggyback-cseq", "1".to_owned()));
        more.push(("Event", "presence".to_owned()));
        more.push(("Subscription-State", OPEN.to_owned()));
        more.push(("Content-Type", CATEGORIES.to_owned()));
        let document = categories(&[state(15500, ""), note("At home")]);
        Reply::Body(200, "OK", more, document.leak())
    });
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe' id='s1'", ""));
    assert_eq!(house.told(PARTNER), ["subscribed", "available sip away At home"]);
    house.advance(MINUTE);
    assert_eq!(house.requests().len(), 1, "no NOTIFY is missed");
    assert!(house.told(PARTNER).is_empty());
}
