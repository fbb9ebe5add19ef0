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
mod counters;
mod dialogs;
mod errands;
mod events_refused;
mod federation;
mod from_sip;
mod from_xmpp;
mod hops;
mod identities;
mod incoming;
mod iq;
mod keeping;
mod lanes;
mod listed;
mod living;
mod log_ids;
mod measures;
mod no_sessions;
mod outage;
mod outcomes;
mod pairs;
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
mod settling;
mod sharing;
mod status;
mod streams;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
mod timers;
mod trust;
mod uniform;
mod verifying;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use compact_str::CompactString;
use dashmap::DashMap;
use nuncio_sip::Fields;
use nuncio_sip::connection::{Connection, ServerTxn};
use nuncio_sip::event::EventConfig;
use nuncio_sip::hop::Outgoing;
use nuncio_sip::session::SessionConfig;
use nuncio_translate::Moment;
use nuncio_translate::judge::{Consent, Kind, Snapshot};
use nuncio_translate::message::Formats;
use nuncio_translate::pair::{Budget as _, Half, PairConfig, PairKey, PresenceConfig, Sent};
use nuncio_translate::stanza_id::{self, PairId};
use nuncio_translate::text::{LogAddress, Privacy};
use nuncio_translate::trust::Stamps;
use nuncio_xmpp::about::About;
use nuncio_xmpp::lane::{Envelope, Lane, LaneConfig};
use nuncio_xmpp::stream::Quiet;
use parking_lot::Mutex;
use tracing::error;

pub use answers::SUPPORTED;
pub use both_ways::OfferedBack;
pub use by_hand::{SessionShown, WhoSees};
pub use counters::{Counter, Counters};
pub use errands::GOODBYES_AHEAD;
pub use federation::{Federation, PartnerStreams, StreamRates};
pub use from_sip::SipPeer;
pub use identities::{IdentityNumber, SipIdentity};
pub use incoming::ReplySlot;
pub use lanes::{LaneHooks, LaneWants};
pub use living::{Dismissal, Enlisted, StreamShown};
pub use log_ids::MessageNumber;
pub use measures::{FrontEndMeasures, LaneStates, Measures, OTHERS, PartnerMeasures, RouteMeasures};
pub use outage::was_lost;
pub use places::PlaceLimits;
pub use refused::{Attempts, RefusedDomains};
pub use relations::Relation;
pub use requests::RequestLimits;
pub use reuse::{Carries, Owner};
pub use routes::{ConnectOrder, FrontEnd, HopPort, Im, NextHop, Route};
pub use sessions::session_config;
pub use settling::{Settling, Unsettled};
pub use sharing::{Guest, Seat, SharedStream};
pub use status::{LaneStatus, RouteStatus};
pub use streams::{InboundPlaces, KeyOut, OutboundPlace, Slowed, StreamCount, TooMany};
pub use tally::{BOUNDS, Distribution, Fate, FrontEndTally, StreamKind, StreamTally, StreamUp, Tally};
pub use trust::Vouched;
pub use verifying::{Busy, Verdict, Verdicts, Verification, VerifyLimits};

use crate::health::Pulse;
use crate::log_limit::LogBudget;
use crate::store::Keep;
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

/// What a lane is called: from one of our domains to one of a partner's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LaneKey {
    pub local: CompactString,
    pub remote: CompactString,
}

/// Travels with what a pair sends through the lane.
#[derive(Debug)]
pub struct ToXmppEnvelope {
    pub pair: PairKey,
    pub cargo: Cargo,
    /// Milliseconds of Unix time at which the message came in.
    pub sent_ms: u64,
    /// In the id of the stanza of a message.
    pub sequence: u64,
    /// Policy generation of the permit it crosses under.
    pub generation: u64,
    /// Its sender wants to know what becomes of it, and its pair knows that by this number.
    pub asks: Option<NonZeroU64>,
    /// Milliseconds of Unix time from which on it is not to be delivered any more; the largest number: never.
    pub expires_ms: u64,
}

