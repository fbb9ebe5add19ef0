//! Requests of the other side inside the session.

use std::time::Duration;

use super::check::unknown_session;
use super::offer::offer;
use super::{
    ACK_WITHIN, Context, Invited, Phase, Purpose, REPEAT_FIRST, Session, SessionEnd, SessionReport,
    Unacknowledged, timer,
};
use crate::dialog::{Answer, Order};
use crate::sdp::{Description, MEDIA_TYPE, Offer, Unacceptable};
use crate::{HeaderName, Message, Method, Uri};

/// RFC 3261 §14.2: who sends an INVITE too early is to send it again within this time, by chance.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);

/// What is to be done with a request.
#[derive(Debug)]
pub enum Received {
    /// It gets this answer.
    Answer(Answer),
    /// A MESSAGE or INFO, the next in its order: the caller takes it on and answers. If it is a message, and not about typing
    /// or what became of one, [`Session::used`] follows.
    Content,
}

impl Session {
    /// A request inside the session, ACK and CANCEL excepted: see [`Session::acknowledged`]; CANCEL of an INVITE inside the
    /// dialog comes too late, for that is answered at once.
    pub fn request(&mut self, request: &Message, context: &mut Context<'_>) -> Received {
        let method = request.method();
        let content = matches!(method, Method::Message | Method::Info);
        let welcome = match self.phase {
            Phase::Live => true,
            // What crosses our BYE was said in the session, and what overtakes the 2xx on another connection was, too.
            Phase::Ending | Phase::Inviting(_) => content,
            Phase::Abandoned | Phase::Left | Phase::Over => false,
        };
        let both_end = method == Method::Bye && matches!(self.phase, Phase::Ending);
        if !self.dialog.owns(request) || !(welcome || both_end) {
            return Received::Answer(unknown_session());
        }
        let tag = request.from_tag().unwrap_or_default();
        let order = match &self.phase {
            Phase::Inviting(inviting) if inviting.branches.are_too_many_with(tag) => {
                return Received::Answer(unknown_session());
            }
            Phase::Inviting(inviting) => request.cseq().map(|cseq| inviting.branches.order(tag, cseq.number)),
            _ => self.dialog.order(request),
        };
        match order {
            Ok(Order::New) => {}
            Ok(Order::Old | Order::Repeat) => {
                return Received::Answer(
                    Answer::new(500, "CSeq Out of Order")
                        .because("its CSeq is not higher than that of the request before it in the session"),
                );
            }
            Err(error) => {
                return Received::Answer(
                    Answer::new(400, "Malformed CSeq Header Field").because(error.to_string()),
                );
            }
        }
        let answer = match method {
            _ if content => {
                match &mut self.phase {
                    Phase::Inviting(inviting) => inviting.branches.noted(request),
                    _ => self.dialog.noted(request),
                }
                return Received::Content;
            }
            Method::Bye => self.bye(request),
            Method::Invite => self.reinvited(request, context),
            Method::Update => self.updated(request, context),
            Method::Options => {
                self.dialog.noted(request);
                Answer::plain(200)
                    .with(HeaderName::Allow.as_str(), context.config.allow)
                    .with(HeaderName::Accept.as_str(), MEDIA_TYPE)
                    .with(HeaderName::Supported.as_str(), timer::OPTION)
            }
            Method::Subscribe => crate::event::dialog_sharing_refused(),
            Method::Notify | Method::Prack => unknown_session(),
            // REFER would make a conference of it.
            other => {
                self.dialog.noted(request);
                let status = if other.is_known() { 405 } else { 501 };
                Answer::plain(status).with(HeaderName::Allow.as_str(), context.config.allow).because(format!(
                    "{} has no meaning in a session of instant messages of two",
                    other.as_str()
                ))
            }
        };
        Received::Answer(answer)
    }

