//! Work on many pairs at once: nobody waits behind all of it.

use std::collections::HashSet;
use std::sync::Arc;

use nuncio::gateway::GOODBYES_AHEAD;
use nuncio::net::session::Session;
use nuncio::store::{Keep, Memory, Outcome, Ticket};
use nuncio_sip::event::DialogRecord;
use nuncio_translate::judge::{Added, Partner, PartnerType, Snapshot};
use nuncio_translate::pair::{NotifierRecord, PairKey, PairRecord, To};
use nuncio_xmpp::lane::FailureKind;

use crate::house::{House, Plan, Reach, Reply};
use crate::watching::*;

/// Pairs that one step of an errand visits at most.
const STEP: usize = 32;

/// A house after a restart, in which an endpoint of each of so many users watches bob.
fn watched(count: usize, to: To) -> House {
    let (store, now) = (Memory::new(), Plan::default().unix_ms / 1000);
    for number in 0..count {
        let user = format!("alice{number}@contoso.com");
        let notifier = NotifierRecord {
            dialog: DialogRecord {
                call_id: format!("call-{number}").into(),
                local_tag: format!("n1.{number}").into(),
                remote_tag: "epid".into(),
                local_uri: format!("sip:{BOB}").into(),
                remote_uri: format!("sip:{user}").into(),
                remote_target: "sip:fe.contoso.com:5061;transport=tls".into(),
                routes: Box::default(),
                local_cseq: 1,
                remote_cseq: Some(1),
                event_id: None,
            },
            endpoint: "epid".into(),
            accept: PIDF.into(),
            expires_at: now + 3600,
            front_end: "pool1".into(),
        };
        let added = Some(Added { since: now - 60, last_subscribe: now - 60 });
        let record = PairRecord { added, to, notifiers: vec![notifier], ..PairRecord::default() };
        store.save_pair(&PairKey::new(&user, BOB), record);
    }
    store.commit(usize::MAX);
    let house = planned(Plan { store: Arc::new(store.crash()), ..Plan::default() });
    house.gateway.restore(house.now).unwrap();
    house
}

/// Runs one errand after the other; how many requests each left for the front end.
fn steps(house: &House) -> Vec<usize> {
    let load = || house.gateway.routes()[0].hops.step(|group| group.load());
    let mut steps = Vec::new();
    loop {
        let before = load();
        let more = house.gateway.run_errands(house.now);
        steps.push(load() - before);
        if !more {
            return steps;
        }
    }
}

#[test]
fn ev_15_a_stop_ends_thousands_of_subscriptions_as_fast_as_the_front_end_takes_it() {
    const COUNT: usize = 5000;
    let mut house = watched(COUNT, To::Yes);
    house.front_end_takes = SECOND / 5;
    house.gateway.end_subscriptions();
    let (begin, mut most) = (house.now.instant, 0);
    while !house.gateway.has_said_goodbye() {
        assert!(house.now.instant < begin + 12 * SECOND, "it takes for ever");
        house.advance(SECOND / 100);
        most = most.max(house.unanswered());
        assert!(house.gateway.is_settled(), "nobody is owed the end of a subscription");
    }
    assert_eq!(most, GOODBYES_AHEAD, "so many are sent ahead, and no more");
    let requests = house.requests();
    let ended = requests
        .iter()
        .filter(|request| request.header("Subscription-State") == Some("terminated;reason=deactivated"));
    let calls: HashSet<_> = ended.map(|request| request.must("Call-ID").unwrap()).collect();
    assert_eq!((calls.len(), house.gateway.stop_ending_subscriptions()), (COUNT, 0));
    assert_eq!(house.gateway.holdings().dialogs, 0);
}

#[test]
fn ev_15_what_a_silent_front_end_was_not_told_in_time_is_not_owed_and_stays_on_record() {
    const COUNT: usize = GOODBYES_AHEAD + 500;
    let mut house = watched(COUNT, To::Yes);
    house.rule = Box::new(|_| Reply::Silence);
    house.gateway.end_subscriptions();
    house.advance(12 * SECOND);
    assert!(house.gateway.is_settled() && !house.gateway.has_said_goodbye());
    assert_eq!(house.gateway.stop_ending_subscriptions(), COUNT);
    house.gateway.give_up(house.now);
    house.advance(MINUTE);
    assert_eq!(house.requests().len(), GOODBYES_AHEAD, "nothing more is said");
    let next = planned(Plan { store: Arc::new(house.store.crash()), ..Plan::default() });
    next.gateway.restore(next.now).unwrap();
    assert_eq!(next.gateway.holdings().dialogs, COUNT, "the next process knows all of them");
}

#[test]
fn ev_15_a_front_end_that_refuses_the_end_at_first_is_told_again() {
    let mut house = watched(10, To::Yes);
    house.rule = Box::new(|_| Reply::Status(503, "Service Unavailable"));
    house.gateway.end_subscriptions();
    house.run();
    assert_eq!(house.requests().len(), 10);
    assert!(!house.gateway.has_said_goodbye(), "they wait for their next try");
    house.rule = Box::new(accepts);
    house.advance(2 * SECOND);
    let again: Vec<_> = house.requests().into_iter().filter(|r| r.method() == Some("NOTIFY")).collect();
    assert_eq!((again.len(), house.gateway.has_said_goodbye()), (10, true));
}