impl ToXmppEnvelope {
    fn has_expired(&self, now: Moment) -> bool {
        self.expires_ms <= now.unix_ms
    }
}

/// What it is.
#[derive(Debug)]
pub enum Cargo {
    /// A message of the SIP user, who waits for his answer.
    Message(ReplyTo),
    /// Presence, or a stanza of a subscription: if it is lost, the pair sends what is true then.
    /// `takes_back`: it only takes something back, and always may.
    Presence { sent: Box<Sent>, takes_back: bool },
}

/// Where the SIP sender waits for his answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    pub connection: ConnectionId,
    pub transaction: ServerTxn,
}

/// What is kept of a written stanza until it is proved processed.
#[derive(Debug)]
pub struct Receipt {
    pub pair: PairKey,
    pub sent_ms: u64,
    pub sequence: u64,
    /// `None`: a message.
    pub presence: Option<Box<Sent>>,
}

impl Envelope for ToXmppEnvelope {
    type Receipt = Receipt;

    fn receipt(&self) -> Receipt {
        let presence = match &self.cargo {
            Cargo::Message(_) => None,
            Cargo::Presence { sent, .. } => Some(sent.clone()),
        };
        Receipt { pair: self.pair.clone(), sent_ms: self.sent_ms, sequence: self.sequence, presence }
    }
}

/// Travels with a request to a front end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToSipEnvelope {
    pub pair: PairKey,
    pub serial: u64,
    /// Which machine of the pair sent it; `None`: it is a MESSAGE.
    pub event: Option<Half>,
    /// Milliseconds of Unix time at which it left the pair.
    pub sent_ms: u64,
    /// What it was judged by; a notice needs no permit.
    pub judged: Option<Judged>,
    /// The message of the contact that it brings.
    pub brings: Option<MessageNumber>,
}

impl ToSipEnvelope {
    /// It is a notification of a batch, which has no contact: its user's name stands for both.
    fn is_of_batch(&self) -> bool {
        self.pair.sip_user() == self.pair.contact()
    }
}

/// What is needed to judge a message again that had to wait for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// Policy generation of the permit it left the pair under.
    pub generation: u64,
    /// The pair's consent at that time.
    pub consent: Consent,
    pub kind: Kind,
    /// Whether the partner had proved itself by certificate when the stanza came that this passes on; `None`: what holds
    /// when it leaves counts.
    pub proved: Option<bool>,
}

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

/// A SIP connection as others find it.
#[derive(Debug, Clone)]
struct SipLink {
    port: Arc<SipPort>,
    peer: SipPeer,
    carries: Arc<Carries>,
}

/// What does not change while the gateway runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Goes into every id we make.
    pub node_label: CompactString,
    /// The key of the checks in stanza ids.
    pub node_key: stanza_id::Key,
    /// Our name in Via, Contact and `ms-diagnostics` (host, or host:port).
    pub sip_name: CompactString,
    /// What our domains say of themselves.
    pub about: About,
    /// What goes into stanzas beside plain text.
    pub formats: Formats,
    /// Longest MESSAGE we send, in octets (DEC-11).
    pub message_cap: Option<usize>,
    pub pair: PairConfig,
    pub presence: PresenceConfig,
    /// Subscriptions on the SIP side, in both roles.
    pub events: EventConfig,
    /// Sessions there, in both roles.
    pub sessions: SessionConfig,
    /// What we are to front ends for partners of some types; for all others, what stands above.
    pub identities: Vec<SipIdentity>,
    pub places: PlaceLimits,
    /// So many pairs do something in a second that many pairs have to do: those of the process before this one take up
    /// their work, or the contacts of a partner that was lost are asked anew.
    pub restart_rate: u32,
    /// How long the store may say nothing before those who wait for it go on without.
    pub store_patience: Duration,
    pub lane: LaneConfig,
    /// When quiet streams are probed, given up and closed. `keep_alive` is for partners that have it on.
    pub quiet: Quiet,
    /// Dialback keys that may be verified.
    pub verify: VerifyLimits,
    /// Most streams at a time with all partners, whoever opens them.
    pub streams: usize,
    /// The same, with a partner of whom nothing else is said.
    pub streams_per_partner: usize,
    /// Entries in the list of refused domains.
    pub refused_domains: usize,
    /// How addresses of users appear in logs.
    pub privacy: Privacy,
    /// When this process started, in milliseconds of Unix time. Answers to older pings prove nothing.
    pub started_ms: u64,
}

