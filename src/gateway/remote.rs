//! What hangs below one remote domain: its pairs, its lanes, and its streams.

use std::sync::Arc;

use compact_str::CompactString;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::LanePort;
use super::keyed::Keyed;
use super::pairs::Pairs;
use super::sharing::Shared;
use super::streams::{Meters, StreamCounter};
use super::tally::Tally;
use super::trust::Proofs;

type Lanes = SmallVec<[(CompactString, Arc<LanePort>); 1]>;

/// Everything that hangs below one remote domain, so that one partner's trouble never walks another's.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) pairs: Pairs,
    /// One per served domain that talks to this one: a handful.
    lanes: Mutex<Lanes>,
    /// Inbound streams that stopped reading until a lane has room for replies again.
    waiting: Mutex<Vec<Arc<Notify>>>,
    /// Streams with the partner whose primary domain this is.
    streams: Arc<StreamCounter>,
    /// Inbound streams of this domain, by the domain of ours that they are for.
    reaching: Mutex<SmallVec<[(CompactString, usize); 1]>>,
    /// Streams of this domain that take stanzas back, by the domain of ours that they are for.
    ways_back: Mutex<SmallVec<[WayBack; 1]>>,
    /// Streams of ours to this domain that may carry more lanes.
    shared: Mutex<SmallVec<[Arc<Shared>; 1]>>,
    /// What came on the streams of the partner.
    meters: Mutex<Meters>,
    /// How its streams were proved.
    proofs: Mutex<Proofs>,
    /// What happened with it.
    tally: Arc<Tally>,
}

/// The bell of a session, and the domain of ours that its stream is for.
type WayBack = (CompactString, Arc<Notify>);

impl Remote {
    pub(super) fn new(hashed: Keyed) -> Self {
        Self {
            pairs: Pairs::new(hashed),
            lanes: Mutex::new(SmallVec::new()),
            waiting: Mutex::new(Vec::new()),
            streams: Arc::default(),
            reaching: Mutex::default(),
            ways_back: Mutex::default(),
            shared: Mutex::default(),
            meters: Mutex::default(),
            proofs: Mutex::default(),
            tally: Arc::default(),
        }
    }

    pub(super) fn streams(&self) -> &Arc<StreamCounter> {
        &self.streams
    }

    pub(super) fn meters(&self) -> &Mutex<Meters> {
        &self.meters
    }

    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    pub(super) fn proofs(&self) -> &Mutex<Proofs> {
        &self.proofs
    }

    pub(super) fn shared(&self) -> &Mutex<SmallVec<[Arc<Shared>; 1]>> {
        &self.shared
    }

    /// One more inbound stream for this domain of ours.
    pub(super) fn reached(&self, local: &str) {
        let mut reaching = self.reaching.lock();
        match reaching.iter_mut().find(|(name, _)| name == local) {
            Some((_, count)) => *count += 1,
            None => reaching.push((local.into(), 1)),
        }
    }

    /// … one less; how many there still are.
    pub(super) fn reached_no_more(&self, local: &str) -> usize {
        let mut reaching = self.reaching.lock();
        let Some((_, count)) = reaching.iter_mut().find(|(name, _)| name == local) else { return 0 };
        *count = count.saturating_sub(1);
        *count
    }

    /// Inbound streams for this domain of ours.
    pub(super) fn reaching(&self, local: &str) -> usize {
        self.reaching.lock().iter().find(|(name, _)| name == local).map_or(0, |(_, count)| *count)
    }

    /// One more stream takes stanzas of this domain of ours back.
    pub(super) fn way_back(&self, local: &str, session: Arc<Notify>) {
        self.ways_back.lock().push((local.into(), session));
    }

    /// … one less.
    pub(super) fn no_way_back(&self, local: &str, session: &Arc<Notify>) {
        self.ways_back.lock().retain(|(name, known)| name != local || !Arc::ptr_eq(known, session));
    }

    /// Rings the sessions of the streams that take stanzas of this domain of ours back.
    pub(super) fn ring_ways_back(&self, local: &str) {
        self.ways_back
            .lock()
            .iter()
            .filter(|(name, _)| name == local)
            .for_each(|(_, bell)| bell.notify_one());
    }

    /// The lane from `local`, if there is one.
    pub(super) fn known_lane(&self, local: &str) -> Option<Arc<LanePort>> {
        self.lanes.lock().iter().find(|(name, _)| name == local).map(|(_, lane)| Arc::clone(lane))
    }

    /// The lane from `local`, made by `make` if it is the first time.
    pub(super) fn lane(&self, local: &str, make: impl FnOnce() -> Arc<LanePort>) -> Arc<LanePort> {
        let mut lanes = self.lanes.lock();
        if let Some((_, lane)) = lanes.iter().find(|(name, _)| name == local) {
            return Arc::clone(lane);
        }
        let lane = make();
        lanes.push((local.into(), Arc::clone(&lane)));
        lane
    }

    pub(super) fn lanes(&self) -> Vec<Arc<LanePort>> {
        self.lanes.lock().iter().map(|(_, lane)| Arc::clone(lane)).collect()
    }

    /// Whether any stream of this domain takes stanzas of this domain of ours back.
    pub(super) fn has_way_back(&self, local: &str) -> bool {
        self.ways_back.lock().iter().any(|(name, _)| name == local)
    }

    /// The lanes with the local domain of each.
    pub(super) fn named_lanes(&self) -> Vec<(CompactString, Arc<LanePort>)> {
        self.lanes.lock().iter().map(|(local, lane)| (local.clone(), Arc::clone(lane))).collect()
    }

    /// An inbound stream waits for room.
    pub(super) fn wait_for_room(&self, wake: Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        if !waiting.iter().any(|known| Arc::ptr_eq(known, &wake)) {
            waiting.push(wake);
        }
    }

    /// There is room: every waiting inbound stream may try again.
    pub(super) fn room(&self) {
        for wake in self.waiting.lock().drain(..) {
            wake.notify_one();
        }
    }
}
