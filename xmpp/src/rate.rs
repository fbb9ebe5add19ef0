//! How much a peer may send in a time, on a clock that the caller brings.

use std::time::{Duration, Instant};

/// A rate, and how much may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units per second; 0: no limit.
    pub per_second: u64,
    /// Units that may come at once after a pause.
    pub burst: u64,
}

impl Rate {
    /// Anything goes.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 0 };

    /// So many units a second, and those of `seconds` at once.
    pub fn new(per_second: u64, seconds: u64) -> Self {
        Self { per_second, burst: per_second.saturating_mul(seconds) }
    }

    /// How long so many units take at this rate.
    fn time_of(self, units: u64) -> Duration {
        match u128::from(units).saturating_mul(1_000_000_000).checked_div(u128::from(self.per_second)) {
            None => Duration::ZERO,
            Some(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
        }
    }
}

/// What was taken of a rate so far. One moment says it all: when everything taken would have come if it had come evenly
/// (GCRA). What has come cannot be sent back, so it is always taken; whoever took too much has to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    even: Option<Instant>,
}

impl Meter {
    /// Takes `units`, and says until when nothing more may be taken. `None`: more may come at once.
    pub fn take(&mut self, rate: Rate, units: u64, now: Instant) -> Option<Instant> {
        if rate.per_second == 0 {
            self.even = None;
            return None;
        }
        let from = self.even.map_or(now, |even| even.max(now));
        let even = from.checked_add(rate.time_of(units)).unwrap_or(from);
        self.even = Some(even);
        let until = even.checked_sub(rate.time_of(rate.burst))?;
        (until > now).then_some(until)
    }

    /// Gives back what was taken in advance and not needed.
    pub fn give_back(&mut self, rate: Rate, units: u64) {
        self.even = self.even.and_then(|even| even.checked_sub(rate.time_of(units)));
    }

    /// Whether all of the burst may come again, so that nothing has to be remembered.
    pub fn is_full(&self, now: Instant) -> bool {
        self.even.is_none_or(|even| even <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate { per_second: 10, burst: 20 };

    fn after(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    #[test]
    fn sec_40_the_burst_passes_and_not_one_more() {
        let (mut meter, begin) = (Meter::default(), Instant::now());
        assert_eq!(meter.take(TEN, 20, begin), None, "at the limit");
        assert_eq!(meter.take(TEN, 1, begin), Some(after(begin, 100)), "one past it");
        assert_eq!(meter.take(TEN, 1, after(begin, 199)), Some(after(begin, 200)));
        assert_eq!(meter.take(TEN, 1, after(begin, 300)), None);
    }

    #[test]
    fn sec_40_in_the_long_run_the_rate_is_what_passes() {
        let (mut meter, begin) = (Meter::default(), Instant::now());
        let (mut now, mut taken) = (begin, 0);
        while now < after(begin, 60_000) {
            taken += 7;
            now = meter.take(TEN, 7, now).unwrap_or(now);
        }
        // The burst, a minute's worth, and the last portion.
        assert!((613..=627).contains(&taken), "{taken}");
    }

    #[test]
    fn a_pause_fills_it_up_to_the_burst_and_no_further() {
        let (mut meter, begin) = (Meter::default(), Instant::now());
        meter.take(TEN, 20, begin);
        assert!(!meter.is_full(after(begin, 1_999)));
        assert!(meter.is_full(after(begin, 2_000)));
        let later = after(begin, 3_600_000);
        assert_eq!(meter.take(TEN, 20, later), None);
        assert!(meter.take(TEN, 1, later).is_some());
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let (mut meter, begin) = (Meter::default(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(meter.take(TEN, 20, begin), None);
            meter.give_back(TEN, 20);
        }
    }

    #[test]
    fn without_a_rate_nothing_waits_and_huge_numbers_do_no_harm() {
        let (mut meter, begin) = (Meter::default(), Instant::now());
        assert_eq!(meter.take(Rate::UNLIMITED, u64::MAX, begin), None);
        let slow = Rate { per_second: 1, burst: 1 };
        for _ in 0..4 {
            meter.take(slow, u64::MAX, begin);
        }
        assert!(!meter.is_full(begin));
    }
}
