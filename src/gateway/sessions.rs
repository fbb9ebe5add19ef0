//! Sessions of instant messages at the front ends' side: INVITE and everything inside its dialog (RFC 7573).
//!
//! The decisions are the pair's; here requests find it, what crosses is judged and put on the lane, and answers leave.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::connection::Responded;
use nuncio_sip::event::Undelivered;
use nuncio_sip::hop::HopFailure;
use nuncio_sip::session::{
    Invited, Received, SessionConfig, check_invite, invite_cancelled, unknown_session,
};
use nuncio_sip::{Fields, Message, Method, StatusCode};
use nuncio_translate::Moment;
use nuncio_translate::diagnostics::{self, Diagnostic, Form};
use nuncio_translate::judge::{Direction, Kind, Question, Refusal, judge};
use nuncio_translate::message::{SESSION_READS, from_sip, to_sip};
use nuncio_translate::pair::{self, Fact, Forbidden, Half, PairKey};
use nuncio_translate::receipt::notification;
use nuncio_translate::text::LogSafe;
use nuncio_translate::typing::iscomposing::IsComposing;
use nuncio_translate::typing::{ChatState, KEYBOARD_LASTS, Typing, keyboard};
use nuncio_xmpp::lane::PushRefusal;
use nuncio_xmpp::{Addresses, Element};

use tracing::{debug, info};

use super::answers::{ALLOW, SipAnswer};
use super::from_sip::{REFUSED as MESSAGE_REFUSED, RETRY_AFTER, diagnostic_of};
use super::hops::message_of;
use super::port::Bells;
use super::presence::{asked, reply_to};
use super::refusals::Refused;
use super::releasing::{contact_of, user_of};
use super::{Gateway, IdentityNumber, Pair, ReplyTo, SipPeer, ToSipEnvelope};

/// Settings of sessions with the defaults. `name` is that of our Via and Contact.
pub fn session_config(name: &str) -> SessionConfig {
    // A description has to name an address; messages never go there.
    let nowhere = Ipv4Addr::UNSPECIFIED.into();
    SessionConfig { allow: ALLOW, reads: SESSION_READS.to_vec(), ..SessionConfig::new(name, name, nowhere) }
}

/// RFC 3326: what a request for such a session would be answered now.
const FORBIDDEN: &str = "SIP;cause=403;text=\"Forbidden\"";
/// The same of one that may begin anew at any time, and only cannot go on as it is.
const NOT_AS_IT_IS: &str = "SIP;cause=480;text=\"Temporarily Unavailable\"";
/// In the audit trail.
const REFUSED: &str = "invitation of a SIP user refused";

#[cfg(test)]
mod tests;

/// What came of a step on a pair.
enum Visited<R> {
    /// There is no such pair.
    Nobody,
    Done(R),
    /// The pair was emptied; what the step said before it failed.
    Failed(Option<R>),
}

impl Gateway {
    /// A request of sessions: INVITE, and what is inside of one.
    pub(super) fn sip_session(
        &self,
        front_end: usize,
        reply: ReplyTo,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let done = match request.to_tag() {
            Some(tag) => self.sip_in_session(front_end, reply, tag, request, bells, now),
            None if request.method() == Method::Invite => {
                self.sip_invite(front_end, reply, request, bells, now)
            }
            None => Err(self.said(unknown_session())),
        };
        done.inspect_err(|answer| {
            if answer.status >= 300 {
                self.session_refused(request, answer);
            }
        })
    }

    /// The line about a request that was refused. What belongs to no session is nobody's loss: only who looks for it sees it.
    fn session_refused(&self, request: &Message, answer: &SipAnswer) {
        let (method, status) = (request.method(), answer.status);
        let why = LogSafe(answer.why());
        if method != Method::Invite || request.to_tag().is_some() {
            if matches!(answer.status, 405 | 481 | 501) {
                self.counters.sip_requests_not_for_us.add(1);
            }
            debug!(method = %LogSafe(method.as_str()), status, %why, "request of a front end refused");
        } else {
            self.counters.sessions_refused.add(1);
            let user = request.from_header().map_or("", |from| from.uri.as_str());
            let (user, contact) = (self.shown(user), self.shown(request.request_uri()));
            let call_id = LogSafe(request.call_id().unwrap_or_default());
            info!(%call_id, %user, %contact, status, %why, "INVITE refused");
        }
    }

