//! INVITEs of the peer (RFC 3261 §17.2.1, RFC 6026).

use super::*;

const INVITE: Req<'static> = Req { method: "INVITE", ..REQ };
const CANCEL: Req<'static> = Req { method: "CANCEL", ..REQ };
/// The ACK for a refusal: same branch, and the tag of the answer.
const ACK: Req<'static> = Req { method: "ACK", to: "<sip:juliet@example.com>;tag=tag1", ..REQ };
/// The ACK for 2xx is a transaction of its own.
const ACK_2XX: Req<'static> = Req { via: "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bKack", ..ACK };
/// A Lync client writes no branch.
const OLD_VIA: &str = "SIP/2.0/TLS 192.0.2.7:50123;ms-received-cid=4F00";

/// An INVITE has come.
fn invited() -> (Rig, ServerTxn) {
    let mut rig = Rig::new();
    rig.receive(INVITE.text());
    let (txn, message) = rig.request();
    assert_eq!(message.method(), Method::Invite);
    (rig, txn)
}

/// … and was answered, with this in the output.
fn answered(status: u16) -> (Rig, ServerTxn, Vec<u8>) {
    let (mut rig, txn) = invited();
    assert_eq!(rig.respond(txn, status), Responded::Sent);
    let response = rig.written();
    (rig, txn, response)
}

/// The Call-IDs of the ACKs that were handed up.
fn acks(rig: &mut Rig) -> usize {
    let outputs = rig.poll();
    assert!(outputs.iter().all(|output| matches!(output, Output::Ack { .. })), "{outputs:?}");
    outputs.len()
}

#[test]
fn sip_20_an_invite_gets_100_after_200_ms_and_not_before() {
    let (mut rig, _) = invited();
    assert!(rig.tick(199).written().is_empty());
    assert_eq!(rig.tick(200).statuses(), [100]);
    assert!(rig.tick(60_000).written().is_empty(), "100 goes out once");
}

#[test]
fn sip_20_180_may_go_to_an_invite_and_a_repeat_gets_it_again() {
    let (mut rig, txn) = invited();
    assert_eq!(rig.respond(txn, 180), Responded::Sent);
    assert_eq!(rig.statuses(), [180]);
    assert!(rig.tick(200).written().is_empty(), "100 after 180");
    rig.receive(INVITE.text());
    assert_eq!(rig.statuses(), [180]);
    assert_eq!(rig.respond(txn, 200), Responded::Sent);
}

#[test]
fn sip_20_a_refusal_is_repeated_until_ack_and_not_after_it() {
    let (mut rig, _, response) = answered(486);
    rig.receive(INVITE.text());
    assert_eq!(rig.written(), response);
    rig.receive(ACK.text());
    assert!(rig.poll().is_empty() && rig.written().is_empty(), "the ACK belongs to the transaction");
    rig.receive(INVITE.text());
    rig.request();
}

#[test]
fn sip_20_timer_h_ends_the_wait_for_ack_after_32_s() {
    let (mut rig, _, response) = answered(486);
    rig.tick(31_999).receive(INVITE.text());
    assert_eq!(rig.written(), response);
    rig.tick(32_000);
    assert_eq!(rig.counters().unacknowledged, 1);
    assert_eq!(rig.connection.deadline(), None);
}

#[test]
fn sip_22_a_repeat_after_2xx_is_absorbed_until_timer_l() {
    let (mut rig, _, _) = answered(200);
    rig.tick(31_999).receive(INVITE.text());
    assert!(rig.poll().is_empty() && rig.written().is_empty());
    rig.tick(32_000).receive(INVITE.text());
    rig.request();
    assert_eq!(rig.counters().unacknowledged, 0);
}

#[test]
fn ch_11_a_2xx_can_be_repeated_for_32_s_byte_for_byte() {
    let (mut rig, txn, response) = answered(200);
    assert_eq!(rig.tick(31_999).connection.repeat(txn), Responded::Sent);
    assert_eq!(rig.written(), response);
    assert_eq!(rig.tick(32_000).connection.repeat(txn), Responded::Dropped);
}

#[test]
fn ch_11_a_refusal_is_not_the_callers_to_repeat() {
    let (mut rig, txn, _) = answered(486);
    assert_eq!(rig.connection.repeat(txn), Responded::Dropped);
    assert!(rig.written().is_empty());
}

#[test]
fn ch_11_a_2xx_whose_connection_is_gone_is_handed_back_each_time() {
    let (mut rig, txn) = invited();
    rig.connection.closed();
    let Responded::Orphaned(first) = rig.respond(txn, 200) else { panic!("an orphan expected") };
    assert_eq!(rig.connection.repeat(txn), Responded::Orphaned(first));
    assert_eq!(rig.connection.repeats_until(), Some(rig.start + SETTLED_FOR));
    assert_eq!(rig.tick(32_000).connection.repeats_until(), None);
}

