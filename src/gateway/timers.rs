//! Deadlines of pairs, and refusals that wait for their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ConnectionId;
use super::incoming::ReplySlot;

/// Enough that two cores rarely meet at one lock.
const SHARDS: usize = 8;

/// Most entries that are taken out of one shard at a time: between two takes others have their turn.
const STEP: usize = 16;

/// A set of deadlines in shards. An entry whose pair is gone, or has moved its deadline, is harmless.
#[derive(Debug, Default)]
pub(super) struct Timers {
    shards: [Mutex<BinaryHeap<Reverse<Entry>>>; SHARDS],
    /// What the times of entries are counted from.
    epoch: OnceLock<Instant>,
    wake: Arc<Notify>,
}

/// What is due. Small, for there are one or two entries for each of hundreds of thousands of pairs.
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
    /// The front end of a pair, on the route of this number, may have forgotten its subscription.
    Refresh(Box<(usize, PairKey)>),
    /// The batch with this tag wants to be looked at.
    Batch(Arc<str>),
    /// Nothing is left to be done for it.
    BatchGone(Arc<str>),
    /// A SIP connection that is gone has remembered its last answers for long enough.
    Connection(ConnectionId),
    /// The store is looked after.
    Store,
    /// A refusal has waited long enough: it takes its place.
    Reply(Box<(ReplySlot, Vec<u8>)>),
}

#[derive(Debug)]
struct Entry {
    at: Time,
    due: Due,
}

/// Nanoseconds since the epoch of the timers: half of an [`Instant`].
pub(super) type Time = i64;

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
            Due::Refresh(refresh) => refresh.1.hash(&mut hasher),
            Due::Batch(tag) | Due::BatchGone(tag) => tag.hash(&mut hasher),
            Due::Room(route) | Due::Absence(route) => route.hash(&mut hasher),
            Due::Connection(id) => id.hash(&mut hasher),
            Due::Reply(reply) => reply.1.hash(&mut hasher),
            Due::Store => {}
        }
        let index = usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(index) else { return };
        let at = self.time(at);
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
        let first = |shard: &Mutex<BinaryHeap<_>>| shard.lock().peek().map(|Reverse(Entry { at, .. })| *at);
        let at = self.shards.iter().filter_map(first).min()?;
        let (epoch, apart) = (*self.epoch.get()?, Duration::from_nanos(at.unsigned_abs()));
        if at < 0 { epoch.checked_sub(apart) } else { epoch.checked_add(apart) }
    }

    /// The first time there is becomes the epoch. Those three centuries away are as good as never.
    pub(super) fn time(&self, at: Instant) -> Time {
        let epoch = *self.epoch.get_or_init(|| at);
        let nanos = |apart: Duration| Time::try_from(apart.as_nanos()).unwrap_or(Time::MAX);
        match at.checked_duration_since(epoch) {
            Some(later) => nanos(later),
            None => -nanos(epoch.duration_since(at)),
        }
    }

    /// Takes out what is due at `now`, some of it if it is much.
    pub(super) fn take(&self, now: Instant) -> Vec<Due> {
        let now = self.time(now);
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

    /// Takes out all that is due at `now`.
    #[cfg(test)]
    pub(super) fn all_until(&self, now: Instant) -> Vec<Due> {
        let steps = std::iter::repeat_with(|| self.take(now)).take_while(|step| !step.is_empty());
        steps.flatten().collect()
    }

    /// Rings when the next deadline came closer.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Reverse<Entry>>() <= 32, "{}", size_of::<Entry>());
    }

    #[test]
    fn times_before_the_first_one_keep_their_order() {
        let (timers, start) = (Timers::default(), Instant::now());
        let hour = Duration::from_secs(3600);
        for (at, name) in [(start, "b"), (start - hour, "a"), (start + hour, "c")] {
            timers.schedule(at, Due::Pair(PairKey::new(name, name)));
        }
        for (at, name) in [(start - hour, "a"), (start, "b"), (start + hour, "c")] {
            assert_eq!(timers.deadline(), Some(at));
            assert!(timers.take(at - Duration::from_nanos(1)).is_empty());
            let due = timers.take(at);
            assert!(matches!(&*due, [Due::Pair(key)] if key.contact() == name), "{due:?}");
        }
    }

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
