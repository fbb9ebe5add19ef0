//! Why the gateway ends the subscription of an endpoint, as its last NOTIFY tells the front end.

use std::time::Duration;

use nuncio_sip::event::{Terminate, TerminateReason};
use nuncio_xmpp::Condition;

use super::Watcher;
use crate::diagnostics::{self, Diagnostic};
use crate::judge::Refusal;
use crate::pair::step::Step;

/// Why it ends. The SIP user's own side may know all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastWords {
    /// `unsubscribed` of the contact.
    Declined,
    Rule(Refusal),
    /// The administrator takes back that the SIP user added the contact.
    Removed,
    /// The same endpoint has another subscription.
    Replaced,
    TooMany,
    /// The request came back.
    Returned(Condition),
    Unreachable,
    /// He takes no stanza as large as the request.
    TooLarge,
    Stopping,
    /// Our name towards front ends is another one from now on.
    OtherIdentity,
    /// An administrator has it so.
    Closed,
}

impl LastWords {
    /// The end for that reason, as the front end of this endpoint is told it.
    pub(super) fn of(
        self,
        watcher: &Watcher,
        reason: TerminateReason,
        retry_after: Option<Duration>,
        step: &Step<'_, '_>,
    ) -> Terminate {
        let context = &step.context;
        let remote = context.key.remote_domain();
        let (diagnostic, why) = match self {
            Self::Declined => {
                (Diagnostic::Declined, "the contact declines, or has ended, the subscription".to_owned())
            }
            Self::Rule(refusal) => (Diagnostic::from(refusal), diagnostics::by_rule(refusal, remote)),
            Self::Removed => (
                Diagnostic::SenderNotAuthorised,
                "an administrator has taken back that the user has added the contact".to_owned(),
            ),
            Self::Replaced => (
                Diagnostic::RequestKind,
                "a newer subscription of the same endpoint to the same contact takes its place".to_owned(),
            ),
            Self::TooMany => (
                Diagnostic::Limit,
                format!(
                    "the user has more than {} subscriptions to this contact; the one that ends first makes room",
                    context.config.endpoints
                ),
            ),
            Self::Returned(condition) => (
                match condition {
                    Condition::ItemNotFound => Diagnostic::NoSuchUser,
                    _ => Diagnostic::RefusedByPartner,
                },
                format!("partner {remote}: the request came back with {}", condition.as_str()),
            ),
            Self::Unreachable => (
                Diagnostic::NoRouteNow,
                format!(
                    "partner {remote}: it could not be reached for {} s",
                    context.config.give_up.as_secs()
                ),
            ),
            Self::TooLarge => (
                Diagnostic::RefusedByPartner,
                format!("partner {remote}: it takes no stanza as large as the request"),
            ),
            Self::OtherIdentity => (
                Diagnostic::NoRouteNow,
                format!("{remote}: the partner's type has changed, and with it our name; subscribe again"),
            ),
            Self::Stopping => {
                (Diagnostic::Shutdown, "the gateway is shutting down; subscribe again".to_owned())
            }
            Self::Closed => (
                Diagnostic::ClosedByHand,
                "an administrator has ended the subscription; a new one is not refused".to_owned(),
            ),
        };
        let form = context.config.diagnostics_for(&watcher.front_end);
        let ourselves = &(context.events_under)(watcher.identity.into()).contact_host;
        let fields = vec![diagnostic.field(form, ourselves, &why)];
        Terminate { reason, retry_after, fields }
    }
}
