//! Asking for a stream, and what becomes of the lane while there is none.

use std::time::Instant;

use super::machine::{Lane, State};
use super::{Envelope, Failure, FailureKind, Output};

impl<E: Envelope> Lane<E> {
    /// The attempt asked for by [`Output::Connect`] takes another way, because of this: what waits too long meanwhile is told so.
    pub fn hindered(&mut self, why: Failure) {
        self.last_failure = Some(why);
    }

    /// The attempt asked for by [`Output::Connect`] was left to somebody who is gone without a word of it:
    /// [`Output::Connect`] follows again, unless it is not waited for any more.
    pub fn connect_again(&mut self) {
        if matches!(self.state, State::Connecting) {
            self.outputs.push_back(Output::Connect);
        }
    }

    /// The attempt asked for by [`Output::Connect`] failed. `random` spreads the back-off. That is nothing to a lane which
    /// another stream carries meanwhile, or has carried and lost.
    pub fn connect_failed(&mut self, failure: Failure, random: u64, now: Instant) {
        if matches!(self.state, State::Open { .. } | State::BackOff { .. }) {
            return;
        }
        self.last_failure = Some(failure);
        self.back_off(random, now);
    }

    /// The attempt asked for by [`Output::Connect`] is forbidden, and no later one is made: what waits is given up. The next
    /// stanza asks again.
    pub fn connect_forbidden(&mut self, why: Failure) {
        if matches!(self.state, State::Connecting) {
            self.last_failure = Some(why);
            self.state = State::Idle;
            self.give_up_queue();
        }
    }

    /// Whether something waits for a stream.
    pub(super) fn wants_stream(&self) -> bool {
        !self.queue.is_empty() || self.managed.wants_stream()
    }

    pub(super) fn connect_if_idle(&mut self) {
        if matches!(self.state, State::Idle) {
            self.state = State::Connecting;
            self.outputs.push_back(Output::Connect);
        }
    }

    pub(super) fn back_off(&mut self, random: u64, now: Instant) {
        if self.draining {
            self.state = State::Idle;
            self.give_up_queue();
            return;
        }
        let mut wait = self.backoff.next(random);
        if self.last_failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::TooManyStreams) {
            // A place may be free at any moment, and nobody is there who would not take a stream: it is looked for as long as
            // messages may wait.
            wait = wait.min(self.config.hold / 2);
        }
        let until = now + wait;
        self.state = State::BackOff { until };
        // Replies are not worth holding for a partner that cannot be reached: their own senders will
        // see the same outage.
        let before = self.queue.len();
        self.queue.retain(|entry| entry.envelope.is_some());
        self.drop_replies(before - self.queue.len());
        // What cannot be sent within its hold time is not kept waiting for nothing.
        let hold = self.config.hold;
        while self.queue.front().is_some_and(|entry| entry.arrival + hold < until) {
            self.expire_front();
        }
        self.expire_managed(until);
    }
}
