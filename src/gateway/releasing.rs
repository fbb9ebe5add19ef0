//! How what waits for a SIP user leaves its pair: alone, or in a session (RFC 7572, RFC 7573).

use compact_str::CompactString;
use nuncio_sip::Via;
use nuncio_sip::hop::{HopGroup, OutRequest, PushRefusal};
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::errors::XmppFailure;
use nuncio_translate::judge::{Direction, Kind, Permit, Question, judge};
use nuncio_translate::message::to_sip::{self, Languages, Reading, Request, RequestError, SessionMessage};
use nuncio_translate::pair::{self, Inviting, NextForSip, Notice, PairKey, Saying, ToSip, Way};
use nuncio_translate::text::LogSafe;
use nuncio_translate::typing::ChatState;
use nuncio_translate::{Moment, notice};
use nuncio_xmpp::{BareJid, Condition, Element, ErrorType, Jid};
use tracing::{debug, warn};

use super::hops::message_of;
use super::incoming::Incoming;
use super::log_ids::MESSAGES;
use super::port::Bells;
use super::{Fate, Gateway, Judged, Pair, ToSipEnvelope};
use crate::log_limit::Cause;

/// Room for everything of a MESSAGE but its body, so that writing it allocates once.
const REQUEST_OVERHEAD: usize = 768;

/// Header fields, then Content-Type and body.
type Said<'a> = (&'a [(&'a str, &'a str)], (&'a str, &'a [u8]));

/// What an invitation has from the message that it is for.
struct First {
    thread: Option<CompactString>,
    resource: Option<CompactString>,
    state: Option<ChatState>,
    proved: Option<bool>,
}

impl Gateway {
    /// The same where nothing else is done with the pair that takes its surroundings: most of the time there is nothing.
    pub(super) fn run_pair_alone(&self, key: &PairKey, pair: &mut Pair, now: Moment) -> bool {
        let waits = pair.next_for_sip() != NextForSip::Nothing || pair.sessions_stir();
        waits && self.in_context(key, now, |context| self.run_pair(pair, context, &mut Bells::default()))
    }

    /// Lets everything leave that may leave, and tells the senders of what has come to its end in sessions. Called under
    /// the pair's guard; once that is released, the caller serves the route ([`Gateway::serve_route_of`]), if this says that
    /// there is something new on it.
    pub(super) fn run_pair(
        &self,
        pair: &mut Pair,
        context: &mut pair::Context<'_>,
        bells: &mut Bells,
    ) -> bool {
        let (key, now) = (context.key, context.now);
        let mut sends = false;
        loop {
            sends |= match pair.next_for_sip() {
                NextForSip::Nothing if pair.sessions_stir() => {
                    let sends = self.run_presence(pair, context, bells);
                    self.settle_sessions(key, pair, None, now);
                    sends
                }
                NextForSip::Nothing => return sends,
                NextForSip::Notice => self.run_notice(pair, context),
                NextForSip::Report => self.run_report(pair, context),
                NextForSip::Message => {
                    match judge(context.snapshot, &message_of(key), pair.consent(), now.unix()) {
                        Err(refusal) => {
                            let Some(message) = pair.refuse() else { return sends };
                            let id = self.id_from_xmpp(message.number());
                            self.log_contact_refused(&id, key, refusal, "refused when its turn came", now);
                            self.refused_by_rule_now(message, now);
                            false
                        }
                        Ok(permit) => self.run_message(pair, permit, context),
                    }
                }
            }
        }
    }

    /// What waits for the SIP user and may not leave any more is answered now, whatever it waits for.
    pub(super) fn refuse_forbidden(&self, pair: &mut Pair, context: &pair::Context<'_>) {
        let (key, now) = (context.key, context.now);
        if pair.waiting() > 0
            && let Err(refusal) = judge(context.snapshot, &message_of(key), pair.consent(), now.unix())
        {
            let id = self.id_of_pair(key);
            self.log_contact_refused(&id, key, refusal, "refused because the rules have changed", now);
            while let Some(message) = pair.refuse() {
                let id = self.id_from_xmpp(message.number());
                debug!(target: MESSAGES, %id, rule = refusal.name(), "refused because the rules have changed");
                self.refused_by_rule_now(message, now);
            }
        }
    }

