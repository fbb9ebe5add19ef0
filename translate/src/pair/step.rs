//! What both halves of a pair share during one step.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nuncio_sip::event;
use nuncio_xmpp::{BareJid, Jid};

use super::context::Identity;
use super::output::{Attempt, Fact, Half, Judged, Output, Sent, ToXmpp};
use super::saved::Saved;
use super::{Context, From, To};
use crate::Moment;
use crate::judge::{Consent, Direction, Kind, Permit, Refusal};
use crate::presence::to_xmpp::{self, Ends, Subscription};
use crate::presence::{Disclosure, Update, Veil};

/// Who may see whom (RFC 6121 §2.1.2.5).
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) to: To,
    pub(super) from: From,
    /// Seconds of Unix time; with [`From::No`]: since when the contact is being told so, 0 if he knows.
    pub(super) from_since: u64,
}

/// Orders in the sequence in which they are to be carried out, each with the ticket that it waits for.
pub(super) type Orders = VecDeque<(u64, Output)>;

/// One step of a pair.
pub(super) struct Step<'s, 'c> {
    pub(super) consent: &'s mut Consent,
    pub(super) roster: &'s mut Roster,
    pub(super) saved: &'s mut Saved,
    pub(super) orders: &'s mut Orders,
    pub(super) context: &'s mut Context<'c>,
    /// The other half shows the SIP user as available.
    pub(super) contact_sees_user: bool,
    /// The other half sees the contact as available.
    pub(super) contact_is_seen: bool,
}

/// Whom a stanza goes to, and what it answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reply<'a> {
    pub(super) resource: Option<&'a str>,
    pub(super) id: &'a str,
}

