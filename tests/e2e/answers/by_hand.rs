//! Dialogs that an administrator sees and ends by hand.

use nuncio::gateway::{SessionShown, WhoSees};
use nuncio_world::sip_text::SipMessage;

use crate::house::House;
use crate::sessions::{self, Chat, bob_writes, methods};
use crate::watching::*;

fn all(house: &House) -> Vec<SessionShown> {
    house.gateway.sessions_shown(10, |_| true, house.now)
}

/// What the front end was told at the end.
fn diagnostics(request: &SipMessage) -> &str {
    request.header("ms-diagnostics").unwrap_or_default()
}

#[test]
fn a_session_is_shown_with_what_went_in_it_and_ended_by_bye_and_the_next_message_begins_another() {
    let mut house = sessions::house();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    for _ in 0..3 {
        chat.say(&mut house, "hello");
    }
    bob_writes(&mut house, "b1", "<body>x</body>");
    house.requests();
    house.stanzas(PARTNER);
    house.advance(7 * SECOND);
    let shown = all(&house);
    let [session] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!((session.sip_user.as_str(), session.contact.as_str()), (ALICE, BOB));
    assert_eq!((session.from_user, session.from_contact), (3, 1));
    assert_eq!((session.begun_by, session.state, session.idle), ("user", "established", 7));
    assert_eq!(session.call_id, chat.call_id);

    assert!(house.gateway.close_session("another", house.now).is_none());
    let whose = house.gateway.close_session(&session.id, house.now).unwrap();
    assert_eq!((whose.sip_user(), whose.contact()), (ALICE, BOB));
    house.run();
    let byes = house.requests();
    assert_eq!(methods(&byes), ["BYE"]);
    assert!(diagnostics(&byes[0]).starts_with("29011;"), "{}", byes[0]);
    assert_eq!((all(&house), house.gateway.holdings().dialogs), (Vec::new(), 0));
    assert!(house.gateway.close_session(&session.id, house.now).is_none(), "it is over");
    bob_writes(&mut house, "b2", "<body>again</body>");
    assert_eq!(methods(&house.requests()), ["INVITE", "ACK", "MESSAGE"]);
    assert_eq!(all(&house)[0].begun_by, "contact");
}

#[test]
fn a_user_s_subscription_that_is_ended_by_hand_may_be_asked_for_anew() {
    let mut house = house();
    let (wire, _) = house.user_sees(BOB);
    let close = |house: &mut House| {
        let closed = house.gateway.close_subscription(ALICE, BOB, WhoSees::User, house.now);
        house.run();
        closed
    };
    assert_eq!(
        house.gateway.close_subscription(ALICE, "nobody@fabrikam.com", WhoSees::User, house.now),
        None
    );
    assert_eq!(close(&mut house), Some(true));
    let last = house.request();
    let state = last.must("Subscription-State").unwrap();
    assert!(state.starts_with("terminated;") && state.contains("reason=deactivated"), "{last}");
    assert!(diagnostics(&last).starts_with("29011;"), "{last}");
    assert_eq!(house.told(PARTNER), ["unavailable"], "nobody is there any more; what Bob agreed to lasts");
    assert_eq!(close(&mut house), Some(false));
    assert!(house.requests().is_empty());
    assert_eq!(house.ask(wire, subscribe(BOB, 3600).bytes()).status(), Some(200));
    assert!(house.request().must("Subscription-State").unwrap().starts_with("active"));
}

#[test]
fn a_contact_s_subscription_that_is_ended_by_hand_is_taken_back_and_he_may_ask_anew() {
    let mut house = house();
    let (wire, mut dialog) = house.seen_by(BOB);
    let close = |house: &mut House| {
        let closed = house.gateway.close_subscription(ALICE, BOB, WhoSees::Contact, house.now);
        house.run();
        closed
    };
    assert_eq!(close(&mut house), Some(true));
    let last = house.request();
    assert_eq!((last.method(), last.header("Expires")), (Some("SUBSCRIBE"), Some("0")), "{last}");
    assert_eq!(house.told(PARTNER), ["unavailable desk", "unsubscribed"]);
    assert_eq!(close(&mut house), Some(false));
    assert!(house.requests().is_empty() && house.stanzas(PARTNER).is_empty());
    assert_eq!(house.status(wire, &dialog.notify("terminated;reason=timeout", "")), 200);
    house.contact_asks(BOB);
}
