//! The pace of those who write, and what becomes of each of their turns: a machine that does much else gives up turns, it does not
//! get slower ones.

use std::fmt;
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

/// How near the load came to what it was meant to be.
#[derive(Debug)]
pub(crate) struct Achieved<'a> {
    pub(crate) sent: usize,
    pub(crate) time: Duration,
    pub(crate) pace: &'a Pace,
}

impl fmt::Display for Achieved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace { offered, full, away } = self.pace;
        let part = |turns: usize| 100.0 * turns as f64 / (*offered).max(1) as f64;
        let (seconds, away) = (self.time.as_secs_f64(), away.len());
        write!(
            f,
            "achieved {:.0} messages/s of {:.0} offered, {} in {seconds:.1} s; of {offered} turns {full} ({:.1} %) given up for too many \
             under way, {away} ({:.1} %) for no stream",
            self.sent as f64 / seconds,
            *offered as f64 / seconds,
            self.sent,
            part(*full),
            part(away),
        )
    }
}

#[test]
fn what_was_achieved_says_how_many_turns_were_given_up() {
    let mut pace = Pace::default();
    let may: Vec<bool> = [0, MOST_UNDER_WAY - 1, MOST_UNDER_WAY, 0].map(|many| pace.turn(many)).into();
    assert_eq!(may, [true, true, false, true]);
    pace.away.push("ursula@fabrikam.com");
    let achieved = Achieved { sent: 2, time: Duration::from_millis(500), pace: &pace };
    assert_eq!(
        achieved.to_string(),
        "achieved 4 messages/s of 8 offered, 2 in 0.5 s; of 4 turns 1 (25.0 %) given up for too many under way, 1 (25.0 %) for no stream"
    );
}
