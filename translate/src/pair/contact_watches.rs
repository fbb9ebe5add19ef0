//! The contact watches the SIP user: we are the subscriber at a front end (RFC 8048 §5.2; standards table X2S).
//!
//! What the contact may see is in the roster: [`From`]. Whether there is a subscription at the front end is another
//! matter: [`Rest`] says why there is none although the contact may see.

mod absence;
mod endings;
mod front_end;
mod restart;
mod show;
mod stored;

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::Tick;
use nuncio_sip::event::{Retry, Subscriber, Undelivered};
use nuncio_xmpp::BareJid;

pub(super) use front_end::Told;

use super::From;
use super::backoff::Backoff;
use super::context::{Identity, Place};
use super::output::{Attempt, Ended, Fact};
use super::presence::Arrived;
use super::roster::{self, Inbound, Stanza};
use super::seldom::{Nothing, Seldom};
use super::step::{Reply, Step};
use crate::address::{Contact, SipUser};
use crate::judge::{Permit, Refusal};
use crate::presence::to_xmpp::Subscription;
use crate::presence::{Presentity, Shown};
use stored::Stored;

/// The half of a pair in which the contact watches.
#[derive(Debug, Default)]
pub(super) struct ContactWatches {
    subscriber: Option<Box<Subscriber>>,
    /// The front end that holds its dialog, by name; `None`: there is none yet, or no other one.
    front_end: Option<Box<CompactString>>,
    /// Tells the requests of this subscriber from those of an earlier one.
    epoch: u32,
    /// What we are to front ends in its dialog.
    identity: Identity,
    /// It ends under that one, and begins anew under another.
    moves: bool,
    /// It holds a place of the budget.
    place: bool,
    /// It asks once and does not subscribe.
    fetching: bool,
    rest: Rest,
    retry: Retry,
    /// When the front end was last asked anew.
    begun: Option<Tick>,
    /// What is known of the SIP user; `None`: nothing.
    document: Option<Presentity>,
    shown: Shown,
    /// After a restart: what the contact saw last may not be on record.
    unsure: bool,
    /// Until then the contact is taken to be interested.
    interest_until: Option<Tick>,
    /// What is on record of the subscription.
    stored: Option<Stored>,
    /// Milliseconds of Unix time.
    unavailable_since: Option<NonZeroU64>,
    passing: Seldom<Passing>,
}

/// What lasts only for a while.
#[derive(Debug, Default, PartialEq)]
struct Passing {
    /// What was taken back a moment ago stays on record until then: a crash may swallow that, too.
    leaving: Vec<CompactString>,
    leaving_until: Option<Instant>,
    /// The contact asked, and is answered when something is known.
    asks: Option<Asks>,
    /// He asked once, and is not asked about again before that (PR-13). It outlives the answer: a pair of which nothing else
    /// remains would forget it with itself.
    fetched_until: Option<Instant>,
    /// Then the contact is told that the SIP user cannot be seen any more, unless the front end shows him before.
    grace_until: Option<Instant>,
    /// Then what is known of the SIP user becomes otherwise by itself: a note of his ends.
    changes_at: Option<Instant>,
    /// Until then it is remembered that `unsubscribed` was sent.
    farewell_until: Option<Instant>,
    backoff: Backoff,
    owes: Owes,
    /// The partner takes no stanza as large as the document makes: what crosses of it has no texts.
    brief: bool,
}

impl Nothing for Passing {
    const NOTHING: &'static Self = &Self {
        leaving: Vec::new(),
        leaving_until: None,
        asks: None,
        fetched_until: None,
        grace_until: None,
        changes_at: None,
        farewell_until: None,
        backoff: Backoff::NONE,
        owes: Owes { state: false, subscribed: false, farewell: false },
        brief: false,
    };
}

/// Why there is no subscription at the front end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Rest {
    /// There is one, or one is on its way; or nobody wants one.
    #[default]
    No,
    /// No evidence that the contact is there (DEC-07).
    Dormant,
    /// The front end says that nothing will change (PR-26).
    Frozen,
    /// It could not be had, again and again.
    Exhausted,
    /// The partner is disabled.
    Suspended,
    /// There are too many already.
    NoPlace,
}

