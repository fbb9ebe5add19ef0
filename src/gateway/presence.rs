//! Presence: what comes in for a pair.

mod outputs;

use std::sync::atomic::Ordering;

use compact_str::CompactString;
use nuncio_sip::event::{self, Undelivered, check_notify, check_subscribe};
use nuncio_sip::hop::HopFailure;
use nuncio_sip::{Message, Method, Uri};
use nuncio_translate::Moment;
use nuncio_translate::judge::{Consent, Direction, Kind, Question, Refusal, Snapshot, judge};
use nuncio_translate::pair::{self, Arrived, Asked, Attempt, Fact, Half, PairKey, Sent, Subscribing};
use nuncio_translate::presence::from_xmpp::{self, Reading};
use nuncio_xmpp::{Addresses, BareJid};
use tracing::info;

use crate::log_limit::{Cause, Source};

use super::answers::SipAnswer;
use super::batches::is_batch;
use super::incoming::Incoming;
use super::port::Bells;
use super::refusals::Refused;
use super::{ConnectionId, Gateway, Pair, ReplyTo};

impl Gateway {
    /// A SUBSCRIBE or NOTIFY of a front end.
    pub(super) fn sip_event(
        &self,
        front_end: usize,
        reply: ReplyTo,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        match request.to_tag() {
            // It shares its dialog with an INVITE, which answers for it (EV-12).
            Some(tag) if request.method() == Method::Subscribe && self.is_session(tag) => {
                self.sip_in_session(front_end, reply, tag, request, bells, now)
            }
            Some(tag) => self.sip_in_dialog(front_end, reply, tag, request, bells, now),
            // A NOTIFY outside of any dialog belongs to no subscription of ours (EV-05).
            None if matches!(request.method(), Method::Notify | Method::Benotify) => {
                Err(self.said(check_notify(request, &self.settings.events)))
            }
            None if self.ending.load(Ordering::SeqCst) => Err(self.shutting_down()),
            None if is_batch(request) => self.sip_batch(front_end, reply, request, now),
            None => self.sip_subscribe(front_end, reply, request, bells, now),
        }
    }

    fn sip_subscribe(
        &self,
        front_end: usize,
        reply: ReplyTo,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let routable = |uri: &Uri<'_>| self.leads_inside(front_end, reply.connection, uri);
        let wanted =
            check_subscribe(request, &self.settings.events, routable).map_err(|answer| self.said(answer))?;
        let ends = self.ends(front_end, request)?;
        let (user, contact) = (ends.sender.jid().as_str(), ends.contact.jid().as_str());
        let remote_domain = ends.contact.domain();
        // Refused here, it makes no pair, and the reason reaches the SIP user.
        let question = Question {
            sip_user: user,
            contact,
            contact_domain: remote_domain,
            direction: Direction::SipToXmpp,
            kind: Kind::Subscribe,
        };
        let judged = judge(&self.policy.load(), &question, &Consent::default(), now.unix());
        // The pair asks for its own permit.
        judged.map(drop).map_err(|refusal| {
            self.audit_refusal(
                &Refused {
                    sip_user: user,
                    contact,
                    partner: remote_domain,
                    direction: Direction::SipToXmpp,
                    what: "subscription of a SIP user refused",
                    refusal,
                },
                now,
            );
            self.refused_by_rule(refusal, remote_domain)
        })?;
        let endpoint = endpoint(request);
        let name = self.front_ends.get(front_end).map_or("", |front_end| &front_end.name);
        // The connection has chosen the tag of its answers: it becomes ours in the dialog.
        let port = self.connection(reply.connection);
        let tag = port.and_then(|port| {
            port.step(|connection| connection.to_tag(reply.transaction).map(CompactString::from))
        });
        let Some(tag) = tag else { return Ok(()) };
        let subscribing =
            Subscribing { request, wanted: &wanted, tag: &tag, endpoint: &endpoint, front_end: name };
        let mut composed = String::new();
        PairKey::compose(user, contact, &mut composed);
        let done = self.with_presence(&composed, remote_domain, bells, now, |pair, context| {
            pair.sip_subscribes(asked(reply, request), subscribing, context);
        });
        self.after_request(done, ends.sender.domain(), now)
    }

