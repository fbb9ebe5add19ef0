//! Commands that ask the running gateway: `nuncio reload`, `nuncio status`, `nuncio streams`, `nuncio audit`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use axum::http::Method;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{ClientArguments, Failed, Said, changes, end, finish, pretty, printable, text};
use super::trail;
use crate::config::quoted;
use crate::control::client::escaped;

#[derive(Debug, clap::Args)]
pub(super) struct PlainArguments {
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct StreamsArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: StreamsVerb,
}

#[derive(Debug, Subcommand)]
enum StreamsVerb {
    /// Established streams, a line each
    List {
        /// Only those with this domain
        #[arg(value_name = "DOMAIN")]
        domain: Option<String>,
    },
    /// End one in good order
    Close {
        /// Its number, as in the list
        #[arg(value_name = "NUMBER")]
        id: u64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    #[command(flatten)]
    client: ClientArguments,
    /// Only entries whose subject or actor has this in it
    #[arg(value_name = "TEXT")]
    with: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    most: usize,
}

pub(super) fn reload(arguments: &PlainArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let answer = arguments.client.gateway(environment).ask(Method::POST, "/v1/reload", None);
    finish(answer.map(|answer| {
        if arguments.client.json {
            return Said::after(&answer, pretty(&answer));
        }
        let same = answer.get("lines").and_then(Value::as_array).is_some_and(Vec::is_empty);
        let what = if same {
            "The files say what they said before."
        } else {
            "The configuration was read again and is in force:"
        };
        Said::after(&answer, format!("{what}\n{}", changes(&answer)))
    }))
}

pub(super) fn status(arguments: &PlainArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let answer = arguments.client.gateway(environment).ask(Method::GET, "/v1/status", None);
    end(answer.map(|answer| {
        if arguments.client.json {
            return pretty(&answer);
        }
        let mut out = format!("nuncio {}\n", text(&answer, "version"));
        for part in ["holds", "counters"] {
            let _ = writeln!(out, "\n{part}");
            let numbers = answer.get(part).and_then(Value::as_object).into_iter().flatten();
            for (name, count) in numbers.filter(|(_, count)| part == "holds" || **count != json!(0)) {
                let _ = writeln!(out, "  {name:<32} {count}");
            }
        }
        out
    }))
}

pub(super) fn streams(arguments: &StreamsArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let gateway = arguments.client.gateway(environment);
    let done = match &arguments.verb {
        StreamsVerb::List { domain } => {
            let query =
                domain.as_ref().map(|domain| format!("?domain={}", escaped(domain))).unwrap_or_default();
            gateway.ask(Method::GET, &format!("/v1/streams{query}"), None)
        }
        StreamsVerb::Close { id } => gateway.ask(Method::DELETE, &format!("/v1/streams/{id}"), None),
    };
    end(done.map(|answer| match (&arguments.verb, arguments.client.json) {
        (_, true) => pretty(&answer),
        (StreamsVerb::List { .. }, _) => stream_lines(&answer),
        (StreamsVerb::Close { id }, _) => format!("Stream {id} is being closed.\n"),
    }))
}

fn stream_lines(list: &Value) -> String {
    let mut out = String::new();
    for stream in list.as_array().into_iter().flatten() {
        let id = stream.get("id").and_then(Value::as_u64).unwrap_or_default();
        let arrow = if text(stream, "direction") == "inbound" { "<-" } else { "->" };
        let tls = stream.get("tls").and_then(Value::as_str).unwrap_or("no TLS");
        let both = if stream.get("both_ways") == Some(&json!(true)) { ", both ways" } else { "" };
        let line = format!(
            "{id:>6}  {} {arrow} {}  {}  {}, {tls}{both}",
            text(stream, "local"),
            text(stream, "remote"),
            text(stream, "peer"),
            text(stream, "method"),
        );
        let _ = writeln!(out, "{}", printable(&line));
    }
    if out.is_empty() {
        let _ = writeln!(out, "There are no streams.");
    }
    out
}

pub(super) fn audit(arguments: &AuditArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let with = arguments.with.as_ref().map(|with| format!("&with={}", escaped(with))).unwrap_or_default();
    let path = format!("/v1/audit?most={}{with}", arguments.most);
    let answer: Result<Value, Failed> = arguments.client.gateway(environment).ask(Method::GET, &path, None);
    end(answer.map(|answer| match (trail::lines(&answer), &arguments.with) {
        _ if arguments.client.json => pretty(&answer),
        (lines, _) if !lines.is_empty() => lines,
        (_, None) => "There is no entry in the audit trail.\n".to_owned(),
        (_, Some(with)) => {
            let with = printable(&quoted(with));
            format!("There is no entry in the audit trail that has {with} in its subject or actor.\n")
        }
    }))
}
