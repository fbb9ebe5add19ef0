//! Any sequence of events in the sessions of a pair: what the contact writes leaves in order and once, or he is told; what
//! waits does not wait for ever; and nothing is left behind.

mod pair_rig;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::event::Undelivered;
use nuncio_sip::session::{Received, check_invite};
use nuncio_sip::{Message, Method, ResponseHead};
use nuncio_translate::judge::{Direction, Kind, PartnerType, Permit, Question, Refusal, UserPolicy, judge};
use nuncio_translate::pair::*;
use nuncio_translate::typing::{ChatState, Typing};
use nuncio_xmpp::{Element, ReadLimits};
use pair_rig::{CONTACT, Rig, USER, message};
use proptest::prelude::*;

const OFFER: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.20\r\ns=session\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
                     m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
/// Everything that waits for something has its end by then: an invitation and what its outcome may take, twice, for a
/// message may be sent once more.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Clone, Debug)]
enum Step {
    ContactWrites(Option<u8>, Option<ChatState>),
    ContactShows(ChatState),
    /// The SIP user is to be told something.
    Notice,
    UserInvites,
    /// A request of the SIP user in the session at this place.
    User(usize, &'static str),
    /// ACK there, for the INVITE of this distance from the last one.
    Acknowledge(usize, u32),
    /// A request in a session, by its place from the oldest, has this answer; from another client if `fork`.
    Answer {
        place: usize,
        status: u16,
        fork: bool,
    },
    Early {
        place: usize,
        status: u16,
        fork: bool,
    },
    Fail(usize, u8),
    /// What went alone has its outcome.
    Alone(bool),
    Policy(bool),
    Wait(u64),
    /// To the deadline.
    Due,
    Shutdown,
    /// A step failed half way.
    Salvage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let statuses =
        vec![200, 200, 200, 202, 302, 404, 405, 408, 415, 422, 480, 481, 486, 487, 488, 491, 501, 603];
    let methods = vec!["MESSAGE", "INFO", "INVITE", "UPDATE", "BYE", "OPTIONS", "REFER"];
    let state = || {
        prop::sample::select(vec![
            ChatState::Active,
            ChatState::Composing,
            ChatState::Paused,
            ChatState::Gone,
        ])
    };
    let place = || prop_oneof![3 => Just(0usize), 1 => 0usize..4];
    let fork = || prop::bool::weighted(0.2);
    let step = prop_oneof![
        8 => (prop::option::of(0u8..3), prop::option::of(state())).prop_map(|(t, s)| Step::ContactWrites(t, s)),
        2 => state().prop_map(Step::ContactShows),
        1 => Just(Step::Notice),
        2 => Just(Step::UserInvites),
        4 => (place(), prop::sample::select(methods)).prop_map(|(n, m)| Step::User(n, m)),
        4 => (place(), prop_oneof![5 => Just(0u32), 1 => Just(1u32)]).prop_map(|(n, d)| Step::Acknowledge(n, d)),
        10 => (place(), prop::sample::select(statuses), fork())
            .prop_map(|(place, status, fork)| Step::Answer { place, status, fork }),
        2 => (place(), prop::sample::select(vec![180, 200]), fork())
            .prop_map(|(place, status, fork)| Step::Early { place, status, fork }),
        2 => (place(), 0u8..4).prop_map(|(n, why)| Step::Fail(n, why)),
        2 => any::<bool>().prop_map(Step::Alone),
        1 => prop::bool::weighted(0.7).prop_map(Step::Policy),
        3 => (0u64..40_000).prop_map(Step::Wait),
        5 => Just(Step::Due),
        1 => prop::bool::weighted(0.1).prop_map(|ends| if ends { Step::Shutdown } else { Step::Due }),
        1 => prop::bool::weighted(0.2).prop_map(|lost| if lost { Step::Salvage } else { Step::Due }),
    ];
    prop::collection::vec(step, 0..80)
}

/// What became of a message of the contact.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Told,
}

