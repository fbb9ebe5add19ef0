//! A subscriber and its notifiers over a wire that loses, delays and reorders, with crashes of either side.

use std::collections::BTreeMap;

use super::*;

/// Seeds of each kind of run.
const SEEDS: u64 = 100;
/// Faults and changes last so long, in milliseconds.
const TROUBLE: u64 = 900_000;
/// By then everything has to be as it should, with subscriptions of 2 minutes.
const PEACE: u64 = 400_000;

/// What is on the wire, and what the sender will hear of it.
enum Wire {
    Subscribe(u32, Message),
    Subscribed(u32, Result<Message, Undelivered>),
    /// Our tag of the notifier that sent it.
    Notify(CompactString, u32, Message),
    Notified(CompactString, u32, Result<Message, Undelivered>),
}

struct Watch {
    machine: Notifier,
    in_flight: bool,
    /// The subscription was granted until then.
    granted: Instant,
    ended: usize,
}

struct Link {
    world: World,
    seed: u64,
    faulty: bool,
    wire: Vec<(Instant, Wire)>,
    subscriber: Subscriber,
    wanted: bool,
    bound: Vec<CompactString>,
    watches: BTreeMap<CompactString, Watch>,
    /// What there is to be seen, and what was seen last.
    version: u32,
    seen: Option<u32>,
    may_go_back: bool,
    /// The last number of each Call-ID and From tag.
    numbers: BTreeMap<(String, String), u32>,
    saved: Option<(DialogRecord, Instant)>,
    saved_watches: Vec<(DialogRecord, Instant)>,
    refused: usize,
}

