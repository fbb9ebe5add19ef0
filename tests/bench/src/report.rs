//! Figures: medians, spreads, ratios, as a table and as JSON.

use std::fmt::Write as _;
use std::fs;

use serde::Serialize;

use crate::handshakes::{self, Compared, IdleStreams, Opened};
use crate::job::{Dialect, Direction, Pace, SIP_CONNECTIONS, Set};
use crate::pki::Keys;

/// The process under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    Gateway,
    /// The relay that answers after the completed write.
    RelayWritten,
    /// The relay that answers after the sink's acknowledgement.
    RelayAcknowledged,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Messages {
    Small,
    Lync,
    /// Small ones in sessions.
    Session,
    /// A document or stanza of presence; the document is PIDF.
    Presence,
    /// The same with a document in categories.
    Categories,
}

impl From<Set> for Messages {
    fn from(set: Set) -> Self {
        match set {
            Set::Small => Self::Small,
            Set::Lync => Self::Lync,
            Set::Session => Self::Session,
        }
    }
}

impl From<Dialect> for Messages {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Pidf => Self::Presence,
            Dialect::Categories => Self::Categories,
        }
    }
}

impl Messages {
    fn is_presence(self) -> bool {
        matches!(self, Self::Presence | Self::Categories)
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    date: String,
    command: String,
    machine: String,
    runs: usize,
    seconds: f64,
    pairs: u32,
    pub(crate) lines: Vec<Line>,
    pub(crate) memory: Option<Memory>,
    pub(crate) presence_memory: Vec<PresenceMemory>,
    pub(crate) restarts: Vec<Restart>,
    pub(crate) handshakes: Vec<Compared>,
    pub(crate) idle_streams: Option<IdleStreams>,
}

/// One run that counts.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) arrived: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// Processor time of the process under test per message, user and system.
    pub(crate) cpu_us: f64,
    /// The same of generator and sink together.
    pub(crate) load_cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// All runs of one line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    subject: Subject,
    direction: Direction,
    set: Messages,
    streams: usize,
    pace: Pace,
    runs: Vec<Run>,
    per_second: Spread,
    cpu_us: Spread,
    load_cpu_us: Spread,
    p50_us: Spread,
    p99_us: Spread,
    p999_us: Spread,
    /// Throughput as a part of the relays' with the same messages and window.
    to_relay_written: Option<f64>,
    to_relay_acknowledged: Option<f64>,
}

/// Median, least and most.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Memory of the gateway.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    /// Resident bytes per idle stream that a partner opened.
    pub(crate) idle_stream_bytes: u64,
    /// Resident bytes per pair that exchanged messages.
    pub(crate) pair_bytes: u64,
}

/// Memory of the gateway with live subscriptions.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct PresenceMemory {
    pub(crate) dialect: Dialect,
    pub(crate) pairs: u32,
    /// Bytes of routes, remote target, Call-ID and tags, which are kept as they came: when the contact watches, and when the user does.
    pub(crate) kept: [usize; 2],
    /// Resident bytes per pair whose contact watches the SIP user.
    pub(crate) watched_bytes: u64,
    /// Resident bytes that are added when the SIP user watches the contact, too.
    pub(crate) both_more_bytes: u64,
    /// Resident bytes of the whole process with all of them.
    pub(crate) resident_bytes: u64,
}

/// One start with stored subscriptions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Restart {
    pub(crate) stored: u32,
    /// `limits.presence.restart_rate`
    pub(crate) rate: u32,
    /// From the start of the process until it listens, in seconds.
    pub(crate) listening: f64,
    /// From the same moment until a tenth, a half, nine tenths and all subscriptions are there again, in seconds; none: they
    /// were not waited for any longer.
    pub(crate) curve: [Option<f64>; 4],
    /// Processor time up to then, in seconds.
    pub(crate) cpu: f64,
    pub(crate) resident_bytes: u64,
}

impl Spread {
    fn of(runs: &[Run], value: impl Fn(&Run) -> f64) -> Self {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        match (values.first(), values.get(values.len() / 2), values.last()) {
            (Some(&min), Some(&median), Some(&max)) => Self { median, min, max },
            _ => Self::default(),
        }
    }
}

impl Line {
    pub(crate) fn new(
        subject: Subject,
        direction: Direction,
        set: impl Into<Messages>,
        streams: usize,
        pace: Pace,
        runs: Vec<Run>,
    ) -> Self {
        Self {
            subject,
            direction,
            set: set.into(),
            streams,
            pace,
            per_second: Spread::of(&runs, |run| run.per_second),
            cpu_us: Spread::of(&runs, |run| run.cpu_us),
            load_cpu_us: Spread::of(&runs, |run| run.load_cpu_us),
            p50_us: Spread::of(&runs, |run| run.p50_us),
            p99_us: Spread::of(&runs, |run| run.p99_us),
            p999_us: Spread::of(&runs, |run| run.p999_us),
            runs,
            to_relay_written: None,
            to_relay_acknowledged: None,
        }
    }

