//! Lanes on streams without stream management, and what the tests of all lanes share.

mod any_schedule;
mod both_ways;
mod managed;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id(u32);

impl Envelope for Id {
    type Receipt = u32;
    fn receipt(&self) -> u32 {
        self.0
    }
}

struct AdmitAll;
impl<E> WriteHooks<E> for AdmitAll {
    fn admit(&mut self, _: Outgoing<'_, E>) -> bool {
        true
    }
    fn ping(&mut self, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<ping {sequence}/>").as_bytes());
    }
}

struct World {
    lane: Lane<Id>,
    now: Instant,
    offer: Offer,
}

impl World {
    fn new(config: LaneConfig) -> Self {
        Self { lane: Lane::new(config), now: Instant::now(), offer: Offer::default() }
    }
    fn small() -> Self {
        Self::new(LaneConfig { capacity: 3, reply_capacity: 2, unconfirmed: 4, ..LaneConfig::default() })
    }
    /// One stanza and its ping have left; the ping is unanswered.
    fn with_one_written() -> Self {
        let mut world = Self::small();
        world.push(1).unwrap();
        world.open();
        world.take();
        world.written();
        world
    }
    fn push(&mut self, id: u32) -> Result<(), PushRefusal> {
        let bytes = format!("<m{id}/>").into_bytes();
        self.lane.push(bytes, Id(id), self.now).map_err(|error| error.reason)
    }
    fn open(&mut self) {
        assert!(self.lane.opened(self.offer, self.now));
    }
    fn take(&mut self) -> String {
        let mut out = Vec::new();
        self.lane.take(1 << 16, &mut out, &mut AdmitAll, self.now);
        String::from_utf8(out).unwrap()
    }
    fn written(&mut self) {
        self.lane.written(self.now);
    }
    fn after(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
        self.lane.handle_timeout(self.now);
    }
    fn close(&mut self) {
        self.lane.closed(Some(unreachable()), 512, self.now);
    }
    /// The outputs so far, in short words.
    fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lane.poll())
            .map(|output| match output {
                Output::Connect => "connect".into(),
                Output::Written(id) => format!("written {}", id.0),
                Output::Expired { envelope, .. } => format!("expired {}", envelope.0),
                Output::Refused(id) => format!("refused {}", id.0),
                Output::InFlight { envelope, .. } => format!("in flight {}", envelope.0),
                Output::MayBeLost(id) => format!("may be lost {id}"),
                Output::Unproved(id) => format!("unproved {id}"),
                Output::ReplyRoom => "reply room".into(),
                Output::Abort => "abort".into(),
                Output::Unresponsive => "unresponsive".into(),
                Output::TooLarge { envelope, limit } => format!("{} above {limit}", envelope.0),
                Output::Free => "free".into(),
                Output::Drained => "drained".into(),
            })
            .collect()
    }
}

fn unreachable() -> Failure {
    Failure::new(FailureKind::Unreachable, "192.0.2.1:5269: connection refused")
}

#[test]
fn one_connection_is_asked_for_however_much_is_pushed() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.push(2).unwrap();
    assert_eq!(world.outputs(), ["connect"]);
    assert_eq!(world.take(), "", "nothing leaves before the stream is established");
    world.open();
    assert_eq!(world.take(), "<m1/><m2/><ping 1/>");
    assert_eq!(world.outputs(), [""; 0], "no answer before the write is complete");
    world.written();
    assert_eq!(world.outputs(), ["written 1", "written 2"]);
}

#[test]
fn one_ping_is_in_flight_and_covers_what_was_written_before_it() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.open();
    assert_eq!(world.take(), "<m1/><ping 1/>");
    world.written();
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/>", "the first ping is still unanswered");
    world.written();
    world.lane.ping_answered(1);
    assert_eq!(world.lane.counters().confirmed, 1);
    assert!(world.lane.wants_write(), "the second stanza wants a ping of its own");
    assert_eq!(world.take(), "<ping 2/>");
    world.written();
    world.lane.ping_answered(1);
    assert_eq!(world.lane.counters().confirmed, 1, "an old answer proves nothing new");
    world.lane.ping_answered(2);
    assert_eq!(world.lane.counters().confirmed, 2);
    assert!(!world.lane.wants_write());
}

