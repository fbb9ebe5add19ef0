//! Streams that we open, each carrying one lane.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_translate::text::LogSafe;
use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::{Outbound, OutboundConfig, Output, TlsFacts};
use nuncio_xmpp::{StreamCondition, stanza};
use tokio::sync::Notify;
use tracing::{debug, info};

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
    wants: LaneWants,
    next: Next,
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
            wants: LaneWants::default(),
            next: Next::Run,
        }
    }

    pub fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.next = Next::Run;
        self.stream.tls_established(facts, now.instant);
        self.run(now);
    }

    pub fn tls_failed(&mut self, why: &str, now: Moment) {
        self.next = Next::Run;
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

    /// What the lane wanted when it lost this connection.
    pub fn wants(&self) -> LaneWants {
        self.wants
    }

    fn run(&mut self, now: Moment) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::Established(established) => {
                    info!(
                        partner = established.remote.as_str(), local = established.local.as_str(),
                        method = %established.method,
                        tls = established.tls.as_ref().map_or("none", |tls| tls.protocol.as_str()),
                        "outbound stream established"
                    );
                    self.opened = true;
                    self.lane.step(|lane| lane.opened(now.instant));
                    self.gateway.lane_opened(&self.key, now);
                }
                Output::Closed(evidence) => {
                    let text = evidence.to_string();
                    debug!(partner = %self.key.remote, why = %LogSafe(&text), "outbound stream closed");
                    self.lost = was_lost(&evidence.cause);
                    self.failure = Some(Failure::new(FailureKind::Negotiation, text));
                }
                Output::ShutdownTls => self.next = Next::Close,
                Output::Abort => self.next = Next::Abort,
                Output::Unasked(element) => {
                    debug!(partner = %self.key.remote, element = element.name(), stanza = stanza::classify(&element).is_some(),
                        "element ignored: the partner may not send on a stream we opened");
                }
                Output::Unsolicited(element) => {
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

    fn serve_lane(&mut self, now: Moment) {
        let wants = self.gateway.serve_lane_outputs(&self.key, &self.lane, now);
        let closing = self.wants.close;
        self.wants |= wants;
        if wants.abort {
            self.failure =
                Some(Failure::new(FailureKind::Unreachable, "the partner stopped reading from the stream"));
            self.next = Next::Abort;
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
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        self.stream.transmit(output);
        if self.opened && self.stream.write_allowed() {
            let mut hooks = self.gateway.lane_hooks(&self.key, now);
            self.lane.step(|lane| lane.take(WRITE_BATCH, output, &mut hooks, now.instant));
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
                self.gateway.lane_lost(&self.key, now);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let lane = self.lane.step(|lane| lane.deadline());
        [self.stream.deadline(), lane].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.stream.handle_timeout(now.instant);
        self.lane.step(|lane| lane.handle_timeout(now.instant));
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
