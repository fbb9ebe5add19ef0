//! The contact: what he answers, and what he shows.

use std::time::Duration;

use nuncio_sip::event::TerminateReason;
use nuncio_xmpp::{ErrorType, StanzaError};

use super::last_words::LastWords;
use super::{GATHER, Leaving, UserWatches};
use crate::judge::Permit;
use crate::pair::To;
use crate::pair::output::{Attempt, Ended, Fact, Sent};
use crate::pair::roster::{self, Inbound, Stanza};
use crate::pair::step::Step;
use crate::presence::from_xmpp::Report;
use crate::presence::to_xmpp::Subscription;

/// How long after a contact has agreed he is asked what he is (DEC-22): when his server has shown him, if it does.
const SHOWS_HIMSELF: Duration = Duration::from_secs(2);

impl UserWatches {
    /// `subscribed` of the contact.
    pub(in crate::pair) fn agreed(&mut self, step: &mut Step<'_, '_>) {
        // Another policy may be on its way here, or this pair may not have taken up its work yet.
        self.reconsider(step);
        let (mut to, mut from) = (step.roster.to, step.roster.from);
        if roster::inbound(&mut to, &mut from, Stanza::Subscribed) != Inbound::Deliver {
            return;
        }
        step.set_to(to);
        step.fact(Fact::UserSees);
        self.asked = None;
        // One that still waits, because it was repeated, would ask him again.
        step.recall(Subscription::Subscribe);
        if let Some(passing) = self.passing.existing() {
            passing.owes.ask = false;
        }
        for watcher in &mut self.watchers {
            watcher.notifier.set_active(true, &mut step.event_under(watcher.identity));
        }
        // What he showed before was meant for the moment (PM-27).
        self.forget_state();
        if self.is_watched() {
            self.probe_at = Some(step.context.now.instant + SHOWS_HIMSELF);
            (self.unasked, self.tries) = (true, 0);
        }
    }

    /// `unsubscribed` of the contact.
    pub(in crate::pair) fn refused(&mut self, step: &mut Step<'_, '_>) {
        let (mut to, mut from) = (step.roster.to, step.roster.from);
        let had_agreed = to == To::Yes;
        let now = step.context.now.instant;
        if to == To::Pending && self.passing.stray_until.take().is_some_and(|until| now < until) {
            return;
        }
        if roster::inbound(&mut to, &mut from, Stanza::Unsubscribed) != Inbound::Deliver {
            // The answer to somebody's single question.
            self.passing.answer_until = None;
            return;
        }
        self.forget_state();
        self.passing.answer_until = None;
        // One that still waits, because it was repeated, would ask him again.
        step.recall(Subscription::Subscribe);
        // What did not get to him is not what he answers: he means it.
        let answers = !std::mem::take(&mut self.passing.owes.ask);
        let again = std::mem::take(&mut self.ask_again) && answers && had_agreed && self.is_watched();
        if again && let Ok(permit) = step.user_may_ask() {
            // PR-36: he does not remember; an endpoint asked for him just now, so he is asked once more.
            step.set_to(To::Pending);
            for watcher in &mut self.watchers {
                watcher.notifier.set_active(false, &mut step.event_under(watcher.identity));
            }
            self.ask(permit, Subscription::Subscribe, step);
            return;
        }
        step.set_to(to);
        self.asked = None;
        step.fact(Fact::UserSeesNoMore(Ended::ByContact));
        self.end_all(TerminateReason::Rejected, None, LastWords::Declined, step);
    }

    /// Available or unavailable. The rules were asked by the caller's permit.
    pub(in crate::pair) fn appears(&mut self, _permit: Permit, report: Report, step: &mut Step<'_, '_>) {
        // Without a subscription it is directed presence (PM-27): of use to who waits or asked just now, and transient.
        let wanted = step.roster.to == To::Yes || self.is_watched() || self.passing.polled_until.is_some();
        if !wanted {
            return;
        }
        let now = step.context.now.instant;
        match self.doubt() {
            // His other resources may follow: the picture is completed before it is shown.
            Some(doubt) if doubt.asked => {
                self.forget_state();
                self.passing.show_at = Some(now + GATHER);
            }
            // The partner can reach us, so this much is no ghost. What else there is he has yet to be asked.
            Some(doubt) => doubt.until = now + step.context.config.outage,
            None => {}
        }
        // The answer to a probe after a long silence: what was known from before is replaced, not amended.
        let first = !std::mem::replace(&mut self.known, true);
        let changed = self.state.report(report);
        let answered = self.passing.existing().and_then(|passing| passing.answer_until.take()).is_some();
        self.tries = 0;
        self.ask_again = false;
        if !self.unasked && self.passing.doubt.is_none() {
            // A contact who says nothing for long is asked whether he is still there (XI-10).
            let silence = step.context.config.silence;
            self.probe_at = (self.is_watched() && self.state.is_open()).then(|| now + silence);
        }
        if let Some(at) = self.passing.existing().and_then(|passing| passing.show_at.as_mut()) {
            // Also after a restart.
            *at = (*at).min(now + GATHER);
        } else if first || changed || answered {
            self.changed(step);
        }
    }

