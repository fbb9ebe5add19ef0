//! Sessions that the gateway begins on the contact's behalf.

use std::time::Duration;

use super::*;
use crate::watching::MINUTE;

#[test]
fn ch_02_the_first_message_invites_and_all_wait_in_order_until_it_is_accepted() {
    let mut house = house();
    // Longer than a message may wait for a connection.
    house.front_end_takes = Duration::from_secs(20);
    for number in 1..=2 {
        bob_writes(&mut house, &format!("b{number}"), &format!("<body>{number}</body>"));
    }
    let requests = house.requests();
    assert_eq!(methods(&requests), ["INVITE"]);
    // It makes the pair look at all of them again when the first ones have waited for that long.
    house.advance(Duration::from_secs(6));
    bob_writes(&mut house, "b3", "<body>3</body>");
    assert_eq!(requests[0].address("From").unwrap(), "sip:bob@fabrikam.com");
    assert!(requests[0].body.contains("m=message 5060 sip null"), "{}", requests[0]);
    assert!(requests[0].header("Ms-Conversation-ID").is_some());
    house.advance(Duration::from_secs(13));
    assert!(house.requests().is_empty() && house.stanzas("fabrikam.com").is_empty());
    // Each message takes its time, too, and has it.
    house.front_end_takes = Duration::from_secs(4);
    house.advance(Duration::from_secs(20));
    let requests = house.requests();
    assert_eq!(methods(&requests), ["ACK", "MESSAGE", "MESSAGE", "MESSAGE"]);
    let bodies: Vec<_> = requests[1..].iter().map(|request| request.body.as_str()).collect();
    assert_eq!(bodies, ["1", "2", "3"]);
    assert!(requests[1..].iter().all(|request| request.must("To").unwrap().ends_with(";tag=agent")));
    assert!(house.stanzas("fabrikam.com").is_empty(), "nobody was told of any failure");
}

#[test]
fn dec_24_the_thread_of_the_message_is_that_of_the_call_id_and_of_the_answers() {
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>1</body><thread>e0ffe42b</thread>");
    let invite = house.requests().remove(0);
    assert!(invite.header("Call-ID").unwrap().starts_with("e0ffe42b@"), "{invite}");
    let wire = house.front_end();
    let mut chat = Chat::of_gateway(wire, &invite);
    assert_eq!(chat.say(&mut house, "and you").status(), Some(200));
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!(stanza.child("thread").map(|thread| thread.text.as_str()), Some("e0ffe42b"));
    assert_eq!(stanza.attribute("to"), Some("bob@fabrikam.com/home"), "to whom wrote");
}

#[test]
fn dec_24_a_thread_that_no_call_id_can_hold_is_kept_all_the_same() {
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>1</body><thread>ein Faden äöü</thread>");
    let invite = house.requests().remove(0);
    assert!(!invite.header("Call-ID").unwrap().contains("Faden"), "{invite}");
    let wire = house.front_end();
    Chat::of_gateway(wire, &invite).say(&mut house, "x");
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!(stanza.child("thread").map(|thread| thread.text.as_str()), Some("ein Faden äöü"));
}

#[test]
fn a_message_goes_in_the_session_of_its_thread_else_in_the_one_used_last() {
    let mut house = house();
    let wire = house.front_end();
    let mut chats: Vec<_> = (0..3).map(|_| Chat::open(&mut house, wire)).collect();
    for at in [2, 0, 1] {
        house.advance(Duration::from_secs(1));
        chats[at].say(&mut house, "x");
    }
    let mut goes_in = |children: &str| {
        bob_writes(&mut house, "b", &format!("<body>x</body>{children}"));
        house.requests().remove(0).must("Call-ID").unwrap().to_owned()
    };
    assert_eq!(goes_in(""), chats[1].call_id);
    let thread = chats[2].call_id.split('@').next().unwrap().to_owned();
    assert_eq!(goes_in(&format!("<thread>{thread}</thread>")), chats[2].call_id);
}

