//! Connections and framing (SIP-01 to SIP-15 of docs/conformance.md).

use std::sync::atomic::Ordering;
use std::time::Duration;

use nuncio::gateway::SipPeer;

use crate::house::{House, Reach, Reply};
use crate::text::Request;

const BOB: &str = "bob@fabrikam.com";
const HELLO: &str = "<message from='bob@fabrikam.com/home' to='alice@contoso.com' id='b1' type='chat'><body>hello</body></message>";

/// A request of the front end that lends its connection.
fn lending(host: &str) -> Vec<u8> {
    let via = format!("SIP/2.0/TLS {host};branch=z9hG4bKlends;alias");
    Request::new("OPTIONS", "contoso.com").set(|request| request.via = via).bytes()
}

/// What came on a connection is answered with 200.
fn answer_all(house: &mut House, wire: usize) -> usize {
    let requests = house.taken(wire);
    for request in &requests {
        assert_eq!(request.status(), None, "{request:?}");
        house.send(wire, request.answer(200, "OK", &[]).unwrap());
    }
    requests.len()
}

#[test]
fn sip_06_a_front_end_that_lends_its_connection_gets_our_requests_on_it() {
    let mut house = House::new();
    let calls = house.front_end();
    assert_eq!(house.ask(calls, lending("fe.contoso.com:5061")).status(), Some(200));
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.connects, [0; 0], "there is one already");
    assert_eq!(answer_all(&mut house, calls), 1);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
    assert_eq!(house.count("connections_reused"), 1);
    // Its end is treated like that of any other: the next one is ours.
    house.cut(calls);
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!((house.connects.len(), house.requests().len()), (1, 1));
}

#[test]
fn sip_06_who_does_not_lend_it_or_is_not_the_next_hop_gets_nothing_on_his_connection() {
    let mut house = House::new();
    let calls = house.front_end();
    assert_eq!(house.ask(calls, Request::message(BOB, "hi").bytes()).status(), Some(200), "no alias");
    let elsewhere = house.front_end();
    assert_eq!(house.ask(elsewhere, lending("fe.contoso.com:5099")).status(), Some(200), "another port");
    let other = house.connect_as(SipPeer::FrontEnd(1), false);
    assert_eq!(house.ask(other, lending("fe.contoso.com")).status(), Some(200), "another identity");
    let stranger = house.connect_as(SipPeer::Unlisted("it presented no certificate".to_owned()), false);
    assert_eq!(house.ask(stranger, lending("fe.contoso.com")).status(), Some(403), "no identity");

    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.connects, [0]);
    assert_eq!(house.requests().len(), 1, "the message went over the connection made for it");
    for wire in [calls, elsewhere, other] {
        assert!(house.taken(wire).is_empty());
    }
}

#[test]
fn sip_06_a_borrowed_connection_that_nothing_is_answered_on_is_left_to_its_owner() {
    let mut house = House::new();
    let calls = house.front_end();
    assert_eq!(house.ask(calls, lending("fe.contoso.com:5061")).status(), Some(200));
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.taken(calls).len(), 1);
    house.advance(Duration::from_secs(40));
    assert_eq!(house.stanzas("fabrikam.com").len(), 1, "its sender is told");
    house.partner_says("fabrikam.com", HELLO);
    house.advance(Duration::from_secs(5));
    assert_eq!(house.connects, [0], "the next message takes one of our own");
    assert_eq!(house.requests().len(), 1);
    assert_eq!(house.ask(calls, lending("fe.contoso.com:5061")).status(), Some(200), "it is not closed");
}

/// A house whose front end has lent its connection, which has carried a message.
fn lent() -> (House, usize) {
    let mut house = House::new();
    let calls = house.front_end();
    assert_eq!(house.ask(calls, lending("fe.contoso.com:5061")).status(), Some(200));
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(answer_all(&mut house, calls), 1);
    (house, calls)
}

#[test]
fn sip_06_a_borrowed_connection_lives_until_nothing_more_goes_to_front_ends() {
    let (mut house, calls) = lent();
    house.stops_for(calls);
    assert!(house.wires[calls].open);
    // What is still to be told goes over it.
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.connects, [0; 0]);
    assert_eq!(answer_all(&mut house, calls), 1);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 2);
    // New requests of its owner are not taken any more.
    assert_eq!(house.ask(calls, Request::message(BOB, "hi").bytes()).status(), Some(503));
    house.gateway.routes()[0].hops.feed(|group| group.drain());
    house.run();
    assert!(!house.wires[calls].open, "nothing keeps it any more");
}

