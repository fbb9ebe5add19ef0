//! What became of requests of ours.

use super::branches::Branches;
use super::timer::min_se;
use super::{
    Context, InviteFailure, MAX_FORKS, MessageOutcome, Phase, Purpose, Session, SessionEnd, SessionOutput,
    SessionReport, UnderWay,
};
use crate::dialog::Dialog;
use crate::event::Undelivered;
use crate::{Message, Method};

/// Answers to a request inside a dialog that end it (RFC 5057 §5.1), 481 and 408 apart.
fn ends_dialog(status: u16) -> bool {
    matches!(status, 404 | 410 | 416 | 482..=485 | 502 | 604)
}

impl Session {
    /// The final response to a request.
    pub fn response(&mut self, serial: u32, response: &Message, context: &mut Context<'_>) {
        let Some(status) = response.status().filter(|status| status.is_final()) else { return };
        let Some(request) = self.take_under_way(serial) else { return };
        let success = status.is_success();
        match request.purpose {
            Purpose::Invite if success => self.invite_accepted(response, context),
            Purpose::Invite => self.invite_refused(status.0, response, context),
            Purpose::Content { is_message } => {
                let outcome = match success {
                    true => MessageOutcome::Delivered {
                        status: status.0,
                        message_id: response.other("Message-Id").map(Into::into),
                    },
                    false => MessageOutcome::Refused(response.clone()),
                };
                self.report(SessionReport::Message { serial, outcome });
                // Without MESSAGE there is nothing to be done in it; without INFO there is.
                let useless = is_message && matches!(status.0, 405 | 501);
                if matches!(status.0, 481 | 408) || ends_dialog(status.0) || useless {
                    self.gone(status.0, context);
                }
            }
            Purpose::Update | Purpose::Reinvite { .. } => {
                self.refresh_answered(request.purpose, status.0, response, context);
            }
            Purpose::Bye => {}
        }
        self.settle();
    }

    /// A request that gets no response; also one that was not taken.
    pub fn failed(&mut self, serial: u32, why: Undelivered, context: &mut Context<'_>) {
        let Some(request) = self.take_under_way(serial) else { return };
        match request.purpose {
            Purpose::Invite if matches!(self.phase, Phase::Inviting(_)) => {
                self.fail(InviteFailure::Undelivered(why));
            }
            Purpose::Invite => self.release(),
            Purpose::Content { .. } => {
                self.report(SessionReport::Message { serial, outcome: MessageOutcome::Undelivered(why) });
                self.gone_if_silent(why, context);
            }
            Purpose::Update | Purpose::Reinvite { .. } => {
                self.refresh_again(context);
                self.gone_if_silent(why, context);
            }
            Purpose::Bye => {}
        }
        self.settle();
    }

    /// A provisional response to our INVITE, or a 2xx after the one that settled it
    /// ([`Output::Early`](crate::connection::Output::Early)).
    pub fn early(&mut self, response: &Message, context: &mut Context<'_>) {
        let (Some(status), Ok(cseq)) = (response.status(), response.cseq()) else { return };
        let ours = response.call_id().is_ok_and(|call_id| call_id == self.dialog.call_id())
            && response.from_tag() == Some(self.dialog.local_tag());
        if !ours || cseq.method != Method::Invite {
            return;
        }
        if status.is_provisional() {
            if matches!(self.phase, Phase::Inviting(_)) {
                self.report(SessionReport::Ringing { status: status.0 });
            }
            return;
        }
        // The one that settles it comes with its serial, and before.
        let settled = matches!(self.phase, Phase::Live | Phase::Ending | Phase::Left);
        let Some(tag) = response.to_tag().filter(|_| settled) else { return };
        if tag == self.dialog.remote_tag() {
            // Its ACK was lost (RFC 3261 §13.2.2.4).
            self.acknowledge(cseq.number, context);
        } else if let Ok(fork) = self.dialog.fork(response) {
            self.end_fork(fork, cseq.number, context);
        }
    }

