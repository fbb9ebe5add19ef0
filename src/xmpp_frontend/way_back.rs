//! What goes back on a stream that a partner opened and that carries stanzas both ways (XEP-0288).

use std::sync::Arc;
use std::time::Instant;

use nuncio_translate::Moment;
use nuncio_xmpp::Domain;
use nuncio_xmpp::lane::{Failure, LaneCounters};
use nuncio_xmpp::sm::{Management, Misuse};
use tokio::sync::Notify;

use super::carrier::{Carrier, Ended};
use crate::gateway::{Gateway, LaneKey, LaneWants, OfferedBack};

/// The way back on one stream: it takes the lane when no other stream carries it.
pub(super) struct WayBack {
    /// As long as the stream may take the lane.
    offered: Option<OfferedBack>,
    carrier: Carrier,
    /// Rings the session.
    session: Arc<Notify>,
    /// Why the stream ended.
    failure: Option<Failure>,
}

impl WayBack {
    /// For the session rung by `session`, whose stream was established from `remote` to `local`.
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        (local, remote): (&Domain, &Domain),
        session: &Arc<Notify>,
        now: Moment,
    ) -> Self {
        let key = LaneKey { local: local.as_str().into(), remote: remote.as_str().into() };
        let (offered, lane) = gateway.way_back(&key, Arc::clone(session));
        let carrier = Carrier::new(Arc::clone(gateway), key, lane, now);
        Self { offered: Some(offered), carrier, session: Arc::clone(session), failure: None }
    }

    /// Takes the lane if it is free, and acts on what it reports. What is wanted of the session that was not wanted before.
    pub(super) fn serve(&mut self, now: Moment) -> LaneWants {
        if !self.carries() && self.failure.is_none() {
            self.carrier.take_over(&self.session, |lane| lane.opened_by_peer(now.instant));
        }
        if self.carries() { self.carrier.serve(now) } else { LaneWants::default() }
    }

    /// Whether the lane goes by this stream.
    pub(super) fn carries(&self) -> bool {
        self.carrier.holds()
    }

    /// Appends what is to be written now; what the lane has counted then.
    pub(super) fn write(&self, output: &mut Vec<u8>, now: Moment) -> Option<LaneCounters> {
        self.carries().then(|| self.carrier.write(output, 1, now))
    }

    pub(super) fn written(&self, now: Moment) {
        if self.carries() {
            self.carrier.written(now);
        }
    }

    /// What the partner says of what it was sent (XEP-0198).
    ///
    /// # Errors
    /// The partner is to be told, and the stream to end.
    pub(super) fn managed(&self, said: &Management, now: Moment) -> Result<(), Misuse> {
        if self.carries() { self.carrier.managed(said, now) } else { Ok(()) }
    }

    /// What the lane has counted and whether it has nothing to do, if it goes by this stream.
    pub(super) fn look(&self) -> Option<(LaneCounters, bool)> {
        self.carries().then(|| self.carrier.look())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.carrier.deadline().filter(|_| self.carries())
    }

    pub(super) fn handle_timeout(&self, now: Moment) {
        if self.carries() {
            self.carrier.handle_timeout(now);
        }
    }

    /// The stream takes nothing more, and this is why.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.offered = None;
        self.failure.get_or_insert(failure);
    }

    /// The connection is gone; `answered`: the partner closed its stream when we did; `lost`: nobody did.
    pub(super) fn end(mut self, answered: bool, lost: bool, now: Moment) {
        self.offered = None;
        self.carrier.end(Ended { failure: self.failure.as_ref(), answered, lost }, now);
    }
}