#[test]
fn sip_06_who_does_not_prove_any_more_who_he_is_lends_nothing() {
    let (mut house, calls) = lent();
    let now = house.now;
    house.gateway.judge_lending(0, now);
    house.partner_says("fabrikam.com", HELLO);
    assert_eq!(house.taken(calls).len(), 1, "nothing has changed");

    house.certificates_hold.store(false, Ordering::Relaxed);
    house.gateway.judge_lending(0, now);
    house.partner_says("fabrikam.com", &HELLO.replace("bob@", "rob@"));
    assert_eq!((house.taken(calls).len(), house.connects.len()), (0, 1), "the next one goes another way");
    assert_eq!(house.count("lendings_ended"), 1);
    assert!(house.wires[calls].open, "its owner may go on with it");
    let own = house.hop();
    house.cut(own);
    house.partner_says("fabrikam.com", &HELLO.replace("bob@", "tom@"));
    assert_eq!((house.taken(calls).len(), house.connects.len()), (0, 2), "nor is it borrowed again");
}

#[test]
fn sip_24_compression_is_declined_and_the_connection_goes_on_without() {
    let mut house = House::new();
    let wire = house.front_end();
    let negotiate = Request::new("NEGOTIATE", "192.0.2.1:5061").with("Compression: LZ77-8K");
    let negotiate = negotiate.set(|request| request.max_forwards = Some(0));
    let answer = house.ask(wire, negotiate.bytes());
    assert_eq!(answer.status(), Some(405));
    assert!(!answer.must("Allow").unwrap().contains("NEGOTIATE"));
    assert!(answer.header("Compression").is_none());
    assert_eq!(house.ask(wire, Request::message(BOB, "hi").bytes()).status(), Some(200));
}

#[test]
fn sip_07_an_answer_whose_connection_is_gone_takes_another_to_the_same_front_end() {
    let mut house = House::new();
    house.partner_says("fabrikam.com", HELLO);
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    let request = Request::message(BOB, "hi").set(|request| request.call_id = "orphan".to_owned());
    house.line("fabrikam.com").stalled = true;
    house.reach.insert("fabrikam.com", Reach::Up);
    house.send(wire, request.bytes());
    house.cut(wire);
    assert!(house.relayed.is_empty());
    house.line("fabrikam.com").stalled = false;
    house.run();
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
    assert_eq!(house.relayed.len(), 1, "{:?}", house.relayed);
    assert_eq!((house.relayed[0].status(), house.relayed[0].header("Call-ID")), (Some(200), Some("orphan")));
    assert_eq!(house.count("answers_lost"), 0);
}

#[test]
fn sip_07_without_another_connection_the_lost_answer_is_counted() {
    let mut house = House::new();
    house.reach.insert("fabrikam.com", Reach::Pending);
    let wire = house.front_end();
    // How many connections with the front end there are, and whether there are any that a block would end.
    let counted = |house: &House| {
        let measured = house.gateway.measures().front_ends[0].connections;
        (measured, house.gateway.front_ends_within(|_| true, house.now.instant).len())
    };
    house.send(wire, Request::message(BOB, "hi").bytes());
    assert_eq!(counted(&house), (1, 1));
    house.cut(wire);
    assert_eq!(counted(&house), (0, 0), "it is remembered for its answer, and is no connection any more");
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    assert_eq!(house.stanzas("fabrikam.com").len(), 1);
    assert_eq!(house.count("answers_lost"), 1);
}

#[test]
fn sip_08_received_and_rport_say_where_the_request_came_from() {
    let mut house = House::new();
    let wire = house.front_end();
    for (via, expected) in [
        ("SIP/2.0/TLS fe.contoso.com;branch=z9hG4bK-x1", ";received=192.0.2.9"),
        ("SIP/2.0/TLS 198.51.100.1;branch=z9hG4bK-x2;rport", ";rport=50123;received=192.0.2.9"),
        ("SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK-x3", ""),
    ] {
        let request = Request::new("OPTIONS", "contoso.com").set(|request| request.via = via.to_owned());
        let answer = house.ask(wire, request.bytes());
        let via = via.replace(";rport", "");
        assert_eq!(answer.header("Via"), Some(&*format!("{via}{expected}")));
    }
}

