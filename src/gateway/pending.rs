//! Messages of contacts that wait for people: a SIP user may let an invitation ring for a minute. Each of them is noted in the
//! store, without what it says. From then on its stream need not wait for what becomes of it (XEP-0198), and if the process
//! ends before it has come to its end, the next one tells its sender.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use nuncio_xmpp::{Condition, Element, Jid, ns, write_error_reply};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::errands::STEP;
use super::timers::Due;
use super::{Cargo, Gateway, ToXmppEnvelope, Unsettled};
use crate::store::{Keep, Outcome, PendingMessage, Ticket};

/// How long it is not tried again to tell senders whose server could not be reached.
const LATER: Duration = Duration::from_secs(60);

/// Nobody is told of a message that came longer ago, in seconds: its sender has given it up, or has it delivered long since.
const TOO_OLD: u64 = 24 * 3600;

/// The messages that are noted.
pub(super) struct Pending {
    store: Arc<dyn Keep>,
    next: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Not on the disk yet, oldest first, with what is settled then.
    unsaved: VecDeque<(Ticket, Waits)>,
    /// Those of the process before this one whose senders are to be told.
    left: VecDeque<(u64, PendingMessage)>,
    /// The same, in the next round: it could not be said now.
    later: VecDeque<(u64, PendingMessage)>,
    /// What is said of them waits in a lane, or has been written, and the partner has not confirmed it.
    under_way: HashMap<u64, PendingMessage>,
    /// Their senders have been told, as far as can be known by then.
    told: VecDeque<(Instant, u64)>,
}

/// The stanza, as its stream waits for it: until it is noted, or has come to its end.
type Waits = Arc<Mutex<Option<Unsettled>>>;

/// A message that is noted, until this is dropped: it travels with what its sender is owed.
pub(super) struct Noted {
    pending: Arc<Pending>,
    number: u64,
    waits: Waits,
    /// It has not come to its end: the next process is to find it.
    stays: bool,
}

impl Pending {
    pub(super) fn new(store: Arc<dyn Keep>) -> Arc<Self> {
        Arc::new(Self { store, next: AtomicU64::new(1), inner: Mutex::default() })
    }

    /// Notes a message. Its stream waits for it until it is on the disk; if it does not get there, to its end.
    pub(super) fn note(
        self: &Arc<Self>,
        stanza: &Element,
        unsettled: Option<Unsettled>,
        arrival: Moment,
    ) -> Noted {
        let text = |name| stanza.attr(name).unwrap_or_default().into();
        let message = PendingMessage {
            sender: text("from"),
            recipient: text("to"),
            stanza_id: stanza.attr("id").map(Into::into),
            since: arrival.unix(),
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let is_awaited = unsettled.is_some();
        let waits = Arc::new(Mutex::new(unsettled));
        // Held over both steps, so that the store cannot report the ticket before it stands here.
        let mut inner = self.inner.lock();
        let ticket = self.store.note_pending(number, message);
        if is_awaited {
            inner.unsaved.push_back((ticket, Arc::clone(&waits)));
        }
        drop(inner);
        Noted { pending: Arc::clone(self), number, waits, stays: false }
    }

    /// The store is done with all tickets up to this one. What it could not write now, nobody relies on: its stream waits on.
    pub(super) fn committed(&self, up_to: Ticket, outcome: Outcome) {
        let mut done = Vec::new();
        let mut inner = self.inner.lock();
        while let Some((_, waits)) = inner.unsaved.pop_front_if(|(ticket, _)| *ticket <= up_to) {
            done.push(waits);
        }
        drop(inner);
        if outcome == Outcome::Saved {
            done.iter().for_each(|waits| drop(waits.lock().take()));
        }
    }

    /// Takes over what the process before this one left; how many.
    fn take_over(&self) -> usize {
        let left = self.store.pending();
        let latest = left.iter().map(|(number, _)| *number).max().unwrap_or_default();
        self.next.fetch_max(latest + 1, Ordering::Relaxed);
        let mut inner = self.inner.lock();
        inner.left.extend(left);
        inner.left.len()
    }
}

impl Noted {
    /// The process is about to end, and nobody will tell its sender any more: the next one is to do it.
    pub(super) fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        drop(self.waits.lock().take());
        if !self.stays {
            self.pending.store.clear_pending(self.number);
        }
    }
}

impl Gateway {
    /// Takes over the messages that waited for people when the process before this one ended.
    pub(super) fn restore_pending(&self, now: Moment) {
        let left = self.pending.take_over();
        if left > 0 {
            warn!(
                messages = left,
                "the process before this one ended while messages of contacts waited for users to answer invitations: their \
                 senders are told that they may not have been delivered"
            );
            self.timers.schedule(now.instant, Due::Pending);
        }
    }

