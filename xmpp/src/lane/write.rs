//! What leaves a lane, and when.

use std::collections::VecDeque;
use std::time::Instant;

use super::machine::{Batch, Entry, Lane, State};
use super::{Envelope, Outgoing, Output, WriteHooks};

/// Octets of a short message: only for guessing how many make a batch.
const TYPICAL_STANZA: usize = 256;

impl<E: Envelope> Lane<E> {
    /// Whether [`Lane::take`] would hand out something.
    pub fn wants_write(&self) -> bool {
        let stanzas = || self.managed.is_agreed() && (self.has_writable() || self.wants_ping(0));
        self.may_write() && (self.managed.wants_write() || stanzas())
    }

    /// Appends queued stanzas to `out`, whole and in order, until about `budget` bytes. One batch is
    /// out at a time: the next one comes after [`Lane::written`] or [`Lane::closed`].
    pub fn take(&mut self, budget: usize, out: &mut Vec<u8>, hooks: &mut dyn WriteHooks<E>, now: Instant) {
        if !self.wants_write() {
            return;
        }
        self.managed.write_first(out, now);
        if !self.managed.is_agreed() {
            return;
        }
        let start = out.len();
        out.reserve(self.queued_bytes.min(budget));
        let managed = self.managed.is_on();
        let expected = if managed { 0 } else { self.queued_tracked.min(budget / TYPICAL_STANZA) };
        let tracked = VecDeque::with_capacity(expected);
        let mut batch = Batch { tracked, replies: 0, ping: None, answered: false, managed, since: now };
        while out.len() - start < budget && self.has_room(batch.tracked.len()) {
            let Some((entry, again)) = self.next_entry(&mut batch) else { break };
            let Some(entry) = self.last_look(entry, again, hooks) else { continue };
            out.extend_from_slice(&entry.bytes);
            // What answers an IQ keeps a stream, and not a conversation.
            self.counters.sent += u64::from(!entry.bytes.starts_with(b"<iq"));
            if managed {
                self.managed.sent(entry, now);
            } else if let Some(envelope) = entry.envelope {
                batch.tracked.push_back((envelope, entry.arrival));
            }
        }
        if self.wants_ping(batch.tracked.len()) {
            self.probe = false;
            self.pings += 1;
            batch.ping = Some(self.pings);
            hooks.ping(self.pings, out);
            if managed {
                // The peer counts it.
                self.managed.sent(Entry::only_counted(now), now);
            }
        }
        if out.len() > start {
            self.writing = Some(batch);
        } else {
            self.free_replies(batch.replies);
        }
        self.managed.write_last(out, now);
    }

    /// Asks the peer for a sign of life: by a ping, or for an acknowledgement where it gives them. Where such a question is
    /// under way already, that is it.
    pub fn probe(&mut self) {
        match self.managed.is_on() {
            true => self.managed.ask = true,
            false => self.probe = self.ping.is_none(),
        }
    }

    fn may_write(&self) -> bool {
        matches!(self.state, State::Open { .. }) && self.writing.is_none()
    }

    fn has_writable(&self) -> bool {
        self.has_room(0) && !(self.managed.again.is_empty() && self.queue.is_empty())
    }

    /// Whether the next stanza may leave, after so many in the batch at hand. Without stream management replies always may:
    /// nothing is kept of them.
    fn has_room(&self, tracked: usize) -> bool {
        if self.managed.is_on() {
            return self.managed.has_room(&self.config);
        }
        let next = self.managed.again.front().or_else(|| self.queue.front());
        let room = self.unconfirmed.len() + tracked < self.config.unconfirmed;
        room || next.is_some_and(|entry| entry.envelope.is_none())
    }

    /// The next to leave, and whether it left before.
    fn next_entry(&mut self, batch: &mut Batch<E>) -> Option<(Entry<E>, bool)> {
        if let Some(entry) = self.managed.again.pop_front() {
            return Some((entry, true));
        }
        let entry = self.queue.pop_front()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(entry.bytes_if_tracked());
        match entry.envelope {
            None => batch.replies += 1,
            Some(_) => self.queued_tracked -= 1,
        }
        Some((entry, false))
    }

    /// Whether the stanza may leave; if not, its sender is told.
    fn last_look(
        &mut self,
        mut entry: Entry<E>,
        again: bool,
        hooks: &mut dyn WriteHooks<E>,
    ) -> Option<Entry<E>> {
        if let Some(envelope) = &mut entry.envelope {
            let (bytes, arrival) = (&mut entry.bytes, entry.arrival);
            if !hooks.admit(Outgoing { envelope, bytes, arrival, again }) {
                self.outputs.extend(entry.envelope.map(Output::Refused));
                return None;
            }
        }
        if !self.takes(entry.bytes.len()) {
            hooks.make_brief(&mut entry.bytes);
        }
        if let Some(limit) = self.max_bytes.filter(|limit| entry.bytes.len() > *limit) {
            match entry.envelope {
                Some(envelope) => self.outputs.push_back(Output::TooLarge { envelope, limit }),
                None => self.counters.replies_dropped += 1,
            }
            return None;
        }
        Some(entry)
    }

    /// `written`: tracked stanzas in the batch at hand. With stream management nothing is left to be proved by a ping, except what
    /// had been written when the peer began to count.
    fn wants_ping(&self, written: usize) -> bool {
        let something = written > 0 || !self.unconfirmed.is_empty() || self.probe;
        self.ping.is_none() && something
    }
}