#[test]
fn sip_09_and_45_responses_that_are_not_ours_settle_nothing() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    house.partner_says("fabrikam.com", HELLO);
    let request = house.requests().remove(0);
    let hop = house.hop();
    let good = request.answer(200, "OK", &[]).unwrap();
    let via = format!("Via: {}\r\n", request.must("Via").unwrap());
    // Another sent-by, another branch, one Via too many, another method.
    for bad in [
        good.replace("SIP/2.0/TLS nuncio.contoso.com", "SIP/2.0/TLS other.contoso.com"),
        good.replace("branch=z9hG4bK", "branch=z9hG4bKx"),
        good.replace(&via, &format!("{via}{via}")),
        good.replace("1 MESSAGE", "1 OPTIONS"),
    ] {
        assert_ne!(bad, good);
        house.send(hop, bad);
        assert_eq!(house.count("xmpp_to_sip_delivered"), 0);
    }
    house.send(hop, &good);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1);
    house.send(hop, good);
    assert_eq!(house.count("xmpp_to_sip_delivered"), 1, "a second response is a stray");
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn sip_10_a_stream_that_cannot_be_cut_into_messages_gets_400_and_ends() {
    for length in ["", "Content-Length: five\r\n", "Content-Length: -1\r\n", "l: 0\r\nContent-Length: 1\r\n"]
    {
        let mut house = House::new();
        let wire = house.front_end();
        let request = String::from_utf8(Request::new("OPTIONS", "contoso.com").bytes()).unwrap();
        let answer = house.ask(wire, request.replace("Content-Length: 0\r\n", length));
        assert_eq!((answer.status(), house.wires[wire].open), (Some(400), false), "{length:?}");
    }
}

#[test]
fn sip_10_a_dripping_message_has_its_time_and_no_more() {
    let mut house = House::new();
    let wire = house.front_end();
    let bytes = Request::message(BOB, "hi").bytes();
    for byte in bytes.chunks(1).take(31) {
        house.send(wire, byte);
        house.advance(Duration::from_secs(1));
    }
    assert!(house.wires[wire].open, "31 seconds are not too long");
    house.send(wire, &bytes[31..32]);
    house.advance(Duration::from_secs(2));
    assert!(!house.wires[wire].open, "33 seconds are");
    assert!(house.stanzas("fabrikam.com").is_empty());
}

#[test]
fn sip_10_the_time_of_a_message_is_its_own() {
    let mut house = House::new();
    let wire = house.front_end();
    // A stream in which every read ends in the middle of a message, for minutes.
    let mut rest = Vec::new();
    for number in 0..20 {
        let bytes = Request::message(BOB, &number.to_string()).bytes();
        rest.extend_from_slice(&bytes[..20]);
        house.send(wire, &rest);
        rest = bytes[20..].to_vec();
        house.advance(Duration::from_secs(10));
        assert!(house.wires[wire].open, "message {number}");
    }
    assert_eq!(house.taken(wire).len(), 19);
}

#[test]
fn a_stranger_that_asks_nothing_is_shown_out() {
    let mut house = House::new();
    let why = || SipPeer::Unlisted("it presented no certificate".to_owned());
    let (silent, pinging) = (house.connect_as(why(), false), house.connect_as(why(), false));
    let front_end = house.front_end();
    house.advance(Duration::from_secs(31));
    house.send(pinging, "\r\n\r\n");
    house.advance(Duration::from_secs(2));
    assert!(!house.wires[silent].open && !house.wires[pinging].open);
    assert!(house.wires[front_end].open, "a front end may be silent");
}

#[test]
fn sip_11_and_12_line_ends_between_messages() {
    let mut house = House::new();
    let wire = house.front_end();
    house.send(wire, "\r\n\r\n");
    assert_eq!(house.wires[wire].bytes, b"\r\n", "a ping is answered at once");
    house.wires[wire].bytes.clear();
    house.send(wire, "\r\n");
    assert!(house.wires[wire].bytes.is_empty(), "half a ping is not");
    let mut request = b"\r\n".to_vec();
    request.extend(Request::new("OPTIONS", "contoso.com").bytes());
    let answer = house.ask(wire, request);
    assert_eq!(answer.status(), Some(200));
}

