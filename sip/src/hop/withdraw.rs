//! Requests that their caller does not want sent any more.

use std::time::Instant;

use super::{HopFailure, HopGroup, HopOutput, Outgoing};

impl<E> HopGroup<E> {
    /// The caller does not want this sent any more, now that its turn has come: what had to wait is judged again.
    pub fn withdraw(&mut self, mut outgoing: Outgoing<E>, now: Instant) {
        self.came_back(&mut outgoing, None);
        self.fail(outgoing, HopFailure::Withdrawn);
        self.advance(now);
    }

    /// The same of everything that has not left and is `unwanted`, without waiting for its turn. Walks all that waits: for
    /// what happens seldom.
    pub fn withdraw_waiting(&mut self, mut unwanted: impl FnMut(&E) -> bool, now: Instant) {
        for output in std::mem::take(&mut self.outputs) {
            match output {
                HopOutput::Send { mut outgoing, .. } if unwanted(&outgoing.envelope) => {
                    self.came_back(&mut outgoing, None);
                    self.fail(outgoing, HopFailure::Withdrawn);
                }
                other => self.outputs.push_back(other),
            }
        }
        let mut withdrawn = self.held.take_all(&mut unwanted);
        withdrawn.extend(self.diverted.take_all(&mut unwanted));
        for outgoing in withdrawn {
            self.fail(outgoing, HopFailure::Withdrawn);
        }
        self.advance(now);
    }
}
