//! What SIP users want to know of the messages they sent (RFC 5438), and what can be said of them by now; and which messages
//! of contacts somebody on the SIP side keeps, who may yet say that they came to nothing.
//!
//! The former is kept for as long as an error about a message could still come. Both in memory only: after a restart nobody
//! is asked any more, and failures are told in words.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use compact_str::CompactString;
use nuncio_xmpp::Element;

use super::{LATEST_ERROR, Notice};
use crate::Moment;
use crate::receipt::imdn::Wishes;
use crate::receipt::{Fate, ID_MAX};
use crate::stanza_id::StanzaId;

/// Messages of one pair whose senders want to know; one more ends the wait for the oldest.
pub const MOST_AWAITED: usize = 32;
/// Word to the SIP user that waits to be sent, of one pair.
pub const MOST_REPORTS: usize = 64;

/// Messages of one contact to one SIP user of whose fate there may be word after 202; one more ends the wait for the oldest.
pub const MOST_KEPT: usize = 32;
/// How long such word counts.
pub const KEPT_FOR: Duration = Duration::from_secs(3600);

/// A message whose sender wants to know what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// As in the id of its stanza.
    pub sequence: u64,
    /// The same; to the millisecond.
    pub sent: SystemTime,
    /// Of the session that it came in, if it came in one.
    pub thread: Option<CompactString>,
    pub wishes: Wishes<'static>,
}

/// Word to the SIP user about one message of his.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub fate: Fate,
    /// As he named the message.
    pub message_id: CompactString,
    /// When he wrote it, in his own words.
    pub date_time: CompactString,
    /// Of the session that the message came in, if it came in one.
    pub thread: Option<CompactString>,
    /// A failure: what he is told in words if this reaches nobody.
    pub instead: Option<Notice>,
}

/// What became of word about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Nobody wants to know.
    Nobody,
    /// It will be told.
    Queued,
    /// Too much waits to be told.
    NoRoom,
}

/// The messages of one pair whose senders want to know. Takes nothing on the heap before the first.
#[derive(Debug, Default)]
pub(super) struct Awaited(VecDeque<Ask>);

impl Awaited {
    pub(super) fn add(&mut self, ask: Ask) {
        if self.0.len() >= MOST_AWAITED {
            self.0.pop_front();
        }
        self.0.push_back(ask);
    }

    pub(super) fn forget(&mut self, sequence: u64) {
        self.0.retain(|ask| ask.sequence != sequence);
    }

    /// This became of the message sent under `id`; what its sender wants to hear of it, once.
    pub(super) fn told(&mut self, id: &StanzaId, fate: Fate) -> Option<Report> {
        let at = self.0.iter().position(|ask| ask.sequence == id.sequence && ask.sent == id.sent)?;
        let ask = self.0.get_mut(at)?;
        // What was answered otherwise is forgotten by now.
        let report = ask.wishes.includes(fate, 200).then(|| Report {
            fate,
            message_id: (*ask.wishes.message_id).into(),
            date_time: (*ask.wishes.date_time).into(),
            thread: ask.thread.clone(),
            instead: None,
        });
        match fate {
            Fate::Unknown => {}
            Fate::Delivered => (ask.wishes.delivered, ask.wishes.failed) = (false, false),
            Fate::Displayed | Fate::Failed => ask.wishes = Wishes::default(),
        }
        if !ask.wishes.any() {
            self.0.remove(at);
        }
        report
    }

    /// How long something can still be said of any of them; `None` if that time is over.
    pub(super) fn needed_for(&self, now: Moment) -> Option<Duration> {
        let last = self.0.back()?;
        let left = last.sent.checked_add(LATEST_ERROR)?.duration_since(now.wall()).ok()?;
        Some(left.min(LATEST_ERROR)).filter(|left| !left.is_zero())
    }
}

/// Messages of the contact that were answered with 202 and an id: what is left of them, for whoever has to answer. Takes
/// nothing on the heap before the first.
#[derive(Debug, Default)]
pub(super) struct Kept(VecDeque<(CompactString, Element, Instant)>);

impl Kept {
    pub(super) fn add(&mut self, message_id: &str, stanza: Element, now: Instant) {
        if message_id.is_empty() || message_id.len() > ID_MAX {
            return;
        }
        if self.0.len() >= MOST_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((message_id.into(), stanza, now));
    }

    /// Takes out the message that was given this id, unless it is too late.
    pub(super) fn take(&mut self, message_id: &str, now: Instant) -> Option<Element> {
        let at = self.0.iter().position(|(id, ..)| id == message_id)?;
        let (_, stanza, since) = self.0.remove(at)?;
        (now < since + KEPT_FOR).then_some(stanza)
    }

