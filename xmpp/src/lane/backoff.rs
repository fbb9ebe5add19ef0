//! Capped exponential back-off with jitter (RFC 6120 §3.3).

use std::time::Duration;

/// Delays between attempts: `initial`, doubled each time up to `max`, each spread over ±25 %.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, attempts: 0 }
    }

    /// The delay before the next attempt. `random` spreads it, so that partners that failed together
    /// are not tried again together.
    pub fn next(&mut self, random: u64) -> Duration {
        let factor = 1u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let delay = self.initial.saturating_mul(factor).min(self.max);
        // 75 % … 125 %, in steps of 1/1024 of the spread.
        let spread = u32::try_from(random % 1024).unwrap_or(0);
        delay.mul_f64(0.75 + 0.5 * f64::from(spread) / 1024.0)
    }

    /// Attempts failed in a row.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The next failure starts again with the initial delay.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let centre = 512; // no jitter
        let delays: Vec<_> = (0..5).map(|_| backoff.next(centre).as_millis()).collect();
        assert_eq!(delays, [1000, 2000, 4000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(centre).as_millis(), 1000);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        for random in 0..2048 {
            let delay = Backoff::new(Duration::from_secs(4), Duration::from_secs(60)).next(random);
            assert!((3000..=5000).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..100 {
            assert!(backoff.next(1023) <= Duration::from_secs(75));
        }
    }
}
