//! One rule each.

use super::Did::*;
use super::*;

const UNWRITTEN: Failure = Failure::ConnectionLost { written: false };
const WRITTEN: Failure = Failure::ConnectionLost { written: true };

#[test]
fn connects_on_the_first_request_once_and_sends_in_order() {
    let mut rig = Rig::new(ONE);
    assert_eq!(rig.poll(), []);
    assert_eq!(rig.push(1), [Connect(0)]);
    assert_eq!(rig.push(2), [], "connecting is single-flight");
    assert_eq!(rig.connected(7), [Send(7, 1), Send(7, 2)]);
    assert_eq!(rig.push(3), [Send(7, 3)]);
    assert_eq!(rig.response(2, 404), [Response(2, 404)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert!(!rig.group.is_idle());
    assert_eq!(rig.response(3, 200), [Response(3, 200)]);
    assert!(rig.group.is_idle());
    assert_eq!(rig.group.deadline(), None);
}

#[test]
fn sip_13_the_next_target_is_tried_after_a_connect_failure() {
    let mut rig = Rig::new(TWO);
    assert_eq!(rig.push(1), [Connect(0)]);
    assert_eq!(rig.connect_failed("connection refused"), [Connect(1)]);
    assert_eq!(rig.group.last_failure().unwrap().to_string(), "fe1.example:5061: connection refused");
    assert_eq!(rig.connected(7), [Send(7, 1)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.group.last_failure(), None);
    // The next time, preference counts again.
    assert_eq!(rig.at(60_000).closed(7), []);
    assert_eq!(rig.push(2), [Connect(0)]);
}

#[test]
fn sip_13_a_next_hop_that_hangs_is_given_up_in_time_for_the_others() {
    let third = Duration::from_secs(10) / 3;
    let mut rig = Rig::new(&["fe1.example:5061", "fe2.example:5061", "fe3.example:5061"]);
    assert_eq!((rig.push(1), rig.within), (vec![Connect(0)], Some(third)));
    assert_eq!((rig.connect_failed("hangs"), rig.within), (vec![Connect(1)], Some(third)));
    assert_eq!((rig.connect_failed("hangs"), rig.within), (vec![Connect(2)], None), "nobody is left to try");
    assert!(third * ATTEMPTS_PER_HOLD <= HopConfig::default().hold);
    let mut rig = Rig::new(ONE);
    assert_eq!((rig.push(1), rig.within), (vec![Connect(0)], None));
}

#[test]
fn after_all_targets_failed_it_waits_ever_longer_up_to_the_cap() {
    let mut rig = Rig::with(TWO, |config| config.hold = Duration::from_secs(3_600));
    assert_eq!(rig.push(1), [Connect(0)]);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(rig.connect_failed("no"), [Connect(1)]);
        assert_eq!(rig.connect_failed("no"), []);
        let deadline = rig.group.deadline().unwrap();
        waits.push((deadline - rig.now).as_secs_f64());
        rig.now = deadline - Duration::from_millis(1);
        rig.group.handle_timeout(rig.now);
        assert_eq!(rig.poll(), []);
        rig.now = deadline;
        rig.group.handle_timeout(rig.now);
        assert_eq!(rig.poll(), [Connect(0)]);
    }
    for (wait, step) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) {
        assert!((step / 2.0..step).contains(wait), "{waits:?}");
    }
    // Success begins anew.
    assert_eq!(rig.connected(1), [Send(1, 1)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.closed(1), []);
    assert_eq!(rig.push(2), [Connect(0)]);
    rig.connect_failed("no");
    rig.connect_failed("no");
    assert!(rig.group.deadline().unwrap() - rig.now < Duration::from_secs(1));
}

#[test]
fn nothing_is_connected_in_the_back_off_and_nothing_without_need() {
    let mut rig = Rig::new(ONE);
    rig.push(1);
    rig.connect_failed("no");
    assert_eq!(rig.push(2), []);
    let failure = unreachable(ONE[0], "no");
    assert_eq!(rig.tick(10_000), [Failed(1, failure.clone()), Failed(2, failure)]);
    assert_eq!(rig.group.deadline(), None);
    assert_eq!(rig.tick(60_000), [], "nobody wants anything sent");
    assert_eq!(rig.push(3), [Connect(0)]);
}

#[test]
fn a_request_is_held_10_s_and_not_longer() {
    let mut rig = Rig::new(ONE);
    rig.push(1);
    rig.at(4_000).push(2);
    assert_eq!(rig.group.deadline(), Some(rig.start + Duration::from_secs(10)));
    assert_eq!(rig.tick(9_999), []);
    assert_eq!(rig.tick(10_000), [Failed(1, HopFailure::Unreachable { last: None })]);
    assert_eq!(rig.connected(1), [Send(1, 2)]);
}

#[test]
fn what_waited_too_long_is_not_sent_by_a_late_connection() {
    let mut rig = Rig::new(ONE);
    rig.push(1);
    // The timer was late, the connection came first.
    assert_eq!(rig.at(10_000).connected(1), [Failed(1, HopFailure::Unreachable { last: None })]);
}

#[test]
fn never_twice_a_request_of_which_anything_may_have_left_is_not_sent_again() {
    for (why, failure) in
        [(WRITTEN, HopFailure::Lost), (Failure::Timeout { heard: false }, HopFailure::Timeout)]
    {
        let mut rig = Rig::up(TWO);
        rig.push(1);
        assert!(failure.may_have_arrived());
        let did = rig.failed(1, why);
        assert!(did.contains(&Failed(1, failure)), "{did:?}");
        assert!(!did.iter().any(|did| matches!(did, Send(..))), "{did:?}");
        assert!(rig.group.is_idle());
    }
}

#[test]
fn a_request_of_which_nothing_left_goes_out_again_in_its_place() {
    let mut rig = Rig::up(TWO);
    for n in 1..=4 {
        rig.push(n);
    }
    let first = rig.branch(3).to_owned();
    assert_eq!(rig.failed(1, WRITTEN), [Failed(1, HopFailure::Lost)]);
    assert_eq!(rig.failed(2, WRITTEN), [Failed(2, HopFailure::Lost)]);
    // Out of order, and with a new one in between.
    assert_eq!(rig.failed(4, UNWRITTEN), [Connect(0)]);
    assert_eq!(rig.push(5), []);
    assert_eq!(rig.failed(3, UNWRITTEN), []);
    assert_eq!(rig.closed(1), [], "said already by the first failure");
    assert_eq!(rig.connected(2), [Send(2, 3), Send(2, 4), Send(2, 5)]);
    assert_eq!(rig.branch(3), first, "nobody has seen it: no need for another branch");
}

#[test]
fn sip_13_503_goes_to_the_next_target_with_a_new_branch() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    assert_eq!(rig.branch(1), "z9hG4bKn1-1");
    assert_eq!(rig.response(1, 503), [Release(1), Connect(1)]);
    assert_eq!(rig.push(2), []);
    assert_eq!(rig.connected(2), [Send(2, 1), Send(2, 2)]);
    assert_eq!(rig.branch(1), "z9hG4bKn1-1.2");
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.response(2, 200), [Response(2, 200)]);
    assert!(rig.group.is_idle());
}

