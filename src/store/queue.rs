//! What waits to be written: one entry per pair, however often the pair changes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use compact_str::CompactString;
use nuncio_translate::pair::{PairKey, PairRecord};

use super::{AuditEntry, PendingMessage, Ticket};
use crate::config::Kind;

/// Most audit entries that wait. They cannot be merged; at the bound the oldest goes, and the trail says so.
pub(super) const AUDIT_QUEUE: usize = 16_384;

/// Something to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// `None`: forget it.
    Pair(PairKey, Option<Box<PairRecord>>),
    Secret(CompactString, Sealed),
    /// Whether a partner's domain has proved itself by certificate.
    Proved(CompactString, bool),
    Audit(AuditEntry),
    /// A message that waits for people. `None`: it has come to its end.
    Pending(u64, Option<Box<PendingMessage>>),
    /// What an administrator made, as JSON. `None`: it is gone.
    Entry(Kind, CompactString, Option<Box<str>>),
}

/// A secret: not to be seen in debug output.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sealed(pub(super) Box<[u8]>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(sealed)")
    }
}

/// What a later change replaces an earlier one of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Pair(PairKey),
    Secret(CompactString),
    Proved(CompactString),
    Entry(Kind, CompactString),
    Pending(u64),
}

impl Change {
    /// Whether anybody may wait for it to be on the disk. Nobody does for what is only noted.
    pub(super) fn is_awaited(&self) -> bool {
        match self {
            Self::Pair(..) | Self::Secret(..) | Self::Entry(..) | Self::Pending(_, Some(_)) => true,
            Self::Proved(..) | Self::Audit(_) | Self::Pending(_, None) => false,
        }
    }

    fn subject(&self) -> Option<Subject> {
        match self {
            Self::Pair(key, _) => Some(Subject::Pair(key.clone())),
            Self::Secret(name, _) => Some(Subject::Secret(name.clone())),
            Self::Proved(domain, _) => Some(Subject::Proved(domain.clone())),
            Self::Entry(kind, name, _) => Some(Subject::Entry(*kind, name.clone())),
            Self::Pending(number, _) => Some(Subject::Pending(*number)),
            Self::Audit(_) => None,
        }
    }
}

/// Changes in the order of their tickets. A change that replaces one that waits takes over its place, so nothing is put
/// off by changing often, and the ticket of the one replaced is done when the new one is.
#[derive(Debug, Default)]
pub(super) struct Queue {
    last: u64,
    /// By the oldest ticket that the change stands for.
    changes: BTreeMap<u64, Change>,
    places: HashMap<Subject, u64>,
    audit: VecDeque<u64>,
    audit_lost: u64,
}

impl Queue {
    pub(super) fn push(&mut self, change: Change) -> Ticket {
        self.last += 1;
        if let Change::Pending(number, None) = change
            && let subject = Subject::Pending(number)
            && let Some(place) = self.places.get(&subject)
            && let Some(Change::Pending(_, Some(_))) = self.changes.get(place)
        {
            // It never was on the disk: there is nothing to write. While the disk refuses, thousands may come and go.
            self.changes.remove(place);
            self.places.remove(&subject);
            return Ticket(self.last);
        }
        match change.subject() {
            Some(subject) => {
                let place = *self.places.entry(subject).or_insert(self.last);
                self.changes.insert(place, change);
            }
            None => {
                if self.audit.len() >= AUDIT_QUEUE
                    && let Some(oldest) = self.audit.pop_front()
                {
                    self.changes.remove(&oldest);
                    self.audit_lost += 1;
                }
                self.audit.push_back(self.last);
                self.changes.insert(self.last, change);
            }
        }
        Ticket(self.last)
    }

    /// Takes the oldest changes. What is taken counts as not waiting any more.
    pub(super) fn take(&mut self, most: usize) -> Vec<(u64, Change)> {
        let mut taken = Vec::with_capacity(most.min(self.changes.len()));
        while taken.len() < most
            && let Some((place, change)) = self.changes.pop_first()
        {
            match change.subject() {
                Some(subject) => drop(self.places.remove(&subject)),
                None => drop(self.audit.pop_front()),
            }
            taken.push((place, change));
        }
        taken
    }

    /// Gives back what was taken and could not be written. What has changed meanwhile stays as it is now, at the older
    /// place.
    pub(super) fn put_back(&mut self, taken: Vec<(u64, Change)>) {
        for (place, change) in taken.into_iter().rev() {
            let Some(subject) = change.subject() else {
                if self.audit.len() < AUDIT_QUEUE {
                    self.audit.push_front(place);
                    self.changes.insert(place, change);
                } else {
                    self.audit_lost += 1;
                }
                continue;
            };
            let newer =
                self.places.insert(subject.clone(), place).and_then(|newer| self.changes.remove(&newer));
            if let (Change::Pending(_, Some(_)), Some(Change::Pending(_, None))) = (&change, &newer) {
                self.places.remove(&subject);
                continue;
            }
            self.changes.insert(place, newer.unwrap_or(change));
        }
    }

    /// The last ticket given out.
    pub(super) fn last(&self) -> Ticket {
        Ticket(self.last)
    }

