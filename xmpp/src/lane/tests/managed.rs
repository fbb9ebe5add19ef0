//! Lanes on streams whose peers speak stream management.

use std::ops::RangeInclusive;

use super::*;
use crate::lane::acknowledged::{AGREEMENT, ASK_AGAIN};
use crate::sm::{Management, Misuse};

const REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";
const SESSION: &str = "s1";

impl World {
    fn managed_by(config: LaneConfig) -> Self {
        let mut world = Self::new(config);
        world.offer.management = true;
        world
    }

    /// A lane whose stream is established and managed, and cannot be resumed.
    fn managed() -> Self {
        let mut world = Self::managed_by(LaneConfig::default());
        world.agree(None);
        world
    }

    /// A lane whose stream is established and managed, and can be resumed.
    fn resumable() -> Self {
        let mut world = Self::managed_by(LaneConfig::default());
        world.agree(Some(SESSION));
        world
    }

    /// A lane whose stream was lost with these on it, unacknowledged; the pause before the next attempt is over.
    fn interrupted(ids: RangeInclusive<u32>) -> Self {
        let mut world = Self::resumable();
        world.send(ids);
        world.close();
        world.after(1.3);
        world
    }

    /// The same, and on the next stream the peer was asked to resume.
    fn resuming(ids: RangeInclusive<u32>) -> Self {
        let mut world = Self::interrupted(ids);
        world.open();
        world.take();
        world.outputs();
        world
    }

    fn agree(&mut self, session: Option<&str>) {
        self.open();
        assert_eq!(self.take(), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        self.hear(Management::Enabled { resumable: session.map(Into::into) });
    }

    pub(super) fn hear(&mut self, element: Management) {
        self.lane.managed(&element, self.now).unwrap();
    }

    fn acknowledge(&mut self, handled: u32) {
        self.hear(Management::Answer { handled });
    }

    /// These are written, and what came out until then is of no interest.
    fn send(&mut self, ids: RangeInclusive<u32>) {
        for id in ids {
            self.push(id).unwrap();
        }
        assert!(self.take().ends_with(REQUEST));
        self.outputs();
        self.written();
    }

    fn resumed(&mut self, handled: u32) {
        self.open();
        assert_eq!(self.take(), "<resume xmlns='urn:xmpp:sm:3' h='0' previd='s1'/>");
        self.hear(Management::Resumed { session: SESSION.into(), handled });
    }
}

#[test]
fn stanzas_wait_until_management_is_agreed_upon() {
    let mut world = World::managed_by(LaneConfig::default());
    world.push(1).unwrap();
    world.open();
    assert_eq!(world.take(), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    assert!(!world.lane.wants_write());
    world.hear(Management::Enabled { resumable: None });
    assert_eq!(world.take(), format!("<m1/>{REQUEST}"), "no ping: the acknowledgement proves more");
}

#[test]
fn the_answer_to_the_sender_waits_for_the_acknowledgement_that_covers_it() {
    let mut world = World::managed();
    world.send(1..=3);
    assert_eq!(world.outputs(), [""; 0], "written is not handled");
    world.acknowledge(2);
    assert_eq!(world.outputs(), ["written 1", "written 2"]);
    world.acknowledge(2);
    assert_eq!(world.outputs(), [""; 0]);
    assert_eq!((world.lane.counters().confirmed, world.lane.is_empty()), (2, false));
    world.acknowledge(3);
    assert_eq!(world.outputs(), ["written 3"]);
    assert!(world.lane.is_empty());
}

#[test]
fn an_acknowledgement_may_come_before_the_write_returns() {
    let mut world = World::managed();
    world.push(1).unwrap();
    world.take();
    world.outputs();
    world.acknowledge(1);
    assert_eq!(world.outputs(), ["written 1"]);
    world.written();
    assert_eq!(world.outputs(), [""; 0]);
}

#[test]
fn a_sender_waits_for_the_acknowledgement_no_longer_than_ten_seconds() {
    let mut world = World::resumable();
    world.send(1..=1);
    world.after(9.9);
    assert_eq!(world.outputs(), [""; 0]);
    world.after(0.1);
    assert_eq!(world.outputs(), ["in flight 1"]);
    world.acknowledge(1);
    assert_eq!(world.outputs(), [""; 0], "one word about each");
    assert!(world.lane.is_empty());
}

#[test]
fn sm_01_a_count_above_what_was_sent_ends_the_stream() {
    let mut world = World::resumable();
    world.send(1..=2);
    world.acknowledge(1);
    world.outputs();
    let high = world.lane.managed(&Management::Answer { handled: 3 }, world.now);
    assert_eq!(high, Err(Misuse::TooHigh { handled: 3, sent: 2 }));
    world.close();
    assert_eq!(world.outputs(), ["in flight 2"], "such a session is not resumed");
}

#[test]
fn sm_01_a_count_that_goes_back_ends_the_stream() {
    let mut world = World::managed();
    world.send(1..=2);
    world.acknowledge(2);
    let back = world.lane.managed(&Management::Answer { handled: 1 }, world.now);
    assert_eq!(back, Err(Misuse::TooHigh { handled: 1, sent: 2 }));
}

#[test]
fn sm_01_pings_and_replies_are_counted_and_the_elements_of_management_are_not() {
    let mut world = World::managed();
    assert!(world.lane.reserve_reply());
    world.lane.push_reply(b"<r1/>".to_vec(), world.now);
    assert_eq!(world.take(), format!("<r1/>{REQUEST}"));
    world.written();
    world.send(1..=1);
    world.acknowledge(1);
    assert_eq!(world.outputs(), [""; 0], "that was the reply");
    world.acknowledge(2);
    assert_eq!(world.outputs(), ["written 1"]);
}

#[test]
fn a_lost_stream_is_resumed_and_only_what_is_missing_is_sent_again() {
    let mut world = World::resumable();
    world.send(1..=3);
    world.acknowledge(1);
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), ["connect"], "nothing is queued, but something is to be learnt");
    world.push(4).unwrap();
    world.resumed(2);
    assert_eq!(world.outputs(), ["written 2"]);
    assert_eq!(world.take(), format!("<m3/><m4/>{REQUEST}"), "in order, and 2 not twice");
    world.written();
    world.acknowledge(4);
    assert_eq!(world.outputs(), ["written 3", "written 4"]);
}

