//! What commands have in common that ask the running gateway.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::Method;
use clap::Args;
use serde_json::Value;

use super::{ConfigArguments, with_stored};
use crate::config::Config;
use crate::control::DEFAULT_SOCKET;
use crate::control::client::{Client, ClientError};

#[derive(Debug, Clone, Args)]
pub(super) struct ClientArguments {
    /// Control socket of the gateway. Without it: that of the environment variable NUNCIO_CONTROL__SOCKET, else of the
    /// configuration file, if it can be read, else /run/nuncio/control.sock
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Print the answer of the gateway as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The way to the gateway.
pub(super) struct Gateway {
    client: Client,
}

impl ClientArguments {
    pub(super) fn gateway(&self, environment: Vec<(OsString, OsString)>) -> Gateway {
        let socket = self.socket.clone().unwrap_or_else(|| socket_of(environment));
        Gateway { client: Client::new(socket) }
    }
}

fn socket_of(environment: Vec<(OsString, OsString)>) -> PathBuf {
    const VARIABLE: &str = "NUNCIO_CONTROL__SOCKET";
    if let Some((_, value)) = environment.iter().find(|(name, value)| name == VARIABLE && !value.is_empty()) {
        return value.into();
    }
    let sources = ConfigArguments { config: Vec::new(), files: Vec::new() }.sources(environment);
    // Who may administer the gateway need not be able to read its files.
    let loaded = Config::load(&with_stored(sources).trusting_paths(), &|_, _| Ok(()));
    let configured = loaded.ok().and_then(|(config, _)| config.control.socket);
    configured.unwrap_or_else(|| DEFAULT_SOCKET.into())
}

/// A refusal, or why there is no answer: for people.
pub(super) struct Failed(pub(super) String);

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self(error.to_string())
    }
}

impl Gateway {
    /// The answer, if it is what was asked for.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failed(format!("the runtime cannot be started: {error}")))?;
        let reply = runtime.block_on(self.client.ask(method, path, body))?;
        if !reply.status.is_success() {
            return Err(Failed(reply.refusal()));
        }
        reply.json().ok_or_else(|| Failed("the gateway answered something that is not JSON".to_owned()))
    }
}

/// Ends a command.
pub(super) fn end(done: Result<String, Failed>) -> ExitCode {
    match done {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(Failed(why)) => {
            eprintln!("nuncio: {why}");
            ExitCode::FAILURE
        }
    }
}

/// JSON for programs.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default()
}

/// The text at a key.
pub(super) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What a change amounted to.
pub(super) fn changes(answer: &Value) -> String {
    let list = |key: &str| -> Vec<String> {
        let list = answer.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(printable).collect()
    };
    let mut out = String::new();
    for line in list("lines") {
        out.push_str(&format!("  {line}\n"));
    }
    for line in list("with_the_next_start") {
        out.push_str(&format!("  waits for the next start: {line}\n"));
    }
    for line in list("warnings") {
        out.push_str(&format!("  warning: {line}\n"));
    }
    if let Some(closed @ 1..) = answer.get("streams_closed").and_then(Value::as_u64) {
        out.push_str(&format!("  streams that end for it: {closed}\n"));
    }
    if let Some(why) = answer.get("unsaved").and_then(Value::as_str) {
        out.push_str(&format!("  it holds, but is not on the disk: {}\n", printable(why)));
    }
    out
}

/// Fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(crate::config::printable).collect()
}
