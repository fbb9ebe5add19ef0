//! The SIP user watches the contact: we are the notifier of his endpoints (RFC 8048 §5.3; standards table S2X).
//!
//! What the SIP user may see is in the roster: [`To`]. Each endpoint has a dialog of its own; all show the same.

mod contact;
mod endpoints;
mod last_words;
mod restart;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::event::{Notifier, NotifierEnd, TerminateReason};

use super::backoff::Backoff;
use super::context::Identity;
use super::output::{AddedEnd, Attempt, BATCH, Ended, Fact};
use super::seldom::{Nothing, Seldom};
use super::step::Step;
use super::{NotifierRecord, To};
use crate::judge::{Consent, Permit, Refusal};
use crate::presence::Presentity;
use crate::presence::document::Stamp;
use crate::presence::to_xmpp::Subscription;
use last_words::LastWords;

/// How long after the contact agreed, or was heard again after a restart, his other resources may take to be heard.
const GATHER: Duration = Duration::from_secs(1);
/// How long the answer to somebody's single question is kept for his next one.
const POLLED: Duration = Duration::from_secs(300);
/// A contact who was asked for his presence and is not heard is asked again after this time, then after four times as
/// long, and so on: within half an hour, longer than servers put off trying again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// So many times; then he counts as silent.
const TRIES: u32 = 5;
/// A request that nobody answered is repeated when an endpoint asks again after so long.
const REPEAT: Duration = Duration::from_secs(3600);

/// The half of a pair in which the SIP user watches.
#[derive(Debug, Default)]
pub(super) struct UserWatches {
    watchers: Vec<Watcher>,
    /// Dialogs that the end of the process ends, as they were: they stay on record until the endpoint has answered.
    /// Apart, because only a process that stops has any.
    leaving: Option<Box<Leaving>>,
    /// The contact's resources.
    state: Presentity,
    /// `state` says what is so; otherwise nothing is known of the contact.
    known: bool,
    /// Of the last document.
    stamp: Stamp,
    /// What the contact was asked last.
    asked: Option<Asked>,
    /// The contact's presence was asked for because an endpoint subscribed: if he does not know of it any more, he is
    /// asked for consent again, once (PR-36).
    ask_again: bool,
    /// He is asked for his presence then.
    probe_at: Option<Instant>,
    /// He has agreed, and has not been asked since. His server may have agreed for him, and then it says no more (DEC-22);
    /// so what is heard of him meanwhile need not be all there is.
    unasked: bool,
    /// So many times he was asked for it without being heard.
    tries: u32,
    passing: Seldom<Passing>,
}

/// What lasts only for a while.
#[derive(Debug, Default, PartialEq)]
struct Passing {
    /// Who is silent until then is unknown.
    answer_until: Option<Instant>,
    /// Until then one `unsubscribed` may answer a probe that was sent before the contact was asked for consent.
    stray_until: Option<Instant>,
    /// What was heard after a restart is shown then, as a whole.
    show_at: Option<Instant>,
    /// Somebody asked once: what is heard is kept until then without a subscription.
    polled_until: Option<Instant>,
    backoff: Backoff,
    owes: Owes,
    doubt: Option<Doubt>,
}

/// The partner's streams were lost, so what the contact is known to be may be so no more (XI-10).
#[derive(Debug, PartialEq)]
struct Doubt {
    /// Then he counts as unknown, if nobody could ask him before.
    until: Instant,
    /// He is being asked: his answer takes the place of what was known.
    asked: bool,
}

impl Nothing for Passing {
    const NOTHING: &'static Self = &Self {
        answer_until: None,
        stray_until: None,
        show_at: None,
        polled_until: None,
        backoff: Backoff::NONE,
        owes: Owes { ask: false, unavailable: false },
        doubt: None,
    };
}

/// The dialogs that a stop ends.
#[derive(Debug)]
struct Leaving {
    records: Vec<NotifierRecord>,
}

/// One endpoint of the SIP user.
#[derive(Debug)]
struct Watcher {
    notifier: Notifier,
    endpoint: Box<str>,
    front_end: CompactString,
    media: &'static str,
    /// What we are to front ends in its dialog.
    identity: Identity,
    /// It only wanted to know once.
    fetches: bool,
    stored_expiry: Option<Instant>,
}

