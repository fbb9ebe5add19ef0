//! Next hops that come and go, and going back to the better one.

use super::Did::*;
use super::*;

const WRITTEN: Failure = Failure::ConnectionLost { written: true };

fn target(id: usize, rank: u32) -> HopTarget {
    HopTarget { id, label: format!("fe{id}.example:5061"), rank }
}

impl Rig {
    fn list(&mut self, targets: &[(usize, u32)]) -> Vec<Did> {
        let targets = targets.iter().map(|&(id, rank)| target(id, rank));
        self.group.list(targets, self.now);
        self.poll()
    }

    /// A group whose first next hop cannot be reached, and whose second is in use as connection 1.
    fn failed_over() -> Self {
        let mut rig = Self::new(TWO);
        rig.push(0);
        assert_eq!(rig.connect_failed("refused"), [Connect(1)]);
        assert_eq!(rig.connected(1), [Send(1, 0)]);
        assert_eq!(rig.response(0, 200), [Response(0, 200)]);
        rig
    }
}

#[test]
fn sip_13_the_preferred_one_is_used_again_once_it_can_be_reached() {
    let mut rig = Rig::failed_over();
    assert_eq!(rig.tick(59_999), []);
    assert_eq!(rig.tick(60_000), [Connect(0)]);
    assert_eq!(rig.push(1), [Send(1, 1)], "what leaves meanwhile takes the one that works");
    assert_eq!(rig.connected(2), [Release(1)]);
    assert_eq!(rig.push(2), [Send(2, 2)]);
    // What was under way is finished there.
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.closed(1), [], "the old one's end is nobody's loss");
    assert_eq!(rig.response(2, 200), [Response(2, 200)]);
    assert_eq!(rig.group.deadline(), None, "nothing better is left to look for");
}

#[test]
fn sip_13_what_waits_for_a_fail_back_that_hangs_gets_to_the_one_that_works_in_time() {
    let mut rig = Rig::failed_over();
    assert_eq!((rig.tick(60_000), rig.within), (vec![Connect(0)], Some(Duration::from_secs(10) / 3)));
    // The connection in use is lost: what is to leave waits for this attempt, and no longer than it may take.
    rig.closed(1);
    assert_eq!(rig.push(1), []);
    rig.at(63_334);
    assert_eq!(rig.connect_failed("hangs"), [Connect(1)]);
    assert_eq!(rig.connected(2), [Send(2, 1)]);
}

#[test]
fn while_the_preferred_one_cannot_be_reached_nothing_changes() {
    let mut rig = Rig::failed_over();
    for minute in 1..=3 {
        assert_eq!(rig.tick(minute * 60_000), [Connect(0)]);
        assert_eq!(rig.connect_failed("refused"), []);
        assert_eq!(rig.group.active(), Some((HopConnection(1), 1)));
        assert_eq!(rig.group.last_failure(), None, "requests go where they can");
    }
}

#[test]
fn a_connection_lost_while_a_better_one_is_tried_waits_for_that_one() {
    let mut rig = Rig::failed_over();
    assert_eq!(rig.tick(60_000), [Connect(0)]);
    rig.push(1);
    assert_eq!(rig.failed(1, WRITTEN), [Failed(1, HopFailure::Lost)]);
    assert_eq!(rig.push(2), [], "one attempt is enough");
    assert_eq!(rig.connected(2), [Send(2, 2)]);
}

#[test]
fn a_preferred_one_that_takes_connections_and_answers_nothing_is_tried_ever_less_often() {
    let mut rig = Rig::failed_over();
    let mut at = 0;
    for (connection, minutes) in [(10, 1), (20, 2), (30, 4), (40, 8), (50, 16), (60, 16)] {
        at += minutes * 60_000;
        assert_eq!(rig.tick(at - 1), [], "{minutes}");
        assert_eq!(rig.tick(at), [Connect(0)], "{minutes}");
        let did = rig.connected(connection);
        assert!(matches!(did[..], [Release(_)]), "{did:?}");
        assert_eq!(rig.push(1), [Send(connection, 1)]);
        let did = rig.failed(1, Failure::Timeout { heard: false });
        assert_eq!(did, [Release(connection), Failed(1, HopFailure::Timeout)]);
        assert_eq!(rig.push(2), [Connect(1)]);
        assert_eq!(rig.connected(connection + 1), [Send(connection + 1, 2)]);
        assert_eq!(rig.response(2, 200), [Response(2, 200)]);
    }
}

