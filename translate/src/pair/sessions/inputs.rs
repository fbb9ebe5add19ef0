//! What a pair is told about sessions, and asked.

use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::event::{Answer, Undelivered};
use nuncio_sip::session::{Invitation, Invited, Received, Session, unknown_session};
use nuncio_sip::{Fields, Message, Method};

use super::super::output::{Asked, Half, Judged};
use super::super::{Context, Pair, Place, ToSip};
use super::{Conversation, MOST_SESSIONS, Settled, Way};
use crate::judge::{Direction, Kind, Permit, Refusal};
use crate::message::from_sip::Chat;
use crate::message::{call_word, thread_of};
use crate::typing::{ChatState, Typing};

/// Longest thread of the contact's that is kept, in octets.
const THREAD_MAX: usize = 256;

/// An invitation on behalf of the contact.
#[derive(Debug, Clone, Copy)]
pub struct Inviting<'a> {
    /// The contact as SIP sees him.
    pub contact_uri: &'a str,
    pub user_uri: &'a str,
    /// Of the message that it is for.
    pub thread: Option<&'a str>,
    /// Where that came from, and the state that it carries.
    pub resource: Option<&'a str>,
    pub state: Option<ChatState>,
    /// As for [`Judged::proved`].
    pub proved: Option<bool>,
}

/// Why a session may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    ByRule(Refusal),
    /// It began under another identity than we have on behalf of the contact now.
    OtherIdentity,
}

/// A message that goes in a session, released before.
#[derive(Debug, Clone, Copy)]
pub struct Saying<'a> {
    /// As [`Pair::release`] numbered it.
    pub serial: u64,
    /// The number of the session.
    pub session: u32,
    /// Header fields behind those of the dialog.
    pub fields: &'a [(&'a str, &'a str)],
    /// Content-Type and body.
    pub body: (&'a str, &'a [u8]),
    /// What it was judged by; `None`: word from the gateway, which needs no permit.
    pub judged: Option<Judged>,
}

impl<M> Pair<M> {
    /// There are sessions, established or not.
    pub fn has_sessions(&self) -> bool {
        self.talk.as_ref().is_some_and(|talk| !talk.sessions.all.is_empty())
    }

    /// One of them has this local tag.
    pub fn has_session(&self, tag: &str) -> bool {
        let mut all = self.talk.iter().flat_map(|talk| &talk.sessions.all);
        all.any(|talk| talk.session.local_tag() == tag)
    }

    /// One of them has this number, as in [`Half::Session`].
    pub fn has_session_numbered(&self, number: u32) -> bool {
        let mut all = self.talk.iter().flat_map(|talk| &talk.sessions.all);
        all.any(|talk| talk.number == number)
    }

    /// Sessions, established or not.
    pub fn sessions(&self) -> usize {
        self.talk.as_ref().map_or(0, |talk| talk.sessions.all.len())
    }

    /// How the next message goes; `thread` is its own, `invites` whether the SIP user's side is to be invited at all.
    pub fn way(&self, thread: Option<&str>, invites: bool, now: Instant) -> Way {
        let Some(talk) = &self.talk else { return if invites { Way::Invite } else { Way::Pager } };
        // Also for what is said before it: who took no message in one session would take none in the next.
        if talk.waiting.front().is_some_and(|waiting| waiting.alone) {
            return Way::Pager;
        }
        if let Some(chosen) = talk.sessions.choose(thread) {
            return Way::Session(chosen.number);
        }
        let refused = talk.sessions.by_pager_until.is_some_and(|until| now < until);
        if invites && !refused { Way::Invite } else { Way::Pager }
    }

    /// How a report about a message goes: in the session of this thread, or of any other if it has gone, where the SIP
    /// user's side reads message/cpim; else alone. Nobody is invited for it.
    pub fn way_of_report(&self, thread: Option<&str>) -> Way {
        let chosen = self.talk.as_ref().and_then(|talk| talk.sessions.choose(thread));
        let reads = chosen.filter(|chosen| chosen.session.accepts("message", "cpim"));
        reads.map_or(Way::Pager, |chosen| Way::Session(chosen.number))
    }

    /// The message that is next, to see how it may go.
    pub fn next_message(&self) -> Option<&M> {
        self.talk.as_ref()?.waiting.front().map(|waiting| &waiting.stanza)
    }

