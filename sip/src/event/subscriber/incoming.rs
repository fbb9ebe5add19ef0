//! NOTIFY on its way in: verdict, then what it says.

use std::num::NonZeroU32;

use super::{Phase, Subscriber};
use crate::event::check::{OUT_OF_ORDER, check_body, check_event, unknown_subscription};
use crate::event::report::{SubscriberReport, classify};
use crate::event::{Answer, Context, Order};
use crate::{Message, SubscriptionState};

impl Subscriber {
    /// A NOTIFY (or BENOTIFY) arrived under a tag bound to this machine. An answer other than 2xx means that nothing
    /// has changed.
    pub fn notify(&mut self, request: &Message, context: &mut Context<'_>) -> Answer {
        match self.judge(request, context) {
            Ok((Order::New, state)) => match self.take_note(request, &state, context) {
                Ok(()) => Answer::plain(200),
                Err(answer) => answer,
            },
            Ok(_) => Answer::plain(200),
            Err(answer) => answer,
        }
    }

    /// EV-05, EV-06, EV-08, EV-14.
    fn judge<'m>(
        &self,
        request: &'m Message,
        context: &Context<'_>,
    ) -> Result<(Order, SubscriptionState<'m>), Answer> {
        let id = check_event(request, context.config)?;
        let bound = !matches!(self.phase, Phase::Idle | Phase::Waiting(_));
        if !bound || !self.dialog.owns(request) || id != self.dialog.event_id() {
            return Err(unknown_subscription());
        }
        let state = match request.subscription_state() {
            Ok(Some(state)) => state,
            Ok(None) => {
                let answer = Answer::new(400, "Missing Subscription-State Header Field");
                return Err(answer.because("it has no Subscription-State header field, so it says nothing"));
            }
            Err(error) => {
                let answer = Answer::new(400, "Malformed Subscription-State Header Field");
                return Err(answer.because(error.to_string()));
            }
        };
        match self.dialog.order(request) {
            Ok(Order::Old) => Err(Answer::new(500, "CSeq Out of Order").because(OUT_OF_ORDER)),
            Ok(order) => {
                // The end counts, whatever comes with it.
                if order == Order::New && !state.is("terminated") {
                    check_body(request, context.config)?;
                }
                Ok((order, state))
            }
            Err(error) => Err(Answer::new(400, "Malformed CSeq Header Field").because(error.to_string())),
        }
    }

    fn take_note(
        &mut self,
        request: &Message,
        state: &SubscriptionState<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Answer> {
        if self.dialog.is_established() {
            self.dialog.accepted(request);
        } else {
            self.dialog.establish(request).map_err(|error| error.answer())?;
        }
        self.told(request, state, context);
        Ok(())
    }

    /// What the notifier says, in a NOTIFY or in a 2xx that stands for one.
    pub(super) fn told(
        &mut self,
        message: &Message,
        state: &SubscriptionState<'_>,
        context: &mut Context<'_>,
    ) {
        let document = Some(message).filter(|message| !message.body().is_empty()).cloned();
        if state.is("terminated") {
            let (reason, again) = classify(state);
            return self.finish(SubscriberReport::Ended { reason, again, document }, context);
        }
        self.confirmed(state.expires(), context);
        if self.phase != Phase::Closing && !self.close_wanted {
            // What nobody defined promises nothing.
            let active = state.is("active");
            self.report(if active {
                SubscriberReport::Active { document }
            } else {
                SubscriberReport::Pending
            });
        }
        self.close_if_wanted(context);
    }

    /// There is a subscription; `expires` is how long the notifier says it lasts.
    fn confirmed(&mut self, expires: Option<u32>, context: &mut Context<'_>) {
        match self.phase {
            Phase::Trying => self.phase = Phase::Live { refresh_at: None },
            Phase::Live { .. } => {}
            // These end with `terminated`: it is still awaited.
            _ => return,
        }
        self.notify_until = None;
        let asked = self.raised.map_or(context.config.expires, NonZeroU32::get);
        let expires = expires.map(|seconds| seconds.min(asked));
        if let Some(request) = &mut self.in_flight {
            request.notified = true;
            request.notified_expires |= expires.is_some();
        }
        let Some(seconds) = expires else {
            if self.expires_at.is_none() {
                self.lasts(asked, context);
            }
            return self.plan_refresh(context);
        };
        // The refresh only ever moves forward: drawn anew with each NOTIFY it would never come.
        let before = match self.phase {
            Phase::Live { refresh_at } => refresh_at,
            _ => None,
        };
        self.lasts(seconds, context);
        if let (Phase::Live { refresh_at: Some(drawn) }, Some(before)) = (&mut self.phase, before) {
            *drawn = before.min(*drawn);
        }
    }

    /// A dialog that has just come about has no time of refresh yet.
    fn plan_refresh(&mut self, context: &mut Context<'_>) {
        if let (Phase::Live { refresh_at: None }, Some(at)) = (self.phase, self.expires_at) {
            let left = at.get().saturating_duration_since(context.now).as_secs();
            self.lasts(u32::try_from(left).unwrap_or(u32::MAX), context);
        }
    }
}
