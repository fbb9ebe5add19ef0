//! Peers that send too much, or take nothing: what it costs them, and that it costs nobody else anything.

use std::time::Duration;

use nuncio::gateway::{Federation, PartnerStreams, StreamRates};
use nuncio_xmpp::lane::LaneConfig;
use nuncio_xmpp::rate::Rate;

use crate::house::{House, Plan, Reach, Reply};
use crate::text::Request;

const BOB: &str = "bob@fabrikam.com";

fn ping(id: usize) -> String {
    format!(
        "<iq type='get' id='p{id}' from='bob@fabrikam.com/x' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>"
    )
}

/// Answers have their room; a partner that does not take them is read no further, and holds no more than that.
#[test]
fn sec_46_requests_without_end_are_answered_as_fast_as_their_answers_are_taken_and_no_faster() {
    const ROOM: usize = 8;
    let lane = LaneConfig { reply_capacity: ROOM, ..LaneConfig::default() };
    let mut house = House::planned(Plan { lane, ..Plan::default() });
    house.partner_says("fabrikam.com", &ping(0));
    house.line("fabrikam.com").stalled = true;
    // One answer is being written, which takes a place; the limit, and one past it.
    for id in 1..=ROOM {
        house.partner_says("fabrikam.com", &ping(id));
    }
    assert!(house.streams[0].reads(), "at the limit");
    house.partner_says("fabrikam.com", &ping(ROOM + 1));
    assert!(!house.streams[0].reads(), "one past it");
    assert_eq!(house.gateway.owes(), ROOM);
    // Another partner is served meanwhile.
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message("x@public.example", "x").bytes()).status(), Some(200));
    // When the answers are taken again, each request has got its own, in order.
    house.line("fabrikam.com").stalled = false;
    house.run();
    let ids: Vec<_> = house
        .stanzas("fabrikam.com")
        .iter()
        .map(|answer| answer.attribute("id").unwrap().to_owned())
        .collect();
    assert_eq!(ids, (0..=ROOM + 1).map(|id| format!("p{id}")).collect::<Vec<_>>());
    assert!(house.streams[0].reads());
    assert_eq!(house.gateway.owes(), 0);
}

/// What came is worked on; the rest stays in his own connections until it is its turn.
#[test]
fn sec_40_a_partner_that_sends_more_than_he_may_is_read_more_slowly_and_only_he() {
    let mut house = House::new();
    let rates = StreamRates { stanzas: Rate::new(10, 2), bytes: Rate::UNLIMITED };
    let partner = PartnerStreams { rates, ..PartnerStreams::new("fabrikam.com", 20) };
    house.gateway.set_federation(Federation::new([(partner, vec!["fabrikam.com".into()])]), house.now);
    for id in 0..20 {
        house.partner_says("fabrikam.com", &ping(id));
    }
    assert!(house.streams[0].reads(), "at the limit");
    house.partner_says("fabrikam.com", &ping(20));
    assert!(!house.streams[0].reads(), "one past it");
    assert_eq!(house.stanzas("fabrikam.com").len(), 21, "what came is answered");
    house.partner_says(
        "public.example",
        "<presence from='x@public.example' to='alice@contoso.com' type='probe'/>",
    );
    assert!(house.streams[1].reads(), "another partner pays for it");
    house.advance(Duration::from_millis(99));
    assert!(!house.streams[0].reads());
    house.advance(Duration::from_millis(1));
    assert!(house.streams[0].reads());
    assert_eq!(house.gateway.counters().streams_slowed.get(), 1);
}

#[test]
fn sec_40_bytes_count_as_well_whatever_they_are() {
    let mut house = House::new();
    let rates = StreamRates { stanzas: Rate::UNLIMITED, bytes: Rate::new(10_000, 1) };
    let partner = PartnerStreams { rates, ..PartnerStreams::new("fabrikam.com", 20) };
    house.gateway.set_federation(Federation::new([(partner, vec!["fabrikam.com".into()])]), house.now);
    house.partner_says("fabrikam.com", " ");
    house.partner_says("fabrikam.com", &" ".repeat(9_999));
    assert!(house.streams[0].reads(), "at the limit");
    house.partner_says("fabrikam.com", " ");
    assert!(!house.streams[0].reads(), "one past it");
}

