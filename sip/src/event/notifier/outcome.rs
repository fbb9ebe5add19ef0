//! What became of a NOTIFY.

use std::time::{Duration, Instant};

use super::{Due, Notifier, NotifierEnd, NotifierOutput};
use crate::Message;
use crate::event::{Context, Undelivered, ends_subscription};

/// Refusals in a row, of those that do not end the subscription at once, after which it is removed (EV-18).
pub const MAX_REFUSALS: u8 = 8;
/// How often the last NOTIFY is sent.
pub const LAST_TRIES: u8 = 3;
const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(60);
/// The longest Retry-After that is obeyed.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(600);

impl Notifier {
    /// The final response to a NOTIFY.
    pub fn response(&mut self, serial: u32, response: &Message, context: &mut Context<'_>) {
        let Some(status) = response.status().filter(|status| status.is_final()) else { return };
        let Some(notify) = self.in_flight.take_if(|notify| notify.serial == serial) else { return };
        if status.is_success() {
            if let Some(terms) = self.beside.as_mut().and_then(|beside| beside.terms.as_mut()) {
                terms.heard(context.now);
            }
            return self.told(notify.last, context.now);
        }
        self.refusals = self.refusals.saturating_add(1);
        if ends_subscription(status.0) || self.refusals >= MAX_REFUSALS {
            return self.drop_it(NotifierEnd::Refused(status.0));
        }
        let retry_after = response.retry_after().ok().flatten();
        let retry_after = retry_after.map(|after| Duration::from_secs(after.seconds.into()));
        self.stall(notify.last, retry_after, context);
    }

    /// A BENOTIFY has left. Nobody answers it, so this is all that will be known of it.
    pub fn sent(&mut self, serial: u32, context: &mut Context<'_>) {
        if let Some(notify) = self.in_flight.take_if(|notify| notify.serial == serial) {
            self.told(notify.last, context.now);
        }
    }

    /// The watcher knows, as far as anybody can tell.
    fn told(&mut self, last: bool, now: Instant) {
        (self.failures, self.refusals) = (0, 0);
        self.expires_at = self.extended(now);
        if last {
            self.drop_it(NotifierEnd::Terminated);
        }
    }

    /// A NOTIFY that gets no response; also one that was not taken. Unless nobody is there any more, the newest state
    /// is sent again: it is whole in each NOTIFY, so that a doubled one does no harm.
    pub fn failed(&mut self, serial: u32, why: Undelivered, context: &mut Context<'_>) {
        let Some(notify) = self.in_flight.take_if(|notify| notify.serial == serial) else { return };
        if why == Undelivered::Timeout {
            return self.drop_it(NotifierEnd::Silent);
        }
        self.stall(notify.last, None, context);
        if !self.released {
            self.outputs.push_back(NotifierOutput::Stalled(why));
        }
    }

    fn stall(&mut self, last: bool, retry_after: Option<Duration>, context: &mut Context<'_>) {
        self.failures = self.failures.saturating_add(1);
        if last && self.failures >= LAST_TRIES {
            return self.drop_it(NotifierEnd::Terminated);
        }
        let step = FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(CAP);
        let wait = context.between(step / 2, step).max(retry_after.unwrap_or_default().min(RETRY_AFTER_CAP));
        self.stalled_until = Some(context.now + wait);
        self.want(Due::Now, context.now);
    }
}
