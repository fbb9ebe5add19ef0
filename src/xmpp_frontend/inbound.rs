//! Streams that partners open to us.

mod admission;
mod dialback;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_xmpp::dialback::Pair;
use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::{
    Direction, Established, Inbound, InboundConfig, Method, Output, Step as Waiting, StreamIds, TlsFacts,
};
use nuncio_xmpp::{Domain, StreamCondition};
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::gateway::attempts::{Recorder, Step};
use crate::gateway::{CameAbout, Dismissal, Gateway, LaneWants, TermsOfNow, Verdicts};
use crate::net::session::{End, Next, Session};
use crate::net::strangers::Unauthenticated;
use crate::tls::Credentials;

use super::carrier::{NOT_READ, NOTHING_ACKNOWLEDGED};
use super::expiry::EXPIRED;
use super::intake::{Came, Intake};
use super::life::{Life, STOPPING};
use super::presented;
use super::watch::{Ask, NO_LIFE_TOLD};
use super::way_back::WayBack;

/// The session of one stream opened by a partner.
pub struct InboundSession {
    gateway: Arc<Gateway>,
    stream: Inbound,
    peer: SocketAddr,
    /// Who the stream is between, once established.
    domains: Option<(Domain, Domain)>,
    /// What it sends.
    intake: Intake,
    /// What goes back on its stream, if it asked for that.
    way_back: Option<WayBack>,
    life: Life,
    wake: Arc<Notify>,
    /// Held until the stream is established.
    until_established: Option<Unauthenticated>,
    /// What the peer presented; held until the stream is established.
    credentials: Option<Arc<Credentials>>,
    /// The terms under which its negotiation began, or under which a key was judged last.
    under: TermsOfNow,
    /// Notes what happens until the stream is established.
    recorder: Option<Recorder>,
    /// Note what comes of the keys of further domains.
    keys: Vec<(Pair, Recorder)>,
    /// What came of dialback keys, once there was one.
    verdicts: Option<Verdicts>,
    /// How the key was checked whose verdict is being acted on.
    checked: Option<String>,
}

impl InboundSession {
    pub fn new(
        gateway: Arc<Gateway>,
        config: InboundConfig,
        ids: StreamIds,
        peer: SocketAddr,
        now: Moment,
    ) -> Self {
        let stream = Inbound::new(config, ids, now.instant);
        Self::on(gateway, stream, peer, now)
    }

    /// The same where TLS begins with the first byte (XEP-0368).
    pub fn direct_tls(
        gateway: Arc<Gateway>,
        config: InboundConfig,
        ids: StreamIds,
        peer: SocketAddr,
        now: Moment,
    ) -> Self {
        let stream = Inbound::direct_tls(config, ids, now.instant);
        Self::on(gateway, stream, peer, now)
    }

    fn on(gateway: Arc<Gateway>, stream: Inbound, peer: SocketAddr, now: Moment) -> Self {
        let (wake, under) = (Arc::new(Notify::new()), gateway.terms_of_now());
        Self {
            intake: Intake::new(Arc::clone(&gateway), Arc::clone(&wake)),
            gateway,
            stream,
            peer,
            domains: None,
            way_back: None,
            life: Life::new(),
            wake,
            until_established: None,
            credentials: None,
            under,
            recorder: Some(Recorder::inbound(peer, now)),
            keys: Vec::new(),
            verdicts: None,
            checked: None,
        }
    }

    /// Keeps `place` until the peer has proved who it is.
    pub fn on_established(&mut self, place: Unauthenticated) {
        self.until_established = Some(place);
    }

    /// The domain of ours the peer asked for: its certificate is shown.
    pub fn local(&self) -> Option<&Domain> {
        self.stream.local()
    }

    /// What TLS shows of the peer, as far as it is known who it should be. It is judged again when that is known.
    pub fn judge(&mut self, credentials: Credentials) -> TlsFacts {
        let claimed = self.stream.claimed().map_or("", Domain::as_str);
        let facts = presented::judge(&credentials, &self.gateway, claimed);
        self.credentials = Some(Arc::new(credentials));
        facts
    }

