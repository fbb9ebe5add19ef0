//! Refusals that tell a remote user nothing, not even by how long they take.
//!
//! A user who does not exist costs a round trip to the front end; a message that the rules refuse costs
//! none. So that nobody can tell the two apart with a watch, a refusal by rule is sent after a time that
//! a front end really took for a refusal of its own.

use std::time::Duration;

/// How many of the latest times are kept.
const SAMPLES: usize = 64;
/// Taken while no front end has refused anything yet.
const FIRST: Duration = Duration::from_millis(5);
/// A front end slower than this is in trouble, and its time no model.
const LONGEST: Duration = Duration::from_secs(2);

/// How long front ends lately took to say that they will not deliver.
#[derive(Debug, Default)]
pub(super) struct RefusalPace {
    samples: Vec<Duration>,
    next: usize,
}

impl RefusalPace {
    /// A front end refused after `took`.
    pub(super) fn observe(&mut self, took: Duration) {
        if took > LONGEST {
            return;
        }
        if let Some(oldest) = self.samples.get_mut(self.next) {
            *oldest = took;
        } else {
            self.samples.push(took);
        }
        self.next = (self.next + 1) % SAMPLES;
    }

    /// How long the next refusal by rule shall take.
    pub(super) fn draw(&self, random: u64) -> Duration {
        let count = u64::try_from(self.samples.len()).unwrap_or(u64::MAX);
        let index = random.checked_rem(count).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.samples.get(index)).copied().unwrap_or(FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_only_what_was_observed() {
        let mut pace = RefusalPace::default();
        assert_eq!(pace.draw(17), FIRST);
        for millis in [3, 8] {
            pace.observe(Duration::from_millis(millis));
        }
        pace.observe(Duration::from_secs(30));
        let drawn: std::collections::BTreeSet<_> =
            (0..100).map(|random| pace.draw(random).as_millis()).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 8]);
    }

    #[test]
    fn the_latest_times_count() {
        let mut pace = RefusalPace::default();
        for millis in 0..1000 {
            pace.observe(Duration::from_millis(millis));
        }
        assert_eq!(pace.samples.len(), SAMPLES);
        assert!(pace.samples.iter().all(|sample| sample.as_millis() >= 936));
    }
}