impl Link {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.config.expires = 120;
        Self {
            world,
            seed,
            faulty: true,
            wire: Vec::new(),
            subscriber: Subscriber::new("sip:juliet@im.example", "sip:romeo@sip.example").unwrap(),
            wanted: true,
            bound: Vec::new(),
            watches: BTreeMap::new(),
            version: 0,
            seen: None,
            may_go_back: false,
            numbers: BTreeMap::new(),
            saved: None,
            saved_watches: Vec::new(),
            refused: 0,
        }
    }

    /// Puts something on the wire, and decides what becomes of it.
    fn send(&mut self, request: Wire, outcome: impl FnOnce(Result<Message, Undelivered>) -> Wire) {
        let now = self.world.now;
        let delay = Duration::from_millis(self.world.chance(3_000));
        let fate = if self.faulty { self.world.chance(10) } else { 9 };
        match fate {
            0 => self.wire.push((now + delay, outcome(Err(Undelivered::NotSent)))),
            1 => self.wire.push((now + TIMER_N, outcome(Err(Undelivered::Timeout)))),
            // It arrives, and the answer does not.
            2 => {
                self.wire.push((now + delay, request));
                self.wire.push((now + delay * 2, outcome(Err(Undelivered::Lost))));
            }
            _ => self.wire.push((now + delay, request)),
        }
    }

    fn answered(&mut self, answer: Wire) {
        let at = self.world.now + Duration::from_millis(self.world.chance(3_000));
        self.wire.push((at, answer));
    }

    fn number(&mut self, request: &Message) {
        let tag = request.from_header().unwrap().tag().unwrap().to_owned();
        let number = cseq(request);
        let last = self.numbers.insert((request.call_id().unwrap().to_owned(), tag), number);
        assert!(last.is_none_or(|last| last < number), "seed {}: {number} after {last:?}", self.seed);
    }

    fn drain_subscriber(&mut self) {
        while let Some(output) = self.subscriber.poll() {
            match output {
                SubscriberOutput::Bound(tag) => {
                    assert!(self.bound.is_empty(), "seed {}: two dialogs", self.seed);
                    self.bound.push(tag);
                }
                SubscriberOutput::Released(tag) => {
                    assert_eq!(self.bound.pop(), Some(tag), "seed {}", self.seed);
                }
                SubscriberOutput::Send { serial, request } => {
                    let request = Message::parse(request.bytes().clone()).unwrap();
                    self.number(&request);
                    self.send(Wire::Subscribe(serial, request), |outcome| Wire::Subscribed(serial, outcome));
                }
                SubscriberOutput::Report(SubscriberReport::Active { document }) => {
                    let version = document.map(|document| body(&document).parse().unwrap());
                    let back = version < self.seen && !self.may_go_back;
                    assert!(!back, "seed {}: {version:?} after {:?}", self.seed, self.seen);
                    self.seen = version;
                }
                SubscriberOutput::Report(SubscriberReport::Pending) => {}
                SubscriberOutput::Report(_) => {
                    if self.wanted {
                        self.subscriber.subscribe_after(secs(5), &mut self.world.cx());
                    }
                }
            }
        }
    }

    fn drain_watches(&mut self) {
        let tags: Vec<_> = self.watches.keys().cloned().collect();
        for tag in tags {
            loop {
                let version = self.version.to_string();
                let watch = self.watches.get_mut(&tag).unwrap();
                let mut document = |_| {
                    let body = version.clone().into();
                    Some(Document {
                        media: "application/pidf+xml",
                        body,
                        language: None,
                        require: None,
                        fields: Vec::new(),
                    })
                };
                let Some(output) = watch.machine.poll(&mut self.world.cx(), &mut document) else { break };
                match output {
                    NotifierOutput::Send { serial, request } => {
                        assert!(!watch.in_flight, "seed {}: two NOTIFYs under way", self.seed);
                        watch.in_flight = true;
                        let granted = watch.granted;
                        let request = Message::parse(request.bytes().clone()).unwrap();
                        self.number(&request);
                        let state = request.subscription_state().unwrap().unwrap();
                        let until = self.world.now + secs(state.expires().unwrap_or(0).into());
                        assert!(until <= granted.max(self.world.now), "seed {}: lengthened", self.seed);
                        let own = tag.clone();
                        self.send(Wire::Notify(tag.clone(), serial, request), |outcome| {
                            Wire::Notified(own, serial, outcome)
                        });
                    }
                    NotifierOutput::Ended(_) => {
                        watch.ended += 1;
                        assert_eq!(watch.ended, 1, "seed {}: ended twice", self.seed);
                    }
                    NotifierOutput::Released(_) => {
                        assert_eq!(watch.ended, 1, "seed {}: released without an end", self.seed);
                        self.watches.remove(&tag);
                        break;
                    }
                    NotifierOutput::Bound(_) | NotifierOutput::Stalled(_) => {}
                }
            }
        }
    }

    fn deliver(&mut self, what: Wire) {
        match what {
            Wire::Subscribe(serial, request) => {
                let (status, tag, headers) = self.subscribe_arrives(&request);
                let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                let response = response(&request, status, &tag, &headers);
                self.answered(Wire::Subscribed(serial, Ok(response)));
            }
            Wire::Subscribed(serial, outcome) => match outcome {
                Ok(response) => self.subscriber.response(serial, &response, &mut self.world.cx()),
                Err(why) => self.subscriber.failed(serial, why, &mut self.world.cx()),
            },
            Wire::Notify(own, serial, request) => {
                let tag = request.to_header().unwrap().tag().unwrap().to_owned();
                let answer = if self.bound.iter().any(|bound| *bound == tag) {
                    self.subscriber.notify(&request, &mut self.world.cx())
                } else {
                    check_notify(&request, &self.world.config)
                };
                self.refused += usize::from(!answer.is_success());
                let response = response(&request, answer.status, "", &[]);
                self.answered(Wire::Notified(own, serial, Ok(response)));
            }
            Wire::Notified(own, serial, outcome) => {
                let Some(watch) = self.watches.get_mut(&own) else { return };
                watch.in_flight = false;
                match outcome {
                    Ok(response) => watch.machine.response(serial, &response, &mut self.world.cx()),
                    Err(why) => watch.machine.failed(serial, why, &mut self.world.cx()),
                }
            }
        }
    }

    fn subscribe_arrives(&mut self, request: &Message) -> (u16, CompactString, Vec<(&'static str, String)>) {
        let to_tag = request.to_header().unwrap().tag().map(CompactString::from);
        let now = self.world.now;
        let (tag, answer) = match to_tag.and_then(|tag| self.watches.get_mut(&tag).map(|watch| (tag, watch)))
        {
            Some((tag, watch)) => {
                let answer = watch.machine.subscribe(request, |_| true, &mut self.world.cx());
                (tag, answer)
            }
            None => match check_subscribe(request, &self.world.config, |_| true) {
                Err(answer) => (CompactString::default(), answer),
                Ok(wanted) => {
                    let tag = self.world.tokens.token();
                    let active = self.world.chance(2) == 0;
                    let (machine, answer) =
                        Notifier::accept(request, &wanted, &tag, active, &mut self.world.cx()).unwrap();
                    let watch = Watch { machine, in_flight: false, granted: now, ended: 0 };
                    self.watches.insert(tag.clone(), watch);
                    (tag, answer)
                }
            },
        };
        if let (Some(watch), Some(expires)) = (self.watches.get_mut(&tag), answer.header("Expires"))
            && answer.is_success()
        {
            watch.granted = now + secs(expires.parse().unwrap());
        }
        (answer.status, tag, answer.headers)
    }

    fn drain(&mut self) {
        self.drain_subscriber();
        assert_eq!(
            self.subscriber.local_tag(),
            self.bound.first().map(|tag| tag.as_str()),
            "seed {}",
            self.seed
        );
        self.drain_watches();
    }

    /// Lets time pass until `end`, in milliseconds since the start.
    fn run(&mut self, end: u64) {
        let end = self.world.start + Duration::from_millis(end);
        loop {
            let wire = self.wire.iter().map(|(at, _)| *at);
            let watches = self.watches.values().filter_map(|watch| watch.machine.deadline());
            let next = wire.chain(watches).chain(self.subscriber.deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.world.now = self.world.now.max(next);
            let now = self.world.now;
            if let Some(due) = self.wire.iter().position(|(at, _)| *at <= now) {
                let (_, what) = self.wire.swap_remove(due);
                self.deliver(what);
            } else {
                self.subscriber.handle_timeout(&mut self.world.cx());
                let Self { watches, world, .. } = self;
                watches.values_mut().for_each(|watch| watch.machine.handle_timeout(&mut world.cx()));
            }
            self.drain();
        }
        self.world.now = end;
    }

    fn publish(&mut self) {
        self.version += 1;
        let Self { watches, world, .. } = self;
        watches.values_mut().for_each(|watch| watch.machine.changed(&mut world.cx()));
        self.drain();
    }

    fn activate(&mut self) {
        let Self { watches, world, .. } = self;
        watches.values_mut().for_each(|watch| watch.machine.set_active(true, &mut world.cx()));
        self.drain();
    }

    fn save(&mut self) {
        self.save_subscriber();
        self.save_watches();
    }

    fn save_subscriber(&mut self) {
        self.saved = self.subscriber.record();
    }

    fn save_watches(&mut self) {
        let records = self.watches.values().filter_map(|watch| watch.machine.record());
        self.saved_watches = records.collect();
    }

    /// The subscriber's process dies. What is on the wire stays there; what it was waiting for, nobody hears.
    fn crash_subscriber(&mut self) {
        self.wire.retain(|(_, what)| !matches!(what, Wire::Subscribed(..)));
        self.bound.clear();
        self.may_go_back = true;
        match self.saved.clone() {
            Some((record, at)) => {
                self.subscriber = Subscriber::restore(record, at);
                // Numbers jump ahead of those in the record: it must say so before it is used once more.
                self.save_subscriber();
                self.subscriber.refresh(&mut self.world.cx());
            }
            None => {
                self.subscriber = Subscriber::new("sip:juliet@im.example", "sip:romeo@sip.example").unwrap();
                self.subscriber.subscribe(&mut self.world.cx());
            }
        }
        self.drain();
    }

    fn crash_notifiers(&mut self) {
        self.wire.retain(|(_, what)| !matches!(what, Wire::Notified(..)));
        self.may_go_back = true;
        self.watches.clear();
        for (record, at) in self.saved_watches.clone() {
            let mut machine = Notifier::restore(record, at, true);
            machine.changed(&mut self.world.cx());
            let watch = Watch { granted: at, machine, in_flight: false, ended: 0 };
            self.watches.insert(watch.machine.local_tag().into(), watch);
        }
        self.save_watches();
        self.drain();
    }

    /// Trouble, then peace, then the end.
    fn live(&mut self, crashes: bool) {
        self.subscriber.subscribe(&mut self.world.cx());
        self.drain();
        let mut at = 0;
        while at < TROUBLE {
            at += self.world.chance(20_000);
            self.run(at);
            match self.world.chance(if crashes { 9 } else { 6 }) {
                0 => self.activate(),
                1 => self.subscriber.refresh(&mut self.world.cx()),
                6 => self.save(),
                7 => self.crash_subscriber(),
                8 => self.crash_notifiers(),
                _ => self.publish(),
            }
            self.drain();
        }
        self.faulty = false;
        self.publish();
        self.run(at + PEACE / 2);
        self.activate();
        self.run(at + PEACE);
        assert!(self.subscriber.is_live(), "seed {}: no subscription", self.seed);
        assert_eq!(self.seen, Some(self.version), "seed {}: the last state did not arrive", self.seed);
        self.wanted = false;
        self.subscriber.unsubscribe(&mut self.world.cx());
        self.drain();
        self.run(at + 2 * PEACE);
        assert!(self.subscriber.is_idle() && self.bound.is_empty(), "seed {}: leak", self.seed);
        assert!(self.watches.is_empty(), "seed {}: leak of {}", self.seed, self.watches.len());
        assert!(self.wire.is_empty() && self.subscriber.deadline().is_none());
    }
}

#[test]
fn the_last_state_arrives_and_everything_ends() {
    let mut refused = 0;
    for seed in 0..SEEDS {
        let mut link = Link::new(seed);
        link.live(false);
        assert!(link.version > 10);
        refused += link.refused;
    }
    assert!(refused > 0, "the wire was too kind");
}

#[test]
fn crashes_lose_nothing_that_was_saved() {
    for seed in 0..SEEDS {
        Link::new(seed).live(true);
    }
}
