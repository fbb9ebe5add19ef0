//! The pairs of one remote domain, and its lanes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use dashmap::DashMap;
use nuncio_translate::Moment;
use nuncio_translate::pair::{Pair, PairConfig, PairKey};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::LanePort;
use super::timers::{Due, Timers};

/// How soon after its last use a pair that holds nothing is looked at and dropped.
const LINGER: Duration = Duration::from_secs(60);
/// Shards of a domain's pair map: a partner with one user pays little, a large one still spreads.
const PAIR_SHARDS: usize = 8;

/// Everything that hangs below one remote domain, so that one partner's trouble never walks another's.
#[derive(Debug)]
pub(super) struct Remote {
    pairs: DashMap<PairKey, Slot>,
    /// One per served domain that talks to this one: a handful.
    lanes: Mutex<SmallVec<[(CompactString, Arc<LanePort>); 1]>>,
    /// Inbound streams that stopped reading until a lane has room for replies again.
    waiting: Mutex<Vec<Arc<Notify>>>,
}

#[derive(Debug)]
struct Slot {
    pair: Pair,
    /// The earliest entry the timers hold for this pair.
    timer: Option<Instant>,
}

impl Remote {
    pub(super) fn new() -> Self {
        Self {
            pairs: DashMap::with_shard_amount(PAIR_SHARDS),
            lanes: Mutex::new(SmallVec::new()),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Runs `step` under the guard of the pair called `composed`, which is made if need be.
    pub(super) fn with_pair<R>(
        &self,
        composed: &str,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        step: impl FnOnce(&PairKey, &mut Pair) -> R,
    ) -> R {
        let mut entry = match self.pairs.get_mut(composed) {
            Some(entry) => entry,
            None => self
                .pairs
                .entry(PairKey::from_composed(composed))
                .or_insert_with(|| Slot { pair: Pair::default(), timer: None }),
        };
        let (key, slot) = entry.pair_mut();
        let result = step(key, &mut slot.pair);
        slot.schedule(key, config, timers, now);
        result
    }

    /// Looks at a pair whose time has come: `expire` sees it, and it is dropped when it holds nothing.
    pub(super) fn visit(
        &self,
        key: &PairKey,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        visit: impl FnOnce(&PairKey, &mut Pair),
    ) {
        if let Some(mut entry) = self.pairs.get_mut(key.as_str()) {
            let (key, slot) = entry.pair_mut();
            if slot.timer.is_some_and(|timer| timer <= now.instant) {
                slot.timer = None;
            }
            visit(key, &mut slot.pair);
            if !slot.pair.is_idle(now) {
                slot.schedule(key, config, timers, now);
                return;
            }
        }
        self.pairs.remove_if(key.as_str(), |_, slot| slot.pair.is_idle(now));
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

    /// An inbound stream waits for room.
    pub(super) fn wait_for_room(&self, wake: Arc<Notify>) {
        self.waiting.lock().push(wake);
    }

    /// There is room: every waiting inbound stream may try again.
    pub(super) fn room(&self) {
        for wake in self.waiting.lock().drain(..) {
            wake.notify_one();
        }
    }
}

impl Slot {
    /// Makes sure that the timers know a time not later than the pair's next deadline.
    fn schedule(&mut self, key: &PairKey, config: &PairConfig, timers: &Timers, now: Moment) {
        let linger = now.instant + LINGER;
        let wanted = self.pair.deadline(config, now).unwrap_or(linger);
        if self.timer.is_none_or(|timer| wanted < timer) {
            self.timer = Some(wanted);
            timers.schedule(wanted, Due::Pair(key.clone()));
        }
    }
}
