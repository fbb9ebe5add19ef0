//! What became of a SUBSCRIBE.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Phase, Purpose, Subscriber, UNSUBSCRIBED};
use crate::Message;
use crate::event::report::{SubscribeFailure, SubscriberReport};
use crate::event::{Context, TIMER_N, Undelivered, ends_subscription};

/// A refresh is not tried again when less than this is left of the subscription.
const LAST_TRY: Duration = Duration::from_secs(5);

impl Subscriber {
    /// The final response to a request. 401 and 407 are refusals like others: we have no credentials.
    pub fn response(&mut self, serial: u32, response: &Message, context: &mut Context<'_>) {
        let Some(status) = response.status().filter(|status| status.is_final()) else { return };
        let Some(request) = self.in_flight.take_if(|request| request.serial == serial) else { return };
        let status = status.0;
        if (200..300).contains(&status) {
            return self.granted(&request, status, response, context);
        }
        let retry_after = response.retry_after().ok().flatten();
        let retry_after = retry_after.map(|after| Duration::from_secs(after.seconds.into()));
        let refresh = request.purpose == Purpose::Refresh;
        match request.purpose {
            // What could not be ended has ended otherwise, or lapses.
            Purpose::Close => self.finish(UNSUBSCRIBED, context),
            Purpose::Initial | Purpose::Refresh
                if status == 423 && self.raise(&request, response, context) =>
            {
                self.send(request.purpose, context);
            }
            Purpose::Refresh if status == 481 && !self.close_wanted => self.renew(context),
            Purpose::Refresh if !ends_subscription(status) && !matches!(status, 403 | 603) => {
                self.refresh_again(retry_after, context);
            }
            _ => self.finish(SubscriberReport::Refused { status, retry_after, refresh }, context),
        }
    }

    /// A request that gets no response; also one that was not taken.
    pub fn failed(&mut self, serial: u32, why: Undelivered, context: &mut Context<'_>) {
        let Some(request) = self.in_flight.take_if(|request| request.serial == serial) else { return };
        match (request.purpose, self.phase) {
            (Purpose::Close, _) => self.finish(UNSUBSCRIBED, context),
            (Purpose::Refresh, _) => self.refresh_again(None, context),
            // A NOTIFY came: the request did arrive.
            (Purpose::Initial, Phase::Live { .. }) => self.close_if_wanted(context),
            (Purpose::Initial, _) => self.fail(SubscribeFailure::Undelivered(why), context),
        }
    }

    /// 2xx; 202 says no more than 200. Only a NOTIFY makes the dialog.
    fn granted(
        &mut self,
        request: &super::InFlight,
        status: u16,
        response: &Message,
        context: &mut Context<'_>,
    ) {
        self.dialog.responded(response);
        self.raising = false;
        // RFC 5839: no NOTIFY will follow.
        let notify_follows = status != 204;
        if notify_follows && self.piggybacked(request, response, context) {
            return;
        }
        if matches!(self.phase, Phase::Closing | Phase::Fetching) {
            if notify_follows {
                self.notify_until = Some((context.now + TIMER_N).into());
            } else {
                self.notify_missing(context);
            }
            return;
        }
        if !request.notified_expires {
            let granted = response.expires().ok().flatten().unwrap_or(request.expires);
            self.lasts(granted.min(request.expires), context);
        } else if let Phase::Live { refresh_at: None } = self.phase {
            self.lasts(request.expires, context);
        }
        if !request.notified && (notify_follows || request.purpose == Purpose::Initial) {
            self.notify_until = Some((context.now + TIMER_N).into());
        }
        self.close_if_wanted(context);
    }

    /// 423: follows Min-Expires once, within reason (PR-07).
    fn raise(&mut self, request: &super::InFlight, response: &Message, context: &Context<'_>) -> bool {
        let least = response.min_expires().ok().flatten().unwrap_or(0);
        let sane = request.expires < least && least <= context.config.longest_expires;
        if !sane || request.expires == 0 || self.raising {
            return false;
        }
        self.raised = NonZeroU32::new(least);
        self.raising = true;
        true
    }

    /// The subscription lasts on (RFC 6665 §4.1.2.2); each try takes part of the time that is left.
    fn refresh_again(&mut self, retry_after: Option<Duration>, context: &mut Context<'_>) {
        let left =
            self.expires_at.map_or(Duration::ZERO, |at| at.get().saturating_duration_since(context.now));
        let wait = context.between(left / 4, left / 2).max(retry_after.unwrap_or_default());
        let fits = left > LAST_TRY && wait < left;
        if let Phase::Live { refresh_at } = &mut self.phase {
            *refresh_at = fits.then(|| (context.now + wait).into());
        }
        self.close_if_wanted(context);
    }
}
