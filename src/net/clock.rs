//! The wall clock, as far as it is believed.
//!
//! Consent ends after days without a sign, requests after a month, entries of the audit trail after a year. A clock that is a year
//! ahead for a minute, because a time server went mad, would end all of them for good. So a jump by more than half a day is not
//! followed before it has lasted for an hour; until then time goes on as it went before. (A machine that was asleep for days has
//! jumped, too, and rightly.) In the first hour after the start every correction is followed: machines start with a wrong clock and are
//! set right. Handshakes judge certificates by the system's clock all the same.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nuncio_translate::Moment;
use parking_lot::Mutex;
use tracing::{error, info};

/// What is less is followed at once: leap seconds, a clock that is set right, a short sleep.
const JUMP: Duration = Duration::from_secs(12 * 3600);
/// So long a jump has to last before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(3600);

/// Reads both clocks.
pub fn now() -> Moment {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    let (instant, system_ms) = (Instant::now(), system_ms());
    let clock = CLOCK.get_or_init(|| Clock::new(instant, system_ms));
    Moment { instant, unix_ms: clock.read(instant, system_ms) }
}

fn system_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(unix)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

struct Clock {
    start: Instant,
    /// Milliseconds of Unix time at `start`, by the clock that is followed.
    start_ms: AtomicU64,
    /// Since when the system's clock says something else.
    doubted: Mutex<Option<Instant>>,
    /// It does.
    doubting: AtomicBool,
}

impl Clock {
    fn new(start: Instant, system_ms: u64) -> Self {
        Self {
            start,
            start_ms: AtomicU64::new(system_ms),
            doubted: Mutex::new(None),
            doubting: AtomicBool::new(false),
        }
    }

    fn read(&self, instant: Instant, system_ms: u64) -> u64 {
        let passed = millis(instant.saturating_duration_since(self.start));
        let expected = self.start_ms.load(Ordering::Relaxed).saturating_add(passed);
        let off = Duration::from_millis(system_ms.abs_diff(expected));
        let young = passed < millis(BELIEVED_AFTER);
        if off > JUMP && !young && !self.is_believed(instant, passed, system_ms) {
            return expected;
        }
        if off > Duration::ZERO {
            self.start_ms.store(system_ms.saturating_sub(passed), Ordering::Relaxed);
        }
        if off <= JUMP && self.doubting.load(Ordering::Relaxed) {
            self.is_right_again();
        }
        system_ms
    }

    fn is_believed(&self, instant: Instant, passed: u64, system_ms: u64) -> bool {
        let mut doubted = self.doubted.lock();
        // Somebody else may have believed it a moment ago.
        let expected = self.start_ms.load(Ordering::Relaxed).saturating_add(passed);
        let (off, ahead) = (Duration::from_millis(system_ms.abs_diff(expected)), system_ms > expected);
        if off <= JUMP {
            return true;
        }
        let since = *doubted.get_or_insert_with(|| {
            let way = if ahead { "ahead" } else { "back" };
            error!(
                "the system's clock jumped {way} by {} hours. Nothing that lasts for days ends or is prolonged by that: the gateway \
                 counts on from before, and follows the new time when it has lasted for an hour",
                off.as_secs() / 3600
            );
            self.doubting.store(true, Ordering::Relaxed);
            instant
        });
        let believed = instant.saturating_duration_since(since) >= BELIEVED_AFTER;
        if believed {
            *doubted = None;
            self.doubting.store(false, Ordering::Relaxed);
            self.start_ms.store(system_ms.saturating_sub(passed), Ordering::Relaxed);
            info!("the time that the system's clock jumped to has lasted for an hour and is followed");
        }
        believed
    }

    fn is_right_again(&self) {
        if self.doubted.lock().take().is_some() {
            self.doubting.store(false, Ordering::Relaxed);
            info!("the system's clock is right again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_790_000_000_000;

    fn clock() -> (Clock, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        (Clock::new(start, START), move |ms| start + Duration::from_millis(ms))
    }

    #[test]
    fn a_clock_that_is_set_right_is_followed_at_once() {
        let (clock, at) = clock();
        for (passed, shown) in [(1_000, 61_000), (2_000, 2_000), (3_000, 12 * HOUR + 3_000), (4_000, 4_000)] {
            assert_eq!(clock.read(at(passed), START + shown), START + shown);
        }
    }

    #[test]
    fn a_jump_for_a_moment_is_not_seen() {
        let (clock, at) = clock();
        let year = 365 * 24 * HOUR;
        for passed in [HOUR, HOUR + 60_000, HOUR + HOUR / 2] {
            assert_eq!(clock.read(at(passed), START + passed + year), START + passed);
        }
        assert_eq!(clock.read(at(2 * HOUR), START + 2 * HOUR + 5), START + 2 * HOUR + 5);
        // A second one begins anew.
        assert_eq!(clock.read(at(3 * HOUR), START - year), START + 3 * HOUR + 5);
        assert_eq!(clock.read(at(4 * HOUR - 1), START - year), START + 4 * HOUR + 4);
    }

    #[test]
    fn a_jump_that_lasts_is_followed_after_an_hour() {
        let (clock, at) = clock();
        let asleep = 72 * HOUR;
        for (passed, ahead) in [(HOUR, 0), (2 * HOUR - 1, 0), (2 * HOUR, asleep), (3 * HOUR, asleep)] {
            assert_eq!(clock.read(at(passed), START + passed + asleep), START + passed + ahead, "{passed}");
        }
    }

    #[test]
    fn a_clock_that_is_set_right_after_the_start_is_followed_at_once() {
        let (clock, at) = clock();
        let year = 365 * 24 * HOUR;
        assert_eq!(clock.read(at(30_000), START + year), START + year);
        assert_eq!(clock.read(at(HOUR), START + year + HOUR), START + year + HOUR);
    }
}