/// A probe that waits for its answer.
#[derive(Debug, PartialEq)]
struct Asks {
    resource: Option<CompactString>,
    /// The only resource of the SIP user that he asked about.
    about: Option<CompactString>,
    id: CompactString,
    until: Instant,
}

/// What was lost on its way to the contact.
#[derive(Debug, Default, PartialEq)]
struct Owes {
    state: bool,
    subscribed: bool,
    farewell: bool,
}

impl ContactWatches {
    /// `subscribe` of the contact.
    pub(super) fn asks_to_see(&mut self, step: &mut Step<'_, '_>) {
        let (mut to, mut from) = (step.roster.to, step.roster.from);
        match roster::inbound(&mut to, &mut from, Stanza::Subscribe) {
            Inbound::Deliver => match step.contact_may_ask() {
                Ok(_) if looks_like_another(step) => step.fact(Fact::MixedScripts),
                // Without a place for the subscription the request is not taken on: nothing is stored of it (PS-03), and
                // nothing charged for it.
                Ok(permit) if self.take_place(step) => {
                    if !step.context.budget.ask(step.context.key, step.context.now) {
                        self.settle(step);
                        return step.fact(Fact::TooManyRequests);
                    }
                    step.set_from(From::Pending);
                    self.begin_anew();
                    self.want(permit, step);
                }
                Ok(_) => {}
                Err(Refusal::SipUserFirst) => {
                    Self::keep(step);
                    if step.roster.from == From::Kept {
                        self.asks_after_farewell();
                    }
                }
                Err(refusal) => step.refused(Attempt::ContactSubscribes, refusal),
            },
            // PR-11: it is asked again because nobody answered. A kept request goes on waiting.
            Inbound::NotAgain if from == From::Pending => self.there(true, step),
            // PR-10. What he sees follows as if he had just been accepted (XI-05).
            Inbound::Confirm => {
                if let Ok(permit) = step.contact_may_see() {
                    step.cross(permit, Subscription::Subscribed, "", true);
                    self.show_everything(step);
                }
                self.there(true, step);
            }
            Inbound::NotAgain | Inbound::Ignore => {}
        }
    }

    /// `unsubscribe` of the contact. His word ends it, whatever the front end says to that, so `unsubscribed` does not
    /// wait for the front end (PR-08). Only who was seen confirms it: to anybody else the same silence as for a user who
    /// does not exist.
    pub(super) fn gives_up(&mut self, step: &mut Step<'_, '_>) {
        match step.roster.from {
            From::No => {}
            _ => self.end(Ended::ByContact, step),
        }
    }

    /// `probe` of the contact (PR-12…PR-14).
    pub(super) fn probes(&mut self, probe: &Arrived<'_>, step: &mut Step<'_, '_>) {
        match step.roster.from {
            // Nothing was decided, so there is nothing to be said.
            From::Kept | From::Pending => self.there(false, step),
            From::No => match step.contact_may_ask() {
                Ok(permit) => {
                    self.ask_later(probe, step);
                    self.fetch(permit, step);
                }
                Err(refusal) => step.refused(Attempt::ContactProbes, refusal),
            },
            From::Yes => {
                let live = self.is_live() || self.rest == Rest::Frozen;
                if live && self.document.is_some() {
                    let reply = Reply { resource: probe.from, id: probe.id.unwrap_or_default() };
                    self.answer(reply, probe.to, step);
                } else {
                    self.ask_later(probe, step);
                }
                self.there(true, step);
            }
        }
    }

    /// Evidence that the contact is there (DEC-07). `asked`: he asked to see the SIP user, so that what failed is tried
    /// again.
    pub(super) fn there(&mut self, asked: bool, step: &mut Step<'_, '_>) {
        if !matches!(step.roster.from, From::Yes | From::Pending) {
            return;
        }
        self.interested(step);
        let again = match self.rest {
            Rest::No => self.subscriber.as_ref().is_none_or(|subscriber| subscriber.is_idle()),
            Rest::Dormant => true,
            Rest::Exhausted | Rest::NoPlace => asked && self.may_ask_again(step),
            Rest::Frozen | Rest::Suspended => false,
        };
        if again && let Ok(permit) = step.contact_may_ask() {
            self.want(permit, step);
        }
    }

