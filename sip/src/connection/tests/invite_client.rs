//! INVITEs of ours (RFC 3261 §17.1.1, RFC 6026).

use super::*;

const BRANCH: &str = "z9hG4bKi";

/// An INVITE of ours has left.
fn inviting() -> Rig {
    let mut rig = Rig::new();
    let via = format!("SIP/2.0/TLS {SENT_BY};branch={BRANCH}");
    let extra = "Route: <sip:p1.example;lr;sig=x%2F>\r\nRoute: <sip:p2.example;lr>\r\n";
    let invite = Req { method: "INVITE", via: &via, extra, cseq: 7, ..REQ }.text();
    rig.connection.send_request(invite.as_bytes(), BRANCH, Method::Invite, 1, rig.now).unwrap();
    rig.written();
    rig
}

fn answer(status: u16) -> String {
    response_to(&format!("SIP/2.0/TLS {SENT_BY};branch={BRANCH}"), "INVITE", status)
}

/// What came out, in short: statuses, failures.
fn did(rig: &mut Rig) -> Vec<String> {
    let status = |message: &Message| message.status().unwrap().0;
    let outputs = rig.poll();
    let short = |output: &Output<u32>| match output {
        Output::Response { message, .. } => format!("final {}", status(message)),
        Output::Early { message } => format!("early {}", status(message)),
        Output::Failed { why, .. } => format!("{why:?}"),
        other => panic!("unexpected: {other:?}"),
    };
    outputs.iter().map(short).collect()
}

fn methods(rig: &mut Rig) -> Vec<String> {
    rig.sent().iter().map(|message| message.method().as_str().to_owned()).collect()
}

#[test]
fn sip_20_timer_b_ends_an_invite_without_any_response_after_32_s() {
    let mut rig = inviting();
    assert_eq!(did(rig.tick(31_999)), [""; 0]);
    assert_eq!(did(rig.tick(32_000)), ["Timeout { heard: false }"]);
    assert!(rig.connection.is_idle() && rig.connection.deadline().is_none());
}

#[test]
fn sip_20_a_provisional_response_stops_timer_b_and_is_handed_up_unless_it_is_100() {
    let mut rig = inviting();
    rig.receive(answer(100));
    assert_eq!(did(&mut rig), [""; 0]);
    rig.receive(answer(180));
    assert_eq!(did(&mut rig), ["early 180"]);
    assert_eq!(did(rig.tick(60_000)), [""; 0]);
    rig.receive(answer(200));
    assert_eq!(did(&mut rig), ["final 200"]);
}

