//! `application/pidf+xml` (RFC 3863) with the data model (RFC 4479) and RPID (RFC 4480).

mod priority;
mod read;
mod rpid;
mod tuple_id;
mod write;

use super::document::{Context, DocumentError, Stamp};
use super::model::Presentity;
use crate::address::Contact;

/// Reads a document: full state of one SIP user.
///
/// # Errors
/// [`DocumentError`].
pub fn read(document: &[u8], context: Context<'_>) -> Result<Presentity, DocumentError> {
    read::document(document, &context)
}

/// Appends the document that tells SIP watchers about a contact.
///
pub fn write(contact: &Contact, state: &Presentity, stamp: Stamp, out: &mut Vec<u8>) {
    write::document(contact, state, stamp, out);
}
