//! Copies of one request on several connections (RFC 3261 §8.2.2.2).

use std::sync::Mutex;

use super::*;

/// The table of all connections of a test.
#[derive(Debug, Default)]
pub(super) struct House(Mutex<Merged>);

impl Merging for House {
    fn secret(&self) -> &[u8; 16] {
        &[9; 16]
    }

    fn begin(&self, copies: Copies, now: Instant) -> bool {
        self.0.lock().unwrap().begin(copies, now)
    }

    fn end(&self, copies: Copies, delivered: Option<Instant>) {
        self.0.lock().unwrap().end(copies, delivered);
    }
}

/// Two connections of one house, whose clocks begin at the same time.
fn two() -> (Rig, Rig) {
    let house = Arc::new(House::default());
    let mut rigs = [(); 2].map(|()| Rig::with(|config| config.merging = Some(Arc::clone(&house) as _)));
    (rigs[1].start, rigs[1].now) = (rigs[0].start, rigs[0].now);
    rigs.into()
}

/// The same request as another edge passes it on.
fn copy(of: Req<'_>) -> String {
    Req { via: "SIP/2.0/TLS edge2.contoso.example:5061;branch=z9hG4bKx", ..of }.text()
}

#[test]
fn im_18_a_copy_on_another_connection_gets_482_while_the_first_is_under_way() {
    for method in ["MESSAGE", "SUBSCRIBE", "INVITE"] {
        let request = Req { method, ..REQ };
        let (mut first, mut second) = two();
        first.receive(request.text());
        let (txn, _) = first.request();
        second.receive(copy(request));
        assert!(second.poll().is_empty(), "{method}");
        assert_eq!((second.statuses(), second.counters().merged), (vec![482], 1), "{method}");
        assert_eq!(first.respond(txn, 202), Responded::Sent, "{method}: the first one goes on");
    }
}

/// A group's proxy forks to each of its members: behind us each is a server of his own (RFC 3261 §16.6).
#[test]
fn im_18_a_request_that_is_forked_to_two_addressees_is_one_for_each() {
    let (mut first, mut second) = two();
    first.receive(REQ.text());
    first.request();
    second.receive(copy(Req { uri: "sip:mercutio@example.com", ..REQ }));
    second.request();
    // Each way may add parameters of its own, and contacts are the same in capitals (RFC 7622 §3.3.1).
    let via = "SIP/2.0/TLS edge3.contoso.example:5061;branch=z9hG4bKy";
    second.receive(Req { uri: "sip:Juliet@Example.COM;transport=tls", via, ..REQ }.text());
    assert_eq!(second.statuses(), [482]);
}

#[test]
fn im_18_what_was_delivered_is_not_taken_on_another_connection_for_5_s() {
    let (mut first, mut second) = two();
    first.receive(REQ.text());
    let (txn, _) = first.request();
    assert_eq!(first.at(1_000).respond(txn, 200), Responded::Sent);
    second.at(6_000).receive(copy(REQ));
    assert!(second.poll().is_empty());
    assert_eq!(second.statuses(), [482]);
    // By then it is the peer's own doing.
    second.at(6_001).receive(other("z9hG4bKy", REQ.call_id));
    second.request();
}

/// RFC 3263 §4.3: whoever is answered 503 asks for the same on another way. What was not taken cannot come twice.
#[test]
fn im_18_what_was_refused_is_taken_on_another_connection() {
    for (method, status) in [("MESSAGE", 503), ("MESSAGE", 480), ("INVITE", 503), ("SUBSCRIBE", 403)] {
        let request = Req { method, ..REQ };
        let (mut first, mut second) = two();
        first.receive(request.text());
        let (txn, _) = first.request();
        let _ = first.respond(txn, status);
        second.receive(copy(request));
        second.request();
        assert!(second.written().is_empty(), "{method} {status}");
    }
}

#[test]
fn im_18_an_accepted_invite_has_no_copy_on_another_connection_until_timer_l() {
    let invite = Req { method: "INVITE", ..REQ };
    let (mut first, mut second) = two();
    first.receive(invite.text());
    let (txn, _) = first.request();
    assert_eq!(first.respond(txn, 200), Responded::Sent);
    second.tick(31_999).receive(copy(invite));
    assert_eq!(second.statuses(), [482]);
    first.tick(32_000);
    second.tick(32_000).receive(Req { via: "SIP/2.0/TLS edge3;branch=z9hG4bKy", ..invite }.text());
    second.request();
}

/// Nothing is left of a connection that is let go with requests that nobody has answered.
#[test]
fn im_18_a_connection_leaves_nothing_behind() {
    let (mut first, mut second) = two();
    first.receive(REQ.text());
    first.request();
    first.connection.closed();
    second.receive(copy(REQ));
    assert_eq!(second.statuses(), [482], "the answer to the first one goes another way");
    drop(first);
    second.receive(other("z9hG4bKy", REQ.call_id));
    second.request();
}

#[test]
fn im_18_so_many_deliveries_are_remembered_and_the_oldest_makes_room() {
    let (mut first, mut second) = two();
    let via = |number: usize| format!("SIP/2.0/TLS fe.contoso.example:5061;branch=z9hG4bKn{number}");
    for number in 0..=Merged::DELIVERED {
        first.receive(Req { via: &via(number), call_id: &number.to_string(), ..REQ }.text());
        let (txn, _) = first.request();
        assert_eq!(first.respond(txn, 200), Responded::Sent);
    }
    second.receive(copy(Req { call_id: "1", ..REQ }));
    assert_eq!(second.statuses(), [482]);
    second.receive(Req { via: &via(1000), call_id: "0", ..REQ }.text());
    second.request();
}
