//! When somebody has to be told that a certificate runs out: at 30, 14, 7 and 1 days, once for each, and from then on once
//! a day.

use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How near the end is, in days; the last level is that it has come.
const LEVELS: [u32; 4] = [30, 14, 7, 1];

/// What was told of one certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Of which end.
    of: Option<SystemTime>,
    /// The nearest level told, and when.
    last: Option<(Level, SystemTime)>,
}

/// How near the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// At most so many days are left.
    Days(std::cmp::Reverse<u32>),
    /// None.
    Over,
}

impl Told {
    /// What is to be told now of a certificate that ends then, if anything: how much time is left, none if it is over.
    pub fn due(&mut self, not_after: SystemTime, now: SystemTime) -> Option<Duration> {
        if self.of != Some(not_after) {
            *self = Self { of: Some(not_after), last: None };
        }
        let left = not_after.duration_since(now).unwrap_or_default();
        let level = level(left)?;
        let told = self.last.is_some_and(|(known, when)| {
            // A clock that was set back must not keep anybody silent for long.
            known >= level && now.duration_since(when).is_ok_and(|since| since < DAY)
        });
        if told {
            return None;
        }
        self.last = Some((level, now));
        Some(left)
    }
}

fn level(left: Duration) -> Option<Level> {
    if left.is_zero() {
        return Some(Level::Over);
    }
    let reached = LEVELS.iter().rev().find(|days| left <= DAY * **days)?;
    Some(Level::Days(std::cmp::Reverse(*reached)))
}

/// What is left, in words: `in 13 days`, `within a day`, `has expired`.
pub fn words(left: Duration) -> String {
    match left.as_secs() / DAY.as_secs() {
        _ if left.is_zero() => "has expired".to_owned(),
        0 => "expires within a day".to_owned(),
        1 => "expires in 1 day".to_owned(),
        days => format!("expires in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 10_000
    }

    /// The days that are left when somebody is told, of somebody who looks every hour.
    fn told(told: &mut Told, from: u32, until: u32) -> Vec<u64> {
        let hours = (until * 24..=from * 24).rev();
        let looks = hours.filter_map(|hours| {
            let now = end() - Duration::from_secs(u64::from(hours) * 3600);
            told.due(end(), now).map(|_| u64::from(hours) / 24)
        });
        looks.collect()
    }

    #[test]
    fn it_is_told_at_each_level_at_once_and_once_a_day() {
        let mut memory = Told::default();
        assert_eq!(told(&mut memory, 60, 31), [0u64; 0]);
        assert_eq!(told(&mut memory, 30, 12), (12..=30).rev().collect::<Vec<_>>());
        let day = end() - DAY * 12 + Duration::from_secs(3600);
        assert_eq!(memory.due(end(), day), None, "it is not a day");
    }

    #[test]
    fn a_nearer_level_does_not_wait_for_the_day_to_end() {
        for days in [14, 7, 1] {
            let mut memory = Told::default();
            let (reached, before) = (end() - DAY * days, end() - DAY * days - Duration::from_secs(60));
            assert!(memory.due(end(), before).is_some());
            assert_eq!(memory.due(end(), before + Duration::from_secs(59)), None, "{days}");
            assert_eq!(memory.due(end(), reached), Some(DAY * days));
        }
        let mut memory = Told::default();
        assert!(memory.due(end(), end() - Duration::from_secs(1)).is_some());
        assert_eq!(memory.due(end(), end()), Some(Duration::ZERO), "it is over");
        assert_eq!(memory.due(end(), end() + Duration::from_secs(60)), None);
        assert_eq!(memory.due(end(), end() + DAY), Some(Duration::ZERO), "and said again the next day");
    }

    #[test]
    fn one_second_more_than_30_days_is_nobodys_business() {
        let mut memory = Told::default();
        assert_eq!(memory.due(end(), end() - DAY * 30 - Duration::from_secs(1)), None);
        assert!(memory.due(end(), end() - DAY * 30).is_some());
    }

    #[test]
    fn a_renewed_certificate_begins_anew_and_a_clock_set_back_silences_nobody() {
        let mut memory = Told::default();
        assert!(memory.due(end(), end() - DAY).is_some());
        assert_eq!(memory.due(end() + DAY * 90, end() - DAY), None);
        assert!(memory.due(end(), end() - DAY).is_some(), "the old one came back");
        assert!(memory.due(end(), end() - DAY * 20).is_some());
    }
}
