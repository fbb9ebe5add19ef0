//! How a subscription of ours ends.

use super::*;

fn ended(reason: EndReason, again: Again) -> Vec<Did> {
    vec![Did::Released, Did::Ended(reason, again)]
}

#[test]
fn pr_20_to_28_reasons_of_the_notifier() {
    use Again::*;
    use EndReason::*;
    let wait = After(secs(90));
    for (state, reason, again) in [
        ("terminated;reason=deactivated", Deactivated, AtOnce),
        ("terminated;reason=deactivated;retry-after=90", Deactivated, AtOnce),
        ("terminated;reason=probation", Probation, Whenever),
        ("terminated;reason=probation;retry-after=90", Probation, wait),
        ("terminated;reason=rejected", Rejected, Never),
        ("terminated;reason=rejected;retry-after=90", Rejected, Never),
        ("terminated;reason=timeout", Timeout, AtOnce),
        ("terminated;reason=giveup", GiveUp, Whenever),
        ("terminated;reason=giveup;retry-after=90", GiveUp, wait),
        ("terminated;reason=noresource", NoResource, Never),
        ("terminated;reason=invariant;retry-after=90", Invariant, Never),
        ("terminated", Other, Whenever),
        ("terminated;retry-after=90", Other, wait),
        ("terminated;reason=tired", Other, Whenever),
        ("Terminated;reason=REJECTED", Rejected, Never),
        // PR-28: no meaning here.
        ("terminated;expires=3600", Other, Whenever),
    ] {
        let mut rig = SubRig::live();
        assert_eq!(rig.notify(state), (200, ended(reason, again)), "{state}");
        assert!(rig.machine.is_idle() && rig.machine.record().is_none());
        assert_eq!(rig.machine.deadline(), None);
    }
}

#[test]
fn the_first_notify_may_be_the_last() {
    let mut rig = SubRig::trying();
    let did = ended(EndReason::Rejected, Again::Never);
    assert_eq!(rig.notify("terminated;reason=rejected"), (200, did));
    // The 2xx that comes late does no harm.
    assert_eq!(rig.ok(), []);
    assert!(rig.machine.is_idle());
}

#[test]
fn every_final_error_refuses_the_first_subscribe() {
    for status in [301, 400, 401, 403, 404, 406, 407, 480, 481, 489, 500, 503, 603] {
        let mut rig = SubRig::trying();
        assert_eq!(rig.answer(status, &[]), [Did::Released, Did::Refused(status, false)]);
        assert!(rig.machine.is_idle());
        // EV-06: what comes late finds nothing.
        assert_eq!(rig.notify("active").0, 481);
    }
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let mut rig = SubRig::trying();
    let response = response(rig.sent(), 503, "x", &[("Retry-After", "120")]);
    rig.machine.response(rig.serial, &response, &mut rig.world.cx());
    let reports = std::iter::from_fn(|| rig.machine.poll());
    let waits: Vec<_> = reports
        .filter_map(|output| match output {
            SubscriberOutput::Report(SubscriberReport::Refused { retry_after, .. }) => retry_after,
            _ => None,
        })
        .collect();
    assert_eq!(waits, [secs(120)]);
}

#[test]
fn ev_07_and_dec_09_failures_of_a_refresh() {
    for status in [404, 405, 410, 416, 480, 482, 483, 484, 485, 489, 501, 604, 403, 603] {
        let mut rig = SubRig::refreshing();
        assert_eq!(rig.answer(status, &[]), [Did::Released, Did::Refused(status, true)], "{status}");
    }
    for status in [400, 401, 406, 407, 408, 413, 486, 500, 502, 503, 504, 600] {
        let mut rig = SubRig::refreshing();
        assert_eq!(rig.answer(status, &[]), [], "{status}");
        assert!(rig.machine.is_live(), "{status}");
        // It is tried again, as long as it lasts, and then it is over.
        let mut tries = 0;
        let end = loop {
            match rig.until_deadline() {
                did if did == [Did::Send(3600)] => tries += 1,
                did => break did,
            }
            rig.answer(status, &[]);
        };
        assert_eq!(end, [Did::Released, Did::Failed(SubscribeFailure::Expired)], "{status}");
        assert_eq!(rig.world.now - rig.world.start, secs(3600));
        assert!((3..30).contains(&tries), "{tries} tries");
    }
}

