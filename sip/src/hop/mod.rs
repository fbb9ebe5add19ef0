//! The machine in front of a front end: which next hop, when to connect, what waits, what is sent again.
//!
//! A [`HopGroup`] has an ordered list of next hops and at most one connection that it sends on; only what a redirect leads
//! to another of them takes a connection of its own. The list may change at any
//! time ([`HopGroup::list`]). A connection to somebody who is not the most preferred, or not listed any more, is exchanged for
//! a better one as soon as that is there, and not before ([`HopConfig::fail_back`]). Its promises:
//!
//! * every envelope pushed comes back exactly once, as [`HopOutput::Response`] or [`HopOutput::Failed`], or, that of an
//!   ACK or a BENOTIFY, as [`HopOutput::Acknowledged`];
//! * requests leave in the order in which they were pushed;
//! * nothing waits longer than [`HopConfig::hold`] to be sent;
//! * nothing is sent twice unless it surely was not processed: nothing of it was written, the answer was 503
//!   and somebody else is there to ask, or it was a redirect to another of the next hops;
//! * an INVITE that was cancelled is not sent again at all.
//!
//! ## Together with the connections
//!
//! The driver keeps a [`Connection<Outgoing<E>>`](crate::connection::Connection) per connection. A
//! [`HopOutput::Send`] goes to [`Connection::send`](crate::connection::Connection::send), what that refuses to
//! [`HopGroup::refused`], and the outcomes of the connection to [`HopGroup::response`] and [`HopGroup::failed`].
//!
//! Group and connection stand behind one mutex each, taken in this order: group, then connection, and a task
//! drains [`HopGroup::poll`] before it releases the group; otherwise two tasks could send in another order than
//! they pushed. The connection's own task collects what its machine puts out, releases it, and only then locks
//! the group.

mod again;
mod backoff;
mod config;
mod held;
mod invites;
mod listing;
mod output;
mod redirect;
mod request;
mod targets;
#[cfg(test)]
mod tests;
mod withdraw;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub use config::{ATTEMPTS_PER_HOLD, FAIL_BACK_CAP, HopConfig};
pub use output::{ConnectFailure, HopFailure, HopOutput, PushRefusal, PushRefused};
pub use request::{NoBranch, OutRequest, Outgoing};

use crate::Message;
use crate::connection::{Failure, SendRefused, Why};
use backoff::Backoff;
use held::Held;
use invites::Invites;
use redirect::Diverted;
use request::Sent;
pub use targets::HopTarget;
use targets::Targets;

/// Next hops of one group; further ones are never tried.
pub const MAX_TARGETS: usize = 64;

/// Names a connection; the driver chooses the number and never uses it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HopConnection(pub u64);

/// The machine. `E` is what the caller gets back with the outcome of a request.
#[derive(Debug)]
pub struct HopGroup<E> {
    config: HopConfig,
    targets: Targets,
    backoff: Backoff,
    state: State,
    /// While a connection is up: the attempt beside it.
    beside: Option<Beside>,
    /// How many times [`HopConfig::fail_back`] is waited.
    fail_back_times: u32,
    held: Held<E>,
    /// What a redirect leads to a next hop, until a connection to that is there.
    diverted: Diverted<E>,
    outputs: VecDeque<HopOutput<E>>,
    invites: Invites,
    /// Requests taken and not yet given back, and their bytes.
    load: usize,
    load_bytes: usize,
    next_number: u64,
    last_failure: Option<Arc<ConnectFailure>>,
    draining: bool,
}

#[derive(Debug)]
enum State {
    /// No connection; none is tried before `not_before`.
    Down {
        not_before: Option<Instant>,
    },
    Connecting {
        target: usize,
    },
    Up(Active),
}

/// The connection that requests are sent on.
#[derive(Debug)]
struct Active {
    connection: HopConnection,
    target: usize,
    since: Instant,
    /// The last response; none came yet if `None`.
    heard: Option<Instant>,
    in_flight: usize,
    /// When a better one is looked for.
    look_at: Option<Instant>,
    /// It took the place of one that worked.
    moved: bool,
}

