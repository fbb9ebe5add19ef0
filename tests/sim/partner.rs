//! An XMPP partner: a small server on the stream machines, with users who write and users who do not exist.

use std::collections::VecDeque;
use std::sync::Arc;

use nuncio::xmpp_frontend::inbound::InboundSession;
use nuncio_xmpp::sm::Management;
use nuncio_xmpp::stream::{
    Inbound, InboundConfig, Outbound, OutboundConfig, Output, PartnerVerdict, Stanza, StreamIds, Terms,
    TlsFacts,
};
use nuncio_xmpp::{Condition, Domain, ErrorType, StanzaKind, ns, write_error_reply};

use crate::drivers::{CONNECT_TIMEOUT, Reach};
use crate::net::{ConnId, MILLI, Micros, Owner, SECOND, Sent};
use crate::pump::{Kind, facts};
use crate::world::{Event, LOCAL, World};

/// What it does with our pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pings {
    Answers,
    /// An error is an answer, too.
    Refuses,
    Ignores,
}

/// Whether it speaks stream management, both ways, and how it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// It does not.
    None,
    Promptly,
    /// Now and then so late that the gateway has told the sender something else.
    Late,
}

/// Something on its way to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A message of a contact.
    Message(usize),
    /// The error for a message of a SIP user.
    Bounce(usize),
    /// What ends the stream, and everything behind it.
    Poison(usize),
    /// Presence of a contact, or a message of one who is watched.
    Presence(usize),
    Other,
}

pub(crate) struct Partner {
    pub(crate) domain: Domain,
    /// What its certificate says it is.
    pub(crate) certificate: &'static str,
    pub(crate) pings: Pings,
    pub(crate) acks: Acks,
    /// It lets stanzas go both ways on a stream (XEP-0288).
    pub(crate) both_ways: bool,
    pub(crate) down: bool,
    pub(crate) frozen: bool,
    pub(crate) unreachable: bool,
    pub(crate) nameless: bool,
    streams: Vec<Stream>,
    outbox: VecDeque<(Item, Vec<u8>)>,
    connecting: bool,
    serial: u64,
}

struct Stream {
    conn: ConnId,
    side: usize,
    machine: Machine,
    established: bool,
    /// It may send on it.
    carries: bool,
    /// What was sent on it and is not acknowledged; `None`: nothing is acknowledged on it.
    unacked: Option<VecDeque<Item>>,
    acked: u32,
}

enum Machine {
    In(Box<Inbound>),
    Out(Box<Outbound>),
}

macro_rules! both {
    ($machine:expr, $name:ident => $call:expr) => {
        match $machine {
            Machine::In($name) => $call,
            Machine::Out($name) => $call,
        }
    };
}

impl Stream {
    fn new(conn: ConnId, side: usize, machine: Machine) -> Self {
        Self { conn, side, machine, established: false, carries: false, unacked: None, acked: 0 }
    }

    /// Whether it may send on it, now or soon.
    fn is_way(&self) -> bool {
        self.carries || matches!(self.machine, Machine::Out(_))
    }
}

impl Partner {
    pub(crate) fn new(domain: &str, certificate: &'static str, pings: Pings) -> Self {
        Self {
            domain: Domain::parse(domain).unwrap(),
            certificate,
            pings,
            acks: Acks::None,
            both_ways: false,
            down: false,
            frozen: false,
            unreachable: false,
            nameless: false,
            streams: Vec::new(),
            outbox: VecDeque::new(),
            connecting: false,
            serial: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.down
    }

    /// What it offers and takes.
    fn terms(&self) -> Terms {
        Terms { both_ways: self.both_ways, management: self.acks != Acks::None, ..Terms::CERTIFICATES }
    }

    /// Whether it needs no further stream to send on.
    fn has_way(&self) -> bool {
        self.streams.iter().any(Stream::is_way)
    }

    pub(crate) fn facts(&self) -> TlsFacts {
        facts(self.certificate)
    }

    pub(crate) fn conns(&self) -> Vec<ConnId> {
        self.streams.iter().map(|stream| stream.conn).collect()
    }
}

impl World {
    /// How an attempt of the gateway to reach it goes.
    pub(crate) fn reach_partner(&mut self, partner: usize) -> (Micros, Reach) {
        let near = self.near();
        let partner = &self.partners[partner];
        if partner.nameless {
            (near, Reach::NoName)
        } else if partner.unreachable {
            (CONNECT_TIMEOUT, Reach::Refused)
        } else {
            (near, Reach::Connected)
        }
    }

