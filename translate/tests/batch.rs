//! The dialog of a batched subscription: what it tells, and when (RFC 4662; EV-19).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::event::{Answer, Context, EventConfig, Tokens, Undelivered, check_subscribe};
use nuncio_sip::{HeaderName, Message};
use nuncio_translate::batch::{
    Batch, BatchOutput, Change, MAX_MEMBERS, MAX_REASONS, NOTIFICATION_MAX, State, Told,
};
use nuncio_translate::presence::Format;
use proptest::prelude::*;

struct Numbers(u64);

impl Tokens for Numbers {
    fn token(&mut self) -> CompactString {
        self.0 += 1;
        format!("t{:x}", self.0).into()
    }

    fn random(&mut self) -> u64 {
        self.0 += 1;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

struct Rig {
    batch: Batch<bool>,
    config: EventConfig,
    numbers: Numbers,
    now: Instant,
    serial: u32,
    sent: Option<Message>,
    /// How often it asked for what is known of the members.
    asked: u32,
}

const PLAIN: &str = "";
const LYNC: &str = "Supported: ms-benotify, ms-piggyback-first-notify\r\n";

fn subscribe(cseq: u32, tag: &str, more: &str) -> Message {
    let text = format!(
        "SUBSCRIBE sip:alice@contoso.example SIP/2.0\r\nVia: SIP/2.0/TLS fe.contoso.example;branch=z9hG4bK{cseq}\r\n\
         From: <sip:alice@contoso.example>;tag=fe\r\nTo: <sip:alice@contoso.example>{tag}\r\nCall-ID: c\r\n\
         CSeq: {cseq} SUBSCRIBE\r\nMax-Forwards: 70\r\nContact: <sip:fe.contoso.example;transport=tls>\r\n\
         Event: presence\r\nExpires: 600\r\nAccept: application/pidf+xml\r\n{more}Content-Length: 0\r\n\r\n"
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

impl Rig {
    /// A batch of these, of whom nothing has been gathered yet, and the answer it gets.
    fn gathering(members: &[&str], more: &str) -> (Self, Answer) {
        let config = Format::subscriptions("nuncio.example", "nuncio.example");
        let (mut numbers, now) = (Numbers(0), Instant::now());
        let request = subscribe(1, "", more);
        let wanted = check_subscribe(&request, &config, |_| true).unwrap();
        let mut context = Context { config: &config, tokens: &mut numbers, now };
        let (mut batch, answer) = Batch::accept(&request, &wanted, "ours", &mut context).unwrap();
        batch.change(&added(members));
        (Self { batch, config, numbers, now, serial: 0, sent: None, asked: 0 }, answer)
    }

    /// The same, whose watcher has been told the first list.
    fn watching(members: &[&str]) -> Self {
        let (mut rig, answer) = Self::gathering(members, PLAIN);
        let _ = rig.gathered(answer);
        assert_eq!(rig.notified().len(), 1);
        rig.answer(200);
        rig
    }

    fn context(&mut self) -> (&mut Batch<bool>, Context<'_>) {
        let context = Context { config: &self.config, tokens: &mut self.numbers, now: self.now };
        (&mut self.batch, context)
    }

    fn told(&mut self, number: u32, state: State, document: Option<&str>) {
        let document = document.map(|document| (document.to_owned().into(), true));
        self.tell(number, Told { document, ..Told::only(state) });
    }

    fn tell(&mut self, number: u32, told: Told<bool>) {
        let (batch, mut context) = self.context();
        batch.told(number, told, &mut context);
    }

    fn gathered(&mut self, answer: Answer) -> Answer {
        let (batch, mut context) = self.context();
        batch.gathered(answer, &mut context, &mut |may| *may)
    }

    /// The bodies of the notifications that leave.
    fn notified(&mut self) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let (batch, mut context) = self.context();
            match batch.poll(&mut context, &mut |may| *may) {
                None => return bodies,
                Some(BatchOutput::Send { serial, request }) => {
                    let request = Message::parse(request.bytes().clone()).unwrap();
                    bodies.push(String::from_utf8(request.body().to_vec()).unwrap());
                    (self.serial, self.sent) = (serial, Some(request));
                }
                Some(BatchOutput::Gather) => self.asked += 1,
                Some(BatchOutput::Ended | BatchOutput::Released) => {}
            }
        }
    }

    fn answer(&mut self, status: u16) {
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: SIP/2.0/TLS n;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=ours\r\nTo: <sip:a@b>;tag=fe\r\n\
             Call-ID: c\r\nCSeq: 1 NOTIFY\r\nContent-Length: 0\r\n\r\n"
        );
        let (serial, response) = (self.serial, Message::parse(text.into_bytes().into()).unwrap());
        let (batch, mut context) = self.context();
        batch.response(serial, &response, &mut context);
    }

    fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        let (batch, mut context) = self.context();
        batch.handle_timeout(&mut context);
        self.notified()
    }
}

