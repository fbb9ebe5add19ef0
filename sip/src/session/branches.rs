//! What the branches of a forked INVITE say before any of them has accepted.
//!
//! A request may overtake the 2xx on another connection. Each branch is a dialog of its own, with numbers of its own (RFC
//! 3261 §12.2.2); whose numbers count is known when one accepts.

use compact_str::CompactString;
use smallvec::SmallVec;

use super::MAX_FORKS;
use crate::Message;
use crate::dialog::Order;

/// The tags that were heard, each with its last CSeq.
#[derive(Debug, Default)]
pub(super) struct Branches(SmallVec<[(CompactString, u32); 1]>);

impl Branches {
    /// The number of the last request with this tag.
    pub(super) fn last(&self, tag: &str) -> Option<u32> {
        self.0.iter().find(|(known, _)| known == tag).map(|(_, last)| *last)
    }

    /// Where a request with this number stands among those with its tag.
    pub(super) fn order(&self, tag: &str, number: u32) -> Order {
        Order::of(number, self.last(tag))
    }

    /// No further one is listened to.
    pub(super) fn are_too_many_with(&self, tag: &str) -> bool {
        self.0.len() >= MAX_FORKS && self.last(tag).is_none()
    }

    pub(super) fn noted(&mut self, request: &Message) {
        let (Some(tag), Ok(cseq)) = (request.from_tag(), request.cseq()) else { return };
        match self.0.iter_mut().find(|(known, _)| known == tag) {
            Some((_, last)) => *last = cseq.number,
            None => self.0.push((tag.into(), cseq.number)),
        }
    }
}
