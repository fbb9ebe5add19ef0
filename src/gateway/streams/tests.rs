use super::super::testing::{gateway_of, gateway_with, lane, moment};
use super::super::{Federation, PartnerStreams};
use super::counter::{BEYOND, BEYOND_PER_KEY};
use super::*;
use futures_util::FutureExt as _;
use nuncio_xmpp::lane::FailureKind;
use nuncio_xmpp::rate::Rate;

const LOCAL: &str = "contoso.example";
const ONE: &str = "fabrikam.example";
const FURTHER: &str = "it.fabrikam.example";
const OTHER: &str = "wingtip.example";

/// Two partners, the first with two domains.
fn partners(gateway: &Gateway, make: impl Fn(&str) -> PartnerStreams) {
    let first = (make(ONE), vec![ONE.into(), FURTHER.into()]);
    let federation = Federation::new([first, (make(OTHER), vec![OTHER.into()])]);
    gateway.set_federation(federation, moment());
}

fn limited(limit: usize) -> Gateway {
    let gateway = gateway_of(LOCAL, ONE);
    partners(&gateway, |domain| PartnerStreams::new(domain, limit));
    gateway
}

fn inbound(gateway: &Gateway, domain: &str) -> Result<InboundPlaces, TooMany> {
    inbound_with(gateway, domain, &Arc::default())
}

/// The same for a session with this bell.
fn inbound_with(gateway: &Gateway, domain: &str, bell: &Arc<Notify>) -> Result<InboundPlaces, TooMany> {
    let mut places = InboundPlaces::default();
    gateway.enter_stream(&mut places, domain, bell).map(|()| places)
}

fn outbound(gateway: &Gateway, domain: &str) -> Option<OutboundPlace> {
    let (key, lane) = lane(LOCAL, domain);
    gateway.outbound_place(&key, &lane, moment())
}

fn count(inbound: usize, outbound: usize) -> StreamCount {
    StreamCount { inbound, outbound, ..StreamCount::default() }
}

#[test]
fn sec_40_streams_of_both_directions_and_all_his_domains_count_together() {
    let gateway = limited(3);
    let first = inbound(&gateway, ONE).unwrap();
    let _second = outbound(&gateway, FURTHER).unwrap();
    let _third = inbound(&gateway, FURTHER).unwrap();
    let why = inbound(&gateway, ONE).unwrap_err();
    assert_eq!(why, TooMany::OfPartner { count: count(2, 1), limit: 3 }, "one past the limit");
    assert!(outbound(&gateway, ONE).is_none());
    assert_eq!(gateway.counters().streams_over_limit.get(), 2);
    assert!(inbound(&gateway, OTHER).is_ok(), "another partner has his own");
    drop(first);
    assert!(outbound(&gateway, ONE).is_some(), "what is given back can be taken");
}

#[test]
fn sec_03_to_ask_about_a_stranger_keeps_nothing_of_him() {
    let gateway = limited(1);
    let ask = |domain: &str| gateway.may_enter_stream(&InboundPlaces::default(), domain);
    assert!(ask("stranger.example").is_ok());
    assert!(gateway.known_remote("stranger.example").is_none());
    let _places = inbound(&gateway, FURTHER).unwrap();
    assert!(ask(ONE).is_err(), "his places count by his primary domain");
}

#[test]
fn sec_40_the_last_place_is_kept_for_the_direction_that_has_none() {
    let gateway = limited(3);
    let _held = [inbound(&gateway, ONE).unwrap(), inbound(&gateway, ONE).unwrap()];
    assert!(inbound(&gateway, ONE).is_err());
    assert!(outbound(&gateway, ONE).is_some());
    let _held = [outbound(&gateway, OTHER).unwrap(), outbound(&gateway, OTHER).unwrap()];
    assert!(outbound(&gateway, OTHER).is_none());
    assert!(inbound(&gateway, OTHER).is_ok());
    // There is nothing to keep of a single one.
    let gateway = limited(1);
    assert!(inbound(&gateway, ONE).is_ok() && outbound(&gateway, OTHER).is_some());
}

#[test]
fn sec_40_all_partners_together_have_so_many_streams_and_not_one_more() {
    let gateway = gateway_with(LOCAL, ONE, |settings| settings.streams = 2);
    partners(&gateway, |domain| PartnerStreams::new(domain, 20));
    let mut first = inbound(&gateway, ONE).unwrap();
    let _second = outbound(&gateway, OTHER).unwrap();
    assert_eq!(gateway.streams(), count(1, 1));
    let why = inbound(&gateway, OTHER).unwrap_err();
    assert_eq!(why, TooMany::InAll { count: count(1, 1), limit: 2 });
    assert!(outbound(&gateway, ONE).is_none());
    first.give_back();
    assert!(outbound(&gateway, ONE).is_some());
}