#[test]
fn sip_20_a_refusal_is_acknowledged_by_the_transaction_with_what_the_invite_had() {
    let mut rig = inviting();
    rig.receive(answer(486));
    assert_eq!(did(&mut rig), ["final 486"]);
    let [ack] = &rig.sent()[..] else { panic!("one ACK expected") };
    assert_eq!(ack.method(), Method::Ack);
    assert_eq!(ack.request_uri(), "sip:juliet@example.com");
    assert_eq!(ack.top_via().unwrap().branch(), Some(BRANCH));
    assert_eq!(header(ack, HeaderName::From), "<sip:romeo@contoso.example>;tag=f1");
    assert_eq!(header(ack, HeaderName::To), "<sip:juliet@example.com>;tag=t1", "that of the response");
    assert_eq!(header(ack, HeaderName::CallId), "call-1");
    assert_eq!(header(ack, HeaderName::CSeq), "7 ACK");
    assert_eq!(header(ack, HeaderName::MaxForwards), "70");
    let routes: Vec<_> = ack.headers(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:p1.example;lr;sig=x%2F>", "<sip:p2.example;lr>"]);
    crate::check_request(ack).unwrap();
}

#[test]
fn sip_20_a_2xx_is_not_acknowledged_by_the_transaction() {
    let mut rig = inviting();
    rig.receive(answer(200));
    assert!(rig.written().is_empty());
    assert!(!rig.connection.is_idle(), "the response has not been taken");
    did(&mut rig);
    assert!(rig.connection.is_idle());
}

#[test]
fn sip_22_another_2xx_is_handed_up_until_timer_m_and_dropped_after_it() {
    let mut rig = inviting();
    rig.receive(answer(200));
    did(&mut rig);
    rig.tick(31_999).receive(answer(200).replace("tag=t1", "tag=t2"));
    assert_eq!(did(&mut rig), ["early 200"]);
    rig.tick(32_000).receive(answer(200));
    assert_eq!(did(&mut rig), [""; 0]);
    assert_eq!(rig.counters().stray_responses, 1);
}

#[test]
fn a_refusal_after_2xx_is_dropped() {
    let mut rig = inviting();
    rig.receive(answer(200));
    did(&mut rig);
    rig.receive(answer(486));
    rig.receive(answer(180));
    assert_eq!(did(&mut rig), [""; 0]);
    assert!(rig.written().is_empty());
}

#[test]
fn sip_28_cancel_waits_for_a_provisional_response() {
    let mut rig = inviting();
    rig.connection.cancel(BRANCH, Fields::default(), rig.now);
    assert!(rig.written().is_empty());
    rig.receive(answer(100));
    let [cancel] = &rig.sent()[..] else { panic!("one CANCEL expected") };
    assert_eq!(cancel.method(), Method::Cancel);
    assert_eq!(cancel.top_via().unwrap().branch(), Some(BRANCH));
    assert_eq!(header(cancel, HeaderName::CSeq), "7 CANCEL");
    assert_eq!(header(cancel, HeaderName::To), "<sip:juliet@example.com>", "as in the INVITE");
    assert_eq!(cancel.headers(HeaderName::Route).count(), 2);
    rig.receive(answer(180));
    assert!(rig.written().is_empty(), "cancelled once");
}

#[test]
fn sip_28_cancel_says_why_also_if_it_had_to_wait() {
    for waits in [true, false] {
        let mut rig = inviting();
        if !waits {
            rig.receive(answer(100));
        }
        let why = Fields::from([("Reason", "SIP;cause=403".to_owned())]);
        rig.connection.cancel(BRANCH, why, rig.now);
        if waits {
            rig.receive(answer(100));
        }
        let [cancel] = &rig.sent()[..] else { panic!("one CANCEL expected") };
        assert_eq!(cancel.other("Reason"), Some("SIP;cause=403"), "{waits}");
    }
}

#[test]
fn sip_28_cancel_leaves_at_once_after_a_provisional_response() {
    let mut rig = inviting();
    rig.receive(answer(100));
    rig.connection.cancel(BRANCH, Fields::default(), rig.now);
    rig.connection.cancel(BRANCH, Fields::default(), rig.now);
    assert_eq!(methods(&mut rig), ["CANCEL"]);
    rig.receive(response_to(&format!("SIP/2.0/TLS {SENT_BY};branch={BRANCH}"), "CANCEL", 200));
    assert_eq!(did(&mut rig), [""; 0]);
    rig.receive(answer(487));
    assert_eq!(did(&mut rig), ["final 487"]);
    assert_eq!(methods(&mut rig), ["ACK"]);
    assert_eq!((rig.counters().cancels_sent, rig.counters().stray_responses), (1, 0));
}

#[test]
fn sip_28_a_2xx_that_crosses_cancel_counts() {
    let mut rig = inviting();
    rig.receive(answer(180));
    rig.connection.cancel(BRANCH, Fields::default(), rig.now);
    rig.receive(answer(200));
    assert_eq!(did(&mut rig), ["early 180", "final 200"]);
}

#[test]
fn sip_28_a_cancelled_invite_without_final_response_ends_after_32_s() {
    let mut rig = inviting();
    rig.receive(answer(100));
    rig.at(10_000);
    rig.connection.cancel(BRANCH, Fields::default(), rig.now);
    assert_eq!(did(rig.tick(41_999)), [""; 0]);
    assert_eq!(did(rig.tick(42_000)), ["Timeout { heard: false }"]);
}

#[test]
fn sip_28_cancel_of_a_settled_invite_does_nothing() {
    let mut rig = inviting();
    rig.receive(answer(200));
    rig.connection.cancel(BRANCH, Fields::default(), rig.now);
    rig.connection.cancel("z9hG4bKother", Fields::default(), rig.now);
    assert!(rig.written().is_empty());
}

#[test]
fn an_invite_left_ringing_is_cancelled_after_three_minutes_without_news() {
    let mut rig = inviting();
    rig.receive(answer(180));
    rig.tick(170_000).receive(answer(180));
    assert!(rig.tick(349_999).written().is_empty(), "each provisional response begins anew");
    assert_eq!(methods(rig.tick(350_000)), ["CANCEL"]);
    assert_eq!(did(rig.tick(382_000)).last().unwrap(), "Timeout { heard: false }");
}

#[test]
fn a_lost_connection_returns_invites_in_their_place() {
    let mut rig = inviting();
    rig.send("z9hG4bKa", 2).unwrap();
    rig.written();
    rig.receive(answer(180));
    rig.poll();
    rig.connection.closed();
    let envelope = |output| match output {
        Output::Failed { envelope, why: Failure::ConnectionLost { written: true } } => envelope,
        other => panic!("{other:?}"),
    };
    assert_eq!(rig.poll().into_iter().map(envelope).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn an_ack_of_ours_comes_back_at_once_and_waits_for_nothing() {
    let mut rig = Rig::new();
    let request = Req { method: "ACK", ..REQ }.text();
    rig.connection.send_request(request.as_bytes(), "z9hG4bK1", Method::Ack, 5, rig.now).unwrap();
    assert!(matches!(rig.poll()[..], [Output::Acknowledged { envelope: 5 }]));
    assert_eq!(rig.written(), request.as_bytes());
    assert!(rig.connection.is_idle() && rig.connection.deadline().is_none());
}

fn benotify(rig: &mut Rig, branch: &str, envelope: u32) -> String {
    let request = Req { method: "BENOTIFY", ..REQ }.text();
    let method = Method::Benotify;
    rig.connection.send_request(request.as_bytes(), branch, method, envelope, rig.now).unwrap();
    request
}

#[test]
fn a_benotify_of_ours_comes_back_when_it_is_written() {
    let mut rig = Rig::new();
    let request = benotify(&mut rig, "z9hG4bK1", 5);
    assert!(!rig.connection.written(), "nothing was taken");
    assert_eq!(rig.written(), request.as_bytes());
    assert!(rig.poll().is_empty() && !rig.connection.is_idle() && rig.connection.deadline().is_none());
    benotify(&mut rig, "z9hG4bK2", 6);
    assert!(rig.connection.written());
    assert!(
        matches!(rig.poll()[..], [Output::Acknowledged { envelope: 5 }]),
        "the other one has not been taken"
    );
    rig.written();
    assert!(rig.connection.written());
    assert!(matches!(rig.poll()[..], [Output::Acknowledged { envelope: 6 }]));
    assert!(rig.connection.is_idle() && !rig.connection.written());
}

#[test]
fn a_benotify_of_ours_that_is_not_written_is_lost_with_its_connection_in_the_order_of_all_requests() {
    let mut rig = Rig::new();
    benotify(&mut rig, "z9hG4bK1", 1);
    rig.send("z9hG4bK2", 2).unwrap();
    rig.written();
    benotify(&mut rig, "z9hG4bK3", 3);
    rig.send("z9hG4bK4", 4).unwrap();
    rig.connection.closed();
    let lost = |output| match output {
        Output::Failed { envelope, why: Failure::ConnectionLost { written } } => (envelope, written),
        other => panic!("{other:?}"),
    };
    let outcomes: Vec<_> = rig.poll().into_iter().map(lost).collect();
    assert_eq!(outcomes, [(1, true), (2, true), (3, false), (4, false)]);
    assert!(!rig.connection.written() && rig.connection.is_idle());
}

#[test]
fn a_timeout_says_whether_anybody_answered_anything_meanwhile() {
    for (answered, at, heard) in [(100, 5_000, true), (180, 0, true), (200, 1, true), (180, 4_999, false)] {
        let mut rig = inviting();
        rig.at(if heard { 0 } else { 5_000 });
        rig.send("z9hG4bKa", 2).unwrap();
        rig.at(at).receive(answer(answered));
        did(&mut rig);
        let of_message = if heard { 32_000 } else { 37_000 };
        assert_eq!(
            did(rig.tick(of_message)),
            [format!("Timeout {{ heard: {heard} }}")],
            "{answered} at {at}"
        );
    }
}
