//! A subscription of ours at a front end (RFC 6665 §4.1).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use compact_str::CompactString;

use super::{Answer, Context, Dialog, DialogRecord, Undelivered};
use crate::hop::OutRequest;
use crate::{Message, UriError};

/// One subscription, from the wish to the end; after its end it can begin anew, in a new dialog.
#[derive(Debug)]
pub struct Subscriber {
    dialog: Dialog,
    expires_at: Option<Instant>,
    outputs: VecDeque<SubscriberOutput>,
}

/// What a subscriber wants of its caller.
#[derive(Debug)]
pub enum SubscriberOutput {
    /// Requests inside a dialog with this local tag are for this machine, from now on.
    Bound(CompactString),
    /// … and no more.
    Released(CompactString),
    /// Send this; the outcome comes back with the serial.
    Send { serial: u32, request: OutRequest },
    /// What became of the subscription.
    Report(SubscriberReport),
}

/// News of the subscription.
#[derive(Clone, Debug)]
pub enum SubscriberReport {
    /// The other side has taken note and not decided. Nothing is known of the resource.
    Pending,
    /// A NOTIFY with the state of the resource; without `document` it is not known.
    Active { document: Option<Message> },
    /// The notifier ended it, or we did. There is no subscription any more.
    Ended { reason: EndReason, again: Again, document: Option<Message> },
    /// A SUBSCRIBE was refused, and there is no subscription any more. `refresh`: there was one.
    Refused { status: u16, retry_after: Option<Duration>, refresh: bool },
    /// It came to nothing without anybody saying so, and there is no subscription any more.
    Failed { why: SubscribeFailure },
}

/// How a subscription can fail without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFailure {
    /// The SUBSCRIBE that was to begin it got no answer.
    Undelivered(Undelivered),
    /// The NOTIFY that has to follow a SUBSCRIBE did not come (Timer N).
    NoNotify,
    /// It could not be refreshed in time.
    Expired,
    /// A request could not be written: what the other side gave us as its address is unusable.
    Unwritable,
}

/// Why a subscription ended (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    Deactivated,
    Probation,
    Rejected,
    Timeout,
    GiveUp,
    NoResource,
    Invariant,
    /// None, or one that nobody defined.
    Other,
    /// We wanted it.
    Unsubscribed,
}

/// Whether to subscribe again, as far as SIP has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once, in a new dialog.
    AtOnce,
    /// Not before that.
    After(Duration),
    /// At any time.
    Whenever,
    /// It would end in the same way.
    Never,
}

impl Subscriber {
    /// Nothing is sent yet. `local_uri` is the watcher, `remote_uri` the presentity.
    ///
    /// # Errors
    /// [`UriError`]: one of the two is no SIP URI.
    pub fn new(local_uri: &str, remote_uri: &str) -> Result<Self, UriError> {
        Ok(Self {
            dialog: Dialog::outgoing(local_uri, remote_uri)?,
            expires_at: None,
            outputs: VecDeque::new(),
        })
    }

    /// A subscription of an earlier process. It is `Bound` at once, and does nothing but answer until it is told to
    /// [`refresh`](Self::refresh): restarts are staggered. Left alone it ends at `expires_at`.
    pub fn restore(record: DialogRecord, expires_at: Instant) -> Self {
        Self { dialog: Dialog::restore(record), expires_at: Some(expires_at), outputs: VecDeque::new() }
    }

    /// Begins a subscription, unless there is one. An end that is under way comes first.
    pub fn subscribe(&mut self, _context: &mut Context<'_>) {}

    /// Begins one after so long, unless there is one, or one is begun before.
    pub fn subscribe_after(&mut self, _wait: Duration, _context: &mut Context<'_>) {}

    /// Asks once what the state is: SUBSCRIBE with Expires 0 in a new dialog. Only without a subscription; the
    /// document comes with the report `Ended` (or `Active` before it).
    pub fn fetch(&mut self, _context: &mut Context<'_>) {}

    /// Refreshes now.
    pub fn refresh(&mut self, _context: &mut Context<'_>) {}

    /// Ends it: SUBSCRIBE with Expires 0, then the last NOTIFY is awaited. `Ended` follows in any case.
    pub fn unsubscribe(&mut self, _context: &mut Context<'_>) {}

    /// A NOTIFY (or BENOTIFY) arrived under a tag bound to this machine.
    pub fn notify(&mut self, _request: &Message, _context: &mut Context<'_>) -> Answer {
        Answer::plain(481)
    }

    /// The final response to a request.
    pub fn response(&mut self, _serial: u32, _response: &Message, _context: &mut Context<'_>) {}

    /// A request that gets no response.
    pub fn failed(&mut self, _serial: u32, _why: Undelivered, _context: &mut Context<'_>) {}

    /// The next thing to do; drain it after every input.
    pub fn poll(&mut self) -> Option<SubscriberOutput> {
        self.outputs.pop_front()
    }

    /// When [`Subscriber::handle_timeout`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.expires_at
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, _context: &mut Context<'_>) {}

    /// What has to outlive the process; `None` without a subscription.
    pub fn record(&self) -> Option<(&DialogRecord, Instant)> {
        self.expires_at.map(|at| (self.dialog.record(), at))
    }

    /// There is a subscription, wanted and confirmed by a NOTIFY.
    pub fn is_live(&self) -> bool {
        false
    }

    /// There is none, and nothing is under way or planned.
    pub fn is_idle(&self) -> bool {
        true
    }
}
