//! How what waits for a SIP user leaves its pair: alone, or in a session (RFC 7572, RFC 7573).

use compact_str::CompactString;
use nuncio_sip::Via;
use nuncio_sip::hop::{OutRequest, PushRefusal};
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::errors::XmppFailure;
use nuncio_translate::judge::{Kind, Permit, judge};
use nuncio_translate::message::to_sip::{self, Languages, Reading, Request, RequestError, SessionMessage};
use nuncio_translate::pair::{self, Inviting, NextForSip, Notice, PairKey, Saying, ToSip, Way};
use nuncio_translate::typing::ChatState;
use nuncio_translate::{Moment, notice};
use nuncio_xmpp::{BareJid, Condition, Element, ErrorType, Jid};
use tracing::warn;

use super::hops::message_of;
use super::port::Bells;
use super::{Gateway, Judged, Pair, ToSipEnvelope};
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
}

impl Gateway {
    /// Lets everything leave that may leave, and tells the senders of what has come to its end in sessions. Called under
    /// the pair's guard; once that is released, the caller serves the route ([`Gateway::serve_route_of`]).
    pub(super) fn run_pair(&self, key: &PairKey, pair: &mut Pair, now: Moment) {
        loop {
            match pair.next_for_sip() {
                NextForSip::Nothing if pair.sessions_stir() => {
                    self.in_context(key, now, |context| {
                        self.run_presence(pair, context, &mut Bells::default());
                    });
                    self.settle_sessions(key, pair, None, now);
                }
                NextForSip::Nothing => return,
                NextForSip::Notice => self.run_notice(key, pair, now),
                NextForSip::Report => self.run_report(key, pair, now),
                NextForSip::Message => {
                    let policy = self.policy.load();
                    match judge(&policy, &message_of(key), pair.consent(), now.unix()) {
                        Err(refusal) => {
                            self.counters.xmpp_to_sip_refused.add(1);
                            self.log_contact_refused(key, refusal, "refused when its turn came", now);
                            let Some(message) = pair.refuse() else { return };
                            self.reply_uniform(message, now);
                        }
                        Ok(permit) => self.run_message(key, pair, permit, now),
                    }
                }
            }
        }
    }

    fn run_message(&self, key: &PairKey, pair: &mut Pair, permit: Permit, now: Moment) {
        let invites = self.invites(key, now);
        if !invites && !pair.has_sessions() {
            return self.message_alone(key, pair, permit, now);
        }
        let Some(stanza) = pair.next_message().map(super::incoming::Incoming::stanza) else { return };
        let thread = to_sip::thread(stanza);
        match self.in_context(key, now, |context| pair.way(thread.as_deref(), invites, context)) {
            Way::Pager => self.message_alone(key, pair, permit, now),
            Way::Session(session) => self.message_in_session(key, pair, permit, session, now),
            Way::Invite => {
                let sender = stanza.attr("from").and_then(|from| Jid::parse(from).ok());
                let first = First {
                    thread: thread.map(Into::into),
                    resource: sender.as_ref().and_then(Jid::resource).map(CompactString::from),
                    state: ChatState::of(stanza),
                };
                self.invite(key, pair, permit, &first, now);
            }
        }
    }

    /// Word from the gateway goes in a session if there is one. Nobody is invited for it: it would ring for no message.
    fn run_notice(&self, key: &PairKey, pair: &mut Pair, now: Moment) {
        match self.in_context(key, now, |context| pair.way(None, false, context)) {
            Way::Session(session) => self.notice_in_session(key, pair, session, now),
            Way::Pager | Way::Invite => self.notice_alone(key, pair, now),
        }
    }

    /// Invites the SIP user. Where that cannot be done, the message goes alone.
    fn invite(&self, key: &PairKey, pair: &mut Pair, permit: Permit, first: &First, now: Moment) {
        let (Ok(contact), Ok(user)) = (contact_of(key), user_of(key)) else {
            return self.message_alone(key, pair, permit, now);
        };
        let (contact_uri, user_uri) = (contact.uri(None), user.uri());
        let inviting = Inviting {
            contact_uri: &contact_uri,
            user_uri: &user_uri,
            thread: first.thread.as_deref(),
            resource: first.resource.as_deref(),
            state: first.state,
        };
        if let Err(permit) = self.in_context(key, now, |context| pair.invite(permit, &inviting, context)) {
            self.message_alone(key, pair, permit, now);
        }
    }

    fn message_alone(&self, key: &PairKey, pair: &mut Pair, permit: Permit, now: Moment) {
        let judged =
            Judged { generation: permit.generation(), consent: *pair.consent(), kind: Kind::Message };
        let Some((serial, message)) = pair.release(permit) else { return };
        let envelope = ToSipEnvelope {
            pair: key.clone(),
            serial,
            event: None,
            sent_ms: now.unix_ms,
            judged: Some(judged),
        };
        if let Err(failure) = self.send_message(envelope, message.stanza(), now) {
            self.never_left(pair, serial, &failure, now);
        }
    }

