//! A machine that several tasks feed and one task serves.

use std::sync::Arc;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

/// A state machine behind a lock that is only ever held for one short step, and the bell of the task
/// that serves it. The guard never leaves this module, so it cannot live across an await.
#[derive(Debug)]
pub struct Port<M> {
    machine: Mutex<M>,
    wake: Arc<Notify>,
}

/// Tasks to be woken once everything that one read brought has been worked on: they find all of it, instead of
/// starting on the first message while the others are still coming.
#[derive(Debug, Default)]
pub struct Bells(SmallVec<[Arc<Notify>; 4]>);

impl Drop for Bells {
    /// Also when a step panicked: what was fed before it must not lie there.
    fn drop(&mut self) {
        self.0.drain(..).for_each(|bell| bell.notify_one());
    }
}

impl<M> Port<M> {
    pub fn new(machine: M) -> Self {
        Self { machine: Mutex::new(machine), wake: Arc::new(Notify::new()) }
    }

    /// One step of the machine, taken by the task that serves it.
    pub fn step<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        step(&mut self.machine.lock())
    }

    /// One step taken by somebody else: the serving task is woken to see to the consequences.
    pub fn feed<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        let result = step(&mut self.machine.lock());
        self.wake.notify_one();
        result
    }

    /// Steps of one read, taken by somebody else: the serving task is woken when `bells` are rung, and only if the
    /// step says that there is something new for it.
    pub fn feed_later<R>(&self, bells: &mut Bells, step: impl FnOnce(&mut M) -> (R, bool)) -> R {
        let (result, news) = step(&mut self.machine.lock());
        if news {
            bells.0.push(self.wake());
        }
        result
    }

    /// One step taken by somebody else that rarely concerns the serving task; `step` says whether it does.
    pub fn feed_if(&self, step: impl FnOnce(&mut M) -> bool) {
        if step(&mut self.machine.lock()) {
            self.wake.notify_one();
        }
    }

    /// What wakes the serving task.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Wakes the serving task without a step.
    pub fn notify(&self) {
        self.wake.notify_one();
    }
}
