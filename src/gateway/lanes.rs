//! Lanes: where they are found, what they carry, and what becomes of what they report.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nuncio_translate::judge::Direction;
use nuncio_translate::pair::{Cause, Notice, Sent};
use nuncio_translate::{Moment, message, stanza_id};
use nuncio_xmpp::lane::{Failure, Lane, Outgoing, Output, WriteHooks};
use nuncio_xmpp::ns;
use tracing::{debug, info};

use crate::log_limit::{self, Source};

use super::from_xmpp::took;
use super::log_ids::MESSAGES;
use super::pings;
use super::port::Port;
use super::remote::Remote;
use super::{Cargo, Fate, Gateway, LaneKey, LanePort, Receipt, ToXmppEnvelope, Written};

/// A message that waited longer carries the time it was sent (XEP-0203, IM-20).
const DELAY_FROM: Duration = Duration::from_secs(2);

/// What a lane wants of the task that serves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneWants {
    pub connect: bool,
    pub abort: bool,
    /// Nothing is acknowledged: close with `connection-timeout`.
    pub give_up: bool,
    pub close: bool,
}

impl std::ops::BitOr for LaneWants {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            connect: self.connect | other.connect,
            abort: self.abort | other.abort,
            give_up: self.give_up | other.give_up,
            close: self.close | other.close,
        }
    }
}

impl std::ops::BitOrAssign for LaneWants {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// The gateway's part in a lane's writes.
pub struct LaneHooks<'a> {
    gateway: &'a Gateway,
    key: &'a LaneKey,
    now: Moment,
}

impl Gateway {
    /// The lane between two domains, made and served from now on if there was none. Only for domains of
    /// partners and our own, so that their number is bounded by the configuration.
    pub(super) fn lane(&self, local: &str, remote: &str) -> Arc<LanePort> {
        self.lane_below(&self.remote(remote), local, remote)
    }

    /// The same, for callers that have found what hangs below the remote domain.
    pub(super) fn lane_below(&self, remote: &Remote, local: &str, remote_domain: &str) -> Arc<LanePort> {
        remote.lane(local, || {
            let mut lane = Lane::new(self.settings.lane.clone());
            if self.draining.load(Ordering::SeqCst) {
                lane.drain();
            }
            let lane = Arc::new(Port::new(lane));
            let key = LaneKey { local: local.into(), remote: remote_domain.into() };
            self.environment.serve_lane(key, Arc::clone(&lane));
            lane
        })
    }

    /// The lane between two domains, if there is one.
    pub(super) fn known_lane(&self, local: &str, remote: &str) -> Option<Arc<LanePort>> {
        self.known_remote(remote)?.known_lane(local)
    }

    /// What hangs below a remote domain.
    pub(super) fn remote(&self, domain: &str) -> Arc<Remote> {
        if let Some(remote) = self.remotes.get(domain) {
            return Arc::clone(&remote);
        }
        let make = || Arc::new(Remote::new(self.remotes.hasher().clone()));
        Arc::clone(&self.remotes.entry(domain.into()).or_insert_with(make))
    }

    /// The same, if there is anything below it.
    pub(super) fn known_remote(&self, domain: &str) -> Option<Arc<Remote>> {
        self.remotes.get(domain).map(|remote| Arc::clone(&remote))
    }

    /// Every lane there is.
    pub fn lanes(&self) -> Vec<Arc<LanePort>> {
        self.remotes.iter().flat_map(|remote| remote.lanes()).collect()
    }

    /// The streams that carry lanes are given up, whoever opened them.
    pub fn abandon_lanes(&self) {
        self.lanes().iter().for_each(|lane| lane.feed(Lane::abandon));
    }

    /// The last look and the ping for a write on the lane `key`.
    pub fn lane_hooks<'a>(&'a self, key: &'a LaneKey, now: Moment) -> LaneHooks<'a> {
        LaneHooks { gateway: self, key, now }
    }

    /// Acts on everything the lane reports, and says what it wants of its driver.
    pub fn serve_lane_outputs(&self, key: &LaneKey, lane: &LanePort, now: Moment) -> LaneWants {
        // One lock for the whole batch; nothing below holds it, so pairs may be locked freely.
        self.act_on(lane.step(Lane::poll_all), key, now)
    }

