//! A subscription that somebody holds with us (RFC 6665 §4.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use compact_str::CompactString;

use super::{Answer, Context, Dialog, DialogRecord, Undelivered, Wanted};
use crate::hop::OutRequest;
use crate::{Message, Uri};

/// One subscription, from the SUBSCRIBE to the last NOTIFY.
///
/// One NOTIFY is under way at a time; what changes meanwhile makes the next one, which shows the newest state. The
/// document is asked for when a NOTIFY is written, and not before.
#[derive(Debug)]
pub struct Notifier {
    dialog: Dialog,
    expires_at: Instant,
    outputs: VecDeque<NotifierOutput>,
}

/// What a notifier wants of its caller. `Ended` comes exactly once, `Released` after it as the last of all.
#[derive(Debug)]
pub enum NotifierOutput {
    /// Requests inside a dialog with this local tag are for this machine, from now on.
    Bound(CompactString),
    /// … and no more: it can be dropped.
    Released(CompactString),
    /// Send this; the outcome comes back with the serial.
    Send { serial: u32, request: OutRequest },
    /// The subscription has ended. The last NOTIFY may still be on its way.
    Ended(NotifierEnd),
    /// A NOTIFY did not reach anybody. It is tried again after a while, or at once with [`Notifier::retry`].
    Stalled(Undelivered),
}

/// Why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifierEnd {
    /// The watcher only wanted to know once.
    Fetched,
    /// The watcher ended it with Expires 0.
    Unsubscribed,
    /// The watcher did not refresh it.
    Expired,
    /// [`Notifier::terminate`].
    Terminated,
    /// A NOTIFY was refused with this status (PR-41), or again and again with others.
    Refused(u16),
    /// A NOTIFY was not answered (Timer F).
    Silent,
    /// A NOTIFY could not be written: what the watcher gave us as its address is unusable.
    Unwritable,
}

/// What a NOTIFY says about the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyState {
    Pending,
    Active,
    Terminated(TerminateReason),
}

/// Reasons we give (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminateReason {
    Deactivated,
    Probation,
    Rejected,
    Timeout,
    GiveUp,
    NoResource,
    Invariant,
}

/// How we end a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminate {
    pub reason: TerminateReason,
    pub retry_after: Option<Duration>,
}

/// The body of a NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Content-Type.
    pub media: &'static str,
    pub body: Bytes,
    /// Content-Language.
    pub language: Option<CompactString>,
}

impl Notifier {
    /// Takes a SUBSCRIBE outside of any dialog that [`check_subscribe`](super::check_subscribe) has passed.
    /// `local_tag` is the To tag its answer gets. Expires 0 makes a fetch: one NOTIFY, and the end.
    ///
    /// # Errors
    /// The answer, if no dialog can be made.
    pub fn accept(
        request: &Message,
        wanted: &Wanted,
        local_tag: &str,
        active: bool,
        context: &mut Context<'_>,
    ) -> Result<(Self, Answer), Answer> {
        let _ = (wanted, active);
        let dialog = Dialog::incoming(request, local_tag).map_err(|_| Answer::plain(400))?;
        Ok((Self { dialog, expires_at: context.now, outputs: VecDeque::new() }, Answer::plain(200)))
    }

    /// A subscription of an earlier process. It is `Bound` at once, and sends nothing before
    /// [`changed`](Self::changed), its end or a refresh.
    pub fn restore(record: DialogRecord, expires_at: Instant, active: bool) -> Self {
        let _ = active;
        Self { dialog: Dialog::restore(record), expires_at, outputs: VecDeque::new() }
    }

    /// A SUBSCRIBE inside the dialog: refresh, or end with Expires 0. `routable` says whether NOTIFY may go to that
    /// Contact (PS-06).
    pub fn subscribe(
        &mut self,
        _request: &Message,
        _routable: impl FnOnce(&Uri<'_>) -> bool,
        _context: &mut Context<'_>,
    ) -> Answer {
        Answer::plain(481)
    }

    /// Whether the watcher may see the state; a NOTIFY follows if that is new.
    pub fn set_active(&mut self, _active: bool, _context: &mut Context<'_>) {}

    /// There is something new to be seen.
    pub fn changed(&mut self, _context: &mut Context<'_>) {}

    /// Ends it with a last NOTIFY.
    pub fn terminate(&mut self, _end: Terminate, _context: &mut Context<'_>) {}

    /// The way to the watcher may be free again: what stalled is sent now.
    pub fn retry(&mut self, _context: &mut Context<'_>) {}

    /// The final response to a NOTIFY.
    pub fn response(&mut self, _serial: u32, _response: &Message, _context: &mut Context<'_>) {}

    /// A NOTIFY that gets no response.
    pub fn failed(&mut self, _serial: u32, _why: Undelivered, _context: &mut Context<'_>) {}

    /// The next thing to do; drain it after every input. `document` is asked for the newest document when a NOTIFY
    /// leaves; `None` is an empty body.
    pub fn poll(
        &mut self,
        _context: &mut Context<'_>,
        _document: &mut dyn FnMut(NotifyState) -> Option<Document>,
    ) -> Option<NotifierOutput> {
        self.outputs.pop_front()
    }

    /// When [`Notifier::handle_timeout`] is to be called, and `poll` after it.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.expires_at)
    }

    /// Fires what is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, _context: &mut Context<'_>) {}

    /// What has to outlive the process; `None` once it has ended.
    pub fn record(&self) -> Option<(&DialogRecord, Instant)> {
        Some((self.dialog.record(), self.expires_at))
    }

    /// The tag that requests inside the dialog carry in To.
    pub fn local_tag(&self) -> &CompactString {
        self.dialog.local_tag()
    }

    /// It has ended (its last NOTIFY may still be on its way).
    pub fn has_ended(&self) -> bool {
        false
    }

    /// The watcher may see the state.
    pub fn is_active(&self) -> bool {
        false
    }
}
