use std::hash::Hasher;

use compact_str::CompactString;
use siphasher::sip::SipHasher24;

use super::model::{Availability, Resource, Show};
use super::notes::Note;
use crate::judge::PartnerType;

/// How much of a SIP user's presence a partner gets. `docs/trust.md` has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disclosure {
    /// Show, priority, note or activity text, idle time where that is switched on.
    Full,
    /// As `Full`, without note and activity text: for a partner that takes no stanza as large as with them.
    Brief,
    /// Show and priority; no text of anybody's, not even as the name of a resource.
    BasicOnly(Veil),
}

/// What hides the names of resources from public partners: they see hashes under a key that only we have, and that is another
/// one for each pair. Nobody can look up a hash in a list of likely names, nor find the same device with two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Veil([u8; 16]);

impl Veil {
    /// For the pair of this name, with our key.
    pub fn of(key: &[u8; 16], pair: &str) -> Self {
        let half = |which: u8| {
            let mut hasher = SipHasher24::new_with_key(key);
            hasher.write_u8(which);
            hasher.write(pair.as_bytes());
            hasher.finish().to_le_bytes()
        };
        let mut veil = [0; 16];
        let halves = [half(1), half(2)];
        veil.iter_mut().zip(halves.as_flattened()).for_each(|(byte, made)| *byte = *made);
        Self(veil)
    }

    fn name(self, id: &str) -> CompactString {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(id.as_bytes());
        compact_str::format_compact!("{:016x}", hasher.finish())
    }
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
    pub fn to(partner: PartnerType, veil: impl FnOnce() -> Veil) -> Self {
        match partner {
            PartnerType::Federated => Self::Full,
            PartnerType::PublicVerified | PartnerType::PublicUnverified => Self::BasicOnly(veil()),
        }
    }

    /// The same without what makes stanzas large.
    pub fn brief(self) -> Self {
        match self {
            Self::Full | Self::Brief => Self::Brief,
            Self::BasicOnly(veil) => Self::BasicOnly(veil),
        }
    }

    /// The name under which a resource is shown. Ids of tuples are text too: whoever gets no text gets a hash.
    pub fn name(self, id: &str) -> CompactString {
        match self {
            Self::BasicOnly(veil) if !id.is_empty() => veil.name(id),
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
            Self::BasicOnly(_) => {
                Visible { show, priority, notes: &[], activity_text: None, idle_since: None }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_device_is_the_same_for_one_pair_and_tells_nothing_to_another() {
        let name = |key: u8, pair: &str, id: &str| Disclosure::BasicOnly(Veil::of(&[key; 16], pair)).name(id);
        let first = name(1, "alice@contoso.example eve@public.example", "desk");
        assert_eq!(first, name(1, "alice@contoso.example eve@public.example", "desk"));
        for other in [
            name(1, "alice@contoso.example eve@public.example", "phone"),
            name(1, "alice@contoso.example mallory@public.example", "desk"),
            name(1, "carol@contoso.example eve@public.example", "desk"),
            name(2, "alice@contoso.example eve@public.example", "desk"),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(name(1, "", ""), "", "the bare JID");
        assert_eq!(Disclosure::Full.name("desk"), "desk");
    }
}
