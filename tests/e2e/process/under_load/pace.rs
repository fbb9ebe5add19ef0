//! The pace of those who write, and what becomes of each of their turns: a machine that does much else gives up turns, it does not
//! get slower ones.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Half of a thousand messages in a second each way, by the writer's clock: ticks that were missed are made up for.
const EVERY: Duration = Duration::from_millis(10);
pub(crate) const AT_ONCE: usize = 5;
const _: () = assert!(2 * AT_ONCE as u128 * 1_000 == 1_000 * EVERY.as_millis());

/// Most that are under way between us and one partner each way: on a slow machine the load gives up turns instead of filling
/// queues, which have limits.
pub(crate) const MOST_UNDER_WAY: usize = 32;

pub(crate) fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// Turns so far.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When somebody was to write.
    pub(crate) offered: usize,
    /// He did not, for too much was under way.
    pub(crate) full: usize,
    /// His server had no stream to send it on: the contacts whose turns these were.
    pub(crate) away: Vec<&'static str>,
}

impl Pace {
    /// Somebody's turn has come. Whether he may write.
    pub(crate) fn turn(&mut self, under_way: usize) -> bool {
        let is_full = under_way >= MOST_UNDER_WAY;
        self.offered += 1;
        self.full += usize::from(is_full);
        !is_full
    }
}
