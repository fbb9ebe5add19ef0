//! Verdicts on SUBSCRIBE and NOTIFY that need no subscription.

use compact_str::CompactString;

use super::{Answer, EventConfig};
use crate::{Message, Uri};

/// What a SUBSCRIBE that passed asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Seconds granted: never more than asked for; 0 is a fetch, or the end of a subscription.
    pub expires: u32,
    /// The media type chosen from its Accept: the first of [`EventConfig::writes`] that it accepts.
    pub media: &'static str,
    /// The `id` parameter of Event.
    pub event_id: Option<CompactString>,
}

/// Judges a SUBSCRIBE. One with a To tag belongs to a dialog: if no machine is bound to the tag, it is answered with
/// what this says (EV-12). `routable` says whether NOTIFY may go to that Contact (PS-06).
///
/// # Errors
/// The answer it gets: 400, 403, 406, 423, 481, 489.
pub fn check_subscribe(
    request: &Message,
    config: &EventConfig,
    routable: impl FnOnce(&Uri<'_>) -> bool,
) -> Result<Wanted, Answer> {
    let _ = (config, routable, request);
    Err(Answer::plain(481))
}

/// The answer to a NOTIFY under whose To tag no machine is bound (EV-05).
pub fn check_notify(request: &Message, config: &EventConfig) -> Answer {
    let _ = (request, config);
    Answer::plain(481)
}
