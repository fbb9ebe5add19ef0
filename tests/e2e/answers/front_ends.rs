//! Several front ends for the same domain are tried in order, and never twice where the first may have taken it.

use std::time::Duration;

use nuncio::gateway::SipPeer;
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Plan, Reach, Reply};
use crate::text::Request;
use crate::watching::*;

const HELLO: &str = "<message from='bob@fabrikam.com/home' to='alice@contoso.com' id='b1' type='chat'><body>hello</body></message>";

/// Two front ends of one next hop each.
fn house() -> House {
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    House::planned(Plan { next_hops, ..Plan::default() })
}

#[test]
fn the_first_one_is_used_while_it_can_be_reached() {
    let mut house = house();
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.connects, [0]);
}

#[test]
fn the_next_one_takes_over_when_the_first_cannot_be_reached() {
    let mut house = house();
    house.next_hop_reach.insert(0, Reach::Down(FailureKind::Unreachable));
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.connects, [0, 1]);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn the_next_one_is_asked_when_the_first_answers_503() {
    let mut house = house();
    let mut first = true;
    house.rule = Box::new(move |_| match std::mem::take(&mut first) {
        true => Reply::Status(503, "Busy"),
        false => Reply::Status(200, "OK"),
    });
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.requests().len(), 2);
    assert_eq!(house.connects, [0, 1]);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
}

#[test]
fn never_twice_the_next_one_does_not_get_what_the_first_left_unanswered() {
    let mut house = house();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", HELLO);
    house.advance(Duration::from_secs(60));
    assert_eq!(house.requests().len(), 1);
    let errors = house.stanzas("fabrikam.com");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].raw.contains("may or may not have arrived"), "{}", errors[0]);
}

#[test]
fn never_twice_the_next_one_does_not_get_what_the_first_broke_off_over() {
    let mut house = house();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", HELLO);
    let hop = house.hop();
    house.cut(hop);
    house.advance(Duration::from_secs(60));
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.stanzas("fabrikam.com").len(), 1, "its sender is told");
}

#[test]
fn any_of_them_may_send_for_the_domain() {
    let mut house = house();
    for front_end in [0, 1] {
        let wire = house.connect_as(SipPeer::FrontEnd(front_end), false);
        let answer = house.ask(wire, Request::message("bob@fabrikam.com", "hi").bytes());
        assert_eq!(answer.status(), Some(200), "front end {front_end}");
    }
}

/// The Via of a lost request leads to the front end that sent it, not to the one in use (SIP-07).
#[test]
fn sip_07_a_lost_answer_goes_to_no_other_front_end() {
    let mut house = house();
    house.partner_says("fabrikam.com", HELLO);
    for (front_end, relayed) in [(1, 0), (0, 1)] {
        house.line("fabrikam.com").stalled = true;
        let wire = house.connect_as(SipPeer::FrontEnd(front_end), false);
        let request = Request::message("bob@fabrikam.com", "hi");
        house.send(wire, request.set(|request| request.call_id = format!("lost{front_end}")).bytes());
        house.cut(wire);
        house.line("fabrikam.com").stalled = false;
        house.run();
        assert_eq!(house.relayed.len(), relayed, "front end {front_end}");
    }
    assert_eq!(house.count("answers_lost"), 1);
}

/// The requests and the front ends they reached, since that was last asked.
fn asked(house: &mut House) -> Vec<(usize, String)> {
    std::mem::take(&mut house.asked)
}

fn to(front_end: usize, method: &str) -> (usize, String) {
    (front_end, method.to_owned())
}

/// The first front end cannot be reached any more.
fn first_dies(house: &mut House) {
    house.next_hop_reach.insert(0, Reach::Down(FailureKind::Unreachable));
    for wire in 0..house.wires.len() {
        if house.wires[wire].hop && house.wires[wire].open {
            house.cut(wire);
        }
    }
}

#[test]
fn sip_29_notify_goes_to_the_front_end_that_holds_the_dialog() {
    let mut house = house();
    house.rule = Box::new(accepts);
    // Requests outside of any dialog go to the first one.
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(asked(&mut house), [to(0, "MESSAGE")]);
    let second = house.connect_as(SipPeer::FrontEnd(1), false);
    let request = subscribe(BOB, 3600);
    let answer = house.ask(second, request.bytes());
    let mut dialog = Dialog::made(&request, &answer);
    assert_eq!(asked(&mut house), [to(1, "NOTIFY")]);
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribed'", ""));
    house.partner_says(PARTNER, &stanza("bob@fabrikam.com/home", "", ""));
    house.advance(10 * SECOND);
    assert!(asked(&mut house).iter().all(|asked| *asked == to(1, "NOTIFY")));
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(asked(&mut house), [to(0, "MESSAGE")]);
    // It has given the dialog to the other one.
    let first = house.connect_as(SipPeer::FrontEnd(0), false);
    assert_eq!(house.status(first, &dialog.subscribe(3600)), 200);
    assert_eq!(asked(&mut house), [to(0, "NOTIFY")]);
}

#[test]
fn sip_29_subscribe_in_a_dialog_goes_to_the_front_end_that_holds_it_also_after_a_restart() {
    let mut house = house();
    house.rule = Box::new(accepts);
    house.next_hop_reach.insert(0, Reach::Down(FailureKind::Unreachable));
    house.partner_says(PARTNER, &stanza(BOB, "type='subscribe'", ""));
    assert_eq!(asked(&mut house), [to(1, "SUBSCRIBE")]);
    let mut dialog = Dialog::of(&house.request());
    let second = house.connect_as(SipPeer::FrontEnd(1), false);
    assert_eq!(house.status(second, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    // The first one can be reached again, and messages go there.
    house.next_hop_reach.clear();
    let hop = house.hop();
    house.cut(hop);
    house.advance(MINUTE);
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(asked(&mut house), [to(0, "MESSAGE")]);
    house.requests();
    house.wait_for_request(HOUR);
    assert_eq!(asked(&mut house), [to(1, "SUBSCRIBE")]);
    let next_hops = &[(0, "fe.contoso.com:5061"), (1, "spare.contoso.com:5061")];
    let store = std::sync::Arc::new(house.store.crash());
    let mut house = House::planned(Plan { next_hops, store, ..Plan::default() });
    house.rule = Box::new(accepts);
    house.gateway.restore(house.now).unwrap();
    house.advance(SECOND);
    assert_eq!(asked(&mut house), [to(1, "SUBSCRIBE")]);
}

#[test]
fn sip_29_a_holder_that_is_gone_is_the_end_of_its_dialogs_and_another_one_is_asked_anew() {
    let mut house = house();
    house.rule = Box::new(accepts);
    let (_, mut dialog) = house.seen_by(BOB);
    assert_eq!(asked(&mut house), [to(0, "SUBSCRIBE")]);
    first_dies(&mut house);
    house.advance(4 * MINUTE + 50 * SECOND);
    assert_eq!(asked(&mut house), [], "it may come back, and nobody else knows the dialog");
    let anew = house.wait_for_request(15 * SECOND);
    assert_eq!(asked(&mut house), [to(1, "SUBSCRIBE")]);
    assert_ne!(anew.header("Call-ID"), Some(dialog.call_id.as_str()));
    let second = house.connect_as(SipPeer::FrontEnd(1), false);
    assert_eq!(house.status(second, &dialog.notify(OPEN, "")), 481);
    let mut dialog = Dialog::of(&anew);
    assert_eq!(house.status(second, &dialog.notify(OPEN, &pidf(&[("desk", true, "", "")]))), 200);
    assert_eq!(house.told(PARTNER), [""; 0], "and the contact has seen nothing of it");
}
