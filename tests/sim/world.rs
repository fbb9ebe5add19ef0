//! The virtual clock, the queue of events, and the gateway with everything around it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nuncio::gateway::{Environment, Gateway, LaneKey, LanePort, Verification};
use nuncio::store::{Keep, Memory, Outcome, Ticket};
use nuncio_sip::hop::HopConfig;
use nuncio_translate::Moment;
use nuncio_translate::judge::PartnerType;
use nuncio_translate::pair::PairConfig;
use nuncio_xmpp::lane::LaneConfig;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::crash;
use crate::drivers::LaneDriver;
use crate::faults::Fault;
use crate::front_end::Pool;
use crate::ledger::Ledger;
use crate::net::{Conn, ConnId, MILLI, Micros, Owner, SECOND, Side};
use crate::partner::Partner;
use crate::presence::{Act, Presence};
use crate::pump::{Pump, State};
use crate::rng::Rng;
use crate::sessions::{self, Plan, Sessions};

/// How long it may take until a task whose bell has rung runs.
pub(crate) const WAKING: Micros = 20 * MILLI;
/// The domain the gateway speaks for.
pub(crate) const LOCAL: &str = "contoso.example";
/// Wall clock at the beginning of every run.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// More events than any sound run has.
const MOST_EVENTS: u64 = 400_000;
/// Entries of the trace kept for a failing seed.
const KEPT: usize = 120;

/// A task of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Task {
    Pump(usize),
    Lane(usize),
    Hop,
    Errands,
    Clock,
}

#[derive(Debug)]
pub(crate) enum Event {
    Run(Task),
    Deliver(ConnId, Side),
    /// An end of a connection outside the gateway has something to look at.
    Poke(ConnId, Side),
    /// Both ends are ready for the handshake.
    Tls(ConnId),
    /// The user of the pair may write his next message.
    SipUserWrites(usize),
    ContactWrites(usize),
    /// The front end answers on that connection.
    Answer(ConnId, Vec<u8>),
    Fault(Fault),
    Repair(Fault),
    PartnerConnects(usize),
    /// A partner acknowledges late what it has handled.
    PartnerSettles(usize, ConnId, u64),
    FrontEndConnects(usize),
    /// A connection attempt of the gateway comes to its end.
    HopConnected {
        process: u64,
        target: usize,
        ok: bool,
    },
    /// A stranger tries his luck.
    Stranger,
    /// The user agent gives up waiting (Timer F).
    GiveUp(usize),
    /// The store writes what waits in it.
    Commit,
    /// It says what it has done.
    Committed(u64, Ticket, Outcome),
    /// Something in the lives of those who watch each other.
    Presence(Act),
    /// Something in sessions.
    Session(sessions::Act),
    Crash,
    Restart,
    Heal,
    CloseAll,
}

struct Entry {
    at: Micros,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The runtime, as the gateway sees it.
pub(crate) struct Runtime {
    lanes: Mutex<Vec<(LaneKey, Arc<LanePort>)>>,
    rng: Mutex<Rng>,
}

pub(crate) struct RuntimeHandle(pub(crate) Arc<Runtime>);

impl Environment for RuntimeHandle {
    fn serve_lane(&self, key: LaneKey, lane: Arc<LanePort>) {
        self.0.lanes.lock().push((key, lane));
    }

    fn verify(&self, _verification: Verification) {}

    fn random(&self) -> u64 {
        self.0.rng.lock().next()
    }
}

/// Sizes of this run, small ones in many seeds, so that bounds are met.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) lane: LaneConfig,
    pub(crate) pair: PairConfig,
    pub(crate) hop: HopConfig,
    pub(crate) max_pending: usize,
    pub(crate) capacity: usize,
    pub(crate) sessions: Option<Plan>,
}

impl Scale {
    fn draw(rng: &mut Rng, sessions: Option<Plan>) -> Self {
        let lane = LaneConfig {
            capacity: rng.pick(&[4, 30, 2048]),
            capacity_bytes: rng.pick(&[3000, 4 << 20]),
            reply_capacity: rng.pick(&[3, 30, 2048]),
            unconfirmed: rng.pick(&[4, 4096]),
            ..LaneConfig::default()
        };
        let pair = PairConfig { queue: rng.pick(&[3, 256]), hold: Duration::from_secs(10) };
        let window = rng.pick(&[2, 16 * 1024]);
        let max_requests = rng.pick(&[6, 64 * 1024]);
        let hop = HopConfig { window, max_requests, ..HopConfig::default() };
        let max_pending = rng.pick(&[4, 16 * 1024]).max(window);
        Self { lane, pair, hop, max_pending, capacity: rng.pick(&[300, 4096, 200_000]), sessions }
    }
}