    /// Makes what is so agree with what the rules say now.
    pub(super) fn reconsider(&mut self, step: &mut Step<'_, '_>) {
        if step.context.domains_are_gone() {
            self.farewell_is_vain(step);
        } else if self.passing.owes.farewell {
            self.say_farewell_again(step);
        }
        match step.roster.from {
            From::No => {
                if self.passing.asks.is_some() && step.contact_may_ask().is_err() {
                    self.passing.asks = None;
                }
            }
            From::Kept => match step.contact_may_ask() {
                Ok(permit) => {
                    // The SIP user added the contact: what was kept is acted on.
                    Self::give_kept_place_back(step);
                    step.set_from(From::Pending);
                    self.begin_anew();
                    self.want(permit, step);
                }
                Err(Refusal::UnlistedDomain | Refusal::DomainNotServed) => self.forget(step),
                Err(_) => {}
            },
            From::Pending => match step.contact_may_ask() {
                Ok(permit) => {
                    self.change_identity(step);
                    self.wake(permit, step);
                }
                Err(refusal)
                    if self.is_shown()
                        && !matches!(refusal, Refusal::PartnerDisabled | Refusal::DomainBlocked) =>
                {
                    self.farewell(Ended::ByRule(refusal), step);
                }
                Err(Refusal::SipUserFirst) => {
                    self.forget(step);
                    Self::keep(step);
                }
                Err(Refusal::PartnerDisabled | Refusal::DomainBlocked) => self.suspend(step),
                Err(refusal) => {
                    self.forget(step);
                    step.refused(Attempt::ContactWaited, refusal);
                }
            },
            From::Yes => match step.contact_may_see() {
                Ok(permit) => {
                    if self.passing.owes.subscribed && !self.waits() {
                        self.say_subscribed_again(step);
                    }
                    // The partner may be of another type by now.
                    self.show(step);
                    self.change_identity(step);
                    self.wake(permit, step);
                }
                Err(Refusal::PartnerDisabled | Refusal::DomainBlocked) => self.suspend(step),
                Err(refusal @ (Refusal::UnlistedDomain | Refusal::DomainNotServed)) => {
                    // Nobody there can be told anything.
                    self.forget(step);
                    self.shown = Shown::default();
                    step.fact(Fact::ContactSeesNoMore(Ended::ByRule(refusal)));
                }
                Err(refusal) => self.farewell(Ended::ByRule(refusal), step),
            },
        }
    }

    /// When [`ContactWatches::handle_timeout`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let subscriber = self.subscriber.as_ref().and_then(|subscriber| subscriber.deadline());
        let asks = self.passing.asks.as_ref().map(|asks| asks.until);
        [
            subscriber,
            asks,
            self.passing.fetched_until,
            self.interest_until.map(Tick::get),
            self.passing.grace_until,
            self.passing.changes_at,
            self.passing.leaving_until,
            self.passing.farewell_until,
            self.passing.backoff.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn handle_timeout(&mut self, step: &mut Step<'_, '_>) {
        let now = step.context.now.instant;
        let due = |at: &mut Instant| *at <= now;
        let identity = self.identity(step);
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.handle_timeout(&mut step.event_under(identity));
        }
        self.passing.asks.take_if(|asks| asks.until <= now);
        self.passing.fetched_until.take_if(due);
        if self.passing.grace_until.take_if(due).is_some() {
            self.lose_sight(step);
        }
        if self.passing.changes_at.take_if(due).is_some() {
            self.time_passed(step);
        }
        if self.passing.farewell_until.take_if(due).is_some() {
            self.farewell_ends(step);
        }
        if self.passing.leaving_until.take_if(due).is_some() {
            self.passing.leaving = Vec::new();
            step.saved.touch();
        }
        if self.interest_until.take_if(|until| until.get() <= now).is_some() {
            // A request waits for the SIP user to decide, whoever else is there.
            if step.contact_is_seen || step.roster.from == From::Pending {
                self.interested(step);
            } else {
                self.doze(step);
            }
        }
        if self.passing.backoff.is_due(now) {
            self.send_again(step);
        }
        if matches!(step.roster.from, From::Kept | From::Pending) {
            self.kept_ends(step);
        }
    }