    /// The gateway has connected to it.
    pub(crate) fn partner_accepts(&mut self, index: usize, conn: ConnId) {
        let now = self.moment().instant;
        let served: Arc<[Domain]> = Arc::from([self.partners[index].domain.clone()]);
        let partner = &mut self.partners[index];
        partner.serial += 1;
        let id = |n: u32| format!("p{index}.{}.{n}", partner.serial).into();
        let ids = StreamIds([id(0), id(1), id(2)]);
        let machine = Machine::In(Box::new(Inbound::new(InboundConfig::new(served), ids, now)));
        partner.streams.push(Stream::new(conn, 1, machine));
        self.partner_poke(index, conn);
    }

    /// It opens a stream to the gateway, if it has something to say.
    pub(crate) fn partner_connects(&mut self, index: usize) {
        let partner = &mut self.partners[index];
        partner.connecting = false;
        if self.over || partner.outbox.is_empty() || partner.has_way() {
            return;
        }
        if partner.down || partner.unreachable || partner.frozen || self.down {
            return self.partner_wants_stream(index, SECOND);
        }
        let now = self.moment();
        let local = Domain::parse(LOCAL).unwrap();
        let config = OutboundConfig {
            terms: self.partners[index].terms(),
            ..OutboundConfig::new(self.partners[index].domain.clone(), local.clone())
        };
        let owner = Owner::PartnerOut { partner: index };
        let conn = self.connect(owner, owner);
        let machine = Machine::Out(Box::new(Outbound::new(config, now.instant)));
        self.partners[index].streams.push(Stream::new(conn, 0, machine));
        let gateway = Arc::clone(&self.gateway);
        let id = || format!("n1.{:016x}", gateway.random()).into();
        let ids = StreamIds([id(), id(), id()]);
        let config = InboundConfig::new(Arc::from([local]));
        let peer = "192.0.2.9:40000".parse().unwrap();
        let session = InboundSession::new(Arc::clone(&gateway), config, ids, peer, now);
        self.add_pump(conn, 1, Kind::In(Box::new(session), index));
        self.partner_poke(index, conn);
    }

    pub(crate) fn partner_wants_stream(&mut self, index: usize, delay: Micros) {
        let partner = &mut self.partners[index];
        if !partner.connecting && !partner.has_way() && !self.over {
            partner.connecting = true;
            self.after(delay, Event::PartnerConnects(index));
        }
    }

    /// Puts something into its outbox.
    pub(crate) fn partner_says(&mut self, index: usize, item: Item, bytes: Vec<u8>) {
        if self.partners[index].down {
            return;
        }
        self.partners[index].outbox.push_back((item, bytes));
        let way = self.partners[index].streams.iter().find(|stream| stream.is_way());
        match way.map(|stream| stream.conn) {
            Some(conn) => self.partner_poke(index, conn),
            None => {
                let delay = self.near();
                self.partner_wants_stream(index, delay);
            }
        }
    }

    /// Something happened on one of its connections, or its time may have come.
    pub(crate) fn partner_poke(&mut self, index: usize, conn: ConnId) {
        if self.partners[index].frozen {
            return;
        }
        let Some(at) = self.partners[index].streams.iter().position(|stream| stream.conn == conn) else {
            return;
        };
        let mut stream = self.partners[index].streams.remove(at);
        let alive = self.partner_stream(index, &mut stream);
        if alive {
            self.partners[index].streams.push(stream);
        } else {
            self.partner_stream_over(index, &stream);
        }
    }

