//! When to send again to a partner what did not arrive.

use std::time::{Duration, Instant};

use super::Context;

const FIRST: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(600);
/// A loss after more quiet than this is the first one.
const QUIET: Duration = Duration::from_secs(1800);
/// Over this time everybody comes back who waited for a partner.
const RETURN: Duration = Duration::from_secs(5);

/// Counts losses in a row: capped exponential back-off with equal jitter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Backoff {
    failures: u8,
    /// Of the first and of the last loss in a row.
    since: Option<(Instant, Instant)>,
    at: Option<Instant>,
}

impl Backoff {
    /// Nothing was lost.
    pub(super) const NONE: Self = Self { failures: 0, since: None, at: None };

    /// Something was lost. Says for how long that has been so.
    pub(super) fn lost(&mut self, context: &mut Context<'_>) -> Duration {
        let now = context.now.instant;
        let first = match self.since {
            Some((first, last)) if now.saturating_duration_since(last) < QUIET => first,
            _ => {
                self.failures = 0;
                now
            }
        };
        self.since = Some((first, now));
        if self.at.is_none() {
            let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(CAP);
            self.failures = self.failures.saturating_add(1);
            self.at = Some(now + step / 2 + jitter(step / 2, context));
        }
        now.saturating_duration_since(first)
    }

    /// Nothing was lost, and something is to be sent, but not before the other side has had the time to say what would
    /// make it needless.
    pub(super) fn later(&mut self, context: &mut Context<'_>) {
        if self.at.is_none() {
            self.at = Some(context.now.instant + FIRST + jitter(FIRST, context));
        }
    }

    /// The partner can be reached: what was lost is sent soon.
    pub(super) fn reachable(&mut self, context: &mut Context<'_>) {
        self.failures = 0;
        if self.since.take().is_some()
            && let Some(at) = self.at
        {
            self.at = Some(at.min(context.now.instant + jitter(RETURN, context)));
        }
    }

    /// When to send again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it is time to send again; says so once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }
}

fn jitter(most: Duration, context: &mut Context<'_>) -> Duration {
    most.mul_f64((context.tokens.random() >> 11) as f64 / (1u64 << 53) as f64)
}
