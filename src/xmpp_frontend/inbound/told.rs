//! What is told of a stream that a partner opened, in the log and among the attempts with him: how it came about, and how it
//! ended.

use nuncio_translate::Moment;
use nuncio_translate::text::LogWhole;
use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::{Cause as EndCause, Direction, Established, Evidence};
use tracing::info;

use super::InboundSession;
use crate::gateway::attempts::{Outcome, Step};
use crate::log_limit::{Cause, Source};

impl InboundSession {
    /// Something happened on the way to a stream.
    pub(super) fn note(&mut self, step: Step, now: Moment) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now.instant);
        }
    }

    /// The stream came about.
    pub(super) fn tell_established(&mut self, established: &Established, now: Moment) {
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
        self.life.holds(self.gateway.stream_up(established, Direction::Inbound));
        self.keep_success(established, now);
    }

    /// It has ended, or did not come about.
    pub(super) fn tell_end(&mut self, evidence: &Evidence, now: Moment) {
        self.keep_end(evidence, now);
        self.log_end(evidence, now);
    }

    fn keep_success(&mut self, established: &Established, now: Moment) {
        let Some(mut recorder) = self.recorder.take() else { return };
        let remote = established.remote.as_str();
        recorder.between(established.local.as_str(), remote);
        let outcome = Outcome::established(established);
        self.life.noted(self.gateway.keep_attempt(remote, recorder.finish(outcome, now.instant)));
    }

    /// How the stream ended, or why none came about, if it claimed to be a partner's.
    fn keep_end(&mut self, evidence: &Evidence, now: Moment) {
        self.life.ended(evidence, &self.gateway);
        if let (Some(mut recorder), Some(remote)) = (self.recorder.take(), &evidence.remote) {
            recorder.between(evidence.local.as_ref().map_or("", Domain::as_str), remote.as_str());
            self.gateway.keep_attempt(
                remote.as_str(),
                recorder.finish(Outcome::Failed(evidence.to_string()), now.instant),
            );
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
}
