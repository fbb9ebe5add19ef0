//! `nuncio dns`

use std::ffi::OsString;
use std::process::ExitCode;

use axum::http::Method;
use clap::Subcommand;
use serde_json::Value;

use super::ConfigOption;
use super::client::{WhoArguments, done_here, end, unusable};
use super::report::{say, say_json};
use crate::checks::dns::wanted;

#[derive(Debug, Subcommand)]
pub(super) enum DnsVerb {
    /// Print the records to create, as lines of a zone file
    #[command(long_about = SHOW_ABOUT, after_long_help = EXAMPLES)]
    Show {
        /// For programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        who: WhoArguments,
        #[command(flatten)]
        config: ConfigOption,
    },
}

pub(super) fn run(verb: &DnsVerb, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let DnsVerb::Show { json, who, config } = verb;
    if let Some(gateway) = who.gateway(&config.config, &environment) {
        match gateway.ask_if_there(Method::GET, "/v1/dns", None) {
            Ok(Ok(mut answer)) => {
                gateway.says_who("this");
                let text = answer.as_object_mut().and_then(|answer| answer.remove("text"));
                let text = text.as_ref().and_then(Value::as_str).unwrap_or_default();
                return if *json { say_json(&answer) } else { say(text) };
            }
            Ok(Err(why)) => done_here(&why),
            Err(failed) => return end(Err(failed.in_json(*json))),
        }
    }
    match config.load(environment) {
        Ok(config) => {
            let wanted = wanted(&config);
            if *json { say_json(&wanted) } else { say(&wanted.to_string()) }
        }
        Err(report) => unusable(&report, *json),
    }
}

pub(super) const ABOUT: &str = "\
The records that have to be in DNS for partners and front ends to find the gateway.";

const SHOW_ABOUT: &str = "\
Print the records to create, as lines of a zone file.

For each served domain an SRV record _xmpp-server._tcp that leads to each host of xmpp.hosts (the host of sip.name, if that \
key is absent), with the ports of the listeners; and _xmpps-server._tcp if there is a listener with direct_tls. Then the hosts \
that need addresses, which are filled in if the listeners are bound to public ones. Where ports are translated on the way, \
change them.

_sipfederationtls._tcp is not among them: it says where the Access Edge of the domain is, not this gateway.";

const EXAMPLES: &str = "\
Examples:
  nuncio dns show
  nuncio dns show --json | jq -r '.zones[].records[] | .name'
  nuncio check dns               compares it with what DNS says";
