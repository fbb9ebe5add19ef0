//! Batched subscriptions: one dialog with a front end, and one watcher in each pair.
//!
//! A batch owns the dialog ([`Batch`]) and is, for each of its members, the endpoint of the SIP user that watches. The members'
//! dialogs are between it and the pairs and never leave this process, so everything that holds for an endpoint holds
//! for a member: trust, policy, consent, pace. What a pair would send to a front end comes here instead.
//!
//! Locks: a pair's guard may be held when a batch is locked, never the other way round. What a batch wants of pairs is
//! taken down under its lock and done after it.
//!
//! A batch does not outlive the process. It lasts for an hour at most, so that a front end that has not heard of a crash
//! learns of it soon.

mod dialog;
mod ends;
mod members;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use dashmap::DashMap;
use nuncio_sip::connection::ServerTxn;
use nuncio_sip::event::{EventConfig, Extras};
use nuncio_translate::batch::Batch;
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;

pub(super) use dialog::is_batch;
pub(super) use ends::Visit;

use super::Judged;
use super::prints::{PrintMap, Prints};

/// Seconds that a batch lasts at most without being refreshed.
const LASTS: u32 = 3600;
/// So much longer lasts what a member holds with his pair, in seconds: it is the batch that ends it.
const MEMBERS_LAST: u32 = LASTS + 300;
/// Batches of one SIP user; with one more the oldest ends.
const PER_USER: usize = 16;
/// Members are paced by their pairs; this puts together what comes at once.
const INTERVAL: Duration = Duration::from_secs(1);

/// All batches.
#[derive(Debug)]
pub(super) struct Batches {
    events: EventConfig,
    prints: Prints,
    /// By the tag of the dialog with the front end.
    held: DashMap<CompactString, Arc<Mutex<Held>>>,
    /// By the tag of a member's dialog with his pair: the batch's tag, and the member's number in it.
    members: PrintMap<(CompactString, u32)>,
    /// The tags of each user's batches, the oldest first.
    users: DashMap<CompactString, Vec<CompactString>>,
}

/// One batch.
#[derive(Debug)]
struct Held {
    machine: Batch<Permitted>,
    /// It counts among those that its user may have.
    counts: bool,
    /// A stop of the process ends it: its members' pairs end what these hold, and no contact hears of it.
    stopping: bool,
    /// It wants to be told of its members again.
    gathers: bool,
    /// Whose it is. There is no contact: the user's name stands for both.
    key: PairKey,
    /// The front end that holds the dialog, by name.
    front_end: CompactString,
    /// Members that watch, by number.
    watching: BTreeMap<u32, Watching>,
    /// Members who are refused: nobody asks for them again unless they are named again, or what refuses them changes.
    refused: BTreeMap<u32, Refusing>,
    /// Of the last requests to members' pairs.
    cseq: u32,
    /// Of the last SUBSCRIBE: what its members ask for is asked for in its name.
    transaction: ServerTxn,
    armed: Option<Instant>,
}

/// What refuses a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusing {
    /// His pair has ended it so, or there is nobody of that name.
    Himself,
    /// The rules of the policy of this generation.
    Policy(u64),
}

/// A member's dialog with his pair.
#[derive(Debug, Clone)]
struct Watching {
    tag: CompactString,
    pair: PairKey,
}

/// What has to be judged again when a member's document does not leave at once.
#[derive(Debug)]
struct Permitted {
    pair: PairKey,
    judged: Option<Judged>,
}

impl Batches {
    /// With the settings of all other subscriptions.
    pub(super) fn new(events: &EventConfig) -> Self {
        let max_expires = events.max_expires.min(LASTS);
        let default_expires = events.default_expires.min(max_expires);
        // What members hold with their pairs does not extend itself.
        let gives = Extras { autoextend: false, ..events.gives };
        let notify_interval = INTERVAL;
        let events = EventConfig { max_expires, default_expires, notify_interval, gives, ..events.clone() };
        Self {
            events,
            prints: Prints::default(),
            held: DashMap::new(),
            members: PrintMap::default(),
            users: DashMap::new(),
        }
    }

    fn get(&self, tag: &str) -> Option<Arc<Mutex<Held>>> {
        self.held.get(tag).map(|held| Arc::clone(&held))
    }

    /// Takes in a batch. Returns the one that has to end for it.
    fn insert(&self, tag: &CompactString, user: &str, held: Held) -> Option<CompactString> {
        let counts = held.counts;
        self.held.insert(tag.clone(), Arc::new(Mutex::new(held)));
        if !counts {
            return None;
        }
        let mut tags = self.users.entry(user.into()).or_default();
        tags.push(tag.clone());
        (tags.len() > PER_USER).then(|| tags.remove(0))
    }

    fn remove(&self, tag: &str) {
        let Some((_, held)) = self.held.remove(tag) else { return };
        let user = held.lock().key.sip_user().to_owned();
        self.users.remove_if_mut(user.as_str(), |_, tags| {
            tags.retain(|other| other != tag);
            tags.is_empty()
        });
    }

    /// The batch and the number of the member with this tag.
    fn member(&self, tag: &str) -> Option<(Arc<Mutex<Held>>, u32)> {
        let (batch, number) = self.members.get(&self.prints.of(tag)).map(|member| member.clone())?;
        Some((self.get(&batch)?, number))
    }

    /// All of them, in an order that a simulation can repeat.
    fn all(&self) -> Vec<(CompactString, Arc<Mutex<Held>>)> {
        let mut all: Vec<_> = self.held.iter().map(|held| (held.key().clone(), Arc::clone(&held))).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Whether one has ended whose front end has not answered yet.
    pub(super) fn any_is_ending(&self) -> bool {
        self.all().iter().any(|(_, held)| held.lock().machine.has_ended())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    fn bind(&self, member: &str, batch: &CompactString, number: u32) {
        self.members.insert(self.prints.of(member), (batch.clone(), number));
    }

    fn release(&self, member: &str) {
        self.members.remove(&self.prints.of(member));
    }
}
