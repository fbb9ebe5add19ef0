//! A pair: one SIP user and one XMPP contact, and everything between the two.
//!
//! The pair keeps the order of what goes to the SIP user: one MESSAGE is pending at a time (RFC 3428 §8),
//! the rest waits here as events and is judged again when it leaves. What goes to the contact keeps its
//! order in the lane. No pair ever needs the state of another.

mod backoff;
mod config;
mod contact_watches;
mod context;
mod key;
mod notices;
mod output;
mod presence;
mod receipts;
mod record;
mod reported;
pub mod roster;
mod salvage;
mod saved;
mod seldom;
mod sessions;
mod step;
#[cfg(test)]
mod tests;
mod user_watches;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nuncio_xmpp::Element;

pub use crate::judge::Added;
pub use config::PresenceConfig;
pub use context::{Budget, Context, Place};
pub use key::PairKey;
use notices::Notices;
pub use notices::{Cause, Notice};
pub use output::{AddedEnd, Asked, Attempt, BATCH, Ended, Fact, Half, Judged, Output, Request, Sent, ToXmpp};
use presence::Presence;
pub use presence::{Arrived, Routable, Subscribing};
pub use receipts::{Ask, KEPT_FOR, MOST_AWAITED, MOST_KEPT, MOST_REPORTS, Report, Telling};
use receipts::{Awaited, Kept};
pub use record::{From, NotifierRecord, PairRecord, SubscriberRecord, To};
pub use reported::LATEST_ERROR;
use reported::Reported;
pub use salvage::{Rescued, Salvage};
use saved::Saved;
use sessions::Sessions;
pub use sessions::{
    CONVERSATION_LASTS, Forbidden, Inviting, MOST_CONVERSATIONS, MOST_SESSIONS, Outcome, Saying,
    SessionState, SessionView, Settled, Way,
};

use crate::Moment;
use crate::judge::{Consent, Kind, PartnerType, Permit, REPLY_WINDOW};
use crate::receipt::Fate;
use crate::stanza_id::StanzaId;

/// So far from each other pairs of the same name begin to number what they send.
const SERIALS_APART: u64 = 1 << 20;

/// How long a message waits for a session before it is taken on, so that its stream need not wait for it.
const LONG: Duration = Duration::from_secs(2);

/// How long a message waits for a session at the most. What we begin ourselves comes to its end sooner, each time; but whoever
/// invites again and again, and never acknowledges, would have it wait for ever.
const LONGEST: Duration = Duration::from_secs(600);

/// Bounds of a pair.
#[derive(Debug, Clone)]
pub struct PairConfig {
    /// Most messages waiting for the SIP user, beside the one pending.
    pub queue: usize,
    /// How long a message may wait before its sender is told that it was not delivered.
    pub hold: Duration,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self { queue: 100, hold: Duration::from_secs(10) }
    }
}

/// One SIP user and one XMPP contact. `M` is a message of the contact, with whatever its caller ties to it.
#[derive(Debug)]
pub struct Pair<M = Element> {
    consent: Consent,
    serial: u64,
    saved: Saved,
    /// `None`: nothing is on its way to the SIP user. It stays for a while once there was something.
    talk: Option<Box<Talk<M>>>,
    presence: Option<Box<Presence>>,
}

/// Messages and notices for the SIP user.
#[derive(Debug)]
struct Talk<M> {
    waiting: VecDeque<Waiting<M>>,
    notices: Notices,
    /// Late errors that the SIP user was told of.
    reported: Reported,
    /// What he wants to know of his messages.
    awaited: Awaited,
    /// What he is to be told of them.
    reports: VecDeque<Report>,
    /// Messages of the contact that somebody keeps for him.
    kept: Kept,
    pending: Option<Pending<M>>,
    sessions: Sessions,
    /// What went in sessions, or waited for one, and came to its end.
    settled: VecDeque<Settled<M>>,
}

/// A message of the contact that waits for its turn.
#[derive(Debug)]
struct Waiting<M> {
    stanza: M,
    /// Since when it waits for what messages wait for.
    since: Instant,
    /// It has been on its way before, and surely was not processed.
    again: bool,
    /// In a session it was refused as something that does not go in sessions: it goes by itself.
    alone: bool,
    /// It is taken on: see [`Pair::waits_long`].
    taken_on: bool,
}

#[derive(Debug)]
struct Pending<M> {
    serial: u64,
    item: ToSip<M>,
    again: bool,
}

/// Something on its way to the SIP user.
#[derive(Debug)]
pub enum ToSip<M = Element> {
    /// A message of the contact.
    Message(M),
    /// Word from the gateway about messages the SIP user sent.
    Notice(Notice),
    /// The same about one message, as he asked for it.
    Report(Report),
}