#[test]
fn a_stream_that_speaks_for_two_partners_takes_a_place_of_each_and_one_in_all() {
    let gateway = limited(2);
    let mut places = inbound(&gateway, ONE).unwrap();
    gateway.enter_stream(&mut places, OTHER, &Arc::default()).unwrap();
    gateway.enter_stream(&mut places, FURTHER, &Arc::default()).unwrap();
    assert_eq!(gateway.streams(), count(1, 0));
    assert!(inbound(&gateway, ONE).is_err() && inbound(&gateway, OTHER).is_err());
    assert!(gateway.may_enter_stream(&InboundPlaces::default(), OTHER).is_err());
    drop(places);
    assert_eq!(gateway.streams(), count(0, 0));
    assert!(gateway.may_enter_stream(&InboundPlaces::default(), OTHER).is_ok());
}

#[test]
fn while_a_key_of_ours_is_out_the_partner_may_come_beyond_the_limit_to_verify_it() {
    let gateway = limited(1);
    let _place = outbound(&gateway, ONE).unwrap();
    assert!(inbound(&gateway, ONE).is_err());
    let mut keys = vec![gateway.key_out(FURTHER)];
    let mut verify: Vec<_> = (0..BEYOND_PER_KEY).map(|_| inbound(&gateway, ONE).unwrap()).collect();
    assert!(inbound(&gateway, ONE).is_err(), "one past what there is for a key");
    verify.pop();
    assert!(inbound(&gateway, FURTHER).is_ok());
    keys.resize_with(BEYOND, || gateway.key_out(ONE));
    verify.extend((verify.len()..BEYOND).map(|_| inbound(&gateway, ONE).unwrap()));
    assert!(inbound(&gateway, ONE).is_err(), "one past the limit beyond the limit");
    verify.pop();
    keys.clear();
    assert!(inbound(&gateway, ONE).is_err());
    drop(verify);
    assert_eq!(gateway.streams(), count(0, 1));
}

#[test]
fn sec_40_what_one_partner_has_beyond_the_limits_is_nobody_elses_hindrance() {
    let gateway = gateway_with(LOCAL, ONE, |settings| settings.streams = 1);
    partners(&gateway, |domain| PartnerStreams::new(domain, 20));
    let _place = outbound(&gateway, ONE).unwrap();
    let _keys: Vec<_> = (0..BEYOND).map(|_| gateway.key_out(ONE)).collect();
    assert!(inbound(&gateway, OTHER).is_err(), "no key is out to him");
    let _verify: Vec<_> = (0..BEYOND).map(|_| inbound(&gateway, ONE).unwrap()).collect();
    let _key = gateway.key_out(OTHER);
    assert!(inbound(&gateway, OTHER).is_ok());
}

#[test]
fn a_stream_beyond_the_limit_takes_an_ordinary_place_as_soon_as_one_is_free() {
    for (of_partner, in_all) in [(1, 1000), (20, 1)] {
        let gateway = gateway_with(LOCAL, ONE, |settings| settings.streams = in_all);
        partners(&gateway, |domain| PartnerStreams::new(domain, of_partner));
        let place = outbound(&gateway, ONE).unwrap();
        let key = gateway.key_out(ONE);
        let bell = Arc::new(Notify::new());
        let mut places = inbound_with(&gateway, ONE, &bell).unwrap();
        bell.notified().now_or_never();
        assert_eq!(gateway.settle_stream(&mut places), Ok(()));
        assert_eq!((gateway.streams().inbound, gateway.streams().beyond), (0, 1), "it stays where it is");
        assert!(bell.notified().now_or_never().is_none(), "and does not ring itself");
        drop(place);
        assert!(bell.notified().now_or_never().is_some(), "its session is rung");
        assert_eq!(gateway.settle_stream(&mut places), Ok(()));
        assert_eq!((gateway.streams().inbound, gateway.streams().beyond), (1, 0));
        drop(key);
        assert_eq!(gateway.settle_stream(&mut places), Ok(()), "it is like any other now");
        assert!(outbound(&gateway, ONE).is_none(), "and counts");
    }
}

#[test]
fn a_stream_beyond_the_limit_is_to_end_when_no_key_is_out_to_its_partner_any_more() {
    let gateway = limited(1);
    let _place = outbound(&gateway, ONE).unwrap();
    let [first, second] = [ONE, FURTHER].map(|domain| gateway.key_out(domain));
    let _other = gateway.key_out(OTHER);
    let bell = Arc::new(Notify::new());
    let mut places = inbound_with(&gateway, ONE, &bell).unwrap();
    drop(first);
    assert_eq!(gateway.settle_stream(&mut places), Ok(()), "it may be there for the other one");
    bell.notified().now_or_never();
    drop(second);
    assert!(bell.notified().now_or_never().is_some(), "its session is rung");
    assert!(matches!(gateway.settle_stream(&mut places), Err(TooMany::OfPartner { limit: 1, .. })));
    places.give_back();
    assert_eq!(gateway.settle_stream(&mut places), Ok(()), "it has ended");
}

