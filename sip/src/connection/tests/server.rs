//! Requests of the peer.

use super::*;
use crate::connection::receive::CANCELLABLE;

/// Our sent-by.
const OURS: &str = "nuncio.example:5061";

/// Another transaction of the same peer.
fn other(branch: &str, call_id: &str) -> String {
    let via = format!("SIP/2.0/TLS fe.contoso.example:5061;branch={branch}");
    Req { via: &via, call_id, ..REQ }.text()
}

#[test]
fn sip_20_a_request_is_passed_on_once_and_answered_once() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, message) = rig.request();
    assert_eq!(message.method(), Method::Message);
    assert_eq!(rig.connection.to_tag(txn), Some("tag1"));
    assert!(rig.written().is_empty());
    assert!(!rig.connection.is_idle());

    assert_eq!(rig.respond(txn, 200), Responded::Sent);
    let [response] = &rig.sent()[..] else { panic!("one response expected") };
    assert_eq!(response.status(), Some(StatusCode(200)));
    assert_eq!(to_tag(response), "tag1");
    assert_eq!(header(response, HeaderName::CallId), "call-1");
    assert!(rig.connection.is_idle());
    assert_eq!(rig.connection.deadline(), None);

    assert_eq!(rig.respond(txn, 500), Responded::Dropped, "the transaction has ended");
    assert!(rig.written().is_empty());
    assert_eq!(rig.counters().late_answers, 1);
}

#[test]
fn a_stale_transaction_never_answers_for_its_successor() {
    let mut rig = Rig::new();
    rig.receive(other("z9hG4bKa", "a"));
    let (first, _) = rig.request();
    assert_eq!(rig.respond(first, 200), Responded::Sent);
    rig.receive(other("z9hG4bKb", "b"));
    let (second, _) = rig.request();
    rig.written();
    assert_eq!(rig.respond(first, 404), Responded::Dropped);
    assert!(rig.written().is_empty());
    assert_eq!(rig.respond(second, 200), Responded::Sent);
    assert_eq!(rig.statuses(), [200]);
}

#[test]
fn im_17_a_repeat_of_an_answered_request_gets_the_same_bytes() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 200);
    let first = rig.written();
    rig.at(4_000).receive(REQ.text());
    assert!(rig.poll().is_empty(), "a second message would be delivered");
    assert_eq!(rig.written(), first);
    assert_eq!(rig.counters().repeats_answered, 1);
}

#[test]
fn im_17_the_same_bytes_also_where_status_and_tag_do_not_say_it_all() {
    type Answer =
        (u16, &'static str, &'static [(&'static str, &'static str)], Option<(&'static str, &'static [u8])>);
    let answers: [Answer; 4] = [
        (403, "", &[("ms-diagnostics", "1000;reason=\"No\"")], None),
        (480, "Try Later", &[], None),
        (488, "", &[], Some(("text/plain", b"why"))),
        (404, "", &[], None),
    ];
    for (status, reason, extra, body) in answers {
        let mut rig = Rig::new();
        rig.receive(REQ.text());
        let (txn, _) = rig.request();
        assert_eq!(rig.connection.respond(txn, status, reason, extra, body, rig.now), Responded::Sent);
        let first = rig.written();
        rig.receive(REQ.text());
        assert_eq!(rig.written(), first, "{status}");
        assert!(rig.poll().is_empty());
    }
}

#[test]
fn im_17_a_repeat_of_a_pending_request_is_absorbed() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    rig.receive(REQ.text());
    assert!(rig.poll().is_empty() && rig.written().is_empty());
    // RFC 3261 §17.2.2: once 100 is the latest answer, a repeat gets it.
    rig.tick(3_500);
    assert_eq!(rig.statuses(), [100]);
    rig.receive(REQ.text());
    assert_eq!(rig.statuses(), [100]);
    assert_eq!(rig.counters().repeats_absorbed, 2);
    let _ = rig.respond(txn, 200);
    assert_eq!(rig.statuses(), [200]);
}

#[test]
fn dec_27_the_ring_remembers_256_and_not_257() {
    for (followers, remembered) in [(RING - 1, true), (RING, false)] {
        let mut rig = Rig::new();
        rig.receive(REQ.text());
        let (txn, _) = rig.request();
        let _ = rig.respond(txn, 200);
        for n in 0..followers {
            rig.receive(other(&format!("z9hG4bKx{n}"), &format!("x{n}")));
            let (txn, _) = rig.request();
            let _ = rig.respond(txn, 200);
        }
        rig.written();
        rig.receive(REQ.text());
        assert_eq!(rig.poll().is_empty(), remembered, "after {followers} others");
        assert_eq!(!rig.written().is_empty(), remembered, "after {followers} others");
    }
}

