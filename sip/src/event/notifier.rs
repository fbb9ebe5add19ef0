//! A subscription that somebody holds with us (RFC 6665 §4.2).

mod incoming;
mod outcome;
mod piggyback;
mod state;
mod terms;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use compact_str::{CompactString, ToCompactString};

pub use outcome::{LAST_TRIES, MAX_REFUSALS};
pub use state::{Document, NotifierEnd, NotifierOutput, NotifyState, Terminate, TerminateReason};
pub use terms::EXTENDED_AT_MOST;

use super::{Context, Dialog, DialogRecord, event_of};
use crate::{HeaderName, Method};
use terms::Terms;

/// A NOTIFY whose outcome nobody has told us by now is lost.
const OUTCOME_WITHIN: Duration = super::OUTCOME_WITHIN;

/// One subscription, from the SUBSCRIBE to the last NOTIFY.
///
/// One NOTIFY is under way at a time; what changes meanwhile makes the next one, which shows the newest state. The
/// document is asked for when a NOTIFY is written, and not before.
#[derive(Debug)]
pub struct Notifier {
    dialog: Dialog,
    outputs: VecDeque<NotifierOutput>,
    expires_at: Instant,
    state: NotifyState,
    /// Apart, for most watchers need none of it.
    beside: Option<Box<Beside>>,
    /// What has to go out, and since when.
    due: Option<(Due, Instant)>,
    in_flight: Option<InFlight>,
    /// The next NOTIFY that is only news leaves then.
    paced_until: Option<Instant>,
    /// No NOTIFY leaves before that: the last one failed.
    stalled_until: Option<Instant>,
    serial: u32,
    /// NOTIFYs in a row that failed without ending the subscription, and those among them that were answered.
    failures: u8,
    refusals: u8,
    released: bool,
}

/// Whether a NOTIFY has to go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Not more than one in [`EventConfig::notify_interval`](super::EventConfig::notify_interval).
    Paced,
    /// As soon as the one under way is settled.
    Now,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    serial: u32,
    since: Instant,
    /// It says `terminated`.
    last: bool,
}

#[derive(Debug, Default)]
struct Beside {
    /// What of Lync's the watcher asked for.
    terms: Option<Terms>,
    /// What the last NOTIFY says beyond the reason.
    last_words: Option<LastWords>,
}

#[derive(Debug)]
struct LastWords {
    /// Seconds.
    retry_after: Option<u32>,
    fields: Vec<(&'static str, String)>,
}

impl Notifier {
    fn with(dialog: Dialog, expires_at: Instant, active: bool) -> Self {
        let bound = NotifierOutput::Bound(dialog.local_tag().into());
        Self {
            dialog,
            outputs: VecDeque::from([bound]),
            expires_at,
            state: if active { NotifyState::Active } else { NotifyState::Pending },
            beside: None,
            due: None,
            in_flight: None,
            paced_until: None,
            stalled_until: None,
            serial: 0,
            failures: 0,
            refusals: 0,
            released: false,
        }
    }

    /// A subscription of an earlier process. It is `Bound` at once, and sends nothing before
    /// [`changed`](Self::changed), its end or a refresh. Save its record again: see
    /// [`RESTORE_JUMP`](super::RESTORE_JUMP).
    pub fn restore(record: DialogRecord, expires_at: Instant, active: bool) -> Self {
        Self::with(Dialog::restore(record), expires_at, active)
    }

    /// Whether the watcher may see the state; a NOTIFY follows if that is new.
    pub fn set_active(&mut self, active: bool, context: &mut Context<'_>) {
        let state = if active { NotifyState::Active } else { NotifyState::Pending };
        if !self.has_ended() && self.state != state {
            self.state = state;
            self.want(Due::Paced, context.now);
        }
    }

    /// There is something new to be seen. Harmless after the end.
    pub fn changed(&mut self, context: &mut Context<'_>) {
        if !self.has_ended() {
            self.want(Due::Paced, context.now);
        }
    }

    /// The watcher does not remember what it was told: it is told the newest state again, at once. Harmless after the end.
    pub fn tell_again(&mut self, context: &mut Context<'_>) {
        if !self.has_ended() {
            self.want(Due::Now, context.now);
        }
    }

