//! The lane on a stream: what goes out on it.

use std::sync::Arc;
use std::time::Instant;

use nuncio_translate::Moment;
use nuncio_xmpp::lane::{Failure, FailureKind, LaneCounters, Offer};
use nuncio_xmpp::sm::{Management, Misuse};
use tokio::sync::Notify;

use crate::gateway::{Gateway, LaneKey, LanePort, LaneWants, ToXmppLane};
use crate::net::contain::{INTERNAL_ERROR, contained_now};

/// Bytes handed to the connection at a time: large enough to be cheap, small enough that what is in a
/// write, and so in doubt if the stream breaks, stays little. Lanes that share a stream share it too, or a slow partner would
/// need too long for a write.
const WRITE_BATCH: usize = 64 * 1024;

/// Why a stream is given up whose partner acknowledges nothing.
pub(super) const NOTHING_ACKNOWLEDGED: &str = "the partner acknowledges nothing of what it is sent";
/// Why a stream is given up whose partner takes nothing.
pub(super) const NOT_READ: &str = "the partner stopped reading from the stream";

/// A lane in the hands of the session of a stream. A session that is dropped before it said how its stream ended, after a
/// panic perhaps, gives the lane back all the same: nobody else could ever carry it.
pub(super) struct Carrier {
    gateway: Arc<Gateway>,
    key: LaneKey,
    lane: Arc<LanePort>,
    wants: LaneWants,
    holds: Holds,
    /// When it was served last.
    served: Moment,
}

/// Whether the lane goes by the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    No,
    /// It asked for the stream, and its own task is that of the session.
    Own,
    /// Its own task rests meanwhile.
    Lent,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'a> {
    /// Why, if there is a reason to tell.
    pub(super) failure: Option<&'a Failure>,
    /// The partner closed it when we did.
    pub(super) answered: bool,
    /// Nobody closed it.
    pub(super) lost: bool,
}

impl Carrier {
    pub(super) fn new(gateway: Arc<Gateway>, key: LaneKey, lane: Arc<LanePort>, now: Moment) -> Self {
        Self { gateway, key, lane, wants: LaneWants::default(), holds: Holds::No, served: now }
    }

    /// Whether the lane goes by the stream.
    pub(super) fn holds(&self) -> bool {
        self.holds != Holds::No
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
            self.holds = Holds::Own;
            // It is what it asked for.
            self.wants.connect = false;
            self.gateway.lane_opened(&self.key);
        }
        opened
    }

    /// Takes the lane onto a stream that was not opened for it, whose session is rung by `session`; `open` says whether the lane
    /// agrees.
    pub(super) fn take_over(
        &mut self,
        session: &Arc<Notify>,
        open: impl FnOnce(&mut ToXmppLane) -> bool,
    ) -> bool {
        let taken = self.lane.hand_over(session, open);
        if taken {
            self.holds = Holds::Lent;
            self.gateway.lane_opened(&self.key);
        }
        taken
    }

    /// Acts on what the lane reports, and says what is wanted that was not wanted before.
    pub(super) fn serve(&mut self, now: Moment) -> LaneWants {
        self.served = now;
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

    /// The stream has ended, and so has what the session had of the lane.
    pub(super) fn end(&mut self, ended: Ended<'_>, now: Moment) {
        match self.release(ended, now) {
            Holds::No => return,
            Holds::Own => {
                self.serve(now);
            }
            // Its own task is rung.
            Holds::Lent => {}
        }
        self.gateway.ring_ways_back(&self.key);
    }

    /// Says what it was.
    fn release(&mut self, ended: Ended<'_>, now: Moment) -> Holds {
        let held = std::mem::replace(&mut self.holds, Holds::No);
        let random = self.gateway.random();
        let closed = |lane: &mut ToXmppLane| {
            if ended.answered {
                lane.close_answered();
            }
            lane.closed(ended.failure.cloned(), random, now.instant);
        };
        match held {
            Holds::No => return held,
            Holds::Own => self.lane.step(closed),
            Holds::Lent => self.lane.hand_back(closed),
        }
        if ended.lost {
            self.gateway.lane_lost(&self.key);
        }
        held
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if !self.holds() {
            return;
        }
        let gateway = Arc::clone(&self.gateway);
        let failure = Failure::new(FailureKind::Negotiation, INTERNAL_ERROR);
        let ended = Ended { failure: Some(&failure), answered: false, lost: true };
        // What the lane reports, its own task hears: it may have been rung for the session before.
        let release = || {
            self.release(ended, self.served);
            self.lane.notify();
            self.gateway.ring_ways_back(&self.key);
        };
        // It may be a panic on this lane that brought us here.
        contained_now("the end of a lane's stream", &gateway.counters().tasks_panicked, release).ok();
    }
}