fn added(uris: &[&str]) -> Vec<Change> {
    uris.iter().map(|uri| Change::Add((*uri).into())).collect()
}

/// `version`, `fullState`, and the URIs that are named.
fn short(body: &str) -> (u32, bool, Vec<&str>) {
    let (_, list) = body.split_once("<list ").unwrap().1.split_once("version='").unwrap();
    let (version, rest) = list.split_once('\'').unwrap();
    let uris = rest.split("<resource uri='").skip(1).map(|resource| resource.split('\'').next().unwrap());
    (version.parse().unwrap(), rest.contains("fullState='true'"), uris.collect())
}

#[test]
fn ev_19_the_first_list_names_everybody_and_the_next_ones_those_of_whom_there_is_news() {
    let (mut rig, answer) = Rig::gathering(&["sip:b@x", "sip:c@y", "sip:d@y"], PLAIN);
    rig.told(1, State::Active, Some("<b1/>"));
    rig.told(2, State::Terminated("rejected"), None);
    assert!(rig.notified().is_empty(), "nothing before all is gathered");
    let answer = rig.gathered(answer);
    assert_eq!((answer.header("Require"), &answer.body), (Some("eventlist"), &None));
    let bodies = rig.notified();
    assert_eq!(short(&bodies[0]), (0, true, vec!["sip:b@x", "sip:c@y", "sip:d@y"]));
    assert!(bodies[0].contains("<b1/>") && bodies[0].contains("reason='rejected'"), "{}", bodies[0]);
    let sent = rig.sent.as_ref().unwrap();
    assert_eq!(sent.header(HeaderName::Require), Some("eventlist"));
    let media = sent.header(HeaderName::ContentType).unwrap();
    assert!(
        media.starts_with("multipart/related;type=\"application/rlmi+xml\";start=resourceList;"),
        "{media}"
    );
    rig.answer(200);
    rig.told(3, State::Pending, None);
    let bodies = rig.pass(5);
    assert_eq!(short(&bodies[0]), (1, false, vec!["sip:d@y"]));
    assert!(!bodies[0].contains("<b1/>"));
    rig.answer(200);
    assert!(rig.pass(60).is_empty(), "no news");
}

#[test]
fn ev_19_the_first_list_stands_in_the_answer_for_who_asks() {
    let (mut rig, answer) = Rig::gathering(&["sip:b@x", "sip:c@y"], LYNC);
    rig.told(1, State::Active, Some("<b1/>"));
    let answer = rig.gathered(answer);
    let body = String::from_utf8(answer.body.as_ref().unwrap().1.to_vec()).unwrap();
    assert_eq!(short(&body), (0, true, vec!["sip:b@x", "sip:c@y"]));
    assert_eq!(answer.header("ms-piggyback-cseq"), Some("1"));
    assert!(rig.notified().is_empty());
    rig.told(2, State::Active, Some("<c1/>"));
    assert_eq!(short(&rig.pass(5)[0]), (1, false, vec!["sip:c@y"]));
}

#[test]
fn ev_19_after_a_notification_that_was_lost_everybody_is_named() {
    let mut rig = Rig::watching(&["sip:b@x", "sip:c@y"]);
    rig.told(1, State::Active, Some("<b1/>"));
    assert_eq!(short(&rig.pass(5)[0]), (1, false, vec!["sip:b@x"]));
    let serial = rig.serial;
    let (batch, mut context) = rig.context();
    batch.failed(serial, Undelivered::Lost, &mut context);
    assert!(rig.notified().is_empty());
    assert_eq!((rig.pass(5).len(), rig.asked), (0, 1), "it is asked what they are by now");
    assert!(rig.pass(5).is_empty() && rig.asked == 1, "once");
    rig.told(1, State::Active, Some("<b2/>"));
    rig.batch.told_again();
    let bodies = rig.notified();
    assert_eq!(short(&bodies[0]), (2, true, vec!["sip:b@x", "sip:c@y"]));
    assert!(bodies[0].contains("<b2/>"));
    rig.answer(500);
    assert_eq!((rig.pass(5).len(), rig.asked), (0, 2));
    rig.batch.told_again();
    assert_eq!(short(&rig.notified()[0]), (3, true, vec!["sip:b@x", "sip:c@y"]));
}

