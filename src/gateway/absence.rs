//! Front ends that go away and come back, and what that says about the users that contacts watch there (XI-09).
//!
//! The end of a connection says little: either side closes what is idle. So it is looked whether another one comes about.
//! Only if every next hop of the route fails, its front ends are taken to be away. Then whoever watches a user of theirs goes
//! on seeing what he saw; when they are back, each subscription is refreshed, for they may have forgotten it; and if they stay
//! away for `limits.presence.outage`, the subscription is made anew at others, or the user is shown as unavailable.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use tracing::info;

use super::restart::For;
use super::routes::Route;
use super::timers::Due;
use super::{Gateway, Pair};

/// A front end that was restarted, or lost its way to us for a moment, has so long to be there again before it is looked for.
const SETTLE: Duration = Duration::from_secs(2);
/// How often it is looked whether it is there.
const LOOK: Duration = Duration::from_millis(250);

/// No connection leads to the front ends of a route any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    since: Instant,
}

impl Gateway {
    /// A connection with the front end of this place in the configuration has ended, whoever opened it.
    pub fn connection_lost(&self, front_end: usize, now: Moment) {
        if self.draining.load(Ordering::SeqCst) || self.ending.load(Ordering::SeqCst) {
            return;
        }
        for (number, route) in self.routes.iter().enumerate().filter(|(_, route)| route.leads_to(front_end)) {
            let mut waiting = route.resuming.lock();
            if waiting.absence.is_none() {
                waiting.absence = Some(Absence { since: now.instant });
                self.timers.schedule(now.instant + SETTLE, Due::Absence(number));
            }
        }
    }

    /// It is time to look whether the front ends of this route are there.
    pub(super) fn look_for_front_ends(&self, number: usize, now: Moment) {
        let Some(route) = self.routes.get(number) else { return };
        let Some(Absence { since }) = route.resuming.lock().absence else { return };
        // A new connection serves who waits for one; nobody else has missed anything.
        if route.is_connected() || !self.anybody_watches_at(route) {
            route.resuming.lock().absence = None;
            return;
        }
        if !route.hops.step(|group| group.is_backing_off(now.instant)) {
            self.knock(route, now);
            self.timers.schedule(now.instant + LOOK, Due::Absence(number));
            return;
        }
        let mut waiting = route.resuming.lock();
        waiting.absence = None;
        waiting.unreachable_since.get_or_insert(since);
        let known: HashSet<_> = waiting.keys().cloned().collect();
        drop(waiting);
        let mut concerned = self.watching_at(route);
        concerned.retain(|key| !known.contains(key));
        info!(
            route = %self.name_of(route), pairs = concerned.len(),
            "the connection to the front ends was lost and none can be reached; the subscriptions of contacts there are \
             refreshed when one can"
        );
        self.line_up(concerned, For::Return, number, route, now);
    }

    /// The pairs whose contacts watch at the front ends of this route.
    fn watching_at(&self, route: &Route) -> Vec<PairKey> {
        let at = self.watches_at(route);
        self.all_remotes().iter().flat_map(|remote| remote.pairs.pairs_where(&at)).collect()
    }

    fn anybody_watches_at(&self, route: &Route) -> bool {
        let at = self.watches_at(route);
        self.all_remotes().iter().any(|remote| remote.pairs.any_where(&at))
    }

    fn watches_at<'a>(&'a self, route: &'a Route) -> impl Fn(&PairKey, &Pair) -> bool + 'a {
        let (domains, holder) = self.served_by(route);
        move |key, pair| {
            pair.watches_at(holder)
                && domains.iter().any(|domain| domain == key.local_domain())
                && self.identity_of(&self.policy.load(), key.remote_domain()) == route.identity
        }
    }

    /// The domains whose users are reached by the route, and the front end that holds the dialogs, if there are others.
    fn served_by<'a>(&'a self, route: &'a Route) -> (&'a [CompactString], Option<&'a str>) {
        match route.dialogs_of.and_then(|front_end| self.front_ends.get(front_end)) {
            Some(front_end) => (&front_end.domains, Some(&front_end.name)),
            None => (&route.domains, None),
        }
    }

    fn name_of(&self, route: &Route) -> String {
        let (domains, holder) = self.served_by(route);
        holder.map_or_else(|| domains.join(", "), str::to_owned)
    }
}
