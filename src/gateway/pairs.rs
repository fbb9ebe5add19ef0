//! The pairs of one remote domain.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use nuncio_translate::Moment;
use nuncio_translate::pair::{PairConfig, PairKey, Salvage};
use smallvec::SmallVec;

use super::incoming::Incoming;
use super::keyed::Keyed;
use super::timers::{Due, Time, Timers};
use super::{Holdings, Pair};

/// How soon after its last use a pair that holds nothing is looked at and dropped.
const LINGER: Duration = Duration::from_secs(60);
/// Shards of a domain's pair map: a partner with one user pays little, a large one still spreads.
const PAIR_SHARDS: usize = 8;

/// The pairs of one remote domain, each under a guard of its own.
#[derive(Debug)]
pub(super) struct Pairs {
    /// Each in a box of its own: a table doubles when it is full, and its empty places would be as large as pairs.
    map: DashMap<PairKey, Box<Slot>, Keyed>,
    /// Those made since the start.
    made: AtomicU64,
}

/// A pair was emptied because a step on it panicked; this is what it held.
pub(super) type PairLost = Salvage<Incoming>;

#[derive(Debug)]
struct Slot {
    pair: Pair,
    /// The entries that the timers hold for this pair, in their time, each earlier than the ones before it.
    timers: SmallVec<[Time; 2]>,
}

impl Pairs {
    pub(super) fn new(hashed: Keyed) -> Self {
        let map = DashMap::with_hasher_and_shard_amount(hashed, PAIR_SHARDS);
        Self { map, made: AtomicU64::new(0) }
    }

    /// Runs `step` under the guard of the pair called `composed`, which is made if need be.
    ///
    /// # Errors
    /// The step panicked: the pair is emptied of what it held, and nothing else is touched.
    pub(super) fn with_pair<R>(
        &self,
        composed: &str,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        step: impl FnOnce(&PairKey, &mut Pair) -> R,
    ) -> Result<R, PairLost> {
        self.with_pair_unless(composed, config, timers, now, |_| None, step)
    }

    /// The same, but a pair that is not there is not made if `unless` has a result without it.
    ///
    /// # Errors
    /// As [`Pairs::with_pair`].
    pub(super) fn with_pair_unless<R>(
        &self,
        composed: &str,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        unless: impl FnOnce(&PairKey) -> Option<R>,
        step: impl FnOnce(&PairKey, &mut Pair) -> R,
    ) -> Result<R, PairLost> {
        let enter = || {
            let mut entry = match self.map.get_mut(composed) {
                Some(entry) => entry,
                None => {
                    let key = PairKey::from_composed(composed);
                    if let Some(result) = unless(&key) {
                        return result;
                    }
                    self.map.entry(key).or_insert_with(|| {
                        // Restored ones have number 0.
                        let number = 1 + self.made.fetch_add(1, Ordering::Relaxed);
                        Box::new(Slot { pair: Pair::numbered(number), timers: SmallVec::new() })
                    })
                }
            };
            let (key, slot) = entry.pair_mut();
            let result = step(key, &mut slot.pair);
            slot.schedule(key, config, timers, now);
            result
        };
        catch_unwind(AssertUnwindSafe(enter)).map_err(|_| self.salvage(composed, config, timers, now))
    }

    /// Empties a pair on which a step panicked. It stays, with its serials, and is looked at again soon.
    fn salvage(&self, composed: &str, config: &PairConfig, timers: &Timers, now: Moment) -> PairLost {
        let Some(mut entry) = self.map.get_mut(composed) else {
            return Salvage::default();
        };
        let (key, slot) = entry.pair_mut();
        let salvage = slot.pair.salvage(now);
        slot.schedule(key, config, timers, now);
        salvage
    }

    /// Runs `step` under the guard of a pair that is there already; nothing happens if it is not.
    ///
    /// # Errors
    /// As [`Pairs::with_pair`].
    pub(super) fn with_existing(
        &self,
        composed: &str,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        step: impl FnOnce(&PairKey, &mut Pair),
    ) -> Result<(), PairLost> {
        let contained = catch_unwind(AssertUnwindSafe(|| {
            if let Some(mut entry) = self.map.get_mut(composed) {
                let (key, slot) = entry.pair_mut();
                step(key, &mut slot.pair);
                slot.schedule(key, config, timers, now);
            }
        }));
        contained.map_err(|_| self.salvage(composed, config, timers, now))
    }

    /// Asks a pair something; `None`: there is no such pair.
    pub(super) fn look<R>(&self, composed: &str, ask: impl FnOnce(&Pair) -> R) -> Option<R> {
        self.map.get(composed).map(|slot| ask(&slot.pair))
    }

    /// Looks at a pair whose time has come; it is dropped when it holds nothing.
    ///
    /// # Errors
    /// As [`Pairs::with_pair`].
    pub(super) fn visit(
        &self,
        key: &PairKey,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        visit: impl FnOnce(&PairKey, &mut Pair),
    ) -> Result<(), PairLost> {
        let contained =
            catch_unwind(AssertUnwindSafe(|| self.enter_existing(key, config, timers, now, visit)));
        contained.map_err(|_| self.salvage(key.as_str(), config, timers, now))
    }

    fn enter_existing(
        &self,
        key: &PairKey,
        config: &PairConfig,
        timers: &Timers,
        now: Moment,
        visit: impl FnOnce(&PairKey, &mut Pair),
    ) {
        if let Some(mut entry) = self.map.get_mut(key.as_str()) {
            let (key, slot) = entry.pair_mut();
            let passed = timers.time(now.instant);
            slot.timers.retain(|timer| *timer > passed);
            visit(key, &mut slot.pair);
            if !slot.pair.is_idle(now) {
                slot.schedule(key, config, timers, now);
                return;
            }
        }
        self.map.remove_if(key.as_str(), |_, slot| slot.pair.is_idle(now));
    }