#[test]
fn what_was_inside_the_write_is_sent_again_after_resumption() {
    let mut world = World::resumable();
    world.push(1).unwrap();
    world.take();
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), [""; 0]);
    world.after(1.3);
    assert_eq!(world.outputs(), ["connect"], "after the pause, for nothing was proved on that stream");
    world.resumed(0);
    assert_eq!(world.take(), format!("<m1/>{REQUEST}"));
}

#[test]
fn what_waited_too_long_is_reported_and_not_sent_again() {
    let mut world = World::resumable();
    world.send(1..=1);
    world.after(6.0);
    world.send(2..=2);
    world.close();
    assert_eq!(world.outputs(), [""; 0]);
    world.after(4.0);
    assert_eq!(world.outputs(), ["in flight 1", "connect"]);
    world.resumed(0);
    assert_eq!(world.take(), format!("<m2/>{REQUEST}"), "1 is missing, too, and reported");
    world.written();
    world.acknowledge(1);
    assert_eq!(world.outputs(), ["written 2"], "the count goes on from the peer's");
}

#[test]
fn what_surely_was_not_handled_and_finds_no_way_any_more_was_not_delivered() {
    let mut world = World::interrupted(1..=1);
    world.resumed(0);
    world.outputs();
    world.after(9.0);
    assert_eq!(world.outputs(), ["expired 1"]);
    assert_eq!(world.take(), "");
}

#[test]
fn a_session_that_cannot_be_resumed_reports_all_of_it_and_sends_nothing_again() {
    let mut world = World::resuming(1..=2);
    world.hear(Management::Failed { handled: None });
    assert_eq!(world.outputs(), ["in flight 1", "in flight 2"]);
    world.push(3).unwrap();
    assert_eq!(world.take(), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "on the same stream");
    world.hear(Management::Enabled { resumable: None });
    assert_eq!(world.take(), format!("<m3/>{REQUEST}"));
    world.written();
    world.acknowledge(1);
    assert_eq!(world.outputs(), ["written 3"], "a new session counts anew");
}

#[test]
fn a_failed_resumption_may_tell_how_far_the_session_had_come() {
    let mut world = World::resuming(1..=2);
    world.hear(Management::Failed { handled: Some(1) });
    assert_eq!(world.outputs(), ["written 1", "in flight 2"]);
}

#[test]
fn sm_02_without_resumption_the_end_of_the_stream_reports_what_is_not_acknowledged() {
    let mut world = World::managed();
    world.send(1..=2);
    world.acknowledge(1);
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), ["in flight 2"]);
}

#[test]
fn a_peer_that_offers_management_no_more_has_forgotten_the_session() {
    let mut world = World::interrupted(1..=1);
    world.outputs();
    world.offer = Offer::default();
    world.open();
    assert_eq!(world.outputs(), ["in flight 1"]);
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/><ping 1/>");
}