/// The gateway: shared by all connections.
pub struct Gateway {
    settings: Settings,
    policy: ArcSwap<Snapshot>,
    federation: ArcSwap<Federation>,
    proved: proved::Proved,
    verifying: Arc<verifying::Verifying>,
    remotes: DashMap<CompactString, Arc<Remote>>,
    living: Arc<living::LivingStreams>,
    blocked_networks: ArcSwap<Vec<crate::config::Network>>,
    streams: Arc<streams::StreamCounter>,
    connections: DashMap<ConnectionId, SipLink>,
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
    no_sessions: no_sessions::NoSessions,
    store: Arc<dyn Keep>,
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
            dialogs: Dialogs::default(),
            no_sessions: no_sessions::NoSessions::default(),
            batches: batches::Batches::new(&settings.events),
            proved: proved::Proved::new(store.proved()),
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
            remotes: DashMap::new(),
            living: Arc::default(),
            blocked_networks: ArcSwap::default(),
            streams: Arc::default(),
            connections: DashMap::new(),
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

    /// Makes a SIP connection known, so that answers find it.
    pub fn register_connection(
        &self,
        peer: SipPeer,
        connection: Connection<Outgoing<ToSipEnvelope>>,
    ) -> (ConnectionId, Arc<SipPort>, Arc<Carries>) {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let port = Arc::new(Port::new(connection));
        let carries = Arc::new(Carries::default());
        let link = SipLink { port: Arc::clone(&port), peer, carries: Arc::clone(&carries) };
        self.connections.insert(id, link);
        (id, port, carries)
    }

    /// A SIP connection ended. It is remembered while requests that came on it wait for their answer,
    /// which then goes another way (RFC 3261 §18.2.2).
    pub fn forget_connection(&self, id: ConnectionId) {
        self.connections.remove_if(&id, |_, link| {
            // What a stranger was not answered goes nowhere else.
            matches!(link.peer, SipPeer::Unlisted(_)) || link.port.step(|connection| connection.is_idle())
        });
    }

    pub fn policy(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.policy.load()
    }

    /// Puts a new policy in force. What crosses from now on is judged under it, also what has waited; subscriptions and sessions
    /// that it forbids end as an errand.
    pub fn set_policy(&self, policy: Snapshot) {
        self.policy.store(Arc::new(policy));
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

    /// A fresh name that nobody can guess: the node's label and 128 random bits. For tags, branches, Call-IDs
    /// and stream ids; a pool finds the node by its label.
    pub fn token(&self) -> CompactString {
        let mut token = CompactString::with_capacity(self.settings.node_label.len() + 33);
        token.push_str(&self.settings.node_label);
        token.push('.');
        for random in [self.random(), self.random()] {
            let digits = hex(random);
            token.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        }
        token
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

/// Sixteen digits, by arithmetic on all of them at a time rather than one by one: tokens are made for each message.
fn hex(number: u64) -> [u8; 16] {
    const LOW: u128 = 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    // One nibble into each byte: halves, quarters, … move apart.
    let mut nibbles = u128::from(number);
    for (shift, mask) in [
        (32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff_u128),
        (16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff),
        (4, LOW),
    ] {
        nibbles = (nibbles | nibbles << shift) & mask;
    }
    // 6 lifts the digits from `a` on over the next sixteen.
    let letters = ((nibbles + 6 * ONES) >> 4) & ONES;
    (nibbles + u128::from(b'0') * ONES + u128::from(b'a' - b'0' - 10) * letters).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_writes_what_the_formatter_writes() {
        for number in [0, 1, 9, 10, 15, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 1 << 63] {
            assert_eq!(std::str::from_utf8(&hex(number)), Ok(format!("{number:016x}").as_str()));
        }
    }
}
