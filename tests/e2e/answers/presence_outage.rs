//! A partner's server dies: what becomes of the contacts that SIP users see (XI-10).

use crate::house::Reach;
use crate::watching::*;

#[test]
fn xi_10_a_partner_that_comes_back_is_asked_and_no_endpoint_sees_anything_of_it() {
    let mut house = house();
    house.user_sees(BOB);
    house.partner_dies(PARTNER);
    house.advance(MINUTE);
    assert_eq!(house.told(PARTNER), [""; 0], "nobody can be asked");
    house.reach.insert(PARTNER, Reach::Up);
    assert_eq!(house.wait_for_word(PARTNER, 2 * MINUTE), ["probe"]);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(5 * MINUTE);
    assert!(house.requests().iter().all(|notify| notify.body.contains("<basic>open")), "no flapping");
}

#[test]
fn xi_10_the_ghosts_of_a_partner_that_stays_away_are_unknown_after_five_minutes() {
    let mut house = house();
    house.user_sees(BOB);
    house.partner_dies(PARTNER);
    house.advance(4 * MINUTE + 50 * SECOND);
    assert!(house.requests().is_empty());
    house.advance(30 * SECOND);
    let notify = house.request();
    assert!(notify.must("Subscription-State").unwrap().starts_with("active;"), "{notify}");
    assert_eq!(notify.body, "");
    house.reach.insert(PARTNER, Reach::Up);
    house.advance(15 * MINUTE);
    assert!(house.told(PARTNER).contains(&"probe".to_owned()));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", "<show>dnd</show>"));
    house.advance(6 * SECOND);
    assert!(house.request().body.contains("dnd"));
}

#[test]
fn xi_10_whoever_came_back_elsewhere_has_left_the_old_place() {
    let mut house = house();
    house.user_sees(BOB);
    house.partner_dies(PARTNER);
    house.reach.insert(PARTNER, Reach::Up);
    assert_eq!(house.wait_for_word(PARTNER, MINUTE), ["probe"]);
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/phone", "", ""));
    house.advance(6 * SECOND);
    let notify = house.request();
    assert!(notify.body.contains("ID-phone") && !notify.body.contains("ID-home"), "{notify}");
}

#[test]
fn xi_10_a_stream_that_is_closed_in_good_order_says_nothing_about_the_contacts() {
    let mut house = house();
    house.user_sees(BOB);
    for end in
        ["", "<stream:error><connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"]
    {
        house.partner_says(PARTNER, &format!("{end}</stream:stream>"));
        house.advance(MINUTE);
        assert_eq!(house.told(PARTNER), [""; 0], "{end}");
    }
}

#[test]
fn xi_10_one_lost_stream_of_several_says_nothing_and_the_last_one_does() {
    let mut house = house();
    house.user_sees(BOB);
    let second = house.another_stream(PARTNER);
    house.cut_stream(second);
    house.advance(MINUTE);
    assert_eq!(house.told(PARTNER), [""; 0]);
    house.cut_stream(0);
    house.advance(MINUTE);
    assert_eq!(house.told(PARTNER)[0], "probe");
}

#[test]
fn xi_10_a_partner_that_was_silent_and_cannot_be_reached_is_doubted_too() {
    let mut house = house();
    let (wire, mut dialog) = house.user_sees(BOB);
    // Both sides close what is idle.
    house.partner_says(PARTNER, "</stream:stream>");
    house.partner_closes_idle(PARTNER);
    house.advance(MINUTE);
    house.partner_dies(PARTNER);
    house.requests();
    // Something is sent, and does not arrive.
    house.status(wire, &subscribe("carol@fabrikam.com", 3600));
    house.advance(6 * MINUTE);
    let known =
        house.requests().into_iter().filter(|notify| notify.header("Call-ID") == Some(&dialog.call_id));
    assert_eq!(known.map(|notify| notify.body).collect::<Vec<_>>(), [""]);
    house.status(wire, &dialog.subscribe(0));
}