    /// What of the pair has left it, waits for a connection or a stream, and may not leave any more without the consent that was
    /// taken away. It is taken out now: when its turn comes it is judged again only under another policy, for consent belongs to
    /// the pair, and nobody may look at that from there. Called under the pair's guard, so that nothing of it comes after.
    pub(super) fn withdraw_forbidden(&self, pair: &Pair, context: &pair::Context<'_>) {
        let (key, now) = (context.key, context.now);
        let forbidden = |direction, kind| {
            let question = Question { direction, kind, ..message_of(key) };
            judge(context.snapshot, &question, pair.consent(), now.unix()).is_err()
        };
        let unwanted = |envelope: &ToSipEnvelope| {
            envelope.pair == *key
                && envelope.judged.is_some_and(|judged| forbidden(Direction::XmppToSip, judged.kind))
        };
        for route in &self.routes {
            route.hops.feed_if(|group| {
                group.withdraw_waiting(unwanted, now.instant);
                group.outputs() > 0
            });
        }
        if forbidden(Direction::SipToXmpp, Kind::Presence) {
            self.recall_shown(key);
        }
    }

    fn refused_by_rule_now(&self, message: Incoming, now: Moment) {
        self.counters.xmpp_to_sip_refused.add(1);
        message.came_to(Fate::Refused);
        self.reply_uniform(message, now);
    }

    // What follows says whether there is something new on a route. What goes in a session is put there later.

    fn run_message(&self, pair: &mut Pair, permit: Permit, context: &mut pair::Context<'_>) -> bool {
        let invites = self.invites(context.key, context.now);
        if !invites && !pair.has_sessions() {
            return self.message_alone(pair, permit, context);
        }
        let Some(message) = pair.next_message() else { return false };
        let stanza = message.stanza();
        let thread = to_sip::thread(stanza);
        // Nobody answers a headline: it is no reason to begin a conversation.
        let invites = invites && !to_sip::is_headline(stanza);
        match pair.way(thread.as_deref(), invites, context.now.instant) {
            Way::Pager => self.message_alone(pair, permit, context),
            Way::Session(session) => {
                self.message_in_session(pair, permit, session, context);
                false
            }
            Way::Invite => {
                let sender = stanza.attr("from").and_then(|from| Jid::parse(from).ok());
                let first = First {
                    thread: thread.map(Into::into),
                    resource: sender.as_ref().and_then(Jid::resource).map(CompactString::from),
                    state: ChatState::of(stanza),
                    proved: message.proved(),
                };
                self.invite(pair, permit, &first, context)
            }
        }
    }

    /// Word from the gateway goes in a session if there is one. Nobody is invited for it: it would ring for no message.
    fn run_notice(&self, pair: &mut Pair, context: &mut pair::Context<'_>) -> bool {
        match pair.way(None, false, context.now.instant) {
            Way::Session(session) => {
                self.notice_in_session(pair, session, context);
                false
            }
            Way::Pager | Way::Invite => self.notice_alone(pair, context),
        }
    }

    /// Invites the SIP user. Where that cannot be done, the message goes alone.
    fn invite(
        &self,
        pair: &mut Pair,
        permit: Permit,
        first: &First,
        context: &mut pair::Context<'_>,
    ) -> bool {
        let (Ok(contact), Ok(user)) = (contact_of(context.key), user_of(context.key)) else {
            return self.message_alone(pair, permit, context);
        };
        let (contact_uri, user_uri) = (contact.uri(None), user.uri());
        let inviting = Inviting {
            contact_uri: &contact_uri,
            user_uri: &user_uri,
            thread: first.thread.as_deref(),
            resource: first.resource.as_deref(),
            state: first.state,
            proved: first.proved,
        };
        match pair.invite(permit, &inviting, context) {
            Ok(()) => false,
            Err(permit) => self.message_alone(pair, permit, context),
        }
    }

    fn message_alone(&self, pair: &mut Pair, permit: Permit, context: &pair::Context<'_>) -> bool {
        let (generation, consent) = (permit.generation(), *pair.consent());
        let Some((serial, message)) = pair.release(permit) else { return false };
        let judged = Judged { generation, consent, kind: Kind::Message, proved: message.proved() };
        let envelope =
            ToSipEnvelope { brings: Some(message.number()), ..alone(context, serial, Some(judged)) };
        let sent = self.send_message(envelope, message.stanza(), context);
        if let Err(failure) = &sent {
            self.never_left(context.key, pair, serial, failure, context.now);
        }
        sent.is_ok()
    }

