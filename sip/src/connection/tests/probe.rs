//! SIP-32: OPTIONS as a sign of life; `ms-keep-alive`.

use super::*;
use crate::Message;

fn probing() -> Rig {
    Rig::with(|config| {
        config.keep_alive = Some(KeepAliveInterval::default());
        config.probe = Some("fe.example:5061".to_owned());
    })
}

/// Lets time pass until something is sent or said; what is written then.
fn next(rig: &mut Rig) -> Vec<u8> {
    rig.now = rig.connection.deadline().expect("something is due");
    rig.connection.handle_timeout(rig.now);
    rig.written()
}

fn probe(rig: &mut Rig) -> Message {
    let written = String::from_utf8(next(rig)).unwrap();
    assert!(written.starts_with("OPTIONS "), "{written:?}");
    Message::parse(written.into()).unwrap()
}

fn answer(rig: &mut Rig, probe: &Message, extra: &str) {
    let via = probe.top_via().unwrap().as_str().to_owned();
    rig.receive(format!(
        "SIP/2.0 405 No\r\nVia: {via}\r\nFrom: {}\r\nTo: <sip:fe.example>;tag=t\r\nCall-ID: {}\r\nCSeq: 1 OPTIONS\r\n{extra}\
         Content-Length: 0\r\n\r\n",
        probe.header(HeaderName::From).unwrap(),
        probe.call_id().unwrap()
    ));
}

#[test]
fn sip_32_the_first_sign_of_life_is_a_proper_options_that_offers_the_connection_and_asks_for_a_time() {
    let mut rig = probing();
    let probe = probe(&mut rig);
    assert!((95..120).contains(&(rig.now - rig.start).as_secs()));
    assert!(crate::read_request(&probe, probe.top_via(), &[]).is_ok(), "{probe:?}");
    assert_eq!(probe.request_uri(), "sip:fe.example:5061;transport=tls");
    let via = probe.top_via().unwrap();
    assert!(via.is_sent_by(SENT_BY) && via.params.get("alias").is_some(), "{via:?}");
    assert_eq!(probe.header(HeaderName::MsKeepAlive), Some("UAC;hop-hop=yes"));
    assert_eq!(probe.header(HeaderName::MaxForwards), Some("0"));
}

#[test]
fn sip_32_any_answer_will_do_and_concerns_nobody_else() {
    let mut rig = probing();
    let first = probe(&mut rig);
    answer(&mut rig, &first, "");
    assert!(rig.poll().is_empty());
    assert_eq!(rig.counters().stray_responses, 0);
    assert_eq!(next(&mut rig), b"\r\n\r\n", "from then on pings");
    rig.connection.pong(rig.now);
    assert_eq!(next(&mut rig), b"\r\n\r\n");
}

#[test]
fn sip_32_who_answers_options_and_no_pings_gets_options_and_is_dead_without_an_answer() {
    let mut rig = probing();
    let first = probe(&mut rig);
    answer(&mut rig, &first, "");
    assert_eq!(next(&mut rig), b"\r\n\r\n");
    assert_eq!(next(&mut rig), b"", "no pong");
    assert!(rig.poll().is_empty());
    let second = probe(&mut rig);
    assert_ne!(first.call_id(), second.call_id());
    answer(&mut rig, &second, "");
    probe(&mut rig);
    let asked = rig.now;
    assert_eq!(next(&mut rig), b"");
    assert_eq!(rig.now - asked, ANSWER_WITHIN);
    assert!(matches!(rig.poll()[..], [Output::Dead]));
    assert_eq!(rig.connection.deadline(), None);
}

#[test]
fn sip_32_who_does_not_answer_the_first_one_gets_pings_and_is_left_in_peace() {
    let mut rig = probing();
    probe(&mut rig);
    assert_eq!(next(&mut rig), b"");
    assert_eq!(next(&mut rig), b"\r\n\r\n");
    assert_eq!(next(&mut rig), b"");
    assert!(rig.poll().is_empty());
    assert_eq!(rig.connection.deadline(), None);
}

#[test]
fn the_peer_hears_of_us_within_the_time_that_it_asks_for() {
    for (seconds, within) in [("60", 36..46), ("300", 95..120), ("1", 10..11), ("4294967295", 95..120)] {
        let mut rig = probing();
        let probe = probe(&mut rig);
        answer(&mut rig, &probe, &format!("ms-keep-alive: UAS; tcp=no; hop-hop=yes; timeout={seconds}\r\n"));
        for _ in 0..5 {
            let wait = (rig.connection.deadline().unwrap() - rig.now).as_secs();
            assert!(within.contains(&wait), "{seconds}: {wait}");
            assert_eq!(next(&mut rig), b"\r\n\r\n");
            rig.connection.pong(rig.now);
        }
    }
}

#[test]
fn a_peer_that_asks_for_keep_alive_is_told_the_time() {
    let mut rig = Rig::new();
    rig.receive(Req { extra: "ms-keep-alive: UAC;hop-hop=yes\r\n", ..REQ }.text());
    let (txn, _) = rig.request();
    assert_eq!(rig.respond(txn, 200), Responded::Sent);
    let agreed = "UAS;tcp=no;hop-hop=yes;end-end=no;timeout=300";
    assert_eq!(rig.sent()[0].header(HeaderName::MsKeepAlive), Some(agreed));
    rig.receive(Req { call_id: "2", via: "SIP/2.0/TLS fe.example;branch=z9hG4bK2", ..REQ }.text());
    let (txn, _) = rig.request();
    assert_eq!(rig.respond(txn, 200), Responded::Sent);
    assert_eq!(rig.sent()[0].header(HeaderName::MsKeepAlive), None, "who does not ask is told nothing");
}