    /// How long word can still come of any of them; `None` if that time is over.
    pub(super) fn needed_for(&self, now: Instant) -> Option<Duration> {
        let (.., since) = self.0.back()?;
        Some((*since + KEPT_FOR).saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::stanza_id::Kind;

    fn sent(sequence: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000 + sequence)
    }

    fn id(sequence: u64) -> StanzaId {
        StanzaId { label: "n1".into(), kind: Kind::Message, sequence, sent: sent(sequence) }
    }

    fn ask(sequence: u64, (delivered, failed, displayed): (bool, bool, bool)) -> Ask {
        let wishes = Wishes {
            message_id: format!("m{sequence}").into(),
            date_time: "then".into(),
            delivered,
            failed,
            displayed,
        };
        Ask { sequence, sent: sent(sequence), thread: None, wishes }
    }

    /// What is told of one message when this is heard of it.
    fn told(wishes: (bool, bool, bool), heard: &[Fate]) -> Vec<Fate> {
        let mut awaited = Awaited::default();
        awaited.add(ask(1, wishes));
        heard.iter().filter_map(|&fate| awaited.told(&id(1), fate)).map(|report| report.fate).collect()
    }

    #[test]
    fn im_41_what_is_wished_is_told_once_and_nothing_else() {
        use Fate::{Delivered, Displayed, Failed};
        for (wishes, heard, expected) in [
            (
                (true, true, true),
                &[Delivered, Delivered, Displayed, Displayed][..],
                &[Delivered, Displayed][..],
            ),
            ((true, true, false), &[Failed, Delivered], &[Failed]),
            ((true, true, false), &[Delivered, Failed], &[Delivered]),
            ((false, true, false), &[Displayed, Delivered, Failed], &[]),
            ((true, false, true), &[Displayed, Delivered], &[Displayed]),
            ((false, false, true), &[Fate::Unknown, Delivered, Displayed], &[Displayed]),
            ((true, false, false), &[Failed], &[]),
        ] {
            assert_eq!(told(wishes, heard), expected, "{wishes:?} {heard:?}");
        }
    }

    #[test]
    fn im_41_only_the_message_named_is_spoken_of() {
        let mut awaited = Awaited::default();
        awaited.add(ask(1, (true, false, false)));
        awaited.add(ask(2, (true, false, false)));
        assert_eq!(awaited.told(&id(3), Fate::Delivered), None);
        assert_eq!(
            awaited.told(&StanzaId { sent: sent(9), ..id(1) }, Fate::Delivered),
            None,
            "of another process"
        );
        assert_eq!(awaited.told(&id(2), Fate::Delivered).unwrap().message_id, "m2");
        awaited.forget(1);
        assert_eq!(awaited.told(&id(1), Fate::Delivered), None, "it was refused");
    }

    #[test]
    fn im_41_what_is_remembered_is_bounded() {
        let kept = |count: u64| {
            let mut awaited = Awaited::default();
            (1..=count).for_each(|sequence| awaited.add(ask(sequence, (true, false, false))));
            awaited.told(&id(1), Fate::Delivered).is_some()
        };
        assert!(kept(MOST_AWAITED as u64));
        assert!(!kept(MOST_AWAITED as u64 + 1), "the oldest goes");
    }

    #[test]
    fn im_41_what_is_remembered_expires() {
        let at = |second: u64| Moment { instant: Instant::now(), unix_ms: second * 1000 };
        let mut awaited = Awaited::default();
        assert_eq!(awaited.needed_for(at(1001)), None);
        awaited.add(ask(1, (true, false, false)));
        assert_eq!(awaited.needed_for(at(1001)), Some(LATEST_ERROR));
        assert_eq!(awaited.needed_for(at(1001 + 86_399)), Some(Duration::from_secs(1)));
        assert_eq!(awaited.needed_for(at(1001 + 86_400)), None);
    }

    fn stanza() -> Element {
        Element::new("message", "jabber:server")
    }

    #[test]
    fn im_41_what_somebody_keeps_is_remembered_for_an_hour_and_told_of_once() {
        let now = Instant::now();
        let mut kept = Kept::default();
        assert_eq!(kept.needed_for(now), None);
        kept.add("m1", stanza(), now);
        kept.add("m2", stanza(), now);
        assert_eq!(kept.needed_for(now), Some(KEPT_FOR));
        assert!(kept.take("other", now).is_none());
        assert!(kept.take("m1", now + KEPT_FOR - Duration::from_secs(1)).is_some());
        assert!(kept.take("m1", now).is_none(), "once");
        assert!(kept.take("m2", now + KEPT_FOR).is_none());
        assert_eq!(kept.needed_for(now + KEPT_FOR), None);
    }

    #[test]
    fn im_41_what_is_remembered_of_kept_messages_is_bounded() {
        let now = Instant::now();
        let first_kept = |count: usize| {
            let mut kept = Kept::default();
            (0..count).for_each(|number| kept.add(&format!("m{number}"), stanza(), now));
            kept.take("m0", now).is_some()
        };
        assert!(first_kept(MOST_KEPT));
        assert!(!first_kept(MOST_KEPT + 1));
        let long = |length: usize| {
            let mut kept = Kept::default();
            kept.add(&"x".repeat(length), stanza(), now);
            kept.needed_for(now).is_some()
        };
        assert_eq!((long(0), long(ID_MAX), long(ID_MAX + 1)), (false, true, false));
    }
}