    /// A request inside a dialog is found by our tag, whoever its From says it is from.
    fn sip_in_dialog(
        &self,
        front_end: usize,
        reply: ReplyTo,
        tag: &str,
        request: &Message,
        bells: &mut Bells,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        if let Some(done) = self.sip_in_batch(front_end, reply, tag, request, now) {
            return done;
        }
        let routable = |uri: &Uri<'_>| self.leads_inside(front_end, reply.connection, uri);
        let found = self.dialogs.pair_of(tag);
        // The tag alone is not proof: the peer has to speak for the user's domain.
        let found = found.filter(|key| self.speaks_for(front_end, key.local_domain()));
        let Some(key) = found else {
            let judged = match request.method() {
                Method::Notify | Method::Benotify => check_notify(request, &self.settings.events),
                _ => event::unknown_subscription(),
            };
            return Err(self.said(judged));
        };
        // Of the endpoints' dialogs it is kept in any case.
        let front_end = match request.method() {
            Method::Subscribe => self.front_ends.get(front_end).map_or("", |front_end| &front_end.name),
            _ => self.holder(front_end),
        };
        let done = self.with_presence(key.as_str(), key.remote_domain(), bells, now, |pair, context| {
            pair.in_dialog(asked(reply, request), tag, request, front_end, &routable, context);
        });
        self.after_request(done, key.local_domain(), now)
    }

    fn after_request(
        &self,
        done: Option<((), bool)>,
        local_domain: &str,
        now: Moment,
    ) -> Result<(), SipAnswer> {
        let ((), sends) = done.ok_or_else(|| self.internal_error())?;
        if sends {
            self.serve_route_of(local_domain, now);
        }
        Ok(())
    }

    /// Whether a Contact leads to users or front ends of ours, and not to somebody else (PS-06).
    pub(super) fn leads_inside(&self, front_end: usize, connection: ConnectionId, uri: &Uri<'_>) -> bool {
        let host = uri.host().to_string();
        let host = host.trim_matches(['[', ']']);
        let below = |domain: &str| {
            host.len() >= domain.len()
                && host.get(host.len() - domain.len()..).is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
                && host
                    .get(..host.len() - domain.len())
                    .is_some_and(|head| head.is_empty() || head.ends_with('.'))
        };
        let known = self.front_ends.get(front_end);
        known.is_some_and(|known| {
            known.domains.iter().any(|domain| below(domain)) || known.hosts.iter().any(|host| below(host))
        }) || self.routes.iter().any(|route| route.has_host(front_end, below))
            || self
                .connection(connection)
                .is_some_and(|port| port.step(|connection| connection.config().peer.ip().to_string() == host))
    }

    /// A presence stanza of a contact. Requests that follow from it are queued only: see [`Gateway::xmpp_stanza`].
    pub(super) fn xmpp_presence(&self, stanza: Incoming, addresses: &Addresses, now: Moment) {
        let context = from_xmpp::Context {
            idle: self.settings.presence.idle,
            now_ms: now.unix_ms,
            ..from_xmpp::Context::default()
        };
        let reading = match from_xmpp::read(stanza.stanza(), addresses.from.resource(), context) {
            Reading::Refuse(failure) => return stanza.fail(&failure, now),
            Reading::Nothing => return stanza.done(),
            reading => reading,
        };
        let (user, contact) = (addresses.to.bare(), addresses.from.bare());
        let mut composed = String::new();
        PairKey::compose(user.as_str(), contact.as_str(), &mut composed);
        // Only who asks for something is worth a pair of his own; everything else is about one that is there.
        let asks = matches!(reading, Reading::Subscribe | Reading::Probe);
        let arrived = Arrived {
            from: addresses.from.resource(),
            to: addresses.to.resource(),
            id: stanza.stanza().attr("id"),
            reading,
        };
        let mut bells = Bells::default();
        if asks && is_usable(&user, &contact) && self.is_worth_a_pair(&composed, &arrived, now) {
            self.with_presence(&composed, contact.domain(), &mut bells, now, |pair, context| {
                pair.contact_presence(arrived, context);
            });
        } else {
            // Nothing happens if it is not there.
            self.with_known_presence(&composed, contact.domain(), &mut bells, now, |pair, context| {
                pair.contact_presence(arrived, context);
            });
        }
        stanza.done();
    }

    /// Whether a request of a contact may make a pair: what the rules refuse leaves nothing behind, but for a request
    /// that is kept until the SIP user adds the contact, if there is room for one more.
    fn is_worth_a_pair(&self, composed: &str, arrived: &Arrived<'_>, now: Moment) -> bool {
        let key = PairKey::from_composed(composed);
        let question = Question {
            sip_user: key.sip_user(),
            contact: key.contact(),
            contact_domain: key.remote_domain(),
            direction: Direction::XmppToSip,
            kind: Kind::Subscribe,
        };
        match judge(&self.policy.load(), &question, &Consent::default(), now.unix()).map(drop) {
            Ok(()) => true,
            Err(Refusal::SipUserFirst) if matches!(arrived.reading, Reading::Subscribe) => {
                let keeps = self.places.keeps_more(key.remote_domain());
                if !keeps && !self.knows_pair(composed, key.remote_domain()) {
                    self.note(&key, Fact::NotKept, now);
                }
                keeps
            }
            Err(refusal) => {
                // A pair that is there says it itself.
                if !self.knows_pair(composed, key.remote_domain()) {
                    let subscribes = matches!(arrived.reading, Reading::Subscribe);
                    let what = if subscribes { Attempt::ContactSubscribes } else { Attempt::ContactProbes };
                    self.note(&key, Fact::Refused { what, refusal }, now);
                }
                false
            }
        }
    }

