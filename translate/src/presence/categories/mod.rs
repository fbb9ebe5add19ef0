//! `application/msrtc-event-categories+xml`: what front ends in the style of Lync tell, and the only format of theirs with
//! notes in it.
//!
//! A document holds categories, each with an instance, a container and a version: `state`, `note`, `contactCard`,
//! `services`, `calendarData`, `legacyInterop` and whatever is to come. A document mentions what is new; a category that it
//! does not mention is as it was. Read are `state` and `note`, and of them only what may be shown to somebody: neither
//! places, devices and subjects of meetings, nor the note of who is out of office.

mod read;
mod state;
mod write;

use super::document::{Context, DocumentError, Stamp};
use super::model::Presentity;
use crate::address::Contact;

/// Reads a document. `None`: it mentions no state, and none is known.
///
/// # Errors
/// [`DocumentError`].
pub fn read(document: &[u8], context: Context<'_>) -> Result<Option<Presentity>, DocumentError> {
    read::document(document, &context)
}

/// Appends the document that tells SIP watchers about a contact: all categories that we have, in full.
///
pub fn write(contact: &Contact, state: &Presentity, stamp: Stamp, out: &mut Vec<u8>) {
    write::document(contact, state, stamp, out);
}
