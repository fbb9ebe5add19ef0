//! Streams of ours that carry the lanes of several of our domains to one of a partner's (XEP-0220 §2.6.1), where there is no
//! place for a stream of each.
//!
//! A session of ours whose stream could take further pairs of domains by dialback leaves its bell here. A lane that finds no
//! place for a stream asks the least busy of them. The session takes it as it would take its own, or tells it why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::judge::Refusal;
use nuncio_xmpp::lane::{Failure, FailureKind, Lane};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::attempts::{AttemptId, Outcome, Recorder};
use super::{Gateway, LaneKey, LanePort, TooMany};
use crate::log_limit::{Cause, Source};

/// How a lane came to a stream that it shares.
const SHARED: &str = "dialback on the stream of another domain of ours";

/// A stream of ours to a domain, for all who look for one.
#[derive(Debug)]
pub(super) struct Shared {
    /// Rings the session.
    bell: Arc<Notify>,
    /// Lanes that ask for a place on it.
    asking: Mutex<Vec<Asking>>,
    /// Lanes that go by it besides its own, or asked to.
    guests: AtomicUsize,
}

#[derive(Debug)]
struct Asking {
    key: LaneKey,
    since: Moment,
    /// Why it has no stream of its own.
    why: TooMany,
    seat: Seat,
}

/// One of the lanes that a stream is shared with, or that asked: counted as long as this is kept.
#[derive(Debug)]
pub struct Seat(Arc<Shared>);

/// A stream that lanes may share, as long as its session keeps this. Those who asked and were not answered by then look for
/// another way.
pub struct SharedStream {
    gateway: Arc<Gateway>,
    remote: CompactString,
    shared: Arc<Shared>,
}

/// A lane that asked for a place on a stream, and is to be answered. Dropped without an answer, it looks for another way.
#[must_use]
pub struct Guest {
    gateway: Arc<Gateway>,
    key: LaneKey,
    /// When it asked.
    since: Moment,
    why: TooMany,
    /// Until it is answered.
    seat: Option<Seat>,
}

impl Gateway {
    /// The session rung by `bell` has a stream to this domain that may carry more lanes.
    pub fn share_stream(self: &Arc<Self>, remote: &str, bell: Arc<Notify>) -> SharedStream {
        let shared = Arc::new(Shared { bell, asking: Mutex::default(), guests: AtomicUsize::new(0) });
        self.remote(remote).shared().lock().push(Arc::clone(&shared));
        SharedStream { gateway: Arc::clone(self), remote: remote.into(), shared }
    }

    /// Asks a stream that there is to take the lane. False: there is none to be asked.
    pub(super) fn ask_to_share(&self, key: &LaneKey, lane: &LanePort, why: TooMany, now: Moment) -> bool {
        let Some(remote) = self.known_remote(&key.remote) else { return false };
        // Under this lock streams come and go: who is asked is still there to answer.
        let streams = remote.shared().lock();
        let Some(least) = streams.iter().min_by_key(|shared| shared.guests.load(Ordering::Relaxed)) else {
            return false;
        };
        // What does not wait for the answer is told this.
        let failure = Failure::new(FailureKind::TooManyStreams, why.to_string());
        lane.step(|lane| lane.hindered(failure));
        least.asking.lock().push(Asking { key: key.clone(), since: now, why, seat: Seat::on(least) });
        least.bell.notify_one();
        true
    }

    /// The lane may not have a stream: the partner may not come in, or is none any more. What waits for it is refused by that
    /// rule.
    pub fn may_not_connect(&self, key: &LaneKey, lane: &LanePort, refusal: Refusal) {
        info!(partner = %key.remote, local = %key.local, rule = refusal.name(), "not connected: {refusal}");
        lane.feed(|lane| lane.connect_forbidden(Failure::new(FailureKind::Negotiation, refusal.to_string())));
    }

    /// There is no stream for the lane: it waits as after any failure, and those who wait for it are told why.
    pub(super) fn no_place(&self, key: &LaneKey, lane: &LanePort, why: &str, now: Moment) {
        if self.log_budget.allows(Cause::TooManyStreams, Source::Domain(&key.remote), now.instant) {
            warn!(partner = %key.remote, local = %key.local, "no stream to partner {}: {why}", key.remote);
        }
        let record = Recorder::outbound(&key.local, &key.remote, now);
        self.keep_attempt(&key.remote, record.finish(Outcome::Failed(why.to_owned()), now.instant));
        let (failure, random) = (Failure::new(FailureKind::TooManyStreams, why.to_owned()), self.random());
        lane.feed(|lane| lane.connect_failed(failure, random, now.instant));
    }
}

impl SharedStream {
    /// The lanes that asked since the last time.
    pub fn asking(&self) -> Vec<Guest> {
        let asking = std::mem::take(&mut *self.shared.asking.lock());
        let guest = |Asking { key, since, why, seat }| Guest {
            gateway: Arc::clone(&self.gateway),
            key,
            since,
            why,
            seat: Some(seat),
        };
        asking.into_iter().map(guest).collect()
    }
}

