//! What goes to the front ends: released by its pair, sent by the group of next hops, settled by the answer.

use std::sync::atomic::Ordering;

use nuncio_sip::Message;
use nuncio_sip::connection;
use nuncio_sip::hop::{HopConnection, HopFailure, HopGroup, HopOutput, Outgoing};
use nuncio_translate::Moment;
use nuncio_translate::judge::{Direction, Kind, Question, judge};
use nuncio_translate::pair::{Half, PairKey};

use super::from_xmpp::took;
use super::outcomes::Word;
use super::routes::{ConnectOrder, Route};
use super::{ConnectionId, Gateway, Judged, ToSipEnvelope};
use crate::log_limit::{Cause, Source};

/// What became of a request.
enum Outcome {
    /// By the front end of this number, if any was asked.
    Settled(Result<Message, HopFailure>, Option<usize>),
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

    /// The same for the routes to a served domain, one for each of our identities.
    pub fn serve_route_of(&self, local_domain: &str, now: Moment) {
        for route in self.routes.iter().filter(|route| route.serves(local_domain)) {
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
                    HopOutput::Connect { target, within } => {
                        *route.connect.lock() = Some(ConnectOrder { target, within });
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
                        self.release_connection(ConnectionId(connection.0));
                    }
                    HopOutput::Cancel { connection, branch, fields } => {
                        self.send(group, &mut batch, now);
                        if let Some(port) = self.connection(ConnectionId(connection.0)) {
                            port.feed(|connection| connection.cancel(&branch, fields, now.instant));
                        }
                    }
                    HopOutput::Acknowledged { envelope } => settled.push((envelope, Outcome::Left)),
                    HopOutput::Response { envelope, message, target } => {
                        if settled.is_empty() {
                            settled.reserve(room);
                        }
                        let by = target.and_then(|target| route.front_end_of(target));
                        settled.push((envelope, Outcome::Settled(Ok(message), by)));
                    }
                    HopOutput::Failed { envelope, why, target } => {
                        let by = target.and_then(|target| route.front_end_of(target));
                        settled.push((envelope, Outcome::Settled(Err(why), by)));
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
    pub(super) fn may_still_leave(&self, envelope: &ToSipEnvelope, now: Moment) -> bool {
        let Some(Judged { generation, consent, kind, .. }) = envelope.judged else { return true };
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
                let what = "refused when it was about to leave";
                match envelope.brings {
                    Some(number) => {
                        let id = self.id_from_xmpp(number);
                        self.log_contact_refused(&id, &envelope.pair, refusal, what, now);
                    }
                    None => {
                        let id = self.id_of_pair(&envelope.pair);
                        self.log_contact_refused(&id, &envelope.pair, refusal, what, now);
                    }
                }
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
    fn settle(&self, route: &Route, envelope: &ToSipEnvelope, outcome: Outcome, now: Moment) {
        if !self.settle_with_pair(route, envelope, outcome, now) {
            return;
        }
        // Whoever settles serves his own route until nothing is to be settled any more. What follows from it may go another
        // way: that of a dialog's front end is not that of its domain, and each of our identities has its own.
        let domain = envelope.pair.local_domain();
        let others = self.routes.iter().filter(|other| !std::ptr::eq(*other, route) && other.serves(domain));
        others.for_each(|other| other.hops.notify());
    }

    /// Whether something new is on a route to the user.
    fn settle_with_pair(
        &self,
        route: &Route,
        envelope: &ToSipEnvelope,
        outcome: Outcome,
        now: Moment,
    ) -> bool {
        let key = &envelope.pair;
        if let Outcome::Settled(outcome, by) = &outcome {
            self.count_answer(by.or_else(|| route.only_front_end()), envelope, outcome, now);
        }
        if self.ending.load(Ordering::Relaxed) {
            self.errands.ring();
        }
        if let Some(half) = &envelope.event {
            route.events.fetch_sub(1, Ordering::Relaxed);
            return match (outcome, half) {
                // An ACK.
                (Outcome::Left, Half::Session(_)) => false,
                (Outcome::Left, _) => self.event_left(key, half, envelope.serial, now),
                (Outcome::Settled(outcome, by), Half::Session(_)) => {
                    self.session_settled(envelope, half, (&outcome, by), now)
                }
                (Outcome::Settled(outcome, _), _) => {
                    self.event_settled(key, half, envelope.serial, &outcome, now)
                }
            };
        }
        // A MESSAGE is always answered.
        let Outcome::Settled(outcome, _) = outcome else { return false };
        let remote = self.remote(key.remote_domain());
        let done =
            remote.pairs.with_pair(key.as_str(), &self.settings.pair, &self.timers, now, |key, pair| {
                if let Some(item) = pair.settled(envelope.serial) {
                    self.tell_sender(key, pair, item, &Word::of(&outcome), Some(envelope.sent_ms), now);
                }
                self.run_pair_alone(key, pair, now)
            });
        done.unwrap_or_else(|lost| {
            self.pair_lost(key.as_str(), lost, now);
            true
        })
    }

    /// Counts what the front end of this number said.
    fn count_answer(
        &self,
        front_end: Option<usize>,
        envelope: &ToSipEnvelope,
        outcome: &Result<Message, HopFailure>,
        now: Moment,
    ) {
        let status = match outcome {
            Ok(response) => Some(response.status().map_or(500, |status| status.0)),
            Err(
                HopFailure::Timeout
                | HopFailure::Lost
                | HopFailure::Congested
                | HopFailure::Unreachable { .. },
            ) => None,
            // Nobody was asked, and that is nobody's fault but ours.
            Err(_) => return,
        };
        let tally = front_end.and_then(|front_end| self.front_end_tallies.get(front_end));
        if let Some(tally) = tally {
            tally.answered(status, took(envelope.sent_ms, now));
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
        contact: pair.contact(),
        contact_domain: pair.remote_domain(),
        direction: Direction::XmppToSip,
        kind: Kind::Message,
    }
}
