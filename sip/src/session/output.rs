//! What a session tells its caller.

use compact_str::CompactString;

use crate::event::Undelivered;
use crate::hop::OutRequest;
use crate::sdp::{SdpError, Unacceptable};
use crate::{Fields, Message};

/// What a session wants of its caller.
#[derive(Debug)]
pub enum SessionOutput {
    /// Requests inside a dialog with this local tag, and what is said early to its INVITE, are for this machine from now
    /// on.
    Bound(CompactString),
    /// … and no more: it can be dropped.
    Released(CompactString),
    /// Send this; the outcome comes back with the serial.
    Send { serial: u32, request: OutRequest },
    /// Cancel the INVITE that was pushed with this branch, with these fields on the CANCEL.
    Cancel { branch: String, fields: Fields },
    /// Send the last 2xx to an INVITE once more.
    Repeat,
    /// What became of it.
    Report(SessionReport),
}

/// News of the session. After `Failed` and `Ended` no message can be sent in it.
#[derive(Clone, Debug)]
pub enum SessionReport {
    /// Somebody is being asked: 180 to 199 to our INVITE.
    Ringing { status: u16 },
    /// Messages can be sent: ACK has been sent or has come.
    Established,
    /// Our INVITE came to nothing. No message was sent in it.
    Failed(Box<InviteFailure>),
    /// What became of a MESSAGE or INFO, also after the end of the session.
    Message { serial: u32, outcome: MessageOutcome },
    /// The session is over. Requests of the other side that wait for an answer get theirs, 487 if there is none (SIP-31).
    Ended(SessionEnd),
}

/// Why an INVITE of ours came to nothing.
#[derive(Clone, Debug)]
pub enum InviteFailure {
    /// Refused, redirected or challenged: status, reason, Retry-After, Warning and Contact stand in it.
    Refused(Message),
    /// No final response in time; it was cancelled.
    NoAnswer,
    /// It did not get there, or no response came.
    Undelivered(Undelivered),
    /// It was accepted with a description that allows no messages.
    Unacceptable(Unacceptable),
    /// It was accepted with something that cannot be read as a description.
    Undescribed(SdpError),
    /// It was accepted with a response that makes no dialog.
    NoDialog,
    /// [`Session::end`](super::Session::end), before it was answered.
    Abandoned,
    /// It could not be written: an address is unusable.
    Unwritable,
}

/// What became of a message.
#[derive(Clone, Debug)]
pub enum MessageOutcome {
    /// 2xx: 200 says that it is with the other side's client, 202 that somebody keeps it, under this Message-Id.
    Delivered {
        status: u16,
        message_id: Option<Box<str>>,
    },
    /// Any other final response.
    Refused(Message),
    Undelivered(Undelivered),
}

/// Why an established session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionEnd {
    /// The other side said BYE.
    Theirs,
    /// [`Session::end`](super::Session::end).
    Ours,
    /// No message for [`SessionConfig::idle`](super::SessionConfig::idle).
    Idle,
    /// Our 2xx to an INVITE was not acknowledged (CH-11).
    NoAck,
    /// The session interval passed without refresh (CH-13).
    NotRefreshed,
    /// A request inside it was answered with this status, which says that there is no such session, or 408 for none at all.
    Gone(u16),
    /// The ACK for our offer held no usable answer.
    Unacceptable,
}
