//! The gateway's end of a connection: what `net::pump` does, on the virtual clock.

use std::sync::Arc;

use bytes::BytesMut;
use nuncio::net::session::{End, Next, Session};
use nuncio::sip_frontend::session::SipSession;
use nuncio::xmpp_frontend::inbound::InboundSession;
use nuncio::xmpp_frontend::outbound::LaneSession;
use nuncio_sip::Framer;
use nuncio_translate::Moment;
use nuncio_xmpp::stream::{ChainStatus, PresentedName, TlsFacts};
use tokio::sync::Notify;

use crate::net::{ConnId, Micros, Owner, SECOND, Side};
use crate::partner::Item;
use crate::world::{Event, Task, World};

/// As in the driver.
const CLOSE_TIMEOUT: Micros = 5 * SECOND;
const HANDSHAKE_TIMEOUT: Micros = 10 * SECOND;
/// More rounds at one moment than any sound session needs.
const MOST_ROUNDS: usize = 20_000;

/// Any of the gateway's sessions.
pub(crate) enum Kind {
    Sip(Box<SipSession>),
    In(Box<InboundSession>, usize),
    /// With the number of its lane driver.
    Lane(Box<LaneSession>, usize),
}

impl Kind {
    pub(crate) fn session(&mut self) -> &mut dyn Session {
        match self {
            Self::Sip(session) => session.as_mut(),
            Self::In(session, _) => session.as_mut(),
            Self::Lane(session, _) => session.as_mut(),
        }
    }

    fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        match self {
            Self::Sip(_) => {}
            Self::In(session, _) => session.tls_established(facts, now),
            Self::Lane(session, _) => session.tls_established(facts, now),
        }
    }

    fn tls_failed(&mut self, why: &str, now: Moment) {
        match self {
            Self::Sip(_) => {}
            Self::In(session, _) => session.tls_failed(why, now),
            Self::Lane(session, _) => session.tls_failed(why, now),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Handshake { until: Micros },
    Closing { until: Micros },
    Ended,
}

pub(crate) struct Pump {
    pub(crate) conn: ConnId,
    pub(crate) side: Side,
    pub(crate) kind: Kind,
    pub(crate) wake: Arc<Notify>,
    pub(crate) state: State,
    pub(crate) peer_listed: bool,
    input: BytesMut,
    output: Vec<u8>,
    written: usize,
    /// Since when bytes wait to be written.
    pub(crate) busy_since: Option<Micros>,
    /// When what it says at last has to be written.
    late: Option<Micros>,
    /// When the connection was of no more use to anybody.
    pub(crate) ended_at: Option<Micros>,
    /// For the observer, who reads along.
    pub(crate) observed: (Framer, BytesMut),
    /// What came with the last read.
    pub(crate) last_read: Vec<Item>,
    /// What comes now is not worked on.
    pub(crate) poisoned: bool,
}

impl Pump {
    /// Whether the session's bell wakes this pump.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.state, State::Running | State::Closing { .. })
    }
}

impl World {
    /// Puts a session of the gateway on its end of a connection that is about to be made.
    pub(crate) fn add_pump(&mut self, conn: ConnId, side: Side, mut kind: Kind) -> usize {
        let wake = kind.session().wake();
        let pump = self.pumps.len();
        self.conns[conn].ends[side] = Owner::Gateway { pump };
        self.living.push(pump);
        self.pumps.push(Pump {
            conn,
            side,
            kind,
            wake,
            state: State::Running,
            peer_listed: true,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            busy_since: None,
            late: None,
            ended_at: None,
            last_read: Vec::new(),
            poisoned: false,
            observed: (Framer::new(nuncio_sip::Limits::default()), BytesMut::new()),
        });
        self.after(0, Event::Run(Task::Pump(pump)));
        pump
    }

    pub(crate) fn run_pump(&mut self, index: usize) {
        match self.pumps[index].state {
            State::Ended => {}
            State::Running => self.run_session(index),
            State::Handshake { until } => self.in_handshake(index, until),
            State::Closing { until } => self.in_closing(index, until),
        }
    }