/// The caller of the pair, and what it has seen.
struct House {
    rig: Rig,
    config: PairConfig,
    /// Whether the front end is to be invited at all.
    invites: bool,
    written: u32,
    /// Messages as they left, by number.
    left: Vec<u32>,
    /// Answered with 481: may leave once more.
    forgotten: BTreeSet<u32>,
    fates: BTreeMap<u32, Fate>,
    notices: u32,
    told: u32,
    /// Requests in sessions without an outcome.
    open: Vec<Request>,
    /// What went alone: serial, and number of a message.
    alone: Option<(u64, Option<u32>)>,
    /// Tags of sessions in which we may not say anything yet, or any more.
    talking: BTreeSet<CompactString>,
    /// Sessions of the SIP user: tag, last CSeq, last INVITE.
    theirs: Vec<Theirs>,
    calls: u32,
}

#[derive(Clone, Debug)]
struct Theirs {
    call_id: String,
    from_tag: String,
    tag: CompactString,
    cseq: u32,
    invite: u32,
}

impl House {
    fn new(invites: bool, idle: u64) -> Self {
        let mut rig = Rig::new(PartnerType::Federated);
        rig.sessions.idle = Duration::from_secs(idle);
        Self {
            rig,
            config: PairConfig { queue: 6, ..PairConfig::default() },
            invites,
            written: 0,
            left: Vec::new(),
            forgotten: BTreeSet::new(),
            fates: BTreeMap::new(),
            notices: 0,
            told: 0,
            open: Vec::new(),
            alone: None,
            talking: BTreeSet::new(),
            theirs: Vec::new(),
            calls: 0,
        }
    }