/// Two served domains, and a partner with whom there may be two streams, of which one is for his own.
#[test]
fn sec_40_a_message_for_which_no_stream_may_be_opened_comes_back_with_the_limit_and_its_key() {
    let mut house = House::planned(Plan { served: &["contoso.com", "corp.example"], ..Plan::default() });
    let partner = PartnerStreams::new("fabrikam.com", 2);
    house.gateway.set_federation(Federation::new([(partner, vec!["fabrikam.com".into()])]), house.now);
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "x").bytes()).status(), Some(200), "at the limit");
    let from_corp = || {
        Request::message(BOB, "one past it")
            .set(|request| request.from = "<sip:al@corp.example>;tag=1".into())
    };
    house.send(wire, from_corp().bytes());
    house.advance(Duration::from_secs(10));
    let answer = house.taken(wire).pop().unwrap();
    assert_eq!((answer.status(), answer.must("Retry-After").unwrap()), (Some(480), "5"));
    let why = answer.must("ms-diagnostics").unwrap();
    assert!(why.contains("1 inbound and 1 outbound streams of 2"), "{why}");
    assert!(why.contains("limits.xmpp.connections_per_partner"), "{why}");
    // The stream that is there goes on, and what ends gives its place back.
    assert_eq!(house.ask(wire, Request::message(BOB, "x").bytes()).status(), Some(200));
    house.partner_closes_idle("fabrikam.com");
    house.advance(Duration::from_secs(30));
    house.send(wire, from_corp().bytes());
    house.advance(Duration::from_secs(10));
    let answers = house.taken(wire);
    assert_eq!(answers.last().unwrap().status(), Some(200));
}

#[test]
fn sec_40_streams_of_a_partner_beyond_his_limit_or_that_of_all_end_with_the_right_error() {
    for (most, of_partner, condition) in [(1000, 2, "policy-violation"), (1, 20, "resource-constraint")] {
        let mut house = House::planned(Plan { streams: most, ..Plan::default() });
        let partner = PartnerStreams::new("fabrikam.com", of_partner);
        house.gateway.set_federation(Federation::new([(partner, vec!["fabrikam.com".into()])]), house.now);
        let first = house.another_stream("fabrikam.com");
        let second = house.another_stream("fabrikam.com");
        house.run();
        let said = house.streams[second].transcript();
        assert!(said.contains(&format!("<{condition} ")), "{said}");
        assert_eq!(house.gateway.counters().streams_over_limit.get(), 1);
        house.cut_stream(first);
        let third = house.another_stream("fabrikam.com");
        house.run();
        let said = house.streams[third].transcript();
        assert!(!said.contains("stream:error"), "its place is free: {said}");
    }
}

/// XE-15, in the running gateway: the setting of one partner, and what holds for another.
#[test]
fn xe_15_a_stanza_beyond_the_partners_own_limit_ends_his_stream() {
    let long = |from: &str| {
        format!("<message from='{from}' to='alice@contoso.com'><body>{}</body></message>", "x".repeat(20_000))
    };
    let mut house = House::new();
    let partner = PartnerStreams { max_stanza: Some(20_000), ..PartnerStreams::new("fabrikam.com", 20) };
    house.gateway.set_federation(Federation::new([(partner, vec!["fabrikam.com".into()])]), house.now);
    house.partner_says("fabrikam.com", &long(BOB));
    house.partner_says("verified.example", &long("x@verified.example"));
    assert!(house.streams[0].transcript().contains("<stanza-too-big "));
    assert!(!house.streams[1].transcript().contains("stream:error"));
    assert_eq!(house.requests().len(), 1);
}

/// Nobody gets more out of the gateway than he puts in, towards whomever: at most one request and one stanza for each.
#[test]
fn sec_47_one_stanza_of_a_contact_causes_one_request_or_one_answer_at_most() {
    let to_alice = |name: &str, kind: &str, children: &str| {
        format!("<{name} type='{kind}' id='1' from='{BOB}/x' to='alice@contoso.com'>{children}</{name}>")
    };
    let disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    for (stanza, most_requests, most_stanzas) in [
        (to_alice("message", "chat", "<body>hello</body>"), 1, 0),
        (to_alice("message", "groupchat", "<body>hello</body>"), 0, 1),
        (to_alice("message", "headline", ""), 0, 0),
        (to_alice("message", "error", "<error type='cancel'/>"), 0, 0),
        (to_alice("presence", "subscribe", ""), 1, 0),
        (to_alice("presence", "probe", ""), 1, 0),
        (to_alice("presence", "unsubscribe", ""), 0, 0),
        (to_alice("presence", "subscribed", ""), 0, 0),
        (to_alice("presence", "unavailable", ""), 0, 0),
        (to_alice("presence", "what", ""), 0, 1),
        (to_alice("iq", "get", disco), 0, 1),
        (to_alice("iq", "set", disco), 0, 1),
        (to_alice("iq", "result", disco), 0, 0),
    ] {
        let mut house = House::new();
        house.partner_says("fabrikam.com", &stanza);
        // Refusals take their time, and what fails may be tried again.
        house.advance(Duration::from_secs(20));
        let (requests, stanzas) = (house.requests(), house.stanzas("fabrikam.com"));
        assert!(requests.len() <= most_requests, "{stanza}: {requests:?}");
        assert!(stanzas.len() <= most_stanzas, "{stanza}: {stanzas:?}");
    }
}