    /// Tells some senders of messages that the process before this one left.
    pub(super) fn tell_pending(&self, now: Moment) {
        let (done, untold): (Vec<_>, Vec<_>) = {
            let mut inner = self.pending.inner.lock();
            let told = std::iter::from_fn(|| inner.told.pop_front_if(|(at, _)| *at <= now.instant));
            let told: Vec<_> = told.map(|(_, number)| number).collect();
            let done = told.into_iter().filter(|number| inner.under_way.remove(number).is_some()).collect();
            let most = inner.left.len().min(STEP);
            (done, inner.left.drain(..most).collect())
        };
        for number in done {
            self.pending.store.clear_pending(number);
        }
        for (number, message) in untold {
            // First, for the lane may be quick.
            self.pending.inner.lock().under_way.insert(number, message.clone());
            let telling = self.tell_sender_of(number, &message, now);
            let mut inner = self.pending.inner.lock();
            match telling {
                Telling::UnderWay => {}
                Telling::Nobody => {
                    inner.under_way.remove(&number);
                    self.pending.store.clear_pending(number);
                }
                Telling::NotNow => {
                    inner.under_way.remove(&number);
                    inner.later.push_back((number, message));
                }
            }
        }
        let mut inner = self.pending.inner.lock();
        let mut next = inner.told.front().map(|(at, _)| *at);
        let again = match (inner.left.is_empty(), inner.later.is_empty()) {
            (false, _) => Some(now.instant + self.spread()),
            (true, false) => {
                inner.left = std::mem::take(&mut inner.later);
                Some(now.instant + LATER)
            }
            (true, true) => None,
        };
        next = next.into_iter().chain(again).min();
        drop(inner);
        if let Some(next) = next {
            self.timers.schedule(next, Due::Pending);
        }
    }

    fn tell_sender_of(&self, number: u64, message: &PendingMessage, now: Moment) -> Telling {
        let (Ok(from), Ok(to)) = (Jid::parse(&message.sender), Jid::parse(&message.recipient)) else {
            return Telling::Nobody;
        };
        let key = PairKey::new(to.bare_str(), from.bare_str());
        let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
        let policy = self.policy.load();
        let is_known = policy.partner(key.remote_domain()).is_some() && policy.serves(key.local_domain());
        if !is_known || message.since.saturating_add(TOO_OLD) < now.unix() {
            info!(%user, %contact, since = message.since, "the sender of a message that waited when the process ended \
                cannot be told: his domain is no partner any more, or the user's not ours, or it came more than a day ago");
            return Telling::Nobody;
        }
        let mut stanza = Element::new("message", ns::SERVER)
            .with_attr("from", &message.sender)
            .with_attr("to", &message.recipient);
        if let Some(id) = &message.stanza_id {
            stanza = stanza.with_attr("id", id.as_str());
        }
        let mut bytes = Vec::new();
        let (condition, words) = (Condition::InternalServerError, Some(INTERRUPTED));
        if !write_error_reply(&mut bytes, &stanza, condition.default_type(), condition, words, None) {
            return Telling::Nobody;
        }
        let envelope = ToXmppEnvelope {
            cargo: Cargo::Failure(number),
            sent_ms: now.unix_ms,
            sequence: 0,
            generation: policy.generation(),
            refused: None,
            asks: None,
            expires_ms: u64::MAX,
            pair: key.clone(),
        };
        let lane = self.lane(to.domain(), from.domain());
        if lane.feed(|lane| lane.push(bytes, envelope, now.instant)).is_err() {
            return Telling::NotNow;
        }
        self.counters.xmpp_to_sip_failed.add(1);
        let id = self.id_of_pair(&key);
        info!(%id, %user, %contact, since = message.since,
            "message of a contact may not have been delivered: the process ended while it waited; its sender is told");
        Telling::UnderWay
    }

    /// The sender of a message that the process before this one left has been told, unless the stream ends before its server
    /// has confirmed that.
    pub(super) fn sender_was_told(&self, number: u64, now: Moment) {
        let at = now.instant + self.settings.lane.ping_timeout;
        let mut inner = self.pending.inner.lock();
        let first = inner.told.is_empty();
        inner.told.push_back((at, number));
        drop(inner);
        if first {
            self.timers.schedule(at, Due::Pending);
        }
    }

    /// He may not have been: once more, later.
    pub(super) fn sender_was_not_told(&self, number: u64, now: Moment) {
        let mut inner = self.pending.inner.lock();
        let Some(message) = inner.under_way.remove(&number) else { return };
        inner.told.retain(|(_, told)| *told != number);
        let first = inner.left.is_empty();
        inner.left.push_back((number, message));
        drop(inner);
        if first {
            self.timers.schedule(now.instant + LATER, Due::Pending);
        }
    }
}

/// How it went with the sender of a message.
enum Telling {
    /// The lane says what becomes of it.
    UnderWay,
    /// There is nobody to be told.
    Nobody,
    /// His server cannot be reached, or has as much waiting as it may.
    NotNow,
}

const INTERRUPTED: &str =
    "the gateway was interrupted while the message waited for the user; it may not have been delivered";

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Noted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Noted")
            .field("number", &self.number)
            .field("stays", &self.stays)
            .finish_non_exhaustive()
    }
}
