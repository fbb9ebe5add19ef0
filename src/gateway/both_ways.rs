//! Lanes on streams that partners opened and that carry stanzas both ways (XEP-0288).
//!
//! A lane has a task of its own that opens a stream when one is wanted. A session of a stream that goes both ways may serve
//! the lane in its place: it takes the lane as soon as it can, and again when the lane has lost its stream; the lane's own
//! task rests meanwhile, and gets it back when that stream has ended.

use std::sync::Arc;

use nuncio_translate::Moment;
use nuncio_xmpp::lane::Lane;
use tokio::sync::Notify;

use super::{Gateway, LaneKey, LanePort, LaneWants};

/// A stream takes stanzas of a lane back, as long as this is kept.
#[must_use]
pub struct OfferedBack {
    gateway: Arc<Gateway>,
    lane: LaneKey,
    /// Rings the session of the stream.
    session: Arc<Notify>,
}

impl Gateway {
    /// The session rung by `session` has a stream on which stanzas of `lane` may go back.
    pub fn way_back(self: &Arc<Self>, lane: &LaneKey, session: Arc<Notify>) -> (OfferedBack, Arc<LanePort>) {
        self.remote(&lane.remote).way_back(&lane.local, Arc::clone(&session));
        let offered = OfferedBack { gateway: Arc::clone(self), lane: lane.clone(), session };
        (offered, self.lane(&lane.local, &lane.remote))
    }

    /// The lane has lost its stream: another one may carry it.
    pub fn ring_ways_back(&self, lane: &LaneKey) {
        if let Some(remote) = self.known_remote(&lane.remote) {
            remote.ring_ways_back(&lane.local);
        }
    }

    /// [`serve_lane_outputs`](Gateway::serve_lane_outputs) for one who does not carry the lane on a stream. `None`: somebody
    /// does, and sees to it.
    pub fn serve_idle_lane(&self, key: &LaneKey, lane: &LanePort, now: Moment) -> Option<LaneWants> {
        let outputs = lane.step(|lane| (!lane.is_open()).then(|| Lane::poll_all(lane)))?;
        Some(self.act_on(outputs, key, now))
    }
}

impl Drop for OfferedBack {
    fn drop(&mut self) {
        if let Some(remote) = self.gateway.known_remote(&self.lane.remote) {
            remote.no_way_back(&self.lane.local, &self.session);
        }
    }
}
