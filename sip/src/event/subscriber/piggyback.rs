//! A document in the 2xx to SUBSCRIBE: it stands for the NOTIFY that would follow (`ms-piggyback-first-notify`). We never
//! ask for one, but a front end may be sure of its clients.

use super::{InFlight, Phase, Subscriber};
use crate::event::Context;
use crate::event::check::{check_body, check_event};
use crate::{HeaderName, Message};

impl Subscriber {
    /// Takes it, if there is one that can be read; says whether no NOTIFY has to follow any more. One that cannot be read
    /// is left to the NOTIFY, whose refusal is heard.
    pub(super) fn piggybacked(
        &mut self,
        request: &InFlight,
        response: &Message,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(number) = number(response).filter(|number| !self.dialog.has_seen(*number)) else {
            return false;
        };
        let ours = check_event(response, context.config).is_ok_and(|id| id == self.dialog.event_id());
        let readable = ours && !response.body().is_empty() && check_body(response, context.config).is_ok();
        let state = response.subscription_state().ok().flatten();
        let Some(state) = state.filter(|_| readable) else { return false };
        if !self.dialog.is_established() && self.dialog.confirm(response).is_err() {
            return false;
        }
        self.dialog.noted_number(number);
        self.told(response, &state, context);
        if state.is("terminated") {
            return true;
        }
        if !matches!(self.phase, Phase::Live { .. }) {
            return false;
        }
        if state.expires().is_none() {
            let granted = response.expires().ok().flatten().unwrap_or(request.expires);
            self.lasts(granted.min(request.expires), context);
        }
        true
    }
}

/// The number of the NOTIFY that it stands for.
fn number(response: &Message) -> Option<u32> {
    response.header(HeaderName::MsPiggybackCSeq)?.trim().parse().ok()
}
