//! Stanzas of partners.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::address;
use nuncio_translate::errors::{UNIFORM_REFUSAL, XmppFailure};
use nuncio_translate::judge::{Consent, Direction, Kind, Question, Refusal, judge};
use nuncio_translate::message::encrypted;
use nuncio_translate::message::to_sip::{self, Languages, Reading};
use nuncio_translate::pair::{Cause, From, LATEST_ERROR, Notice, PairKey};
use nuncio_translate::stanza_id::{self, IdError, Stem};
use nuncio_translate::text::LogSafe;
use nuncio_translate::typing::ChatState;
use nuncio_xmpp::lane::LaneCounters;
use nuncio_xmpp::stanza::is_error;
use nuncio_xmpp::{
    Addresses, Condition, Element, ErrorType, IqVerdict, Jid, StanzaError, StanzaKind, check_iq, classify,
};
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::log_limit::{self, Source};

use super::hops::message_of;
use super::incoming::{Incoming, ReplySlot};
use super::iq::{self, Answer};
use super::log_ids::MESSAGES;
use super::port::Bells;
use super::refusals::Refused;
use super::timers::Due;
use super::{Fate, Gateway, Pair};

impl Gateway {
    /// Whether a stanza may have to be answered, so that it needs a reservation. What only brings an answer
    /// itself never waits for room: proof of delivery and late errors come in however full the way back is.
    pub fn may_be_answered(stanza: &Element) -> bool {
        let kind = stanza.attr("type");
        match classify(stanza) {
            Some(StanzaKind::Message) => !is_error(stanza),
            Some(StanzaKind::Iq) => !matches!(kind, Some("result" | "error")),
            Some(StanzaKind::Presence) => !is_presence_type(kind),
            None => false,
        }
    }

    /// The same for a stanza with a bad address, whatever it wants.
    pub fn bad_address_may_be_answered(stanza: &Element) -> bool {
        let is_result = classify(stanza) == Some(StanzaKind::Iq) && stanza.attr("type") == Some("result");
        !is_error(stanza) && !is_result
    }

    /// Reserves the place for the answer to a stanza that goes back from one of our domains to a partner's. Without
    /// it the stanza is not worked on: `wake` rings when there is room again, and until then the stream it
    /// came on is not read.
    pub fn reserve_answer(&self, local: &str, remote_domain: &str, wake: &Arc<Notify>) -> Option<ReplySlot> {
        let remote = self.remote(remote_domain);
        let lane = self.lane_below(&remote, local, remote_domain);
        ReplySlot::reserve(&lane).or_else(|| {
            remote.wait_for_room(Arc::clone(wake));
            // It may have come free between the two steps.
            ReplySlot::reserve(&lane)
        })
    }

    /// Asks a partner for a sign of life, on the lane to him. `false`: that is not open.
    pub fn probe_lane(&self, local: &str, remote_domain: &str) -> bool {
        let Some(lane) = self.known_lane(local, remote_domain) else { return false };
        let open = lane.step(|lane| {
            let open = lane.is_open();
            if open {
                lane.probe();
            }
            open
        });
        if open {
            lane.notify();
        }
        open
    }

    /// What the lane between two domains has counted, if there is one.
    pub fn lane_counters(&self, local: &str, remote_domain: &str) -> Option<LaneCounters> {
        self.known_lane(local, remote_domain).map(|lane| lane.step(|lane| lane.counters()))
    }

    /// Works on a stanza whose addresses the stream has vouched for. If it [may be
    /// answered](Gateway::may_be_answered), a place for that is [reserved](Gateway::reserve_answer).
    ///
    /// Messages are queued only. When all that one read brought is worked on, the caller sends them
    /// ([`Gateway::serve_route_of`]).
    pub fn xmpp_stanza(&self, stanza: Element, addresses: &Addresses, slot: Option<ReplySlot>, now: Moment) {
        match classify(&stanza) {
            Some(StanzaKind::Message) if is_error(&stanza) => self.late_error(&stanza, addresses, now),
            Some(StanzaKind::Message) => {
                self.xmpp_message(Incoming::new(stanza, slot, now), addresses, now);
            }
            Some(StanzaKind::Iq) => self.xmpp_iq(Incoming::new(stanza, slot, now), addresses, now),
            Some(StanzaKind::Presence) => {
                self.xmpp_presence(Incoming::new(stanza, slot, now), addresses, now);
            }
            None => {}
        }
    }

