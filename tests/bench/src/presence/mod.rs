//! Presence: both ways with live subscriptions, what those weigh, and how they come back after the gateway was killed.

pub(crate) mod contacts;
pub(crate) mod house;
mod line;
mod load;
mod lync;
mod text;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::Arguments;
use crate::gateway::{Gateway, PARTNERS, Place};
use crate::job::{Count, Dialect, Direction, Order, Outcome, Pace, PresenceJob, Range, Round, Until};
use crate::process::Role;
use crate::report::{Line, Messages, PresenceMemory, Restart, Run, Subject};

/// How long something may be on its way to the sink after the last answer.
const DRAIN: Duration = Duration::from_secs(10);
/// After which the store has everything, and the allocator has given back what it gives back.
const SETTLE: Duration = Duration::from_secs(2);
/// Pairs that are established at a time.
const AT_A_TIME: u32 = 10_000;
/// Pairs of the measurement of memory.
const MEMORY_PAIRS: u32 = 200_000;
/// Subscriptions in the store.
const STORED: u32 = 100_000;
/// Rates of taking them up again.
const RESTART_RATES: [u32; 3] = [2_000, 10_000, 100_000];
/// For so long all of them are waited for.
const RESTART: Duration = Duration::from_secs(120);
/// Partner domains of memory and restart.
const DOMAINS: usize = 20;

/// What all measurements here share.
pub(crate) struct Presence<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) program: &'a Path,
    pub(crate) folder: &'a Path,
    pub(crate) place: Place,
}

/// Lines of the table: the way, the partner domains, and the dialect of the front end.
pub(crate) type Way = (Direction, usize, Dialect);

/// All of them.
pub(crate) fn lines(quick: bool) -> Vec<Way> {
    let mut lines = Vec::new();
    for dialect in [Dialect::Pidf, Dialect::Categories] {
        let streams: &[usize] = match (quick, dialect) {
            (true, _) => &[4],
            (false, Dialect::Pidf) => &[1, 4, 100],
            (false, Dialect::Categories) => &[4],
        };
        for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
            lines.extend(streams.iter().map(|&streams| (direction, streams, dialect)));
        }
    }
    lines
}

/// The name of a line, for `--only`.
pub(crate) fn name((direction, streams, dialect): Way) -> String {
    let way = match direction {
        Direction::SipToXmpp => "from sip",
        Direction::XmppToSip => "from xmpp",
    };
    let dialect = match dialect {
        Dialect::Pidf => "",
        Dialect::Categories => ", categories",
    };
    format!("presence, {way}, {streams} streams{dialect}")
}

