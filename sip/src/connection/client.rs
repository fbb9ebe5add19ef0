//! Client transactions, non-INVITE (RFC 3261 §17.1.2 on a reliable transport).

use std::collections::hash_map::Entry;
use std::time::Instant;

use super::arena::{Arena, Handle};
use super::keys::{Key, KeyMap};
use super::{SendRefused, TIMER_F, Why};

/// The client transactions of one connection, in the order they were sent.
#[derive(Debug)]
pub(super) struct Client<E> {
    pending: Arena<Pending<E>, 1>,
    table: KeyMap<Handle>,
    max_pending: usize,
}

#[derive(Debug)]
struct Pending<E> {
    key: Key,
    /// Timer F.
    expires: Instant,
    /// Where the request begins in the stream of all bytes ever queued.
    begins: u64,
    envelope: E,
}

impl<E> Client<E> {
    pub(super) fn new(max_pending: usize) -> Self {
        Self { pending: Arena::new(), table: KeyMap::default(), max_pending }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= self.max_pending
    }

    /// Remembers a request that begins at `begins`.
    pub(super) fn begin(
        &mut self,
        key: Key,
        begins: u64,
        envelope: E,
        now: Instant,
    ) -> Result<(), SendRefused<E>> {
        if self.is_full() {
            return Err(SendRefused { why: Why::Full, envelope });
        }
        match self.table.entry(key) {
            Entry::Occupied(_) => Err(SendRefused { why: Why::BranchInUse, envelope }),
            Entry::Vacant(vacant) => {
                let pending = Pending { key, expires: now + TIMER_F, begins, envelope };
                vacant.insert(self.pending.push(0, pending));
                Ok(())
            }
        }
    }

    /// Ends the transaction a final response belongs to.
    pub(super) fn finish(&mut self, key: Key) -> Option<E> {
        let handle = self.table.remove(&key)?;
        Some(self.pending.remove(handle)?.envelope)
    }

    pub(super) fn knows(&self, key: Key) -> bool {
        self.table.contains_key(&key)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.first(0).map(|(_, pending)| pending.expires)
    }

    /// Takes the oldest transaction if its Timer F has fired.
    pub(super) fn expired(&mut self, now: Instant) -> Option<E> {
        self.deadline().filter(|at| *at <= now)?;
        self.oldest().map(|pending| pending.envelope)
    }

    /// Takes the oldest transaction, and says whether any of it may have left: `handed_out` is how far
    /// the stream has been taken for writing.
    pub(super) fn lost(&mut self, handed_out: u64) -> Option<(E, bool)> {
        self.oldest().map(|pending| (pending.envelope, pending.begins < handed_out))
    }

    fn oldest(&mut self) -> Option<Pending<E>> {
        let pending = self.pending.pop(0)?;
        self.table.remove(&pending.key);
        Some(pending)
    }
}
