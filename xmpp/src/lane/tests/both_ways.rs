//! Lanes on streams that carry stanzas both ways (XEP-0288), ours and the peer's.

use super::*;
use crate::sm::{Management, Misuse};

const ENABLE: Management = Management::Enable { resume: true };

fn hear(world: &mut World, element: Management) -> Result<(), Misuse> {
    world.lane.managed(&element, world.now)
}

#[test]
fn a_stream_of_the_peer_carries_what_waits_for_one_of_ours() {
    let mut world = World::small();
    world.push(1).unwrap();
    assert_eq!(world.outputs(), ["connect"]);
    assert!(world.lane.opened_by_peer(world.now));
    assert_eq!(world.take(), "<m1/><ping 1/>");
    world.written();
    assert_eq!(world.outputs(), ["written 1"]);
    // Our own attempt comes too late, whatever comes of it.
    assert!(!world.lane.opened(world.offer, world.now));
    world.lane.connect_failed(unreachable(), 0, world.now);
    assert!(world.lane.is_open() && world.lane.last_failure().is_none());
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/>");
}

#[test]
fn it_ends_a_back_off_and_is_asked_for_by_nobody() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.lane.connect_failed(unreachable(), 512, world.now);
    world.outputs();
    assert!(world.lane.opened_by_peer(world.now));
    assert_eq!(world.take(), "<m1/><ping 1/>");

    let mut idle = World::small();
    assert!(idle.lane.opened_by_peer(idle.now));
    assert!(!idle.lane.opened_by_peer(idle.now), "one stream carries a lane");
    assert_eq!(idle.outputs(), [""; 0]);
}

#[test]
fn when_it_ends_the_lane_asks_for_another() {
    let mut world = World::small();
    assert!(world.lane.opened_by_peer(world.now));
    world.after(60.0);
    world.push(1).unwrap();
    world.lane.closed(None, 512, world.now);
    assert_eq!(world.outputs(), ["connect"]);
}

#[test]
fn nothing_is_taken_on_it_while_the_gateway_stops() {
    let mut world = World::small();
    world.lane.drain();
    world.outputs();
    assert!(!world.lane.opened_by_peer(world.now));
}

#[test]
fn sm_01_the_peer_counts_from_its_enable_on() {
    let mut world = World::small();
    assert!(world.lane.opened_by_peer(world.now));
    world.push(1).unwrap();
    assert_eq!(world.take(), "<m1/><ping 1/>");
    world.written();
    assert_eq!(world.outputs(), ["written 1"]);
    hear(&mut world, ENABLE).unwrap();
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/><r xmlns='urn:xmpp:sm:3'/>");
    world.written();
    assert_eq!(world.outputs(), [""; 0], "the acknowledgement answers the sender");
    hear(&mut world, Management::Answer { handled: 1 }).unwrap();
    assert_eq!(world.outputs(), ["written 2"]);
    let high = hear(&mut world, Management::Answer { handled: 2 });
    assert_eq!(high, Err(Misuse::TooHigh { handled: 2, sent: 1 }));
}

#[test]
fn what_was_written_before_the_peer_counted_is_proved_by_a_ping_that_it_counts() {
    let mut world = World::small();
    assert!(world.lane.opened_by_peer(world.now));
    world.push(1).unwrap();
    assert_eq!(world.take(), "<m1/><ping 1/>");
    world.written();
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/>", "one ping at a time");
    world.written();
    hear(&mut world, ENABLE).unwrap();
    world.lane.ping_answered(1);
    assert_eq!(world.take(), "<ping 2/><r xmlns='urn:xmpp:sm:3'/>");
    world.written();
    hear(&mut world, Management::Answer { handled: 1 }).unwrap();
    assert_eq!(world.lane.counters().confirmed, 1, "the ping is not the stanza before it");
    world.lane.ping_answered(2);
    assert_eq!(world.lane.counters().confirmed, 2);
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), [""; 0]);
}

#[test]
fn what_is_lost_with_it_may_have_arrived_and_is_not_sent_again() {
    let mut world = World::small();
    assert!(world.lane.opened_by_peer(world.now));
    hear(&mut world, ENABLE).unwrap();
    world.push(1).unwrap();
    world.take();
    world.written();
    world.close();
    assert_eq!(world.outputs(), ["in flight 1"]);
}

#[test]
fn a_session_that_can_be_resumed_waits_for_a_stream_of_ours() {
    let mut world = World::small();
    world.offer.management = true;
    world.push(1).unwrap();
    world.open();
    world.take();
    hear(&mut world, Management::Enabled { resumable: Some("s1".into()) }).unwrap();
    world.take();
    world.written();
    world.close();
    world.outputs();
    assert!(!world.lane.opened_by_peer(world.now));
    world.after(2.0);
    world.outputs();
    world.open();
    assert!(world.take().starts_with("<resume "));
}

#[test]
fn when_such_a_session_is_given_up_the_lane_says_that_a_stream_of_the_peer_may_carry_it() {
    let mut world = World::small();
    world.offer.management = true;
    world.push(1).unwrap();
    world.open();
    world.take();
    hear(&mut world, Management::Enabled { resumable: Some("s1".into()) }).unwrap();
    world.take();
    world.written();
    world.close();
    world.outputs();
    assert!(world.lane.needs_stream_of_ours());
    // Its sender is told that it may have arrived: nobody is left to whom a resumption could be of use.
    world.after(10.0);
    assert_eq!(world.outputs(), ["in flight 1", "free"]);
    assert!(world.lane.opened_by_peer(world.now));
}

#[test]
fn a_session_on_a_stream_of_ours_that_goes_both_ways_is_not_resumed() {
    let mut world = World::small();
    world.offer = Offer { management: true, both_ways: true, max_bytes: None };
    world.push(1).unwrap();
    world.open();
    assert_eq!(world.take(), "<enable xmlns='urn:xmpp:sm:3'/>");
    hear(&mut world, Management::Enabled { resumable: Some("s1".into()) }).unwrap();
    world.take();
    world.written();
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), ["in flight 1"]);
}