    fn partner_stream_over(&mut self, index: usize, stream: &Stream) {
        self.note("partner stream over", index as u64, stream.conn as u64);
        self.let_go(stream.conn, stream.side);
        if !self.partners[index].outbox.is_empty() {
            // Who was never let in tries less often.
            let delay = match stream.established {
                true => self.rng.range(50 * MILLI, 3 * SECOND),
                false => self.rng.range(SECOND, 20 * SECOND),
            };
            self.partner_wants_stream(index, delay);
        }
    }

    /// One round on one stream. False: it is over.
    fn partner_stream(&mut self, index: usize, stream: &mut Stream) -> bool {
        let now = self.moment();
        let (conn, side) = (stream.conn, stream.side);
        if self.conns[conn].broken {
            return false;
        }
        let bytes = self.read_outside(conn, side);
        if !bytes.is_empty() {
            both!(&mut stream.machine, machine => machine.receive(&bytes, now.instant));
        }
        if both!(&stream.machine, machine => machine.deadline()).is_some_and(|at| at <= now.instant) {
            both!(&mut stream.machine, machine => machine.handle_timeout(now.instant));
        }
        let mut over = false;
        while let Some(output) = both!(&mut stream.machine, machine => machine.poll()) {
            match output {
                Output::StartTls => {
                    self.partner_flush(stream);
                    self.ready_for_tls(conn, side);
                }
                Output::AskPartner { .. } => {
                    if let Machine::In(machine) = &mut stream.machine {
                        let terms = self.partners[index].terms();
                        machine.partner_verdict(PartnerVerdict::Allowed(terms), now.instant);
                    }
                }
                Output::Established(established) => {
                    self.note("partner stream", index as u64, side as u64);
                    stream.established = true;
                    stream.carries = side == 0 || established.both_ways;
                    if side == 0 && self.partners[index].acks != Acks::None {
                        self.write(conn, side, b"<enable xmlns='urn:xmpp:sm:3'/>");
                        stream.unacked = Some(VecDeque::new());
                    }
                }
                Output::Stanza(stanza) => {
                    self.partner_stanza(index, &stanza);
                    self.partner_settles_in_time(index, stream, stanza.number);
                }
                Output::Managed(said) => self.partner_is_told(index, stream, &said),
                Output::Unasked(element) => {
                    self.ledger.violation(format!("{} where nothing was asked", element.name()));
                }
                Output::ShutdownTls | Output::Abort => over = true,
                Output::BadAddress { .. } => self.ledger.violation("a stanza with a bad address".to_owned()),
                Output::Closed(_) => {}
                // What comes of dialback, which the terms above do not allow.
                Output::Unsolicited(_)
                | Output::Verify(_)
                | Output::Verified(_)
                | Output::KeyAnswered { .. }
                | Output::DialbackRefused { .. }
                | Output::PairAuthorized(_)
                | Output::PairRefused { .. } => {
                    self.ledger.violation("dialback with a partner that has a certificate".to_owned());
                }
            }
        }
        self.partner_flush(stream);
        if stream.carries && both!(&stream.machine, machine => machine.write_allowed()) && !over {
            let any = !self.partners[index].outbox.is_empty();
            while let Some((item, bytes)) = self.partners[index].outbox.pop_front() {
                stream.unacked.iter_mut().for_each(|unacked| unacked.push_back(item));
                self.write(conn, side, &bytes);
                // The observer notes where in the byte stream it ends.
                let end = self.conns[conn].dirs[side].written;
                self.conns[conn].book.push_back((end, Sent::Stanza(item)));
            }
            if any && stream.unacked.is_some() {
                self.write(conn, side, b"<r xmlns='urn:xmpp:sm:3'/>");
            }
        }
        if over || self.conns[conn].at_end(1 - side) {
            return false;
        }
        if let Some(deadline) = both!(&stream.machine, machine => machine.deadline()) {
            let at = self.micros(deadline);
            self.at(at, Event::Poke(conn, side));
        }
        true
    }