    /// Gives the pair something, and does what it wants.
    fn input(&mut self, input: impl FnOnce(&mut Pair, &mut Context<'_>)) {
        self.rig.input(input);
        self.run();
    }

    /// Lets leave what may leave, as the gateway does.
    fn run(&mut self) {
        loop {
            self.take_requests();
            match self.rig.pair.next_for_sip() {
                NextForSip::Nothing if self.rig.pair.sessions_stir() => {
                    self.rig.drain();
                    self.settle();
                }
                NextForSip::Nothing => break,
                NextForSip::Notice => self.notice(),
                NextForSip::Report => panic!("nobody has asked what became of what he wrote"),
                NextForSip::Message => match self.permit() {
                    Err(_) => {
                        let refused = self.rig.pair.refuse().unwrap();
                        self.fate(&refused, Fate::Told);
                    }
                    Ok(permit) => self.message(permit),
                },
            }
        }
        assert!(!self.rig.pair.sessions_stir(), "something is left to be done, and nobody comes back for it");
    }

    fn permit(&self) -> Result<Permit, Refusal> {
        let question = Question {
            sip_user: USER,
            contact_domain: "fabrikam.example",
            direction: Direction::XmppToSip,
            kind: Kind::Message,
        };
        judge(&self.rig.snapshot, &question, self.rig.pair.consent(), self.rig.now.unix())
    }

    fn way(&mut self, thread: Option<&str>) -> Way {
        let (mut way, invites) = (Way::Pager, self.invites);
        self.rig.input(|pair, context| way = pair.way(thread, invites, context));
        way
    }

    fn message(&mut self, permit: Permit) {
        let stanza = self.rig.pair.next_message().unwrap().clone();
        let thread = stanza.attr("thread").map(str::to_owned);
        match self.way(thread.as_deref()) {
            Way::Invite => self.invite(permit, thread.as_deref()),
            Way::Pager => {
                let (serial, _) = self.rig.pair.release(permit).unwrap();
                self.leaves(&stanza);
                self.alone = Some((serial, Some(number(&stanza))));
            }
            Way::Session(session) => {
                let (serial, judged, _) = self.rig.pair.release_judged(permit).unwrap();
                let text = stanza.text().into_owned();
                if self.say(serial, session, &text, Some(judged)) {
                    self.leaves(&stanza);
                } else {
                    assert!(self.rig.pair.settled(serial).is_some());
                    self.fate(&stanza, Fate::Told);
                }
            }
        }
    }

    fn notice(&mut self) {
        match self.way(None) {
            // Nobody is invited for it.
            Way::Invite | Way::Pager => {
                let (serial, _) = self.rig.pair.release_notice().unwrap();
                self.alone = Some((serial, None));
            }
            Way::Session(session) => {
                let (serial, _) = self.rig.pair.release_notice().unwrap();
                if !self.say(serial, session, "notice", None) {
                    self.rig.pair.settled(serial);
                    self.told += 1;
                }
            }
        }
    }

    fn invite(&mut self, permit: Permit, thread: Option<&str>) {
        let (contact, user) = (format!("sip:{CONTACT}"), format!("sip:{USER}"));
        let inviting =
            Inviting { contact_uri: &contact, user_uri: &user, thread, resource: Some("home"), state: None };
        self.rig.input(|pair, context| pair.invite(permit, &inviting, context).unwrap());
    }

    fn say(&mut self, serial: u64, session: u32, text: &str, judged: Option<Judged>) -> bool {
        let body = ("text/plain", text.as_bytes());
        let saying = Saying { serial, session, fields: &[], body, judged };
        let mut taken = false;
        self.rig.input(|pair, context| taken = pair.say(&saying, context));
        taken
    }

    /// A message of the contact leaves: in order, and once.
    fn leaves(&mut self, stanza: &Element) {
        let number = number(stanza);
        let again = self.forgotten.remove(&number);
        let before = self.left.last().copied().unwrap_or(0);
        assert!(number > before || (again && number == before), "{number} leaves after {before}");
        assert!(!self.fates.contains_key(&number), "{number} leaves when its sender has been told");
        self.left.push(number);
    }

    fn fate(&mut self, stanza: &Element, fate: Fate) {
        let number = number(stanza);
        let before = self.fates.insert(number, fate.clone());
        assert_eq!(before, None, "{number} comes to its end twice, now {fate:?}");
    }

    fn settle(&mut self) {
        while let Some(Settled { item, outcome }) = self.rig.pair.take_settled() {
            let delivered = matches!(outcome, Outcome::Delivered { .. });
            match item {
                ToSip::Message(stanza) => {
                    assert!(!delivered || self.left.contains(&number(&stanza)), "delivered, but never sent");
                    self.fate(&stanza, if delivered { Fate::Delivered } else { Fate::Told });
                }
                ToSip::Notice(notice) => self.told += notice.count,
                ToSip::Report(report) => panic!("nobody has asked: {report:?}"),
            }
        }
    }

    /// What the pair has sent: nothing in a session that is not established, and nothing behind BYE.
    fn take_requests(&mut self) {
        for request in std::mem::take(&mut self.rig.requests) {
            assert!(matches!(request.half, Half::Session(_)), "{request:?}");
            let (sent, tag) = (message(&request), ours(&request));
            match sent.method() {
                Method::Ack => drop(self.talking.insert(tag)),
                Method::Bye => drop(self.talking.remove(&tag)),
                Method::Message | Method::Info => {
                    assert!(self.talking.contains(&tag), "{} in no session", sent.method().as_str());
                }
                _ => {}
            }
            if sent.method() != Method::Ack {
                self.open.push(request);
            }
        }
    }

    fn respond(&mut self, request: &Request, status: u16, fork: bool) {
        let response = response(request, status, fork);
        if status == 481 && message(request).method() == Method::Message {
            let text = String::from_utf8_lossy(&message(request).body()).into_owned();
            // It may leave once more, if it has not done so.
            if let Ok(number) = text.parse::<u32>()
                && self.left.iter().filter(|left| **left == number).count() == 1
            {
                self.forgotten.insert(number);
            }
        }
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.response(&half, serial, &response, context));
    }

