//! The members of a batch: each holds a subscription with his pair, in requests that never leave this process.

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;

use bytes::Bytes;
use compact_str::CompactString;
use nuncio_sip::Message;
use nuncio_sip::connection::ServerTxn;
use nuncio_sip::event::{Extras, Wanted};
use nuncio_translate::Moment;
use nuncio_translate::address::Contact;
use nuncio_translate::batch::{Change, State, Told};
use nuncio_translate::diagnostics::{self, Diagnostic};
use nuncio_translate::judge::Consent;
use nuncio_translate::pair::{Asked, BATCH, Half, PairKey, Request, Subscribing};

use super::refusals::NoMember;
use super::{Held, MEMBERS_LAST, Permitted, Refusing, Visit, Watching};
use crate::gateway::port::Bells;
use crate::gateway::{Gateway, Judged};

/// No connection has this number: nobody waits for the answers to members.
const NOBODY: u64 = 0;

/// Beyond every `CSeq` number that was given out before the batch was gone.
const GONE: u32 = 1 << 20;

/// A member who is to watch.
struct Joining {
    number: u32,
    uri: Box<str>,
    /// He does already.
    watching: Option<Watching>,
}

/// What all of one round of requests to pairs have in common.
#[derive(Clone, Copy)]
struct Round<'a> {
    batch: &'a CompactString,
    user: &'a str,
    media: &'static str,
    cseq: u32,
    transaction: ServerTxn,
    /// Seconds; 0: he wants to know once.
    expires: u32,
}

impl Gateway {
    /// Changes the members as a SUBSCRIBE says, and subscribes for all of them, again for those who watch. Called under no
    /// lock.
    pub(super) fn change_members(&self, tag: &CompactString, changes: &[Change], expires: u32, now: Moment) {
        let Some(held) = self.batches.get(tag) else { return };
        let mut batch = held.lock();
        batch.cseq += 1;
        let user = CompactString::from(batch.key.sip_user());
        let round = Round {
            batch: tag,
            user: &user,
            media: batch.machine.media(),
            cseq: batch.cseq,
            transaction: batch.transaction,
            expires: if expires == 0 { 0 } else { MEMBERS_LAST },
        };
        let left = batch.change(changes);
        let left = (!left.is_empty()).then(|| Visit::leave(&batch, left));
        let joining = batch.joining(self.policy.load().generation());
        drop(batch);
        left.into_iter().for_each(|left| self.errands.visit(left));
        for member in joining {
            self.join(&round, &member, now);
        }
    }

    /// One member subscribes with his pair.
    fn join(&self, round: &Round<'_>, member: &Joining, now: Moment) {
        if let Some(watching) = &member.watching
            && self.has_watcher(watching)
        {
            return self.ask_again(round, watching, now);
        }
        if let Some(watching) = self.enter(round, member, now) {
            self.begin(round, member.number, &watching, now);
            self.look_back(round, member.number, &watching, now);
        }
    }

    /// He has his place in the batch from now on, and what he does is known to be for it. `None`: he cannot be a member, or is
    /// none any more, or another SUBSCRIBE of the same dialog is a step ahead.
    fn enter(&self, round: &Round<'_>, member: &Joining, now: Moment) -> Option<Watching> {
        let policy = self.policy.load();
        let pair = match self.member(&policy, round.user, &member.uri, now) {
            Ok(pair) => pair,
            Err(why) => {
                self.audit_no_member(&why, now);
                let refusing = match &why {
                    NoMember::Nobody => Refusing::Himself,
                    NoMember::ByRule(..) => Refusing::Policy(policy.generation()),
                };
                self.end_member(round, member, why.reason(), why.diagnostic(), Some(refusing), now);
                return None;
            }
        };
        let watching = Watching { tag: self.token(), pair };
        let held = self.batches.get(round.batch)?;
        let mut batch = held.lock();
        let is_member = batch.machine.members().any(|(number, _)| number == member.number);
        let lost = member.watching.as_ref().map(|lost| &lost.tag);
        let known = batch.watching.get(&member.number).map(|watching| &watching.tag);
        let is_ahead = known.is_some() && known != lost;
        if batch.machine.has_ended()
            || !is_member
            || is_ahead
            || batch.is_refused(member.number, policy.generation())
        {
            return None;
        }
        if batch.refused.remove(&member.number).is_some() {
            // The rules allow it by now. What his pair says may have to wait for the store; he is no longer refused.
            self.with_batch_context(now, |context| {
                batch.machine.told(member.number, Told::only(State::Pending), context);
            });
        }
        // The pair knows of none of his any more.
        if let Some(lost) = batch.watching.remove(&member.number) {
            self.batches.release(&lost.tag);
        }
        if batch.watching.values().any(|other| other.pair == watching.pair) {
            // Named twice, in two ways of writing him.
            batch.machine.remove(member.number);
            return None;
        }
        batch.watching.insert(member.number, watching.clone());
        // Whoever ends the batch finds both, or none.
        self.batches.bind(&watching.tag, round.batch, member.number);
        Some(watching)
    }

