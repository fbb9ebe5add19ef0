//! The translation core: SIP and XMPP vocabulary in, the other one out.
//!
//! Pure functions and small types. No socket, no clock, no randomness: times, fresh tokens and keys come in as
//! arguments. The normative tables are in `docs/mapping.md`; requirement ids such as ADR-12 point into them.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod address;
pub mod cpim;
pub mod diagnostics;
pub mod document;
pub mod errors;
pub mod jid_escape;
pub mod judge;
pub mod message;
mod moment;
pub mod notice;
pub mod pair;
pub mod presence;
pub mod receipt;
pub mod stanza_id;
pub mod text;
pub mod time;
pub mod trust;
pub mod typing;

pub use document::DocumentError;
pub use moment::Moment;
