//! Streams that partners open to us.

mod dialback;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_translate::judge::Refusal as RuleRefusal;
use nuncio_translate::text::{LogSafe, LogWhole};
use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::{
    Cause as EndCause, Established, Evidence, Inbound, InboundConfig, Method, Output, PartnerVerdict,
    Refusal, Step as Waiting, StreamIds, TlsFacts,
};
use nuncio_xmpp::{Domain, StanzaKind, StreamCondition};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::gateway::attempts::{AttemptId, Outcome, Recorder, Step};
use crate::gateway::{Gateway, LaneWants, TooMany, Verdicts, was_lost};
use crate::log_limit::{Cause, Source};
use crate::net::session::{End, Next, Session};
use crate::net::strangers::Unauthenticated;
use crate::tls::{PeerFacts, Roots};

use super::carrier::{NOT_READ, NOTHING_ACKNOWLEDGED};
use super::expiry::{EXPIRED, Expiry};
use super::intake::{Came, Intake};
use super::presented::Presented;
use super::watch::{Ask, NO_LIFE_TOLD, Watch};
use super::way_back::WayBack;

/// What a peer is told whose domain is no partner of ours.
const NOT_A_PARTNER: &str =
    "this domain does not federate with yours; ask its administrator to add it as a partner";

/// What a peer is told whose domain has as many streams as it may have.
const TOO_MANY: &str = "too many streams of your domain";

/// The same, where all domains together have.
const TOO_MANY_IN_ALL: &str = "too many streams at the moment";

