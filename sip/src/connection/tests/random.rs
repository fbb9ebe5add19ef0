//! Any sequence of events: nothing is lost, doubled or answered twice.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Send,
    /// The peer answers one of our requests; `false`: provisionally.
    Answer(usize, bool),
    /// The peer sends a request: a new one, or one of its last again.
    Request(Option<usize>),
    Respond(usize),
    Wait(u64),
    Transmit,
    Ping,
    Drain,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Send),
        8 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(n, last)| Step::Answer(n, last)),
        8 => prop::option::weighted(0.3, any::<usize>()).prop_map(Step::Request),
        8 => any::<usize>().prop_map(Step::Respond),
        4 => prop_oneof![0u64..50, 0u64..5_000, 0u64..40_000].prop_map(Step::Wait),
        4 => Just(Step::Transmit),
        1 => Just(Step::Ping),
        1 => prop::bool::weighted(0.1).prop_map(|drain| if drain { Step::Drain } else { Step::Ping }),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Step::Close } else { Step::Ping }),
    ];
    prop::collection::vec(step, 0..120)
}

/// What must have happened at the end.
#[derive(Default)]
struct World {
    next: u32,
    /// Ours, not answered yet, oldest first, with what was handed out when they were sent.
    open: VecDeque<u32>,
    returned: HashSet<u32>,
    /// The peer's requests: how often each was passed on, and the final statuses it got.
    passed: HashMap<String, (ServerTxn, u32)>,
    pending: Vec<String>,
    /// By Call-ID and our To tag: each time a request is taken as new it gets a tag of its own.
    answered: HashMap<(String, String), HashSet<u16>>,
    next_request: u32,
}

impl World {
    fn drain(&mut self, rig: &mut Rig) {
        let mut last_failed = None;
        for output in rig.poll() {
            match output {
                Output::Request { txn, message } => {
                    let call_id = message.call_id().unwrap().to_owned();
                    self.pending.push(call_id.clone());
                    let count = self.passed.get(&call_id).map_or(0, |(_, count)| *count);
                    self.passed.insert(call_id, (txn, count + 1));
                }
                Output::Response { envelope, .. } => {
                    assert!(self.returned.insert(envelope), "{envelope} came back twice");
                    self.open.retain(|e| *e != envelope);
                }
                Output::Failed { envelope, .. } => {
                    assert!(self.returned.insert(envelope), "{envelope} came back twice");
                    assert!(last_failed < Some(envelope), "failures left their order");
                    last_failed = Some(envelope);
                    self.open.retain(|e| *e != envelope);
                }
                Output::Dead => {}
                other => panic!("nobody invited: {other:?}"),
            }
        }
    }

    fn transmit(&mut self, rig: &mut Rig) {
        for message in rig.sent() {
            if let Some(status) = message.status().filter(|status| status.is_final()) {
                let key = (message.call_id().unwrap().to_owned(), to_tag(&message));
                self.answered.entry(key).or_default().insert(status.0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn im_17_every_envelope_returns_once_and_every_request_has_one_answer(steps in steps()) {
        let mut rig = Rig::with(|config| {
            config.max_pending_out = 8;
            config.max_pending_in = 8;
        });
        let mut world = World::default();
        let mut clock = 0;
        let mut closed = false;
        let request = |n: u32| {
            let (via, id) = (format!("SIP/2.0/TLS fe.example;branch=z9hG4bK{n}"), format!("r{n}"));
            Req { via: &via, call_id: &id, ..REQ }.text()
        };
        for step in steps {
            match step {
                Step::Send => {
                    let envelope = world.next;
                    world.next += 1;
                    match rig.send(&format!("z9hG4bKo{envelope}"), envelope) {
                        Ok(()) => world.open.push_back(envelope),
                        Err(refused) => {
                            prop_assert_eq!(refused.envelope, envelope);
                            prop_assert_eq!(refused.why == Why::Closed, closed);
                            prop_assert!(closed || world.open.len() == 8);
                            world.returned.insert(envelope);
                        }
                    }
                }
                Step::Answer(n, last) if world.next > 0 => {
                    let envelope = n as u32 % world.next;
                    rig.receive(response(&format!("z9hG4bKo{envelope}"), if last { 200 } else { 100 }));
                }
                Step::Request(None) => {
                    rig.receive(request(world.next_request));
                    world.next_request += 1;
                }
                Step::Request(Some(n)) if world.next_request > 0 => {
                    rig.receive(request(n as u32 % world.next_request));
                }
                Step::Respond(n) if !world.pending.is_empty() => {
                    let call_id = world.pending.swap_remove(n % world.pending.len());
                    let (txn, _) = world.passed[&call_id];
                    let status = [200, 404, 480][n % 3];
                    let responded = rig.respond(txn, status);
                    let abandoned = responded == Responded::Dropped;
                    prop_assert!(!abandoned || clock >= 32_000, "an answer was dropped");
                }
                Step::Wait(millis) => {
                    clock += millis;
                    // The driver wakes at each deadline on the way.
                    let until = rig.start + Duration::from_millis(clock);
                    while let Some(deadline) = rig.connection.deadline().filter(|at| *at <= until) {
                        rig.connection.handle_timeout(deadline);
                        prop_assert!(rig.connection.deadline() > Some(deadline) || rig.connection.deadline().is_none());
                    }
                    rig.at(clock);
                }
                Step::Transmit if !closed => world.transmit(&mut rig),
                Step::Ping => {}
                Step::Drain => rig.connection.drain(),
                Step::Close => {
                    rig.connection.closed();
                    closed = true;
                }
                _ => {}
            }
            world.drain(&mut rig);
            prop_assert_eq!(world.returned.len() + world.open.len(), world.next as usize);
        }
        if !closed {
            world.transmit(&mut rig);
        }
        rig.connection.closed();
        world.drain(&mut rig);
        prop_assert_eq!(world.returned.len(), world.next as usize, "an envelope was lost");
        for (request, statuses) in &world.answered {
            prop_assert_eq!(statuses.len(), 1, "{:?} got {:?}", request, statuses);
        }
        for (call_id, (_, passed)) in &world.passed {
            let answers = world.answered.iter().filter(|(key, statuses)| {
                key.0 == *call_id && !statuses.contains(&503)
            });
            prop_assert!(answers.count() <= *passed as usize, "{} was passed {} times", call_id, passed);
        }
    }
}
