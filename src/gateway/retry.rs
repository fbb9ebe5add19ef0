//! Partners and front ends that are tried again before their back-off is over.

use std::sync::Arc;
use std::time::Instant;

use nuncio_translate::judge::Snapshot;
use nuncio_xmpp::lane::Lane;

use super::Gateway;

/// How many had to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// Ways to partners' domains.
    pub lanes: usize,
    /// Ways to front ends.
    pub routes: usize,
    /// Ways to front ends that are not in back-off, but lead to another one than the preferred.
    pub second_best: usize,
}

impl Gateway {
    /// Ends every back-off, and every wait for a preferred front end: the administrator knows that something is better now. Lanes in which nothing waits connect with
    /// the next stanza.
    pub fn retry_now(&self, now: Instant) -> Retried {
        let mut retried = Retried::default();
        for lane in self.lanes() {
            lane.feed_if(|lane| {
                let waited = lane.retry_now();
                retried.lanes += usize::from(waited);
                waited
            });
        }
        for route in &self.routes {
            route.hops.feed_if(|group| {
                let (waited, second_best) = (group.is_backing_off(now), group.is_second_best());
                if waited || second_best {
                    group.retry_now(now);
                    retried.routes += usize::from(waited);
                    retried.second_best += usize::from(second_best);
                }
                waited || second_best
            });
        }
        retried
    }

    /// Lanes to partners who were not called under the policy before, and may be under this one.
    pub(super) fn retry_opened(&self, before: &Snapshot) {
        let policy = self.policy.load();
        let is_opened =
            |domain: &str| before.open_partner(domain).is_err() && policy.open_partner(domain).is_ok();
        let opened = self.remotes.iter().filter(|remote| is_opened(remote.key()));
        let opened: Vec<_> = opened.map(|remote| Arc::clone(&remote)).collect();
        for (_, lane) in opened.iter().flat_map(|remote| remote.named_lanes()) {
            lane.feed_if(Lane::retry_now);
        }
    }

    /// A stream of the partner's to us was established, so his server is there: lanes to that domain need not wait any more.
    /// Those that a stream of his takes back need none of ours, unless there is a session to resume.
    pub fn partner_is_back(&self, domain: &str, now: Instant) {
        let Some(remote) = self.known_remote(domain) else { return };
        for (local, lane) in remote.named_lanes() {
            let taken_back = remote.has_way_back(&local);
            lane.feed_if(|lane| {
                (!taken_back || lane.needs_stream_of_ours()) && Lane::sign_of_life(lane, now)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::lane::{Failure, FailureKind, Output};
    use tokio::sync::Notify;

    use nuncio_sip::hop::HopConnection;

    use super::super::testing::{gateway_of, interrupted, moment};
    use super::super::{LaneKey, LanePort, NextHop};
    use super::*;

    const LOCAL: &str = "contoso.example";

    /// The lane to that domain, whose last attempt failed.
    fn out_of_reach(gateway: &Gateway, remote: &str, now: Instant) -> Arc<LanePort> {
        let lane = gateway.lane(LOCAL, remote);
        lane.step(|lane| {
            lane.push_reply(b"<iq/>".to_vec(), now);
            assert!(matches!(lane.poll(), Some(Output::Connect)));
            lane.connect_failed(Failure::new(FailureKind::Unreachable, "nobody listens"), 0, now);
        });
        lane
    }

    /// Whether it connects for the next stanza.
    fn connects(lane: &LanePort, now: Instant) -> bool {
        lane.step(|lane| {
            lane.push_reply(b"<iq/>".to_vec(), now);
            matches!(lane.poll(), Some(Output::Connect))
        })
    }

    #[test]
    fn who_asks_for_it_has_all_lanes_tried_at_once_and_is_told_how_many() {
        let (gateway, now) = (gateway_of(LOCAL, "fabrikam.example"), Instant::now());
        let waiting =
            ["fabrikam.example", "wingtip.example"].map(|remote| out_of_reach(&gateway, remote, now));
        gateway.lane(LOCAL, "idle.example");
        assert_eq!(gateway.retry_now(now), Retried { lanes: 2, ..Retried::default() });
        assert!(waiting.iter().all(|lane| connects(lane, now)));
        assert_eq!(gateway.retry_now(now), Retried::default());
    }

    #[test]
    fn who_asks_for_it_has_a_preferred_front_end_tried_at_once() {
        let (gateway, now) = (gateway_of(LOCAL, "fabrikam.example"), moment());
        let route = &gateway.routes()[0];
        let hop = |host, rank| NextHop::new(0, host, 5061).ranked(rank);
        route.list(vec![hop("first.example", 0), hop("second.example", 1)], Vec::new(), now.instant);
        route.hops.step(|group| {
            group.knock(now.instant);
            group.connect_failed("refused", now.instant);
            group.knock(now.instant);
            group.connected(HopConnection(7), now.instant);
        });
        gateway.serve_route(route, now);
        let second = route.take_connect_order().map(|order| order.target);
        let retried = gateway.retry_now(now.instant);
        assert_eq!(retried, Retried { second_best: 1, ..Retried::default() });
        gateway.serve_route(route, now);
        let first = route.take_connect_order().unwrap().target;
        assert_eq!(route.next_hop(first).unwrap().host, "first.example");
        assert_ne!(Some(first), second);
        assert_eq!(gateway.retry_now(now.instant), Retried::default(), "it is being tried");
    }

    #[test]
    fn a_stream_of_a_partner_ends_the_back_off_towards_his_domain_and_no_other() {
        let (gateway, now) = (gateway_of(LOCAL, "fabrikam.example"), Instant::now());
        let lane = out_of_reach(&gateway, "fabrikam.example", now);
        let other = out_of_reach(&gateway, "wingtip.example", now);
        assert!(!connects(&lane, now), "it waits");
        gateway.partner_is_back("fabrikam.example", now);
        assert!(
            lane.step(|lane| matches!(lane.poll(), Some(Output::Connect))),
            "something waits, so at once"
        );
        assert!(!connects(&other, now));
    }

    #[test]
    fn a_lane_that_the_partners_stream_takes_back_needs_none_of_ours() {
        let (gateway, now) = (Arc::new(gateway_of(LOCAL, "fabrikam.example")), Instant::now());
        let lane = out_of_reach(&gateway, "fabrikam.example", now);
        let key = LaneKey { local: LOCAL.into(), remote: "fabrikam.example".into() };
        let offered = gateway.way_back(&key, Arc::new(Notify::new()));
        gateway.partner_is_back("fabrikam.example", now);
        assert!(!connects(&lane, now));
        drop(offered);
        gateway.partner_is_back("fabrikam.example", now);
        assert!(connects(&lane, now), "the stream is there no more");
    }

    #[test]
    fn a_lane_with_a_session_to_resume_needs_one_of_ours_all_the_same() {
        let (gateway, now) = (Arc::new(gateway_of(LOCAL, "fabrikam.example")), Instant::now());
        let key = LaneKey { local: LOCAL.into(), remote: "fabrikam.example".into() };
        let lane = interrupted(&gateway, &key, now);
        let _offered = gateway.way_back(&key, Arc::new(Notify::new()));
        assert!(!lane.step(|lane| lane.opened_by_peer(now)));
        gateway.partner_is_back("fabrikam.example", now);
        assert!(connects(&lane, now));
    }
}