    fn message_in_session(
        &self,
        pair: &mut Pair,
        permit: Permit,
        session: u32,
        context: &mut pair::Context<'_>,
    ) {
        let Some((serial, judged, message)) = pair.release_judged(permit) else { return };
        let number = message.number();
        let judged = judged.with_proof(message.proved());
        let said = match to_sip::read(message.stanza(), Languages::default()) {
            Reading::Instant(instant) => Ok(SessionMessage::from(&instant)),
            Reading::Refuse(failure) => Err(failure),
            // It was an instant message when it was queued, and nobody has changed it.
            Reading::Nothing | Reading::Error(_) => Err(internal()),
        };
        let sent = said.and_then(|said| {
            say(pair, (serial, session), (&said.fields(), said.body()), Some(judged), context)
        });
        match sent {
            Ok(()) => debug!(
                target: MESSAGES, id = %self.id_from_xmpp(number), session = %self.id_of_pair(context.key),
                "it leaves in a session"
            ),
            Err(failure) => self.never_left(context.key, pair, serial, &failure, context.now),
        }
    }

    fn notice_alone(&self, pair: &mut Pair, context: &pair::Context<'_>) -> bool {
        let Some((serial, notice)) = pair.release_notice() else { return false };
        let sent = self.send_notice(alone(context, serial, None), notice, context);
        if let Err(failure) = &sent {
            self.notice_never_left(context.key, pair, serial, failure, context.now);
        }
        sent.is_ok()
    }

    fn notice_in_session(&self, pair: &mut Pair, session: u32, context: &mut pair::Context<'_>) {
        let Some((serial, notice)) = pair.release_notice() else { return };
        let contact = contact_of(context.key);
        let said = contact.map(|contact| SessionMessage::from(&notice::instant(notice, &contact)));
        let sent =
            said.and_then(|said| say(pair, (serial, session), (&said.fields(), said.body()), None, context));
        if let Err(failure) = sent {
            self.notice_never_left(context.key, pair, serial, &failure, context.now);
        }
    }

    fn never_left(&self, key: &PairKey, pair: &mut Pair, serial: u64, failure: &XmppFailure, now: Moment) {
        if let Some(ToSip::Message(message)) = pair.settled(serial) {
            self.counters.xmpp_to_sip_failed.add(1);
            message.came_to(Fate::Failed);
            let why = failure.text.as_deref().unwrap_or("it could not be sent");
            self.log_contact_failed(LogSafe(why), message.number(), key, now);
            message.fail(failure, now);
        }
    }

    fn notice_never_left(
        &self,
        key: &PairKey,
        pair: &mut Pair,
        serial: u64,
        failure: &XmppFailure,
        now: Moment,
    ) {
        pair.settled(serial);
        self.counters.notices_lost.add(1);
        if self.may_log(Cause::NoticeFailed, key, now) {
            let (id, contact) = (self.id_of_pair(key), self.shown(key.contact()));
            warn!(%id, %contact, ?failure, "a failure notice could not be sent");
        }
    }

    fn send_message(
        &self,
        envelope: ToSipEnvelope,
        stanza: &Element,
        context: &pair::Context<'_>,
    ) -> Result<(), XmppFailure> {
        let instant = match to_sip::read(stanza, Languages::default()) {
            Reading::Instant(instant) => instant,
            Reading::Refuse(failure) => return Err(failure),
            // It was an instant message when it was queued, and nobody has changed it.
            Reading::Nothing | Reading::Error(_) => return Err(internal()),
        };
        let sender = stanza.attr("from").and_then(|from| Jid::parse(from).ok());
        let resource = sender.as_ref().and_then(Jid::resource);
        self.send_instant(envelope, resource, &instant, context)
    }

    fn send_notice(
        &self,
        envelope: ToSipEnvelope,
        notice: &Notice,
        context: &pair::Context<'_>,
    ) -> Result<(), XmppFailure> {
        let instant = notice::instant(notice, &contact_of(context.key)?);
        self.send_instant(envelope, None, &instant, context)
    }

