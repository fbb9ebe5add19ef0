//! A pair: one SIP user and one XMPP contact, and everything between the two.
//!
//! The pair keeps the order of what goes to the SIP user: one MESSAGE is pending at a time (RFC 3428 §8),
//! the rest waits here as events and is judged again when it leaves. What goes to the contact keeps its
//! order in the lane. No pair ever needs the state of another.

mod key;
mod notices;
mod record;
pub mod roster;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nuncio_xmpp::Element;

pub use crate::judge::Added;
pub use key::PairKey;
use notices::Notices;
pub use notices::{Cause, Notice};
pub use record::{From, NotifierRecord, PairRecord, SubscriberRecord, To};

use crate::Moment;
use crate::judge::{Consent, Permit, REPLY_WINDOW, Rule};

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

/// One SIP user and one XMPP contact.
#[derive(Debug, Default)]
pub struct Pair {
    consent: Consent,
    waiting: VecDeque<Waiting>,
    notices: Notices,
    pending: Option<Pending>,
    serial: u64,
}

/// A message of the contact that waits for its turn.
#[derive(Debug)]
struct Waiting {
    stanza: Element,
    arrival: Instant,
}

#[derive(Debug)]
struct Pending {
    serial: u64,
    item: ToSip,
}

/// Something on its way to the SIP user.
#[derive(Debug)]
pub enum ToSip {
    /// A message of the contact.
    Message(Element),
    /// Word from the gateway about messages the SIP user sent.
    Notice(Notice),
}

/// Proof that a message of the SIP user was judged and its pair told; needed to put it on a lane.
#[derive(Debug)]
#[must_use]
pub struct Crossing {
    rule: Rule,
    generation: u64,
}

impl Crossing {
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The policy generation under which it may cross.
    pub fn generation(&self) -> u64 {
        self.generation
    }
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
}

impl Pair {
    pub fn consent(&self) -> &Consent {
        &self.consent
    }

    /// A message of the SIP user crosses: from now on the contact may answer for a while.
    pub fn sip_user_writes(&mut self, permit: Permit, now: Moment) -> Crossing {
        self.consent.sip_user_wrote = Some(now.unix());
        Crossing { rule: permit.rule(), generation: permit.generation() }
    }

    /// A message of the contact arrived and was judged. It leaves by [`Pair::next_for_sip`], in order.
    ///
    /// # Errors
    /// The queue is full; the stanza comes back.
    pub fn contact_writes(
        &mut self,
        _permit: Permit,
        stanza: Element,
        config: &PairConfig,
        now: Moment,
    ) -> Result<(), Box<Element>> {
        if self.waiting.len() >= config.queue {
            return Err(Box::new(stanza));
        }
        self.waiting.push_back(Waiting { stanza, arrival: now.instant });
        Ok(())
    }

    /// The SIP user is to be told that something he sent did not arrive, or may not have arrived.
    pub fn notify(&mut self, notice: Notice) {
        self.notices.add(notice);
    }

    /// What leaves next. Notices go first: they speak of what happened before.
    pub fn next_for_sip(&self) -> NextForSip {
        if self.pending.is_some() {
            NextForSip::Nothing
        } else if !self.notices.is_empty() {
            NextForSip::Notice
        } else if self.waiting.is_empty() {
            NextForSip::Nothing
        } else {
            NextForSip::Message
        }
    }

    /// Lets the next message leave under `permit`. It is pending until [`Pair::settled`] names its serial.
    pub fn release(&mut self, _permit: Permit) -> Option<(u64, &Element)> {
        if self.pending.is_some() {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        match self.pend(ToSip::Message(waiting.stanza)) {
            (serial, ToSip::Message(stanza)) => Some((serial, stanza)),
            (_, ToSip::Notice(_)) => None,
        }
    }

    /// Takes out the next message, which may not leave.
    pub fn refuse(&mut self) -> Option<Element> {
        self.waiting.pop_front().map(|waiting| waiting.stanza)
    }

    /// Lets the next notice leave. It is pending until [`Pair::settled`] names its serial.
    pub fn release_notice(&mut self) -> Option<(u64, &Notice)> {
        if self.pending.is_some() {
            return None;
        }
        let notice = self.notices.take()?;
        match self.pend(ToSip::Notice(notice)) {
            (serial, ToSip::Notice(notice)) => Some((serial, notice)),
            (_, ToSip::Message(_)) => None,
        }
    }

    /// The SIP side answered, or failed to: what was pending comes back so that its sender can be told.
    pub fn settled(&mut self, serial: u64) -> Option<ToSip> {
        self.pending.take_if(|pending| pending.serial == serial).map(|pending| pending.item)
    }

    /// Takes out the messages that have waited for longer than the hold time.
    pub fn expired(&mut self, config: &PairConfig, now: Moment) -> Vec<Element> {
        let mut expired = Vec::new();
        while self.waiting.front().is_some_and(|waiting| waiting.arrival + config.hold <= now.instant) {
            expired.extend(self.refuse());
        }
        expired
    }

    /// When [`Pair::expired`] or [`Pair::is_idle`] is worth asking again.
    pub fn deadline(&self, config: &PairConfig, now: Moment) -> Option<Instant> {
        let hold = self.waiting.front().map(|waiting| waiting.arrival + config.hold);
        hold.or_else(|| {
            let wrote = self.consent.sip_user_wrote?;
            let left = wrote.saturating_add(REPLY_WINDOW.as_secs()).saturating_sub(now.unix());
            Some(now.instant + Duration::from_secs(left.min(REPLY_WINDOW.as_secs())))
        })
    }

    /// Nothing would be lost with this pair.
    pub fn is_idle(&self, now: Moment) -> bool {
        self.pending.is_none()
            && self.waiting.is_empty()
            && self.notices.is_empty()
            && !self.consent.replies_open(now.unix())
    }

    /// Messages waiting for the SIP user, without the one pending.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Messages of the contact it holds, waiting or pending.
    pub fn holds(&self) -> usize {
        let pending = matches!(&self.pending, Some(Pending { item: ToSip::Message(_), .. }));
        self.waiting.len() + usize::from(pending)
    }

    /// What it still has to do for somebody: messages and notices, waiting or pending.
    pub fn owes(&self) -> usize {
        let pending = usize::from(self.pending.is_some());
        self.waiting.len() + pending + usize::from(!self.notices.is_empty())
    }

    /// Takes out all messages that wait, because they will not leave any more.
    pub fn give_up(&mut self) -> Vec<Element> {
        self.waiting.drain(..).map(|waiting| waiting.stanza).collect()
    }

    fn pend(&mut self, item: ToSip) -> (u64, &ToSip) {
        self.serial += 1;
        let pending = self.pending.insert(Pending { serial: self.serial, item });
        (pending.serial, &pending.item)
    }
}
