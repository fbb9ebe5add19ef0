//! Several front ends for the same domain are tried in order, and never twice where the first may have taken it.

use std::time::Duration;

use nuncio::gateway::SipPeer;
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Plan, Reach, Reply};
use crate::text::Request;

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
