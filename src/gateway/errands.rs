//! Errands: work on many pairs at once, done in small steps between which everybody else has his turn.
//!
//! Nobody who reads a message, or writes to the disk, does such work on the spot: he leaves an errand here and rings. One
//! task, or a test, calls [`Gateway::run_errands`] until there is nothing more to do now.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::vec::IntoIter;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::absence::Search;
use super::batches::Visit;
use super::remote::Remote;
use super::{Gateway, LaneKey, Route};

/// Most pairs that one step visits for the same reason: together less than a millisecond.
pub(super) const STEP: usize = 32;

/// Most requests of subscriptions under way to one front end while a stop ends subscriptions: so many NOTIFYs are sent
/// ahead of their answers, and stand in front of a message. The next one leaves when one of them is answered, so the front
/// end sets the pace.
pub const GOODBYES_AHEAD: usize = 1024;

/// What is to be done. No lock is taken while this one is held.
#[derive(Debug, Default)]
pub(super) struct Errands {
    todo: Mutex<Todo>,
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Todo {
    /// Records that are stored, or cannot be, by the ticket their pairs know them by.
    stored: VecDeque<(PairKey, u64)>,
    /// Word of partners, by lane, and the walk to the pairs that the first one concerns.
    words: VecDeque<(LaneKey, Word)>,
    telling: Option<Telling>,
    /// What batches want of their members' pairs.
    visits: VecDeque<Visit>,
    /// The policy is another one: the round that is under way, and whether there is to be one after it, for the pairs that it has
    /// visited already. It is never begun anew: under changes that follow each other closely it would not come to its end.
    policy: Option<Walk>,
    policy_again: bool,
    /// Front ends are away: who watches there?
    searches: VecDeque<Search>,
    /// Routes with pairs that wait for room there, or for a front end.
    rooms: VecDeque<usize>,
    /// The process is going to end.
    ending: Option<Ending>,
    /// The time for that is over.
    ending_is_over: bool,
    /// What a step has taken out and is working on.
    in_hand: usize,
}

/// What many pairs of a partner have to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// A stream stands again: what was lost may be sent.
    Reached,
    /// The streams were lost, and with them perhaps what contacts are by now.
    Lost,
}

/// Pairs that are being told.
#[derive(Debug)]
struct Telling {
    word: Word,
    keys: IntoIter<PairKey>,
    /// The time over which they act on it.
    within: Duration,
}

/// A walk over all pairs, one partner after the other.
#[derive(Debug)]
pub(super) struct Walk {
    remotes: Vec<Arc<Remote>>,
    keys: IntoIter<PairKey>,
}

/// Subscriptions of endpoints that are to end.
#[derive(Debug)]
struct Ending {
    /// It is known which batches there are.
    has_batches: bool,
    /// These, by the route that their last notifications take, as the pairs below. They go first: what their members hold is
    /// between them and the pairs.
    batches: Vec<Vec<CompactString>>,
    /// Partners that have not been asked yet which of their pairs are watched.
    remotes: Vec<Arc<Remote>>,
    /// The pairs, by the route their NOTIFYs take; the last list is of those that have none.
    pairs: Vec<Vec<PairKey>>,
}

impl Errands {
    /// Rings when there is something to do.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Pairs whose records are stored, or cannot be.
    pub(super) fn stored(&self, done: impl IntoIterator<Item = (PairKey, u64)>) {
        self.todo.lock().stored.extend(done);
        self.ring();
    }

    /// The pairs of a lane are to hear something. One word that waits for its turn stands for the same later.
    pub(super) fn tell(&self, lane: &LaneKey, word: Word) {
        let mut todo = self.todo.lock();
        if !todo.words.iter().any(|(other, waits)| (other, *waits) == (lane, word)) {
            todo.words.push_back((lane.clone(), word));
        }
        drop(todo);
        self.ring();
    }

    /// The pairs of a batch's members are to be seen to.
    pub(super) fn visit(&self, visit: Visit) {
        self.todo.lock().visits.push_back(visit);
        self.ring();
    }

    /// Every pair is to look at the policy again.
    fn policy(&self) {
        self.todo.lock().policy_again = true;
        self.ring();
    }

    /// These pairs are to be found. One search after the other: there are as many as routes, at most twice.
    pub(super) fn search(&self, search: Search) {
        self.todo.lock().searches.push_back(search);
        self.ring();
    }

