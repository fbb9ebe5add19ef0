//! When to try again after a failure.

use std::time::Duration;

use super::Context;

/// Tries in a row after which silence follows (DEC-28).
pub const TRIES: u8 = 8;
const FIRST: Duration = Duration::from_secs(30);
const CAP: Duration = Duration::from_secs(3600);
/// The longest wait asked for that is obeyed.
const ASKED_CAP: Duration = Duration::from_secs(24 * 3600);

/// Counts failures in a row and says how long to wait: capped exponential back-off with equal jitter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    failures: u8,
}

impl Retry {
    /// The wait after one more failure, never shorter than what the other side asked for (up to a day); `None`
    /// after [`TRIES`] of them.
    pub fn failed(&mut self, retry_after: Option<Duration>, context: &mut Context<'_>) -> Option<Duration> {
        if self.failures >= TRIES {
            return None;
        }
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures += 1;
        let asked = retry_after.unwrap_or_default().min(ASKED_CAP);
        Some(asked.max(context.between(step / 2, step)))
    }

    /// It worked: the next failure is the first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}
