//! Sessions that the SIP user begins.

use std::time::Duration;

use nuncio_xmpp::lane::FailureKind;

use super::*;
use crate::house::Reach;

#[test]
fn ch_04_an_invitation_is_accepted_without_a_word_to_the_contact() {
    let mut house = House::new();
    let wire = house.front_end();
    let (_, answer) = Chat::invite(&mut house, wire, invitation(BOB));
    assert_eq!(answer.status(), Some(200), "{answer}");
    assert_eq!(answer.header("Content-Type"), Some("application/sdp"));
    assert!(answer.body.contains("m=message 5060 sip sip:bob@fabrikam.com"), "{}", answer.body);
    assert!(answer.must("Allow").unwrap().contains("INFO"), "{answer}");
    assert!(
        !answer.header("Supported").unwrap_or_default().contains("ms-text-format"),
        "the embedded message is not taken"
    );
    house.advance(Duration::from_secs(5));
    assert_eq!(house.stanzas("fabrikam.com").len(), 0);
}

#[test]
fn ch_01_and_ch_07_messages_in_a_session_are_chat_in_the_thread_of_its_call_id() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    for number in 0..3 {
        assert_eq!(chat.say(&mut house, &format!("hello {number}")).status(), Some(200));
    }
    let stanzas = house.stanzas("fabrikam.com");
    let thread = chat.call_id.split('@').next().unwrap();
    for (number, stanza) in stanzas.iter().enumerate() {
        assert_eq!(stanza.attribute("type"), Some("chat"), "{stanza:?}");
        assert_eq!((stanza.attribute("from"), stanza.attribute("to")), (Some(ALICE), Some(BOB)));
        assert_eq!(stanza.body(), Some(format!("hello {number}").as_str()));
        assert_eq!(stanza.child("thread").map(|thread| thread.text.as_str()), Some(thread));
    }
    assert_eq!(stanzas.len(), 3);
}

#[test]
fn the_answer_of_the_contact_goes_in_the_session_even_where_nobody_is_invited() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.say(&mut house, "hello");
    bob_writes(&mut house, "b1", "<body>and\nyou</body>");
    let request = house.requests().remove(0);
    assert_eq!(request.method(), Some("MESSAGE"));
    assert_eq!(request.header("Call-ID"), Some(chat.call_id.as_str()));
    assert_eq!(request.must("To").unwrap(), chat.ours, "inside the dialog");
    assert_eq!(request.body, "and\r\nyou");
    assert_eq!(request.header("Content-Type"), Some("text/plain;charset=UTF-8"));
}

#[test]
fn im_21_messages_go_to_the_resource_that_wrote_until_presence_changes() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    let mut recipient = |house: &mut House| {
        chat.say(house, "x");
        house.stanzas("fabrikam.com").remove(0).attribute("to").unwrap().to_owned()
    };
    assert_eq!(recipient(&mut house), BOB);
    bob_writes(&mut house, "b1", "<body>x</body>");
    assert_eq!(recipient(&mut house), "bob@fabrikam.com/home");
    house.partner_says(
        "fabrikam.com",
        "<presence from='bob@fabrikam.com/home' to='alice@contoso.com' type='unavailable'/>",
    );
    assert_eq!(recipient(&mut house), BOB);
}

#[test]
fn an_invitation_that_no_message_could_follow_is_refused_at_once_with_the_reason() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Down(FailureKind::Unreachable));
    let wire = house.front_end();
    for (to, status, reason) in [
        ("bob@stranger.example", 403, "partner"),
        ("bob@off.example", 403, "disabled"),
        ("bob@contoso.com", 404, "SIP domain"),
    ] {
        let answer = house.ask(wire, invitation(to).bytes());
        assert_eq!(answer.status(), Some(status), "{answer}");
        assert!(answer.must("ms-diagnostics").unwrap().contains(reason), "{answer}");
    }
    // Messages wait for a while, and fail; when the next attempt is far away, it is known beforehand.
    for _ in 0..20 {
        house.send(wire, Request::message(BOB, "x").bytes());
        house.advance(Duration::from_secs(11));
        house.taken(wire);
        house.send(wire, invitation(BOB).bytes());
        let answer = house.taken(wire).remove(0);
        if answer.status() == Some(480) {
            assert!(answer.must("ms-diagnostics").unwrap().contains("fabrikam.com"), "{answer}");
            assert!(answer.header("Retry-After").is_some(), "{answer}");
            return;
        }
    }
    panic!("the partner was never said to be unreachable");
}