/// An administrator with many served domains meets this one first.
#[test]
fn a_lane_without_a_place_waits_and_is_told_the_numbers_and_the_key_to_raise() {
    let gateway = limited(2);
    let _place = outbound(&gateway, ONE).unwrap();
    let (key, waits) = lane("thirtieth.example", ONE);
    assert!(gateway.outbound_place(&key, &waits, moment()).is_none());
    let failure = waits.step(|lane| lane.last_failure().cloned()).unwrap();
    assert_eq!(failure.kind, FailureKind::TooManyStreams);
    for said in [
        "0 inbound and 1 outbound streams of 2",
        "each of our domains needs an outbound stream",
        "connection_limit",
        "limits.xmpp.connections_per_partner",
    ] {
        assert!(failure.text.contains(said), "{failure}");
    }
}

#[test]
fn sec_40_what_all_his_streams_bring_counts_together_and_nobody_elses() {
    let gateway = gateway_of(LOCAL, ONE);
    let rates = StreamRates { stanzas: Rate::new(10, 1), bytes: Rate::new(1000, 1) };
    partners(&gateway, |domain| PartnerStreams { rates, ..PartnerStreams::new(domain, 20) });
    let [mut one, mut two, mut other] =
        [ONE, FURTHER, OTHER].map(|domain| inbound(&gateway, domain).unwrap());
    let begin = Instant::now();
    let after = |millis| Some(begin + std::time::Duration::from_millis(millis));
    assert_eq!(brings(&gateway, &mut one, &[(ONE, 10)], 10, begin), None, "at the limit");
    assert_eq!(
        brings(&gateway, &mut two, &[(FURTHER, 1)], 10, begin),
        after(100),
        "one past it, on another stream"
    );
    assert_eq!(brings(&gateway, &mut one, &[], 1980, begin), after(1000), "the longer of both counts");
    assert_eq!(brings(&gateway, &mut other, &[(OTHER, 10)], 1000, begin), None);
}

/// Until when nothing is read after so many stanzas of each domain, and so many bytes.
fn brings(
    gateway: &Gateway,
    places: &mut InboundPlaces,
    stanzas: &[(&str, usize)],
    bytes: u64,
    now: Instant,
) -> Option<Instant> {
    for (domain, count) in stanzas {
        (0..*count).for_each(|_| places.came(domain));
    }
    gateway.charge(places, bytes, now).map(|slowed| slowed.until)
}

#[test]
fn sec_40_on_a_stream_of_two_partners_each_is_charged_for_his_own() {
    let gateway = gateway_of(LOCAL, ONE);
    let rates = StreamRates { stanzas: Rate::new(10, 1), bytes: Rate::new(1000, 1) };
    partners(&gateway, |domain| PartnerStreams { rates, ..PartnerStreams::new(domain, 20) });
    let mut both = inbound(&gateway, ONE).unwrap();
    gateway.enter_stream(&mut both, OTHER, &Arc::default()).unwrap();
    gateway.enter_stream(&mut both, FURTHER, &Arc::default()).unwrap();
    let begin = Instant::now();
    assert_eq!(brings(&gateway, &mut both, &[(OTHER, 8), (ONE, 1), (FURTHER, 1)], 1000, begin), None);
    let mut alone = inbound(&gateway, ONE).unwrap();
    assert_eq!(
        brings(&gateway, &mut alone, &[(ONE, 8)], 800, begin),
        None,
        "8 stanzas of 10, 800 bytes of 1000 were left"
    );
    (0..3).for_each(|_| both.came(OTHER));
    let slowed = gateway.charge(&mut both, 0, begin).unwrap();
    assert_eq!((slowed.partner, slowed.until), (OTHER, begin + std::time::Duration::from_millis(100)));
}

#[test]
fn without_rates_nobody_waits() {
    let gateway = gateway_of(LOCAL, ONE);
    let mut places = inbound(&gateway, ONE).unwrap();
    assert_eq!(brings(&gateway, &mut places, &[(ONE, 100_000)], u64::MAX, Instant::now()), None);
}

#[test]
fn sec_40_the_rates_of_now_hold_for_streams_that_are_open() {
    let gateway = gateway_of(LOCAL, ONE);
    let mut places = inbound(&gateway, ONE).unwrap();
    let begin = Instant::now();
    assert_eq!(brings(&gateway, &mut places, &[(ONE, 100)], 100, begin), None);
    let rates = StreamRates { stanzas: Rate::new(10, 1), ..StreamRates::default() };
    partners(&gateway, |domain| PartnerStreams { rates, ..PartnerStreams::new(domain, 20) });
    assert!(brings(&gateway, &mut places, &[(ONE, 11)], 11, begin).is_some(), "his entry says less by now");
    partners(&gateway, |domain| PartnerStreams::new(domain, 20));
    assert_eq!(brings(&gateway, &mut places, &[(ONE, 100)], 100, begin), None, "and again nothing");
}
