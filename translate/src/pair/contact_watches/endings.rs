//! The ways in which it ends, or is put off.

use std::time::Duration;

use super::{ContactWatches, Owes, Rest};
use crate::judge::{Permit, Refusal};
use crate::pair::From;
use crate::pair::context::Place;
use crate::pair::output::{Ended, Fact};
use crate::pair::step::Step;
use crate::presence::Shown;

/// For how long after `unsubscribed` was lost for the last time the pair remembers that the contact has to be told.
pub(super) const FAREWELL: Duration = Duration::from_secs(120);
/// The contact is told no more after this time, in seconds.
pub(super) const FAREWELL_MOST: u64 = 24 * 3600;

impl ContactWatches {
    /// Ends the subscription at the front end, silently.
    pub(super) fn close(&mut self, step: &mut Step<'_, '_>) {
        self.passing.grace_until = None;
        self.passing.asks = None;
        let identity = self.identity(step);
        self.moves = false;
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.unsubscribe(&mut step.event_under(identity));
        }
        self.fetching = false;
    }

    pub(super) fn keep(step: &mut Step<'_, '_>) {
        if step.context.budget.take(step.context.key, Place::KeptRequest) {
            step.set_from(From::Kept);
            step.fact(Fact::Kept);
        } else {
            step.fact(Fact::NotKept);
        }
    }

    pub(super) fn kept_ends(&mut self, step: &mut Step<'_, '_>) {
        if self.kept_until(step).is_some_and(|until| until <= step.unix()) {
            let kept = step.roster.from == From::Kept;
            let ended = if kept { Ended::ByRule(Refusal::SipUserFirst) } else { Ended::ByFrontEnd };
            self.end(ended, step);
            step.fact(if kept { Fact::KeptEnded } else { Fact::Undecided });
        }
    }

    pub(super) fn give_kept_place_back(step: &mut Step<'_, '_>) {
        if step.roster.from == From::Kept {
            step.context.budget.give_back(step.context.key, Place::KeptRequest);
        }
    }

    /// The contact does not see the SIP user and does not wait for it any more; he is told nothing.
    pub(super) fn forget(&mut self, step: &mut Step<'_, '_>) {
        Self::give_kept_place_back(step);
        step.set_from(From::No);
        self.close(step);
        self.rest = Rest::No;
        self.interest_until = None;
        self.document = None;
        if let Some(passing) = self.passing.existing() {
            passing.owes = Owes { farewell: passing.owes.farewell, ..Owes::default() };
        }
        if self.passing.farewell_until.is_some() {
            // What he is being told since before is not ended by that.
            step.roster.from_since = step.unix();
        }
    }

    /// It is over. Who sees the SIP user, or may not have heard that he does not any more, is told; anybody else is not.
    pub(super) fn end(&mut self, ended: Ended, step: &mut Step<'_, '_>) {
        if step.roster.from == From::Yes || self.is_shown() {
            self.farewell(ended, step);
        } else {
            self.forget(step);
        }
    }

    /// What the contact saw is taken back, and he is told that he sees no more (XI-06, XI-07).
    pub(super) fn farewell(&mut self, ended: Ended, step: &mut Step<'_, '_>) {
        self.forget(step);
        let updates = self.shown.withdraw();
        step.hide(&updates);
        // A crash before `unsubscribed` is out is healed by the record: it says since when he is being told.
        step.roster.from_since = step.unix();
        step.take_back();
        self.passing.farewell_until = Some(step.context.now.instant + FAREWELL);
        step.fact(Fact::ContactSeesNoMore(ended));
    }

    /// He asks, and a moment ago he was told that he sees no more: as a rule this is what he says to that. `unsubscribed` would
    /// refuse what he asks for, so it is not repeated from now on; that nobody is to be seen is, as long as that may be lost.
    /// To the request itself he hears nothing, as if he had never seen anybody.
    pub(super) fn asks_after_farewell(&mut self) {
        if self.passing.owes.farewell {
            // He may not have heard it, and ask all the same.
            self.shown.lost("");
        }
    }

    /// Nobody there can be told anything any more; and when the domain comes back, it may be somebody else's.
    pub(super) fn farewell_is_vain(&mut self, step: &mut Step<'_, '_>) {
        let Some(passing) = self.passing.existing() else { return };
        passing.owes.farewell = false;
        if passing.farewell_until.take().is_some() && step.roster.from == From::No {
            step.roster.from_since = 0;
            step.saved.touch();
        }
        if step.roster.from != From::Yes {
            self.shown = Shown::default();
        }
    }

    /// He sees the SIP user again: what he was told before is of no account.
    pub(super) fn farewell_is_over(&mut self) {
        let Some(passing) = self.passing.existing() else { return };
        passing.owes.farewell = false;
        if passing.farewell_until.take().is_some() {
            // Which of the two he saw last is not known.
            self.shown.lost("");
        }
    }

    /// An administrator ends it. Who sees the SIP user, or saw him until a moment ago, is told, as if the SIP user had taken it
    /// back; of a request that nobody has decided on he hears no more than before.
    pub(in super::super) fn closed(&mut self, step: &mut Step<'_, '_>) -> bool {
        let was = step.roster.from != From::No;
        if was {
            self.end(Ended::ByHand, step);
        }
        was
    }

    /// No evidence for a long time that the contact is there (DEC-07). What he may still see of it would become stale.
    pub(super) fn doze(&mut self, step: &mut Step<'_, '_>) {
        if step.roster.from == From::Yes && self.rest != Rest::Suspended {
            self.close(step);
            self.rest = Rest::Dormant;
            self.lose_sight(step);
        }
    }

    /// The partner is disabled: nothing crosses, and nothing is forgotten.
    pub(super) fn suspend(&mut self, step: &mut Step<'_, '_>) {
        if self.rest != Rest::Suspended {
            self.close(step);
            self.rest = Rest::Suspended;
            self.document = None;
        }
    }

    pub(super) fn wake(&mut self, permit: Permit, step: &mut Step<'_, '_>) {
        if self.rest == Rest::Suspended {
            self.unsure = true;
            self.want(permit, step);
        }
    }
}
