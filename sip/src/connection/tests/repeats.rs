//! Requests of the peer that come again: the memory of answers (RFC 3261 §17.2.2; DEC-27).

use super::*;

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