#[test]
fn a_peer_that_does_not_agree_gets_pings_instead() {
    for refused in [true, false] {
        let mut world = World::managed_by(LaneConfig::default());
        world.push(1).unwrap();
        world.open();
        world.take();
        match refused {
            true => world.hear(Management::Failed { handled: None }),
            false => world.after(AGREEMENT.as_secs_f64()),
        }
        assert_eq!(world.take(), "<m1/><ping 1/>", "refused: {refused}");
        world.written();
        // Too late.
        world.hear(Management::Enabled { resumable: Some("s1".into()) });
        world.outputs();
        world.close();
        assert_eq!(world.outputs(), ["may be lost 1"]);
    }
}

#[test]
fn a_peer_that_does_not_say_whether_it_resumes_is_not_waited_for() {
    let mut world = World::resuming(1..=1);
    world.after(AGREEMENT.as_secs_f64());
    assert_eq!(world.outputs(), ["in flight 1"]);
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/><ping 1/>");
}

#[test]
fn a_resumption_nobody_asked_for_ends_the_stream() {
    for session in ["s2", "s1"] {
        let mut world = World::resumable();
        let resumed = Management::Resumed { session: session.into(), handled: 0 };
        assert_eq!(world.lane.managed(&resumed, world.now), Err(Misuse::Unasked));
    }
}

#[test]
fn sm_02_writing_pauses_at_the_limit_and_a_peer_that_acknowledges_nothing_loses_the_stream() {
    let mut world = World::managed_by(LaneConfig { unconfirmed: 2, ..LaneConfig::default() });
    world.agree(None);
    world.send(1..=2);
    world.push(3).unwrap();
    assert!(!world.lane.wants_write(), "two are not acknowledged, which is the bound");
    world.acknowledge(1);
    assert_eq!(world.take(), format!("<m3/>{REQUEST}"));
    world.written();
    world.outputs();
    world.after(59.9);
    assert_eq!(world.outputs(), ["in flight 2", "in flight 3"]);
    world.after(0.1);
    assert_eq!(world.outputs(), ["unresponsive"]);
    world.close();
    assert_eq!(world.outputs(), [""; 0], "reported once");
}

#[test]
fn sm_02_the_bytes_kept_for_resumption_are_bounded() {
    let mut world = World::managed_by(LaneConfig { capacity_bytes: 10, ..LaneConfig::default() });
    world.agree(Some(SESSION));
    for id in 1..=2 {
        world.push(id).unwrap();
        world.take();
        world.written();
    }
    world.push(3).unwrap();
    assert!(!world.lane.wants_write(), "ten octets are kept");
    world.acknowledge(1);
    assert!(world.lane.wants_write());
}

#[test]
fn a_peer_that_answers_only_when_asked_is_asked_again() {
    let mut world = World::managed();
    world.send(1..=1);
    world.acknowledge(0);
    assert!(!world.lane.wants_write(), "not at once: the two would never stop");
    world.after(ASK_AGAIN.as_secs_f64());
    assert_eq!(world.take(), REQUEST);
    assert!(!world.lane.wants_write());
    world.acknowledge(1);
    world.after(ASK_AGAIN.as_secs_f64());
    assert!(!world.lane.wants_write(), "nothing is left to ask about");
}

#[test]
fn draining_waits_for_the_acknowledgement() {
    let mut world = World::resumable();
    world.send(1..=1);
    world.lane.drain();
    assert_eq!(world.outputs(), [""; 0]);
    world.acknowledge(1);
    assert_eq!(world.outputs(), ["written 1", "drained"]);
}

#[test]
fn a_stream_lost_while_draining_is_not_resumed() {
    let mut world = World::resumable();
    world.send(1..=1);
    world.lane.drain();
    world.close();
    assert_eq!(world.outputs(), ["in flight 1", "drained"]);
}

#[test]
fn a_probe_asks_for_an_acknowledgement_where_there_are_any() {
    let mut world = World::managed();
    world.lane.probe();
    assert_eq!(world.take(), REQUEST);
    let before = world.lane.counters().proofs;
    world.acknowledge(0);
    assert_eq!(world.lane.counters().proofs, before + 1);
}

#[test]
fn sm_01_the_count_goes_round() {
    let mut world = World::interrupted(1..=1);
    // As if four thousand million stanzas had been before.
    world.lane.pretend_acknowledged(u32::MAX);
    world.resumed(u32::MAX);
    world.outputs();
    assert_eq!(world.take(), format!("<m1/>{REQUEST}"));
    world.written();
    world.acknowledge(0);
    assert_eq!(world.outputs(), ["written 1"]);
}