#[test]
fn dec_27_the_ring_remembers_5_s_and_not_longer() {
    for (millis, remembered) in [(5_000, true), (5_001, false)] {
        let mut rig = Rig::new();
        rig.receive(REQ.text());
        let (txn, _) = rig.request();
        let _ = rig.respond(txn, 200);
        rig.written();
        // Without any timer having fired: nothing may depend on the driver's wake-ups.
        rig.at(millis).receive(REQ.text());
        assert_eq!(rig.poll().is_empty(), remembered, "after {millis} ms");
    }
}

#[test]
fn dec_27_a_request_answered_anew_outlives_its_older_memory() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 200);
    rig.at(5_001).receive(REQ.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 404);
    rig.written();
    rig.tick(10_001).receive(REQ.text());
    assert_eq!(rig.statuses(), [404]);
}

#[test]
fn dec_27_a_request_pending_anew_outlives_its_older_memory() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 200);
    rig.at(5_001).receive(REQ.text());
    rig.request();
    rig.tick(5_002).receive(REQ.text());
    assert!(rig.poll().is_empty(), "a repeat was taken as new");
}

#[test]
fn dec_27_the_memory_of_an_idle_connection_ends_with_the_next_timer() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 200);
    rig.tick(5_000);
    assert_eq!(rig.connection.server.remembered(), 1);
    rig.tick(5_001);
    assert_eq!(rig.connection.server.remembered(), 0);
}

#[test]
fn sip_27_trying_goes_out_after_3500_ms_and_not_before() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    assert_eq!(rig.connection.deadline(), Some(rig.start + TRYING_AFTER));
    assert!(rig.tick(3_499).written().is_empty());
    assert_eq!(rig.tick(3_500).statuses(), [100]);
    assert!(rig.tick(9_000).written().is_empty(), "100 goes out once");
    assert_eq!(rig.respond(txn, 200), Responded::Sent);
    assert_eq!(rig.statuses(), [200]);
}

#[test]
fn sip_27_each_request_has_its_own_3500_ms() {
    let mut rig = Rig::new();
    let mut txns = Vec::new();
    for n in 0..4u64 {
        rig.at(n * 1_000).receive(other(&format!("z9hG4bK{n}"), &format!("{n}")));
        txns.push(rig.request().0);
    }
    let _ = rig.respond(txns[1], 200);
    rig.written();
    let tried = |rig: &mut Rig| rig.sent().iter().map(|m| header(m, HeaderName::CallId)).collect::<Vec<_>>();
    rig.tick(3_500);
    assert_eq!(tried(&mut rig), ["0"]);
    assert_eq!(rig.connection.deadline(), Some(rig.start + Duration::from_millis(5_500)), "1 is answered");
    rig.tick(7_000);
    assert_eq!(tried(&mut rig), ["2", "3"]);
}

#[test]
fn sip_27_only_100_goes_out_as_provisional_answer_and_408_never() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    assert_eq!(rig.respond(txn, 180), Responded::Dropped);
    assert!(rig.written().is_empty());
    assert_eq!(rig.respond(txn, 100), Responded::Sent);
    assert_eq!(rig.statuses(), [100]);
    assert!(rig.tick(3_500).written().is_empty(), "100 has been sent already");
    assert_eq!(rig.respond(txn, 408), Responded::Sent);
    assert_eq!(rig.statuses(), [504]);
    rig.receive(REQ.text());
    assert_eq!(rig.statuses(), [504], "the memory holds what was sent");
    assert_eq!(rig.counters().forbidden_answers, 2);
}

#[test]
fn sip_27_a_request_that_is_never_answered_gets_no_408_and_is_let_go() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    assert_eq!(rig.tick(3_500).statuses(), [100]);
    assert!(rig.tick(31_999).written().is_empty());
    assert!(!rig.connection.is_idle());
    assert!(rig.tick(32_000).written().is_empty());
    assert!(rig.connection.is_idle());
    assert_eq!(rig.counters().abandoned, 1);
    assert_eq!(rig.respond(txn, 200), Responded::Dropped);
}

