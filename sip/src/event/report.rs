//! What a subscriber tells its caller.

use std::time::Duration;

use compact_str::CompactString;

use super::Undelivered;
use crate::hop::OutRequest;
use crate::{Message, SubscriptionState};

/// What a subscriber wants of its caller.
#[derive(Debug)]
pub enum SubscriberOutput {
    /// Requests inside a dialog with this local tag are for this machine, from now on.
    Bound(CompactString),
    /// … and no more.
    Released(CompactString),
    /// Send this; the outcome comes back with the serial.
    Send { serial: u32, request: OutRequest },
    /// What became of the subscription.
    Report(SubscriberReport),
}

/// News of the subscription. After `Ended`, `Refused` and `Failed` there is none any more.
#[derive(Clone, Debug)]
pub enum SubscriberReport {
    /// The other side has taken note and not decided. Nothing is known of the resource.
    Pending,
    /// A NOTIFY with the state of the resource; without `document` it is not known.
    Active { document: Option<Message> },
    /// The notifier ended it, or we did.
    Ended { reason: EndReason, again: Again, document: Option<Message> },
    /// A SUBSCRIBE was refused. `refresh`: there was a subscription before.
    Refused { status: u16, retry_after: Option<Duration>, refresh: bool },
    /// It came to nothing without anybody saying so.
    Failed { why: SubscribeFailure },
}

/// How a subscription can fail without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFailure {
    /// The SUBSCRIBE that was to begin it got no answer.
    Undelivered(Undelivered),
    /// The NOTIFY that has to follow a SUBSCRIBE did not come (Timer N).
    NoNotify,
    /// It could not be refreshed in time.
    Expired,
    /// A request could not be written: what the other side gave us as its address is unusable.
    Unwritable,
}

/// Why a subscription ended (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    Deactivated,
    Probation,
    Rejected,
    Timeout,
    GiveUp,
    NoResource,
    Invariant,
    /// None, or one that nobody defined.
    Other,
    /// We wanted it.
    Unsubscribed,
}

/// Whether to subscribe again, as far as SIP has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once, in a new dialog.
    AtOnce,
    /// Not before that.
    After(Duration),
    /// At any time.
    Whenever,
    /// It would end in the same way.
    Never,
}

/// What a NOTIFY `terminated` means (PR-20…PR-28).
pub(super) fn classify(state: &SubscriptionState<'_>) -> (EndReason, Again) {
    let is = |name: &str| state.reason().is_some_and(|reason| reason.eq_ignore_ascii_case(name));
    let wait = state.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
    let later = wait.map_or(Again::Whenever, Again::After);
    if is("deactivated") {
        (EndReason::Deactivated, Again::AtOnce)
    } else if is("probation") {
        (EndReason::Probation, later)
    } else if is("rejected") {
        (EndReason::Rejected, Again::Never)
    } else if is("timeout") {
        (EndReason::Timeout, Again::AtOnce)
    } else if is("giveup") {
        (EndReason::GiveUp, later)
    } else if is("noresource") {
        (EndReason::NoResource, Again::Never)
    } else if is("invariant") {
        (EndReason::Invariant, Again::Never)
    } else {
        (EndReason::Other, later)
    }
}
