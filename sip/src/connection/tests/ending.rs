//! Requests of the peer on a connection that ends.

use super::*;

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