#[test]
fn a_clock_that_leaps_fires_every_timer_in_turn() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    rig.request();
    rig.send("z9hG4bKc", 1).unwrap();
    rig.written();
    rig.tick(3_600_000);
    assert!(matches!(
        rig.poll()[..],
        [Output::Failed { envelope: 1, why: Failure::Timeout { heard: false } }]
    ));
    assert_eq!(rig.statuses(), [100]);
    assert!(rig.connection.is_idle());
    assert_eq!(rig.counters().abandoned, 1);
    assert_eq!(rig.connection.deadline(), None);
}

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
    // DEC-27: a finished one merges with nothing.
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    let _ = rig.respond(txn, 200);
    rig.receive(second.text());
    rig.request();
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

#[test]
fn ack_is_never_answered() {
    let mut rig = Rig::new();
    rig.receive(Req { method: "ACK", ..REQ }.text());
    // Not even a malformed one.
    rig.receive(Req { method: "ACK", to: "<sip:", ..REQ }.text());
    assert!(rig.written().is_empty());
    assert_eq!(rig.counters().acks, 2);
}

#[test]
fn benotify_is_passed_on_and_never_answered() {
    let benotify = Req { method: "BENOTIFY", ..REQ };
    let mut rig = Rig::new();
    rig.receive(benotify.text());
    let (txn, _) = rig.request();
    rig.tick(3_500);
    rig.receive(benotify.text());
    assert_eq!(rig.respond(txn, 481), Responded::Silent);
    rig.receive(benotify.text());
    rig.receive(Req { method: "BENOTIFY", call_id: "2", to: "<sip:", ..REQ }.text());
    rig.connection.drain();
    let via = "SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bK2";
    rig.receive(Req { method: "BENOTIFY", via, ..REQ }.text());
    rig.receive(Req { method: "BENOTIFY", via: "SIP/2.0/TLS [", ..REQ }.text());
    assert!(rig.written().is_empty() && rig.poll().is_empty());
}

#[test]
fn what_the_check_refuses_never_reaches_the_caller() {
    let mut rig = Rig::new();
    let bad = Req { extra: "Require: nothing\r\n", ..REQ };
    rig.receive(bad.text());
    assert!(rig.poll().is_empty());
    let first = rig.written();
    let text = String::from_utf8(first.clone()).unwrap();
    assert!(text.starts_with("SIP/2.0 420 ") && text.contains("\r\nUnsupported: nothing\r\n"), "{text}");
    rig.receive(bad.text());
    assert_eq!(rig.written(), first, "the same answer with the same tag");
    rig.receive(Req { to: "<sip:", call_id: "2", ..REQ }.text().replace("z9hG4bK1", "z9hG4bK2"));
    assert_eq!(rig.statuses(), [400]);
    assert_eq!(rig.counters().rejected, 2);

    let mut rig = Rig::with(|config| config.supported = &["nothing"]);
    rig.receive(bad.text());
    rig.request();
}

#[test]
fn a_request_nobody_can_answer_is_dropped_and_counted() {
    let mut rig = Rig::new();
    rig.receive(Req { via: "garbage", ..REQ }.text());
    assert_eq!(rig.statuses(), [400], "a malformed Via comes back as it was");
    rig.receive(Req { via: "garbage", ..REQ }.text().replace("Via: ", "Not-Via: "));
    assert!(rig.poll().is_empty() && rig.written().is_empty());
    assert_eq!((rig.counters().rejected, rig.counters().unanswerable), (2, 1));
}

#[test]
fn sip_35_one_request_above_the_limit_gets_503_without_retry_after() {
    let mut rig = Rig::with(|config| config.max_pending_in = 2);
    rig.receive(other("z9hG4bKa", "a"));
    let (txn, _) = rig.request();
    rig.receive(other("z9hG4bKb", "b"));
    rig.request();
    rig.receive(other("z9hG4bKc", "c"));
    assert!(rig.poll().is_empty());
    let [answer] = &rig.sent()[..] else { panic!("one answer expected") };
    assert_eq!(answer.status(), Some(StatusCode(503)));
    assert_eq!(answer.header(HeaderName::RetryAfter), None);
    assert_eq!(rig.counters().overloaded, 1);
    let _ = rig.respond(txn, 200);
    rig.written();
    rig.receive(other("z9hG4bKc", "c"));
    assert!(rig.poll().is_empty(), "its sender has been told that it was refused");
    assert_eq!(rig.statuses(), [503]);
    rig.receive(other("z9hG4bKd", "d"));
    rig.request();
}