    fn run_session(&mut self, index: usize) {
        for _ in 0..MOST_ROUNDS {
            let now = self.moment();
            let (conn, side) = (self.pumps[index].conn, self.pumps[index].side);
            if self.conns[conn].broken {
                return self.end_pump(index, End::Broken("connection reset".into()));
            }
            if self.pumps[index].output.is_empty() {
                self.transmit(index, now);
            }
            let pump = &mut self.pumps[index];
            let idle = pump.output.is_empty();
            match pump.kind.session().next() {
                Next::Abort => {
                    self.reset(conn);
                    return self.end_pump(index, End::Local);
                }
                Next::StartTls if idle => {
                    if !pump.input.is_empty() {
                        self.reset(conn);
                        return self.end_pump(index, End::Broken("plain text after STARTTLS".into()));
                    }
                    let until = self.now + HANDSHAKE_TIMEOUT;
                    self.pumps[index].state = State::Handshake { until };
                    self.at(until, Event::Run(Task::Pump(index)));
                    self.tell_lane(index);
                    return self.ready_for_tls(conn, side);
                }
                Next::Close if idle => {
                    let until = self.now + CLOSE_TIMEOUT;
                    self.pumps[index].state = State::Closing { until };
                    self.fin(conn, side);
                    self.at(until, Event::Run(Task::Pump(index)));
                    return self.in_closing(index, until);
                }
                // Nobody waits for a peer that does not take the last words.
                Next::StartTls | Next::Close => {
                    let until = self.now + CLOSE_TIMEOUT;
                    let late = *self.pumps[index].late.get_or_insert(until);
                    if late <= self.now {
                        self.reset(conn);
                        return self.end_pump(index, End::Local);
                    }
                    self.at(late, Event::Run(Task::Pump(index)));
                }
                Next::Run => self.pumps[index].late = None,
            }
            if !idle && self.write_some(index, now) {
                continue;
            }
            let pump = &mut self.pumps[index];
            if pump.kind.session().wants_read() {
                let most = if self.rng.chance(10) { 1 + self.rng.index(200) } else { 64 * 1024 };
                let bytes = self.conns[conn].read(1 - side, most);
                if !bytes.is_empty() {
                    self.note("read", index as u64, bytes.len() as u64);
                    self.observe_input(index);
                    let pump = &mut self.pumps[index];
                    pump.input.extend_from_slice(&bytes);
                    pump.kind.session().receive(&mut pump.input, now);
                    if !pump.kind.session().wants_read() {
                        for item in &pump.last_read {
                            if let Item::Message(id) = item {
                                self.ledger.from_xmpp[*id].waited_for_room = true;
                            }
                        }
                    }
                    continue;
                }
                if self.conns[conn].at_end(1 - side) {
                    return self.end_pump(index, End::Peer);
                }
            }
            let deadline = self.pumps[index].kind.session().deadline();
            if deadline.is_some_and(|deadline| deadline <= now.instant) {
                self.note("timeout", index as u64, 0);
                self.pumps[index].kind.session().handle_timeout(now);
                continue;
            }
            return self.run_at_deadline(deadline, Task::Pump(index));
        }
        self.ledger.violation(format!("session {index} never comes to rest"));
    }

    fn transmit(&mut self, index: usize, now: Moment) {
        let pump = &mut self.pumps[index];
        let mut output = std::mem::take(&mut pump.output);
        pump.kind.session().transmit(&mut output, now);
        if !output.is_empty() {
            let since = self.pumps[index].busy_since.unwrap_or(self.now);
            self.observe_output(index, &output, since);
        }
        self.pumps[index].output = output;
        if self.pumps[index].output.is_empty() {
            self.pumps[index].busy_since = None;
        } else {
            self.pumps[index].busy_since = Some(self.now);
        }
    }

    /// Gives the connection what it has room for. False: nothing.
    fn write_some(&mut self, index: usize, now: Moment) -> bool {
        let pump = &mut self.pumps[index];
        let (conn, side) = (pump.conn, pump.side);
        let rest = pump.output.len() - pump.written;
        let mut count = rest.min(self.conns[conn].room(side));
        if count > 1 && self.rng.chance(10) {
            count = 1 + self.rng.index(count - 1);
        }
        if count == 0 {
            return false;
        }
        let bytes = pump.output[pump.written..pump.written + count].to_vec();
        pump.written += count;
        let done = pump.written == pump.output.len();
        self.note("write", index as u64, count as u64);
        self.write(conn, side, &bytes);
        if done {
            let pump = &mut self.pumps[index];
            pump.output.clear();
            pump.written = 0;
            pump.kind.session().written(now);
        }
        true
    }

