//! How sessions end.

use std::time::Duration;

use super::*;

const GONE: &str = "<gone xmlns='http://jabber.org/protocol/chatstates'/>";
const ACTIVE: &str = "<active xmlns='http://jabber.org/protocol/chatstates'/>";

#[test]
fn ch_05_bye_of_the_user_ends_it_and_a_contact_who_knows_states_hears_of_it() {
    for knows in [true, false] {
        let mut house = house();
        let wire = house.front_end();
        let mut chat = Chat::open(&mut house, wire);
        chat.say(&mut house, "hello");
        bob_writes(&mut house, "b1", &format!("<body>x</body>{}", if knows { ACTIVE } else { "" }));
        chat.say(&mut house, "hello");
        house.stanzas("fabrikam.com");
        let bye = chat.next("BYE");
        assert_eq!(house.ask(wire, bye.bytes()).status(), Some(200));
        let told = house.stanzas("fabrikam.com");
        assert_eq!(told.iter().filter(|stanza| stanza.child("gone").is_some()).count(), usize::from(knows));
        assert_eq!(told.len(), usize::from(knows));
        assert_eq!(house.gateway.holdings().dialogs, 0);
        house.requests();
        bob_writes(&mut house, "b2", "<body>again</body>");
        assert_eq!(methods(&house.requests()), ["INVITE", "ACK", "MESSAGE"], "a new one");
    }
}

#[test]
fn ch_05_gone_of_the_contact_ends_it() {
    let mut house = house();
    bob_writes(&mut house, "b1", &format!("<body>x</body>{ACTIVE}"));
    house.requests();
    bob_writes(&mut house, "b2", GONE);
    assert_eq!(methods(&house.requests()), ["BYE"]);
    assert_eq!(house.gateway.holdings().dialogs, 0);
    assert!(house.stanzas("fabrikam.com").is_empty());
}

/// The 2xx of another client of Alice's to this INVITE.
fn late_accept(invite: &SipMessage) -> String {
    let contact = ("Contact", "<sip:alice@contoso.com;opaque=user:epid:y;gruu>");
    let more = [contact, ("Content-Type", "application/sdp")];
    invite.answer_with(200, "OK", &more, DESCRIPTION).unwrap().replace(";tag=agent", ";tag=phone")
}

#[test]
fn who_accepts_an_invitation_after_the_session_has_ended_gets_ack_and_bye() {
    for ended in [false, true] {
        let mut house = house();
        bob_writes(&mut house, "b1", &format!("<body>x</body>{ACTIVE}"));
        let invite = house.requests().remove(0);
        assert_eq!(invite.method(), Some("INVITE"));
        if ended {
            bob_writes(&mut house, "b2", GONE);
            assert_eq!(methods(&house.requests()), ["BYE"]);
            assert_eq!(house.gateway.holdings().dialogs, 0);
        }
        house.advance(Duration::from_secs(20));
        house.send(house.hop(), late_accept(&invite));
        let told = house.requests();
        assert_eq!(methods(&told), ["ACK", "BYE"], "ended: {ended}");
        for request in &told {
            assert!(request.must("To").unwrap().ends_with(";tag=phone"), "{request}");
            assert!(request.start.contains("epid:y"), "{request}");
        }
        // 64·T1 after the first 2xx there can be none any more.
        house.advance(Duration::from_secs(40));
        house.send(house.hop(), late_accept(&invite));
        assert!(house.requests().is_empty(), "ended: {ended}");
    }
}

#[test]
fn ch_05_gone_from_another_thread_ends_nothing() {
    let mut house = house();
    bob_writes(&mut house, "b1", &format!("<body>x</body><thread>new</thread>{ACTIVE}"));
    house.requests();
    bob_writes(&mut house, "b2", &format!("<thread>old</thread>{GONE}"));
    assert!(house.requests().is_empty());
    bob_writes(&mut house, "b3", &format!("<thread>new</thread>{GONE}"));
    assert_eq!(methods(&house.requests()), ["BYE"]);
}

