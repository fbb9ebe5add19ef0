//! How the pairs of the process before this one take up their work: one after the other, and not faster than the front
//! ends take what that makes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;

use super::port::Bells;
use super::routes::Route;
use super::timers::Due;
use super::{Gateway, Pair};

/// Requests that a route may have under way for one more pair to take up its work. A request that is refused for want of
/// room, or waits for too long, is tried again only after a good part of the subscription's time.
const UNDER_WAY: usize = 8192;
/// Pairs that take up their work at a time while there is no connection: what they send makes the route ask for one.
const KNOCKS: usize = 1;
/// How often it is looked whether there is room again.
const LOOK: Duration = Duration::from_millis(50);

/// Pairs whose time has come, and whose route has no room.
pub(super) type Waiting = Arc<Mutex<VecDeque<PairKey>>>;

impl Gateway {
    /// Restores the pairs of the process before this one. They take up their work at the pace of the settings.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn restore(&self, now: Moment) -> Result<u64, crate::store::StoreError> {
        let spread = Duration::from_secs(1) / self.settings.restart_rate.max(1);
        let mut number = 0u32;
        self.store.load_pairs(&mut |key, record| {
            let remote = self.remote(key.remote_domain());
            let pair = self.in_context(&key, now, |context| {
                let mut pair = Pair::restored(record, context);
                self.run_presence(&mut pair, context, &mut Bells::default());
                pair
            });
            remote.insert(&key, pair);
            // Up to one place earlier or later, so that nothing beats in step.
            let jitter = spread.mul_f64(self.environment.random() as f64 / u64::MAX as f64);
            self.timers.schedule(now.instant + spread * number + jitter, Due::Resume(key));
            number = number.saturating_add(1);
        })
    }

    /// The time of a restored pair has come.
    pub(super) fn resume(&self, key: PairKey, now: Moment) {
        let Some((number, route)) = self.numbered_route_of(key.local_domain()) else {
            return self.take_up(&key, now);
        };
        let mut waiting = route.resuming.lock();
        if waiting.is_empty() && route.is_connected() && self.room_on(route) > 0 {
            drop(waiting);
            return self.take_up(&key, now);
        }
        waiting.push_back(key);
        if waiting.len() == 1 {
            self.timers.schedule(now.instant + LOOK, Due::Room(number));
        }
    }

    /// The pairs that waited for this route take up their work, as far as there is room.
    pub(super) fn resume_waiting(&self, number: usize, now: Moment) {
        let Some(route) = self.routes.get(number) else { return };
        let mut waiting = route.resuming.lock();
        let room = self.room_on(route).min(waiting.len());
        let next: Vec<_> = waiting.drain(..room).collect();
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        } else {
            self.timers.schedule(now.instant + LOOK, Due::Room(number));
        }
        drop(waiting);
        let next = next.iter().map(|key| (key, ()));
        self.visit_all(next, now, |pair, context, ()| pair.resume(context));
    }

    /// How many pairs may take up their work now. What they send leaves once their records are stored, so these count as
    /// requests under way.
    fn room_on(&self, route: &Route) -> usize {
        let load = route.hops.step(|group| group.load());
        if route.is_connected() {
            UNDER_WAY.saturating_sub(load + self.keeping.outstanding())
        } else {
            KNOCKS.saturating_sub(load)
        }
    }

    fn take_up(&self, key: &PairKey, now: Moment) {
        self.visit_presence(key, now, |pair, context| pair.resume(context));
    }

    fn numbered_route_of(&self, local_domain: &str) -> Option<(usize, &Route)> {
        let serves = |route: &Route| route.domains.iter().any(|served| served == local_domain);
        self.routes.iter().enumerate().find(|(_, route)| serves(route))
    }
}

impl Route {
    fn is_connected(&self) -> bool {
        self.hops.step(|group| group.active().is_some())
    }
}