#[test]
fn a_stream_that_ends_reports_everything_that_was_on_it() {
    let mut world = World::with_one_written();
    world.push(2).unwrap();
    world.take();
    world.push(3).unwrap();
    world.outputs();
    world.close();
    // 1 was answered and may be lost, 2 was inside the write, 3 never left and waits for the next one.
    assert_eq!(world.outputs(), ["in flight 2", "may be lost 1"]);
    world.after(1.1);
    assert_eq!(world.outputs(), ["connect"]);
    world.open();
    assert_eq!(world.take(), "<m3/><ping 2/>");
}

#[test]
fn a_stream_that_worked_is_replaced_at_once() {
    let mut world = World::with_one_written();
    world.lane.ping_answered(1);
    world.push(2).unwrap();
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), ["connect"]);
}

#[test]
fn held_no_longer_than_ten_seconds() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.outputs();
    world.after(9.9);
    assert_eq!(world.outputs(), [""; 0]);
    assert_eq!(world.lane.deadline(), Some(world.now + Duration::from_millis(100)));
    world.after(0.1);
    assert_eq!(world.outputs(), ["expired 1"]);
    assert!(world.lane.is_empty());
}

#[test]
fn back_off_grows_and_a_long_one_refuses_at_once() {
    let mut world = World::small();
    world.push(1).unwrap();
    let mut attempts = 0;
    for _ in 0..200 {
        world.after(0.5);
        for output in world.outputs() {
            if output == "connect" {
                attempts += 1;
                world.lane.connect_failed(unreachable(), 512, world.now);
            }
        }
    }
    assert_eq!(attempts, 4, "at 0, 1, 3 and 7 s; nothing was queued after the hold time of 10 s");
    world.outputs();
    // The fifth attempt: its back-off of 16 s is longer than a stanza may be held.
    world.push(2).unwrap();
    assert_eq!(world.outputs(), ["connect"]);
    world.lane.connect_failed(unreachable(), 512, world.now);
    assert_eq!(world.outputs(), ["expired 2"], "it could not be sent in time, so it is told at once");
    assert_eq!(world.push(3), Err(PushRefusal::Unreachable(unreachable())));
    world.lane.retry_now();
    world.push(4).unwrap();
    assert_eq!(world.outputs(), ["connect"]);
}

/// One whose last of many attempts failed just now.
fn far_into_back_off() -> World {
    let mut world = World::small();
    for _ in 0..6 {
        world.after(60.0);
        world.push(1).unwrap();
        world.lane.connect_failed(unreachable(), 512, world.now);
    }
    world.outputs();
    assert_eq!(world.push(2), Err(PushRefusal::Unreachable(unreachable())));
    world
}

#[test]
fn an_attempt_that_is_not_waited_for_any_more_makes_no_back_off_longer() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.lane.connect_failed(unreachable(), 512, world.now);
    let until = world.lane.deadline();
    world.lane.connect_failed(unreachable(), 512, world.now);
    assert_eq!(world.lane.deadline(), until);
    world.outputs();
    world.lane.connect_again();
    assert_eq!(world.outputs(), [""; 0]);
    world.after(1.5);
    assert_eq!(world.outputs(), ["connect"]);
    world.lane.connect_again();
    assert_eq!(world.outputs(), ["connect"], "whoever was at it is gone");
}

#[test]
fn a_sign_of_life_ends_the_back_off() {
    let mut world = far_into_back_off();
    assert!(world.lane.sign_of_life(world.now));
    world.push(3).unwrap();
    assert_eq!(world.outputs(), ["connect"]);
    // Should it fail once more, the pauses are short again.
    world.lane.connect_failed(unreachable(), 512, world.now);
    assert_eq!(world.lane.deadline(), Some(world.now + Duration::from_secs(1)));
}

#[test]
fn a_partner_whose_streams_come_and_go_ends_one_back_off_in_a_minute() {
    let mut world = far_into_back_off();
    let mut heeded = 0;
    for _ in 0..180 {
        world.lane.connect_failed(unreachable(), 512, world.now);
        heeded += usize::from(world.lane.sign_of_life(world.now));
        world.after(1.0);
    }
    assert_eq!(heeded, 3, "in three minutes");
}