#[test]
fn ch_03_where_sessions_are_refused_as_such_messages_go_alone_and_nobody_asks_again_for_an_hour() {
    for (status, reason) in
        [(405, "Method Not Allowed"), (488, "Not Acceptable Here"), (415, "Unsupported Media Type")]
    {
        let mut house = house();
        house.rule = Box::new(move |request| match request.method() {
            Some("INVITE") => Reply::Status(status, reason),
            Some("ACK") => Reply::Silence,
            _ => Reply::Status(200, "OK"),
        });
        bob_writes(&mut house, "b1", "<body>1</body>");
        bob_writes(&mut house, "b2", "<body>2</body>");
        let requests = house.requests();
        // The ACK for a refusal is the transaction's own.
        assert_eq!(methods(&requests), ["INVITE", "ACK", "MESSAGE", "MESSAGE"], "{status}");
        assert!(!requests[2].must("To").unwrap().contains("tag="), "alone");
        assert!(house.stanzas("fabrikam.com").is_empty());
        house.advance(Duration::from_secs(3500));
        bob_writes(&mut house, "b3", "<body>3</body>");
        assert_eq!(methods(&house.requests()), ["MESSAGE"], "{status}");
        house.advance(Duration::from_secs(101));
        bob_writes(&mut house, "b4", "<body>4</body>");
        assert_eq!(methods(&house.requests())[0], "INVITE", "{status}");
    }
}

#[test]
fn ch_03_a_session_that_takes_no_messages_ends_and_all_of_them_go_alone() {
    for (status, reason) in [(405, "Method Not Allowed"), (501, "Not Implemented")] {
        let mut house = house();
        house.rule = Box::new(move |request| match request.method() {
            Some("MESSAGE") if request.must("To").unwrap().contains("tag=") => Reply::Status(status, reason),
            _ => accepts(request),
        });
        bob_writes(&mut house, "b1", "<body>1</body>");
        bob_writes(&mut house, "b2", "<body>2</body>");
        let requests = house.requests();
        let alone = |request: &SipMessage| !request.must("To").unwrap().contains("tag=");
        let bodies = |requests: &[SipMessage]| -> Vec<String> {
            let messages = requests.iter().filter(|request| request.method() == Some("MESSAGE"));
            messages.filter(|message| alone(message)).map(|message| message.body.clone()).collect()
        };
        let mut sent = methods(&requests);
        sent.sort_unstable();
        assert_eq!(sent, ["ACK", "BYE", "INVITE", "MESSAGE", "MESSAGE", "MESSAGE"], "{status}");
        assert_eq!(bodies(&requests), ["1", "2"], "{status}: in their order");
        assert!(house.stanzas("fabrikam.com").is_empty(), "{status}: nobody is told of a failure");
        house.advance(Duration::from_secs(3500));
        bob_writes(&mut house, "b3", "<body>3</body>");
        assert_eq!(methods(&house.requests()), ["MESSAGE"], "{status}");
        house.advance(Duration::from_secs(101));
        bob_writes(&mut house, "b4", "<body>4</body>");
        assert_eq!(methods(&house.requests())[0], "INVITE", "{status}");
    }
}