impl Presence<'_> {
    /// NOTIFY → presence or presence → NOTIFY.
    pub(crate) fn throughput(&self, (direction, streams, dialect): Way) -> Result<Vec<Line>> {
        let pairs = self.arguments.pairs();
        let mut town = self.set_up((direction, streams, dialect), pairs, "notify_interval = '0ms'\n")?;
        match direction {
            Direction::SipToXmpp => town.establish(Watched::Users, 0, pairs)?,
            Direction::XmppToSip => town.establish(Watched::Contacts, 0, pairs)?,
        }
        let paces = match self.arguments.quick {
            true => vec![Pace::Window(16)],
            false => vec![Pace::Window(1), Pace::Window(256)],
        };
        let mut lines = Vec::new();
        for pace in paces {
            if !self.arguments.quick {
                let warm_up = Until::Seconds(self.arguments.seconds.min(1.0));
                town.round(Round { pace, until: warm_up, pairs })?;
            }
            let mut runs = Vec::new();
            for _ in 0..self.arguments.runs() {
                runs.push(town.round(Round { pace, until: self.arguments.until(), pairs })?);
            }
            let messages = Messages::from(dialect);
            let line = Line::new(Subject::Gateway, direction, messages, streams, pace, runs);
            eprintln!("  {}", line.summary());
            lines.push(line);
        }
        town.tear_down()?;
        Ok(lines)
    }

    /// What live pairs weigh: first contacts watch users, then users watch the same contacts.
    pub(crate) fn memory(&self, dialect: Dialect) -> Result<PresenceMemory> {
        let (pairs, few) = (MEMORY_PAIRS, MEMORY_PAIRS / 50);
        let way = (Direction::SipToXmpp, DOMAINS, dialect);
        let mut town = self.set_up(way, pairs, "notify_interval = '0ms'\n")?;
        town.establish(Watched::Users, 0, few)?;
        town.establish(Watched::Contacts, 0, few)?;
        let before = town.gateway.usage()?.bytes;
        town.establish(Watched::Users, few, pairs)?;
        let watched = town.gateway.usage()?.bytes;
        town.establish(Watched::Contacts, few, pairs)?;
        let both = town.gateway.usage()?.bytes;
        let each = |from: u64, to: u64| to.saturating_sub(from) / u64::from(pairs - few);
        // So many NOTIFYs of the end would take longer than a stop may.
        town.gateway.kill()?;
        Ok(PresenceMemory {
            dialect,
            kept: text::kept(dialect),
            pairs,
            watched_bytes: each(before, watched),
            both_more_bytes: each(watched, both),
            resident_bytes: both,
        })
    }

    /// Kills the gateway and watches how what it had stored comes back, at several rates.
    pub(crate) fn restarts(&self) -> Result<Vec<Restart>> {
        let mut town = self.set_up((Direction::SipToXmpp, DOMAINS, Dialect::Pidf), STORED, "")?;
        town.establish(Watched::Users, 0, STORED)?;
        let mut restarts = Vec::new();
        for rate in RESTART_RATES {
            let Town { gateway, mut house, contacts, sent } = town;
            gateway.kill()?;
            house.ask::<String>(Order::Anew)?;
            let begin = Instant::now();
            let more = format!("restart_rate = {rate}\n");
            let gateway = self.start(&more)?;
            let listening = begin.elapsed().as_secs_f64();
            let mut curve = [None; 4];
            for (part, time) in [STORED / 10, STORED / 2, STORED / 10 * 9, STORED].into_iter().zip(&mut curve)
            {
                let mut there = false;
                while !there && begin.elapsed() < RESTART {
                    sleep(Duration::from_millis(10));
                    there = house.ask::<Count>(Order::Count)?.subscriptions >= u64::from(part);
                }
                *time = there.then(|| begin.elapsed().as_secs_f64());
            }
            let cpu = gateway.usage()?.seconds;
            sleep(SETTLE);
            let resident_bytes = gateway.usage()?.bytes;
            let restart = Restart { stored: STORED, rate, listening, curve, cpu, resident_bytes };
            eprintln!("  {restart:?}");
            restarts.push(restart);
            town = Town { gateway, house, contacts, sent };
        }
        let Count { wrong, trouble, .. } = town.house.ask(Order::Count)?;
        ensure!(wrong == 0, "front end: {trouble:?}");
        town.gateway.kill()?;
        Ok(restarts)
    }

    fn start(&self, more: &str) -> Result<Gateway> {
        // As many as there may be in all.
        let more = format!("\n[limits.presence]\nsubscriptions_per_partner = 1000000\n{more}");
        Gateway::start_with(self.program, self.place, self.folder, &more, PARTNERS)
    }

    fn set_up(&self, (direction, streams, dialect): Way, pairs: u32, more: &str) -> Result<Town> {
        // What was stored before is not to come back now.
        let _ = fs::remove_dir_all(self.folder.join("state"));
        let feedback = self.folder.join("feedback");
        let _ = fs::remove_file(&feedback);
        let job = |target, listen| PresenceJob {
            direction,
            dialect,
            pairs,
            streams,
            target,
            listen,
            folder: self.folder.to_owned(),
            feedback: feedback.clone(),
        };
        let place = self.place;
        let (house_job, contacts_job) =
            (job(place.sip(), place.front_end()), job(place.xmpp(), place.partner()));
        // The sink first, so that the generator finds it.
        let (house, contacts) = match direction {
            Direction::SipToXmpp => {
                let contacts = Role::start("contacts", &contacts_job, false)?;
                (Role::start("house", &house_job, false)?, contacts)
            }
            Direction::XmppToSip => {
                let house = Role::start("house", &house_job, false)?;
                (house, Role::start("contacts", &contacts_job, false)?)
            }
        };
        let gateway = self.start(more)?;
        Ok(Town { gateway, house, contacts, sent: Sent { direction, messages: 0 } })
    }
}