#[test]
fn ev_19_a_refresh_in_between_tells_what_was_lost() {
    let mut rig = Rig::watching(&["sip:b@x"]);
    rig.told(1, State::Active, Some("<b1/>"));
    rig.pass(5);
    rig.answer(500);
    let (batch, mut context) = rig.context();
    let answer = batch.subscribe(&subscribe(2, ";tag=ours", PLAIN), |_| true, &mut context);
    rig.told(1, State::Active, Some("<b2/>"));
    let _ = rig.gathered(answer);
    let bodies = rig.notified();
    assert_eq!((short(&bodies[0]), rig.asked), ((2, true, vec!["sip:b@x"]), 0));
    assert!(bodies[0].contains("<b2/>"));
}

#[test]
fn a_document_is_kept_until_it_is_told_and_no_longer() {
    let mut rig = Rig::watching(&["sip:b@x", "sip:c@y"]);
    rig.told(1, State::Active, Some("<b1/>"));
    rig.told(1, State::Active, Some("<b2 />"));
    rig.told(2, State::Active, Some("<c1/>"));
    assert_eq!(rig.batch.kept(), 11);
    assert_eq!(rig.pass(5).len(), 1);
    assert_eq!(rig.batch.kept(), 0);
    rig.answer(200);
    rig.told(1, State::Pending, None);
    assert!(!rig.pass(5)[0].contains("<b2 />"));
}