    /// An end outside the gateway reads what has come; a writer that waits for room hears of it.
    pub(crate) fn read_outside(&mut self, conn: ConnId, side: Side) -> BytesMut {
        let bytes = self.conns[conn].read(1 - side, usize::MAX);
        if let (Owner::Gateway { pump }, false) = (self.conns[conn].ends[1 - side], bytes.is_empty())
            && !self.pumps[pump].output.is_empty()
        {
            self.after(0, Event::Run(Task::Pump(pump)));
        }
        bytes
    }

    fn in_handshake(&mut self, index: usize, until: Micros) {
        let conn = self.pumps[index].conn;
        let side = self.pumps[index].side;
        let why = if self.conns[conn].broken {
            "connection reset"
        } else if self.conns[conn].at_end(1 - side) {
            "the peer closed the connection"
        } else if until <= self.now {
            "the TLS handshake took too long"
        } else {
            return;
        };
        self.fail_handshake(index, why);
    }

    /// The stream that it is for is not needed any more.
    pub(crate) fn give_up_handshake(&mut self, index: usize) {
        self.fail_handshake(index, "a stream of the partner's is used instead");
    }

    fn fail_handshake(&mut self, index: usize, why: &str) {
        let (conn, now) = (self.pumps[index].conn, self.moment());
        self.pumps[index].kind.tls_failed(why, now);
        self.reset(conn);
        self.end_pump(index, End::Local);
    }

    /// The handshake is over, if it is still wanted.
    pub(crate) fn pump_tls(&mut self, index: usize) {
        if !matches!(self.pumps[index].state, State::Handshake { .. }) {
            return;
        }
        let (Kind::In(_, partner) | Kind::Lane(_, partner)) = &self.pumps[index].kind else { return };
        let partner = match &self.pumps[index].kind {
            Kind::Lane(..) => self.lanes[*partner].partner,
            _ => *partner,
        };
        let facts = self.partners[partner].facts();
        let now = self.moment();
        let pump = &mut self.pumps[index];
        pump.state = State::Running;
        pump.kind.tls_established(facts, now);
        self.after(0, Event::Run(Task::Pump(index)));
    }

    fn in_closing(&mut self, index: usize, until: Micros) {
        let (conn, side) = (self.pumps[index].conn, self.pumps[index].side);
        // The peer's last bytes are read and dropped.
        let _ = self.conns[conn].read(1 - side, usize::MAX);
        if until <= self.now {
            // What is still under way would arrive after what is said on the next connection.
            self.reset(conn);
        }
        if self.conns[conn].broken || self.conns[conn].at_end(1 - side) {
            return self.end_pump(index, End::Local);
        }
        let now = self.moment();
        let session = self.pumps[index].kind.session();
        if session.deadline().is_some_and(|deadline| deadline <= now.instant) {
            session.handle_timeout(now);
        }
        let deadline = self.pumps[index].kind.session().deadline();
        self.run_at_deadline(deadline, Task::Pump(index));
    }

    fn end_pump(&mut self, index: usize, end: End) {
        self.note("end", index as u64, matches!(end, End::Peer).into());
        let now = self.moment();
        let pump = &mut self.pumps[index];
        pump.state = State::Ended;
        pump.ended_at = Some(pump.busy_since.unwrap_or(self.now));
        if !pump.kind.session().wants_read() && !matches!(pump.kind, Kind::Sip(_)) {
            for item in pump.last_read.drain(..) {
                match item {
                    Item::Message(id) => self.ledger.from_xmpp[id].excused = true,
                    Item::Bounce(id) => self.ledger.from_sip[id].bounce_excused = true,
                    Item::Poison(_) | Item::Presence(_) | Item::Other => {}
                }
            }
        }
        pump.kind.session().closed(end, now);
        let (conn, side) = (pump.conn, pump.side);
        self.let_go(conn, side);
        self.tell_lane(index);
    }

    /// The lane's driver goes on where it waited for this connection.
    fn tell_lane(&mut self, index: usize) {
        if let Kind::Lane(_, lane) = self.pumps[index].kind {
            self.after(0, Event::Run(Task::Lane(lane)));
        }
    }
}

/// What TLS shows of a certificate for `name`.
pub(crate) fn facts(name: &str) -> TlsFacts {
    TlsFacts {
        chain: ChainStatus::Trusted,
        names: [PresentedName::Dns(name.into())].into(),
        protocol: "TLSv1.3".into(),
        cipher: "simulated".into(),
        expires_ms: None,
    }
}
