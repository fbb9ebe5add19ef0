//! What Lync adds to subscriptions.

use super::*;
use crate::Method;

const LYNC: &[&str] = &[
    "Expires: 600",
    "Supported: com.microsoft.autoextend",
    "Supported: ms-piggyback-first-notify",
    "Supported: ms-benotify",
    "Proxy-Require: ms-benotify",
];
const SUPPORTED: &str = "com.microsoft.autoextend, ms-benotify";

/// A watcher of this kind who may see `one`, and has been told so.
fn watching(extra: &[&str]) -> NotRig {
    let (mut rig, _) = NotRig::accepted(extra);
    rig.document = "one".into();
    rig.machine.set_active(true, &mut rig.world.cx());
    assert_eq!(rig.told(), [Told::Bound, notify("active;expires=600", "one")]);
    if rig.method() == Method::Benotify {
        rig.leaves()
    } else {
        rig.answer(200, &[])
    };
    rig
}

/// The same, who asks to be told with the answer.
fn piggyback(rig: &mut NotRig, answer: Answer) -> Answer {
    let content = rig.document.clone();
    let mut document = |_| {
        let media = "application/pidf+xml";
        (!content.is_empty()).then(|| Document {
            media,
            body: content.clone().into(),
            language: None,
            require: None,
            fields: Vec::new(),
        })
    };
    rig.machine.piggyback(answer, &mut rig.world.cx(), &mut document)
}

#[test]
fn a_watcher_gets_what_he_asks_for_and_no_more() {
    for (extra, supported, method) in [
        (&["Expires: 600"] as &[_], None, Method::Notify),
        (&["Expires: 600", "Supported: ms-benotify"], Some("ms-benotify"), Method::Benotify),
        (&["Expires: 600", "Proxy-Require: MS-BENOTIFY"], Some("ms-benotify"), Method::Benotify),
        (
            &["Expires: 600", "Supported: x, com.microsoft.autoextend"],
            Some("com.microsoft.autoextend"),
            Method::Notify,
        ),
        (&["Expires: 600", "Supported: ms-piggyback-first-notify"], None, Method::Notify),
        (&["Expires: 600", "Proxy-Require: com.microsoft.autoextend"], None, Method::Notify),
        (LYNC, Some(SUPPORTED), Method::Benotify),
    ] {
        let (mut rig, answer) = NotRig::accepted(extra);
        assert_eq!((answer.status, answer.header("Supported")), (200, supported), "{extra:?}");
        rig.told();
        assert_eq!(rig.method(), method, "{extra:?}");
        crate::check_request(rig.sent.as_ref().unwrap()).unwrap();
    }
}

#[test]
fn what_is_not_given_is_not_promised() {
    let (mut rig, answer) = NotRig::accepted_with(LYNC, |config| {
        config.gives = Extras { benotify: true, ..Extras::default() };
    });
    assert_eq!(answer.header("Supported"), Some("ms-benotify"));
    rig.told();
    let (answer, _) = rig.subscribe(2, LYNC);
    assert_eq!(answer.header("Supported"), Some("ms-benotify"));
}

#[test]
fn a_benotify_is_settled_as_soon_as_it_has_left() {
    let mut rig = watching(LYNC);
    rig.tick(5_000);
    assert_eq!(rig.change("two"), [notify("active;expires=600", "two")]);
    assert_eq!(cseq(rig.sent.as_ref().unwrap()), 2);
    assert_eq!(rig.leaves(), []);
    assert_eq!(rig.tick(40_000), [], "no answer is missed");
    assert_eq!(rig.change("three").len(), 1);
}

#[test]
fn a_benotify_that_has_not_left_is_written_anew() {
    let mut rig = watching(LYNC);
    rig.tick(5_000);
    rig.change("two");
    assert_eq!(rig.fail(Undelivered::NotSent), [Told::Stalled(Undelivered::NotSent)]);
    rig.change("three");
    let told = rig.until_deadline();
    assert!(matches!(&told[..], [Told::Notify(_, body)] if body == "three"), "{told:?}");
}

#[test]
fn the_last_word_wants_an_answer_for_it_takes_something_back() {
    let mut rig = watching(LYNC);
    let told = rig.terminate(TerminateReason::NoResource);
    let last = notify("terminated;reason=noresource", "one");
    assert_eq!(told, [Told::Ended(NotifierEnd::Terminated), last]);
    assert_eq!(rig.method(), Method::Notify);
    assert_eq!(rig.answer(200, &[]), [Told::Released]);
}

#[test]
fn each_notification_extends_the_subscription_for_who_asks_for_that() {
    let mut rig = watching(LYNC);
    rig.tick(500_000);
    assert_eq!(rig.change("two"), [notify("active;expires=600", "two")]);
    rig.leaves();
    assert_eq!(rig.tick(1_099_000), []);
    let last = notify("terminated;reason=timeout", "two");
    assert_eq!(rig.tick(1_100_000), [Told::Ended(NotifierEnd::Expired), last]);
}

