//! A point in time in one word.

use std::num::NonZeroI64;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An [`Instant`] in half its room, and `Option` of it in no more: hundreds of thousands of subscriptions remember several
/// each. Nothing is lost of times within three centuries of the first one there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(NonZeroI64);

/// What times are counted from, in nanoseconds. Which one it is makes no difference to anybody.
static EPOCH: OnceLock<Instant> = OnceLock::new();

impl From<Instant> for Tick {
    fn from(at: Instant) -> Self {
        let epoch = *EPOCH.get_or_init(|| at);
        let nanos = |apart: Duration| i64::try_from(apart.as_nanos()).unwrap_or(i64::MAX);
        let nanos = match at.checked_duration_since(epoch) {
            // The epoch itself is 1, as there is no 0.
            Some(later) => nanos(later).saturating_add(1),
            None => -nanos(epoch.saturating_duration_since(at)),
        };
        Self(NonZeroI64::new(nanos).unwrap_or(NonZeroI64::MIN))
    }
}

impl Tick {
    /// The point in time.
    pub fn get(self) -> Instant {
        // Whoever has one has made it from an `Instant`, and so there is an epoch.
        let (nanos, epoch) = (self.0.get(), *EPOCH.get_or_init(|| unreachable!("a tick without an epoch")));
        let apart = if nanos > 0 { nanos.unsigned_abs() - 1 } else { nanos.unsigned_abs() };
        let apart = Duration::from_nanos(apart);
        let at = if nanos > 0 { epoch.checked_add(apart) } else { epoch.checked_sub(apart) };
        at.unwrap_or(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_and_keep_their_order() {
        assert_eq!(size_of::<Option<Tick>>(), 8);
        let first = Instant::now() + Duration::from_secs(1_000_000);
        let apart = [0, 1, 2, 999_999_999, 1_000_000_000, 86_400_000_000_001].map(Duration::from_nanos);
        let mut times: Vec<Instant> = apart.iter().map(|apart| first + *apart).collect();
        times.extend(apart.iter().map(|apart| first - *apart));
        for one in &times {
            assert_eq!(Tick::from(*one).get(), *one);
            for other in &times {
                assert_eq!(Tick::from(*one).cmp(&Tick::from(*other)), one.cmp(other));
            }
        }
    }
}
