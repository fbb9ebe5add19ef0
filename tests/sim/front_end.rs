//! The SIP front end: two nodes of one pool, whose users write, and who answer what the gateway sends.

use bytes::BytesMut;
use nuncio::gateway::SipPeer;
use nuncio_sip::{Frame, Framer, Limits, Message, Method, ResponseHead, StatusCode};

use crate::drivers::CONNECT_TIMEOUT;
use crate::ledger::FromSip;
use crate::net::{ConnId, MILLI, Micros, Owner, SECOND, Sent, Side};
use crate::observer::{address, request_of};
use crate::world::{Event, LOCAL, World};

/// A user agent waits that long for its answer (Timer F).
const TIMER_F: Micros = 32 * SECOND;

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) down: bool,
    pub(crate) frozen: bool,
    pub(crate) unreachable: bool,
    /// It answers everything with 503.
    pub(crate) busy: bool,
    connecting: bool,
}

impl Node {
    pub(crate) fn is_up(&self) -> bool {
        !self.down
    }
}

/// One SIP connection of the front end.
struct Link {
    conn: ConnId,
    side: Side,
    node: usize,
    framer: Framer,
    input: BytesMut,
    /// Nothing of a listed front end.
    stranger: bool,
}

/// The front end.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) nodes: [Node; 2],
    links: Vec<Link>,
    /// The message each pair waits for an answer to.
    pending: Vec<Option<usize>>,
    /// Messages each pair has yet to write.
    pub(crate) to_write: Vec<u32>,
    /// Per cent of messages it does not answer with 200 at once.
    pub(crate) moody: u64,
}

impl Pool {
    pub(crate) fn conns(&self, node: usize) -> Vec<ConnId> {
        self.links.iter().filter(|link| link.node == node).map(|link| link.conn).collect()
    }
}

impl World {
    /// How an attempt of the gateway to reach a node goes.
    pub(crate) fn reach_node(&mut self, node: usize) -> (Micros, bool) {
        let near = self.near();
        let node = &self.pool.nodes[node];
        if node.unreachable || node.frozen { (CONNECT_TIMEOUT, false) } else { (near, !node.down) }
    }

    pub(crate) fn front_end_accepts(&mut self, conn: ConnId, node: usize) {
        self.add_link(conn, 1, node, false);
    }

    fn add_link(&mut self, conn: ConnId, side: Side, node: usize, stranger: bool) {
        let framer = Framer::new(Limits::default());
        self.pool.links.push(Link { conn, side, node, framer, input: BytesMut::new(), stranger });
    }

    /// A node sees to it that it has a connection to the gateway.
    pub(crate) fn front_end_connects(&mut self, node: usize) {
        self.pool.nodes[node].connecting = false;
        let has = self.pool.links.iter().any(|link| link.node == node && link.side == 0 && !link.stranger);
        let state = &self.pool.nodes[node];
        if self.over || has || state.down {
            return;
        }
        if state.frozen || state.unreachable || self.down {
            return self.front_end_reconnects(node, SECOND);
        }
        let conn = self.connect(Owner::FrontEnd, Owner::FrontEnd);
        self.accept_sip(conn, 1, SipPeer::FrontEnd(0));
        self.add_link(conn, 0, node, false);
    }

    pub(crate) fn front_end_reconnects(&mut self, node: usize, delay: Micros) {
        if !self.pool.nodes[node].connecting && !self.over {
            self.pool.nodes[node].connecting = true;
            self.after(delay, Event::FrontEndConnects(node));
        }
    }

    /// The user of a pair writes, if he does not wait for an answer.
    pub(crate) fn sip_user_writes(&mut self, pair: usize) {
        if self.pool.pending.len() <= pair {
            self.pool.pending.resize(pair + 1, None);
        }
        if self.over || self.pool.pending[pair].is_some() || self.pool.to_write[pair] == 0 {
            return;
        }
        let Some((conn, side)) = self.some_link() else {
            return self.after(SECOND / 2, Event::SipUserWrites(pair));
        };
        self.pool.to_write[pair] -= 1;
        let id = self.request(conn, side, pair, false);
        self.pool.pending[pair] = Some(id);
        self.after(TIMER_F, Event::GiveUp(id));
    }