#[test]
fn a_503_of_the_last_target_is_the_answer() {
    let mut rig = Rig::up(ONE);
    rig.push(1);
    assert_eq!(rig.response(1, 503), [Response(1, 503)]);
    assert_eq!(rig.push(2), [Send(1, 2)], "there is nobody else: the connection stays");

    let mut rig = Rig::up(TWO);
    rig.push(1);
    rig.response(1, 503);
    rig.connected(2);
    assert_eq!(rig.response(1, 503), [Response(1, 503)]);
    assert_eq!(rig.push(2), [Send(2, 2)]);
    assert_eq!(rig.response(2, 503), [Response(2, 503)], "no flapping between two that refuse");
}

#[test]
fn other_requests_on_the_released_connection_are_finished_there() {
    let mut rig = Rig::up(TWO);
    for n in 1..=4 {
        rig.push(n);
    }
    assert_eq!(rig.response(1, 503), [Release(1), Connect(1)]);
    assert_eq!(rig.response(2, 200), [Response(2, 200)]);
    assert_eq!(rig.connected(2), [Send(2, 1)]);
    assert_eq!(rig.response(3, 503), [Send(2, 3)], "a late refusal follows the others");
    assert_eq!(rig.failed(4, WRITTEN), [Failed(4, HopFailure::Lost)]);
    assert_eq!(rig.group.active(), Some((HopConnection(2), 1)), "another connection was lost, not this one");
}