    /// For the progress.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{}: {:.0}/s, {:.2} µs CPU, p99 {:.0} µs",
            pace(self.pace),
            self.per_second.median,
            self.cpu_us.median,
            self.p99_us.median
        )
    }
}

impl Report {
    pub(crate) fn begin(runs: usize, seconds: f64, pairs: u32) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            command: format!("cargo run --release -p nuncio-bench -- {}", arguments.join(" "))
                .trim_end_matches("-- ")
                .trim()
                .to_owned(),
            machine: machine(),
            runs,
            seconds,
            pairs,
            lines: Vec::new(),
            memory: None,
            presence_memory: Vec::new(),
            restarts: Vec::new(),
            handshakes: Vec::new(),
            idle_streams: None,
        }
    }

    /// Fills in the ratios.
    pub(crate) fn compare(&mut self) {
        let relays: Vec<Line> =
            self.lines.iter().filter(|line| line.subject != Subject::Gateway).cloned().collect();
        for line in self.lines.iter_mut().filter(|line| line.subject == Subject::Gateway) {
            let Pace::Window(_) = line.pace else { continue };
            let of = |subject| {
                let set = if line.set == Messages::Session { Messages::Small } else { line.set };
                let same =
                    |relay: &&Line| relay.subject == subject && relay.set == set && relay.pace == line.pace;
                relays.iter().find(same).map(|relay| line.per_second.median / relay.per_second.median)
            };
            line.to_relay_written = of(Subject::RelayWritten);
            line.to_relay_acknowledged = of(Subject::RelayAcknowledged);
        }
    }
}

/// The figures, aligned, in Markdown.
pub(crate) fn table(report: &Report) -> String {
    let mut rows = vec![
        [
            "under test",
            "messages",
            "streams",
            "in flight",
            "delivered/s",
            "(least–most)",
            "CPU µs",
            "(least–most)",
            "load CPU µs",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "÷ relay, written",
            "÷ relay, ack",
        ]
        .map(str::to_owned),
    ];
    for line in &report.lines {
        let subject = match (line.subject, line.direction) {
            (Subject::RelayWritten, _) => "relay, written",
            (Subject::RelayAcknowledged, _) => "relay, ack",
            (Subject::Gateway, Direction::SipToXmpp) if line.set.is_presence() => "NOTIFY → presence",
            (Subject::Gateway, Direction::XmppToSip) if line.set.is_presence() => "presence → NOTIFY",
            (Subject::Gateway, Direction::SipToXmpp) => "SIP → XMPP",
            (Subject::Gateway, Direction::XmppToSip) => "XMPP → SIP",
        };
        let set = match line.set {
            Messages::Small => "small",
            Messages::Lync => "Lync-sized",
            Messages::Session => "small, in sessions",
            Messages::Presence => "PIDF",
            Messages::Categories => "categories",
        };
        let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        rows.push([
            subject.to_owned(),
            set.to_owned(),
            line.streams.to_string(),
            pace(line.pace),
            thousands(line.per_second.median),
            format!("{}–{}", thousands(line.per_second.min), thousands(line.per_second.max)),
            format!("{:.2}", line.cpu_us.median),
            format!("{:.2}–{:.2}", line.cpu_us.min, line.cpu_us.max),
            format!("{:.2}", line.load_cpu_us.median),
            format!("{:.0}", line.p50_us.median),
            format!("{:.0}", line.p99_us.median),
            format!("{:.0}", line.p999_us.median),
            ratio(line.to_relay_written),
            ratio(line.to_relay_acknowledged),
        ]);
    }
    let mut text = if report.lines.is_empty() { String::new() } else { aligned(&rows) };
    if let Some(memory) = &report.memory {
        let _ = writeln!(
            text,
            "\nMemory of the gateway (resident): {:.1} KiB per idle TLS stream, {} bytes per pair.",
            memory.idle_stream_bytes as f64 / 1024.0,
            memory.pair_bytes
        );
    }
    for memory in &report.presence_memory {
        let dialect = match memory.dialect {
            Dialect::Pidf => "plain addresses and no routes",
            Dialect::Categories => "the addresses and routes of Lync",
        };
        let [watched, watching] = memory.kept;
        let _ = writeln!(
            text,
            "\nMemory of the gateway with {} live pairs, {dialect}: {} bytes resident per pair whose contact watches the SIP \
             user ({watched} of them routes, remote target, Call-ID and tags as they came), {} bytes more if he watches the contact too \
             ({watching}); {} MiB resident in all.",
            thousands(f64::from(memory.pairs)),
            memory.watched_bytes,
            memory.both_more_bytes,
            memory.resident_bytes >> 20,
        );
    }
    if !report.restarts.is_empty() {
        let mut rows = vec![
            ["stored", "restart_rate", "listening s", "10 % s", "50 % s", "90 % s", "all s", "CPU s", "MiB"]
                .map(str::to_owned),
        ];
        for restart in &report.restarts {
            let [tenth, half, most, all] = restart
                .curve
                .map(|seconds| seconds.map_or_else(|| "—".to_owned(), |seconds| format!("{seconds:.2}")));
            rows.push([
                thousands(f64::from(restart.stored)),
                thousands(f64::from(restart.rate)),
                format!("{:.2}", restart.listening),
                tenth,
                half,
                most,
                all,
                format!("{:.2}", restart.cpu),
                (restart.resident_bytes >> 20).to_string(),
            ]);
        }
        let _ =
            write!(text, "\nStart after `kill -9`, and the subscriptions made again:\n\n{}", aligned(&rows));
    }
    if !report.handshakes.is_empty() {
        let _ = write!(
            text,
            "\nStreams opened, beside TLS and nothing else, and beside TLS with as much to and fro (medians; ratios above 1: the \
             gateway does better):\n\n{}",
            aligned(&handshakes(&report.handshakes))
        );
    }
    if let Some(idle) = &report.idle_streams {
        let _ = writeln!(
            text,
            "\nMemory of the gateway with {} partner domains that keep a TLS stream open: {:.1} KiB resident per idle stream, \
             {} MiB in all.",
            thousands(idle.partners as f64),
            idle.bytes as f64 / 1024.0,
            idle.resident_bytes >> 20,
        );
    }
    text
}

