//! Keeping a watcher informed.

use super::*;

#[test]
fn ev_03_pr_31_and_dec_10_200_and_notify_at_once() {
    let (mut rig, answer) = NotRig::accepted(&["Expires: 600"]);
    assert_eq!((answer.status, answer.header("Expires")), (200, Some("600")));
    assert_eq!(rig.told(), [Told::Bound, notify("pending;expires=600", "")]);
    let sent = rig.sent.as_ref().unwrap();
    crate::check_request(sent).unwrap();
    assert_eq!(sent.method(), crate::Method::Notify);
    assert_eq!(sent.header(HeaderName::From), Some("<sip:juliet@im.example>;tag=ours"));
    assert_eq!(sent.header(HeaderName::To), Some("<sip:romeo@sip.example>;tag=fe9;epid=1234"));
    assert_eq!(sent.call_id().unwrap(), "c1@fe.example");
    assert_eq!(sent.header(HeaderName::Event), Some("presence"));
}

#[test]
fn ev_11_our_contact_leads_here_and_is_that_of_no_other_dialog() {
    let (mut rig, answer) = NotRig::accepted(&[]);
    let contact = "<sip:juliet@gw.example:5061;transport=tls;gr=ours>";
    assert_eq!(answer.header("Contact"), Some(contact));
    rig.told();
    assert_eq!(rig.sent.unwrap().header(HeaderName::Contact), Some(contact));
}

#[test]
fn ev_13_the_answer_names_our_package() {
    assert_eq!(NotRig::accepted(&[]).1.header("Allow-Events"), Some("presence"));
}

#[test]
fn ev_02_the_id_of_the_watcher_comes_back() {
    let (mut rig, _) = NotRig::accepted(&["Event: presence;id=42;x=y"]);
    rig.told();
    assert_eq!(rig.sent.unwrap().header(HeaderName::Event), Some("presence;id=42"));
}

#[test]
fn pr_30_without_expires_it_is_an_hour() {
    let (mut rig, answer) = NotRig::accepted(&[]);
    assert_eq!(answer.header("Expires"), Some("3600"));
    assert_eq!(rig.told()[1], notify("pending;expires=3600", ""));
}

#[test]
fn pr_38_what_remains_never_grows() {
    let mut rig = NotRig::active();
    let mut before = 595;
    for step in 3..100 {
        rig.tick(step * 5_500);
        let Some(Told::Notify(state, _)) = rig.change(&step.to_string()).pop() else { panic!() };
        let left: u32 = state.strip_prefix("active;expires=").unwrap().parse().unwrap();
        assert!(left < before, "{left} after {before}");
        before = left;
        rig.answer(200, &[]);
    }
}

#[test]
fn pr_42_changes_are_put_together_and_the_last_one_leaves() {
    let mut rig = NotRig::active();
    assert_eq!(rig.change("two"), [notify("active;expires=590", "two")]);
    assert_eq!(rig.answer(200, &[]), []);
    let asked = rig.asked;
    for change in 0..100 {
        assert_eq!(rig.change(&change.to_string()), []);
    }
    assert_eq!(rig.asked, asked, "written before it left");
    assert_eq!(rig.tick(14_999), []);
    assert_eq!(rig.tick(15_000), [notify("active;expires=585", "99")]);
    assert_eq!(rig.asked, asked + 1);
    assert_eq!(rig.answer(200, &[]), []);
    assert_eq!(rig.tick(60_000), [], "nothing new, nothing sent");
}

#[test]
fn one_notify_at_a_time() {
    let mut rig = NotRig::active();
    rig.change("two");
    assert_eq!(rig.tick(20_000), []);
    assert_eq!(rig.change("three"), []);
    assert_eq!(rig.tick(30_000), []);
    assert_eq!(rig.answer(200, &[]), [notify("active;expires=570", "three")]);
}

#[test]
fn pr_32_activation_is_told_once() {
    let mut rig = NotRig::pending();
    rig.machine.set_active(true, &mut rig.world.cx());
    assert_eq!(rig.tick(5_000), [notify("active;expires=595", "")]);
    rig.answer(200, &[]);
    rig.machine.set_active(true, &mut rig.world.cx());
    assert_eq!(rig.tick(60_000), []);
}

#[test]
fn pr_34_a_refresh_is_answered_with_the_state_as_known() {
    let mut rig = NotRig::active();
    let (answer, told) = rig.subscribe(2, &["Expires: 900"]);
    assert_eq!((answer.status, answer.header("Expires")), (200, Some("900")));
    assert_eq!(answer.header("Record-Route"), None);
    assert_eq!(told, [notify("active;expires=900", "one")]);
    // It is not held up by the interval, and may be shorter than what was left.
    rig.answer(200, &[]);
    assert_eq!(rig.subscribe(3, &["Expires: 60"]).1, [notify("active;expires=60", "one")]);
    rig.answer(200, &[]);
    rig.document.clear();
    assert_eq!(rig.subscribe(4, &["Expires: 60"]).1, [notify("active;expires=60", "")]);
}

