//! A store without a disk, for simulations: what is committed, and whether, is for the test to say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use compact_str::CompactString;
use nuncio_translate::pair::{PairKey, PairRecord};
use parking_lot::Mutex;

use super::queue::{Change, Queue, Sealed};
use super::{AuditEntry, Failing, Fault, Health, Keep, Outcome, PendingMessage, StoreError, Ticket};
use crate::config::{Entry, Kind, Stored};

/// Keeps what it is told to in memory, in two parts: what waits, and what has been committed. A crash loses the first.
///
/// It calls nobody: [`Memory::commit`] and [`Memory::fail`] return what a [`Committed`](super::Committed) would hear.
#[derive(Debug, Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Queue,
    disk: Disk,
    /// As the process before this one left them.
    left_pending: BTreeMap<u64, PendingMessage>,
    reported: Ticket,
    failing: bool,
    commits: u64,
    failures: u64,
}

#[derive(Debug, Default, Clone)]
struct Disk {
    pairs: HashMap<PairKey, PairRecord>,
    secrets: HashMap<CompactString, Sealed>,
    proved: BTreeSet<CompactString>,
    audit: Vec<AuditEntry>,
    entries: Stored,
    pending: BTreeMap<u64, PendingMessage>,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the oldest `most` of what waits. `Some`: all tickets up to this one are done now.
    pub fn commit(&self, most: usize) -> Option<(Ticket, Outcome)> {
        let inner = &mut *self.inner.lock();
        for (_, change) in inner.queue.take(most) {
            match change {
                Change::Pair(key, Some(record)) => drop(inner.disk.pairs.insert(key, *record)),
                Change::Pair(key, None) => drop(inner.disk.pairs.remove(&key)),
                Change::Secret(name, value) => drop(inner.disk.secrets.insert(name, value)),
                Change::Proved(domain, true) => drop(inner.disk.proved.insert(domain)),
                Change::Proved(domain, false) => drop(inner.disk.proved.remove(&domain)),
                Change::Audit(entry) => inner.disk.audit.push(entry),
                Change::Pending(number, Some(message)) => {
                    drop(inner.disk.pending.insert(number, *message));
                }
                Change::Pending(number, None) => drop(inner.disk.pending.remove(&number)),
                Change::Entry(kind, name, None) => drop(inner.disk.entries.remove(kind, &name)),
                Change::Entry(kind, name, Some(settings)) => {
                    let settings = serde_json::from_str(&settings).unwrap_or_default();
                    drop(inner.disk.entries.put(kind, &name, settings));
                }
            }
        }
        inner.commits += 1;
        inner.failing = false;
        let done = inner.queue.done();
        inner.report(done, Outcome::Saved)
    }

    /// Writes nothing, as when the disk is full. `Some`: whoever waited for these goes on without.
    pub fn fail(&self) -> Option<(Ticket, Outcome)> {
        let inner = &mut *self.inner.lock();
        inner.failures += 1;
        inner.failing = true;
        let last = inner.queue.last();
        inner.report(last, Outcome::Unsaved)
    }

    /// The store that the next process finds: with what was committed and nothing else.
    pub fn crash(&self) -> Self {
        let disk = self.inner.lock().disk.clone();
        let left_pending = disk.pending.clone();
        Self { inner: Mutex::new(Inner { disk, left_pending, ..Inner::default() }) }
    }

    /// The record that is committed of a pair.
    pub fn pair(&self, key: &PairKey) -> Option<PairRecord> {
        self.inner.lock().disk.pairs.get(key).cloned()
    }

    /// The messages that are committed as waiting for people, in the order of their numbers.
    pub fn pending_messages(&self) -> Vec<PendingMessage> {
        self.inner.lock().disk.pending.values().cloned().collect()
    }

    /// The audit trail as committed, oldest first.
    pub fn audit_trail(&self) -> Vec<AuditEntry> {
        self.inner.lock().disk.audit.clone()
    }
}

impl Inner {
    fn report(&mut self, up_to: Ticket, outcome: Outcome) -> Option<(Ticket, Outcome)> {
        (up_to > self.reported).then(|| {
            self.reported = up_to;
            (up_to, outcome)
        })
    }
}

