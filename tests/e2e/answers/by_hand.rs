//! Dialogs that an administrator sees and ends by hand.

use nuncio::gateway::{SessionShown, WhoSees};
use nuncio_world::sip_text::SipMessage;

use crate::house::{House, Reply};
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
fn what_rings_and_is_ended_by_hand_does_not_ring_again_for_what_has_waited() {
    let mut house = sessions::house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        _ => Reply::Status(200, "OK"),
    });
    for id in ["b1", "b2"] {
        bob_writes(&mut house, id, "<body>x</body>");
    }
    assert_eq!(methods(&house.requests()), ["INVITE"]);
    let shown = all(&house);
    assert_eq!((shown.len(), shown[0].state), (1, "inviting"));
    assert!(house.gateway.close_session(&shown[0].id, house.now).is_some());
    house.run();
    let requests = house.requests();
    assert_eq!(methods(&requests), ["CANCEL"]);
    assert!(diagnostics(&requests[0]).starts_with("29011;"), "{}", requests[0]);
    let told = house.stanzas(PARTNER);
    let ids: Vec<_> = told.iter().map(|stanza| stanza.attribute("id").unwrap()).collect();
    assert_eq!(ids, ["b1", "b2"]);
    assert!(told.iter().all(|stanza| stanza.attribute("type") == Some("error")), "{told:?}");
    house.advance(100 * SECOND);
    assert!(house.requests().is_empty() && house.stanzas(PARTNER).is_empty());
    assert_eq!(house.gateway.holdings().dialogs, 0);
    bob_writes(&mut house, "b3", "<body>again</body>");
    assert_eq!(methods(&house.requests()), ["INVITE"]);
}

/// What waits for the session that the SIP user himself has begun goes on waiting for it, whichever of the two is ended.
#[test]
fn what_can_go_in_another_session_waits_for_that() {
    let mut house = sessions::house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        _ => Reply::Status(200, "OK"),
    });
    bob_writes(&mut house, "b1", "<body>x</body>");
    let wire = house.front_end();
    let invitation = sessions::invitation(BOB);
    let answer = house.ask(wire, invitation.bytes());
    let chat = Chat::of(wire, &invitation, &answer);
    let ours = all(&house).into_iter().find(|session| session.begun_by == "contact").expect("it rings");
    assert!(house.gateway.close_session(&ours.id, house.now).is_some());
    house.run();
    assert!(house.stanzas(PARTNER).is_empty());
    chat.acknowledge(&mut house);
    let requests = house.requests();
    let message = requests.iter().find(|request| request.method() == Some("MESSAGE")).expect("it leaves");
    assert_eq!(message.must("Call-ID").unwrap(), chat.call_id);
}

#[test]
fn of_many_sessions_the_first_are_shown() {
    let mut house = sessions::house();
    for user in ["dave", "alice", "carol"] {
        house.partner_says(
            PARTNER,
            &format!(
                "<message from='{BOB}/home' to='{user}@contoso.com' id='{user}' type='chat'><body>x</body></message>"
            ),
        );
    }
    let everything = all(&house);
    let users: Vec<_> = everything.iter().map(|session| session.sip_user.as_str()).collect();
    assert_eq!(users, ["alice@contoso.com", "carol@contoso.com", "dave@contoso.com"]);
    assert_eq!(house.gateway.sessions_shown(2, |_| true, house.now), everything[..2]);
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
