//! The gateway with its real sessions, and everybody around it, on a virtual clock and without a socket.
//!
//! Bytes go in as a peer would send them and come out as it would read them. SIP connections are
//! [`SipSession`]s, streams are [`InboundSession`]s and [`LaneSession`]s; what a driver would do for them — carry
//! bytes, report writes, keep time, connect when asked — is done here, one step after the other, until nothing moves.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use compact_str::CompactString;
use futures_util::FutureExt as _;
use nuncio::gateway::{ConnectOrder, FrontEnd, Gateway, LaneKey, NextHop, Owner, Route, SipPeer};
use nuncio::net::session::{End, Next, Session};
use nuncio::sip_frontend::session::SipSession;
use nuncio::store::{Keep, Memory};
use nuncio_sip::Limits;
use nuncio_sip::connection::{ConnectionConfig, KeepAliveInterval};
use nuncio_sip::hop::HopConfig;
use nuncio_translate::Moment;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;
use nuncio_xmpp::lane::{Failure, FailureKind};

use crate::partner::{Line, Stream};
pub(crate) use crate::plan::Plan;
use crate::stage::{Runtime, Stage};

/// How long a message may take to arrive whole.
const ARRIVAL: Duration = Duration::from_secs(32);

/// The name in our Vias.
pub(crate) const NAME: &str = "nuncio.contoso.com";
/// The connection on which the front end calls.
pub(crate) const FRONT_END: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 50123);

/// Whether a side can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Up,
    /// Every attempt fails at once, for this reason.
    Down(FailureKind),
    /// The attempt takes for ever.
    Pending,
}

/// What the front end answers to a request of ours.
pub(crate) enum Reply {
    Status(u16, &'static str),
    With(u16, &'static str, Vec<(&'static str, String)>),
    /// With a body, whose type is among the header fields.
    Body(u16, &'static str, Vec<(&'static str, String)>, &'static str),
    /// These very bytes.
    Raw(String),
    Silence,
}

type Rule = Box<dyn FnMut(&SipMessage) -> Reply>;

pub(crate) struct House {
    pub(crate) store: Arc<Memory>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) now: Moment,
    stage: Arc<Stage>,
    /// The disk does not answer: nothing is written, and nothing is said about it.
    pub(crate) disk_hangs: bool,
    pub(crate) wires: Vec<Wire>,
    pub(crate) lines: Vec<Line>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) served: &'static [&'static str],
    limits: Limits,
    pending: usize,
    /// How remote domains are reached; those not named are up.
    pub(crate) reach: HashMap<&'static str, Reach>,
    pub(crate) front_end_reach: Reach,
    /// How single next hops are reached; the others as the front end.
    pub(crate) next_hop_reach: HashMap<usize, Reach>,
    /// How long after its request an answer of the front end leaves.
    pub(crate) front_end_takes: Duration,
    pub(crate) rule: Rule,
    /// Requests that the front end got, in order.
    pub(crate) requests: VecDeque<SipMessage>,
    /// Responses that reached the front end on connections the gateway opened.
    pub(crate) relayed: Vec<SipMessage>,
    /// Answers of the front end on their way: when, on which wire.
    answers: VecDeque<(Instant, usize, Vec<u8>)>,
    /// Whether partners answer pings at once.
    pub(crate) pings_answered: bool,
    /// What partners offer after authentication on streams we open.
    pub(crate) features: HashMap<&'static str, &'static str>,
    /// Whether front ends prove who they are.
    pub(crate) certificates_hold: Arc<AtomicBool>,
    /// The next hops that the gateway tried to connect to, in order.
    pub(crate) connects: Vec<usize>,
    /// The names of the next hops; those listed later are behind those of the plan.
    hop_names: Vec<String>,
    /// Our name on each of the gateway's routes.
    route_names: Vec<&'static str>,
    /// Which front end each request reached since that was last asked: its number and the request's method.
    pub(crate) asked: Vec<(usize, String)>,
}

