//! The end of a back-off before its time.

use std::time::{Duration, Instant};

use super::machine::State;
use super::{Envelope, Lane};

/// A sign of life ends a back-off at most once in this time: a partner whose streams come and go must not have us connect
/// again and again.
pub(super) const HEEDED_EVERY: Duration = Duration::from_secs(60);

impl<E: Envelope> Lane<E> {
    /// Forgets a back-off, and what failed before: what is queued, or else the next stanza, is tried at once. Whether there
    /// was one.
    pub fn retry_now(&mut self) -> bool {
        self.backoff.reset();
        let waited = matches!(self.state, State::BackOff { .. });
        if waited {
            self.state = State::Idle;
            if self.wants_stream() {
                self.connect_if_idle();
            }
        }
        waited
    }

    /// The partner has shown in some other way that it is there: [`retry_now`](Lane::retry_now), but only once a minute.
    /// Whether it was heeded.
    pub fn sign_of_life(&mut self, now: Instant) -> bool {
        let recently = self.heeded.is_some_and(|last| now.saturating_duration_since(last) < HEEDED_EVERY);
        if recently || !matches!(self.state, State::BackOff { .. }) {
            return false;
        }
        self.heeded = Some(now);
        self.retry_now()
    }
}
