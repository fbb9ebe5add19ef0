//! SIP connections, accepted or opened.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use compact_str::CompactString;
use nuncio_sip::connection::{Connection, ConnectionConfig, Output};
use nuncio_sip::hop::{HopConnection, Outgoing};
use nuncio_sip::{Frame, Framer, Limits};
use nuncio_translate::Moment;
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::gateway::port::Bells;
use crate::gateway::{
    Believed, Carries, ConnectionId, Gateway, Owner, Registered, ReplyTo, Route, SUPPORTED, SipPeer, SipPort,
    Standing, ToSipEnvelope,
};
use crate::log_limit::{Cause, Source};
use crate::net::session::{End, Next, Session};

/// The session of one SIP connection. Both sides may send requests on it.
pub struct SipSession {
    gateway: Arc<Gateway>,
    id: ConnectionId,
    port: Arc<SipPort>,
    peer: SipPeer,
    /// The route whose requests this connection carries: one that we opened, or that the peer lends.
    carries: Arc<Carries>,
    /// Whether it may go on.
    standing: Arc<Standing>,
    address: IpAddr,
    framer: Framer,
    /// How long a message may take to arrive whole.
    arrival: Duration,
    /// When the connection is closed because the peer does not go on.
    patience: Option<Instant>,
    next: Next,
    /// Nothing more is read: the peer is being shown out.
    deaf: bool,
    /// Empty between two steps; kept for its room.
    outputs: VecDeque<Output<Outgoing<ToSipEnvelope>>>,
}