#[test]
fn retry_after_puts_the_next_refresh_off() {
    let mut rig = SubRig::refreshing();
    rig.answer(503, &[("Retry-After", "3000")]);
    assert_eq!(rig.until_deadline(), [Did::Send(3600)]);
    assert_eq!(rig.world.now - rig.world.start, secs(3000));
}

#[test]
fn transport_failures_are_told_apart() {
    for why in [Undelivered::NotSent, Undelivered::Lost, Undelivered::Timeout] {
        let failed = Did::Failed(SubscribeFailure::Undelivered(why));
        assert_eq!(SubRig::trying().fail(why), [Did::Released, failed]);
        let mut rig = SubRig::refreshing();
        assert_eq!(rig.fail(why), []);
        assert!(rig.machine.is_live());
    }
}

#[test]
fn ev_06_without_a_notify_it_never_was() {
    let mut rig = SubRig::trying();
    rig.world.at(1_000);
    rig.ok();
    assert_eq!(rig.tick(32_999), []);
    let failed = [Did::Released, Did::Failed(SubscribeFailure::NoNotify)];
    assert_eq!(rig.tick(33_000), failed);
    assert_eq!(rig.notify("active").0, 481);
}

#[test]
fn ev_06_timer_n_ends_a_refreshed_subscription() {
    let mut rig = SubRig::refreshing();
    rig.ok();
    assert_eq!(rig.tick(31_999), []);
    assert_eq!(rig.tick(32_000), [Did::Released, Did::Failed(SubscribeFailure::NoNotify)]);
}

#[test]
fn ev_06_a_notify_before_the_2xx_of_a_refresh_counts() {
    let mut rig = SubRig::refreshing();
    rig.notify("active;expires=3600");
    rig.ok();
    assert_eq!(rig.tick(40_000), []);
    assert!(rig.machine.is_live());
}

#[test]
fn ev_06_204_announces_no_notify() {
    let mut rig = SubRig::refreshing();
    rig.answer(204, &[("Expires", "3600")]);
    assert_eq!(rig.tick(40_000), []);
    assert!(rig.machine.is_live());
}

#[test]
fn pr_09_unsubscribe_waits_for_the_last_notify() {
    let mut rig = SubRig::live();
    rig.machine.unsubscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Send(0)]);
    assert_eq!(rig.sent().to_header().unwrap().tag(), Some("fe1"));
    assert_eq!(rig.ok(), []);
    // What comes meanwhile is answered and not told.
    assert_eq!(rig.notify("active"), (200, vec![]));
    assert_eq!(rig.notify("terminated;reason=timeout"), (200, vec![Did::Released, GONE]));
    assert!(rig.machine.is_idle());
}

#[test]
fn pr_09_and_for_64_t1_at_most() {
    let mut rig = SubRig::live();
    rig.machine.unsubscribe(&mut rig.world.cx());
    rig.did();
    rig.ok();
    assert_eq!(rig.tick(31_999), []);
    assert_eq!(rig.tick(32_000), [Did::Released, GONE]);
}

#[test]
fn unsubscribing_ends_whatever_is_answered() {
    for status in [204, 403, 423, 481, 500] {
        let mut rig = SubRig::live();
        rig.machine.unsubscribe(&mut rig.world.cx());
        rig.did();
        assert_eq!(rig.answer(status, &[("Min-Expires", "7200")]), [Did::Released, GONE], "{status}");
    }
    for why in [Undelivered::NotSent, Undelivered::Lost, Undelivered::Timeout] {
        let mut rig = SubRig::live();
        rig.machine.unsubscribe(&mut rig.world.cx());
        rig.did();
        assert_eq!(rig.fail(why), [Did::Released, GONE]);
    }
}

#[test]
fn unsubscribing_before_there_is_a_dialog_waits_for_it() {
    let mut rig = SubRig::trying();
    rig.machine.unsubscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), []);
    rig.ok();
    assert_eq!(rig.notify("active"), (200, vec![Did::Send(0)]));
    rig.ok();
    assert_eq!(rig.notify("terminated").1, [Did::Released, GONE]);
}