    /// An INVITE outside of any session (CH-04): refused now if no message would cross, else accepted without a word to the
    /// contact.
    pub(super) fn sip_invite(
        &self,
        front_end: usize,
        reply: ReplyTo,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        if self.ending.load(Ordering::SeqCst) {
            return Err(self.shutting_down());
        }
        let invited = check_invite(request, &self.settings.sessions).map_err(|answer| self.said(answer))?;
        let ends = self.ends(front_end, request)?;
        let (user, contact) = (ends.sender.jid().as_str(), ends.contact.jid().as_str());
        let remote_domain = ends.contact.domain();
        let by_rule = |refusal| {
            let direction = Direction::SipToXmpp;
            let refused = Refused {
                sip_user: user,
                contact,
                partner: remote_domain,
                direction,
                what: REFUSED,
                refusal,
            };
            self.audit_refusal(&refused, now);
            self.refused_by_rule(refusal, remote_domain)
        };
        // Who is no partner gets no pair.
        self.policy.load().open_partner(remote_domain).map_err(by_rule)?;
        let lane = self.known_lane(ends.sender.domain(), remote_domain);
        if let Some(reason) = lane.and_then(|lane| lane.step(|lane| lane.would_refuse(now.instant))) {
            return Err(self.not_now(remote_domain, &reason));
        }
        // The connection has chosen the tag of its answers: it becomes ours in the dialog.
        let tag = self.connection(reply.connection).and_then(|port| {
            port.step(|connection| connection.to_tag(reply.transaction).map(CompactString::from))
        });
        let Some(tag) = tag else { return Ok(()) };
        let mut composed = String::new();
        PairKey::compose(user, contact, &mut composed);
        let done = self.with_presence(&composed, remote_domain, bells, now, |pair, context| {
            let ours = (tag.as_str(), self.holder(front_end));
            self.accept_invite(reply, request, invited, ours, pair, context).map_err(by_rule)
        });
        let (answer, sends) = done.ok_or_else(|| self.internal_error())?;
        if sends {
            self.serve_route_of(ends.sender.domain(), now);
        }
        // What the session wanted first has been carried out: the ACK will find it.
        let answer = answer?;
        if answer.status >= 300 {
            return Err(answer);
        }
        self.answers().refused(reply, answer, now);
        Ok(())
    }

    /// Under the pair's guard, and by the policy of this moment: whoever looks for what a new policy forbids takes the same
    /// guard, and finds the session that was begun under the one before.
    fn accept_invite(
        &self,
        reply: ReplyTo,
        request: &Message,
        invited: Invited,
        ours: (&str, &str),
        pair: &mut Pair,
        context: &mut pair::Context<'_>,
    ) -> Result<SipAnswer, Refusal> {
        let question = Question { direction: Direction::SipToXmpp, ..message_of(context.key) };
        // Messages get permits of their own.
        judge(context.snapshot, &question, pair.consent(), context.now.unix()).map(drop)?;
        let answer = pair.invited(asked(reply, request), request, invited, ours, context);
        Ok(self.said(answer).of_contact(context.key.remote_domain()))
    }

    /// A request inside a session. It is found by our tag, whoever its From says it is from.
    pub(super) fn sip_in_session(
        &self,
        front_end: usize,
        reply: ReplyTo,
        tag: &str,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let key = self.session_of(front_end, tag).ok_or_else(|| self.said(unknown_session()))?;
        let holder = self.holder(front_end);
        let (handed_over, sends) =
            self.with_known_session(&key, bells, now, |pair, context, bells| {
                match pair.session_request(asked(reply, request), tag, holder, request, context) {
                    Received::Answer(answer) => Err(self.said(answer)),
                    Received::Content => self.said_in_session(reply, tag, request, pair, context, bells),
                }
            });
        if sends {
            self.serve_route_of(key.local_domain(), now);
        }
        match handed_over {
            Visited::Done(answered) | Visited::Failed(Some(answered)) => {
                answered.map_err(|answer| answer.of_contact(key.remote_domain()))
            }
            // It may have crossed before the step failed: 481 would have it sent again.
            Visited::Failed(None) => Err(self.internal_error()),
            Visited::Nobody => Err(self.said(unknown_session())),
        }
    }