/// A stanza that asks the contact for something.
#[derive(Debug)]
struct Asked {
    what: Subscription,
    /// Fingerprint of its id.
    id: u64,
    at: Instant,
}

/// What was lost on its way to the contact.
#[derive(Debug, Default, PartialEq)]
struct Owes {
    ask: bool,
    unavailable: bool,
}

impl UserWatches {
    /// Bytes of one endpoint's subscription.
    #[cfg(test)]
    pub(super) const WATCHER: usize = size_of::<Watcher>();

    /// Makes what is so agree with what the rules say now: what the SIP user may not ask for he does not see.
    pub(super) fn reconsider(&mut self, step: &mut Step<'_, '_>) {
        let Err(refusal) = step.user_may_ask() else { return self.change_identity(step) };
        if self.is_watched() {
            step.refused(Attempt::UserWatched, refusal);
            self.end_all(TerminateReason::Rejected, None, LastWords::Rule(refusal), step);
            self.says_goodbye(step);
        }
        self.forget_state();
        if !matches!(refusal, Refusal::UnlistedDomain | Refusal::DomainNotServed) {
            return;
        }
        if step.roster.to != To::No {
            step.set_to(To::No);
            step.fact(Fact::UserSeesNoMore(Ended::ByRule(refusal)));
        }
        // When the domain comes back it may be somebody else's, and of another type: nobody there has been added.
        let consent = std::mem::take(step.consent);
        if consent != Consent::default() {
            step.saved.touch();
        }
        if consent.added.is_some() {
            step.fact(Fact::AddedEnded(AddedEnd::Forgotten));
        }
    }

    /// Whoever watches under another name than we have on behalf of the contact now has subscribed where the contact was trusted
    /// otherwise: he is to subscribe again (RFC 6665 §4.1.3, `deactivated`: at once). The contact is told nothing, for nobody
    /// is gone.
    fn change_identity(&mut self, step: &mut Step<'_, '_>) {
        let now = step.context.identity();
        // Towards the front end of a batch the batch speaks, as the gateway itself.
        let of_before = |watcher: &&mut Watcher| watcher.identity != now && watcher.front_end != BATCH;
        for watcher in self.watchers.iter_mut().filter(of_before) {
            let end = LastWords::OtherIdentity.of(watcher, TerminateReason::Deactivated, None, step);
            watcher.notifier.terminate(end, &mut step.event_under(watcher.identity));
        }
    }

    /// The administrator takes back that the SIP user added the contact. Left alone, his endpoints would add him again
    /// with their next refresh.
    pub(super) fn consent_removed(&mut self, step: &mut Step<'_, '_>) {
        if self.is_watched() {
            self.end_all(TerminateReason::Rejected, None, LastWords::Removed, step);
            self.says_goodbye(step);
        }
    }

    /// An administrator ends what there is. The endpoints may subscribe anew at once (RFC 6665 §4.1.3).
    pub(super) fn closed(&mut self, step: &mut Step<'_, '_>) -> bool {
        let watched = self.is_watched();
        if watched {
            self.end_all(TerminateReason::Deactivated, None, LastWords::Closed, step);
            self.says_goodbye(step);
        }
        watched
    }

    /// When [`UserWatches::handle_timeout`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let notifiers = self.watchers.iter().filter_map(|watcher| watcher.notifier.deadline()).min();
        [
            notifiers,
            self.probe_at,
            self.passing.answer_until,
            self.passing.show_at,
            self.passing.polled_until,
            self.passing.backoff.deadline(),
            self.passing.doubt.as_ref().and_then(Doubt::until),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn handle_timeout(&mut self, step: &mut Step<'_, '_>) {
        let now = step.context.now.instant;
        let due = |at: &mut Instant| *at <= now;
        for watcher in &mut self.watchers {
            watcher.notifier.handle_timeout(&mut step.event_under(watcher.identity));
        }
        if self.passing.show_at.take_if(due).is_some() {
            self.changed(step);
        }
        let unreachable =
            self.passing.doubt.as_ref().and_then(Doubt::until).is_some_and(|until| until <= now);
        if self.passing.answer_until.take_if(due).is_some() || unreachable {
            self.not_answered(step);
        }
        if self.passing.polled_until.take_if(due).is_some() && step.roster.to != To::Yes {
            self.forget_state();
        }
        if self.probe_at.take_if(due).is_some() {
            self.probe_now(step);
        }
        if self.passing.backoff.is_due(now) {
            self.send_again(step);
        }
    }

    /// The contact is available somewhere, and we would hear it if he were not.
    pub(super) fn sees_contact(&self, to: To) -> bool {
        to == To::Yes && self.may_be_ghost()
    }

    /// The contact is taken to be available, and nobody has begun to doubt it.
    pub(super) fn may_be_ghost(&self) -> bool {
        self.known && self.state.is_open() && self.passing.doubt.is_none()
    }

    /// Some endpoint watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.iter().any(|watcher| !watcher.notifier.has_ended())
    }

