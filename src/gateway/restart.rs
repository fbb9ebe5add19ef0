//! How the pairs of the process before this one take up their work: one after the other, and not faster than the front
//! ends take what that makes. Those whose front end was away wait in the same line (see `absence`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;
use tracing::warn;

use super::Gateway;
use super::Pair;
use super::absence::{Absence, Rounds};
use super::errands::STEP;
use super::port::Bells;
use super::routes::Route;
use super::timers::Due;

/// Requests that a route may have under way for one more pair to take up its work. A request that is refused for want of
/// room, or waits for too long, is tried again only after a good part of the subscription's time.
const UNDER_WAY: usize = 8192;
/// How often it is looked whether there is room again, or a front end.
const LOOK: Duration = Duration::from_millis(50);

/// The same where it is known that none is there.
const SELDOM: Duration = Duration::from_secs(1);

/// Pairs whose time has come, and whose route has no room.
pub(super) type Waiting = Arc<Mutex<Line>>;

#[derive(Debug, Default)]
pub(super) struct Line {
    pairs: VecDeque<Waits>,
    /// So many of them still show what was true before.
    showing: usize,
    /// Since when there has been no connection, as far as anybody waits for one.
    pub(super) unreachable_since: Option<Instant>,
    /// No connection leads to the front ends, and nobody knows yet what that means.
    pub(super) absence: Option<Absence>,
    /// Of those whose front ends were back before anybody missed them.
    pub(super) rounds: Rounds,
}

#[derive(Debug)]
struct Waits {
    key: PairKey,
    what: For,
    showing: bool,
}

/// What a pair waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// To take up its work for the first time.
    Restart,
    /// The return of its front end.
    Return,
}

impl Line {
    pub(super) fn keys(&self) -> impl Iterator<Item = &PairKey> {
        self.pairs.iter().map(|waits| &waits.key)
    }

    fn join(&mut self, key: PairKey, what: For) {
        self.pairs.push_back(Waits { key, what, showing: true });
        self.showing += 1;
    }

    fn take(&mut self, most: usize) -> Vec<Waits> {
        let next: Vec<_> = self.pairs.drain(..most.min(self.pairs.len())).collect();
        self.showing -= next.iter().filter(|waits| waits.showing).count();
        next
    }

    /// Up to so many pairs that still show what was true before, and are to do so no more.
    fn hide(&mut self, most: usize) -> Vec<(PairKey, For)> {
        if self.showing == 0 {
            return Vec::new();
        }
        let showing = self.pairs.iter_mut().filter(|waits| waits.showing).take(most);
        let hidden: Vec<_> = showing
            .map(|waits| {
                waits.showing = false;
                (waits.key.clone(), waits.what)
            })
            .collect();
        self.showing -= hidden.len();
        hidden
    }
}

