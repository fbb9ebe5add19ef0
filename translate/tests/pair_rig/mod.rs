//! A pair on a virtual clock, with everything it wants of its caller written down.

#![allow(dead_code, reason = "each test program uses a part of it")]

mod wire;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::Message;
use nuncio_sip::connection::{Connection, ConnectionConfig, Output as Wire, ServerTxn};
use nuncio_sip::event::{Answer, EventConfig, Tokens, Undelivered, check_notify, check_subscribe};
use nuncio_sip::session::SessionConfig;
use nuncio_translate::Moment;
use nuncio_translate::judge::{
    Direction, Kind, Partner, PartnerType, Permit, Question, Refusal, Snapshot, UserPolicy, judge,
};
use nuncio_translate::pair::*;
use nuncio_translate::presence::{Format, from_xmpp};
use nuncio_xmpp::{Element, Jid, ReadLimits};
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use wire::*;

pub(crate) const USER: &str = "alice@contoso.example";
pub(crate) const CONTACT: &str = "romeo@fabrikam.example";
pub(crate) const DAY: u64 = 86_400;
/// When every test begins.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// Numbers that never repeat, also not after a restart.
#[derive(Debug, Default)]
pub(crate) struct Numbers(pub(crate) u64);

impl Tokens for Numbers {
    fn token(&mut self) -> CompactString {
        self.0 += 1;
        format!("t{:x}", self.0).into()
    }

    fn random(&mut self) -> u64 {
        self.0 += 1;
        // SplitMix64.
        let mut z = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Counts places, with a bound.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) held: HashMap<Place, usize>,
    pub(crate) most: usize,
    /// Requests of the contact that may still be passed on.
    pub(crate) asks: usize,
}

impl Budget for Places {
    fn take(&mut self, _key: &PairKey, place: Place) -> bool {
        let held = self.held.entry(place).or_default();
        let room = *held < self.most;
        *held += usize::from(room);
        room
    }

    fn give_back(&mut self, _key: &PairKey, place: Place) {
        let held = self.held.entry(place).or_default();
        *held = held.checked_sub(1).expect("a place that nobody holds is given back");
    }

    fn ask(&mut self, _key: &PairKey, _now: Moment) -> bool {
        let room = self.asks > 0;
        self.asks -= usize::from(room);
        room
    }
}

/// The answer to a request of the SIP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    With(Answer),
    Refused(Refusal),
}

pub(crate) struct Rig {
    pub(crate) pair: Pair,
    pub(crate) key: PairKey,
    pub(crate) snapshot: Snapshot,
    pub(crate) config: PresenceConfig,
    pub(crate) events: EventConfig,
    /// What we are to front ends.
    pub(crate) identity: usize,
    pub(crate) sessions: SessionConfig,
    pub(crate) numbers: Numbers,
    pub(crate) places: Places,
    pub(crate) now: Moment,
    pub(crate) stored: Option<PairRecord>,
    /// Whether records are stored at once.
    pub(crate) commits: bool,
    pub(crate) uncommitted: Vec<u64>,
    pub(crate) stanzas: Vec<ToXmpp>,
    pub(crate) recalled: Vec<Sent>,
    pub(crate) requests: Vec<Request>,
    pub(crate) answers: Vec<(u64, Answered)>,
    pub(crate) bound: BTreeSet<CompactString>,
    pub(crate) facts: Vec<Fact>,
    /// Branches of INVITEs.
    pub(crate) cancelled: Vec<String>,
    /// Messages of the contact that waited for too long.
    pub(crate) expired: usize,
    start: Instant,
    tag: String,
    transaction: ServerTxn,
    asked: u64,
}

pub(crate) fn snapshot(
    generation: u64,
    partner_type: PartnerType,
    enabled: bool,
    users: UserPolicy,
) -> Snapshot {
    let partner = Partner { domain: "fabrikam.example".into(), partner_type, enabled };
    Snapshot::new(generation, ["contoso.example".into()], [(partner, vec![])]).with_users(users)
}

impl Rig {
    pub(crate) fn new(partner_type: PartnerType) -> Self {
        Self::of(CONTACT, partner_type)
    }

