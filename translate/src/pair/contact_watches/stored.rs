//! What stands on record of the subscription at the front end, and when that is too old.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use nuncio_sip::Tick;
use nuncio_sip::event::Dialog;

/// How far the expiry on record may be off. Every NOTIFY tells it again and moves it a little, and is not worth a write to
/// disk: after a restart the subscription is refreshed at once, whenever it would have expired.
const EXPIRY_LAG: Duration = Duration::from_secs(60);

/// What stands on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Fingerprint of the dialog.
    dialog: u64,
    expires: Tick,
}

impl Stored {
    pub(super) fn new(dialog: &Dialog, front_end: Option<&str>, expires: Instant) -> Self {
        let mut hasher = DefaultHasher::new();
        (dialog.local_tag(), dialog.remote_tag(), dialog.remote_target(), front_end).hash(&mut hasher);
        Self { dialog: hasher.finish(), expires: expires.into() }
    }

    /// Whether the record may stay as it is.
    pub(super) fn still_serves(stored: Option<Self>, now: Option<Self>) -> bool {
        match (stored, now) {
            (Some(stored), Some(now)) => {
                let moved = stored.expires.max(now.expires).get() - stored.expires.min(now.expires).get();
                stored.dialog == now.dialog && moved < EXPIRY_LAG
            }
            (None, None) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_that_moves_by_less_than_a_minute_is_not_stored_again() {
        let begin = Instant::now() + Duration::from_secs(3600);
        let at = |expires| Some(Stored { dialog: 1, expires: Tick::from(expires) });
        for way in [begin + EXPIRY_LAG, begin - EXPIRY_LAG] {
            assert!(!Stored::still_serves(at(begin), at(way)));
        }
        let less = EXPIRY_LAG - Duration::from_nanos(1);
        for way in [begin, begin + less, begin - less] {
            assert!(Stored::still_serves(at(begin), at(way)));
        }
    }

    #[test]
    fn another_dialog_is_stored_whenever_it_expires() {
        let expires = Instant::now();
        let dialog = |dialog| Some(Stored { dialog, expires: Tick::from(expires) });
        assert!(!Stored::still_serves(dialog(1), dialog(2)));
        assert!(!Stored::still_serves(None, dialog(2)) && !Stored::still_serves(dialog(1), None));
        assert!(Stored::still_serves(None, None));
    }
}
