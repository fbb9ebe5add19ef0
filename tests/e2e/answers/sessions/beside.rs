//! What is said beside messages: typing and receipts.

use std::sync::Arc;
use std::time::Duration;

use nuncio::store::{Keep, Memory};
use nuncio_translate::pair::{From, PairKey, PairRecord};

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
fn im_30_a_message_that_does_not_cross_leaves_nobody_typing_for_ever() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "hello");
    bob_writes(&mut house, "b1", &format!("<body>hi</body>{}", state("active")));
    states(&mut house);
    chat.types(&mut house, "type");
    assert_eq!(states(&mut house), [("composing".to_owned(), true)]);
    let rtf = chat.next("MESSAGE").with("Content-Type: text/rtf").with_body("{\\rtf1 x}");
    assert_eq!(house.ask(wire, rtf.bytes()).status(), Some(415));
    house.advance(Duration::from_secs(7));
    assert_eq!(states(&mut house), [("active".to_owned(), true)], "the end of what he was told of");
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

/// A house in which Bob may see Alice, or may not.
pub(super) fn acquainted(sees: bool, im: Im) -> House {
    let store = Memory::new();
    let from = if sees { From::Yes } else { From::No };
    store.save_pair(&PairKey::new(ALICE, BOB), PairRecord { from, ..PairRecord::default() });
    store.commit(usize::MAX);
    let mut house = House::planned(Plan { im, store: Arc::new(store.crash()), ..Plan::default() });
    house.rule = Box::new(accepts);
    house.gateway.restore(house.now).unwrap();
    house.run();
    house
}

fn receipts(house: &mut House) -> Vec<Option<String>> {
    let stanzas = house.stanzas("fabrikam.com");
    let received = stanzas.iter().filter_map(|stanza| stanza.child("received"));
    received.map(|receipt| receipt.attribute("id").map(str::to_owned)).collect()
}

const REQUEST: &str = "<body>x</body><request xmlns='urn:xmpp:receipts'/>";

#[test]
fn im_08_and_im_40_200_is_a_receipt_for_who_may_see_the_user_and_202_is_none() {
    for (sees, status, expected) in
        [(true, 200, vec![Some("b1".to_owned())]), (true, 202, vec![]), (false, 200, vec![])]
    {
        let mut house = acquainted(sees, Im::Session);
        house.rule = Box::new(move |request| match request.method() {
            Some("MESSAGE") => Reply::Status(status, "OK"),
            _ => accepts(request),
        });
        bob_writes(&mut house, "b1", REQUEST);
        house.run();
        assert_eq!(receipts(&mut house), expected, "{sees} {status}");
    }
}

#[test]
fn im_40_no_receipt_without_a_request_nor_for_what_was_refused() {
    let mut house = acquainted(true, Im::Session);
    bob_writes(&mut house, "b1", "<body>x</body>");
    assert_eq!(receipts(&mut house), []);
    house.rule = Box::new(|request| match request.method() {
        Some("MESSAGE") => Reply::Status(480, "Temporarily Unavailable"),
        _ => accepts(request),
    });
    bob_writes(&mut house, "b2", REQUEST);
    assert_eq!(receipts(&mut house), []);
}

#[test]
fn im_40_a_message_alone_gets_its_receipt_too() {
    let mut house = acquainted(true, Im::Session);
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(488, "Not Acceptable Here"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    bob_writes(&mut house, "b1", REQUEST);
    assert_eq!(receipts(&mut house), [Some("b1".to_owned())]);
}

#[test]
fn ch_09_what_is_too_large_for_the_partner_is_refused_in_a_session_too() {
    let mut house = House::new();
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>";
    house.features.insert("fabrikam.com", limits);
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    // The first one finds out on the stream that it opens, the second one before.
    for _ in 0..2 {
        let answer = chat.say(&mut house, &"x".repeat(200_000));
        assert_eq!(answer.status(), Some(513));
        assert!(answer.must("ms-diagnostics").unwrap().contains("10000 bytes"), "{answer}");
    }
    assert!(house.stanzas("fabrikam.com").is_empty());
    assert_eq!(chat.say(&mut house, &"x".repeat(9000)).status(), Some(200), "the session goes on");
}
