//! Who is typing: XEP-0085 ⇄ `application/im-iscomposing+xml` (RFC 3994) and the KeyboardActivity of Lync (IM-30…IM-34,
//! RFC 7573 §6).
//!
//! The forms, each with its reader and writer:
//!
//! - [`ChatState`]: an element in a `<message/>`.
//! - [`iscomposing`]: a document in a MESSAGE.
//! - [`keyboard`]: a document in an INFO of a session.
//!
//! And two machines that decide what the other side is told, and when, one for each direction of a conversation:
//! [`ToContact`] and [`ToUser`]. They hear everything and say as little as the other side's rules allow. Nothing is lost
//! when they stay silent: every form ends by itself, and a message ends it at once.

mod chat_state;
pub mod iscomposing;
pub mod keyboard;
mod to_contact;
mod to_user;

use std::time::Duration;

pub use chat_state::{ChatState, Standalone};
pub use to_contact::ToContact;
pub use to_user::{Dialect, Signal, ToUser};

/// How long a KeyboardActivity counts: who types repeats it every 5 s (lost ones are not missed for long).
pub const KEYBOARD_LASTS: Duration = Duration::from_secs(6);
/// How long an isComposing document counts that does not say so (RFC 3994 §3.3).
pub const COMPOSING_LASTS: Duration = Duration::from_secs(120);
/// The longest any may count: who crashes does not type for ever.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// What somebody does at his keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// He is writing a message.
    Active,
    /// He is not, or not any more.
    Idle,
}
