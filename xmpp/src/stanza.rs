//! Stanzas (RFC 6120 section 8): what an element is, who it is from and for, and how it is refused.

mod addresses;
mod condition;
mod error;
mod iq;

pub use addresses::{AddressError, Addresses, Attr, addresses};
pub use condition::{Condition, ErrorType};
pub(crate) use error::write_reason;
pub use error::{StanzaError, write_error, write_error_reply};
pub use iq::{IqKind, IqVerdict, check_iq};

use crate::xml::{Element, ns};

/// The three kinds of stanzas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StanzaKind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

impl StanzaKind {
    /// Name of the element.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Presence => "presence",
            Self::Iq => "iq",
        }
    }
}

/// Which stanza of a server-to-server stream a first-level element is. `None`: no stanza — part of the negotiation, or
/// something foreign that is never routed (S2S-21). A client stanza (`jabber:client`) is foreign here.
pub fn classify(element: &Element) -> Option<StanzaKind> {
    if element.ns() != ns::SERVER {
        return None;
    }
    match element.name() {
        "message" => Some(StanzaKind::Message),
        "presence" => Some(StanzaKind::Presence),
        "iq" => Some(StanzaKind::Iq),
        _ => None,
    }
}

/// True when the stanza is an error, which nothing may be answered to (ERR-02).
pub fn is_error(element: &Element) -> bool {
    element.attr("type") == Some("error")
}