#[test]
fn a_target_that_answered_503_is_left_alone_for_a_while() {
    for (extra, millis) in [
        ("", 5_000),
        ("Retry-After: 20\r\n", 20_000),
        ("Retry-After: 1\r\n", 5_000),
        ("Retry-After: 4000000000\r\n", 60_000),
    ] {
        for (after, target) in [(millis - 1, 1), (millis, 0)] {
            let mut rig = Rig::up(TWO);
            rig.push(1);
            rig.response_with(1, 503, extra);
            rig.connected(2);
            rig.response(1, 200);
            rig.at(after).closed(2);
            assert_eq!(rig.push(2), [Connect(target)], "{extra} after {after} ms");
        }
    }
}

#[test]
fn a_target_to_be_left_alone_is_still_better_than_none() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    assert_eq!(rig.response(1, 503), [Release(1), Connect(1)]);
    assert_eq!(rig.connect_failed("no"), [Connect(0)]);
    assert_eq!(rig.connected(2), [Send(2, 1)]);
    assert_eq!(rig.response(1, 503), [Response(1, 503)], "it has been asked as often as there are targets");
}

#[test]
fn a_503_that_finds_nobody_else_in_time_is_the_answer() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    rig.response(1, 503);
    rig.connect_failed("no");
    rig.connect_failed("no");
    assert_eq!(rig.tick(10_000), [Response(1, 503)]);
    // And one that comes when the hold is over is so at once.
    let mut rig = Rig::up(TWO);
    rig.push(1);
    assert_eq!(rig.at(10_000).response(1, 503), [Response(1, 503)]);
}

#[test]
fn a_connection_that_ends_at_once_counts_as_failed() {
    let mut rig = Rig::new(TWO);
    rig.push(1);
    rig.connected(1);
    assert_eq!(rig.failed(1, UNWRITTEN), [Connect(1)]);
    rig.connected(2);
    assert_eq!(rig.failed(1, UNWRITTEN), [], "both failed: back-off");
    assert!(rig.group.deadline().unwrap() <= rig.now + Duration::from_secs(1));
    assert_eq!(rig.tick(10_000), [Failed(1, unreachable(TWO[1], "it closed the connection at once"))]);

    // One that lived, or answered, does not.
    for (connected_until, answered) in [(5_000, false), (0, true)] {
        let mut rig = Rig::new(TWO);
        rig.push(1);
        rig.connected(1);
        if answered {
            rig.response(1, 200);
        }
        rig.at(connected_until).closed(1);
        assert_eq!(rig.push(2), [Connect(0)]);
    }
}

#[test]
fn a_connection_nobody_answers_on_is_given_up() {
    let mut rig = Rig::up(TWO);
    rig.at(1_000).push(1);
    rig.at(2_000).push(2);
    // Number 2 was answered after number 1 was sent: somebody is there.
    rig.response(2, 200);
    assert_eq!(rig.at(33_000).failed(1, Failure::Timeout { heard: false }), [Failed(1, HopFailure::Timeout)]);
    assert_eq!(rig.push(3), [Send(1, 3)]);
    assert_eq!(
        rig.at(65_000).failed(3, Failure::Timeout { heard: false }),
        [Release(1), Failed(3, HopFailure::Timeout)]
    );
    assert_eq!(rig.push(4), [Connect(1)]);
}

#[test]
fn a_connection_on_which_somebody_answers_provisionally_is_kept() {
    let mut rig = Rig::up(TWO);
    rig.at(1_000).push(1);
    let timeout = Failure::Timeout { heard: true };
    assert_eq!(rig.at(33_000).failed(1, timeout), [Failed(1, HopFailure::Timeout)]);
    assert_eq!(rig.push(2), [Send(1, 2)]);
}

#[test]
fn the_window_bounds_what_is_sent_and_the_order_holds() {
    let mut rig = Rig::with(ONE, |config| config.window = 2);
    rig.push(1);
    rig.push(2);
    rig.push(3);
    assert_eq!(rig.connected(1), [Send(1, 1), Send(1, 2)]);
    assert_eq!(rig.push(4), []);
    assert_eq!(rig.response(2, 200), [Response(2, 200), Send(1, 3)]);
    assert_eq!(rig.tick(10_000), [Failed(4, HopFailure::Congested)]);
    assert_eq!(rig.failed(1, Failure::Timeout { heard: false }), [Failed(1, HopFailure::Timeout)]);
}