    pub(super) fn act_on(
        &self,
        outputs: VecDeque<Output<ToXmppEnvelope>>,
        key: &LaneKey,
        now: Moment,
    ) -> LaneWants {
        let mut wants = LaneWants::default();
        let mut answers = self.answers();
        // Looked up once for all of them.
        let mut tally = None;
        for output in outputs {
            match output {
                Output::Connect => wants.connect = true,
                Output::Abort => wants.abort = true,
                Output::Unresponsive => wants.give_up = true,
                Output::Drained => wants.close = true,
                Output::Free => self.ring_ways_back(key),
                Output::ReplyRoom => self.remote(&key.remote).room(),
                Output::Written(envelope) => match envelope.cargo {
                    Cargo::Message(reply) => {
                        self.counters.sip_to_xmpp_delivered.add(1);
                        debug!(
                            target: MESSAGES, id = %self.id_from_sip(envelope.sequence, envelope.sent_ms),
                            "it was written to the stream, or acknowledged: answered with 200"
                        );
                        let tally = tally.get_or_insert_with(|| self.tally(&key.remote));
                        tally.delivered(Direction::SipToXmpp, took(envelope.sent_ms, now));
                        answers.accepted(reply, &key.remote, now);
                    }
                    Cargo::Presence { sent, .. } if *sent == Sent::Aside => {}
                    Cargo::Presence { .. } => self.counters.presence_to_xmpp.add(1),
                    Cargo::Failure(number) => self.sender_was_told(number, &envelope.pair, now),
                },
                Output::Expired { mut envelope, failure } => match envelope.cargo {
                    Cargo::Message(reply) => {
                        self.asks_no_more(&envelope, now);
                        // That may be why there was no stream for it; and if it is not, he may not try again.
                        let answer = match self.forbidden_since(&mut envelope, &self.policy.load(), now) {
                            Some(refusal) => self.refused_while_waiting(&envelope, refusal, now),
                            None => self.undelivered(&envelope, failure.as_ref(), false),
                        };
                        answers.refused(reply, answer, now);
                    }
                    Cargo::Presence { ref sent, .. } => self.presence_lost(&envelope.pair, sent, now),
                    Cargo::Failure(number) => self.sender_was_not_told(number, now),
                },
                Output::InFlight { envelope, failure } => match &envelope.cargo {
                    Cargo::Message(reply) => {
                        self.asks_no_more(&envelope, now);
                        let answer = self.undelivered(&envelope, failure.as_ref(), true);
                        answers.refused(*reply, answer, now);
                    }
                    Cargo::Presence { sent, .. } => self.presence_lost(&envelope.pair, sent, now),
                    Cargo::Failure(number) => self.sender_was_not_told(*number, now),
                },
                Output::Refused(envelope) => match &envelope.cargo {
                    Cargo::Message(reply) => {
                        self.asks_no_more(&envelope, now);
                        let answer = match envelope.refused {
                            Some(refusal) => self.refused_while_waiting(&envelope, refusal, now),
                            None => self.gave_up(&envelope, self.expired("it expired while it waited")),
                        };
                        answers.refused(*reply, answer, now);
                    }
                    Cargo::Presence { sent, .. } => self.presence_lost(&envelope.pair, sent, now),
                    Cargo::Failure(number) => self.sender_must_not_be_told(*number, now),
                },
                Output::TooLarge { envelope, limit } => match &envelope.cargo {
                    Cargo::Message(reply) => {
                        self.asks_no_more(&envelope, now);
                        let answer = self.gave_up(&envelope, self.too_large(&key.remote, limit));
                        answers.refused(*reply, answer, now);
                    }
                    Cargo::Presence { sent, .. } if **sent == Sent::Aside => {}
                    Cargo::Failure(number) => self.sender_cannot_be_told(*number, &envelope.pair, limit),
                    Cargo::Presence { sent, .. } => {
                        self.note_too_large(&envelope.pair, limit, now);
                        self.visit_presence(&envelope.pair, now, |pair, context| {
                            pair.too_large(sent, context)
                        });
                    }
                },
                Output::MayBeLost(receipt) => self.may_be_lost(&receipt, now),
                // Nothing speaks against delivery of a message. Presence may be said again, and must be if it was lost: the
                // stream may be dead, and what it says stays.
                Output::Unproved(receipt) => {
                    if let Written::Presence(sent) = &receipt.what {
                        self.presence_lost(&receipt.pair, sent, now);
                    }
                }
            }
        }
        wants
    }

