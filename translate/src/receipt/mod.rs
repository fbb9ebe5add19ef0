//! What became of a message: XEP-0184 ⇄ IMDN (RFC 5438) and the notification of Lync (IM-40…IM-42, CH-08).
//!
//! The forms, each with its reader and writer:
//!
//! - [`xmpp`], for `<request/>` and `<received/>` in a `<message/>`.
//! - [`imdn`], for `message/imdn+xml` inside `message/cpim`, and the request for it.
//! - [`ms_imdn`], for `application/ms-imdn+xml`.
//!
//! [`notification`] tells what of it a MESSAGE carries.
//!
//! All say one [`Fate`] of one message, which they name by an id that its sender gave it. That id comes back from outside:
//! whoever uses it looks it up among those he gave away, and trusts it no further (SEC-37).

pub mod imdn;
pub mod ms_imdn;
pub mod notification;
pub mod xmpp;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is with the recipient's client.
    Delivered,
    /// It was shown to him; more than XEP-0184 has a word for.
    Displayed,
    /// It will not arrive.
    Failed,
    /// Something between knows of it, or refuses to tell: nothing follows from that.
    Unknown,
}

/// Longest id of a message taken from outside, in octets.
pub const ID_MAX: usize = 256;

/// An id that may be looked up.
fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.len())
}
