//! The gateway itself: the glue between the SIP side, the rules, the translation and the XMPP side.
//!
//! Everything here is plain calls on shared state: no sockets, no clocks, no tasks. The task that read a
//! message carries it all the way to the queue of its target:
//!
//! ```text
//! policy snapshot → judge → pair (guard held) → translate → push to lane or next hop → guard released
//! ```
//!
//! Locks are taken in one order only — pair, then next hop, then connection, or pair, then lane — each for
//! a short step, and never across an await.

mod absence;
mod answers;
pub mod attempts;
mod batches;
mod both_ways;
mod by_hand;
mod connections;
mod counters;
mod dialogs;
mod envelopes;
mod errands;
mod events_refused;
mod federation;
mod forks;
mod from_sip;
mod from_xmpp;
mod hops;
mod identities;
mod incoming;
mod iq;
mod keeping;
mod keyed;
mod lanes;
mod listed;
mod living;
mod log_ids;
mod measures;
mod merged;
mod no_sessions;
mod outage;
mod outcomes;
mod pairs;
mod pending;
mod pings;
mod places;
pub mod port;
mod presence;
mod prints;
mod proved;
mod receipts;
mod refusals;
mod refused;
mod relations;
mod releasing;
mod remote;
mod requests;
mod restart;
mod retry;
mod reuse;
mod revive;
mod routes;
mod sessions;
mod settings;
mod settling;
mod sharing;
mod standing;
mod status;
mod streams;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
mod timers;
mod tokens;
mod trust;
mod uniform;
mod verifying;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use compact_str::CompactString;
use dashmap::DashMap;
use nuncio_sip::Fields;
use nuncio_sip::connection::Connection;
use nuncio_sip::hop::Outgoing;
use nuncio_translate::Moment;
use nuncio_translate::judge::Snapshot;
use nuncio_translate::pair::{Budget as _, PairKey};
use nuncio_translate::stanza_id::PairId;
use nuncio_translate::text::LogAddress;
use nuncio_translate::trust::Stamps;
use nuncio_xmpp::lane::Lane;
use parking_lot::Mutex;
use tracing::error;

pub use answers::SUPPORTED;
pub use both_ways::OfferedBack;
pub use by_hand::{SessionShown, WhoSees};
pub use connections::Registered;
pub use counters::{Counter, Counters};
pub use envelopes::{Cargo, Judged, LaneKey, Receipt, ReplyTo, ToSipEnvelope, ToXmppEnvelope, Written};
pub use errands::GOODBYES_AHEAD;
pub use federation::{Federation, PartnerStreams, StreamRates, TermsOfNow};
pub use from_sip::SipPeer;
pub use identities::{IdentityNumber, SipIdentity};
pub use incoming::ReplySlot;
pub use lanes::{LaneHooks, LaneWants};
pub use living::{CameAbout, Dismissal, Enlisted, StreamShown};
pub use log_ids::MessageNumber;
pub use measures::{FrontEndMeasures, LaneStates, Measures, OTHERS, PartnerMeasures, RouteMeasures};
pub use outage::was_lost;
pub use pings::{Answer as PingAnswer, Ping};
pub use places::PlaceLimits;
pub use refused::{Attempts, RefusedDomains};
pub use relations::Relation;
pub use requests::RequestLimits;
pub use reuse::{Carries, Owner};
pub use routes::{ConnectOrder, FrontEnd, HopPort, Im, NextHop, Route};
pub use sessions::session_config;
pub use settings::Settings;
pub use settling::{Settling, Unsettled};
pub use sharing::{Guest, Seat, SharedStream};
pub use standing::{Believed, Standing};
pub use status::{LaneStatus, RouteStatus};
pub use streams::{InboundPlaces, KeyOut, OutboundPlace, Slowed, StreamCount, TooMany};
pub use tally::{BOUNDS, Distribution, Fate, FrontEndTally, StreamKind, StreamTally, StreamUp, Tally};
pub use trust::Vouched;
pub use verifying::{Busy, Verdict, Verdicts, Verification, VerifyLimits};

use crate::health::Pulse;
use crate::log_limit::LogBudget;
use crate::net::blocked::BlockedNetworks;
use crate::store::Keep;
use connections::SipLink;
use dialogs::Dialogs;
use errands::Errands;
use incoming::Incoming;
use keeping::Keeping;
use pairs::PairLost;
use places::Places;
use port::Port;
use remote::Remote;
use timers::Timers;
use uniform::RefusalPace;

/// A SIP connection of this process, in or out. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The transactions of one SIP connection.
pub type SipPort = Port<ToSipMachine>;
/// The machine of a SIP connection.
type ToSipMachine = Connection<Outgoing<ToSipEnvelope>>;
/// One pair, whose messages carry what their senders are owed.
type Pair = nuncio_translate::pair::Pair<Incoming>;
/// One lane.
pub type LanePort = Port<ToXmppLane>;
/// The machine of a lane.
pub type ToXmppLane = Lane<ToXmppEnvelope>;

