//! The transactions of one reliable (TLS) connection, both roles, without IO.
//!
//! A driver owns the socket and moves bytes; this machine owns everything that can be lost, doubled or
//! answered twice. The driver's part:
//!
//! 1. Feed it: [`receive`](Connection::receive), [`ping`](Connection::ping) and
//!    [`pong`](Connection::pong) for what the framer yields, [`broken`](Connection::broken) for its
//!    error, [`handle_timeout`](Connection::handle_timeout) at [`deadline`](Connection::deadline),
//!    [`closed`](Connection::closed) once when the socket is gone.
//! 2. After each input drain [`poll`](Connection::poll), then write what
//!    [`transmit`](Connection::transmit) yields, and say [`written`](Connection::written) when all of it is. What it has
//!    yielded counts as possibly sent.
//! 3. Stop reading while [`is_congested`](Connection::is_congested): the peer does not take the
//!    answers to its own requests.
//!
//! Other tasks put requests and answers in between ([`send_request`](Connection::send_request),
//! [`respond`](Connection::respond)) and wake the driver. No method blocks, none walks the table except
//! `closed`, so the machine may stand behind a plain mutex.
//!
//! INVITE has transactions of its own (RFC 3261 §17.1.1, §17.2.1, with RFC 6026). What belongs to its dialog is left to
//! the caller: ACK for 2xx in both directions, the repetition of a 2xx until ACK, and 2xx of further branches of a
//! fork. ACK for any other answer never leaves here.

mod answer;
mod arena;
mod client;
mod config;
mod counters;
mod ending;
mod jitter;
mod keep_alive;
mod keys;
mod merging;
mod output;
mod probe;
mod receive;
mod send;
mod server;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use config::{ConnectionConfig, Explain};
pub use counters::Counters;
pub(crate) use jitter::Jitter;
pub use keep_alive::{ANSWER_WITHIN, KeepAliveInterval, PONG_WITHIN, SHORTEST_INTERVAL};
pub use merging::{Copies, Merged, Merging};
pub use output::{Failure, Output, Responded, SendRefused, Why};
pub use probe::MS_KEEP_ALIVE_TIMEOUT;

use crate::{Fields, FrameError, Message, Method, ResponseHead, StatusCode, Via};
use answer::write_trying;
use arena::Handle;
use client::{Client, Expired};
use keep_alive::{Due, KeepAlive};
use keys::{Key, Keys};
use send::Unanswered;
use server::{Fired, Kind, Server};

/// RFC 3261 §17.1.1.1: the unit of all transaction timers.
pub const T1: Duration = Duration::from_millis(500);
/// Timer F (RFC 3261 §17.1.2.2): a client transaction without final response ends after 64·T1.
pub const TIMER_F: Duration = Duration::from_secs(32);
/// A non-INVITE request without answer gets 100 Trying when its client's Timer E has reached T2
/// (RFC 4320 §4.1; SIP-27): 0.5 + 1 + 2 s.
pub const TRYING_AFTER: Duration = Duration::from_millis(3500);
/// An INVITE without answer gets 100 Trying by then (RFC 3261 §17.2.1).
pub const INVITE_TRYING_AFTER: Duration = Duration::from_millis(200);
/// A proxy gives up on an INVITE without news after three minutes (Timer C, RFC 3261 §16.6), and so do we: one that the
/// caller leaves unanswered gets 408 then, and one of ours is cancelled.
pub const INVITE_ABANDONED_AFTER: Duration = Duration::from_secs(180);
/// 64·T1: how long an answered INVITE waits for its ACK (Timer H), or absorbs repeats after 2xx (Timer L, RFC 6026);
/// and how long another 2xx may follow the first one (Timer M).
pub const SETTLED_FOR: Duration = Duration::from_secs(32);
/// The client of a request has given up by now (its Timer F); an answer would reach nobody.
pub const ABANDONED_AFTER: Duration = TIMER_F;
/// Answered requests remembered per connection (DEC-27).
pub const RING: usize = 256;
/// How long at most an answered request is remembered (DEC-27).
pub const RING_AGE: Duration = Duration::from_secs(5);

