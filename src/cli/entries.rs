//! `nuncio partner`, `nuncio policy`, `nuncio block`: what they have in common.

mod change;
mod file;
mod prune;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::Method;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use self::change::{Change, verdict};
use self::prune::Removal;
use super::client::{ClientArguments, Failed, Gateway, Said, finish, in_both_forms, pretty, printable, text};
use crate::config::{Kind, quoted, reference, written};
use crate::control::client::escaped;

#[derive(Debug, clap::Args)]
pub(super) struct PolicyArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: PolicyVerb,
}

#[derive(Debug, Subcommand)]
enum PolicyVerb {
    /// Make a rule: NAME KEY=VALUE …
    #[command(after_long_help = reference::help("policy.rule", "name"))]
    New(Making),
    #[command(flatten)]
    Entry(Verb),
}

#[derive(Debug, clap::Args)]
pub(super) struct BlockArguments {
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    verb: BlockVerb,
}

#[derive(Debug, Subcommand)]
enum BlockVerb {
    /// Keep somebody out: an address, a domain, an IP address or a network
    #[command(alias = "new", after_long_help = reference::help("block", "address"))]
    Add(Making),
    #[command(flatten)]
    Entry(Verb),
}

/// An entry that is not there yet.
#[derive(Debug, clap::Args)]
pub(super) struct Making {
    /// What it goes by: of a partner his domain, of a rule any name, of a block the contact (user@domain), the domain, the IP
    /// address or the network (192.0.2.0/24)
    #[arg(value_name = "NAME")]
    name: String,
    /// Keys of its section in the configuration file; items of a list are separated by commas
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Only say what it would amount to
    #[arg(long)]
    dry_run: bool,
}