#[test]
fn ch_03_a_message_that_one_session_after_the_other_does_not_take_goes_alone() {
    let mut house = house();
    let wire = house.front_end();
    // The user has begun two, and his client takes no messages in either.
    let _chats = [Chat::open(&mut house, wire), Chat::open(&mut house, wire)];
    house.rule = Box::new(|request| match request.method() {
        Some("MESSAGE") if request.must("To").unwrap().contains("tag=") => {
            Reply::Status(405, "Method Not Allowed")
        }
        _ => accepts(request),
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    let requests = house.requests();
    assert_eq!(methods(&requests), ["MESSAGE", "BYE", "MESSAGE"]);
    assert!(!requests[2].must("To").unwrap().contains("tag="), "alone");
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn ch_03_what_refuses_the_user_comes_back_to_whoever_waits() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(603, "Decline"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    house.front_end_takes = Duration::from_secs(2);
    bob_writes(&mut house, "b1", "<body>1</body>");
    bob_writes(&mut house, "b2", "<body>2</body>");
    house.advance(Duration::from_secs(3));
    assert_eq!(methods(&house.requests()), ["INVITE", "ACK"]);
    let errors = house.stanzas("fabrikam.com");
    let ids: Vec<_> = errors.iter().map(|error| (error.attribute("type"), error.attribute("id"))).collect();
    assert_eq!(ids, [(Some("error"), Some("b1")), (Some("error"), Some("b2"))]);
}

/// Bob writes to a user: what reaches the front end.
fn writes_to(house: &mut House, user: &str) -> String {
    house.partner_says(
        "fabrikam.com",
        &format!(
            "<message from='bob@fabrikam.com/x' to='{user}@contoso.com' id='1'><body>x</body></message>"
        ),
    );
    methods(&house.requests()).join(" ")
}

#[test]
fn an_automatic_front_end_that_knows_no_invite_is_not_asked_for_anybody_for_an_hour() {
    let mut house = House::planned(Plan { im: Im::Automatic, ..Plan::default() });
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(501, "Not Implemented"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    // Each time to somebody else: of himself nobody says anything by that status.
    assert_eq!(writes_to(&mut house, "alice"), "INVITE ACK MESSAGE");
    assert_eq!(
        writes_to(&mut house, "carol"),
        "INVITE ACK MESSAGE",
        "it may have been alice's telephone that said so"
    );
    assert_eq!(writes_to(&mut house, "dave"), "MESSAGE");
    house.advance(Duration::from_secs(3601));
    assert_eq!(writes_to(&mut house, "erin"), "INVITE ACK MESSAGE");
}

#[test]
fn an_automatic_front_end_with_whom_a_session_comes_about_knows_invite() {
    let mut house = House::planned(Plan { im: Im::Automatic, ..Plan::default() });
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") if !request.must("To").unwrap().contains("dave") => {
            Reply::Status(405, "Method Not Allowed")
        }
        _ => accepts(request),
    });
    assert_eq!(writes_to(&mut house, "alice"), "INVITE ACK MESSAGE");
    assert_eq!(writes_to(&mut house, "dave"), "INVITE ACK MESSAGE");
    assert_eq!(writes_to(&mut house, "carol"), "INVITE ACK MESSAGE");
    assert_eq!(writes_to(&mut house, "erin"), "INVITE ACK MESSAGE", "between alice and carol it was known");
    assert_eq!(writes_to(&mut house, "frank"), "MESSAGE", "carol and erin have refused, one after the other");
    // And so does one that a user begins.
    let wire = house.front_end();
    Chat::open(&mut house, wire);
    assert_eq!(writes_to(&mut house, "grace"), "INVITE ACK MESSAGE");
}

#[test]
fn ch_03_who_begins_a_session_himself_is_invited_again() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(488, "Not Acceptable Here"),
        _ => accepts(request),
    });
    assert_eq!(writes_to(&mut house, "alice"), "INVITE ACK MESSAGE");
    assert_eq!(writes_to(&mut house, "alice"), "MESSAGE");
    // Another of her clients begins one, and ends it.
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    assert_eq!(chat.bye(&mut house).status(), Some(200));
    assert_eq!(writes_to(&mut house, "alice"), "INVITE ACK MESSAGE", "of the same contact");
    assert_eq!(writes_to(&mut house, "alice"), "MESSAGE", "refused again");
    Chat::open(&mut house, wire).bye(&mut house);
    house.partner_says(
        "fabrikam.com",
        "<message from='carol@fabrikam.com/x' to='alice@contoso.com' id='2'><body>x</body></message>",
    );
    assert_eq!(methods(&house.requests()), ["INVITE", "ACK", "MESSAGE"], "of any other");
}

#[test]
fn an_invitation_that_nobody_answers_is_cancelled_and_the_sender_told() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    house.advance(Duration::from_secs(59));
    assert!(house.stanzas("fabrikam.com").is_empty());
    house.advance(Duration::from_secs(2));
    assert_eq!(methods(&house.requests()), ["INVITE", "CANCEL"]);
    let errors = house.stanzas("fabrikam.com");
    assert_eq!((errors.len(), errors[0].attribute("type")), (1, Some("error")));
    house.advance(Duration::from_secs(100));
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn glare_both_invite_each_other_and_the_messages_go_in_the_session_that_is_there() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    assert_eq!(methods(&house.requests()), ["INVITE"]);
    let wire = house.front_end();
    let chat = Chat::open(&mut house, wire);
    let requests = house.requests();
    let message = requests.iter().find(|request| request.method() == Some("MESSAGE")).expect("it leaves");
    assert_eq!(message.must("Call-ID").unwrap(), chat.call_id);
    assert!(methods(&requests).contains(&"CANCEL"), "one window is enough: {:?}", methods(&requests));
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn glare_a_refusal_of_ours_costs_no_message_while_theirs_is_about_to_be_there() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE" | "ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    let ours = house.requests().remove(0);
    let (hop, wire) = (house.hop(), house.front_end());
    let (chat, _) = Chat::invite(&mut house, wire, invitation(BOB));
    house.send(hop, ours.answer(486, "Busy Here", &[]).unwrap());
    assert!(house.stanzas("fabrikam.com").is_empty(), "it waits for the session that is being set up");
    chat.acknowledge(&mut house);
    let requests = house.requests();
    let message = requests.iter().find(|request| request.method() == Some("MESSAGE")).expect("it leaves");
    assert_eq!(message.must("Call-ID").unwrap(), chat.call_id);
}