    /// An error came back.
    pub(in crate::pair) fn returned(
        &mut self,
        error: &StanzaError,
        id: Option<&str>,
        step: &mut Step<'_, '_>,
    ) {
        let ours = self.asked.as_ref().filter(|asked| id.is_some_and(|id| asked.id == super::print(id)));
        let Some(what) = ours.map(|asked| asked.what) else { return };
        self.asked = None;
        match what {
            Subscription::Subscribe if step.roster.to == To::Pending => {
                // He has not got it. The next SUBSCRIBE asks him again.
                step.set_to(To::No);
                step.fact(Fact::UserSeesNoMore(Ended::Undeliverable));
                let retry_after = step.context.config.retry_after;
                let later = error.error_type == ErrorType::Wait;
                let end = if later {
                    (TerminateReason::Probation, Some(retry_after))
                } else {
                    (TerminateReason::NoResource, None)
                };
                self.end_all(end.0, end.1, LastWords::Returned(error.condition), step);
            }
            Subscription::Probe if self.passing.answer_until.take().is_some() => self.not_answered(step),
            _ => {}
        }
    }

    /// A stanza to the contact was lost. True if it was one of this half.
    pub(in crate::pair) fn lost(&mut self, sent: &Sent, step: &mut Step<'_, '_>) -> bool {
        if *sent == Sent::Subscription(Subscription::Probe) {
            self.passing.stray_until = None;
            if !self.is_watched() {
                self.passing.answer_until = None;
            }
        }
        match sent {
            Sent::Subscription(Subscription::Subscribe) if step.roster.to == To::Pending => {
                self.passing.owes.ask = true;
            }
            Sent::Subscription(Subscription::Probe) if self.is_watched() => {
                self.passing.owes.ask = true;
                // Nobody was asked, so nobody is silent.
                self.probe_at = None;
                self.tries = 0;
                self.passing.answer_until = match &mut self.passing.doubt {
                    Some(doubt) => {
                        doubt.asked = false;
                        None
                    }
                    None => {
                        let until = step.context.now.instant + step.context.config.answer;
                        self.passing.answer_until.map(|_| until)
                    }
                };
            }
            Sent::Presence { resource } if resource.is_empty() && !self.is_watched() => {
                self.passing.owes.unavailable = step.roster.to != To::No;
            }
            _ => return false,
        }
        let since = self.passing.backoff.lost(step.context);
        if self.passing.owes.ask && step.roster.to == To::Pending && since >= step.context.config.give_up {
            self.give_up(Ended::Undeliverable, step);
        }
        true
    }

    /// Sends what was lost, as it is now.
    pub(super) fn send_again(&mut self, step: &mut Step<'_, '_>) {
        let owes = std::mem::take(&mut self.passing.owes);
        if owes.ask
            && let Ok(permit) = step.user_may_ask()
        {
            match step.roster.to {
                To::Pending if self.is_watched() => self.ask(permit, Subscription::Subscribe, step),
                // The next endpoint asks.
                To::Pending => self.asked = None,
                To::Yes if self.is_watched() => self.ask(permit, Subscription::Probe, step),
                To::Yes | To::No => {}
            }
        }
        if owes.unavailable && !self.is_watched() {
            self.says_goodbye(step);
        }
    }

    /// The partner takes no stanza as large as one to the contact, and it will be as large the next time: the SIP user hears
    /// that nothing comes of what he asked for.
    pub(in crate::pair) fn too_large(&mut self, sent: &Sent, step: &mut Step<'_, '_>) {
        match sent {
            Sent::Subscription(Subscription::Subscribe) if step.roster.to == To::Pending => {
                self.give_up(Ended::TooLarge, step);
            }
            Sent::Subscription(Subscription::Probe) if step.roster.to == To::Yes => self.not_answered(step),
            _ => {}
        }
    }

    /// What was asked for cannot be had.
    fn give_up(&mut self, why: Ended, step: &mut Step<'_, '_>) {
        let words = if why == Ended::TooLarge { LastWords::TooLarge } else { LastWords::Unreachable };
        self.passing.owes.ask = false;
        self.asked = None;
        step.set_to(To::No);
        step.fact(Fact::UserSeesNoMore(why));
        let retry_after = step.context.config.retry_after;
        self.end_all(TerminateReason::GiveUp, Some(retry_after), words, step);
    }

    /// The contact would show himself, and a rule forbids it.
    pub(in crate::pair) fn may_not_appear(&self, refusal: crate::judge::Refusal, step: &mut Step<'_, '_>) {
        if self.is_watched() {
            step.refused(Attempt::ContactAppears, refusal);
        }
    }

    /// Tells the endpoints to subscribe elsewhere (EV-15). The contact is told nothing: they will be back.
    pub(in crate::pair) fn shutdown(&mut self, step: &mut Step<'_, '_>) {
        let now = step.context.now;
        let records = self.watchers.iter().filter_map(|watcher| watcher.record(now)).collect();
        self.leaving = Some(Box::new(Leaving { records }));
        for watcher in &mut self.watchers {
            let end = LastWords::Stopping.of(watcher, TerminateReason::Deactivated, None, step);
            watcher.notifier.terminate(end, &mut step.event_under(watcher.identity));
        }
    }
}
