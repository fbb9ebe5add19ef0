//! What commands have in common that ask the running gateway.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::{Method, StatusCode};
use clap::Args;
use serde_json::{Value, json};

use super::report::say;
use super::{ConfigArguments, complain};
use crate::config::{Config, Report, Severity, both_forms};
use crate::control::client::{Client, ClientError, Reply};
use crate::control::{DEFAULT_SOCKET, Problem};

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
    /// Whether a program asks.
    json: bool,
    /// Whether the command can do without it, with `--here`.
    or_here: bool,
    /// Why its socket may be elsewhere.
    doubt: Option<String>,
}

impl ClientArguments {
    pub(super) fn gateway(&self, environment: Vec<(OsString, OsString)>) -> Gateway {
        Gateway { json: self.json, ..Gateway::at(self.socket.clone(), environment) }
    }
}

/// Where it is, and why it may be elsewhere.
fn socket_of(environment: Vec<(OsString, OsString)>) -> (PathBuf, Option<String>) {
    const VARIABLE: &str = "NUNCIO_CONTROL__SOCKET";
    if let Some((_, value)) = environment.iter().find(|(name, value)| name == VARIABLE && !value.is_empty()) {
        return (value.into(), None);
    }
    let sources = ConfigArguments { config: Vec::new(), files: Vec::new() }.sources(environment);
    // Who may administer the gateway need not be able to read its files; and one that is being edited is no reason not to find it.
    let (configured, report) = Config::control_socket(&sources.trusting_paths());
    if let Some(socket) = configured {
        return (socket, None);
    }
    let wrong = report.problems().iter().find(|problem| problem.severity == Severity::Error);
    let doubt = wrong.map(|problem| format!("{}: {}", problem.place, problem.text));
    (DEFAULT_SOCKET.into(), doubt)
}

/// A refusal, or why there is no answer.
#[derive(Debug)]
pub(super) struct Failed {
    /// For people.
    text: String,
    /// For programs: what the gateway answered.
    document: Option<Value>,
    /// The gateway said so, and did nothing.
    refused: bool,
    /// Whether a program asks.
    json: bool,
}

impl Failed {
    /// What a person reads.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), document: None, refused: false, json: false }
    }

    /// The same again.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn refusal(reply: &Reply) -> Self {
        let refused = reply.status.is_client_error();
        Self { document: reply.json(), refused, ..Self::new(reply.refusal()) }
    }

    /// With what people should hear besides.
    fn and_also(self, more: Option<String>) -> Self {
        let text = more.into_iter().fold(self.text, |text, more| format!("{text}\n{more}"));
        Self { text, ..self }
    }

    /// Whether the gateway said so, and did nothing.
    pub(super) fn is_refusal(&self) -> bool {
        self.refused
    }

    /// Whoever asked for JSON gets this as JSON too.
    #[must_use]
    pub(super) fn in_json(self, json: bool) -> Self {
        Self { json: self.json || json, ..self }
    }

    /// A problem document (RFC 9457), as the control plane answers.
    fn into_document(self) -> Value {
        let Self { text, document, .. } = self;
        let is_problem = |document: &Value| document.get("detail").is_some();
        document.filter(is_problem).unwrap_or_else(
            || json!({ "type": "about:blank", "title": "The command failed", "detail": text }),
        )
    }
}

/// What a command says at its end, and how it ends.
pub(super) struct Said {
    text: String,
    /// What it would be refused for, if it were done.
    refused: Option<String>,
    code: ExitCode,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, refused: None, code: ExitCode::SUCCESS }
    }
}

impl Said {
    /// After a change: whether it is kept is in the answer.
    pub(super) fn after(answer: &Value, text: String) -> Self {
        match answer.get("saved") {
            Some(Value::Bool(false)) => Self { code: ExitCode::from(UNSAVED), ..text.into() },
            _ => text.into(),
        }
    }

    /// After a dry run: it ends as what it stands for would.
    pub(super) fn would(text: String, refused: Option<String>) -> Self {
        let code = if refused.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        Self { text, refused, code }
    }
}

