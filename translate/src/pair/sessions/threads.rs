//! Threads of conversations, beyond the sessions they were held in (DEC-24).
//!
//! A session without messages ends after a while, and the window of the conversation stays open. What is said there next comes in
//! another session, with another Call-ID and the same `Ms-Conversation-ID`: for the contact it is the same thread. That a
//! session of ours has an id of its own each time does not matter: each is remembered.

use std::time::{Duration, Instant};

use compact_str::CompactString;

/// Conversations that a pair remembers; one more takes the place of the one that was used least recently.
pub const MOST_CONVERSATIONS: usize = 8;
/// How long one is remembered after it was used.
pub const CONVERSATION_LASTS: Duration = Duration::from_secs(24 * 3600);
/// Longest id that is remembered, in octets: those in use are GUIDs, numbers and Base64 of a few bytes.
const ID_MAX: usize = 128;

/// The last one used is the last.
#[derive(Debug, Default)]
pub(super) struct Threads(Vec<Known>);

#[derive(Debug)]
struct Known {
    id: CompactString,
    thread: CompactString,
    used: Instant,
}

impl Threads {
    /// A session of this conversation begins or ends.
    pub(super) fn note(&mut self, id: Option<&str>, thread: &CompactString, now: Instant) {
        let Some(id) = id.filter(|id| id.len() <= ID_MAX) else { return };
        self.0.retain(|known| known.id != id && known.lasts(now));
        if self.0.len() >= MOST_CONVERSATIONS {
            self.0.remove(0);
        }
        self.0.push(Known { id: id.into(), thread: thread.clone(), used: now });
    }

    /// The thread of a conversation.
    pub(super) fn of(&self, id: Option<&str>, now: Instant) -> Option<&CompactString> {
        let known = self.0.iter().find(|known| id.is_some_and(|id| known.id == id))?;
        known.lasts(now).then_some(&known.thread)
    }

    /// How long any of it may still be of use.
    pub(super) fn needed_for(&self, now: Instant) -> Option<Duration> {
        let until = self.0.last()?.used + CONVERSATION_LASTS;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

impl Known {
    fn lasts(&self, now: Instant) -> bool {
        now < self.used + CONVERSATION_LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize, now: Instant) -> Threads {
        let mut threads = Threads::default();
        for number in 0..count {
            threads.note(Some(&number.to_string()), &format!("thread {number}").into(), now);
        }
        threads
    }

    #[test]
    fn dec_24_so_many_are_remembered_and_the_one_used_least_recently_makes_room() {
        let now = Instant::now();
        let mut threads = numbered(MOST_CONVERSATIONS, now);
        assert_eq!(threads.of(Some("0"), now).map(CompactString::as_str), Some("thread 0"));
        threads.note(Some("0"), &"thread 0".into(), now);
        threads.note(Some("one more"), &"t".into(), now);
        assert!(threads.of(Some("0"), now).is_some() && threads.of(Some("one more"), now).is_some());
        assert_eq!((threads.of(Some("1"), now), threads.0.len()), (None, MOST_CONVERSATIONS));
    }

    #[test]
    fn one_is_forgotten_a_day_after_it_was_used() {
        let now = Instant::now();
        let threads = numbered(1, now);
        let last = now + CONVERSATION_LASTS - Duration::from_secs(1);
        assert!(threads.of(Some("0"), last).is_some());
        assert_eq!(threads.needed_for(last), Some(Duration::from_secs(1)));
        let over = now + CONVERSATION_LASTS;
        assert_eq!((threads.of(Some("0"), over), threads.needed_for(over)), (None, None));
    }

    #[test]
    fn an_id_too_long_is_not_remembered_and_none_is_nobodys() {
        let now = Instant::now();
        let mut threads = Threads::default();
        threads.note(Some(&"x".repeat(ID_MAX)), &"fits".into(), now);
        threads.note(Some(&"y".repeat(ID_MAX + 1)), &"does not".into(), now);
        threads.note(None, &"has none".into(), now);
        assert_eq!((threads.0.len(), threads.of(None, now)), (1, None));
        assert_eq!(threads.of(Some(&"x".repeat(ID_MAX)), now).map(CompactString::as_str), Some("fits"));
    }
}