impl Gateway {
    /// Restores the pairs of the process before this one. They take up their work at the pace of the settings.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn restore(&self, now: Moment) -> Result<u64, crate::store::StoreError> {
        self.restore_pending(now);
        let spread = self.spread();
        let mut number = 0u32;
        self.store.load_pairs(&mut |key, record| {
            let remote = self.remote(key.remote_domain());
            let pair = self.in_context(&key, now, |context| {
                let mut pair = Pair::restored(record, context);
                self.run_presence(&mut pair, context, &mut Bells::default());
                pair
            });
            remote.pairs.insert(&key, pair);
            self.timers.schedule(now.instant + spread * number + self.up_to(spread), Due::Resume(key));
            number = number.saturating_add(1);
        })
    }

    /// The time between two pairs of many that do something.
    pub(super) fn spread(&self) -> Duration {
        Duration::from_secs(1) / self.settings.restart_rate.max(1)
    }

    /// Up to one place later, so that nothing beats in step.
    pub(super) fn up_to(&self, spread: Duration) -> Duration {
        spread.mul_f64(self.environment.random() as f64 / u64::MAX as f64)
    }

    /// The time of a restored pair has come.
    pub(super) fn resume(&self, key: PairKey, now: Moment) {
        let Some((number, route)) = self.numbered_route_of(&key) else {
            return self.take_up(&key, now);
        };
        let at_once = match route.is_connected() {
            true => route.resuming.lock().pairs.is_empty() && self.room_on(route) > 0,
            false => !self.needs_front_end(&key),
        };
        if at_once {
            return self.take_up(&key, now);
        }
        self.line_up([key], For::Restart, number, route, now);
    }

    /// These pairs wait for a connection on this route, and for room.
    pub(super) fn line_up(
        &self,
        pairs: impl IntoIterator<Item = PairKey>,
        what: For,
        number: usize,
        route: &Route,
        now: Moment,
    ) {
        let mut waiting = route.resuming.lock();
        let nobody = waiting.pairs.is_empty();
        pairs.into_iter().for_each(|key| waiting.join(key, what));
        if nobody && !waiting.pairs.is_empty() {
            self.timers.schedule(now.instant + LOOK, Due::Room(number));
        }
    }

    /// The pairs that wait for this route are to do what they wait for: an errand, for there may be many.
    pub(super) fn resume_waiting(&self, number: usize) {
        self.errands.resume(number);
    }

    /// The next few of them do, if there is room. True: so may others now.
    pub(super) fn resume_some(&self, number: usize, now: Moment) -> bool {
        let Some(route) = self.routes.get(number) else { return false };
        let connected = route.is_connected();
        let room = if connected { self.room_on(route) } else { 0 };
        let mut waiting = route.resuming.lock();
        let next = waiting.take(room.min(STEP));
        let unseen = self.unseen(&mut waiting, route, connected, now);
        drop(waiting);
        if !connected {
            self.knock(route, now);
        }
        // Where a domain has several front ends, another one than the one that is away may know.
        let others = route.dialogs_of.is_some();
        let unseen = unseen.iter().map(|(key, what)| (key, *what));
        self.visit_all(unseen, now, |pair, context, what| match what {
            For::Restart => pair.out_of_sight(context),
            For::Return => pair.front_end_stays_away(others, context),
        });
        let work = next.iter().map(|waits| (&waits.key, waits.what));
        self.visit_all(work, now, |pair, context, what| match what {
            For::Restart => pair.resume(context),
            For::Return => pair.front_end_is_back(context),
        });
        let mut waiting = route.resuming.lock();
        if waiting.pairs.is_empty() {
            waiting.pairs = VecDeque::new();
            waiting.unreachable_since = None;
        } else if room > next.len() {
            return true;
        } else {
            // Nothing hurries any more where nobody is there and everybody knows.
            let idle = !connected && waiting.showing == 0;
            self.timers.schedule(now.instant + if idle { SELDOM } else { LOOK }, Due::Room(number));
        }
        false
    }

    /// Asks for a connection, though nothing is to be sent on it yet.
    pub(super) fn knock(&self, route: &Route, now: Moment) {
        route.hops.step(|group| group.knock(now.instant));
        self.serve_route(route, now);
    }

    /// Of those who wait, the next ones that may not go on showing what was true before, because the front ends have been
    /// out of reach for too long. At the pace of the settings, as everything that is done for all pairs.
    fn unseen(&self, waiting: &mut Line, route: &Route, connected: bool, now: Moment) -> Vec<(PairKey, For)> {
        if connected {
            waiting.unreachable_since = None;
            return Vec::new();
        }
        let since = *waiting.unreachable_since.get_or_insert(now.instant);
        if since + self.settings.presence.outage > now.instant {
            return Vec::new();
        }
        if waiting.showing == waiting.pairs.len() && waiting.showing > 0 {
            self.warn_unseen(route, waiting.showing);
        }
        let pace = (LOOK.as_secs_f64() * f64::from(self.settings.restart_rate)).ceil() as usize;
        waiting.hide(pace)
    }

    fn warn_unseen(&self, route: &Route, pairs: usize) {
        match route.dialogs_of.and_then(|front_end| self.front_ends.get(front_end)) {
            Some(front_end) => warn!(
                front_end = %front_end.name, pairs,
                "the front end could not be reached for too long; the subscriptions that it holds are made anew at others of its \
                 domains"
            ),
            None => warn!(
                domains = %route.domains.join(", "), pairs,
                "no front end of these domains could be reached for too long; contacts who saw their users before see them as \
                 unavailable until one is there"
            ),
        }
    }

    /// How many pairs may take up their work now. What they send leaves once their records are stored, so these count as
    /// requests under way.
    fn room_on(&self, route: &Route) -> usize {
        let load = route.hops.step(|group| group.load());
        UNDER_WAY.saturating_sub(load + self.keeping.outstanding())
    }

    fn needs_front_end(&self, key: &PairKey) -> bool {
        self.ask_pair(key, Pair::needs_front_end)
    }

    fn take_up(&self, key: &PairKey, now: Moment) {
        self.visit_presence(key, now, |pair, context| pair.resume(context));
    }

    pub(super) fn numbered_route_of(&self, key: &PairKey) -> Option<(usize, &Route)> {
        let identity = self.identity_of(&self.policy.load(), key.remote_domain());
        let leads = |route: &Route| route.identity == identity && route.serves(key.local_domain());
        self.routes.iter().enumerate().find(|(_, route)| leads(route))
    }
}

impl Route {
    pub(super) fn is_connected(&self) -> bool {
        self.hops.step(|group| group.active().is_some())
    }
}
