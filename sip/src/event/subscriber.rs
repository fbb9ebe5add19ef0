//! A subscription of ours at a front end (RFC 6665 §4.1).

mod incoming;
mod outcome;
mod piggyback;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use compact_str::ToCompactString;

use super::few::Few;
use super::report::{Again, EndReason, SubscribeFailure, SubscriberOutput, SubscriberReport};
use super::{Context, Dialog, DialogRecord, Undelivered, event_of};
use crate::{HeaderName, Method, Tick, UriError};

/// A shorter duration than this, in seconds, is taken for this: whoever grants nothing must not make us refresh all
/// the time.
pub const SHORTEST_GRANT: u32 = 10;
/// A request whose outcome nobody has told us by now is lost: hold time, Timer F and a reserve.
pub const OUTCOME_WITHIN: Duration = Duration::from_secs(120);
/// The part of the granted time after which it is refreshed: a point between the two, so that many subscriptions made
/// at once do not stay together, and several tries fit before the end.
const REFRESH_BETWEEN: (f64, f64) = (0.70, 0.85);

/// One subscription, from the wish to the end; after its end it can begin anew, in a new dialog.
///
/// It keeps itself refreshed, retries a refresh that failed as long as the subscription lasts, goes on in a new dialog
/// when the old one is gone (481), and follows Min-Expires (423). Whether and when to begin again after an end is up
/// to the caller.
#[derive(Debug)]
pub struct Subscriber {
    dialog: Dialog,
    phase: Phase,
    /// Apart, for most of the time there is none.
    in_flight: Option<Box<InFlight>>,
    outputs: Few<SubscriberOutput>,
    /// When the subscription is over, as last granted.
    expires_at: Option<Tick>,
    /// Timer N: the NOTIFY that follows a 2xx is awaited until then.
    notify_until: Option<Tick>,
    serial: u32,
    /// Seconds asked for, if 423 has raised them above those of the configuration.
    raised: Option<NonZeroU32>,
    /// The request under way follows a 423: a second one is a refusal.
    raising: bool,
    /// To be ended as soon as that is possible.
    close_wanted: bool,
    /// To be begun anew after the end that is under way.
    again_wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Nothing until then.
    Waiting(Tick),
    /// SUBSCRIBE was sent, no NOTIFY has come.
    Trying,
    /// As Trying, for a fetch; a NOTIFY may have come that did not end it.
    Fetching,
    /// A NOTIFY has made the dialog.
    Live {
        refresh_at: Option<Tick>,
    },
    /// SUBSCRIBE with Expires 0 was sent in the dialog, the last NOTIFY has not come.
    Closing,
}

/// The request under way.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    serial: u32,
    purpose: Purpose,
    /// Seconds asked for.
    expires: u32,
    since: Instant,
    /// A NOTIFY came meanwhile, and whether it said how long the subscription lasts.
    notified: bool,
    notified_expires: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Initial,
    Refresh,
    Close,
}

impl Subscriber {
    /// Nothing is sent yet. `local_uri` is the watcher, `remote_uri` the presentity.
    ///
    /// # Errors
    /// [`UriError`]: one of the two is no SIP URI.
    pub fn new(local_uri: &str, remote_uri: &str) -> Result<Self, UriError> {
        Dialog::outgoing(local_uri, remote_uri).map(|dialog| Self::with(dialog, Phase::Idle, None))
    }

    /// A subscription of an earlier process. It is `Bound` at once, and does nothing but answer until it is told to
    /// go on ([`take_up`](Self::take_up)): restarts are staggered. Left alone it fails as expired at `expires_at`.
    /// Save its record again: see [`RESTORE_JUMP`](super::RESTORE_JUMP).
    pub fn restore(record: DialogRecord, expires_at: Instant) -> Self {
        let dialog = Dialog::restore(record);
        let tag = dialog.local_tag().into();
        let mut subscriber = Self::with(dialog, Phase::Live { refresh_at: None }, Some(expires_at));
        subscriber.outputs.push_back(SubscriberOutput::Bound(tag));
        subscriber
    }

    fn with(dialog: Dialog, phase: Phase, expires_at: Option<Instant>) -> Self {
        Self {
            dialog,
            phase,
            in_flight: None,
            outputs: Few::default(),
            expires_at: expires_at.map(Tick::from),
            notify_until: None,
            serial: 0,
            raised: None,
            raising: false,
            close_wanted: false,
            again_wanted: false,
        }
    }

    /// Begins a subscription, unless there is one. An end or a fetch that is under way comes first.
    pub fn subscribe(&mut self, context: &mut Context<'_>) {
        match self.phase {
            Phase::Idle | Phase::Waiting(_) => self.begin(Phase::Trying, context),
            Phase::Trying | Phase::Live { .. } => self.close_wanted = false,
            Phase::Fetching | Phase::Closing => self.again_wanted = true,
        }
    }