    /// With this contact.
    pub(crate) fn of(contact: &str, partner_type: PartnerType) -> Self {
        let instant = Instant::now();
        Self {
            pair: Pair::default(),
            key: PairKey::new(USER, contact),
            snapshot: snapshot(1, partner_type, true, UserPolicy::default()),
            config: PresenceConfig::default(),
            events: Format::subscriptions("nuncio.example:5061", "nuncio.example:5061"),
            identity: 0,
            sessions: SessionConfig::new("nuncio.example:5061", "nuncio.example:5061", [0, 0, 0, 0].into()),
            numbers: Numbers::default(),
            places: Places { held: HashMap::new(), most: 10, asks: 1000 },
            now: Moment { instant, unix_ms: START_MS },
            stored: None,
            commits: true,
            uncommitted: Vec::new(),
            stanzas: Vec::new(),
            recalled: Vec::new(),
            requests: Vec::new(),
            answers: Vec::new(),
            bound: BTreeSet::new(),
            facts: Vec::new(),
            cancelled: Vec::new(),
            expired: 0,
            start: instant,
            tag: String::new(),
            transaction: transaction(instant),
            asked: 0,
        }
    }

    /// Gives the pair something, and takes down what it wants.
    pub(crate) fn input(&mut self, input: impl FnOnce(&mut Pair, &mut Context<'_>)) {
        let Self { pair, key, snapshot, config, events, identity, sessions, numbers, places, now, .. } = self;
        let (identity, under, sessions) = (*identity, |_| &*events, |_| &*sessions);
        let mut context = Context {
            key,
            snapshot,
            config,
            events,
            identity,
            events_under: &under,
            sessions: &sessions,
            tokens: numbers,
            budget: places,
            now: *now,
        };
        input(pair, &mut context);
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        loop {
            let Self {
                pair, key, snapshot, config, events, identity, sessions, numbers, places, now, ..
            } = self;
            let (identity, under, sessions) = (*identity, |_| &*events, |_| &*sessions);
            let mut context = Context {
                key,
                snapshot,
                config,
                events,
                identity,
                events_under: &under,
                sessions: &sessions,
                tokens: numbers,
                budget: places,
                now: *now,
            };
            let Some(output) = pair.poll(&mut context) else { return };
            match output {
                Output::ToXmpp(stanza) => self.stanzas.push(stanza),
                Output::Recall(sent) => self.recalled.push(sent),
                Output::Request(request) => self.requests.push(request),
                Output::Answer { asked, answer } => {
                    self.answers.push((asked.connection, Answered::With(answer)));
                }
                Output::Refuse { asked, refusal } => {
                    self.answers.push((asked.connection, Answered::Refused(refusal)));
                }
                Output::Bound(tag) => assert!(self.bound.insert(tag), "bound twice"),
                Output::Released(tag) => assert!(self.bound.remove(&tag), "released, but not bound"),
                Output::Save { ticket, record } => {
                    if self.commits {
                        self.stored = record.map(|record| *record);
                        self.pair.committed(ticket);
                    } else {
                        self.uncommitted.push(ticket);
                    }
                }
                Output::Fact(fact) => self.facts.push(fact),
                Output::Cancel { branch, .. } => self.cancelled.push(branch),
                Output::Repeat(_) => {}
            }
        }
    }

    /// What waits for the store is stored, and so is from now on what comes.
    pub(crate) fn commit(&mut self) {
        self.commits = true;
        for ticket in std::mem::take(&mut self.uncommitted) {
            self.pair.committed(ticket);
        }
        self.drain();
    }

    /// The stanzas since the last look did not arrive; so many they were.
    pub(crate) fn lose_stanzas(&mut self) -> usize {
        let lost = std::mem::take(&mut self.stanzas);
        for stanza in &lost {
            self.input(|pair, context| pair.lost(&stanza.sent, context));
        }
        lost.len()
    }

    pub(crate) fn ask(&mut self) -> Asked {
        self.asked += 1;
        Asked { notifies: false, connection: self.asked, transaction: self.transaction }
    }

    /// A SUBSCRIBE of an endpoint, as the caller has it. Its number names the answer.
    pub(crate) fn subscribe(&mut self, request: &Message, endpoint: &str) -> u64 {
        let asked = self.ask();
        match check_subscribe(request, &self.events, |_| true) {
            Err(answer) => self.answers.push((asked.connection, Answered::With(answer))),
            Ok(wanted) => {
                let tag = self.numbers.token();
                self.tag = tag.to_string();
                self.input(|pair, context| {
                    let subscribing =
                        Subscribing { request, wanted: &wanted, tag: &tag, endpoint, front_end: "lync" };
                    pair.sip_subscribes(asked, subscribing, context);
                });
            }
        }
        asked.connection
    }

    /// A request inside a dialog.
    pub(crate) fn in_dialog(&mut self, request: &Message) -> u64 {
        let asked = self.ask();
        let tag: CompactString = request.to_header().unwrap().tag().unwrap_or_default().into();
        if self.bound.contains(&tag) {
            self.input(|pair, context| pair.in_dialog(asked, &tag, request, "lync", &|_| true, context));
        } else {
            let answer = check_notify(request, &self.events);
            self.answers.push((asked.connection, Answered::With(answer)));
        }
        asked.connection
    }

    pub(crate) fn answer(&mut self, number: u64) -> Option<Answered> {
        let at = self.answers.iter().position(|(asked, _)| *asked == number)?;
        Some(self.answers.remove(at).1)
    }

    pub(crate) fn status(&mut self, number: u64) -> u16 {
        match self.answer(number).expect("an answer") {
            Answered::With(answer) => answer.status,
            Answered::Refused(_) => 403,
        }
    }

    pub(crate) fn respond(&mut self, request: &Request, status: u16, headers: &str) {
        let response = response(request, status, headers);
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.response(&half, serial, &response, context));
    }

