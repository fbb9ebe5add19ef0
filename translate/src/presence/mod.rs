//! Presence: documents ⇄ `<presence/>` (RFC 8048, RFC 3863, RFC 4479, RFC 4480; PM-01…PM-28, PD-01…PD-10).
//!
//! Everything goes through one model, [`Presentity`]: what is known of one user, resource by resource.
//!
//! - SIP user → contact: [`Format::read`] a document, [`Presentity::supersede`] what was known, [`Shown::update`] says what the
//!   contact is to be sent, [`to_xmpp`] writes it.
//! - Contact → SIP user: [`from_xmpp::read`] a stanza, [`Presentity::report`] merges it, [`Format::write`] writes the full
//!   state.
//!
//! What a partner may see is decided in one place: [`Disclosure`], applied by [`Shown::update`] and the writer of stanzas.
//! Each format of documents has a reader and a writer of the same model, chosen by [`Format`]. All documents become XML in one
//! place: [`document`].

mod activity;
pub mod categories;
mod disclosure;
pub mod document;
mod foreseen;
mod format;
pub mod from_xmpp;
mod instance;
mod merge;
mod model;
pub mod msrtc;
mod notes;
pub mod pidf;
mod shown;
pub mod to_xmpp;
mod whole;
pub mod xpidf;

pub use activity::Activity;
pub use disclosure::{Disclosure, Veil};
pub use document::DocumentError;
pub use foreseen::MAX_FORESEEN;
pub use format::Format;
pub use model::{Availability, Presentity, Resource, Show};
pub use notes::{Note, Notes};
pub use shown::{Shown, Update, Updates};
pub use whole::WHOLE;

/// Most resources of one user that are kept and shown.
pub const MAX_RESOURCES: usize = 16;
/// Most tuples read from one document; one with more is refused.
pub const MAX_TUPLES: usize = 32;
/// Most notes of one resource, one per language; more are dropped.
pub const MAX_NOTES: usize = 8;
/// Longest note, in characters; what is longer is cut.
pub const MAX_NOTE: usize = 1_000;
