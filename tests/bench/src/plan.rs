//! What is measured, in which order, and whether a run counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Arguments;
use crate::gateway::{Gateway, Place, build};
use crate::handshakes::{self, Acquaintance};
use crate::job::{
    Count, Dialect, Direction, GeneratorJob, Matching, Order, Outcome, Pace, Plays, RelayJob, Round, Set,
    SinkJob, Until,
};
use crate::pki::{self, Keys};
use crate::presence::{self, Presence};
use crate::process::{Role, Usage, allow_files};
use crate::report::{self, Line, Memory, Report, Run, Subject};

/// How long messages may be on their way to the sink after the last answer.
const DRAIN: Duration = Duration::from_secs(10);
/// Before the gateway is told to stop: the last pings are answered meanwhile.
const SETTLE: Duration = Duration::from_millis(500);
/// Pairs of the measurement of memory.
const MEMORY_PAIRS: u32 = 50_000;
/// Streams of the measurement of memory.
const MEMORY_STREAMS: usize = 500;

/// Measures, prints and writes.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let most = groups(arguments.quick)
        .iter()
        .filter(|group| arguments.wants(&group.name()))
        .map(|group| group.streams)
        .max();
    // One for each stream, and what else there is.
    allow_files(most.unwrap_or_default() as u64 + 1_000)?;
    let program = build()?;
    let folder = tempfile::tempdir()?;
    pki::make(folder.path(), Keys::P256)?;
    let place = Place::new();
    place.serve_names()?;
    let bench = Bench { arguments, program, folder: folder.path(), place };

    let mut report = Report::begin(arguments.runs(), arguments.duration(), arguments.pairs());
    for group in groups(arguments.quick) {
        if arguments.wants(&group.name()) {
            eprintln!("{}", group.name());
            let lines = bench.measure(&group).with_context(|| group.name())?;
            report.lines.extend(lines);
        }
    }
    if !arguments.quick && arguments.wants("memory") {
        eprintln!("memory");
        report.memory = Some(bench.memory().context("memory")?);
    }
    let presence = Presence { arguments, program: &bench.program, folder: folder.path(), place };
    for line in presence::lines(arguments.quick) {
        let name = presence::name(line);
        if arguments.wants(&name) {
            eprintln!("{name}");
            report.lines.extend(presence.throughput(line).context(name)?);
        }
    }
    // "presence" alone names the lines.
    if !arguments.quick && arguments.only.as_deref() != Some("presence") && arguments.wants("presence-memory")
    {
        eprintln!("presence-memory");
        for dialect in [Dialect::Pidf, Dialect::Categories] {
            report.presence_memory.push(presence.memory(dialect).context("presence-memory")?);
        }
    }
    if !arguments.quick && arguments.wants("restart") {
        eprintln!("restart");
        report.restarts = presence.restarts().context("restart")?;
    }
    let acquaintance = Acquaintance { arguments, program: &bench.program, folder: folder.path(), place };
    for line in handshakes::lines() {
        let name = handshakes::name(line);
        if arguments.wants(&name) {
            eprintln!("{name}");
            report.handshakes.push(acquaintance.compare(line).context(name)?);
        }
    }
    if arguments.wants("idle streams") {
        eprintln!("idle streams");
        report.idle_streams = Some(acquaintance.idle().context("idle streams")?);
    }
    report.compare();

    let json = match &arguments.json {
        Some(json) => json.clone(),
        None => default_json()?,
    };
    fs::write(&json, serde_json::to_string_pretty(&report)?)?;
    match arguments.markdown {
        true => println!("{}", report::markdown(&report)),
        false => println!("{}", report::table(&report)),
    }
    eprintln!("written to {}", json.display());
    Ok(())
}

impl Arguments {
    pub(crate) fn runs(&self) -> usize {
        if self.quick { 1 } else { self.runs.max(1) }
    }

