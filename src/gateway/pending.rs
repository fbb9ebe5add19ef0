//! Messages of contacts that wait for people: a SIP user may let an invitation ring for a minute. Each of them is noted in the
//! store, without what it says. From then on its stream need not wait for what becomes of it (XEP-0198), and if the process
//! ends before it has come to its end, the next one tells its sender.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_translate::errors::{UNIFORM_REFUSAL, XmppFailure};
use nuncio_translate::judge::{Consent, judge};
use nuncio_translate::pair::PairKey;
use nuncio_xmpp::{Condition, Element, Jid, StanzaKind, write_error};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::errands::STEP;
use super::hops::message_of;
use super::{Cargo, Gateway, LanePort, ToXmppEnvelope, Unsettled};
use crate::store::{Keep, Outcome, PendingMessage, Ticket};

/// How long it is not tried again to tell a sender whose server could not be reached.
const LATER: Duration = Duration::from_secs(60);

/// The same where it was his server's turn, and a rule forbade it: another one may hold by now.
const SOON: Duration = Duration::from_secs(1);

/// For so long it is tried. Then he has given it up, or his server is no more.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);

/// The messages that are noted.
pub(super) struct Pending {
    store: Arc<dyn Keep>,
    next: AtomicU64,
    inner: Mutex<Inner>,
    /// Rings when [`Pending::deadline`] may have come closer.
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Not on the disk yet, oldest first.
    unsaved: VecDeque<Unsaved>,
    /// What senders are to be told, by the time before which that is not tried, and the number of the message.
    to_say: BTreeMap<(Instant, u64), Word>,
    /// The same, in a lane; or written, and the partner has not confirmed it.
    under_way: HashMap<u64, Word>,
    /// Senders who have been told, as far as can be known by then.
    told: VecDeque<(Instant, u64)>,
}

#[derive(Debug)]
struct Unsaved {
    ticket: Ticket,
    waits: Waits,
    since: Instant,
}

/// The stanza, as its stream waits for it: until it is noted, or has come to its end.
type Waits = Arc<Mutex<Option<Unsettled>>>;

/// What the sender of a message that is noted is owed.
#[derive(Debug)]
struct Word {
    message: PendingMessage,
    /// The error. `None`: that the process ended while the message waited.
    error: Option<Vec<u8>>,
    /// When it was tried first.
    tried: Option<Instant>,
}

/// A message that is noted: it travels with what its sender is owed. Merely dropped it stays on record, for the process may be
/// about to end, and the next one to tell him.
pub(super) struct Noted {
    pending: Arc<Pending>,
    number: u64,
    message: PendingMessage,
    waits: Waits,
}

