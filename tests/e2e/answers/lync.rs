//! The messages of `sip/tests/lync/` at a whole gateway: they are understood, what a server has signed comes back byte for
//! byte, and nothing of what is in them but the words goes further.

use nuncio::gateway::Im;
use nuncio_world::sip_text::SipMessage;

use crate::house::{House, Plan, Reply};
use crate::watching::*;

const INVITE: &str = include_str!("../../../sip/tests/lync/invite.sip");
const ACK: &str = include_str!("../../../sip/tests/lync/ack.sip");
const MESSAGE: &str = include_str!("../../../sip/tests/lync/message.sip");
const INVITE_OK: &str = include_str!("../../../sip/tests/lync/invite-ok.sip");
const SUBSCRIBE: &str = include_str!("../../../sip/tests/lync/subscribe.sip");
const NOTIFY: &str = include_str!("../../../sip/tests/lync/notify-categories.sip");

/// Where a client wants its requests: no port, and nothing that could be looked up.
const GRUU: &str = "sip:alice@contoso.com;opaque=user:epid:p7KdQ2mYv1yBz0aWtXcJfgAA;gruu";

fn parsed(text: &str) -> SipMessage {
    SipMessage::take(&mut text.as_bytes().to_vec()).unwrap().unwrap()
}

fn filled(text: &str, places: &[(&str, &str)]) -> String {
    places.iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value))
}

fn all(message: &SipMessage, name: &str) -> Vec<String> {
    message.all(name).map(str::to_owned).collect()
}

/// The tag that the gateway has given.
fn tag(header: &str) -> &str {
    header.split_once(";tag=").unwrap().1.split(';').next().unwrap()
}

/// Nothing is changed of what belongs to others.
fn check_answer(answer: &SipMessage, request: &SipMessage, status: u16) {
    assert_eq!(answer.status(), Some(status), "{answer}");
    for name in ["From", "Call-ID", "CSeq", "Record-Route"] {
        assert_eq!(all(answer, name), all(request, name), "{name} of\n{answer}");
    }
    let (back, sent) = (all(answer, "Via"), all(request, "Via"));
    // What is added to the first says where it came from (RFC 3261 s18.2.1).
    assert!(back[0].starts_with(&sent[0]) && back[1..] == sent[1..], "{answer}");
}

/// A request of the gateway's within a dialog that has this route.
fn check_path(request: &SipMessage, route: &[String]) {
    assert_eq!(request.start.split(' ').nth(1), Some(GRUU), "{request}");
    assert_eq!(all(request, "Route"), route, "{request}");
}

/// What comes to the contact is words, and nothing that tells of the inside.
fn check_words(house: &mut House, words: &str) {
    let stanzas = house.stanzas(PARTNER);
    assert_eq!(stanzas.len(), 1, "{stanzas:?}");
    assert_eq!(stanzas[0].body(), Some(words));
    for secret in ["epid", "gruu", "ms-", "10.30.1.44", "RTF", "rtf", "msgr"] {
        assert!(!stanzas[0].raw.contains(secret), "{secret}: {}", stanzas[0].raw);
    }
}

#[test]
fn a_client_invites_speaks_and_is_answered_on_the_way_that_its_servers_signed() {
    let mut house = House::new();
    let wire = house.front_end();
    let invite = parsed(INVITE);
    let answer = house.ask(wire, INVITE);
    check_answer(&answer, &invite, 200);
    assert!(!answer.header("Supported").unwrap_or_default().contains("ms-"), "{answer}");
    let (target, ours) = (answer.address("Contact").unwrap(), tag(answer.must("To").unwrap()));
    let places = [("@TARGET@", target), ("@TAG@", ours)];
    house.send(wire, filled(ACK, &places));
    assert!(house.stanzas(PARTNER).is_empty(), "the message in the INVITE comes again by itself");

    let message = filled(MESSAGE, &places);
    let answer = house.ask(wire, &message);
    assert_eq!(answer.status(), Some(200), "{answer}");
    assert_eq!(all(&answer, "Via")[1..], all(&parsed(&message), "Via")[1..], "{answer}");
    check_words(&mut house, "hello");

    house.partner_says(
        PARTNER,
        &format!("<message from='{BOB}/home' to='{ALICE}' id='b'><body>hi</body></message>"),
    );
    let request = house.requests().pop().unwrap();
    assert_eq!((request.method(), request.body.as_str()), (Some("MESSAGE"), "hi"));
    check_path(&request, &all(&invite, "Record-Route"));
    assert_eq!(tag(request.must("To").unwrap()), tag(invite.must("From").unwrap()));
}

#[test]
fn a_client_that_is_invited_answers_and_is_spoken_to_on_the_way_that_its_servers_signed() {
    let mut house = House::planned(Plan { im: Im::Session, ..Plan::default() });
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => {
            let header = |name| request.must(name).unwrap();
            let places =
                [("@VIA@", header("Via")), ("@FROM@", header("From")), ("@CALL-ID@", header("Call-ID"))];
            Reply::Raw(filled(INVITE_OK, &places))
        }
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    house.partner_says(
        PARTNER,
        &format!("<message from='{BOB}/home' to='{ALICE}' id='b'><body>hi</body></message>"),
    );
    let requests = house.requests();
    let methods: Vec<_> = requests.iter().filter_map(SipMessage::method).collect();
    assert_eq!(methods, ["INVITE", "ACK", "MESSAGE"]);
    let mut route = all(&parsed(INVITE_OK), "Record-Route");
    route.reverse();
    for request in &requests[1..] {
        check_path(request, &route);
        assert_eq!(tag(request.must("To").unwrap()), "d41c7e90ab");
    }
}

#[test]
fn a_client_subscribes_and_is_notified_on_the_way_that_its_servers_signed() {
    let mut house = house();
    let wire = house.front_end();
    let subscribe = parsed(SUBSCRIBE);
    check_answer(&house.ask(wire, SUBSCRIBE), &subscribe, 200);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<status>Here</status>"));
    house.advance(6 * SECOND);
    let last = house.requests().pop().unwrap();
    assert!(last.method().is_some_and(|method| method.ends_with("NOTIFY")), "{last}");
    check_path(&last, &all(&subscribe, "Record-Route"));
    assert_eq!(last.header("Content-Type"), Some("application/msrtc-event-categories+xml"));
    assert!(last.body.contains(">Here</body>"), "{last}");
}

#[test]
fn a_notify_with_categories_of_four_thousand_bytes_says_state_and_note_and_no_more() {
    let mut house = house();
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    let subscribe = house.request();
    let wire = house.front_end();
    let notify = filled(
        NOTIFY,
        &[
            ("@TARGET@", subscribe.address("Contact").unwrap()),
            ("@WATCHER@", subscribe.must("From").unwrap()),
            ("@CALL-ID@", subscribe.must("Call-ID").unwrap()),
            ("@OURS@", "agent"),
        ],
    );
    let answer = house.ask(wire, &notify);
    assert_eq!(answer.status(), Some(200), "{answer}");
    assert!(all(&answer, "Via")[0].starts_with(&all(&parsed(&notify), "Via")[0]), "{answer}");
    let stanzas = house.stanzas(PARTNER);
    let presence = stanzas.last().unwrap();
    assert_eq!(presence.child("show").map(|show| show.text.as_str()), Some("dnd"), "{presence}");
    assert_eq!(presence.child("status").map(|note| note.text.as_str()), Some("Working at home"));
    for secret in ["Rome", "Merger", "AAAA", "Engineer", "computer"] {
        assert!(stanzas.iter().all(|stanza| !stanza.raw.contains(secret)), "{secret}");
    }
}