    fn fail(&mut self, request: &Request, why: Undelivered) {
        let (half, serial) = (request.half.clone(), request.serial);
        self.input(|pair, context| pair.request_failed(&half, serial, why, context));
    }

    fn alone(&mut self, delivered: bool) {
        let Some((serial, number)) = self.alone.take() else { return };
        let item = self.rig.pair.settled(serial);
        match (item, number) {
            (Some(ToSip::Message(stanza)), Some(_)) => {
                self.fate(&stanza, if delivered { Fate::Delivered } else { Fate::Told });
            }
            (Some(ToSip::Notice(notice)), None) => self.told += notice.count,
            (item, number) => panic!("{item:?} for {number:?}"),
        }
        self.run();
    }

    /// As the gateway looks at a pair whose time has come, which may be once more at the same moment: what waited for an
    /// ACK that never came has then waited too long.
    fn visit(&mut self) {
        for _ in 0..2 {
            for _ in self.rig.pair.waits_long(self.rig.now) {}
            for stanza in self.rig.pair.expired(&self.config, self.rig.now) {
                self.fate(&stanza, Fate::Told);
            }
            self.input(|pair, context| pair.handle_timeout(context));
            let deadline = self.rig.pair.deadline(&self.config, self.rig.now);
            if deadline.is_none_or(|deadline| deadline > self.rig.now.instant) {
                return;
            }
        }
        panic!("the deadline stays in the past");
    }

    fn due(&mut self) {
        if let Some(deadline) = self.rig.pair.deadline(&self.config, self.rig.now) {
            let left = deadline.saturating_duration_since(self.rig.now.instant);
            // Not to the end of the time in which the contact may reply.
            if left < Duration::from_secs(4000) {
                // Whole milliseconds: both clocks go together.
                self.rig.now = self.rig.now + Duration::from_millis(left.as_millis() as u64 + 1);
                self.visit();
            }
        }
    }

    fn user_invites(&mut self) {
        self.calls += 1;
        let call = self.calls;
        let theirs = Theirs {
            call_id: format!("call{call}"),
            from_tag: format!("from{call}"),
            tag: format!("ours{call}").into(),
            cseq: 1,
            invite: 1,
        };
        let request = in_session(&Theirs { tag: CompactString::default(), ..theirs.clone() }, "INVITE", 1);
        let invited = check_invite(&request, &self.rig.sessions).unwrap();
        let (asked, mut status) = (self.rig.ask(), 0);
        self.input(|pair, context| {
            status = pair.invited(asked, &request, invited, (&theirs.tag, ""), context).status;
        });
        assert_eq!(status, 200);
        self.theirs.push(theirs);
    }

    fn user(&mut self, place: usize, method: &'static str) {
        let Some(theirs) = self.theirs.iter_mut().rev().nth(place) else { return };
        theirs.cseq += 1;
        if method == "INVITE" {
            theirs.invite = theirs.cseq;
        }
        let (theirs, request) = (theirs.clone(), in_session(theirs, method, theirs.cseq));
        let (asked, mut received) = (self.rig.ask(), None);
        if method == "BYE" {
            self.talking.remove(&theirs.tag);
        }
        self.input(|pair, context| {
            let said = pair.session_request(asked, &theirs.tag, "", &request, context);
            if let (Received::Content, "INFO") = (&said, method) {
                pair.user_types(&theirs.tag, Typing::Active, Duration::from_secs(6), context);
            } else if matches!(said, Received::Content) {
                assert!(pair.user_says(&theirs.tag).is_some(), "content of no session");
            }
            received = Some(said);
        });
        assert!(received.is_some());
    }

    fn acknowledge(&mut self, place: usize, distance: u32) {
        let Some(theirs) = self.theirs.iter().rev().nth(place).cloned() else { return };
        let ack = in_session(&theirs, "ACK", theirs.invite.saturating_sub(distance).max(1));
        if self.rig.bound.contains(&theirs.tag) {
            self.talking.insert(theirs.tag.clone());
        }
        self.rig.facts.clear();
        let tag = theirs.tag;
        self.input(|pair, context| pair.session_acknowledged(&tag, &ack, context));
        if self.rig.take_facts().contains(&Fact::SessionBegan) {
            self.check_called_off();
        }
    }