#[test]
fn sec_46_ten_thousand_requests_leave_nothing_behind() {
    let mut house = House::new();
    for id in 0..10_000 {
        house.partner_says("fabrikam.com", &ping(id));
    }
    assert_eq!(house.stanzas("fabrikam.com").len(), 10_000);
    let holdings = house.gateway.holdings();
    assert_eq!((house.gateway.owes(), holdings.pairs, house.requests().len()), (0, 0, 0));
}

/// SEC-15: as many answers as requests, and small ones.
#[test]
fn sec_15_and_sec_50_a_burst_beyond_what_may_wait_gets_503_and_what_may_wait_is_delivered() {
    const WAITING: usize = 100;
    let mut house = House::planned(Plan { pending: WAITING, ..Plan::default() });
    house.reach.insert("fabrikam.com", Reach::Pending);
    let (burst, other) = (house.front_end(), house.front_end());
    let requests: Vec<u8> = (0..3 * WAITING).flat_map(|_| Request::message(BOB, "x").bytes()).collect();
    house.send(burst, requests);
    let refused = house.taken(burst);
    assert_eq!(refused.len(), 2 * WAITING);
    assert!(refused.iter().all(|answer| answer.status() == Some(503)));
    // Another connection of the same front end has its own room.
    house.send(other, Request::message(BOB, "other").bytes());
    assert!(house.taken(other).is_empty(), "it waits for the partner");
    house.reach.insert("fabrikam.com", Reach::Up);
    house.run();
    let (first, second) = (house.taken(burst), house.taken(other));
    assert_eq!((first.len(), second.len()), (WAITING, 1));
    assert!(first.iter().chain(&second).all(|answer| answer.status() == Some(200)));
    assert_eq!(house.stanzas("fabrikam.com").len(), WAITING + 1);
}

/// The measure is the clock of the others: it does not move.
#[test]
fn sec_45_a_partner_that_takes_nothing_delays_nobody_else() {
    let mut house = House::new();
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "first").bytes()).status(), Some(200));
    house.line("fabrikam.com").stalled = true;
    let begin = house.now.instant;
    for number in 0..1000 {
        house.send(wire, Request::message(BOB, "for the one that is stuck").bytes());
        let to = format!("user{number}@public.example");
        assert_eq!(house.ask(wire, Request::message(&to, "x").bytes()).status(), Some(200));
        // The stuck one still speaks, and is heard.
        let said =
            format!("<message from='{BOB}' to='alice@contoso.com' id='{number}'><body>x</body></message>");
        house.partner_says("fabrikam.com", &said);
    }
    assert_eq!(house.now.instant, begin);
    assert_eq!(house.stanzas("public.example").len(), 1000);
    assert_eq!(house.requests().len(), 1000);
    // Those that wait for it get their answer in time.
    house.advance(Duration::from_secs(10));
    let answers = house.taken(wire);
    let last = |status| answers.iter().filter(|answer| answer.status() == Some(status)).count();
    assert_eq!((last(100), last(504)), (1000, 1000));
}

/// The other side of it: a front end that answers nothing delays no partner's way out.
#[test]
fn sec_45_a_front_end_that_answers_nothing_does_not_hold_up_messages_to_partners() {
    let mut house = House::new();
    house.rule = Box::new(|_| Reply::Silence);
    for number in 0..100 {
        let from = format!("user{number}@fabrikam.com");
        let said =
            format!("<message from='{from}' to='alice@contoso.com' id='{number}'><body>x</body></message>");
        house.partner_says("fabrikam.com", &said);
    }
    let wire = house.front_end();
    assert_eq!(house.ask(wire, Request::message(BOB, "x").bytes()).status(), Some(200));
}

#[test]
fn sip_12_a_front_end_is_pinged_and_dropped_when_it_stops_answering() {
    let mut house = House::new();
    house.partner_says(
        "fabrikam.com",
        &format!("<message from='{BOB}' to='alice@contoso.com' id='1'><body>x</body></message>"),
    );
    let hop = house.hop();
    let until_pinged = |house: &mut House, times: usize| {
        for _ in 0..120 {
            house.advance(Duration::from_secs(1));
            if house.wires[hop].pings == times {
                return;
            }
        }
        panic!("no ping in 120 s");
    };
    until_pinged(&mut house, 1);
    house.send(hop, b"\r\n");
    until_pinged(&mut house, 2);
    house.advance(Duration::from_secs(9));
    assert!(house.wires[hop].open, "there is still time");
    house.advance(Duration::from_secs(1));
    assert!(!house.wires[hop].open, "no pong in 10 s");
    assert_eq!(house.gateway.routes()[0].hops.step(|group| group.active()), None);
}
