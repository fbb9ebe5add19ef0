//! Group and connections together, against front ends that misbehave at random.
//!
//! The world moves only by drawn steps; front ends process, refuse, go silent, close. What they processed is
//! compared with what the sender was told.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::connection::{Connection, ConnectionConfig, Output};
use crate::{Frame, Framer, Limits};

#[derive(Clone, Debug)]
enum Step {
    Push,
    /// The pending attempt to connect ends well, or not.
    Connect(bool),
    /// A connection writes what it has.
    Write(usize),
    /// A front end reads one request and answers so; 0: it processes it and says nothing.
    Serve(usize, u16),
    /// A connection ends; what was written and not served is lost.
    Cut(usize),
    Wait(u64),
    Retry,
    Knock,
    /// These are the next hops now, each with its rank.
    List(Vec<(usize, u32)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop_oneof![6 => Just(200u16), 3 => Just(503u16), 2 => Just(302u16), 1 => Just(480u16), 1 => Just(0u16)];
    let step = prop_oneof![
        10 => Just(Step::Push),
        6 => prop::bool::weighted(0.7).prop_map(Step::Connect),
        8 => any::<usize>().prop_map(Step::Write),
        12 => (any::<usize>(), status).prop_map(|(n, status)| Step::Serve(n, status)),
        2 => any::<usize>().prop_map(Step::Cut),
        4 => prop_oneof![0u64..100, 0u64..4_000, 0u64..40_000].prop_map(Step::Wait),
        1 => Just(Step::Retry),
        1 => Just(Step::Knock),
        1 => prop::collection::vec((0usize..5, 0u32..3), 0..4).prop_map(Step::List),
    ];
    prop::collection::vec(step, 0..250)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Status(u16),
    /// Failed, but it may have arrived.
    Perhaps,
    /// Failed, and it was not processed.
    No,
}

struct Link {
    connection: Connection<Outgoing<u32>>,
    /// Written and not yet read by the front end.
    wire: BytesMut,
    released: bool,
}

struct World {
    group: HopGroup<u32>,
    links: BTreeMap<HopConnection, Link>,
    connecting: bool,
    next_connection: u64,
    now: Instant,
    pushed: u32,
    told: HashMap<u32, Told>,
    /// How often each was processed.
    processed: HashMap<u32, u32>,
    /// Not sent yet, and the last that was sent for the first time.
    fresh: HashSet<u32>,
    last_fresh: Option<u32>,
}

impl World {
    fn new(targets: usize) -> Self {
        let config = HopConfig { window: 8, max_requests: 32, ..HopConfig::default() };
        let labels = (0..targets).map(|n| format!("fe{n}.example:5061"));
        Self {
            group: HopGroup::new(config, labels, 3),
            links: BTreeMap::new(),
            connecting: false,
            next_connection: 0,
            now: Instant::now(),
            pushed: 0,
            told: HashMap::new(),
            processed: HashMap::new(),
            fresh: HashSet::new(),
            last_fresh: None,
        }
    }

    fn tell(&mut self, envelope: u32, told: Told) {
        let before = self.told.insert(envelope, told);
        assert_eq!(before, None, "{envelope} came back twice");
    }

    /// What a driver does with the outputs of the group.
    fn drain(&mut self) {
        while let Some(output) = self.group.poll() {
            match output {
                HopOutput::Connect { .. } => {
                    assert!(!self.connecting, "two connects at once");
                    self.connecting = true;
                }
                HopOutput::Send { connection, outgoing } => {
                    let envelope = *outgoing.envelope();
                    // Fresh requests leave in order; one that was sent before may only jump ahead.
                    if self.fresh.remove(&envelope) {
                        let last = self.last_fresh.replace(envelope);
                        assert!(last < Some(envelope), "{envelope} left after {last:?}");
                    }
                    let Some(link) = self.links.get_mut(&connection) else {
                        self.group.refused(SendRefused { why: Why::Closed, envelope: outgoing }, self.now);
                        continue;
                    };
                    assert!(!link.released, "sent on a connection that was let go");
                    if let Err(refused) = link.connection.send(outgoing, self.now) {
                        self.group.refused(refused, self.now);
                    }
                }
                HopOutput::Release { connection } => {
                    if let Some(link) = self.links.get_mut(&connection) {
                        link.released = true;
                    }
                }
                HopOutput::Response { envelope, message, .. } => {
                    self.tell(envelope, Told::Status(message.status().unwrap().0));
                }
                HopOutput::Failed { envelope, why, .. } => {
                    let told = if why.may_have_arrived() { Told::Perhaps } else { Told::No };
                    self.tell(envelope, told);
                }
                other => panic!("nobody invited: {other:?}"),
            }
        }
    }

    /// What a driver does with the outputs of a connection.
    fn collect(&mut self, id: HopConnection) {
        let outputs: Vec<_> = match self.links.get_mut(&id) {
            Some(link) => std::iter::from_fn(|| link.connection.poll()).collect(),
            None => return,
        };
        for output in outputs {
            match output {
                Output::Response { envelope, message } => self.group.response(envelope, message, self.now),
                Output::Failed { envelope, why } => self.group.failed(envelope, why, self.now),
                Output::Request { .. } | Output::Dead => {}
                other => panic!("nobody invited: {other:?}"),
            }
        }
        self.drain();
    }

