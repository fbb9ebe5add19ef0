//! What is stored of a pair, and what waits for it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;

use super::PairRecord;

/// Keeps the record in the store up to date. A step marks what it changed; the next poll makes one record of all
/// of it.
#[derive(Debug, Default)]
pub(super) struct Saved {
    dirty: bool,
    /// Something waits for the next record, so it has to be made even if it says the same as the last one.
    awaited: bool,
    /// Of the last record given out.
    ticket: u64,
    committed: u64,
    /// Fingerprint of the stored record; 0: nothing is stored.
    print: u64,
    /// When the SIP user last wrote, as stored. Nobody did in 1970.
    wrote: Option<NonZeroU64>,
}

/// Tickets that one pair may give out before they reach those of the next one that is made.
const TICKETS: u32 = 1 << 24;

/// How far the stored time of the SIP user's last message may lag behind, in seconds: messages are not worth a write
/// to disk each. A restart may shorten the time for replies by so much.
const WROTE_LAG: u64 = 3600;

impl Saved {
    /// The record of an earlier process, as it was read. That its dialogs have jumped ahead with their `CSeq` is stored
    /// when it takes up its work, before it says anything.
    pub(super) fn restored(record: &PairRecord) -> Self {
        Self { print: print(record), wrote: wrote(record), ..Self::default() }
    }

    /// Of the pair with this number: its tickets are larger than those of all with a lower one, so that word of what an
    /// earlier pair of the same name gave to the store releases nothing here.
    pub(super) fn numbered(number: u64) -> Self {
        let ticket = number.saturating_mul(u64::from(TICKETS));
        Self { ticket, committed: ticket, ..Self::default() }
    }

    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// The ticket of the record that will hold what has changed up to now.
    pub(super) fn awaited(&mut self) -> u64 {
        self.dirty = true;
        self.awaited = true;
        self.ticket + 1
    }

    /// The ticket of the last record that holds anything new; what has changed since is in the next one. Nothing is written
    /// for its sake alone: who repeats himself costs no write.
    pub(super) fn up_to_now(&mut self) -> u64 {
        if self.dirty { self.awaited() } else { self.ticket }
    }

    /// Whether an order may go that waits for `ticket`.
    pub(super) fn has(&self, ticket: u64) -> bool {
        ticket <= self.committed
    }

    pub(super) fn committed(&mut self, ticket: u64) {
        self.committed = self.committed.max(ticket.min(self.ticket));
    }

    /// Whether the stored time of the SIP user's last message is too old.
    pub(super) fn wrote_lags(&self, now: u64) -> bool {
        self.wrote.is_none_or(|wrote| wrote.get().saturating_add(WROTE_LAG) <= now)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Nothing is stored, and nothing is to be.
    pub(super) fn is_nothing(&self) -> bool {
        !self.dirty && self.print == 0
    }

    /// The next record to store, if there is one.
    pub(super) fn next(&mut self, record: PairRecord) -> Option<(u64, Option<Box<PairRecord>>)> {
        self.dirty = false;
        let print = print(&record);
        if !std::mem::take(&mut self.awaited) && print == self.print {
            return None;
        }
        self.print = print;
        self.wrote = wrote(&record);
        self.ticket += 1;
        Some((self.ticket, (print != 0).then(|| Box::new(record))))
    }
}

fn wrote(record: &PairRecord) -> Option<NonZeroU64> {
    record.sip_user_wrote.and_then(NonZeroU64::new)
}

/// 0: an empty record. `CSeq` numbers do not count: restored dialogs jump ahead, and the jump is stored.
fn print(record: &PairRecord) -> u64 {
    if record.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    let added = record.added.map(|added| (added.since, added.last_subscribe));
    (added, record.sip_user_wrote, record.to, record.from, record.from_since, &record.shown)
        .hash(&mut hasher);
    if let Some(subscriber) = &record.subscriber {
        (&subscriber.dialog.local_tag, &subscriber.dialog.remote_tag, &subscriber.dialog.remote_target)
            .hash(&mut hasher);
        (subscriber.expires_at, &subscriber.front_end).hash(&mut hasher);
    }
    for notifier in &record.notifiers {
        let dialog = &notifier.dialog;
        (&dialog.local_tag, &dialog.remote_target, notifier.expires_at, &notifier.front_end)
            .hash(&mut hasher);
    }
    hasher.finish() | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(at: u64) -> PairRecord {
        PairRecord { sip_user_wrote: Some(at), ..PairRecord::default() }
    }

    #[test]
    fn the_same_record_is_stored_once_and_an_empty_one_is_forgotten() {
        let mut saved = Saved::default();
        saved.touch();
        assert_eq!(saved.next(written(5)), Some((1, Some(Box::new(written(5))))));
        saved.touch();
        assert_eq!(saved.next(written(5)), None);
        assert!(!saved.is_nothing());
        saved.touch();
        assert_eq!(saved.next(PairRecord::default()), Some((2, None)));
        assert!(saved.is_nothing());
    }

    #[test]
    fn what_waits_is_released_by_the_record_that_follows_it() {
        let mut saved = Saved::default();
        let first = saved.awaited();
        assert!(saved.next(written(5)).is_some());
        saved.committed(first + 7);
        assert!(saved.has(first) && !saved.has(first + 1), "no ticket is committed that was not given out");
        let second = saved.awaited();
        assert!(!saved.has(second));
        assert!(saved.next(written(5)).is_some(), "although it says the same");
        saved.committed(second);
        assert!(saved.has(second));
    }

    #[test]
    fn what_changes_nothing_waits_for_what_is_under_way_and_writes_nothing() {
        let mut saved = Saved::default();
        saved.touch();
        let first = saved.up_to_now();
        assert!(saved.next(written(5)).is_some());
        assert_eq!(saved.up_to_now(), first);
        assert!(!saved.is_dirty() && !saved.has(first));
        saved.committed(first);
        let again = saved.up_to_now();
        assert!(saved.has(again));
    }

    #[test]
    fn a_ticket_of_an_earlier_pair_releases_nothing() {
        let mut earlier = Saved::numbered(1);
        earlier.next(written(5));
        let (last, _) = earlier.next(PairRecord::default()).unwrap();
        let mut later = Saved::numbered(2);
        assert!(later.has(0), "what waits for nothing does not wait");
        let first = later.awaited();
        later.next(written(5));
        later.committed(last);
        assert!(!later.has(first));
        later.committed(first);
        assert!(later.has(first));
    }

    #[test]
    fn the_last_message_is_stored_once_an_hour() {
        let mut saved = Saved::default();
        assert!(saved.wrote_lags(1000));
        saved.next(written(1000));
        assert!(!saved.wrote_lags(1000 + WROTE_LAG - 1));
        assert!(saved.wrote_lags(1000 + WROTE_LAG));
    }
}