/// One run.
pub(crate) struct World {
    pub(crate) now: Micros,
    start: Instant,
    queue: BinaryHeap<Reverse<Entry>>,
    number: u64,
    pub(crate) rng: Rng,
    pub(crate) scale: Scale,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) store: Arc<Memory>,
    /// The store is going to write.
    commit_scheduled: bool,
    pub(crate) conns: Vec<Conn>,
    pub(crate) pumps: Vec<Pump>,
    pub(crate) lanes: Vec<LaneDriver>,
    pub(crate) partners: Vec<Partner>,
    pub(crate) pool: Pool,
    pub(crate) ledger: Ledger,
    pub(crate) policy_generation: u64,
    /// When the partner's entry was last switched, and to what.
    pub(crate) enabled: Vec<Vec<(Micros, bool)>>,
    pub(crate) types: Vec<Vec<(Micros, PartnerType)>>,
    pub(crate) over: bool,
    pub(crate) hash: u64,
    pub(crate) trace: VecDeque<String>,
    pub(crate) print: bool,
    pub(crate) keep_trace: bool,
    /// Pumps that have not ended.
    pub(crate) living: Vec<usize>,
    armed: HashMap<Task, Micros>,
    events: u64,
    /// How far the wall clock of the gateway is off, and how far it was set in all.
    clock_error_ms: i64,
    pub(crate) clock_steps: Micros,
    pub(crate) faults: u64,
    /// Processes of the gateway before this one.
    pub(crate) process: u64,
    /// There is none at the moment.
    pub(crate) down: bool,
    pub(crate) presence: Presence,
    pub(crate) sessions: Sessions,
}

impl World {
    pub(crate) fn new(seed: u64, partners: Vec<Partner>) -> Self {
        Self::with_sessions(seed, partners, None)
    }

    pub(crate) fn with_sessions(seed: u64, partners: Vec<Partner>, plan: Option<Plan>) -> Self {
        let mut rng = Rng::new(seed);
        let scale = Scale::draw(&mut rng, plan);
        let runtime =
            Arc::new(Runtime { lanes: Mutex::new(Vec::new()), rng: Mutex::new(Rng::new(rng.next())) });
        let types = partners.iter().map(|_| vec![(0, PartnerType::Federated)]).collect::<Vec<_>>();
        let enabled = partners.iter().map(|_| vec![(0, true)]).collect::<Vec<_>>();
        let store = Arc::new(Memory::new());
        let gateway = crash::start(&scale, &runtime, &store, rng.next(), EPOCH_MS);
        let mut world = Self {
            now: 0,
            start: Instant::now(),
            queue: BinaryHeap::new(),
            number: 0,
            rng,
            scale,
            gateway,
            runtime,
            store,
            commit_scheduled: false,
            conns: Vec::new(),
            pumps: Vec::new(),
            lanes: Vec::new(),
            partners,
            pool: Pool::default(),
            ledger: Ledger::default(),
            policy_generation: 0,
            enabled,
            types,
            over: false,
            hash: 0xcbf2_9ce4_8422_2325,
            trace: VecDeque::new(),
            print: false,
            keep_trace: false,
            living: Vec::new(),
            armed: HashMap::new(),
            events: 0,
            clock_error_ms: 0,
            clock_steps: 0,
            faults: 0,
            process: 0,
            down: false,
            presence: Presence::default(),
            sessions: Sessions::new(plan),
        };
        world.publish_policy();
        world
    }

    // === time

    pub(crate) fn moment(&self) -> Moment {
        let unix_ms = (EPOCH_MS + self.now / MILLI).saturating_add_signed(self.clock_error_ms);
        Moment { instant: self.start + Duration::from_micros(self.now), unix_ms }
    }

    /// The wall clock is set. What lasts so long, and not until then, does not hear of it.
    pub(crate) fn step_clock(&mut self, seconds: i64) {
        self.note("clock", seconds.unsigned_abs(), u64::from(seconds < 0));
        self.clock_error_ms += seconds * 1000;
        self.clock_steps += Micros::from(seconds.unsigned_abs()) * SECOND;
    }

