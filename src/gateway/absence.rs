//! Front ends that go away and come back, and what that says about the users that contacts watch there (XI-09).
//!
//! The end of a connection says little: either side closes what is idle. So it is looked whether another one comes about.
//! Only if every next hop of the route fails, its front ends are taken to be away. Then whoever watches a user of theirs goes
//! on seeing what he saw; when they are back, each subscription is refreshed, for they may have forgotten it; and if they stay
//! away for `limits.presence.outage`, the subscription is made anew at others, or the user is shown as unavailable.
//!
//! A front end that is restarted may be back before anybody misses it. What shows that is the end of all connections with it,
//! whoever opened them, where one of them is left in any other case. Then, too, each subscription is refreshed, one after the
//! other at the pace of the settings. Front ends that close their only connection whenever it is idle look the same, so that is
//! done seldom.
//!
//! Who watches there has to be searched for among all pairs: an errand, not a matter for the timer.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use tracing::info;

use super::errands::Walk;
use super::restart::{For, Line};
use super::routes::Route;
use super::timers::Due;
use super::{Gateway, Pair, SipPeer};

/// A front end that was restarted, or lost its way to us for a moment, has so long to be there again before it is looked for.
const SETTLE: Duration = Duration::from_secs(2);
/// How often it is looked whether it is there.
const LOOK: Duration = Duration::from_millis(250);
/// The subscriptions at front ends that are there are not all refreshed again before this time.
const ROUND: Duration = Duration::from_secs(300);

/// No connection leads to the front ends of a route any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    since: Instant,
    /// Somebody watches a user there, so that it matters.
    matters: bool,
    /// No connection with them was left at all: they may have been restarted.
    restarted: bool,
}

/// When all subscriptions at front ends that are there are refreshed.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    last: Option<Instant>,
    /// There is to be another one, when its time comes.
    owed: bool,
}

/// A search for the pairs whose contacts watch at the front ends of a route.
#[derive(Debug)]
pub(super) struct Search {
    route: usize,
    walk: Walk,
    goal: Goal,
    found: Vec<PairKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Whether there is one.
    Any,
    /// All of them: nobody is there.
    Away,
    /// All of them: somebody is there who may have been restarted.
    Back,
}

impl Gateway {
    /// A connection with the front end of this place in the configuration has ended, whoever opened it; `ours`: because we
    /// closed it.
    pub fn connection_lost(&self, front_end: usize, ours: bool, now: Moment) {
        if self.draining.load(Ordering::SeqCst) || self.ending.load(Ordering::SeqCst) {
            return;
        }
        for (number, route) in self.routes.iter().enumerate().filter(|(_, route)| route.leads_to(front_end)) {
            let restarted = !ours && !self.has_connection_on(route);
            let mut waiting = route.resuming.lock();
            match &mut waiting.absence {
                Some(absence) => absence.restarted |= restarted,
                None => {
                    waiting.absence = Some(Absence { since: now.instant, matters: false, restarted });
                    self.timers.schedule(now.instant + SETTLE, Due::Absence(number));
                }
            }
        }
    }

    /// Whether any connection is left with a front end that the route leads to, whoever opened it.
    fn has_connection_on(&self, route: &Route) -> bool {
        self.connections.iter().any(|link| {
            let leads = matches!(link.peer, SipPeer::FrontEnd(front_end) if route.leads_to(front_end));
            leads && link.port.step(|connection| !connection.is_closed())
        })
    }

    /// It is time to look whether the front ends of this route are there.
    pub(super) fn look_for_front_ends(&self, number: usize, now: Moment) {
        let Some(route) = self.routes.get(number) else { return };
        let connected = route.is_connected();
        let mut waiting = route.resuming.lock();
        let Some(Absence { since, matters, restarted }) = waiting.absence else {
            match waiting.rounds.owed {
                true if connected => self.refresh_all(number, &mut waiting, now),
                // Nobody watches there.
                true => waiting.rounds.owed = false,
                false => {}
            }
            return;
        };
        if connected {
            // The new connection serves who waits for one. Nobody else has missed anything, unless they were restarted.
            waiting.absence = None;
            if restarted || waiting.rounds.owed {
                self.refresh_all(number, &mut waiting, now);
            }
            return;
        }
        drop(waiting);
        if !matters {
            self.search(number, Goal::Any);
        } else if !route.hops.step(|group| group.is_backing_off(now.instant)) {
            self.knock(route, now);
            self.timers.schedule(now.instant + LOOK, Due::Absence(number));
        } else {
            let mut waiting = route.resuming.lock();
            waiting.absence = None;
            waiting.rounds.owed = false;
            waiting.unreachable_since.get_or_insert(since);
            drop(waiting);
            self.search(number, Goal::Away);
        }
    }

