//! Requests of front ends.

use std::num::NonZeroU64;

use compact_str::CompactString;
use nuncio_sip::connection::ServerTxn;
use nuncio_sip::{Message, Method, Uri};
use nuncio_translate::address::SipUser;
use nuncio_translate::diagnostics::{self, Diagnostic};
use nuncio_translate::errors::{self, About, Answering, XmppTrouble};
use nuncio_translate::judge::{Consent, Direction, Kind, Permit, Question, Refusal, Snapshot, judge};
use nuncio_translate::message::from_sip::{self, Ends, MessageRefusal};
use nuncio_translate::message::{ACCEPT, ACCEPT_ENCODING};
use nuncio_translate::pair::{Ask, PairKey};
use nuncio_translate::receipt::imdn::Wishes;
use nuncio_translate::stanza_id::Stem;
use nuncio_translate::text::LogSafe;
use nuncio_translate::{Moment, stanza_id};
use nuncio_xmpp::Condition;
use nuncio_xmpp::lane::{Failure, FailureKind, Lane, PushRefusal};
use tracing::{debug, info, warn};

use crate::log_limit::{Cause, Source};

use super::answers::{ALLOW, SUPPORTED, SipAnswer};
use super::hops::message_of;
use super::log_ids::MESSAGES;
use super::port::Bells;
use super::refusals::Refused;
use super::{Cargo, ConnectionId, Gateway, LanePort, Pair, ReplyTo, ToXmppEnvelope};

/// How long a front end should wait before it tries a partner again for whom there is no room, in seconds.
pub(super) const RETRY_AFTER: u32 = 5;
/// Room for everything of a stanza but its body, so that writing it allocates once.
const STANZA_OVERHEAD: usize = 512;
/// In the audit trail.
pub(super) const REFUSED: &str = "message of a SIP user refused";

/// Who is at the other end of a SIP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SipPeer {
    /// One of our front ends, by its place in the configuration.
    FrontEnd(usize),
    /// Anybody else; the text says what was presented and what was expected.
    Unlisted(String),
}

/// A message of a SIP user as it goes to the contact.
pub(super) struct Crossing<'a> {
    /// Of the MESSAGE.
    call_id: &'a str,
    stanza: Vec<u8>,
    /// In the id of the stanza.
    sequence: u64,
    /// What its sender wants to know of its fate.
    wishes: Wishes<'static>,
    /// Of the session that it is part of.
    thread: Option<CompactString>,
    expires_ms: u64,
}

impl Gateway {
    /// Answers a request or sends it on its way; `bells` wake who has to carry it.
    pub fn sip_request(
        &self,
        peer: &SipPeer,
        connection: ConnectionId,
        transaction: ServerTxn,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) {
        let reply = ReplyTo { connection, transaction };
        let SipPeer::FrontEnd(front_end) = *peer else {
            self.refuse_stranger(peer, reply, now);
            return;
        };
        if let Some(tally) = self.front_end_tallies.get(front_end) {
            tally.asked(request.method());
        }
        if let Some(answer) = self.doubted(peer, request) {
            let user = request.from_header().map_or("", |from| from.uri.as_str());
            self.log_doubted(user, request, &answer, now);
            return self.answers().refused(reply, answer, now);
        }
        let answer = match request.method() {
            Method::Options => self.options(),
            Method::Message if request.to_tag().is_some() => {
                match self.sip_session(front_end, reply, request, bells, now) {
                    Ok(()) => return,
                    Err(answer) => answer,
                }
            }
            Method::Message => match self.sip_message(front_end, reply, request, bells, now) {
                Ok(()) => return,
                Err(answer) => {
                    self.message_refused(request, &answer, now);
                    answer
                }
            },
            Method::Subscribe | Method::Notify | Method::Benotify => {
                match self.sip_event(front_end, reply, request, bells, now) {
                    Ok(()) => return,
                    Err(answer) => {
                        self.stray_event_refused(request, &answer, now);
                        answer
                    }
                }
            }
            // Lync's way to a conference, of which there are none here.
            Method::Refer if request.to_tag().is_none() => {
                let answer = SipAnswer::new(405, "Method Not Allowed").with("Allow", ALLOW);
                self.not_for_us(answer, request, "conferences do not cross to XMPP")
            }
            Method::Invite | Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Refer => {
                match self.sip_session(front_end, reply, request, bells, now) {
                    Ok(()) => return,
                    Err(answer) => answer,
                }
            }
            method if method.is_known() => {
                let answer = SipAnswer::new(405, "Method Not Allowed").with("Allow", ALLOW);
                self.not_for_us(answer, request, "requests of this method do not cross to XMPP")
            }
            _ => {
                let answer = SipAnswer::new(501, "Not Implemented").with("Allow", ALLOW);
                self.not_for_us(answer, request, "the gateway does not know this method")
            }
        };
        self.answers().refused(reply, answer, now);
    }

