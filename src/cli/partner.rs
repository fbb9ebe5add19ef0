//! `nuncio partner`: what it has beside other entries.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use axum::http::Method;
use clap::Subcommand;
use serde_json::Value;

use super::client::{ClientArguments, Failed, Said, changes, end, finish, pretty, printable, text};
use super::entries::{Making, Verb, make, perform};
use super::report::findings_text;
use crate::checks::{Finding, Level};
use crate::config::{Kind, reference};
use crate::control::client::escaped;

#[derive(Debug, clap::Args)]
pub(super) struct PartnerArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: PartnerVerb,
}

#[derive(Debug, Subcommand)]
enum PartnerVerb {
    /// Have the running gateway try a partner as his entry says
    #[command(long_about = TEST_ABOUT)]
    Test {
        /// One of his domains. The primary one stands for all of them
        #[arg(value_name = "DOMAIN")]
        name: String,
    },
    /// Take a domain with dialback alone again that had proved itself by certificate
    #[command(long_about = ALLOW_ABOUT)]
    AllowDialback {
        /// The domain itself, be it a partner's primary one or an additional one
        domain: String,
    },
    /// Make one: DOMAIN KEY=VALUE …
    #[command(after_long_help = reference::help("partner", "domain"))]
    New(Making),
    /// Let him in again: the same as set DOMAIN enabled=true
    Enable {
        #[arg(value_name = "DOMAIN")]
        name: String,
    },
    /// Keep him out, and what is known of his users: the same as set DOMAIN enabled=false
    Disable {
        #[arg(value_name = "DOMAIN")]
        name: String,
    },
    #[command(flatten)]
    Entry(Verb),
}

const ALLOW_ABOUT: &str = "\
Take a domain with dialback alone again that had proved itself by certificate (SASL EXTERNAL).

A domain that did so once is not taken with less any more, although its entry allows it: somebody may be posing as it. Ask its \
administrator first, by other means than XMPP, whether the certificate is gone for good. It goes into the audit trail, and holds \
until the domain proves itself by certificate again. While no gateway runs: nuncio store allow-dialback DOMAIN.";

const TEST_ABOUT: &str = "\
Have the running gateway try a partner as his entry says.

DNS, connections, TLS and his certificate, what he offers, and whether he lets us in, by our certificate (SASL EXTERNAL) or by \
dialback, once for each of his domains and each certificate of ours; and whether he answers a ping (XEP-0199), which he does on a \
stream of his own: so it is seen that what he sends reaches us. Each step with the time it took. The streams are new ones \
and carry nothing else; those that are open are not touched. Then what became of the latest attempts of either side.

The exit code is 1 if one of his domains does not let us in, or answers nothing. Without a running gateway: \
nuncio check connectivity DOMAIN.";

pub(super) fn run(arguments: &PartnerArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let (gateway, json) = (arguments.client.gateway(environment), arguments.client.json);
    let switch = |name: &str, on: bool| {
        let settings = vec![format!("enabled={on}")];
        perform(Kind::Partner, &Verb::Set { name: name.to_owned(), settings, dry_run: false }, json, &gateway)
    };
    let name = match &arguments.verb {
        PartnerVerb::Entry(verb) => return perform(Kind::Partner, verb, json, &gateway),
        PartnerVerb::AllowDialback { domain } => {
            let path = format!("/v1/proved/{}", escaped(domain));
            return finish(gateway.ask(Method::DELETE, &path, None).map(|answer| {
                let said = match json {
                    true => pretty(&answer),
                    false => format!(
                        "{} may come in by dialback alone again, if its entry allows that.\n{}",
                        printable(text(&answer, "domain")),
                        changes(&answer)
                    ),
                };
                Said::after(&answer, said)
            }));
        }
        PartnerVerb::New(making) => return make(Kind::Partner, making, json, &gateway),
        PartnerVerb::Enable { name } => return switch(name, true),
        PartnerVerb::Disable { name } => return switch(name, false),
        PartnerVerb::Test { name } => name,
    };
    let path = format!("/v1/partners/{}/test", escaped(name));
    let answer = match gateway.ask(Method::POST, &path, None) {
        Ok(answer) => answer,
        Err(failed) => return end(Err(failed)),
    };
    let said = if json { Ok(pretty(&answer)) } else { in_words(&answer) };
    let done = end(said);
    let wrong = serde_json::to_value(Level::Wrong).ok();
    if answer.get("level") == wrong.as_ref() { ExitCode::FAILURE } else { done }
}

fn in_words(answer: &Value) -> Result<String, Failed> {
    let findings = answer.get("findings").cloned().unwrap_or_default();
    let findings: Vec<Finding> = serde_json::from_value(findings).map_err(|error| {
        Failed::new(format!("the gateway answered something else than findings: {error}"))
    })?;
    let mut out = findings_text(&findings, 0);
    let attempts = answer.get("attempts").and_then(Value::as_array).into_iter().flatten();
    for (number, attempt) in attempts.enumerate() {
        if number == 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "\nThe latest attempts of either side:");
        }
        let _ = writeln!(out, "  {}", printable(text(attempt, "text")));
    }
    Ok(out)
}
