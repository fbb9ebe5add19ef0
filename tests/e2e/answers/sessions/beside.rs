//! What is said beside messages: typing and receipts.

use std::time::Duration;

use super::*;

const STATES: &str = "http://jabber.org/protocol/chatstates";

fn state(name: &str) -> String {
    format!("<{name} xmlns='{STATES}'/>")
}

/// The chat states that reached Bob, and whether each came alone.
fn states(house: &mut House) -> Vec<(String, bool)> {
    let names = ["active", "composing", "paused", "inactive", "gone"];
    let stanzas = house.stanzas("fabrikam.com");
    let of = |stanza: &nuncio_world::xml::Element| {
        let name = names.iter().find(|name| stanza.child(name).is_some())?;
        Some(((*name).to_owned(), stanza.child("body").is_none()))
    };
    stanzas.iter().filter_map(of).collect()
}

#[test]
fn im_30_and_im_34_the_users_typing_reaches_a_contact_who_knows_states_and_nobody_else() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    assert_eq!(chat.types(&mut house, "type").status(), Some(200));
    assert_eq!(states(&mut house), [], "he has shown nothing yet");
    chat.say(&mut house, "hello");
    assert_eq!(states(&mut house), [("active".to_owned(), false)], "asks");
    bob_writes(&mut house, "b1", &format!("<body>hi</body>{}", state("active")));
    for _ in 0..3 {
        chat.types(&mut house, "type");
        house.advance(Duration::from_secs(5));
    }
    assert_eq!(states(&mut house), [("composing".to_owned(), true)], "once");
    house.advance(Duration::from_secs(7));
    assert_eq!(states(&mut house), [("active".to_owned(), true)], "and its end, though nobody said so");
}

#[test]
fn im_30_the_contacts_typing_is_said_again_every_5_seconds_and_invites_nobody() {
    let mut house = house();
    bob_writes(&mut house, "b0", &state("composing"));
    assert!(house.requests().is_empty(), "no session for typing alone");
    bob_writes(&mut house, "b1", "<body>hi</body>");
    house.requests();
    bob_writes(&mut house, "b2", &state("composing"));
    house.advance(Duration::from_secs(12));
    bob_writes(&mut house, "b3", &state("paused"));
    house.advance(Duration::from_secs(12));
    let requests = house.requests();
    assert!(requests.iter().all(|request| request.method() == Some("INFO")
        && request.header("Content-Type") == Some("application/xml")));
    let said: Vec<_> = requests.iter().map(|request| request.body.contains("status='type'")).collect();
    assert_eq!(said, [true, true, true, false]);
}

#[test]
fn im_32_who_refuses_typing_is_told_no_more_of_it() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INFO") => Reply::Status(415, "Unsupported Media Type"),
        _ => accepts(request),
    });
    bob_writes(&mut house, "b1", "<body>hi</body>");
    house.requests();
    bob_writes(&mut house, "b2", &state("composing"));
    house.advance(Duration::from_secs(30));
    bob_writes(&mut house, "b3", &state("composing"));
    assert_eq!(methods(&house.requests()), ["INFO"]);
    bob_writes(&mut house, "b4", "<body>still here</body>");
    assert_eq!(methods(&house.requests()), ["MESSAGE"]);
}

#[test]
fn im_33_is_composing_is_taken_in_a_session_and_is_no_message() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "hello");
    bob_writes(&mut house, "b1", &format!("<body>hi</body>{}", state("active")));
    house.stanzas("fabrikam.com");
    let document =
        "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
    let request =
        chat.next("MESSAGE").with("Content-Type: application/im-iscomposing+xml").with_body(document);
    assert_eq!(house.ask(wire, request.bytes()).status(), Some(200));
    assert_eq!(states(&mut house), [("composing".to_owned(), true)]);
}

#[test]
fn other_info_is_refused_and_an_empty_one_is_taken() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    let empty = chat.next("INFO");
    assert_eq!(house.ask(wire, empty.bytes()).status(), Some(200));
    let dtmf = chat.next("INFO").with("Content-Type: application/dtmf-relay").with_body("Signal=1");
    let answer = house.ask(wire, dtmf.bytes());
    assert_eq!((answer.status(), answer.header("Accept")), (Some(415), Some("application/xml")), "{answer}");
    let broken = chat.next("INFO").with("Content-Type: application/xml").with_body("<KeyboardActivity>");
    assert_eq!(house.ask(wire, broken.bytes()).status(), Some(400));
    assert_eq!(chat.say(&mut house, "all the same").status(), Some(200));
}
