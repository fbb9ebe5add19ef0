//! `text/xml+msrtc.pidf`: what Live Communications Server told, and what its successors still read. Two numbers, one for
//! whether somebody can be reached and one for what he does. The tables stand in `docs/mapping.md`.

use compact_str::format_compact;
use nuncio_xmpp::{ElementRef, StartTag, ns};

use super::document::{self, Context, DocumentError};
use super::model::Presentity;
use super::notes::Notes;
use super::whole::State;
use crate::address::Contact;

/// The least availability of who can be reached; below it he can take no calls.
const REACHABLE: u32 = 100;

/// The least activity of each state; it reaches up to the next one.
const ACTIVITIES: [(u32, State); 10] = [
    (0, State::Available),
    (100, State::Away),
    (150, State::OutToLunch),
    (200, State::Inactive),
    (300, State::BeRightBack),
    (400, State::Available),
    (500, State::InACall),
    (600, State::Busy),
    (700, State::Away),
    (800, State::Available),
];

/// Reads a document: full state of one SIP user.
///
/// # Errors
/// [`DocumentError`].
pub fn read(document: &[u8], context: Context<'_>) -> Result<Presentity, DocumentError> {
    let document = document::parse(document, &context)?;
    let root = document.root();
    if !root.is("presentity", ns::MSRTC) {
        return Err(DocumentError::Root { format: "MSRTC document", name: "presentity", ns: ns::MSRTC });
    }
    let (availability, activity) = (root.child("availability", ns::MSRTC), root.child("activity", ns::MSRTC));
    let Some(availability) = availability.and_then(aggregate) else { return Ok(Presentity::default()) };
    let state = match activity.and_then(aggregate) {
        _ if availability < REACHABLE => State::Offline,
        None => State::Available,
        Some(activity) => of_activity(activity),
    };
    let described = activity.and_then(|activity| activity.attr("description")).and_then(super::notes::clean);
    let mut resource = state.resource(described.as_deref());
    resource.set_notes(notes(root, activity, &context));
    Ok(Presentity { resources: vec![resource] })
}

/// Appends the document that tells SIP watchers about a contact.
pub fn write(contact: &Contact, state: &Presentity, out: &mut Vec<u8>) {
    let uri = contact.uri(None);
    let address = uri.strip_prefix("sip:").unwrap_or(&uri);
    let whole = state.whole();
    let (availability, activity) = numbers(whole.state);
    let (availability, activity) = (format_compact!("{availability}"), format_compact!("{activity}"));
    let note = whole.note.map_or("", |note| &note.text);
    out.extend_from_slice(b"<?xml version='1.0' encoding='UTF-8'?>");
    StartTag::open(out, "presentity").attr("uri", address).ns(ns::MSRTC).end();
    StartTag::open(out, "availability").attr("aggregate", &availability).attr("description", "").empty();
    StartTag::open(out, "activity")
        .attr("aggregate", &activity)
        .attr("description", "")
        .attr("note", note)
        .empty();
    StartTag::open(out, "displayName").attr("displayName", address).empty();
    StartTag::close(out, "presentity");
}

/// Availability and activity.
fn numbers(state: State) -> (u32, u32) {
    match state {
        State::Available => (300, 400),
        State::Inactive => (300, 200),
        State::Busy | State::DoNotDisturb => (300, 600),
        State::InACall => (300, 500),
        State::BeRightBack => (300, 300),
        State::OutToLunch => (300, 150),
        State::Away => (300, 100),
        State::Offline => (0, 0),
    }
}

fn of_activity(activity: u32) -> State {
    let reached = ACTIVITIES.iter().take_while(|(least, _)| *least <= activity).last();
    reached.map_or(State::Available, |(_, state)| *state)
}

fn aggregate(element: ElementRef<'_>) -> Option<u32> {
    element.attr("aggregate")?.trim().parse().ok()
}

fn notes(root: ElementRef<'_>, activity: Option<ElementRef<'_>>, context: &Context<'_>) -> Notes {
    let mut notes = Notes::NONE;
    if let Some(note) = activity.and_then(|activity| activity.attr("note")) {
        notes.add(root.lang().or(context.language), note);
    }
    notes
}