fn handshakes(lines: &[Compared]) -> Vec<[String; 11]> {
    let head = [
        "opened by",
        "keys",
        "gateway/s",
        "bare/s",
        "÷ bare",
        "gateway CPU µs",
        "bare CPU µs",
        "bare ÷ gateway",
        "talking/s",
        "talking CPU µs",
        "talking ÷ gateway",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for line in lines {
        let median = |runs: &[handshakes::Run], value: fn(&handshakes::Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let all = [&line.gateway, &line.bare, &line.talking];
        let per_second = all.map(|runs| median(runs, |run| run.per_second));
        let cpu = all.map(|runs| median(runs, |run| run.cpu_us));
        rows.push([
            match line.opened {
                Opened::Inbound => "partners",
                Opened::Outbound => "gateway",
            }
            .to_owned(),
            match line.keys {
                Keys::P256 => "P-256",
                Keys::Rsa2048 => "RSA-2048",
            }
            .to_owned(),
            thousands(per_second[0]),
            thousands(per_second[1]),
            format!("{:.2}", per_second[0] / per_second[1]),
            format!("{:.0}", cpu[0]),
            format!("{:.0}", cpu[1]),
            format!("{:.2}", cpu[1] / cpu[0]),
            thousands(per_second[2]),
            format!("{:.0}", cpu[2]),
            format!("{:.2}", cpu[2] / cpu[0]),
        ]);
    }
    rows
}

/// The section of `docs/benchmarks.md`.
pub(crate) fn markdown(report: &Report) -> String {
    format!(
        "    {}\n\n{}; {}; {} runs of {} s per line, {} pairs.\n\n{}",
        report.command,
        report.date,
        report.machine,
        report.runs,
        report.seconds,
        thousands(f64::from(report.pairs)),
        table(report)
    )
}

fn pace(pace: Pace) -> String {
    match pace {
        Pace::Window(window) => format!("{SIP_CONNECTIONS} × {window}"),
        Pace::Rate(rate) => format!("{}/s", thousands(f64::from(rate))),
    }
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            // Words on the left, figures on the right.
            let _ = match column {
                0 | 1 => write!(text, "| {cell}{padding} "),
                _ => write!(text, "| {padding}{cell} "),
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let line = "-".repeat(width);
                let _ = match column {
                    0 | 1 => write!(text, "|-{line}-"),
                    _ => write!(text, "|-{line}:"),
                };
            }
            text.push_str("|\n");
        }
    }
    text
}

/// `12,345`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Processor, cores, memory, kernel.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let model = field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kibibytes = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, {} GiB, Linux {}", kibibytes >> 20, kernel.trim())
}
