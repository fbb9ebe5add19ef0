//! The lane on a stream: what goes out on it.

use std::sync::Arc;
use std::time::Instant;

use nuncio_translate::Moment;
use nuncio_xmpp::lane::{Failure, LaneCounters, Offer};
use nuncio_xmpp::sm::{Management, Misuse};
use tokio::sync::Notify;

use crate::gateway::{Gateway, LaneKey, LanePort, LaneWants, ToXmppLane};

/// Bytes handed to the connection at a time: large enough to be cheap, small enough that what is in a
/// write, and so in doubt if the stream breaks, stays little. Lanes that share a stream share it too, or a slow partner would
/// need too long for a write.
const WRITE_BATCH: usize = 64 * 1024;

/// Why a stream is given up whose partner acknowledges nothing.
pub(super) const NOTHING_ACKNOWLEDGED: &str = "the partner acknowledges nothing of what it is sent";
/// Why a stream is given up whose partner takes nothing.
pub(super) const NOT_READ: &str = "the partner stopped reading from the stream";

/// A lane in the hands of the session of a stream.
pub(super) struct Carrier {
    gateway: Arc<Gateway>,
    key: LaneKey,
    lane: Arc<LanePort>,
    wants: LaneWants,
}

impl Carrier {
    pub(super) fn new(gateway: Arc<Gateway>, key: LaneKey, lane: Arc<LanePort>) -> Self {
        Self { gateway, key, lane, wants: LaneWants::default() }
    }

    pub(super) fn key(&self) -> &LaneKey {
        &self.key
    }

    /// What rings the lane's own task.
    pub(super) fn wake(&self) -> Arc<Notify> {
        self.lane.wake()
    }

    /// What the lane wanted when it lost its stream.
    pub(super) fn wants(&self) -> LaneWants {
        self.wants
    }

    /// The stream that the lane asked for is established. False: another one carries it.
    pub(super) fn open(&mut self, offer: Offer, now: Moment) -> bool {
        let opened = self.lane.step(|lane| lane.opened(offer, now.instant));
        if opened {
            // It is what it asked for.
            self.wants.connect = false;
            self.gateway.lane_opened(&self.key);
        }
        opened
    }

    /// Takes the lane onto a stream that was not opened for it, whose session is rung by `session`; `open` says whether the lane
    /// agrees.
    pub(super) fn take_over(
        &self,
        session: &Arc<Notify>,
        open: impl FnOnce(&mut ToXmppLane) -> bool,
    ) -> bool {
        let taken = self.lane.hand_over(session, open);
        if taken {
            self.gateway.lane_opened(&self.key);
        }
        taken
    }

    /// Acts on what the lane reports, and says what is wanted that was not wanted before.
    pub(super) fn serve(&mut self, now: Moment) -> LaneWants {
        self.add(self.gateway.serve_lane_outputs(&self.key, &self.lane, now))
    }

    /// The same as long as no stream carries the lane. `None`: one does.
    pub(super) fn serve_idle(&mut self, now: Moment) -> Option<LaneWants> {
        let wants = self.gateway.serve_idle_lane(&self.key, &self.lane, now)?;
        Some(self.add(wants))
    }

    fn add(&mut self, wants: LaneWants) -> LaneWants {
        let closing = self.wants.close;
        self.wants |= wants;
        LaneWants { close: wants.close && !closing, ..wants }
    }

    /// Appends what is to be written now, where the stream carries so many lanes.
    pub(super) fn write(&self, output: &mut Vec<u8>, lanes: usize, now: Moment) -> LaneCounters {
        let mut hooks = self.gateway.lane_hooks(&self.key, now);
        self.lane.step(|lane| {
            lane.take(WRITE_BATCH / lanes.max(1), output, &mut hooks, now.instant);
            lane.counters()
        })
    }

    /// All of it was written.
    pub(super) fn written(&self, now: Moment) {
        self.lane.step(|lane| lane.written(now.instant));
    }

    /// What the partner says of what it was sent (XEP-0198).
    pub(super) fn managed(&self, said: &Management, now: Moment) -> Result<(), Misuse> {
        self.lane.step(|lane| lane.managed(said, now.instant))
    }

    /// What the lane has counted, and whether it has nothing to do.
    pub(super) fn look(&self) -> (LaneCounters, bool) {
        self.lane.step(|lane| (lane.counters(), lane.is_empty()))
    }

    /// Asks the partner for a sign of life.
    pub(super) fn probe(&self) {
        self.lane.step(|lane| lane.probe());
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lane.step(|lane| lane.deadline())
    }

    pub(super) fn handle_timeout(&self, now: Moment) {
        self.lane.step(|lane| lane.handle_timeout(now.instant));
    }

    /// The stream that the lane asked for has ended; `answered`: the partner closed it when we did.
    pub(super) fn close(&mut self, failure: Option<Failure>, answered: bool, now: Moment) {
        let random = self.gateway.random();
        self.lane.step(|lane| {
            if answered {
                lane.close_answered();
            }
            lane.closed(failure, random, now.instant);
        });
        self.serve(now);
        self.gateway.ring_ways_back(&self.key);
    }

    /// That stream has ended: the lane goes back to its own task.
    pub(super) fn give_back(self, failure: Option<Failure>, answered: bool, now: Moment) {
        let random = self.gateway.random();
        self.lane.hand_back(|lane| {
            if answered {
                lane.close_answered();
            }
            lane.closed(failure, random, now.instant);
        });
        self.gateway.ring_ways_back(&self.key);
    }
}