#[test]
fn the_queue_is_bounded_by_count() {
    let mut rig = Rig::with(ONE, |config| config.max_requests = 2);
    rig.push(1);
    rig.push(2);
    let refused = rig.group.push(request(3), 3, rig.now);
    assert_eq!(refused, Err(PushRefused { why: PushRefusal::Full, envelope: 3 }));
    rig.connected(1);
    assert!(rig.group.push(request(3), 3, rig.now).is_err(), "what waits for its answer counts");
    rig.response(1, 200);
    assert_eq!(rig.push(3), [Send(1, 3)]);
}

#[test]
fn the_queue_is_bounded_by_bytes() {
    let size = request(1).bytes().len();
    for (limit, fits) in [(2 * size, true), (2 * size - 1, false)] {
        let mut rig = Rig::with(TWO, |config| config.max_bytes = limit);
        rig.push(1);
        assert_eq!(rig.group.push(request(2), 2, rig.now).is_ok(), fits);
    }
    // What comes back gives back what it took, also after its branch has grown.
    let mut rig = Rig::with(TWO, |config| config.max_bytes = size);
    rig.push(1);
    rig.connected(1);
    rig.response(1, 503);
    rig.connected(2);
    rig.response(1, 200);
    assert_eq!(rig.push(2), [Send(2, 2)]);
    assert_eq!(rig.group.load(), 1);
}

#[test]
fn a_connection_without_room_gets_it_again_when_one_has_come_back() {
    let mut rig = Rig::up(ONE);
    rig.push(1);
    rig.push(2);
    rig.push(3);
    for n in [3, 2] {
        let envelope = rig.take(n);
        rig.group.refused(SendRefused { why: Why::Full, envelope }, rig.now);
    }
    assert_eq!(rig.poll(), []);
    assert_eq!(rig.response(1, 200), [Response(1, 200), Send(1, 2), Send(1, 3)]);
}

#[test]
fn a_connection_that_is_closed_already_costs_nothing() {
    let mut rig = Rig::up(ONE);
    rig.push(1);
    let envelope = rig.take(1);
    rig.group.refused(SendRefused { why: Why::Closed, envelope }, rig.now);
    assert_eq!(rig.poll(), [Connect(0)]);
    assert_eq!(rig.connected(2), [Send(2, 1)]);
}

#[test]
fn a_branch_in_use_comes_back() {
    let mut rig = Rig::up(ONE);
    rig.push(1);
    let envelope = rig.take(1);
    rig.group.refused(SendRefused { why: Why::BranchInUse, envelope }, rig.now);
    assert_eq!(rig.poll(), [Failed(1, HopFailure::BranchInUse)]);
}

#[test]
fn retry_now_ends_the_back_off_and_connects_without_need() {
    let mut rig = Rig::new(ONE);
    rig.push(1);
    assert!(!rig.group.is_backing_off(rig.now));
    rig.connect_failed("no");
    assert!(rig.group.is_backing_off(rig.now));
    rig.group.retry_now(rig.now);
    assert_eq!(rig.poll(), [Connect(0)]);
    assert!(!rig.group.is_backing_off(rig.now));
    rig.group.retry_now(rig.now);
    assert_eq!(rig.poll(), [], "single flight");
    assert_eq!(rig.connected(1), [Send(1, 1)]);
    rig.group.retry_now(rig.now);
    assert_eq!(rig.poll(), []);
    let mut rig = Rig::new(ONE);
    rig.group.retry_now(rig.now);
    assert_eq!(rig.poll(), [Connect(0)]);
    assert_eq!(rig.connected(1), []);
    assert_eq!(rig.push(1), [Send(1, 1)]);
}

#[test]
fn a_knock_connects_without_need_but_does_not_end_the_back_off() {
    let mut rig = Rig::new(ONE);
    rig.group.knock(rig.now);
    assert_eq!(rig.poll(), [Connect(0)]);
    rig.group.knock(rig.now);
    assert_eq!(rig.poll(), [], "single flight");
    rig.connect_failed("no");
    rig.group.knock(rig.now);
    assert_eq!(rig.poll(), [], "it failed a moment ago");
    rig.now += Duration::from_secs(2);
    rig.group.knock(rig.now);
    assert_eq!(rig.poll(), [Connect(0)]);
    assert_eq!(rig.connected(1), []);
    rig.group.knock(rig.now);
    assert_eq!(rig.poll(), []);
}

#[test]
fn a_connection_nobody_asked_for_is_released() {
    let mut rig = Rig::up(ONE);
    assert_eq!(rig.connected(9), [Release(9)]);
    assert_eq!(rig.connect_failed("no"), []);
    assert_eq!(rig.closed(9), []);
    assert_eq!(rig.push(1), [Send(1, 1)]);
}

