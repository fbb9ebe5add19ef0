//! What a notifier says, and to whom.

use std::time::Duration;

use bytes::Bytes;
use compact_str::CompactString;

use crate::event::Undelivered;
use crate::hop::OutRequest;

/// What a notifier wants of its caller. `Ended` comes exactly once, `Released` after it as the last of all.
#[derive(Debug)]
pub enum NotifierOutput {
    /// Requests inside a dialog with this local tag are for this machine, from now on.
    Bound(CompactString),
    /// … and no more: it can be dropped.
    Released(CompactString),
    /// Send this; the outcome comes back with the serial.
    Send { serial: u32, request: OutRequest },
    /// The subscription has ended. The last NOTIFY may still be on its way.
    Ended(NotifierEnd),
    /// A NOTIFY did not reach anybody. The newest state is sent after a while, or at once with
    /// [`Notifier::retry`](super::Notifier::retry).
    Stalled(Undelivered),
}

/// Why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifierEnd {
    /// The watcher only wanted to know once.
    Fetched,
    /// The watcher ended it with Expires 0.
    Unsubscribed,
    /// The watcher did not refresh it.
    Expired,
    /// [`Notifier::terminate`](super::Notifier::terminate).
    Terminated,
    /// A NOTIFY was refused with this status (PR-41), or again and again with others.
    Refused(u16),
    /// A NOTIFY was not answered (Timer F).
    Silent,
    /// A NOTIFY could not be written: what the watcher gave us as its address is unusable.
    Unwritable,
}

/// What a NOTIFY says about the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyState {
    Pending,
    Active,
    Terminated(TerminateReason),
}

/// Reasons we give (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminateReason {
    Deactivated,
    Probation,
    Rejected,
    Timeout,
    GiveUp,
    NoResource,
    Invariant,
}

impl TerminateReason {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deactivated => "deactivated",
            Self::Probation => "probation",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::GiveUp => "giveup",
            Self::NoResource => "noresource",
            Self::Invariant => "invariant",
        }
    }
}

/// How we end a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminate {
    pub reason: TerminateReason,
    /// The watcher is not to try again before; means something with `Probation` and `GiveUp` only.
    pub retry_after: Option<Duration>,
    /// Further header fields of the last NOTIFY: why it ended, in a form the front end reads.
    pub fields: Vec<(&'static str, String)>,
}

impl Terminate {
    /// Without a word about when to try again.
    pub fn because(reason: TerminateReason) -> Self {
        Self { reason, retry_after: None, fields: Vec::new() }
    }
}

/// The body of a NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Content-Type.
    pub media: &'static str,
    pub body: Bytes,
    /// Content-Language.
    pub language: Option<CompactString>,
    /// Require: what the watcher has to know to read it.
    pub require: Option<&'static str>,
    /// Further header fields.
    pub fields: Vec<(&'static str, String)>,
}
