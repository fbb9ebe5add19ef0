//! The lane on a stream whose peer speaks stream management (XEP-0198): acknowledgements, and what becomes of a stanza
//! when the stream is lost before its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use compact_str::CompactString;

use super::machine::{Entry, Lane, State};
use super::{Envelope, Failure, LaneConfig, Offer, Output};
use crate::sm::{Management, Misuse};

/// How long the peer may take to answer `<enable/>` or `<resume/>`. What waits in the lane waits for that, so it is well below
/// the time it may wait; a peer that is slower gets its stanzas without acknowledgements.
pub(super) const AGREEMENT: Duration = Duration::from_secs(5);

/// After this time without a word about what is not acknowledged, the peer is asked again: it may not say on its own what it has
/// handled since it was asked.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What stream management adds to a lane.
#[derive(Debug)]
pub(super) struct Managed<E> {
    phase: Phase,
    /// The name of a session that can be resumed.
    session: Option<CompactString>,
    /// Whether the session of the stream there is now may be resumed one day.
    resumable: bool,
    /// What was given to a connection and not acknowledged, in order. Entries without bytes only keep the count.
    unacked: VecDeque<Entry<E>>,
    unacked_bytes: usize,
    /// The first so many of them waited too long: their senders know, and they are not sent again.
    given_up: usize,
    /// The count in the last acknowledgement. The first of `unacked` is the next one after it.
    acked: u32,
    /// What the peer surely has not handled: it goes out again, before anything else.
    pub(super) again: VecDeque<Entry<E>>,
    /// The peer is to be asked.
    pub(super) ask: bool,
    asked: Option<Instant>,
    /// When something was acknowledged last, or began to wait for it.
    progress: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is not spoken on this stream, or there is none.
    Off,
    /// It is to be agreed upon before any stanza.
    Due,
    /// `<enable/>`, or `<resume/>`, is out.
    Agreeing { resume: bool, until: Instant },
    /// It is spoken.
    On,
}