#[test]
fn a_place_for_a_stream_is_looked_for_as_long_as_messages_may_wait() {
    let mut world = World::small();
    let no_place = || Failure::new(FailureKind::TooManyStreams, "20 of 20 with him");
    for time in 0..10 {
        assert_eq!(world.push(1), Ok(()), "nobody is refused at once");
        assert_eq!(world.outputs(), ["connect"]);
        world.lane.connect_failed(no_place(), 512, world.now);
        world.after(5.0);
        assert_eq!(world.outputs(), ["connect"], "{time}");
        world.lane.connect_failed(no_place(), 512, world.now);
        world.after(600.0);
        world.outputs();
    }
}

#[test]
fn who_waits_on_an_open_stream_is_not_told_of_a_failure_that_is_over() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.lane.connect_failed(unreachable(), 512, world.now);
    world.after(1.0);
    world.open();
    world.take();
    world.written();
    // The peer reads no more: nothing is taken for it.
    world.push(2).unwrap();
    while world.lane.poll().is_some() {}
    world.after(10.0);
    let expired = std::iter::from_fn(|| world.lane.poll()).find_map(|output| match output {
        Output::Expired { envelope, failure } => Some((envelope, failure.is_none())),
        _ => None,
    });
    assert_eq!(expired, Some((Id(2), true)));
}

#[test]
fn bounds_hold_at_the_limit_and_one_past_it() {
    let mut world = World::small();
    for id in 1..=3 {
        world.push(id).unwrap();
    }
    assert_eq!(world.push(4), Err(PushRefusal::Full));
    assert_eq!(world.lane.occupancy().0, 3);
    world.open();
    world.take();
    assert_eq!(world.push(5), Err(PushRefusal::Full), "what is being written still counts");
    world.written();
    world.push(6).unwrap();

    let bytes = LaneConfig { capacity_bytes: 10, ..LaneConfig::default() };
    let mut world = World::new(bytes);
    world.push(1).unwrap();
    world.push(2).unwrap();
    assert_eq!(world.push(3), Err(PushRefusal::Full), "15 bytes are more than 10");
}

#[test]
fn writing_pauses_while_too_much_is_unproved() {
    let mut world = World::small();
    world.open();
    for id in 1..=4 {
        world.push(id).unwrap();
        world.take();
        world.written();
    }
    world.push(5).unwrap();
    assert_eq!(world.take(), "", "four are unproved, which is the bound");
    world.lane.ping_answered(1); // covers the first one only
    assert_eq!(world.take(), "<m5/><ping 2/>");
}

#[test]
fn an_unanswered_ping_on_a_living_stream_gives_up_and_counts() {
    let mut world = World::with_one_written();
    world.outputs();
    world.after(59.9);
    assert_eq!(world.lane.counters().unconfirmed, 0);
    world.after(0.1);
    assert_eq!(world.lane.counters().unconfirmed, 1);
    world.close();
    assert_eq!(world.outputs(), [""; 0], "given up means given up");
}

#[test]
fn a_write_that_stands_still_is_answered_then_aborted() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.open();
    world.take();
    world.outputs();
    world.after(10.0);
    assert_eq!(world.outputs(), ["in flight 1"]);
    world.after(50.0);
    assert_eq!(world.outputs(), ["abort"]);
    world.close();
    assert_eq!(world.outputs(), [""; 0], "reported once");
}

#[test]
fn replies_need_a_reservation_and_room_is_announced() {
    let mut world = World::small();
    assert!(world.lane.reserve_reply());
    assert!(world.lane.reserve_reply());
    assert!(!world.lane.reserve_reply());
    world.lane.push_reply(b"<r1/>".to_vec(), world.now);
    world.lane.release_reply();
    assert_eq!(world.outputs(), ["connect", "reply room"]);
    world.open();
    assert_eq!(world.take(), "<r1/>", "a reply needs no ping");
    world.written();
    assert_eq!(world.lane.occupancy(), (0, 0));
}

