//! INVITE, what cancels it, and ACK.

use super::*;

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
