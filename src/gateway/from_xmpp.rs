//! Stanzas of partners.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::address;
use nuncio_translate::errors::{UNIFORM_REFUSAL, XmppFailure};
use nuncio_translate::judge::judge;
use nuncio_translate::message::to_sip::{self, Languages, Reading};
use nuncio_translate::pair::{Cause, Notice, Pair, PairKey};
use nuncio_translate::stanza_id::{self, IdError};
use nuncio_xmpp::stanza::is_error;
use nuncio_xmpp::{
    Addresses, Condition, Element, ErrorType, IqVerdict, Jid, StanzaError, StanzaKind, check_iq, classify,
    write_error_reply,
};
use tokio::sync::Notify;
use tracing::{debug, info};

use super::hops::message_of;
use super::lanes::Way;
use super::pairs::Remote;
use super::timers::Due;
use super::{Gateway, LanePort};

/// How long after a message an error about it still reaches its sender.
const LATEST_ERROR: Duration = Duration::from_secs(24 * 3600);

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

    /// Reserves the place for the answer to a stanza, on the lane back to its sender's domain. Without it
    /// the stanza is not worked on: `wake` rings when there is room again, and until then the stream it
    /// came on is not read. `last` is the way the stream used last.
    pub fn reserve_answer(&self, addresses: &Addresses, last: &mut Option<Way>, wake: &Arc<Notify>) -> bool {
        let Way { remote, lane, .. } = self.way(last, addresses.to.domain(), addresses.from.domain());
        if lane.step(|lane| lane.reserve_reply()) {
            return true;
        }
        remote.wait_for_room(Arc::clone(wake));
        // It may have come free between the two steps.
        lane.step(|lane| lane.reserve_reply())
    }

    /// Works on a stanza whose addresses the stream has vouched for. If it [may be
    /// answered](Gateway::may_be_answered), a place for that is [reserved](Gateway::reserve_answer).
    ///
    /// Messages are queued only. When all that one read brought is worked on, the caller sends them
    /// ([`Gateway::serve_route_of`]).
    pub fn xmpp_stanza(&self, stanza: Element, addresses: &Addresses, last: &mut Option<Way>, now: Moment) {
        let Way { remote, lane, .. } = self.way(last, addresses.to.domain(), addresses.from.domain());
        match classify(&stanza) {
            Some(StanzaKind::Message) if is_error(&stanza) => self.late_error(&stanza, addresses, now),
            Some(StanzaKind::Message) => self.xmpp_message(stanza, addresses, remote, lane, now),
            Some(StanzaKind::Iq) => self.xmpp_iq(&stanza, addresses, lane, now),
            Some(StanzaKind::Presence) if !is_presence_type(stanza.attr("type")) => {
                let failure = XmppFailure::new(Condition::BadRequest, "the type of presence is unknown");
                reply_error(lane, &stanza, &failure, now);
            }
            // Presence says nothing to anybody yet: silence is the uniform answer (mission, rule 3).
            Some(StanzaKind::Presence) | None => {}
        }
    }

    /// Answers a stanza with a bad local part or resource, which costs that stanza only.
    pub fn xmpp_bad_address(&self, stanza: &Element, local: &str, remote: &str, now: Moment) {
        let lane = self.lane(local, remote);
        if !lane.step(|lane| lane.reserve_reply()) {
            return;
        }
        let failure = XmppFailure::new(Condition::JidMalformed, "the address is malformed");
        reply_error(&lane, stanza, &failure, now);
    }

    /// Acts on everything that is due, and says when it is to be called again.
    pub fn handle_timeout(&self, now: Moment) {
        for due in self.timers.take(now.instant) {
            match due {
                Due::Pair(key) => self.visit_pair(&key, now),
                Due::Reply(key, bytes) => {
                    let lane = self.lane(key.local_domain(), key.remote_domain());
                    lane.feed(|lane| lane.push_reply(bytes, now.instant));
                }
            }
        }
    }

    /// When [`Gateway::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<std::time::Instant> {
        self.timers.deadline()
    }

    /// Rings when [`Gateway::deadline`] came closer.
    pub fn timer_wake(&self) -> Arc<Notify> {
        self.timers.wake()
    }

    fn xmpp_message(
        &self,
        stanza: Element,
        addresses: &Addresses,
        remote: &Remote,
        lane: &LanePort,
        now: Moment,
    ) {
        // Which messages are for SIP at all (IM-12, IM-13) is decided before any rule: an empty one gets the
        // same silence from everybody.
        match to_sip::read(&stanza, Languages::default()) {
            Reading::Instant(_) => {}
            Reading::Nothing | Reading::Error(_) => return Self::release_reply(lane),
            Reading::Refuse(failure) if failure == UNIFORM_REFUSAL => {
                return self.reply_uniform(lane, &stanza, addresses, now);
            }
            Reading::Refuse(failure) => return reply_error(lane, &stanza, &failure, now),
        }
        if !address::has_uri(&addresses.to) || !address::has_uri(&addresses.from) {
            let failure = XmppFailure::new(Condition::JidMalformed, "the address has no SIP counterpart");
            return reply_error(lane, &stanza, &failure, now);
        }
        let policy = self.policy.load();
        let mut composed = String::new();
        PairKey::compose(addresses.to.bare_str(), addresses.from.bare_str(), &mut composed);
        let done = remote.with_pair(&composed, &self.settings.pair, &self.timers, now, |key, pair| {
            match judge(&policy, &message_of(key), pair.consent(), now.unix()) {
                Err(refusal) => {
                    self.counters.xmpp_to_sip_refused.add(1);
                    info!(rule = refusal.name(), contact = %self.shown(key.contact()), "message of a contact refused");
                    self.reply_uniform(lane, &stanza, addresses, now);
                }
                Ok(permit) => match pair.contact_writes(permit, stanza, &self.settings.pair, now) {
                    Ok(()) => self.run_pair(key, pair, lane, now),
                    Err(stanza) => {
                        self.counters.xmpp_to_sip_failed.add(1);
                        let failure = XmppFailure {
                            kind: ErrorType::Wait,
                            ..XmppFailure::new(Condition::ResourceConstraint, "too many messages are waiting")
                        };
                        reply_error(lane, &stanza, &failure, now);
                    }
                },
            }
        });
        if let Err(lost) = done {
            self.pair_lost(&composed, lost, Some(lane));
        }
    }

    /// The one answer for every refusal, sent after the time a front end takes to refuse.
    pub(super) fn reply_uniform(
        &self,
        lane: &LanePort,
        stanza: &Element,
        addresses: &Addresses,
        now: Moment,
    ) {
        let mut bytes = Vec::new();
        if !write_failure(&mut bytes, stanza, &UNIFORM_REFUSAL) {
            return Self::release_reply(lane);
        }
        let delay = self.pace.lock().draw(self.environment.random());
        let key = PairKey::new(addresses.to.bare_str(), addresses.from.bare_str());
        self.timers.schedule(now.instant + delay, Due::Reply(key, bytes));
    }

    fn visit_pair(&self, key: &PairKey, now: Moment) {
        let remote = self.remote(key.remote_domain());
        let lane = self.lane_below(&remote, key.local_domain(), key.remote_domain());
        let done = remote.visit(key, &self.settings.pair, &self.timers, now, |key, pair| {
            for stanza in pair.expired(&self.settings.pair, now) {
                self.counters.xmpp_to_sip_failed.add(1);
                let failure = XmppFailure {
                    kind: ErrorType::Wait,
                    ..XmppFailure::new(Condition::RemoteServerTimeout, "the message waited too long")
                };
                reply_error(&lane, &stanza, &failure, now);
            }
            self.run_pair(key, pair, &lane, now);
        });
        if let Err(lost) = done {
            self.pair_lost(key.as_str(), lost, Some(&lane));
        }
        self.serve_route_of(key.local_domain(), now);
    }

    /// The messages of a pair that still wait go back to their sender.
    pub(super) fn give_up_pair(&self, key: &PairKey, now: Moment) {
        let remote = self.remote(key.remote_domain());
        let lane = self.lane_below(&remote, key.local_domain(), key.remote_domain());
        let done = remote.visit(key, &self.settings.pair, &self.timers, now, |_, pair| {
            for stanza in pair.give_up() {
                self.counters.xmpp_to_sip_failed.add(1);
                let failure = XmppFailure {
                    kind: ErrorType::Wait,
                    ..XmppFailure::new(Condition::RemoteServerTimeout, "the gateway is being shut down")
                };
                reply_error(&lane, &stanza, &failure, now);
            }
        });
        if let Err(lost) = done {
            self.pair_lost(key.as_str(), lost, Some(&lane));
        }
    }

    /// An error in answer to something we sent: the SIP user is told, if the id proves that it was ours.
    fn late_error(&self, stanza: &Element, addresses: &Addresses, now: Moment) {
        let Some(error) = StanzaError::from_element(stanza) else { return };
        let (contact, user) = (addresses.from.bare_str(), addresses.to.bare_str());
        let id = stanza.attr("id").unwrap_or_default();
        match stanza_id::verify(&self.settings.node_key, id, user, contact) {
            // Nothing is remembered per message, so an old id must not be good for ever.
            Ok(id) if now.wall().duration_since(id.sent).is_ok_and(|age| age > LATEST_ERROR) => {
                self.counters.foreign_errors.add(1);
            }
            Ok(id) if id.kind == stanza_id::Kind::Message => {
                self.counters.late_errors.add(1);
                let cause = Cause::Error { condition: error.condition, by: reporter(&error, addresses) };
                let mut composed = String::new();
                PairKey::compose(user, contact, &mut composed);
                self.notify_sip_user(&composed, addresses.from.domain(), Notice::new(cause, id.sent), now);
            }
            Ok(_) => {}
            Err(IdError::Foreign) => self.counters.foreign_errors.add(1),
            Err(IdError::Forged) => {
                self.counters.forged_ids.add(1);
                info!(from = %self.shown(contact), "stanza error dropped: its id fails the check for these addresses");
            }
        }
    }

    /// Tells a SIP user about messages he sent.
    pub(super) fn notify_sip_user(&self, composed: &str, remote_domain: &str, notice: Notice, now: Moment) {
        let remote = self.remote(remote_domain);
        let done =
            remote.with_pair(composed, &self.settings.pair, &self.timers, now, |key, pair: &mut Pair| {
                let lane = self.lane_below(&remote, key.local_domain(), remote_domain);
                pair.notify(notice);
                self.run_pair(key, pair, &lane, now);
            });
        if let Err(lost) = done {
            let local = composed.split_once('\0').and_then(|(user, _)| user.rsplit_once('@'));
            let lane = local.map(|(_, local)| self.lane_below(&remote, local, remote_domain));
            self.pair_lost(composed, lost, lane.as_deref());
        }
        let local_domain = composed.split_once('\0').and_then(|(user, _)| user.rsplit_once('@'));
        if let Some((_, local_domain)) = local_domain {
            self.serve_route_of(local_domain, now);
        }
    }

    fn xmpp_iq(&self, stanza: &Element, addresses: &Addresses, lane: &LanePort, now: Moment) {
        match check_iq(stanza) {
            IqVerdict::Result { id, .. } | IqVerdict::Error { id } => self.iq_answered(id, addresses, lane),
            IqVerdict::Request { kind, id, payload } => {
                let mut bytes = Vec::new();
                let answered = super::iq::answer(&mut bytes, kind, id, payload, addresses);
                if answered {
                    lane.feed(|lane| lane.push_reply(bytes, now.instant));
                } else {
                    self.reply_uniform(lane, stanza, addresses, now);
                }
            }
            IqVerdict::Refuse(condition) => {
                let failure = XmppFailure::new(condition, "the request is malformed");
                reply_error(lane, stanza, &failure, now);
            }
            IqVerdict::Ignore if Self::may_be_answered(stanza) => Self::release_reply(lane),
            IqVerdict::Ignore => {}
        }
    }

    /// An answer to one of our pings proves that what was sent before it was processed.
    fn iq_answered(&self, id: &str, addresses: &Addresses, lane: &LanePort) {
        let (remote, local) = (addresses.from.as_str(), addresses.to.as_str());
        match stanza_id::verify(&self.settings.node_key, id, local, remote) {
            Ok(id) if id.kind == stanza_id::Kind::Ping => {
                // A ping of the process before this one counts nothing of ours.
                if id.sent >= Moment::wall_at(self.settings.started_ms) {
                    lane.feed_if(|lane| {
                        lane.ping_answered(id.sequence);
                        // Its list was full, or the next ping is due.
                        lane.wants_write() || lane.has_outputs()
                    });
                }
            }
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

/// Queues an error in answer to `stanza`, using up its reservation.
pub(super) fn reply_error(lane: &LanePort, stanza: &Element, failure: &XmppFailure, now: Moment) {
    let mut bytes = Vec::new();
    if write_failure(&mut bytes, stanza, failure) {
        lane.feed(|lane| lane.push_reply(bytes, now.instant));
    } else {
        Gateway::release_reply(lane);
    }
}

fn write_failure(out: &mut Vec<u8>, stanza: &Element, failure: &XmppFailure) -> bool {
    write_error_reply(out, stanza, failure.kind, failure.condition, failure.text.as_deref(), None)
}