#[test]
fn ch_05_ten_minutes_without_messages_end_it() {
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>x</body>");
    house.requests();
    house.advance(Duration::from_secs(599));
    assert!(house.requests().is_empty());
    house.advance(Duration::from_secs(2));
    assert_eq!(methods(&house.requests()), ["BYE"]);
    assert_eq!(house.gateway.holdings().dialogs, 0);
    house.advance(Duration::from_secs(25 * 3600));
    assert_eq!(house.gateway.holdings().pairs, 0, "nothing stays behind");
}

#[test]
fn ch_05_typing_of_either_side_in_a_message_keeps_no_session_alive() {
    let typing = "Content-Type: application/im-iscomposing+xml";
    let mut house = House::new();
    let wire = house.front_end();
    let reads = DESCRIPTION.replace("text/html", "application/im-iscomposing+xml");
    let (mut chat, _) = Chat::invite(&mut house, wire, invitation(BOB).with_body(&reads));
    chat.acknowledge(&mut house);
    bob_writes(&mut house, "b1", &format!("<body>x</body>{ACTIVE}"));
    assert_eq!(methods(&house.requests()), ["MESSAGE"]);
    house.advance(Duration::from_secs(590));
    let document =
        "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
    let composing = chat.next("MESSAGE").with(typing).with_body(document);
    assert_eq!(house.ask(wire, composing.bytes()).status(), Some(200));
    bob_writes(&mut house, "b2", "<composing xmlns='http://jabber.org/protocol/chatstates'/>");
    let told = house.requests();
    assert_eq!(methods(&told), ["MESSAGE"]);
    assert_eq!(told[0].header("Content-Type"), Some("application/im-iscomposing+xml"));
    house.advance(Duration::from_secs(9));
    assert!(house.requests().is_empty());
    house.advance(Duration::from_secs(2));
    assert_eq!(methods(&house.requests()), ["BYE"]);
}

#[test]
fn ch_05_a_message_of_either_side_begins_the_ten_minutes_anew() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    house.advance(Duration::from_secs(400));
    assert_eq!(chat.say(&mut house, "x").status(), Some(200));
    house.advance(Duration::from_secs(400));
    bob_writes(&mut house, "b1", "<body>x</body>");
    assert_eq!(methods(&house.requests()), ["MESSAGE"]);
    house.advance(Duration::from_secs(599));
    assert!(house.requests().is_empty());
    house.advance(Duration::from_secs(2));
    assert_eq!(methods(&house.requests()), ["BYE"]);
}

#[test]
fn one_session_too_many_ends_the_one_that_was_used_least_recently() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chats = Vec::new();
    for _ in 0..nuncio_translate::pair::MOST_SESSIONS {
        house.advance(Duration::from_secs(1));
        chats.push(Chat::open(&mut house, wire));
    }
    assert!(house.requests().is_empty());
    house.advance(Duration::from_secs(1));
    chats[0].say(&mut house, "still in use");
    chats.push(Chat::open(&mut house, wire));
    let requests = house.requests();
    assert_eq!(methods(&requests), ["BYE"]);
    assert_eq!(requests[0].must("Call-ID").unwrap(), chats[1].call_id);
}

#[test]
fn after_a_crash_a_session_is_unknown_and_the_next_one_works() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    let mut house = House::new();
    chat.wire = house.front_end();
    assert_eq!(chat.say(&mut house, "x").status(), Some(481));
    let wire = chat.wire;
    assert_eq!(Chat::open(&mut house, wire).say(&mut house, "x").status(), Some(200));
}

#[test]
fn what_may_have_crossed_before_a_panic_is_not_said_to_be_unknown() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "hello");
    bob_writes(&mut house, "b1", &format!("<body>x</body>{ACTIVE}"));
    chat.say(&mut house, "hello");
    // Two draws make the tag of the answer; the third names the state that the contact is told.
    house.panic_at(3);
    let bye = chat.next("BYE");
    let answer = house.ask(wire, bye.bytes());
    assert_eq!(answer.status(), Some(500), "{answer}");
}