    pub fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.life.go_on();
        self.note(Step::tls(&facts), now);
        self.stream.tls_established(facts, now.instant);
        self.run(now);
    }

    pub fn tls_failed(&mut self, why: &str, now: Moment) {
        self.life.go_on();
        self.note(Step::NoTls(why.to_owned()), now);
        self.stream.tls_failed(why);
        self.run(now);
    }

    /// The gateway is stopping.
    pub fn shut_down(&mut self, now: Moment) {
        // Nothing is owed to a peer that has not proved yet who it is.
        if self.domains.is_none() {
            return self.life.abort();
        }
        // A lane that goes by this stream writes first what it has, and asks for the end then.
        if self.way_back.as_ref().is_none_or(|way_back| !way_back.carries()) {
            self.stream.close(now.instant, Some(STOPPING));
        }
        self.run(now);
    }

    fn run(&mut self, now: Moment) {
        self.work(now);
        self.dismiss(now);
        self.intake.pass_on(now);
        self.serve_way_back(now);
    }

    /// Takes what waits, and what the stream puts out, and what came of its keys.
    fn work(&mut self, now: Moment) {
        self.intake.settled().into_iter().for_each(|number| self.stream.settled(number));
        self.settle(now);
        self.intake.retry(now);
        self.life.leave_if(self.intake.may_leave(now));
        // Whatever waits for room, the stream's own affairs do not.
        self.act(now);
        self.take_verdicts(now);
    }

    /// Ends the stream if it may not live any more.
    fn dismiss(&mut self, now: Moment) {
        let Some(why) = self.life.dismissed() else { return };
        self.tell_dismissed(&why);
        self.stream.close(now.instant, why.told());
        self.work(now);
    }

    /// Ends the stream, which came about under rules that are no more, before it carries anything.
    fn turn_out(&mut self, why: &Dismissal, now: Moment) {
        self.tell_dismissed(why);
        match why.told() {
            Some((condition, text)) => self.stream.turn_out(condition, text, now.instant),
            None => self.stream.close(now.instant, None),
        }
    }

    fn tell_dismissed(&self, why: &Dismissal) {
        let partner = self.domains.as_ref().map(|(_, remote)| remote.as_str());
        info!(partner, peer = %self.peer, "inbound stream is being closed: {why}");
    }

    /// Acts on what the stream puts out.
    fn act(&mut self, now: Moment) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.life.start_tls(),
                Output::AskPartner { from, to: _ } => {
                    let verdict = self.verdict(&from, now);
                    self.judge_for(&from);
                    self.stream.partner_verdict(verdict, now.instant);
                }
                Output::Established(established) => self.established(*established, now),
                Output::Stanza(stanza) => {
                    self.life.came(stanza.kind, now);
                    self.intake.take(Came::Stanza(stanza), now);
                }
                Output::BadAddress { element, number, .. } => {
                    self.intake.take(Came::BadAddress(Box::new(element), number), now);
                }
                Output::Unasked(element) => {
                    debug!(peer = %self.peer, element = element.name(), "element ignored on an inbound stream");
                }
                Output::Managed(said) => {
                    let done = self.way_back.as_ref().map_or(Ok(()), |way_back| way_back.managed(&said, now));
                    if let Err(misuse) = done {
                        self.stream.misused(misuse, now.instant);
                    }
                }
                Output::Verify(request) => self.verify(*request, now),
                Output::PairAuthorized(pair) => self.authorized(&pair, now),
                Output::DialbackRefused { from, to, why } => {
                    self.dialback_refused(&Pair { from, to }, why, now)
                }
                Output::KeyAnswered { from, to, valid } => self.key_answered(&from, &to, valid, now),
                Output::Unsolicited(element) => {
                    self.gateway.counters().dialback_unsolicited.add(1);
                    debug!(peer = %self.peer, element = element.name(), "an answer to nothing we asked was dropped");
                }
                // Inbound streams neither ask about keys nor for pairs.
                Output::PairRefused { .. } | Output::Verified(_) => {}
                Output::Closed(evidence) => {
                    self.intake.stream_ended(now);
                    if let Some(way_back) = &mut self.way_back {
                        way_back.failed(Failure::new(FailureKind::Negotiation, evidence.to_string()));
                    }
                    self.tell_end(&evidence, now);
                }
                Output::ShutdownTls => {
                    self.life.leave();
                    self.life.leave_if(self.intake.may_leave(now));
                }
                Output::Abort => self.life.abort(),
            }
        }
    }

    /// Stanzas of the partner may come.
    fn established(&mut self, established: Established, now: Moment) {
        self.tell_established(&established, now);
        if let Some(place) = self.until_established.take() {
            place.proved();
        }
        let quiet = self.gateway.quiet(established.remote.as_str());
        self.life.established(&established, quiet, None, now);
        let stream = CameAbout {
            established: &established,
            direction: Direction::Inbound,
            peer: &self.peer.to_string(),
            address: Some(self.peer.ip()),
            credentials: self.credentials.take(),
            under: self.under,
            wake: Arc::clone(&self.wake),
        };
        self.life.enlist(self.gateway.enlist(stream, now));
        // Who he is, is not in doubt if only the policy has changed: what he has sent already is refused, each by that rule. Else
        // nothing of it is looked at.
        let dismissed = self.life.dismissed();
        if let Some(why) = dismissed.as_ref().filter(|why| **why != Dismissal::NotAllowed) {
            self.domains = Some((established.local, established.remote));
            return self.turn_out(why, now);
        }
        let Established { local, remote, lang, tls, method, by_certificate, .. } = established;
        self.intake.speaks(lang);
        self.intake.established(&remote, tls, by_certificate);
        if by_certificate && method == Method::SaslExternal {
            self.gateway.proved_by_certificate(remote.as_str(), now);
        }
        if self.enter(&local, &remote, now) {
            if established.both_ways {
                let between = (&local, &remote);
                self.way_back = Some(WayBack::new(&self.gateway, between, &self.wake, now));
            }
            self.gateway.partner_is_back(remote.as_str(), now.instant);
        }
        self.domains = Some((local, remote));
        if let Some(why) = dismissed {
            self.tell_dismissed(&why);
            self.stream.close(now.instant, why.told());
        }
    }

    /// Sees to what the lane reports and wants, where one goes back on this stream.
    fn serve_way_back(&mut self, now: Moment) {
        let (Some(way_back), true) = (&mut self.way_back, self.domains.is_some()) else { return };
        let wants = way_back.serve(now);
        let why = match wants {
            LaneWants { abort: true, .. } => {
                self.life.abort();
                NOT_READ
            }
            LaneWants { give_up: true, .. } => {
                self.stream.close(now.instant, Some((StreamCondition::ConnectionTimeout, NO_LIFE_TOLD)));
                NOTHING_ACKNOWLEDGED
            }
            LaneWants { close: true, .. } => {
                return self.stream.close(now.instant, Some(STOPPING));
            }
            _ => return,
        };
        way_back.failed(Failure::new(FailureKind::Unreachable, why));
        info!(peer = %self.peer, why, "inbound stream given up");
    }

    /// Sees to it that a quiet stream stays alive, or ends.
    fn watch(&mut self, now: Moment) {
        let (Some((local, remote)), true) = (&self.domains, self.stream.write_allowed()) else { return };
        let (local, remote) = (local.as_str(), remote.as_str());
        let mut empty = self.intake.is_empty() && !self.stream.has_unsettled();
        if let Some((counters, nothing_to_do)) = self.way_back.as_ref().and_then(WayBack::look) {
            self.life.look(counters, now);
            empty &= nothing_to_do;
        } else if let Some(counters) = self.gateway.lane_counters(local, remote) {
            self.life.look_aside(counters, now);
        }
        while let Some(ask) = self.life.asks(now) {
            match ask {
                // On the lane, by whatever stream it goes (RFC 6120 §4.5). Without one nothing is expected: a partner who
                // does not write has nothing to say.
                Ask::Probe if !self.gateway.probe_lane(local, remote) => self.life.heard(now),
                Ask::Probe => {}
                Ask::GiveUp => {
                    let error = (StreamCondition::ConnectionTimeout, NO_LIFE_TOLD);
                    self.stream.close(now.instant, Some(error));
                }
                Ask::Abort => self.life.abort(),
                Ask::Close if empty => self.stream.close(now.instant, None),
                Ask::Close => {}
            }
        }
    }

    /// Ends the stream when the certificate that let it in has expired.
    fn expire(&mut self, now: Moment) {
        if self.life.has_expired(now) && self.stream.write_allowed() {
            info!(peer = %self.peer, "inbound stream closed with reset: {}", EXPIRED.1);
            self.stream.close(now.instant, Some(EXPIRED));
        }
    }
}