    /// A connection to the gateway, if there is one.
    pub(crate) fn some_link(&mut self) -> Option<(ConnId, Side)> {
        let usable: Vec<_> = self
            .pool
            .links
            .iter()
            .filter(|link| {
                let node = &self.pool.nodes[link.node];
                !link.stranger && !node.down && !node.frozen && !self.conns[link.conn].broken
            })
            .map(|link| (link.conn, link.side))
            .collect();
        (!usable.is_empty()).then(|| self.rng.pick(&usable))
    }

    fn request(&mut self, conn: ConnId, side: Side, pair: usize, evil: bool) -> usize {
        let id = self.ledger.from_sip.len();
        let Owner::Gateway { pump } = self.conns[conn].ends[1 - side] else { return id };
        self.ledger.from_sip.push(FromSip { pair, evil, pump, ..FromSip::default() });
        self.note("sip user writes", id as u64, pair as u64);
        let record = &self.ledger.pairs[pair];
        let (from, to, body) = (&record.sip_user, &record.contact, format!("s{id}"));
        let alone = format!(
            "MESSAGE sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS fe.{LOCAL};branch=z9hG4bKs{id}.x\r\nMax-Forwards: 70\r\n\
             From: <sip:{from}>;tag=f{id}\r\nTo: <sip:{to}>\r\nCall-ID: s{id}\r\nCSeq: 1 MESSAGE\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = self.message_in_session(id, pair, evil).unwrap_or(alone);
        // Now and then it comes twice.
        let copies = if self.rng.chance(3) { 2 } else { 1 };
        for _ in 0..copies {
            self.write(conn, side, text.as_bytes());
            let end = self.conns[conn].dirs[side].written;
            self.conns[conn].book.push_back((end, Sent::Request(id)));
        }
        id
    }

    /// The message has its answer, or will never have one.
    fn settled(&mut self, id: usize) {
        let pair = self.ledger.from_sip[id].pair;
        if self.pool.pending.get(pair).is_some_and(|pending| *pending == Some(id)) {
            self.pool.pending[pair] = None;
            let delay = self.rng.range(MILLI, 3 * SECOND);
            self.after(delay, Event::SipUserWrites(pair));
        }
    }

    pub(crate) fn give_up(&mut self, id: usize) {
        self.settled(id);
    }

    /// Somebody who is no front end tries to write.
    pub(crate) fn stranger(&mut self) {
        let conn = self.connect(Owner::FrontEnd, Owner::FrontEnd);
        self.accept_sip(conn, 1, SipPeer::Unlisted("it presented no certificate".to_owned()));
        self.add_link(conn, 0, 0, true);
        let pair = self.rng.index(self.ledger.pairs.len());
        self.request(conn, 0, pair, true);
    }

    /// Something happened on a connection.
    pub(crate) fn front_end_poke(&mut self, conn: ConnId) {
        let Some(at) = self.pool.links.iter().position(|link| link.conn == conn) else { return };
        if self.pool.nodes[self.pool.links[at].node].frozen {
            return;
        }
        let mut link = self.pool.links.remove(at);
        if self.link(&mut link) {
            self.pool.links.push(link);
            return;
        }
        self.note("front end link over", conn as u64, link.node as u64);
        self.let_go(conn, link.side);
        let lost: Vec<_> = self.pool.pending.iter().flatten().copied().collect();
        for id in lost {
            let Owner::Gateway { pump } = self.conns[conn].ends[1 - link.side] else { continue };
            if self.ledger.from_sip[id].pump == pump {
                self.settled(id);
            }
        }
        if link.side == 0 && !link.stranger {
            let delay = self.rng.range(10 * MILLI, 2 * SECOND);
            self.front_end_reconnects(link.node, delay);
        }
    }

    fn link(&mut self, link: &mut Link) -> bool {
        let (conn, side) = (link.conn, link.side);
        if self.conns[conn].broken {
            return false;
        }
        let bytes = self.read_outside(conn, side);
        link.input.extend_from_slice(&bytes);
        loop {
            match link.framer.next(&mut link.input) {
                Ok(Some(Frame::Message(message))) => self.front_end_gets(link, &message),
                Ok(Some(Frame::Ping)) => self.write(conn, side, b"\r\n"),
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => {
                    self.ledger.violation(format!("the front end cannot read the gateway: {error}"));
                    return false;
                }
            }
        }
        !self.conns[conn].at_end(1 - side)
    }

    fn front_end_gets(&mut self, link: &Link, message: &Message) {
        if self.presence.is_on() {
            let busy = self.pool.nodes[link.node].busy;
            return self.watched_front_end_gets(link.conn, busy, message);
        }
        match message.status() {
            Some(_) if self.session_answered(message) => {}
            Some(StatusCode(100..200)) => {}
            Some(StatusCode(status)) => {
                let Some(id) = request_of(message) else { return };
                if status == 481 {
                    self.session_is_unknown(message);
                }
                self.note("sip user got", id as u64, status.into());
                self.settled(id);
            }
            None if self.sessions.is_on()
                && self.session_request(link.conn, self.pool.nodes[link.node].busy, message) => {}
            None if message.method() == Method::Message => self.front_end_request(link, message),
            None => {}
        }
    }

    fn front_end_request(&mut self, link: &Link, message: &Message) {
        let body = message.body();
        let text = String::from_utf8_lossy(&body).into_owned();
        let id = text.strip_prefix('c').and_then(|id| id.parse::<usize>().ok());
        let (from, to) = (address(message.from_header()), address(message.to_header()));
        if link.stranger {
            return self.ledger.violation(format!("a stranger got a message from {from}"));
        }
        let busy = self.pool.nodes[link.node].busy;
        let mood = if self.rng.chance(self.pool.moody) { self.rng.range(0, 6) } else { 9 };
        let (status, delay) = match mood {
            _ if busy => (503, Some(MILLI)),
            0 => (404, Some(MILLI)),
            1 => (480, Some(50 * MILLI)),
            2 => (503, Some(MILLI)),
            3 => (200, Some(5 * SECOND)),
            4 => (200, Some(40 * SECOND)),
            5 => (200, None),
            _ => (200, Some(MILLI)),
        };
        self.note("front end got", id.map_or(u64::MAX, |id| id as u64), status);
        if let (Some(id), 200) = (id, status) {
            self.ledger.front_end_processed(id, &to, &from, self.now);
        }
        let Some(delay) = delay else { return };
        let Ok(head) = ResponseHead::from_request(message, "fe", "192.0.2.7:5061".parse().unwrap()) else {
            return self.ledger.violation("a request nobody can answer".to_owned());
        };
        let mut answer = Vec::new();
        let status = u16::try_from(status).unwrap();
        head.write(&mut answer, status, StatusCode(status).phrase(), &[], None);
        let delay = delay + self.rng.range(0, 20 * MILLI);
        // The number of the message stands in front for the observer.
        let accepted = id.filter(|_| status == 200).map_or(u64::MAX, |id| id as u64);
        let tagged = [accepted.to_be_bytes().as_slice(), &answer].concat();
        self.after(delay, Event::Answer(link.conn, tagged));
    }

    /// An answer that was thought over leaves.
    pub(crate) fn front_end_answers(&mut self, conn: ConnId, tagged: &[u8]) {
        let Some(link) = self.pool.links.iter().find(|link| link.conn == conn) else { return };
        let (side, node) = (link.side, &self.pool.nodes[link.node]);
        if node.down {
            return;
        }
        if node.frozen {
            return self.after(SECOND, Event::Answer(conn, tagged.to_vec()));
        }
        let (number, answer) = tagged.split_at(8);
        self.write(conn, side, answer);
        let number = u64::from_be_bytes(number.try_into().unwrap());
        if let Ok(id) = usize::try_from(number)
            && id < self.ledger.from_xmpp.len()
        {
            let end = self.conns[conn].dirs[side].written;
            self.conns[conn].book.push_back((end, Sent::Accepted(id)));
        }
    }

    pub(crate) fn node_dies(&mut self, node: usize) {
        self.pool.nodes[node].down = true;
        if self.sessions.is_on() && self.rng.chance(50) {
            self.forget_sessions();
        }
        for conn in self.pool.conns(node) {
            self.reset(conn);
        }
    }

    pub(crate) fn node_wakes(&mut self, node: usize) {
        for conn in self.pool.conns(node) {
            self.front_end_poke(conn);
        }
        self.front_end_reconnects(node, MILLI);
    }
}

impl World {
    /// The front end closes a connection of its own accord.
    pub(crate) fn close_link(&mut self, conn: ConnId) {
        let Some(at) = self.pool.links.iter().position(|link| link.conn == conn) else { return };
        let link = self.pool.links.remove(at);
        self.let_go(conn, link.side);
    }
}