    /// Begins one after so long, unless there is one or one is planned for an earlier time.
    pub fn subscribe_after(&mut self, wait: Duration, context: &mut Context<'_>) {
        let at = Tick::from(context.now + wait);
        match self.phase {
            Phase::Idle => self.phase = Phase::Waiting(at),
            Phase::Waiting(earlier) => self.phase = Phase::Waiting(earlier.min(at)),
            _ => {}
        }
    }

    /// Asks once what the state is (PR-12): SUBSCRIBE with Expires 0 in a new dialog. Only without a subscription;
    /// the document comes with the report `Ended` (or `Active` before it).
    pub fn fetch(&mut self, context: &mut Context<'_>) {
        let planned = matches!(self.phase, Phase::Waiting(_));
        if self.phase == Phase::Idle || planned {
            self.begin(Phase::Fetching, context);
        }
    }

    /// Refreshes what was [restored](Self::restore), once: a subscription that has been refreshed or begun since keeps
    /// to its own time.
    pub fn take_up(&mut self, context: &mut Context<'_>) {
        if self.phase == (Phase::Live { refresh_at: None }) {
            self.refresh(context);
        }
    }

    /// Refreshes now, unless a request is under way.
    pub fn refresh(&mut self, context: &mut Context<'_>) {
        if matches!(self.phase, Phase::Live { .. }) && self.in_flight.is_none() {
            self.send(Purpose::Refresh, context);
        }
    }

    /// Tries at once what failed and would be tried again later. Not what is under way, or was accepted and awaits its
    /// NOTIFY.
    pub fn try_now(&mut self, context: &mut Context<'_>) {
        match self.phase {
            Phase::Waiting(_) => self.begin(Phase::Trying, context),
            Phase::Live { .. } if self.notify_until.is_none() => self.refresh(context),
            _ => {}
        }
    }

    /// Goes on in a new dialog, without a word to whoever holds this one: it is not there any more.
    pub fn move_on(&mut self, context: &mut Context<'_>) {
        if self.is_live() {
            self.renew(context);
        }
    }

    /// Ends it: SUBSCRIBE with Expires 0, then the last NOTIFY is awaited (PR-09, DEC-08). A report `Ended` follows in
    /// any case.
    pub fn unsubscribe(&mut self, context: &mut Context<'_>) {
        self.again_wanted = false;
        match self.phase {
            Phase::Idle | Phase::Waiting(_) => {
                self.phase = Phase::Idle;
                self.report(UNSUBSCRIBED);
            }
            // There is no dialog yet that could be ended.
            Phase::Trying | Phase::Fetching => self.close_wanted = true,
            Phase::Live { .. } => {
                self.close_wanted = true;
                self.close_if_wanted(context);
            }
            Phase::Closing => {}
        }
    }

    /// The next thing to do; drain it after every input.
    pub fn poll(&mut self) -> Option<SubscriberOutput> {
        self.outputs.pop_front()
    }