/// What is next for the SIP user, see [`Pair::next_for_sip`].
#[derive(Debug, PartialEq, Eq)]
pub enum NextForSip {
    /// One is pending, or there is nothing.
    Nothing,
    /// A message of the contact: judge it and call [`Pair::release`] or [`Pair::refuse`].
    Message,
    /// A notice, which needs no permit: call [`Pair::release_notice`].
    Notice,
    /// A report, which needs none either: call [`Pair::release_report`].
    Report,
}

impl<M> Default for Pair<M> {
    fn default() -> Self {
        Self { consent: Consent::default(), serial: 0, saved: Saved::default(), talk: None, presence: None }
    }
}

impl<M> Default for Talk<M> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            notices: Notices::default(),
            reported: Reported::default(),
            awaited: Awaited::default(),
            reports: VecDeque::new(),
            kept: Kept::default(),
            pending: None,
            sessions: Sessions::default(),
            settled: VecDeque::new(),
        }
    }
}

impl<M> Talk<M> {
    /// Nothing would be lost with it.
    fn is_nothing(&self, now: Moment) -> bool {
        self.pending.is_none()
            && self.waiting.is_empty()
            && self.notices.is_empty()
            && self.settled.is_empty()
            && self.sessions.is_empty()
            && self.reports.is_empty()
            && self.needed_for(now).is_none()
    }
}

impl<M> Talk<M> {
    /// How long what it remembers of messages may still be of use.
    fn needed_for(&self, now: Moment) -> Option<Duration> {
        let of_user = self.reported.needed_for(now).max(self.awaited.needed_for(now));
        of_user.max(self.kept.needed_for(now.instant)).max(self.sessions.needed_for(now.instant))
    }
}

impl<M> Pair<M> {
    /// A new pair. `number` is larger than that of any earlier one with the same name in this process: the store may still
    /// have word for that one, see [`Pair::committed`], and so may front ends.
    pub fn numbered(number: u64) -> Self {
        // Requests of a session's may still be under way when it is over, and the pair with it.
        let serial = number.wrapping_mul(SERIALS_APART);
        Self { serial, saved: Saved::numbered(number), ..Self::default() }
    }

    pub fn consent(&self) -> &Consent {
        &self.consent
    }

    /// A message of the SIP user is on its way: from now on the contact may answer for a while. One that was refused, or for
    /// which there was no way, is nothing to answer.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is good for one crossing")]
    pub fn sip_user_writes(&mut self, permit: Permit, now: Moment) {
        self.consent.sip_user_wrote = Some(now.unix());
        // Nobody else needs it to be remembered.
        if permit.partner_type() == PartnerType::PublicUnverified && self.saved.wrote_lags(now.unix()) {
            self.saved.touch();
        }
    }

    /// A message of the contact arrived and was judged. It leaves by [`Pair::next_for_sip`], in order.
    ///
    /// # Errors
    /// The queue is full; the stanza comes back.
    pub fn contact_writes(
        &mut self,
        _permit: Permit,
        stanza: M,
        config: &PairConfig,
        now: Moment,
    ) -> Result<(), Box<M>> {
        let talk = self.talk.get_or_insert_default();
        if talk.waiting.len() >= config.queue {
            return Err(Box::new(stanza));
        }
        talk.waiting.push_back(Waiting {
            stanza,
            since: now.instant,
            again: false,
            alone: false,
            taken_on: false,
        });
        Ok(())
    }

    /// The SIP user is to be told that something he sent did not arrive, or may not have arrived.
    pub fn notify(&mut self, notice: Notice) {
        self.talk.get_or_insert_default().notices.add(notice);
    }

    /// The partner reports that the message which the SIP user sent under `id` came to nothing. Only the first
    /// report of a message is told, as the SIP user has asked for it, else as a notice; `false` says that this is a
    /// further one.
    pub fn late_error(&mut self, id: &StanzaId, cause: Cause) -> bool {
        let talk = self.talk.get_or_insert_default();
        let first = talk.reported.first(id);
        if first {
            talk.tell_failure(id, Notice::new(cause, id.sent));
        }
        first
    }

    /// The SIP user wants to know what becomes of a message that has been put on its lane.
    pub fn awaits(&mut self, ask: Ask) {
        self.talk.get_or_insert_default().awaited.add(ask);
    }

    /// The message was refused: he knows, and hears no more of it (RFC 5438 §12.1.3.1).
    pub fn awaits_no_more(&mut self, sequence: u64) {
        if let Some(talk) = &mut self.talk {
            talk.awaited.forget(sequence);
        }
    }