    /// Answers the requests since the last look.
    pub(crate) fn answer_all(&mut self, status: u16) -> Vec<Request> {
        let mut all = Vec::new();
        while !self.requests.is_empty() {
            let request = self.requests.remove(0);
            self.respond(&request, status, "Expires: 3600\r\n");
            all.push(request);
        }
        all
    }

    /// Nobody answers it.
    pub(crate) fn leave(&mut self, request: &Request) {
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.request_left(&half, serial, context));
    }

    pub(crate) fn fail(&mut self, request: &Request, why: Undelivered) {
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.request_failed(&half, serial, why, context));
    }

    /// A stanza of the contact: attributes after `from` and `to`, and what is inside.
    pub(crate) fn stanza(&mut self, resource: &str, attributes: &str, inside: &str) {
        let contact = self.key.contact();
        let text = format!(
            "<presence xmlns='jabber:server' from='{contact}{resource}' to='{USER}' {attributes}>{inside}</presence>"
        );
        self.element(&text);
    }

    pub(crate) fn element(&mut self, text: &str) {
        let element = Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap();
        let from = Jid::parse(element.attr("from").unwrap()).unwrap();
        let to = Jid::parse(element.attr("to").unwrap()).unwrap();
        let context = from_xmpp::Context { language: None, idle: false, now_ms: self.now.unix_ms };
        let reading = from_xmpp::read(&element, from.resource(), context);
        let arrived = Arrived { from: from.resource(), to: to.resource(), id: element.attr("id"), reading };
        self.input(|pair, context| pair.contact_presence(arrived, context));
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pair.deadline(&PairConfig::default(), self.now)
    }

    /// Both clocks at a time to come; the wall clock has no parts of milliseconds that could add up.
    fn at(&self, instant: Instant) -> Moment {
        let instant = instant.max(self.now.instant);
        let since = instant.saturating_duration_since(self.start);
        Moment { instant, unix_ms: START_MS + since.as_millis() as u64 }
    }

    /// Lets time pass, and everything fall due in it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(due) = self.deadline().filter(|due| *due <= end.instant) {
            steps += 1;
            assert!(steps < 100_000, "it never comes to rest");
            self.now = self.at(due);
            self.input(|pair, context| pair.handle_timeout(context));
            self.expired += self.pair.expired(&PairConfig::default(), self.now).len();
        }
        self.now = self.at(end.instant);
    }

    /// Lets time pass until the pair sends a request, or all of it has passed.
    pub(crate) fn pass_until_request(&mut self, time: Duration) {
        let end = self.now + time;
        while self.requests.is_empty() && self.now.instant < end.instant {
            let left = end.instant - self.now.instant;
            let due = self.deadline().map_or(left, |due| due.saturating_duration_since(self.now.instant));
            self.pass(due.min(left));
        }
    }

    /// Everything but what is stored is lost.
    pub(crate) fn crash(&mut self) {
        self.crash_and_wait();
        self.input(|pair, context| pair.resume(context));
    }

    /// The same, and the pair has not taken up its work yet.
    pub(crate) fn crash_and_wait(&mut self) {
        let instant = self.now.instant;
        self.bound.clear();
        self.places.held.clear();
        self.pair = Pair::default();
        self.uncommitted.clear();
        if let Some(record) = self.stored.clone() {
            let Self { key, snapshot, config, events, identity, sessions, numbers, places, now, .. } = self;
            let (identity, under, sessions) = (*identity, |_| &*events, |_| &*sessions);
            let mut context = Context {
                key,
                snapshot,
                config,
                events,
                identity,
                events_under: &under,
                sessions: &sessions,
                tokens: numbers,
                budget: places,
                now: *now,
            };
            self.pair = Pair::restored(record, &mut context);
            self.drain();
        }
        assert_eq!(self.now.instant, instant);
    }

    pub(crate) fn policy(&mut self, partner_type: PartnerType, enabled: bool, users: UserPolicy) {
        self.snapshot = snapshot(self.snapshot.generation() + 1, partner_type, enabled, users);
        self.input(|pair, context| pair.policy_changed(context));
    }

    /// The administrator takes the partner's entry away.
    pub(crate) fn partner_removed(&mut self, users: UserPolicy) {
        let generation = self.snapshot.generation() + 1;
        self.snapshot = Snapshot::new(generation, ["contoso.example".into()], []).with_users(users);
        self.input(|pair, context| pair.policy_changed(context));
    }

    /// The SIP user writes to the contact.
    pub(crate) fn user_writes(&mut self) {
        self.user_tries_to_write().unwrap();
    }

    /// The same, if he may.
    pub(crate) fn user_tries_to_write(&mut self) -> Result<(), Refusal> {
        let permit = self.judge_message(Direction::SipToXmpp)?;
        self.pair.sip_user_writes(permit, self.now);
        self.drain();
        Ok(())
    }

    /// The To tag of the last SUBSCRIBE outside of a dialog.
    pub(crate) fn newest_tag(&self) -> String {
        self.tag.clone()
    }

    /// Whether a message of the contact would cross.
    pub(crate) fn message_of_contact(&self) -> Result<(), Refusal> {
        self.judge_message(Direction::XmppToSip).map(drop)
    }

    /// A message of the contact comes, and waits for its turn if it may.
    pub(crate) fn contact_tries_to_write(&mut self) -> Result<(), Refusal> {
        let permit = self.judge_message(Direction::XmppToSip)?;
        let stanza = Element::parse_document(b"<message/>", &ReadLimits::default()).unwrap();
        self.pair.contact_writes(permit, stanza, &PairConfig::default(), self.now).unwrap();
        Ok(())
    }

    /// The turn of the message of the contact that waits comes: it leaves and is answered, or is refused. `None`: none waits.
    pub(crate) fn contact_is_heard(&mut self) -> Option<Result<(), Refusal>> {
        if self.pair.next_for_sip() != NextForSip::Message {
            return None;
        }
        Some(match self.judge_message(Direction::XmppToSip) {
            Ok(permit) => {
                let (serial, _) = self.pair.release(permit).unwrap();
                self.pair.settled(serial).unwrap();
                Ok(())
            }
            Err(refusal) => {
                self.pair.refuse().unwrap();
                Err(refusal)
            }
        })
    }

    fn judge_message(&self, direction: Direction) -> Result<Permit, Refusal> {
        let question = Question {
            sip_user: USER,
            contact: CONTACT,
            contact_domain: "fabrikam.example",
            direction,
            kind: Kind::Message,
        };
        judge(&self.snapshot, &question, self.pair.consent(), self.now.unix())
    }

    /// The stanzas since the last look: `type resource show`.
    pub(crate) fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.stanzas).iter().map(told).collect()
    }

    /// The only request since the last look.
    pub(crate) fn request(&mut self) -> Request {
        assert_eq!(self.requests.len(), 1, "{:?}", self.requests);
        self.requests.remove(0)
    }

    /// The facts since the last look.
    pub(crate) fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }
}

fn transaction(now: Instant) -> ServerTxn {
    let config = ConnectionConfig::new(([127, 0, 0, 1], 5061).into(), "nuncio.example", [0; 16]);
    let mut connection = Connection::<()>::new(config, now);
    connection.receive(Remote::endpoint("first").subscribe(3600), || "tag", now);
    match connection.poll() {
        Some(Wire::Request { txn, .. }) => txn,
        other => panic!("{other:?}"),
    }
}