    /// When a request has waited for long enough (SEC-41).
    pub(super) fn kept_until(&self, step: &Step<'_, '_>) -> Option<u64> {
        let waits = matches!(step.roster.from, From::Kept | From::Pending);
        waits.then(|| step.roster.from_since.saturating_add(step.context.config.kept.as_secs()))
    }

    /// Whether a stanza of the contact to this resource is for anybody (PM-28).
    pub(super) fn shows(&self, resource: &str) -> bool {
        self.shown.has(resource)
    }

    /// The contact sees the SIP user as available somewhere.
    pub(super) fn is_shown(&self) -> bool {
        !self.shown.is_empty()
    }

    /// There is nothing to be remembered.
    pub(super) fn is_nothing(&self) -> bool {
        self.subscriber.is_none()
            && !self.place
            && !self.fetching
            && self.rest == Rest::No
            && self.retry == Retry::default()
            && self.begun.is_none()
            && self.document.is_none()
            && self.shown.is_empty()
            && !self.unsure
            && self.interest_until.is_none()
            && self.stored.is_none()
            && self.unavailable_since.is_none()
            && self.passing.is_nothing()
    }

    /// Gives back room that is not needed any more.
    pub(super) fn tidy(&mut self) {
        self.passing.tidy();
    }

    /// Nothing of this half would be lost.
    pub(super) fn is_idle(&self) -> bool {
        self.subscriber.as_ref().is_none_or(|subscriber| subscriber.is_idle())
            && self.passing.asks.is_none()
            && self.passing.fetched_until.is_none()
            && self.passing.farewell_until.is_none()
    }

    /// Something was lost, and waits for its time to be sent again.
    pub(super) fn waits(&self) -> bool {
        self.passing.backoff.deadline().is_some()
    }

    /// The tag it is bound to.
    pub(super) fn bound_tag(&self) -> Option<&str> {
        self.subscriber.as_ref().and_then(|subscriber| subscriber.local_tag())
    }

    /// The place of the budget that it holds.
    pub(super) fn held_place(&self) -> Option<Place> {
        self.place.then_some(Place::Subscription)
    }

    /// The partner was reached again.
    pub(super) fn reachable(&mut self, within: Duration, step: &mut Step<'_, '_>) {
        self.passing.backoff.reachable(within, step.context);
    }

    /// The front end that holds its dialog, by name.
    fn front_end(&self) -> Option<&str> {
        self.front_end.as_ref().map(|name| name.as_str())
    }

