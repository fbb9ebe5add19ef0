//! A user as a whole. Front ends in the style of Lync make one state of all endpoints; the formats that speak of it know
//! neither resources nor `<show/>`, but more ways to be away.

use super::model::{Availability, Presentity, Resource, Show};
use super::notes::Note;

/// The one resource of a user of whom only the whole is known: in XMPP nobody is available without one.
pub const WHOLE: &str = "sip";

/// What there is to be seen of somebody. The numbers and words for it are each format's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Available,
    Inactive,
    Busy,
    InACall,
    DoNotDisturb,
    BeRightBack,
    OutToLunch,
    Away,
    Offline,
}

/// What such a format shows of a contact.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole<'a> {
    /// One of available, do not disturb, away and offline.
    pub(super) state: State,
    /// There is room for one.
    pub(super) note: Option<&'a Note>,
}

impl State {
    pub(super) fn show(self) -> Option<Show> {
        match self {
            Self::Available | Self::Offline => None,
            Self::Busy | Self::InACall | Self::DoNotDisturb => Some(Show::Dnd),
            Self::Inactive | Self::BeRightBack | Self::OutToLunch | Self::Away => Some(Show::Away),
        }
    }

    /// What the show alone does not tell.
    pub(super) fn words(self) -> Option<&'static str> {
        match self {
            Self::Available | Self::Offline => None,
            Self::Inactive => Some("Inactive"),
            Self::Busy => Some("Busy"),
            Self::InACall => Some("In a call"),
            Self::DoNotDisturb => Some("Do not disturb"),
            Self::BeRightBack => Some("Be right back"),
            Self::OutToLunch => Some("Out to lunch"),
            Self::Away => Some("Away"),
        }
    }

    /// A user in this state. `words` tell more of it than its own.
    pub(super) fn resource(self, words: Option<&str>) -> Resource {
        if self == Self::Offline {
            return Resource::new(WHOLE, Availability::Closed);
        }
        let mut resource = Resource::new(WHOLE, Availability::Open);
        resource.show = self.show();
        resource.set_activity(None, words.or_else(|| self.words()));
        resource
    }
}

impl Presentity {
    /// What is to be seen of somebody with all his resources.
    pub(super) fn whole(&self) -> Whole<'_> {
        let Some(foremost) = self.foremost() else {
            return Whole { state: State::Offline, note: self.resources.iter().find_map(first_note) };
        };
        let state = match foremost.show {
            None | Some(Show::Chat) => State::Available,
            Some(Show::Away | Show::Xa) => State::Away,
            Some(Show::Dnd) => State::DoNotDisturb,
        };
        Whole { state, note: first_note(foremost) }
    }
}

fn first_note(resource: &Resource) -> Option<&Note> {
    resource.notes().iter().next()
}
