//! What a group of next hops wants of its driver, and why a request comes back.

use std::sync::Arc;
use std::time::Duration;

use super::{HopConnection, Outgoing};
use crate::{Fields, Message};

/// What a group wants of its driver.
#[derive(Debug)]
pub enum HopOutput<E> {
    /// Connect to this next hop, then say [`HopGroup::connected`](super::HopGroup::connected) or
    /// [`HopGroup::connect_failed`](super::HopGroup::connect_failed). No second one comes before that. One that is not there
    /// `within` this time has failed; without it, the driver's own times count.
    Connect { target: usize, within: Option<Duration> },
    /// Send this on that connection.
    Send { connection: HopConnection, outgoing: Outgoing<E> },
    /// Nothing more will be sent on that connection: close it when its transactions have ended.
    Release { connection: HopConnection },
    /// Call [`Connection::cancel`](crate::connection::Connection::cancel) with this branch and these fields there.
    Cancel { connection: HopConnection, branch: String, fields: Fields },
    /// The final response to a request, which `target` was asked last.
    Response { envelope: E, message: Message, target: Option<usize> },
    /// An ACK has been sent, or a BENOTIFY written: no response will come.
    Acknowledged { envelope: E },
    /// A request that gets no response; the next hop that was asked last, if any was.
    Failed { envelope: E, why: HopFailure, target: Option<usize> },
}

/// Why a request gets no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HopFailure {
    /// It was sent, and nobody answered. It may have been processed.
    #[error("the front end did not answer")]
    Timeout,
    /// It was sent, and the connection ended. It may have been processed.
    #[error("the connection to the front end was lost before the answer came")]
    Lost,
    /// It was not sent: no connection came about in time.
    #[error("no front end could be reached{}", last.as_ref().map(|l| format!(": {l}")).unwrap_or_default())]
    Unreachable {
        /// What the last attempt ended with.
        last: Option<Arc<ConnectFailure>>,
    },
    /// It was not sent: too many requests before it waited for their answer.
    #[error("the front end answers too slowly")]
    Congested,
    /// It was not sent: another request with the same branch is under way, which is a fault of the caller.
    #[error("the request carries the branch of another one")]
    BranchInUse,
    /// It was not sent: we are shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// It was not sent: the caller took it back ([`HopGroup::withdraw`](super::HopGroup::withdraw)).
    #[error("it was taken back when it was about to be sent")]
    Withdrawn,
}

impl HopFailure {
    /// Whether the request may have been processed nevertheless.
    pub fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Timeout | Self::Lost)
    }
}

/// How an attempt to connect ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target}: {reason}")]
pub struct ConnectFailure {
    /// The next hop, as configured.
    pub target: String,
    /// For people.
    pub reason: String,
}

/// A request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub struct PushRefused<E> {
    pub why: PushRefusal,
    pub envelope: E,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushRefusal {
    /// [`HopConfig::max_requests`](super::HopConfig::max_requests) or [`HopConfig::max_bytes`](super::HopConfig::max_bytes).
    #[error("too much waits for the front end already")]
    Full,
    /// [`HopGroup::drain`](super::HopGroup::drain) was called.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}
