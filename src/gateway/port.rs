//! A machine that several tasks feed and one task serves.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A state machine behind a lock that is only ever held for one short step, and the bell of the task
/// that serves it. The guard never leaves this module, so it cannot live across an await.
#[derive(Debug)]
pub struct Port<M> {
    machine: Mutex<M>,
    wake: Arc<Notify>,
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

    /// What wakes the serving task.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Wakes the serving task without a step.
    pub fn notify(&self) {
        self.wake.notify_one();
    }
}
