//! Streams that we open, each carrying one lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_translate::text::LogSafe;
use nuncio_xmpp::lane::{Failure, FailureKind, Offer};
use nuncio_xmpp::sm::{Management, Misuse};
use nuncio_xmpp::stream::{
    Cause as EndCause, Established, Evidence, Method, Outbound, OutboundConfig, Output, Retry, TlsFacts,
};
use nuncio_xmpp::{Element, StreamCondition, stanza};
use tokio::sync::Notify;
use tracing::{debug, info};

use super::watch::{Ask, NO_LIFE, NO_LIFE_TOLD, Watch};
use crate::dns::Candidate;
use crate::gateway::attempts::{AttemptId, Outcome, Recorder, Step};
use crate::gateway::{Gateway, LaneKey, LanePort, LaneWants, was_lost};
use crate::net::session::{End, Next, Session};

/// Bytes handed to the connection at a time: large enough to be cheap, small enough that what is in a
/// write, and so in doubt if the stream breaks, stays little.
const WRITE_BATCH: usize = 64 * 1024;

/// The session of one outbound stream and the lane it carries.
pub struct LaneSession {
    gateway: Arc<Gateway>,
    key: LaneKey,
    lane: Arc<LanePort>,
    stream: Outbound,
    /// The stream was established and the lane was told so.
    opened: bool,
    /// It ended though nobody closed it.
    lost: bool,
    failure: Option<Failure>,
    /// What may be tried at once if the stream did not come about.
    retry: Option<Retry>,
    /// Since the stream is established.
    watch: Option<Watch>,
    wants: LaneWants,
    next: Next,
    /// Where the connection leads, for people.
    address: String,
    /// Notes what happens until the stream is established.
    recorder: Option<Recorder>,
    /// What was noted, afterwards.
    attempt: Option<AttemptId>,
}

impl LaneSession {
    pub fn new(
        gateway: Arc<Gateway>,
        key: LaneKey,
        lane: Arc<LanePort>,
        config: OutboundConfig,
        now: Moment,
    ) -> Self {
        let stream = Outbound::new(config, now.instant);
        Self {
            gateway,
            key,
            lane,
            stream,
            opened: false,
            lost: false,
            failure: None,
            retry: None,
            watch: None,
            wants: LaneWants::default(),
            next: Next::Run,
            address: String::new(),
            recorder: None,
            attempt: None,
        }
    }

    /// Notes what happens on the connection to this candidate.
    pub fn record(&mut self, candidate: &Candidate, recorder: Option<Recorder>) {
        self.address = candidate.to_string();
        self.recorder = recorder;
    }