    fn is_live(&self) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_live())
    }

    fn interested(&mut self, step: &Step<'_, '_>) {
        self.interest_until = Some((step.context.now.instant + step.context.config.interest).into());
    }

    fn may_ask_again(&self, step: &Step<'_, '_>) -> bool {
        let now = step.context.now.instant;
        self.begun.is_none_or(|begun| begun.get() + step.context.config.fetch_interval <= now)
    }

    fn begin_anew(&mut self) {
        self.rest = Rest::No;
        self.retry.succeeded();
        self.asks_after_farewell();
    }

    /// There shall be a subscription at the front end.
    fn want(&mut self, permit: Permit, step: &mut Step<'_, '_>) {
        if self.interest_until.is_none() {
            self.interested(step);
        }
        if self.rest == Rest::Exhausted {
            self.retry.succeeded();
        }
        if !self.take_place(step) {
            return;
        }
        self.rest = Rest::No;
        if self.moves {
            // It begins when the other one has ended.
            return;
        }
        let identity = self.identity(step);
        if let Some(subscriber) = self.subscriber(permit, step) {
            subscriber.subscribe(&mut step.event_under(identity));
            self.begun = Some(step.context.now.instant.into());
        }
    }

    /// Asks once (PR-12), unless that was done a moment ago.
    fn fetch(&mut self, permit: Permit, step: &mut Step<'_, '_>) {
        let idle = self.subscriber.as_ref().is_none_or(|subscriber| subscriber.is_idle());
        if !idle || self.fetching || !self.may_ask_again(step) || !self.take_place(step) {
            return;
        }
        self.fetching = true;
        let (identity, now) = (self.identity(step), step.context.now.instant);
        if let Some(subscriber) = self.subscriber(permit, step) {
            subscriber.fetch(&mut step.event_under(identity));
            self.begun = Some(now.into());
            self.passing.fetched_until = Some(now + step.context.config.fetch_interval);
        }
    }

    /// The machine that subscribes; nobody gets at it without a permit.
    fn subscriber(&mut self, _permit: Permit, step: &mut Step<'_, '_>) -> Option<&mut Subscriber> {
        if self.subscriber.is_none() {
            let contact = Contact::from_jid(&BareJid::parse(step.context.key.contact()).ok()?).ok()?;
            let user = SipUser::from_jid(&BareJid::parse(step.context.key.sip_user()).ok()?).ok()?;
            self.subscriber = Subscriber::new(&contact.uri(None), &user.uri()).ok().map(Box::new);
            self.epoch = step.context.tokens.random() as u32;
        }
        self.subscriber.as_deref_mut()
    }

    /// What we are in the dialog that there is, else in the one that begins next.
    fn identity(&mut self, step: &Step<'_, '_>) -> Identity {
        let lasts = |subscriber: &Subscriber| subscriber.local_tag().is_some() && !subscriber.is_closing();
        if !self.moves && !self.subscriber.as_ref().is_some_and(|subscriber| lasts(subscriber)) {
            self.identity = step.context.identity();
        }
        self.identity
    }

    /// A subscription that began under another name than we have on behalf of the contact now was granted to somebody who is
    /// trusted otherwise: it ends, under its own, and another one begins. What the contact sees stays.
    fn change_identity(&mut self, step: &mut Step<'_, '_>) {
        let identity = self.identity(step);
        if identity != step.context.identity()
            && let Some(subscriber) = &mut self.subscriber
        {
            self.moves = true;
            subscriber.unsubscribe(&mut step.event_under(identity));
        }
    }

    fn take_place(&mut self, step: &mut Step<'_, '_>) -> bool {
        if !self.place {
            self.place = step.context.budget.take(step.context.key, Place::Subscription);
            if !self.place {
                self.rest = Rest::NoPlace;
                step.fact(Fact::NoPlace);
            }
        }
        self.place
    }

    /// Gives the place back once nothing is left of the subscription.
    fn settle(&mut self, step: &mut Step<'_, '_>) {
        let idle = self.subscriber.as_ref().is_none_or(|subscriber| subscriber.is_idle());
        if idle && std::mem::take(&mut self.place) {
            step.context.budget.give_back(step.context.key, Place::Subscription);
        }
        let record = self.subscriber.as_ref().and_then(|subscriber| subscriber.lasting());
        let front_end = self.front_end();
        let record = record.map(|(dialog, expires)| Stored::new(dialog, front_end, expires));
        if !Stored::still_serves(self.stored, record) {
            self.stored = record;
            step.saved.touch();
        }
    }

    pub(super) fn failed(&mut self, epoch: u32, serial: u32, why: Undelivered, step: &mut Step<'_, '_>) {
        let identity = self.identity(step);
        if let Some(subscriber) = self.subscriber.as_mut().filter(|_| epoch == self.epoch) {
            subscriber.failed(serial, why, &mut step.event_under(identity));
        }
    }
}

/// The contact's address mixes scripts, and such a one may not ask (SEC-13).
fn looks_like_another(step: &Step<'_, '_>) -> bool {
    let contact = BareJid::parse(step.context.key.contact());
    !step.context.config.mixed_scripts && contact.is_ok_and(|contact| contact.mixed_scripts().is_some())
}
