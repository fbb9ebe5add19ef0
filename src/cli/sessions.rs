//! `nuncio sessions`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use axum::http::Method;
use clap::Subcommand;
use serde_json::Value;

use super::client::{ClientArguments, end, pretty, printable, text};
use crate::control::client::escaped;

#[derive(Debug, clap::Args)]
pub(super) struct SessionsArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: SessionsVerb,
}

#[derive(Debug, Subcommand)]
enum SessionsVerb {
    /// Those that there are, a line each: its name, the two, who began it, since when, messages each way
    List {
        /// Only those with this in one of the addresses
        #[arg(value_name = "TEXT")]
        with: Option<String>,
    },
    /// End one with BYE; the next message begins another one
    Close {
        /// Its name, as in the list
        #[arg(value_name = "NAME")]
        id: String,
    },
}

pub(super) fn run(arguments: &SessionsArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let gateway = arguments.client.gateway(environment);
    let done = match &arguments.verb {
        SessionsVerb::List { with } => {
            let query = with.as_ref().map(|with| format!("?with={}", escaped(with))).unwrap_or_default();
            gateway.ask(Method::GET, &format!("/v1/sessions{query}"), None)
        }
        SessionsVerb::Close { id } => {
            gateway.ask(Method::DELETE, &format!("/v1/sessions/{}", escaped(id)), None)
        }
    };
    end(done.map(|answer| match (&arguments.verb, arguments.client.json) {
        (_, true) => pretty(&answer),
        (SessionsVerb::List { .. }, _) => lines(&answer),
        (SessionsVerb::Close { id }, _) => format!("Session {id} is being ended.\n"),
    }))
}

fn lines(list: &Value) -> String {
    let mut out = String::new();
    for session in list.as_array().into_iter().flatten() {
        let number = |key: &str| session.get(key).and_then(Value::as_u64).unwrap_or_default();
        let since = session.get("since").and_then(Value::as_i64).unwrap_or_default();
        let since = jiff::Timestamp::from_second(since).map(|at| at.to_string()).unwrap_or_default();
        let front_end = Some(text(session, "front_end")).filter(|name| !name.is_empty());
        let at = front_end.map(|name| format!(" at {name}")).unwrap_or_default();
        let line = format!(
            "{}  {} ⇄ {}  {}{at}, begun by the {} {since}, idle for {} s, messages: {} of the user, {} of the contact",
            text(session, "id"),
            text(session, "sip_user"),
            text(session, "contact"),
            text(session, "state"),
            text(session, "begun_by"),
            number("idle"),
            number("from_user"),
            number("from_contact"),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", printable(&line));
    }
    if out.is_empty() {
        let _ = writeln!(out, "There are no sessions.");
    }
    out
}
