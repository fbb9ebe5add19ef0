//! What a connection wants of its caller, and says of what he gave it.

use bytes::Bytes;

use super::ServerTxn;
use crate::Message;

/// What a connection wants of its caller.
#[derive(Debug)]
pub enum Output<E> {
    /// A request, well formed and new. Answer it with [`Connection::respond`](super::Connection::respond).
    Request { txn: ServerTxn, message: Message },
    /// A pending INVITE was cancelled: answer it with 487, unless you have answered it meanwhile.
    Cancelled { txn: ServerTxn },
    /// An ACK, unless it is for an answer other than 2xx. It belongs to the dialog that its To tag names, or to none.
    Ack { message: Message },
    /// The final response to a request; the first one, if it is 2xx to INVITE.
    Response { envelope: E, message: Message },
    /// A response to INVITE beside the one that settles it: provisional (not 100), before it, or 2xx of this or of
    /// another branch of a fork, after it. It belongs to the dialog that its From tag names.
    Early { message: Message },
    /// An ACK of ours stands in the output, or a BENOTIFY is written: nothing comes back for it.
    Acknowledged { envelope: E },
    /// A request that gets no response.
    Failed { envelope: E, why: Failure },
    /// The peer does not answer pings: close the socket, then call [`Connection::closed`](super::Connection::closed).
    Dead,
}

/// Why a request of ours got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No final response in time. The peer may have processed the request.
    #[error("no answer within 32 seconds")]
    Timeout {
        /// Meanwhile there was a response to this or another request, if only a provisional one: somebody is there.
        heard: bool,
    },
    /// The connection ended first.
    #[error("the connection was lost before the answer came")]
    ConnectionLost {
        /// Any of it may have been sent: the peer may have processed it. `false` is certain.
        written: bool,
    },
}

/// A request was not taken; nothing of it will be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct SendRefused<E> {
    pub why: Why,
    pub envelope: E,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// [`ConnectionConfig::max_pending_out`](super::ConnectionConfig::max_pending_out) requests wait for their answer.
    #[error("too many requests wait for an answer on this connection")]
    Full,
    /// The connection is closed, or about to be.
    #[error("the connection is closed")]
    Closed,
    /// Another request with this branch and method waits for its answer.
    #[error("the branch is in use")]
    BranchInUse,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an orphaned answer is sent by nobody else"]
pub enum Responded {
    /// It stands in the output.
    Sent,
    /// This method gets no answer (BENOTIFY); the transaction has ended.
    Silent,
    /// The connection was closed meanwhile. This is the response; RFC 3261 §18.2.2 lets it go over a new
    /// connection to the address in its top Via.
    Orphaned(Bytes),
    /// Not a status for this request, or a transaction that has ended: dropped and counted.
    Dropped,
}