    /// What was noted, if no stream came of it.
    pub fn recorder(&mut self) -> Option<Recorder> {
        self.recorder.take()
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

    /// The time that a stopping gateway has for its streams is over.
    pub fn abandon(&mut self) {
        self.next = Next::Abort;
    }

    /// Whether the stream ever carried the lane.
    pub fn was_open(&self) -> bool {
        self.opened
    }

    /// Why the stream ended.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What may be tried at once, on another connection, if the stream did not come about.
    pub fn retry(&self) -> Option<Retry> {
        self.retry
    }

    /// What the lane wanted when it lost this connection.
    pub fn wants(&self) -> LaneWants {
        self.wants
    }

    fn run(&mut self, now: Moment) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::Established(established) => {
                    self.established(&established, now);
                    self.opened = true;
                    let features = &established.features;
                    let limits = features.limits;
                    let offer = Offer {
                        management: features.stream_management,
                        max_bytes: limits.max_bytes.and_then(|max| max.try_into().ok()),
                    };
                    let quiet = self.gateway.quiet(&self.key.remote);
                    self.watch = Some(Watch::new(quiet, limits.idle_seconds, now.instant));
                    self.lane.step(|lane| lane.opened(offer, now.instant));
                    self.gateway.lane_opened(&self.key);
                }
                Output::Closed(evidence) => {
                    let text = evidence.to_string();
                    self.retry = evidence.retry;
                    self.alarm(&evidence, now);
                    self.gateway.attempt_ended(self.attempt.take(), &text);
                    debug!(partner = %self.key.remote, why = %LogSafe(&text), "outbound stream closed");
                    self.lost = was_lost(&evidence.cause);
                    self.failure.get_or_insert_with(|| Failure::new(FailureKind::Negotiation, text));
                }
                Output::ShutdownTls => self.next = Next::Close,
                Output::Abort => self.next = Next::Abort,
                Output::Unasked(element) if self.managed(&element, now) => {}
                Output::Unasked(element) => {
                    debug!(partner = %self.key.remote, element = element.name(), stanza = stanza::classify(&element).is_some(),
                        "element ignored: the partner may not send on a stream we opened");
                }
                Output::Unsolicited(element) => {
                    self.gateway.counters().dialback_unsolicited.add(1);
                    debug!(partner = %self.key.remote, element = element.name(), "an answer to nothing we asked was dropped");
                }
                // Only inbound streams say these, and streams that ask about keys or for more pairs.
                Output::AskPartner { .. }
                | Output::Stanza(_)
                | Output::BadAddress { .. }
                | Output::Verify(_)
                | Output::DialbackRefused { .. }
                | Output::KeyAnswered { .. }
                | Output::PairAuthorized(_)
                | Output::PairRefused { .. }
                | Output::Verified(_) => {}
            }
        }
        self.serve_lane(now);
    }

    fn note(&mut self, step: Step, now: Moment) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now.instant);
        }
    }

    /// SEC-11: the partner offered less than it had shown before.
    fn alarm(&self, evidence: &Evidence, now: Moment) {
        if evidence.cause == EndCause::Downgrade {
            self.gateway.downgraded(&self.key.remote, &self.address, now);
        }
    }

    /// One line for the log, and all of it for who asks.
    fn established(&mut self, established: &Established, now: Moment) {
        let took = self.recorder.as_ref().map_or(Duration::ZERO, |recorder| recorder.took(now.instant));
        let tls = established.tls.as_ref();
        info!(
            partner = established.remote.as_str(), local = established.local.as_str(), at = %LogSafe(&self.address),
            tls = tls.map_or("none", |tls| tls.protocol.as_str()), cipher = tls.map_or("none", |tls| tls.cipher.as_str()),
            method = %established.method, ?took,
            "outbound stream established"
        );
        if established.by_certificate && established.method == Method::SaslExternal {
            self.gateway.proved_by_certificate(&self.key.remote, now);
        }
        if let Some(recorder) = self.recorder.take() {
            let outcome = Outcome::established(established.method, &established.features);
            self.attempt = self.gateway.keep_attempt(&self.key.remote, recorder.finish(outcome, now.instant));
        }
    }

    /// Whether it is an element of stream management, which is the lane's.
    fn managed(&mut self, element: &Element, now: Moment) -> bool {
        let Some(read) = Management::read(element) else { return false };
        let step = |element| self.lane.step(|lane| lane.managed(&element, now.instant));
        if let Err(misuse) = read.map_err(Misuse::from).and_then(step) {
            self.stream.misused(misuse, now.instant);
        }
        true
    }

    /// Sees to it that a quiet stream stays alive, or ends.
    fn watch(&mut self, now: Moment) {
        let Some(watch) = &mut self.watch else { return };
        if !self.stream.write_allowed() {
            return;
        }
        let (counters, empty) = self.lane.step(|lane| (lane.counters(), lane.is_empty()));
        watch.look(counters, now.instant);
        let mut give_up = false;
        while let Some(ask) = watch.handle_timeout(now.instant) {
            match ask {
                Ask::Probe => self.lane.step(|lane| lane.probe()),
                Ask::GiveUp => give_up = true,
                Ask::Abort => self.next = Next::Abort,
                Ask::Close if empty => self.stream.close(now.instant, None),
                Ask::Close => {}
            }
        }
        if give_up {
            self.give_up(NO_LIFE, now);
        }
    }

    /// The partner does not answer: its stream ends.
    fn give_up(&mut self, why: &str, now: Moment) {
        info!(partner = %self.key.remote, local = %self.key.local, why, "outbound stream given up");
        self.failure = Some(Failure::new(FailureKind::Unreachable, why));
        let error = (StreamCondition::ConnectionTimeout, NO_LIFE_TOLD);
        self.stream.close(now.instant, Some(error));
    }

    fn serve_lane(&mut self, now: Moment) {
        let wants = self.gateway.serve_lane_outputs(&self.key, &self.lane, now);
        let closing = self.wants.close;
        self.wants |= wants;
        if wants.abort {
            self.failure =
                Some(Failure::new(FailureKind::Unreachable, "the partner stopped reading from the stream"));
            self.next = Next::Abort;
        }
        if wants.give_up {
            self.give_up("the partner acknowledges nothing of what it is sent", now);
            self.run(now);
        }
        if wants.close && !closing {
            let error = (StreamCondition::SystemShutdown, "the server is being shut down");
            self.stream.close(now.instant, Some(error));
            self.run(now);
        }
    }
}

impl Session for LaneSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        if let Some(watch) = &mut self.watch {
            watch.heard(now.instant);
        }
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        let before = output.len();
        self.stream.transmit(output);
        if self.opened && self.stream.write_allowed() {
            if let Some(watch) = &mut self.watch {
                watch.write(output);
            }
            let mut hooks = self.gateway.lane_hooks(&self.key, now);
            let counters = self.lane.step(|lane| {
                lane.take(WRITE_BATCH, output, &mut hooks, now.instant);
                lane.counters()
            });
            if let Some(watch) = &mut self.watch {
                watch.look(counters, now.instant);
                if output.len() > before {
                    watch.wrote(now.instant);
                }
            }
            self.serve_lane(now);
        }
    }

    fn written(&mut self, now: Moment) {
        self.lane.step(|lane| lane.written(now.instant));
        self.serve_lane(now);
    }

    fn closed(&mut self, end: End, now: Moment) {
        let why = match &end {
            End::Broken(why) => why,
            End::Peer | End::Local => "",
        };
        self.stream.disconnected(why);
        self.run(now);
        if self.opened {
            let (failure, random) = (self.failure.clone(), self.gateway.random());
            let answered = self.stream.close_answered();
            self.lane.step(|lane| {
                if answered {
                    lane.close_answered();
                }
                lane.closed(failure, random, now.instant);
            });
            self.serve_lane(now);
            if self.lost {
                self.gateway.lane_lost(&self.key);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let lane = self.lane.step(|lane| lane.deadline());
        let quiet = self.watch.as_ref().filter(|_| self.stream.write_allowed()).map(Watch::deadline);
        [self.stream.deadline(), lane, quiet].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.stream.handle_timeout(now.instant);
        self.lane.step(|lane| lane.handle_timeout(now.instant));
        self.watch(now);
        self.run(now);
    }

    fn wants_read(&self) -> bool {
        true
    }

    fn next(&self) -> Next {
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        self.lane.wake()
    }
}