    /// A session of the SIP user's is there: no invitation of ours goes on ringing.
    fn check_called_off(&self) {
        let known = |request: &Request| self.rig.bound.contains(&ours(request));
        let invites = |request: &&Request| known(request) && message(request).to_tag().is_none();
        for request in self.open.iter().filter(invites) {
            let branch = request.request.branch();
            let cancelled = self.rig.cancelled.iter().any(|cancelled| branch.starts_with(cancelled.as_str()));
            assert!(cancelled, "an INVITE of ours goes on ringing beside an established session");
        }
    }

    fn salvage(&mut self) {
        let salvage = self.rig.pair.salvage(self.rig.now);
        for stanza in &salvage.messages {
            self.fate(stanza, Fate::Told);
        }
        self.told += salvage.notices as u32;
        let tags: BTreeSet<_> = salvage.tags.iter().cloned().collect();
        assert!(
            self.rig.bound.is_subset(&tags),
            "{:?} are bound, and {tags:?} are let go of",
            self.rig.bound
        );
        self.rig.bound.clear();
        self.alone = None;
        assert_eq!(self.rig.pair.sessions(), 0);
        self.run();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::ContactWrites(thread, state) => self.contact_writes(thread, state),
            Step::ContactShows(state) => {
                self.input(|pair, context| {
                    pair.contact_spoke(None, Some("home"), (Some(state), false), context)
                });
            }
            Step::Notice => {
                self.notices += 1;
                let sent = std::time::UNIX_EPOCH;
                self.input(|pair, _| pair.notify(Notice::new(Cause::MayBeLost, sent)));
            }
            Step::UserInvites => self.user_invites(),
            Step::User(place, method) => self.user(place, method),
            Step::Acknowledge(place, distance) => self.acknowledge(place, distance),
            Step::Answer { place, status, fork } => {
                if place < self.open.len() {
                    let request = self.open.remove(place);
                    self.respond(&request, status, fork);
                }
            }
            Step::Early { place, status, fork } => {
                if let Some(request) = self.open.get(place) {
                    let (response, tag) = (response(request, status, fork), ours(request));
                    self.input(|pair, context| pair.session_early(&tag, &response, context));
                }
            }
            Step::Fail(place, why) => {
                let kinds =
                    [Undelivered::NotSent, Undelivered::Lost, Undelivered::Timeout, Undelivered::Withdrawn];
                if place < self.open.len() {
                    let request = self.open.remove(place);
                    self.fail(&request, kinds[usize::from(why)]);
                }
            }
            Step::Alone(delivered) => self.alone(delivered),
            Step::Policy(enabled) => {
                self.rig.policy(PartnerType::Federated, enabled, UserPolicy::default());
                self.run();
            }
            Step::Wait(millis) => {
                self.rig.now = self.rig.now + Duration::from_millis(millis);
                self.visit();
            }
            Step::Due => self.due(),
            Step::Shutdown => {
                self.invites = false;
                self.input(|pair, context| pair.end_sessions(context));
            }
            Step::Salvage => self.salvage(),
        }
    }

    fn contact_writes(&mut self, thread: Option<u8>, state: Option<ChatState>) {
        let Ok(permit) = self.permit() else { return };
        self.written += 1;
        let stanza = stanza(self.written, thread);
        let thread = stanza.attr("thread").map(str::to_owned);
        self.rig.input(|pair, context| {
            pair.contact_spoke(thread.as_deref(), Some("home"), (state, true), context);
        });
        let (config, now) = (&self.config, self.rig.now);
        if let Err(refused) = self.rig.pair.contact_writes(permit, stanza, config, now) {
            self.fate(&refused, Fate::Told);
        }
        self.run();
    }

    /// Left alone, everything ends.
    fn finish(mut self) {
        let end = self.rig.now + PATIENCE;
        while self.rig.now.instant < end.instant {
            self.alone(true);
            let before = self.rig.now.instant;
            self.due();
            if self.rig.now.instant == before {
                break;
            }
        }
        self.alone(true);
        assert_eq!((self.rig.pair.owes(), self.rig.pair.waiting()), (0, 0), "somebody waits for ever");
        let fates: Vec<_> = self.fates.keys().copied().collect();
        assert_eq!(fates, (1..=self.written).collect::<Vec<_>>(), "each comes to its end");
        assert_eq!(self.told, self.notices);
        // Sessions end for want of messages.
        for _ in 0..2000 {
            self.due();
        }
        assert_eq!((self.rig.pair.sessions(), self.rig.bound.len()), (0, 0), "{:?}", self.rig.bound);
    }
}

