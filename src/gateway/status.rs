//! What the gateway holds and has done, for an administrator who asks.

use compact_str::CompactString;
use nuncio_xmpp::lane::LaneCounters;

use super::{Gateway, LaneKey, NextHop};

/// One lane at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    pub key: LaneKey,
    /// Whether a stream is established.
    pub open: bool,
    /// Messages queued or being written.
    pub waiting: usize,
    /// Replies queued, being written, or reserved.
    pub replies: usize,
    /// Messages written and not proved processed.
    pub unconfirmed: usize,
    pub counters: LaneCounters,
    /// Why there is no stream, if the last attempt failed.
    pub failure: Option<String>,
}

/// One route at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStatus {
    pub domains: Vec<CompactString>,
    /// The front end for whose dialogs it is.
    pub dialogs_of: Option<CompactString>,
    /// Requests waiting or under way.
    pub load: usize,
    /// The front end that a connection leads to.
    pub connected: Option<CompactString>,
    /// The next hops, in order of preference.
    pub next_hops: Vec<NextHop>,
    /// How they are known, where DNS names them.
    pub evidence: Vec<String>,
    /// Why there is no connection, if the last attempt failed.
    pub failure: Option<String>,
}

impl Gateway {
    /// Every lane, those with most in them first.
    pub fn lane_statuses(&self) -> Vec<LaneStatus> {
        let mut statuses = Vec::new();
        for remote in &self.remotes {
            for (local, lane) in remote.named_lanes() {
                let key = LaneKey { local, remote: remote.key().clone() };
                statuses.push(lane.step(|lane| {
                    let (waiting, replies) = lane.occupancy();
                    let failure = lane.last_failure().filter(|_| !lane.is_open());
                    LaneStatus {
                        key,
                        open: lane.is_open(),
                        waiting,
                        replies,
                        unconfirmed: lane.unconfirmed(),
                        counters: lane.counters(),
                        failure: failure.map(ToString::to_string),
                    }
                }));
            }
        }
        let size = |status: &LaneStatus| status.waiting + status.replies + status.unconfirmed;
        statuses.sort_by(|a, b| {
            let names = |status: &LaneStatus| (status.key.remote.clone(), status.key.local.clone());
            size(b).cmp(&size(a)).then_with(|| names(a).cmp(&names(b)))
        });
        statuses
    }

    /// Every route to front ends.
    pub fn route_statuses(&self) -> Vec<RouteStatus> {
        let status = |route: &super::Route| {
            let (load, active, failure) = route
                .hops
                .step(|group| (group.load(), group.active(), group.last_failure().map(ToString::to_string)));
            let front_end = active.and_then(|(_, target)| self.front_ends.get(route.front_end_of(target)?));
            let holder = route.dialogs_of.and_then(|holder| self.front_ends.get(holder));
            RouteStatus {
                domains: route.domains.clone(),
                dialogs_of: holder.map(|holder| holder.name.clone()),
                load,
                connected: front_end.map(|front_end| front_end.name.clone()),
                next_hops: route.next_hops(),
                evidence: route.evidence(),
                failure,
            }
        };
        self.routes.iter().map(status).collect()
    }
}
