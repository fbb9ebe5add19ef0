//! Which of the next hops is tried next.

use std::time::Instant;

use super::MAX_TARGETS;

/// One next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopTarget {
    /// Names it in [`HopOutput::Connect`](super::HopOutput::Connect). A number is never used again for another next hop.
    pub id: usize,
    /// `host:port`: for people, and for redirects to it.
    pub label: String,
    /// Of next hops of equal rank none is preferred to a connection to the other; lower ranks are.
    pub rank: u32,
}

/// The next hops of a group in the order of preference, and what is known against them.
#[derive(Debug)]
pub(super) struct Targets(Vec<Target>);

#[derive(Debug)]
struct Target {
    target: HopTarget,
    /// It has failed in this round.
    failed: bool,
    /// It has answered 503 and is left alone until then.
    avoid_until: Option<Instant>,
}

impl Targets {
    /// Each is preferred to all after it; the numbers are their places.
    pub(super) fn fixed(labels: impl IntoIterator<Item = String>) -> Self {
        let labels = labels.into_iter().enumerate();
        let targets =
            labels.map(|(id, label)| HopTarget { id, label, rank: u32::try_from(id).unwrap_or(u32::MAX) });
        let mut none = Self(Vec::new());
        none.replace(targets);
        none
    }

    /// These, in this order, from now on; what is known of those that were there before goes on counting. True if one is
    /// among them that was not.
    pub(super) fn replace(&mut self, targets: impl IntoIterator<Item = HopTarget>) -> bool {
        let before = std::mem::take(&mut self.0);
        let mut grew = false;
        for target in targets.into_iter().take(MAX_TARGETS) {
            let known = before.iter().find(|known| known.target.id == target.id);
            grew |= known.is_none();
            let (failed, avoid_until) =
                known.map_or((false, None), |known| (known.failed, known.avoid_until));
            self.0.push(Target { target, failed, avoid_until });
        }
        grew
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn label(&self, id: usize) -> &str {
        self.get(id).map_or("a next hop that is none any more", |target| target.target.label.as_str())
    }

    /// The one that is called so.
    pub(super) fn labelled(&self, label: &str) -> Option<usize> {
        let target = self.0.iter().find(|target| target.target.label.eq_ignore_ascii_case(label))?;
        Some(target.target.id)
    }

    /// The first that has not failed in this round, rather one that has not refused us lately. `None`: there is none at all.
    pub(super) fn next(&self, now: Instant) -> Option<usize> {
        let untried = || self.0.iter().filter(|target| !target.failed);
        let next = untried().find(|target| target.is_welcome(now)).or_else(|| untried().next());
        next.map(|target| target.target.id)
    }

    /// Whether any other is still to be tried in this round.
    pub(super) fn has_untried_beside(&self, id: usize) -> bool {
        self.0.iter().any(|target| target.target.id != id && !target.failed)
    }

    /// Notes a failure; true if it was the last of the round, and begins a new one.
    pub(super) fn fail(&mut self, id: usize) -> bool {
        if let Some(target) = self.get_mut(id) {
            target.failed = true;
        }
        let over = self.0.iter().all(|target| target.failed);
        if over {
            self.succeed();
        }
        over
    }

    /// Forgets the failures of this round.
    pub(super) fn succeed(&mut self) {
        self.0.iter_mut().for_each(|target| target.failed = false);
    }

    pub(super) fn avoid(&mut self, id: usize, until: Instant) {
        if let Some(target) = self.get_mut(id) {
            target.avoid_until = target.avoid_until.max(Some(until));
        }
    }

    /// Forgets everything that is known against any of them.
    pub(super) fn forgive(&mut self) {
        self.succeed();
        self.0.iter_mut().for_each(|target| target.avoid_until = None);
    }

    /// Whether there is somebody else to turn to.
    pub(super) fn has_other(&self, than: usize, now: Instant) -> bool {
        self.0.iter().any(|target| target.target.id != than && target.is_welcome(now))
    }

    pub(super) fn is_listed(&self, id: usize) -> bool {
        self.get(id).is_some()
    }

    /// Whether any is preferred to this one. To one that is not listed any more, all are.
    pub(super) fn has_better(&self, than: usize) -> bool {
        self.0.iter().any(|target| self.is_better(target, than))
    }

    /// The first that is preferred to `than`, has not refused us lately, and stands behind `after`.
    pub(super) fn better_after(&self, than: usize, after: Option<usize>, now: Instant) -> Option<usize> {
        let behind = after.and_then(|after| self.0.iter().position(|target| target.target.id == after));
        let first = behind.map_or(0, |place| place + 1);
        let mut behind = self.0.iter().skip(first);
        behind
            .find(|target| self.is_better(target, than) && target.is_welcome(now))
            .map(|target| target.target.id)
    }

    fn is_better(&self, target: &Target, than: usize) -> bool {
        self.get(than).is_none_or(|than| target.target.rank < than.target.rank)
    }

    fn get(&self, id: usize) -> Option<&Target> {
        self.0.iter().find(|target| target.target.id == id)
    }

    fn get_mut(&mut self, id: usize) -> Option<&mut Target> {
        self.0.iter_mut().find(|target| target.target.id == id)
    }
}

impl Target {
    fn is_welcome(&self, now: Instant) -> bool {
        self.avoid_until.is_none_or(|until| until <= now)
    }
}
