//! The whole gateway — SIP sessions, the core, lanes, next hops, XMPP streams: the real machines — on a virtual
//! clock between a SIP front end and XMPP partners that misbehave, over streams that split, coalesce, stall,
//! close and reset at any byte.
//!
//! Users and contacts also watch each other's presence, while the process is killed and only its store survives: see
//! `presence`.
//!
//! In some seeds, messages go in sessions: see `sessions`.
//!
//! One seed is one run. `NUNCIO_SIM_SEEDS` says how many there are; `NUNCIO_SIM_SEED=n` replays one and prints
//! its trace. What must hold is in `ledger` and `observer`.

mod crash;
mod drivers;
mod faults;
mod front_end;
mod ledger;
mod net;
mod observer;
mod partner;
mod presence;
mod pump;
mod rng;
mod rules;
mod sessions;
mod wires;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use drivers::LaneDriver;
use faults::Fault;
use ledger::{Counted, PairRecord};
use net::SECOND;
use partner::{Acks, Partner, Pings};
use world::{Event, LOCAL, World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 1000;
/// Of a run with presence, which is shorter.
const PRESENCE_SEEDS: u64 = 5000;
/// Messages of a run, both directions together; a few more are lost on their way to the gateway.
const MESSAGES: u64 = 200;
/// Traffic and faults fall into this time.
const TRAFFIC: u64 = 90 * SECOND;
/// By then whatever was held is given back.
const REST: u64 = 400 * SECOND;

/// What a run leaves behind.
struct Outcome {
    hash: u64,
    violations: Vec<String>,
    trace: Vec<String>,
    totals: Totals,
}

/// What happened, all seeds together: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    messages: u64,
    faults: u64,
    delivered_to_xmpp: u64,
    delivered_to_sip: u64,
    answered_with_error: u64,
    reported_to_contact: u64,
    notices: u64,
    unconfirmed: u64,
    replies_dropped: u64,
    resent: u64,
    excused: u64,
    refused: u64,
    /// Messages of SIP users that partners acknowledged, and of contacts that the gateway did.
    acknowledged_to_us: u64,
    acknowledged_by_us: u64,
    presence: presence::Counts,
    sessions: sessions::Counts,
}

/// Users and contacts who watch each other.
fn simulate_presence(seed: u64, trace: bool, print: bool) -> Outcome {
    let mut world = presence::scene(seed);
    world.keep_trace = trace;
    world.print = print;
    world.run();
    Outcome {
        hash: world.hash,
        totals: Totals { faults: world.faults, presence: world.presence.counts, ..Totals::default() },
        violations: std::mem::take(&mut world.ledger.violations),
        trace: world.trace.into(),
    }
}

fn simulate(seed: u64, trace: bool, print: bool) -> Outcome {
    let mut world = scene(seed);
    world.keep_trace = trace;
    world.print = print;
    world.run();
    if world.ledger.violations.is_empty() {
        finish(&mut world);
    }
    Outcome {
        hash: world.hash,
        totals: totals(&world),
        violations: std::mem::take(&mut world.ledger.violations),
        trace: world.trace.into(),
    }
}