/// What can be done with entries of each kind.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// All of them, in lines
    List,
    /// One of them, with every key that has a value
    Show {
        /// What it goes by, as the list shows it; of the policy also “global”, which is [policy] itself
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Change some of its keys; KEY= takes one away, so that its default holds
    Set {
        /// What it goes by, as the list shows it; of the policy also “global”, which is [policy] itself (enabled, default, consent)
        #[arg(value_name = "NAME")]
        name: String,
        /// The keys are in the help of “new” (of blocks “add”); items of a list are separated by commas
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
        /// Only say what it would amount to
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove it
    Remove {
        /// What it goes by, as the list shows it
        #[arg(value_name = "NAME")]
        name: String,
        /// Only say what it would amount to
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the stored ones as sections of a configuration file
    Export {
        /// Those declared in files as well
        #[arg(long)]
        all: bool,
    },
    /// Bring the stored ones to what a file says, all or none
    Apply {
        /// Sections as in the configuration file, as export prints them; "-" is standard input
        #[arg(long, short, value_name = "FILE")]
        file: PathBuf,
        /// Remove stored ones that are not in the file, but for those that are set aside
        #[arg(long)]
        prune: bool,
        /// Also if it removes more of them than it leaves
        #[arg(long, requires = "prune")]
        confirm_removal: bool,
        /// Only say what it would amount to
        #[arg(long)]
        dry_run: bool,
    },
}

/// What the API calls them, and the file.
struct Names {
    kind: Kind,
    collection: &'static str,
    section: &'static str,
}

fn names(kind: Kind) -> Names {
    let (collection, section) = match kind {
        Kind::Partner => ("partners", "partner"),
        Kind::Policy => ("policies", "policy.rule"),
        Kind::Block => ("blocks", "block"),
    };
    Names { kind, collection, section }
}

pub(super) fn policy(arguments: &PolicyArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let (gateway, json) = (arguments.client.gateway(environment), arguments.client.json);
    match &arguments.verb {
        PolicyVerb::New(making) => make(Kind::Policy, making, json, &gateway),
        PolicyVerb::Entry(verb) => perform(Kind::Policy, verb, json, &gateway),
    }
}

pub(super) fn block(arguments: &BlockArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let (gateway, json) = (arguments.client.gateway(environment), arguments.client.json);
    match &arguments.verb {
        BlockVerb::Add(making) => make(Kind::Block, making, json, &gateway),
        BlockVerb::Entry(verb) => perform(Kind::Block, verb, json, &gateway),
    }
}

pub(super) fn make(kind: Kind, making: &Making, json: bool, gateway: &Gateway) -> ExitCode {
    finish(names(kind).make(making, json, gateway).map_err(|failed| failed.in_json(json)))
}

pub(super) fn perform(kind: Kind, verb: &Verb, json: bool, gateway: &Gateway) -> ExitCode {
    finish(names(kind).perform(verb, json, gateway).map_err(|failed| failed.in_json(json)))
}

impl Names {
    fn make(&self, making: &Making, json: bool, gateway: &Gateway) -> Result<Said, Failed> {
        let Making { name, settings, dry_run } = making;
        let mut entry = self.settings(settings)?;
        entry.insert(self.kind.named_by().to_owned(), json!(name));
        let all = format!("/v1/{}", self.collection);
        let change = Change::new(Method::POST, all, Some(Value::Object(entry)));
        self.change(gateway, &change, *dry_run, json)
    }

    fn perform(&self, verb: &Verb, json: bool, gateway: &Gateway) -> Result<Said, Failed> {
        let all = format!("/v1/{}", self.collection);
        let one = |name: &str| format!("/v1/{}/{}", self.collection, escaped(name));
        let shown = |answer: Value, text: &dyn Fn(&Value) -> String| {
            Ok(Said::from(if json { pretty(&answer) } else { text(&answer) }))
        };
        match verb {
            Verb::List => shown(gateway.ask(Method::GET, &all, None)?, &|list| self.list(list)),
            Verb::Show { name } => {
                shown(gateway.ask(Method::GET, &one(name), None)?, &|entry| self.show(entry))
            }
            Verb::Set { name, settings, dry_run } => {
                let body = Some(Value::Object(self.settings(settings)?));
                let change = Change::new(Method::PATCH, one(name), body);
                self.change(gateway, &change, *dry_run, json)
            }
            Verb::Remove { name, dry_run } => {
                self.change(gateway, &Change::new(Method::DELETE, one(name), None), *dry_run, json)
            }
            Verb::Export { all: declared } => {
                let list = gateway.ask(Method::GET, &format!("{all}?only_set=true"), None)?;
                shown(list, &|list| self.export(list, *declared))
            }
            Verb::Apply { file, prune, confirm_removal, dry_run } => {
                let entries = self.read(file)?;
                let removal = match prune {
                    true => self.removal(&gateway.ask(Method::GET, &all, None)?, &entries),
                    false => Removal::default(),
                };
                let refused = removal.wants_confirmation(self.kind).filter(|_| !confirm_removal);
                if let (Some(why), false) = (&refused, dry_run) {
                    return Err(Failed::new(why));
                }
                let body = Some(json!({ "entries": entries, "prune": prune }));
                let path = format!("/v1/apply/{}", self.collection);
                let change = Change { method: Method::POST, path, body, first: removal.to_string(), refused };
                self.change(gateway, &change, *dry_run, json)
            }
        }
    }

    fn list(&self, list: &Value) -> String {
        let mut out = String::new();
        for entry in list.as_array().into_iter().flatten() {
            let _ = writeln!(out, "{}", self.line(entry));
        }
        if out.is_empty() {
            let _ = writeln!(out, "There are none.");
        }
        out
    }

    fn line(&self, entry: &Value) -> String {
        let list = |key: &str| -> String {
            let list = entry.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(in_both_forms).collect::<Vec<_>>().join(", ")
        };
        let name = match self.kind {
            Kind::Partner | Kind::Block => in_both_forms(text(entry, self.kind.named_by())),
            Kind::Policy => text(entry, self.kind.named_by()).to_owned(),
        };
        let origin = text(entry, "origin");
        let not_held = list("set_aside");
        let line = match self.kind {
            _ if !not_held.is_empty() => format!("{name}: set aside: {not_held}"),
            Kind::Partner => {
                let more = Some(list("additional_domains")).filter(|more| !more.is_empty());
                let more = more.map(|more| format!(" ({more})")).unwrap_or_default();
                let off = if entry.get("enabled") == Some(&json!(false)) { ", DISABLED" } else { "" };
                let means = entry
                    .get("negotiation")
                    .map(|negotiation| text(negotiation, "means"))
                    .unwrap_or_default();
                format!("{name}{more}: {}, {means}{off}", text(entry, "type"))
            }
            Kind::Policy if entry.get("enabled").is_some() => {
                let switch = if entry.get("enabled") == Some(&json!(false)) { "OFF" } else { "on" };
                format!("{name}: {switch}, default {}", text(entry, "default"))
            }
            Kind::Policy => {
                let partners = Some(list("partners")).filter(|partners| !partners.is_empty());
                let partners = partners.map(|partners| format!(" for {partners}")).unwrap_or_default();
                let name = if name.is_empty() { "(no name)" } else { &name };
                format!("{name}: {} {}{partners}", text(entry, "verdict"), list("users"))
            }
            Kind::Block => {
                let about = Some(text(entry, "description")).filter(|about| !about.is_empty());
                format!("{name}{}", about.map(|about| format!(": {about}")).unwrap_or_default())
            }
        };
        printable(&format!("{line} [{origin}]"))
    }

    fn show(&self, entry: &Value) -> String {
        let mut out = String::new();
        let is_default = |key: &str| {
            let mut defaults = entry.get("defaults").and_then(Value::as_array).into_iter().flatten();
            defaults.any(|default| default == key)
        };
        for (key, value) in self.keys(entry) {
            if key != "negotiation" && key != "defaults" {
                let by_default = if is_default(key) { "  (default)" } else { "" };
                let also = value.as_str().filter(|_| key == self.kind.named_by());
                let also = also.map(|name| in_both_forms(name).split_off(name.len())).unwrap_or_default();
                let _ = writeln!(out, "{key:<20} {}{by_default}", printable(&(written(value) + &also)));
            }
        }
        if let Some(negotiation) = entry.get("negotiation") {
            let _ = writeln!(out, "{:<20} {}", "negotiation", verdict(negotiation));
        }
        out
    }

    /// The keys of an entry, the one that names it first.
    fn keys<'v>(&self, entry: &'v Value) -> impl Iterator<Item = (&'v String, &'v Value)> {
        let named_by = self.kind.named_by();
        let keys = || entry.as_object().into_iter().flatten();
        keys().filter(move |(key, _)| *key == named_by).chain(keys().filter(move |(key, _)| *key != named_by))
    }

    /// KEY=VALUE, each as its key wants it.
    fn settings(&self, settings: &[String]) -> Result<Map<String, Value>, Failed> {
        let mut schema = reference::json_schema(self.section, None);
        if self.kind == Kind::Policy
            && let (Some(more), Some(Value::Object(own))) = (
                reference::json_schema("policy", None).get("properties").cloned(),
                schema.get_mut("properties"),
            )
        {
            own.extend(more.as_object().cloned().unwrap_or_default());
        }
        let mut entry = Map::new();
        for setting in settings {
            let Some((key, value)) = setting.split_once('=') else {
                return Err(Failed::new(format!("{}: expected KEY=VALUE", quoted(setting))));
            };
            let kind = schema.pointer(&format!("/properties/{key}/type"));
            // Of those that may be absent it is the first of two.
            let kind = kind.map(|kind| kind.get(0).unwrap_or(kind)).and_then(Value::as_str);
            let expected =
                |what: &str| Failed::new(format!("{key}: expected {what}, found {}", quoted(value)));
            let read = match (kind, value) {
                (_, "") => Value::Null,
                (Some("boolean"), "true" | "on" | "yes") => json!(true),
                (Some("boolean"), "false" | "off" | "no") => json!(false),
                (Some("boolean"), _) => return Err(expected("true or false")),
                (Some("integer"), number) => match number.parse::<i64>() {
                    Ok(number) => json!(number),
                    Err(_) => return Err(expected("a whole number")),
                },
                (Some("array"), list) => list.split(',').map(|item| json!(item.trim())).collect(),
                (_, text) => json!(text),
            };
            if entry.insert(key.to_owned(), read).is_some() {
                let list = if kind == Some("array") {
                    format!("; items of a list are separated by commas: {key}=ONE,OTHER")
                } else {
                    String::new()
                };
                return Err(Failed::new(format!("{key} is there twice, and holds only one value{list}")));
            }
        }
        Ok(entry)
    }
}

pub(super) const PARTNER_ABOUT: &str = "\
Partners of the running gateway: those declared in its files, which are changed there, and those that are stored, which are \
changed here and take effect at once.

The keys are those of [[partner]] in docs/configuration.md: nuncio partner new fabrikam.com type=federated sasl=optional. Before \
anything is saved it is checked as the files are, and what comes of TLS, SASL and dialback is shown: S is SASL EXTERNAL over \
TLS, T dialback over TLS, C dialback over plain TCP.";

pub(super) const POLICY_ABOUT: &str = "\
Which SIP users may talk to partners. Rules have the keys of [[policy.rule]]: nuncio policy new wards users=*-ext@contoso.com \
verdict=deny. The rule \"global\" stands for [policy] itself: nuncio policy set global enabled=false switches everything off.";

pub(super) const BLOCK_ABOUT: &str = "\
Keep contacts, domains or IP addresses out, at once: nuncio block add mallory@fabrikam.com, nuncio block add fabrikam.com, nuncio \
block add 192.0.2.0/24 description=\"scans\"; nuncio block remove lets them in again. Streams that are affected end; \
contacts learn no more than that there is no such user.";