    fn knows_pair(&self, composed: &str, remote_domain: &str) -> bool {
        self.known_remote(remote_domain).is_some_and(|remote| remote.pairs.look(composed, |_| ()).is_some())
    }

    /// A stanza of presence surely or possibly did not arrive.
    pub(super) fn presence_lost(&self, key: &PairKey, sent: &Sent, now: Moment) {
        if *sent == Sent::Aside {
            return;
        }
        self.counters.presence_undelivered.add(1);
        self.visit_presence(key, now, |pair, context| pair.lost(sent, context));
    }

    /// A stanza of presence was not sent, because the partner takes none as large as that.
    pub(super) fn note_too_large(&self, key: &PairKey, limit: usize, now: Moment) {
        self.counters.presence_too_large.add(1);
        let source = Source::Domain(key.remote_domain());
        if self.log_budget.allows(Cause::PresenceTooLarge, source, now.instant) {
            let (user, contact) = (self.shown(key.sip_user()), self.shown(key.contact()));
            let id = self.id_of_pair(key);
            info!(
                %id, %user, %contact, limit,
                "a stanza of presence is larger than the partner takes: it goes without texts, or, if it is a request, not at all"
            );
        }
    }

    /// A SUBSCRIBE or NOTIFY of ours has its final answer, or never will. Called under no lock. Whether something new is on a route
    /// to the user.
    pub(super) fn event_settled(
        &self,
        key: &PairKey,
        half: &Half,
        serial: u64,
        outcome: &Result<Message, HopFailure>,
        now: Moment,
    ) -> bool {
        match outcome {
            Ok(_) => self.counters.events_to_sip.add(1),
            Err(_) => self.counters.events_undelivered.add(1),
        }
        let serial = u32::try_from(serial).unwrap_or_default();
        if self.batch_settled(half, serial, Some(outcome), now) {
            return false;
        }
        let mut bells = Bells::default();
        let (composed, remote_domain) = (key.as_str(), key.remote_domain());
        self.with_known_presence(composed, remote_domain, &mut bells, now, |pair, context| match outcome {
            Ok(response) => pair.response(half, serial, response, context),
            Err(why) => pair.request_failed(half, serial, Undelivered::from(why), context),
        })
    }

    /// A BENOTIFY of ours has left. Called under no lock. Says the same.
    pub(super) fn event_left(&self, key: &PairKey, half: &Half, serial: u64, now: Moment) -> bool {
        self.counters.events_to_sip.add(1);
        let serial = u32::try_from(serial).unwrap_or_default();
        if self.batch_settled(half, serial, None, now) {
            return false;
        }
        let mut bells = Bells::default();
        self.with_known_presence(key.as_str(), key.remote_domain(), &mut bells, now, |pair, context| {
            pair.request_left(half, serial, context);
        })
    }

