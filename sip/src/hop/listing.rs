//! Next hops that come and go, and going back to a better one (fail-back).

use std::sync::Arc;
use std::time::Instant;

use super::{
    Active, Beside, ConnectFailure, FAIL_BACK_CAP, HopConnection, HopGroup, HopOutput, HopTarget, State,
};

impl<E> HopGroup<E> {
    /// These are the next hops from now on, in order of preference. What is under way stays where it is; a connection to
    /// somebody who is not among them is exchanged for another one, and used until that is there.
    pub fn list(&mut self, targets: impl IntoIterator<Item = HopTarget>, now: Instant) {
        let grew = self.targets.replace(targets);
        match &mut self.state {
            // Of those that were not known before, none has failed.
            State::Down { not_before } if grew => *not_before = None,
            State::Up(active) => {
                let listed = self.targets.is_listed(active.target);
                let better = self.targets.has_better(active.target);
                active.look_at = match active.look_at {
                    _ if !listed => better.then_some(now),
                    at => better.then(|| at.unwrap_or(now + self.config.fail_back)),
                };
            }
            State::Down { .. } | State::Connecting { .. } => {}
        }
        self.advance(now);
    }

    /// There is no next hop at all, and this is why.
    pub fn nothing_listed(&mut self, of: impl Into<String>, reason: impl Into<String>) {
        if self.targets.len() == 0 {
            self.last_failure = Some(Arc::new(ConnectFailure { target: of.into(), reason: reason.into() }));
        }
    }

    /// Connects at once, whatever failed before (the administrator knows better), or looks for a better connection.
    pub fn retry_now(&mut self, now: Instant) {
        match &mut self.state {
            State::Down { .. } => {
                self.backoff.reset();
                self.targets.forgive();
                self.connect(now);
            }
            State::Up(active) if active.look_at.is_some() => {
                active.look_at = Some(now);
                self.fail_back_times = 1;
                self.targets.forgive();
                self.look_for_better(now);
            }
            State::Up(_) | State::Connecting { .. } => {}
        }
    }

    /// Whether there is a connection, and a better one would be looked for after a while.
    pub fn is_second_best(&self) -> bool {
        let moving = matches!(self.beside, Some(Beside::Better(_)));
        matches!(&self.state, State::Up(active) if active.look_at.is_some() && !moving)
    }

    /// This connection is not to be used any more, though it is there: who it leads to is not who he was. What is under way on
    /// it is finished there.
    pub fn give_up(&mut self, connection: HopConnection, now: Instant) {
        if let State::Up(active) = &self.state
            && active.connection == connection
        {
            self.outputs.push_back(HopOutput::Release { connection });
            self.down(None);
            self.advance(now);
        }
    }

    /// Begins to exchange the connection for a better one, if it is time.
    pub(super) fn look_for_better(&mut self, now: Instant) {
        let State::Up(active) = &self.state else { return };
        if self.beside.is_some() || self.draining || active.look_at.is_none_or(|at| at > now) {
            return;
        }
        let better = self.targets.better_after(active.target, None, now);
        self.move_to(better, now);
    }

    /// Tries this better one. Without one, all of them are tried again after a while.
    pub(super) fn move_to(&mut self, better: Option<usize>, now: Instant) {
        self.beside = better.map(Beside::Better);
        match better {
            // The connection in use may be lost meanwhile, and what is to leave then waits for this attempt.
            Some(target) => {
                let within = Some(self.config.attempt());
                self.outputs.push_back(HopOutput::Connect { target, within });
            }
            None => {
                let wait = self.config.fail_back * self.fail_back_times;
                if let State::Up(active) = &mut self.state {
                    active.look_at = Some(now + wait);
                }
            }
        }
    }

    /// The better one was not better: it is not tried again so soon.
    pub(super) fn moved_in_vain(&mut self) {
        if let State::Up(Active { moved: true, .. }) = self.state {
            self.fail_back_times = (self.fail_back_times * 2).min(FAIL_BACK_CAP);
        }
    }
}