#[test]
fn why_a_member_has_ended_stands_beside_the_list_once() {
    let names: Vec<String> = (0..=MAX_REASONS + 1).map(|number| format!("sip:u{number}@x")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rig = Rig::watching(&names);
    let ended = |why: String| Told {
        why: Some(("ms-diagnostics", why)),
        ..Told::only(State::Terminated("rejected"))
    };
    let reasons = |rig: &Rig| rig.sent.as_ref().unwrap().headers(HeaderName::MsDiagnostics).count();
    for number in 1..=MAX_REASONS as u32 {
        rig.tell(number, ended("1005;reason=\"same\"".into()));
    }
    rig.pass(5);
    assert_eq!(reasons(&rig), 1);
    rig.answer(200);
    for number in 1..=MAX_REASONS as u32 + 1 {
        rig.tell(number, ended(format!("1005;reason=\"{number}\"")));
    }
    rig.pass(5);
    assert_eq!(reasons(&rig), MAX_REASONS);
    rig.answer(200);
    rig.told(1, State::Active, None);
    rig.pass(5);
    assert_eq!(reasons(&rig), 0);
}

#[test]
fn ev_19_a_refresh_and_whoever_leaves_make_a_whole_list() {
    let mut rig = Rig::watching(&["sip:b@x", "sip:c@y"]);
    let (batch, mut context) = rig.context();
    let answer = batch.subscribe(&subscribe(2, ";tag=ours", PLAIN), |_| true, &mut context);
    assert_eq!(answer.status, 200);
    let without = [Change::Remove("sip:c@y".into())];
    assert_eq!(batch.change(&without).gone, [2]);
    assert!(batch.change(&without).gone.is_empty());
    let _ = rig.gathered(answer);
    assert_eq!(short(&rig.notified()[0]), (1, true, vec!["sip:b@x"]));
}

#[test]
fn trust_a_document_that_is_forbidden_by_now_is_left_out() {
    let (mut rig, answer) = Rig::gathering(&["sip:b@x"], PLAIN);
    let (batch, mut context) = rig.context();
    let told = Told { document: Some(("<b1/>".into(), false)), ..Told::only(State::Active) };
    batch.told(1, told, &mut context);
    let _ = rig.gathered(answer);
    let bodies = rig.notified();
    assert!(!bodies[0].contains("<b1/>") && !bodies[0].contains("cid="), "{}", bodies[0]);
}

#[test]
fn as_many_members_as_may_be_and_one_more() {
    let mut rig = Rig::watching(&[]);
    let all: Vec<Change> =
        (0..MAX_MEMBERS).map(|number| Change::Add(format!("sip:u{number}@x").into())).collect();
    assert_eq!(rig.batch.change(&all).named.len(), MAX_MEMBERS);
    let more = Change::Add("sip:one@more".into());
    assert!(!rig.batch.has_room_for(std::slice::from_ref(&more)));
    assert!(rig.batch.change(std::slice::from_ref(&more)).named.is_empty());
    let one_for_another = [Change::Remove("sip:u7@x".into()), more];
    assert!(rig.batch.has_room_for(&one_for_another));
    assert_eq!(rig.batch.change(&one_for_another).named.len(), 1);
    assert!(rig.batch.has_room_for(&added(&["sip:u8@x"])), "he is one already");
    assert_eq!(rig.batch.members().count(), MAX_MEMBERS);
}

#[test]
fn ev_19_a_list_that_is_created_anew_has_everybody_in_it_that_it_names() {
    let named =
        |from: usize| (from..from + MAX_MEMBERS).map(|number| Change::Add(format!("sip:u{number}@x").into()));
    let create = |from: usize| -> Vec<Change> { std::iter::once(Change::Clear).chain(named(from)).collect() };
    let mut rig = Rig::watching(&[]);
    rig.batch.change(&create(0));
    assert!(rig.batch.has_room_for(&create(MAX_MEMBERS - 1)));
    let changed = rig.batch.change(&create(MAX_MEMBERS - 1));
    assert_eq!((changed.gone.len(), changed.named.len()), (MAX_MEMBERS - 1, MAX_MEMBERS));
    // Whoever is in both stays who he is.
    let kept = rig.batch.members().find(|(_, uri)| *uri == format!("sip:u{}@x", MAX_MEMBERS - 1));
    assert_eq!(kept.map(|(number, _)| number as usize), Some(MAX_MEMBERS));
    // Created once more in the same list.
    let twice =
        [create(0), added(&["sip:b@x"]), vec![Change::Clear], added(&["sip:b@x", "sip:c@y"])].concat();
    rig.batch.change(&twice);
    let uris: Vec<_> = rig.batch.members().map(|(_, uri)| uri).collect();
    assert_eq!(uris, ["sip:b@x", "sip:c@y"]);
}

fn change() -> impl Strategy<Value = Change> {
    let uri = || "sip:[a-e]@x".prop_map(String::into_boxed_str);
    prop_oneof![1 => Just(Change::Clear), 4 => uri().prop_map(Change::Add), 3 => uri().prop_map(Change::Remove)]
}

proptest! {
    /// A list means what one change after the other means; and whoever stays keeps his number.
    #[test]
    fn ev_19_who_is_a_member_after_lists(lists in prop::collection::vec(prop::collection::vec(change(), 0..6), 1..6)) {
        let mut rig = Rig::watching(&[]);
        for list in lists {
            let before: BTreeMap<String, u32> =
                rig.batch.members().map(|(number, uri)| (uri.to_owned(), number)).collect();
            let mut expected: BTreeMap<String, bool> = before.keys().map(|uri| (uri.clone(), false)).collect();
            for change in &list {
                match change {
                    Change::Clear => expected.clear(),
                    Change::Add(uri) => {
                        expected.insert(uri.to_string(), true);
                    }
                    Change::Remove(uri) => {
                        expected.remove(&**uri);
                    }
                }
            }
            let changed = rig.batch.change(&list);
            let after: BTreeMap<String, u32> =
                rig.batch.members().map(|(number, uri)| (uri.to_owned(), number)).collect();
            prop_assert!(after.keys().eq(expected.keys()));
            for (uri, number) in &after {
                prop_assert!(before.get(uri).is_none_or(|was| was == number));
                prop_assert_eq!(changed.named.contains(number), expected[uri]);
            }
            let gone: Vec<u32> = before.values().copied().filter(|was| !after.values().any(|now| now == was)).collect();
            let mut said = changed.gone.clone();
            said.sort_unstable();
            let mut gone = gone;
            gone.sort_unstable();
            prop_assert_eq!(said, gone);
        }
    }
}

#[test]
fn what_does_not_fit_into_one_notification_stands_in_the_next() {
    let (mut rig, answer) = Rig::gathering(&["sip:b@x", "sip:c@x", "sip:d@x", "sip:e@x"], PLAIN);
    let half = "x".repeat(NOTIFICATION_MAX / 2);
    for number in 1..=4 {
        rig.told(number, State::Active, Some(&format!("<d{number}>{}</d{number}>", &half[..half.len() - 9])));
    }
    let _ = rig.gathered(answer);
    let first = rig.notified().remove(0);
    assert_eq!(short(&first), (0, true, vec!["sip:b@x", "sip:c@x", "sip:d@x", "sip:e@x"]));
    assert!(first.contains("<d2>") && !first.contains("<d3>"));
    rig.answer(200);
    let next = rig.pass(5).remove(0);
    assert_eq!(short(&next), (1, false, vec!["sip:d@x", "sip:e@x"]));
    rig.answer(200);
    assert!(rig.pass(60).is_empty());
    // One that is larger than that alone is told all the same.
    rig.told(1, State::Active, Some(&"x".repeat(NOTIFICATION_MAX + 1)));
    assert!(rig.pass(5)[0].len() > NOTIFICATION_MAX);
}
