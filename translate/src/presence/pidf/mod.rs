//! `application/pidf+xml` (RFC 3863) with the data model (RFC 4479) and RPID (RFC 4480).

mod priority;
mod read;
mod rpid;
mod tuple_id;
mod write;

use nuncio_xmpp::ReadErrorKind;

use super::model::Presentity;
use crate::address::Contact;

pub use read::LIMITS;
pub(super) use tuple_id::opaque;

/// What reading depends on beside the document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The `charset` parameter of Content-Type, which beats the XML declaration (PD-01).
    pub charset: Option<&'a str>,
    /// Content-Language: of notes that name none (PM-06).
    pub language: Option<&'a str>,
    /// Whether idle times are taken in at all (PM-26).
    pub idle: bool,
    /// Milliseconds of Unix time: decides which activities hold now (PD-08).
    pub now_ms: u64,
}

/// Why a document is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PidfError {
    /// Not acceptable as XML.
    #[error("the document is not acceptable as XML: {0}")]
    Xml(#[from] nuncio_xmpp::ReadError),
    /// A character set other than UTF-8 and US-ASCII.
    #[error("the document is not in UTF-8")]
    Charset,
    /// Another kind of XML.
    #[error("the document is no PIDF: its root is not <presence/> of {ns}", ns = nuncio_xmpp::ns::PIDF)]
    Root,
    /// More tuples than [`MAX_TUPLES`](super::MAX_TUPLES).
    #[error("the document has more than {} tuples", super::MAX_TUPLES)]
    TooManyTuples,
}

impl PidfError {
    /// The status of the answer to the NOTIFY.
    pub fn status(&self) -> u16 {
        match self {
            Self::Xml(error) => match error.kind {
                ReadErrorKind::Encoding => 415,
                ReadErrorKind::StanzaTooBig => 413,
                _ => 400,
            },
            Self::Root => 400,
            Self::Charset => 415,
            Self::TooManyTuples => 413,
        }
    }
}

/// Reads a document: full state of one SIP user.
///
/// # Errors
/// [`PidfError`].
pub fn read(document: &[u8], context: Context<'_>) -> Result<Presentity, PidfError> {
    read::document(document, &context)
}

/// Appends the document that tells SIP watchers about a contact.
///
/// `stamp_ms`: milliseconds of Unix time, never the same twice for one watcher; see [`next_stamp`].
pub fn write(contact: &Contact, state: &Presentity, stamp_ms: u64, out: &mut Vec<u8>) {
    write::document(contact, state, stamp_ms, out);
}

/// The timestamp of the next document: now, but never the same or an earlier one than `last` (PD-05).
pub fn next_stamp(last: u64, now_ms: u64) -> u64 {
    now_ms.max(last.saturating_add(1))
}