impl Step<'_, '_> {
    pub(super) fn event(&mut self) -> event::Context<'_> {
        self.context.event()
    }

    /// For a subscription that began under this identity.
    pub(super) fn event_under(&mut self, identity: Identity) -> event::Context<'_> {
        self.context.event_under(identity)
    }

    pub(super) fn unix(&self) -> u64 {
        self.context.now.unix()
    }

    pub(super) fn judge(&self, direction: Direction, kind: Kind) -> Result<Permit, Refusal> {
        self.context.judge(direction, kind, self.consent)
    }

    /// Whether the contact may ask to see the SIP user.
    pub(super) fn contact_may_ask(&self) -> Result<Permit, Refusal> {
        self.judge(Direction::XmppToSip, Kind::Subscribe)
    }

    /// Whether the SIP user may be shown to the contact.
    pub(super) fn contact_may_see(&self) -> Result<Permit, Refusal> {
        self.judge(Direction::SipToXmpp, Kind::Presence)
    }

    /// Whether the SIP user may ask to see the contact.
    pub(super) fn user_may_ask(&self) -> Result<Permit, Refusal> {
        self.judge(Direction::SipToXmpp, Kind::Subscribe)
    }

    /// Whether the contact may be shown to the SIP user.
    pub(super) fn user_may_see(&self) -> Result<Permit, Refusal> {
        self.judge(Direction::XmppToSip, Kind::Presence)
    }

    pub(super) fn push(&mut self, output: Output) {
        self.orders.push_back((0, output));
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.push(Output::Fact(fact));
    }

    pub(super) fn refused(&mut self, what: Attempt, refusal: Refusal) {
        self.fact(Fact::Refused { what, refusal });
    }

    /// Changes whether the contact may see the SIP user.
    pub(super) fn set_from(&mut self, from: From) {
        if from != self.roster.from {
            self.roster.from = from;
            self.roster.from_since = if from == From::No { 0 } else { self.unix() };
            self.saved.touch();
        }
    }

    pub(super) fn set_to(&mut self, to: To) {
        if to != self.roster.to {
            self.roster.to = to;
            self.saved.touch();
        }
    }

    /// A stanza of a subscription crosses, once the state it speaks of is stored if `stored` says so.
    pub(super) fn cross(&mut self, permit: Permit, kind: Subscription, id: &str, stored: bool) {
        let asks = matches!(kind, Subscription::Subscribe | Subscription::Probe);
        let judged = Judged::new(permit, if asks { Kind::Subscribe } else { Kind::Presence });
        self.subscription(kind, id, Some(judged), stored);
    }

    /// What of this was to cross and has not left yet does not.
    pub(super) fn recall(&mut self, kind: Subscription) {
        let sent = Sent::Subscription(kind);
        self.orders.retain(|(_, order)| !matches!(order, Output::ToXmpp(stanza) if stanza.sent == sent));
        self.push(Output::Recall(sent));
    }

    /// Consent has ended: what it let pass and still waits here, for the store or behind what does, does not leave. Returns the
    /// requests among it, whose machines wait for word of them.
    pub(super) fn withdraw_forbidden(&mut self) -> Vec<(Half, u32)> {
        let (context, consent) = (&*self.context, &*self.consent);
        let allowed = |direction, judged: &Judged| context.judge(direction, judged.kind, consent).is_ok();
        let mut unsent = Vec::new();
        self.orders.retain(|(_, order)| match order {
            Output::ToXmpp(ToXmpp { judged: Some(judged), .. }) => allowed(Direction::SipToXmpp, judged),
            Output::Request(request) => {
                let stays =
                    request.judged.as_ref().is_none_or(|judged| allowed(Direction::XmppToSip, judged));
                if !stays {
                    unsent.push((request.half.clone(), request.serial));
                }
                stays
            }
            _ => true,
        });
        unsent
    }

    /// `unsubscribed` takes something back and shows nothing, so it needs no permit; only an open partner.
    pub(super) fn take_back(&mut self) {
        self.subscription(Subscription::Unsubscribed, "", None, true);
    }

    /// The SIP user is unavailable, without any more: needs no permit either. One that answers a probe does, for it
    /// tells that there is somebody.
    pub(super) fn unavailable(&mut self) {
        self.write("", None, Reply::default(), |ends, out| to_xmpp::write_unavailable(ends, None, out));
    }

    /// The answer to a probe when nothing is to be seen.
    pub(super) fn nothing_to_see(&mut self, permit: Permit, reply: Reply<'_>, since_ms: Option<u64>) {
        let judged = Judged::new(permit, Kind::Presence);
        let write = |ends: Ends<'_>, out: &mut Vec<u8>| to_xmpp::write_unavailable(ends, since_ms, out);
        self.write("", Some(judged), reply, write);
    }

    /// The SIP user's state crosses.
    pub(super) fn show(&mut self, permit: Permit, updates: &[Update<'_>], brief: bool, reply: Reply<'_>) {
        let disclosure = disclosure(&permit, brief, self.context);
        let judged = Judged::new(permit, Kind::Presence);
        for update in updates {
            self.update(update, disclosure, Some(judged), reply);
        }
    }

    /// The SIP user's resources are taken back: `updates` are of [`Shown::withdraw`](crate::presence::Shown::withdraw).
    pub(super) fn hide(&mut self, updates: &[Update<'static>]) {
        for update in updates.iter().filter(|update| matches!(update, Update::Unavailable { .. })) {
            self.update(update, Disclosure::BasicOnly(Veil::default()), None, Reply::default());
        }
    }

    fn update(
        &mut self,
        update: &Update<'_>,
        disclosure: Disclosure,
        judged: Option<Judged>,
        reply: Reply<'_>,
    ) {
        let write = |ends: Ends<'_>, out: &mut Vec<u8>| to_xmpp::write_update(update, ends, disclosure, out);
        self.write(update.name(), judged, reply, write);
    }

    fn subscription(&mut self, kind: Subscription, id: &str, judged: Option<Judged>, stored: bool) {
        let after = if stored { self.saved.up_to_now() } else { 0 };
        let write = |ends: Ends<'_>, out: &mut Vec<u8>| to_xmpp::write_subscription(kind, ends, out);
        if let Some(stanza) = self.stanza(Reply { resource: None, id }, write) {
            let sent = Sent::Subscription(kind);
            self.orders.push_back((after, Output::ToXmpp(ToXmpp { stanza, sent, judged })));
        }
    }

    fn write(
        &mut self,
        name: &str,
        judged: Option<Judged>,
        reply: Reply<'_>,
        write: impl FnOnce(Ends<'_>, &mut Vec<u8>),
    ) {
        let sent =
            if reply.resource.is_some() { Sent::Reply } else { Sent::Presence { resource: name.into() } };
        if let Some(stanza) = self.stanza(reply, write) {
            self.push(Output::ToXmpp(ToXmpp { stanza, sent, judged }));
        }
    }

    /// `None` if nothing at all may be sent to the partner: permits are not given then, but taking back needs none.
    fn stanza(&self, reply: Reply<'_>, write: impl FnOnce(Ends<'_>, &mut Vec<u8>)) -> Option<Vec<u8>> {
        if !self.context.partner_is_open() {
            return None;
        }
        // Both were parsed when the key was made.
        let from = BareJid::parse(self.context.key.sip_user()).ok()?;
        let contact = BareJid::parse(self.context.key.contact()).ok()?;
        let full = reply.resource.and_then(|resource| contact.with_resource(resource).ok());
        let to: Jid = full.unwrap_or_else(|| contact.into());
        let mut stanza = Vec::with_capacity(256);
        write(Ends { from: &from, to: &to, id: reply.id }, &mut stanza);
        Some(stanza)
    }
}

/// What such a partner may see, at the most; `brief`: without what he takes no stanza of.
pub(super) fn disclosure(permit: &Permit, brief: bool, context: &Context<'_>) -> Disclosure {
    let veil = || Veil::of(&context.config.veil, context.key.as_str());
    let most = Disclosure::to(permit.partner_type(), veil);
    if brief { most.brief() } else { most }
}

/// Seconds of Unix time → when that is by the monotonic clock. What is past is due now.
pub(super) fn instant_at(unix: u64, now: Moment) -> Instant {
    let left = unix.saturating_mul(1000).saturating_sub(now.unix_ms);
    now.instant + Duration::from_millis(left.min(FAR_MS))
}

/// The reverse, for times to come.
pub(super) fn unix_at(instant: Instant, now: Moment) -> u64 {
    (now + instant.saturating_duration_since(now.instant)).unix()
}

/// Later than anything that is planned: a hundred years.
const FAR_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