    /// Ends it with a last NOTIFY. The first end counts.
    pub fn terminate(&mut self, end: Terminate, context: &mut Context<'_>) {
        let Terminate { reason, retry_after, fields } = end;
        if self.has_ended() {
            return;
        }
        if retry_after.is_some() || !fields.is_empty() {
            let seconds = retry_after.map(|after| u32::try_from(after.as_secs()).unwrap_or(u32::MAX));
            let last_words = LastWords { retry_after: seconds, fields };
            self.beside.get_or_insert_default().last_words = Some(last_words);
        }
        self.end(reason, NotifierEnd::Terminated, context.now);
    }

    /// The way to the watcher may be free again: what stalled may leave now.
    pub fn retry(&mut self, context: &mut Context<'_>) {
        self.stalled_until = self.stalled_until.map(|at| at.min(context.now));
    }

    /// The next thing to do; drain it after every input. `document` is asked for the newest document when a NOTIFY
    /// leaves; `None` is an empty body.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        document: &mut dyn FnMut(NotifyState) -> Option<Document>,
    ) -> Option<NotifierOutput> {
        if self.writes(context.now) {
            self.notify(context, document);
        }
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // Hundreds of thousands of subscriptions have nothing to say at any one time.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// [`Notifier::poll`] would ask for a document now.
    pub fn writes(&self, now: Instant) -> bool {
        self.outputs.is_empty() && self.leaves_at().is_some_and(|at| at <= now)
    }

    /// [`Notifier::poll`] would say `None`.
    pub fn is_quiet(&self, now: Instant) -> bool {
        self.outputs.is_empty() && self.leaves_at().is_none_or(|at| at > now)
    }

    /// When [`Notifier::handle_timeout`] is to be called, and `poll` after it.
    pub fn deadline(&self) -> Option<Instant> {
        if self.released {
            return None;
        }
        let outcome = self.in_flight.map(|notify| notify.since + OUTCOME_WITHIN);
        let expiry = (!self.has_ended()).then_some(self.expires_at);
        [outcome, expiry, self.leaves_at()].into_iter().flatten().min()
    }

    /// Fires what is due; harmless when nothing is. What it makes leave comes out of `poll`.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let lost = self.in_flight.filter(|notify| notify.since + OUTCOME_WITHIN <= context.now);
        if let Some(notify) = lost {
            self.failed(notify.serial, super::Undelivered::Lost, context);
        }
        if !self.has_ended() && self.expires_at <= context.now {
            let extended = self.terms().is_some_and(|terms| terms.cut_short(self.expires_at));
            // By the watcher's own reckoning it lasts on: he has not let it end, and is to begin a new one.
            let reason = if extended { TerminateReason::Deactivated } else { TerminateReason::Timeout };
            self.end(reason, NotifierEnd::Expired, context.now);
        }
    }

    /// What has to outlive the process, and when it expires; `None` once it has ended.
    pub fn record(&self) -> Option<(DialogRecord, Instant)> {
        (!self.has_ended()).then(|| (self.dialog.record(), self.expires_at))
    }

    /// When it expires; `None` once it has ended.
    pub fn expires_at(&self) -> Option<Instant> {
        (!self.has_ended()).then_some(self.expires_at)
    }

    /// The tag that requests inside the dialog carry in To.
    pub fn local_tag(&self) -> &str {
        self.dialog.local_tag()
    }