/// The machine. `E` is what the caller gets back with the outcome of a request it sent.
#[derive(Debug)]
pub struct Connection<E> {
    config: ConnectionConfig,
    keys: Keys,
    server: Server,
    client: Client<E>,
    keep_alive: Option<KeepAlive>,
    /// The OPTIONS that wait for their answer: the last one.
    probe: Option<Key>,
    /// How many there were.
    probes: u32,
    /// When a response to a request of the caller's came last, of any kind.
    answered: Option<Instant>,
    outputs: VecDeque<Output<E>>,
    /// BENOTIFYs that are not written yet, in their order.
    unanswered: VecDeque<Unanswered<E>>,
    /// Bytes to be written.
    out: Vec<u8>,
    /// Bytes that [`Connection::transmit`] has yielded so far.
    taken: u64,
    counters: Counters,
    phase: Phase,
    /// See [`Connection::retire`].
    retiring: bool,
    /// See [`Connection::finish`].
    finished: bool,
    /// See [`Connection::alias`].
    alias: Option<u16>,
}

/// A server transaction. It stays valid until answered, that of an INVITE answered with 2xx for 64·T1 more
/// ([`Connection::repeat`]); afterwards it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerTxn(Handle);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Closed,
}

impl<E> Connection<E> {
    pub fn new(config: ConnectionConfig, now: Instant) -> Self {
        let keys = Keys::new(&config.secret);
        Self {
            server: Server::new(config.max_pending_in, config.merging.clone()),
            client: Client::new(config.max_pending_out),
            keep_alive: config
                .keep_alive
                .map(|interval| KeepAlive::new(interval, config.probe.is_some(), keys.seed(), now)),
            probe: None,
            probes: 0,
            answered: None,
            outputs: VecDeque::new(),
            unanswered: VecDeque::new(),
            out: Vec::new(),
            taken: 0,
            counters: Counters::default(),
            phase: Phase::Open,
            retiring: false,
            finished: false,
            alias: None,
            keys,
            config,
        }
    }

    /// A message has arrived. `to_tag` makes a fresh tag for the To header of our answers; it is asked
    /// only for new requests.
    pub fn receive<T: AsRef<str>>(&mut self, message: Message, to_tag: impl FnOnce() -> T, now: Instant) {
        if self.phase == Phase::Closed {
            self.counters.after_close += 1;
            return;
        }
        self.heard(now);
        if message.is_request() {
            self.receive_request(message, to_tag, now);
        } else {
            self.receive_response(message, now);
        }
    }

    /// A keep-alive ping (CRLFCRLF) has arrived: it is answered at once.
    pub fn ping(&mut self, now: Instant) {
        self.heard(now);
        self.counters.pings += 1;
        self.write(b"\r\n");
    }