    /// The pairs that wait for this route are to go on.
    pub(super) fn resume(&self, route: usize) {
        let mut todo = self.todo.lock();
        if !todo.rooms.contains(&route) {
            todo.rooms.push_back(route);
        }
        drop(todo);
        self.ring();
    }

    fn end(&self, remotes: Vec<Arc<Remote>>, routes: usize) {
        let (batches, pairs) = (vec![Vec::new(); routes + 1], vec![Vec::new(); routes + 1]);
        self.todo.lock().ending = Some(Ending { has_batches: false, batches, remotes, pairs });
        self.ring();
    }

    fn stop_ending(&self) {
        let mut todo = self.todo.lock();
        (todo.ending, todo.ending_is_over) = (None, true);
    }

    /// The lanes whose pairs are to hear something; `None`: there is other work that may be long, or more than a step of this.
    fn only_words(&self) -> Option<Vec<LaneKey>> {
        let todo = self.todo.lock();
        let walks = todo.policy.is_some() || todo.policy_again || todo.ending.is_some();
        let walks = walks || !todo.searches.is_empty() || !todo.rooms.is_empty();
        let long = todo.telling.is_some() || walks;
        let visited: usize = todo.visits.iter().map(Visit::pairs).sum();
        let few = todo.words.len() <= STEP && todo.stored.len() <= STEP && visited <= STEP;
        (!long && few).then(|| todo.words.iter().map(|(lane, _)| lane.clone()).collect())
    }

    fn is_idle(&self) -> bool {
        let todo = self.todo.lock();
        todo.in_hand == 0
            && todo.stored.is_empty()
            && todo.words.is_empty()
            && todo.telling.is_none()
            && todo.visits.is_empty()
            && todo.policy.is_none()
            && !todo.policy_again
            && todo.searches.is_empty()
            && todo.rooms.is_empty()
            && todo.ending.is_none()
    }

    /// Takes work out, and counts it as in hand until that is put down or dropped, as by a panic.
    fn take<T>(&self, take: impl FnOnce(&mut Todo) -> T) -> (T, InHand<'_>) {
        let mut todo = self.todo.lock();
        todo.in_hand += 1;
        let in_hand = InHand { errands: self, put_down: false };
        (take(&mut todo), in_hand)
    }
}

/// Work that is being done.
struct InHand<'e> {
    errands: &'e Errands,
    put_down: bool,
}

impl InHand<'_> {
    /// What is left of it goes back in the same moment.
    fn put_down(mut self, put: impl FnOnce(&mut Todo)) {
        self.put_down = true;
        let mut todo = self.errands.todo.lock();
        todo.in_hand = todo.in_hand.saturating_sub(1);
        put(&mut todo);
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if !self.put_down {
            let mut todo = self.errands.todo.lock();
            todo.in_hand = todo.in_hand.saturating_sub(1);
        }
    }
}

impl Gateway {
    /// One step of the errands, short enough to be done between two messages. True: there is more to do now.
    pub fn run_errands(&self, now: Moment) -> bool {
        // All of them get their step: who waits for the disk is not to wait for a walk.
        let more = [
            self.run_stored(now),
            self.run_words(now),
            self.run_visits(now),
            self.run_policy(now),
            self.run_searches(now),
            self.run_rooms(now),
            self.run_ending(now),
        ];
        more.contains(&true)
    }

    /// Whether all errands of this moment together are hardly more than a step: most partners have few pairs. They are done
    /// sooner than a thread is found for them.
    pub fn errands_are_short(&self) -> bool {
        let pairs = |lane: &LaneKey| self.known_remote(&lane.remote).map_or(0, |remote| remote.pairs.count());
        self.errands.only_words().is_some_and(|lanes| lanes.iter().map(pairs).sum::<usize>() <= STEP)
    }

    /// Rings when [`Gateway::run_errands`] has something to do.
    pub fn errand_bell(&self) -> Arc<Notify> {
        self.errands.bell()
    }

    /// Whether every errand is done.
    pub(super) fn errands_done(&self) -> bool {
        self.errands.is_idle()
    }

    /// The policy is another one: what it forbids from now on ends. What crosses is judged by it already.
    pub(super) fn apply_policy(&self) {
        self.errands.policy();
    }