    /// It has handled a stanza of the gateway, and lets it know, perhaps late.
    fn partner_settles_in_time(&mut self, index: usize, stream: &mut Stream, number: Option<u64>) {
        let Some(number) = number else { return };
        let late = self.partners[index].acks == Acks::Late && self.rng.chance(30);
        if late {
            let delay = self.rng.range(MILLI, 15 * SECOND);
            self.after(delay, Event::PartnerSettles(index, stream.conn, number));
        } else {
            both!(&mut stream.machine, machine => machine.settled(number));
        }
    }

    /// It lets the gateway know late.
    pub(crate) fn partner_settles(&mut self, index: usize, conn: ConnId, number: u64) {
        let mut streams = self.partners[index].streams.iter_mut();
        if let Some(stream) = streams.find(|stream| stream.conn == conn) {
            both!(&mut stream.machine, machine => machine.settled(number));
            self.partner_poke(index, conn);
        }
    }

    /// The gateway says how far it is with what it was sent.
    fn partner_is_told(&mut self, index: usize, stream: &mut Stream, said: &Management) {
        // Where both send on the gateway's stream, it is the gateway that asks for it, for both.
        if matches!(said, Management::Enable { .. }) {
            stream.unacked = Some(VecDeque::new());
        }
        let (Some(unacked), &Management::Answer { handled }) = (&mut stream.unacked, said) else {
            return;
        };
        if handled < stream.acked || (handled - stream.acked) as usize > unacked.len() {
            let (before, more) = (stream.acked, unacked.len());
            return self.ledger.violation(format!(
                "partner {index}: {handled} acknowledged after {before}, and {more} more were sent"
            ));
        }
        for item in unacked.drain(..(handled - stream.acked) as usize) {
            if let Item::Message(id) = item {
                self.note("c acknowledged", id as u64, index as u64);
                let (noted, now) = (self.is_noted(id), self.now);
                self.ledger.contact_is_acknowledged(id, noted, now);
            }
        }
        stream.acked = handled;
    }

    /// Whether the message of a contact is on the gateway's disk as one that waits.
    pub(crate) fn is_noted(&self, id: usize) -> bool {
        let name = format!("c{id}");
        self.store.pending_messages().iter().any(|message| message.stanza_id.as_deref() == Some(&*name))
    }

    fn partner_flush(&mut self, stream: &mut Stream) {
        let mut out = Vec::new();
        both!(&mut stream.machine, machine => machine.transmit(&mut out));
        if !out.is_empty() {
            self.write(stream.conn, stream.side, &out);
        }
    }

    /// A stanza of the gateway.
    fn partner_stanza(&mut self, index: usize, stanza: &Stanza) {
        let (from, to) = (stanza.addresses.from.bare_str(), stanza.addresses.to.bare_str());
        let element = &stanza.element;
        if self.partners[index].certificate != self.partners[index].domain.as_str() {
            self.ledger.violation(format!("partner {index} got a stanza though it did not prove its name"));
        }
        match (stanza.kind, element.attr("type")) {
            (StanzaKind::Presence | StanzaKind::Message, _) if self.presence.is_on() => {
                self.contact_gets(element, from, to);
            }
            (StanzaKind::Message, Some("error")) => self.note("partner got error", index as u64, 0),
            (StanzaKind::Message, _)
                if self.sessions.is_on() && element.child("body", ns::SERVER).is_none() =>
            {
                self.contact_sees_state(element, from, to);
            }
            (StanzaKind::Message, _) => {
                let body = element.child("body", ns::SERVER).map(|body| body.text().into_owned());
                let id =
                    body.as_deref().and_then(|body| body.strip_prefix('s')).and_then(|id| id.parse().ok());
                let Some(id) = id else {
                    return self.ledger.violation(format!("a partner got a message nobody sent: {body:?}"));
                };
                self.note("partner got s", id as u64, index as u64);
                self.ledger.partner_processed(id, to, from, self.now);
                let unknown = self.ledger.pairs[self.ledger.from_sip[id].pair].unknown_contact;
                if unknown {
                    let mut out = Vec::new();
                    let condition = Condition::ServiceUnavailable;
                    write_error_reply(&mut out, element, ErrorType::Cancel, condition, None, None);
                    self.partner_says(index, Item::Bounce(id), out);
                }
            }
            (StanzaKind::Iq, Some("get")) => {
                let id = element.attr("id").unwrap_or_default();
                let domain = self.partners[index].domain.as_str();
                let answer = match self.partners[index].pings {
                    Pings::Answers => format!("<iq type='result' id='{id}' from='{domain}' to='{from}'/>"),
                    Pings::Refuses => format!(
                        "<iq type='error' id='{id}' from='{domain}' to='{from}'><error type='cancel'>\
                         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
                    ),
                    Pings::Ignores => return,
                };
                self.partner_says(index, Item::Other, answer.into_bytes());
            }
            _ => {}
        }
    }

