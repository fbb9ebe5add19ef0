//! What `xmpp_frontend::connect` and `sip_frontend::next_hop` do, on the virtual clock: connect, run, report.

use std::sync::Arc;
use std::time::Duration;

use nuncio::gateway::{ConnectOrder, LaneKey, LanePort, LaneWants, SipPeer};
use nuncio::sip_frontend::session::SipSession;
use nuncio::xmpp_frontend::outbound::LaneSession;
use nuncio_sip::connection::{ConnectionConfig, KeepAliveInterval};
use nuncio_xmpp::Domain;
use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::OutboundConfig;

use crate::net::{ConnId, MILLI, Micros, Owner, SECOND, Side};
use crate::pump::{Kind, State};
use crate::world::{Event, Task, World};

/// As configured by default.
pub(crate) const CONNECT_TIMEOUT: Micros = 5 * SECOND;

/// How long a SIP message may take to arrive whole.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How an attempt to reach somebody ends, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Connected,
    Refused,
    NoName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Idle,
    Connecting { until: Micros, reach: Reach },
    Running { pump: usize },
    Over,
}

/// Serves one lane.
pub(crate) struct LaneDriver {
    pub(crate) key: LaneKey,
    pub(crate) lane: Arc<LanePort>,
    pub(crate) partner: usize,
    step: Step,
    wants: LaneWants,
}

impl LaneDriver {
    pub(crate) fn new(key: LaneKey, lane: Arc<LanePort>, partner: usize) -> Self {
        Self { key, lane, partner, step: Step::Idle, wants: LaneWants::default() }
    }

    /// The process is no more.
    pub(crate) fn abandon(&mut self) {
        self.step = Step::Over;
    }
}

impl World {
    /// Whether the lane's bell wakes its driver rather than the pump of its stream.
    pub(crate) fn lane_listens(&self, lane: usize) -> bool {
        match self.lanes[lane].step {
            Step::Idle | Step::Connecting { .. } => true,
            Step::Running { pump } => matches!(self.pumps[pump].state, State::Handshake { .. }),
            Step::Over => false,
        }
    }

    pub(crate) fn run_lane(&mut self, index: usize) {
        loop {
            match self.lanes[index].step {
                Step::Over => return,
                Step::Running { pump } => match self.pumps[pump].state {
                    State::Ended => self.lane_ended(index, pump),
                    State::Handshake { .. } => match self.lane_meanwhile(index) {
                        true => return,
                        false => self.give_up_handshake(pump),
                    },
                    _ => return,
                },
                Step::Connecting { until, reach } if until <= self.now => self.lane_reached(index, reach),
                Step::Connecting { .. } => match self.lane_meanwhile(index) {
                    true => return,
                    false => self.lanes[index].step = Step::Idle,
                },
                Step::Idle => {
                    let now = self.moment();
                    let driver = &mut self.lanes[index];
                    let Some(wants) = self.gateway.serve_idle_lane(&driver.key, &driver.lane, now) else {
                        // A stream of the partner's carries it.
                        return;
                    };
                    driver.wants |= wants;
                    if driver.wants.connect {
                        driver.wants = LaneWants::default();
                        self.lane_connects(index);
                    } else if driver.wants.close {
                        driver.step = Step::Over;
                    } else if !self.lane_time(index) {
                        return;
                    }
                }
            }
        }
    }

    /// The lane's own clock. True if something was due.
    fn lane_time(&mut self, index: usize) -> bool {
        let now = self.moment();
        let lane = Arc::clone(&self.lanes[index].lane);
        let deadline = lane.step(|lane| lane.deadline());
        if deadline.is_some_and(|deadline| deadline <= now.instant) {
            lane.step(|lane| lane.handle_timeout(now.instant));
            return true;
        }
        self.run_at_deadline(deadline, Task::Lane(index));
        false
    }

    /// While a stream is on its way. False: it is not needed any more, for one of the partner's carries the lane.
    fn lane_meanwhile(&mut self, index: usize) -> bool {
        loop {
            let now = self.moment();
            let driver = &self.lanes[index];
            if self.gateway.serve_idle_lane(&driver.key, &driver.lane, now).is_none() {
                return false;
            }
            if !self.lane_time(index) {
                return true;
            }
        }
    }

    fn lane_connects(&mut self, index: usize) {
        let partner = self.lanes[index].partner;
        let (delay, reach) = self.reach_partner(partner);
        self.note("lane connects", index as u64, delay);
        let until = self.now + delay;
        self.lanes[index].step = Step::Connecting { until, reach };
        self.at(until, Event::Run(Task::Lane(index)));
    }

    fn lane_reached(&mut self, index: usize, reach: Reach) {
        let partner = self.lanes[index].partner;
        let failure = match reach {
            Reach::Connected if self.partners[partner].is_up() => {
                let pump = self.open_stream(index, partner);
                self.lanes[index].step = Step::Running { pump };
                return;
            }
            Reach::Connected | Reach::Refused => Failure::new(FailureKind::Unreachable, "connection refused"),
            Reach::NoName => Failure::new(FailureKind::Unresolvable, "DNS did not answer"),
        };
        self.lane_failed(index, failure);
    }