    /// All subscriptions at the front ends of this route are to be refreshed, now or when there may be another round.
    fn refresh_all(&self, number: usize, waiting: &mut Line, now: Moment) {
        let next = waiting.rounds.last.map_or(now.instant, |last| last + ROUND);
        if next > now.instant {
            if !std::mem::replace(&mut waiting.rounds.owed, true) {
                self.timers.schedule(next, Due::Absence(number));
            }
            return;
        }
        waiting.rounds = Rounds { last: Some(now.instant), owed: false };
        self.search(number, Goal::Back);
    }

    /// The time of one of them has come.
    pub(super) fn refresh_one(&self, number: usize, key: PairKey, now: Moment) {
        let Some(route) = self.routes.get(number) else { return };
        if route.is_connected() {
            self.visit_presence(&key, now, |pair, context| pair.front_end_is_back(context));
        } else {
            self.line_up([key], For::Return, number, route, now);
        }
    }

    fn search(&self, route: usize, goal: Goal) {
        let walk = Walk::over(self.all_remotes());
        self.errands.search(Search { route, walk, goal, found: Vec::new() });
    }

    /// The next few pairs of a search. True: there are more.
    pub(super) fn search_on(&self, search: &mut Search) -> bool {
        let Search { route, walk, goal, found } = search;
        let Some(route) = self.routes.get(*route) else { return false };
        let ((domains, holder), policy) = (self.served_by(route), self.policy.load());
        let watches = |key: &PairKey| {
            domains.iter().any(|domain| domain == key.local_domain())
                && self.identity_of(&policy, key.remote_domain()) == route.identity
                && self.ask_pair(key, |pair| pair.watches_at(holder))
        };
        let more = walk.step(|key| {
            if watches(key) {
                found.push(key.clone());
            }
        });
        more && (*goal != Goal::Any || found.is_empty())
    }

    /// A search is over.
    pub(super) fn search_ends(&self, search: Search, now: Moment) {
        let Search { route: number, goal, found, .. } = search;
        let Some(route) = self.routes.get(number) else { return };
        let mut waiting = route.resuming.lock();
        match goal {
            Goal::Any if found.is_empty() => waiting.absence = None,
            Goal::Any => {
                if let Some(absence) = &mut waiting.absence {
                    absence.matters = true;
                    self.timers.schedule(now.instant, Due::Absence(number));
                }
            }
            Goal::Back => {
                drop(waiting);
                info!(
                    route = %self.name_of(route), pairs = found.len(),
                    "every connection with the front ends was lost, and they are there again; they may have been restarted, so \
                     the subscriptions of contacts there are refreshed"
                );
                let spread = self.spread();
                for (place, key) in (0u32..).zip(found) {
                    let at = now.instant + spread * place + self.up_to(spread);
                    self.timers.schedule(at, Due::Refresh(Box::new((number, key))));
                }
            }
            Goal::Away => {
                let known: HashSet<_> = waiting.keys().cloned().collect();
                drop(waiting);
                let mut concerned = found;
                concerned.retain(|key| !known.contains(key));
                info!(
                    route = %self.name_of(route), pairs = concerned.len(),
                    "the connection to the front ends was lost and none can be reached; the subscriptions of contacts \
                     there are refreshed when one can"
                );
                self.line_up(concerned, For::Return, number, route, now);
            }
        }
    }