    pub(crate) fn partner_tls(&mut self, index: usize, conn: ConnId) {
        let now = self.moment().instant;
        let ours = facts(LOCAL);
        if let Some(stream) = self.partners[index].streams.iter_mut().find(|stream| stream.conn == conn) {
            both!(&mut stream.machine, machine => machine.tls_established(ours, now));
        }
        self.poke(
            conn,
            self.conns[conn].ends.iter().position(|end| !matches!(end, Owner::Gateway { .. })).unwrap_or(0),
        );
    }

    /// Closes all its streams in good order.
    pub(crate) fn partner_closes(&mut self, index: usize) {
        let now = self.moment().instant;
        let partner = &mut self.partners[index];
        for stream in &mut partner.streams {
            both!(&mut stream.machine, machine => machine.close(now, None));
        }
        for conn in partner.conns() {
            self.partner_poke(index, conn);
        }
    }

    /// It is gone from one moment to the next, with what it had not sent.
    pub(crate) fn partner_dies(&mut self, index: usize) {
        self.partners[index].down = true;
        self.partners[index].outbox.clear();
        for conn in self.partners[index].conns() {
            self.reset(conn);
        }
    }

    pub(crate) fn partner_wakes(&mut self, index: usize) {
        for conn in self.partners[index].conns() {
            self.partner_poke(index, conn);
        }
        self.partner_wants_stream(index, MILLI);
    }

    /// A contact writes to a SIP user, now and then under a false name.
    pub(crate) fn contact_writes(&mut self, pair: usize) {
        if self.over {
            return;
        }
        let evil = self.rng.chance(1) && self.rng.chance(40);
        let id = self.ledger.from_xmpp.len();
        let record = &self.ledger.pairs[pair];
        let partner = record.partner;
        let (to, mut from) = (record.sip_user.clone(), record.contact.clone());
        self.ledger.from_xmpp.push(crate::ledger::FromXmpp { pair, evil, ..Default::default() });
        if evil {
            let other = self.partners[(partner + 1) % self.partners.len()].domain.clone();
            from = format!("c0@{}", other.as_str());
        }
        let more = if evil { String::new() } else { self.contact_adds(pair) };
        let bytes = format!(
            "<message from='{from}/r' to='{to}' id='c{id}' type='chat'><body>c{id}</body>{more}</message>"
        );
        let item = if evil { Item::Poison(id) } else { Item::Message(id) };
        self.note("contact writes", id as u64, pair as u64);
        self.partner_says(partner, item, bytes.into_bytes());
        if !evil {
            self.contact_asides(pair, &from);
        }
        // Under a false name it would end the stream, and nobody would know what came after it.
        if self.rng.chance(3) && !evil {
            self.forge(partner, &from, &to);
        }
    }

    /// An error for a message that was never sent, and the answer to a ping that never was.
    fn forge(&mut self, partner: usize, from: &str, to: &str) {
        let ids = ["n1.0.0.0", "n1.AAAAAAAAAAAAAAAAAAAAAAAA", "x", "n1-1-1-1"];
        let id = self.rng.pick(&ids);
        let error = format!(
            "<message type='error' id='{id}' from='{from}' to='{to}'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        );
        let domain = self.partners[partner].domain.as_str();
        let pong = format!("<iq type='result' id='{id}' from='{domain}' to='{LOCAL}'/>");
        self.partner_says(partner, Item::Other, error.into_bytes());
        self.partner_says(partner, Item::Other, pong.into_bytes());
    }
}
