//! SUBSCRIBE on its way in: the one that begins it, and those inside the dialog.

use std::time::Duration;

use super::terms::Terms;
use super::{Beside, Due, Notifier};
use crate::event::check::{OUT_OF_ORDER, check_terms, unknown_subscription};
use crate::event::{
    Answer, Context, Dialog, EventConfig, NotifierEnd, Order, TerminateReason, Wanted, dialog_sharing_refused,
};
use crate::{HeaderName, Message, Uri};

impl Notifier {
    /// Takes a SUBSCRIBE outside of any dialog that [`check_subscribe`](crate::event::check_subscribe) has passed.
    /// `local_tag` is the To tag its answer gets ([`Connection::to_tag`](crate::connection::Connection::to_tag)). Expires 0 makes a fetch: one NOTIFY, and the end. `active` says
    /// whether the watcher may see the state already.
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
        let dialog = Dialog::incoming(request, local_tag).map_err(|error| error.answer())?;
        let mut notifier = Self::with(dialog, context.now, active);
        notifier.last(wanted, NotifierEnd::Fetched, context);
        // A Record-Route may only be copied into answers that make a dialog (RFC 3261 §12.1.1).
        let mut answer = notifier.granted(wanted.expires, context.config);
        for row in request.headers(HeaderName::RecordRoute) {
            answer = answer.with(HeaderName::RecordRoute.as_str(), row);
        }
        Ok((notifier, answer))
    }

    /// A SUBSCRIBE inside the dialog: refresh, or end with Expires 0 (then `Ended` comes out at once). `routable` says
    /// whether NOTIFY may go to that Contact (PS-06). An answer other than 2xx means that nothing has changed.
    pub fn subscribe(
        &mut self,
        request: &Message,
        routable: impl FnOnce(&Uri<'_>) -> bool,
        context: &mut Context<'_>,
    ) -> Answer {
        if self.has_ended() || !self.dialog.owns(request) {
            return unknown_subscription();
        }
        let wanted = match check_terms(request, context.config, routable, false) {
            Ok(wanted) => wanted,
            Err(answer) => return answer,
        };
        if wanted.event_id.as_deref() != self.dialog.event_id() {
            return dialog_sharing_refused();
        }
        match self.dialog.order(request) {
            Err(error) => Answer::plain(400).because(error.to_string()),
            Ok(Order::Old) => Answer::new(500, "CSeq Out of Order").because(OUT_OF_ORDER),
            Ok(Order::Repeat) => {
                let left = self.expires_at.saturating_duration_since(context.now).as_secs();
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                self.granted(left.min(wanted.expires), context.config)
            }
            Ok(Order::New) => {
                self.dialog.accepted(request);
                self.last(&wanted, NotifierEnd::Unsubscribed, context);
                self.granted(wanted.expires, context.config)
            }
        }
    }

    /// It lasts so long from now on; 0 ends it. A NOTIFY follows at once in either case (EV-03, EV-09), and the watcher
    /// is there: what stalled, stalls no more.
    fn last(&mut self, wanted: &Wanted, end: NotifierEnd, context: &Context<'_>) {
        let granted = Duration::from_secs(wanted.expires.into());
        self.expires_at = context.now + granted;
        // Nobody has had a last word yet.
        self.beside = Terms::of(wanted.extras, granted, context.now)
            .map(|terms| Box::new(Beside { terms: Some(terms), last_words: None }));
        self.stalled_until = None;
        (self.failures, self.refusals) = (0, 0);
        if granted.is_zero() {
            self.end(TerminateReason::Timeout, end, context.now);
        } else {
            self.want(Due::Now, context.now);
        }
    }

    fn granted(&self, expires: u32, config: &EventConfig) -> Answer {
        let answer = Answer::plain(200)
            .with(HeaderName::Contact.as_str(), format!("<{}>", self.dialog.contact(&config.origin())))
            .with(HeaderName::Expires.as_str(), expires.to_string())
            .with(HeaderName::AllowEvents.as_str(), config.package);
        match self.terms().and_then(|terms| terms.extras().promised()) {
            Some(promised) => answer.with(HeaderName::Supported.as_str(), promised),
            None => answer,
        }
    }
}