/// Who is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Users,
    Contacts,
}

/// The gateway and everybody around it.
struct Town {
    gateway: Gateway,
    house: Role,
    contacts: Role,
    sent: Sent,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    direction: Direction,
    messages: u64,
}

impl Town {
    fn establish(&mut self, watched: Watched, first: u32, last: u32) -> Result<()> {
        let begin = Instant::now();
        let mut at = first;
        while at < last {
            let range = Range { first: at, last: last.min(at + AT_A_TIME) };
            let who = match watched {
                Watched::Users => &mut self.contacts,
                Watched::Contacts => &mut self.house,
            };
            let outcome: Outcome = who.ask(Order::Establish(range))?;
            if outcome.answered != u64::from(range.last - range.first) || outcome.refused > 0 {
                bail!("{range:?}, {watched:?} watched: {outcome:?}\n{}", self.trouble());
            }
            at = range.last;
        }
        eprintln!("  {} subscriptions after {:.1} s", last - first, begin.elapsed().as_secs_f64());
        sleep(SETTLE);
        Ok(())
    }

    fn trouble(&mut self) -> String {
        let mut text = self.gateway.text();
        for role in [&mut self.house, &mut self.contacts] {
            if let Ok(count) = role.ask::<Count>(Order::Count) {
                text.push_str(&format!("\n{count:?}"));
            }
        }
        text
    }

    /// The generator, then the sink.
    fn sides(&mut self) -> (&mut Role, &mut Role) {
        match self.sent.direction {
            Direction::SipToXmpp => (&mut self.house, &mut self.contacts),
            Direction::XmppToSip => (&mut self.contacts, &mut self.house),
        }
    }

    /// One round. It counts only if what was sent, answered and received is the same.
    fn round(&mut self, round: Round) -> Result<Run> {
        let tested = self.gateway.usage()?.seconds;
        let load = self.house.usage()?.seconds + self.contacts.usage()?.seconds;
        let outcome: Outcome = self.sides().0.ask(Order::Round(round))?;
        let used = self.gateway.usage()?.seconds - tested;
        let load = self.house.usage()?.seconds + self.contacts.usage()?.seconds - load;
        let before = self.sent.messages;
        self.sent.messages += outcome.sent;
        let deadline = Instant::now() + DRAIN;
        let count = loop {
            let count: Count = self.sides().1.ask(Order::Count)?;
            if count.messages >= before + outcome.sent || Instant::now() > deadline {
                break count;
            }
            sleep(Duration::from_millis(10));
        };
        let arrived = count.messages.saturating_sub(before);
        if arrived != outcome.sent || outcome.answered != outcome.sent || outcome.refused + count.wrong > 0 {
            bail!("the run does not count: arrived {arrived}, {outcome:?}\n{}", self.trouble());
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

    /// Ends the processes; the gateway has to agree with everybody's count.
    fn tear_down(mut self) -> Result<()> {
        sleep(SETTLE);
        let (counters, text) = self.gateway.end()?;
        let requests: Count = self.house.ask(Order::Count)?;
        let stanzas: Count = self.contacts.ask(Order::Count)?;
        for side in [&requests, &stanzas] {
            ensure!(side.wrong == 0, "{side:?}");
        }
        for (name, count) in counters {
            let expected = match name.as_str() {
                "presence_to_xmpp" => stanzas.everything,
                "events_to_sip" => requests.everything,
                "streams_refused" => count,
                _ => bail!("the gateway counted {count} × {name}:\n{text}"),
            };
            ensure!(count == expected, "the gateway counted {count} × {name} instead of {expected}:\n{text}");
        }
        Ok(())
    }
}

impl Arguments {
    /// Whether something of this name is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }
}
