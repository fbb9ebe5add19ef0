//! How a watcher's subscription ends.

use super::*;

#[test]
fn pr_33_the_contact_says_no() {
    let mut rig = NotRig::pending();
    let told = rig.terminate(TerminateReason::Rejected);
    let last = notify("terminated;reason=rejected", "");
    assert_eq!(told, [Told::Ended(NotifierEnd::Terminated), last]);
    assert!(rig.machine.record().is_none());
    assert_eq!(rig.answer(200, &[]), [Told::Released]);
    assert_eq!(rig.machine.deadline(), None);
}

#[test]
fn ev_15_a_planned_stop() {
    let mut rig = NotRig::active();
    let told = rig.terminate(TerminateReason::Deactivated);
    assert_eq!(told[1], notify("terminated;reason=deactivated", "one"));
}

#[test]
fn the_watcher_is_told_when_to_come_back() {
    let mut rig = NotRig::pending();
    let fields = Vec::new();
    let end = Terminate { reason: TerminateReason::GiveUp, retry_after: Some(secs(300)), fields };
    rig.machine.terminate(end, &mut rig.world.cx());
    assert_eq!(rig.told()[1], notify("terminated;reason=giveup;retry-after=300", ""));
}

#[test]
fn pr_35_expires_0_ends_it() {
    let mut rig = NotRig::active();
    rig.document = "closed".into();
    let (answer, told) = rig.subscribe(2, &["Expires: 0"]);
    assert_eq!((answer.status, answer.header("Expires")), (200, Some("0")));
    let last = notify("terminated;reason=timeout", "closed");
    assert_eq!(told, [Told::Ended(NotifierEnd::Unsubscribed), last]);
    assert_eq!(rig.subscribe(3, &["Expires: 600"]).0.status, 481);
    assert_eq!(rig.answer(200, &[]), [Told::Released]);
}

#[test]
fn pr_37_and_ev_09_a_fetch_is_one_notify() {
    let (mut rig, answer) = NotRig::accepted(&["Expires: 0"]);
    rig.document = "known".into();
    assert_eq!((answer.status, answer.header("Expires")), (200, Some("0")));
    let last = notify("terminated;reason=timeout", "known");
    assert_eq!(rig.told(), [Told::Bound, Told::Ended(NotifierEnd::Fetched), last]);
    assert_eq!(rig.answer(200, &[]), [Told::Released]);
}

#[test]
fn pr_40_nobody_refreshes() {
    let mut rig = NotRig::active();
    assert_eq!(rig.tick(599_999), []);
    let last = notify("terminated;reason=timeout", "one");
    assert_eq!(rig.tick(600_000), [Told::Ended(NotifierEnd::Expired), last]);
}

#[test]
fn pr_40_also_when_a_notify_is_under_way() {
    let mut rig = NotRig::active();
    rig.world.at(599_000);
    rig.change("two");
    assert_eq!(rig.tick(600_000), [Told::Ended(NotifierEnd::Expired)]);
    assert_eq!(rig.answer(200, &[]), [notify("terminated;reason=timeout", "two")]);
}

#[test]
fn the_last_notify_is_not_paced_and_nothing_follows_it() {
    let mut rig = NotRig::active();
    rig.change("two");
    rig.answer(200, &[]);
    rig.change("three");
    let last = notify("terminated;reason=rejected", "three");
    assert_eq!(rig.terminate(TerminateReason::Rejected)[1], last);
    assert_eq!(rig.change("four"), []);
    rig.machine.set_active(false, &mut rig.world.cx());
    assert_eq!(rig.terminate(TerminateReason::Timeout), []);
    assert_eq!(rig.answer(200, &[]), [Told::Released]);
    assert_eq!(rig.change("five"), []);
}

#[test]
fn pr_41_answers_that_remove_it() {
    for status in [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604] {
        let mut rig = NotRig::active();
        rig.change("two");
        let told = rig.answer(status, &[]);
        assert_eq!(told, [Told::Ended(NotifierEnd::Refused(status)), Told::Released]);
        // EV-18: nothing more is sent.
        assert_eq!((rig.change("three"), rig.machine.deadline()), (vec![], None));
    }
}

#[test]
fn ev_18_other_refusals_remove_it_after_eight() {
    for status in [400, 401, 403, 407, 500, 503] {
        let mut rig = NotRig::active();
        rig.change("two");
        for _ in 1..MAX_REFUSALS {
            assert_eq!(rig.answer(status, &[]), [], "{status}");
            assert!(matches!(&rig.until_deadline()[..], [Told::Notify(_, body)] if body == "two"));
        }
        let told = rig.answer(status, &[]);
        assert_eq!(told, [Told::Ended(NotifierEnd::Refused(status)), Told::Released]);
    }
}

#[test]
fn ev_18_one_success_forgives() {
    let mut rig = NotRig::active();
    rig.change("two");
    for _ in 1..MAX_REFUSALS {
        rig.answer(500, &[]);
        rig.until_deadline();
    }
    assert_eq!(rig.answer(200, &[]), []);
    rig.change("three");
    rig.until_deadline();
    assert_eq!(rig.answer(500, &[]), []);
    assert!(!rig.machine.has_ended());
}

#[test]
fn retry_after_is_obeyed_within_reason() {
    for (asked, waits) in [(120, 120), (600, 600), (601, 600)] {
        let mut rig = NotRig::accepted(&["Expires: 3600"]).0;
        rig.told();
        rig.answer(503, &[("Retry-After", &asked.to_string())]);
        assert_eq!(rig.machine.deadline().unwrap() - rig.world.now, secs(waits));
    }
}

#[test]
fn pr_41_nobody_answers() {
    let mut rig = NotRig::active();
    rig.change("two");
    let told = rig.fail(Undelivered::Timeout);
    assert_eq!(told, [Told::Ended(NotifierEnd::Silent), Told::Released]);
}

#[test]
fn the_last_notify_is_tried_three_times() {
    let mut rig = NotRig::active();
    rig.terminate(TerminateReason::Rejected);
    for _ in 1..LAST_TRIES {
        assert_eq!(rig.fail(Undelivered::NotSent), [Told::Stalled(Undelivered::NotSent)]);
        assert_eq!(rig.until_deadline(), [notify("terminated;reason=rejected", "one")]);
    }
    assert_eq!(rig.fail(Undelivered::NotSent), [Told::Released]);
}

#[test]
fn an_outcome_that_never_comes_is_given_up() {
    let mut rig = NotRig::active();
    rig.change("two");
    rig.world.at(129_999);
    assert_eq!(rig.tick(129_999), []);
    assert_eq!(rig.tick(130_000), [Told::Stalled(Undelivered::Lost)]);
}

#[test]
fn an_outcome_of_something_older_does_nothing() {
    let mut rig = NotRig::active();
    rig.change("two");
    let refused = response(rig.sent.as_ref().unwrap(), 481, "x", &[]);
    rig.machine.response(rig.serial - 1, &refused, &mut rig.world.cx());
    rig.machine.failed(rig.serial + 1, Undelivered::Timeout, &mut rig.world.cx());
    assert_eq!(rig.told(), []);
    assert!(!rig.machine.has_ended());
}

#[test]
fn the_end_does_not_wait_for_what_stalled() {
    let mut rig = NotRig::active();
    rig.change("two");
    rig.answer(503, &[("Retry-After", "300")]);
    let last = notify("terminated;reason=rejected", "two");
    assert_eq!(rig.terminate(TerminateReason::Rejected)[1], last);
}
