//! A front end goes away, and perhaps comes back: what becomes of the users that contacts see there (XI-09).

use nuncio_world::sip_text::SipMessage;
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Reach, Reply};
use crate::watching::*;

/// The next hop with this number can be reached no more, and its connections are gone.
fn goes_away(house: &mut House, hop: usize) {
    house.next_hop_reach.insert(hop, Reach::Down(FailureKind::Unreachable));
    for wire in 0..house.wires.len() {
        if house.wires[wire].open {
            house.cut(wire);
        }
    }
}

/// It can be reached again; what it is asked first.
fn comes_back(house: &mut House) -> SipMessage {
    house.next_hop_reach.clear();
    house.wait_for_request(MINUTE)
}

fn open(state: &str) -> String {
    pidf(&[("desk", true, &show(state), "")])
}

#[test]
fn xi_09_a_front_end_that_was_restarted_is_asked_and_the_contact_sees_only_what_is_new() {
    let mut house = house();
    let (_, mut dialog) = house.seen_by(BOB);
    goes_away(&mut house, 0);
    house.advance(4 * MINUTE);
    assert!(house.requests().is_empty(), "nobody is there");
    let refresh = comes_back(&mut house);
    assert_eq!(refresh.must("Call-ID").unwrap(), dialog.call_id);
    assert_eq!(house.told(PARTNER), [""; 0], "no flapping");
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &open("xa"))), 200);
    assert_eq!(house.told(PARTNER), ["available desk xa"]);
}

#[test]
fn xi_09_a_front_end_that_has_forgotten_everything_gets_a_new_subscription() {
    let mut house = house();
    house.seen_by(BOB);
    goes_away(&mut house, 0);
    house.advance(MINUTE);
    house.rule = Box::new(|request| match request.must("To").unwrap().contains("tag=") {
        true => Reply::Status(481, "Subscription does not exist"),
        false => accepts(request),
    });
    house.next_hop_reach.clear();
    house.advance(31 * SECOND);
    let requests = house.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    let (wire, mut dialog) = (house.front_end(), Dialog::of(&requests[1]));
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &open("dnd"))), 200);
    assert_eq!(house.told(PARTNER), ["available desk dnd"]);
}

#[test]
fn xi_09_users_of_a_front_end_that_stays_away_become_unavailable_after_five_minutes_and_come_back_with_it() {
    let mut house = house();
    let (_, mut dialog) = house.seen_by(BOB);
    goes_away(&mut house, 0);
    house.advance(4 * MINUTE + 50 * SECOND);
    assert_eq!(house.told(PARTNER), [""; 0]);
    house.advance(30 * SECOND);
    assert_eq!(house.told(PARTNER), ["unavailable desk"]);
    house.advance(20 * MINUTE);
    assert_eq!(house.told(PARTNER), [""; 0], "once");
    assert_eq!(comes_back(&mut house).must("Call-ID").unwrap(), dialog.call_id);
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &open("away"))), 200);
    assert_eq!(house.told(PARTNER), ["available desk away"]);
}

#[test]
fn a_connection_that_is_closed_and_can_be_made_again_says_nothing() {
    let mut house = house();
    house.seen_by(BOB);
    let before = house.connects.len();
    let hop = house.hop();
    house.cut(hop);
    house.advance(10 * MINUTE);
    assert_eq!(house.connects.len(), before + 1, "it was looked whether somebody is there");
    assert!(house.requests().is_empty());
    assert_eq!(house.told(PARTNER), [""; 0]);
}

/// It is started anew: all of its connections end, and the next one finds it there.
fn restarts(house: &mut House) {
    for wire in 0..house.wires.len() {
        if house.wires[wire].open {
            house.cut(wire);
        }
    }
}

#[test]
fn xi_09_a_front_end_that_was_back_before_anybody_missed_it_is_asked() {
    let mut house = house();
    let (_, mut dialog) = house.seen_by(BOB);
    restarts(&mut house);
    let refresh = house.wait_for_request(6 * SECOND);
    assert_eq!(refresh.must("Call-ID").unwrap(), dialog.call_id);
    assert_eq!(house.told(PARTNER), [""; 0], "no flapping");
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &open("xa"))), 200);
    assert_eq!(house.told(PARTNER), ["available desk xa"]);
    house.advance(10 * MINUTE);
    assert!(house.requests().is_empty(), "once");
}

#[test]
fn xi_09_one_that_closes_what_is_idle_is_asked_seldom() {
    let mut house = house();
    let (_, mut dialog) = house.seen_by(BOB);
    restarts(&mut house);
    house.wait_for_request(6 * SECOND);
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &open("xa"))), 200);
    house.advance(MINUTE);
    restarts(&mut house);
    house.advance(3 * MINUTE);
    assert!(house.requests().is_empty());
    house.wait_for_request(2 * MINUTE);
}

#[test]
fn a_front_end_at_which_nobody_watches_is_left_alone() {
    let mut house = house();
    house.partner_says(
        PARTNER,
        "<message from='bob@fabrikam.com' to='alice@contoso.com' type='chat'><body>hi</body></message>",
    );
    let before = house.connects.len();
    goes_away(&mut house, 0);
    house.advance(10 * MINUTE);
    assert_eq!(house.connects.len(), before);
}

#[test]
fn a_probe_while_the_front_end_is_away_is_answered_when_it_is_back() {
    let mut house = house();
    let (_, mut dialog) = house.seen_by(BOB);
    goes_away(&mut house, 0);
    house.advance(10 * MINUTE);
    house.told(PARTNER);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "type='probe'", ""));
    house.next_hop_reach.clear();
    house.advance(31 * SECOND);
    let wire = house.front_end();
    assert_eq!(house.status(wire, &dialog.notify(OPEN, &open("away"))), 200);
    assert!(house.told(PARTNER).iter().any(|told| told == "available desk away"));
}

#[test]
fn who_unsubscribed_while_the_front_end_was_away_is_not_subscribed_again_when_it_is_back() {
    let mut house = house();
    house.seen_by(BOB);
    goes_away(&mut house, 0);
    house.advance(MINUTE);
    house.partner_says(PARTNER, &stanza(BOB, "type='unsubscribe'", ""));
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
    house.advance(MINUTE / 2);
    house.next_hop_reach.clear();
    house.advance(5 * MINUTE);
    let asked: Vec<_> =
        house.requests().iter().map(|request| request.header("Expires").unwrap().to_owned()).collect();
    assert!(asked.iter().all(|expires| expires == "0"), "{asked:?}");
    house.advance(HOUR);
    assert_eq!(house.gateway.holdings().dialogs, 0);
}
