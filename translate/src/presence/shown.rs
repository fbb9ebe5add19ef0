use compact_str::CompactString;
use smallvec::SmallVec;

use super::disclosure::Disclosure;
use super::model::{Presentity, Resource};

/// What a contact has been shown of a SIP user: names of resources, and a fingerprint of what was sent for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: CompactString,
    /// Of the stanza; 0: unknown, so that it is sent again.
    print: u64,
}

/// One stanza for the contact; [`to_xmpp::write_update`](super::to_xmpp::write_update) writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update<'a> {
    /// The resource is available, like this.
    Available {
        /// The resource as the contact sees it; empty: the bare JID.
        name: CompactString,
        /// Its state.
        resource: &'a Resource,
    },
    /// The resource is gone; others are not.
    Unavailable {
        /// The resource as the contact saw it.
        name: CompactString,
    },
    /// Everything is gone: from the bare JID (PM-21). The resource says why, if one does.
    AllUnavailable {
        /// The closed tuple.
        resource: Option<&'a Resource>,
    },
}

impl Update<'_> {
    /// The resource the stanza comes from, empty for the bare JID: a newer stanza of the same one makes this one
    /// superfluous, and [`Shown::lost`] wants to know it.
    pub fn name(&self) -> &str {
        match self {
            Self::Available { name, .. } | Self::Unavailable { name } => name,
            Self::AllUnavailable { .. } => "",
        }
    }
}

/// What one change leads to.
pub type Updates<'a> = SmallVec<[Update<'a>; 2]>;

impl Shown {
    /// The resources under which a contact sees the user, from a record; what exactly he saw is not known.
    pub fn from_names(names: impl IntoIterator<Item = CompactString>) -> Self {
        Self(names.into_iter().map(|name| Entry { name, print: 0 }).collect())
    }

    /// The resources under which the contact sees the user as available: for the record.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &CompactString> {
        self.0.iter().map(|entry| &entry.name)
    }

    /// The contact sees the user as unavailable.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the contact is to be sent so that he sees `now`, as far as `disclosure` lets him; it counts as shown from here
    /// on. Nothing if he sees it already.
    pub fn update<'a>(&mut self, now: &'a Presentity, disclosure: Disclosure) -> Updates<'a> {
        let _ = (now, disclosure);
        Updates::new()
    }

    /// What an available contact who asks is to be sent: everything, whether he has seen it or not (PR-14, XI-05). Also
    /// takes back what is no longer so.
    pub fn all<'a>(&mut self, now: &'a Presentity, disclosure: Disclosure) -> Updates<'a> {
        self.0.iter_mut().for_each(|entry| entry.print = 0);
        self.update(now, disclosure)
    }

    /// Takes everything back: one `unavailable` for each resource (XI-06, XI-07). Afterwards nothing is shown.
    pub fn withdraw(&mut self) -> Updates<'static> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|entry| Update::Unavailable { name: entry.name })
            .collect()
    }

    /// The stanza for that resource did not arrive for sure: the next [`Shown::update`] sends the state of then.
    pub fn lost(&mut self, name: &str) {
        match self.0.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => entry.print = 0,
            None => self.0.push(Entry { name: name.into(), print: 0 }),
        }
    }
}