impl Pending {
    pub(super) fn new(store: Arc<dyn Keep>, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { store, next: AtomicU64::new(1), inner: Mutex::default(), wake })
    }

    /// Notes a message. Its stream waits for it until it is on the disk; if it does not get there, to its end.
    pub(super) fn note(
        self: &Arc<Self>,
        stanza: &Element,
        unsettled: Option<Unsettled>,
        arrival: Moment,
        now: Moment,
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
        let ticket = self.store.note_pending(number, message.clone());
        if is_awaited {
            inner.unsaved.push_back(Unsaved { ticket, waits: Arc::clone(&waits), since: now.instant });
        }
        drop(inner);
        Noted { pending: Arc::clone(self), number, message, waits }
    }

    /// The store is done with all tickets up to this one. What it could not write now, nobody relies on: its stream waits on.
    pub(super) fn committed(&self, up_to: Ticket, outcome: Outcome) {
        let mut done = Vec::new();
        let mut inner = self.inner.lock();
        while let Some(unsaved) = inner.unsaved.pop_front_if(|unsaved| unsaved.ticket <= up_to) {
            done.push(unsaved.waits);
        }
        drop(inner);
        if outcome == Outcome::Saved {
            done.iter().for_each(|waits| drop(waits.lock().take()));
        }
    }

    /// Since when somebody has waited for the store to write his message down.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.inner.lock().unsaved.front().map(|unsaved| unsaved.since)
    }

    /// When [`Gateway::tell_pending`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let inner = self.inner.lock();
        let said = inner.told.front().map(|(at, _)| *at);
        inner.to_say.first_key_value().map(|((at, _), _)| *at).into_iter().chain(said).min()
    }

    /// Takes over what the process before this one left, to be said one after the other; how many there are.
    fn take_over(&self, spread: Duration, now: Moment) -> usize {
        let left = self.store.pending();
        let latest = left.iter().map(|(number, _)| *number).max().unwrap_or_default();
        self.next.fetch_max(latest + 1, Ordering::Relaxed);
        let (count, mut at) = (left.len(), now.instant);
        let mut inner = self.inner.lock();
        for (number, message) in left {
            inner.to_say.insert((at, number), Word { message, error: None, tried: None });
            at += spread;
        }
        count
    }

    /// Puts what a sender is to be told into the lane to him, which says what becomes of it.
    fn say(&self, number: u64, word: Word, bytes: Vec<u8>, lane: &LanePort, now: Moment) {
        let Some(pair) = word.pair() else { return self.clear(number) };
        let envelope = ToXmppEnvelope {
            pair,
            cargo: Cargo::Failure(number),
            sent_ms: now.unix_ms,
            sequence: 0,
            generation: 0,
            refused: None,
            asks: None,
            expires_ms: u64::MAX,
        };
        // First, for the lane may be quick.
        self.inner.lock().under_way.insert(number, word);
        if lane.feed(|lane| lane.push(bytes, envelope, now.instant)).is_err() {
            self.was_not_said(number, now.instant + LATER);
        }
    }

    /// It is to be tried again, not before that.
    fn was_not_said(&self, number: u64, at: Instant) {
        let mut inner = self.inner.lock();
        let Some(word) = inner.under_way.remove(&number) else { return };
        inner.told.retain(|(_, told)| *told != number);
        inner.to_say.insert((at, number), word);
        drop(inner);
        self.wake.notify_one();
    }

    /// Nobody is owed anything of it any more.
    fn clear(&self, number: u64) {
        self.inner.lock().under_way.remove(&number);
        self.store.clear_pending(number);
    }
}

impl Noted {
    /// The message has come to its end, and its sender is owed no word of it.
    pub(super) fn done(self) {
        self.pending.store.clear_pending(self.number);
    }

    /// It has come to nothing. This tells its sender, who may have an acknowledgement of it: so it must not be lost.
    pub(super) fn say(&self, error: Vec<u8>, lane: &LanePort, now: Moment) {
        let (message, tried) = (self.message.clone(), Some(now.instant));
        let word = Word { message, error: Some(error.clone()), tried };
        self.pending.say(self.number, word, error, lane, now);
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        drop(self.waits.lock().take());
    }
}

impl Word {
    fn pair(&self) -> Option<PairKey> {
        let (from, to) = (Jid::parse(&self.message.sender).ok()?, Jid::parse(&self.message.recipient).ok()?);
        Some(PairKey::new(to.bare_str(), from.bare_str()))
    }

    fn in_words_of(&self, failure: &XmppFailure) -> Vec<u8> {
        let PendingMessage { sender, recipient, stanza_id, .. } = &self.message;
        let (mut bytes, id) = (Vec::new(), stanza_id.as_deref());
        let (kind, condition, text) = (failure.kind, failure.condition, failure.text.as_deref());
        let (from, to) = (Some(&**recipient), Some(&**sender));
        write_error(&mut bytes, StanzaKind::Message, from, to, id, kind, condition, text, None);
        bytes
    }
}

impl Gateway {
    /// Takes over the messages that waited for people when the process before this one ended.
    pub(super) fn restore_pending(&self, now: Moment) {
        let left = self.pending.take_over(self.spread(), now);
        if left > 0 {
            warn!(
                messages = left,
                "the process before this one ended while messages of contacts waited for users to answer invitations, or before \
                 their senders were told what became of them: they are told that they may not have been delivered"
            );
        }
    }

