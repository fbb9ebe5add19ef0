//! The members of a batch: each holds a subscription with his pair, in requests that never leave this process.

use bytes::Bytes;
use compact_str::CompactString;
use nuncio_sip::connection::ServerTxn;
use nuncio_sip::event::{Extras, Wanted};
use nuncio_sip::{Message, Uri};
use nuncio_translate::Moment;
use nuncio_translate::address::Contact;
use nuncio_translate::batch::{Change, State, Told};
use nuncio_translate::judge::{Consent, Direction, Kind, Question, judge};
use nuncio_translate::pair::{Asked, BATCH, Half, PairKey, Request, Subscribing};

use super::{Held, MEMBERS_LAST, Permitted, Watching};
use crate::gateway::port::Bells;
use crate::gateway::refusals::Refused;
use crate::gateway::{Gateway, Judged};

/// No connection has this number: nobody waits for the answers to members.
const NOBODY: u64 = 0;

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
    endpoint: &'a str,
    media: &'static str,
    cseq: u32,
    transaction: ServerTxn,
    /// Seconds; 0: he wants to know once.
    expires: u32,
}

impl Gateway {
    /// Changes the members as a SUBSCRIBE says, and subscribes for all of them, again for those who watch. Called under no
    /// lock.
    pub(super) fn change_members(
        &self,
        tag: &CompactString,
        changes: Vec<Change>,
        expires: u32,
        now: Moment,
    ) {
        let Some(held) = self.batches.get(tag) else { return };
        let mut batch = held.lock();
        batch.cseq += 1;
        let (user, endpoint) = (CompactString::from(batch.key.sip_user()), batch.endpoint.clone());
        let endpoint = ["batch ", &endpoint].concat();
        let round = Round {
            batch: tag,
            user: &user,
            endpoint: &endpoint,
            media: batch.machine.media(),
            cseq: batch.cseq,
            transaction: batch.transaction,
            expires: if expires == 0 { 0 } else { MEMBERS_LAST },
        };
        let left = batch.change(changes);
        let joining = batch.joining();
        drop(batch);
        for watching in &left {
            self.leave_pair(watching, (round.cseq, round.transaction), now);
        }
        for member in joining {
            self.join(&round, member, now);
        }
    }

    /// One member subscribes with his pair.
    fn join(&self, round: &Round<'_>, member: Joining, now: Moment) {
        let Joining { number, uri, watching } = member;
        if let Some(watching) = watching.filter(|watching| self.dialogs.pair_of(&watching.tag).is_some()) {
            return self.ask_again(round, &watching, now);
        }
        let contact = Uri::parse(&uri).ok().and_then(|uri| Contact::from_uri(&uri).ok());
        let Some(contact) = contact else {
            return self.end_member(round, number, "noresource", now);
        };
        let pair = PairKey::new(round.user, contact.jid().as_str());
        let question = Question {
            sip_user: pair.sip_user(),
            contact_domain: pair.remote_domain(),
            direction: Direction::SipToXmpp,
            kind: Kind::Subscribe,
        };
        let judged = judge(&self.policy.load(), &question, &Consent::default(), now.unix());
        if let Err(refusal) = judged.map(drop) {
            let what = "subscription of a SIP user refused";
            self.audit_refusal(&Refused::of(&pair, Direction::SipToXmpp, what, refusal), now);
            return self.end_member(round, number, "rejected", now);
        }
        let watching = Watching { tag: self.token(), pair };
        let Some(held) = self.batches.get(round.batch) else { return };
        let mut batch = held.lock();
        // The pair knows of none of his any more.
        if let Some(lost) = batch.watching.remove(&number) {
            self.batches.release(&lost.tag);
        }
        if batch.watching.values().any(|other| other.pair == watching.pair) {
            // Named twice, in two ways of writing him.
            batch.machine.remove(&uri);
            return;
        }
        batch.watching.insert(number, watching.clone());
        drop(batch);
        self.batches.bind(&watching.tag, round.batch, number);
        let Some(request) = self.subscribe(round, &watching, "") else {
            return self.end_member(round, number, "noresource", now);
        };
        let wanted =
            Wanted { expires: round.expires, media: round.media, event_id: None, extras: Extras::default() };
        let subscribing = Subscribing {
            request: &request,
            wanted: &wanted,
            tag: &watching.tag,
            endpoint: round.endpoint,
            front_end: BATCH,
        };
        let mut bells = Bells::default();
        let (composed, domain) = (watching.pair.as_str(), watching.pair.remote_domain());
        let done = self.with_presence(composed, domain, &mut bells, now, |pair, context| {
            pair.sip_subscribes(asked(round.transaction), subscribing, context);
        });
        if done.is_none() {
            self.end_member(round, number, "probation", now);
        }
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
        let (user, tag) = (watching.pair.sip_user(), [";tag=", &watching.tag].concat());
        let round = Round {
            batch: &CompactString::default(),
            user,
            endpoint: "",
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
        });
        let permitted = Permitted { pair: key.clone(), judged };
        let document = Some(message.body()).filter(|body| !body.is_empty());
        let document = document.map(|body| (Bytes::from(body.to_vec()), permitted));
        let mut batch = held.lock();
        if let State::Terminated(reason) = state {
            batch.watching.remove(&number);
            self.batches.release(tag);
            if reason == "rejected" {
                batch.refused.insert(number);
            }
        }
        self.with_batch_context(now, |context| {
            batch.machine.told(number, Told { state, document }, context);
        });
        self.carry_batch(&mut batch, now);
        true
    }

    fn end_member(&self, round: &Round<'_>, number: u32, reason: &'static str, now: Moment) {
        let Some(held) = self.batches.get(round.batch) else { return };
        let mut batch = held.lock();
        if let Some(watching) = batch.watching.remove(&number) {
            self.batches.release(&watching.tag);
        }
        let told = Told { state: State::Terminated(reason), document: None };
        self.with_batch_context(now, |context| batch.machine.told(number, told, context));
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
    fn change(&mut self, changes: Vec<Change>) -> Vec<Watching> {
        let mut gone = Vec::new();
        let mut cleared = Vec::new();
        for change in changes {
            match change {
                Change::Clear => cleared = self.machine.members().map(|(_, uri)| Box::from(uri)).collect(),
                Change::Add(uri) => {
                    cleared.retain(|other| *other != uri);
                    self.machine.add(&uri);
                    // Whoever is named is asked for, whatever he said before.
                    let named = self.machine.members().find(|(_, member)| **member == *uri);
                    if let Some((number, _)) = named {
                        self.refused.remove(&number);
                    }
                }
                Change::Remove(uri) => gone.extend(self.remove(&uri)),
            }
        }
        gone.extend(cleared.iter().filter_map(|uri| self.remove(uri)));
        gone
    }

    fn remove(&mut self, uri: &str) -> Option<Watching> {
        let number = self.machine.remove(uri)?;
        self.refused.remove(&number);
        self.watching.remove(&number)
    }

    /// All members who are to watch.
    fn joining(&self) -> Vec<Joining> {
        let member = |(number, uri): (u32, &str)| Joining {
            number,
            uri: uri.into(),
            watching: self.watching.get(&number).cloned(),
        };
        let wanted = |(number, _): &(u32, &str)| !self.refused.contains(number);
        self.machine.members().filter(wanted).map(member).collect()
    }
}

/// Nobody waits for the answer: what follows says more.
fn asked(transaction: ServerTxn) -> Asked {
    Asked { notifies: false, connection: NOBODY, transaction }
}