    fn send_instant(
        &self,
        envelope: ToSipEnvelope,
        resource: Option<&str>,
        instant: &to_sip::Instant<'_>,
        context: &pair::Context<'_>,
    ) -> Result<(), XmppFailure> {
        let write = |request: &Request<'_>, out: &mut Vec<u8>| to_sip::write(instant, request, out);
        self.send_alone(envelope, resource, instant.body.len(), write, context)
    }

    /// Writes a MESSAGE, with a body of about that length, and hands it to the front end that serves the pair's SIP user.
    pub(super) fn send_alone(
        &self,
        envelope: ToSipEnvelope,
        resource: Option<&str>,
        length: usize,
        write: impl FnOnce(&Request<'_>, &mut Vec<u8>) -> Result<(), RequestError>,
        context: &pair::Context<'_>,
    ) -> Result<(), XmppFailure> {
        let (key, identity) = (context.key, context.identity);
        let (sender, recipient) = (contact_of(key)?, user_of(key)?);
        let (tag, call_token) = (self.token(), self.token());
        let branch = branch(&call_token);
        let request = Request {
            sender: &sender,
            resource,
            recipient: &recipient,
            sent_by: self.settings.name_of(identity),
            branch: &branch,
            tag: &tag,
            call_token: &call_token,
            extra: &[],
            cap: self.message_cap(key.remote_domain()),
        };
        let mut bytes = Vec::with_capacity(length + REQUEST_OVERHEAD);
        write(&request, &mut bytes).map_err(|error| match error {
            RequestError::TooLarge { .. } => error.failure(),
            RequestError::Build(_) | RequestError::Uri(_) => internal(),
        })?;
        let route = self.route_of(identity, key.local_domain()).ok_or_else(internal)?;
        let request = OutRequest::new(bytes, &branch).map_err(|_| internal())?;
        if let Some(number) = envelope.brings {
            debug!(
                target: MESSAGES, id = %self.id_from_xmpp(number), call_id = %call_token,
                "it leaves for a front end"
            );
        }
        // What the group then wants is seen to when the pair's guard is released.
        let push = |group: &mut HopGroup<_>| {
            group.push(request, envelope, context.now.instant).map_err(|refused| not_taken(refused.why))
        };
        route.hops.step(push)
    }
}

/// The envelope of something that goes by itself.
pub(super) fn alone(context: &pair::Context<'_>, serial: u64, judged: Option<Judged>) -> ToSipEnvelope {
    ToSipEnvelope {
        pair: context.key.clone(),
        serial,
        event: None,
        sent_ms: context.now.unix_ms,
        judged,
        brings: None,
    }
}

/// Puts what was released into a session.
pub(super) fn say(
    pair: &mut Pair,
    (serial, session): (u64, u32),
    (fields, body): Said<'_>,
    judged: Option<pair::Judged>,
    context: &mut pair::Context<'_>,
) -> Result<(), XmppFailure> {
    let saying = Saying { serial, session, fields, body, judged };
    if pair.say(&saying, context) { Ok(()) } else { Err(busy()) }
}

/// A branch with the token of the Call-ID: who sees one sees the other, so two secrets would be worth no more than one.
fn branch(token: &str) -> CompactString {
    let mut branch = CompactString::with_capacity(Via::COOKIE.len() + token.len());
    branch.push_str(Via::COOKIE);
    branch.push_str(token);
    branch
}

fn internal() -> XmppFailure {
    XmppFailure::new(Condition::InternalServerError, "the gateway could not translate the message")
}

fn not_taken(why: PushRefusal) -> XmppFailure {
    match why {
        PushRefusal::Full => busy(),
        PushRefusal::ShuttingDown => XmppFailure {
            kind: ErrorType::Wait,
            ..XmppFailure::new(Condition::RemoteServerTimeout, "the gateway is being shut down")
        },
    }
}

fn busy() -> XmppFailure {
    XmppFailure {
        kind: ErrorType::Wait,
        ..XmppFailure::new(Condition::ResourceConstraint, "too many messages are waiting")
    }
}

pub(super) fn contact_of(key: &PairKey) -> Result<Contact, XmppFailure> {
    let jid = BareJid::parse(key.contact()).map_err(|_| internal())?;
    Contact::try_from(jid).map_err(|_| internal())
}

pub(super) fn user_of(key: &PairKey) -> Result<SipUser, XmppFailure> {
    let jid = BareJid::parse(key.sip_user()).map_err(|_| internal())?;
    SipUser::try_from(jid).map_err(|_| internal())
}