impl Session for InboundSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        // What establishes the stream is not charged: it has limits of its own.
        let bytes = if self.intake.is_entered() { input.len() } else { 0 };
        self.life.heard(now);
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
        self.intake.charge(bytes, now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        self.stream.transmit(output);
        if !self.stream.write_allowed() {
            return;
        }
        self.life.write(output);
        let Some(way_back) = &self.way_back else { return };
        let before = output.len();
        if let Some(counters) = way_back.write(output, now) {
            self.life.look(counters, now);
            if output.len() > before {
                self.life.wrote(now);
            }
        }
        self.serve_way_back(now);
    }

    fn written(&mut self, now: Moment) {
        if let Some(way_back) = &self.way_back {
            way_back.written(now);
            self.serve_way_back(now);
        }
    }

    fn closed(&mut self, end: End, now: Moment) {
        self.stream.disconnected(end.why());
        // What had arrived whole is still worked on, if there is room for its answer.
        self.run(now);
        self.intake.end(self.life.was_lost(), now);
        if let Some(way_back) = self.way_back.take() {
            way_back.end(self.stream.close_answered(), self.life.was_lost(), now);
        }
        self.verdicts = None;
    }

    fn deadline(&self) -> Option<Instant> {
        let life = self.life.deadline(self.stream.write_allowed());
        let intake = self.intake.deadline(self.life.is_leaving());
        let back = self.way_back.as_ref().and_then(WayBack::deadline);
        [self.stream.deadline(), life, intake, back].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        if self.intake.is_slowed() {
            self.life.heard(now);
        }
        self.intake.handle_timeout(now);
        if let Some(way_back) = &self.way_back {
            way_back.handle_timeout(now);
        }
        self.stream.handle_timeout(now.instant);
        self.expire(now);
        self.watch(now);
        self.run(now);
    }

    fn wants_read(&self) -> bool {
        self.intake.wants_read()
    }

    fn next(&self) -> Next {
        self.life.next()
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

#[cfg(test)]
mod tests;
