//! Deadlines of pairs, and refusals that wait for their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::incoming::ReplySlot;

/// Enough that two cores rarely meet at one lock.
const SHARDS: usize = 8;

/// Most entries that are taken out of one shard at a time: between two takes others have their turn.
const STEP: usize = 16;

/// A set of deadlines in shards. An entry whose pair is gone, or has moved its deadline, is harmless.
#[derive(Debug, Default)]
pub(super) struct Timers {
    shards: [Mutex<BinaryHeap<Reverse<Entry>>>; SHARDS],
    wake: Arc<Notify>,
}

/// What is due.
#[derive(Debug)]
pub(super) enum Due {
    /// The pair wants to be looked at.
    Pair(PairKey),
    /// A pair of the process before this one takes up its work.
    Resume(PairKey),
    /// Pairs wait for room on the route of this number, to take up theirs.
    Room(usize),
    /// The front ends of the route of this number may be away.
    Absence(usize),
    /// The batch with this tag wants to be looked at.
    Batch(CompactString),
    /// Nothing is left to be done for it.
    BatchGone(CompactString),
    /// The store is looked after.
    Store,
    /// A refusal has waited long enough: it takes its place.
    Reply(Box<(ReplySlot, Vec<u8>)>),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    due: Due,
}

/// By time only.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl Timers {
    pub(super) fn schedule(&self, at: Instant, due: Due) {
        let mut hasher = DefaultHasher::new();
        match &due {
            Due::Pair(key) | Due::Resume(key) => key.hash(&mut hasher),
            Due::Batch(tag) | Due::BatchGone(tag) => tag.hash(&mut hasher),
            Due::Room(route) | Due::Absence(route) => route.hash(&mut hasher),
            Due::Reply(reply) => reply.1.hash(&mut hasher),
            Due::Store => {}
        }
        let index = usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(index) else { return };
        let mut heap = shard.lock();
        let earliest = heap.peek().is_none_or(|Reverse(first)| at < first.at);
        heap.push(Reverse(Entry { at, due }));
        drop(heap);
        if earliest {
            self.wake.notify_one();
        }
    }

    /// When something is due next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.shards.iter().filter_map(|shard| shard.lock().peek().map(|Reverse(entry)| entry.at)).min()
    }

    /// Takes out what is due at `now`, some of it if it is much.
    pub(super) fn take(&self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut heap = shard.lock();
            for _ in 0..STEP {
                if heap.peek().is_none_or(|Reverse(entry)| entry.at > now) {
                    break;
                }
                due.extend(heap.pop().map(|Reverse(entry)| entry.due));
            }
        }
        due
    }

    /// Rings when the next deadline came closer.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn due_in_time_and_not_before() {
        let (timers, start) = (Timers::default(), Instant::now());
        for seconds in [3, 1, 2] {
            let key = PairKey::new(&format!("{seconds}@contoso.example"), "x@fabrikam.example");
            timers.schedule(start + Duration::from_secs(seconds), Due::Pair(key));
        }
        assert_eq!(timers.deadline(), Some(start + Duration::from_secs(1)));
        assert!(timers.take(start).is_empty());
        assert_eq!(timers.take(start + Duration::from_secs(2)).len(), 2);
        assert_eq!(timers.deadline(), Some(start + Duration::from_secs(3)));
    }

    #[test]
    fn much_that_is_due_at_once_is_taken_in_steps_and_completely() {
        let (timers, start) = (Timers::default(), Instant::now());
        for number in 0..1000 {
            let key = PairKey::new(&format!("{number}@contoso.example"), "x@fabrikam.example");
            timers.schedule(start, Due::Pair(key));
        }
        let mut steps = Vec::new();
        while timers.deadline() == Some(start) {
            steps.push(timers.take(start).len());
        }
        assert!(steps.iter().all(|step| (1..=STEP * SHARDS).contains(step)), "{steps:?}");
        assert_eq!(steps.iter().sum::<usize>(), 1000);
    }
}
