//! Requests of ours.

use super::*;

/// Envelope and status of every response, envelope and reason of every failure, in order.
fn outcomes(rig: &mut Rig) -> Vec<(u32, Result<u16, Failure>)> {
    let outcome = |output| match output {
        Output::Response { envelope, message } => (envelope, Ok(message.status().unwrap().0)),
        Output::Failed { envelope, why } => (envelope, Err(why)),
        other => panic!("an outcome expected: {other:?}"),
    };
    rig.poll().into_iter().map(outcome).collect()
}

#[test]
fn sip_20_each_request_gets_its_own_response() {
    let mut rig = Rig::new();
    for (n, branch) in ["z9hG4bKa", "z9hG4bKb", "z9hG4bKc"].into_iter().enumerate() {
        rig.send(branch, n as u32).unwrap();
    }
    let expected = [outgoing("z9hG4bKa"), outgoing("z9hG4bKb"), outgoing("z9hG4bKc")].concat();
    assert_eq!(rig.written(), expected.as_bytes());
    rig.receive(response("z9hG4bKb", 404));
    rig.receive(response("z9hG4bKa", 200));
    rig.receive(response("z9hG4bKc", 100));
    assert_eq!(outcomes(&mut rig), [(1, Ok(404)), (0, Ok(200))]);
    assert!(!rig.connection.is_idle());
    rig.receive(response("z9hG4bKc", 200));
    assert_eq!(outcomes(&mut rig), [(2, Ok(200))]);
    assert!(rig.connection.is_idle());
    assert_eq!((rig.counters().responses, rig.counters().provisional), (3, 1));
}

#[test]
fn a_second_final_response_is_dropped() {
    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    rig.receive(response("z9hG4bKa", 200));
    rig.receive(response("z9hG4bKa", 500));
    assert_eq!(outcomes(&mut rig), [(1, Ok(200))]);
    assert_eq!(rig.counters().stray_responses, 1);
}

#[test]
fn a_response_to_nothing_of_ours_is_dropped() {
    let ours = format!("SIP/2.0/TLS {SENT_BY}");
    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    rig.receive(response("z9hG4bKother", 200));
    rig.receive(response("z9hG4bKother", 180));
    rig.receive(response_to(&format!("{ours};branch=z9hG4bKa"), "OPTIONS", 200));
    rig.receive(response_to(&ours, "MESSAGE", 200));
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().stray_responses, 4);
}

#[test]
fn sip_09_a_response_whose_via_is_not_ours_is_dropped() {
    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    for sent_by in ["nuncio.example", "nuncio.example:5062", "other.example:5061"] {
        rig.receive(response_to(&format!("SIP/2.0/TLS {sent_by};branch=z9hG4bKa"), "MESSAGE", 200));
    }
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().foreign_responses, 3);
    rig.receive(response_to("SIP/2.0/TLS NUNCIO.example:5061;branch=z9hG4bKa", "MESSAGE", 200));
    assert_eq!(outcomes(&mut rig), [(1, Ok(200))]);
}

#[test]
fn sip_45_a_response_with_several_vias_is_dropped() {
    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    let via = format!("SIP/2.0/TLS {SENT_BY};branch=z9hG4bKa");
    for vias in [format!("{via}, SIP/2.0/TLS b"), format!("{via}\r\nVia: SIP/2.0/TLS b")] {
        rig.receive(response_to(&vias, "MESSAGE", 200));
    }
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().multi_via_responses, 2);
}

#[test]
fn a_malformed_response_is_dropped_and_the_request_still_ends() {
    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    rig.receive(response("z9hG4bKa", 200).replace("SIP/2.0 200", "SIP/2.0 999"));
    rig.receive(response("z9hG4bKa", 200).replace("CSeq: 1", "CSeq: x"));
    rig.receive(response_to("garbage", "MESSAGE", 200));
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().malformed_responses, 3);
    rig.tick(32_000);
    assert_eq!(outcomes(&mut rig), [(1, Err(Failure::Timeout { heard: false }))]);
}

#[test]
fn sip_20_timer_f_fires_after_32_s_each_in_its_turn() {
    let mut rig = Rig::new();
    for n in 0..2u32 {
        rig.at(u64::from(n) * 1_000).send(&format!("z9hG4bK{n}"), n).unwrap();
    }
    rig.written();
    rig.receive(response("z9hG4bK1", 200));
    assert_eq!(outcomes(&mut rig), [(1, Ok(200))]);
    rig.receive(response("z9hG4bK0", 100));
    rig.at(2_000).send("z9hG4bK2", 2).unwrap();
    rig.written();
    assert_eq!(
        rig.connection.deadline(),
        Some(rig.start + TIMER_F),
        "a provisional response changes nothing"
    );
    rig.tick(31_999);
    assert!(rig.poll().is_empty());
    rig.tick(32_000);
    assert_eq!(outcomes(&mut rig), [(0, Err(Failure::Timeout { heard: true }))]);
    rig.receive(response("z9hG4bK0", 200));
    assert!(rig.poll().is_empty(), "too late");
    rig.tick(60_000);
    assert_eq!(outcomes(&mut rig), [(2, Err(Failure::Timeout { heard: false }))]);
    assert_eq!((rig.counters().timeouts, rig.counters().stray_responses), (2, 1));
    assert_eq!(rig.connection.deadline(), None);
    rig.send("z9hG4bK2", 3).unwrap();
}