    /// The endpoint with this tag does.
    pub(super) fn is_watched_by(&self, tag: &str) -> bool {
        let live = |watcher: &&Watcher| !watcher.notifier.has_ended();
        self.watchers.iter().filter(live).any(|watcher| watcher.notifier.local_tag() == tag)
    }

    /// There is nothing to be remembered.
    pub(super) fn is_nothing(&self) -> bool {
        self.watchers.is_empty()
            && self.leaving.is_none()
            && self.state.resources.is_empty()
            && !self.known
            && self.stamp == Stamp::default()
            && self.asked.is_none()
            && !self.ask_again
            && !self.unasked
            && self.probe_at.is_none()
            && self.tries == 0
            && self.passing.is_nothing()
    }

    /// Gives back room that is not needed any more.
    pub(super) fn tidy(&mut self) {
        self.passing.tidy();
    }

    /// The end of the process ends subscriptions, and an endpoint may still answer.
    pub(super) fn is_ending(&self) -> bool {
        self.leaving.is_some() && !self.watchers.is_empty()
    }

    /// Endpoints with a subscription, as far as they have said. Members of batches have none of their own.
    pub(super) fn endpoints(&self) -> usize {
        let own = self.watchers.iter().filter(|watcher| watcher.front_end != BATCH).count();
        let tried = |tag: &str| self.watchers.iter().any(|watcher| watcher.notifier.local_tag() == tag);
        let leaving = self.leaving.iter().flat_map(|leaving| &leaving.records);
        own + leaving.filter(|record| !tried(&record.dialog.local_tag)).count()
    }

    /// Nothing of this half would be lost.
    pub(super) fn is_idle(&self) -> bool {
        self.watchers.is_empty()
            && self.passing.polled_until.is_none()
            && self.passing.backoff.deadline().is_none()
    }

    /// Something was lost, and waits for its time to be sent again.
    pub(super) fn waits(&self) -> bool {
        self.passing.backoff.deadline().is_some()
    }

    /// The tags that its endpoints are bound to.
    pub(super) fn bound_tags(&self) -> impl Iterator<Item = &str> {
        self.watchers.iter().map(|watcher| watcher.notifier.local_tag())
    }

    /// The partner was reached again.
    pub(super) fn reachable(&mut self, within: Duration, step: &mut Step<'_, '_>) {
        self.passing.backoff.reachable(within, step.context);
    }

    /// The partner's streams were lost. Who is seen as available goes on being seen so, and is asked; nobody shall seem to
    /// go and come back because a server was started anew.
    pub(super) fn partner_lost(&mut self, after: Duration, step: &Step<'_, '_>) {
        if !self.may_be_ghost() {
            return;
        }
        if !self.is_watched() {
            // The next endpoint asks.
            return self.forget_state();
        }
        let at = step.context.now.instant + after;
        self.passing.doubt = Some(Doubt { until: at + step.context.config.outage, asked: false });
        self.tries = 0;
        self.probe_at = Some(at);
    }

    /// Ends every subscription.
    fn end_all(
        &mut self,
        reason: TerminateReason,
        retry_after: Option<Duration>,
        why: LastWords,
        step: &mut Step<'_, '_>,
    ) {
        for watcher in &mut self.watchers {
            let end = why.of(watcher, reason, retry_after, step);
            watcher.notifier.terminate(end, &mut step.event_under(watcher.identity));
        }
        self.wait_for_nothing();
        self.ask_again = false;
    }