    fn may_be_lost(&self, receipt: &Receipt, now: Moment) {
        match &receipt.what {
            Written::Message => {}
            Written::Presence(sent) => return self.presence_lost(&receipt.pair, sent, now),
            Written::Failure(number) => return self.sender_was_not_told(*number, now),
        }
        self.counters.sip_to_xmpp_may_be_lost.add(1);
        self.tally(receipt.pair.remote_domain()).came_to(Direction::SipToXmpp, Fate::MayBeLost);
        let source = Source::Domain(receipt.pair.remote_domain());
        if self.log_budget.allows(log_limit::Cause::MayBeLost, source, now.instant) {
            let (user, contact) = (self.shown(receipt.pair.sip_user()), self.shown(receipt.pair.contact()));
            let id = self.id_from_sip(receipt.sequence, receipt.sent_ms);
            info!(%id, %user, %contact, "a message may not have arrived: the stream ended before the partner confirmed it");
        }
        let notice = Notice::new(Cause::MayBeLost, Moment::wall_at(receipt.sent_ms));
        self.notify_sip_user(receipt.pair.as_str(), receipt.pair.remote_domain(), notice, now);
    }

    /// The evidence behind the failure of a lane, in one line for logs and answers.
    pub(super) fn failure_text(remote: &str, failure: Option<&Failure>) -> String {
        match failure {
            Some(failure) => format!("partner {remote}: {failure}"),
            None => format!("partner {remote}: the connection took too long"),
        }
    }
}

impl WriteHooks<ToXmppEnvelope> for LaneHooks<'_> {
    fn admit(&mut self, stanza: Outgoing<'_, ToXmppEnvelope>) -> bool {
        let policy = self.gateway.policy.load();
        if let Cargo::Presence { takes_back, .. } = stanza.envelope.cargo {
            // What waited over a change of the rules may say more than it may now: the pair says it anew. What takes something
            // back always may, but to a disabled partner nothing is sent.
            let same = stanza.envelope.generation == policy.generation();
            return same || (takes_back && policy.open_partner(&self.key.remote).is_ok());
        }
        if let Cargo::Failure(_) = stanza.envelope.cargo {
            return policy.open_partner(&self.key.remote).is_ok();
        }
        // What leaves again may have arrived already: that it did not cannot be said.
        if !stanza.again && stanza.envelope.has_expired(self.now) {
            return false;
        }
        if let Some(refusal) = self.gateway.forbidden_since(stanza.envelope, &policy, self.now) {
            let id = self.gateway.id_from_sip(stanza.envelope.sequence, stanza.envelope.sent_ms);
            debug!(target: MESSAGES, %id, rule = refusal.name(), "refused when it was about to leave");
            // Whoever answers its sender says by which rule.
            stanza.envelope.refused = Some(refusal);
            return false;
        }
        // What leaves again may say already when it was sent.
        let stamped = stanza.again && says_when(stanza.bytes);
        if !stamped && self.now.instant.saturating_duration_since(stanza.arrival) > DELAY_FROM {
            message::insert_delay(stanza.bytes, Moment::wall_at(stanza.envelope.sent_ms), &self.key.local);
        }
        true
    }

    fn make_brief(&mut self, stanza: &mut Vec<u8>) {
        message::from_sip::make_brief(stanza);
    }

    fn ping(&mut self, sequence: u64, out: &mut Vec<u8>) {
        let domains = (self.key.local.as_str(), self.key.remote.as_str());
        let kind = stanza_id::Kind::Ping;
        pings::write(&self.gateway.settings, kind, sequence, domains, self.now, out);
    }
}

/// Whether a stanza carries the time it was sent.
fn says_when(stanza: &[u8]) -> bool {
    stanza.windows(ns::DELAY.len()).any(|window| window == ns::DELAY.as_bytes())
}
