//! One subscription to many contacts at once, as front ends in the style of Lync ask for: a list in the body of SUBSCRIBE
//! ([`list`]), answered with a list of what is known of each, and a document for each beside it ([`rlmi`]; RFC 4662).
//!
//! A [`Batch`] is the dialog of such a subscription. It knows no pair: each member is a watcher of his own pair, with that
//! pair's trust, policy and pace, and whatever he is told is told to the batch.

pub mod list;
mod machine;
mod members;
pub mod rlmi;

pub use list::{Change, ListError};
pub use machine::{Batch, BatchOutput, EVENT_LIST, MAX_REASONS, NOTIFICATION_MAX};
pub use members::{Changed, MAX_MEMBERS, State, Told};
