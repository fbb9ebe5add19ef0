//! Lanes: the ordered way of stanzas from one local domain to one remote domain.
//!
//! A [`Lane`] decides everything that can lose, double, delay or reorder a stanza on its way out: it
//! asks for a connection (one at a time), holds what waits for it, hands batches to be written, keeps
//! what was written until the peer has proved that it was processed, and reports every tracked stanza
//! exactly once. It does no IO: a driver feeds it events and drains [`Output`]s.
//!
//! What becomes of a tracked stanza:
//!
//! ```text
//! push ──▶ queued ──take──▶ writing ──written──▶ unconfirmed ──ping answered──▶ (done)
//!            │                 │                      │
//!            ├ Expired         └ InFlight             ├ MayBeLost   stream ended first
//!            └ Refused           (write cut off)      └ counted     no answer to the ping in time; Unproved, if
//!                                                                   this stream has answered one before
//! ```
//!
//! On a stream whose peer speaks stream management (XEP-0198) the acknowledgement is the proof, and the answer to the
//! sender waits for it; a stream that is lost can be resumed:
//!
//! ```text
//! push ──▶ queued ──take──▶ unacknowledged ──acknowledged──▶ Written
//!            │ ▲                 │
//!            │ └── resumed, not handled
//!            ├ Expired           └ InFlight   waited too long, or lost without resumption
//!            └ Refused
//! ```
//!
//! Proof of processing without it (RFC 6120 §10.1): a peer processes the stanzas of a stream in order, so any
//! answer to an XEP-0199 ping that was written after a stanza shows that the stanza was processed.

mod acknowledged;
mod attempt;
mod backoff;
mod machine;
mod retry;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use backoff::Backoff;
pub use machine::Lane;

/// What the caller attaches to a tracked stanza: enough to answer, bounce and account for it.
pub trait Envelope {
    /// What is kept once the stanza was written and its sender has been answered: enough to tell the
    /// sender later that the message may not have arrived. It holds no body.
    type Receipt;

    /// The part that outlives the answer to the sender.
    fn receipt(&self) -> Self::Receipt;
}

/// Bounds and times of a lane.
#[derive(Debug, Clone)]
pub struct LaneConfig {
    /// Most tracked stanzas queued or being written.
    pub capacity: usize,
    /// Most bytes of tracked stanzas queued.
    pub capacity_bytes: usize,
    /// Most replies (stanza errors, IQ answers) reserved, queued or being written.
    pub reply_capacity: usize,
    /// Most stanzas written but not yet proved processed. When full, writing pauses.
    pub unconfirmed: usize,
    /// How long a stanza may wait before its sender is told that it was not delivered.
    pub hold: Duration,
    /// How long an answer to a ping may take before what it covers is given up as unconfirmed, and how long an
    /// acknowledgement may take before the stream is.
    pub ping_timeout: Duration,
    /// How long the write of a batch may take before the connection is given up.
    pub stall: Duration,
    /// Delay before the second connection attempt; doubled for each further one.
    pub backoff_initial: Duration,
    /// Longest delay between two connection attempts.
    pub backoff_max: Duration,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            capacity: 4096,
            capacity_bytes: 8 << 20,
            reply_capacity: 4096,
            unconfirmed: 16384,
            hold: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            backoff_initial: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// Why the remote domain could not be reached or did not stay reachable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// The step, the evidence and the fix, for the administrator.
    pub text: Arc<str>,
}

impl Failure {
    pub fn new(kind: FailureKind, text: impl Into<Arc<str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The class of a [`Failure`], which decides the error the sender gets (RFC 6120 §10.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The domain does not exist or offers no XMPP service: `remote-server-not-found`.
    DomainNotFound,
    /// The domain could not be looked up just now: `remote-server-not-found`.
    Unresolvable,
    /// No address answered, or the connection broke: `remote-server-timeout`.
    Unreachable,
    /// A connection was made but no stream we may use came of it: `remote-server-timeout`.
    Negotiation,
    /// The same, because the certificate shown there does not prove the domain.
    Certificate,
    /// There are as many streams as there may be: `resource-constraint`.
    TooManyStreams,
    /// The gateway is stopping.
    Shutdown,
}

/// What the peer of a stream offers the lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// Stream management (XEP-0198), to be enabled by us.
    pub management: bool,
    /// Stanzas of the peer come on the stream as well (XEP-0288). What has come of those is not kept beyond the stream, so
    /// such a session is not resumed.
    pub both_ways: bool,
    /// Octets of the largest stanza it takes (XEP-0478), if it says so.
    pub max_bytes: Option<usize>,
}

/// A stanza about to be written, offered to the caller for a last look.
#[derive(Debug)]
pub struct Outgoing<'a, E> {
    pub envelope: &'a mut E,
    /// The serialised stanza; the caller may amend it, for example with a delay stamp (XEP-0203).
    pub bytes: &'a mut Vec<u8>,
    /// When the stanza entered the lane.
    pub arrival: Instant,
    /// It left before, on a stream that was lost, and the peer says that it has not handled it.
    pub again: bool,
}

