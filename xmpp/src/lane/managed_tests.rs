//! Lanes on streams whose peers speak stream management.

use super::acknowledged::{AGREEMENT, ASK_AGAIN};
use super::tests::{AdmitAll, World, unreachable};
use super::*;
use crate::sm::{Management, Misuse};

const REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";

impl World {
    fn managed_by(config: LaneConfig) -> Self {
        let mut world = Self::new(config);
        world.offer.management = true;
        world
    }

    /// A lane whose stream is established and managed; `session` can be resumed.
    fn managed(session: &str) -> Self {
        let mut world = Self::managed_by(LaneConfig::default());
        world.agree(session);
        world
    }

    fn agree(&mut self, session: &str) {
        self.open();
        assert_eq!(self.take(), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        let resumable = (!session.is_empty()).then(|| session.into());
        self.hear(Management::Enabled { resumable });
    }

    fn hear(&mut self, element: Management) {
        self.lane.managed(&element, self.now).unwrap();
    }

    fn acknowledge(&mut self, handled: u32) {
        self.hear(Management::Answer { handled });
    }

    fn send(&mut self, ids: std::ops::RangeInclusive<u32>) {
        for id in ids {
            self.push(id).unwrap();
        }
        assert!(self.take().ends_with(REQUEST));
        self.written();
    }

    fn resumed(&mut self, handled: u32) {
        self.open();
        assert_eq!(self.take(), "<resume xmlns='urn:xmpp:sm:3' h='0' previd='s1'/>");
        self.hear(Management::Resumed { session: "s1".into(), handled });
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
    let mut world = World::managed("");
    world.outputs();
    world.send(1..=3);
    assert_eq!(world.outputs(), ["connect"; 0], "written is not handled");
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
    let mut world = World::managed("");
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
    let mut world = World::managed("s1");
    world.outputs();
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
    let mut world = World::managed("s1");
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
    let mut world = World::managed("");
    world.send(1..=2);
    world.acknowledge(2);
    let back = world.lane.managed(&Management::Answer { handled: 1 }, world.now);
    assert_eq!(back, Err(Misuse::TooHigh { handled: 1, sent: 2 }));
}

#[test]
fn sm_01_pings_and_replies_are_counted_and_the_elements_of_management_are_not() {
    let mut world = World::managed("");
    assert!(world.lane.reserve_reply());
    world.lane.push_reply(b"<r1/>".to_vec(), world.now);
    assert_eq!(world.take(), format!("<r1/>{REQUEST}"));
    world.written();
    world.send(1..=1);
    world.outputs();
    world.acknowledge(1);
    assert_eq!(world.outputs(), [""; 0], "that was the reply");
    world.acknowledge(2);
    assert_eq!(world.outputs(), ["written 1"]);
}

#[test]
fn a_lost_stream_is_resumed_and_only_what_is_missing_is_sent_again() {
    let mut world = World::managed("s1");
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
    let mut world = World::managed("s1");
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
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.after(6.0);
    world.send(2..=2);
    world.outputs();
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
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.close();
    world.after(1.3);
    world.resumed(0);
    world.outputs();
    world.after(9.0);
    assert_eq!(world.outputs(), ["expired 1"]);
    assert_eq!(world.take(), "");
}

#[test]
fn a_session_that_cannot_be_resumed_reports_all_of_it_and_sends_nothing_again() {
    let mut world = World::managed("s1");
    world.send(1..=2);
    world.close();
    world.after(1.3);
    world.open();
    world.take();
    world.outputs();
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
    let mut world = World::managed("s1");
    world.send(1..=2);
    world.close();
    world.after(1.3);
    world.open();
    world.take();
    world.outputs();
    world.hear(Management::Failed { handled: Some(1) });
    assert_eq!(world.outputs(), ["written 1", "in flight 2"]);
}

#[test]
fn sm_02_without_resumption_the_end_of_the_stream_reports_what_is_not_acknowledged() {
    let mut world = World::managed("");
    world.send(1..=2);
    world.acknowledge(1);
    world.outputs();
    world.close();
    assert_eq!(world.outputs(), ["in flight 2"]);
}

#[test]
fn a_peer_that_offers_management_no_more_has_forgotten_the_session() {
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.close();
    world.after(1.3);
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
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.close();
    world.after(1.3);
    world.open();
    world.take();
    world.outputs();
    world.after(AGREEMENT.as_secs_f64());
    assert_eq!(world.outputs(), ["in flight 1"]);
    world.push(2).unwrap();
    assert_eq!(world.take(), "<m2/><ping 1/>");
}

#[test]
fn a_resumption_nobody_asked_for_ends_the_stream() {
    for session in ["s2", "s1"] {
        let mut world = World::managed("s1");
        let resumed = Management::Resumed { session: session.into(), handled: 0 };
        assert_eq!(world.lane.managed(&resumed, world.now), Err(Misuse::Unasked));
    }
}

#[test]
fn sm_02_writing_pauses_at_the_limit_and_a_peer_that_acknowledges_nothing_loses_the_stream() {
    let mut world = World::managed_by(LaneConfig { unconfirmed: 2, ..LaneConfig::default() });
    world.agree("");
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
    world.agree("s1");
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
    let mut world = World::managed("");
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
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.outputs();
    world.lane.drain();
    assert_eq!(world.outputs(), [""; 0]);
    world.acknowledge(1);
    assert_eq!(world.outputs(), ["written 1", "drained"]);
}

#[test]
fn a_stream_lost_while_draining_is_not_resumed() {
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.outputs();
    world.lane.drain();
    world.close();
    assert_eq!(world.outputs(), ["in flight 1", "drained"]);
}

#[test]
fn a_probe_asks_for_an_acknowledgement_where_there_are_any() {
    let mut world = World::managed("");
    world.lane.probe();
    assert_eq!(world.take(), REQUEST);
    let before = world.lane.counters().proofs;
    world.acknowledge(0);
    assert_eq!(world.lane.counters().proofs, before + 1);
}

#[test]
fn sm_01_the_count_goes_round() {
    let mut world = World::managed("s1");
    world.send(1..=1);
    world.close();
    world.after(1.3);
    // As if four thousand million stanzas had been before.
    world.lane.pretend_acknowledged(u32::MAX);
    world.resumed(u32::MAX);
    world.outputs();
    assert_eq!(world.take(), format!("<m1/>{REQUEST}"));
    world.written();
    world.acknowledge(0);
    assert_eq!(world.outputs(), ["written 1"]);
}

/// Whatever a peer that keeps to XEP-0198 does, and however often streams are lost.
mod any_schedule {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Reply,
        Take,
        Written,
        /// The peer reads so many elements.
        Read(usize),
        /// We hear so many of its words.
        Hear(usize),
        /// It acknowledges so many fewer than it has handled.
        Acknowledge(u32),
        Break,
        /// The peer forgets its sessions.
        Forget,
        /// The next stream: 0 fails, 1 is without management, 2 without resumption, else with it.
        Open(u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => Just(Step::Push),
            1 => Just(Step::Reply),
            6 => Just(Step::Take),
            5 => Just(Step::Written),
            6 => (1usize..6).prop_map(Step::Read),
            6 => (1usize..4).prop_map(Step::Hear),
            2 => (0u32..3).prop_map(Step::Acknowledge),
            2 => Just(Step::Break),
            1 => Just(Step::Forget),
            4 => (0u8..8).prop_map(Step::Open),
            3 => (1u64..4000).prop_map(Step::Wait),
        ]
    }

    /// The peer, and what both sides have seen.
    #[derive(Default)]
    struct Peer {
        /// On their way to it, and from it.
        wire: VecDeque<String>,
        back: VecDeque<Management>,
        management: bool,
        resumption: bool,
        counts: bool,
        handled: u32,
        told: u32,
        session: Option<u32>,
        sessions: u32,
        processed: BTreeMap<u32, u32>,
    }

    impl Peer {
        fn read(&mut self) {
            let Some(element) = self.wire.pop_front() else { return };
            let attribute = |name: &str| {
                let (_, rest) = element.split_once(&format!("{name}='"))?;
                rest.split_once('\'').map(|(value, _)| value.to_owned())
            };
            if element.starts_with("<enable ") {
                self.sessions += 1;
                (self.counts, self.handled, self.told) = (true, 0, 0);
                self.session = self.resumption.then_some(self.sessions);
                let resumable = self.session.map(|session| session.to_string().into());
                self.back.push_back(Management::Enabled { resumable });
            } else if element.starts_with("<resume ") {
                let previous = attribute("previd").unwrap();
                if self.session.map(|session| session.to_string()) == Some(previous.clone()) {
                    self.counts = true;
                    self.told = self.handled;
                    let handled = self.handled;
                    self.back.push_back(Management::Resumed { session: previous.into(), handled });
                } else {
                    self.back.push_back(Management::Failed { handled: None });
                }
            } else if element.starts_with("<r ") {
                self.acknowledge(0);
            } else if !element.starts_with("<a ") {
                self.handled = self.handled.wrapping_add(1);
                if let Some(id) = element.strip_prefix("<m").and_then(|id| id.strip_suffix("/>")) {
                    *self.processed.entry(id.parse().unwrap()).or_default() += 1;
                }
            }
        }

        fn acknowledge(&mut self, fewer: u32) {
            if self.counts {
                self.told = self.told.max(self.handled.saturating_sub(fewer));
                self.back.push_back(Management::Answer { handled: self.told });
            }
        }

        fn lost(&mut self) {
            self.wire.clear();
            self.back.clear();
            self.counts = false;
        }
    }

    #[derive(Default)]
    struct Told {
        outcomes: Vec<&'static str>,
        /// Whether it left on a managed stream the last time.
        acknowledged: bool,
    }

    struct Play {
        world: World,
        peer: Peer,
        next: u32,
        told: BTreeMap<u32, Told>,
        wants: bool,
        open: bool,
    }

    impl Play {
        fn outputs(&mut self) {
            while let Some(output) = self.world.lane.poll() {
                let (id, outcome) = match output {
                    Output::Connect => {
                        self.wants = true;
                        continue;
                    }
                    Output::Written(id) => {
                        let managed = self.world.lane.managed.is_on();
                        self.told.entry(id.0).or_default().acknowledged = managed;
                        (id.0, "written")
                    }
                    Output::Expired { envelope, .. } => (envelope.0, "expired"),
                    Output::InFlight { envelope, .. } => (envelope.0, "in flight"),
                    Output::Unresponsive | Output::Abort => {
                        self.lose();
                        continue;
                    }
                    Output::MayBeLost(_) | Output::ReplyRoom => continue,
                    other => panic!("{other:?}"),
                };
                self.told.entry(id).or_default().outcomes.push(outcome);
            }
        }

        fn lose(&mut self) {
            if std::mem::take(&mut self.open) {
                self.peer.lost();
                self.world.close();
            }
        }

        fn step(&mut self, step: &Step) {
            match step {
                Step::Push => {
                    self.next += 1;
                    if self.world.push(self.next).is_ok() {
                        self.told.entry(self.next).or_default();
                    }
                }
                Step::Reply => {
                    if self.world.lane.reserve_reply() {
                        self.world.lane.push_reply(b"<reply/>".to_vec(), self.world.now);
                    }
                }
                Step::Take if self.open => {
                    let mut out = Vec::new();
                    self.world.lane.take(40, &mut out, &mut AdmitAll, self.world.now);
                    let out = String::from_utf8(out).unwrap();
                    self.peer.wire.extend(out.split_inclusive('>').map(str::to_owned));
                }
                Step::Written => self.world.written(),
                Step::Read(count) => (0..*count).for_each(|_| self.peer.read()),
                Step::Hear(count) => {
                    for _ in 0..*count {
                        let Some(word) = self.peer.back.pop_front() else { break };
                        self.world.hear(word);
                    }
                }
                Step::Acknowledge(fewer) => self.peer.acknowledge(*fewer),
                Step::Break => self.lose(),
                Step::Forget => self.peer.session = None,
                Step::Open(how) if self.wants && !self.open => {
                    self.wants = false;
                    if *how == 0 {
                        self.world.lane.connect_failed(unreachable(), 512, self.world.now);
                    } else {
                        self.open = true;
                        self.peer.management = *how != 1;
                        self.peer.resumption = *how > 2;
                        self.world.offer.management = self.peer.management;
                        self.world.open();
                    }
                }
                Step::Wait(ms) => self.world.after(*ms as f64 / 1000.0),
                Step::Take | Step::Open(_) => {}
            }
            self.outputs();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn each_is_reported_once_and_none_is_handled_twice(steps in prop::collection::vec(step(), 1..150)) {
            let config = LaneConfig { unconfirmed: 8, capacity: 12, ..LaneConfig::default() };
            let mut play = Play {
                world: World::new(config),
                peer: Peer::default(),
                next: 0,
                told: BTreeMap::new(),
                wants: false,
                open: false,
            };
            for step in &steps {
                play.step(step);
                prop_assert!(play.world.lane.unconfirmed() <= 8 + 12);
            }
            // The partner is never heard of again.
            play.lose();
            for _ in 0..100 {
                play.step(&Step::Wait(1000));
            }
            for (id, told) in &play.told {
                let processed = play.peer.processed.get(id).copied().unwrap_or(0);
                prop_assert!(processed <= 1, "{id} was handled {processed} times");
                prop_assert_eq!(told.outcomes.len(), 1, "{}: {:?}", id, &told.outcomes);
                if told.outcomes == ["expired"] {
                    prop_assert_eq!(processed, 0, "{} was reported as not delivered", id);
                }
                if told.acknowledged {
                    prop_assert_eq!(processed, 1, "{} was reported as delivered", id);
                }
            }
            prop_assert!(play.world.lane.is_empty());
            prop_assert_eq!(play.world.lane.deadline(), None);
        }
    }
}