#[test]
fn a_panic_in_a_session_costs_the_session_and_nothing_else() {
    let mut house = house();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "before");
    house.panic_once();
    bob_writes(&mut house, "b1", "<body>lost</body>");
    let told = house.stanzas("fabrikam.com");
    assert!(told.iter().any(|stanza| stanza.attribute("type") == Some("error")), "{told:?}");
    assert_eq!(house.gateway.holdings().dialogs, 0);
    assert_eq!(chat.say(&mut house, "x").status(), Some(481));
    assert_eq!(Chat::open(&mut house, wire).say(&mut house, "after").status(), Some(200));
}

#[test]
fn an_invitation_that_rings_when_a_step_panics_is_cancelled_and_nothing_stays_behind() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    let invite = house.requests().remove(0);
    let wire = house.front_end();
    // Two draws make the tag of the answer; the third is the pair's.
    house.panic_at(3);
    let answer = house.ask(wire, invitation(BOB).bytes());
    assert_eq!(answer.status(), Some(500), "{answer}");
    let requests = house.requests();
    assert_eq!(methods(&requests), ["CANCEL"]);
    assert_eq!(requests[0].must("Via").unwrap(), invite.must("Via").unwrap());
    house.advance(Duration::from_secs(100));
    assert_eq!(house.gateway.holdings().dialogs, 0);
    house.rule = Box::new(accepts);
    bob_writes(&mut house, "b2", "<body>2</body>");
    assert_eq!(methods(&house.requests()), ["INVITE", "ACK", "MESSAGE"]);
}

/// RFC 3261 §13.2.2.4: who has accepted waits for an ACK, and thinks that there is a session.
#[test]
fn who_accepts_an_invitation_of_a_pair_that_a_panic_has_emptied_gets_ack_and_bye() {
    for by_the_answer in [false, true] {
        let mut house = house();
        house.rule = Box::new(|request| match request.method() {
            Some("INVITE") => Reply::Status(180, "Ringing"),
            Some("ACK") => Reply::Silence,
            _ => Reply::Status(200, "OK"),
        });
        bob_writes(&mut house, "b1", "<body>1</body>");
        let invite = house.requests().remove(0);
        if by_the_answer {
            house.panic_once();
        } else {
            let wire = house.front_end();
            // Two draws make the tag of the answer; the third is the pair's.
            house.panic_at(3);
            house.ask(wire, invitation(BOB).bytes());
            assert_eq!(methods(&house.requests()), ["CANCEL"]);
        }
        house.send(house.hop(), late_accept(&invite));
        assert_eq!(house.count("pairs_lost"), 1, "{by_the_answer}");
        let told = house.requests();
        assert_eq!(methods(&told), ["ACK", "BYE"], "{by_the_answer}");
        assert!(told.iter().all(|request| request.must("To").unwrap().ends_with(";tag=phone")), "{told:?}");
        house.advance(Duration::from_secs(100));
        assert_eq!(house.gateway.holdings().dialogs, 0);
    }
}

#[test]
fn a_planned_stop_ends_sessions_with_bye() {
    let mut house = house();
    let wire = house.front_end();
    Chat::open(&mut house, wire);
    bob_writes(&mut house, "b1", "<body>x</body>");
    house.requests();
    house.gateway.end_subscriptions();
    while house.gateway.run_errands(house.now) {}
    house.run();
    assert_eq!(methods(&house.requests()), ["BYE"]);
    assert!(house.gateway.has_said_goodbye());
    let answer = house.ask(wire, invitation(BOB).bytes());
    assert_eq!(answer.status(), Some(503), "{answer}");
}

#[test]
fn nobody_is_invited_when_the_process_is_going_to_end_and_what_waits_goes_alone() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Silence,
        _ => accepts(request),
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    assert_eq!(methods(&house.requests()), ["INVITE"]);
    house.gateway.end_subscriptions();
    while house.gateway.run_errands(house.now) {}
    house.run();
    bob_writes(&mut house, "b2", "<body>2</body>");
    let requests = house.requests();
    let said: Vec<_> = requests.iter().filter(|request| request.method() == Some("MESSAGE")).collect();
    assert_eq!(said.iter().map(|request| request.body.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    assert!(!methods(&requests).contains(&"INVITE"), "{requests:?}");
}
