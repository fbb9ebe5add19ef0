//! What a SIP user still has to be told about messages he sent.

use std::collections::VecDeque;
use std::time::SystemTime;

use compact_str::CompactString;
use nuncio_xmpp::stanza::Condition;

/// Different notices kept at a time. Conditions and reporters are few, so more is hardly ever seen; what
/// exceeds it is gathered in one notice of [`Cause::Several`].
const MOST: usize = 32;

/// Why messages did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The stream ended before the partner had proved that it processed them.
    MayBeLost,
    /// The partner sent a stanza error.
    Error {
        condition: Condition,
        /// Who reported it: the `by` attribute, else the address the error came from.
        by: CompactString,
    },
    /// Different reasons, too many to tell apart.
    Several,
}

/// Word to the SIP user about one message, or several that shared a fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub cause: Cause,
    /// When the first of the messages was sent.
    pub first_sent: SystemTime,
    /// When the last of them was sent.
    pub last_sent: SystemTime,
    /// How many there are.
    pub count: u32,
}

impl Notice {
    /// A notice about one message.
    pub fn new(cause: Cause, sent: SystemTime) -> Self {
        Self { cause, first_sent: sent, last_sent: sent, count: 1 }
    }

    fn merge(&mut self, other: &Self) {
        self.first_sent = self.first_sent.min(other.first_sent);
        self.last_sent = self.last_sent.max(other.last_sent);
        self.count = self.count.saturating_add(other.count);
    }
}

/// Notices waiting to be sent, those with the same cause merged into one.
#[derive(Debug, Default)]
pub(super) struct Notices(VecDeque<Notice>);

impl Notices {
    pub(super) fn add(&mut self, notice: Notice) {
        if let Some(same) = self.0.iter_mut().rev().find(|waiting| waiting.cause == notice.cause) {
            same.merge(&notice);
        } else if self.0.len() < MOST {
            self.0.push_back(notice);
        } else if let Some(last) = self.0.back_mut() {
            last.cause = Cause::Several;
            last.merge(&notice);
        }
    }

    pub(super) fn take(&mut self) -> Option<Notice> {
        self.0.pop_front()
    }

    /// Messages they speak of.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|notice| u64::from(notice.count)).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn error(by: &str) -> Cause {
        Cause::Error { condition: Condition::ItemNotFound, by: by.into() }
    }

    #[test]
    fn what_shares_a_cause_is_told_once_with_count_and_times() {
        let mut notices = Notices::default();
        notices.add(Notice::new(Cause::MayBeLost, at(20)));
        notices.add(Notice::new(error("a.example"), at(21)));
        notices.add(Notice::new(Cause::MayBeLost, at(10)));
        assert_eq!(
            notices.take(),
            Some(Notice { cause: Cause::MayBeLost, first_sent: at(10), last_sent: at(20), count: 2 })
        );
        assert_eq!(notices.take(), Some(Notice::new(error("a.example"), at(21))));
        assert_eq!(notices.take(), None);
    }

    #[test]
    fn bounded_and_nothing_goes_uncounted() {
        let mut notices = Notices::default();
        for number in 0..100 {
            notices.add(Notice::new(error(&format!("{number}.example")), at(number)));
        }
        let all: Vec<_> = std::iter::from_fn(|| notices.take()).collect();
        assert_eq!(all.len(), MOST);
        assert_eq!(all.iter().map(|notice| notice.count).sum::<u32>(), 100);
        assert_eq!(all.last().map(|notice| &notice.cause), Some(&Cause::Several));
    }
}