#[test]
fn nothing_is_extended_before_the_notification_has_left() {
    let mut rig = watching(LYNC);
    rig.tick(500_000);
    rig.change("two");
    rig.fail(Undelivered::NotSent);
    assert_eq!(rig.machine.expires_at(), Some(rig.world.start + secs(600)));
}

#[test]
fn a_watcher_who_has_long_said_nothing_has_to_answer() {
    let mut rig = watching(LYNC);
    rig.tick(400_000);
    rig.change("two");
    rig.leaves();
    // Within what was granted he has been heard.
    rig.tick(600_000);
    rig.change("three");
    assert_eq!(rig.method(), Method::Benotify);
    rig.leaves();
    rig.tick(900_000);
    assert_eq!(rig.change("four"), [notify("active;expires=600", "four")]);
    assert_eq!(rig.method(), Method::Notify);
    rig.answer(200, &[]);
    assert_eq!(rig.machine.expires_at(), Some(rig.world.start + secs(1500)));
    rig.tick(910_000);
    rig.change("five");
    assert_eq!(rig.method(), Method::Benotify, "he has answered");
    rig.leaves();
    rig.tick(1_505_000);
    rig.change("six");
    assert_eq!(rig.method(), Method::Notify);
    assert_eq!(rig.answer(481, &[]), [Told::Ended(NotifierEnd::Refused(481)), Told::Released]);
}

#[test]
fn extended_for_a_day_it_is_to_be_begun_anew() {
    let mut rig = watching(LYNC);
    let day = u64::try_from(EXTENDED_AT_MOST.as_millis()).unwrap();
    for at in (500_000..day).step_by(500_000) {
        rig.tick(at);
        let told = rig.change(&at.to_string());
        assert_eq!(told.len(), 1, "at {at}: {told:?}");
        if rig.method() == Method::Benotify {
            rig.leaves()
        } else {
            rig.answer(200, &[])
        };
    }
    let told = rig.tick(day);
    let Some(Told::Notify(state, _)) = told.last() else { panic!("{told:?}") };
    assert_eq!(state, "terminated;reason=deactivated");
    assert_eq!(told[0], Told::Ended(NotifierEnd::Expired));
}

#[test]
fn a_refresh_says_anew_what_is_asked_for() {
    let mut rig = watching(LYNC);
    let (answer, _) = rig.subscribe(2, &["Expires: 600"]);
    assert_eq!((answer.header("Supported"), rig.method()), (None, Method::Notify));
    rig.answer(200, &[]);
    let (answer, _) = rig.subscribe(3, &["Expires: 600", "Supported: ms-benotify"]);
    assert_eq!((answer.header("Supported"), rig.method()), (Some("ms-benotify"), Method::Benotify));
}

#[test]
fn the_first_document_stands_in_the_answer() {
    let (mut rig, answer) = NotRig::accepted(LYNC);
    rig.document = "one".into();
    rig.machine.set_active(true, &mut rig.world.cx());
    let answer = piggyback(&mut rig, answer);
    assert_eq!(answer.body.as_deref(), Some(&("application/pidf+xml", "one".into())));
    for (name, value) in [
        ("Event", "presence"),
        ("Subscription-State", "active;expires=600"),
        ("ms-piggyback-cseq", "1"),
        ("Expires", "600"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let supported: Vec<_> =
        answer.headers.iter().filter(|(name, _)| *name == "Supported").map(|(_, value)| &**value).collect();
    assert_eq!(supported, [SUPPORTED, "ms-piggyback-first-notify"]);
    assert_eq!(rig.told(), [Told::Bound], "no NOTIFY follows");
    assert_eq!(rig.change("two"), [], "and news is paced as after one");
    assert_eq!(rig.tick(5_000), [notify("active;expires=600", "two")]);
    assert_eq!(cseq(rig.sent.as_ref().unwrap()), 2);
}

#[test]
fn a_refresh_is_answered_with_the_document_unless_an_older_one_is_under_way() {
    let mut rig = watching(&["Expires: 600"]);
    let request = subscribe(2, "ours", LYNC);
    let answer = rig.machine.subscribe(&request, |_| true, &mut rig.world.cx());
    let answer = piggyback(&mut rig, answer);
    assert_eq!((answer.header("ms-piggyback-cseq"), rig.told()), (Some("2"), vec![]));
    rig.tick(5_000);
    rig.change("two");
    let request = subscribe(3, "ours", LYNC);
    let answer = rig.machine.subscribe(&request, |_| true, &mut rig.world.cx());
    let answer = piggyback(&mut rig, answer);
    assert_eq!((answer.header("ms-piggyback-cseq"), &answer.body), (None, &None));
    assert_eq!(rig.leaves(), [notify("active;expires=600", "two")]);
}

#[test]
fn what_is_not_to_be_seen_stands_in_no_answer() {
    for (active, document, extra) in
        [(false, "one", LYNC), (true, "", LYNC), (true, "one", &["Expires: 600", "Supported: ms-benotify"])]
    {
        let (mut rig, answer) = NotRig::accepted(extra);
        rig.document = document.into();
        rig.machine.set_active(active, &mut rig.world.cx());
        let before = answer.clone();
        assert_eq!(piggyback(&mut rig, answer), before, "{active} {document:?} {extra:?}");
        assert_eq!(rig.told().len(), 2, "a notification follows");
    }
}

#[test]
fn a_question_for_once_is_answered_by_a_notification() {
    let (mut rig, answer) = NotRig::accepted(&["Expires: 0", "Supported: ms-piggyback-first-notify"]);
    rig.document = "one".into();
    assert_eq!(piggyback(&mut rig, answer).body, None);
    assert_eq!(rig.told().last(), Some(&notify("terminated;reason=timeout", "one")));
}

/// What a front end adds to its 2xx.
fn with_document<'a>(number: &'a str, state: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("Expires", "3600"),
        ("Contact", "<sip:romeo@fe.example:5061>"),
        ("Event", "presence"),
        ("Subscription-State", state),
        ("ms-piggyback-cseq", number),
    ]
}