    pub(crate) fn duration(&self) -> f64 {
        if self.quick { 0.0 } else { self.seconds }
    }

    pub(crate) fn pairs(&self) -> u32 {
        if self.quick { 100 } else { self.pairs.clamp(1, 999_999) }
    }

    pub(crate) fn until(&self) -> Until {
        if self.quick { Until::Messages(400) } else { Until::Seconds(self.seconds) }
    }
}

/// Measurements with the same processes.
#[derive(Clone, Debug)]
struct Group {
    subject: Subject,
    direction: Direction,
    set: Set,
    streams: usize,
    paces: Vec<Pace>,
}

/// So many partners, each with a stream of its own, to see what that costs a message.
const MANY: [usize; 2] = [1_000, 10_000];

fn groups(quick: bool) -> Vec<Group> {
    let relays = [Subject::RelayWritten, Subject::RelayAcknowledged];
    let (streams, windows) = match quick {
        true => (vec![4], vec![Pace::Window(16)]),
        false => (vec![1, 4, 100], vec![Pace::Window(1), Pace::Window(256)]),
    };
    let mut groups = Vec::new();
    for set in [Set::Small, Set::Lync] {
        let paces = |streams| match (set, streams) {
            // What a message takes where nothing has to queue.
            (Set::Small, 1) => [windows.clone(), vec![Pace::Rate(1000)]].concat(),
            _ => windows.clone(),
        };
        for subject in relays {
            let direction = Direction::SipToXmpp;
            groups.push(Group {
                subject,
                direction,
                set,
                streams: 1,
                paces: if quick { windows.clone() } else { paces(1) },
            });
        }
        for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
            for &streams in &streams {
                groups.push(Group {
                    subject: Subject::Gateway,
                    direction,
                    set,
                    streams,
                    paces: paces(streams),
                });
            }
        }
    }
    for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
        groups.push(Group {
            subject: Subject::Gateway,
            direction,
            set: Set::Session,
            streams: 4,
            paces: windows.clone(),
        });
    }
    if !quick {
        for streams in MANY {
            for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
                groups.push(Group {
                    subject: Subject::Gateway,
                    direction,
                    set: Set::Small,
                    streams,
                    // With so many of them hardly two messages go the same way at a time.
                    paces: vec![Pace::Window(1), Pace::Window(256)],
                });
            }
        }
    }
    groups
}

impl Group {
    fn name(&self) -> String {
        let set = match self.set {
            Set::Small => "small",
            Set::Lync => "lync",
            Set::Session => "session",
        };
        let subject = match (self.subject, self.direction) {
            (Subject::RelayWritten, _) => "relay, answers when written",
            (Subject::RelayAcknowledged, _) => "relay, answers when acknowledged",
            (Subject::Gateway, Direction::SipToXmpp) => "gateway, from sip",
            (Subject::Gateway, Direction::XmppToSip) => "gateway, from xmpp",
        };
        format!("{subject}, {set}, {} streams", self.streams)
    }
}

struct Bench<'a> {
    arguments: &'a Arguments,
    program: PathBuf,
    folder: &'a Path,
    place: Place,
}

/// The process under test.
enum Tested {
    Gateway(Gateway),
    Relay(Role),
}