    /// A message of a SIP user that was not taken on, counted and logged.
    fn message_refused(&self, request: &Message, answer: &SipAnswer, now: Moment) {
        self.counters.sip_to_xmpp_failed.add(1);
        let domain = Uri::parse(request.request_uri()).map(|uri| uri.host().to_string()).unwrap_or_default();
        self.tally(&domain).came_to(Direction::SipToXmpp, answer.fate());
        let user = request.from_header().map_or("", |from| from.uri.as_str());
        let id = self.id_from_sip(self.next_sequence(), now.unix_ms);
        self.log_message_refused(id, user, request.request_uri(), call_id(request), answer);
    }

    /// The line that says what became of a message a SIP user asks about.
    fn log_message_refused(
        &self,
        id: Stem<'_>,
        user: &str,
        contact: &str,
        call_id: Option<&str>,
        answer: &SipAnswer,
    ) {
        info!(
            %id, call_id = call_id.map(|id| display(LogSafe(id))), user = %self.shown(user), contact = %self.shown(contact), status = answer.status,
            why = %LogSafe(answer.why()), "MESSAGE refused"
        );
    }

    /// Somebody poses as a user of ours, or an edge is set up wrongly.
    fn log_doubted(&self, user: &str, request: &Message, answer: &SipAnswer, now: Moment) {
        let domain = Uri::parse(user).map(|uri| uri.host().to_string()).unwrap_or_default();
        if self.log_budget.allows(Cause::SenderDoubted, Source::Domain(&domain), now.instant) {
            let method = LogSafe(request.method().as_str());
            warn!(user = %self.shown(user), %method, why = %LogSafe(answer.why()), "request of a front end refused");
        }
    }

    /// The refusal of a request that no user is told about: counted, and logged for whoever looks for it.
    fn not_for_us(&self, answer: SipAnswer, request: &Message, why: &str) -> SipAnswer {
        self.counters.sip_requests_not_for_us.add(1);
        let method = LogSafe(request.method().as_str());
        debug!(%method, status = answer.status, why, "request of a front end refused");
        answer.because(Diagnostic::RequestKind, why)
    }

    /// The health probe of front ends and edges (SIP-32).
    fn options(&self) -> SipAnswer {
        SipAnswer::new(200, "OK")
            .with("Allow", ALLOW)
            .with("Accept", format!("{ACCEPT}, {}", nuncio_sip::sdp::MEDIA_TYPE))
            .with("Accept-Encoding", ACCEPT_ENCODING)
            .with("Accept-Language", "*")
            .with("Allow-Events", self.settings.events.package)
            .with("Supported", SUPPORTED.join(", "))
    }

    fn refuse_stranger(&self, peer: &SipPeer, reply: ReplyTo, now: Moment) {
        let SipPeer::Unlisted(why) = peer else { return };
        self.counters.unlisted_sip_peers.add(1);
        // That this peer is a stranger was logged when it connected.
        debug!(%why, "SIP request refused: the peer is no front end of ours");
        let answer = SipAnswer::new(403, "Forbidden").because(Diagnostic::ForeignSender, why);
        self.answers().refused(reply, answer, now);
    }