    /// An ACK; it belongs to the session that its To tag names, or to none.
    pub fn sip_acknowledged(&self, peer: &SipPeer, request: &Message, now: Moment) {
        let (SipPeer::FrontEnd(front_end), Some(tag)) = (peer, request.to_tag()) else { return };
        let Some(key) = self.session_of(*front_end, tag) else { return };
        let mut settled = None;
        self.visit_session(&key, now, |pair, context| {
            settled = pair.session_acknowledged(tag, request, context);
        });
        if let Some(asked) = settled {
            self.answer_acknowledged(reply_to(asked), now);
        }
    }

    /// A response to an INVITE of ours that does not settle it.
    pub fn sip_early(&self, peer: &SipPeer, response: &Message, now: Moment) {
        let (SipPeer::FrontEnd(front_end), Some(tag)) = (peer, response.from_tag()) else { return };
        let Some(key) = self.session_of(*front_end, tag) else {
            if let Some(key) = self.decline(*front_end, response, now) {
                self.serve_route_of(key.local_domain(), now);
            }
            return;
        };
        self.visit_session(&key, now, |pair, context| pair.session_early(tag, response, context));
    }

    /// An INVITE was cancelled before it was answered.
    pub fn sip_cancelled(&self, reply: ReplyTo, now: Moment) {
        self.answers().refused(reply, self.said(invite_cancelled()), now);
    }

    pub(super) fn is_session(&self, tag: &str) -> bool {
        self.dialogs.pair_of(tag).is_some_and(|key| self.ask_pair(&key, |pair| pair.has_session(tag)))
    }

    /// The pair whose session this is. The tag alone is not proof: the peer has to speak for the user's domain.
    fn session_of(&self, front_end: usize, tag: &str) -> Option<PairKey> {
        self.dialogs.pair_of(tag).filter(|key| self.speaks_for(front_end, key.local_domain()))
    }

    /// A MESSAGE or INFO, the next in its session. `Err`: its answer, 200 among them; else it gets one later.
    fn said_in_session(
        &self,
        reply: ReplyTo,
        tag: &str,
        request: &Message,
        pair: &mut Pair,
        context: &mut pair::Context<'_>,
        bells: &mut Bells,
    ) -> Result<(), SipAnswer> {
        match self.typing_in(request) {
            Some(Ok((typing, lasts))) => {
                pair.user_types(tag, typing, lasts, context);
                Err(SipAnswer::new(200, "OK"))
            }
            Some(Err(answer)) => Err(answer),
            None if let Some(notified) = notification::read(request) => {
                Err(self.notified(context.key, pair, &notified, context.now))
            }
            None => {
                let crossed = self.cross_in_session(reply, tag, request, pair, context, bells);
                crossed.map_err(|answer| self.failed_in_session(context.key, request, answer, context.now))
            }
        }
    }

    /// What a request says of typing; `None`: it is about something else.
    fn typing_in(&self, request: &Message) -> Option<Result<(Typing, Duration), SipAnswer>> {
        let (body, media) = (request.body(), request.content_type().ok().flatten());
        let charset = media.as_ref().and_then(|media| media.charset());
        let is = |main, sub| media.as_ref().is_some_and(|media| media.is(main, sub));
        let read = match request.method() {
            Method::Message if is("application", "im-iscomposing+xml") => {
                IsComposing::read(&body, charset.as_deref()).map(|said| (said.typing, said.lasts()))
            }
            Method::Message => return None,
            // Nothing is said, so nothing is wrong (RFC 6086 §4.2.2).
            _ if body.is_empty() => Ok((Typing::Idle, Duration::ZERO)),
            _ if is("application", "xml") => {
                keyboard::read(&body, charset.as_deref()).map(|typing| (typing, KEYBOARD_LASTS))
            }
            _ => {
                let answer =
                    SipAnswer::new(415, "Unsupported Media Type").with("Accept", keyboard::MEDIA_TYPE);
                let why = "of INFO, only what clients send while somebody types is understood";
                return Some(Err(answer.because(Diagnostic::RequestKind, why)));
            }
        };
        Some(read.map_err(|error| {
            let status = error.status();
            let why = format!("what it says of typing cannot be read: {error}");
            SipAnswer::new(status, StatusCode(status).phrase()).because(Diagnostic::RequestKind, &why)
        }))
    }