    /// The last endpoint is gone: so is, as far as anybody knows, the SIP user (PR-35, PR-40). Not `unsubscribe`: what the
    /// contact agreed to lasts. While the other half shows him as available he is: its front end knows better.
    fn says_goodbye(&mut self, step: &mut Step<'_, '_>) {
        self.passing.owes.unavailable = false;
        if step.roster.to != To::No && !step.contact_sees_user && step.context.partner_is_open() {
            step.unavailable();
        }
    }

    /// Nobody watches any more.
    fn wait_for_nothing(&mut self) {
        (self.probe_at, self.unasked) = (None, false);
        if let Some(passing) = self.passing.existing() {
            (passing.answer_until, passing.show_at) = (None, None);
        }
        if self.passing.doubt.is_some() {
            self.forget_state();
        }
    }

    fn forget_state(&mut self) {
        self.state = Presentity::default();
        self.known = false;
        if let Some(passing) = self.passing.existing() {
            passing.doubt = None;
        }
    }

    fn doubt(&mut self) -> Option<&mut Doubt> {
        self.passing.existing().and_then(|passing| passing.doubt.as_mut())
    }

    fn changed(&mut self, step: &mut Step<'_, '_>) {
        for watcher in &mut self.watchers {
            watcher.notifier.changed(&mut step.event_under(watcher.identity));
        }
    }

    /// A notifier has ended; `last`: no other one is left.
    fn ended(&mut self, end: NotifierEnd, last: bool, step: &mut Step<'_, '_>) {
        step.saved.touch();
        let gone = match end {
            NotifierEnd::Unsubscribed
            | NotifierEnd::Expired
            | NotifierEnd::Refused(_)
            | NotifierEnd::Silent
            | NotifierEnd::Unwritable => true,
            // Whoever terminated it has said what there was to say.
            NotifierEnd::Fetched | NotifierEnd::Terminated => false,
        };
        if gone && last {
            self.wait_for_nothing();
            self.says_goodbye(step);
        }
    }

    /// Asks the contact for consent, or for his presence.
    fn ask(&mut self, permit: Permit, what: Subscription, step: &mut Step<'_, '_>) {
        let id = step.context.tokens.token();
        let at = step.context.now.instant;
        let stored = what == Subscription::Subscribe;
        if stored {
            // `unsubscribed` may be on its way that answers the probe and not this.
            self.passing.stray_until = self.passing.answer_until.take();
        }
        step.cross(permit, what, &id, stored);
        (self.probe_at, self.unasked) = (None, false);
        if what == Subscription::Probe {
            if self.tries == 0 {
                self.passing.answer_until = Some(at + step.context.config.answer);
            }
            self.probe_at = self.is_watched().then(|| at + self.ask_again_after(step));
            self.tries = self.tries.saturating_add(1);
            if let Some(doubt) = self.doubt() {
                doubt.asked = true;
            }
        }
        self.asked = Some(Asked { what, id: print(&id), at });
    }

    /// His answer may be lost where nobody notices: his server does not try to reach ours for a while after it failed to,
    /// as it does while ours is restarted.
    fn ask_again_after(&self, step: &Step<'_, '_>) -> Duration {
        match self.tries < TRIES {
            true => ASK_AGAIN * 4_u32.saturating_pow(self.tries),
            false => step.context.config.silence,
        }
    }

    fn probe_now(&mut self, step: &mut Step<'_, '_>) {
        if step.roster.to == To::Yes
            && self.is_watched()
            && let Ok(permit) = step.user_may_ask()
        {
            self.ask(permit, Subscription::Probe, step);
        }
    }

    /// The contact did not say what he is. What was known before he was asked may be a ghost (XI-10).
    fn not_answered(&mut self, step: &mut Step<'_, '_>) {
        self.ask_again = false;
        // Not before now, after a restart.
        let held = self.passing.existing().and_then(|passing| passing.show_at.take()).is_some();
        let news = self.known || held;
        self.forget_state();
        if news {
            self.changed(step);
        }
    }
}

impl Doubt {
    /// Once he is asked, it is his silence that makes him unknown.
    fn until(&self) -> Option<Instant> {
        (!self.asked).then_some(self.until)
    }
}

fn print(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
