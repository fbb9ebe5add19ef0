//! What of Lync's a watcher asked for, and how far it goes.

use std::time::{Duration, Instant};

use crate::event::Extras;

/// Notifications extend a subscription no further than to this time after the last SUBSCRIBE. It is what the watcher says
/// himself that renews consent, and it ends what he has forgotten.
pub const EXTENDED_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// What was promised to a watcher with the answer to his last SUBSCRIBE.
///
/// Where nobody answers, nobody tells that the dialog is forgotten, and where notifications extend, they could do so for
/// ever. So a watcher who has said nothing for as long as was granted gets NOTIFY in place of BENOTIFY, until he answers
/// one: who takes the one takes the other.
#[derive(Debug)]
pub(super) struct Terms {
    extras: Extras,
    granted: Duration,
    /// His last SUBSCRIBE.
    subscribed_at: Instant,
    /// He was there: his last SUBSCRIBE, or his last answer.
    heard_at: Instant,
}

impl Terms {
    pub(super) fn of(extras: Extras, granted: Duration, now: Instant) -> Option<Self> {
        (!extras.is_none()).then_some(Self { extras, granted, subscribed_at: now, heard_at: now })
    }

    pub(super) fn extras(&self) -> Extras {
        self.extras
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// A notification that leaves now is a BENOTIFY.
    pub(super) fn go_unanswered(&self, now: Instant) -> bool {
        self.extras.benotify && now <= self.heard_at + self.granted
    }

    /// When it ends once a notification has left now; never sooner than before.
    pub(super) fn extended(&self, expires_at: Instant, now: Instant) -> Instant {
        if !self.extras.autoextend {
            return expires_at;
        }
        let most = self.subscribed_at + EXTENDED_AT_MOST;
        expires_at.max(most.min(now + self.granted))
    }

    /// It would have been extended beyond this, were it not for [`EXTENDED_AT_MOST`].
    pub(super) fn cut_short(&self, expires_at: Instant) -> bool {
        self.extras.autoextend
            && self.granted < EXTENDED_AT_MOST
            && expires_at == self.subscribed_at + EXTENDED_AT_MOST
    }
}