impl Tested {
    fn usage(&self) -> Result<Usage> {
        match self {
            Self::Gateway(gateway) => gateway.usage(),
            Self::Relay(relay) => relay.usage(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Gateway(gateway) => gateway.text(),
            Self::Relay(_) => String::new(),
        }
    }
}

/// The processes of a group.
struct Stage {
    tested: Tested,
    generator: Role,
    sink: Role,
    /// Messages sent so far.
    sent: u64,
}

impl Bench<'_> {
    fn measure(&self, group: &Group) -> Result<Vec<Line>> {
        let mut stage = self.set_up(group, self.arguments.pairs())?;
        let mut lines = Vec::new();
        for &pace in &group.paces {
            let pairs = self.arguments.pairs();
            if !self.arguments.quick {
                // Every stream is to be open.
                let warm_up = match group.streams {
                    streams if MANY.contains(&streams) => Until::Messages(u64::from(pairs) * 2),
                    _ => Until::Seconds(self.arguments.seconds.min(1.0)),
                };
                stage.round(Round { pace, until: warm_up, pairs })?;
            }
            let mut runs = Vec::new();
            for _ in 0..self.arguments.runs() {
                runs.push(stage.round(Round { pace, until: self.arguments.until(), pairs })?);
            }
            let line = Line::new(group.subject, group.direction, group.set, group.streams, pace, runs);
            eprintln!("  {}", line.summary());
            lines.push(line);
        }
        stage.tear_down(group)?;
        Ok(lines)
    }

    fn set_up(&self, group: &Group, pairs: u32) -> Result<Stage> {
        let (place, folder) = (self.place, self.folder.to_owned());
        let feedback = self.folder.join("feedback");
        let _ = fs::remove_file(&feedback);
        let (plays, listen) = match (group.subject, group.direction) {
            (Subject::Gateway, Direction::SipToXmpp) => {
                // Twice as many would need more descriptors than a process usually gets.
                let both_ways = MANY.contains(&group.streams);
                (Plays::Partner { gateway: place.xmpp(), both_ways }, place.partner())
            }
            (Subject::Gateway, Direction::XmppToSip) => {
                (Plays::FrontEnd { feedback: feedback.clone() }, place.front_end())
            }
            (Subject::RelayWritten, _) => (Plays::RelayEnd { acknowledges: false }, place.partner()),
            (Subject::RelayAcknowledged, _) => (Plays::RelayEnd { acknowledges: true }, place.partner()),
        };
        let streams = group.streams;
        let sink_job = SinkJob { plays, listen, folder: folder.clone(), pairs, streams };
        let sink = Role::start("sink", &sink_job, false)?;
        let tested = match group.subject {
            Subject::Gateway => {
                let sessions = group.set == Set::Session;
                Tested::Gateway(Gateway::start(&self.program, place, self.folder, sessions, group.streams)?)
            }
            Subject::RelayWritten | Subject::RelayAcknowledged => {
                let waits_for_acknowledgement = group.subject == Subject::RelayAcknowledged;
                let (listen, sink, set) = (place.sip(), place.partner(), group.set);
                let job = RelayJob { listen, sink, folder: folder.clone(), set, waits_for_acknowledgement };
                Tested::Relay(Role::start("relay", &job, true)?)
            }
        };
        let (matching, target) = match (group.subject, group.direction) {
            (Subject::Gateway, Direction::XmppToSip) => (Matching::Branch, place.xmpp()),
            (Subject::Gateway, Direction::SipToXmpp) => (Matching::Branch, place.sip()),
            _ => (Matching::Order, place.sip()),
        };
        let (direction, set, streams) = (group.direction, group.set, group.streams);
        let job = GeneratorJob { direction, set, pairs, streams, target, folder, matching, feedback };
        let generator = Role::start("generator", &job, false).with_context(|| tested.text())?;
        Ok(Stage { tested, generator, sink, sent: 0 })
    }