    /// Invites the SIP user for the message that is next, whose permit this is. What waits goes on waiting until he has
    /// accepted.
    ///
    /// # Errors
    /// The permit comes back: too many are invited at this time, or an address cannot be used.
    pub fn invite(
        &mut self,
        permit: Permit,
        inviting: &Inviting<'_>,
        context: &mut Context<'_>,
    ) -> Result<(), Permit> {
        if !context.budget.take(context.key, Place::Invitation) {
            return Err(permit);
        }
        let conversation = context.tokens.token();
        let named = inviting.thread.filter(|thread| (1..=THREAD_MAX).contains(&thread.len()));
        let invitation = Invitation {
            local_uri: inviting.contact_uri,
            remote_uri: inviting.user_uri,
            conversation: Some(&conversation),
            call_word: named.and_then(call_word),
        };
        let identity = context.identity;
        let Ok(session) = Session::invite(&invitation, &mut context.session(identity)) else {
            context.budget.give_back(context.key, Place::Invitation);
            return Err(permit);
        };
        let thread = named.map_or_else(|| thread_of(session.call_id()).into(), CompactString::from);
        let mut talk =
            Conversation::new(self.session_number(), session, identity, thread, context.now.unix_ms);
        talk.holds_place = true;
        talk.resource = inviting.resource.map(CompactString::from);
        talk.to_contact.contact_wrote(inviting.state, true);
        let judged = Judged::new(permit, Kind::Message).with_proof(inviting.proved);
        self.with_sessions(Some(judged), context, |sessions, _| sessions.all.push(talk));
        Ok(())
    }

