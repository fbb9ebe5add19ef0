//! Requests of the peer.

use super::*;

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