    fn begin(&self, round: &Round<'_>, number: u32, watching: &Watching, now: Moment) {
        let internal = (Diagnostic::Internal, "an internal error".to_owned());
        let uri = watching.pair.contact().into();
        let member = Joining { number, uri, watching: Some(watching.clone()) };
        let Some(request) = self.subscribe(round, watching, "") else {
            return self.end_member(round, &member, "noresource", internal, None, now);
        };
        let wanted =
            Wanted { expires: round.expires, media: round.media, event_id: None, extras: Extras::default() };
        // Of an endpoint's subscriptions the last one takes the place of those before. Two lists of one device are not to take a
        // member from each other, nor two SUBSCRIBEs that are worked on at the same time.
        let endpoint = ["batch ", &watching.tag].concat();
        let subscribing = Subscribing {
            request: &request,
            wanted: &wanted,
            tag: &watching.tag,
            endpoint: &endpoint,
            front_end: BATCH,
        };
        let mut bells = Bells::default();
        let (composed, domain) = (watching.pair.as_str(), watching.pair.remote_domain());
        let done = self.with_presence(composed, domain, &mut bells, now, |pair, context| {
            pair.sip_subscribes(asked(round.transaction), subscribing, context);
        });
        if done.is_none() {
            self.end_member(round, &member, "probation", internal, None, now);
        }
    }

    /// The batch may have ended, or let him go, before the pair knew of him: then nobody else tells the pair.
    fn look_back(&self, round: &Round<'_>, number: u32, watching: &Watching, now: Moment) {
        let cseq = match self.batches.get(round.batch) {
            Some(held) => {
                let mut batch = held.lock();
                if batch.watching.get(&number).is_some_and(|known| known.tag == watching.tag) {
                    return;
                }
                // Others may have asked the pair meanwhile: a number that it knows would be taken for a repeat.
                batch.cseq += 1;
                batch.cseq
            }
            None => round.cseq + GONE,
        };
        self.leave_pair(watching, (cseq, round.transaction), now);
    }

    /// The pair knows of this watcher.
    fn has_watcher(&self, watching: &Watching) -> bool {
        self.ask_pair(&watching.pair, |pair| pair.is_watched_by(&watching.tag))
    }

    /// A member who watches subscribes again: his consent lasts on.
    fn ask_again(&self, round: &Round<'_>, watching: &Watching, now: Moment) {
        let tag = [";tag=", &watching.tag].concat();
        if let Some(request) = self.subscribe(round, watching, &tag) {
            self.in_pair(watching, round.transaction, &request, now);
        }
    }

    /// A member watches no more.
    pub(super) fn leave_pair(&self, watching: &Watching, (cseq, transaction): (u32, ServerTxn), now: Moment) {
        self.batches.release(&watching.tag);
        if !self.has_watcher(watching) {
            return;
        }
        let (user, tag) = (watching.pair.sip_user(), [";tag=", &watching.tag].concat());
        let round = Round {
            batch: &CompactString::default(),
            user,
            media: self.batches.events.default_media,
            cseq,
            transaction,
            expires: 0,
        };
        if let Some(request) = self.subscribe(&round, watching, &tag) {
            self.in_pair(watching, transaction, &request, now);
        }
    }

    fn in_pair(&self, watching: &Watching, transaction: ServerTxn, request: &Message, now: Moment) {
        let Watching { tag, pair: key } = watching;
        let mut bells = Bells::default();
        self.with_known_presence(key.as_str(), key.remote_domain(), &mut bells, now, |pair, context| {
            pair.in_dialog(asked(transaction), tag, request, BATCH, &|_| true, context);
        });
    }