/// Our tag in the dialog of a request.
fn ours(request: &Request) -> CompactString {
    message(request).from_tag().unwrap().into()
}

fn number(stanza: &Element) -> u32 {
    stanza.text().parse().unwrap()
}

fn stanza(number: u32, thread: Option<u8>) -> Element {
    let thread = thread.map(|thread| format!(" thread='t{thread}'")).unwrap_or_default();
    let text = format!("<message xmlns='jabber:server'{thread}>{number}</message>");
    Element::parse_document(text.as_bytes(), &ReadLimits::default()).unwrap()
}

fn in_session(theirs: &Theirs, method: &str, cseq: u32) -> Message {
    let Theirs { call_id, from_tag, tag, .. } = theirs;
    let to_tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    let body = if method == "INVITE" { OFFER } else { "" };
    let media = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let text = format!(
        "{method} sip:{CONTACT} SIP/2.0\r\nVia: SIP/2.0/TLS fe.example;branch=z9hG4bK{call_id}{cseq}\r\n\
         From: <sip:{USER}>;tag={from_tag}\r\nTo: <sip:{CONTACT}>{to_tag}\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:pc.contoso.example>\r\n\
         Allow: INVITE, ACK, BYE, UPDATE\r\n{media}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

fn response(request: &Request, status: u16, fork: bool) -> Message {
    let request = message(request);
    let head =
        ResponseHead::from_request(&request, if fork { "fork" } else { "fe" }, ([192, 0, 2, 1], 5061).into());
    let body = (request.method() == Method::Invite && status == 200)
        .then_some(("application/sdp", OFFER.as_bytes()));
    let fields = [("Contact", "<sip:pc.contoso.example>"), ("Min-SE", "300")];
    let mut out = Vec::new();
    head.unwrap().write(&mut out, status, "", &fields, body);
    Message::parse(out.into()).unwrap()
}

#[test]
fn an_invitation_of_ours_is_called_off_at_once_though_what_it_was_for_may_not_leave_any_more() {
    let mut house = House::new(true, 600);
    house.contact_writes(None, None);
    house.rig.policy(PartnerType::Federated, false, UserPolicy::default());
    house.user_invites();
    house.acknowledge(0, 0);
    assert_eq!(house.fates.get(&1), Some(&Fate::Told));
}

#[test]
fn what_became_of_a_request_means_nothing_to_a_later_pair_of_the_same_name() {
    let mut house = House::new(true, 600);
    house.rig.pair = Pair::numbered(1);
    house.contact_writes(None, None);
    let before = house.open.remove(0);
    house.rig.pair = Pair::numbered(2);
    house.contact_writes(None, None);
    house.fail(&before, Undelivered::NotSent);
    assert_eq!((house.rig.pair.waiting(), house.fates.len()), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn ch_02_messages_leave_in_order_and_once_or_their_sender_is_told(
        steps in steps(),
        invites in prop::bool::weighted(0.9),
        idle in prop::sample::select(vec![20u64, 600]),
    ) {
        let mut house = House::new(invites, idle);
        for step in steps {
            house.step(step);
        }
        house.finish();
    }
}