    /// Puts a restored pair in its place.
    pub(super) fn insert(&self, key: &PairKey, pair: Pair) {
        self.map.insert(key.clone(), Box::new(Slot { pair, timers: SmallVec::new() }));
    }

    /// The pairs there are.
    pub(super) fn keys(&self) -> Vec<PairKey> {
        self.map.iter().map(|slot| slot.key().clone()).collect()
    }

    /// The pairs with messages that wait for the SIP user.
    pub(super) fn waiting(&self) -> Vec<PairKey> {
        let waits = self.map.iter().filter(|slot| slot.pair.waiting() > 0);
        waits.map(|slot| slot.key().clone()).collect()
    }

    /// The pairs that endpoints of the SIP user hold a subscription of, or a session.
    pub(super) fn watched(&self) -> Vec<PairKey> {
        let watched = self.map.iter().filter(|slot| slot.pair.endpoints() > 0 || slot.pair.has_sessions());
        watched.map(|slot| slot.key().clone()).collect()
    }

    /// Subscriptions of endpoints that have not ended, as far as their front ends have said.
    pub(super) fn endpoints(&self) -> usize {
        self.map.iter().map(|slot| slot.pair.endpoints()).sum()
    }

    /// Whether any pair says yes.
    pub(super) fn any(&self, ask: impl Fn(&Pair) -> bool) -> bool {
        self.map.iter().any(|slot| ask(&slot.pair))
    }

    /// The pairs of a served domain of which this holds.
    pub(super) fn pairs_of(&self, local: &str, holds: impl Fn(&Pair) -> bool) -> Vec<PairKey> {
        let those = self.map.iter().filter(|slot| slot.key().local_domain() == local && holds(&slot.pair));
        those.map(|slot| slot.key().clone()).collect()
    }

    /// How many pairs there are.
    pub(super) fn count(&self) -> usize {
        self.map.len()
    }

    /// Asks each of them.
    pub(super) fn each(&self, mut ask: impl FnMut(&Pair)) {
        self.map.iter().for_each(|slot| ask(&slot.pair));
    }

    /// Adds what is held here.
    pub(super) fn add_to(&self, holdings: &mut Holdings) {
        for slot in &self.map {
            holdings.owed += slot.pair.owes();
            let waiting = slot.pair.waiting();
            holdings.pairs += 1;
            holdings.waiting += waiting;
            holdings.waiting_most = holdings.waiting_most.max(waiting);
        }
    }
}

impl Slot {
    /// Makes sure that the timers know a time not later than the pair's next deadline. One that is on record and waits for
    /// nothing has none: there may be hundreds of thousands of them.
    fn schedule(&mut self, key: &PairKey, config: &PairConfig, timers: &Timers, now: Moment) {
        let wanted = match self.pair.deadline(config, now) {
            Some(deadline) => deadline,
            None if self.pair.is_idle(now) => now.instant + LINGER,
            None => return,
        };
        let at = timers.time(wanted);
        if self.timers.iter().all(|timer| at < *timer) {
            self.timers.push(at);
            timers.schedule(wanted, Due::Pair(key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use nuncio_translate::pair::{PairRecord, To};

    use super::super::{Gateway, testing};
    use super::*;
    use crate::store::{Keep, Memory};

    const START: u64 = 1_800_000_000;

    /// With its pair: there are hundreds of thousands. One byte more, and the allocator takes the next size it has.
    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 128, "{}", size_of::<Slot>());
    }

    /// A gateway after a restart, with one pair on record.
    fn restored(record: PairRecord, now: Moment) -> (Gateway, Arc<Memory>, PairKey) {
        let key = PairKey::new("alice@contoso.example", "bob@fabrikam.example");
        let before = Memory::new();
        before.save_pair(&key, record);
        before.commit(1);
        let store = Arc::new(before.crash());
        let gateway = testing::gateway_on(Arc::clone(&store), "contoso.example", "fabrikam.example");
        gateway.restore(now).unwrap();
        (gateway, store, key)
    }

    /// Lets all timers fire that are due within `time`.
    fn pass(gateway: &Gateway, start: Moment, time: Duration) {
        while let Some(due) = gateway.deadline().filter(|due| *due <= start.instant + time) {
            let passed = due - start.instant;
            let unix_ms = start.unix_ms + u64::try_from(passed.as_millis()).unwrap() + 1;
            gateway.handle_timeout(Moment { instant: due, unix_ms });
        }
    }

    #[test]
    fn a_pair_on_record_only_for_replies_is_forgotten_when_their_time_is_over() {
        let now = Moment { instant: Instant::now(), unix_ms: START * 1000 };
        let record = PairRecord { sip_user_wrote: Some(START - 3600), ..PairRecord::default() };
        let (gateway, store, key) = restored(record, now);
        pass(&gateway, now, Duration::from_secs(22 * 3600));
        assert_eq!(gateway.holdings().pairs, 1);
        pass(&gateway, now, Duration::from_secs(24 * 3600));
        store.commit(1);
        assert_eq!((gateway.holdings().pairs, store.pair(&key)), (0, None));
    }

    #[test]
    fn a_pair_on_record_that_waits_for_nothing_has_no_timer() {
        let now = Moment { instant: Instant::now(), unix_ms: START * 1000 };
        let (gateway, ..) = restored(PairRecord { to: To::Yes, ..PairRecord::default() }, now);
        pass(&gateway, now, Duration::from_secs(1));
        assert_eq!((gateway.holdings().pairs, gateway.deadline()), (1, None));
    }
}
