//! SIP users and contacts who watch each other, through crashes of the gateway: subscriptions in both directions,
//! presence, changing rules. What must hold is in `watch` (at every moment, on the wire) and `rest` (when all is quiet).

mod contact;
mod endpoint;
mod history;
mod rest;
mod server;
mod watch;

use nuncio_sip::{Message, Method, StatusCode};
use nuncio_translate::judge::{UserPolicy, UserRule, Verdict, Who};
use nuncio_translate::pair::PairKey;

use crate::net::{ConnId, MILLI, Micros, SECOND, Sent};
use crate::world::{Event, LOCAL, World};
use contact::Contact;
use endpoint::Endpoint;
pub(crate) use history::scene;
use server::{Decision, Notifying};
use watch::Watch;

/// A word that no public partner may ever see.
const SECRET: &str = "at-the-dentist";
/// A request of the front end waits that long for its answer (Timer F).
const TIMER_F: Micros = 32 * SECOND;

/// What happens at its time.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Somebody does something.
    Something,
    /// The front end tells the gateway what has changed.
    Tell {
        pair: usize,
        call_id: String,
    },
    /// The gateway's subscription may have expired.
    Expires {
        pair: usize,
        call_id: String,
    },
    /// An endpoint sends what it wants to.
    Ask {
        pair: usize,
        endpoint: usize,
    },
    /// The request has no answer by now.
    Unanswered(usize),
    /// The administrator takes back that the SIP user has added the contact.
    TakeBack(usize),
    /// Nothing goes wrong any more, and everybody may talk to everybody.
    Heal,
    SignIn,
    /// Everybody changes what is to be seen of him; soon after it is looked who has seen it.
    Change,
    Fresh,
    Agree,
    Leave,
    Empty,
}

/// A SIP user.
#[derive(Debug)]
pub(crate) struct User {
    address: String,
    /// The show of each of his devices that is on.
    devices: [Option<&'static str>; 2],
    /// Counts what he does; it stands in his notes.
    version: u64,
    /// Whether the administrator lets him talk to partners, and since when.
    allowed: Vec<(Micros, bool)>,
}

/// One SIP user and one contact.
#[derive(Debug)]
pub(crate) struct Watched {
    user: usize,
    address: String,
    partner: usize,
    contact: Contact,
    decision: Decision,
    /// Subscriptions of the gateway at the front end.
    dialogs: Vec<Notifying>,
    endpoints: [Endpoint; 2],
    /// Whether the SIP user has added the contact, and since when.
    added: Vec<(Micros, bool)>,
    /// The contact asked although he was subscribed, as he saw it.
    asked_again: Option<Micros>,
    /// A crash came so soon after he did that the gateway may have forgotten it.
    adding_lost: bool,
    /// When the gateway last read a SUBSCRIBE of an endpoint.
    asked_at: Option<Micros>,
    /// When it read the contact's last refusal that nobody could forget.
    refused_at: Option<Micros>,
    wrote_at: Option<Micros>,
}

impl Watched {
    /// Whether the contact asked anew within the time that the end of consent takes until he hears of it.
    fn asked_while_it_ended(&self) -> bool {
        const HEARD: Micros = 40 * SECOND;
        let asked =
            |at: Micros| self.added.iter().any(|(end, added)| !added && (*end..*end + HEARD).contains(&at));
        self.asked_again.is_some_and(asked)
    }
}

/// A request of the front end.
#[derive(Debug, Clone)]
enum Question {
    Tell { pair: usize, call_id: String },
    Subscribe { pair: usize, endpoint: usize, call_id: String, seconds: u32 },
    Message { pair: usize },
}

/// What a contact said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    pair: usize,
    refusal: bool,
}

/// Everybody who watches somebody.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    pairs: Vec<Watched>,
    users: Vec<User>,
    questions: Vec<Question>,
    said: Vec<Said>,
    watch: Watch,
    pub(crate) counts: Counts,
}