#[test]
fn ch_10_and_ch_12_media_and_conferences_are_refused_and_leave_nothing() {
    let mut house = House::new();
    let wire = house.front_end();
    let audio = DESCRIPTION.replace("m=message 5060 sip null", "m=audio 4000 RTP/AVP 0");
    let msrp = DESCRIPTION.replace("sip null", "TCP/MSRP *");
    for body in [audio, msrp] {
        let answer = house.ask(wire, invitation(BOB).with_body(body).bytes());
        assert_eq!(answer.status(), Some(488), "{answer}");
        assert!(answer.header("Warning").is_some() && answer.header("ms-diagnostics").is_some(), "{answer}");
    }
    let conference = invitation(BOB).set(|request| {
        request.more.retain(|line| !line.starts_with("Content-Type"));
        request.more.push("Content-Type: application/ms-conf-invite+xml".into());
    });
    assert_eq!(house.ask(wire, conference.bytes()).status(), Some(488));
    let refer = Request::new("REFER", BOB).with("Refer-To: <sip:x@contoso.com>");
    let answer = house.ask(wire, refer.bytes());
    assert!(answer.status() == Some(405) && answer.header("Allow").is_some(), "{answer}");
    let required = invitation(BOB).with("Require: com.microsoft.rtc-multiparty");
    assert_eq!(house.ask(wire, required.bytes()).status(), Some(420));
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn ch_11_a_2xx_without_ack_is_repeated_and_then_the_session_ends() {
    let mut house = House::new();
    let wire = house.front_end();
    let (_, answer) = Chat::invite(&mut house, wire, invitation(BOB));
    house.advance(Duration::from_secs(31));
    let repeats = house.taken(wire);
    assert!(repeats.len() >= 9 && repeats.iter().all(|repeat| repeat.to_string() == answer.to_string()));
    house.advance(Duration::from_secs(2));
    assert_eq!(methods(&house.requests()), ["BYE"]);
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

/// RFC 3261 §13.3.1.4, §18.2.2: until there is an ACK, wherever the connection of the INVITE has gone.
#[test]
fn ch_11_a_2xx_is_repeated_over_a_new_connection_when_that_of_the_invite_is_gone() {
    let mut house = House::new();
    let wire = house.front_end();
    let (chat, answer) = Chat::invite(&mut house, wire, invitation(BOB));
    house.cut(wire);
    assert!(house.connects.is_empty());
    house.advance(Duration::from_secs(4));
    assert_eq!(house.connects, [0], "one is made");
    let repeats = std::mem::take(&mut house.relayed);
    assert!(!repeats.is_empty() && repeats.iter().all(|repeat| repeat.to_string() == answer.to_string()));
    let new = house.front_end();
    Chat { wire: new, ..chat }.acknowledge(&mut house);
    house.advance(Duration::from_secs(40));
    assert!(house.relayed.is_empty() && house.requests().is_empty(), "it stands");
    assert_eq!((house.gateway.holdings().dialogs, house.gateway.holdings().connections), (1, 2));
}

#[test]
fn ch_11_a_connection_that_is_gone_is_remembered_for_a_2xx_until_its_ack_and_no_longer() {
    for before in [true, false] {
        let mut house = House::new();
        let wire = house.front_end();
        let (chat, _) = Chat::invite(&mut house, wire, invitation(BOB));
        if before {
            chat.acknowledge(&mut house);
            house.cut(wire);
        } else {
            house.cut(wire);
            let new = house.front_end();
            let held = house.gateway.holdings().connections;
            Chat { wire: new, ..chat }.acknowledge(&mut house);
            assert_eq!(house.gateway.holdings().connections, held - 1);
            house.cut(new);
        }
        assert_eq!((house.gateway.holdings().dialogs, house.gateway.holdings().connections), (1, 0));
    }
}

#[test]
fn ch_11_where_no_connection_comes_about_the_session_ends_for_want_of_ack() {
    let mut house = House::new();
    house.front_end_reach = Reach::Pending;
    let wire = house.front_end();
    Chat::invite(&mut house, wire, invitation(BOB));
    house.cut(wire);
    house.advance(Duration::from_secs(70));
    assert_eq!(house.relayed.len(), 0);
    assert_eq!((house.gateway.holdings().dialogs, house.gateway.holdings().connections), (0, 0));
}

#[test]
fn sip_29_and_31_what_belongs_to_no_session_gets_481() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    let stranger = chat.theirs.clone() + "x";
    for method in ["MESSAGE", "INFO", "BYE", "UPDATE"] {
        let request = chat.next(method).set(|request| request.to.clone_from(&stranger));
        let answer = house.ask(wire, request.bytes());
        assert_eq!(answer.status(), Some(481), "{answer}");
        assert!(answer.must("ms-diagnostics").unwrap().contains("does not know"), "{answer}");
    }
    assert_eq!(chat.say(&mut house, "still there").status(), Some(200));
}

#[test]
fn ev_12_a_subscription_in_the_dialog_of_a_session_is_refused_and_costs_it_nothing() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    let subscribe = chat.next("SUBSCRIBE").with("Event: presence").with("Contact: <sip:alice@contoso.com>");
    let answer = house.ask(wire, subscribe.bytes());
    assert_eq!(answer.status(), Some(403), "{answer}");
    assert_eq!(chat.say(&mut house, "still there").status(), Some(200));
}

#[test]
fn sec_14_a_front_end_of_another_domain_has_no_part_in_a_session() {
    let mut house = House::planned(Plan {
        served: &["contoso.com", "other.example"],
        second_serves: Some(&["other.example"]),
        ..Plan::default()
    });
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    chat.wire = house.connect_as(nuncio::gateway::SipPeer::FrontEnd(1), false);
    assert_eq!(chat.say(&mut house, "from next door").status(), Some(481));
    chat.wire = wire;
    assert_eq!(chat.say(&mut house, "from home").status(), Some(200));
}

#[test]
fn a_message_in_a_session_is_judged_by_the_rules_of_the_moment() {
    let mut house = House::new();
    let wire = house.front_end();
    let mut chat = Chat::open(&mut house, wire);
    let closed = Plan { partners: &[], ..Plan::default() }.policy();
    house.gateway.set_policy(closed);
    let answer = chat.say(&mut house, "late");
    assert_eq!(answer.status(), Some(403), "{answer}");
    assert!(house.stanzas("fabrikam.com").is_empty());
}