/// Users, partners, traffic and faults of a seed.
fn scene(seed: u64) -> World {
    let partners = vec![
        Partner::new("a.example", "a.example", Pings::Answers),
        Partner::new(
            "b.example",
            "b.example",
            if seed.is_multiple_of(3) { Pings::Ignores } else { Pings::Refuses },
        ),
        Partner::new("c.example", "c.example", Pings::Answers),
        // Its certificate is somebody else's.
        Partner::new("mallory.example", "a.example", Pings::Answers),
    ];
    let plan = sessions::Plan::of(seed);
    let mut world = World::with_sessions(seed, partners, plan);
    // Two partners may speak stream management; the others never do.
    for partner in 0..2 {
        world.partners[partner].acks = world.rng.pick(&[Acks::None, Acks::Promptly, Acks::Late]);
    }
    for partner in 1..3 {
        world.partners[partner].both_ways = world.rng.chance(50);
    }
    for partner in 0..4 {
        let domain = world.partners[partner].domain.as_str().to_owned();
        for contact in 0..3 {
            for user in 0..2 {
                world.ledger.pairs.push(PairRecord {
                    sip_user: format!("u{user}@{LOCAL}"),
                    contact: format!("c{contact}@{domain}"),
                    partner,
                    unknown_contact: contact == 2,
                    at_partner: Vec::new(),
                    at_front_end: Vec::new(),
                    noticed_lost: 0,
                    noticed_error: 0,
                    noticed_mixed: 0,
                });
            }
        }
    }
    let pairs = world.ledger.pairs.len();
    world.pool.to_write = vec![0; pairs];
    world.pool.moody = world.rng.pick(&[0, 10, 40]);
    // Partners and pairs are unequally busy.
    for _ in 0..MESSAGES / 2 + 10 {
        let pair = world.rng.index(pairs).min(world.rng.index(pairs));
        world.pool.to_write[pair] += 1;
        let at = world.rng.range(0, TRAFFIC);
        world.at(at, Event::SipUserWrites(pair));
        // Contacts write in bursts.
        let pair = world.rng.index(pairs).min(world.rng.index(pairs));
        let at = world.rng.range(0, TRAFFIC / SECOND / 10) * 10 * SECOND + world.rng.range(0, SECOND);
        world.at(at, Event::ContactWrites(pair));
    }
    for _ in 0..world.rng.range(3, 9) {
        let (fault, duration) = Fault::draw(&mut world);
        let at = world.rng.range(SECOND, TRAFFIC);
        world.at(at, Event::Fault(fault));
        world.at(at + duration, Event::Repair(fault));
    }
    world.at(0, Event::FrontEndConnects(0));
    world.at(0, Event::FrontEndConnects(1));
    let at = world.rng.range(0, TRAFFIC);
    world.at(at, Event::Stranger);
    world.at(TRAFFIC + 120 * SECOND, Event::Heal);
    let rest = if plan.is_some() { sessions::REST } else { REST };
    world.plan_sessions(TRAFFIC, rest);
    world.at(TRAFFIC + rest, Event::CloseAll);
    world
}

/// Nothing is left to happen: the books are closed.
fn finish(world: &mut World) {
    world.check_answered();
    let mut counted = vec![Counted::default(); world.partners.len()];
    let mut problems = Vec::new();
    for LaneDriver { lane, partner, .. } in &world.lanes {
        lane.step(|lane| {
            let counters = lane.counters();
            counted[*partner].unconfirmed += counters.unconfirmed;
            counted[*partner].replies_dropped += counters.replies_dropped;
            if !lane.is_empty() || lane.occupancy() != (0, 0) {
                problems.push(format!("leak: the lane to partner {partner} holds {:?}", lane.occupancy()));
            }
        });
    }
    let hops_idle = world.gateway.routes()[0].hops.step(|group| group.is_idle() && group.load() == 0);
    if !hops_idle {
        problems.push("leak: the hop group holds requests".to_owned());
    }
    let holdings = world.gateway.holdings();
    if holdings != Default::default() {
        problems.push(format!("leak: the gateway holds {holdings:?}"));
    }
    if world.gateway.deadline().is_some() {
        problems.push("leak: a timer is still armed".to_owned());
    }
    let pumps = world.pumps.iter().filter(|pump| pump.ended_at.is_none()).count();
    if pumps > 0 {
        problems.push(format!("leak: {pumps} connections never ended"));
    }
    problems.into_iter().for_each(|problem| world.ledger.violation(problem));
    let counters = world.gateway.counters();
    let settled = counters.notices_delivered.get() + counters.notices_lost.get();
    let lost = counters.notices_lost.get();
    world.ledger.close(&counted, settled, lost);
}

