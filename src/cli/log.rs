//! Logging, to standard error.

use std::io::IsTerminal;

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

use crate::config::{Log, LogFormat};
use crate::log_level::LogLevel;

/// Sends what is traced from now on to standard error. What is given back changes how much that is. The price is a lock that is
/// read for each line that is written, which has one of its own to take: what is not logged is told by each place without.
///
/// # Errors
/// If it was called before.
pub(super) fn init(log: &Log) -> anyhow::Result<LogLevel> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(log.level.as_str())?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let (level, begun) = match log.format {
        LogFormat::Human => {
            let builder = builder.with_filter_reloading();
            (level(builder.reload_handle()), builder.try_init())
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            (level(builder.reload_handle()), builder.try_init())
        }
    };
    begun.map_err(|error| anyhow!(error))?;
    Ok(level)
}

fn level<S: 'static>(handle: Handle<EnvFilter, S>) -> LogLevel {
    LogLevel::new(move |level| {
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
}
