//! How this half outlives the process.
//!
//! Only what was stored survives, and a crash may come between any two orders. Each order heals in its own way:
//!
//! - 200 to the SUBSCRIBE that adds the contact leaves after that is stored; without 200 the front end asks again. So
//!   `subscribe` leaves after it, too, and may be missing: it is repeated as long as nobody answered. Repeating it does
//!   not ask the contact twice, for his server shows it once (RFC 6121 §A.3: not again while it waits, and answered by the
//!   server itself once he has agreed).
//! - `subscribed` that was not stored before the crash comes again as the answer to the repeated `subscribe`.
//! - `unsubscribed` that was not stored comes again as the answer to the probe. Then the endpoints' subscriptions end;
//!   the contact is not asked again, for nobody but us has asked for him since.
//! - What an endpoint asked for beside the subscription (BENOTIFY, and the like) is not on record: until its next SUBSCRIBE
//!   it is told by NOTIFY, whose answer says that it is still there.
//! - A dialog that has ended without that being stored is answered 481 with its next NOTIFY, and ends.
//!
//! Until the contact is heard, or is silent or out of reach for long enough, nothing is shown: whoever was seen as available
//! before the crash goes on being seen so, and not as unknown in between.

use std::time::Duration;

use super::{Doubt, UserWatches, Watcher};
use crate::Moment;
use crate::pair::step::{Step, instant_at, unix_at};
use crate::pair::{BATCH, NotifierRecord, PairRecord, To};
use crate::presence::to_xmpp::Subscription;
use nuncio_sip::event::Notifier;

impl UserWatches {
    pub(in crate::pair) fn restore(record: &mut PairRecord, step: &mut Step<'_, '_>) -> Self {
        let active = step.roster.to == To::Yes;
        let (events, identity, now) = (step.context.events, step.context.identity(), step.context.now);
        // However far the clock was set back meanwhile, nothing lasts longer than was granted (PR-38).
        let latest = now.instant + Duration::from_secs(events.max_expires.into());
        let watcher = |record: NotifierRecord| {
            let NotifierRecord { dialog, endpoint, accept, expires_at, front_end } = record;
            let media = events.writes.iter().copied().find(|media| *media == accept);
            let expires = instant_at(expires_at, now).min(latest);
            let notifier = Notifier::restore(dialog, expires, active);
            Watcher {
                notifier,
                endpoint: endpoint.as_str().into(),
                front_end,
                media: media.unwrap_or(events.default_media),
                // Which one it began under is not on record.
                identity,
                fetches: false,
                stored_expiry: Some(expires),
            }
        };
        let watchers = std::mem::take(&mut record.notifiers).into_iter().map(watcher).collect();
        let mut half = Self { watchers, ..Self::default() };
        half.pump(step);
        half
    }

    /// Takes up what was restored.
    pub(in crate::pair) fn resume(&mut self, step: &mut Step<'_, '_>) {
        if !self.is_watched() {
            return;
        }
        let Ok(permit) = step.user_may_ask() else { return };
        match step.roster.to {
            To::No => {}
            To::Pending => {
                // Not at once: his answer may be on its way.
                self.passing.owes.ask = true;
                self.passing.backoff.later(step.context);
            }
            To::Yes => {
                // What the endpoints see was true before: the same doubt as when the partner's streams are lost.
                let config = step.context.config;
                let until = step.context.now.instant + config.outage;
                self.passing.doubt = Some(Doubt { until, asked: false });
                self.ask(permit, Subscription::Probe, step);
                // Until he is heard, or is unknown. Whoever is asked in the last moment has his time to answer.
                self.passing.show_at = Some(until + config.answer);
            }
        }
    }

    pub(in crate::pair) fn record(&self, record: &mut PairRecord, now: Moment) {
        let live = self.watchers.iter().filter_map(|watcher| watcher.record(now));
        // There is nothing to come back to if the contact has declined since: it gets 481 and may ask anew.
        let leaving = self.leaving.iter().filter(|_| record.to != To::No);
        let leaving = leaving.flat_map(|leaving| &leaving.records).cloned();
        record.notifiers = live.chain(leaving).collect();
    }
}

impl Watcher {
    pub(super) fn record(&self, now: Moment) -> Option<NotifierRecord> {
        if self.front_end == BATCH {
            return None;
        }
        let (dialog, expires) = self.notifier.record()?;
        Some(NotifierRecord {
            dialog,
            endpoint: (&*self.endpoint).into(),
            accept: self.media.into(),
            expires_at: unix_at(expires, now),
            front_end: self.front_end.clone(),
        })
    }
}