/// One SIP connection with the gateway.
pub(crate) struct Wire {
    pub(crate) session: SipSession,
    input: BytesMut,
    /// Everything that came, in order, not yet looked at.
    pub(crate) bytes: Vec<u8>,
    /// Opened by the gateway towards a next hop.
    pub(crate) hop: bool,
    /// The number of the front end.
    front_end: usize,
    pub(crate) open: bool,
    /// Keep-alive pings of the gateway.
    pub(crate) pings: usize,
    /// Its bytes go nowhere: the gateway has nothing written on it.
    pub(crate) stuck: bool,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::planned(Plan::default())
    }

    pub(crate) fn planned(plan: Plan) -> Self {
        let hop = |&(front_end, name): &(usize, &'static str), rank| {
            let (host, port) = name.split_once(':').expect("host:port");
            NextHop::new(front_end, host, port.parse().expect("a port")).ranked(rank)
        };
        let next_hops: Vec<NextHop> = (0u32..).zip(plan.next_hops).map(|(rank, of)| hop(of, rank)).collect();
        let domains: Vec<CompactString> = plan.served.iter().map(|&domain| domain.into()).collect();
        let (settings, policy) = (plan.settings(), plan.policy());
        let stage = Arc::new(Stage::default());
        let environment = Box::new(Runtime(Arc::clone(&stage)));
        let store = plan.store;
        let keep = Arc::clone(&store) as Arc<dyn Keep>;
        let second = plan.second_serves.map(|served| served.iter().map(|&domain| domain.into()).collect());
        let second = FrontEnd::new("pool2", second.unwrap_or_else(|| domains.clone()));
        let first = FrontEnd::new("pool1", domains.clone());
        let front_ends = [first, second]
            .map(|front_end| front_end.with_trust(plan.trust, plan.asserted_identity))
            .map(|front_end| front_end.with_im(plan.im))
            .into();
        let (mut routes, mut route_names) = (Vec::new(), Vec::new());
        let names = std::iter::once(NAME).chain(plan.identities.iter().map(|&(_, name)| name));
        for (identity, name) in names.enumerate() {
            let route = Route::new(domains.clone(), next_hops.clone(), HopConfig::default(), 7);
            routes.push(route.under(identity));
            let shared = next_hops.iter().any(|hop| hop.front_end != next_hops[0].front_end);
            for front_end in [0, 1].into_iter().filter(|_| shared) {
                let own = next_hops.iter().filter(|hop| hop.front_end == front_end).cloned().collect();
                routes.push(Route::of_dialogs(front_end, own, HopConfig::default(), 8).under(identity));
            }
            route_names.resize(routes.len(), name);
        }
        Self {
            gateway: Arc::new(Gateway::new(settings, policy, front_ends, routes, keep, environment)),
            store,
            now: Moment { instant: Instant::now(), unix_ms: plan.unix_ms },
            stage,
            disk_hangs: false,
            wires: Vec::new(),
            lines: Vec::new(),
            streams: Vec::new(),
            served: plan.served,
            limits: plan.limits,
            pending: plan.pending,
            reach: HashMap::new(),
            front_end_reach: Reach::Up,
            next_hop_reach: HashMap::new(),
            front_end_takes: Duration::ZERO,
            rule: Box::new(|_| Reply::Status(200, "OK")),
            requests: VecDeque::new(),
            relayed: Vec::new(),
            answers: VecDeque::new(),
            pings_answered: true,
            features: HashMap::new(),
            certificates_hold: Arc::new(AtomicBool::new(true)),
            connects: Vec::new(),
            hop_names: next_hops.iter().map(ToString::to_string).collect(),
            route_names,
            asked: Vec::new(),
        }
    }

    /// The front end opens a connection to the gateway.
    pub(crate) fn front_end(&mut self) -> usize {
        self.connect_as(SipPeer::FrontEnd(0), false)
    }

    /// Somebody opens a connection to the gateway.
    pub(crate) fn connect_as(&mut self, peer: SipPeer, hop: bool) -> usize {
        self.connect_under(NAME, peer, hop)
    }

    /// The same where we go by this name.
    fn connect_under(&mut self, name: &str, peer: SipPeer, hop: bool) -> usize {
        let address = if hop { SocketAddr::new(FRONT_END.ip(), 5061) } else { FRONT_END };
        let config = ConnectionConfig {
            max_pending_in: self.pending,
            keep_alive: hop.then(KeepAliveInterval::default),
            ..ConnectionConfig::new(address, name, [3; 16])
        };
        let gateway = Arc::clone(&self.gateway);
        let front_end = if let SipPeer::FrontEnd(number) = peer { number } else { usize::MAX };
        let session = SipSession::new(gateway, peer, config, self.limits, ARRIVAL, self.now);
        let proves = Arc::clone(&self.certificates_hold);
        session.belongs_to(Owner::new(move |_| proves.load(Ordering::Relaxed)));
        self.wires.push(Wire {
            session,
            input: BytesMut::new(),
            bytes: Vec::new(),
            hop,
            front_end,
            open: true,
            pings: 0,
            stuck: false,
        });
        self.wires.len() - 1
    }

    /// Bytes arrive on a SIP connection.
    pub(crate) fn send(&mut self, wire: usize, bytes: impl AsRef<[u8]>) {
        let now = self.now;
        let wire = &mut self.wires[wire];
        assert!(wire.open, "the gateway has closed this connection");
        wire.input.extend_from_slice(bytes.as_ref());
        let Wire { session, input, .. } = wire;
        session.receive(input, now);
        self.run();
    }

    /// A SIP connection breaks.
    pub(crate) fn cut(&mut self, wire: usize) {
        let now = self.now;
        self.wires[wire].open = false;
        self.wires[wire].session.closed(End::Peer, now);
        self.run();
    }

    /// The gateway stops, as connections that others opened hear of it first.
    pub(crate) fn stops_for(&mut self, wire: usize) {
        self.wires[wire].session.shut_down();
        self.run();
    }

    /// What has come on a SIP connection since it was last asked: whole messages.
    pub(crate) fn taken(&mut self, wire: usize) -> Vec<SipMessage> {
        let bytes = &mut self.wires[wire].bytes;
        let messages: Vec<_> =
            std::iter::from_fn(|| SipMessage::take(bytes).expect("the gateway writes proper SIP")).collect();
        assert!(bytes.is_empty(), "half a message: {:?}", String::from_utf8_lossy(bytes));
        messages
    }

    /// Sends a request and returns the one answer to it.
    pub(crate) fn ask(&mut self, wire: usize, request: impl AsRef<[u8]>) -> SipMessage {
        self.send(wire, request);
        let mut answers = self.taken(wire);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    /// Answers of the front end that are on their way.
    pub(crate) fn unanswered(&self) -> usize {
        self.answers.len()
    }

    /// The requests that reached the front end since it was last asked.
    pub(crate) fn requests(&mut self) -> Vec<SipMessage> {
        self.requests.drain(..).collect()
    }

    /// The stanzas that reached a partner since it was last asked, without pings.
    pub(crate) fn stanzas(&mut self, remote: &str) -> Vec<Element> {
        let mine = self.lines.iter_mut().filter(|line| line.key.remote == remote);
        mine.flat_map(|line| line.received.drain(..)).collect()
    }

    /// The partner's server dies: everything to and from it breaks off, and it is out of reach.
    pub(crate) fn partner_dies(&mut self, remote: &'static str) {
        self.reach.insert(remote, Reach::Down(FailureKind::Unreachable));
        let now = self.now;
        self.streams.iter_mut().filter(|stream| stream.is_from(remote)).for_each(|stream| stream.cut(now));
        self.lines.iter_mut().filter(|line| line.key.remote == remote).for_each(|line| line.cut(now));
        self.run();
    }

    /// A partner opens one more stream.
    pub(crate) fn another_stream(&mut self, remote: &str) -> usize {
        let stream = Stream::open(&self.gateway, self.served, remote, self.served[0], None, self.now);
        self.streams.push(stream);
        self.streams.len() - 1
    }

    /// A stream of a partner breaks.
    pub(crate) fn cut_stream(&mut self, index: usize) {
        self.streams[index].cut(self.now);
        self.run();
    }

    /// A partner closes the stream that we opened.
    pub(crate) fn partner_closes_idle(&mut self, remote: &str) {
        let now = self.now;
        self.line(remote).close_idle(now);
        self.run();
    }

    /// A partner sends stanzas to `contoso.com`, or whatever is served first.
    pub(crate) fn partner_says(&mut self, remote: &str, xml: &str) {
        let local = self.served[0];
        let index = match self.streams.iter().position(|stream| stream.is(remote, local)) {
            Some(index) => index,
            None => self.another_stream(remote),
        };
        self.streams[index].say(xml, self.now);
        self.run();
    }

    /// The next step that draws a random number panics.
    pub(crate) fn panic_once(&self) {
        self.panic_at(1);
    }

    /// The step that draws the random number so many draws from now panics.
    pub(crate) fn panic_at(&self, draw: u64) {
        self.stage.panic_at(draw);
    }

    /// Lets time pass, and everything that is due in it happen when it is due.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            self.run();
            let Some(next) = self.deadline().filter(|next| *next <= end.instant) else { break };
            self.now = self.now + next.saturating_duration_since(self.now.instant);
            self.handle_timeouts();
        }
        self.now = end;
    }

    fn deadline(&self) -> Option<Instant> {
        let wires = self.wires.iter().filter(|wire| wire.open).filter_map(|wire| wire.session.deadline());
        let lines = self.lines.iter().filter_map(Line::deadline);
        let streams = self.streams.iter().filter_map(Stream::deadline);
        let hops = self.gateway.routes().iter().filter_map(Route::arm);
        let answers = self.answers.iter().map(|(at, ..)| *at);
        let deadlines = wires.chain(lines).chain(streams).chain(hops).chain(answers);
        deadlines.chain(self.gateway.deadline()).min()
    }

    fn handle_timeouts(&mut self) {
        let now = self.now;
        for wire in self.wires.iter_mut().filter(|wire| wire.open) {
            wire.session.handle_timeout(now);
        }
        self.lines.iter_mut().for_each(|line| line.handle_timeout(now));
        self.streams.iter_mut().for_each(|stream| stream.handle_timeout(now));
        for route in self.gateway.routes() {
            route.hops.step(|group| group.handle_timeout(now.instant));
            self.gateway.serve_route(route, now);
        }
        self.gateway.handle_timeout(now);
    }

    /// Moves bytes until none move.
    pub(crate) fn run(&mut self) {
        // What one step puts out may be for a connection that had its turn before.
        let mut quiet = 0;
        for _ in 0..100_000 {
            quiet = if self.step() { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!("the house does not come to rest");
    }

    fn step(&mut self) -> bool {
        let mut moved = false;
        if !self.disk_hangs
            && let Some((ticket, outcome)) = self.store.commit(usize::MAX)
        {
            self.gateway.committed(ticket, outcome, self.now);
            moved = true;
        }
        moved |= self.gateway.run_errands(self.now);
        for (key, lane) in self.stage.new_lanes() {
            let features = self.features.get(key.remote.as_str()).copied().unwrap_or_default();
            let mut line = Line::new(key, lane);
            line.features = features;
            self.lines.push(line);
            moved = true;
        }
        for index in 0..self.wires.len() {
            moved |= self.step_wire(index);
        }
        let (at, answers) = (self.now.instant, std::mem::take(&mut self.answers));
        let (due, later): (VecDeque<_>, _) = answers.into_iter().partition(|(when, ..)| *when <= at);
        self.answers = later;
        for (_, wire, bytes) in due {
            if self.wires[wire].open {
                let Wire { session, input, .. } = &mut self.wires[wire];
                input.extend_from_slice(&bytes);
                session.receive(input, self.now);
            }
            moved = true;
        }
        let mut ping_answers = Vec::new();
        for line in &mut self.lines {
            let reach = self.reach.get(line.key.remote.as_str()).unwrap_or(&Reach::Up);
            moved |= line.step(&self.gateway, reach, self.now);
            let pings = line.pings.drain(..).map(|id| (line.key.clone(), id));
            ping_answers.extend(pings.filter(|_| self.pings_answered));
        }
        for (key, id) in ping_answers {
            self.answer_ping(&key, &id);
            moved = true;
        }
        for stream in &mut self.streams {
            moved |= stream.step(self.now);
        }
        moved | self.step_front_ends()
    }

    fn step_wire(&mut self, index: usize) -> bool {
        let now = self.now;
        let wire = &mut self.wires[index];
        if !wire.open || wire.stuck {
            return false;
        }
        let mut out = Vec::new();
        wire.session.transmit(&mut out, now);
        if !out.is_empty() {
            wire.session.written(now);
        }
        if wire.session.next() != Next::Run {
            wire.open = false;
            wire.session.closed(End::Local, now);
        }
        let moved = !out.is_empty();
        wire.pings += usize::from(out == b"\r\n\r\n");
        wire.bytes.extend_from_slice(&out);
        if wire.hop {
            while let Some(message) = SipMessage::take(&mut wire.bytes).unwrap() {
                if message.status().is_some() {
                    self.relayed.push(message);
                    continue;
                }
                let at = now.instant + self.front_end_takes;
                let answer = match (self.rule)(&message) {
                    Reply::Silence => None,
                    Reply::Raw(text) => Some(text),
                    Reply::Status(status, reason) => Some(message.answer(status, reason, &[]).unwrap()),
                    Reply::With(status, reason, more) => {
                        let more: Vec<_> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
                        Some(message.answer(status, reason, &more).unwrap())
                    }
                    Reply::Body(status, reason, more, body) => {
                        let more: Vec<_> = more.iter().map(|(name, value)| (*name, value.as_str())).collect();
                        Some(message.answer_with(status, reason, &more, body).unwrap())
                    }
                };
                self.answers.extend(answer.map(|answer| (at, index, answer.into_bytes())));
                self.asked.push((wire.front_end, message.method().unwrap_or_default().to_owned()));
                self.requests.push_back(message);
            }
        }
        moved
    }

    fn step_front_ends(&mut self) -> bool {
        let (gateway, now) = (Arc::clone(&self.gateway), self.now);
        let mut moved = false;
        for (number, route) in gateway.routes().iter().enumerate() {
            // As the task of a route does: whoever puts something on it without serving it has to ring.
            let bell = route.hops.wake();
            if bell.notified().now_or_never().is_some() {
                gateway.serve_route(route, now);
            }
            let Some(ConnectOrder { target, .. }) = route.take_connect_order() else { continue };
            moved = true;
            let next_hop = route.next_hop(target).unwrap();
            let name = next_hop.to_string();
            let hop = self.hop_names.iter().position(|known| *known == name).unwrap_or_else(|| {
                self.hop_names.push(name);
                self.hop_names.len() - 1
            });
            let whose = route.front_end_of(target).unwrap();
            let address = SocketAddr::new(FRONT_END.ip(), 5061);
            if gateway.borrow_connection(number, &next_hop, &[address], now).is_some() {
                continue;
            }
            self.connects.push(hop);
            let reach = self.next_hop_reach.get(&hop).unwrap_or(&self.front_end_reach);
            match reach {
                Reach::Pending => {}
                Reach::Down(_) => {
                    route
                        .hops
                        .step(|group| group.connect_failed("nobody listens there".to_owned(), now.instant));
                }
                Reach::Up => {
                    let name = self.route_names[number];
                    let index = self.connect_under(name, SipPeer::FrontEnd(whose), true);
                    self.wires[index].session.serves_route(number, now);
                }
            }
        }
        moved
    }

    fn answer_ping(&mut self, key: &LaneKey, id: &str) {
        let answer = format!("<iq type='result' id='{id}' from='{}' to='{}'/>", key.remote, key.local);
        let at = self.streams.iter().position(|stream| stream.is(&key.remote, &key.local));
        let index = at.unwrap_or_else(|| {
            let stream = Stream::open(&self.gateway, self.served, &key.remote, &key.local, None, self.now);
            self.streams.push(stream);
            self.streams.len() - 1
        });
        self.streams[index].say(&answer, self.now);
    }

    /// The connection the gateway opened last.
    pub(crate) fn hop(&self) -> usize {
        self.wires.iter().rposition(|wire| wire.hop).expect("the gateway has not connected")
    }

    /// The lane to a remote domain.
    pub(crate) fn line(&mut self, remote: &str) -> &mut Line {
        self.lines.iter_mut().find(|line| line.key.remote == remote).expect("no such lane")
    }

    /// A partner says something on the stream that we opened to it.
    pub(crate) fn line_says(&mut self, remote: &str, xml: &str) {
        let now = self.now;
        self.line(remote).say(xml, now);
        self.run();
    }

    /// A partner's connection that we opened is lost.
    pub(crate) fn cut_line(&mut self, remote: &str) {
        let now = self.now;
        self.line(remote).cut(now);
        self.run();
    }

    /// The id of the ping that a partner got last.
    pub(crate) fn ping_of(&mut self, remote: &str) -> String {
        self.line(remote).last_ping.clone().expect("no ping came")
    }

    /// A counter of the gateway.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let list = self.gateway.counters().list();
        list.iter().find(|(counter, _)| *counter == name).unwrap_or_else(|| panic!("no counter {name}")).1
    }
}

/// Why a lane's attempt failed, in words.
pub(crate) fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, format!("{kind:?}, says the test"))
}