impl SipSession {
    pub fn new(
        gateway: Arc<Gateway>,
        peer: SipPeer,
        config: ConnectionConfig,
        limits: Limits,
        arrival: Duration,
        now: Moment,
    ) -> Self {
        let address = config.peer.ip();
        let explain = Some(gateway.trust_model(&peer).diagnostics().explains());
        let other_names = gateway.sip_names();
        let merging = gateway.merging(&peer);
        let config = ConnectionConfig { explain, other_names, merging, supported: SUPPORTED, ..config };
        let patience = matches!(peer, SipPeer::Unlisted(_)).then(|| now.instant + arrival);
        let connection = Connection::new(config, now.instant);
        let Registered { id, port, carries, standing } =
            gateway.register_connection(peer.clone(), address, connection);
        Self {
            gateway,
            id,
            port,
            peer,
            carries,
            standing,
            address,
            framer: Framer::new(limits),
            arrival,
            patience,
            next: Next::Run,
            deaf: false,
            outputs: VecDeque::new(),
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The peer opened the connection, and this says who he is.
    pub fn belongs_to(&self, owner: Owner) {
        self.carries.belongs_to(owner);
    }

    /// The peer showed a certificate, and this says whether it is believed.
    pub fn rests_on(&mut self, believed: Believed) {
        self.standing.rests_on(believed);
        self.gateway.end_if_forbidden_connection(&self.standing);
        self.leave_if_forbidden();
    }

    /// Nothing more is read, and what is under way goes another way if there is one.
    fn leave_if_forbidden(&mut self) {
        let Some(why) = self.standing.over().filter(|_| !self.deaf) else { return };
        info!(connection = self.id.0, peer = %self.address, "SIP connection is being closed: {why}");
        self.show_out();
    }

    /// The gateway is stopping: what is under way is finished, then the connection closes. One that carries requests of ours
    /// goes on until the group lets it go.
    pub fn shut_down(&mut self) {
        self.port.feed(Connection::drain);
    }

    /// A new connection of ours is ready to carry what waits for it on the route with this number.
    pub fn serves_route(&mut self, route: usize, now: Moment) {
        self.carries.begin(route);
        if let Some(route) = self.route() {
            let connection = HopConnection(self.id.0);
            route.hops.step(|group| group.connected(connection, now.instant));
            self.gateway.serve_route(route, now);
        }
    }

    fn route(&self) -> Option<&Route> {
        self.gateway.routes().get(self.carries.route()?)
    }

    /// Acts on what the transactions put out, until nothing is left.
    fn run(&mut self, now: Moment) {
        self.leave_if_forbidden();
        let mut outputs = std::mem::take(&mut self.outputs);
        loop {
            self.port.step(|connection| connection.poll_all(&mut outputs));
            if outputs.is_empty() {
                break;
            }
            let (mut answered, mut bells) = (false, Bells::default());
            for output in outputs.drain(..) {
                match output {
                    Output::Request { txn, message } => {
                        if self.deaf {
                            continue;
                        }
                        self.gateway.sip_request(&self.peer, self.id, txn, &message, &mut bells, now);
                        // A stranger gets one answer, which says what is wrong, and is shown out.
                        if matches!(self.peer, SipPeer::Unlisted(_)) {
                            self.show_out();
                        }
                    }
                    Output::Response { envelope, message } => {
                        answered = true;
                        if let Some(route) = self.route() {
                            route.hops.step(|group| group.response(envelope, message, now.instant));
                        }
                    }
                    Output::Failed { envelope, why } => {
                        answered = true;
                        if let Some(route) = self.route() {
                            route.hops.step(|group| group.failed(envelope, why, now.instant));
                        }
                    }
                    Output::Acknowledged { envelope } => {
                        answered = true;
                        if let Some(route) = self.route() {
                            route.hops.step(|group| group.acknowledged(envelope, now.instant));
                        }
                    }
                    Output::Ack { message } => self.gateway.sip_acknowledged(&self.peer, &message, now),
                    Output::Early { message } => self.gateway.sip_early(&self.peer, &message, now),
                    Output::Cancelled { txn } => {
                        self.gateway.sip_cancelled(ReplyTo { connection: self.id, transaction: txn }, now);
                    }
                    Output::Dead => {
                        info!(
                            connection = self.id.0,
                            "SIP connection dropped: no answer to the keep-alive ping"
                        );
                        self.next = Next::Abort;
                    }
                }
            }
            if answered && let Some(route) = self.route() {
                self.gateway.serve_route(route, now);
            }
        }
        self.outputs = outputs;
        if !self.carries.is_lent() && self.port.step(Connection::finish) {
            self.show_out();
        }
    }

    fn show_out(&mut self) {
        self.deaf = true;
        if self.next == Next::Run {
            self.next = Next::Close;
        }
    }

    /// The clock of an unfinished message starts with its first byte: neither dripping it nor putting it
    /// behind others changes how long it may take.
    fn watch(&mut self, whole_frame: bool, now: Moment) {
        if matches!(self.peer, SipPeer::Unlisted(_)) {
            return;
        }
        match self.framer.mid_message() {
            false => self.patience = None,
            true if whole_frame || self.patience.is_none() => {
                self.patience = Some(now.instant + self.arrival)
            }
            true => {}
        }
    }

    fn lose_patience(&mut self, now: Moment) {
        if self.deaf || self.patience.is_none_or(|until| now.instant < until) {
            return;
        }
        if self.wants_read() {
            if self.gateway.log_budget().allows(Cause::SipSlow, self.address, now.instant) {
                info!(
                    connection = self.id.0, peer = %self.address,
                    "SIP connection closed: no whole message within {:?}", self.arrival
                );
            }
            self.show_out();
        } else {
            // It was us who did not read.
            self.patience = Some(now.instant + self.arrival);
        }
    }

    fn tag(&self) -> CompactString {
        self.gateway.token()
    }
}

impl Session for SipSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        let mut whole_frame = false;
        while !self.deaf {
            let frame = self.framer.next(input);
            whole_frame |= matches!(frame, Ok(Some(_)));
            match frame {
                Ok(Some(Frame::Message(message))) => {
                    let (port, tag) = (Arc::clone(&self.port), || self.tag());
                    port.step(|connection| connection.receive(message, tag, now.instant));
                }
                Ok(Some(Frame::Ping)) => self.port.step(|connection| connection.ping(now.instant)),
                Ok(Some(Frame::Pong)) => self.port.step(|connection| connection.pong(now.instant)),
                Ok(None) => break,
                Err(error) => {
                    let source = Source::Address(self.address.into());
                    if self.gateway.log_budget().allows(Cause::SipGarbage, source, now.instant) {
                        warn!(peer = %self.address, %error, "SIP connection closed: what came is no SIP, or breaks a limit");
                    }
                    self.port.step(|connection| connection.broken(&error, || self.tag()));
                    self.run(now);
                    self.show_out();
                }
            }
        }
        if self.deaf {
            input.clear();
        }
        self.watch(whole_frame, now);
        self.run(now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        self.port.step(|connection| connection.transmit(output));
    }

    fn written(&mut self, now: Moment) {
        if self.port.step(Connection::written) {
            self.run(now);
        }
    }

    fn closed(&mut self, end: End, now: Moment) {
        debug!(connection = self.id.0, why = %end, "SIP connection closed");
        self.deaf = true;
        self.port.step(Connection::closed);
        self.run(now);
        if let Some(route) = self.route() {
            let connection = HopConnection(self.id.0);
            route.hops.step(|group| group.connection_closed(connection, now.instant));
            self.gateway.serve_route(route, now);
        }
        if let SipPeer::FrontEnd(front_end) = self.peer {
            // What we close ourselves says nothing of the other end.
            self.gateway.connection_lost(front_end, self.next == Next::Close, now);
        }
        self.gateway.forget_connection(self.id, now);
    }

    fn deadline(&self) -> Option<Instant> {
        let transactions = self.port.step(|connection| connection.deadline());
        let patience = self.patience.filter(|_| !self.deaf);
        [transactions, patience].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.port.step(|connection| connection.handle_timeout(now.instant));
        self.lose_patience(now);
        self.run(now);
    }

    fn wants_read(&self) -> bool {
        !self.deaf && self.port.step(|connection| !connection.is_congested())
    }

    fn next(&self) -> Next {
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        self.port.wake()
    }
}