    fn sip_message(
        &self,
        front_end: usize,
        reply: ReplyTo,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let policy = self.policy.load();
        let ends = self.ends(front_end, request)?;
        if let Some(answer) = self.sip_notifies(&ends, request, now) {
            self.answers().refused(reply, answer.of_contact(ends.contact.domain()), now);
            return Ok(());
        }
        let remote_domain = ends.contact.domain();
        let (from, to) = (ends.sender.jid().as_str(), ends.contact.jid().as_str());
        let by_rule = |refusal| {
            let refused = Refused {
                sip_user: from,
                contact: to,
                partner: remote_domain,
                direction: Direction::SipToXmpp,
                what: REFUSED,
                refusal,
            };
            self.audit_refusal(&refused, now);
            self.refused_by_rule(refusal, remote_domain)
        };
        policy.open_partner(remote_domain).map_err(by_rule)?;
        let remote = self.remote(remote_domain);
        let lane = self.lane_below(&remote, ends.sender.domain(), remote_domain);
        let stanza = self.stanza_of(request, &ends, None, now)?;

        let mut composed = String::new();
        PairKey::compose(from, to, &mut composed);
        let crossed =
            remote.pairs.with_pair(&composed, &self.settings.pair, &self.timers, now, |key, pair| {
                let question = Question {
                    sip_user: from,
                    contact: to,
                    contact_domain: remote_domain,
                    direction: Direction::SipToXmpp,
                    kind: Kind::Message,
                };
                let permit = judge(&policy, &question, pair.consent(), now.unix()).map_err(by_rule)?;
                let handed_over = self.hand_over(pair, key, (permit, reply), (&lane, stanza), bells, now);
                if pair.has_output() {
                    self.in_context(key, now, |context| self.run_presence(pair, context, bells));
                }
                handed_over
            });
        crossed.unwrap_or_else(|lost| {
            self.pair_lost(&composed, lost, now);
            Err(self.internal_error())
        })
    }