#[test]
fn one_of_equal_rank_is_not_preferred() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.list(&[(5, 10), (6, 10)]), []);
    rig.push(0);
    assert_eq!(rig.connect_failed("refused"), [Connect(6)]);
    rig.connected(1);
    rig.response(0, 200);
    assert_eq!(rig.group.deadline(), None);
    // DNS gives records of equal priority in another order each time.
    assert_eq!(rig.list(&[(6, 10), (5, 10)]), []);
    assert_eq!(rig.list(&[(5, 10), (6, 10)]), []);
    assert_eq!(rig.group.deadline(), None);
}

#[test]
fn requests_wait_for_the_first_list() {
    let mut rig = Rig::new(&[]);
    assert_eq!(rig.push(1), []);
    rig.at(3_000);
    assert_eq!(rig.list(&[(0, 0)]), [Connect(0)]);
    assert_eq!(rig.connected(1), [Send(1, 1)]);
}

#[test]
fn without_a_list_they_come_back_with_the_reason() {
    let mut rig = Rig::new(&[]);
    rig.push(1);
    rig.group.nothing_listed("contoso.com", "DNS does not answer");
    assert!(rig.group.is_backing_off(rig.now), "nobody is there to connect to");
    let failure = unreachable("contoso.com", "DNS does not answer");
    let mut did = Vec::new();
    for millis in [2_000, 5_000, 9_999] {
        did.extend(rig.tick(millis));
    }
    assert_eq!(did, []);
    assert_eq!(rig.tick(10_000), [Failed(1, failure)]);
}

#[test]
fn a_connection_to_one_that_is_not_listed_any_more_is_exchanged_at_once_but_used_until_then() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    assert_eq!(rig.list(&[(7, 0), (8, 1)]), [Connect(7)]);
    assert_eq!(rig.push(2), [Send(1, 2)]);
    assert_eq!(rig.connect_failed("refused"), [Connect(8)]);
    assert_eq!(rig.connected(2), [Release(1)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.response(2, 200), [Response(2, 200)]);
    assert_eq!(rig.push(3), [Send(2, 3)]);
}

#[test]
fn an_empty_list_ends_nothing_that_works() {
    let mut rig = Rig::up(TWO);
    assert_eq!(rig.list(&[]), []);
    assert_eq!(rig.push(1), [Send(1, 1)]);
    assert_eq!(rig.tick(600_000), []);
}

#[test]
fn a_new_one_need_not_wait_for_the_back_off_of_the_others() {
    let mut rig = Rig::new(ONE);
    rig.push(1);
    assert_eq!(rig.connect_failed("refused"), []);
    assert_eq!(rig.list(&[(0, 0)]), [], "the same as before");
    assert_eq!(rig.list(&[(0, 0), (9, 1)]), [Connect(0)]);
    assert_eq!(rig.connect_failed("refused"), [Connect(9)]);
    assert_eq!(rig.connected(1), [Send(1, 1)]);
}

#[test]
fn what_is_known_against_a_next_hop_outlives_a_new_list() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    assert_eq!(rig.response_with(1, 503, "Retry-After: 30\r\n"), [Release(1), Connect(1)]);
    rig.connected(2);
    rig.response(1, 200);
    assert_eq!(rig.list(&[(0, 0), (1, 1), (2, 2)]), []);
    rig.at(10_000);
    rig.closed(2);
    assert_eq!(rig.push(2), [Connect(1)], "the first one has asked to be left alone");
}

#[test]
fn a_drained_group_looks_for_nothing_better() {
    let mut rig = Rig::failed_over();
    rig.push(1);
    rig.group.drain();
    assert_eq!(rig.tick(60_000), []);
    assert_eq!(rig.response(1, 200), [Response(1, 200), Release(1)]);
}

#[test]
fn sip_06_a_connection_that_is_given_up_finishes_what_it_has_and_carries_nothing_more() {
    let mut rig = Rig::up(TWO);
    rig.push(1);
    rig.group.give_up(HopConnection(9), rig.now);
    assert_eq!(rig.poll(), [], "it is another one");
    rig.group.give_up(HopConnection(1), rig.now);
    assert_eq!(rig.poll(), [Release(1)]);
    assert_eq!(rig.push(2), [Connect(0)]);
    assert_eq!(rig.response(1, 200), [Response(1, 200)]);
    assert_eq!(rig.connected(2), [Send(2, 2)]);
}

#[test]
fn who_knows_better_has_the_preferred_one_tried_at_once() {
    let mut rig = Rig::failed_over();
    assert!(rig.group.is_second_best());
    rig.group.retry_now(rig.now);
    assert_eq!(rig.poll(), [Connect(0)]);
    assert!(!rig.group.is_second_best(), "it is being tried");
    assert_eq!(rig.connected(2), [Release(1)]);
    assert!(!rig.group.is_second_best());
}