impl<E> Managed<E> {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Off,
            session: None,
            resumable: true,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            given_up: 0,
            acked: 0,
            again: VecDeque::new(),
            ask: false,
            asked: None,
            progress: None,
        }
    }

    /// Whether acknowledgements answer the senders.
    pub(super) fn is_on(&self) -> bool {
        self.phase == Phase::On
    }

    /// Whether stanzas may leave.
    pub(super) fn is_agreed(&self) -> bool {
        matches!(self.phase, Phase::On | Phase::Off)
    }

    /// Whether something of its own is to be written.
    pub(super) fn wants_write(&self) -> bool {
        self.phase == Phase::Due || (self.ask && self.is_on())
    }

    /// Whether one stanza more may be without acknowledgement.
    pub(super) fn has_room(&self, config: &LaneConfig) -> bool {
        self.unacked.len() < config.unconfirmed && self.unacked_bytes < config.capacity_bytes
    }

    /// Whether the peer would say on the next stream of ours what it has handled.
    pub(super) fn is_resumable(&self) -> bool {
        self.session.is_some()
    }

    /// Stanzas without acknowledgement.
    pub(super) fn unacked(&self) -> usize {
        self.unacked.len()
    }

    /// Nobody waits for anything here.
    pub(super) fn is_settled(&self) -> bool {
        self.again.is_empty() && self.given_up == self.unacked.len()
    }

    /// Whether it takes a stream to know what became of something.
    pub(super) fn wants_stream(&self) -> bool {
        !self.is_settled()
    }

    /// Something is about to be written that the peer counts.
    pub(super) fn sent(&mut self, entry: Entry<E>, now: Instant) {
        if self.unacked.is_empty() {
            self.progress = Some(now);
        }
        self.unacked_bytes += entry.bytes.len();
        self.unacked.push_back(entry);
        self.ask = true;
    }

    /// Appends what is to be said before any stanza.
    pub(super) fn write_first(&mut self, out: &mut Vec<u8>, now: Instant) {
        if self.phase == Phase::Due {
            let until = now + AGREEMENT;
            let resume = self.session.is_some();
            match &self.session {
                // No stanza of the peer's came on the stream: it carried ours only.
                Some(session) => Management::Resume { session: session.clone(), handled: 0 },
                None => Management::Enable { resume: self.resumable },
            }
            .write(out);
            self.phase = Phase::Agreeing { resume, until };
        }
    }

    /// Appends what is to be said after the stanzas.
    pub(super) fn write_last(&mut self, out: &mut Vec<u8>, now: Instant) {
        if self.is_on() && std::mem::take(&mut self.ask) {
            Management::Request.write(out);
            self.asked = Some(now);
        }
    }

    pub(super) fn deadline(&self, config: &LaneConfig) -> Option<Instant> {
        let agreement = match self.phase {
            Phase::Agreeing { until, .. } => Some(until),
            _ => None,
        };
        let waits = self.is_on() && !self.unacked.is_empty();
        [
            agreement,
            self.again.front().map(|entry| entry.arrival + config.hold),
            self.unacked.get(self.given_up).map(|entry| entry.arrival + config.hold),
            self.progress.filter(|_| waits).map(|progress| progress + config.ping_timeout),
            self.asked.filter(|_| waits && !self.ask).map(|asked| asked + ASK_AGAIN),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes away what the count covers.
    fn cover(&mut self, handled: u32) -> Result<impl Iterator<Item = Entry<E>>, Misuse> {
        let sent = self.acked.wrapping_add(self.unacked.len() as u32);
        let covered = handled.wrapping_sub(self.acked) as usize;
        if covered > self.unacked.len() {
            return Err(Misuse::TooHigh { handled, sent });
        }
        self.acked = handled;
        self.given_up = self.given_up.saturating_sub(covered);
        let bytes: usize = self.unacked.iter().take(covered).map(|entry| entry.bytes.len()).sum();
        self.unacked_bytes -= bytes;
        Ok(self.unacked.drain(..covered))
    }

    /// The peer goes on from its count: all that it has not handled is to be sent again, but for what was given up.
    fn send_again(&mut self) {
        let unhandled = self.unacked.drain(..).filter(|entry| !entry.bytes.is_empty());
        let mut again: VecDeque<_> = unhandled.collect();
        again.append(&mut self.again);
        self.again = again;
        self.forget();
    }

    /// Nothing waits for an acknowledgement any more.
    fn forget(&mut self) {
        self.unacked.clear();
        self.unacked_bytes = 0;
        self.given_up = 0;
    }
}

impl<E: Envelope> Lane<E> {
    /// An element of stream management came on the stream.
    ///
    /// # Errors
    /// The peer must be told, and the stream ended; [`Lane::closed`] follows.
    pub fn managed(&mut self, element: &Management, now: Instant) -> Result<(), Misuse> {
        let done = self.manage(element, now);
        if done.is_err() {
            // Its counts are worth nothing.
            self.managed.session = None;
        }
        self.drained_if_written();
        done
    }

    fn manage(&mut self, element: &Management, now: Instant) -> Result<(), Misuse> {
        match (element, self.managed.phase) {
            (Management::Enabled { resumable }, Phase::Agreeing { resume: false, .. }) => {
                self.managed.session = resumable.clone().filter(|_| self.managed.resumable);
                self.managed.acked = 0;
                self.managed.phase = Phase::On;
            }
            (Management::Resumed { session, handled }, Phase::Agreeing { resume: true, .. })
                if self.managed.session.as_ref() == Some(session) =>
            {
                self.acknowledged(*handled, now)?;
                self.managed.send_again();
                self.managed.session.take_if(|_| !self.managed.resumable);
                self.managed.phase = Phase::On;
            }
            // It opened the stream, and counts from now on what it is sent.
            (Management::Enable { .. }, Phase::Off) if matches!(self.state, State::Open { .. }) => {
                self.managed.acked = 0;
                self.managed.phase = Phase::On;
            }
            // From a peer that was too slow; by now its stanzas come to it without management.
            (Management::Resumed { .. }, Phase::Off) => {}
            (Management::Resumed { .. }, _) => return Err(Misuse::Unasked),
            (Management::Failed { handled }, Phase::Agreeing { resume: true, .. }) => {
                // The session is over. Where it had come to, the peer may still know.
                if let Some(handled) = handled {
                    self.acknowledged(*handled, now)?;
                }
                self.give_up_unacked(None);
                self.managed.phase = Phase::Due;
            }
            (Management::Failed { .. }, Phase::Agreeing { .. }) => self.managed.phase = Phase::Off,
            (Management::Answer { handled }, Phase::On) => {
                self.counters.proofs += 1;
                self.acknowledged(*handled, now)?;
            }
            // Too late, or not for a sender.
            _ => {}
        }
        Ok(())
    }

    fn acknowledged(&mut self, handled: u32, now: Instant) -> Result<(), Misuse> {
        let mut any = false;
        for entry in self.managed.cover(handled)? {
            any = true;
            if let Some(envelope) = entry.envelope {
                self.counters.confirmed += 1;
                self.outputs.push_back(Output::Written(envelope));
            }
        }
        if any {
            self.managed.progress = Some(now);
            self.backoff.reset();
            if let State::Open { proved, .. } = &mut self.state {
                *proved = true;
            }
        }
        Ok(())
    }

    /// A stream is established; does its peer speak stream management?
    pub(super) fn open_managed(&mut self, offer: Offer) {
        self.managed.resumable = !offer.both_ways;
        if offer.management {
            self.managed.phase = Phase::Due;
        } else {
            self.give_up_unacked(None);
        }
    }

    /// The stream ended. What is not acknowledged waits for its resumption, if there can be one.
    pub(super) fn lose_managed(&mut self, failure: Option<&Failure>) {
        self.managed.phase = Phase::Off;
        self.managed.ask = false;
        if self.managed.session.is_none() || self.draining || self.managed.given_up == self.managed.unacked()
        {
            self.give_up_unacked(failure);
        }
    }

    /// Nothing will ever acknowledge what is not acknowledged: it may have arrived, and is not sent again.
    pub(super) fn give_up_unacked(&mut self, failure: Option<&Failure>) {
        if self.managed.session.take().is_some() && !self.is_open() {
            self.outputs.push_back(Output::Free);
        }
        let failure = failure.or(self.last_failure.as_ref()).cloned();
        for entry in self.managed.unacked.drain(..) {
            match entry.envelope {
                Some(envelope) => {
                    self.outputs.push_back(Output::InFlight { envelope, failure: failure.clone() });
                }
                None if entry.bytes.is_empty() => {}
                None => self.counters.replies_dropped += 1,
            }
        }
        self.managed.forget();
    }

    /// What was to go out again will not.
    pub(super) fn give_up_again(&mut self) {
        while let Some(entry) = self.managed.again.pop_front() {
            self.expire_again(entry);
        }
    }

    /// Reports what has waited too long by `until`.
    pub(super) fn expire_managed(&mut self, until: Instant) {
        let hold = self.config.hold;
        while let Some(entry) = self.managed.again.pop_front_if(|entry| entry.arrival + hold <= until) {
            self.expire_again(entry);
        }
        let living = matches!(self.state, State::Open { .. });
        while let Some(entry) = self.managed.unacked.get_mut(self.managed.given_up)
            && entry.arrival + hold <= until
        {
            self.managed.given_up += 1;
            let bytes = std::mem::take(&mut entry.bytes);
            self.managed.unacked_bytes -= bytes.len();
            match entry.envelope.take() {
                Some(envelope) => {
                    let failure = if living { None } else { self.last_failure.clone() };
                    self.outputs.push_back(Output::InFlight { envelope, failure });
                }
                None if living || bytes.is_empty() => {}
                None => self.counters.replies_dropped += 1,
            }
        }
        if !living && self.managed.given_up == self.managed.unacked() {
            // Nobody is left to whom a resumption could be of use.
            self.give_up_unacked(None);
        }
    }

    /// What the peer surely has not handled did not find its way out again in time.
    fn expire_again(&mut self, entry: Entry<E>) {
        match entry.envelope {
            Some(envelope) => {
                self.outputs.push_back(Output::Expired { envelope, failure: self.last_failure.clone() });
            }
            None => self.counters.replies_dropped += 1,
        }
    }

    /// As if so many stanzas had been acknowledged before what waits now.
    #[cfg(test)]
    pub(super) fn pretend_acknowledged(&mut self, count: u32) {
        self.managed.acked = count;
    }

    pub(super) fn managed_timeout(&mut self, now: Instant) {
        self.expire_managed(now);
        if let Phase::Agreeing { resume, until } = self.managed.phase
            && until <= now
        {
            if resume {
                self.give_up_unacked(None);
            }
            self.managed.phase = Phase::Off;
        }
        if self.managed.is_on() && !self.managed.unacked.is_empty() {
            let passed = |since: Option<Instant>, time| since.is_some_and(|since| since + time <= now);
            if passed(self.managed.progress, self.config.ping_timeout) {
                // Said again only after another such time, should the driver be slow to act.
                self.managed.progress = Some(now);
                self.outputs.push_back(Output::Unresponsive);
            }
            self.managed.ask |= passed(self.managed.asked, ASK_AGAIN);
        }
    }
}