impl Keep for Memory {
    fn load_pairs(&self, each: &mut dyn FnMut(PairKey, PairRecord)) -> Result<u64, StoreError> {
        // Sorted: a simulation is to run the same way each time.
        let mut pairs: Vec<_> =
            self.inner.lock().disk.pairs.iter().map(|(key, record)| (key.clone(), record.clone())).collect();
        pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let count = pairs.len() as u64;
        for (key, record) in pairs {
            each(key, record);
        }
        Ok(count)
    }

    fn save_pair(&self, key: &PairKey, record: PairRecord) -> Ticket {
        let record = (!record.is_empty()).then(|| Box::new(record));
        self.inner.lock().queue.push(Change::Pair(key.clone(), record))
    }

    fn forget_pair(&self, key: &PairKey) -> Ticket {
        self.inner.lock().queue.push(Change::Pair(key.clone(), None))
    }

    fn audit(&self, entry: AuditEntry) -> Ticket {
        self.inner.lock().queue.push(Change::Audit(entry))
    }

    fn secret(&self, name: &str) -> Option<Box<[u8]>> {
        self.inner.lock().disk.secrets.get(name).map(|secret| secret.0.clone())
    }

    fn set_secret(&self, name: &str, value: &[u8]) -> Ticket {
        self.inner.lock().queue.push(Change::Secret(name.into(), Sealed(value.into())))
    }

    fn proved(&self) -> Vec<CompactString> {
        self.inner.lock().disk.proved.iter().cloned().collect()
    }

    fn set_proved(&self, domain: &str, proved: bool) -> Ticket {
        self.inner.lock().queue.push(Change::Proved(domain.into(), proved))
    }

    fn entries(&self) -> Stored {
        self.inner.lock().disk.entries.clone()
    }

    fn set_entry(&self, kind: Kind, name: &str, entry: Option<&Entry>) -> Ticket {
        let settings = entry.map(|entry| serde_json::Value::Object(entry.clone()).to_string().into());
        self.inner.lock().queue.push(Change::Entry(kind, kind.normalise(name).into(), settings))
    }

    fn pending(&self) -> Vec<(u64, PendingMessage)> {
        std::mem::take(&mut self.inner.lock().left_pending).into_iter().collect()
    }

    fn note_pending(&self, number: u64, message: PendingMessage) -> Ticket {
        self.inner.lock().queue.push(Change::Pending(number, Some(Box::new(message))))
    }

    fn clear_pending(&self, number: u64) -> Ticket {
        self.inner.lock().queue.push(Change::Pending(number, None))
    }

    fn health(&self) -> Health {
        let inner = self.inner.lock();
        let failing = inner.failing.then(|| Failing {
            fault: Fault::Full,
            evidence: String::new(),
            text: "told to fail".to_owned(),
            since: 0,
        });
        Health {
            failing,
            waiting: inner.queue.len(),
            commits: inner.commits,
            failures: inner.failures,
            audit_lost: inner.queue.audit_lost(),
            refused: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PairKey {
        PairKey::new(name, "romeo@fabrikam.example")
    }

    fn record(from_since: u64) -> PairRecord {
        PairRecord { from_since, ..PairRecord::default() }
    }

    #[test]
    fn a_crash_keeps_what_was_committed_and_nothing_else() {
        let store = Memory::new();
        store.save_pair(&key("a"), record(1));
        store.save_pair(&key("b"), record(2));
        assert_eq!(store.commit(1), Some((Ticket(1), Outcome::Saved)));
        let next = store.crash();
        assert_eq!((next.pair(&key("a")), next.pair(&key("b"))), (Some(record(1)), None));
        assert_eq!(next.save_pair(&key("b"), record(3)), Ticket(1), "tickets belong to one process");
    }

    #[test]
    fn what_failed_is_reported_once_and_written_later() {
        let store = Memory::new();
        let ticket = store.save_pair(&key("a"), record(1));
        assert_eq!(store.fail(), Some((ticket, Outcome::Unsaved)));
        assert!(store.health().failing.is_some());
        assert_eq!(store.commit(9), None, "nobody waits for it any more");
        assert_eq!((store.pair(&key("a")), store.health().failing), (Some(record(1)), None));
    }

    #[test]
    fn an_empty_record_is_forgotten() {
        let store = Memory::new();
        store.save_pair(&key("a"), record(1));
        store.commit(9);
        store.save_pair(&key("a"), PairRecord::default());
        store.commit(9);
        assert_eq!(store.load_pairs(&mut |key, _| panic!("{key:?}")), Ok(0));
    }
}