    /// Answers a stanza with a bad local part or resource, which costs that stanza only.
    pub fn xmpp_bad_address(&self, stanza: Element, slot: Option<ReplySlot>, now: Moment) {
        let failure = XmppFailure::new(Condition::JidMalformed, "the address is malformed");
        Incoming::new(stanza, slot, now).fail(&failure, now);
    }

    /// Acts on what is due. If that is much, on a part of it: [`Gateway::deadline`] has passed then still.
    pub fn handle_timeout(&self, now: Moment) {
        self.log_budget.handle_timeout(now.instant);
        self.tell_pending(now);
        for due in self.timers.take(now.instant) {
            match due {
                Due::Pair(key) => self.visit_pair(&key, now),
                Due::Resume(key) => self.resume(key, now),
                Due::Room(route) => self.resume_waiting(route),
                Due::Absence(route) => self.look_for_front_ends(route, now),
                Due::Refresh(refresh) => {
                    let (route, key) = *refresh;
                    self.refresh_one(route, key, now);
                }
                Due::Reply(reply) => {
                    let (slot, bytes) = *reply;
                    slot.send(bytes, now);
                }
                Due::Batch(tag) => self.visit_batch(&tag, now),
                Due::BatchGone(tag) => self.forget_batch(&tag, now),
                Due::Connection(id) => self.forget_connection(id, now),
                Due::Store => self.watch_store(now),
            }
        }
    }