/// What happened, all seeds together: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) crashes: u64,
    pub(crate) prompts: u64,
    pub(crate) shown_to_contacts: u64,
    pub(crate) shown_to_users: u64,
    pub(crate) subscribed_to_users: u64,
    pub(crate) refused_to_endpoints: u64,
    pub(crate) messages: u64,
    /// Dialogs that the front end forgot, and steps of the clock.
    pub(crate) forgotten: u64,
    pub(crate) clock_steps: u64,
    /// That the SIP user has added the contact.
    pub(crate) taken_back: u64,
    /// Pairs that at the end agreed on something worth agreeing on.
    pub(crate) contacts_see: u64,
    pub(crate) users_see: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.prompts += other.prompts;
        self.shown_to_contacts += other.shown_to_contacts;
        self.shown_to_users += other.shown_to_users;
        self.subscribed_to_users += other.subscribed_to_users;
        self.refused_to_endpoints += other.refused_to_endpoints;
        self.messages += other.messages;
        self.forgotten += other.forgotten;
        self.clock_steps += other.clock_steps;
        self.taken_back += other.taken_back;
        self.contacts_see += other.contacts_see;
        self.users_see += other.users_see;
    }
}

impl Presence {
    pub(crate) fn is_on(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// What the administrator has set for SIP users.
    pub(crate) fn user_policy(&self) -> UserPolicy {
        let denied = |user: &&User| !user.allowed.last().is_none_or(|(_, allowed)| *allowed);
        let who: Vec<_> =
            self.users.iter().filter(denied).map(|user| Who::User(user.address.as_str().into())).collect();
        let rule = UserRule { who, partners: Vec::new(), verdict: Verdict::Deny };
        UserPolicy::new(true, Verdict::Allow, if rule.who.is_empty() { vec![] } else { vec![rule] })
    }

    fn pair_of(&self, user: &str, contact: &str) -> Option<usize> {
        self.pairs.iter().position(|pair| self.users[pair.user].address == user && pair.address == contact)
    }
}

impl World {
    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Something => self.something_happens(),
            Act::Tell { pair, call_id } => self.tell_gateway(pair, &call_id),
            Act::Expires { pair, call_id } => self.gateway_lapses(pair, &call_id),
            Act::Ask { pair, endpoint } => self.endpoint_asks(pair, endpoint),
            Act::Unanswered(number) => self.unanswered(number),
            Act::TakeBack(pair) => self.consent_is_taken_back(pair),
            Act::Heal => self.everything_works(),
            Act::SignIn => self.all_sign_in(),
            Act::Change => self.everybody_changes(),
            Act::Fresh => self.all_is_fresh(),
            Act::Agree => self.agree(),
            Act::Leave => self.everybody_leaves(),
            Act::Empty => self.nothing_is_left(),
        }
    }

    /// Sends a request of the front end: what stands before and behind the header fields that all have. `None`: there is
    /// no connection.
    fn front_end_sends(
        &mut self,
        question: Question,
        method: &str,
        (call_id, cseq): (&str, u32),
        (from_tag, to_tag): (&str, Option<&str>),
        (headers, body): (&str, &str),
    ) -> Option<usize> {
        let (conn, side) = self.some_link()?;
        let (Question::Tell { pair, .. } | Question::Subscribe { pair, .. } | Question::Message { pair }) =
            question;
        let number = self.presence.questions.len();
        let record = &self.presence.pairs[pair];
        let (user, contact) = (&self.presence.users[record.user].address, &record.address);
        let to_tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let text = format!(
            "{method} sip:{contact} SIP/2.0\r\nVia: SIP/2.0/TLS fe.{LOCAL};branch=z9hG4bKq{number}.x\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}>;tag={from_tag}\r\nTo: <sip:{contact}>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.note("front end asks", number as u64, pair as u64);
        self.write(conn, side, text.as_bytes());
        if matches!(question, Question::Subscribe { .. } | Question::Message { .. }) {
            let end = self.conns[conn].dirs[side].written;
            self.conns[conn].book.push_back((end, Sent::Subscribe(number)));
        }
        self.presence.questions.push(question);
        self.after(TIMER_F, Event::Presence(Act::Unanswered(number)));
        Some(number)
    }

    fn unanswered(&mut self, number: usize) {
        match self.presence.questions[number].clone() {
            Question::Tell { pair, call_id } => self.told_gateway(pair, &call_id, number, None),
            Question::Subscribe { pair, endpoint, call_id, .. } => {
                self.endpoint_answered(pair, endpoint, &call_id, number, None);
            }
            Question::Message { .. } => {}
        }
    }

    /// Something of the gateway arrives at the front end.
    pub(crate) fn watched_front_end_gets(&mut self, conn: ConnId, busy: bool, message: &Message) {
        if let Some(StatusCode(status)) = message.status() {
            let Some(number) = question_of(message).filter(|_| status >= 200) else { return };
            self.note("front end answered", number as u64, status.into());
            return match self.presence.questions[number].clone() {
                Question::Tell { pair, call_id } => {
                    self.told_gateway(pair, &call_id, number, Some(message));
                }
                Question::Subscribe { pair, endpoint, call_id, .. } => {
                    self.endpoint_answered(pair, endpoint, &call_id, number, Some(message));
                }
                Question::Message { .. } => {}
            };
        }
        let (status, tag, expires) = match message.method() {
            _ if busy => (503, None, None),
            Method::Subscribe => self.gateway_subscribes(message),
            Method::Notify => (self.endpoint_is_told(message), None, None),
            _ => (200, None, None),
        };
        self.note("front end answers", status.into(), 0);
        let from = ([192, 0, 2, 7], 5061).into();
        let tag = tag.unwrap_or_else(|| "fe".to_owned());
        let Ok(head) = nuncio_sip::ResponseHead::from_request(message, &tag, from) else {
            return self.ledger.violation("a request nobody can answer".to_owned());
        };
        // The number of a message stands in front; this is none.
        let mut answer = u64::MAX.to_be_bytes().to_vec();
        let expires = expires.map(|seconds: u32| seconds.to_string());
        let mut headers = vec![("Contact", "<sip:fe.contoso.example;transport=tls>")];
        headers.extend(expires.as_deref().map(|seconds| ("Expires", seconds)));
        head.write(&mut answer, status, StatusCode(status).phrase(), &headers, None);
        let delay = self.rng.range(0, 20 * MILLI);
        self.after(delay, Event::Answer(conn, answer));
    }

    /// The gateway has read what a contact said.
    pub(crate) fn contact_was_heard(&mut self, id: usize) {
        let Said { pair, refusal } = self.presence.said[id];
        self.note("contact heard", id as u64, pair as u64);
        if refusal {
            self.presence.pairs[pair].refused_at = Some(self.now);
            self.presence.pairs[pair].contact.refusal_lost = false;
        }
    }

    /// The gateway has read a SUBSCRIBE of an endpoint, or a message of its user.
    pub(crate) fn endpoint_was_heard(&mut self, number: usize) {
        let now = self.now;
        match &self.presence.questions[number] {
            Question::Subscribe { pair, call_id, seconds, .. } => {
                let (pair, seconds) = (*pair, *seconds);
                let ends = now + Micros::from(seconds) * SECOND;
                let bound = self.presence.watch.bounds.entry(call_id.clone()).or_default();
                *bound = (*bound).max(ends);
                if seconds > 0 && self.is_open_since(pair, now) {
                    let record = &mut self.presence.pairs[pair];
                    record.asked_at = Some(now);
                    record.added.push((now, true));
                    record.adding_lost = false;
                }
            }
            Question::Message { pair } => {
                let pair = *pair;
                if self.is_open_since(pair, now) {
                    self.presence.pairs[pair].wrote_at = Some(now);
                }
            }
            Question::Tell { .. } => {}
        }
    }

    /// What the gateway learned a moment ago may be forgotten.
    pub(crate) fn presence_crashed(&mut self) {
        self.presence.counts.crashes += 1;
        let now = self.now;
        for pair in &mut self.presence.pairs {
            let lately = |at: &mut Micros| *at + SECOND > now;
            if pair.refused_at.take_if(lately).is_some() {
                pair.contact.refusal_lost = pair.contact.has_refused();
            }
            // That it was taken back is forgotten only if it was not stored.
            let user = &self.presence.users[pair.user].address;
            let stored = self.store.pair(&PairKey::new(user, &pair.address));
            let added = stored.is_some_and(|record| record.added.is_some());
            match pair.added.last() {
                Some((_, false)) if added => drop(pair.added.pop()),
                Some((_, true)) if !added => pair.adding_lost = true,
                _ => {}
            }
        }
    }
}

/// The request of the front end that this answers.
fn question_of(message: &Message) -> Option<usize> {
    let via = message.top_via().ok()?;
    let branch = via.params.get("branch")??;
    branch.strip_prefix("z9hG4bKq")?.split('.').next()?.parse().ok()
}