/// The 2xx with it.
fn grant(rig: &mut SubRig, fields: &[(&'static str, &str)], body: (&str, &[u8])) -> Vec<Did> {
    let mut out = Vec::new();
    let head = ResponseHead::from_request(rig.sent(), "fe1", "192.0.2.1:5061".parse().unwrap()).unwrap();
    head.write(&mut out, 200, "OK", fields, Some(body));
    let response = Message::parse(out.into()).unwrap();
    rig.machine.response(rig.serial, &response, &mut rig.world.cx());
    rig.did()
}

const ONE: (&str, &[u8]) = ("application/pidf+xml", b"<one/>");

#[test]
fn a_document_in_the_2xx_is_the_first_notify() {
    let mut rig = SubRig::trying();
    let did = grant(&mut rig, &with_document("1", "active;expires=3000"), ONE);
    assert_eq!(did, [Did::Active(Some("<one/>".into()))]);
    assert!(rig.machine.is_live());
    assert_eq!(rig.machine.lasting().unwrap().1, rig.world.now + secs(3000));
    assert_eq!(rig.tick(33_000), [], "no NOTIFY is missed");
    assert_eq!(rig.notify_as(&Notify { cseq: 1, ..Notify::default() }).1, [], "it stood for this one");
    assert_eq!(rig.notify_as(&Notify { cseq: 2, ..Notify::default() }), (200, vec![Did::Active(None)]));
}

#[test]
fn a_document_in_the_2xx_to_a_refresh_renews_as_well() {
    let mut rig = SubRig::refreshing();
    let did = grant(&mut rig, &with_document("2", "active"), ONE);
    assert_eq!(did, [Did::Active(Some("<one/>".into()))]);
    assert_eq!(rig.machine.lasting().unwrap().1, rig.world.now + secs(3600));
}

#[test]
fn a_document_in_the_2xx_that_is_older_than_a_notify_is_left_alone() {
    let mut rig = SubRig::trying();
    assert_eq!(rig.notify("active;expires=3600").1, [Did::Active(None)]);
    assert_eq!(grant(&mut rig, &with_document("1", "active"), ONE), []);
    assert!(rig.machine.is_live());
}

#[test]
fn what_cannot_be_read_in_a_2xx_is_awaited_in_a_notify() {
    let other: (&str, &[u8]) = ("application/foo", b"x");
    for (at, field, body) in [
        (2, ("Event", "foo"), ONE),
        (3, ("Subscription-State", "?;?"), ONE),
        (4, ("ms-piggyback-cseq", "x"), ONE),
        (0, ("Expires", "3600"), other),
        (0, ("Expires", "3600"), ("application/pidf+xml", b"")),
    ] {
        let mut rig = SubRig::trying();
        let mut fields = with_document("1", "active");
        fields[at] = field;
        let name = field.0;
        assert_eq!(grant(&mut rig, &fields, body), [], "{name}");
        assert_eq!(rig.notify("active;expires=3600").1, [Did::Active(None)], "{name}");
    }
}

#[test]
fn a_2xx_may_bring_the_end() {
    let mut rig = SubRig::trying();
    let did = grant(&mut rig, &with_document("1", "terminated;reason=noresource"), ONE);
    assert_eq!(did, [Did::Released, Did::Ended(EndReason::NoResource, Again::Never)]);
}
