use std::num::NonZeroU64;

use compact_str::CompactString;

use super::activity::Activity;
use super::foreseen::Foreseen;
use super::instance::StateInstance;
use super::notes::Notes;

/// What is known of one user: his resources, at most [`MAX_RESOURCES`](super::MAX_RESOURCES), ids all different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presentity {
    /// In the order they became known.
    pub resources: Vec<Resource>,
}

/// One resource of a user, or one tuple of a document.
///
/// Small, because there are several for each of hundreds of thousands of pairs: what most do not have is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The XMPP resource; a legal one, empty for a user without resources.
    pub id: CompactString,
    /// Whether he can be reached there.
    pub availability: Availability,
    /// How available; `None` is plainly available.
    pub show: Option<Show>,
    /// XMPP priority; `None` is 0.
    pub priority: Option<i8>,
    activity: Option<Activity>,
    updated: Millis,
    /// Told of in parts, and the state in this one: the next document of this subscription need not say everything.
    part: Option<StateInstance>,
    details: Option<Box<Details>>,
}

/// Whether a user can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Availability {
    /// `<basic>open</basic>`, presence without type.
    Open,
    /// `<basic>closed</basic>`, presence of type `unavailable`.
    Closed,
}

/// `<show/>` (RFC 6121 §4.7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Show {
    /// Temporarily away.
    Away,
    /// Wants to chat.
    Chat,
    /// Busy; not to be mistaken for a block (PM-08).
    Dnd,
    /// Away for long.
    Xa,
}

/// Milliseconds of Unix time in six octets, good for 8,900 years; 0: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Millis([u8; 6]);

/// Words of the user's own, and what few documents say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Details {
    notes: Notes,
    note_instance: u32,
    activity_text: Option<Box<str>>,
    idle_since: Option<NonZeroU64>,
    foreseen: Option<Box<Foreseen>>,
}

impl Presentity {
    /// Can he be reached anywhere?
    pub fn is_open(&self) -> bool {
        self.open().next().is_some()
    }

    /// Where he can be reached.
    pub fn open(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().filter(|resource| resource.availability == Availability::Open)
    }

    /// Where he is reached best: the open resource of the highest priority, of several the one heard of last.
    pub(super) fn foremost(&self) -> Option<&Resource> {
        self.open().max_by_key(|resource| resource.priority.unwrap_or(0))
    }

    /// The resource of that id.
    pub fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    /// The language of all notes, if they are of one: for `Content-Language` (PM-06).
    pub fn language(&self) -> Option<&str> {
        let mut languages =
            self.resources.iter().flat_map(|r| r.notes().iter()).map(|note| note.lang.as_deref());
        let first = languages.next()??;
        languages.all(|lang| lang == Some(first)).then_some(first)
    }
}

impl Resource {
    /// A resource of which nothing else is known.
    pub fn new(id: impl Into<CompactString>, availability: Availability) -> Self {
        Self {
            id: id.into(),
            availability,
            show: None,
            priority: None,
            activity: None,
            updated: Millis::default(),
            part: None,
            details: None,
        }
    }

    /// The user's own words, one per language.
    pub fn notes(&self) -> &Notes {
        static NONE: Notes = Notes::NONE;
        self.details.as_ref().map_or(&NONE, |details| &details.notes)
    }

    /// What he does.
    pub fn activity(&self) -> Option<Activity> {
        self.activity
    }

    /// What he does, in words.
    pub fn activity_text(&self) -> Option<&str> {
        self.details.as_ref()?.activity_text.as_deref()
    }

    /// Since when he has not touched the device, in seconds of Unix time.
    pub fn idle_since(&self) -> Option<u64> {
        self.details.as_ref()?.idle_since.map(NonZeroU64::get)
    }

    /// When the state became so, in milliseconds of Unix time, if the document says it.
    pub fn updated_ms(&self) -> Option<u64> {
        self.updated.known()
    }

    /// Replaces the notes.
    pub fn set_notes(&mut self, notes: Notes) {
        self.set_notes_of(0, notes);
    }

    /// Replaces the activity and its text; the text is cleaned and cut like a note.
    pub fn set_activity(&mut self, activity: Option<Activity>, text: Option<&str>) {
        self.activity = activity;
        let text = text.and_then(super::notes::clean);
        self.detail(|details| details.activity_text = text.map(|text| text.as_str().into()));
    }

