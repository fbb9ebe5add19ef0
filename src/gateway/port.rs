//! A machine that several tasks feed and one task at a time serves.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

/// A state machine behind a lock that is only ever held for one short step, and the bell of the task
/// that serves it. The guard never leaves this module, so it cannot live across an await.
#[derive(Debug)]
pub struct Port<M> {
    machine: Mutex<M>,
    wake: Arc<Notify>,
    /// The bell of a task that serves it for the time being in place of its own. Changed under the lock only: whoever has
    /// fed the machine before a change has fed it for the one who comes, who looks at all of it.
    deputy: ArcSwapOption<Notify>,
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
        Self { machine: Mutex::new(machine), wake: Arc::new(Notify::new()), deputy: ArcSwapOption::empty() }
    }

    /// One step of the machine, taken by the task that serves it.
    pub fn step<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        step(&mut self.machine.lock())
    }

    /// One step taken by somebody else: the serving task is woken to see to the consequences.
    pub fn feed<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        let result = step(&mut self.machine.lock());
        self.notify();
        result
    }

    /// Another task takes over, if `step` says that it may: it is rung from now on.
    pub fn hand_over(&self, deputy: &Arc<Notify>, step: impl FnOnce(&mut M) -> bool) -> bool {
        let mut machine = self.machine.lock();
        let taken = step(&mut machine);
        if taken {
            self.deputy.store(Some(Arc::clone(deputy)));
            drop(machine);
            self.wake.notify_one();
        }
        taken
    }

    /// The other task gives it back with its last step, and its own one is rung.
    pub fn hand_back<R>(&self, step: impl FnOnce(&mut M) -> R) -> R {
        let mut machine = self.machine.lock();
        let result = step(&mut machine);
        self.deputy.store(None);
        drop(machine);
        self.wake.notify_one();
        result
    }

    /// Steps of one read, taken by somebody else: the serving task is woken when `bells` are rung, and only if the
    /// step says that there is something new for it.
    pub fn feed_later<R>(&self, bells: &mut Bells, step: impl FnOnce(&mut M) -> (R, bool)) -> R {
        let (result, news) = step(&mut self.machine.lock());
        if news {
            bells.0.push(self.deputy.load_full().unwrap_or_else(|| self.wake()));
        }
        result
    }

    /// One step taken by somebody else that rarely concerns the serving task; `step` says whether it does.
    pub fn feed_if(&self, step: impl FnOnce(&mut M) -> bool) {
        if step(&mut self.machine.lock()) {
            self.notify();
        }
    }

    /// What wakes its own task.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Wakes the serving task without a step.
    pub fn notify(&self) {
        match &*self.deputy.load() {
            Some(deputy) => deputy.notify_one(),
            None => self.wake.notify_one(),
        }
    }
}
