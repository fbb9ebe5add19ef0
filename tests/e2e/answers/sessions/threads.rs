//! Threads that outlive their sessions (DEC-24).

use std::time::Duration;

use super::*;

const IDLE: Duration = Duration::from_secs(601);

/// The thread of what Alice says in this session.
fn thread(house: &mut House, chat: &mut Chat) -> String {
    chat.say(house, "x");
    house.stanzas("fabrikam.com").pop().unwrap().child("thread").unwrap().text.clone()
}

fn opened(house: &mut House, conversation: &str) -> Chat {
    let wire = house.front_end();
    let invitation = invitation(BOB).with(format!("Ms-Conversation-ID: {conversation}"));
    let (chat, answer) = Chat::invite(house, wire, invitation);
    assert_eq!(answer.status(), Some(200), "{answer}");
    chat.acknowledge(house);
    chat
}

#[test]
fn dec_24_a_conversation_that_goes_on_in_another_session_is_the_same_thread() {
    let mut house = House::new();
    let mut chat = opened(&mut house, "AbC==");
    let first = thread(&mut house, &mut chat);
    house.advance(IDLE);
    assert_eq!(methods(&house.requests()), ["BYE"]);
    let mut chat = opened(&mut house, "AbC==");
    assert_eq!(thread(&mut house, &mut chat), first);
    let mut another = opened(&mut house, "other");
    assert_ne!(thread(&mut house, &mut another), first);
}

#[test]
fn dec_24_what_the_contact_began_goes_on_in_his_thread_when_the_user_comes_back_to_it() {
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>1</body><thread>e0ffe42b</thread>");
    let invite = house.requests().remove(0);
    house.advance(IDLE);
    let conversation = invite.must("Ms-Conversation-ID").unwrap();
    let mut chat = opened(&mut house, conversation);
    assert_eq!(thread(&mut house, &mut chat), "e0ffe42b");
    // And what he answers goes in the session that is there.
    house.requests();
    bob_writes(&mut house, "b2", "<body>2</body><thread>e0ffe42b</thread>");
    let requests = house.requests();
    assert_eq!((methods(&requests), requests[0].must("Call-ID").unwrap()), (vec!["MESSAGE"], &*chat.call_id));
}

#[test]
fn dec_24_a_conversation_is_that_of_its_pair_alone() {
    let mut house = House::new();
    let mut chat = opened(&mut house, "AbC==");
    let first = thread(&mut house, &mut chat);
    let wire = house.front_end();
    let carol = invitation(BOB)
        .set(|request| request.from = "<sip:carol@contoso.com>;tag=c".to_owned())
        .with("Ms-Conversation-ID: AbC==");
    let (mut chat, _) = Chat::invite(&mut house, wire, carol);
    chat.acknowledge(&mut house);
    assert_ne!(thread(&mut house, &mut chat), first);
}

#[test]
fn of_two_sessions_of_a_thread_the_one_used_last_takes_the_answer() {
    let mut house = House::new();
    let mut first = opened(&mut house, "AbC==");
    let thread = thread(&mut house, &mut first);
    house.advance(Duration::from_secs(1));
    let second = opened(&mut house, "AbC==");
    for used_last in [second.call_id, first.call_id.clone()] {
        bob_writes(&mut house, "b", &format!("<body>x</body><thread>{thread}</thread>"));
        assert_eq!(house.requests().remove(0).must("Call-ID").unwrap(), used_last);
        house.advance(Duration::from_secs(1));
        first.say(&mut house, "x");
    }
}

#[test]
fn what_is_remembered_of_a_conversation_is_forgotten_after_a_day() {
    let mut house = House::new();
    opened(&mut house, "AbC==");
    house.advance(IDLE);
    house.advance(Duration::from_secs(23 * 3600));
    assert_eq!(house.gateway.holdings().pairs, 1);
    house.advance(Duration::from_secs(2 * 3600));
    assert_eq!(house.gateway.holdings().pairs, 0);
}
