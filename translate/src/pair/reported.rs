//! Which late errors the SIP user was told of, so that nobody can make him hear of one twice.
//!
//! The id of a stanza is good for a day, and whoever got it can send it back as often as he likes. What is kept is
//! bounded all the same: the latest few reports exactly, and of everything before them only where it ends. An
//! id from before that line counts as reported.

use std::time::{Duration, SystemTime};

use crate::Moment;
use crate::stanza_id::StanzaId;

/// How long after a message an error about it still reaches its sender.
pub const LATEST_ERROR: Duration = Duration::from_secs(24 * 3600);
/// Reports kept exactly. Partners report in about the order in which the messages were sent, so more is hardly
/// ever needed: an error is missed only if this many about later messages came before it.
const EXACT: usize = 64;

/// A message by its place in time. The number alone starts again with the process.
type Mark = (SystemTime, u64);

/// Reports of one pair. Takes nothing on the heap before the first.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// Everything up to here counts as reported.
    floor: Option<Mark>,
    /// The latest reports, in order; all above the floor.
    latest: Vec<Mark>,
}

impl Reported {
    /// Whether this is the first report of the message sent under `id`; from now on it is not.
    pub(super) fn first(&mut self, id: &StanzaId) -> bool {
        let mark = (id.sent, id.sequence);
        if self.floor.is_some_and(|floor| mark <= floor) {
            return false;
        }
        let Err(place) = self.latest.binary_search(&mark) else { return false };
        self.latest.insert(place, mark);
        if self.latest.len() > EXACT {
            self.floor = Some(self.latest.remove(0));
        }
        true
    }

    /// How long the ids it knows can still come back; `None` when they all are too old to count.
    pub(super) fn needed_for(&self, now: Moment) -> Option<Duration> {
        let (sent, _) = self.latest.last()?;
        let left = sent.checked_add(LATEST_ERROR)?.duration_since(now.wall()).ok()?;
        Some(left.min(LATEST_ERROR)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::stanza_id::Kind;

    fn id(second: u64, sequence: u64) -> StanzaId {
        let sent = UNIX_EPOCH + Duration::from_secs(second);
        StanzaId { label: "n1".into(), kind: Kind::Message, sequence, sent }
    }

    #[test]
    fn each_message_is_reported_once_in_whatever_order() {
        let mut reported = Reported::default();
        for (second, sequence) in [(5, 50), (3, 30), (9, 2), (5, 51)] {
            assert!(reported.first(&id(second, sequence)), "{second} {sequence}");
            assert!(!reported.first(&id(second, sequence)), "{second} {sequence}");
        }
        for (second, sequence) in [(5, 50), (3, 30), (9, 2), (5, 51)] {
            assert!(!reported.first(&id(second, sequence)), "{second} {sequence}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_nothing_is_ever_reported_twice() {
        let mut reported = Reported::default();
        let all = 10 * EXACT as u64;
        for sequence in 0..all {
            assert!(reported.first(&id(sequence, sequence)));
        }
        assert_eq!(reported.latest.len(), EXACT);
        assert!((0..all).all(|sequence| !reported.first(&id(sequence, sequence))));
    }

    #[test]
    fn an_error_may_be_late_by_as_many_as_are_kept_and_not_by_one_more() {
        let late = |others: u64| {
            let mut reported = Reported::default();
            (1..=others).for_each(|sequence| assert!(reported.first(&id(sequence, sequence))));
            reported.first(&id(0, 0))
        };
        assert!(late(EXACT as u64));
        assert!(!late(EXACT as u64 + 1));
    }

    #[test]
    fn needed_as_long_as_an_id_can_come_back() {
        let mut reported = Reported::default();
        let at = |second: u64| Moment { instant: std::time::Instant::now(), unix_ms: second * 1000 };
        assert_eq!(reported.needed_for(at(100)), None);
        reported.first(&id(100, 1));
        assert_eq!(reported.needed_for(at(100)), Some(LATEST_ERROR));
        assert_eq!(reported.needed_for(at(100 + 86_399)), Some(Duration::from_secs(1)));
        assert_eq!(reported.needed_for(at(100 + 86_400)), None);
    }
}