#[test]
fn draining_finishes_what_is_pending_and_refuses_the_rest() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    rig.connection.drain();
    rig.receive(other("z9hG4bK2", "call-2"));
    assert_eq!(rig.statuses(), [503]);
    rig.receive(Req { method: "CANCEL", ..REQ }.text());
    assert_eq!(rig.statuses(), [200], "CANCEL is not new work");
    rig.send("z9hG4bKo", 1).unwrap();
    rig.written();
    assert!(!rig.connection.is_idle());
    let _ = rig.respond(txn, 200);
    rig.receive(response("z9hG4bKo", 200));
    assert_eq!(rig.statuses(), [200]);
    assert!(!rig.connection.is_idle(), "the response has not been taken");
    assert_eq!(rig.poll().len(), 1);
    assert!(rig.connection.is_idle());
    assert_eq!(rig.counters().refused_draining, 1);
}

#[test]
fn a_connection_that_is_to_end_takes_requests_of_ours_until_it_is_really_over() {
    for ends in [Connection::drain, Connection::retire] {
        let mut rig = Rig::new();
        assert!(!rig.connection.finish(), "nobody wants it to end");
        ends(&mut rig.connection);
        rig.send("z9hG4bKo", 1).unwrap();
        rig.written();
        assert!(!rig.connection.finish(), "an answer is to come");
        rig.receive(response("z9hG4bKo", 200));
        rig.poll();
        rig.send("z9hG4bKp", 2).unwrap();
        assert!(!rig.connection.finish());
        rig.written();
        rig.receive(response("z9hG4bKp", 200));
        rig.poll();
        assert!(rig.connection.finish());
        assert_eq!(rig.send("z9hG4bKq", 3).unwrap_err().why, Why::Closed, "it would be lost");
        assert!(rig.connection.is_full());
    }
}

#[test]
fn sip_07_an_answer_after_the_end_of_the_connection_is_handed_back() {
    let mut rig = Rig::new();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    rig.receive(Req { method: "BENOTIFY", call_id: "2", ..REQ }.text());
    let (silent, _) = rig.request();
    rig.connection.closed();
    assert!(rig.tick(3_500).written().is_empty(), "nobody is there for a 100");
    assert_eq!(rig.respond(txn, 180), Responded::Dropped);
    let Responded::Orphaned(bytes) = rig.respond(txn, 200) else { panic!("an orphan expected") };
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.status(), Some(StatusCode(200)));
    assert_eq!(message.top_via().unwrap().sent_by(), "fe.contoso.example:5061");
    assert_eq!(rig.respond(silent, 200), Responded::Silent);
    assert!(rig.written().is_empty());
    assert!(rig.connection.is_idle());
    rig.receive(other("z9hG4bK2", "late"));
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().after_close, 1);
}

#[test]
fn sip_10_what_cannot_be_framed_is_answered_if_it_can_be() {
    let bad = |text: String| {
        let mut buffer = BytesMut::from(text.as_bytes());
        Framer::new(Limits::default()).next(&mut buffer).unwrap_err()
    };
    let negative =
        |method| bad(Req { method, ..REQ }.text().replace("Content-Length: 0", "Content-Length: -1"));
    let mut rig = Rig::new();
    rig.connection.broken(&negative("MESSAGE"), || "t");
    assert_eq!(rig.statuses(), [400]);
    rig.connection.broken(&negative("ACK"), || "t");
    rig.connection.broken(&negative("BENOTIFY"), || "t");
    rig.connection
        .broken(&bad(response("z9hG4bK1", 200).replace("Content-Length: 0", "Content-Length: x")), || "t");
    assert!(rig.written().is_empty());
}

#[test]
fn a_peer_that_takes_no_answers_is_read_no_further() {
    let mut rig = Rig::with(|config| config.max_backlog = 1_000);
    let mut n = 0;
    while !rig.connection.is_congested() {
        n += 1;
        rig.receive(other(&format!("z9hG4bK{n}"), "x").replace("Max-Forwards: 70", "Max-Forwards: x"));
        assert!(n < 10, "the backlog is not seen");
    }
    rig.written();
    assert!(!rig.connection.is_congested());
}