    /// A message of the contact was answered with 202: somebody keeps it under this id. `stanza` is what is left of it, for
    /// its sender to be answered.
    pub fn kept(&mut self, message_id: &str, stanza: Element, now: Moment) {
        self.talk.get_or_insert_default().kept.add(message_id, stanza, now.instant);
    }

    /// There is word of the message that is kept under this id. Given out once.
    pub fn take_kept(&mut self, message_id: &str, now: Moment) -> Option<Element> {
        self.talk.as_mut()?.kept.take(message_id, now.instant)
    }

    /// The contact says what became of the message that the SIP user sent under `id`.
    pub fn told(&mut self, id: &StanzaId, fate: Fate) -> Telling {
        self.talk.as_mut().map_or(Telling::Nobody, |talk| match talk.awaited.told(id, fate) {
            Some(report) => talk.tell(report),
            None => Telling::Nobody,
        })
    }

    /// What leaves next. Notices go first: they speak of what happened before.
    pub fn next_for_sip(&self) -> NextForSip {
        match &self.talk {
            Some(talk) if talk.pending.is_some() || talk.sessions.must_wait() => NextForSip::Nothing,
            Some(talk) if !talk.notices.is_empty() => NextForSip::Notice,
            Some(talk) if !talk.reports.is_empty() => NextForSip::Report,
            Some(talk) if !talk.waiting.is_empty() => NextForSip::Message,
            _ => NextForSip::Nothing,
        }
    }

    /// Lets the next message leave under `permit`. It is pending until [`Pair::settled`] names its serial.
    pub fn release(&mut self, permit: Permit) -> Option<(u64, &M)> {
        self.release_judged(permit).map(|(serial, _, stanza)| (serial, stanza))
    }

    /// The same for one that goes in a session by [`Pair::say`], with what it was judged by.
    pub fn release_judged(&mut self, permit: Permit) -> Option<(u64, Judged, &M)> {
        let talk = self.talk.as_mut().filter(|talk| talk.pending.is_none())?;
        let Waiting { stanza, again, .. } = talk.waiting.pop_front()?;
        let judged = Judged::new(permit, Kind::Message);
        match talk.pend(&mut self.serial, ToSip::Message(stanza), again) {
            (serial, ToSip::Message(stanza)) => Some((serial, judged, stanza)),
            (_, ToSip::Notice(_) | ToSip::Report(_)) => None,
        }
    }

    /// Takes out the next message, which may not leave.
    pub fn refuse(&mut self) -> Option<M> {
        self.talk.as_mut()?.waiting.pop_front().map(|waiting| waiting.stanza)
    }

    /// Lets the next notice leave. It is pending until [`Pair::settled`] names its serial.
    pub fn release_notice(&mut self) -> Option<(u64, &Notice)> {
        let talk = self.talk.as_mut().filter(|talk| talk.pending.is_none())?;
        let notice = talk.notices.take()?;
        match talk.pend(&mut self.serial, ToSip::Notice(notice), false) {
            (serial, ToSip::Notice(notice)) => Some((serial, notice)),
            (_, ToSip::Message(_) | ToSip::Report(_)) => None,
        }
    }

    /// The next report, to see how it may go: [`Pair::way_of_report`].
    pub fn next_report(&self) -> Option<&Report> {
        self.talk.as_ref()?.reports.front()
    }

    /// Lets it leave. It is pending until [`Pair::settled`] names its serial.
    pub fn release_report(&mut self) -> Option<(u64, &Report)> {
        let talk = self.talk.as_mut().filter(|talk| talk.pending.is_none())?;
        let report = talk.reports.pop_front()?;
        match talk.pend(&mut self.serial, ToSip::Report(report), false) {
            (serial, ToSip::Report(report)) => Some((serial, report)),
            (_, ToSip::Message(_) | ToSip::Notice(_)) => None,
        }
    }

    /// The SIP side answered, or failed to: what was pending comes back so that its sender can be told.
    pub fn settled(&mut self, serial: u64) -> Option<ToSip<M>> {
        let talk = self.talk.as_mut()?;
        talk.pending.take_if(|pending| pending.serial == serial).map(|pending| pending.item)
    }

    /// Takes out the messages that have waited for longer than the hold time, or for longer than any session is waited for.
    pub fn expired(&mut self, config: &PairConfig, now: Moment) -> Vec<M> {
        let mut expired = Vec::new();
        let Some(talk) = self.talk.as_mut() else { return expired };
        // An invitation has a clock of its own, and the SIP user may take his time (CH-02).
        let most = if talk.sessions.must_wait() { LONGEST } else { config.hold };
        while let Some(waiting) = talk.waiting.pop_front_if(|waiting| waiting.since + most <= now.instant) {
            expired.push(waiting.stanza);
        }
        expired
    }