    /// The answer to our ping (CRLF) has arrived.
    pub fn pong(&mut self, now: Instant) {
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.pong(now);
        }
    }

    /// What arrived cannot be framed any further. Answers as far as that is possible; the driver writes
    /// it and closes.
    pub fn broken<T: AsRef<str>>(&mut self, error: &FrameError, to_tag: impl FnOnce() -> T) {
        let Some(head) = &error.head else { return };
        let method = head.method();
        if self.phase == Phase::Closed
            || !head.is_request()
            || matches!(method, Method::Ack | Method::Benotify)
        {
            return;
        }
        self.counters.rejected += 1;
        match ResponseHead::from_request(head, to_tag().as_ref(), self.config.peer) {
            Ok(response) => {
                let why = error.to_string();
                let explained =
                    self.config.explain.map(|explain| explain(&self.config.sent_by, error.status, &why));
                let fields = explained.as_ref().map(|(name, value)| (*name, value.as_str()));
                response.write(&mut self.out, error.status, error.reason, fields.as_slice(), None);
            }
            Err(_) => self.counters.unanswerable += 1,
        }
    }

    /// Cancels an INVITE of ours: CANCEL leaves at once if a provisional response has come, else with the first one (RFC
    /// 3261 §9.1). Its final response, 487 as a rule, comes as any other; without one it fails after 64·T1. Harmless for
    /// an INVITE that is settled.
    ///
    /// `fields` say why, on the CANCEL.
    pub fn cancel(&mut self, branch: &str, fields: Fields, now: Instant) {
        if self.phase != Phase::Closed
            && let Some((invite, fields)) =
                self.client.cancel(self.keys.client(branch, Method::Invite), fields, now)
        {
            self.write_cancel(&invite, &fields);
        }
    }

    /// Where else the peer is to be found, if it lets us send requests on this connection instead of opening one to there
    /// (RFC 5923): it put `alias` into a Via. Whether it may say so depends on who it is, which is the caller's business.
    pub fn alias(&self) -> Option<SocketAddr> {
        let port = self.alias.filter(|_| self.phase == Phase::Open && !self.retiring)?;
        Some(SocketAddr::new(self.config.peer.ip().to_canonical(), port))
    }

    /// Takes what is to be written: whole messages, in order.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        self.taken += self.out.len() as u64;
        if out.is_empty() {
            // The two buffers change places: nothing is copied, and both keep their room.
            std::mem::swap(out, &mut self.out);
        } else {
            out.append(&mut self.out);
        }
    }

    /// The next thing to do; drain it after every input.
    pub fn poll(&mut self) -> Option<Output<E>> {
        self.outputs.pop_front()
    }

    /// All there is to do, in place of what `outputs` held: the two queues change places, so that neither grows anew
    /// each time.
    pub fn poll_all(&mut self, outputs: &mut VecDeque<Output<E>>) {
        outputs.clear();
        std::mem::swap(outputs, &mut self.outputs);
    }

    /// When [`Connection::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.as_ref().and_then(KeepAlive::deadline);
        [self.server.deadline(), self.client.deadline(), keep_alive].into_iter().flatten().min()
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(expired) = self.client.expired(now) {
            match expired {
                Expired::Failed { envelope, since } => {
                    self.counters.timeouts += 1;
                    let heard = self.answered.is_some_and(|at| at >= since);
                    self.outputs.push_back(Output::Failed { envelope, why: Failure::Timeout { heard } });
                }
                Expired::Cancel(invite) => self.write_cancel(&invite, &[]),
                Expired::Over => {}
            }
        }
        while let Some(fired) = self.server.fired(now) {
            match fired {
                Fired::Trying(pending) if pending.kind != Kind::Silent && self.phase != Phase::Closed => {
                    self.counters.trying += 1;
                    write_trying(&mut self.out, &pending.head);
                }
                Fired::Trying(_) => {}
                Fired::Abandoned => self.counters.abandoned += 1,
                Fired::InviteAbandoned(handle) => {
                    self.counters.abandoned += 1;
                    let why = "nobody has answered it in time";
                    let explained =
                        self.config.explain.map(|explain| explain(&self.config.sent_by, 408, why));
                    let fields = explained.as_ref().map(|(name, value)| (*name, value.as_str()));
                    let phrase = StatusCode(408).phrase();
                    let _ = self.answer_invite(handle, 408, phrase, fields.as_slice(), None, now);
                }
                Fired::Unacknowledged => self.counters.unacknowledged += 1,
                Fired::Over => {}
            }
        }
        self.server.forget_old(now);
        match self.keep_alive.as_mut().and_then(|keep_alive| keep_alive.handle_timeout(now)) {
            Some(Due::Ping) => self.write(b"\r\n\r\n"),
            Some(Due::Probe) => self.write_probe(),
            Some(Due::Dead) => self.outputs.push_back(Output::Dead),
            None => {}
        }
    }

    /// Nothing is under way in either direction, and nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        let quiet = self.server.len() == 0 && self.client.len() == 0 && self.unanswered.is_empty();
        quiet && self.out.is_empty() && self.outputs.is_empty()
    }

    /// The peer takes too little of what we write to it; reading more of it would only add to that.
    pub fn is_congested(&self) -> bool {
        self.out.len() >= self.config.max_backlog
    }

    /// Until when the 2xx to INVITE of longest ago that has no ACK yet is remembered: it may have to be
    /// [repeated](Connection::repeat) till then, also when the connection is gone. `None`: there is no such one.
    pub fn repeats_until(&self) -> Option<Instant> {
        self.server.repeats_until()
    }

    /// Another request would be refused.
    pub fn is_full(&self) -> bool {
        self.takes_nothing() || self.client.is_full()
    }

    /// Our To tag in the answers of this transaction, unless the request brought one.
    pub fn to_tag(&self, txn: ServerTxn) -> Option<&str> {
        self.server.get(txn.0).map(|pending| pending.tag.as_str())
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    fn write_probe(&mut self) {
        let Some(to) = &self.config.probe else { return };
        self.probes = self.probes.wrapping_add(1);
        let token = format!("{:016x}.{}", self.keys.seed(), self.probes);
        let branch = format!("{}{token}", Via::COOKIE);
        let options = probe::options(to, &self.config.sent_by, &branch, &token);
        self.probe = Some(self.keys.client(&branch, Method::Options));
        self.write(options.as_bytes());
    }

    fn heard(&mut self, now: Instant) {
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard(now);
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}
