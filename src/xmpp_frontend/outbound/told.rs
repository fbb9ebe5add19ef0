//! What is told of a stream of ours, in the log and among the attempts with the partner.

use std::time::Duration;

use nuncio_translate::Moment;
use nuncio_translate::text::{LogSafe, LogWhole};
use nuncio_xmpp::stream::{Cause, Direction, Established, Evidence};
use tracing::info;

use super::LaneSession;
use crate::gateway::attempts::{Outcome, Step};

impl LaneSession {
    /// Something happened on the way to a stream.
    pub(super) fn note(&mut self, step: Step, now: Moment) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now.instant);
        }
    }

    /// The stream came about.
    pub(super) fn tell_established(&mut self, established: &Established, now: Moment) {
        let took = self.recorder.as_ref().map_or(Duration::ZERO, |recorder| recorder.took(now.instant));
        let tls = established.tls.as_ref();
        info!(
            partner = established.remote.as_str(), local = established.local.as_str(), at = %LogSafe(&self.peer),
            tls = tls.map_or("none", |tls| tls.protocol.as_str()), cipher = tls.map_or("none", |tls| tls.cipher.as_str()),
            method = %LogWhole(&established.how().to_string()), both_ways = established.both_ways, ?took,
            "outbound stream established"
        );
        self.life.holds(self.gateway.stream_up(established, Direction::Outbound));
        if let Some(recorder) = self.recorder.take() {
            let outcome = Outcome::established(established);
            let record = recorder.finish(outcome, now.instant);
            self.life.noted(self.gateway.keep_attempt(established.remote.as_str(), record));
        }
    }

    /// SEC-11: the partner offered less than it had shown before.
    pub(super) fn alarm(&self, evidence: &Evidence, now: Moment) {
        if evidence.cause == Cause::Downgrade {
            self.gateway.downgraded(self.remote(), &self.peer, now);
        }
    }
}