    /// The process is going to end: endpoints are told to subscribe elsewhere (EV-15), as fast as their front ends take
    /// it. No new ones are accepted.
    pub fn end_subscriptions(&self) {
        if !self.ending.swap(true, Ordering::SeqCst) {
            self.errands.end(self.all_remotes(), self.routes.len());
        }
    }

    /// The time for telling endpoints is over: how many subscriptions have not ended, as far as their front ends have
    /// said. Those of pairs stay on record. Walks all pairs.
    pub fn stop_ending_subscriptions(&self) -> usize {
        self.errands.stop_ending();
        let of_pairs: usize = self.all_remotes().iter().map(|remote| remote.pairs.endpoints()).sum();
        of_pairs + self.batches.len()
    }

    fn run_stored(&self, now: Moment) -> bool {
        let ((done, more), _in_hand) = self.errands.take(|todo| {
            let count = todo.stored.len().min(STEP);
            let done: Vec<_> = todo.stored.drain(..count).collect();
            (done, !todo.stored.is_empty())
        });
        let pairs = done.iter().map(|(key, ticket)| (key, *ticket));
        self.visit_all(pairs, now, |pair, _, ticket| pair.committed(ticket));
        more
    }

    fn run_words(&self, now: Moment) -> bool {
        let ((telling, next), in_hand) = self.errands.take(|todo| match todo.telling.take() {
            Some(telling) => (Some(telling), None),
            None => (None, todo.words.pop_front()),
        });
        let mut telling = telling.or_else(|| {
            let (lane, word) = next?;
            let keys = self.concerned(&lane, word, now);
            Some(Telling { word, within: self.spread_over(keys.len()), keys: keys.into_iter() })
        });
        if let Some(Telling { word, keys, within }) = &mut telling {
            for key in keys.take(STEP) {
                self.tell_pair(&key, *word, *within, now);
            }
        }
        let mut more = false;
        in_hand.put_down(|todo| {
            todo.telling = telling.filter(|telling| !telling.keys.as_slice().is_empty());
            more = todo.telling.is_some() || !todo.words.is_empty();
        });
        more
    }

    fn run_visits(&self, now: Moment) -> bool {
        let (visit, in_hand) = self.errands.take(|todo| todo.visits.pop_front());
        let Some(mut visit) = visit else { return false };
        let unfinished = self.visit_some(&mut visit, now).then_some(visit);
        let mut more = false;
        in_hand.put_down(|todo| {
            // Behind the others: nobody waits for the longest list.
            todo.visits.extend(unfinished);
            more = !todo.visits.is_empty();
        });
        more
    }

    fn run_policy(&self, now: Moment) -> bool {
        let ((walk, begins), in_hand) = self.errands.take(|todo| match todo.policy.take() {
            Some(walk) => (Some(walk), false),
            None => (None, std::mem::take(&mut todo.policy_again)),
        });
        let walk = walk.or_else(|| begins.then(|| Walk::over(self.all_remotes())));
        let Some(mut walk) = walk else { return false };
        let unfinished = walk.step(|key| self.apply_policy_to(key, now)).then_some(walk);
        let mut more = false;
        in_hand.put_down(|todo| {
            todo.policy = unfinished;
            more = todo.policy.is_some() || todo.policy_again;
        });
        more
    }

    fn run_searches(&self, now: Moment) -> bool {
        let (search, in_hand) = self.errands.take(|todo| todo.searches.pop_front());
        let Some(mut search) = search else { return false };
        let unfinished = match self.search_on(&mut search) {
            true => Some(search),
            false => {
                self.search_ends(search, now);
                None
            }
        };
        let mut more = false;
        in_hand.put_down(|todo| {
            unfinished.into_iter().for_each(|search| todo.searches.push_front(search));
            more = !todo.searches.is_empty();
        });
        more
    }

    fn run_rooms(&self, now: Moment) -> bool {
        let (route, in_hand) = self.errands.take(|todo| todo.rooms.pop_front());
        let Some(route) = route else { return false };
        let unfinished = self.resume_some(route, now).then_some(route);
        let mut more = false;
        in_hand.put_down(|todo| {
            let again = unfinished.filter(|route| !todo.rooms.contains(route));
            todo.rooms.extend(again);
            more = !todo.rooms.is_empty();
        });
        more
    }

