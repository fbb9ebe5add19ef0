//! A reading of both clocks, taken once per event by whoever owns the clocks and passed down.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Now: the monotonic clock for deadlines, the wall clock for what people and other systems read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub instant: Instant,
    /// Milliseconds of Unix time.
    pub unix_ms: u64,
}

impl Moment {
    /// Seconds of Unix time.
    pub fn unix(self) -> u64 {
        self.unix_ms / 1000
    }

    /// The wall clock.
    pub fn wall(self) -> SystemTime {
        Self::wall_at(self.unix_ms)
    }

    /// The wall clock at so many milliseconds of Unix time.
    pub fn wall_at(unix_ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(unix_ms)
    }

    /// The wall-clock reading, in milliseconds of Unix time, that belonged to an earlier `instant`.
    pub fn unix_ms_at(self, instant: Instant) -> u64 {
        let ago = self.instant.saturating_duration_since(instant);
        self.unix_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self {
            instant: self.instant + duration,
            unix_ms: self.unix_ms.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_of_an_earlier_instant() {
        let now = Moment { instant: Instant::now() + Duration::from_secs(10), unix_ms: 50_000 };
        assert_eq!(now.unix_ms_at(now.instant - Duration::from_secs(3)), 47_000);
        assert_eq!(Moment::wall_at(now.unix_ms), now.wall());
        assert_eq!((now + Duration::from_millis(1500)).unix(), 51);
    }
}
