//! A front end that goes away and perhaps comes back, while it holds the subscription (XI-09).

use super::{ContactWatches, Rest};
use crate::pair::From;
use crate::pair::step::Step;

impl ContactWatches {
    /// There is a subscription at this front end, or there shall be one; `None`: at the only one, or at whichever takes it.
    pub(in crate::pair) fn watches_at(&self, front_end: Option<&str>, from: From) -> bool {
        self.needs_front_end(from) && self.front_end() == front_end
    }

    /// What the contact sees, or waits for, comes from a front end.
    pub(in crate::pair) fn needs_front_end(&self, from: From) -> bool {
        matches!(from, From::Pending | From::Yes) && matches!(self.rest, Rest::No | Rest::Exhausted)
    }

    /// What it says now is shown. If it has forgotten the subscription, one is made anew.
    pub(in crate::pair) fn front_end_is_back(&mut self, step: &mut Step<'_, '_>) {
        if !self.needs_front_end(step.roster.from) {
            // It has ended meanwhile.
            return;
        }
        let identity = self.identity(step);
        match &mut self.subscriber {
            // It was permitted when it was wanted.
            Some(subscriber) if !subscriber.is_idle() => {
                subscriber.try_now(&mut step.event_under(identity));
            }
            _ => self.ask_anew(step),
        }
    }

    /// Nobody vouches for what the contact sees any more. `others`: another front end may know.
    pub(in crate::pair) fn front_end_stays_away(&mut self, others: bool, step: &mut Step<'_, '_>) {
        if !self.needs_front_end(step.roster.from) {
            return;
        }
        if !others {
            return self.lose_sight(step);
        }
        let until = step.context.now.instant + step.context.config.grace;
        if let Some(subscriber) = self.subscriber.as_mut().filter(|subscriber| subscriber.is_live()) {
            // The dialog that it leaves has nobody to speak to any more.
            self.identity = step.context.identity();
            subscriber.move_on(&mut step.event_under(self.identity));
            self.passing.grace_until.get_or_insert(until);
        }
    }
}