    /// The last ticket up to which nothing waits; of what was taken, the caller knows.
    pub(super) fn done(&self) -> Ticket {
        Ticket(self.changes.first_key_value().map_or(self.last, |(place, _)| place - 1))
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether anybody may wait for any of it.
    pub(super) fn is_awaited(&self) -> bool {
        self.changes.values().any(Change::is_awaited)
    }

    /// Audit entries given up since the start.
    pub(super) fn audit_lost(&self) -> u64 {
        self.audit_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, from_since: u64) -> Change {
        let record = PairRecord { from_since, ..PairRecord::default() };
        Change::Pair(PairKey::new(name, "contact@partner.example"), Some(Box::new(record)))
    }

    fn audit(at: u64) -> Change {
        Change::Audit(AuditEntry { at, ..AuditEntry::default() })
    }

    #[test]
    fn a_newer_record_takes_the_place_of_the_one_that_waits() {
        let mut queue = Queue::default();
        assert_eq!([queue.push(pair("a", 1)), queue.push(pair("b", 2))], [Ticket(1), Ticket(2)]);
        assert_eq!(queue.push(pair("a", 3)), Ticket(3));
        assert_eq!(queue.take(9), [(1, pair("a", 3)), (2, pair("b", 2))]);
        assert_eq!(queue.done(), Ticket(3));
    }

    #[test]
    fn what_waits_holds_up_the_tickets_behind_it_and_no_others() {
        let mut queue = Queue::default();
        for change in [pair("a", 1), pair("b", 2), pair("a", 3)] {
            queue.push(change);
        }
        assert_eq!(queue.done(), Ticket(0));
        queue.take(1);
        assert_eq!(queue.done(), Ticket(1), "b waits, and with it whatever came later");
    }

    #[test]
    fn what_comes_back_does_not_undo_what_came_since() {
        let mut queue = Queue::default();
        queue.push(pair("a", 1));
        queue.push(pair("b", 2));
        let taken = queue.take(2);
        queue.push(pair("b", 3));
        queue.push(pair("c", 4));
        queue.put_back(taken);
        assert_eq!(queue.done(), Ticket(0));
        assert_eq!(queue.take(9), [(1, pair("a", 1)), (2, pair("b", 3)), (4, pair("c", 4))]);
    }

    #[test]
    fn what_is_only_noted_is_awaited_by_nobody() {
        let mut queue = Queue::default();
        queue.push(audit(1));
        queue.push(Change::Proved("partner.example".into(), true));
        assert!(!queue.is_awaited());
        queue.push(pair("a", 1));
        assert!(queue.is_awaited());
    }

    #[test]
    fn one_pair_is_one_entry_however_often_it_changes() {
        let mut queue = Queue::default();
        for n in 0..10_000 {
            queue.push(pair("a", n));
        }
        assert_eq!((queue.len(), queue.last()), (1, Ticket(10_000)));
    }

    fn pending(number: u64, noted: bool) -> Change {
        let message =
            || PendingMessage { sender: "a@b".into(), recipient: "c@d".into(), stanza_id: None, since: 1 };
        Change::Pending(number, noted.then(|| Box::new(message())))
    }

    #[test]
    fn messages_that_came_and_went_while_the_disk_refused_leave_nothing_behind() {
        let mut queue = Queue::default();
        queue.push(pair("a", 1));
        for number in 0..1000 {
            queue.push(pending(number, true));
            queue.push(pending(number, false));
        }
        assert_eq!(queue.take(9), [(1, pair("a", 1))]);
        assert_eq!(queue.done(), queue.last());
        // Those that are being written meanwhile, in vain.
        queue.push(pending(1000, true));
        let taken = queue.take(9);
        queue.push(pending(1000, false));
        queue.put_back(taken);
        assert_eq!((queue.len(), queue.done()), (0, queue.last()));
        // One that is on the disk has to be taken from there.
        queue.push(pending(1001, false));
        queue.push(pending(1001, false));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn at_the_bound_the_oldest_audit_entry_goes_and_is_counted() {
        let mut queue = Queue::default();
        queue.push(pair("a", 1));
        for n in 0..AUDIT_QUEUE as u64 {
            queue.push(audit(n));
        }
        assert_eq!((queue.len(), queue.audit_lost()), (AUDIT_QUEUE + 1, 0));
        queue.push(audit(99));
        assert_eq!((queue.len(), queue.audit_lost()), (AUDIT_QUEUE + 1, 1));
        assert_eq!(queue.take(2), [(1, pair("a", 1)), (3, audit(1))]);
    }

    #[test]
    fn audit_entries_that_come_back_stay_in_order_and_within_the_bound() {
        let mut queue = Queue::default();
        queue.push(audit(1));
        queue.push(audit(2));
        let taken = queue.take(2);
        queue.push(audit(3));
        queue.put_back(taken);
        assert_eq!(queue.take(1), [(1, audit(1))]);
        let taken = queue.take(1);
        for n in 0..AUDIT_QUEUE as u64 {
            queue.push(audit(n));
        }
        assert_eq!(queue.audit_lost(), 1);
        queue.put_back(taken);
        assert_eq!((queue.len(), queue.audit_lost()), (AUDIT_QUEUE, 2));
    }
}
