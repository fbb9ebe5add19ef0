//! What a pair's presence wants, carried out.

use std::sync::atomic::Ordering;

use nuncio_sip::event::Undelivered;
use nuncio_sip::hop::HopGroup;
use nuncio_translate::Moment;
use nuncio_translate::judge::{Consent, Snapshot};
use nuncio_translate::pair::{self, BATCH, Output, PairKey, Request, Sent, ToXmpp};
use nuncio_translate::presence::to_xmpp::Subscription;
use nuncio_xmpp::lane::{Lane, PushRefusal};

use super::reply_to;
use crate::gateway::port::Bells;
use crate::gateway::{Cargo, Gateway, Judged, Pair, ToSipEnvelope, ToXmppEnvelope};

impl Gateway {
    /// Carries out what the pair's presence wants. Called under the pair's guard; once that is released, the caller
    /// serves the route, if this says that there is a request on it.
    pub(in crate::gateway) fn run_presence(
        &self,
        pair: &mut Pair,
        context: &mut pair::Context<'_>,
        bells: &mut Bells,
    ) -> bool {
        let (key, now) = (context.key, context.now);
        let mut sends = false;
        while let Some(output) = pair.poll(context) {
            match output {
                Output::ToXmpp(item) => {
                    let sent = item.sent.clone();
                    match self.push_presence(key, item, bells, now) {
                        Ok(()) => {}
                        Err(_) if sent == Sent::Aside => {}
                        Err(PushRefusal::TooLarge(limit)) => {
                            self.note_too_large(key, limit, now);
                            pair.too_large(&sent, context);
                        }
                        Err(_) => {
                            self.counters.presence_undelivered.add(1);
                            pair.lost(&sent, context);
                        }
                    }
                }
                Output::Recall(sent) => self.recall_presence(key, &sent),
                Output::Request(request) if request.front_end.as_deref() == Some(BATCH) => {
                    sends |= self.batch_told(key, pair.consent(), &request, now);
                    pair.request_left(&request.half, request.serial, context);
                }
                Output::Request(request) => {
                    let (half, serial) = (request.half.clone(), request.serial);
                    sends = true;
                    if !self.push_event(key, (context.snapshot, pair.consent()), request, now) {
                        pair.request_failed(&half, serial, Undelivered::NotSent, context);
                    }
                }
                Output::Answer { asked, answer } => {
                    let refuses = !answer.is_success();
                    let answer = self.said(answer).of_contact(key.remote_domain());
                    if refuses {
                        self.event_refused(key, asked, &answer, now);
                    }
                    self.answers().refused(reply_to(asked), answer, now);
                }
                Output::Refuse { asked, refusal } => {
                    let answer = self.refused_by_rule(refusal, key.remote_domain());
                    self.event_refused(key, asked, &answer, now);
                    self.answers().refused(reply_to(asked), answer, now);
                }
                Output::Bound(tag) => self.dialogs.bind(&tag, key),
                Output::Released(tag) => self.dialogs.release(&tag),
                Output::Cancel { branch, fields } => {
                    sends = true;
                    self.cancel_invite(&branch, &fields, now);
                }
                Output::Repeat(asked) => self.repeat_answer(reply_to(asked), now),
                Output::Save { ticket, record } => {
                    if !self.save(key, ticket, record, now) {
                        pair.committed(ticket);
                    }
                }
                Output::Fact(fact) => self.note(key, fact, now),
            }
        }
        sends
    }

    /// Puts a stanza on the lane to the partner.
    fn push_presence(
        &self,
        key: &PairKey,
        item: ToXmpp,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), PushRefusal> {
        // No lane, and nothing in one, for a domain that is no partner any more, or not ours.
        let policy = self.policy.load();
        if policy.partner(key.remote_domain()).is_none() || !policy.serves(key.local_domain()) {
            return Ok(());
        }
        let remote = self.remote(key.remote_domain());
        let lane = self.lane_below(&remote, key.local_domain(), key.remote_domain());
        let envelope = ToXmppEnvelope {
            pair: key.clone(),
            cargo: Cargo::Presence { sent: Box::new(item.sent), takes_back: item.judged.is_none() },
            asks: None,
            expires_ms: u64::MAX,
            sent_ms: now.unix_ms,
            sequence: 0,
            generation: item.judged.map_or(0, |judged| judged.generation),
            refused: None,
        };
        let push = |lane: &mut Lane<_>| {
            let first = !lane.has_queue();
            (lane.push(item.stanza, envelope, now.instant), first)
        };
        lane.feed_later(bells, push).map_err(|refused| refused.reason)
    }

    /// Takes out of the lane to the partner what of this pair waits there.
    fn recall_presence(&self, key: &PairKey, unwanted: &Sent) {
        self.recall(key, |sent, _| sent == unwanted);
    }

    /// The same of what shows the SIP user. What takes something back stays, and so does what he asks the contact for.
    pub(in crate::gateway) fn recall_shown(&self, key: &PairKey) {
        self.recall(key, |sent, takes_back| match sent {
            Sent::Subscription(kind) => *kind == Subscription::Subscribed,
            Sent::Presence { .. } | Sent::Reply => !takes_back,
            Sent::Aside => false,
        });
    }

    fn recall(&self, key: &PairKey, unwanted: impl Fn(&Sent, bool) -> bool) {
        let lane = self.known_lane(key.local_domain(), key.remote_domain());
        let of_pair = |envelope: &ToXmppEnvelope| {
            envelope.pair == *key
                && match &envelope.cargo {
                    Cargo::Presence { sent, takes_back } => unwanted(sent, *takes_back),
                    Cargo::Message(_) | Cargo::Failure(_) => false,
                }
        };
        if let Some(lane) = lane {
            lane.feed_if(|lane| {
                // Nobody waits for word of them.
                drop(lane.recall(of_pair));
                lane.has_outputs()
            });
        }
    }

    /// Hands a request to the front ends of the SIP user's domain. `false`: it was not taken.
    pub(in crate::gateway) fn push_event(
        &self,
        key: &PairKey,
        (policy, consent): (&Snapshot, &Consent),
        request: Request,
        now: Moment,
    ) -> bool {
        let local_domain = key.local_domain();
        let now_known_as = || self.identity_of(policy, key.remote_domain());
        let identity = request.identity.unwrap_or_else(now_known_as);
        let holder = request.front_end.as_deref();
        let holder = holder.and_then(|name| self.dialog_route(identity, local_domain, name));
        let Some(route) = holder.or_else(|| self.route_of(identity, local_domain)) else { return false };
        let envelope = ToSipEnvelope {
            pair: key.clone(),
            serial: u64::from(request.serial),
            event: Some(request.half),
            sent_ms: now.unix_ms,
            judged: request.judged.map(|judged| Judged {
                generation: judged.generation,
                consent: *consent,
                kind: judged.kind,
                proved: judged.proved,
            }),
            brings: None,
        };
        // Counted before it can come back.
        route.events.fetch_add(1, Ordering::Relaxed);
        let push = |group: &mut HopGroup<_>| group.push(request.request, envelope, now.instant).is_ok();
        // The callers serve the way to the domain, and no other one.
        let taken = if holder.is_some() { route.hops.feed(push) } else { route.hops.step(push) };
        if !taken {
            route.events.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }
}
