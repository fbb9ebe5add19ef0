//! The side of a child process: a job from the command line, orders on standard input, answers on standard output.

use std::io::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::job::Order;

/// Runs a role with the job in `text` until its orders end.
pub(crate) fn run<J, F>(text: &str, threads: bool, role: impl FnOnce(J, Orders) -> F) -> Result<()>
where
    J: DeserializeOwned,
    F: Future<Output = Result<()>>,
{
    let job = serde_json::from_str(text).context("unreadable job")?;
    // The relay is measured, and may use the machine as the gateway does. The others stay on their core.
    let mut builder = match threads {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let orders = Orders { lines: None };
    let result = runtime.block_on(tokio::task::LocalSet::new().run_until(role(job, orders)));
    // A read of standard input may still be under way.
    runtime.shutdown_background();
    result
}

/// The orders of the planning process. They end with it, whatever happens to it.
pub(crate) struct Orders {
    lines: Option<Lines<BufReader<Stdin>>>,
}

impl Orders {
    /// The next order; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Order>> {
        let lines = self.lines.get_or_insert_with(|| BufReader::new(tokio::io::stdin()).lines());
        match lines.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line).context("unreadable order")?)),
            None => Ok(None),
        }
    }

    /// Answers the last order; unasked, once, to say that everything is set up.
    pub(crate) fn answer(&self, value: &impl Serialize) -> Result<()> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, value)?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }
}
