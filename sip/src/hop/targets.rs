//! Which of the next hops is tried next.

use std::time::Instant;

use super::MAX_TARGETS;

/// The next hops of a group in the order of preference, and what is known against them.
#[derive(Debug)]
pub(super) struct Targets {
    targets: Vec<Target>,
    /// Those that failed in this round, one bit each.
    failed: u64,
}

#[derive(Debug)]
struct Target {
    label: String,
    /// It has answered 503 and is left alone until then.
    avoid_until: Option<Instant>,
}

impl Targets {
    pub(super) fn new(labels: impl IntoIterator<Item = String>) -> Self {
        let target = |label| Target { label, avoid_until: None };
        Self { targets: labels.into_iter().map(target).take(MAX_TARGETS).collect(), failed: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn label(&self, target: usize) -> &str {
        self.targets.get(target).map_or("", |target| target.label.as_str())
    }

    /// The first that has not failed in this round, rather one that has not refused us lately. `None`: the
    /// round is over.
    pub(super) fn next(&self, now: Instant) -> Option<usize> {
        let untried = || (0..self.len()).filter(|target| self.failed & bit(*target) == 0);
        untried().find(|target| self.is_welcome(*target, now)).or_else(|| untried().next())
    }

    /// Notes a failure; true if it was the last of the round, and begins a new one.
    pub(super) fn fail(&mut self, target: usize) -> bool {
        self.failed |= bit(target);
        let over = (0..self.len()).all(|target| self.failed & bit(target) != 0);
        if over {
            self.failed = 0;
        }
        over
    }

    /// Forgets the failures of this round.
    pub(super) fn succeed(&mut self) {
        self.failed = 0;
    }

    pub(super) fn avoid(&mut self, target: usize, until: Instant) {
        if let Some(target) = self.targets.get_mut(target) {
            target.avoid_until = target.avoid_until.max(Some(until));
        }
    }

    /// Forgets everything that is known against any of them.
    pub(super) fn forgive(&mut self) {
        self.failed = 0;
        self.targets.iter_mut().for_each(|target| target.avoid_until = None);
    }

    /// Whether there is somebody else to turn to.
    pub(super) fn has_other(&self, than: usize, now: Instant) -> bool {
        (0..self.len()).any(|target| target != than && self.is_welcome(target, now))
    }

    fn is_welcome(&self, target: usize, now: Instant) -> bool {
        self.targets.get(target).is_some_and(|target| target.avoid_until.is_none_or(|until| until <= now))
    }
}

fn bit(target: usize) -> u64 {
    u32::try_from(target).ok().and_then(|target| 1u64.checked_shl(target)).unwrap_or(0)
}