#[test]
fn one_request_at_a_time() {
    let mut rig = SubRig::refreshing();
    rig.machine.refresh(&mut rig.world.cx());
    rig.machine.unsubscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), []);
    assert_eq!(rig.ok(), [Did::Send(0)]);
}

#[test]
fn a_wish_during_the_end_begins_anew_after_it() {
    let mut rig = SubRig::live();
    rig.machine.unsubscribe(&mut rig.world.cx());
    rig.machine.subscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Send(0)]);
    rig.ok();
    let did = rig.notify("terminated").1;
    assert_eq!(did, [Did::Released, GONE, Did::Bound, Did::Send(3600)]);
}

#[test]
fn an_unsubscribe_that_has_not_left_can_be_taken_back() {
    let mut rig = SubRig::refreshing();
    rig.machine.unsubscribe(&mut rig.world.cx());
    rig.machine.subscribe(&mut rig.world.cx());
    assert_eq!(rig.ok(), []);
    assert!(rig.machine.is_live());
}

#[test]
fn unsubscribing_from_nothing_is_told_at_once() {
    let mut rig = SubRig::idle();
    rig.machine.subscribe_after(secs(5), &mut rig.world.cx());
    rig.machine.unsubscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), [GONE]);
    assert_eq!(rig.machine.deadline(), None);
}

#[test]
fn an_outcome_that_never_comes_is_given_up() {
    let mut rig = SubRig::trying();
    assert_eq!(rig.tick(119_999), []);
    let failed = Did::Failed(SubscribeFailure::Undelivered(Undelivered::Lost));
    assert_eq!(rig.tick(120_000), [Did::Released, failed]);
}

#[test]
fn an_outcome_of_something_older_does_nothing() {
    let mut rig = SubRig::refreshing();
    let response = response(rig.sent(), 404, "fe1", &[]);
    rig.machine.response(rig.serial - 1, &response, &mut rig.world.cx());
    rig.machine.failed(rig.serial + 1, Undelivered::Lost, &mut rig.world.cx());
    assert_eq!(rig.did(), []);
    assert_eq!(rig.answer(404, &[]), [Did::Released, Did::Refused(404, true)]);
}

#[test]
fn dec_28_eight_tries_with_growing_waits() {
    let mut world = World::new(3);
    let mut retry = Retry::default();
    let mut least = 15;
    for _ in 0..TRIES {
        let wait = retry.failed(None, &mut world.cx()).unwrap();
        assert!(secs(least) <= wait && wait <= secs(least * 2), "{wait:?}");
        least = (least * 2).min(1800);
    }
    assert_eq!(retry.failed(None, &mut world.cx()), None);
    retry.succeeded();
    assert_eq!(retry.failed(Some(secs(500)), &mut world.cx()), Some(secs(500)));
    let day = 24 * 3600;
    for asked in [day, day + 1] {
        assert_eq!(retry.failed(Some(secs(asked)), &mut world.cx()), Some(secs(day)));
    }
}

#[test]
fn after_an_end_everything_begins_anew() {
    let mut rig = SubRig::live();
    rig.machine.unsubscribe(&mut rig.world.cx());
    rig.did();
    rig.ok();
    rig.notify("terminated");
    rig.machine.subscribe(&mut rig.world.cx());
    assert_eq!(rig.did(), [Did::Bound, Did::Send(3600)]);
    rig.ok();
    rig.cseq = 0;
    assert_eq!(rig.notify("active"), (200, vec![Did::Active(None)]));
    assert!(rig.machine.is_live());
}

#[test]
fn what_the_next_hop_could_not_do() {
    use crate::hop::HopFailure;
    for failure in [
        HopFailure::Timeout,
        HopFailure::Lost,
        HopFailure::Unreachable { last: None },
        HopFailure::Congested,
        HopFailure::BranchInUse,
        HopFailure::ShuttingDown,
        HopFailure::Withdrawn,
    ] {
        let known = Undelivered::from(&failure);
        let may_have_arrived = !matches!(known, Undelivered::NotSent | Undelivered::Withdrawn);
        assert_eq!(may_have_arrived, failure.may_have_arrived(), "{failure}");
    }
}
