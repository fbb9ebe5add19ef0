//! What is sent again: only what surely was not processed (design: never twice).

use std::time::{Duration, Instant};

use super::{HopFailure, HopGroup, HopOutput, Outgoing, Sent, State};
use crate::Message;

impl<E> HopGroup<E> {
    pub(super) fn may_ask_another(&self, outgoing: &Outgoing<E>, sent: Sent, now: Instant) -> bool {
        let attempts = usize::try_from(outgoing.attempts + 1).unwrap_or(usize::MAX);
        // Who was redirected to somebody was not sent to the others.
        let may_go_on = !outgoing.cancelled && !outgoing.redirected;
        may_go_on
            && attempts < self.targets.len()
            && self.targets.has_other(sent.target, now)
            && outgoing.pushed + self.config.hold > now
    }

    /// 503: this next hop takes nothing now. What it is working on, it may finish.
    pub(super) fn ask_another(&mut self, outgoing: Outgoing<E>, sent: Sent, message: Message, now: Instant) {
        let retry_after = message.retry_after().ok().flatten();
        let avoid = retry_after.map_or(self.config.avoid, |after| Duration::from_secs(after.seconds.into()));
        self.targets.avoid(sent.target, now + avoid.clamp(self.config.avoid, self.config.avoid_cap));
        if let State::Up(active) = &self.state
            && active.target == sent.target
        {
            self.outputs.push_back(HopOutput::Release { connection: active.connection });
            self.down(None);
        }
        let again = self.renewed(outgoing, message, None);
        self.held.put_back(again);
    }

    /// As a new transaction, to a new Request-URI if there is one. What was answered goes back should nobody else answer.
    pub(super) fn renewed(
        &mut self,
        mut outgoing: Outgoing<E>,
        answer: Message,
        uri: Option<&str>,
    ) -> Outgoing<E> {
        let before = outgoing.request.bytes().len();
        if let Some(uri) = uri {
            outgoing.request.readdress(uri);
        }
        outgoing.attempts += 1;
        outgoing.request.renumber(outgoing.attempts + 1);
        let after = outgoing.request.bytes().len();
        self.load_bytes = self.load_bytes.saturating_sub(before).saturating_add(after);
        outgoing.refusal = Some(Box::new(answer));
        outgoing
    }

    /// Nothing of it was sent: it waits for the next chance, unless there is none.
    pub(super) fn take_back(&mut self, outgoing: Outgoing<E>) {
        if outgoing.cancelled {
            self.fail(outgoing, HopFailure::Withdrawn);
        } else if outgoing.redirected {
            self.expire(outgoing);
        } else {
            self.held.put_back(outgoing);
        }
    }
}
