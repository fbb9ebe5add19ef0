//! How long to wait after every target has failed.

use std::time::Duration;

use crate::connection::Jitter;

/// Capped exponential back-off with equal jitter: the wait lies between half and all of the step.
///
/// Jitter keeps gateways that lost the same front end from returning in one wave.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    cap: Duration,
    rounds: u32,
    jitter: Jitter,
}

impl Backoff {
    /// `random` is the seed of the jitter; the machine itself has no source of randomness.
    pub(super) fn new(first: Duration, cap: Duration, random: u64) -> Self {
        Self { first, cap, rounds: 0, jitter: Jitter::new(random) }
    }

    /// The wait after one more failed round.
    pub(super) fn failed(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.rounds.min(31)).unwrap_or(u32::MAX);
        self.rounds = self.rounds.saturating_add(1);
        let step = self.first.saturating_mul(factor).min(self.cap);
        let half = step / 2;
        half + half.mul_f64(self.jitter.fraction())
    }

    /// The next wait is the first step again.
    pub(super) fn reset(&mut self) {
        self.rounds = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn doubles_up_to_the_cap_and_stays_there() {
        let mut backoff = Backoff::new(FIRST, CAP, 7);
        for step in [1, 2, 4, 8, 16, 30, 30, 30] {
            let step = Duration::from_secs(step);
            let wait = backoff.failed();
            assert!(step / 2 <= wait && wait < step, "{wait:?} for a step of {step:?}");
        }
        for _ in 0..100 {
            assert!(backoff.failed() < CAP, "the exponent overflowed");
        }
        backoff.reset();
        assert!(backoff.failed() < FIRST);
    }

    #[test]
    fn two_seeds_do_not_wait_the_same_time() {
        let wait = |seed| Backoff::new(FIRST, CAP, seed).failed();
        assert_eq!(wait(1), wait(1));
        assert_ne!(wait(1), wait(2));
    }
}
