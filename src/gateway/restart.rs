//! How the pairs of the process before this one take up their work: one after the other, and not faster than the front
//! ends take what that makes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;
use tracing::warn;

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
pub(super) type Waiting = Arc<Mutex<Resuming>>;

#[derive(Debug, Default)]
pub(super) struct Resuming {
    pairs: VecDeque<Waits>,
    /// So many of them still show what was true before the restart.
    showing: usize,
    /// Since when there has been no connection, as far as anybody waits for one.
    unreachable_since: Option<Instant>,
}

#[derive(Debug)]
struct Waits {
    key: PairKey,
    /// It has taken up its work, and that met nobody.
    knocked: bool,
    showing: bool,
}

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
            remote.pairs.insert(&key, pair);
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
        if waiting.pairs.is_empty() && route.is_connected() && self.room_on(route) > 0 {
            drop(waiting);
            return self.take_up(&key, now);
        }
        waiting.pairs.push_back(Waits { key, knocked: false, showing: true });
        waiting.showing += 1;
        if waiting.pairs.len() == 1 {
            self.timers.schedule(now.instant + LOOK, Due::Room(number));
        }
    }

    /// The pairs that wait for this route take up their work, as far as there is room.
    pub(super) fn resume_waiting(&self, number: usize, now: Moment) {
        let Some(route) = self.routes.get(number) else { return };
        let mut waiting = route.resuming.lock();
        let room = self.room_on(route).min(waiting.pairs.len());
        let next: Vec<_> = waiting.pairs.drain(..room).collect();
        waiting.showing -= next.iter().filter(|waits| waits.showing).count();
        let unseen = self.unseen(&mut waiting, route, now);
        drop(waiting);
        let unseen = unseen.iter().map(|key| (key, ()));
        self.visit_all(unseen, now, |pair, context, ()| pair.out_of_sight(context));
        let connected = route.is_connected();
        let work = next.iter().map(|waits| (&waits.key, waits.knocked));
        self.visit_all(work, now, |pair, context, knocked| match knocked {
            true => pair.ask_front_end_again(context),
            false => pair.resume(context),
        });
        let mut waiting = route.resuming.lock();
        if !connected {
            // One pair at a time knocks, and goes on waiting.
            let knocked = next.into_iter().map(|waits| Waits { knocked: true, ..waits });
            for waits in knocked.filter(|waits| self.awaits_front_end(&waits.key)) {
                waiting.showing += usize::from(waits.showing);
                waiting.pairs.push_back(waits);
            }
        }
        if waiting.pairs.is_empty() {
            *waiting = Resuming::default();
        } else {
            self.timers.schedule(now.instant + LOOK, Due::Room(number));
        }
    }

    fn awaits_front_end(&self, key: &PairKey) -> bool {
        let remote = self.known_remote(key.remote_domain());
        remote.and_then(|remote| remote.pairs.look(key.as_str(), Pair::awaits_front_end)).unwrap_or(false)
    }

    /// Of those who wait, the next ones that may not go on showing what was true before the restart, because the front ends
    /// have been out of reach for too long. At the pace of the settings, as everything that is done for all pairs.
    fn unseen(&self, waiting: &mut Resuming, route: &Route, now: Moment) -> Vec<PairKey> {
        if route.is_connected() {
            waiting.unreachable_since = None;
            return Vec::new();
        }
        let since = *waiting.unreachable_since.get_or_insert(now.instant);
        if since + self.settings.presence.outage > now.instant {
            return Vec::new();
        }
        if waiting.showing == waiting.pairs.len() && waiting.showing > 0 {
            warn!(
                domains = %route.domains.join(", "),
                pairs = waiting.showing,
                "no front end of these domains could be reached since the restart; contacts who saw their users before it \
                 see them as unavailable until one is there"
            );
        }
        let pace = (LOOK.as_secs_f64() * f64::from(self.settings.restart_rate)).ceil() as usize;
        let most = pace.min(waiting.showing);
        let showing = waiting.pairs.iter_mut().filter(|waits| waits.showing).take(most);
        let unseen: Vec<_> = showing
            .map(|waits| {
                waits.showing = false;
                waits.key.clone()
            })
            .collect();
        waiting.showing -= unseen.len();
        unseen
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