    fn message_in_session(&self, key: &PairKey, pair: &mut Pair, permit: Permit, session: u32, now: Moment) {
        let Some((serial, judged, message)) = pair.release_judged(permit) else { return };
        let said = match to_sip::read(message.stanza(), Languages::default()) {
            Reading::Instant(instant) => Ok(SessionMessage::from(&instant)),
            Reading::Refuse(failure) => Err(failure),
            // It was an instant message when it was queued, and nobody has changed it.
            Reading::Nothing | Reading::Error(_) => Err(internal()),
        };
        let sent = said.and_then(|said| {
            self.say(key, pair, (serial, session), (&said.fields(), said.body()), Some(judged), now)
        });
        if let Err(failure) = sent {
            self.never_left(pair, serial, &failure, now);
        }
    }

    fn notice_alone(&self, key: &PairKey, pair: &mut Pair, now: Moment) {
        let Some((serial, notice)) = pair.release_notice() else { return };
        let envelope =
            ToSipEnvelope { pair: key.clone(), serial, event: None, sent_ms: now.unix_ms, judged: None };
        if let Err(failure) = self.send_notice(envelope, notice, now) {
            self.notice_never_left(key, pair, serial, &failure, now);
        }
    }

    fn notice_in_session(&self, key: &PairKey, pair: &mut Pair, session: u32, now: Moment) {
        let Some((serial, notice)) = pair.release_notice() else { return };
        let said = contact_of(key).map(|contact| SessionMessage::from(&notice::instant(notice, &contact)));
        let sent = said.and_then(|said| {
            self.say(key, pair, (serial, session), (&said.fields(), said.body()), None, now)
        });
        if let Err(failure) = sent {
            self.notice_never_left(key, pair, serial, &failure, now);
        }
    }

    /// Puts what was released into a session.
    pub(super) fn say(
        &self,
        key: &PairKey,
        pair: &mut Pair,
        (serial, session): (u64, u32),
        (fields, body): Said<'_>,
        judged: Option<pair::Judged>,
        now: Moment,
    ) -> Result<(), XmppFailure> {
        let saying = Saying { serial, session, fields, body, judged };
        let taken = self.in_context(key, now, |context| pair.say(&saying, context));
        if taken { Ok(()) } else { Err(busy()) }
    }

    fn never_left(&self, pair: &mut Pair, serial: u64, failure: &XmppFailure, now: Moment) {
        if let Some(ToSip::Message(message)) = pair.settled(serial) {
            self.counters.xmpp_to_sip_failed.add(1);
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
            warn!(contact = %self.shown(key.contact()), ?failure, "a failure notice could not be sent");
        }
    }

    fn send_message(
        &self,
        envelope: ToSipEnvelope,
        stanza: &Element,
        now: Moment,
    ) -> Result<(), XmppFailure> {
        let instant = match to_sip::read(stanza, Languages::default()) {
            Reading::Instant(instant) => instant,
            Reading::Refuse(failure) => return Err(failure),
            // It was an instant message when it was queued, and nobody has changed it.
            Reading::Nothing | Reading::Error(_) => return Err(internal()),
        };
        let sender = stanza.attr("from").and_then(|from| Jid::parse(from).ok());
        let resource = sender.as_ref().and_then(Jid::resource);
        self.send_instant(envelope, resource, &instant, now)
    }

    fn send_notice(&self, envelope: ToSipEnvelope, notice: &Notice, now: Moment) -> Result<(), XmppFailure> {
        let key = &envelope.pair;
        let instant = notice::instant(notice, &contact_of(key)?);
        self.send_instant(envelope, None, &instant, now)
    }

    fn send_instant(
        &self,
        envelope: ToSipEnvelope,
        resource: Option<&str>,
        instant: &to_sip::Instant<'_>,
        now: Moment,
    ) -> Result<(), XmppFailure> {
        let write = |request: &Request<'_>, out: &mut Vec<u8>| to_sip::write(instant, request, out);
        self.send_alone(envelope, resource, instant.body.len(), write, now)
    }

    /// Writes a MESSAGE, with a body of about that length, and hands it to the front end that serves the pair's SIP user.
    pub(super) fn send_alone(
        &self,
        envelope: ToSipEnvelope,
        resource: Option<&str>,
        length: usize,
        write: impl FnOnce(&Request<'_>, &mut Vec<u8>) -> Result<(), RequestError>,
        now: Moment,
    ) -> Result<(), XmppFailure> {
        let key = &envelope.pair;
        let (sender, recipient) = (contact_of(key)?, user_of(key)?);
        let identity = self.identity_of(&self.policy.load(), key.remote_domain());
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
        // What the group then wants is seen to when the pair's guard is released.
        route
            .hops
            .step(|group| group.push(request, envelope, now.instant))
            .map_err(|refused| not_taken(refused.why))
    }
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