#[test]
fn a_session_that_the_other_side_has_forgotten_costs_no_message_and_doubles_none() {
    let mut house = house();
    bob_writes(&mut house, "b1", "<body>1</body>");
    house.requests();
    let mut forgotten = 0;
    house.rule = Box::new(move |request| match request.method() {
        Some("MESSAGE") if forgotten == 0 => {
            forgotten += 1;
            Reply::Status(481, "Call/Transaction Does Not Exist")
        }
        _ => accepts(request),
    });
    bob_writes(&mut house, "b2", "<body>2</body>");
    assert_eq!(methods(&house.requests()), ["MESSAGE", "INVITE", "ACK", "MESSAGE"]);
    // Whoever forgets again is not believed a second time.
    house.rule = Box::new(|request| match request.method() {
        Some("MESSAGE") => Reply::Status(481, "Call/Transaction Does Not Exist"),
        _ => accepts(request),
    });
    bob_writes(&mut house, "b3", "<body>3</body>");
    assert_eq!(methods(&house.requests()), ["MESSAGE", "INVITE", "ACK", "MESSAGE"]);
    let errors = house.stanzas("fabrikam.com");
    assert_eq!((errors.len(), errors[0].attribute("id")), (1, Some("b3")));
}

#[test]
fn im_10_what_is_too_long_for_a_message_alone_goes_in_a_session() {
    let mut house = House::planned(Plan { im: Im::Session, message_cap: Some(1300), ..Plan::default() });
    house.rule = Box::new(accepts);
    bob_writes(&mut house, "b1", &format!("<body>{}</body>", "x".repeat(5000)));
    let requests = house.requests();
    assert_eq!((methods(&requests), requests[2].body.len()), (vec!["INVITE", "ACK", "MESSAGE"], 5000));
}

#[test]
fn a_failure_notice_goes_in_the_session() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "hello");
    let id = house.stanzas("fabrikam.com").remove(0).attribute("id").unwrap().to_owned();
    house.partner_says(
        "fabrikam.com",
        &format!(
            "<message from='bob@fabrikam.com' to='{ALICE}' id='{id}' type='error'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ),
    );
    let notice = house.requests().remove(0);
    assert_eq!(notice.must("Call-ID").unwrap(), chat.call_id, "{notice}");
}

#[test]
fn a_front_end_that_holds_a_session_and_is_gone_leaves_it_to_the_other_one() {
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    let mut house = House::planned(Plan { im: Im::Session, next_hops, ..Plan::default() });
    house.rule = Box::new(accepts);
    let wire = house.front_end();
    Chat::open(&mut house, wire).say(&mut house, "hello");
    house.next_hop_reach.insert(0, crate::house::Reach::Down(nuncio_xmpp::lane::FailureKind::Unreachable));
    bob_writes(&mut house, "b1", "<body>1</body>");
    house.advance(Duration::from_secs(15));
    let requests = house.requests();
    let message = requests.iter().find(|request| request.method() == Some("MESSAGE")).expect("it arrives");
    assert_eq!(message.body, "1");
    assert!(house.stanzas("fabrikam.com").iter().all(|stanza| stanza.attribute("type") != Some("error")));
}

