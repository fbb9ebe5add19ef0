//! `nuncio consent` and `nuncio subscriptions`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use axum::http::Method;
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::client::{ClientArguments, Failed, Gateway, Said, changes, end, finish, pretty, printable, text};
use crate::control::MOST_RELATIONS as MOST;
use crate::control::client::escaped;

#[derive(Debug, clap::Args)]
pub(super) struct ConsentArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: ConsentVerb,
}

#[derive(Debug, Subcommand)]
enum ConsentVerb {
    /// Whom SIP users have added
    List {
        /// Only those with this in one of the addresses
        #[arg(value_name = "TEXT")]
        with: Option<String>,
    },
    /// Take back that a SIP user has added a contact
    Remove {
        /// The SIP user
        #[arg(value_name = "USER")]
        user: String,
        /// The contact
        #[arg(value_name = "CONTACT")]
        contact: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct SubscriptionsArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: SubscriptionsVerb,
}

#[derive(Debug, Subcommand)]
enum SubscriptionsVerb {
    /// Who sees whom, or asks to
    List {
        /// Only those with this in one of the addresses
        #[arg(value_name = "TEXT")]
        with: Option<String>,
    },
    /// End what one of the two sees of the other. Nothing forbids him to ask anew: for that see "nuncio block", "nuncio policy"
    /// and "nuncio consent remove"
    Close {
        /// Whose it is: "user" ends the subscriptions of his endpoints with NOTIFY (terminated;reason=deactivated), "contact"
        /// the one at the front end, and the contact gets "unsubscribed"
        #[arg(value_name = "WHO", value_parser = PossibleValuesParser::new(["user", "contact"]))]
        who: String,
        /// The SIP user
        #[arg(value_name = "USER")]
        user: String,
        /// The contact
        #[arg(value_name = "CONTACT")]
        contact: String,
    },
}

pub(super) fn consent(arguments: &ConsentArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let gateway = arguments.client.gateway(environment);
    let json = arguments.client.json;
    finish(match &arguments.verb {
        ConsentVerb::List { with } => {
            let list = all_of(&gateway, "/v1/consents", with);
            list.map(|list| if json { pretty(&list) } else { lines(&list) }.into())
        }
        ConsentVerb::Remove { user, contact } => {
            let path = format!("/v1/consents?user={}&contact={}", escaped(user), escaped(contact));
            gateway.ask(Method::DELETE, &path, None).map(|answer| {
                let text = match answer.get("removed") {
                    _ if json => pretty(&answer),
                    Some(Value::Bool(true)) => format!(
                        "{user} does not count as having added {contact} any more. If he subscribes to him again, he adds him \
                         again; a rule keeps him from it: nuncio policy new NAME users={user} verdict=deny\n{}",
                        changes(&answer)
                    ),
                    _ => format!("{user} has not added {contact}; nothing was changed.\n"),
                };
                Said::after(&answer, text)
            })
        }
    })
}

pub(super) fn subscriptions(
    arguments: &SubscriptionsArguments,
    environment: Vec<(OsString, OsString)>,
) -> ExitCode {
    let (gateway, json) = (arguments.client.gateway(environment), arguments.client.json);
    end(match &arguments.verb {
        SubscriptionsVerb::List { with } => all_of(&gateway, "/v1/subscriptions", with)
            .map(|list| if json { pretty(&list) } else { lines(&list) }),
        SubscriptionsVerb::Close { who, user, contact } => {
            let (of, sees) = (escaped(user), escaped(contact));
            let path = format!("/v1/subscriptions?user={of}&contact={sees}&who={who}");
            gateway.ask(Method::DELETE, &path, None).map(|answer| match answer.get("closed") {
                _ if json => pretty(&answer),
                Some(Value::Bool(true)) => "It is being ended.\n".to_owned(),
                _ => "There is none; nothing was changed.\n".to_owned(),
            })
        }
    })
}

/// All pages of a list.
fn all_of(gateway: &Gateway, path: &str, with: &Option<String>) -> Result<Value, Failed> {
    let mut all = Vec::new();
    let with = with.as_ref().map(|with| format!("&with={}", escaped(with))).unwrap_or_default();
    let mut after = String::new();
    loop {
        let page = gateway.ask(Method::GET, &format!("{path}?most={MOST}{with}{after}"), None)?;
        let Value::Array(page) = page else {
            return Err(Failed::new("the gateway answered something that is no list".to_owned()));
        };
        let is_full = page.len() >= MOST;
        all.extend(page);
        match all.last() {
            Some(last) if is_full => {
                let place = format!("{} {}", text(last, "sip_user"), text(last, "contact"));
                after = format!("&after={}", escaped(&place));
            }
            _ => return Ok(Value::Array(all)),
        }
    }
}

fn lines(list: &Value) -> String {
    let mut out = String::new();
    for relation in list.as_array().into_iter().flatten() {
        let time = |key: &str| {
            let seconds = relation.get(key).and_then(Value::as_i64)?;
            Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
        };
        let added = match (time("added_since"), time("last_subscribe")) {
            (Some(since), Some(last)) => format!("added {since}, last SUBSCRIBE {last}"),
            _ => "not added".to_owned(),
        };
        let endpoints = relation.get("endpoints").cloned().unwrap_or_else(|| json!(0));
        let line = format!(
            "{} ⇄ {}: {added}; user sees contact: {} ({endpoints} endpoints); contact sees user: {}",
            text(relation, "sip_user"),
            text(relation, "contact"),
            text(relation, "user_sees"),
            text(relation, "contact_sees"),
        );
        let _ = writeln!(out, "{}", printable(&line));
    }
    if out.is_empty() {
        let _ = writeln!(out, "There are none.");
    }
    out
}
