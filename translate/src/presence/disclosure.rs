use std::hash::Hasher;

use compact_str::CompactString;
use siphasher::sip::SipHasher24;

use super::model::{Availability, Resource, Show};
use super::notes::Note;
use super::pidf;
use crate::judge::PartnerType;

/// How much of a SIP user's presence a partner gets. `docs/trust.md` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disclosure {
    /// Show, priority, note or activity text, idle time where that is switched on.
    Full,
    /// As `Full`, without note and activity text: for a partner that takes no stanza as large as with them.
    Brief,
    /// Show and priority; no text of anybody's, not even as the name of a resource.
    BasicOnly,
}

/// What of a resource may be shown: all that a stanza is written from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visible<'a> {
    pub(super) show: Option<Show>,
    pub(super) priority: Option<i8>,
    pub(super) notes: &'a [Note],
    /// Shown where there is no note.
    pub(super) activity_text: Option<&'a str>,
    pub(super) idle_since: Option<u64>,
}

impl Disclosure {
    /// What users of such a partner get.
    pub fn to(partner: PartnerType) -> Self {
        match partner {
            PartnerType::Federated => Self::Full,
            PartnerType::PublicVerified | PartnerType::PublicUnverified => Self::BasicOnly,
        }
    }

    /// The same without what makes stanzas large.
    pub fn brief(self) -> Self {
        match self {
            Self::Full | Self::Brief => Self::Brief,
            Self::BasicOnly => Self::BasicOnly,
        }
    }

    /// The name under which a resource is shown. Ids of tuples are text too: whoever gets no text gets a hash.
    pub fn name(self, id: &str) -> CompactString {
        match self {
            Self::BasicOnly if !id.is_empty() => pidf::opaque(id),
            _ => id.into(),
        }
    }

    pub(super) fn of(self, resource: &Resource) -> Visible<'_> {
        // `unavailable` has neither show nor priority (PM-22), and who is gone is not idle.
        let open = resource.availability == Availability::Open;
        let (show, priority) = if open { (resource.show, resource.priority) } else { (None, None) };
        let idle_since = resource.idle_since().filter(|_| open);
        match self {
            Self::Full => Visible {
                show,
                priority,
                notes: resource.notes().as_slice(),
                activity_text: resource.activity_text(),
                idle_since,
            },
            Self::Brief => Visible { show, priority, notes: &[], activity_text: None, idle_since },
            Self::BasicOnly => Visible { show, priority, notes: &[], activity_text: None, idle_since: None },
        }
    }
}

impl<'a> Visible<'a> {
    /// Language and text of each `<status/>`: the notes, or the activity in words.
    pub(super) fn texts(self) -> impl Iterator<Item = (Option<&'a str>, &'a str)> {
        let activity = self.activity_text.filter(|_| self.notes.is_empty());
        let notes = self.notes.iter().map(|note| (note.lang.as_deref(), note.text.as_str()));
        notes.chain(activity.map(|text| (None, text)))
    }

    /// There is nothing but that he is available, or not.
    pub(super) fn is_empty(&self) -> bool {
        self.show.is_none()
            && self.priority.is_none()
            && self.idle_since.is_none()
            && self.texts().next().is_none()
    }

    /// The language of every text, if it is one.
    pub(super) fn language(self) -> Option<&'a str> {
        let mut languages = self.texts().map(|(lang, _)| lang);
        let first = languages.next()??;
        languages.all(|lang| lang == Some(first)).then_some(first)
    }

    /// Tells states apart that look different; never 0.
    pub(super) fn print(self) -> u64 {
        let mut hasher = SipHasher24::new();
        hasher.write_u8(self.show.map_or(0, |show| 1 + show as u8));
        hasher.write_i16(self.priority.map_or(i16::MAX, i16::from));
        hasher.write_u64(self.idle_since.unwrap_or(u64::MAX));
        for (lang, text) in self.texts() {
            for part in [lang.unwrap_or_default(), text] {
                hasher.write(part.as_bytes());
                // In no UTF-8.
                hasher.write_u8(0xff);
            }
        }
        hasher.finish() | 1
    }
}
