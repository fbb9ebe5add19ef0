//! Child processes: starting them on their core, talking to them, and what the kernel knows about them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::Order;

/// Longest silence of a child that is not a fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// Linux counts processor time for `/proc` in hundredths of a second on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// A generator, sink or relay.
#[derive(Debug)]
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
}

/// The core that generator and sink share: the last one.
fn load_core() -> usize {
    thread::available_parallelism().map_or(0, |cores| cores.get() - 1)
}

impl Role {
    /// Starts this program in a role, on the load's core unless it is `free`, and waits until it is set up.
    pub(crate) fn start(name: &'static str, job: &impl Serialize, free: bool) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match free {
            true => Command::new(program),
            false => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(load_core().to_string()).arg(program);
                command
            }
        };
        let mut child = command
            .arg(name)
            .arg(serde_json::to_string(job)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("cannot start the {name}; is taskset (package util-linux) installed?")
            })?;
        let (orders, out) = (child.stdin.take(), child.stdout.take());
        let role = Self { name, child, orders, answers: lines(out) };
        role.answer::<String>()?;
        Ok(role)
    }

    /// Gives an order and waits for what it led to.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, order: Order) -> Result<T> {
        let mut line = serde_json::to_string(&order)?;
        line.push('\n');
        let name = self.name;
        let orders = self.orders.as_mut().with_context(|| format!("the {name} takes no orders"))?;
        orders.write_all(line.as_bytes()).with_context(|| format!("the {name} has ended"))?;
        self.answer()
    }

    /// Processor time used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    fn answer<T: DeserializeOwned>(&self) -> Result<T> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(line) => Ok(serde_json::from_str(&line)?),
            Err(_) => bail!("the {} does not answer; what it said last stands above", self.name),
        }
    }
}

impl Drop for Role {
    /// The end of its orders ends it.
    fn drop(&mut self) {
        self.orders = None;
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a pipe, read in a thread so that waiting for one can end.
fn lines(out: Option<ChildStdout>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What a process used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Processor time, user and system, of all threads.
    pub(crate) seconds: f64,
    /// Resident memory.
    pub(crate) bytes: u64,
}

impl Usage {
    /// Of a running process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
        // The name, in parentheses, may hold anything; the fields after it do not (proc(5)).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks =
            |field: usize| fields.split_whitespace().nth(field).and_then(|field| field.parse::<u64>().ok());
        let (user, system) = (ticks(11).context("utime")?, ticks(12).context("stime")?);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|text| text.trim().strip_suffix(" kB")).context("VmRSS")?;
        Ok(Self {
            seconds: (user + system) as f64 / TICKS_PER_SECOND,
            bytes: kibibytes.trim().parse::<u64>()? * 1024,
        })
    }
}

/// Lets this process, and those that it starts, have so many files open.
///
/// # Errors
/// It may not.
pub(crate) fn allow_files(count: u64) -> Result<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let allowed: Vec<u64> =
        line.unwrap_or_default().split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [soft, hard] = allowed[..] else { return Ok(()) };
    if soft >= count {
        return Ok(());
    }
    let raised = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg(format!("--nofile={count}:{}", count.max(hard)))
        .status();
    if !raised.is_ok_and(|status| status.success()) {
        bail!("{count} files are needed for this many streams, and {hard} are allowed: ulimit -n {count}");
    }
    Ok(())
}

/// Starts a program whose standard error goes to a file.
pub(crate) fn spawn_logged(command: &mut Command, log: &Path) -> Result<Child> {
    let file = File::create(log)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .context("cannot start the gateway")
}