#[test]
fn a_lost_connection_says_what_may_have_left_and_keeps_the_order() {
    let mut rig = Rig::new();
    for n in 0..3u32 {
        rig.send(&format!("z9hG4bK{n}"), n).unwrap();
    }
    let mut out = b"rest of an earlier write".to_vec();
    rig.connection.transmit(&mut out);
    assert!(out.ends_with(outgoing("z9hG4bK2").as_bytes()));
    for n in 3..5u32 {
        rig.send(&format!("z9hG4bK{n}"), n).unwrap();
    }
    rig.receive(response("z9hG4bK1", 200));
    rig.connection.closed();
    rig.connection.closed();
    let lost = |written| Err(Failure::ConnectionLost { written });
    let expected = [(1, Ok(200)), (0, lost(true)), (2, lost(true)), (3, lost(false)), (4, lost(false))];
    assert_eq!(outcomes(&mut rig), expected);
    assert!(rig.written().is_empty());
    assert_eq!(rig.send("z9hG4bKz", 9), Err(SendRefused { why: Why::Closed, envelope: 9 }));
    assert!(rig.connection.is_full() && rig.connection.is_idle());
}

#[test]
fn the_first_byte_of_the_stream_counts_as_written_and_an_empty_take_does_not() {
    let mut rig = Rig::new();
    assert!(rig.written().is_empty());
    rig.send("z9hG4bKa", 1).unwrap();
    rig.connection.closed();
    assert_eq!(outcomes(&mut rig), [(1, Err(Failure::ConnectionLost { written: false }))]);

    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    rig.written();
    rig.connection.closed();
    assert_eq!(outcomes(&mut rig), [(1, Err(Failure::ConnectionLost { written: true }))]);
}

#[test]
fn one_request_above_the_limit_comes_back_and_nothing_of_it_is_sent() {
    let mut rig = Rig::with(|config| config.max_pending_out = 2);
    rig.send("z9hG4bKa", 1).unwrap();
    assert!(!rig.connection.is_full());
    rig.send("z9hG4bKb", 2).unwrap();
    assert!(rig.connection.is_full());
    rig.written();
    assert_eq!(rig.send("z9hG4bKc", 3), Err(SendRefused { why: Why::Full, envelope: 3 }));
    assert!(rig.written().is_empty());
    rig.receive(response("z9hG4bKa", 200));
    rig.send("z9hG4bKc", 3).unwrap();
}

#[test]
fn a_branch_in_use_is_refused() {
    let mut rig = Rig::new();
    rig.send("z9hG4bKa", 1).unwrap();
    rig.written();
    assert_eq!(rig.send("z9hG4bKa", 2), Err(SendRefused { why: Why::BranchInUse, envelope: 2 }));
    assert!(rig.written().is_empty());
    rig.receive(response("z9hG4bKa", 200));
    assert_eq!(outcomes(&mut rig), [(1, Ok(200))]);
}

#[test]
fn both_roles_share_a_connection_without_touching_each_other() {
    let mut rig = Rig::new();
    rig.send("z9hG4bK1", 1).unwrap();
    rig.receive(REQ.text());
    let (txn, _) = rig.request();
    rig.receive(response("z9hG4bK1", 200));
    assert_eq!(outcomes(&mut rig), [(1, Ok(200))]);
    assert_eq!(rig.respond(txn, 200), Responded::Sent);
    let sent = rig.sent();
    assert!(sent[0].is_request() && !sent[1].is_request());
}

/// What is added for the hop stands in what is sent, and in nothing that is made of it.
#[test]
fn lines_of_the_hop_stand_behind_the_top_via() {
    const LINES: [&str; 3] = ["x-hop: a", "b", "\r\n"];
    for method in ["MESSAGE", "INVITE", "ACK"] {
        let mut rig = Rig::new();
        let whole = format!(
            "{method} sip:a@x SIP/2.0\r\nVia: SIP/2.0/TLS nuncio.example:5061;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
             From: <sip:b@y>;tag=1\r\nTo: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        );
        let now = rig.now;
        let method = Method::new(method);
        rig.connection.send_with(whole.as_bytes(), &LINES, "z9hG4bKa", method, 1, now).unwrap();
        let expected = whole.replace("Max-Forwards", "x-hop: ab\r\nMax-Forwards");
        assert_eq!(rig.written(), expected.as_bytes());
        // There is no Via it could stand behind.
        let sent = rig.connection.send_with(b"MESSAGE x", &LINES, "z9hG4bKb", Method::Message, 2, now);
        assert!(sent.is_ok());
        assert_eq!(rig.written(), b"MESSAGE x");
    }
}
