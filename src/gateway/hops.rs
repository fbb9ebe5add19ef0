//! What goes to the front ends: released by its pair, sent by the group of next hops, settled by the answer.

use std::fmt;
use std::sync::atomic::Ordering;

use compact_str::CompactString;
use nuncio_sip::connection;
use nuncio_sip::hop::{HopConnection, HopFailure, HopGroup, HopOutput, OutRequest, Outgoing, PushRefusal};
use nuncio_sip::{Message, StatusCode, Via};
use nuncio_translate::address::{Contact, SipUser};
use nuncio_translate::errors::{self, SipTrouble, XmppFailure};
use nuncio_translate::judge::{Direction, Kind, Question, judge};
use nuncio_translate::message::to_sip::{self, Languages, Reading, Request, RequestError};
use nuncio_translate::pair::{From, NextForSip, Notice, PairKey, ToSip};
use nuncio_translate::{Moment, notice};
use nuncio_xmpp::{BareJid, Condition, Element, ErrorType, Jid};
use tracing::{info, warn};

use crate::log_limit::{Cause, Source};

use super::from_xmpp::took;
use super::incoming::Incoming;
use super::routes::Route;
use super::{ConnectionId, Gateway, Judged, Pair, ToSipEnvelope};

/// Room for everything of a MESSAGE but its body, so that writing it allocates once.
const REQUEST_OVERHEAD: usize = 768;

/// What became of a request.
enum Outcome {
    Settled(Result<Message, HopFailure>),
    /// It has left, and nobody answers it.
    Left,
}

/// Requests on their way to one connection.
struct Batch {
    connection: HopConnection,
    requests: Vec<Outgoing<ToSipEnvelope>>,
}

impl Gateway {
    /// Acts on everything the group of a route wants or reports. Whoever has given it something to do
    /// calls this, with no other lock held; only connecting is left to its driver.
    pub fn serve_route(&self, route: &Route, now: Moment) {
        loop {
            let settled = self.serve_group(route, now);
            if settled.is_empty() {
                return;
            }
            // The group is released: settling locks pairs, and pairs lock groups.
            for (envelope, outcome) in settled {
                self.settle(route, &envelope, outcome, now);
            }
        }
    }

    /// The same for the route to a served domain.
    pub fn serve_route_of(&self, local_domain: &str, now: Moment) {
        if let Some(route) = self.route_of(local_domain) {
            self.serve_route(route, now);
        }
    }

    fn serve_group(&self, route: &Route, now: Moment) -> Vec<(ToSipEnvelope, Outcome)> {
        let mut settled = Vec::new();
        // Requests in a row for the same connection, which is locked and woken once for all of them.
        let mut batch = Batch { connection: HopConnection(0), requests: Vec::new() };
        route.hops.step(|group| {
            let room = group.outputs();
            loop {
                let Some(output) = group.poll() else {
                    if batch.requests.is_empty() {
                        break;
                    }
                    self.send(group, &mut batch, now);
                    continue;
                };
                match output {
                    HopOutput::Connect { target } => {
                        *route.connect.lock() = Some(target);
                        route.hops.notify();
                    }
                    HopOutput::Send { outgoing, .. } if !self.may_still_leave(outgoing.envelope(), now) => {
                        group.withdraw(outgoing, now.instant);
                    }
                    HopOutput::Send { connection, outgoing } => {
                        if connection != batch.connection {
                            self.send(group, &mut batch, now);
                            batch.connection = connection;
                        }
                        if batch.requests.is_empty() {
                            batch.requests.reserve(room);
                        }
                        batch.requests.push(outgoing);
                    }
                    HopOutput::Release { connection } => {
                        // What was to leave on it before still does.
                        self.send(group, &mut batch, now);
                        if let Some(port) = self.connection(ConnectionId(connection.0)) {
                            port.feed(connection::Connection::retire);
                        }
                    }
                    HopOutput::Cancel { connection, branch } => {
                        self.send(group, &mut batch, now);
                        if let Some(port) = self.connection(ConnectionId(connection.0)) {
                            port.feed(|connection| connection.cancel(&branch, now.instant));
                        }
                    }
                    HopOutput::Acknowledged { envelope } => settled.push((envelope, Outcome::Left)),
                    HopOutput::Response { envelope, message } => {
                        if settled.is_empty() {
                            settled.reserve(room);
                        }
                        settled.push((envelope, Outcome::Settled(Ok(message))));
                    }
                    HopOutput::Failed { envelope, why } => {
                        settled.push((envelope, Outcome::Settled(Err(why))))
                    }
                }
            }
            if let Some(deadline) = group.deadline()
                && route.armed.lock().is_none_or(|armed| deadline < armed)
            {
                route.hops.notify();
            }
        });
        settled
    }