    /// When [`Gateway::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<std::time::Instant> {
        let deadlines = [self.timers.deadline(), self.log_budget.deadline(), self.pending.deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Rings when [`Gateway::deadline`] came closer.
    pub fn timer_wake(&self) -> Arc<Notify> {
        self.timers.wake()
    }

    fn xmpp_message(&self, mut message: Incoming, addresses: &Addresses, now: Moment) {
        if let Some(failure) = encrypted::refusal(message.stanza(), self.settings.formats) {
            return message.fail(&failure, now);
        }
        // Which messages are for SIP at all (IM-12, IM-13) is decided before any rule: an empty one gets the
        // same silence from everybody.
        match to_sip::read(message.stanza(), Languages::default()) {
            Reading::Instant(_) => {}
            Reading::Nothing | Reading::Error(_) => {
                self.contact_tells(message.stanza(), addresses, now);
                self.contact_aside(message.stanza(), addresses, now);
                return message.done();
            }
            Reading::Refuse(failure) if failure == UNIFORM_REFUSAL => {
                return self.reply_uniform(message, now);
            }
            Reading::Refuse(failure) => return message.fail(&failure, now),
        }
        if !address::has_uri(&addresses.to) || !address::has_uri(&addresses.from) {
            let failure = XmppFailure::new(Condition::JidMalformed, "the address has no SIP counterpart");
            return message.fail(&failure, now);
        }
        let policy = self.policy.load();
        let remote = self.remote(addresses.from.domain());
        message.counted_in(remote.tally(), self.next_sequence());
        let number = message.number();
        let mut composed = String::new();
        PairKey::compose(addresses.to.bare_str(), addresses.from.bare_str(), &mut composed);
        // Taken by whichever of the two ends it.
        let proved = self.proof_of(addresses.from.domain());
        let message = Cell::new(Some(message.under_proof(proved)));
        let refuse = |key: &PairKey, refusal| {
            self.counters.xmpp_to_sip_refused.add(1);
            let id = self.id_from_xmpp(number);
            self.log_contact_refused(&id, key, refusal, "message of a contact refused", now);
            if let Some(message) = message.take() {
                message.came_to(Fate::Refused);
                self.reply_uniform(message, now);
            }
        };
        let allowed =
            |key: &PairKey, consent: &Consent| judge(&policy, &message_of(key), consent, now.unix());
        // A stranger whom the rules refuse leaves nothing behind.
        let stranger =
            |key: &PairKey| allowed(key, &Consent::default()).err().map(|refusal| refuse(key, refusal));
        let settings = &self.settings.pair;
        let done =
            remote.pairs.with_pair_unless(&composed, settings, &self.timers, now, stranger, |key, pair| {
                let permit = match allowed(key, pair.consent()) {
                    Err(refusal) => return refuse(key, refusal),
                    Ok(permit) => permit,
                };
                let Some(message) = message.take() else { return };
                let bells = &mut Bells::default();
                self.in_context_under(&policy, key, now, |context| {
                    if pair.has_sessions() {
                        let said = (ChatState::of(message.stanza()), true);
                        self.spoke(message.stanza(), addresses, said, pair, context);
                    }
                    debug!(
                        target: MESSAGES, id = %self.id_from_xmpp(number),
                        stanza_id = message.stanza().attr("id").map(|id| display(LogSafe(id))),
                        user = %self.shown(key.sip_user()), contact = %self.shown(key.contact()),
                        "message of a contact taken: it waits for its turn"
                    );
                    let written = pair.contact_writes(permit, message, settings, now);
                    let is_taken = written.is_ok();
                    if let Err(message) = written {
                        self.counters.xmpp_to_sip_failed.add(1);
                        message.came_to(Fate::Failed);
                        self.log_contact_failed("too many messages wait for the user", number, key, now);
                        let failure = XmppFailure {
                            kind: ErrorType::Wait,
                            ..XmppFailure::new(Condition::ResourceConstraint, "too many messages are waiting")
                        };
                        message.fail(&failure, now);
                    }
                    self.run_pair(pair, context, bells);
                    if is_taken && pair.has_presence() {
                        pair.contact_is_there(context);
                        self.run_presence(pair, context, bells);
                    }
                });
            });
        if let Err(lost) = done {
            self.pair_lost(&composed, lost, now);
        }
    }

    /// `id` is that of the message, or of the pair if it is none.
    pub(super) fn log_contact_refused(
        &self,
        id: &dyn fmt::Display,
        key: &PairKey,
        refusal: Refusal,
        what: &str,
        now: Moment,
    ) {
        let direction = Direction::XmppToSip;
        self.audit_refusal(&Refused::of(key, direction, "message of a contact refused", refusal), now);
        let source = Source::Domain(key.remote_domain());
        if self.log_budget.allows(log_limit::Cause::ContactRefused, source, now.instant) {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            info!(%id, rule = refusal.name(), %user, %contact, "{what}");
        }
    }

    /// The one answer for every refusal, sent after the time a front end takes to refuse.
    pub(super) fn reply_uniform(&self, stanza: Incoming, now: Moment) {
        let delay = self.pace.lock().draw(self.environment.random());
        if let Some((slot, bytes)) = stanza.fail_later(&UNIFORM_REFUSAL) {
            self.timers.schedule(now.instant + delay, Due::Reply(Box::new((slot, bytes))));
        }
    }

    fn visit_pair(&self, key: &PairKey, now: Moment) {
        let remote = self.remote(key.remote_domain());
        let mut sends = false;
        let done = remote.pairs.visit(key, &self.settings.pair, &self.timers, now, |key, pair| {
            if pair.waits_long(now).map(|message| message.take_on(&self.pending, now)).count() > 0 {
                self.somebody_waits_for_the_store(now);
            }
            for message in pair.expired(&self.settings.pair, now) {
                self.counters.xmpp_to_sip_failed.add(1);
                message.came_to(Fate::Failed);
                self.log_contact_failed("it waited too long for its turn", message.number(), key, now);
                let failure = XmppFailure {
                    kind: ErrorType::Wait,
                    ..XmppFailure::new(Condition::RemoteServerTimeout, "the message waited too long")
                };
                message.fail(&failure, now);
            }
            // Also without presence: that a public contact may reply is on record, and ends.
            self.in_context(key, now, |context| {
                let bells = &mut Bells::default();
                pair.handle_timeout(context);
                sends = self.run_presence(pair, context, bells);
                sends |= self.run_pair(pair, context, bells);
            });
        });
        if let Err(lost) = done {
            sends = true;
            self.pair_lost(key.as_str(), lost, now);
        }
        if sends {
            self.serve_route_of(key.local_domain(), now);
        }
    }

    /// The messages of a pair that still wait go back to their sender.
    pub(super) fn give_up_pair(&self, key: &PairKey, now: Moment) {
        let remote = self.remote(key.remote_domain());
        let done = remote.pairs.visit(key, &self.settings.pair, &self.timers, now, |_, pair| {
            for message in pair.give_up() {
                self.counters.xmpp_to_sip_failed.add(1);
                message.came_to(Fate::Failed);
                let failure = XmppFailure {
                    kind: ErrorType::Wait,
                    ..XmppFailure::new(Condition::RemoteServerTimeout, "the gateway is being shut down")
                };
                message.fail(&failure, now);
            }
        });
        if let Err(lost) = done {
            self.pair_lost(key.as_str(), lost, now);
        }
    }

    /// An error in answer to something we sent: the SIP user is told, if the id proves that it was ours.
    fn late_error(&self, stanza: &Element, addresses: &Addresses, now: Moment) {
        let Some(error) = StanzaError::from_element(stanza) else { return };
        let (contact, user) = (addresses.from.bare_str(), addresses.to.bare_str());
        let id = stanza.attr("id").unwrap_or_default();
        match stanza_id::verify(&self.settings.node_key, id, user, contact) {
            // Nothing is remembered per message, so an old id must not be good for ever.
            Ok(id) if now.wall().duration_since(id.sent).is_ok_and(|age| age >= LATEST_ERROR) => {
                self.counters.foreign_errors.add(1);
            }
            Ok(id) if id.kind == stanza_id::Kind::Message => {
                let cause = Cause::Error { condition: error.condition, by: reporter(&error, addresses) };
                let mut composed = String::new();
                PairKey::compose(user, contact, &mut composed);
                self.tell_sip_user(&composed, addresses.from.domain(), now, |pair| {
                    let first = pair.late_error(&id, cause);
                    if first { &self.counters.late_errors } else { &self.counters.late_errors_repeated }
                        .add(1);
                    if first {
                        info!(
                            id = %Stem::from(&id), user = %self.shown(user), contact = %self.shown(contact),
                            condition = error.condition.as_str(),
                            "message of a SIP user came back after it was delivered; he is told"
                        );
                        let tally = self.tally(addresses.from.domain());
                        tally.came_to(Direction::SipToXmpp, Fate::FailedLate);
                    }
                });
            }
            Ok(_) => {}
            Err(IdError::Foreign) => self.counters.foreign_errors.add(1),
            Err(IdError::Forged) => {
                self.counters.forged_ids.add(1);
                let source = Source::Domain(addresses.from.domain());
                if self.log_budget.allows(log_limit::Cause::ForgedId, source, now.instant) {
                    info!(from = %self.shown(contact), "stanza error dropped: its id fails the check for these addresses");
                }
            }
        }
    }

    /// Tells a SIP user about messages he sent.
    pub(super) fn notify_sip_user(&self, composed: &str, remote_domain: &str, notice: Notice, now: Moment) {
        self.tell_sip_user(composed, remote_domain, now, |pair| pair.notify(notice));
    }

    fn tell_sip_user(&self, composed: &str, remote_domain: &str, now: Moment, tell: impl FnOnce(&mut Pair)) {
        let remote = self.remote(remote_domain);
        let done = remote.pairs.with_pair(composed, &self.settings.pair, &self.timers, now, |key, pair| {
            tell(pair);
            self.run_pair_alone(key, pair, now);
        });
        if let Err(lost) = done {
            self.pair_lost(composed, lost, now);
        }
        let local_domain = composed.split_once('\0').and_then(|(user, _)| user.rsplit_once('@'));
        if let Some((_, local_domain)) = local_domain {
            self.serve_route_of(local_domain, now);
        }
    }

    fn xmpp_iq(&self, iq: Incoming, addresses: &Addresses, now: Moment) {
        match check_iq(iq.stanza()) {
            verdict @ (IqVerdict::Result { id, .. } | IqVerdict::Error { id }) => {
                let is_error = matches!(verdict, IqVerdict::Error { .. });
                self.iq_answered(id, is_error, addresses, now);
                iq.done();
            }
            IqVerdict::Request { kind, id, payload } => {
                let mut bytes = Vec::new();
                let sees_user = || self.sees_user(addresses, now);
                let about = &self.settings.about;
                match iq::answer(&mut bytes, about, kind, id, payload, addresses, sees_user) {
                    Answer::Result => iq.answer(bytes, now),
                    Answer::Refuse(condition) => {
                        iq.fail(&XmppFailure::new(condition, "this is not yours to change"), now);
                    }
                    Answer::Uniform => self.reply_uniform(iq, now),
                }
            }
            IqVerdict::Refuse(condition) => {
                iq.fail(&XmppFailure::new(condition, "the request is malformed"), now);
            }
            IqVerdict::Ignore => iq.done(),
        }
    }

    /// Whether the sender may see the presence of the SIP user he addresses.
    fn sees_user(&self, addresses: &Addresses, now: Moment) -> bool {
        let Some(remote) = self.known_remote(addresses.from.domain()) else { return false };
        let mut composed = String::new();
        PairKey::compose(addresses.to.bare_str(), addresses.from.bare_str(), &mut composed);
        let question = Question {
            sip_user: addresses.to.bare_str(),
            contact: addresses.from.bare_str(),
            contact_domain: addresses.from.domain(),
            direction: Direction::SipToXmpp,
            kind: Kind::Presence,
        };
        let sees = |pair: &Pair| {
            pair.from() == From::Yes
                && judge(&self.policy.load(), &question, pair.consent(), now.unix()).is_ok()
        };
        remote.pairs.look(&composed, sees).unwrap_or(false)
    }

    /// An answer to a ping of a lane proves that what was sent before it was processed.
    fn iq_answered(&self, id: &str, is_error: bool, addresses: &Addresses, now: Moment) {
        let (remote, local) = (addresses.from.as_str(), addresses.to.as_str());
        match stanza_id::verify(&self.settings.node_key, id, local, remote) {
            Ok(id) if id.kind == stanza_id::Kind::Ping => {
                // A ping of the process before this one counts nothing of ours.
                if id.sent >= Moment::wall_at(self.settings.started_ms) {
                    let lane = self.lane(addresses.to.domain(), addresses.from.domain());
                    lane.feed_if(|lane| {
                        lane.ping_answered(id.sequence);
                        // Its list was full, or the next ping is due.
                        lane.wants_write() || lane.has_outputs()
                    });
                }
            }
            Ok(id) if id.kind == stanza_id::Kind::Query => self.ping_answered(id.sequence, is_error, now),
            Ok(_) => {}
            Err(IdError::Foreign) => debug!(from = %self.shown(remote), "answer to a request we never made"),
            Err(IdError::Forged) => self.counters.forged_ids.add(1),
        }
    }
}

/// Who reports an error. The claim in it counts as far as the stream vouches for it, and without a resource: else
/// a contact could put any words before the eyes of a SIP user, whether he may write to him or not.
fn reporter(error: &StanzaError, addresses: &Addresses) -> CompactString {
    let claimed = error.by.as_deref().and_then(|by| Jid::parse(by).ok());
    let credible = claimed.filter(|by| by.domain() == addresses.from.domain());
    credible.as_ref().map_or_else(|| addresses.from.bare_str(), Jid::bare_str).into()
}

/// The types of presence (RFC 6121 §4.7.1); no type is one too.
fn is_presence_type(name: Option<&str>) -> bool {
    const TYPES: [&str; 7] =
        ["error", "probe", "subscribe", "subscribed", "unavailable", "unsubscribe", "unsubscribed"];
    name.is_none_or(|name| TYPES.contains(&name))
}

/// How long a front end took, as far as it may model a refusal.
pub(super) fn took(sent_ms: u64, now: Moment) -> Duration {
    Duration::from_millis(now.unix_ms.saturating_sub(sent_ms))
}