#[test]
fn replies_are_dropped_and_counted_when_the_partner_is_out_of_reach() {
    let mut world = World::small();
    assert!(world.lane.reserve_reply());
    world.lane.push_reply(b"<r1/>".to_vec(), world.now);
    world.lane.connect_failed(unreachable(), 512, world.now);
    assert_eq!(world.lane.counters().replies_dropped, 1);
    assert_eq!(world.lane.occupancy(), (0, 0));
    assert_eq!(world.lane.deadline(), None, "nobody waits, so nobody is called");
}

#[test]
fn draining_refuses_new_work_and_ends_when_the_peer_answers_the_closing() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.open();
    world.outputs();
    world.lane.drain();
    assert_eq!(world.push(2), Err(PushRefusal::ShuttingDown));
    assert_eq!(world.outputs(), [""; 0], "one is still to be written");
    assert_eq!(world.take(), "<m1/><ping 1/>");
    world.written();
    assert_eq!(world.outputs(), ["written 1", "drained"]);
    world.lane.close_answered();
    world.lane.closed(None, 512, world.now);
    assert_eq!(world.outputs(), ["drained"]);
    assert_eq!(world.lane.counters().confirmed, 1);
}

#[test]
fn draining_reports_what_is_unproved_when_the_peer_does_not_answer_the_closing() {
    let mut world = World::with_one_written();
    world.lane.drain();
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), ["may be lost 1", "drained"]);
}

#[test]
fn the_answer_to_a_ping_may_come_before_the_write_returns() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.open();
    world.take();
    world.lane.ping_answered(1);
    world.written();
    assert_eq!(world.lane.counters().confirmed, 1);
    assert!(!world.lane.wants_write(), "nothing is left to be proved");
}

#[test]
fn draining_without_a_connection_reports_what_is_queued() {
    let mut world = World::small();
    world.push(1).unwrap();
    world.outputs();
    world.lane.drain();
    assert_eq!(world.outputs(), [""; 0], "the attempt under way may still succeed");
    world.lane.connect_failed(unreachable(), 512, world.now);
    assert_eq!(world.outputs(), ["expired 1", "drained"]);
}

#[test]
fn what_waited_is_looked_at_again_before_it_leaves() {
    struct Hooks(u32);
    impl WriteHooks<Id> for Hooks {
        fn admit(&mut self, stanza: Outgoing<'_, Id>) -> bool {
            stanza.bytes.extend_from_slice(b"<!-- looked at -->");
            stanza.envelope.0 != self.0
        }
        fn ping(&mut self, _: u64, _: &mut Vec<u8>) {}
    }
    let mut world = World::small();
    world.push(1).unwrap();
    world.push(2).unwrap();
    world.open();
    world.outputs();
    let mut out = Vec::new();
    world.lane.take(1 << 16, &mut out, &mut Hooks(1), world.now);
    assert_eq!(out, b"<m2/><!-- looked at -->");
    assert_eq!(world.outputs(), ["refused 1"]);
}

#[test]
fn what_is_recalled_is_neither_written_nor_reported_and_leaves_its_room() {
    let mut world = World::small();
    for id in 1..=3 {
        world.push(id).unwrap();
    }
    assert_eq!(world.push(4), Err(PushRefusal::Full));
    assert_eq!(world.lane.recall(|id| id.0 == 2), [Id(2)]);
    assert_eq!(world.lane.recall(|id| id.0 == 2), []);
    world.push(5).unwrap();
    assert_eq!(world.push(6), Err(PushRefusal::Full));
    world.open();
    assert_eq!(world.take(), "<m1/><m3/><m5/><ping 1/>");
    assert_eq!(world.lane.recall(|_| true), [], "what is being written is out of reach");
    world.written();
    assert_eq!(world.outputs(), ["connect", "written 1", "written 3", "written 5"]);
}

#[test]
fn a_stream_that_falls_silent_after_it_has_brought_proof_leaves_what_follows_unproved() {
    let mut world = World::with_one_written();
    world.lane.ping_answered(1);
    world.push(2).unwrap();
    world.take();
    world.written();
    world.outputs();
    world.after(61.0);
    assert_eq!(world.outputs(), ["unproved 2"]);
    world.close();
    assert_eq!(world.outputs(), [""; 0], "and nothing more is said of it");
}
