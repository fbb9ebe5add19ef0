use thiserror::Error;

use crate::conditions::StreamCondition;
use crate::jid::{Jid, JidError, JidPart};
use crate::xml::Element;

/// Sender and recipient of a stanza. Between servers both are mandatory (RFC 6120 section 8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Sender.
    pub from: Jid,
    /// Recipient.
    pub to: Jid,
}

/// Which of the two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attr {
    /// `from`
    From,
    /// `to`
    To,
}

/// Why a stanza has no usable addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The attribute is missing or empty.
    #[error("a stanza without `{}`", .0.as_str())]
    Missing(Attr),
    /// The attribute is no address.
    #[error("a stanza whose `{}` is no address: {error}", .attr.as_str())]
    Bad {
        /// Which.
        attr: Attr,
        /// What is wrong with it.
        error: JidError,
    },
}

impl Attr {
    /// Name of the attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }
}

impl AddressError {
    /// The stream error this ends the stream with (S2S-20). `None` when it costs that stanza only: a bad local part or
    /// resource is answered with `jid-malformed`, so that one odd user does not cost a partner its stream.
    pub fn ends_stream(&self) -> Option<StreamCondition> {
        match self {
            Self::Bad { error: JidError { part: JidPart::Local | JidPart::Resource, .. }, .. } => None,
            _ => Some(StreamCondition::ImproperAddressing),
        }
    }
}

/// Reads and normalises both addresses. A domain that is unusable in either of them is reported before anything that is
/// wrong with local parts and resources.
pub fn addresses(stanza: &Element) -> Result<Addresses, AddressError> {
    match (read(stanza, Attr::From), read(stanza, Attr::To)) {
        (Ok(from), Ok(to)) => Ok(Addresses { from, to }),
        (Err(one), Err(other)) => {
            Err(if one.ends_stream().is_none() && other.ends_stream().is_some() { other } else { one })
        }
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
    }
}

fn read(stanza: &Element, attr: Attr) -> Result<Jid, AddressError> {
    match stanza.attr(attr.as_str()) {
        None | Some("") => Err(AddressError::Missing(attr)),
        Some(value) => Jid::parse(value).map_err(|error| AddressError::Bad { attr, error }),
    }
}