    fn cross_in_session(
        &self,
        reply: ReplyTo,
        tag: &str,
        request: &Message,
        pair: &mut Pair,
        context: &mut pair::Context<'_>,
        bells: &mut Bells,
    ) -> Result<(), SipAnswer> {
        let (key, now) = (context.key, context.now);
        let question = Question {
            sip_user: key.sip_user(),
            contact: key.contact(),
            contact_domain: key.remote_domain(),
            direction: Direction::SipToXmpp,
            kind: Kind::Message,
        };
        let permit = judge(context.snapshot, &question, pair.consent(), now.unix()).map_err(|refusal| {
            self.audit_refusal(&Refused::of(key, Direction::SipToXmpp, MESSAGE_REFUSED, refusal), now);
            self.refused_by_rule(refusal, key.remote_domain())
        })?;
        let (Ok(sender), Ok(contact)) = (user_of(key), contact_of(key)) else {
            return Err(self.internal_error());
        };
        let Some(chat) = pair.user_says(tag, context) else { return Err(self.said(unknown_session())) };
        let ends = from_sip::ends_in_session(request, sender, contact, &chat)
            .map_err(|refusal| self.refused_message(&refusal))?;
        let stanza = self.stanza_of(request, &ends, Some(&chat), now)?;
        let remote = self.remote(key.remote_domain());
        let lane = self.lane_below(&remote, key.local_domain(), key.remote_domain());
        self.hand_over(pair, key, (permit, reply), (&lane, stanza), bells, now)?;
        pair.user_said(tag, chat.state);
        Ok(())
    }

    /// A request of ours in a session, or for one, has its final answer, given by the front end of this number, or never will.
    /// Called under no lock. Whether something new is on a route to the user.
    pub(super) fn session_settled(
        &self,
        envelope: &ToSipEnvelope,
        half: &Half,
        (outcome, by): (&Result<Message, HopFailure>, Option<usize>),
        now: Moment,
    ) -> bool {
        let holder = by.map_or("", |front_end| self.holder(front_end));
        let serial = u32::try_from(envelope.serial).unwrap_or_default();
        let (done, sends) =
            self.with_known_session(&envelope.pair, &mut Bells::default(), now, |pair, context, _| {
                let known = matches!(half, Half::Session(number) if pair.has_session_numbered(*number));
                match outcome {
                    Ok(response) => {
                        // First of all: the ACK is for the one who has accepted.
                        pair.session_answered(half, holder, response);
                        pair.response(half, serial, response, context);
                    }
                    Err(why) => pair.request_failed(half, serial, Undelivered::from(why), context),
                }
                self.settle_sessions(context.key, pair, Some(envelope.sent_ms), now);
                known
            });
        // Who accepts finds nobody to talk with: the pair has gone, was emptied since, or is emptied by this very step.
        if let (Ok(response), Some(front_end)) = (outcome, by)
            && !matches!(done, Visited::Done(true))
        {
            return self.decline(front_end, response, now).is_some() || sends;
        }
        sends
    }

    /// Counts what happens to sessions; `false`: the fact is about something else.
    pub(super) fn count_session(&self, key: &PairKey, fact: &Fact, now: Moment) -> bool {
        match fact {
            Fact::SessionBegan => {
                self.counters.sessions_begun.add(1);
                self.sessions_taken(key);
            }
            Fact::SessionEnded(_) => {}
            Fact::SessionRefused { status } => {
                self.counters.sessions_refused.add(1);
                self.sessions_refused(key, *status, now);
            }
            _ => return false,
        }
        true
    }

