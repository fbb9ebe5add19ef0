//! What goes to the front ends: released by its pair, sent by the group of next hops, settled by the answer.

use std::sync::atomic::Ordering;

use nuncio_sip::Message;
use nuncio_sip::connection;
use nuncio_sip::hop::{HopConnection, HopFailure, HopGroup, HopOutput, Outgoing};
use nuncio_translate::Moment;
use nuncio_translate::judge::{Direction, Kind, Question, judge};
use nuncio_translate::pair::{Half, PairKey};

use super::outcomes::Word;
use super::routes::Route;
use super::{ConnectionId, Gateway, Judged, ToSipEnvelope};
use crate::log_limit::{Cause, Source};

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

    /// The same for the routes to a served domain, one for each of our identities.
    pub fn serve_route_of(&self, local_domain: &str, now: Moment) {
        for route in self.routes.iter().filter(|route| route.serves(local_domain)) {
            self.serve_route(route, now);
        }
    }

    fn serve_group(&self, route: &Route, now: Moment) -> Vec<(ToSipEnvelope, Result<Message, HopFailure>)> {
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
                    HopOutput::Acknowledged { .. } => {}
                    HopOutput::Response { envelope, message } => {
                        if settled.is_empty() {
                            settled.reserve(room);
                        }
                        settled.push((envelope, Ok(message)));
                    }
                    HopOutput::Failed { envelope, why } => settled.push((envelope, Err(why))),
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
        let Some(link) = self.link(ConnectionId(batch.connection.0)) else {
            for outgoing in batch.requests.drain(..) {
                let lost = connection::Failure::ConnectionLost { written: false };
                group.failed(outgoing, lost, now.instant);
            }
            return;
        };
        let policy = self.policy.load();
        link.port.feed(|connection| {
            for outgoing in batch.requests.drain(..) {
                self.send_trusted(group, (&link, connection), outgoing, &policy, now);
            }
        });
    }

    /// A request of ours has its final answer, or never will.
    fn settle(
        &self,
        route: &Route,
        envelope: &ToSipEnvelope,
        outcome: Result<Message, HopFailure>,
        now: Moment,
    ) {
        let key = &envelope.pair;
        if self.ending.load(Ordering::Relaxed) {
            self.errands.ring();
        }
        if let Some(half) = &envelope.event {
            route.events.fetch_sub(1, Ordering::Relaxed);
            return match half {
                Half::Session(_) => self.session_settled(envelope, half, &outcome, now),
                _ => self.event_settled(key, half, envelope.serial, &outcome, now),
            };
        }
        let remote = self.remote(key.remote_domain());
        let done =
            remote.pairs.with_pair(key.as_str(), &self.settings.pair, &self.timers, now, |key, pair| {
                if let Some(item) = pair.settled(envelope.serial) {
                    self.tell_sender(key, pair, item, &Word::of(&outcome), Some(envelope.sent_ms), now);
                }
                self.run_pair(key, pair, now);
            });
        if let Err(lost) = done {
            self.pair_lost(key.as_str(), lost, now);
        }
    }

    pub(super) fn may_log(&self, cause: Cause, key: &PairKey, now: Moment) -> bool {
        self.log_budget.allows(cause, Source::Domain(key.remote_domain()), now.instant)
    }
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