/// The others know nothing of a dialog that one front end has accepted (RFC 3261 §12.2).
#[test]
fn sip_29_a_session_that_we_begin_stays_with_the_front_end_that_accepted_it() {
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    let mut house = House::planned(Plan { im: Im::Session, next_hops, ..Plan::default() });
    house.rule = Box::new(accepts);
    house.next_hop_reach.insert(0, crate::house::Reach::Down(nuncio_xmpp::lane::FailureKind::Unreachable));
    bob_writes(&mut house, "b1", "<body>1</body>");
    let asked = |house: &mut House| -> Vec<(usize, String)> { std::mem::take(&mut house.asked) };
    let at = |front_end: usize, methods: &[&str]| -> Vec<(usize, String)> {
        methods.iter().map(|method| (front_end, (*method).to_owned())).collect()
    };
    assert_eq!(asked(&mut house), at(1, &["INVITE", "ACK", "MESSAGE"]));
    // The preferred one is back, and what belongs to no dialog goes there.
    house.next_hop_reach.clear();
    house.advance(2 * MINUTE);
    house.partner_says(
        "fabrikam.com",
        "<message from='carol@fabrikam.com/home' to='alice@contoso.com' id='c1' type='chat'><body>1</body></message>",
    );
    assert_eq!(asked(&mut house), at(0, &["INVITE", "ACK", "MESSAGE"]));
    house.requests();
    bob_writes(&mut house, "b2", "<body>2</body>");
    assert_eq!(asked(&mut house), at(1, &["MESSAGE"]));
    bob_writes(&mut house, "b3", "<gone xmlns='http://jabber.org/protocol/chatstates'/>");
    assert_eq!(asked(&mut house), at(1, &["BYE"]));
}

#[test]
fn an_invitation_that_is_lost_with_its_connection_goes_out_once_more() {
    let mut house = house();
    house.rule = Box::new(|request| match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        _ => Reply::Silence,
    });
    bob_writes(&mut house, "b1", "<body>1</body>");
    assert_eq!(methods(&house.requests()), ["INVITE"]);
    house.rule = Box::new(accepts);
    let hop = house.hop();
    house.cut(hop);
    house.advance(Duration::from_secs(5));
    assert_eq!(methods(&house.requests()), ["INVITE", "ACK", "MESSAGE"]);
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn nobody_is_invited_for_word_from_the_gateway_and_a_forgotten_session_costs_none() {
    let mut house = house();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "hello");
    let id = house.stanzas("fabrikam.com").remove(0).attribute("id").unwrap().to_owned();
    house.rule = Box::new(|request| match request.must("To").unwrap().contains("tag=") {
        true => Reply::Status(481, "Call/Transaction Does Not Exist"),
        false => accepts(request),
    });
    house.partner_says(
        "fabrikam.com",
        &format!(
            "<message from='bob@fabrikam.com' to='{ALICE}' id='{id}' type='error'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ),
    );
    let requests = house.requests();
    assert_eq!(methods(&requests), ["MESSAGE", "MESSAGE"]);
    assert!(!requests[1].must("To").unwrap().contains("tag="), "alone");
}

#[test]
fn a_thread_too_long_for_an_answer_is_not_kept() {
    let mut house = house();
    bob_writes(&mut house, "b1", &format!("<body>1</body><thread>{}</thread>", "ä".repeat(100_000)));
    let invite = house.requests().remove(0);
    let wire = house.front_end();
    Chat::of_gateway(wire, &invite).say(&mut house, "x");
    let stanza = house.stanzas("fabrikam.com").remove(0);
    let thread = invite.must("Call-ID").unwrap().split('@').next().unwrap();
    assert_eq!(stanza.child("thread").map(|thread| thread.text.as_str()), Some(thread));
}

#[test]
fn a_headline_is_no_reason_to_begin_a_conversation() {
    let headline = |house: &mut House| {
        house.partner_says(
            "fabrikam.com",
            &format!("<message from='bob@fabrikam.com/home' to='{ALICE}' id='h' type='headline'><body>news</body></message>"),
        );
        house.requests().remove(0)
    };
    let mut house = house();
    let alone = headline(&mut house);
    assert_eq!((alone.method(), alone.body.as_str()), (Some("MESSAGE"), "news"));
    assert!(!alone.must("To").unwrap().contains("tag="), "alone");
    let wire = house.front_end();
    let chat = Chat::open(&mut house, wire);
    assert_eq!(headline(&mut house).must("Call-ID").unwrap(), chat.call_id, "where there is one");
}