    /// What a pair says that is there; false if it is not.
    pub(super) fn ask_pair(&self, key: &PairKey, ask: impl FnOnce(&Pair) -> bool) -> bool {
        let remote = self.known_remote(key.remote_domain());
        remote.and_then(|remote| remote.pairs.look(key.as_str(), ask)).unwrap_or(false)
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

#[cfg(test)]
mod tests {
    use nuncio_sip::connection::{Connection, ConnectionConfig};
    use nuncio_sip::hop::HopConnection;
    use nuncio_translate::pair::{From, PairRecord};

    use super::super::errands::STEP;
    use super::super::testing::{gateway_on, moment};
    use super::*;
    use crate::store::{Keep, Memory};

    const COUNT: usize = 20 * STEP;

    /// A gateway with so many pairs on record, whose contacts see the SIP user if `watched`.
    fn gateway(watched: bool, now: Moment) -> Gateway {
        let before = Memory::new();
        for number in 0..COUNT {
            let from = if watched { From::Yes } else { From::No };
            let record = PairRecord { sip_user_wrote: Some(now.unix()), from, ..PairRecord::default() };
            before.save_pair(
                &PairKey::new(&format!("u{number}@contoso.example"), "bob@fabrikam.example"),
                record,
            );
        }
        before.commit(usize::MAX);
        let gateway = gateway_on(before.crash().into(), "contoso.example", "fabrikam.example");
        gateway.restore(now).unwrap();
        gateway
    }

    fn later(now: Moment, time: Duration) -> Moment {
        Moment { instant: now.instant + time, unix_ms: now.unix_ms + time.as_millis() as u64 }
    }

    /// How many errands it took.
    fn errands(gateway: &Gateway, now: Moment) -> usize {
        std::iter::from_fn(|| gateway.run_errands(now).then_some(())).count()
    }

    #[test]
    fn who_watches_at_a_front_end_that_is_away_is_searched_for_in_small_steps() {
        let now = moment();
        let gateway = gateway(true, now);
        gateway.connection_lost(0, false, now);
        let now = later(now, SETTLE);
        gateway.look_for_front_ends(0, now);
        assert!(errands(&gateway, now) < 3, "it matters as soon as one is found");
        let line = || gateway.routes[0].resuming.lock().keys().count();
        assert!(gateway.routes[0].resuming.lock().absence.is_some_and(|absence| absence.matters));
        gateway.search(0, Goal::Away);
        assert_eq!((line(), gateway.errands_are_short()), (0, false), "the timer has looked at none of them");
        assert!(errands(&gateway, now) >= COUNT / STEP);
        assert_eq!((line(), gateway.errands_done()), (COUNT, true));
    }

    #[test]
    fn a_front_end_at_which_nobody_watches_is_not_missed() {
        let now = moment();
        let gateway = gateway(false, now);
        gateway.connection_lost(0, false, now);
        gateway.look_for_front_ends(0, later(now, SETTLE));
        assert!(errands(&gateway, now) >= COUNT / STEP);
        assert!(gateway.routes[0].resuming.lock().absence.is_none());
    }

    /// The front end has a connection with us, on its route.
    fn connect(gateway: &Gateway, now: Moment) {
        connect_by(gateway, 1, now);
    }

    fn connect_by(gateway: &Gateway, connection: u64, now: Moment) {
        gateway.routes[0].hops.step(|group| {
            group.knock(now.instant);
            group.connected(HopConnection(connection), now.instant);
        });
    }

    #[test]
    fn xi_09_subscriptions_at_a_front_end_that_was_restarted_are_refreshed_one_after_the_other() {
        let now = moment();
        let gateway = gateway(true, now);
        gateway.connection_lost(0, false, now);
        connect(&gateway, now);
        let now = later(now, SETTLE);
        gateway.look_for_front_ends(0, now);
        assert!(errands(&gateway, now) >= COUNT / STEP);
        let rate = gateway.settings.restart_rate as usize;
        let due = |time| {
            let due = gateway.timers.all_until(now.instant + time);
            due.iter().filter(|due| matches!(due, Due::Refresh(_))).count()
        };
        let first = due(Duration::from_secs(1));
        assert!((rate..=rate + 1).contains(&first), "{first} in the first second");
        assert_eq!(first + due(Duration::from_secs(3600)), COUNT);
    }

    #[test]
    fn xi_09_not_all_subscriptions_are_refreshed_again_and_again() {
        let now = moment();
        let gateway = gateway(true, now);
        connect(&gateway, now);
        let restarts = |now: Moment| {
            gateway.connection_lost(0, false, now);
            gateway.look_for_front_ends(0, now);
            errands(&gateway, now)
        };
        assert!(restarts(now) > 1);
        assert_eq!(restarts(later(now, ROUND - LOOK)), 0, "too soon");
        let now = later(now, ROUND);
        gateway.look_for_front_ends(0, now);
        assert!(errands(&gateway, now) > 1, "but it is not forgotten");
        gateway.look_for_front_ends(0, later(now, ROUND));
        assert_eq!(errands(&gateway, now), 0, "once");
    }

    #[test]
    fn what_we_have_closed_ourselves_is_no_restart() {
        let now = moment();
        let gateway = gateway(true, now);
        connect(&gateway, now);
        gateway.connection_lost(0, true, now);
        gateway.look_for_front_ends(0, later(now, SETTLE));
        assert!(gateway.routes[0].resuming.lock().absence.is_none() && gateway.errands_done());
    }

    #[test]
    fn those_who_waited_for_their_front_end_go_on_in_small_steps() {
        let now = moment();
        let gateway = gateway(true, now);
        let keys: Vec<PairKey> =
            gateway.all_remotes().iter().flat_map(|remote| remote.pairs.keys()).collect();
        gateway.line_up(keys, For::Return, 0, &gateway.routes[0], now);
        let peer: std::net::SocketAddr = "192.0.2.1:5061".parse().unwrap();
        let config = ConnectionConfig::new(peer, "gw", [0; 16]);
        let connection = Connection::new(config, now.instant);
        let registered = gateway.register_connection(SipPeer::FrontEnd(0), peer.ip(), connection);
        connect_by(&gateway, registered.id.0, now);
        let line = || gateway.routes[0].resuming.lock().keys().count();
        gateway.resume_waiting(0);
        assert_eq!(
            (line(), gateway.errands_are_short()),
            (COUNT, false),
            "the timer has visited none of them"
        );
        assert!(gateway.run_errands(now));
        assert_eq!(line(), COUNT - STEP);
        assert!(errands(&gateway, now) >= COUNT / STEP - 2);
        assert_eq!((line(), gateway.errands_done()), (0, true));
    }
}