    pub(crate) fn micros(&self, at: Instant) -> Micros {
        // Rounded up, so that a deadline has really passed when its event comes.
        let nanos = at.saturating_duration_since(self.start).as_nanos();
        u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX)
    }

    pub(crate) fn at(&mut self, at: Micros, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), number: self.number, event }));
    }

    pub(crate) fn after(&mut self, delay: Micros, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(crate) fn run_at_deadline(&mut self, deadline: Option<Instant>, task: Task) {
        let Some(at) = deadline.map(|deadline| self.micros(deadline)) else { return };
        // One alarm per task is enough: whoever is woken looks at the deadline anew.
        let armed = self.armed.entry(task).or_insert(0);
        if *armed <= self.now || at < *armed {
            *armed = at;
            self.at(at, Event::Run(task));
        }
    }

    // === the trace

    /// Goes into the hash, and into the trace if there is one.
    pub(crate) fn note(&mut self, what: &'static str, a: u64, b: u64) {
        let first = what.bytes().next().map_or(0, u64::from);
        for word in [self.now, what.len() as u64 ^ first << 8, a, b] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.keep_trace {
            let seconds = self.now / SECOND;
            let micros = self.now % SECOND;
            let line = format!("{seconds:>6}.{micros:06} {what} {a} {b}");
            if self.print {
                println!("{line}");
            }
            self.trace.push_back(line);
            if self.trace.len() > KEPT {
                self.trace.pop_front();
            }
        }
    }

    /// Goes into the trace only.
    pub(crate) fn comment(&mut self, line: String) {
        if self.print {
            println!("{line}");
        }
        self.trace.push_back(line);
        if self.trace.len() > KEPT {
            self.trace.pop_front();
        }
    }

    // === the loop

    /// Runs until nothing is left to happen, or something went wrong.
    pub(crate) fn run(&mut self) {
        while let Some(Reverse(entry)) = self.queue.pop() {
            self.now = entry.at;
            self.events += 1;
            if self.events > MOST_EVENTS {
                self.ledger.violation("the run does not come to rest".to_owned());
            }
            // What only concerns the network or somebody outside gives the gateway nothing to do.
            let concerns_gateway = !matches!(
                entry.event,
                Event::Deliver(..)
                    | Event::Poke(..)
                    | Event::Answer(..)
                    | Event::GiveUp(_)
                    | Event::SipUserWrites(_)
            );
            self.dispatch(entry.event);
            if concerns_gateway {
                self.take_lanes();
                self.ring();
                self.serve_store();
                self.check_bounds();
            }
            if !self.ledger.violations.is_empty() {
                return;
            }
        }
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Run(_) if self.down => {}
            Event::Presence(act) => self.act(act),
            Event::Session(act) => self.session_act(act),
            Event::Crash => self.crash(),
            Event::Restart => self.restart(),
            Event::Run(Task::Pump(pump)) => self.run_pump(pump),
            Event::Run(Task::Lane(lane)) => self.run_lane(lane),
            Event::Run(Task::Hop) => self.run_hop(),
            Event::Run(Task::Clock) => self.run_clock(),
            Event::Run(Task::Errands) => self.run_errands(),
            Event::Deliver(conn, side) => self.deliver(conn, side),
            Event::Poke(conn, side) => match self.conns[conn].ends[side] {
                Owner::PartnerOut { partner } | Owner::PartnerIn { partner } => {
                    self.partner_poke(partner, conn);
                }
                Owner::FrontEnd => self.front_end_poke(conn),
                Owner::Gateway { .. } => {}
            },
            Event::Tls(conn) => self.tls(conn),
            Event::SipUserWrites(pair) => self.sip_user_writes(pair),
            Event::ContactWrites(pair) => self.contact_writes(pair),
            Event::Answer(conn, bytes) => self.front_end_answers(conn, &bytes),
            Event::Fault(fault) => self.fault(fault),
            Event::Repair(fault) => self.repair(fault),
            Event::PartnerSettles(partner, conn, number) => self.partner_settles(partner, conn, number),
            Event::PartnerConnects(partner) => self.partner_connects(partner),
            Event::FrontEndConnects(node) => self.front_end_connects(node),
            Event::Commit => self.commit(),
            // What a process began ends with it.
            Event::Committed(process, ..) | Event::HopConnected { process, .. }
                if process != self.process => {}
            Event::Committed(_, up_to, outcome) => self.gateway.committed(up_to, outcome, self.moment()),
            Event::HopConnected { target, ok, .. } => self.hop_connected(target, ok),
            Event::Stranger => self.stranger(),
            Event::GiveUp(id) => self.give_up(id),
            Event::Heal => self.heal(),
            Event::CloseAll => self.close_all(),
        }
    }

    pub(crate) fn new_lanes(&self) -> Vec<(LaneKey, Arc<LanePort>)> {
        self.runtime.lanes.lock().drain(..).collect()
    }

    pub(crate) fn forget_alarms(&mut self) {
        self.armed.clear();
        self.commit_scheduled = false;
    }

    /// Nothing is left to happen.
    pub(crate) fn finish(&mut self) {
        self.queue.clear();
    }

    /// New lanes get their driver.
    fn take_lanes(&mut self) {
        let new = self.new_lanes();
        for (key, lane) in new {
            let partner = self.partners.iter().position(|partner| partner.domain.as_str() == key.remote);
            let Some(partner) = partner else {
                self.ledger.violation(format!("a lane to {}, who is no partner", key.remote));
                continue;
            };
            self.lanes.push(LaneDriver::new(key, lane, partner));
            let task = Task::Lane(self.lanes.len() - 1);
            self.after(0, Event::Run(task));
        }
    }

    /// Wakes every task whose bell has rung.
    fn ring(&mut self) {
        let mut living = std::mem::take(&mut self.living);
        living.retain(|pump| self.pumps[*pump].state != State::Ended);
        for pump in &living {
            if self.pumps[*pump].listens() && rung(&self.pumps[*pump].wake) {
                self.wake(Task::Pump(*pump));
            }
        }
        self.living = living;
        for lane in 0..self.lanes.len() {
            if self.lane_listens(lane) && rung(&self.lanes[lane].lane.wake()) {
                self.wake(Task::Lane(lane));
            }
        }
        if rung(&self.gateway.routes()[0].hops.wake()) {
            self.wake(Task::Hop);
        }
        if rung(&self.gateway.timer_wake()) {
            self.wake(Task::Clock);
        }
        if rung(&self.gateway.errand_bell()) {
            self.wake(Task::Errands);
        }
    }

    fn wake(&mut self, task: Task) {
        // Mostly at once; now and then the scheduler has other things to do.
        let delay = if self.rng.chance(5) { self.rng.range(0, WAKING) } else { 0 };
        self.after(delay, Event::Run(task));
    }

    /// One step; everybody else has his turn before the next one.
    fn run_errands(&mut self) {
        if self.gateway.run_errands(self.moment()) {
            self.wake(Task::Errands);
        }
    }

    fn run_clock(&mut self) {
        let now = self.moment();
        if self.gateway.deadline().is_some_and(|deadline| deadline <= now.instant) {
            self.gateway.handle_timeout(now);
        }
        let deadline = self.gateway.deadline();
        self.run_at_deadline(deadline, Task::Clock);
    }

    /// What the gateway gave to the store is written some time later, as by its thread.
    fn serve_store(&mut self) {
        if !self.commit_scheduled && self.store.health().waiting > 0 {
            self.commit_scheduled = true;
            let delay = self.rng.pick(&[MILLI / 10, 3 * MILLI, 40 * MILLI]);
            let delay = self.rng.range(0, delay);
            self.after(delay, Event::Commit);
        }
    }

    /// Writes some or all of it. Now and then the disk refuses, until the next time.
    fn commit(&mut self) {
        self.commit_scheduled = false;
        let some = 1 + self.rng.index(3);
        let most = self.rng.pick(&[usize::MAX, usize::MAX, some]);
        let done = if self.rng.chance(3) { self.store.fail() } else { self.store.commit(most) };
        if let Some((up_to, outcome)) = done {
            self.note("committed", up_to.0, (outcome == Outcome::Saved).into());
            let delay = self.rng.range(0, MILLI);
            let process = self.process;
            self.after(delay, Event::Committed(process, up_to, outcome));
        }
    }

    fn check_bounds(&mut self) {
        for driver in &self.lanes {
            let (tracked, replies) = driver.lane.step(|lane| lane.occupancy());
            if tracked > self.scale.lane.capacity || replies > self.scale.lane.reply_capacity {
                self.ledger.violations.push(format!("bound: a lane holds {tracked} and {replies}"));
            }
        }
        let load = self.gateway.routes()[0].hops.step(|group| group.load());
        if load > self.scale.hop.max_requests {
            self.ledger.violations.push(format!("bound: the hop group holds {load}"));
        }
        if self.events.is_multiple_of(64) {
            let most = self.gateway.holdings().waiting_most;
            // What is to go once more in another session is not under way while it waits.
            let again = usize::from(self.sessions.is_on());
            if most > self.scale.pair.queue + again {
                self.ledger.violations.push(format!("bound: a pair holds {most}"));
            }
        }
    }
}

/// Whether the bell has rung since it was last asked.
pub(crate) fn rung(bell: &Notify) -> bool {
    let notified = pin!(bell.notified());
    matches!(notified.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}