    /// Replaces the idle time, in seconds of Unix time.
    pub fn set_idle_since(&mut self, since: Option<u64>) {
        self.detail(|details| details.idle_since = since.and_then(NonZeroU64::new));
    }

    /// Sets when the state became so, in milliseconds of Unix time.
    pub fn set_updated_ms(&mut self, time: Option<u64>) {
        self.updated = Millis::of(time);
    }

    /// What a document of parts leaves out stays as it is known of this one.
    pub(super) fn part(&self) -> Option<StateInstance> {
        self.part
    }

    pub(super) fn set_part(&mut self, part: Option<StateInstance>) {
        self.part = part;
    }

    /// The instance that last said something of notes.
    pub(super) fn note_instance(&self) -> u32 {
        self.details.as_ref().map_or(0, |details| details.note_instance)
    }

    /// Replaces the notes by those of an instance.
    pub(super) fn set_notes_of(&mut self, instance: u32, notes: Notes) {
        self.detail(|details| (details.notes, details.note_instance) = (notes, instance));
    }

    /// What it will be next.
    pub(super) fn foreseen(&self) -> Option<&Foreseen> {
        self.details.as_ref()?.foreseen.as_deref()
    }

    pub(super) fn foreseen_mut(&mut self) -> Option<&mut Foreseen> {
        self.details.as_mut()?.foreseen.as_deref_mut()
    }

    pub(super) fn set_foreseen(&mut self, foreseen: Option<Foreseen>) {
        self.detail(|details| details.foreseen = foreseen.map(Box::new));
    }

    pub(super) fn take_foreseen(&mut self, due: impl FnOnce(&Foreseen) -> bool) -> Option<Foreseen> {
        let details = self.details.as_mut()?;
        details.foreseen.take_if(|foreseen| due(foreseen)).map(|foreseen| *foreseen)
    }

    fn detail(&mut self, change: impl FnOnce(&mut Details)) {
        let details = self.details.get_or_insert_default();
        change(details);
        if **details == Details::default() {
            self.details = None;
        }
    }
}

impl Millis {
    /// Times beyond what fits are not known.
    fn of(time: Option<u64>) -> Self {
        match time.unwrap_or(0).to_le_bytes() {
            [a, b, c, d, e, f, 0, 0] => Self([a, b, c, d, e, f]),
            _ => Self::default(),
        }
    }

    fn known(self) -> Option<u64> {
        let [a, b, c, d, e, f] = self.0;
        Some(u64::from_le_bytes([a, b, c, d, e, f, 0, 0])).filter(|time| *time != 0)
    }
}

impl Show {
    /// The word XMPP has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Chat => "chat",
            Self::Dnd => "dnd",
            Self::Xa => "xa",
        }
    }

    /// The value of a `<show/>`; `None` for a word that XMPP does not have, which is to be ignored (PM-24).
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "away" => Some(Self::Away),
            "chat" => Some(Self::Chat),
            "dnd" => Some(Self::Dnd),
            "xa" => Some(Self::Xa),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_small() {
        assert!(size_of::<Resource>() <= 48, "{}", size_of::<Resource>());
        assert_eq!(size_of::<Presentity>(), 24);
        assert!(size_of::<Details>() <= 104, "{}", size_of::<Details>());
    }

    #[test]
    fn a_time_is_kept_up_to_the_last_that_fits() {
        let mut resource = Resource::new("a", Availability::Open);
        for (time, kept) in [(0, None), (1, Some(1)), ((1 << 48) - 1, Some((1 << 48) - 1)), (1 << 48, None)] {
            resource.set_updated_ms(Some(time));
            assert_eq!(resource.updated_ms(), kept);
        }
    }

    #[test]
    fn an_activity_alone_needs_no_room_of_its_own() {
        let mut resource = Resource::new("a", Availability::Open);
        resource.set_activity(Some(Activity::Meeting), None);
        assert_eq!((resource.activity(), resource.details), (Some(Activity::Meeting), None));
    }

    #[test]
    fn what_is_taken_away_again_leaves_nothing() {
        let mut resource = Resource::new("a", Availability::Open);
        resource.set_idle_since(Some(1));
        resource.set_activity(Some(Activity::Away), Some(" text "));
        assert_eq!((resource.idle_since(), resource.activity_text()), (Some(1), Some("text")));
        resource.set_idle_since(None);
        resource.set_activity(None, Some("\r\n"));
        assert_eq!(resource, Resource::new("a", Availability::Open));
    }
}