    /// The messages that have waited for a session for so long that they are to be taken on, each once: the SIP user may take
    /// his time, and what comes behind them must not wait for him.
    pub fn waits_long(&mut self, now: Moment) -> impl Iterator<Item = &mut M> {
        let talk = self.talk.as_mut().filter(|talk| talk.sessions.must_wait());
        let waiting = talk.map(|talk| talk.waiting.iter_mut()).into_iter().flatten();
        let long = waiting.filter(move |waiting| !waiting.taken_on && waiting.since + LONG <= now.instant);
        long.map(|waiting| {
            waiting.taken_on = true;
            &mut waiting.stanza
        })
    }

    /// When [`Pair::handle_timeout`], [`Pair::expired`], [`Pair::waits_long`] or [`Pair::is_idle`] is worth calling again.
    pub fn deadline(&self, config: &PairConfig, now: Moment) -> Option<Instant> {
        let talk = self.talk.as_ref();
        let hold = talk.and_then(|talk| match talk.sessions.must_wait() {
            true => {
                let long = talk.waiting.iter().find(|waiting| !waiting.taken_on);
                let longest = talk.waiting.front().map(|waiting| waiting.since + LONGEST);
                long.map(|waiting| waiting.since + LONG).into_iter().chain(longest).min()
            }
            false => talk.waiting.front().map(|waiting| waiting.since + config.hold),
        });
        let sessions = talk.and_then(|talk| talk.sessions.deadline());
        let messages = hold.or_else(|| {
            let replies = self.consent.sip_user_wrote.map(|wrote| {
                let left = wrote.saturating_add(REPLY_WINDOW.as_secs()).saturating_sub(now.unix());
                Duration::from_secs(left.min(REPLY_WINDOW.as_secs()))
            });
            let reported = talk.and_then(|talk| talk.needed_for(now));
            let left = replies.max(reported).filter(|left| !left.is_zero());
            left.map(|left| now.instant + left)
        });
        let presence = self.presence.as_ref().and_then(|presence| presence.deadline());
        messages.into_iter().chain(presence).chain(sessions).min()
    }

    /// Nothing would be lost with this pair, and nothing of it is stored.
    pub fn is_idle(&self, now: Moment) -> bool {
        self.talk.as_ref().is_none_or(|talk| talk.is_nothing(now))
            && !self.consent.replies_open(now.unix())
            && self.saved.is_nothing()
            && self.presence.as_ref().is_none_or(|presence| presence.is_nothing(&self.consent))
    }

    /// Messages waiting for the SIP user, without the one pending.
    pub fn waiting(&self) -> usize {
        self.talk.as_ref().map_or(0, |talk| talk.waiting.len())
    }

    /// What it still has to do for somebody: messages and notices, waiting, pending or to be reported.
    pub fn owes(&self) -> usize {
        self.talk.as_ref().map_or(0, |talk| {
            let pending = usize::from(talk.pending.is_some());
            let told = usize::from(!talk.notices.is_empty()) + talk.reports.len();
            talk.waiting.len() + talk.settled.len() + pending + told
        })
    }

    /// Takes out all messages that wait, because they will not leave any more.
    pub fn give_up(&mut self) -> Vec<M> {
        let waiting = self.talk.iter_mut().flat_map(|talk| talk.waiting.drain(..));
        waiting.map(|waiting| waiting.stanza).collect()
    }

    /// Gives back the room of what is over.
    fn tidy(&mut self, now: Moment) {
        self.talk.take_if(|talk| talk.is_nothing(now));
    }
}

impl<M> Talk<M> {
    /// As he has asked for it, else in words.
    fn tell_failure(&mut self, id: &StanzaId, notice: Notice) {
        match self.awaited.told(id, Fate::Failed) {
            Some(report) if self.reports.len() < MOST_REPORTS => {
                self.tell(Report { instead: Some(notice), ..report });
            }
            _ => self.notices.add(notice),
        }
    }

    fn tell(&mut self, report: Report) -> Telling {
        if self.reports.len() >= MOST_REPORTS {
            return Telling::NoRoom;
        }
        self.reports.push_back(report);
        Telling::Queued
    }

    fn pend(&mut self, serial: &mut u64, item: ToSip<M>, again: bool) -> (u64, &ToSip<M>) {
        *serial += 1;
        let pending = self.pending.insert(Pending { serial: *serial, item, again });
        (pending.serial, &pending.item)
    }
}