/// An attempt to connect while there is a connection.
#[derive(Clone, Copy, Debug)]
enum Beside {
    /// To a next hop that is preferred: all goes there once it is reached.
    Better(usize),
    /// To one that requests were redirected to: only these go there.
    Redirect(usize),
}

impl Beside {
    fn target(self) -> usize {
        match self {
            Self::Better(target) | Self::Redirect(target) => target,
        }
    }
}

impl<E> HopGroup<E> {
    /// `targets` are the next hops in order of preference, `random` is the seed of the back-off's jitter.
    pub fn new(config: HopConfig, targets: impl IntoIterator<Item = String>, random: u64) -> Self {
        Self {
            backoff: Backoff::new(config.backoff_first, config.backoff_cap, random),
            config,
            targets: Targets::fixed(targets),
            state: State::Down { not_before: None },
            beside: None,
            fail_back_times: 1,
            held: Held::new(),
            diverted: Diverted::new(),
            outputs: VecDeque::new(),
            invites: Invites::default(),
            load: 0,
            load_bytes: 0,
            next_number: 0,
            last_failure: None,
            draining: false,
        }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// The envelope comes back at once; nothing is sent.
    pub fn push(&mut self, request: OutRequest, envelope: E, now: Instant) -> Result<(), PushRefused<E>> {
        let bytes = self.load_bytes.saturating_add(request.bytes().len());
        if self.draining {
            return Err(PushRefused { why: PushRefusal::ShuttingDown, envelope });
        }
        if self.load >= self.config.max_requests || bytes > self.config.max_bytes {
            return Err(PushRefused { why: PushRefusal::Full, envelope });
        }
        self.load += 1;
        self.load_bytes = bytes;
        let number = self.next_number;
        self.next_number += 1;
        self.held.push(Outgoing {
            request,
            envelope,
            number,
            pushed: now,
            sent: None,
            attempts: 0,
            refusal: None,
            redirected: false,
            cancelled: false,
        });
        self.advance(now);
        Ok(())
    }

    /// The connection asked for is there and judged.
    pub fn connected(&mut self, connection: HopConnection, now: Instant) {
        match self.state {
            State::Connecting { target } => {
                // What waited too long waited for this connection: said before the state changes.
                self.expire_due(now);
                self.up(connection, target, false, now);
            }
            State::Up(Active { connection: old, .. }) if let Some(beside) = self.beside.take() => {
                match beside {
                    Beside::Better(target) => {
                        // What it is working on, it may finish.
                        self.outputs.push_back(HopOutput::Release { connection: old });
                        self.up(connection, target, true, now);
                    }
                    Beside::Redirect(target) => self.arrive(connection, target, now),
                }
            }
            // Nobody asked for it.
            State::Down { .. } | State::Up(_) => self.outputs.push_back(HopOutput::Release { connection }),
        }
    }

    fn up(&mut self, connection: HopConnection, target: usize, moved: bool, now: Instant) {
        let look_at = match self.targets.is_listed(target) {
            true => {
                self.targets.has_better(target).then(|| now + self.config.fail_back * self.fail_back_times)
            }
            false => Some(now),
        };
        self.state =
            State::Up(Active { connection, target, since: now, heard: None, in_flight: 0, look_at, moved });
        self.advance(now);
    }

    /// The connection asked for did not come about: name not resolved, refused, timed out, wrong certificate.
    pub fn connect_failed(&mut self, reason: impl Into<String>, now: Instant) {
        match &self.state {
            State::Connecting { target } => {
                let target = *target;
                self.turn_back(target);
                self.target_failed(target, reason.into(), now);
            }
            // The one in use goes on.
            State::Up(active) if let Some(beside) = self.beside.take() => {
                let used = active.target;
                self.turn_back(beside.target());
                if let Beside::Better(target) = beside {
                    // The next better one, or all of them again after a while.
                    let next = self.targets.better_after(used, Some(target), now);
                    self.move_to(next, now);
                }
            }
            State::Up(_) | State::Down { .. } => {}
        }
        self.advance(now);
    }

    /// A connection has ended. Its unfinished requests come back through [`HopGroup::failed`], before or after.
    pub fn connection_closed(&mut self, connection: HopConnection, now: Instant) {
        self.lose(connection, now);
        self.advance(now);
    }

    /// A request got its final response.
    pub fn response(&mut self, mut outgoing: Outgoing<E>, message: Message, now: Instant) {
        self.came_back(&mut outgoing, Some(now));
        let status = message.status().map_or(0, |status| status.0);
        if let Some(redirect) = self.redirect(&outgoing, status, &message, now) {
            self.follow(outgoing, redirect, message);
        } else if status == 503
            && let Some(sent) = outgoing.sent
            && self.may_ask_another(&outgoing, sent, now)
        {
            self.ask_another(outgoing, sent, message, now);
        } else {
            self.answer(outgoing, message);
        }
        self.advance(now);
    }

    /// An ACK stands in the output of its connection, or a BENOTIFY is written.
    pub fn acknowledged(&mut self, mut outgoing: Outgoing<E>, now: Instant) {
        self.came_back(&mut outgoing, None);
        self.give_back(outgoing.request.bytes().len());
        self.outputs.push_back(HopOutput::Acknowledged { envelope: outgoing.envelope });
        self.advance(now);
    }

    /// A request got no response from its connection.
    pub fn failed(&mut self, mut outgoing: Outgoing<E>, why: Failure, now: Instant) {
        self.came_back(&mut outgoing, None);
        match why {
            Failure::Timeout { heard } => {
                if let Some(sent) = outgoing.sent.filter(|_| !heard) {
                    self.retire_if_deaf(sent, now);
                }
                self.fail(outgoing, HopFailure::Timeout);
            }
            Failure::ConnectionLost { written: true } => {
                self.lose_of(&outgoing, now);
                self.fail(outgoing, HopFailure::Lost);
            }
            Failure::ConnectionLost { written: false } => {
                self.lose_of(&outgoing, now);
                self.take_back(outgoing);
            }
        }
        self.advance(now);
    }

    /// A connection did not take a request; nothing of it was sent.
    pub fn refused(&mut self, refused: SendRefused<Outgoing<E>>, now: Instant) {
        let SendRefused { why, envelope: mut outgoing } = refused;
        self.came_back(&mut outgoing, None);
        match why {
            Why::Closed => {
                self.lose_of(&outgoing, now);
                self.take_back(outgoing);
                self.advance(now);
            }
            // It is sent when the next one has come back; the connection has no room before that.
            Why::Full => self.take_back(outgoing),
            // It could never be told apart from the other one's answer.
            Why::BranchInUse => self.fail(outgoing, HopFailure::BranchInUse),
        }
    }

    /// Connects if there is no connection, unless every next hop failed a moment ago: somebody wants to know whether one is
    /// there.
    pub fn knock(&mut self, now: Instant) {
        if let State::Down { not_before } = self.state
            && !self.draining
            && not_before.is_none_or(|at| at <= now)
        {
            self.connect(now);
        }
    }

    /// Whether the last attempt failed and the next one waits for its time.
    pub fn is_backing_off(&self, now: Instant) -> bool {
        matches!(self.state, State::Down { not_before: Some(at) } if at > now)
    }

    /// Shutdown has begun: takes no more requests, finishes those it has, then releases the connection.
    pub fn drain(&mut self) {
        self.draining = true;
        self.settle();
    }

    /// Gives back what was not sent yet: the time for draining is over.
    pub fn abandon(&mut self) {
        self.draining = true;
        while let Some(outgoing) = self.held.pop().or_else(|| self.diverted.pop()) {
            self.fail(outgoing, HopFailure::ShuttingDown);
        }
        self.settle();
    }

    /// The next thing to do; drain it after every input.
    pub fn poll(&mut self) -> Option<HopOutput<E>> {
        self.outputs.pop_front()
    }

    /// How often [`HopGroup::poll`] would give something.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// When [`HopGroup::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let firsts = [self.held.first(), self.diverted.first()].into_iter().flatten();
        let hold = firsts.map(|first| first.pushed + self.config.hold).min();
        let other = match &self.state {
            State::Down { not_before: Some(at) } if hold.is_some() => Some(*at),
            State::Up(active) if self.beside.is_none() && !self.draining => active.look_at,
            _ => None,
        };
        [hold, other].into_iter().flatten().min()
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Every envelope has been given back.
    pub fn is_idle(&self) -> bool {
        self.load == 0 && self.outputs.is_empty()
    }

    /// The connection in use, and the next hop it leads to.
    pub fn active(&self) -> Option<(HopConnection, usize)> {
        match &self.state {
            State::Up(active) => Some((active.connection, active.target)),
            _ => None,
        }
    }

    /// How the last attempt to connect failed; `None` while a connection works.
    pub fn last_failure(&self) -> Option<&ConnectFailure> {
        self.last_failure.as_deref()
    }

    /// Requests taken and not yet given back.
    pub fn load(&self) -> usize {
        self.load
    }

    /// Whether [`HopGroup::push`] would take a small request now.
    pub fn has_room(&self) -> bool {
        !self.draining && self.load < self.config.max_requests && self.load_bytes < self.config.max_bytes
    }

    /// Does what has become possible or due: gives back what waited too long, sends, connects.
    fn advance(&mut self, now: Instant) {
        self.expire_due(now);
        match self.state {
            State::Up(_) => self.send_held(now),
            State::Down { not_before } if not_before.is_none_or(|at| at <= now) => {
                if !self.held.is_empty() || self.diverted.first().is_some() {
                    self.connect(now);
                }
            }
            State::Down { .. } | State::Connecting { .. } => {}
        }
        self.look_for_redirected();
        self.look_for_better(now);
        self.settle();
    }

    fn send_held(&mut self, now: Instant) {
        while let State::Up(active) = &mut self.state
            && active.in_flight < self.config.window
            && let Some(outgoing) = self.diverted.pop_for(active.target).or_else(|| self.held.pop())
        {
            active.in_flight += 1;
            let (connection, target) = (active.connection, active.target);
            self.send(outgoing, Sent { connection, target, at: now });
        }
    }

    fn send(&mut self, mut outgoing: Outgoing<E>, sent: Sent) {
        let connection = sent.connection;
        outgoing.sent = Some(sent);
        if outgoing.request.is_invite() {
            self.invites.leaves(&outgoing.request, connection);
        }
        self.outputs.push_back(HopOutput::Send { connection, outgoing });
    }

    /// There is no connection any more, unless one is under way.
    fn down(&mut self, not_before: Option<Instant>) {
        self.state = match self.beside.take() {
            Some(beside) => State::Connecting { target: beside.target() },
            None => State::Down { not_before },
        };
    }

    fn connect(&mut self, now: Instant) {
        match self.targets.next(now) {
            Some(target) => self.connect_to(target),
            // Only without any next hop at all. Requests wait for one to be listed, until their hold ends.
            None => self.state = State::Down { not_before: Some(now + self.backoff.failed()) },
        }
    }

    fn connect_to(&mut self, target: usize) {
        self.state = State::Connecting { target };
        let within = self.targets.has_untried_beside(target).then(|| self.config.attempt());
        self.outputs.push_back(HopOutput::Connect { target, within });
    }

    fn target_failed(&mut self, target: usize, reason: String, now: Instant) {
        let target_label = self.targets.label(target).to_owned();
        self.last_failure = Some(Arc::new(ConnectFailure { target: target_label, reason }));
        let round_over = self.targets.fail(target);
        let not_before = round_over.then(|| now + self.backoff.failed());
        self.down(not_before);
    }

    /// Takes a request off the count of its connection.
    fn came_back(&mut self, outgoing: &mut Outgoing<E>, heard: Option<Instant>) {
        if outgoing.request.is_invite() {
            outgoing.cancelled = self.invites.came_back(&outgoing.request);
        }
        let State::Up(active) = &mut self.state else { return };
        if outgoing.sent.is_some_and(|sent| sent.connection == active.connection) {
            active.in_flight = active.in_flight.saturating_sub(1);
            if heard.is_some() {
                active.heard = heard;
                if std::mem::take(&mut active.moved) {
                    self.fail_back_times = 1;
                }
                self.last_failure = None;
                self.targets.succeed();
                self.backoff.reset();
            }
        }
    }

    /// A request timed out, and nothing was answered on its connection since it was sent: nobody is there.
    fn retire_if_deaf(&mut self, sent: Sent, now: Instant) {
        let State::Up(active) = &self.state else { return };
        if active.connection == sent.connection && active.heard.is_none_or(|heard| heard < sent.at) {
            let (connection, target) = (active.connection, active.target);
            self.moved_in_vain();
            self.outputs.push_back(HopOutput::Release { connection });
            self.target_failed(target, "it did not answer any request".to_owned(), now);
        }
    }

    fn lose_of(&mut self, outgoing: &Outgoing<E>, now: Instant) {
        if let Some(sent) = outgoing.sent {
            self.lose(sent.connection, now);
        }
    }

    fn lose(&mut self, connection: HopConnection, now: Instant) {
        let State::Up(active) = &self.state else { return };
        if active.connection != connection {
            return;
        }
        let lived = now.saturating_duration_since(active.since);
        if active.heard.is_some() || lived >= self.config.stable_after {
            self.backoff.reset();
            self.targets.succeed();
            self.down(None);
        } else {
            let target = active.target;
            self.moved_in_vain();
            self.target_failed(target, "it closed the connection at once".to_owned(), now);
        }
    }

    fn expire_due(&mut self, now: Instant) {
        let hold = self.config.hold;
        let due = |first: Option<&Outgoing<E>>| first.is_some_and(|first| first.pushed + hold <= now);
        while due(self.held.first())
            && let Some(outgoing) = self.held.pop()
        {
            self.expire(outgoing);
        }
        while due(self.diverted.first())
            && let Some(outgoing) = self.diverted.pop()
        {
            self.expire(outgoing);
        }
    }

    fn expire(&mut self, mut outgoing: Outgoing<E>) {
        if let Some(message) = outgoing.refusal.take() {
            return self.answer(outgoing, *message);
        }
        let why = match self.state {
            State::Up(_) => HopFailure::Congested,
            _ => HopFailure::Unreachable { last: self.last_failure.clone() },
        };
        self.fail(outgoing, why);
    }

    fn answer(&mut self, outgoing: Outgoing<E>, message: Message) {
        self.give_back(outgoing.request.bytes().len());
        let target = outgoing.sent.map(|sent| sent.target);
        self.outputs.push_back(HopOutput::Response { envelope: outgoing.envelope, message, target });
    }

    fn fail(&mut self, outgoing: Outgoing<E>, why: HopFailure) {
        self.give_back(outgoing.request.bytes().len());
        let target = outgoing.sent.map(|sent| sent.target);
        self.outputs.push_back(HopOutput::Failed { envelope: outgoing.envelope, why, target });
    }

    fn give_back(&mut self, bytes: usize) {
        self.load = self.load.saturating_sub(1);
        self.load_bytes = self.load_bytes.saturating_sub(bytes);
    }

    /// Ends a drained group.
    fn settle(&mut self) {
        if self.draining
            && self.load == 0
            && let State::Up(active) = &self.state
        {
            self.outputs.push_back(HopOutput::Release { connection: active.connection });
            self.down(None);
        }
    }
}
