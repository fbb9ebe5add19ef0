//! What a subscriber answers to NOTIFY.

use super::*;

#[test]
fn ev_04_a_notify_before_the_2xx_makes_the_dialog() {
    let mut rig = SubRig::trying();
    let routes = ["Record-Route: <sip:a.example;lr>, <sip:b.example;lr>", "Contact: <sip:romeo@pc.example>"];
    let notify = Notify { tag: "early", extra: &routes, ..Notify::default() };
    assert_eq!(rig.notify_as(&notify), (200, vec![Did::Active(None)]));
    // The 2xx says something else about itself: it does not count.
    let other = [
        ("Expires", "3600"),
        ("Contact", "<sip:other@elsewhere.example>"),
        ("Record-Route", "<sip:wrong.example;lr>"),
    ];
    assert_eq!(rig.answer(200, &other), []);
    assert_eq!(rig.machine.record().unwrap().0.remote_tag, "early");
    rig.until_deadline();
    let refresh = rig.sent();
    let routes: Vec<_> = refresh.headers(HeaderName::Route).collect();
    assert_eq!(routes, ["<sip:a.example;lr>", "<sip:b.example;lr>"]);
    assert_eq!(refresh.request_uri(), "sip:romeo@pc.example");
    assert_eq!(refresh.to_header().unwrap().tag(), Some("early"));
}

#[test]
fn ev_04_after_a_notify_the_lost_2xx_is_not_missed() {
    let mut rig = SubRig::trying();
    rig.notify("active;expires=600");
    assert_eq!(rig.fail(Undelivered::Lost), []);
    assert!(rig.machine.is_live());
    assert_eq!(rig.until_deadline(), [Did::Send(3600)]);
}

#[test]
fn pr_02_pending_is_answered_and_said_as_such() {
    let mut rig = SubRig::trying();
    rig.ok();
    for _ in 0..3 {
        assert_eq!(rig.notify("pending;expires=600"), (200, vec![Did::Pending]));
    }
    // A state nobody defined promises no more.
    assert_eq!(rig.notify("waiting"), (200, vec![Did::Pending]));
}

#[test]
fn pr_04_active_without_body_has_no_document() {
    let mut rig = SubRig::live();
    assert_eq!(rig.notify("active"), (200, vec![Did::Active(None)]));
    let notify = Notify { cseq: 9, body: "<presence/>", ..Notify::default() };
    assert_eq!(rig.notify_as(&notify), (200, vec![Did::Active(Some("<presence/>".into()))]));
}

#[test]
fn ev_05_verdicts_leave_everything_as_it_was() {
    let other_event = Notify { cseq: 5, event: "dialog", ..Notify::default() };
    let other_case = Notify { cseq: 5, event: "Presence", ..Notify::default() };
    let other_id = Notify { cseq: 5, event: "presence;id=7", ..Notify::default() };
    let no_event = Notify { cseq: 5, event: "", ..Notify::default() };
    let no_state = Notify { cseq: 5, state: "", ..Notify::default() };
    let bad_state = Notify { cseq: 5, state: "act ive", ..Notify::default() };
    let other_tag = Notify { cseq: 5, tag: "fork", ..Notify::default() };
    let no_tag = Notify { cseq: 5, tag: "", ..Notify::default() };
    for (notify, status) in [
        (other_event, 489),
        (other_case, 489),
        (no_event, 489),
        (other_id, 481),
        (no_state, 400),
        (bad_state, 400),
        (other_tag, 481),
        (no_tag, 481),
    ] {
        let mut rig = SubRig::live();
        let before = rig.machine.record();
        assert_eq!(rig.notify_as(&notify), (status, vec![]), "{} {}", notify.event, notify.state);
        assert_eq!(rig.machine.record(), before);
    }
}