#[test]
fn a_new_policy_is_looked_at_in_small_steps() {
    const COUNT: usize = 1000;
    let house = watched(COUNT, To::Yes);
    let entry = Partner { domain: PARTNER.into(), partner_type: PartnerType::Federated, enabled: false };
    house.gateway.set_policy(Snapshot::new(2, ["contoso.com".into()], [(entry, Vec::new())]));
    let steps = steps(&house);
    assert_eq!(steps.iter().sum::<usize>(), COUNT, "each endpoint is told");
    assert_eq!(steps.iter().max(), Some(&STEP));
}

#[test]
fn a_policy_that_comes_while_the_one_before_is_looked_at_reaches_every_pair() {
    const COUNT: usize = 1000;
    let mut house = watched(COUNT, To::Yes);
    let policy = |generation, enabled| {
        let entry = Partner { domain: PARTNER.into(), partner_type: PartnerType::Federated, enabled };
        Snapshot::new(generation, ["contoso.com".into()], [(entry, Vec::new())])
    };
    house.gateway.set_policy(policy(2, true));
    for _ in 0..COUNT / STEP / 2 {
        assert!(house.gateway.run_errands(house.now));
    }
    house.gateway.set_policy(policy(3, false));
    house.run();
    assert_eq!(house.states(), vec!["terminated;reason=rejected"; COUNT]);
}

#[test]
fn policies_that_follow_each_other_closely_reach_every_pair_all_the_same() {
    const COUNT: usize = 1000;
    let house = watched(COUNT, To::Yes);
    let load = || house.gateway.routes()[0].hops.step(|group| group.load());
    for step in 0..2 * COUNT / STEP {
        let entry = Partner { domain: PARTNER.into(), partner_type: PartnerType::Federated, enabled: false };
        let generation = 2 + step as u64;
        house.gateway.set_policy(Snapshot::new(generation, ["contoso.com".into()], [(entry, Vec::new())]));
        assert!(house.gateway.run_errands(house.now), "there is another one to be looked at");
    }
    assert_eq!(load(), COUNT, "each endpoint is told");
}

#[test]
fn every_pair_that_lost_something_hears_that_the_partner_is_reached_again() {
    const COUNT: usize = 300;
    let mut house = watched(COUNT, To::Pending);
    house.reach.insert(PARTNER, Reach::Down(FailureKind::Unreachable));
    // By now they try every few minutes only.
    house.advance(HOUR / 2);
    assert!(house.stanzas(PARTNER).is_empty());
    house.reach.remove(PARTNER);
    let mut asked = 0;
    while asked == 0 {
        house.advance(SECOND);
        asked = house.stanzas(PARTNER).len();
    }
    house.advance(6 * SECOND);
    assert_eq!(asked + house.stanzas(PARTNER).len(), COUNT);
}

#[test]
fn word_of_the_disk_reaches_those_who_wait_for_it_in_small_steps() {
    const COUNT: usize = 200;
    let mut house = house();
    let wire = house.front_end();
    house.disk_hangs = true;
    for number in 0..COUNT {
        house.send(wire, subscribe(&format!("bob{number}@fabrikam.com"), 3600).bytes());
    }
    assert!(house.taken(wire).is_empty());
    let (ticket, outcome) = house.store.commit(usize::MAX).unwrap();
    house.gateway.committed(ticket, outcome, house.now);
    let mut answered = Vec::new();
    loop {
        // The store's own thread has answered nobody.
        let mut bytes = Vec::new();
        house.wires[wire].session.transmit(&mut bytes, house.now);
        answered.push(String::from_utf8(bytes).unwrap().matches("SIP/2.0 200 ").count());
        if !house.gateway.run_errands(house.now) {
            break;
        }
    }
    assert_eq!((answered[0], answered.iter().max()), (0, Some(&STEP)));
    house.run();
    assert_eq!(answered.iter().sum::<usize>() + house.taken(wire).len(), COUNT);
}

#[test]
fn word_of_what_an_earlier_pair_stored_releases_nothing_of_a_later_one() {
    const EVE: &str = "eve@public.example";
    let mut house = planned(Plan { store_patience: HOUR, ..Plan::default() });
    house.disk_hangs = true;
    // A request is kept, and given up again: nothing is left of the pair but what the disk has to do.
    house.partner_says("public.example", &stanza(EVE, "type='subscribe'", ""));
    house.partner_says("public.example", &stanza(EVE, "type='unsubscribe'", ""));
    let word = house.store.commit(usize::MAX);
    assert!(matches!(word, Some((Ticket(2..), Outcome::Saved))), "{word:?}");
    house.advance(2 * MINUTE);
    assert_eq!(house.gateway.holdings().pairs, 0);
    // Another pair of that name adds her, and the disk has not got that yet when the word of before comes.
    let wire = house.front_end();
    house.send(wire, subscribe(EVE, 3600).bytes());
    let (ticket, outcome) = word.unwrap();
    house.gateway.committed(ticket, outcome, house.now);
    house.run();
    assert!(house.taken(wire).is_empty(), "200 before it is stored");
    house.disk_hangs = false;
    house.run();
    assert_eq!(house.taken(wire)[0].status(), Some(200));
}