    /// The first 2xx wins.
    fn invite_accepted(&mut self, response: &Message, context: &mut Context<'_>) {
        let number = response.cseq().map_or(0, |cseq| cseq.number);
        let (wanted, branches) = match &mut self.phase {
            Phase::Inviting(inviting) => (true, std::mem::take(&mut inviting.branches)),
            _ => (false, Branches::default()),
        };
        if self.dialog.confirm(response).is_err() {
            if wanted {
                self.report(SessionReport::Failed(Box::new(InviteFailure::NoDialog)));
            }
            return self.release();
        }
        // What the other branches have said is not of this dialog, and their numbers do not count in it.
        if let Some(last) = branches.last(self.dialog.remote_tag()) {
            self.dialog.noted_number(last);
        }
        self.acknowledge(number, context);
        if !wanted {
            // It crossed our CANCEL.
            return self.leave(context);
        }
        if let Err(why) = self.take_answer(&response.body()) {
            self.report(SessionReport::Failed(Box::new(why)));
            return self.leave(context);
        }
        self.takes_update = response.allow().any(|method| method == Method::Update);
        self.phase = Phase::Live;
        self.confirmed = true;
        self.used(context);
        self.granted(response, context);
        self.report(SessionReport::Established);
    }

    fn invite_refused(&mut self, status: u16, response: &Message, context: &mut Context<'_>) {
        let Phase::Inviting(inviting) = &self.phase else { return self.release() };
        let least = min_se(response).filter(|least| status == 422 && *least <= context.config.max_interval);
        match least {
            Some(least) if !inviting.raised => self.send_invite(Some(least), context),
            _ => self.fail(InviteFailure::Refused(response.clone())),
        }
    }

    fn refresh_answered(
        &mut self,
        purpose: Purpose,
        status: u16,
        response: &Message,
        context: &mut Context<'_>,
    ) {
        let success = (200..300).contains(&status);
        if let Purpose::Reinvite { number } = purpose
            && success
        {
            self.acknowledge(number, context);
        }
        if !matches!(self.phase, Phase::Live) {
            return;
        }
        match status {
            200..300 => {
                self.dialog.responded(response);
                self.granted(response, context);
            }
            422 => self.lengthen(response, context),
            491 => self.refresh_after_glare(context),
            408 | 481 => self.gone(status, context),
            405 | 501 if purpose == Purpose::Update => {
                self.takes_update = false;
                self.refresh(context);
            }
            _ if ends_dialog(status) => self.gone(status, context),
            _ => self.refresh_again(context),
        }
    }

    fn gone_if_silent(&mut self, why: Undelivered, context: &mut Context<'_>) {
        if why == Undelivered::Timeout {
            self.gone(408, context);
        }
    }

    /// RFC 3261 §12.2.1.2: the dialog ends. Who does not know of it need not be told.
    fn gone(&mut self, status: u16, context: &mut Context<'_>) {
        if !matches!(self.phase, Phase::Live) {
            return;
        }
        if status == 481 {
            self.report(SessionReport::Ended(SessionEnd::Gone(status)));
            self.phase = Phase::Left;
            self.unacknowledged = None;
        } else {
            self.end_because(SessionEnd::Gone(status), context);
        }
    }

    /// Ends what has been accepted and is not wanted.
    fn leave(&mut self, context: &mut Context<'_>) {
        self.phase = Phase::Ending;
        self.send_bye(context);
    }

    fn acknowledge(&mut self, number: u32, context: &mut Context<'_>) {
        let origin = context.config.origin();
        if let Ok(request) = self.dialog.ack(number, &origin, context.tokens, None) {
            self.send_unwatched(request);
        }
    }

    /// Another branch of the fork has accepted, too: ACK and BYE, and for its repeats ACK again.
    fn end_fork(&mut self, mut fork: Dialog, number: u32, context: &mut Context<'_>) {
        let known = self.forks.iter().any(|tag| tag == fork.remote_tag());
        if !known && self.forks.len() >= MAX_FORKS {
            return;
        }
        let origin = context.config.origin();
        if let Ok(ack) = fork.ack(number, &origin, context.tokens, None) {
            self.send_unwatched(ack);
        }
        if known {
            return;
        }
        self.forks.push(fork.remote_tag().into());
        if let Ok(bye) = fork.request(Method::Bye, &origin, context.tokens, &[], None) {
            self.send_unwatched(bye);
        }
    }

    /// Its outcome does not matter.
    fn send_unwatched(&mut self, request: crate::hop::OutRequest) {
        self.serial = self.serial.wrapping_add(1);
        self.outputs.push_back(SessionOutput::Send { serial: self.serial, request });
    }

    fn take_under_way(&mut self, serial: u32) -> Option<UnderWay> {
        let place = self.under_way.iter().position(|request| request.serial == serial)?;
        Some(self.under_way.remove(place))
    }

    /// An ended session goes when nothing of it is under way any more.
    pub(super) fn settle(&mut self) {
        let idle = self.under_way.is_empty() && self.unacknowledged.is_none();
        if matches!(self.phase, Phase::Ending | Phase::Left) && idle {
            self.release();
        }
    }
}