#[test]
fn a_refresh_moves_the_target() {
    let mut rig = NotRig::active();
    let (_, told) = rig.subscribe(2, &["Expires: 600", "Contact: <sip:romeo@new.example>"]);
    assert_eq!(told.len(), 1);
    assert_eq!(rig.sent.as_ref().unwrap().request_uri(), "sip:romeo@new.example");
}

#[test]
fn ev_14_subscribes_out_of_order_and_repeated() {
    let mut rig = NotRig::active();
    assert_eq!(rig.subscribe(7, &["Expires: 600"]).0.status, 200);
    rig.answer(200, &[]);
    let record = rig.machine.record();
    let (answer, told) = rig.subscribe(6, &["Expires: 0", "Contact: <sip:evil@x.example>"]);
    assert_eq!((answer.status, told), (500, vec![]));
    assert_eq!(rig.machine.record(), record);
    let (answer, told) = rig.subscribe(7, &["Expires: 600"]);
    assert_eq!((answer.status, told), (200, vec![]));
    assert_eq!(rig.machine.record(), record);
}

#[test]
fn a_refused_subscribe_leaves_everything_as_it_was() {
    for (extra, status) in [
        ("Event: foo", 489),
        ("Event: presence;id=other", 403),
        ("Accept: application/foo", 406),
        ("Expires: 1", 423),
        ("Contact: <sip:victim@192.0.2.9>", 403),
        ("From: <sip:romeo@sip.example>;tag=fork", 481),
        ("Call-ID: other", 481),
    ] {
        let mut rig = NotRig::active();
        let before = rig.machine.record();
        let request = subscribe(2, "ours", &[extra]);
        let ours = |uri: &crate::Uri<'_>| uri.as_str().contains("sip.example");
        let answer = rig.machine.subscribe(&request, ours, &mut rig.world.cx());
        assert_eq!((answer.status, rig.told()), (status, vec![]), "{extra}");
        assert_eq!(rig.machine.record(), before, "{extra}");
    }
}

#[test]
fn what_was_never_sent_is_sent_as_it_is_by_then() {
    let mut rig = NotRig::active();
    rig.change("two");
    assert_eq!(rig.fail(Undelivered::NotSent), [Told::Stalled(Undelivered::NotSent)]);
    assert_eq!(rig.change("three"), []);
    let did = rig.until_deadline();
    let after = rig.world.now - rig.world.start;
    assert!(secs(10) < after && after <= secs(11), "{after:?}");
    let Told::Notify(_, body) = &did[0] else { panic!("{did:?}") };
    assert_eq!(body, "three");
}

#[test]
fn a_stalled_notify_leaves_when_the_way_is_free() {
    let mut rig = NotRig::active();
    rig.change("two");
    for _ in 0..8 {
        rig.fail(Undelivered::NotSent);
        rig.until_deadline();
    }
    rig.fail(Undelivered::NotSent);
    let wait = rig.machine.deadline().unwrap() - rig.world.now;
    assert!(secs(30) <= wait && wait <= secs(60), "{wait:?}");
    rig.machine.retry(&mut rig.world.cx());
    assert!(matches!(&rig.told()[..], [Told::Notify(_, body)] if body == "two"));
}

#[test]
fn a_watcher_that_refreshes_is_there_again() {
    let mut rig = NotRig::active();
    rig.change("two");
    rig.fail(Undelivered::NotSent);
    assert_eq!(rig.subscribe(2, &["Expires: 600"]).1, [notify("active;expires=600", "two")]);
}

#[test]
fn what_may_have_arrived_is_sent_again() {
    let mut rig = NotRig::active();
    rig.change("two");
    let first = cseq(rig.sent.as_ref().unwrap());
    assert_eq!(rig.fail(Undelivered::Lost), [Told::Stalled(Undelivered::Lost)]);
    assert!(matches!(&rig.until_deadline()[..], [Told::Notify(_, body)] if body == "two"));
    assert_eq!(cseq(rig.sent.as_ref().unwrap()), first + 1);
}

#[test]
fn a_document_may_name_its_language() {
    let (mut rig, _) = NotRig::accepted(&[]);
    let mut document = |_| {
        let body = "x".into();
        Some(Document {
            media: "application/pidf+xml",
            body,
            language: Some("de".into()),
            require: None,
            fields: Vec::new(),
        })
    };
    let mut sent = None;
    while let Some(output) = rig.machine.poll(&mut rig.world.cx(), &mut document) {
        if let NotifierOutput::Send { request, .. } = output {
            sent = Some(Message::parse(request.bytes().clone()).unwrap());
        }
    }
    let sent = sent.unwrap();
    assert_eq!(sent.header(HeaderName::ContentLanguage), Some("de"));
    assert_eq!(sent.header(HeaderName::ContentType), Some("application/pidf+xml"));
}