/// Why a stream ends when the gateway does.
const STOPPING: (StreamCondition, &str) = (StreamCondition::SystemShutdown, "the server is being shut down");

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
    /// The connection is to be closed as soon as nothing is held.
    leaving: bool,
    next: Next,
    wake: Arc<Notify>,
    /// Held until the stream is established.
    until_established: Option<Unauthenticated>,
    /// Held until the peer says who it is.
    presented: Option<Presented>,
    /// Notes what happens until the stream is established.
    recorder: Option<Recorder>,
    /// What was noted, afterwards.
    attempt: Option<AttemptId>,
    /// What came of dialback keys, once there was one.
    verdicts: Option<Verdicts>,
    /// Since the stream is established.
    watch: Option<Watch>,
    /// Since then, if a certificate let it in.
    expiry: Option<Expiry>,
    /// It ended though nobody closed it.
    lost: bool,
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
        let wake = Arc::new(Notify::new());
        Self {
            intake: Intake::new(Arc::clone(&gateway), Arc::clone(&wake)),
            gateway,
            stream,
            peer,
            domains: None,
            way_back: None,
            leaving: false,
            next: Next::Run,
            wake,
            until_established: None,
            presented: None,
            recorder: Some(Recorder::inbound(peer, now)),
            attempt: None,
            verdicts: None,
            watch: None,
            expiry: None,
            lost: false,
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
    pub fn judge(&mut self, roots: Arc<Roots>, peer: PeerFacts) -> TlsFacts {
        let (facts, presented) = Presented::judge(roots, &self.gateway, peer, self.stream.claimed());
        self.presented = presented;
        facts
    }

    pub fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.next = Next::Run;
        self.note(Step::tls(&facts), now);
        self.stream.tls_established(facts, now.instant);
        self.run(now);
    }

    pub fn tls_failed(&mut self, why: &str, now: Moment) {
        self.next = Next::Run;
        self.note(Step::NoTls(why.to_owned()), now);
        self.stream.tls_failed(why);
        self.run(now);
    }

    /// The gateway is stopping.
    pub fn shut_down(&mut self, now: Moment) {
        // Nothing is owed to a peer that has not proved yet who it is.
        if self.domains.is_none() {
            self.next = Next::Abort;
            return;
        }
        // A lane that goes by this stream writes first what it has, and asks for the end then.
        if self.way_back.as_ref().is_none_or(|way_back| !way_back.carries()) {
            self.stream.close(now.instant, Some(STOPPING));
        }
        self.run(now);
    }

    fn run(&mut self, now: Moment) {
        self.work(now);
        self.intake.pass_on(now);
        self.serve_way_back(now);
    }

    /// Takes what waits, and what the stream puts out, and what came of its keys.
    fn work(&mut self, now: Moment) {
        self.intake.settled().into_iter().for_each(|number| self.stream.settled(number));
        self.settle(now);
        self.intake.retry(now);
        self.leave(now);
        // Whatever waits for room, the stream's own affairs do not.
        self.act(now);
        self.take_verdicts(now);
    }

    /// Acts on what the stream puts out.
    fn act(&mut self, now: Moment) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::AskPartner { from, to: _ } => {
                    let verdict = self.verdict(&from, now);
                    self.judge_for(&from);
                    self.stream.partner_verdict(verdict, now.instant);
                }
                Output::Established(established) => {
                    let source = Source::Domain(established.remote.as_str());
                    if self.gateway.log_budget().allows(Cause::StreamOpened, source, now.instant) {
                        info!(
                            partner = established.remote.as_str(), local = established.local.as_str(),
                            peer = %self.peer, method = %LogWhole(&established.how().to_string()),
                            tls = established.tls.as_ref().map_or("none", |tls| tls.protocol.as_str()),
                            cipher = established.tls.as_ref().map_or("none", |tls| tls.cipher.as_str()),
                            both_ways = established.both_ways,
                            "inbound stream established"
                        );
                    }
                    self.keep_success(&established, now);
                    self.expiry = Expiry::of(&established, now);
                    if let Some(place) = self.until_established.take() {
                        place.proved();
                    }
                    self.intake.speaks(established.lang);
                    let (local, remote) = (established.local, established.remote);
                    let quiet = self.gateway.quiet(remote.as_str());
                    self.watch = Some(Watch::new(quiet, None, now.instant));
                    if established.by_certificate && established.method == Method::SaslExternal {
                        self.gateway.proved_by_certificate(remote.as_str(), now);
                    }
                    let entered = self.enter(&local, &remote, now);
                    if entered && established.both_ways {
                        let between = (&local, &remote);
                        self.way_back = Some(WayBack::new(&self.gateway, between, &self.wake, now));
                    }
                    if entered {
                        self.gateway.partner_is_back(remote.as_str(), now.instant);
                    }
                    self.domains = Some((local, remote));
                }
                Output::Stanza(stanza) => {
                    if let (Some(watch), false) = (&mut self.watch, stanza.kind == StanzaKind::Iq) {
                        watch.active(now.instant);
                    }
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
                Output::DialbackRefused { from, why, .. } => self.dialback_refused(&from, why, now),
                Output::KeyAnswered { from, to, valid } => self.key_answered(&from, &to, valid, now),
                Output::Unsolicited(element) => {
                    self.gateway.counters().dialback_unsolicited.add(1);
                    debug!(peer = %self.peer, element = element.name(), "an answer to nothing we asked was dropped");
                }
                // Inbound streams neither ask about keys nor for pairs.
                Output::PairRefused { .. } | Output::Verified(_) => {}
                Output::Closed(evidence) => {
                    self.intake.stream_ended(now);
                    self.lost = was_lost(&evidence.cause);
                    if let Some(way_back) = &mut self.way_back {
                        way_back.failed(Failure::new(FailureKind::Negotiation, evidence.to_string()));
                    }
                    self.keep_end(&evidence, now);
                    self.log_end(&evidence, now);
                }
                Output::ShutdownTls => {
                    self.leaving = true;
                    self.leave(now);
                }
                Output::Abort => self.next = Next::Abort,
            }
        }
    }

    /// The stream may be used by a partner's domain. It takes its place among those of the partner; if there is none left,
    /// it ends. Whether it goes on.
    fn enter(&mut self, local: &Domain, remote: &Domain, now: Moment) -> bool {
        let Err(why) = self.intake.enter(local, remote) else { return true };
        self.tell_no_place(remote, "stream closed", why, now);
        let (condition, text) = match why {
            TooMany::OfPartner { .. } => (StreamCondition::PolicyViolation, TOO_MANY),
            TooMany::InAll { .. } => (StreamCondition::ResourceConstraint, TOO_MANY_IN_ALL),
        };
        self.stream.turn_out(condition, text, now.instant);
        false
    }

    fn tell_no_place(&self, remote: &Domain, what: &str, why: TooMany, now: Moment) {
        let source = Source::Domain(remote.as_str());
        if self.gateway.log_budget().allows(Cause::TooManyStreams, source, now.instant) {
            warn!(partner = remote.as_str(), peer = %self.peer, "{what}: {why}");
        }
    }

    /// A stream that was let in beyond the limit, for the sake of a key of ours, takes its place, or has had its time.
    fn settle(&mut self, now: Moment) {
        let Err(why) = self.intake.settle() else { return };
        if !self.stream.write_allowed() {
            return;
        }
        let partner = self.domains.as_ref().map(|(_, remote)| remote.as_str());
        info!(partner, peer = %self.peer, "stream closed that was let in to verify a dialback key of ours: {why}");
        // In good order: he has done nothing wrong, and what is under way is taken.
        self.stream.close(now.instant, None);
    }

    /// The domain in the header is known: what the peer presented is held against what is asked of that one.
    fn judge_for(&mut self, from: &Domain) {
        if self.stream.step() != Waiting::Partner {
            return;
        }
        if let Some(presented) = self.presented.take() {
            self.stream.judged_again(presented.judge_for(&self.gateway, from));
        }
    }

    fn note(&mut self, step: Step, now: Moment) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now.instant);
        }
    }

    fn keep_success(&mut self, established: &Established, now: Moment) {
        let Some(mut recorder) = self.recorder.take() else { return };
        let remote = established.remote.as_str();
        recorder.between(established.local.as_str(), remote);
        let outcome = Outcome::established(established);
        self.attempt = self.gateway.keep_attempt(remote, recorder.finish(outcome, now.instant));
    }

    /// How the stream ended, or why none came about, if it claimed to be a partner's.
    fn keep_end(&mut self, evidence: &Evidence, now: Moment) {
        let why = evidence.to_string();
        self.gateway.attempt_ended(self.attempt.take(), &why);
        if let (Some(mut recorder), Some(remote)) = (self.recorder.take(), &evidence.remote) {
            recorder.between(evidence.local.as_ref().map_or("", Domain::as_str), remote.as_str());
            self.gateway.keep_attempt(remote.as_str(), recorder.finish(Outcome::Failed(why), now.instant));
        }
    }

    fn log_end(&self, evidence: &Evidence, now: Moment) {
        let partner = self.domains.as_ref().map(|(_, remote)| remote.as_str());
        let (cause, source) = match partner {
            Some(partner) => (Cause::StreamEnded, Source::Domain(partner)),
            // Its refusal has a line, or a budget, of its own.
            None if matches!(evidence.cause, EndCause::Refused(_)) => return,
            None => (Cause::StrangerStreamEnded, Source::from(self.peer.ip())),
        };
        if self.gateway.log_budget().allows(cause, source, now.instant) {
            let why = evidence.to_string();
            info!(partner, peer = %self.peer, why = %LogWhole(&why), "inbound stream closed");
        }
    }

    /// Closes the connection of a stream that has ended, once nothing is held or the time for it is over.
    fn leave(&mut self, now: Moment) {
        if self.leaving && self.intake.may_leave(now) && self.next == Next::Run {
            self.next = Next::Close;
        }
    }

    /// Sees to what the lane reports and wants, where one goes back on this stream.
    fn serve_way_back(&mut self, now: Moment) {
        let (Some(way_back), true) = (&mut self.way_back, self.domains.is_some()) else { return };
        let wants = way_back.serve(now);
        let why = match wants {
            LaneWants { abort: true, .. } => {
                self.next = Next::Abort;
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
        let (Some(watch), Some((local, remote))) = (&mut self.watch, &self.domains) else { return };
        if !self.stream.write_allowed() {
            return;
        }
        let (local, remote) = (local.as_str(), remote.as_str());
        let mut empty = self.intake.is_empty() && !self.stream.has_unsettled();
        if let Some((counters, nothing_to_do)) = self.way_back.as_ref().and_then(WayBack::look) {
            watch.look(counters, now.instant);
            empty &= nothing_to_do;
        } else if let Some(counters) = self.gateway.lane_counters(local, remote) {
            watch.look_aside(counters, now.instant);
        }
        while let Some(ask) = watch.handle_timeout(now.instant) {
            match ask {
                // On the lane, by whatever stream it goes (RFC 6120 §4.5). Without one nothing is expected: a partner who
                // does not write has nothing to say.
                Ask::Probe if !self.gateway.probe_lane(local, remote) => watch.heard(now.instant),
                Ask::Probe => {}
                Ask::GiveUp => {
                    let error = (StreamCondition::ConnectionTimeout, NO_LIFE_TOLD);
                    self.stream.close(now.instant, Some(error));
                }
                Ask::Abort => self.next = Next::Abort,
                Ask::Close if empty => self.stream.close(now.instant, None),
                Ask::Close => {}
            }
        }
    }

    /// Ends the stream when the certificate that let it in has expired.
    fn expire(&mut self, now: Moment) {
        let Some(true) = self.expiry.as_mut().map(|expiry| expiry.is_over(now)) else { return };
        self.expiry = None;
        if self.stream.write_allowed() {
            info!(peer = %self.peer, "inbound stream closed with reset: {}", EXPIRED.1);
            self.stream.close(now.instant, Some(EXPIRED));
        }
    }

    /// Whether the domain may come in, and on which terms.
    fn verdict(&self, from: &Domain, now: Moment) -> PartnerVerdict {
        // The limit on the first domain of a stream counts streams that are established.
        if self.domains.is_some() && self.intake.may_enter(from).is_err() {
            return PartnerVerdict::Refused { why: Refusal::TooManyConnections, text: TOO_MANY.to_owned() };
        }
        let Err(refused) = self.gateway.policy().open_partner(from.as_str()).map(drop) else {
            return PartnerVerdict::Allowed(self.gateway.terms(from.as_str()));
        };
        self.gateway.counters().streams_refused.add(1);
        let source = Source::Domain(from.as_str());
        let tell = || self.gateway.log_budget().allows(Cause::StreamRefused, source, now.instant);
        // Nobody federates with himself, so there is no entry to be added.
        if self.gateway.policy().serves(from.as_str()) {
            if tell() {
                warn!(
                    domain = %LogSafe(from.as_str()), peer = %self.peer,
                    "stream refused: it claims to come from a domain that is served here. Somebody poses as it, or another \
                     server believes that it serves it too"
                );
            }
            return PartnerVerdict::Refused { why: Refusal::NotPartner, text: NOT_A_PARTNER.to_owned() };
        }
        // A disabled partner learns no more than a stranger (mission, rule 3).
        let (why, fix) = match refused {
            RuleRefusal::PartnerDisabled => (Refusal::Disabled, "set enabled = true in his entry"),
            _ => (Refusal::NotPartner, "add a [[partner]] entry"),
        };
        let attempts = self.gateway.record_refused_domain(from.as_str(), now.unix_ms);
        if tell() {
            warn!(
                domain = %LogSafe(from.as_str()), peer = %self.peer, attempts = attempts.count, rule = refused.name(),
                "stream refused: {refused}; {fix} if the domain is to federate"
            );
        }
        PartnerVerdict::Refused { why, text: NOT_A_PARTNER.to_owned() }
    }
}

impl Session for InboundSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        // What establishes the stream is not charged: it has limits of its own.
        let bytes = if self.intake.is_entered() { input.len() } else { 0 };
        if let Some(watch) = &mut self.watch {
            watch.heard(now.instant);
        }
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
        self.intake.charge(bytes, now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        self.stream.transmit(output);
        let (Some(watch), true) = (&mut self.watch, self.stream.write_allowed()) else { return };
        watch.write(output);
        let Some(way_back) = &self.way_back else { return };
        let before = output.len();
        if let Some(counters) = way_back.write(output, now) {
            watch.look(counters, now.instant);
            if output.len() > before {
                watch.wrote(now.instant);
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
        let why = match &end {
            End::Broken(why) => why,
            End::Peer | End::Local => "",
        };
        self.stream.disconnected(why);
        // What had arrived whole is still worked on, if there is room for its answer.
        self.run(now);
        self.intake.end(self.lost, now);
        if let Some(way_back) = self.way_back.take() {
            way_back.end(self.stream.close_answered(), self.lost, now);
        }
        self.verdicts = None;
    }

    fn deadline(&self) -> Option<Instant> {
        let room = self.intake.room_until().filter(|_| self.leaving && self.next == Next::Run);
        let quiet = self.watch.as_ref().filter(|_| self.stream.write_allowed()).map(Watch::deadline);
        let back = self.way_back.as_ref().and_then(WayBack::deadline);
        let slowed = self.intake.slowed_until();
        let expiry = self.expiry.as_ref().map(Expiry::deadline);
        [self.stream.deadline(), room, quiet, slowed, back, expiry].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        // Not to be read is not to be silent.
        if let (Some(watch), Some(_)) = (&mut self.watch, self.intake.slowed_until()) {
            watch.heard(now.instant);
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
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

#[cfg(test)]
mod tests;