    /// Tells some senders what they are owed.
    pub(super) fn tell_pending(&self, now: Moment) {
        let (mut done, mut due) = (Vec::new(), Vec::new());
        let mut inner = self.pending.inner.lock();
        while let Some((_, number)) = inner.told.pop_front_if(|(at, _)| *at <= now.instant) {
            done.push(number);
        }
        while due.len() < STEP
            && let Some(first) = inner.to_say.first_entry().filter(|first| first.key().0 <= now.instant)
        {
            let ((_, number), word) = first.remove_entry();
            due.push((number, word));
        }
        drop(inner);
        done.into_iter().for_each(|number| self.pending.clear(number));
        for (number, word) in due {
            self.tell_sender_of(number, word, now);
        }
    }

    fn tell_sender_of(&self, number: u64, mut word: Word, now: Moment) {
        let policy = self.policy.load();
        let is_known = |key: &PairKey| {
            policy.partner(key.remote_domain()).is_some() && policy.serves(key.local_domain())
        };
        let Some(key) = word.pair().filter(is_known) else {
            info!(
                since = word.message.since,
                "the sender of a message that waited cannot be told what became of it: his \
                domain is no partner any more, or the user's not ours"
            );
            return self.pending.clear(number);
        };
        if word.tried.is_none() {
            self.counters.xmpp_to_sip_failed.add(1);
        }
        if now.instant.saturating_duration_since(*word.tried.get_or_insert(now.instant)) >= GIVEN_UP {
            let (id, user, contact) =
                (self.id_of_pair(&key), self.shown(key.sip_user()), self.shown(key.contact()));
            warn!(%id, %user, %contact, since = word.message.since,
                "the sender of a message that waited was not told what became of it: his server could not be reached for a day");
            return self.pending.clear(number);
        }
        // Whom the rules forbid is told what everybody is told whom they forbid.
        let mut consent = Consent::default();
        let remote = self.remote(key.remote_domain());
        let look = |_: &PairKey, pair: &mut super::Pair| consent = *pair.consent();
        if let Err(lost) =
            remote.pairs.with_existing(key.as_str(), &self.settings.pair, &self.timers, now, look)
        {
            self.pair_lost(key.as_str(), lost, now);
        }
        let bytes = match (judge(&policy, &message_of(&key), &consent, now.unix()), &word.error) {
            (Err(_), _) => word.in_words_of(&UNIFORM_REFUSAL),
            (Ok(_), Some(error)) => error.clone(),
            (Ok(_), None) => word.in_words_of(&interrupted()),
        };
        let lane = self.lane(key.local_domain(), key.remote_domain());
        self.pending.say(number, word, bytes, &lane, now);
    }

    /// What a sender is owed has been written. He is told, unless the stream ends before his server has confirmed it.
    pub(super) fn sender_was_told(&self, number: u64, pair: &PairKey, now: Moment) {
        let mut inner = self.pending.inner.lock();
        let was_left = inner.under_way.get(&number).filter(|word| word.error.is_none());
        let since = was_left.map(|word| word.message.since);
        inner.told.push_back((now.instant + self.settings.lane.ping_timeout, number));
        drop(inner);
        self.pending.wake.notify_one();
        if let Some(since) = since {
            let (id, user, contact) =
                (self.id_of_pair(pair), self.shown(pair.sip_user()), self.shown(pair.contact()));
            info!(%id, %user, %contact, since,
                "message of a contact may not have been delivered: the process ended while it waited; its sender is told");
        }
    }

    /// He may not have been: once more, later.
    pub(super) fn sender_was_not_told(&self, number: u64, now: Moment) {
        self.pending.was_not_said(number, now.instant + LATER);
    }

    /// It was not to leave when its turn came.
    pub(super) fn sender_must_not_be_told(&self, number: u64, now: Moment) {
        self.pending.was_not_said(number, now.instant + SOON);
    }

    /// It will never fit.
    pub(super) fn sender_cannot_be_told(&self, number: u64, pair: &PairKey, limit: usize) {
        let (id, user, contact) =
            (self.id_of_pair(pair), self.shown(pair.sip_user()), self.shown(pair.contact()));
        warn!(%id, %user, %contact, limit,
            "the sender of a message that waited is not told what became of it: even the error is larger than his server takes");
        self.pending.clear(number);
    }
}

fn interrupted() -> XmppFailure {
    XmppFailure::new(
        Condition::InternalServerError,
        "the gateway was interrupted while the message waited for the user; it may not have been delivered",
    )
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Noted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Noted").field("number", &self.number).finish_non_exhaustive()
    }
}