    fn pick(&self, n: usize) -> Option<HopConnection> {
        self.links.keys().nth(n.checked_rem(self.links.len())?).copied()
    }

    fn write(&mut self, id: HopConnection) {
        if let Some(link) = self.links.get_mut(&id) {
            let mut out = Vec::new();
            link.connection.transmit(&mut out);
            link.wire.extend_from_slice(&out);
        }
    }

    fn serve(&mut self, id: HopConnection, status: u16) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Ok(Some(Frame::Message(request))) = Framer::new(Limits::default()).next(&mut link.wire) else {
            return;
        };
        let envelope: u32 = request.call_id().unwrap().parse().unwrap();
        if !matches!(status, 302 | 503) {
            *self.processed.entry(envelope).or_default() += 1;
        }
        if status != 0 {
            let via = request.top_via().unwrap().as_str().to_owned();
            let text = format!(
                "SIP/2.0 {status} X\r\nVia: {via}\r\nFrom: <sip:romeo@contoso.example>;tag=f\r\n\
                 To: <sip:juliet@example.com>;tag=t\r\nCall-ID: {envelope}\r\nCSeq: 1 MESSAGE\r\n\
                 Contact: <sip:fe{}.example>\r\nContent-Length: 0\r\n\r\n",
                envelope % 4
            );
            link.connection.receive(Message::parse(text.into()).unwrap(), || "t", self.now);
        }
        self.collect(id);
    }

    fn cut(&mut self, id: HopConnection, group_first: bool) {
        if let Some(link) = self.links.get_mut(&id) {
            link.connection.closed();
        }
        if group_first {
            self.group.connection_closed(id, self.now);
            self.drain();
        }
        self.collect(id);
        self.links.remove(&id);
        self.group.connection_closed(id, self.now);
        self.drain();
    }

    /// Lets time pass, waking every machine at its deadline.
    fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            let links =
                self.links.iter().filter_map(|(id, link)| Some((link.connection.deadline()?, Some(*id))));
            let group = self.group.deadline().map(|at| (at, None));
            let Some((at, who)) = links.chain(group).min().filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            match who {
                Some(id) => {
                    if let Some(link) = self.links.get_mut(&id) {
                        link.connection.handle_timeout(self.now);
                    }
                    self.collect(id);
                }
                None => {
                    self.group.handle_timeout(self.now);
                    self.drain();
                    assert!(
                        self.group.deadline().is_none_or(|next| next > self.now),
                        "a timer that never ends"
                    );
                }
            }
        }
        self.now = until;
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push => {
                let envelope = self.pushed;
                self.pushed += 1;
                self.fresh.insert(envelope);
                if let Err(refused) = self.group.push(request(envelope), envelope, self.now) {
                    assert_eq!((refused.envelope, self.group.load()), (envelope, 32));
                    self.tell(envelope, Told::No);
                }
                self.drain();
            }
            Step::Connect(true) if self.connecting => {
                self.connecting = false;
                let id = HopConnection(self.next_connection);
                self.next_connection += 1;
                let config = ConnectionConfig {
                    max_pending_out: 8,
                    ..ConnectionConfig::new("192.0.2.7:5061".parse().unwrap(), "nuncio.example", [1; 16])
                };
                let connection = Connection::new(config, self.now);
                self.links.insert(id, Link { connection, wire: BytesMut::new(), released: false });
                self.group.connected(id, self.now);
                self.drain();
            }
            Step::Connect(false) if self.connecting => {
                self.connecting = false;
                self.group.connect_failed("no", self.now);
                self.drain();
            }
            Step::Write(n) => {
                if let Some(id) = self.pick(n) {
                    self.write(id);
                }
            }
            Step::Serve(n, status) => {
                if let Some(id) = self.pick(n) {
                    self.serve(id, status);
                }
            }
            Step::Cut(n) => {
                if let Some(id) = self.pick(n) {
                    self.cut(id, n % 2 == 0);
                }
            }
            Step::Wait(millis) => self.wait(millis),
            Step::Retry => {
                self.group.retry_now(self.now);
                self.drain();
            }
            Step::Knock => {
                self.group.knock(self.now);
                self.drain();
            }
            Step::List(targets) => {
                let label = |id| format!("fe{id}.example:5061");
                let targets = targets.into_iter().map(|(id, rank)| HopTarget { id, label: label(id), rank });
                self.group.list(targets, self.now);
                self.drain();
            }
            Step::Connect(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn never_lost_never_twice_and_never_told_wrongly(targets in 1usize..4, steps in steps()) {
        let mut world = World::new(targets);
        for step in steps {
            world.step(step);
            prop_assert_eq!(world.told.len() + world.group.load(), world.pushed as usize);
        }
        // Nothing waits longer than hold and Timer F together, whatever the world does not do.
        world.wait(100_000);
        prop_assert!(world.group.is_idle());
        prop_assert_eq!(world.told.len(), world.pushed as usize, "an envelope was lost");
        for (envelope, told) in &world.told {
            let processed = world.processed.get(envelope).copied().unwrap_or(0);
            prop_assert!(processed <= 1, "{} was processed twice", envelope);
            match told {
                Told::Status(302 | 503) | Told::No => prop_assert_eq!(processed, 0, "{} was told {:?}", envelope, told),
                Told::Status(_) => prop_assert_eq!(processed, 1),
                Told::Perhaps => {}
            }
        }
    }
}
