//! The runtime, as far as the gateway needs one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nuncio::gateway::{Environment, LaneKey, LanePort, Verification};

/// What the house sees of it.
pub(crate) struct Stage {
    new_lanes: Mutex<Vec<(LaneKey, Arc<LanePort>)>>,
    randoms: AtomicU64,
    /// Which of the next draws panics, from 1; 0: none.
    panics: AtomicU64,
}

impl Default for Stage {
    fn default() -> Self {
        Self { new_lanes: Mutex::default(), randoms: AtomicU64::new(1), panics: AtomicU64::new(0) }
    }
}

impl Stage {
    /// The lanes that were made since the last time.
    pub(crate) fn new_lanes(&self) -> Vec<(LaneKey, Arc<LanePort>)> {
        std::mem::take(&mut *self.new_lanes.lock().unwrap())
    }

    /// The gateway's n-th next draw panics.
    pub(crate) fn panic_at(&self, draw: u64) {
        self.panics.store(draw, Ordering::Relaxed);
    }
}

/// What the gateway sees of it.
pub(crate) struct Runtime(pub(crate) Arc<Stage>);

impl Environment for Runtime {
    fn serve_lane(&self, key: LaneKey, lane: Arc<LanePort>) {
        self.0.new_lanes.lock().unwrap().push((key, lane));
    }

    fn verify(&self, _verification: Verification) {}

    fn random(&self) -> u64 {
        let one_less = |panics: u64| panics.checked_sub(1);
        if self.0.panics.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) == Ok(1) {
            panic!("on purpose: a test wants to see what becomes of it");
        }
        // SplitMix64: different every time, the same in every run.
        let mut z = self.0.randoms.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
