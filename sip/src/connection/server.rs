//! Server transactions (RFC 3261 §17.2 on a reliable transport; DEC-27).

use std::collections::VecDeque;
use std::time::Instant;

use compact_str::CompactString;

use super::arena::{Arena, Handle};
use super::keys::{Key, KeyMap};
use super::{ABANDONED_AFTER, RING, RING_AGE, TRYING_AFTER};
use crate::ResponseHead;

/// The server transactions of one connection: those that wait for the caller's answer, and the last
/// [`RING`] that have it.
#[derive(Debug)]
pub(super) struct Server {
    pending: Arena<Pending, 2>,
    finished: VecDeque<Finished>,
    /// Number of the first entry of `finished`, counted over the life of the connection.
    first_finished: u64,
    table: KeyMap<Place>,
    merged: KeyMap<()>,
    max_pending: usize,
}

/// A request that the caller has not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) key: Key,
    /// What other copies of this request would share with it; none inside a dialog.
    pub(super) merged: Option<Key>,
    pub(super) head: ResponseHead,
    /// Our To tag.
    pub(super) tag: CompactString,
    pub(super) kind: Kind,
    pub(super) arrived: Instant,
    /// 100 Trying has been sent.
    pub(super) trying: bool,
}

/// What decides which answers may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Invite,
    NonInvite,
    /// BENOTIFY: nothing may be answered at all.
    Silent,
}

/// The memory of an answered request.
#[derive(Debug)]
pub(super) struct Finished {
    key: Key,
    at: Instant,
    pub(super) status: u16,
    pub(super) tag: CompactString,
    /// The answer as it was sent, where status and tag do not say it all.
    pub(super) response: Option<Box<[u8]>>,
}

/// What is known of a request that came before.
pub(super) enum Repeat<'a> {
    Pending(&'a Pending),
    Finished(&'a Finished),
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Pending(Handle),
    Finished(u64),
}

/// Lane of requests that got nothing yet.
const TRYING: usize = 0;
/// Lane of requests that got 100 Trying.
const PROCEEDING: usize = 1;

/// A timer that fired.
pub(super) enum Fired<'a> {
    Trying(&'a mut Pending),
    Abandoned,
}

impl Server {
    pub(super) fn new(max_pending: usize) -> Self {
        Self {
            pending: Arena::new(),
            finished: VecDeque::new(),
            first_finished: 0,
            table: KeyMap::default(),
            merged: KeyMap::default(),
            max_pending,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= self.max_pending
    }

    /// Looks for the transaction a request belongs to. The memory of a finished one ends after
    /// [`RING_AGE`], also when nothing has pushed it out of the ring.
    pub(super) fn find(&self, key: Key, now: Instant) -> Option<Repeat<'_>> {
        match *self.table.get(&key)? {
            Place::Pending(handle) => self.pending.get(handle).map(Repeat::Pending),
            Place::Finished(number) => {
                let index = usize::try_from(number.checked_sub(self.first_finished)?).ok()?;
                self.finished.get(index).filter(|f| !f.is_old(now)).map(Repeat::Finished)
            }
        }
    }

    /// Another copy of this request is pending (RFC 3261 §8.2.2.2).
    pub(super) fn is_merged(&self, merged: Key) -> bool {
        self.merged.contains_key(&merged)
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self, pending: Pending) -> Handle {
        let (key, merged) = (pending.key, pending.merged);
        let handle = self.pending.push(TRYING, pending);
        self.table.insert(key, Place::Pending(handle));
        if let Some(merged) = merged {
            self.merged.insert(merged, ());
        }
        handle
    }

    pub(super) fn get(&self, handle: Handle) -> Option<&Pending> {
        self.pending.get(handle)
    }

    /// Notes that 100 Trying has been sent.
    pub(super) fn proceed(&mut self, handle: Handle) {
        if let Some(pending) = self.pending.get_mut(handle) {
            pending.trying = true;
        }
        self.pending.shift(handle, PROCEEDING);
    }

    /// Takes a transaction out of the pending ones.
    pub(super) fn end(&mut self, handle: Handle) -> Option<Pending> {
        let pending = self.pending.remove(handle)?;
        self.table.remove(&pending.key);
        if let Some(merged) = pending.merged {
            self.merged.remove(&merged);
        }
        Some(pending)
    }

    /// Remembers an answer for repeats of the request.
    pub(super) fn remember(
        &mut self,
        key: Key,
        status: u16,
        tag: CompactString,
        response: Option<Box<[u8]>>,
        now: Instant,
    ) {
        self.forget_old(now);
        if self.finished.len() >= RING {
            self.forget_first();
        }
        let number = self.first_finished + self.finished.len() as u64;
        self.finished.push_back(Finished { key, at: now, status, tag, response });
        self.table.insert(key, Place::Finished(number));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let trying = self.pending.first(TRYING).map(|(_, pending)| pending.arrived + TRYING_AFTER);
        let abandoned = self.pending.first(PROCEEDING).map(|(_, pending)| pending.arrived + ABANDONED_AFTER);
        trying.into_iter().chain(abandoned).min()
    }

    /// The next timer that has fired.
    pub(super) fn fired(&mut self, now: Instant) -> Option<Fired<'_>> {
        let due = |first: Option<(Handle, &Pending)>, after| {
            first.filter(|(_, pending)| pending.arrived + after <= now).map(|(handle, _)| handle)
        };
        if let Some(handle) = due(self.pending.first(TRYING), TRYING_AFTER) {
            self.proceed(handle);
            return self.pending.get_mut(handle).map(Fired::Trying);
        }
        let handle = due(self.pending.first(PROCEEDING), ABANDONED_AFTER)?;
        self.end(handle).map(|_| Fired::Abandoned)
    }

    /// Forgets answers older than [`RING_AGE`].
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.finished.front().is_some_and(|finished| finished.is_old(now)) {
            self.forget_first();
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.finished.len()
    }

    fn forget_first(&mut self) {
        let Some(finished) = self.finished.pop_front() else { return };
        // The request may have come again since, and be pending.
        if let Some(Place::Finished(number)) = self.table.get(&finished.key)
            && *number == self.first_finished
        {
            self.table.remove(&finished.key);
        }
        self.first_finished += 1;
    }
}

impl Finished {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) > RING_AGE
    }
}