#[test]
fn draining_finishes_and_then_releases() {
    let mut rig = Rig::up(ONE);
    rig.push(1);
    rig.group.drain();
    assert_eq!(rig.poll(), []);
    let refused = rig.group.push(request(2), 2, rig.now);
    assert_eq!(refused, Err(PushRefused { why: PushRefusal::ShuttingDown, envelope: 2 }));
    assert_eq!(rig.response(1, 200), [Response(1, 200), Release(1)]);
    assert!(rig.group.is_idle());

    let mut rig = Rig::new(ONE);
    rig.push(1);
    rig.group.drain();
    assert_eq!(rig.connected(1), [Send(1, 1)], "what was taken is still sent");
    assert_eq!(rig.response(1, 200), [Response(1, 200), Release(1)]);

    let mut rig = Rig::up(ONE);
    rig.group.drain();
    assert_eq!(rig.poll(), [Release(1)]);
}

#[test]
fn abandoning_gives_back_what_was_not_sent() {
    let mut rig = Rig::new(ONE);
    rig.push(1);
    rig.push(2);
    rig.group.abandon();
    assert_eq!(rig.poll(), [Failed(1, HopFailure::ShuttingDown), Failed(2, HopFailure::ShuttingDown)]);
    assert_eq!(rig.connected(1), [Release(1)]);
}

#[test]
fn what_is_taken_back_when_its_turn_comes_is_given_back_and_the_rest_goes_on() {
    let mut rig = Rig::with(ONE, |config| config.window = 1);
    rig.push(1);
    rig.push(2);
    rig.push(3);
    assert_eq!(rig.connected(1), [Send(1, 1)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200), Send(1, 2)]);
    let outgoing = rig.take(2);
    rig.group.withdraw(outgoing, rig.now);
    assert_eq!(rig.poll(), [Failed(2, HopFailure::Withdrawn), Send(1, 3)]);
    assert_eq!(rig.response(3, 200), [Response(3, 200)]);
    assert!(rig.group.is_idle());
}

#[test]
fn what_is_taken_back_before_its_turn_comes_is_given_back_and_the_rest_leaves() {
    let mut rig = Rig::with(ONE, |config| config.window = 2);
    for number in 1..=4 {
        rig.push(number);
    }
    rig.group.withdraw_waiting(|envelope| envelope % 2 == 0, rig.now);
    assert_eq!(rig.poll(), [Failed(2, HopFailure::Withdrawn), Failed(4, HopFailure::Withdrawn)]);
    // Of two that have been given out and not taken, and one that waits, the middle one.
    rig.push(5);
    rig.group.connected(HopConnection(1), rig.now);
    rig.group.withdraw_waiting(|envelope| *envelope == 3, rig.now);
    assert_eq!(rig.poll(), [Send(1, 1), Failed(3, HopFailure::Withdrawn), Send(1, 5)], "its place is free");
    for number in [1, 5] {
        assert_eq!(rig.response(number, 200), [Response(number, 200)]);
    }
    assert!(rig.group.is_idle());
}

#[test]
fn a_group_without_targets_refuses_after_the_hold() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.push(1), []);
    assert_eq!(rig.tick(10_000), [Failed(1, HopFailure::Unreachable { last: None })]);
    rig.group.retry_now(rig.now);
    assert_eq!(rig.poll(), []);
}

#[test]
fn as_many_targets_as_bits_and_not_one_more() {
    let labels: Vec<_> = (0..=MAX_TARGETS).map(|n| format!("fe{n}:5061")).collect();
    let labels: Vec<_> = labels.iter().map(String::as_str).collect();
    let mut rig = Rig::new(&labels);
    assert_eq!(rig.push(1), [Connect(0)]);
    for n in 1..MAX_TARGETS {
        assert_eq!(rig.connect_failed("no"), [Connect(n)]);
    }
    assert_eq!(rig.connect_failed("no"), [], "the round is over");
}

#[test]
fn failures_speak_to_people() {
    let text = unreachable("fe1.example:5061", "the certificate names fe2.example").to_string();
    assert_eq!(text, "no front end could be reached: fe1.example:5061: the certificate names fe2.example");
    assert_eq!(HopFailure::Unreachable { last: None }.to_string(), "no front end could be reached");
}