    /// What a pair would send to a front end, and is for a member. Called under the pair's guard. True: the route to the
    /// user has to be served.
    pub(in crate::gateway) fn batch_told(
        &self,
        key: &PairKey,
        consent: &Consent,
        request: &Request,
        now: Moment,
    ) -> bool {
        let Half::Notifier(tag) = &request.half else { return false };
        let Some((held, number)) = self.batches.member(tag) else { return false };
        let Ok(message) = Message::parse(request.request.bytes().clone()) else { return false };
        let Ok(Some(state)) = message.subscription_state() else { return false };
        let state = State::read(&state);
        let judged = request.judged.map(|judged| Judged {
            generation: judged.generation,
            consent: *consent,
            kind: judged.kind,
            proved: None,
        });
        let permitted = Permitted { pair: key.clone(), judged };
        let document = Some(message.body()).filter(|body| !body.is_empty());
        let document = document.map(|body| (Bytes::from(body.to_vec()), permitted));
        let mut batch = held.lock();
        let mut why = None;
        if let State::Terminated(reason) = state {
            batch.watching.remove(&number);
            self.batches.release(tag);
            if reason == "rejected" {
                batch.refused.insert(number, Refusing::Himself);
            }
            if reason == "deactivated" && self.ending.load(Ordering::Relaxed) {
                // Of which the end of the batch tells.
                return false;
            }
            // To whoever asked once it is no news.
            if !batch.machine.fetches() {
                let said = diagnostics::said_by(&message).unwrap_or_default();
                self.log_member_ended(key.sip_user(), key.contact(), reason, said, now);
                why = (!said.is_empty()).then(|| self.reason_as_said(&batch.front_end, said));
            }
        }
        self.with_batch_context(now, |context| {
            batch.machine.told(number, Told { state, document, why }, context);
        });
        self.carry_batch(&mut batch, now);
        true
    }

    /// A member is one no more; what refuses him is asked once.
    fn end_member(
        &self,
        round: &Round<'_>,
        member: &Joining,
        reason: &'static str,
        (diagnostic, why): (Diagnostic, String),
        refusing: Option<Refusing>,
        now: Moment,
    ) {
        self.log_member_ended(round.user, &member.uri, reason, &why, now);
        let Some(held) = self.batches.get(round.batch) else { return };
        let mut batch = held.lock();
        if let Some(watching) = batch.watching.remove(&member.number) {
            self.batches.release(&watching.tag);
        }
        batch.refused.extend(refusing.map(|refusing| (member.number, refusing)));
        let why = Some(self.reason_for(&batch.front_end, (diagnostic, &why)));
        let told = Told { why, ..Told::only(State::Terminated(reason)) };
        self.with_batch_context(now, |context| batch.machine.told(member.number, told, context));
    }

    /// The SUBSCRIBE of a member to his pair.
    fn subscribe(&self, round: &Round<'_>, watching: &Watching, tag: &str) -> Option<Message> {
        let Watching { tag: own, pair } = watching;
        let contact = nuncio_xmpp::BareJid::parse(pair.contact()).ok()?;
        let contact = Contact::from_jid(&contact).ok()?.uri(None);
        let user = nuncio_xmpp::BareJid::parse(round.user).ok()?;
        let user = nuncio_translate::address::SipUser::from_jid(&user).ok()?.uri();
        let Round { cseq, expires, media, .. } = round;
        let name = &self.settings.sip_name;
        let text = format!(
            "SUBSCRIBE {contact} SIP/2.0\r\nVia: SIP/2.0/TLS {name};branch=z9hG4bK{own}.{cseq}\r\nMax-Forwards: 70\r\n\
             From: <{user}>;tag={own}\r\nTo: <{contact}>{tag}\r\nCall-ID: {own}\r\nCSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <sip:{name};transport=tls>\r\nEvent: presence\r\nAccept: {media}\r\nExpires: {expires}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes().into()).ok()
    }
}

impl Held {
    /// Changes the members. Returns those who watch no more.
    fn change(&mut self, changes: &[Change]) -> Vec<Watching> {
        let changed = self.machine.change(changes);
        // Whoever is named is asked for, whatever he said before.
        for number in changed.gone.iter().chain(&changed.named) {
            self.refused.remove(number);
        }
        changed.gone.iter().filter_map(|number| self.watching.remove(number)).collect()
    }

    /// He is refused, also under the policy of this generation.
    fn is_refused(&self, number: u32, generation: u64) -> bool {
        match self.refused.get(&number) {
            Some(Refusing::Himself) => true,
            Some(Refusing::Policy(judged_by)) => *judged_by == generation,
            None => false,
        }
    }

    /// All members who are to watch, under the policy of this generation.
    fn joining(&self, generation: u64) -> Vec<Joining> {
        let member = |(number, uri): (u32, &str)| Joining {
            number,
            uri: uri.into(),
            watching: self.watching.get(&number).cloned(),
        };
        let wanted = |(number, _): &(u32, &str)| !self.is_refused(*number, generation);
        self.machine.members().filter(wanted).map(member).collect()
    }
}

/// Nobody waits for the answer: what follows says more.
fn asked(transaction: ServerTxn) -> Asked {
    Asked { notifies: false, connection: NOBODY, transaction }
}
