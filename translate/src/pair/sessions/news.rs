//! What sessions report, and what follows from it.

use std::time::Duration;

use nuncio_sip::Method;
use nuncio_sip::event::Undelivered;
use nuncio_sip::session::{MessageOutcome, SessionEnd, SessionOutput, SessionReport};

use super::super::output::Fact;
use super::super::{ToSip, Waiting};
use super::settled::{Instead, Outcome, Settled};
use super::{Context, Conversation, Judged, Output, Request, Talk};
use crate::typing::Dialect;

/// How long messages go alone after the SIP user's side has refused a session as such (CH-03).
pub(super) const BY_PAGER: Duration = Duration::from_secs(3600);

impl<M> Talk<M> {
    pub(super) fn carry_out(
        &mut self,
        at: usize,
        output: SessionOutput,
        judged: Option<Judged>,
        context: &mut Context<'_>,
    ) {
        let Some(talk) = self.sessions.all.get(at) else { return };
        let order = match output {
            SessionOutput::Bound(tag) => Output::Bound(tag),
            SessionOutput::Released(tag) => Output::Released(tag),
            SessionOutput::Send { serial, request } => {
                let crosses = matches!(request.method(), Method::Message | Method::Info | Method::Invite);
                let judged = judged.filter(|_| crosses);
                let (half, front_end) = (talk.half(), talk.holder());
                let identity = Some(talk.identity);
                Output::Request(Request { half, serial, request, front_end, identity, judged })
            }
            SessionOutput::Cancel { branch, fields } => Output::Cancel { branch, fields },
            SessionOutput::Repeat => match talk.asked {
                Some(asked) => Output::Repeat(asked),
                None => return,
            },
            SessionOutput::Report(report) => return self.reported(at, report, context),
        };
        self.sessions.outputs.push_back(order);
    }

    fn reported(&mut self, at: usize, report: SessionReport, context: &mut Context<'_>) {
        let Some(talk) = self.sessions.all.get_mut(at) else { return };
        match report {
            SessionReport::Ringing { .. } => {}
            SessionReport::Established => {
                talk.open(context);
                self.sessions.threads.note(talk.session.conversation(), &talk.thread, context.now.instant);
                self.sessions.lost = false;
                // Whatever refused one before, this one was taken.
                self.sessions.by_pager_until = None;
                self.fact(Fact::SessionBegan);
                self.call_off_others(at, context);
            }
            SessionReport::Failed(why) => match Instead::of(*why) {
                Instead::Pager(status) => {
                    self.sessions.by_pager_until = Some(context.now.instant + BY_PAGER);
                    self.fact(Fact::SessionRefused { status });
                }
                // It was not heard of, and no message has been sent: once more, by whichever way is there then.
                Instead::Again if !std::mem::replace(&mut self.sessions.lost, true) => {}
                Instead::Again => {
                    // Of the next message it is the first time again.
                    self.sessions.lost = false;
                    self.nothing_leaves(&Outcome::Uninvited(Undelivered::Lost));
                }
                // Both have invited each other (glare), and theirs is there, or about to be: what waits goes in that one, or,
                // if it comes to nothing, is invited for anew.
                Instead::Nothing(_) if self.another_lives(at) => {}
                Instead::Nothing(outcome) => self.nothing_leaves(&outcome),
                Instead::Whatever => {}
            },
            SessionReport::Message { serial, outcome } => match talk.message.take_if(|own| *own == serial) {
                Some(_) => {
                    // Where the front end that holds it is not reached, another one is asked for a new one.
                    let unreached = matches!(outcome, MessageOutcome::Undelivered(Undelivered::NotSent));
                    let held = unreached && !talk.front_end.is_empty();
                    if held {
                        talk.session.end(&mut context.session(talk.identity));
                    }
                    self.message_settled(outcome, held, context);
                }
                None => {
                    if let MessageOutcome::Refused(response) = outcome {
                        talk.to_user.answered(response.status().map_or(500, |status| status.0));
                    }
                }
            },
            SessionReport::Ended(why) => {
                // It was accepted, and takes no messages: of no more use than one that is refused (CH-03).
                if matches!(why, SessionEnd::Gone(status) if is_about_messages(status)) {
                    self.sessions.by_pager_until = Some(context.now.instant + BY_PAGER);
                    self.sessions.outputs.push_back(Output::Fact(Fact::SessionRefused { status: None }));
                }
                talk.to_contact.ended();
                talk.to_user.closed();
                self.sessions.threads.note(talk.session.conversation(), &talk.thread, context.now.instant);
                self.fact(Fact::SessionEnded(why));
            }
        }
    }

    fn another_lives(&self, at: usize) -> bool {
        let mut others = self.sessions.all.iter().enumerate().filter(|(other, _)| *other != at);
        others.any(|(_, talk)| !talk.session.has_ended())
    }

    /// Both have invited each other (glare): one session is enough, and this one is there. Its turn in the pump may have
    /// passed, so what the other one wants is carried out here.
    fn call_off_others(&mut self, at: usize, context: &mut Context<'_>) {
        for other in (0..self.sessions.all.len()).filter(|other| *other != at) {
            let Some(talk) = self.sessions.all.get_mut(other) else { return };
            if talk.asked.is_none() && !talk.session.has_ended() && !talk.session.is_established() {
                talk.session.end(&mut context.session(talk.identity));
            }
            while let Some(output) = self.sessions.all.get_mut(other).and_then(|talk| talk.session.poll()) {
                self.carry_out(other, output, None, context);
            }
        }
    }

    /// Nobody is there to take what waits. Word from the gateway goes alone.
    pub(super) fn nothing_leaves(&mut self, outcome: &Outcome) {
        for waiting in self.waiting.drain(..) {
            let item = ToSip::Message(waiting.stanza);
            self.settled.push_back(Settled { item, outcome: outcome.clone() });
        }
    }

    /// `held`: it was not sent, for the front end that held its session could not be reached.
    pub(super) fn message_settled(&mut self, outcome: MessageOutcome, held: bool, context: &Context<'_>) {
        let Some(pending) = self.pending.take() else { return };
        let status = match &outcome {
            MessageOutcome::Refused(response) => response.status().map_or(500, |status| status.0),
            _ => 0,
        };
        // Whoever does not know the session has not processed what came in it: once more in another one, and only once.
        let unprocessed = status == 481 || held;
        // Nor has who takes no messages in sessions (CH-03).
        let alone = is_about_messages(status);
        match pending.item {
            ToSip::Message(stanza) if alone || (unprocessed && !pending.again) => {
                let since = context.now.instant;
                self.waiting.push_front(Waiting { stanza, since, again: true, alone, taken_on: false });
            }
            ToSip::Notice(notice) if alone || unprocessed => self.notices.add(notice),
            item => self.settled.push_back(Settled { item, outcome: outcome.into() }),
        }
    }

    fn fact(&mut self, fact: Fact) {
        self.sessions.outputs.push_back(Output::Fact(fact));
    }
}

/// Statuses by which a MESSAGE inside a session is refused as such.
fn is_about_messages(status: u16) -> bool {
    matches!(status, 405 | 501)
}

impl Conversation {
    /// Typing may be spoken of from now on, in the form that the other side reads.
    fn open(&mut self, context: &Context<'_>) {
        let composing = self.session.names("application", "im-iscomposing+xml");
        let dialect = match composing {
            true => Dialect::IsComposing { refresh: None },
            false => Dialect::Keyboard,
        };
        self.to_user.opened(dialect, context.now.instant);
    }
}
