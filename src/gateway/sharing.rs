//! Streams of ours that carry the lanes of several of our domains to one of a partner's (XEP-0220 §2.6.1), where there is no
//! place for a stream of each.
//!
//! A session of ours whose stream could take further pairs of domains by dialback leaves its bell here. A lane that finds no
//! place for a stream asks the least busy of them. The session takes it as it would take its own, or tells it why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_xmpp::lane::{Failure, FailureKind};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::attempts::{Outcome, Recorder};
use super::{Gateway, LaneKey, LanePort, TooMany};
use crate::log_limit::{Cause, Source};

/// A stream of ours to a domain, for all who look for one.
#[derive(Debug)]
pub(super) struct Shared {
    /// Rings the session.
    bell: Arc<Notify>,
    /// Lanes that ask for a place on it, each with why it has no stream of its own.
    asking: Mutex<Vec<(LaneKey, TooMany)>>,
    /// Lanes that go by it besides its own, or asked to.
    guests: AtomicUsize,
}

/// A stream that lanes may share, as long as its session keeps this.
pub struct SharedStream {
    gateway: Arc<Gateway>,
    remote: CompactString,
    shared: Arc<Shared>,
}

/// How those are answered who asked for a place on a stream.
pub struct Share {
    gateway: Arc<Gateway>,
    shared: Arc<Shared>,
}

/// A lane that asked for a place on a stream, and is to be answered.
#[derive(Debug)]
#[must_use]
pub struct Guest {
    key: LaneKey,
    why: TooMany,
}

impl Gateway {
    /// The session rung by `bell` has a stream to this domain that may carry more lanes.
    pub fn share_stream(self: &Arc<Self>, remote: &str, bell: Arc<Notify>) -> SharedStream {
        let shared = Arc::new(Shared { bell, asking: Mutex::default(), guests: AtomicUsize::new(0) });
        self.remote(remote).shared().lock().push(Arc::clone(&shared));
        SharedStream { gateway: Arc::clone(self), remote: remote.into(), shared }
    }

    /// Asks a stream that there is to take the lane. False: there is none to be asked.
    pub(super) fn ask_to_share(&self, key: &LaneKey, lane: &LanePort, why: TooMany) -> bool {
        let Some(remote) = self.known_remote(&key.remote) else { return false };
        // Under this lock streams come and go: who is asked is still there to answer.
        let streams = remote.shared().lock();
        let Some(least) = streams.iter().min_by_key(|shared| shared.guests.load(Ordering::Relaxed)) else {
            return false;
        };
        least.guests.fetch_add(1, Ordering::Relaxed);
        // What does not wait for the answer is told this.
        let failure = Failure::new(FailureKind::TooManyStreams, why.to_string());
        lane.step(|lane| lane.hindered(failure));
        least.asking.lock().push((key.clone(), why));
        least.bell.notify_one();
        true
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
        asking.into_iter().map(|(key, why)| Guest { key, why }).collect()
    }

    /// How those who asked are answered.
    pub fn share(&self) -> Share {
        Share { gateway: Arc::clone(&self.gateway), shared: Arc::clone(&self.shared) }
    }

    /// The stream takes nobody any more; who asks still is refused.
    pub fn close(self, now: Moment) {
        let remote = self.gateway.remote(&self.remote);
        // Under this lock they ask.
        remote.shared().lock().retain(|known| !Arc::ptr_eq(known, &self.shared));
        for guest in self.asking() {
            self.share().refuse(guest, "it takes no more domains", now);
        }
    }
}

impl Share {
    /// The lane itself.
    pub fn lane(&self, guest: &Guest) -> Arc<LanePort> {
        self.gateway.lane(&guest.key.local, &guest.key.remote)
    }

    /// The stream does not take the lane; `because` says why, for people.
    pub fn refuse(&self, guest: Guest, because: &str, now: Moment) {
        self.left();
        let lane = self.lane(&guest);
        let Guest { key, why } = guest;
        let why = format!("{why}; and the stream that is there does not take it: {because}");
        self.gateway.no_place(&key, &lane, &why, now);
    }

    /// One that had been taken, or asked, goes another way.
    pub fn left(&self) {
        self.shared.guests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guest {
    /// The lane that asked.
    pub fn key(&self) -> &LaneKey {
        &self.key
    }

    /// The stream carries it from now on.
    pub fn taken(self) {
        let LaneKey { local, remote } = &self.key;
        info!(partner = %remote, %local, "no place for a stream of its own: the lane shares one");
    }
}