/// What the gateway needs from the world around it: the runtime in production, the simulation in tests.
pub trait Environment: Send + Sync {
    /// A new lane wants a task that serves it for the rest of the process.
    fn serve_lane(&self, key: LaneKey, lane: Arc<LanePort>);

    /// A dialback key of a partner is to be verified, by asking the server of his domain on a connection of its own.
    fn verify(&self, verification: Verification);

    fn random(&self) -> u64;
}

/// What the gateway holds at a moment, for metrics and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// SIP connections, living or remembered for the answers they are owed.
    pub connections: usize,
    pub pairs: usize,
    /// Messages of contacts waiting for their turn, in all pairs.
    pub waiting: usize,
    /// The same, in the pair that has most of them.
    pub waiting_most: usize,
    /// Streams with partners: those established, and those of ours that are on the way.
    pub streams: StreamCount,
    /// What pairs still have to do for somebody.
    pub owed: usize,
    /// Subscriptions of ours at front ends.
    pub subscriptions: usize,
    /// Dialogs, in both roles. The members of batches hold one each.
    pub dialogs: usize,
    /// Batched subscriptions of front ends.
    pub batches: usize,
}

/// The gateway: shared by all connections.
pub struct Gateway {
    settings: Settings,
    policy: ArcSwap<Snapshot>,
    federation: ArcSwap<Federation>,
    proved: proved::Proved,
    verifying: Arc<verifying::Verifying>,
    remotes: DashMap<CompactString, Arc<Remote>, keyed::Keyed>,
    living: Arc<living::LivingStreams>,
    blocked_networks: BlockedNetworks,
    streams: Arc<streams::StreamCounter>,
    connections: DashMap<ConnectionId, SipLink>,
    merged: Arc<merged::MergedRequests>,
    front_ends: Vec<FrontEnd>,
    routes: Vec<Route>,
    /// What front ends are told of contacts.
    stamps: Stamps,
    /// All names of ours on the SIP side.
    sip_names: Arc<[String]>,
    refused: Mutex<RefusedDomains>,
    refusals: refusals::Refusals,
    attempts: Mutex<attempts::Attempts>,
    pace: Mutex<RefusalPace>,
    timers: Timers,
    dialogs: Dialogs,
    batches: batches::Batches,
    places: Places,
    pings: Arc<pings::Pings>,
    no_sessions: no_sessions::NoSessions,
    store: Arc<dyn Keep>,
    pending: Arc<pending::Pending>,
    keeping: Keeping,
    errands: Errands,
    next_connection: AtomicU64,
    sequence: AtomicU64,
    counters: Counters,
    /// Running numbers of all domains that are no partners.
    others: Arc<Tally>,
    /// Those of front ends, in their order.
    front_end_tallies: Box<[FrontEndTally]>,
    pulse: Pulse,
    log_budget: Arc<LogBudget>,
    environment: Box<dyn Environment>,
    draining: AtomicBool,
    /// Subscriptions have been told that the process is going to end.
    ending: AtomicBool,
}

impl Gateway {
    pub fn new(
        settings: Settings,
        policy: Snapshot,
        front_ends: Vec<FrontEnd>,
        routes: Vec<Route>,
        store: Arc<dyn Keep>,
        environment: Box<dyn Environment>,
    ) -> Self {
        let timers = Timers::default();
        Self {
            log_budget: Arc::new(LogBudget::new(timers.wake())),
            refused: Mutex::new(RefusedDomains::new(settings.refused_domains)),
            refusals: refusals::Refusals::default(),
            attempts: Mutex::new(attempts::Attempts::new(attempts::BYTES)),
            places: Places::new(settings.places.clone()),
            pings: Arc::default(),
            dialogs: Dialogs::default(),
            no_sessions: no_sessions::NoSessions::default(),
            batches: batches::Batches::new(&settings.events),
            proved: proved::Proved::new(store.proved()),
            pending: pending::Pending::new(Arc::clone(&store), timers.wake()),
            store,
            keeping: Keeping::default(),
            errands: Errands::default(),
            ending: AtomicBool::new(false),
            verifying: verifying::Verifying::new(settings.verify),
            sip_names: settings.sip_names(),
            stamps: Stamps::new(|partner| settings.name_of(settings.identity_for(partner)).to_string()),
            settings,
            policy: ArcSwap::from_pointee(policy),
            federation: ArcSwap::from_pointee(Federation::default()),
            remotes: DashMap::with_hasher(keyed::Keyed::new(&*environment)),
            living: Arc::default(),
            blocked_networks: BlockedNetworks::default(),
            streams: Arc::default(),
            connections: DashMap::new(),
            merged: Arc::default(),
            front_end_tallies: front_ends.iter().map(|_| FrontEndTally::default()).collect(),
            others: Arc::default(),
            pulse: Pulse::default(),
            front_ends,
            routes,
            pace: Mutex::new(RefusalPace::default()),
            timers,
            next_connection: AtomicU64::new(1),
            sequence: AtomicU64::new(1),
            counters: Counters::default(),
            environment,
            draining: AtomicBool::new(false),
        }
    }

    pub fn policy(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.policy.load()
    }

