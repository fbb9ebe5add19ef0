//! Server dialback (XEP-0220, keys by XEP-0185), without IO: keys, elements, error conditions, and what is asked of the
//! authoritative server. The roles are played by the stream machines:
//!
//! * *initiating*: [`Outbound`](crate::stream::Outbound) sends a key made with our [`DialbackSecret`] and waits for the
//!   result;
//! * *receiving*: [`Inbound`](crate::stream::Inbound) gets a key and asks its driver, by
//!   [`Output::Verify`](crate::stream::Output::Verify), to have it verified;
//! * *authoritative*: [`Inbound`](crate::stream::Inbound) recomputes a key with the same secret and answers at once.
//!
//! A verification runs on a stream of its own: an [`Outbound`](crate::stream::Outbound) with
//! [`Purpose::Verify`](crate::stream::Purpose::Verify), to wherever the sender's domain leads by DNS, and never on the
//! connection that brought the key (DB-12).

mod condition;
mod element;
mod secret;

pub use condition::{DialbackCondition, DialbackError};
pub(crate) use element::{
    Content, DialbackElement, DialbackKind, MalformedDialback, write_answer, write_key,
};
pub use secret::{DialbackKey, DialbackSecret};

use compact_str::CompactString;

use crate::conditions::StreamCondition;
use crate::jid::Domain;
use crate::stream::{Cause, Evidence};

/// A sender's and a receiver's domain, in the order in which stanzas flow: what a stream is authenticated for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The sender domain.
    pub from: Domain,
    /// The target domain.
    pub to: Domain,
}

/// A key that a peer gave us, to be verified by the server that is authoritative for the peer's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyRequest {
    /// The sender domain, claimed; its server is to be asked.
    pub from: Domain,
    /// The domain of ours that it wants to reach.
    pub to: Domain,
    /// The id of the header *we* sent on the stream that brought the key (DB-08).
    pub stream_id: CompactString,
    /// The key.
    pub key: DialbackKey,
}

impl VerifyRequest {
    /// The pair that a valid key would authenticate.
    pub fn pair(&self) -> Pair {
        Pair { from: self.from.clone(), to: self.to.clone() }
    }
}

/// What came of a [`VerifyRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyOutcome {
    /// The authoritative server knows the key.
    Valid,
    /// It does not: somebody poses as the sender domain, or its servers do not share their secret.
    Invalid,
    /// It was not found, not reached, or did not answer; the peer is told this.
    Failed(DialbackCondition),
}

impl VerifyOutcome {
    /// What it means that the stream on which the question was to be asked ended without an answer (DB-11).
    pub fn of_failure(evidence: &Evidence) -> Self {
        Self::Failed(match &evidence.cause {
            // XEP-0220 §2.4.2: whatever error the authoritative server answered.
            Cause::DialbackError(_)
            | Cause::PeerError {
                condition: StreamCondition::HostUnknown | StreamCondition::HostGone, ..
            } => DialbackCondition::RemoteServerNotFound,
            Cause::NoStartTls { .. }
            | Cause::StartTlsFailed
            | Cause::TlsFailed(_)
            | Cause::TlsSwitchedOff
            | Cause::Certificate { .. }
            | Cause::Downgrade => DialbackCondition::RemoteConnectionFailed,
            _ => DialbackCondition::RemoteServerTimeout,
        })
    }
}
