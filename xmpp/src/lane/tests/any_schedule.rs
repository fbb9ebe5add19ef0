//! Whatever a peer that keeps to XEP-0198 does, and however often streams are lost.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::sm::Management;

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
                Output::MayBeLost(_) | Output::ReplyRoom | Output::Free => continue,
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
