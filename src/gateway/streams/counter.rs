//! Streams and keys counted, with one partner or in all.

use std::fmt;
use std::sync::Arc;

use nuncio_xmpp::stream::{Direction, Outbound};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Streams of a partner beyond his limit for each key of ours that is out: one to ask about it, and room for one that is dead,
/// or brings something else.
pub(super) const BEYOND_PER_KEY: usize = 4;
/// The same for all keys together: for as many as a stream of ours may have pairs.
pub(super) const BEYOND: usize = Outbound::PAIRS;

/// Streams at a moment, by who opened them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCount {
    pub inbound: usize,
    pub outbound: usize,
    /// Inbound ones beyond a limit.
    pub beyond: usize,
    /// Dialback keys of ours that are out.
    pub keys_out: usize,
}

/// What is counted.
#[derive(Debug, Clone)]
enum Kind {
    Stream(Direction),
    /// With the bell of its session, rung when there may be a place, or no reason any more to be beyond the limit.
    Beyond(Arc<Notify>),
    KeyOut,
}

impl From<Direction> for Kind {
    fn from(direction: Direction) -> Self {
        Self::Stream(direction)
    }
}

impl StreamCount {
    fn of(&mut self, kind: &Kind) -> &mut usize {
        match kind {
            Kind::Stream(Direction::Inbound) => &mut self.inbound,
            Kind::Stream(Direction::Outbound) => &mut self.outbound,
            Kind::Beyond(_) => &mut self.beyond,
            Kind::KeyOut => &mut self.keys_out,
        }
    }

    /// Those that count towards the limit.
    pub(super) fn total(self) -> usize {
        self.inbound + self.outbound
    }

    /// Whether one more may come of at most `limit`, the last of which is kept for the direction that has none.
    pub(super) fn takes(self, direction: Direction, limit: usize) -> bool {
        let free = limit.saturating_sub(self.total());
        let others = match direction {
            Direction::Inbound => self.outbound,
            Direction::Outbound => self.inbound,
        };
        free > usize::from(limit > 1 && others == 0)
    }

    /// Whether one more may come beyond the limit, perhaps to verify a key of ours.
    pub(super) fn takes_beyond(self) -> bool {
        self.beyond < self.keys_out.saturating_mul(BEYOND_PER_KEY).min(BEYOND)
    }
}

impl fmt::Display for StreamCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} inbound and {} outbound streams", self.inbound, self.outbound)
    }
}

/// Counts them.
#[derive(Debug, Default)]
pub(in crate::gateway) struct StreamCounter(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    count: StreamCount,
    /// Of the sessions whose streams are beyond the limit.
    beyond: Vec<Arc<Notify>>,
}

impl StreamCounter {
    pub(in crate::gateway) fn count(&self) -> StreamCount {
        self.0.lock().count
    }

    /// One more, if there is room; else what there is.
    pub(super) fn enter(
        self: &Arc<Self>,
        direction: Direction,
        takes: impl FnOnce(StreamCount) -> bool,
    ) -> Result<Counted, StreamCount> {
        self.add(direction.into(), takes)
    }

    /// One more beyond the limit, if that may be; `bell` rings its session.
    pub(super) fn enter_beyond(
        self: &Arc<Self>,
        bell: &Arc<Notify>,
        takes: impl FnOnce(StreamCount) -> bool,
    ) -> Result<Counted, StreamCount> {
        self.add(Kind::Beyond(Arc::clone(bell)), takes)
    }

    pub(super) fn key_out(self: &Arc<Self>) -> Counted {
        self.0.lock().count.keys_out += 1;
        Counted { counter: Arc::clone(self), kind: Kind::KeyOut, in_vain: false }
    }

    fn add(
        self: &Arc<Self>,
        kind: Kind,
        takes: impl FnOnce(StreamCount) -> bool,
    ) -> Result<Counted, StreamCount> {
        let mut counts = self.0.lock();
        if !takes(counts.count) {
            return Err(counts.count);
        }
        *counts.count.of(&kind) += 1;
        if let Kind::Beyond(bell) = &kind {
            counts.beyond.push(Arc::clone(bell));
        }
        Ok(Counted { counter: Arc::clone(self), kind, in_vain: false })
    }
}

/// Counted as long as it is kept.
#[derive(Debug)]
pub(super) struct Counted {
    counter: Arc<StreamCounter>,
    kind: Kind,
    /// It was taken for nothing: there is no more room than before, and nobody is rung.
    in_vain: bool,
}

impl Counted {
    pub(super) fn is_beyond(&self) -> bool {
        matches!(self.kind, Kind::Beyond(_))
    }

    /// Gives back what was taken a moment ago and is of no use. Who waits for a place is not rung: he would try the same, with
    /// the same end, and ring himself.
    pub(super) fn withdraw(mut self) {
        self.in_vain = true;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counter.0.lock();
        let count = counts.count.of(&self.kind);
        *count = count.saturating_sub(1);
        match &self.kind {
            Kind::Beyond(bell) => {
                let at = counts.beyond.iter().position(|known| Arc::ptr_eq(known, bell));
                at.into_iter().for_each(|at| drop(counts.beyond.swap_remove(at)));
            }
            Kind::Stream(_) | Kind::KeyOut if self.in_vain => {}
            Kind::Stream(_) | Kind::KeyOut => counts.beyond.iter().for_each(|bell| bell.notify_one()),
        }
    }
}