    /// Runs a step on the presence of a pair, made if need be, and carries out what it wants; also says whether the route
    /// has to be served, because there is a request on it. `None`: it panicked.
    pub(super) fn with_presence<R>(
        &self,
        composed: &str,
        remote_domain: &str,
        bells: &mut Bells,
        now: Moment,
        step: impl FnOnce(&mut Pair, &mut pair::Context<'_>) -> R,
    ) -> Option<(R, bool)> {
        let remote = self.remote(remote_domain);
        let done = remote.pairs.with_pair(composed, &self.settings.pair, &self.timers, now, |key, pair| {
            self.in_context(key, now, |context| {
                let result = step(pair, context);
                (result, self.run_presence(pair, context, bells))
            })
        });
        done.map_err(|lost| self.pair_lost(composed, lost, now)).ok()
    }

    /// The same for a pair that has to be there already.
    pub(super) fn with_known_presence(
        &self,
        composed: &str,
        remote_domain: &str,
        bells: &mut Bells,
        now: Moment,
        step: impl FnOnce(&mut Pair, &mut pair::Context<'_>),
    ) -> bool {
        let Some(remote) = self.known_remote(remote_domain) else { return false };
        let mut sends = false;
        let done =
            remote.pairs.with_existing(composed, &self.settings.pair, &self.timers, now, |key, pair| {
                self.in_context(key, now, |context| {
                    step(pair, context);
                    sends = self.run_presence(pair, context, bells);
                });
            });
        if let Err(lost) = done {
            self.pair_lost(composed, lost, now);
        }
        sends
    }

    /// The same where it is the only step: everything leaves at once.
    pub(super) fn visit_presence(
        &self,
        key: &PairKey,
        now: Moment,
        step: impl FnOnce(&mut Pair, &mut pair::Context<'_>),
    ) {
        let mut bells = Bells::default();
        if self.with_known_presence(key.as_str(), key.remote_domain(), &mut bells, now, step) {
            self.serve_route_of(key.local_domain(), now);
        }
    }

    /// The same for many pairs, whose requests and stanzas leave when all steps are done.
    pub(super) fn visit_all<'k, T>(
        &self,
        pairs: impl Iterator<Item = (&'k PairKey, T)>,
        now: Moment,
        mut step: impl FnMut(&mut Pair, &mut pair::Context<'_>, T),
    ) {
        let (mut bells, mut sends) = (Bells::default(), false);
        for (key, with) in pairs {
            let (composed, remote_domain) = (key.as_str(), key.remote_domain());
            sends |= self.with_known_presence(composed, remote_domain, &mut bells, now, |pair, context| {
                step(pair, context, with);
            });
        }
        if sends {
            self.routes.iter().for_each(|route| self.serve_route(route, now));
        }
    }

    /// Calls `step` with the surroundings of a pair.
    pub(super) fn in_context<R>(
        &self,
        key: &PairKey,
        now: Moment,
        step: impl FnOnce(&mut pair::Context<'_>) -> R,
    ) -> R {
        self.in_context_under(&self.policy.load(), key, now, step)
    }

    /// The same for who has the policy at hand.
    pub(super) fn in_context_under<R>(
        &self,
        snapshot: &Snapshot,
        key: &PairKey,
        now: Moment,
        step: impl FnOnce(&mut pair::Context<'_>) -> R,
    ) -> R {
        let identity = self.identity_of(snapshot, key.remote_domain());
        let (mut tokens, mut budget) = (Tokens(self), &self.places);
        step(&mut pair::Context {
            key,
            snapshot,
            config: &self.settings.presence,
            events: self.settings.events_of(identity),
            identity,
            events_under: &|identity| self.settings.events_of(identity),
            sessions: &|identity| self.settings.sessions_of(identity),
            tokens: &mut tokens,
            budget: &mut budget,
            now,
        })
    }

    /// The SIP user does not count as having added the contact any more, because an administrator says so.
    pub fn remove_consent(&self, key: &PairKey, now: Moment) {
        self.end_forbidden(key, now, |pair, context| {
            pair.consent_removed(context);
            self.withdraw_forbidden(pair, context);
        });
    }
}

/// Fresh tokens and chance for the pairs.
pub(super) struct Tokens<'a>(pub(super) &'a Gateway);

impl event::Tokens for Tokens<'_> {
    fn token(&mut self) -> CompactString {
        self.0.token()
    }

    fn random(&mut self) -> u64 {
        self.0.random()
    }
}

pub(super) fn asked(reply: ReplyTo, request: &Message) -> Asked {
    Asked {
        connection: reply.connection.0,
        transaction: reply.transaction,
        notifies: request.method() != Method::Subscribe,
    }
}

pub(super) fn reply_to(asked: Asked) -> ReplyTo {
    ReplyTo { connection: ConnectionId(asked.connection), transaction: asked.transaction }
}

/// Whether both have a counterpart on the other side. Nobody of ours can be meant otherwise: the silence that unknown users
/// get (PR-15).
fn is_usable(user: &BareJid, contact: &BareJid) -> bool {
    use nuncio_translate::address::{Contact, SipUser};
    SipUser::from_jid(user).is_ok() && Contact::from_jid(contact).is_ok()
}

/// Which endpoint of the user a SUBSCRIBE comes from: the instance or epid it names, else its Contact.
pub(super) fn endpoint(request: &Message) -> CompactString {
    let epid = request
        .from_header()
        .ok()
        .and_then(|from| from.params.get("epid").flatten().map(CompactString::from));
    epid.or_else(|| {
        let contact = request.contacts().next()?.ok()?;
        let instance = contact.params.get("+sip.instance").flatten();
        Some(instance.map_or_else(|| contact.uri.as_str().into(), CompactString::from))
    })
    .unwrap_or_default()
}