/// RFC 3261 §13.3.1.4; RFC 6026 §7.1.
#[test]
fn ch_11_a_2xx_that_is_acknowledged_is_not_repeated_nor_kept_and_repeats_of_the_invite_are_absorbed() {
    let (mut rig, txn, _) = answered(200);
    assert_eq!(rig.connection.repeats_until(), Some(rig.start + SETTLED_FOR));
    assert!(rig.connection.server.kept(txn.0) > Some(0));
    rig.connection.acknowledged(txn, rig.now);
    assert_eq!(rig.connection.server.kept(txn.0), Some(0), "nothing bounds the bytes of these");
    assert_eq!(rig.connection.repeat(txn), Responded::Dropped);
    assert_eq!(rig.connection.repeats_until(), None);
    rig.tick(31_999).receive(INVITE.text());
    assert!(rig.poll().is_empty() && rig.written().is_empty());
    rig.tick(32_000).receive(INVITE.text());
    rig.request();
    assert_eq!(rig.counters().unacknowledged, 0);
}

#[test]
fn ch_11_of_several_2xx_that_of_longest_ago_without_ack_says_how_long_the_connection_is_remembered() {
    let mut rig = Rig::with(|config| config.max_pending_in = 3);
    let mut answer = |at: u64, status: u16| {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{at}");
        rig.at(at).receive(Req { via: &via, call_id: &at.to_string(), ..INVITE }.text());
        let (txn, _) = rig.request();
        assert_eq!(rig.respond(txn, status), Responded::Sent);
        txn
    };
    let refused = answer(0, 486);
    let (first, second) = (answer(1_000, 200), answer(2_000, 200));
    let until = |rig: &Rig| rig.connection.repeats_until().map(|at| (at - rig.start).as_millis());
    assert_eq!(until(&rig), Some(33_000));
    rig.at(3_000);
    rig.connection.acknowledged(first, rig.now);
    assert_eq!(until(&rig), Some(34_000));
    // A second ACK for it, and one for what was refused, mean nothing.
    rig.at(5_000);
    rig.connection.acknowledged(first, rig.now);
    rig.connection.acknowledged(refused, rig.now);
    assert_eq!(until(&rig), Some(34_000));
    // One more than may be remembered: the one that was refused goes, the oldest.
    rig.written();
    let repeat = |rig: &mut Rig, at: u64| {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{at}");
        rig.receive(Req { via: &via, call_id: &at.to_string(), ..INVITE }.text());
        rig.poll().len()
    };
    assert_eq!(repeat(&mut rig, 0), 0, "it gets its answer again");
    rig.at(6_000).receive(Req { call_id: "another", ..INVITE }.text());
    let (another, _) = rig.request();
    assert_eq!(rig.respond(another, 200), Responded::Sent);
    rig.written();
    assert_eq!(repeat(&mut rig, 1_000), 0, "absorbed");
    assert_eq!(repeat(&mut rig, 2_000), 0, "absorbed");
    assert_eq!(repeat(&mut rig, 0), 1, "a new one");
    rig.connection.acknowledged(second, rig.now);
    assert_eq!(until(&rig), Some(38_000));
    rig.connection.acknowledged(another, rig.now);
    assert_eq!(until(&rig), None);
    // What is acknowledged is absorbed for 32 s more.
    assert_eq!(repeat(rig.tick(34_999), 1_000), 0);
    assert_eq!(repeat(rig.tick(35_000), 1_000), 1);
    assert_eq!(repeat(rig.tick(37_999), 2_000), 0);
    assert_eq!(repeat(rig.tick(38_000), 2_000), 1);
}

#[test]
fn ch_11_a_refusal_keeps_no_connection_that_is_gone() {
    let (mut rig, txn, _) = answered(486);
    rig.connection.acknowledged(txn, rig.now);
    assert_eq!(rig.connection.repeats_until(), None, "the caller repeats 2xx alone");
}

#[test]
fn sip_20_the_ack_for_2xx_is_handed_up() {
    let (mut rig, _, _) = answered(200);
    rig.receive(ACK_2XX.text());
    assert_eq!(acks(&mut rig), 1);
    // RFC 6026 §7.1: also one that stands in the transaction.
    rig.receive(ACK.text());
    assert_eq!(acks(&mut rig), 1);
}

#[test]
fn a_malformed_ack_is_dropped() {
    let mut rig = Rig::new();
    rig.receive(Req { to: "<sip:", ..ACK_2XX }.text());
    rig.receive(Req { via: "garbage", ..ACK_2XX }.text());
    assert!(rig.poll().is_empty() && rig.written().is_empty());
    assert_eq!(rig.counters().acks, 2);
}

#[test]
fn sip_21_an_ack_without_branch_finds_the_refusal_by_the_older_rules() {
    let invite = Req { via: OLD_VIA, ..INVITE };
    let mut rig = Rig::new();
    rig.receive(invite.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 486);
    rig.receive(Req { via: OLD_VIA, to: "<sip:juliet@example.com>;tag=other", ..ACK }.text());
    assert_eq!(acks(&mut rig), 1, "the tag is not that of the answer");
    rig.receive(Req { via: OLD_VIA, ..ACK }.text());
    assert!(rig.poll().is_empty());
    assert_eq!(rig.connection.deadline(), None, "the transaction has ended");
}