#[test]
fn ev_05_other_call_id_or_to_tag_is_481() {
    let mut rig = SubRig::live();
    let text =
        String::from_utf8(Notify { cseq: 5, ..Notify::default() }.to(rig.sent()).raw().to_vec()).unwrap();
    let record = rig.machine.record().unwrap().0;
    for (from, to) in [(record.call_id.as_str(), "other"), (record.local_tag.as_str(), "other")] {
        let request = Message::parse(text.replacen(from, to, 9).into()).unwrap();
        assert_eq!(rig.machine.notify(&request, &mut rig.world.cx()).status, 481);
    }
    let request = Message::parse(text.into()).unwrap();
    assert_eq!(rig.machine.notify(&request, &mut rig.world.cx()).status, 200);
}

#[test]
fn ev_02_other_parameters_of_event_do_not_count() {
    let mut rig = SubRig::live();
    let notify = Notify { cseq: 5, event: "presence;whatever=1", ..Notify::default() };
    assert_eq!(rig.notify_as(&notify).0, 200);
}

#[test]
fn ev_01_489_says_what_we_do_understand() {
    let mut rig = SubRig::live();
    let request = Notify { event: "dialog", ..Notify::default() }.to(rig.sent());
    let answer = rig.machine.notify(&request, &mut rig.world.cx());
    assert_eq!(answer.header("Allow-Events"), Some("presence"));
}

#[test]
fn ev_08_and_dec_21_further_forks_get_481() {
    let mut rig = SubRig::trying();
    rig.ok();
    assert_eq!(rig.notify_as(&Notify { tag: "first", ..Notify::default() }).0, 200);
    let second = Notify { tag: "second", cseq: 7, ..Notify::default() };
    assert_eq!(rig.notify_as(&second), (481, vec![]));
    assert_eq!(rig.machine.record().unwrap().0.remote_tag, "first");
}

#[test]
fn ev_14_a_lower_number_gets_500_and_an_equal_one_is_a_repeat() {
    let mut rig = SubRig::trying();
    rig.ok();
    let body = "new";
    assert_eq!(rig.notify_as(&Notify { cseq: 10, body, ..Notify::default() }).0, 200);
    let before = rig.machine.record().unwrap().0;
    let old = Notify { cseq: 9, state: "terminated", ..Notify::default() };
    assert_eq!(rig.notify_as(&old), (500, vec![]));
    let repeat = Notify { cseq: 10, body, ..Notify::default() };
    assert_eq!(rig.notify_as(&repeat), (200, vec![]));
    assert_eq!(rig.machine.record().unwrap().0, before);
    // Gaps are fine.
    assert_eq!(rig.notify_as(&Notify { cseq: 1000, ..Notify::default() }).0, 200);
}

#[test]
fn a_body_we_did_not_ask_for_gets_415_and_changes_nothing() {
    for extra in ["Content-Type: text/html", "Content-Type: application/pidf+xml\r\nContent-Encoding: gzip"] {
        let mut rig = SubRig::live();
        let notify = Notify { cseq: 5, body: "x", extra: &[extra], ..Notify::default() };
        assert_eq!(rig.notify_as(&notify), (415, vec![]), "{extra}");
        // The end counts, whatever comes with it.
        let notify = Notify { state: "terminated", ..notify };
        assert_eq!(rig.notify_as(&notify).0, 200);
        assert!(rig.machine.is_idle());
    }
}

#[test]
fn the_body_of_a_known_type_may_carry_parameters() {
    let mut rig = SubRig::live();
    let extra = ["Content-Type: Application/PIDF+XML; charset=UTF-8"];
    let notify = Notify { cseq: 5, body: "x", extra: &extra, ..Notify::default() };
    assert_eq!(rig.notify_as(&notify).0, 200);
}

#[test]
fn nobody_expects_a_notify_without_subscription() {
    let mut rig = SubRig::live();
    let request = Notify { cseq: 9, ..Notify::default() }.to(rig.sent());
    rig.notify("terminated;reason=rejected");
    assert_eq!(rig.machine.notify(&request, &mut rig.world.cx()).status, 481);
    assert_eq!(check_notify(&request, &rig.world.config).status, 481);
}