    /// What had to wait for its connection is judged again if the policy has changed since.
    fn may_still_leave(&self, envelope: &ToSipEnvelope, now: Moment) -> bool {
        let Some(Judged { generation, consent, kind }) = envelope.judged else { return true };
        let policy = self.policy.load();
        if generation == policy.generation() {
            return true;
        }
        if envelope.is_of_batch() {
            // It is written anew.
            return false;
        }
        let question = Question { kind, ..message_of(&envelope.pair) };
        match judge(&policy, &question, &consent, now.unix()) {
            Ok(_) => true,
            Err(refusal) => {
                self.log_contact_refused(&envelope.pair, refusal, "refused when it was about to leave", now);
                false
            }
        }
    }

    /// The group stays locked while it sends, so that requests leave in the order it gave them out.
    fn send(&self, group: &mut HopGroup<ToSipEnvelope>, batch: &mut Batch, now: Moment) {
        if batch.requests.is_empty() {
            return;
        }
        let Some(port) = self.connection(ConnectionId(batch.connection.0)) else {
            for outgoing in batch.requests.drain(..) {
                let lost = connection::Failure::ConnectionLost { written: false };
                group.failed(outgoing, lost, now.instant);
            }
            return;
        };
        port.feed(|connection| {
            for outgoing in batch.requests.drain(..) {
                if let Err(refused) = connection.send(outgoing, now.instant) {
                    group.refused(refused, now.instant);
                }
            }
        });
    }

