//! Messages that are to be delivered in time or not at all (Expires of RFC 3428 §4; IM-11).

use std::time::Duration;

use nuncio_world::sip_text::SipMessage;

use crate::house::House;
use crate::text::Request;

const BOB: &str = "bob@fabrikam.com";

fn lasting(expires: &str) -> Request {
    Request::message(BOB, "in time").with(format!("Expires: {expires}"))
}

/// What becomes of a message that waits for so long for those before it to leave: the last answer, and whether it left.
fn waits(expires: &str, seconds: u64) -> (SipMessage, bool) {
    let mut house = House::new();
    let wire = house.front_end();
    house.ask(wire, Request::message(BOB, "first").bytes());
    house.line("fabrikam.com").stalled = true;
    house.send(wire, Request::message(BOB, "second").bytes());
    house.send(wire, lasting(expires).bytes());
    house.advance(Duration::from_secs(seconds));
    assert!(house.taken(wire).is_empty());
    house.line("fabrikam.com").stalled = false;
    house.run();
    let stanzas = house.stanzas("fabrikam.com");
    let left = stanzas.iter().any(|stanza| stanza.body() == Some("in time"));
    (house.taken(wire).pop().unwrap(), left)
}

#[test]
fn im_11_what_waited_beyond_its_expiry_is_not_delivered_and_its_sender_told() {
    let (answer, left) = waits("2", 3);
    assert_eq!((answer.status(), left), (Some(504), false), "{answer}");
    let why = answer.must("ms-diagnostics").unwrap();
    assert!(why.contains("was not delivered: it expired while it waited"), "{answer}");
}

#[test]
fn im_11_what_leaves_in_time_is_delivered() {
    let (answer, left) = waits("4", 3);
    assert_eq!((answer.status(), left), (Some(200), true), "{answer}");
}

#[test]
fn im_11_what_had_expired_when_it_came_goes_nowhere() {
    let mut house = House::new();
    let wire = house.front_end();
    // It is 14:18:05.
    let sent = |time: &str| lasting("60").with(format!("Date: Fri, 20 Nov 2026 {time} GMT"));
    for (request, status) in [
        (lasting("0"), 504),
        (sent("14:17:05"), 504),
        (sent("14:17:06"), 200),
        (sent("15:00:00"), 200),
        (lasting("60"), 200),
    ] {
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        assert_eq!(house.stanzas("fabrikam.com").len(), usize::from(status == 200));
    }
}