    /// It has ended; its last NOTIFY may still be on its way.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, NotifyState::Terminated(_))
    }

    /// The watcher may see the state.
    pub fn is_active(&self) -> bool {
        self.state == NotifyState::Active
    }

    fn terms(&self) -> Option<&Terms> {
        self.beside.as_ref()?.terms.as_ref()
    }

    fn last_words(&self) -> Option<&LastWords> {
        self.beside.as_ref()?.last_words.as_ref()
    }

    fn want(&mut self, due: Due, now: Instant) {
        let (before, since) = self.due.unwrap_or((due, now));
        self.due = Some((due.max(before), since));
    }

    /// When the NOTIFY that waits may leave.
    fn leaves_at(&self) -> Option<Instant> {
        let (due, since) = self.due.filter(|_| self.in_flight.is_none())?;
        let paced = self.paced_until.filter(|_| due == Due::Paced);
        [Some(since), paced, self.stalled_until].into_iter().flatten().max()
    }

    fn end(&mut self, reason: TerminateReason, why: NotifierEnd, now: Instant) {
        if self.has_ended() {
            return;
        }
        self.state = NotifyState::Terminated(reason);
        self.want(Due::Now, now);
        self.stalled_until = None;
        self.failures = 0;
        self.outputs.push_back(NotifierOutput::Ended(why));
    }

    /// There is nothing more to be done.
    fn drop_it(&mut self, why: NotifierEnd) {
        if !self.has_ended() {
            self.state = NotifyState::Terminated(TerminateReason::Timeout);
            self.outputs.push_back(NotifierOutput::Ended(why));
        }
        self.due = None;
        self.in_flight = None;
        if !std::mem::replace(&mut self.released, true) {
            self.outputs.push_back(NotifierOutput::Released(self.dialog.local_tag().into()));
        }
    }

    fn notify(
        &mut self,
        context: &mut Context<'_>,
        document: &mut dyn FnMut(NotifyState) -> Option<Document>,
    ) {
        let document = document(self.state);
        let lasts_until = self.extended(context.now);
        let state = self.subscription_state(lasts_until, context.now);
        // The last word must arrive: it takes something back.
        let last = self.has_ended();
        let benotify = !last && self.terms().is_some_and(|terms| terms.go_unanswered(context.now));
        let method = if benotify { Method::Benotify } else { Method::Notify };
        let language = document.as_ref().and_then(|document| document.language.as_deref());
        let event = event_of(&self.dialog, context.config);
        let mut fields = vec![
            (HeaderName::Event.as_str(), &*event),
            (HeaderName::SubscriptionState.as_str(), state.as_str()),
        ];
        let require = document.as_ref().and_then(|document| document.require);
        fields.extend(require.map(|require| (HeaderName::Require.as_str(), require)));
        fields.extend(language.map(|language| (HeaderName::ContentLanguage.as_str(), language)));
        let beside = document.iter().flat_map(|document| &document.fields);
        fields.extend(beside.map(|(name, value)| (*name, value.as_str())));
        let last_words = self.beside.iter().filter_map(|beside| beside.last_words.as_ref());
        let last_words = last_words.flat_map(|words| &words.fields);
        fields.extend(last_words.map(|(name, value)| (*name, value.as_str())));
        let body = document.as_ref().map(|document| (document.media, &*document.body));
        match self.dialog.request(method, &context.config.origin(), context.tokens, &fields, body) {
            Ok(request) => {
                self.serial = self.serial.wrapping_add(1);
                let serial = self.serial;
                self.in_flight = Some(InFlight { serial, since: context.now, last });
                self.due = None;
                self.stalled_until = None;
                self.paced_until = Some(context.now + context.config.notify_interval);
                self.outputs.push_back(NotifierOutput::Send { serial, request });
            }
            Err(_) => self.drop_it(NotifierEnd::Unwritable),
        }
    }

    /// When it ends once a notification that leaves now has done so.
    fn extended(&self, now: Instant) -> Instant {
        let terms = self.terms().filter(|_| !self.has_ended());
        terms.map_or(self.expires_at, |terms| terms.extended(self.expires_at, now))
    }

    /// The value of Subscription-State. `expires` is what remains, cut to whole seconds: it never grows (PR-38), unless the
    /// watcher has asked for that.
    fn subscription_state(&self, lasts_until: Instant, now: Instant) -> CompactString {
        let left = lasts_until.saturating_duration_since(now).as_secs();
        match self.state {
            NotifyState::Pending => format!("pending;expires={left}").into(),
            NotifyState::Active => format!("active;expires={left}").into(),
            NotifyState::Terminated(reason) => match self.last_words().and_then(|last| last.retry_after) {
                Some(after) => format!("terminated;reason={};retry-after={after}", reason.as_str()).into(),
                None => ["terminated;reason=", reason.as_str()].concat().to_compact_string(),
            },
        }
    }
}
