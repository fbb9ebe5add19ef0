//! SIP-12: CRLF keep-alive.

use super::*;

fn pinging() -> Rig {
    Rig::with(|config| config.keep_alive = Some(KeepAliveInterval::default()))
}

/// The time of the next ping, in milliseconds after `since`.
fn interval(rig: &Rig, since: Instant) -> u128 {
    (rig.connection.deadline().unwrap() - since).as_millis()
}

#[test]
fn sip_12_and_tv_61_a_ping_is_answered_at_once() {
    let mut rig = Rig::new();
    rig.connection.ping(rig.now);
    assert_eq!(rig.written(), b"\r\n");
    assert_eq!(rig.counters().pings, 1);
}

#[test]
fn sip_12_who_did_not_open_the_connection_does_not_ping() {
    assert_eq!(Rig::new().connection.deadline(), None);
}

#[test]
fn sip_12_pings_come_95_to_120_s_apart_and_not_evenly() {
    let mut rig = pinging();
    let mut intervals = Vec::new();
    for _ in 0..50 {
        let since = rig.now;
        intervals.push(interval(&rig, since));
        rig.now = rig.connection.deadline().unwrap();
        let before = rig.now - Duration::from_millis(1);
        rig.connection.handle_timeout(before);
        assert!(rig.written().is_empty());
        rig.connection.handle_timeout(rig.now);
        assert_eq!(rig.written(), b"\r\n\r\n");
        rig.connection.pong(rig.now);
    }
    assert!(intervals.iter().all(|i| (95_000..120_000).contains(i)), "{intervals:?}");
    let (least, most) = (intervals.iter().min().unwrap(), intervals.iter().max().unwrap());
    assert!(most - least > 10_000, "{intervals:?}");
    assert!(rig.poll().is_empty());
}

#[test]
fn sip_12_a_peer_that_never_answered_a_ping_is_left_in_peace() {
    let mut rig = pinging();
    rig.now = rig.connection.deadline().unwrap();
    rig.connection.handle_timeout(rig.now);
    assert_eq!(rig.written(), b"\r\n\r\n");
    rig.connection.handle_timeout(rig.now + PONG_WITHIN);
    assert!(rig.poll().is_empty(), "it may not know keep-alive, which was never negotiated");
    assert_eq!(rig.connection.deadline(), None);
}

#[test]
fn sip_12_and_tv_61_no_pong_in_10_s_means_dead_said_once() {
    let mut rig = pinging();
    rig.now = rig.connection.deadline().unwrap();
    rig.connection.handle_timeout(rig.now);
    rig.connection.pong(rig.now);
    rig.now = rig.connection.deadline().unwrap();
    rig.connection.handle_timeout(rig.now);
    rig.connection.handle_timeout(rig.now + Duration::from_millis(9_999));
    assert!(rig.poll().is_empty());
    rig.connection.handle_timeout(rig.now + PONG_WITHIN);
    assert!(matches!(rig.poll()[..], [Output::Dead]));
    assert_eq!(rig.connection.deadline(), None);
    rig.connection.handle_timeout(rig.now + Duration::from_secs(60));
    assert!(rig.poll().is_empty());
}

#[test]
fn sip_12_whatever_arrives_whole_after_the_ping_proves_life() {
    let proofs: [fn(&mut Rig); 3] = [
        |rig| rig.connection.pong(rig.now),
        |rig| rig.connection.ping(rig.now),
        |rig| rig.receive(response("z9hG4bKnobody", 200)),
    ];
    for proof in proofs {
        let mut rig = pinging();
        rig.now = rig.connection.deadline().unwrap();
        rig.connection.handle_timeout(rig.now);
        rig.now += Duration::from_secs(9);
        let heard = rig.now;
        proof(&mut rig);
        rig.connection.handle_timeout(rig.now + PONG_WITHIN);
        assert!(rig.poll().is_empty());
        assert!((95_000..120_000).contains(&interval(&rig, heard)));
    }
}

#[test]
fn sip_12_traffic_does_not_put_off_the_ping() {
    let mut rig = pinging();
    let deadline = rig.connection.deadline();
    rig.at(50_000).receive(response("z9hG4bKnobody", 200));
    assert_eq!(rig.connection.deadline(), deadline);
}

#[test]
fn a_closed_connection_pings_nobody() {
    let mut rig = pinging();
    rig.connection.closed();
    assert_eq!(rig.connection.deadline(), None);
    rig.tick(1_000_000);
    assert!(rig.poll().is_empty() && rig.written().is_empty());
}