/// The callers' part in a write: the last look at each stanza, and the ping that confirms them.
pub trait WriteHooks<E> {
    /// Whether the stanza may still leave. What had to wait is judged again under the rules of now.
    fn admit(&mut self, stanza: Outgoing<'_, E>) -> bool;

    /// The stanza is larger than the partner takes (XEP-0478): what it can do without may be taken out.
    fn make_brief(&mut self, stanza: &mut Vec<u8>) {
        let _ = stanza;
    }

    /// Appends an XEP-0199 ping to the remote domain whose id carries `sequence`.
    fn ping(&mut self, sequence: u64, out: &mut Vec<u8>);
}

/// Why [`Lane::push`] did not take a stanza. The envelope is handed back.
#[derive(Debug)]
pub struct PushError<E> {
    pub envelope: E,
    pub reason: PushRefusal,
}

/// The reason inside a [`PushError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushRefusal {
    /// The lane holds as much as it may.
    Full,
    /// The partner is in back-off for longer than a stanza may be held.
    Unreachable(Failure),
    /// The partner takes no stanza of more than so many octets (XEP-0478).
    TooLarge(usize),
    /// The gateway is stopping.
    ShuttingDown,
}

/// What a lane asks of its driver or reports to its caller.
#[derive(Debug)]
pub enum Output<E: Envelope> {
    /// Open a connection and report [`Lane::opened`] or [`Lane::connect_failed`].
    Connect,
    /// The write that carried the stanza is complete, or the peer has acknowledged it where it does that: its sender
    /// may be answered.
    Written(E),
    /// The stanza was never handed to a connection within the hold time; it was surely not delivered.
    Expired { envelope: E, failure: Option<Failure> },
    /// [`WriteHooks::admit`] refused it when it was about to leave.
    Refused(E),
    /// It is larger than the partner takes (XEP-0478), and was not sent.
    TooLarge { envelope: E, limit: usize },
    /// The stream ended, or stood still for the hold time, inside the write or before the acknowledgement: it may or may
    /// not have arrived.
    InFlight { envelope: E, failure: Option<Failure> },
    /// It was written and its sender was answered, then the stream ended without proof of processing.
    MayBeLost(E::Receipt),
    /// It was written and its sender was answered, then proof of processing did not come in time, on a living stream that
    /// has brought proof before. Nothing will be said of it any more.
    Unproved(E::Receipt),
    /// Room for replies came free after [`Lane::reserve_reply`] had failed.
    ReplyRoom,
    /// The connection has not moved for too long: drop it and report [`Lane::closed`].
    Abort,
    /// Nothing was acknowledged for too long: close the stream with `connection-timeout`, and report [`Lane::closed`].
    Unresponsive,
    /// The session that was to be resumed on a stream of ours is given up: a stream of the peer's may carry the lane again
    /// ([`Lane::opened_by_peer`]).
    Free,
    /// Draining: everything is written, the stream may be closed; without a stream, nothing is left.
    Drained,
}

/// Counters of a lane since its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneCounters {
    /// Tracked stanzas proved processed by the peer.
    pub confirmed: u64,
    /// Tracked stanzas given up because no ping answer came on a living stream.
    pub unconfirmed: u64,
    /// Replies dropped because the partner could not be reached, or takes none as large.
    pub replies_dropped: u64,
    /// Messages and presence given to a connection, those sent again as well.
    pub sent: u64,
    /// Answers to pings, and acknowledgements: each shows that the partner lives.
    pub proofs: u64,
}

impl std::ops::AddAssign for LaneCounters {
    fn add_assign(&mut self, other: Self) {
        let Self { confirmed, unconfirmed, replies_dropped, sent, proofs } = other;
        self.confirmed += confirmed;
        self.unconfirmed += unconfirmed;
        self.replies_dropped += replies_dropped;
        self.sent += sent;
        self.proofs += proofs;
    }
}
