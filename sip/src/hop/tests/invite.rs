//! INVITE, what cancels it, and ACK.

use super::*;
use crate::Fields;

fn push(rig: &mut Rig, method: &str, envelope: u32) -> Vec<Did> {
    rig.group.push(request_of(method, envelope), envelope, rig.now).unwrap();
    rig.poll()
}

fn cancel(rig: &mut Rig, envelope: u32) -> Vec<Did> {
    let why = Fields::from([("Reason", "SIP;cause=403".to_owned())]);
    let known = rig.group.cancel(&format!("z9hG4bKn1-{envelope}"), &why, rig.now);
    let did = rig.poll();
    assert_eq!(known, !did.is_empty(), "whoever does not know it says so");
    did
}

#[test]
fn an_ack_comes_back_when_it_is_sent() {
    let mut rig = Rig::up(ONE);
    assert_eq!(push(&mut rig, "ACK", 1), [Did::Send(1, 1)]);
    let outgoing = rig.take(1);
    rig.group.acknowledged(outgoing, rig.now);
    assert_eq!(rig.poll(), [Did::Acknowledged(1)]);
    assert!(rig.group.is_idle());
}

#[test]
fn sip_28_an_invite_under_way_is_cancelled_where_it_went() {
    let mut rig = Rig::up(ONE);
    push(&mut rig, "INVITE", 1);
    assert_eq!(cancel(&mut rig, 1), [Did::Cancel(1, "z9hG4bKn1-1".into())]);
    assert_eq!(rig.response(1, 487), [Did::Response(1, 487)]);
    assert_eq!(cancel(&mut rig, 1), [], "it has come back");
}

#[test]
fn sip_28_an_invite_that_went_on_to_the_next_front_end_is_cancelled_there() {
    let mut rig = Rig::up(TWO);
    push(&mut rig, "INVITE", 1);
    assert_eq!(rig.response(1, 503), [Did::Release(1), Did::Connect(1)]);
    assert_eq!(rig.connected(2), [Did::Send(2, 1)]);
    assert_eq!(cancel(&mut rig, 1), [Did::Cancel(2, "z9hG4bKn1-1.2".into())]);
}

#[test]
fn sip_28_an_invite_that_has_not_left_is_taken_back_without_a_word() {
    let mut rig = Rig::new(ONE);
    assert_eq!(push(&mut rig, "INVITE", 1), [Did::Connect(0)]);
    push(&mut rig, "MESSAGE", 2);
    assert_eq!(cancel(&mut rig, 1), [Did::Failed(1, HopFailure::Withdrawn)]);
    assert_eq!(rig.connected(1), [Did::Send(1, 2)]);
}

#[test]
fn sip_28_an_invite_that_was_cancelled_goes_to_nobody_else_whatever_is_answered() {
    for (status, extra) in [(503, ""), (302, "Contact: <sip:juliet@fe2.example>\r\n"), (487, "")] {
        let mut rig = Rig::up(TWO);
        push(&mut rig, "INVITE", 1);
        cancel(&mut rig, 1);
        assert_eq!(rig.response_with(1, status, extra), [Did::Response(1, status)]);
        assert!(rig.group.is_idle());
    }
}

#[test]
fn sip_28_an_invite_that_was_cancelled_and_was_never_written_is_not_sent_after_all() {
    let lost = Failure::ConnectionLost { written: false };
    let mut rig = Rig::up(TWO);
    push(&mut rig, "INVITE", 1);
    cancel(&mut rig, 1);
    assert_eq!(rig.failed(1, lost), [Did::Failed(1, HopFailure::Withdrawn)]);
    for why in [Why::Closed, Why::Full] {
        let mut rig = Rig::up(TWO);
        push(&mut rig, "INVITE", 1);
        cancel(&mut rig, 1);
        let envelope = rig.take(1);
        rig.group.refused(SendRefused { why, envelope }, rig.now);
        assert_eq!(rig.poll(), [Did::Failed(1, HopFailure::Withdrawn)], "{why:?}");
    }
}

#[test]
fn sip_28_a_redirected_invite_is_taken_back_before_it_gets_there() {
    let mut rig = Rig::up(TWO);
    push(&mut rig, "INVITE", 1);
    let did = rig.response_with(1, 302, "Contact: <sip:juliet@fe2.example>\r\n");
    assert_eq!(did, [Did::Connect(1)]);
    assert_eq!(cancel(&mut rig, 1), [Did::Failed(1, HopFailure::Withdrawn)]);
    assert_eq!(rig.connected(2), [Did::Release(2)]);
}