fn totals(world: &World) -> Totals {
    let (sip, xmpp) = (&world.ledger.from_sip, &world.ledger.from_xmpp);
    let count = |condition: bool| u64::from(condition);
    let counters = world.gateway.counters();
    let lanes = || world.lanes.iter().map(|driver| driver.lane.step(|lane| lane.counters()));
    Totals {
        messages: (sip.iter().filter(|m| m.arrived.is_some()).count()
            + xmpp.iter().filter(|m| m.arrived.is_some()).count()) as u64,
        faults: world.faults,
        delivered_to_xmpp: sip.iter().map(|m| count(m.processed > 0)).sum(),
        delivered_to_sip: xmpp.iter().map(|m| count(m.processed > 0)).sum(),
        answered_with_error: sip.iter().map(|m| count(m.finals.iter().any(|(_, s)| *s >= 300))).sum(),
        reported_to_contact: xmpp.iter().map(|m| count(!m.errors.is_empty())).sum(),
        notices: world.ledger.notices.len() as u64,
        unconfirmed: lanes().map(|counters| counters.unconfirmed).sum(),
        replies_dropped: lanes().map(|counters| counters.replies_dropped).sum(),
        resent: xmpp.iter().map(|m| count(m.left > 1)).sum(),
        excused: xmpp.iter().map(|m| count(m.excused)).sum(),
        refused: counters.xmpp_to_sip_refused.get(),
        acknowledged_to_us: world
            .lanes
            .iter()
            .filter(|driver| world.partners[driver.partner].acks != Acks::None)
            .map(|driver| driver.lane.step(|lane| lane.counters().confirmed))
            .sum(),
        acknowledged_by_us: xmpp.iter().map(|m| count(m.acknowledged.is_some())).sum(),
        presence: world.presence.counts,
        sessions: world.sessions.counts,
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.faults += other.faults;
        self.delivered_to_xmpp += other.delivered_to_xmpp;
        self.delivered_to_sip += other.delivered_to_sip;
        self.answered_with_error += other.answered_with_error;
        self.reported_to_contact += other.reported_to_contact;
        self.notices += other.notices;
        self.unconfirmed += other.unconfirmed;
        self.replies_dropped += other.replies_dropped;
        self.resent += other.resent;
        self.excused += other.excused;
        self.refused += other.refused;
        self.acknowledged_to_us += other.acknowledged_to_us;
        self.acknowledged_by_us += other.acknowledged_by_us;
        self.presence += other.presence;
        self.sessions += other.sessions;
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// What has to happen in a hundred seeds at the least: about a quarter of what does.
type Least = fn(&Totals) -> Vec<(&'static str, u64, u64)>;

fn least_of_messages(totals: &Totals) -> Vec<(&'static str, u64, u64)> {
    let Totals { sessions, .. } = totals;
    vec![
        ("messages", totals.messages, 5_000),
        ("faults", totals.faults, 130),
        ("delivered to XMPP", totals.delivered_to_xmpp, 2_400),
        ("delivered to SIP", totals.delivered_to_sip, 1_900),
        ("answered with an error", totals.answered_with_error, 500),
        ("reported to contacts", totals.reported_to_contact, 700),
        ("notices", totals.notices, 500),
        ("unconfirmed", totals.unconfirmed, 50),
        ("sent again", totals.resent, 45),
        ("refused by rule", totals.refused, 40),
        ("acknowledged to us", totals.acknowledged_to_us, 1_100),
        ("acknowledged by us", totals.acknowledged_by_us, 1_200),
        ("sessions that users began", sessions.users_invited, 95),
        ("sessions that contacts began", sessions.contacts_invited, 115),
        ("messages in sessions to users", sessions.messages_to_users, 200),
        ("messages in sessions to contacts", sessions.messages_to_contacts, 120),
        ("both inviting each other", sessions.glares, 13),
    ]
}

fn least_of_presence(totals: &Totals) -> Vec<(&'static str, u64, u64)> {
    let Totals { presence, .. } = totals;
    vec![
        ("faults", totals.faults, 90),
        ("crashes", presence.crashes, 65),
        ("prompts", presence.prompts, 60),
        ("shown to contacts", presence.shown_to_contacts, 290),
        ("shown to users", presence.shown_to_users, 80),
        ("subscriptions to users", presence.subscribed_to_users, 60),
        ("refused to endpoints", presence.refused_to_endpoints, 22),
        ("messages", presence.messages, 50),
        ("forgotten dialogs", presence.forgotten, 10),
        ("contacts who see in the end", presence.contacts_see, 60),
        ("consent taken back", presence.taken_back, 60),
        ("users who see in the end", presence.users_see, 20),
    ]
}

/// A simulation in which nothing happens proves nothing. A few seeds may well miss something.
fn assert_something_happened(totals: &Totals, least: Least, seeds: u64) {
    if seeds < 100 {
        return;
    }
    for (what, happened, in_a_hundred) in least(totals) {
        let least = in_a_hundred * seeds / 100;
        assert!(happened >= least, "{what}: {happened} in {seeds} seeds, and {least} are the least");
    }
}

type Simulate = fn(u64, bool, bool) -> Outcome;

/// Runs the seed again with its trace, and tells.
fn report(simulate: Simulate, test: &str, seed: u64) -> String {
    let outcome = simulate(seed, true, false);
    format!(
        "seed {seed} (replay: NUNCIO_SIM_SEED={seed} cargo test --test sim {test})\n{}\nlast events:\n{}",
        outcome.violations.join("\n"),
        outcome.trace.join("\n")
    )
}

/// Runs all seeds on two threads, or the one that the environment names.
fn run_seeds(simulate: Simulate, least: Least, test: &str, seeds: u64) {
    if let Some(seed) = from_environment("NUNCIO_SIM_SEED") {
        let outcome = simulate(seed, true, true);
        println!("{:#?}", outcome.totals);
        assert!(outcome.violations.is_empty(), "seed {seed}:\n{}", outcome.violations.join("\n"));
        return;
    }
    let seeds = from_environment("NUNCIO_SIM_SEEDS").unwrap_or(seeds);
    let next = AtomicU64::new(0);
    let work = || {
        let mut totals = Totals::default();
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failed.len() >= 3 {
                return (totals, failed);
            }
            let outcome = simulate(seed, false, false);
            totals += outcome.totals;
            if !outcome.violations.is_empty() {
                failed.push(seed);
            }
        }
    };
    let (totals, failed) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let mut all = (Totals::default(), Vec::new());
        for thread in threads {
            let (totals, failed) = thread.join().unwrap();
            all.0 += totals;
            all.1.extend(failed);
        }
        all
    });
    println!("{seeds} seeds: {totals:#?}");
    let reports: Vec<_> = failed.iter().map(|seed| report(simulate, test, *seed)).collect();
    assert!(reports.is_empty(), "{}", reports.join("\n\n"));
    assert_something_happened(&totals, least, seeds);
}

#[test]
fn every_message_is_delivered_or_reported_once_in_order_and_by_right() {
    run_seeds(simulate, least_of_messages, "every_message", SEEDS);
}

#[test]
fn the_last_state_arrives_no_dialog_leaks_and_nothing_crosses_that_is_forbidden() {
    run_seeds(simulate_presence, least_of_presence, "the_last_state", PRESENCE_SEEDS);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 17, 271] {
        assert_eq!(simulate(seed, false, false).hash, simulate(seed, false, false).hash, "seed {seed}");
    }
    for seed in [5, 23] {
        let hash = || simulate_presence(seed, false, false).hash;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
    assert_ne!(simulate(3, false, false).hash, simulate(4, false, false).hash);
}