/// The exit code of a change that is in force and not on the disk.
const UNSAVED: u8 = 4;

impl Gateway {
    /// The one with this socket, or with that of the environment or the configuration.
    pub(super) fn at(socket: Option<PathBuf>, environment: Vec<(OsString, OsString)>) -> Self {
        let (socket, doubt) = match socket {
            Some(socket) => (socket, None),
            None => socket_of(environment),
        };
        Self { client: Client::new(socket), json: false, or_here: false, doubt }
    }

    /// The answer, if it is what was asked for.
    pub(super) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        self.answer(method, path, body).map_err(|failed| failed.in_json(self.json))
    }

    fn answer(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let reply = self.exchange(method, path, body)?.map_err(|error| self.failed(&error))?;
        if !reply.status.is_success() {
            return Err(Failed::refusal(&reply));
        }
        reply.json().ok_or_else(no_json)
    }

    /// The same where this process can do it as well: `Ok(Err)` says why the gateway is not the one to do it, for nobody answers
    /// or whoever asks may not.
    pub(super) fn ask_if_there(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<Value, String>, Failed> {
        let reply = match self.exchange(method, path, body)? {
            Ok(reply) => reply,
            Err(ClientError::Absent(socket)) => {
                return Ok(Err(format!(
                    "no gateway answers at {}{}",
                    socket.display(),
                    self.perhaps_elsewhere()
                )));
            }
            Err(error @ ClientError::Denied(..)) => return Ok(Err(error.to_string())),
            Err(error @ ClientError::Silent { .. }) if self.or_here => {
                return Err(Failed::new(format!("{error}. This command does it itself with --here")));
            }
            Err(error) => return Err(self.failed(&error)),
        };
        match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Err(reply.refusal())),
            status if !status.is_success() => Err(Failed::refusal(&reply).and_also(self.unread("this"))),
            _ => reply.json().map(Ok).ok_or_else(no_json),
        }
    }

    fn failed(&self, error: &ClientError) -> Failed {
        match error {
            ClientError::Absent(_) => Failed::new(format!("{error}{}", self.perhaps_elsewhere())),
            _ => Failed::new(error.to_string()),
        }
    }

    /// Where the place of the socket is a guess, for want of a file that says it.
    fn perhaps_elsewhere(&self) -> String {
        let doubt = self.doubt.as_ref();
        doubt
            .map(|why| format!(" (the usual place, for the configuration cannot be read: {why})"))
            .unwrap_or_default()
    }

    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<Reply, ClientError>, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failed::new(format!("the runtime cannot be started: {error}")))?;
        Ok(runtime.block_on(self.client.ask(method, path, body)))
    }
}

/// Who does what both can do: the running gateway, which is asked first, or this process.
#[derive(Debug, Clone, Args)]
pub(super) struct WhoArguments {
    /// Control socket of the gateway; without it as for the other commands, see "nuncio status --help"
    #[arg(long, value_name = "PATH", conflicts_with_all = ["here", "config"])]
    socket: Option<PathBuf>,
    /// Do it in this process and not in the running gateway. So it is with --config too, for the file may be another one than
    /// the gateway's
    #[arg(long)]
    here: bool,
}

impl WhoArguments {
    /// The running gateway if it is to be asked, given the configuration files that were named.
    pub(super) fn gateway(&self, named: &[PathBuf], environment: &[(OsString, OsString)]) -> Option<Gateway> {
        let asked = !self.here && named.is_empty();
        asked.then(|| Gateway { or_here: true, ..Gateway::at(self.socket.clone(), environment.to_vec()) })
    }
}

impl Gateway {
    /// For people: who has done it, and by what. `what` is by what is in force, and not by the file.
    pub(super) fn says_who(&self, what: &str) {
        eprintln!("Done by the running gateway ({}).", self.client.socket().display());
        if let Some(warning) = self.unread(what) {
            eprintln!("{warning}");
        }
    }