#[test]
fn sip_21_an_ack_without_branch_finds_the_refusal_of_a_re_invite() {
    let to = "<sip:juliet@example.com>;tag=ours";
    let mut rig = Rig::new();
    rig.receive(Req { via: OLD_VIA, to, ..INVITE }.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 491);
    rig.receive(Req { via: OLD_VIA, to, ..ACK }.text());
    assert!(rig.poll().is_empty());
}

#[test]
fn sip_28_cancel_of_a_pending_invite_gets_200_and_the_invite_487() {
    let (mut rig, txn) = invited();
    rig.receive(CANCEL.text());
    assert_eq!(rig.statuses(), [200]);
    assert!(matches!(rig.poll()[..], [Output::Cancelled { txn: cancelled }] if cancelled == txn));
    rig.receive(CANCEL.text());
    assert!(rig.poll().is_empty(), "told once");
    rig.written();
    assert_eq!(rig.respond(txn, 487), Responded::Sent);
    assert_eq!(rig.statuses(), [487]);
}

#[test]
fn sip_28_cancel_of_an_answered_invite_changes_nothing() {
    for status in [200, 486] {
        let (mut rig, _, _) = answered(status);
        rig.receive(CANCEL.text());
        assert_eq!(rig.statuses(), [200]);
        assert!(rig.poll().is_empty());
    }
}

#[test]
fn im_18_a_second_copy_of_an_accepted_invite_gets_482() {
    let second = Req { via: "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK2", ..INVITE };
    let (mut rig, _, _) = answered(200);
    rig.receive(second.text());
    assert_eq!(rig.statuses(), [482]);
    assert!(rig.poll().is_empty());
}

#[test]
fn an_invite_that_nobody_answers_gets_408_after_three_minutes() {
    let (mut rig, txn) = invited();
    assert_eq!(rig.tick(200).statuses(), [100]);
    assert!(rig.tick(179_999).written().is_empty());
    assert_eq!(rig.tick(180_000).statuses(), [408]);
    assert_eq!(rig.respond(txn, 200), Responded::Dropped);
    rig.receive(ACK.text());
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().abandoned, 1);
}

#[test]
fn an_invite_left_ringing_gets_408_after_three_minutes_without_news() {
    let mut rig = Rig::new();
    let mut ringing = |branch: &str, until: u64| {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{branch}");
        rig.receive(Req { via: &via, call_id: branch, ..INVITE }.text());
        let (txn, _) = rig.request();
        assert_eq!(rig.respond(txn, 180), Responded::Sent);
        rig.tick(until);
        txn
    };
    // The first one rings again after a minute, and so hears longer of it than the one that came after it.
    let first = ringing("first", 30_000);
    ringing("second", 60_000);
    assert_eq!(rig.respond(first, 180), Responded::Sent);
    rig.written();
    assert!(rig.tick(209_999).written().is_empty());
    assert_eq!(rig.tick(210_000).statuses(), [408]);
    assert!(rig.tick(239_999).written().is_empty());
    // 100 is no news: three minutes after the last one that was.
    assert_eq!(rig.respond(first, 100), Responded::Sent);
    rig.written();
    assert_eq!(rig.tick(240_000).statuses(), [408]);
}

#[test]
fn an_invite_refused_by_its_form_is_acknowledged_like_any_other() {
    let mut rig = Rig::new();
    rig.receive(Req { extra: "Require: 100rel\r\n", ..INVITE }.text());
    assert_eq!(rig.statuses(), [420]);
    rig.receive(ACK.text());
    assert!(rig.poll().is_empty());
}

#[test]
fn answered_invites_keep_nobody_waiting_and_take_no_room() {
    let mut rig = Rig::with(|config| config.max_pending_in = 1);
    for n in 0..3 {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{n}");
        rig.receive(Req { via: &via, call_id: &via[via.len() - 2..], ..INVITE }.text());
        let (txn, _) = rig.request();
        assert_eq!(rig.respond(txn, 486), Responded::Sent);
    }
    rig.written();
    assert!(rig.connection.is_idle());
    // The newest is remembered, the one before it is not: the limit is one.
    let ack = |n: u32| {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{n}");
        Req { via: &via, ..ACK }.text()
    };
    rig.receive(ack(1));
    assert_eq!(acks(&mut rig), 1);
    rig.receive(ack(2));
    assert_eq!(acks(&mut rig), 0);
}

#[test]
fn large_answered_invites_are_let_go_by_their_size() {
    let mut rig = Rig::with(|config| config.max_backlog = usize::MAX);
    let long = format!("Require: {}\r\n", "x".repeat(15_000));
    for n in 0..100 {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{n:03}");
        rig.receive(Req { via: &via, call_id: &via[via.len() - 3..], extra: &long, ..INVITE }.text());
    }
    assert_eq!(rig.statuses(), [420; 100]);
    let ack = |n: u32| {
        let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK{n:03}");
        Req { via: &via, ..ACK }.text()
    };
    rig.receive(ack(0));
    assert_eq!(acks(&mut rig), 1, "the first one is not remembered");
    rig.receive(ack(99));
    assert_eq!(acks(&mut rig), 0, "the last one is");
}
