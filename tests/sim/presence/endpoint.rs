//! The SIP user's endpoints: they subscribe to contacts.

use nuncio_sip::Message;

use super::{Act, Question};
use crate::net::{MILLI, Micros, SECOND};
use crate::observer::address;
use crate::world::{Event, World};

/// One endpoint of a user, for one contact.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) subscription: Option<Subscription>,
    /// Those that ended a moment ago, and single questions: their last NOTIFYs are welcome.
    before: Vec<String>,
}

/// Its subscription to the contact.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) call_id: String,
    gateway_tag: Option<String>,
    cseq: u32,
    /// Of the last NOTIFY.
    notified: u32,
    pub(super) state: String,
    pub(super) document: String,
    pub(super) expires_at: Option<Micros>,
    pending: Option<usize>,
    /// The Expires of what it wants to send next.
    wish: Option<u32>,
    pub(super) leaving: bool,
}

impl World {
    /// The endpoint adds the contact, anew if it had; with 0 it wants to know once.
    pub(super) fn endpoint_adds(&mut self, pair: usize, endpoint: usize, seconds: u32) {
        let call_id = format!("e{:x}", self.rng.next());
        let place = &mut self.presence.pairs[pair].endpoints[endpoint];
        let subscription = Subscription {
            call_id,
            gateway_tag: None,
            cseq: 0,
            notified: 0,
            state: String::new(),
            document: String::new(),
            expires_at: None,
            pending: None,
            wish: Some(seconds),
            leaving: seconds == 0,
        };
        place.before.extend(place.subscription.replace(subscription).map(|old| old.call_id));
        self.endpoint_asks(pair, endpoint);
    }

    /// It refreshes, or ends its subscription.
    pub(super) fn endpoint_refreshes(&mut self, pair: usize, endpoint: usize, seconds: u32) {
        let now = self.now;
        let place = &mut self.presence.pairs[pair].endpoints[endpoint];
        place.subscription.take_if(|subscription| subscription.expires_at.is_some_and(|at| at <= now));
        if let Some(subscription) = &mut place.subscription {
            subscription.wish = Some(seconds);
            subscription.leaving = seconds == 0;
            self.endpoint_asks(pair, endpoint);
        }
    }

    /// It crashed, say: what it is told of its subscription finds nobody.
    pub(super) fn endpoint_forgets(&mut self, pair: usize, endpoint: usize) {
        let forgotten = self.presence.pairs[pair].endpoints[endpoint].subscription.take();
        self.presence.counts.forgotten += u64::from(forgotten.is_some());
    }

    pub(super) fn endpoint_asks(&mut self, pair: usize, endpoint: usize) {
        let place = &mut self.presence.pairs[pair].endpoints[endpoint];
        let Some(subscription) = place.subscription.as_mut() else { return };
        let Some(seconds) = subscription.wish.filter(|_| subscription.pending.is_none()) else { return };
        subscription.cseq += 1;
        let (call_id, cseq) = (subscription.call_id.clone(), subscription.cseq);
        let gateway_tag = subscription.gateway_tag.clone();
        let headers = format!(
            "Contact: <sip:e{endpoint}.contoso.example;transport=tls>\r\nEvent: presence\r\nExpires: {seconds}\r\n\
             Accept: application/pidf+xml\r\n"
        );
        let question = Question::Subscribe { pair, endpoint, call_id: call_id.clone(), seconds };
        let tag = format!("t{endpoint};epid=e{endpoint}");
        let tags = (tag.as_str(), gateway_tag.as_deref());
        let sent = self.front_end_sends(question, "SUBSCRIBE", (&call_id, cseq), tags, (&headers, ""));
        if let Some(subscription) = &mut self.presence.pairs[pair].endpoints[endpoint].subscription {
            subscription.pending = sent;
            if sent.is_some() {
                subscription.wish = None;
            }
        }
        if sent.is_none() {
            self.after(SECOND / 2, Event::Presence(Act::Ask { pair, endpoint }));
        }
    }

    /// The gateway answered a SUBSCRIBE, or did not.
    pub(super) fn endpoint_answered(
        &mut self,
        pair: usize,
        endpoint: usize,
        call_id: &str,
        number: usize,
        answer: Option<&Message>,
    ) {
        let now = self.now;
        let place = &mut self.presence.pairs[pair].endpoints[endpoint];
        let Some(subscription) = place.subscription.as_mut().filter(|known| known.call_id == call_id) else {
            return;
        };
        if subscription.pending != Some(number) {
            return;
        }
        subscription.pending = None;
        let status = answer.and_then(Message::status).map_or(408, |status| status.0);
        let stays = match (status, answer) {
            (200..300, Some(answer)) => {
                subscription.gateway_tag = answer.to_tag().map(str::to_owned);
                let granted = answer.expires().ok().flatten().unwrap_or_default();
                subscription.expires_at = Some(now + Micros::from(granted) * SECOND);
                true
            }
            (403, _) => {
                self.presence.counts.refused_to_endpoints += 1;
                false
            }
            // A refresh that went wrong may be tried again; what never was a subscription is forgotten.
            (408 | 500..600, _) => subscription.gateway_tag.is_some(),
            _ => false,
        };
        let (leaving, more) = (subscription.leaving, subscription.wish.is_some());
        let place = &mut self.presence.pairs[pair].endpoints[endpoint];
        if !stays || (leaving && !more) {
            place.before.extend(place.subscription.take().map(|old| old.call_id));
        }
        if status == 481 && !leaving {
            // It subscribes anew (EV-11).
            return self.endpoint_adds(pair, endpoint, 3600);
        }
        if more {
            let delay = self.rng.range(0, 100 * MILLI);
            self.after(delay, Event::Presence(Act::Ask { pair, endpoint }));
        }
    }

    /// A NOTIFY of the gateway. Says the status of the answer.
    pub(super) fn endpoint_is_told(&mut self, request: &Message) -> u16 {
        let (from, to) = (address(request.from_header()), address(request.to_header()));
        let Some(pair) = self.presence.pair_of(&to, &from) else {
            self.ledger.violation(format!("a NOTIFY to {to} about {from}, who never met"));
            return 481;
        };
        let call_id = request.call_id().unwrap_or_default();
        let state = request.subscription_state().ok().flatten();
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        for place in &mut self.presence.pairs[pair].endpoints {
            if place.before.iter().any(|known| known == call_id) {
                return if state.is_some_and(|state| state.is("terminated")) { 200 } else { 481 };
            }
            let Some(subscription) = place.subscription.as_mut().filter(|known| known.call_id == call_id)
            else {
                continue;
            };
            if cseq < subscription.notified {
                return 500;
            }
            subscription.notified = cseq;
            // It may come before the answer that makes the dialog (RFC 6665 §4.4.1).
            let tag = request.from_tag().map(str::to_owned);
            subscription.gateway_tag = subscription.gateway_tag.take().or(tag);
            if let Some(state) = &state {
                subscription.state = state.state.to_owned();
            }
            let body = request.body();
            subscription.document = String::from_utf8_lossy(&body).into_owned();
            if state.is_some_and(|state| state.is("terminated")) {
                place.before.extend(place.subscription.take().map(|old| old.call_id));
            }
            return 200;
        }
        481
    }
}