    fn run_ending(&self, now: Moment) -> bool {
        let (Some(mut ending), in_hand) = self.errands.take(|todo| todo.ending.take()) else { return false };
        let mut more = false;
        if !std::mem::replace(&mut ending.has_batches, true) {
            for (tag, place) in self.batches_by_route() {
                if let Some(batches) = ending.batches.get_mut(place) {
                    batches.push(tag);
                }
            }
            more = true;
        } else if let Some(remote) = ending.remotes.pop() {
            for key in remote.pairs.watched() {
                let place = self.route_place(&key);
                if let Some(pairs) = ending.pairs.get_mut(place) {
                    pairs.push(key);
                }
            }
            more = true;
        } else {
            for (place, (batches, pairs)) in ending.batches.iter_mut().zip(&mut ending.pairs).enumerate() {
                let has_room = || self.routes.get(place).is_none_or(has_room);
                for _ in 0..STEP {
                    if let Some(tag) = batches.pop_if(|_| has_room()) {
                        self.stop_batch(&tag, now);
                    } else if let Some(key) = pairs.pop_if(|_| has_room()) {
                        self.end_pair(&key, now);
                    } else {
                        break;
                    }
                }
                // Without room, the next answer rings.
                more |= !(batches.is_empty() && pairs.is_empty()) && has_room();
            }
        }
        let told = ending.batches.iter().all(Vec::is_empty) && ending.pairs.iter().all(Vec::is_empty);
        let left = more || !told;
        in_hand.put_down(|todo| {
            if left && !todo.ending_is_over {
                todo.ending = Some(ending);
            }
        });
        more
    }

    /// The place of the route for a pair, one past the last if there is none.
    fn route_place(&self, key: &PairKey) -> usize {
        self.numbered_route_of(key).map_or(self.routes.len(), |(place, _)| place)
    }

    /// In the order of their names: a simulation is to run the same way each time.
    pub(super) fn all_remotes(&self) -> Vec<Arc<Remote>> {
        let mut named: Vec<_> =
            self.remotes.iter().map(|remote| (remote.key().clone(), Arc::clone(&remote))).collect();
        named.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        named.into_iter().map(|(_, remote)| remote).collect()
    }
}

impl Walk {
    pub(super) fn over(remotes: Vec<Arc<Remote>>) -> Self {
        Self { remotes, keys: Vec::new().into_iter() }
    }

    /// Visits the next few pairs. True: there are more.
    pub(super) fn step(&mut self, mut visit: impl FnMut(&PairKey)) -> bool {
        if self.keys.as_slice().is_empty()
            && let Some(remote) = self.remotes.pop()
        {
            self.keys = remote.pairs.keys().into_iter();
        } else {
            self.keys.by_ref().take(STEP).for_each(|key| visit(&key));
        }
        !self.keys.as_slice().is_empty() || !self.remotes.is_empty()
    }
}

/// Whether a route may be given one more request of a subscription now.
fn has_room(route: &Route) -> bool {
    route.events.load(Ordering::Relaxed) < GOODBYES_AHEAD && route.hops.step(|group| group.has_room())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::Pair;
    use super::super::testing::{gateway_of, moment};
    use super::*;

    #[test]
    fn word_of_a_partner_is_a_short_errand_as_long_as_he_has_few_pairs() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let lane = LaneKey { local: "contoso.example".into(), remote: "fabrikam.example".into() };
        let remote = gateway.remote("fabrikam.example");
        for count in 1..=STEP + 1 {
            let user = format!("sip-{count}@contoso.example");
            remote.pairs.insert(&PairKey::new(&user, "bob@fabrikam.example"), Pair::numbered(count as u64));
            gateway.lane_opened(&lane);
            assert_eq!(gateway.errands_are_short(), count <= STEP, "{count}");
            while gateway.run_errands(moment()) {}
        }
        gateway.apply_policy();
        assert!(!gateway.errands_are_short(), "a walk over all pairs");
    }

    #[test]
    fn an_errand_that_panics_is_in_hand_no_more() {
        let errands = Errands::default();
        let failing = || {
            let (_, _in_hand) = errands.take(|_| ());
            assert!(errands.is_idle(), "there is one in hand");
        };
        assert!(catch_unwind(AssertUnwindSafe(failing)).is_err());
        assert!(errands.is_idle());
    }
}
