use compact_str::CompactString;
use nuncio_xmpp::{ElementRef, ns};
use smallvec::SmallVec;

use super::rpid::{self, Doing, Input};
use super::{priority, tuple_id};
use crate::presence::document::{self, Context, DocumentError};
use crate::presence::foreseen::Times;
use crate::presence::{Availability, MAX_RESOURCES, MAX_TUPLES, Notes, Presentity, Resource, Show};
use crate::time;

/// See [`super::read()`].
pub(super) fn document(document: &[u8], context: &Context<'_>) -> Result<Presentity, DocumentError> {
    let document = document::parse(document, context)?;
    let root = document.root();
    if !root.is("presence", ns::PIDF) {
        return Err(DocumentError::Root { format: "PIDF", name: "presence", ns: ns::PIDF });
    }
    if root.elements().filter(|child| is_tuple(*child)).count() > MAX_TUPLES {
        return Err(DocumentError::TooManyTuples);
    }
    let times = Times::after(context.now_ms, root, &["from", "until"], |time| time::parse(time.trim()), None);
    let mut now = presentity(root, context);
    times.foresee(&mut now, |now_ms| Some(presentity(root, &Context { now_ms, ..*context })));
    Ok(now)
}

fn is_tuple(element: ElementRef<'_>) -> bool {
    element.is("tuple", ns::PIDF)
}

fn presentity(root: ElementRef<'_>, context: &Context<'_>) -> Presentity {
    let around = Around::read(root, context);
    let mut presentity = Presentity::default();
    let mut seen: SmallVec<[&str; 4]> = SmallVec::new();
    for tuple in root.elements().filter(|child| is_tuple(*child)) {
        let id = tuple.attr("id").unwrap_or_default();
        // The id is there once, or it names nothing: the first one counts (PD-02).
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        if let Some(resource) = around.tuple(tuple, name(id, &presentity), context) {
            presentity.resources.push(resource);
        }
    }
    // Where he can be reached comes first when not all can be kept.
    presentity.resources.sort_by_key(|resource| resource.availability == Availability::Closed);
    presentity.resources.truncate(MAX_RESOURCES);
    presentity.resources.shrink_to_fit();
    presentity
}

/// The resource for a tuple id; two ids that stand for one resource do not share it.
fn name(id: &str, known: &Presentity) -> CompactString {
    let name = tuple_id::resource(id);
    if known.resource(&name).is_some() { tuple_id::opaque(id) } else { name }
}

/// What a document says beside its tuples: about the person and his devices.
struct Around<'a> {
    root: ElementRef<'a>,
    /// The language where nothing nearer says one.
    lang: Option<&'a str>,
    person: Doing,
    /// Of the person, or of the document, which is the same (RFC 4479 §3.5).
    notes: Notes,
}

impl<'a> Around<'a> {
    fn read(root: ElementRef<'a>, context: &Context<'a>) -> Self {
        let lang = root.lang().or(context.language);
        let (mut person, mut notes) = (Doing::default(), Notes::NONE);
        let persons = root.elements().filter(|child| child.is("person", ns::PIDF_DATA_MODEL));
        for element in persons {
            person.read(element, context);
            if !rpid::is_from_calendar(element) {
                rpid::notes(element, lang, &mut notes);
            }
        }
        if notes.is_empty() {
            rpid::notes(root, lang, &mut notes);
        }
        if person.out_of_office {
            notes = Notes::NONE;
        }
        Self { root, lang, person, notes }
    }

    /// `None` for a tuple that says nothing about whether this user can be reached.
    fn tuple(&self, tuple: ElementRef<'a>, id: CompactString, context: &Context<'_>) -> Option<Resource> {
        if is_about_somebody_else(tuple) {
            return None;
        }
        let status = tuple.child("status", ns::PIDF)?;
        let availability = match &*status.child("basic", ns::PIDF)?.text() {
            "open" => Availability::Open,
            "closed" => Availability::Closed,
            // Nobody knows (PD-03).
            _ => return None,
        };
        let mut resource = Resource::new(id, availability);
        let time = tuple.child("timestamp", ns::PIDF).and_then(|stamp| time::parse(stamp.text().trim()));
        resource.set_updated_ms(time);
        // Activities belong to persons; some put them into tuples nevertheless (PD-07).
        let mut own = Doing::default();
        own.read(tuple, context);
        own.read(status, context);
        let mut notes = Notes::NONE;
        if !own.out_of_office && !rpid::is_from_calendar(tuple) {
            rpid::notes(tuple, self.lang, &mut notes);
        }
        resource.set_notes(if notes.is_empty() && !own.out_of_office { self.notes.clone() } else { notes });
        let doing = if own.activity.is_some() { &own } else { &self.person };
        let words = doing.text.as_deref().filter(|_| !doing.out_of_office);
        resource.set_activity(doing.activity, words);
        if availability == Availability::Closed {
            return Some(resource);
        }
        let input = own.input.or_else(|| self.device(tuple, context)).or(self.person.input);
        if let Some(Input::Idle(since)) = input {
            resource.set_idle_since(since);
        }
        resource.show = show(status)
            .or_else(|| doing.activity?.show())
            .or_else(|| matches!(input, Some(Input::Idle(_))).then_some(Show::Away));
        let contact = tuple.child("contact", ns::PIDF);
        resource.priority = contact.and_then(|contact| contact.attr("priority")).and_then(priority::parse);
        Some(resource)
    }

    /// User input on the device that offers the service (RFC 4479 §3.3).
    fn device(&self, tuple: ElementRef<'a>, context: &Context<'_>) -> Option<Input> {
        let id =
            |element: ElementRef<'a>| element.child("deviceID", ns::PIDF_DATA_MODEL).map(ElementRef::text);
        let wanted = id(tuple)?;
        let mut devices = self.root.elements().filter(|child| child.is("device", ns::PIDF_DATA_MODEL));
        let device = devices.find(|device| id(*device).is_some_and(|id| id.trim() == wanted.trim()))?;
        let mut doing = Doing::default();
        doing.read(device, context);
        doing.input
    }
}

/// The tuple of an assistant, a friend or a supervisor (RFC 4480 §3.9).
fn is_about_somebody_else(tuple: ElementRef<'_>) -> bool {
    let relationship = tuple.child("relationship", ns::PIDF_RPID);
    let mut kinds =
        relationship.into_iter().flat_map(ElementRef::elements).filter(|kind| kind.name() != "note");
    kinds.next().is_some_and(|kind| !matches!(kind.name(), "self" | "unknown"))
}

fn show(status: ElementRef<'_>) -> Option<Show> {
    let show = status.child("show", ns::CLIENT).filter(|show| rpid::is_understood(*show))?;
    Show::from_word(show.text().trim())
}