impl Drop for SharedStream {
    fn drop(&mut self) {
        if let Some(remote) = self.gateway.known_remote(&self.remote) {
            // Under this lock they ask.
            remote.shared().lock().retain(|known| !Arc::ptr_eq(known, &self.shared));
        }
        drop(self.asking());
    }
}

impl Seat {
    fn on(shared: &Arc<Shared>) -> Self {
        shared.guests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guest {
    /// The lane that asked.
    pub fn key(&self) -> &LaneKey {
        &self.key
    }

    /// The lane itself.
    pub fn lane(&self) -> Arc<LanePort> {
        self.gateway.lane(&self.key.local, &self.key.remote)
    }

    /// The stream carries it from now on, as long as the seat is kept. That is noted like any stream of its own.
    pub fn taken(mut self, now: Moment) -> (Option<Seat>, Option<AttemptId>) {
        let LaneKey { local, remote } = &self.key;
        info!(partner = %remote, %local, "no place for a stream of its own: the lane shares one");
        let record = Recorder::outbound(local, remote, self.since);
        let outcome = Outcome::extended(SHARED);
        let attempt = self.gateway.keep_attempt(remote, record.finish(outcome, now.instant));
        (self.seat.take(), attempt)
    }

    /// It goes another way meanwhile.
    pub fn left(mut self) {
        self.seat = None;
    }

    /// The stream does not take the lane; `because` says why, for people.
    pub fn refuse(mut self, because: &str, now: Moment) {
        self.seat = None;
        let why = format!("{}; and the stream that is there does not take it: {because}", self.why);
        self.gateway.no_place(&self.key, &self.lane(), &why, now);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.seat.take().is_some() {
            self.lane().feed(Lane::connect_again);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use nuncio_xmpp::lane::Output;

    use super::super::testing::{gateway_with, lane_of, moment};
    use super::*;

    const REMOTE: &str = "fabrikam.example";

    /// A gateway that has no place for any stream.
    fn gateway() -> Arc<Gateway> {
        Arc::new(gateway_with("contoso.example", REMOTE, |settings| settings.streams = 0))
    }

    /// A stream that may be shared, and the bell of its session.
    fn stream(gateway: &Arc<Gateway>) -> (SharedStream, Arc<Notify>) {
        let bell = Arc::new(Notify::new());
        (gateway.share_stream(REMOTE, Arc::clone(&bell)), bell)
    }

    /// The lane of this domain of ours looks for a place.
    fn looks(gateway: &Gateway, local: &str) -> Arc<LanePort> {
        let key = LaneKey { local: local.into(), remote: REMOTE.into() };
        let lane = lane_of(gateway, &key);
        lane.step(|lane| lane.push_reply(b"<iq/>".to_vec(), moment().instant));
        assert!(asks_for_stream(&lane) && gateway.outbound_place(&key, &lane, moment()).is_none());
        lane
    }

    fn asks_for_stream(lane: &LanePort) -> bool {
        lane.step(|lane| lane.poll_all().iter().any(|output| matches!(output, Output::Connect)))
    }

    fn is_rung(bell: &Notify) -> bool {
        bell.notified().now_or_never().is_some()
    }

    #[test]
    fn of_two_streams_to_a_domain_the_least_busy_is_asked() {
        let gateway = gateway();
        let [(one, first), (two, second)] = [stream(&gateway), stream(&gateway)];
        looks(&gateway, "a.example");
        assert!(is_rung(&first) && !is_rung(&second));
        looks(&gateway, "b.example");
        assert!(!is_rung(&first) && is_rung(&second), "who only asked counts as well");
        let mut seats: Vec<_> =
            [&one, &two].map(|stream| stream.asking().pop().unwrap().taken(moment())).into();
        looks(&gateway, "c.example");
        assert!(is_rung(&first) && !is_rung(&second));
        // The one on the second leaves, and so do those on the first: by refusal, and for another way.
        seats.pop();
        looks(&gateway, "d.example");
        assert!(!is_rung(&first) && is_rung(&second));
        one.asking().pop().unwrap().refuse("it is full", moment());
        two.asking().pop().unwrap().left();
        seats.clear();
        looks(&gateway, "e.example");
        looks(&gateway, "f.example");
        assert!(is_rung(&first) && is_rung(&second));
    }

    #[test]
    fn a_lane_whose_question_is_dropped_looks_for_another_way() {
        let gateway = gateway();
        let (stream, _) = stream(&gateway);
        let lane = looks(&gateway, "a.example");
        lane.wake().notified().now_or_never();
        drop(stream.asking());
        assert!(is_rung(&lane.wake()) && asks_for_stream(&lane));
    }

    #[test]
    fn a_stream_whose_session_is_gone_is_asked_no_more_and_who_asked_looks_for_another_way() {
        let gateway = gateway();
        let (stream, bell) = stream(&gateway);
        let lane = looks(&gateway, "a.example");
        assert!(is_rung(&bell));
        lane.wake().notified().now_or_never();
        drop(stream);
        assert!(is_rung(&lane.wake()) && asks_for_stream(&lane));
        let lane = looks(&gateway, "b.example");
        assert!(!is_rung(&bell));
        let failure =
            lane.step(|lane| lane.last_failure().cloned()).expect("it is told that there is no place");
        assert_eq!(failure.kind, FailureKind::TooManyStreams);
    }
}