    /// Lets everything leave that may leave. Called under the pair's guard; once that is released, the caller
    /// serves the route ([`Gateway::serve_route_of`]).
    pub(super) fn run_pair(&self, key: &PairKey, pair: &mut Pair, now: Moment) {
        loop {
            match pair.next_for_sip() {
                NextForSip::Nothing => return,
                NextForSip::Notice => {
                    let Some((serial, notice)) = pair.release_notice() else { return };
                    let envelope = ToSipEnvelope {
                        pair: key.clone(),
                        serial,
                        event: None,
                        sent_ms: now.unix_ms,
                        judged: None,
                    };
                    if let Err(failure) = self.send_notice(envelope, notice, now) {
                        pair.settled(serial);
                        self.counters.notices_lost.add(1);
                        if self.may_log(Cause::NoticeFailed, key, now) {
                            warn!(contact = %self.shown(key.contact()), ?failure, "a failure notice could not be sent");
                        }
                    }
                }
                NextForSip::Message => {
                    let policy = self.policy.load();
                    match judge(&policy, &message_of(key), pair.consent(), now.unix()) {
                        Err(refusal) => {
                            self.counters.xmpp_to_sip_refused.add(1);
                            self.log_contact_refused(key, refusal, "refused when its turn came", now);
                            let Some(message) = pair.refuse() else { return };
                            self.reply_uniform(message, now);
                        }
                        Ok(permit) => {
                            let judged = Judged {
                                generation: permit.generation(),
                                consent: *pair.consent(),
                                kind: Kind::Message,
                            };
                            let Some((serial, message)) = pair.release(permit) else { return };
                            let (pair_key, sent_ms) = (key.clone(), now.unix_ms);
                            let envelope = ToSipEnvelope {
                                pair: pair_key,
                                serial,
                                event: None,
                                sent_ms,
                                judged: Some(judged),
                            };
                            if let Err(failure) = self.send_message(envelope, message.stanza(), now)
                                && let Some(ToSip::Message(message)) = pair.settled(serial)
                            {
                                self.counters.xmpp_to_sip_failed.add(1);
                                message.fail(&failure, now);
                            }
                        }
                    }
                }
            }
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
        let contact = BareJid::parse(key.contact()).ok().and_then(|jid| Contact::try_from(jid).ok());
        let instant = notice::instant(notice, &contact.ok_or_else(internal)?);
        self.send_instant(envelope, None, &instant, now)
    }

    /// Writes a MESSAGE and hands it to the front end that serves the pair's SIP user.
    fn send_instant(
        &self,
        envelope: ToSipEnvelope,
        resource: Option<&str>,
        instant: &to_sip::Instant<'_>,
        now: Moment,
    ) -> Result<(), XmppFailure> {
        let key = &envelope.pair;
        let bare = |address| BareJid::parse(address).map_err(|_| internal());
        let sender = Contact::try_from(bare(key.contact())?).map_err(|_| internal())?;
        let recipient = SipUser::try_from(bare(key.sip_user())?).map_err(|_| internal())?;
        let (tag, call_token) = (self.token(), self.token());
        let branch = branch(&call_token);
        let request = Request {
            sender: &sender,
            resource,
            recipient: &recipient,
            sent_by: &self.settings.sip_name,
            branch: &branch,
            tag: &tag,
            call_token: &call_token,
            extra: &[],
            cap: self.settings.message_cap,
        };
        let mut bytes = Vec::with_capacity(instant.body.len() + REQUEST_OVERHEAD);
        to_sip::write(instant, &request, &mut bytes).map_err(|error| match error {
            RequestError::TooLarge { .. } => error.failure(),
            RequestError::Build(_) | RequestError::Uri(_) => internal(),
        })?;
        let route = self.route_of(key.local_domain()).ok_or_else(internal)?;
        let request = OutRequest::new(bytes, &branch).map_err(|_| internal())?;
        // What the group then wants is seen to when the pair's guard is released.
        route
            .hops
            .step(|group| group.push(request, envelope, now.instant))
            .map_err(|refused| not_taken(refused.why))
    }

    /// A request of ours has its final answer, or never will.
    fn settle(&self, route: &Route, envelope: &ToSipEnvelope, outcome: Outcome, now: Moment) {
        let key = &envelope.pair;
        if self.ending.load(Ordering::Relaxed) {
            self.errands.ring();
        }
        if let Some(half) = &envelope.event {
            route.events.fetch_sub(1, Ordering::Relaxed);
            return match outcome {
                Outcome::Settled(outcome) => self.event_settled(key, half, envelope.serial, &outcome, now),
                Outcome::Left => self.event_left(key, half, envelope.serial, now),
            };
        }
        // A MESSAGE is always answered.
        let Outcome::Settled(outcome) = outcome else { return };
        let remote = self.remote(key.remote_domain());
        let done =
            remote.pairs.with_pair(key.as_str(), &self.settings.pair, &self.timers, now, |key, pair| {
                match pair.settled(envelope.serial) {
                    Some(ToSip::Message(message)) => {
                        // Who may see the SIP user may learn what became of him (DEC-03).
                        let authorised = pair.from() == From::Yes;
                        self.settle_message(message, &outcome, envelope, authorised, now);
                    }
                    Some(ToSip::Notice(_)) => self.settle_notice(key, &outcome, now),
                    None => {}
                }
                self.run_pair(key, pair, now);
            });
        if let Err(lost) = done {
            self.pair_lost(key.as_str(), lost, now);
        }
    }

    fn settle_message(
        &self,
        message: Incoming,
        outcome: &Result<Message, HopFailure>,
        envelope: &ToSipEnvelope,
        authorised: bool,
        now: Moment,
    ) {
        if matches!(outcome, Err(HopFailure::Withdrawn)) {
            self.counters.xmpp_to_sip_refused.add(1);
            return self.reply_uniform(message, now);
        }
        let trouble = match outcome {
            Ok(response) => SipTrouble::Answered {
                status: response.status().map_or(500, |StatusCode(status)| status),
                reason: response.reason(),
                new_address: None,
            },
            Err(HopFailure::Timeout) => SipTrouble::Timeout,
            Err(HopFailure::Lost) => SipTrouble::Transport { written: true },
            Err(_) => SipTrouble::Transport { written: false },
        };
        match errors::to_xmpp(&trouble, authorised) {
            None => {
                self.counters.xmpp_to_sip_delivered.add(1);
                message.done();
            }
            Some(failure) => {
                self.counters.xmpp_to_sip_failed.add(1);
                if outcome.is_ok() && failure == errors::UNIFORM_REFUSAL {
                    self.pace.lock().observe(took(envelope.sent_ms, now));
                }
                match outcome {
                    Ok(_) => self.log_contact_declined(&trouble, &envelope.pair, now),
                    Err(why) => self.log_contact_failed(why, &envelope.pair, now),
                }
                message.fail(&failure, now);
            }
        }
    }

    fn log_contact_declined(&self, trouble: &SipTrouble<'_>, key: &PairKey, now: Moment) {
        if let SipTrouble::Answered { status, .. } = trouble
            && self.may_log(Cause::ContactDeclined, key, now)
        {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            info!(%user, %contact, status, "message of a contact refused by a front end");
        }
    }

    pub(super) fn log_contact_failed(&self, why: impl fmt::Display, key: &PairKey, now: Moment) {
        if self.may_log(Cause::ContactFailed, key, now) {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            warn!(%user, %contact, %why, "message of a contact did not reach a front end");
        }
    }

    fn settle_notice(&self, key: &PairKey, outcome: &Result<Message, HopFailure>, now: Moment) {
        let delivered =
            outcome.as_ref().is_ok_and(|response| response.status().is_some_and(|status| status.0 < 300));
        if delivered {
            self.counters.notices_delivered.add(1);
        } else {
            self.counters.notices_lost.add(1);
            if self.may_log(Cause::NoticeFailed, key, now) {
                warn!(contact = %self.shown(key.contact()), "a failure notice reached no front end");
            }
        }
    }

    fn may_log(&self, cause: Cause, key: &PairKey, now: Moment) -> bool {
        self.log_budget.allows(cause, Source::Domain(key.remote_domain()), now.instant)
    }
}

/// A branch with the token of the Call-ID: who sees one sees the other, so two secrets would be worth no more than one.
fn branch(token: &str) -> CompactString {
    let mut branch = CompactString::with_capacity(Via::COOKIE.len() + token.len());
    branch.push_str(Via::COOKIE);
    branch.push_str(token);
    branch
}

/// The question whether a message of the contact may cross.
pub(super) fn message_of(pair: &PairKey) -> Question<'_> {
    Question {
        sip_user: pair.sip_user(),
        contact_domain: pair.remote_domain(),
        direction: Direction::XmppToSip,
        kind: Kind::Message,
    }
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
