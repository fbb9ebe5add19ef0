//! What became of messages that went in a session, or waited for one.

use nuncio_sip::Message;
use nuncio_sip::event::Undelivered;
use nuncio_sip::session::{InviteFailure, MessageOutcome};

use super::super::ToSip;

/// Something for the SIP user whose sender can be told now.
#[derive(Debug)]
pub struct Settled<M> {
    pub item: ToSip<M>,
    pub outcome: Outcome,
}

/// How it ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It was answered with 2xx: this one, and this Message-Id.
    Delivered { status: u16, message_id: Option<Box<str>> },
    /// Any other final response, to it or to the invitation that it waited for.
    Refused(Message),
    /// There was no response.
    Undelivered(Undelivered),
    /// The invitation that it waited for had no response; it surely did not arrive itself.
    Uninvited(Undelivered),
    /// The SIP user did not answer the invitation that it waited for; it surely did not arrive.
    NoAnswer,
    /// An administrator ended the session that it waited for; it surely did not arrive.
    CalledOff,
}

impl From<MessageOutcome> for Outcome {
    fn from(outcome: MessageOutcome) -> Self {
        match outcome {
            MessageOutcome::Delivered { status, message_id } => Self::Delivered { status, message_id },
            MessageOutcome::Refused(response) => Self::Refused(response),
            MessageOutcome::Undelivered(why) => Self::Undelivered(why),
        }
    }
}

/// What follows from an invitation that came to nothing.
#[derive(Debug)]
pub(super) enum Instead {
    /// Messages go alone (CH-03). The status that said so; `None`: it was accepted, but with something useless.
    Pager(Option<u16>),
    /// He is to be invited anew.
    Again,
    /// They do not go at all.
    Nothing(Outcome),
    /// It was not wanted any more. Whoever did not want it sees to what waits, if that is not to go another way.
    Whatever,
}

impl Instead {
    pub(super) fn of(failure: InviteFailure) -> Self {
        match failure {
            InviteFailure::Refused(response) => match response.status().map_or(500, |status| status.0) {
                status if is_about_sessions(status) => Self::Pager(Some(status)),
                _ => Self::Nothing(Outcome::Refused(response)),
            },
            InviteFailure::NoAnswer => Self::Nothing(Outcome::NoAnswer),
            InviteFailure::Undelivered(Undelivered::Withdrawn) => {
                Self::Nothing(Outcome::Undelivered(Undelivered::Withdrawn))
            }
            InviteFailure::Undelivered(Undelivered::Lost) => Self::Again,
            InviteFailure::Undelivered(why) => Self::Nothing(Outcome::Uninvited(why)),
            InviteFailure::Unacceptable(_) | InviteFailure::Undescribed(_) | InviteFailure::NoDialog => {
                Self::Pager(None)
            }
            InviteFailure::Unwritable => Self::Pager(None),
            InviteFailure::Abandoned => Self::Whatever,
        }
    }
}

/// Statuses that refuse the session and not the user who asks for it (CH-03).
fn is_about_sessions(status: u16) -> bool {
    matches!(status, 405 | 406 | 415 | 416 | 420 | 421 | 488 | 501 | 606)
}