    /// Memory of idle streams and of pairs.
    fn memory(&self) -> Result<Memory> {
        let group = |direction| Group {
            subject: Subject::Gateway,
            direction,
            set: Set::Small,
            streams: 20,
            paces: Vec::new(),
        };
        let from_xmpp = group(Direction::XmppToSip);
        let mut stage = self.set_up(&from_xmpp, 100)?;
        let before = stage.tested.usage()?.bytes;
        stage.generator.ask::<String>(Order::Dial(MEMORY_STREAMS))?;
        let after = stage.tested.usage()?.bytes;
        let stream = after.saturating_sub(before) / MEMORY_STREAMS as u64;
        stage.tear_down(&from_xmpp)?;

        let from_sip = Group { streams: 1, ..group(Direction::SipToXmpp) };
        let mut stage = self.set_up(&from_sip, MEMORY_PAIRS)?;
        let few = MEMORY_PAIRS / 50;
        let round =
            |messages, pairs| Round { pace: Pace::Window(64), until: Until::Messages(messages), pairs };
        stage.round(round(u64::from(MEMORY_PAIRS), few))?;
        let before = stage.tested.usage()?.bytes;
        // Half as many again, so that the slowest of the four connections comes round too.
        stage.round(round(u64::from(MEMORY_PAIRS) * 3 / 2, MEMORY_PAIRS))?;
        let after = stage.tested.usage()?.bytes;
        let pair = after.saturating_sub(before) / u64::from(MEMORY_PAIRS - few);
        stage.tear_down(&from_sip)?;
        Ok(Memory { idle_stream_bytes: stream, pair_bytes: pair })
    }
}

impl Stage {
    /// One round. It counts only if what was sent, answered and received is the same.
    fn round(&mut self, round: Round) -> Result<Run> {
        let (tested, generator, sink) = (self.tested.usage()?, self.generator.usage()?, self.sink.usage()?);
        let outcome: Outcome = self.generator.ask(Order::Round(round))?;
        let used = self.tested.usage()?.seconds - tested.seconds;
        let load =
            self.generator.usage()?.seconds - generator.seconds + self.sink.usage()?.seconds - sink.seconds;
        let before = self.sent;
        self.sent += outcome.sent;
        let count = self.drained()?;
        let arrived = count.messages.saturating_sub(before);
        let complete = arrived == outcome.sent && outcome.answered == outcome.sent;
        if !complete || outcome.refused > 0 || count.wrong > 0 {
            bail!(
                "the run does not count: sent {}, answered with 200 {}, answered otherwise {}, arrived {arrived}, \
                 arrived wrong {}\n{}{}\n{}",
                outcome.sent,
                outcome.answered,
                outcome.refused,
                count.wrong,
                outcome.trouble.unwrap_or_default(),
                count.trouble.map(|text| format!("\nsink: {text}")).unwrap_or_default(),
                self.tested.text(),
            );
        }
        let messages = outcome.sent.max(1) as f64;
        Ok(Run {
            sent: outcome.sent,
            answered: outcome.answered,
            arrived,
            seconds: outcome.seconds,
            per_second: outcome.sent as f64 / outcome.seconds.max(1e-9),
            cpu_us: used * 1e6 / messages,
            load_cpu_us: load * 1e6 / messages,
            p50_us: outcome.p50,
            p99_us: outcome.p99,
            p999_us: outcome.p999,
        })
    }

    /// What the sink has, once it has everything or long enough has passed.
    fn drained(&mut self) -> Result<Count> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let count: Count = self.sink.ask(Order::Count)?;
            if count.messages >= self.sent || Instant::now() > deadline {
                return Ok(count);
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Ends the processes; the gateway has to agree with the count.
    fn tear_down(mut self, group: &Group) -> Result<()> {
        if (group.set, group.direction) == (Set::Session, Direction::SipToXmpp) {
            self.generator.ask::<String>(Order::EndSessions)?;
        }
        drop(self.generator);
        match self.tested {
            Tested::Relay(relay) => drop(relay),
            Tested::Gateway(gateway) => {
                sleep(SETTLE);
                let counter = match group.direction {
                    Direction::SipToXmpp => "sip_to_xmpp_delivered",
                    Direction::XmppToSip => "xmpp_to_sip_delivered",
                };
                gateway.stop(counter, self.sent)?;
            }
        }
        drop(self.sink);
        Ok(())
    }
}

/// `target/bench/<date>.json`.
fn default_json() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("no target folder")?;
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    Ok(folder.join(format!("{}.json", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"))))
}