    /// When [`Subscriber::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let outcome = self.in_flight.as_ref().map(|request| request.since + OUTCOME_WITHIN);
        let phase = match self.phase {
            Phase::Waiting(at) => Some(at),
            Phase::Live { refresh_at } if self.in_flight.is_none() => {
                refresh_at.into_iter().chain(self.expires_at).min()
            }
            _ => None,
        };
        let others = self.notify_until.into_iter().chain(phase).min();
        outcome.into_iter().chain(others.map(Tick::get)).min()
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, context: &mut Context<'_>) {
        let now = Tick::from(context.now);
        let due = |at: Option<Tick>| at.is_some_and(|at| at <= now);
        let is_lost = |request: &&InFlight| request.since + OUTCOME_WITHIN <= context.now;
        let lost = self.in_flight.as_deref().filter(is_lost);
        if let Some(serial) = lost.map(|request| request.serial) {
            self.failed(serial, Undelivered::Lost, context);
        }
        if due(self.notify_until) {
            self.notify_missing(context);
        }
        match self.phase {
            Phase::Waiting(at) if at <= now => self.begin(Phase::Trying, context),
            Phase::Live { refresh_at } if self.in_flight.is_none() => {
                if due(self.expires_at) {
                    self.fail(SubscribeFailure::Expired, context);
                } else if due(refresh_at) {
                    self.send(Purpose::Refresh, context);
                }
            }
            _ => {}
        }
    }

    /// What has to outlive the process, and when the subscription is over; `None` without one.
    pub fn record(&self) -> Option<(DialogRecord, Instant)> {
        self.lasting().map(|(dialog, at)| (dialog.record(), at))
    }

    /// The dialog of the subscription, and when that is over; `None` without one.
    pub fn lasting(&self) -> Option<(&Dialog, Instant)> {
        self.expires_at.filter(|_| self.is_live()).map(|at| (&self.dialog, at.get()))
    }

    /// The tag it is bound to.
    pub fn local_tag(&self) -> Option<&str> {
        let bound = !matches!(self.phase, Phase::Idle | Phase::Waiting(_));
        bound.then(|| self.dialog.local_tag())
    }

    /// There is a subscription, wanted and confirmed by a NOTIFY.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. }) && !self.close_wanted
    }

    /// Its end is under way: all that is sent is what ends it.
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// There is none, and nothing is under way or planned.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// A new dialog.
    fn begin(&mut self, phase: Phase, context: &mut Context<'_>) {
        self.raising = false;
        self.dialog.begin(context.tokens);
        self.phase = phase;
        self.outputs.push_back(SubscriberOutput::Bound(self.dialog.local_tag().into()));
        self.send(Purpose::Initial, context);
    }

    fn send(&mut self, purpose: Purpose, context: &mut Context<'_>) {
        let config = context.config;
        let expires = match (purpose, self.phase) {
            (Purpose::Close, _) | (_, Phase::Fetching) => 0,
            _ => self.raised.map_or(config.expires, NonZeroU32::get),
        };
        let accept = config.reads.join(", ");
        let seconds = expires.to_compact_string();
        let event = event_of(&self.dialog, config);
        let fields = [
            (HeaderName::Event.as_str(), &*event),
            (HeaderName::Accept.as_str(), accept.as_str()),
            (HeaderName::Expires.as_str(), seconds.as_str()),
        ];
        self.notify_until = None;
        if let Phase::Live { refresh_at } = &mut self.phase {
            *refresh_at = None;
        }
        match self.dialog.request(Method::Subscribe, &config.origin(), context.tokens, &fields, None) {
            Ok(request) => {
                self.serial = self.serial.wrapping_add(1);
                self.in_flight = Some(Box::new(InFlight {
                    serial: self.serial,
                    purpose,
                    expires,
                    since: context.now,
                    notified: false,
                    notified_expires: false,
                }));
                self.outputs.push_back(SubscriberOutput::Send { serial: self.serial, request });
            }
            Err(_) => self.fail(SubscribeFailure::Unwritable, context),
        }
    }

    fn close_if_wanted(&mut self, context: &mut Context<'_>) {
        let live = matches!(self.phase, Phase::Live { .. });
        if self.close_wanted && live && self.in_flight.is_none() {
            self.phase = Phase::Closing;
            self.send(Purpose::Close, context);
        }
    }

    /// Timer N (EV-06).
    fn notify_missing(&mut self, context: &mut Context<'_>) {
        match self.phase {
            Phase::Closing => self.finish(UNSUBSCRIBED, context),
            // It was told something and never that this is all.
            Phase::Fetching if self.dialog.is_established() => self.finish(FETCHED, context),
            _ => self.fail(SubscribeFailure::NoNotify, context),
        }
    }

    fn fail(&mut self, why: SubscribeFailure, context: &mut Context<'_>) {
        self.finish(SubscriberReport::Failed { why }, context);
    }

    /// There is no subscription any more. Who wanted that is told so, however it came about.
    fn finish(&mut self, report: SubscriberReport, context: &mut Context<'_>) {
        let wanted = self.close_wanted || self.phase == Phase::Closing;
        self.release();
        self.phase = Phase::Idle;
        self.report(if wanted { UNSUBSCRIBED } else { report });
        if std::mem::take(&mut self.again_wanted) {
            self.begin(Phase::Trying, context);
        }
    }

    /// Goes on in a new dialog, without a word (PR-07).
    fn renew(&mut self, context: &mut Context<'_>) {
        self.release();
        self.begin(Phase::Trying, context);
    }

    fn release(&mut self) {
        self.outputs.push_back(SubscriberOutput::Released(self.dialog.local_tag().into()));
        self.in_flight = None;
        self.expires_at = None;
        self.notify_until = None;
        self.close_wanted = false;
    }

    fn report(&mut self, report: SubscriberReport) {
        self.outputs.push_back(SubscriberOutput::Report(report));
    }

    /// How long the subscription lasts from now on, as somebody says who may make it shorter, and the next refresh.
    fn lasts(&mut self, seconds: u32, context: &mut Context<'_>) {
        let lasts = Duration::from_secs(seconds.max(SHORTEST_GRANT).into());
        self.expires_at = Some((context.now + lasts).into());
        if let Phase::Live { refresh_at } = &mut self.phase {
            let (least, most) = REFRESH_BETWEEN;
            let wait = context.between(lasts.mul_f64(least), lasts.mul_f64(most));
            *refresh_at = Some((context.now + wait).into());
        }
    }
}

const UNSUBSCRIBED: SubscriberReport =
    SubscriberReport::Ended { reason: EndReason::Unsubscribed, again: Again::Never, document: None };
const FETCHED: SubscriberReport =
    SubscriberReport::Ended { reason: EndReason::Timeout, again: Again::AtOnce, document: None };
