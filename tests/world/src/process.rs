//! The processes of the world: their output is kept line by line and can be waited for.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::wait::{PATIENCE, within, within_time};

/// How long a process may take to stop by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// How long the last lines of a process that has ended may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Everything a process printed, through all its restarts.
#[derive(Debug)]
pub struct Log {
    name: String,
    lines: Mutex<Vec<String>>,
    grown: watch::Sender<usize>,
}

impl Log {
    /// An empty log.
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), lines: Mutex::default(), grown: watch::Sender::new(0) })
    }

    /// Adds a line.
    pub fn push(&self, line: String) {
        let count = {
            let mut lines = self.lines();
            lines.push(line);
            lines.len()
        };
        self.grown.send_replace(count);
    }

    /// Waits for a line after the mark that contains the text, and returns it.
    pub async fn line_after(&self, mark: usize, text: &str) -> Result<String> {
        let mut grown = self.grown.subscribe();
        within(&format!("{:?} in the log of {}", text, self.name), async {
            loop {
                if let Some(line) = self.found_after(mark, text) {
                    return Ok(line);
                }
                grown.changed().await.with_context(|| format!("the log of {} has ended", self.name))?;
            }
        })
        .await?
    }

    /// The first line after the mark that contains the text, if there is one already.
    fn found_after(&self, mark: usize, text: &str) -> Option<String> {
        self.lines().iter().skip(mark).find(|line| line.contains(text)).cloned()
    }

    /// Waits for a line that contains all of the texts, and returns it.
    pub async fn line_with(&self, texts: &[&str]) -> Result<String> {
        let mut grown = self.grown.subscribe();
        within(&format!("{texts:?} in one line of the log of {}", self.name), async {
            let mut seen = 0;
            loop {
                let found = {
                    let lines = self.lines();
                    let fits = |line: &&String| texts.iter().all(|text| line.contains(text));
                    let found = lines.iter().skip(seen).find(fits).cloned();
                    seen = lines.len();
                    found
                };
                if let Some(line) = found {
                    return Ok(line);
                }
                grown.changed().await.with_context(|| format!("the log of {} has ended", self.name))?;
            }
        })
        .await?
    }

    /// The lines that contain all of the texts, as soon as there are so many: what a process has done it may have told already, and
    /// nobody has read it yet.
    pub async fn so_many_lines_with(&self, count: usize, texts: &[&str]) -> Result<Vec<String>> {
        let mut grown = self.grown.subscribe();
        within(&format!("{count} lines with {texts:?} in the log of {}", self.name), async {
            loop {
                let found = self.lines_with(texts);
                if found.len() >= count {
                    return Ok(found);
                }
                grown.changed().await.with_context(|| format!("the log of {} has ended", self.name))?;
            }
        })
        .await?
    }

    /// The lines that contain all of the texts.
    pub fn lines_with(&self, texts: &[&str]) -> Vec<String> {
        let fits = |line: &&String| texts.iter().all(|text| line.contains(text));
        self.lines().iter().filter(fits).cloned().collect()
    }

    /// Whose log this is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of lines so far: what comes later is after this mark.
    pub fn mark(&self) -> usize {
        self.lines().len()
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The last lines.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let lines = self.lines();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    log: Arc<Log>,
    started_at: usize,
    /// What copies its output into the log.
    copying: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a process without standard input; its output goes to the log.
    pub fn spawn(name: &str, command: &mut Command, log: &Arc<Log>) -> Result<Self> {
        let started_at = log.mark();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name} ({:?})", command.as_std().get_program()))?;
        let mut copying = Vec::new();
        if let Some(output) = child.stdout.take() {
            copying.push(tokio::spawn(copy_lines(output, Arc::clone(log))));
        }
        if let Some(output) = child.stderr.take() {
            copying.push(tokio::spawn(copy_lines(output, Arc::clone(log))));
        }
        let pid = child.id().with_context(|| format!("{name} has no process id"))?;
        Ok(Self { name: name.to_owned(), child, pid, log: Arc::clone(log), started_at, copying })
    }

    /// Waits for a line of this run that contains the text. Fails at once when the process ends without it.
    pub async fn says(&mut self, text: &str) -> Result<String> {
        let log = Arc::clone(&self.log);
        tokio::select! {
            biased;
            line = log.line_after(self.started_at, text) => line,
            status = self.child.wait() => {
                let status = status?;
                self.hear_out().await;
                if let Some(line) = self.log.found_after(self.started_at, text) {
                    return Ok(line);
                }
                let said = self.log.tail(10).join("\n");
                bail!("{} ended ({status}) before it said {text:?}:\n{said}", self.name)
            }
        }
    }

    /// Fails when the process has ended.
    pub fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended ({status})", self.name),
            None => Ok(()),
        }
    }

    /// Waits until the process ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.ended_within(PATIENCE).await
    }

    /// As [`Self::ended`], with another patience.
    pub async fn ended_within(&mut self, patience: Duration) -> Result<ExitStatus> {
        let status = within_time(&format!("{} to end", self.name), patience, self.child.wait()).await??;
        self.hear_out().await;
        Ok(status)
    }

    /// It has ended: what it said last is in the log before anybody looks there.
    async fn hear_out(&mut self) {
        for copying in self.copying.drain(..) {
            // A child of its own may have its output still.
            timeout(LAST_WORDS, copying).await.ok();
        }
    }

    /// SIGTERM, then SIGKILL when that did not help.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal("TERM").await?;
        match timeout(STOP_PATIENCE, self.child.wait()).await {
            Ok(status) => {
                self.hear_out().await;
                Ok(status?)
            }
            Err(_) => {
                self.kill().await?;
                bail!("{} did not stop within {STOP_PATIENCE:?} of SIGTERM and was killed", self.name)
            }
        }
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await?;
        self.hear_out().await;
        Ok(())
    }

    /// SIGKILL to it and to all that it has started; it must have been started as the head of a group.
    pub async fn kill_group(&mut self) -> Result<()> {
        self.signal_to("KILL", &format!("-{}", self.pid)).await?;
        self.child.wait().await?;
        self.hear_out().await;
        Ok(())
    }

    /// Sends any signal, by name (`TERM`, `STOP`, `CONT`).
    pub async fn signal(&self, signal: &str) -> Result<()> {
        self.signal_to(signal, &self.pid.to_string()).await
    }

    async fn signal_to(&self, signal: &str, whom: &str) -> Result<()> {
        // The shell's own `kill`: no package has to be there for it, and no unsafe code here.
        let status = Command::new("sh").args(["-c", &format!("kill -s {signal} -- {whom}")]).status().await?;
        if !status.success() {
            bail!("cannot send SIG{signal} to {}", self.name);
        }
        Ok(())
    }

    /// The process id, in the world's own process tree.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What the process prints.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

async fn copy_lines(output: impl AsyncRead + Unpin, log: Arc<Log>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(1..)) {
        log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the two is seen first, its end or what it said before, is chance.
    #[tokio::test]
    async fn what_a_process_says_last_was_said_before_it_ended() {
        for _ in 0..50 {
            let log = Log::new("echo");
            let mut echo = Process::spawn("echo", Command::new("echo").arg("last words"), &log).unwrap();
            assert_eq!(echo.says("last words").await.unwrap(), "last words");
        }
    }
}