    /// An ACK for a 2xx of ours. Whether it is the first one for the last of them, which is not repeated any more.
    pub fn acknowledged(&mut self, request: &Message, context: &mut Context<'_>) -> bool {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        if !self.dialog.owns(request) {
            return false;
        }
        let Some(answer) = self.unacknowledged.take_if(|answer| answer.number == number) else {
            return false;
        };
        let first = !std::mem::replace(&mut self.confirmed, true);
        if matches!(self.phase, Phase::Ending) {
            // It was to be ended as soon as that is possible.
            if first {
                self.send_bye(context);
            }
        } else if answer.offered && self.take_answer(&request.body()).is_err() {
            self.end_because(SessionEnd::Unacceptable, context);
        } else if first {
            self.used(context);
            self.report(SessionReport::Established);
        }
        true
    }

    /// Accepts the INVITE that begins it.
    pub(super) fn accept_first(
        &mut self,
        request: &Message,
        invited: Invited,
        context: &Context<'_>,
    ) -> Result<Answer, Answer> {
        self.conversation = invited.conversation;
        self.takes_update = request.allow().any(|method| method == Method::Update);
        let answer = self.accept_invite(request, context)?;
        // A Record-Route may only be copied into answers that make a dialog (RFC 3261 §12.1.1).
        let routes = request.headers(HeaderName::RecordRoute);
        Ok(routes.fold(answer, |answer, row| answer.with(HeaderName::RecordRoute.as_str(), row)))
    }

    /// RFC 3261 §14.2: the session is refreshed, messages stay, media that are added get port 0 (CH-12). Refused, nothing
    /// changes. While the one before waits for its ACK there is no other one: whoever goes on asking would put off the end
    /// of a session that nobody acknowledges.
    fn reinvited(&mut self, request: &Message, context: &mut Context<'_>) -> Answer {
        if self.offers() {
            self.dialog.noted(request);
            return Answer::plain(491).because("a re-INVITE of the gateway waits for its answer");
        }
        if let Some(answer) = &self.unacknowledged {
            self.dialog.noted(request);
            let why = "the INVITE before it has been answered, and has no ACK yet";
            return match answer.offered {
                true => Answer::plain(491).because(why),
                false => {
                    let seconds = context.between(Duration::ZERO, AGAIN_WITHIN).as_secs();
                    Answer::plain(500).with(HeaderName::RetryAfter.as_str(), seconds.to_string()).because(why)
                }
            };
        }
        let accepted =
            timer::check(request, context.config).and_then(|()| self.accept_invite(request, context));
        match &accepted {
            Ok(_) => self.dialog.accepted(request),
            Err(_) => self.dialog.noted(request),
        }
        accepted.unwrap_or_else(|refusal| refusal)
    }

    /// RFC 3311: as a re-INVITE, without ACK.
    fn updated(&mut self, request: &Message, context: &Context<'_>) -> Answer {
        let has_offer = !request.body().is_empty();
        if has_offer && (self.offers() || self.unacknowledged.as_ref().is_some_and(|answer| answer.offered)) {
            self.dialog.noted(request);
            return Answer::plain(491).because("another offer in the session waits for its answer");
        }
        let refusal =
            timer::check(request, context.config).and_then(|()| self.answer_offer(request, context)).err();
        if let Some(refusal) = refusal {
            self.dialog.noted(request);
            return refusal;
        }
        self.dialog.accepted(request);
        let answer = self.granting(request, context);
        if has_offer { answer.with_body(MEDIA_TYPE, self.description.clone()) } else { answer }
    }

    /// The last word of the other side. What of ours is under way still has its outcome.
    fn bye(&mut self, request: &Message) -> Answer {
        self.dialog.noted(request);
        if matches!(self.phase, Phase::Live) {
            self.report(SessionReport::Ended(SessionEnd::Theirs));
        }
        self.phase = Phase::Left;
        self.unacknowledged = None;
        self.refresh_at = None;
        self.settle();
        Answer::plain(200)
    }

    /// An offer of ours waits for its answer (RFC 3261 §14.1).
    fn offers(&self) -> bool {
        self.under_way.iter().any(|request| matches!(request.purpose, Purpose::Reinvite { .. }))
    }

    /// 2xx to an INVITE, with our answer or, if that holds none, our offer.
    fn accept_invite(&mut self, request: &Message, context: &Context<'_>) -> Result<Answer, Answer> {
        let number = request.cseq().map_err(|_| Answer::plain(400))?.number;
        let answered = self.answer_offer(request, context)?;
        if !answered && self.description.is_empty() {
            self.describe_offer(context);
        }
        self.unacknowledged = Some(Unacknowledged {
            number,
            repeat_at: context.now + REPEAT_FIRST,
            wait: REPEAT_FIRST,
            until: context.now + ACK_WITHIN,
            offered: !answered,
        });
        Ok(self.granting(request, context).with_body(MEDIA_TYPE, self.description.clone()))
    }

    /// Answers the offer in a request, if there is one.
    fn answer_offer(&mut self, request: &Message, context: &Context<'_>) -> Result<bool, Answer> {
        let own = Uri::parse(self.dialog.local_uri()).map_err(|_| Answer::plain(400))?;
        let accept_types = context.config.reads.join(" ");
        let mut sdp = self.sdp;
        sdp.version = sdp.version.saturating_add(1);
        let description = Description { origin: sdp, accept_types: &accept_types };
        let read = offer(request, |offer| Ok((description.answer(offer, &own)?, accepts_of(offer)?)))?;
        let Some((answer, accepts)) = read else { return Ok(false) };
        self.description = answer.into();
        self.accepts = accepts;
        self.sdp = sdp;
        Ok(true)
    }

    /// Takes the answer to an offer of ours.
    pub(super) fn take_answer(&mut self, body: &[u8]) -> Result<(), super::InviteFailure> {
        let answer = Offer::parse(body).map_err(super::InviteFailure::Undescribed)?;
        self.accepts = accepts_of(&answer).map_err(super::InviteFailure::Unacceptable)?;
        Ok(())
    }

    /// 200 with what every 2xx to INVITE and UPDATE says.
    fn granting(&mut self, request: &Message, context: &Context<'_>) -> Answer {
        let answer = Answer::plain(200)
            .with(
                HeaderName::Contact.as_str(),
                format!("<{}>", self.dialog.contact(&context.config.origin())),
            )
            .with(HeaderName::Allow.as_str(), context.config.allow)
            .with(HeaderName::Supported.as_str(), timer::OPTION);
        self.grant(request, answer, context)
    }
}

fn accepts_of(offer: &Offer<'_>) -> Result<Box<str>, Unacceptable> {
    let chosen = offer.messages()?;
    Ok(offer.media().get(chosen).map_or("", |media| media.accepts().0).into())
}