    /// What the contact gets; `chat` is the session that it is part of.
    pub(super) fn stanza_of<'a>(
        &self,
        request: &'a Message,
        ends: &Ends,
        chat: Option<&from_sip::Chat>,
        now: Moment,
    ) -> Result<Crossing<'a>, SipAnswer> {
        let lasts = from_sip::lasts(request, now.wall()).map_err(|refusal| self.refused_message(&refusal))?;
        if lasts.is_some_and(|lasts| lasts.is_zero()) {
            return Err(self.expired("it had expired when it came here"));
        }
        let expires_ms = lasts.map_or(u64::MAX, |lasts| {
            now.unix_ms.saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX))
        });
        let (from, to) = (ends.sender.jid().as_str(), ends.contact.jid().as_str());
        let mut id = Vec::with_capacity(stanza_id::ID_MAX);
        let (sequence, kind) = (self.next_sequence(), stanza_id::Kind::Message);
        let Self { settings, .. } = self;
        stanza_id::mint(
            &settings.node_key,
            &settings.node_label,
            kind,
            sequence,
            now.wall(),
            from,
            to,
            &mut id,
        );
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let mut stanza = Vec::with_capacity(request.body().len() + STANZA_OVERHEAD);
        let wishes = from_sip::write(request, ends, id, settings.formats, chat, &mut stanza)
            .map_err(|refusal| self.refused_message(&refusal))?;
        let (call_id, thread) = (call_id(request).unwrap_or_default(), chat.map(|chat| chat.thread.clone()));
        Ok(Crossing { call_id, stanza, sequence, wishes, thread, expires_ms })
    }

    /// Puts a message of the SIP user on its lane. Under the pair's guard, so that messages enter it in the order they were
    /// judged.
    pub(super) fn hand_over(
        &self,
        pair: &mut Pair,
        key: &PairKey,
        (permit, reply): (Permit, ReplyTo),
        (lane, crossing): (&LanePort, Crossing<'_>),
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let Crossing { call_id, mut stanza, sequence, wishes, thread, expires_ms } = crossing;
        let asks = NonZeroU64::new(sequence).filter(|_| wishes.any());
        let envelope = ToXmppEnvelope {
            pair: key.clone(),
            cargo: Cargo::Message(reply),
            sent_ms: now.unix_ms,
            sequence,
            generation: permit.generation(),
            refused: None,
            asks,
            expires_ms,
        };
        let push = |lane: &mut Lane<_>| {
            if !lane.takes(stanza.len()) {
                from_sip::make_brief(&mut stanza);
            }
            let first = !lane.has_queue();
            (lane.push(stanza, envelope, now.instant), first)
        };
        let partner = key.remote_domain();
        lane.feed_later(bells, push).map_err(|error| self.lane_refused(partner, &error.reason))?;
        // The contact cannot have got it yet, let alone answered: whatever of him is judged waits for this pair.
        pair.sip_user_writes(permit, now);
        debug!(
            target: MESSAGES, id = %self.id_from_sip(sequence, now.unix_ms), call_id = %LogSafe(call_id),
            user = %self.shown(key.sip_user()), contact = %self.shown(key.contact()),
            "message of a SIP user taken: it waits for the stream to the partner"
        );
        if asks.is_some() {
            pair.awaits(Ask { sequence, sent: now.wall(), thread, wishes });
        }
        Ok(())
    }

    /// Who writes to whom, as far as this front end may say that.
    pub(super) fn ends(&self, front_end: usize, request: &Message) -> Result<Ends, SipAnswer> {
        let asserts = self.front_ends.get(front_end).is_some_and(|front_end| front_end.asserts_identities);
        from_sip::ends_said_by(request, asserts, |domain| self.speaks_for(front_end, domain))
            .map_err(|refusal| self.refused_message(&refusal))
    }

    /// Whose request it is, if it is for nobody in particular.
    pub(super) fn sender(&self, front_end: usize, request: &Message) -> Result<SipUser, SipAnswer> {
        let asserts = self.front_ends.get(front_end).is_some_and(|front_end| front_end.asserts_identities);
        from_sip::sender_said_by(request, asserts, |domain| self.speaks_for(front_end, domain))
            .map_err(|refusal| self.refused_message(&refusal))
    }

    /// Whether the front end may send for users of `domain` (ADR-21, SEC-14).
    pub(super) fn speaks_for(&self, front_end: usize, domain: &str) -> bool {
        self.policy.load().serves(domain)
            && self.front_ends.get(front_end).is_some_and(|front_end| front_end.speaks_for(domain))
    }

    pub(super) fn refused_by_rule(&self, refusal: Refusal, remote_domain: &str) -> SipAnswer {
        let why = diagnostics::by_rule(refusal, remote_domain);
        match refusal {
            Refusal::UnlistedDomain if self.policy.load().serves(remote_domain) => {
                let why = format!("{remote_domain} is a SIP domain; its users are not reached over XMPP");
                SipAnswer::new(404, "Not Found").because(Diagnostic::NoRoute, &why)
            }
            _ => SipAnswer::new(403, "Forbidden").because(Diagnostic::from(refusal), &why),
        }
        .by_rule()
    }

    pub(super) fn refused_message(&self, refusal: &MessageRefusal) -> SipAnswer {
        let mut answer = SipAnswer::new(refusal.status(), refusal.reason());
        if let Some((name, value)) = refusal.header() {
            answer = answer.with(name, value);
        }
        if let Some((code, text)) = refusal.warning() {
            answer = answer.warning(code, text);
        }
        answer.because(Diagnostic::from(refusal), &refusal.to_string())
    }

    fn lane_refused(&self, partner: &str, reason: &PushRefusal) -> SipAnswer {
        match reason {
            PushRefusal::Full => self.later(&format!("partner {partner}: its queue is full")),
            PushRefusal::TooLarge(limit) => self.too_large(partner, *limit),
            PushRefusal::Unreachable(failure) => self.unreachable(partner, Some(failure)),
            PushRefusal::ShuttingDown => self.shutting_down(),
        }
    }

    /// The answer to a message above what the partner announced to take (S2S-35).
    pub(super) fn too_large(&self, partner: &str, limit: usize) -> SipAnswer {
        let why = format!("partner {partner} takes no stanza of more than {limit} bytes (XEP-0478)");
        SipAnswer::new(513, "Message Too Large").because(Diagnostic::RefusedByPartner, &why)
    }

    /// The answer to a message that never got, or may not have got, to the partner (ERR-04, EXS-16, EXS-17).
    pub(super) fn undelivered(
        &self,
        envelope: &ToXmppEnvelope,
        failure: Option<&Failure>,
        may_have_arrived: bool,
    ) -> SipAnswer {
        let remote = envelope.pair.remote_domain();
        let answer = if may_have_arrived {
            let why =
                format!("{}; the message may or may not have arrived", Self::failure_text(remote, failure));
            SipAnswer::new(504, "Server Time-out").because(Diagnostic::NoRouteNow, &why)
        } else {
            self.unreachable(remote, failure)
        };
        self.gave_up(envelope, answer)
    }

    /// The rule that forbids what was permitted when it came. Nothing does as long as the policy is the same: what a SIP user
    /// may write is between him and that.
    pub(super) fn forbidden_since(
        &self,
        envelope: &mut ToXmppEnvelope,
        policy: &Snapshot,
        now: Moment,
    ) -> Option<Refusal> {
        if envelope.generation == policy.generation() {
            return None;
        }
        let question = Question { direction: Direction::SipToXmpp, ..message_of(&envelope.pair) };
        match judge(policy, &question, &Consent::default(), now.unix()) {
            Ok(permit) => {
                envelope.generation = permit.generation();
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    /// The answer to a message that a rule forbids by now.
    pub(super) fn refused_while_waiting(
        &self,
        envelope: &ToXmppEnvelope,
        refusal: Refusal,
        now: Moment,
    ) -> SipAnswer {
        let (pair, remote) = (&envelope.pair, envelope.pair.remote_domain());
        self.audit_refusal(&Refused::of(pair, Direction::SipToXmpp, REFUSED, refusal), now);
        self.gave_up(envelope, self.refused_by_rule(refusal, remote))
    }

    /// The answer to a message that its sender wants to be delivered by now or not at all (IM-11). The way to the recipient took
    /// too long, whoever is to blame; 408 would say the same, and is for INVITE only (RFC 4320 §4.2).
    pub(super) fn expired(&self, why: &str) -> SipAnswer {
        let why = format!("the message was not delivered: {why}");
        SipAnswer::new(504, "Message Expired").because(Diagnostic::NoRouteNow, &why)
    }

    /// The final answer to a message that had been taken on, counted and logged.
    pub(super) fn gave_up(&self, envelope: &ToXmppEnvelope, answer: SipAnswer) -> SipAnswer {
        let id = self.id_from_sip(envelope.sequence, envelope.sent_ms);
        self.failed(id, &envelope.pair, None, answer)
    }

    /// The same for a message in a session, which was not taken on.
    pub(super) fn failed_in_session(
        &self,
        pair: &PairKey,
        request: &Message,
        answer: SipAnswer,
        now: Moment,
    ) -> SipAnswer {
        let id = self.id_from_sip(self.next_sequence(), now.unix_ms);
        self.failed(id, pair, call_id(request), answer)
    }

    fn failed(&self, id: Stem<'_>, pair: &PairKey, call_id: Option<&str>, answer: SipAnswer) -> SipAnswer {
        self.counters.sip_to_xmpp_failed.add(1);
        self.tally(pair.remote_domain()).came_to(Direction::SipToXmpp, answer.fate());
        self.log_message_refused(id, pair.sip_user(), pair.contact(), call_id, &answer);
        answer
    }

    pub(super) fn shutting_down(&self) -> SipAnswer {
        let why = "the gateway is shutting down";
        SipAnswer::new(503, "Service Unavailable").because(Diagnostic::Shutdown, why)
    }

    pub(super) fn internal_error(&self) -> SipAnswer {
        let why = "a step of the gateway failed; its log says more";
        SipAnswer::new(500, "Server Internal Error").because(Diagnostic::Internal, why)
    }

    /// There is no room for it now.
    fn later(&self, why: &str) -> SipAnswer {
        SipAnswer::new(480, "Temporarily Unavailable")
            .with("Retry-After", RETRY_AFTER.to_string())
            .because(Diagnostic::NoRouteNow, why)
    }

    fn unreachable(&self, partner: &str, failure: Option<&Failure>) -> SipAnswer {
        let kind = failure.map(|failure| failure.kind);
        if kind == Some(FailureKind::TooManyStreams) {
            return self.later(&Self::failure_text(partner, failure));
        }
        let mut trouble = match kind {
            Some(FailureKind::DomainNotFound | FailureKind::Unresolvable) => {
                XmppTrouble::new(Condition::RemoteServerNotFound, About::BareJid)
            }
            _ => XmppTrouble::new(Condition::RemoteServerTimeout, About::BareJid),
        };
        trouble.no_such_domain = kind == Some(FailureKind::DomainNotFound);
        let why = Self::failure_text(partner, failure);
        SipAnswer::from(errors::to_sip(&trouble, Answering::NonInvite)).because(diagnostic_of(kind), &why)
    }
}

/// Why a partner is not reached, as front ends number it.
pub(super) fn diagnostic_of(failure: Option<FailureKind>) -> Diagnostic {
    match failure {
        Some(FailureKind::DomainNotFound | FailureKind::Unresolvable) => Diagnostic::NoDnsRecord,
        Some(FailureKind::Certificate) => Diagnostic::Certificate,
        Some(FailureKind::Shutdown) => Diagnostic::Shutdown,
        Some(FailureKind::Unreachable | FailureKind::Negotiation | FailureKind::TooManyStreams) | None => {
            Diagnostic::NoRouteNow
        }
    }
}

/// For logs.
fn call_id(request: &Message) -> Option<&str> {
    request.call_id().ok()
}
