//! Event subscriptions (RFC 6665, RFC 3856) without IO: the dialogs of both roles.
//!
//! A [`Subscriber`] is one subscription of ours at a front end, a [`Notifier`] is one that an endpoint behind a front
//! end holds with us, a [`Dialog`] is what both stand on ([`crate::dialog`]). They know nothing of documents, of XMPP or
//! of trust.
//!
//! ## Together with the caller
//!
//! Every input takes a [`Context`]: the configuration, a source of fresh tokens, the time. After each input drain
//! `poll()` until it says `None`; then `deadline()` says when `handle_timeout` is due, early or late or twice is
//! harmless. A `Send` goes to [`HopGroup::push`](crate::hop::HopGroup::push) with its serial in the envelope, and the
//! outcome comes back with that serial: `response`, or `failed` (which a refused push is, too). Outcomes of requests
//! that do not matter any more are ignored.
//!
//! Inputs that are requests of the other side return their [`Answer`] at once; what follows from them comes out of
//! `poll()`. Send the answer first, then what was polled.
//!
//! `Bound` and `Released` name the local tag under which requests inside the dialog find the machine.
//!
//! What Lync adds ([`Extras`]) is given to watchers who ask for it: BENOTIFY, the document in the 2xx, a subscription that
//! its notifications extend. As subscriber we ask for none of it, and take what comes nevertheless: a BENOTIFY as a NOTIFY
//! ([`Connection`](crate::connection::Connection) sees to it that nothing answers it), a document in a 2xx as the first
//! NOTIFY.

mod check;
mod config;
mod extras;
mod few;
mod notifier;
mod report;
mod retry;
mod subscriber;
#[cfg(test)]
mod tests;

pub use crate::dialog::{Answer, Dialog, DialogRecord, MAX_KEPT, NoDialog, Order, RESTORE_JUMP, Tokens};
pub(crate) use check::quality;
pub use check::{Wanted, check_notify, check_subscribe, dialog_sharing_refused, unknown_subscription};
pub use config::{Context, EventConfig};
pub use extras::{AUTOEXTEND, BENOTIFY, Extras, PIGGYBACK};
pub use notifier::{
    Document, EXTENDED_AT_MOST, LAST_TRIES, MAX_REFUSALS, Notifier, NotifierEnd, NotifierOutput, NotifyState,
    Terminate, TerminateReason,
};
pub use report::{Again, EndReason, SubscribeFailure, SubscriberOutput, SubscriberReport};
pub use retry::{Retry, TRIES};
pub use subscriber::{OUTCOME_WITHIN, SHORTEST_GRANT, Subscriber};

use crate::hop::HopFailure;

/// 64·T1: how long a subscriber waits for the NOTIFY that has to follow (RFC 6665 §4.1.2.4, Timer N).
pub const TIMER_N: std::time::Duration = std::time::Duration::from_secs(32);

/// How a request of ours came to no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undelivered {
    /// Nothing of it was written: the other side surely does not know of it.
    NotSent,
    /// It was written and the connection ended: it may have been processed.
    Lost,
    /// It was written and nobody answered within 64·T1 (Timer F).
    Timeout,
    /// Nothing of it was written, for it may not leave any more.
    Withdrawn,
}

impl From<&HopFailure> for Undelivered {
    fn from(failure: &HopFailure) -> Self {
        match failure {
            HopFailure::Timeout => Self::Timeout,
            HopFailure::Lost => Self::Lost,
            HopFailure::Unreachable { .. }
            | HopFailure::Congested
            | HopFailure::BranchInUse
            | HopFailure::ShuttingDown => Self::NotSent,
            HopFailure::Withdrawn => Self::Withdrawn,
        }
    }
}

/// The value of Event in the requests of a dialog.
fn event_of(dialog: &Dialog, config: &EventConfig) -> std::borrow::Cow<'static, str> {
    match dialog.event_id() {
        Some(id) => [config.package, ";id=", id].concat().into(),
        None => config.package.into(),
    }
}

/// Answers to requests inside a subscription that end it (RFC 6665 §4.1.2.2, §4.2.2; EV-07, PR-41).
pub fn ends_subscription(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}