    /// The SIP user invites the contact, and nothing speaks against it: accepted at once, without a word to the contact
    /// (CH-04), if there is room for one more session. `tag` is the To tag of the answer that this gives, to be sent when the outputs are carried out;
    /// `front_end` as for [`Pair::session_request`].
    pub fn invited(
        &mut self,
        asked: Asked,
        request: &Message,
        invited: Invited,
        (tag, front_end): (&str, &str),
        context: &mut Context<'_>,
    ) -> Answer {
        if self.talk.as_ref().is_some_and(|talk| !talk.sessions.have_room()) {
            return Answer::plain(486).because(
                "too many sessions of the two are not acknowledged, or have ended and wait for the answer to BYE",
            );
        }
        let identity = context.identity;
        let accepted = Session::accept(request, invited, tag, &mut context.session(identity));
        let (session, answer) = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return refusal,
        };
        let number = self.session_number();
        self.with_sessions(None, context, |sessions, context| {
            let live = |talk: &&mut Conversation| !talk.session.has_ended();
            let begun = |talk: &&mut Conversation| talk.session.is_established();
            if sessions.all.iter_mut().filter(live).count() >= MOST_SESSIONS
                && let Some(oldest) =
                    sessions.all.iter_mut().filter(begun).min_by_key(|talk| talk.session.last_used())
            {
                oldest.session.end(&mut context.session(oldest.identity));
            }
            // He goes on with a conversation whose session has ended.
            let known = sessions.threads.of(session.conversation(), context.now.instant).cloned();
            let thread = known.unwrap_or_else(|| thread_of(session.call_id()).into());
            let mut talk = Conversation::new(number, session, identity, thread, context.now.unix_ms);
            (talk.asked, talk.front_end) = (Some(asked), front_end.into());
            sessions.all.push(talk);
        });
        answer
    }

    /// A request inside a session, found by its local tag; `front_end` is where it came from, by name, if it matters: what
    /// goes the other way goes there. [`Received::Content`] is the caller's to take on and to answer.
    pub fn session_request(
        &mut self,
        asked: Asked,
        tag: &str,
        front_end: &str,
        request: &Message,
        context: &mut Context<'_>,
    ) -> Received {
        let mut received = Received::Answer(unknown_session());
        if !self.has_sessions() {
            return received;
        }
        self.with_sessions(None, context, |sessions, context| {
            let Some(talk) = sessions.find(tag) else { return };
            received = talk.session.request(request, &mut context.session(talk.identity));
            let accepts = matches!(&received, Received::Answer(answer) if answer.is_success());
            let is_its_own = accepts || matches!(received, Received::Content);
            if is_its_own && talk.front_end != front_end {
                talk.front_end = front_end.into();
            }
            if accepts && request.method() == Method::Invite {
                talk.asked = Some(asked);
            }
        });
        received
    }

    /// An ACK with this To tag; the INVITE whose answer is not to be repeated any more.
    pub fn session_acknowledged(
        &mut self,
        tag: &str,
        request: &Message,
        context: &mut Context<'_>,
    ) -> Option<Asked> {
        let mut settled = None;
        self.with_session(tag, context, |talk, context| {
            if talk.session.acknowledged(request, &mut context.session(talk.identity)) {
                settled = talk.asked;
            }
        });
        settled
    }

    /// A response with this From tag that belongs to an INVITE and does not settle it.
    pub fn session_early(&mut self, tag: &str, response: &Message, context: &mut Context<'_>) {
        self.with_session(tag, context, |talk, context| {
            talk.session.early(response, &mut context.session(talk.identity));
        });
    }

    /// The final response to a request in a session, or for one, comes from the front end of this name, if it matters which
    /// one: who accepts our INVITE holds the dialog, and all that is to follow goes there, the ACK first.
    pub fn session_answered(&mut self, half: &Half, front_end: &str, response: &Message) {
        let accepts = response.status().is_some_and(|status| status.is_success())
            && response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let Half::Session(number) = half else { return };
        let talk = self.talk.as_mut().and_then(|talk| talk.sessions.numbered(*number));
        if let Some(talk) = talk.filter(|_| accepts && !front_end.is_empty()) {
            talk.front_end = front_end.into();
        }
    }

    pub(in super::super) fn session_response(
        &mut self,
        number: u32,
        serial: u32,
        response: &Message,
        context: &mut Context<'_>,
    ) {
        self.with_numbered(number, context, |talk, context| {
            talk.session.response(serial, response, &mut context.session(talk.identity));
        });
    }

    pub(in super::super) fn session_failed(
        &mut self,
        number: u32,
        serial: u32,
        why: Undelivered,
        context: &mut Context<'_>,
    ) {
        self.with_numbered(number, context, |talk, context| {
            talk.session.failed(serial, why, &mut context.session(talk.identity));
        });
    }

    /// Sends a message that was released in a session. False: that takes none now; the message is still pending.
    pub fn say(&mut self, saying: &Saying<'_>, context: &mut Context<'_>) -> bool {
        let mut taken = false;
        let serial = saying.serial;
        let pending = self.talk.as_ref().and_then(|talk| talk.pending.as_ref());
        let Some(pending) = pending.filter(|pending| pending.serial == serial) else { return false };
        let is_said = !matches!(pending.item, ToSip::Report(_));
        self.with_sessions(saying.judged, context, |sessions, context| {
            let Some(talk) = sessions.numbered(saying.session) else { return };
            let mut surroundings = context.session(talk.identity);
            // A report is nothing that the contact says.
            talk.message = match is_said {
                true => talk.session.message(saying.fields, saying.body, &mut surroundings).ok(),
                false => talk.session.aside(saying.fields, saying.body, &mut surroundings).ok(),
            };
            taken = talk.message.is_some();
            if taken && is_said {
                talk.to_user.message();
                talk.messages.of_contact += 1;
            }
        });
        taken
    }

    /// The SIP user types, or has stopped; it counts for so long.
    pub fn user_types(&mut self, tag: &str, typing: Typing, lasts: Duration, context: &mut Context<'_>) {
        let now = context.now.instant;
        self.with_session(tag, context, |talk, _| talk.to_contact.indication(typing, lasts, now));
    }

    /// The SIP user says something in this session: what that is for the contact. It is in use by that, even if what he says
    /// cannot cross. If it crosses, [`Pair::user_said`] follows.
    pub fn user_says(&mut self, tag: &str, context: &mut Context<'_>) -> Option<Chat> {
        let talk = self.talk.as_mut()?.sessions.find(tag)?;
        talk.session.used(&context.session(talk.identity));
        let state = talk.to_contact.carried();
        Some(Chat { thread: talk.thread.clone(), resource: talk.resource.clone(), state })
    }

    /// It is on its way to the contact, with this state, and ends the SIP user's typing.
    pub fn user_said(&mut self, tag: &str, state: Option<ChatState>) {
        if let Some(talk) = self.talk.as_mut().and_then(|talk| talk.sessions.find(tag)) {
            talk.to_contact.message(state);
            talk.messages.of_user += 1;
        }
    }

    /// The contact wrote: a state, a message, or both. `<gone/>` ends the session (CH-05); a state never makes one.
    pub fn contact_spoke(
        &mut self,
        thread: Option<&str>,
        resource: Option<&str>,
        (state, is_message): (Option<ChatState>, bool),
        context: &mut Context<'_>,
    ) {
        if !self.has_sessions() {
            return;
        }
        let now = context.now.instant;
        self.with_sessions(None, context, |sessions, context| {
            let chosen = if is_message { sessions.choose(thread) } else { sessions.meant(thread) };
            let chosen = chosen.map(|talk| talk.number);
            let Some(talk) = chosen.and_then(|number| sessions.numbered(number)) else { return };
            talk.resource = resource.map(CompactString::from);
            talk.to_contact.contact_wrote(state, is_message);
            match state {
                Some(ChatState::Gone) if !is_message => {
                    talk.session.end(&mut context.session(talk.identity));
                }
                Some(state) if !is_message => talk.to_user.state(state, now),
                _ => {}
            }
        });
    }

    /// The contact's presence has changed: what is said to him goes to all his resources again (RFC 6121 §5.1; IM-21).
    pub fn unlock_resources(&mut self) {
        if let Some(talk) = &mut self.talk {
            talk.sessions.all.iter_mut().for_each(|talk| talk.resource = None);
        }
    }

    /// Ends all sessions: the process is going to end.
    pub fn end_sessions(&mut self, context: &mut Context<'_>) {
        if self.has_sessions() {
            self.with_sessions(None, context, |sessions, context| {
                for talk in &mut sessions.all {
                    talk.session.end(&mut context.session(talk.identity));
                }
            });
        }
    }

    /// Ends what the rules forbid from now on: all sessions if the SIP user may not write any more, those that were begun on the
    /// contact's behalf if the contact may not, and those in which front ends take us, and so him, for something else than
    /// from now on. `parting` makes the header fields that tell the other side why, under the identity of a number.
    pub fn end_forbidden_sessions(
        &mut self,
        parting: impl Fn(Forbidden, usize) -> Fields,
        context: &mut Context<'_>,
    ) {
        if !self.has_sessions() {
            return;
        }
        let refused = |direction| context.judge(direction, Kind::Message, &self.consent).err();
        let (user, contact) = (refused(Direction::SipToXmpp), refused(Direction::XmppToSip));
        let identity = context.identity;
        self.with_sessions(None, context, |sessions, context| {
            for talk in &mut sessions.all {
                let rule = user.or_else(|| contact.filter(|_| talk.session.is_ours())).map(Forbidden::ByRule);
                let other = (talk.identity != identity).then_some(Forbidden::OtherIdentity);
                if let Some(why) = rule.or(other).filter(|_| !talk.session.has_ended()) {
                    let parting = parting(why, talk.identity);
                    talk.session.end_saying(parting, &mut context.session(talk.identity));
                }
            }
        });
    }

    /// Something that went in a session, or waited for one, and whose sender can be told now.
    pub fn take_settled(&mut self) -> Option<Settled<M>> {
        self.talk.as_mut()?.settled.pop_front()
    }

    /// Sessions want something of the caller: poll, then take what is settled, then see what is next.
    pub fn sessions_stir(&self) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.sessions.has_output() || !talk.settled.is_empty())
    }

    pub(in super::super) fn sessions_timeout(&mut self, context: &mut Context<'_>) {
        if !self.has_sessions() {
            return;
        }
        let now = context.now.instant;
        self.with_sessions(None, context, |sessions, context| {
            for talk in &mut sessions.all {
                talk.session.handle_timeout(&mut context.session(talk.identity));
                talk.to_contact.handle_timeout(now);
                talk.to_user.handle_timeout(now);
            }
        });
    }

    /// Of a new session. It goes on after a failed step, so that nothing of before means a session of after.
    fn session_number(&mut self) -> u32 {
        self.serial += 1;
        // Those that are under way at a time are few.
        (self.serial % u64::from(u32::MAX)) as u32
    }

    fn with_numbered(
        &mut self,
        number: u32,
        context: &mut Context<'_>,
        work: impl FnOnce(&mut Conversation, &mut Context<'_>),
    ) {
        if self.has_sessions() {
            self.with_sessions(None, context, |sessions, context| {
                if let Some(talk) = sessions.numbered(number) {
                    work(talk, context);
                }
            });
        }
    }

    pub(super) fn with_session(
        &mut self,
        tag: &str,
        context: &mut Context<'_>,
        work: impl FnOnce(&mut Conversation, &mut Context<'_>),
    ) {
        if self.has_sessions() {
            self.with_sessions(None, context, |sessions, context| {
                if let Some(talk) = sessions.find(tag) {
                    work(talk, context);
                }
            });
        }
    }

    fn with_sessions(
        &mut self,
        judged: Option<Judged>,
        context: &mut Context<'_>,
        work: impl FnOnce(&mut super::Sessions, &mut Context<'_>),
    ) {
        let talk = self.talk.get_or_insert_default();
        let waited = talk.sessions.must_wait();
        work(&mut talk.sessions, context);
        talk.pump(judged, &self.consent, context);
        if waited && !talk.sessions.must_wait() {
            // What waited for people waits for connections from now on, and for what is before it.
            talk.waiting.iter_mut().for_each(|waiting| waiting.since = context.now.instant);
        }
    }
}