    /// Puts a new policy in force. What crosses from now on is judged under it, also what has waited; subscriptions and sessions
    /// that it forbids end as an errand. Partners that may come in again are tried at once if something waits for them.
    pub fn set_policy(&self, policy: Snapshot) {
        let before = self.policy.swap(Arc::new(policy));
        self.retry_opened(&before);
        self.apply_policy();
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asked before others' doings become lines of the log.
    pub fn log_budget(&self) -> &Arc<LogBudget> {
        &self.log_budget
    }

    /// Signs of life of the tasks that serve it.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// It has been told to stop.
    pub fn is_stopping(&self) -> bool {
        self.ending.load(Ordering::SeqCst) || self.draining.load(Ordering::SeqCst)
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn random(&self) -> u64 {
        self.environment.random()
    }

    /// Records a stream header from a domain that is no partner.
    pub fn record_refused_domain(&self, domain: &str, unix_ms: u64) -> Attempts {
        self.refused.lock().record(domain, unix_ms)
    }

    /// The domains that knocked and are no partners, the latest first.
    pub fn refused_domains(&self) -> Vec<(CompactString, Attempts)> {
        self.refused.lock().list()
    }

    /// What is held now. Walks all pairs.
    pub fn holdings(&self) -> Holdings {
        let mut holdings = Holdings {
            connections: self.connections.len(),
            subscriptions: self.places.subscriptions(),
            dialogs: self.dialogs.len(),
            batches: self.batches.len(),
            streams: self.streams(),
            ..Holdings::default()
        };
        self.remotes.iter().for_each(|remote| remote.pairs.add_to(&mut holdings));
        holdings
    }

    /// How much has been taken on and is not finished: messages and notices in pairs and next hops, and
    /// answers that partners are owed. Walks all pairs.
    pub fn owes(&self) -> usize {
        self.holdings().owed + self.owes_outside_pairs()
    }

    fn owes_outside_pairs(&self) -> usize {
        let hops: usize = self.routes.iter().map(Route::owes).sum();
        let answers: usize = self.lanes().iter().map(|lane| lane.step(|lane| lane.occupancy().1)).sum();
        hops + answers
    }

    /// Nobody is owed anything. May walk all pairs.
    pub fn is_settled(&self) -> bool {
        self.owes_outside_pairs() == 0 && !self.any_pair(|pair| pair.owes() > 0)
    }

    /// Every endpoint of a SIP user has been told that its subscription ends, and its front end has answered or is not
    /// asked any more; no other errand is left either. May walk all pairs.
    pub fn has_said_goodbye(&self) -> bool {
        self.errands_done() && !self.batches.any_is_ending() && !self.any_pair(Pair::is_ending)
    }

    fn any_pair(&self, ask: impl Fn(&Pair) -> bool) -> bool {
        let remotes: Vec<_> = self.remotes.iter().map(|remote| Arc::clone(&remote)).collect();
        remotes.iter().any(|remote| remote.pairs.any(&ask))
    }

    /// Lanes empty themselves and end, those made from now on as well.
    pub fn drain_lanes(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for lane in self.lanes() {
            lane.feed(|lane| lane.drain());
        }
    }

    /// The time is over: what has not been sent to front ends comes back to its senders as errors.
    pub fn give_up(&self, now: Moment) {
        for route in &self.routes {
            route.hops.step(|group| group.abandon());
            self.serve_route(route, now);
        }
        let remotes: Vec<_> = self.remotes.iter().map(|remote| Arc::clone(&remote)).collect();
        remotes.iter().flat_map(|remote| remote.pairs.waiting()).for_each(|key| self.give_up_pair(&key, now));
    }

    /// An address as it may stand in a log line.
    fn shown<'a>(&self, address: &'a str) -> LogAddress<'a> {
        LogAddress::new(address, self.settings.privacy)
    }

    /// A step on a pair panicked: the senders of what it held are told, and nothing else stops.
    fn pair_lost(&self, composed: &str, lost: PairLost, now: Moment) {
        let messages = lost.messages.len() as u64;
        self.counters.pairs_lost.add(1);
        self.counters.xmpp_to_sip_failed.add(messages);
        self.counters.notices_lost.add(lost.notices);
        let (sip_user, contact) = composed.split_once('\0').unwrap_or_default();
        let id = PairId { key: &self.settings.node_key, sip_user, contact };
        error!(%id, contact = %self.shown(contact), messages, notices = lost.notices,
            "a pair was emptied after an internal error (see the panic above); the senders of its messages are told");
        for message in lost.messages {
            message.came_to(Fate::Failed);
            message.fail(&incoming::lost(), now);
        }
        lost.tags.iter().for_each(|tag| self.dialogs.release(tag));
        lost.invitations.iter().for_each(|branch| self.cancel_invite(branch, &Fields::default(), now));
        let key = PairKey::from_composed(composed);
        lost.places.into_iter().for_each(|place| (&self.places).give_back(&key, place));
        if let Some(presence) = lost.presence {
            self.revive(composed, *presence, now);
        }
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }
}