#[test]
fn sip_14_limits_hold_while_reading() {
    // A line counts without its end.
    let header =
        |size: usize| Request::new("OPTIONS", "contoso.com").with(format!("P: {}", "p".repeat(size - 3)));
    let many = |count: usize| {
        (0..count - 7).fold(Request::new("OPTIONS", "contoso.com"), |request, number| {
            request.with(format!("P: {number}"))
        })
    };
    let body = |size: usize| Request::message(BOB, &"b".repeat(size));
    let head = |size: usize| {
        let empty = Request::new("OPTIONS", "contoso.com");
        let (lines, left) =
            ((0..4).map(|_| "y".repeat(16_000)), size - empty.bytes().len() - 4 * (16_000 + 5));
        let request = lines.fold(empty, |request, line| request.with(format!("P: {line}")));
        request.with(format!("P: {}", "p".repeat(left - 5)))
    };
    assert_eq!(head(64 * 1024).bytes().len(), 64 * 1024);
    for (what, request, status, open) in [
        ("header at the limit", header(16 * 1024), 200, true),
        ("header past it", header(16 * 1024 + 1), 513, true),
        ("headers at the limit", many(256), 200, true),
        ("headers past it", many(257), 513, true),
        ("body at the limit", body(256 * 1024), 200, true),
        ("body past it", body(256 * 1024 + 1), 413, true),
        ("head at the limit", head(64 * 1024), 200, true),
        ("head past it", head(64 * 1024 + 1), 513, false),
    ] {
        let mut house = House::new();
        let wire = house.front_end();
        let answer = house.ask(wire, request.bytes());
        assert_eq!((answer.status(), house.wires[wire].open), (Some(status), open), "{what}: {answer}");
        let crossed = house.stanzas("fabrikam.com");
        assert_eq!(crossed.len(), usize::from(what == "body at the limit"), "{what}");
        if let [message] = &crossed[..] {
            assert_eq!(message.body().map(str::len), Some(256 * 1024), "nothing is truncated");
        }
    }
}

#[test]
fn sip_15_compact_forms_folds_and_any_case_mean_the_same() {
    let mut house = House::new();
    let wire = house.front_end();
    let text = "MESSAGE sip:bob@fabrikam.com SIP/2.0\r\nv: SIP/2.0/TLS\r\n fe;branch=z9hG4bK-c\r\nMAX-forwards: 9\r\n\
        f: <sip:alice@contoso.com>\r\n ;tag=1\r\nt: <sip:bob@fabrikam.com>\r\ni: c\r\ncseq: 1\r\n\tMESSAGE\r\n\
        s: One\r\n two\r\nc: text/plain\r\nl: 2\r\n\r\nhi";
    let answer = house.ask(wire, text);
    assert_eq!(answer.status(), Some(200), "{answer}");
    let stanza = house.stanzas("fabrikam.com").remove(0);
    assert_eq!(stanza.body(), Some("hi"));
    // A fold is white space; how much of it is nobody's business.
    let subject = &stanza.child("subject").unwrap().text;
    assert_eq!(subject.split_whitespace().collect::<Vec<_>>(), ["One", "two"]);
    assert!(!subject.contains(['\r', '\n']));
    // Methods are case-sensitive.
    let lower = String::from_utf8(Request::message(BOB, "hi").bytes()).unwrap().replace("MESSAGE", "message");
    assert_eq!(house.ask(wire, lower).status(), Some(501));
}

#[test]
fn sec_40_nothing_is_kept_of_a_stranger_who_asked_twice_in_one_breath() {
    let mut house = House::new();
    let before = house.gateway.holdings().connections;
    let stranger = house.connect_as(SipPeer::Unlisted("it presented no certificate".to_owned()), false);
    let two = [1, 2].map(|number| {
        let request = Request::new("OPTIONS", BOB);
        request.set(|request| request.call_id = format!("twice{number}")).bytes()
    });
    house.send(stranger, two.concat());
    assert_eq!(house.taken(stranger).len(), 1, "one answer says what is wrong");
    house.cut(stranger);
    assert_eq!(house.gateway.holdings().connections, before);
}
