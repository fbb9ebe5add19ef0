//! The XMPP side of Nuncio, without a socket and without a clock: reading and writing the XML of a server-to-server
//! stream (RFC 6120), addresses (RFC 7622), stanzas and their errors, stream negotiation, dialback, stream management, and
//! the lanes that carry stanzas.
//!
//! Everything here takes bytes, values and `Instant`s as arguments and hands back plain data. Hostile input is normal
//! input: nothing panics on it, and every refusal knows the stream or stanza condition that a peer is told.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod about;
pub mod conditions;
pub mod dialback;
pub mod jid;
pub mod lane;
mod named;
pub mod negotiation;
pub mod rate;
pub mod sm;
pub mod stanza;
pub mod stream;
pub mod xml;

pub use conditions::{StreamCondition, StreamError};
pub use jid::{BareJid, Domain, Jid, JidError, JidPart};
pub use negotiation::{Methods, Negotiation, NegotiationRules, Reason, SaslUse, TlsUse, Verdict};
pub use stanza::{
    AddressError, Addresses, Condition, ErrorType, IqVerdict, StanzaError, StanzaKind, addresses, check_iq,
    classify, write_error, write_error_reply,
};
pub use xml::{
    Attribute, Document, Element, ElementRef, Namespace, Node, ReadError, ReadErrorKind, ReadLimits,
    StartTag, StreamHeader, StreamItem, StreamReader, escape, ns,
};
