//! How this half outlives the process.
//!
//! Only what was stored survives, and a crash may come between any two orders. Each order heals in its own way:
//!
//! - `subscribed` leaves after [`From::Yes`] is stored, so it may be missing although the record says yes. A contact who
//!   has it already ignores a second one (RFC 6121 §A.3), so a young yes is said again.
//! - `unsubscribed` leaves after [`From::No`] and its time are stored, so it may be missing; it is said again as well,
//!   with `unavailable` from the bare JID for all that he may have seen. If he has asked anew since, only that is said.
//! - A subscription at the front end that is on record is refreshed; if the front end has forgotten it, it is made anew.
//!   One that is not on record is refused its next NOTIFY (481) and made anew. Neither asks anybody for consent: that is
//!   between the front end and its user, and he has given it.
//! - What the contact saw is on record by name, so that what has gone meanwhile is taken back when the first document is
//!   there; nothing is taken back before, unless the front end is silent for too long.

use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::event::Subscriber;

use super::endings::{FAREWELL, FAREWELL_MOST};
use super::{ContactWatches, Rest, Told};
use crate::Moment;
use crate::pair::context::Place;
use crate::pair::step::{Step, instant_at, unix_at};
use crate::pair::{From, PairRecord, SubscriberRecord};
use crate::presence::Shown;

/// A yes that is younger may not have left before the crash.
const YOUNG: Duration = Duration::from_secs(3600);

impl ContactWatches {
    pub(in crate::pair) fn restore(record: &mut PairRecord, step: &mut Step<'_, '_>) -> Self {
        let mut half = Self {
            shown: Shown::from_names(std::mem::take(&mut record.shown)),
            unsure: step.roster.from != From::No,
            epoch: step.context.tokens.random() as u32,
            ..Self::default()
        };
        let key = step.context.key;
        if let Some(SubscriberRecord { dialog, expires_at, front_end }) = record.subscriber.take() {
            half.front_end = (!front_end.is_empty()).then(|| Box::new(front_end.as_str().into()));
            // However far the clock was set back meanwhile.
            let latest =
                step.context.now.instant + Duration::from_secs(step.context.events.longest_expires.into());
            let expires = instant_at(expires_at, step.context.now).min(latest);
            half.subscriber = Some(Box::new(Subscriber::restore(dialog, expires)));
            // Which one it began under is not on record.
            half.identity = step.context.identity();
            // Who had a place before has it still.
            half.place = step.context.budget.take(key, Place::Subscription);
        }
        if record.from == From::Kept {
            let _ = step.context.budget.take(key, Place::KeptRequest);
        }
        let told_lately = match record.from {
            From::No => record.from_since != 0,
            // He asked anew since.
            From::Kept | From::Pending => {
                let most = record.from_since.saturating_add(FAREWELL_MOST);
                half.is_shown() && step.unix() < most
            }
            From::Yes => false,
        };
        if told_lately {
            half.passing.farewell_until = Some(step.context.now.instant + FAREWELL);
            half.passing.owes.farewell = true;
        }
        half.pump(Told::Nothing, step);
        half
    }

    /// Takes up what was restored.
    pub(in crate::pair) fn resume(&mut self, step: &mut Step<'_, '_>) {
        if self.passing.owes.farewell {
            self.say_farewell_again(step);
        }
        match step.roster.from {
            From::Kept | From::No => {}
            From::Pending | From::Yes => {
                let young = step.roster.from_since.saturating_add(YOUNG.as_secs()) > step.unix();
                if step.roster.from == From::Yes && young {
                    self.say_subscribed_again(step);
                }
                if step.roster.from == From::Yes && self.document.is_none() {
                    // What he sees was true before the restart. Nobody vouches for it any more, if the front end does not.
                    let until = step.context.now.instant + step.context.config.outage;
                    self.passing.grace_until.get_or_insert(until);
                }
                // Whether he was interested is not on record: for the time being he is.
                self.interested(step);
                let identity = self.identity(step);
                match &mut self.subscriber {
                    Some(subscriber) if subscriber.is_live() => {
                        subscriber.take_up(&mut step.event_under(identity));
                    }
                    _ => self.ask_anew(step),
                }
            }
        }
    }

    pub(super) fn ask_anew(&mut self, step: &mut Step<'_, '_>) {
        // It may have been tried in vain before the front end could be reached.
        if matches!(self.rest, Rest::No | Rest::Exhausted)
            && let Ok(permit) = step.contact_may_ask()
        {
            self.want(permit, step);
        }
    }

    /// The front end could not be asked since the restart, for too long.
    pub(in crate::pair) fn out_of_sight(&mut self, step: &mut Step<'_, '_>) {
        if self.document.is_none() {
            self.lose_sight(step);
        }
    }

    pub(in crate::pair) fn record(&self, record: &mut PairRecord, now: Moment) {
        let leaving = self.passing.leaving.iter().filter(|name| !self.shown.has(name));
        record.shown = self.shown.names().chain(leaving).cloned().collect();
        if self.passing.farewell_until.is_some()
            && matches!(record.from, From::Kept | From::Pending)
            && record.shown.is_empty()
        {
            // He asks again before what he saw is taken back for sure.
            record.shown.push(CompactString::default());
        }
        let subscription = self.subscriber.as_ref().and_then(|subscriber| subscriber.record());
        record.subscriber = subscription.map(|(dialog, expires)| SubscriberRecord {
            dialog,
            expires_at: unix_at(expires, now),
            front_end: self.front_end().unwrap_or_default().into(),
        });
    }
}