    fn open_stream(&mut self, index: usize, partner: usize) -> usize {
        let now = self.moment();
        let conn = self.connect(Owner::PartnerIn { partner }, Owner::PartnerIn { partner });
        let driver = &self.lanes[index];
        let (local, remote) = (Domain::parse(&driver.key.local), Domain::parse(&driver.key.remote));
        let config = OutboundConfig::new(local.unwrap(), remote.unwrap());
        let gateway = Arc::clone(&self.gateway);
        let session = LaneSession::new(gateway, driver.key.clone(), Arc::clone(&driver.lane), config, now);
        self.partner_accepts(partner, conn);
        self.add_pump(conn, 0, Kind::Lane(Box::new(session), index))
    }

    fn lane_failed(&mut self, index: usize, failure: Failure) {
        let (now, random) = (self.moment(), self.gateway.random());
        let driver = &mut self.lanes[index];
        driver.step = Step::Idle;
        if driver.lane.step(|lane| lane.is_open()) {
            return;
        }
        driver.lane.step(|lane| lane.connect_failed(failure, random, now.instant));
        self.gateway.lane_unreachable(&self.lanes[index].key);
    }

    fn lane_ended(&mut self, index: usize, pump: usize) {
        let Kind::Lane(session, _) = &self.pumps[pump].kind else { return };
        if session.was_open() {
            self.lanes[index].wants = session.wants();
            self.lanes[index].step = Step::Idle;
        } else {
            let why =
                session.failure().map_or_else(|| "the connection ended".into(), |f| Arc::clone(&f.text));
            self.lane_failed(index, Failure::new(FailureKind::Negotiation, why));
        }
    }
}

impl World {
    /// Serves the group of next hops.
    pub(crate) fn run_hop(&mut self) {
        let gateway = Arc::clone(&self.gateway);
        let route = &gateway.routes()[0];
        loop {
            let now = self.moment();
            gateway.serve_route(route, now);
            if let Some(ConnectOrder { target, .. }) = route.take_connect_order() {
                let (delay, ok) = self.reach_node(target);
                self.note("hop connects", target as u64, delay);
                let process = self.process;
                self.after(delay, Event::HopConnected { process, target, ok });
                continue;
            }
            let deadline = route.arm();
            if deadline.is_some_and(|deadline| deadline <= now.instant) {
                route.hops.step(|group| group.handle_timeout(now.instant));
                continue;
            }
            return self.run_at_deadline(deadline, Task::Hop);
        }
    }

    pub(crate) fn hop_connected(&mut self, target: usize, ok: bool) {
        let now = self.moment();
        if !ok || !self.pool.nodes[target].is_up() {
            let gateway = Arc::clone(&self.gateway);
            gateway.routes()[0].hops.feed(|group| group.connect_failed("refused", now.instant));
            return;
        }
        let conn = self.connect(Owner::FrontEnd, Owner::FrontEnd);
        // Each node is a front end of its own.
        let mut session = self.sip_session(SipPeer::FrontEnd(target), Some(KeepAliveInterval::default()));
        session.serves_route(0, now);
        self.front_end_accepts(conn, target);
        self.add_pump(conn, 0, Kind::Sip(Box::new(session)));
    }

    /// A session as `sip_frontend::accept` makes it.
    pub(crate) fn sip_session(&self, peer: SipPeer, keep_alive: Option<KeepAliveInterval>) -> SipSession {
        let mut secret = [0; 16];
        let halves = [self.gateway.random().to_le_bytes(), self.gateway.random().to_le_bytes()];
        secret.copy_from_slice(halves.as_flattened());
        let config = ConnectionConfig {
            max_pending_in: self.scale.max_pending,
            max_pending_out: self.scale.max_pending,
            keep_alive,
            ..ConnectionConfig::new("192.0.2.1:5061".parse().unwrap(), "gw.contoso.example", secret)
        };
        let now = self.moment();
        SipSession::new(Arc::clone(&self.gateway), peer, config, nuncio_sip::Limits::default(), ARRIVAL, now)
    }

    /// A connection that somebody opens to the gateway's SIP listener.
    pub(crate) fn accept_sip(&mut self, conn: ConnId, side: Side, peer: SipPeer) -> usize {
        let listed = matches!(peer, SipPeer::FrontEnd(_));
        let session = self.sip_session(peer, None);
        let pump = self.add_pump(conn, side, Kind::Sip(Box::new(session)));
        self.pumps[pump].peer_listed = listed;
        pump
    }

    /// How soon a living machine is reached.
    pub(crate) fn near(&mut self) -> Micros {
        self.rng.range(MILLI, 60 * MILLI)
    }
}
