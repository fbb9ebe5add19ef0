//! Presence: PIDF ⇄ `<presence/>` (RFC 8048, RFC 3863, RFC 4479, RFC 4480; PM-01…PM-28, PD-01…PD-10).
//!
//! Everything goes through one model, [`Presentity`]: what is known of one user, resource by resource.
//!
//! - SIP user → contact: [`pidf::read`] a document, [`Presentity::supersede`] what was known, [`Shown::update`] says what the
//!   contact is to be sent, [`to_xmpp`] writes it.
//! - Contact → SIP user: [`from_xmpp::read`] a stanza, [`Presentity::report`] merges it, [`pidf::write`] writes the full
//!   state.
//!
//! What a partner may see is decided in one place: [`Disclosure`], applied by [`Shown::update`] and the writer of stanzas.
//! Further document formats are further readers and writers of the same model, chosen by [`Format`].

mod activity;
mod disclosure;
mod format;
pub mod from_xmpp;
mod merge;
mod model;
mod notes;
pub mod pidf;
mod shown;
pub mod to_xmpp;

pub use activity::Activity;
pub use disclosure::Disclosure;
pub use format::{Format, FormatError};
pub use model::{Availability, Presentity, Resource, Show};
pub use notes::{Note, Notes};
pub use shown::{Shown, Update, Updates};

/// Most resources of one user that are kept and shown.
pub const MAX_RESOURCES: usize = 16;
/// Most tuples read from one document; one with more is refused.
pub const MAX_TUPLES: usize = 32;
/// Most notes of one resource, one per language; more are dropped.
pub const MAX_NOTES: usize = 8;
/// Longest note, in characters; what is longer is cut.
pub const MAX_NOTE: usize = 1_000;
