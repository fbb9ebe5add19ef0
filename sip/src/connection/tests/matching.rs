//! Which request of the peer one is: of which transaction, merged with others, our own come back, or cancelled.

use super::*;
use crate::connection::receive::CANCELLABLE;

/// Our sent-by.
const OURS: &str = "nuncio.example:5061";

#[test]
fn im_18_a_merged_request_gets_482() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    rig.receive(other("z9hG4bK2", "call-1"));
    assert!(rig.poll().is_empty());
    assert_eq!(rig.statuses(), [482]);
    let _ = rig.respond(txn, 200);
    assert_eq!(rig.statuses(), [200]);
    rig.receive(other("z9hG4bK2", "call-1"));
    assert!(rig.poll().is_empty(), "what was refused as merged is delivered after all");
    assert_eq!(rig.statuses(), [482]);
    assert_eq!(rig.counters().merged, 1);
}

/// Behind each sign of another proxy, and in whatever form, our own Via shows that the request is ours.
#[test]
fn sip_37_a_request_of_ours_that_comes_back_gets_482() {
    const FIRST: &str = "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK1";
    let ours = format!("SIP / 2.0 / TLS {} ; branch=z9hG4bKours;received=192.0.2.1", OURS.to_uppercase());
    for via in [
        format!("SIP/2.0/TLS {OURS};branch=z9hG4bKours"),
        format!("{FIRST}, {ours}"),
        format!("{FIRST}\r\nVia: {FIRST}0\r\nVia: {ours}"),
    ] {
        let mut rig = Rig::new();
        rig.receive(Req { via: &via, ..REQ }.text());
        assert!(rig.poll().is_empty(), "{via}");
        assert_eq!((rig.statuses(), rig.counters().looped), (vec![482], 1), "{via}");
    }
}

/// Somebody else's Vias, one that cannot be read among them, are no loop; nor is a Max-Breadth that is used up: who does not
/// fork needs none (RFC 5393 §5.3).
#[test]
fn sip_37_what_others_sent_is_no_loop_and_needs_no_breadth() {
    let mut rig = Rig::new();
    let other_port = format!("SIP/2.0/TLS fe;branch=z9hG4bK1, SIP/2.0/TLS {OURS}0;branch=z9hG4bKx, rubbish");
    rig.receive(Req { via: &other_port, extra: "Max-Breadth: 0\r\n", ..REQ }.text());
    rig.request();
    assert!(rig.written().is_empty());
}

#[test]
fn im_18_only_unfinished_requests_outside_dialogs_merge() {
    let same = |via: &'static str| Req { via, ..REQ };
    let second = same("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK2");
    let differing = [
        Req { from_tag: "f2", ..second },
        Req { call_id: "call-2", ..second },
        Req { cseq: 2, ..second },
        Req { method: "OPTIONS", ..second },
        Req { to: "<sip:juliet@example.com>;tag=ours", ..second },
    ];
    for request in differing {
        let mut rig = Rig::new();
        rig.receive(REQ.text());
        rig.request();
        rig.receive(request.text());
        rig.request();
        assert!(rig.written().is_empty());
    }
    // DEC-27: a finished one merges with nothing, unless it brought something.
    for (method, status) in [("OPTIONS", 200), ("MESSAGE", 480), ("INVITE", 486)] {
        let mut rig = Rig::new();
        rig.receive(Req { method, ..REQ }.text());
        let (txn, _) = rig.request();
        let _ = rig.respond(txn, status);
        rig.receive(Req { method, ..second }.text());
        rig.request();
    }
}

#[test]
fn sip_21_lync_clients_send_no_branch_and_are_known_by_the_older_rules() {
    let old = Req { via: "SIP/2.0/TLS 192.0.2.7:50123;ms-received-port=50123;ms-received-cid=4F00", ..REQ };
    let mut rig = Rig::new();
    rig.receive(old.text());
    let (txn, _) = rig.request();
    rig.receive(old.text());
    assert!(rig.poll().is_empty(), "a repeat");
    let _ = rig.respond(txn, 200);
    rig.written();
    rig.receive(old.text());
    assert_eq!(rig.statuses(), [200]);
    for other in [Req { cseq: 2, ..old }, Req { call_id: "call-2", ..old }, Req { from_tag: "f2", ..old }] {
        rig.receive(other.text());
        rig.request();
    }
    // A branch without the cookie means nothing.
    let first = Req { via: "SIP/2.0/TLS 192.0.2.7;branch=1", call_id: "b", ..REQ };
    rig.receive(first.text());
    rig.request();
    rig.receive(Req { cseq: 2, ..first }.text());
    rig.request();
}

#[test]
fn sip_21_a_transaction_is_branch_and_sent_by_and_method() {
    let different = [
        Req { via: "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK11", call_id: "2", ..REQ },
        Req { via: "SIP/2.0/TLS fe2.contoso.example:5061;branch=z9hG4bK1", call_id: "3", ..REQ },
        Req { via: "SIP/2.0/TLS fe.contoso.example:5062;branch=z9hG4bK1", call_id: "4", ..REQ },
        Req { method: "OPTIONS", call_id: "2", ..REQ },
    ];
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    rig.request();
    for request in different {
        rig.receive(request.text());
        rig.request();
    }
    // Nothing else counts: a repeat may have passed another proxy's mind.
    rig.receive(Req { call_id: "5", extra: "Subject: again\r\n", ..REQ }.text());
    assert!(rig.poll().is_empty());
}

#[test]
fn sip_28_cancel_finds_its_request_pending_or_answered() {
    let cancel = Req { method: "CANCEL", ..REQ };
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    rig.receive(cancel.text());
    let [answer] = &rig.sent()[..] else { panic!("one answer expected") };
    assert_eq!(answer.status(), Some(StatusCode(200)));
    assert_eq!(header(answer, HeaderName::CSeq), "1 CANCEL");
    assert_eq!(to_tag(answer), "tag1", "the tag of the request's own answer");
    assert_eq!(rig.respond(txn, 200), Responded::Sent, "a non-INVITE request goes on");
    assert_eq!(rig.statuses(), [200]);
    rig.receive(cancel.text());
    assert_eq!(rig.statuses(), [200]);
    assert!(rig.poll().is_empty());
    assert_eq!((rig.counters().cancels, rig.counters().repeats_answered), (1, 1));
}

#[test]
fn sip_28_cancel_without_a_match_gets_481() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    rig.request();
    let via = "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK2";
    rig.receive(Req { method: "CANCEL", via, ..REQ }.text());
    assert_eq!(rig.statuses(), [481]);
    // A CANCEL is not what another CANCEL cancels.
    rig.receive(Req { method: "CANCEL", via, ..REQ }.text());
    assert_eq!(rig.statuses(), [481]);
    assert_eq!((rig.counters().cancels, rig.counters().stray_cancels), (0, 1));
}

#[test]
fn sip_28_every_method_can_be_cancelled() {
    for method in CANCELLABLE {
        let mut rig = Rig::new();
        rig.receive(Req { method: method.as_str(), ..REQ }.text());
        rig.request();
        rig.receive(Req { method: "CANCEL", ..REQ }.text());
        assert_eq!(rig.statuses(), [200], "{method}");
    }
}

#[test]
fn sip_28_cancel_without_branch_is_matched_by_the_older_rules() {
    let old = Req { via: "SIP/2.0/TLS 192.0.2.7:50123", ..REQ };
    let mut rig = Rig::new();
    rig.receive(old.text());
    rig.request();
    rig.receive(Req { method: "CANCEL", ..old }.text());
    assert_eq!(rig.statuses(), [200]);
}
