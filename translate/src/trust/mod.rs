//! `ms-edge-proxy-message-trust`: what the edge of a Lync-style system says of a message that comes from outside
//! (MS-SIPRE §2.2.15, MS-PRES §4.11).
//!
//! Who inserts it depends on where we stand. As a federated peer of the Access Edge we are outside ourselves: the edge writes
//! it, by its own entry for us. As a trusted server behind the front ends we are the edge of the XMPP world, and write
//! it. [`TrustModel`] says which of both a front end takes us for.

mod read;
mod write;

pub use read::{Doubt, doubt};
pub use write::{Stamp, Stamps};

use crate::diagnostics::Form;

/// What a front end takes us for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrustModel {
    /// A SIP server as any other. The field is neither written nor read.
    #[default]
    Plain,
    /// A federated peer of an Access Edge.
    Edge,
    /// A trusted server behind the front ends.
    Server,
}

impl TrustModel {
    /// Whether requests on behalf of contacts carry the field.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Server)
    }

    /// Whether the field counts where it is received. From anybody else it is only what somebody wrote.
    pub const fn reads(self) -> bool {
        !matches!(self, Self::Plain)
    }

    /// How refusals explain themselves: to an edge they cross the border of its enterprise.
    pub const fn diagnostics(self) -> Form {
        match self {
            Self::Edge => Form::Public,
            Self::Plain | Self::Server => Form::Inward,
        }
    }
}