    /// That the files say something else than what the gateway goes by, if they do and it says so.
    fn unread(&self, what: &str) -> Option<String> {
        const SHOWN: usize = 3;
        let answer = self.or_here.then(|| self.answer(Method::GET, "/v1/config/unread", None))?.ok()?;
        let keys = |list: &str| -> Vec<String> {
            let keys = answer.get(list).and_then(Value::as_array).into_iter().flatten();
            keys.filter_map(Value::as_str).map(printable).collect()
        };
        let by_what = format!("{what} is by what is in force; --here goes by the file");
        if let Some(why) = answer.get("unreadable").and_then(Value::as_str) {
            return Some(format!(
                "warning: the configuration on the disk cannot be used, and is not in force ({}): {by_what}",
                printable(why)
            ));
        }
        // What a reload brings, but for what it only makes ready for the next start.
        let (mut all, waiting) = (keys("reload"), keys("next_start"));
        all.retain(|key| !waiting.contains(key));
        let how = match (all.as_slice(), waiting.as_slice()) {
            ([], []) => return None,
            ([], _) => "it waits for the next start",
            (_, []) => "nuncio reload puts it in force",
            _ => "nuncio reload puts it in force, but for what waits for the next start",
        };
        all.extend(waiting);
        let more = all.len().saturating_sub(SHOWN);
        let mut shown = all.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
        if more > 0 {
            shown.push_str(&format!(" and {more} more"));
        }
        Some(format!(
            "warning: the configuration on the disk says something that is not in force ({shown}): {by_what}, and {how}"
        ))
    }
}

/// The same for what was done here instead.
pub(super) fn done_here(why: &str) {
    let user = rustix::process::geteuid().as_raw();
    eprintln!("Done by this command as user {user}, and not by a running gateway: {why}.");
}

fn no_json() -> Failed {
    Failed::new("the gateway answered something that is not JSON")
}

/// Ends a command whose configuration cannot be used.
pub(super) fn unusable(report: &Report, json: bool) -> ExitCode {
    complain(report);
    if json {
        let detail = "the configuration cannot be used; nothing was done";
        say(&pretty(&Problem::of_report(detail, report).document()));
    }
    ExitCode::FAILURE
}

/// Ends a command that changes nothing.
pub(super) fn end(done: Result<String, Failed>) -> ExitCode {
    finish(done.map(Said::from))
}

/// Ends a command.
pub(super) fn finish(done: Result<Said, Failed>) -> ExitCode {
    match done {
        Ok(Said { text, refused, code }) => {
            let said = say(&text);
            if let Some(why) = refused {
                eprintln!("nuncio: it would be refused: {why}");
            }
            if said == ExitCode::SUCCESS { code } else { ExitCode::FAILURE }
        }
        Err(failed) => {
            eprintln!("nuncio: {}", failed.text);
            if failed.json {
                say(&pretty(&failed.into_document()));
            }
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
    // What waits is among both, if it is new.
    let key = |line: &String| line.split_once(": ").map(|(key, _)| key.to_owned());
    let waits = list("with_the_next_start");
    let waiting: Vec<_> = waits.iter().filter_map(key).collect();
    for line in list("lines").iter().filter(|line| key(line).is_none_or(|key| !waiting.contains(&key))) {
        out.push_str(&format!("  {line}\n"));
    }
    for line in waits {
        let line = line.strip_suffix(" (with the next start)").unwrap_or(&line);
        out.push_str(&format!("  waits for the next start: {line}\n"));
    }
    for line in list("stored") {
        out.push_str(&format!("  {line}\n"));
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

/// Whether a change made nothing different, not even what is stored.
pub(super) fn is_as_it_was(answer: &Value) -> bool {
    let none = |key: &str| answer.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty);
    answer.get("changed").is_some() && none("changed") && none("stored")
}

/// A domain, or an address at one, in A-labels, and behind it as people read it.
pub(super) fn in_both_forms(name: &str) -> String {
    let (_, unicode) = both_forms(name);
    if unicode == name { unicode } else { format!("{name} ({unicode})") }
}

/// Fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(crate::config::printable).collect()
}