    /// An INVITE of ours is wanted no more. CANCEL goes the way of its INVITE (RFC 3261 §9.1), whatever we are called on behalf
    /// of the contact by now, and whoever holds the dialog: the group that has taken the INVITE knows it. Its driver serves it.
    pub(super) fn cancel_invite(&self, branch: &str, fields: &Fields, now: Moment) {
        for route in &self.routes {
            let mut known = false;
            route.hops.feed_if(|group| {
                known = group.cancel(branch, fields, now.instant);
                known
            });
            if known {
                return;
            }
        }
    }

    /// The policy is another one: what it forbids between the two ends now.
    pub(super) fn apply_policy_to(&self, key: &PairKey, now: Moment) {
        self.end_forbidden(key, now, |pair, context| pair.policy_changed(context));
    }

    /// After a step that may take away what the two were allowed: their sessions end, and what waits for the SIP user is
    /// answered.
    pub(super) fn end_forbidden(
        &self,
        key: &PairKey,
        now: Moment,
        step: impl FnOnce(&mut Pair, &mut pair::Context<'_>),
    ) {
        self.visit_session(key, now, |pair, context| {
            step(pair, context);
            pair.end_forbidden_sessions(|why, identity| self.parting(key, why, identity), context);
            self.refuse_forbidden(pair, context);
        });
    }

    /// What BYE and CANCEL say of a session that may not go on.
    fn parting(&self, key: &PairKey, why: Forbidden, identity: IdentityNumber) -> Fields {
        let remote_domain = key.remote_domain();
        let (reason, diagnostic, text) = match why {
            Forbidden::ByRule(refusal) => {
                (FORBIDDEN, Diagnostic::from(refusal), diagnostics::by_rule(refusal, remote_domain))
            }
            Forbidden::OtherIdentity => {
                let text = format!("{remote_domain}: the partner's type has changed, and with it our name");
                (NOT_AS_IT_IS, Diagnostic::NoRouteNow, text)
            }
        };
        let diagnostics = self.parting_word(key, diagnostic, &text, identity);
        Fields::from([("Reason", reason.to_owned()), diagnostics])
    }

    /// Why a session ends, as the user's side may read it.
    pub(super) fn parting_word(
        &self,
        key: &PairKey,
        diagnostic: Diagnostic,
        text: &str,
        identity: IdentityNumber,
    ) -> (&'static str, String) {
        // Which of them reads it is not known. What may cross the border of an enterprise may stay inside of one, too.
        let mut readers = self.front_ends.iter().filter(|known| known.speaks_for(key.local_domain()));
        let crosses = readers.any(|known| known.trust.diagnostics() == Form::Public);
        let form = if crosses { Form::Public } else { Form::Inward };
        diagnostic.field(form, self.settings.name_of(identity), text)
    }

    /// The 2xx to an INVITE has no ACK yet. If its connection is gone, it goes over ours to the same front end (RFC 3261
    /// §18.2.2); where there is none, one is made for the next time that it is repeated.
    pub(super) fn repeat_answer(&self, reply: ReplyTo, now: Moment) {
        let Some(link) = self.link(reply.connection) else { return };
        let repeated = link.port.feed(|connection| connection.repeat(reply.transaction));
        let (Responded::Orphaned(response), SipPeer::FrontEnd(front_end)) = (repeated, link.peer) else {
            return;
        };
        match self.connection_to(front_end) {
            Some(port) => port.feed(|connection| connection.relay(&response)),
            None => self.call(front_end, now),
        }
    }

    /// The 2xx to an INVITE has its ACK. A connection that is remembered for such answers alone need not be any longer.
    fn answer_acknowledged(&self, reply: ReplyTo, now: Moment) {
        let Some(link) = self.link(reply.connection) else { return };
        let gone = link.port.step(|connection| {
            connection.acknowledged(reply.transaction, now.instant);
            connection.is_closed()
        });
        if gone {
            self.forget_connection(reply.connection, now);
        }
    }

    /// A stanza of a contact without text: a chat state, perhaps. Nobody is answered.
    pub(super) fn contact_aside(&self, stanza: &Element, addresses: &Addresses, now: Moment) {
        let Some(state) = ChatState::of(stanza) else { return };
        let key = PairKey::new(addresses.to.bare_str(), addresses.from.bare_str());
        let Some(remote) = self.known_remote(key.remote_domain()) else { return };
        let has_sessions = remote.pairs.look(key.as_str(), Pair::has_sessions).unwrap_or(false);
        if !has_sessions {
            return;
        }
        // What is said to front ends of it waits for whoever works on the stanzas of one read.
        self.with_known_session(&key, &mut Bells::default(), now, |pair, context, _| {
            // A contact who may not write is not heard typing either.
            if judge(context.snapshot, &message_of(context.key), pair.consent(), now.unix()).is_ok() {
                self.spoke(stanza, addresses, (Some(state), false), pair, context);
            }
        });
    }

    /// The contact wrote something; what that is for the sessions.
    pub(super) fn spoke(
        &self,
        stanza: &Element,
        addresses: &Addresses,
        (state, is_message): (Option<ChatState>, bool),
        pair: &mut Pair,
        context: &mut pair::Context<'_>,
    ) {
        let thread = to_sip::thread(stanza);
        pair.contact_spoke(thread.as_deref(), addresses.from.resource(), (state, is_message), context);
    }

    /// Runs a step on a pair that is there, where it is the only one: everything leaves at once.
    pub(super) fn visit_session(
        &self,
        key: &PairKey,
        now: Moment,
        step: impl FnOnce(&mut Pair, &mut pair::Context<'_>),
    ) {
        let bells = &mut Bells::default();
        let (_, sends) = self.with_known_session(key, bells, now, |pair, context, _| step(pair, context));
        if sends {
            self.serve_route_of(key.local_domain(), now);
        }
    }

    /// Runs a step on a pair that is there, carries out what it wants, and lets leave what may leave then; also says whether
    /// the route has to be served, because there is something on it.
    fn with_known_session<R>(
        &self,
        key: &PairKey,
        bells: &mut Bells,
        now: Moment,
        step: impl FnOnce(&mut Pair, &mut pair::Context<'_>, &mut Bells) -> R,
    ) -> (Visited<R>, bool) {
        let Some(remote) = self.known_remote(key.remote_domain()) else { return (Visited::Nobody, false) };
        let (mut result, mut sends) = (None, false);
        let done =
            remote.pairs.with_existing(key.as_str(), &self.settings.pair, &self.timers, now, |key, pair| {
                self.in_context(key, now, |context| {
                    result = Some(step(pair, context, bells));
                    sends = self.run_presence(pair, context, bells);
                    sends |= self.run_pair(pair, context, bells);
                });
            });
        if let Err(lost) = done {
            self.pair_lost(key.as_str(), lost, now);
            // Whatever had been put there before it failed.
            return (Visited::Failed(result), true);
        }
        (result.map_or(Visited::Nobody, Visited::Done), sends)
    }

    /// The process is going to end: what of a pair lives at front ends does, and what waited for it leaves as it can.
    pub(super) fn end_pair(&self, key: &PairKey, now: Moment) {
        self.visit_session(key, now, |pair, context| pair.shutdown(context));
    }

    /// The answer to an INVITE for a contact whose partner takes nothing now.
    fn not_now(&self, partner: &str, reason: &PushRefusal) -> SipAnswer {
        let (kind, why) = match reason {
            PushRefusal::ShuttingDown => return self.shutting_down(),
            PushRefusal::Full | PushRefusal::TooLarge(_) => {
                (None, format!("partner {partner}: its queue is full"))
            }
            PushRefusal::Unreachable(failure) => {
                (Some(failure.kind), Self::failure_text(partner, Some(failure)))
            }
        };
        let answer = SipAnswer::new(480, "Temporarily Unavailable");
        answer.with("Retry-After", RETRY_AFTER.to_string()).because(diagnostic_of(kind), &why)
    }
}
