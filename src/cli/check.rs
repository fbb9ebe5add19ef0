//! `nuncio check`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use axum::http::Method;
use clap::{Args, Subcommand};

use super::client::{Failed, Gateway, WhoArguments, done_here, end};
use super::report::{findings_text, report_text, say, say_json};
use super::{ConfigArguments, ConfigOption, complain, front_ends, with_stored};
use crate::checks::connectivity::Whom;
use crate::checks::{self, Checked, Finding, Report, What, look, problems};
use crate::config::{Config, Listener, Loaded, Lookup, NextHop, Setting, TlsBackend};
use crate::control::client::escaped;
use crate::policy;

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(subcommand)]
    what: Option<One>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    who: WhoArguments,
    #[command(flatten)]
    config: ConfigOption,
}

#[derive(Debug, Subcommand)]
enum One {
    /// Check the configuration, and show what it amounts to
    #[command(long_about = CHECK_CONFIG_ABOUT)]
    Config {
        #[command(flatten)]
        how: How,
        /// Show every key that has a value instead, as a file that says the same, and where each comes from
        #[arg(long)]
        effective: bool,
        #[command(flatten)]
        config: ConfigArguments,
    },
    /// Check our certificates and keys, and what those of others are held against
    Certs {
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        who: WhoArguments,
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Compare what DNS says of us with what it has to say
    #[command(long_about = CHECK_DNS_ABOUT)]
    Dns {
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        who: WhoArguments,
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Try partners, front ends and our own listeners
    #[command(long_about = CHECK_CONNECTIVITY_ABOUT)]
    Connectivity {
        /// Only these: a domain of a partner, or the name of a front end
        #[arg(value_name = "WHOM")]
        names: Vec<String>,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        who: WhoArguments,
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Check the state directory and the database, from end to end
    Store {
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        who: WhoArguments,
        #[command(flatten)]
        config: ConfigOption,
    },
    /// Ask DNS where the front ends are, and show what it says
    #[command(long_about = CHECK_FRONT_ENDS_ABOUT)]
    FrontEnds(ConfigArguments),
}

/// How it is told.
#[derive(Debug, Clone, Copy, Args)]
struct How {
    /// For programs
    #[arg(long)]
    json: bool,
    /// Warnings make the exit code 1, too
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &CheckArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let everybody = Whom::default();
    let (how, who, of, what, whom) = match &arguments.what {
        Some(One::Config { how, effective: true, config }) => return effective(*how, config, environment),
        Some(One::Config { how, config, .. }) => return self::config(*how, config, environment),
        Some(One::FrontEnds(arguments)) => return front_ends::run(arguments, environment),
        None => (arguments.how, &arguments.who, &arguments.config, &What::ALL[..], everybody),
        Some(One::Certs { how, who, config }) => (*how, who, config, &[What::Certs][..], everybody),
        Some(One::Dns { how, who, config }) => (*how, who, config, &[What::Dns][..], everybody),
        Some(One::Store { how, who, config }) => (*how, who, config, &[What::Store][..], everybody),
        Some(One::Connectivity { how, who, config, names }) => {
            (*how, who, config, &[What::Connectivity][..], Whom { names: names.clone() })
        }
    };
    if let Some(gateway) = who.gateway(&of.config, &environment) {
        match through(&gateway, what, &whom) {
            Ok(Ok(report)) => {
                // The gateway reads the file for that, as a reload would.
                let all_but_config = what.contains(&What::Config) && what.len() > 1;
                gateway.says_who(if all_but_config { "all of this but config" } else { "this" });
                return how.tell(&report);
            }
            Ok(Err(why)) => done_here(&why),
            Err(failed) => return end(Err(failed.in_json(how.json))),
        }
    }
    // What a start would say, also of the files that it names; the other checks are made whatever that is.
    let arguments = ConfigArguments { config: of.config.clone(), files: Vec::new() };
    let at_start = match policy::load(&with_stored(arguments.sources(environment.clone()))) {
        Ok(loaded) => [problems(&loaded.report), checks::set_aside(&loaded.set_aside)].concat(),
        Err(report) => problems(&report),
    };
    let config = match with_stored_entries(of, environment) {
        Ok(config) => config,
        Err(report) => return unusable(&report, how),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failed = Failed::new(format!("the runtime cannot be started: {error}"));
            return end(Err(failed.in_json(how.json)));
        }
    };
    let mut checks = Vec::new();
    for what in what {
        let mut checked = runtime.block_on(look(&config, *what, &whom, SystemTime::now()));
        if *what == What::Config {
            checked.findings.splice(0..0, at_start.iter().cloned());
        }
        checks.push(checked);
    }
    how.tell(&Report::new(checks))
}

/// The checks as the running gateway makes them; `Ok(Err)`: why it is not the one to make them.
fn through(gateway: &Gateway, what: &[What], whom: &Whom) -> Result<Result<Report, String>, Failed> {
    let mut checks = Vec::new();
    for what in what {
        let whom = match (what, whom.names.as_slice()) {
            (What::Connectivity, names @ [_, ..]) => format!("?whom={}", escaped(&names.join(","))),
            _ => String::new(),
        };
        let path = format!("/v1/checks/{}{whom}", what.as_str());
        let answer = match gateway.ask_if_there(Method::GET, &path, None)? {
            Ok(answer) => answer,
            Err(why) => return Ok(Err(why)),
        };
        let report: Report = serde_json::from_value(answer).map_err(|error| {
            Failed::new(format!("the gateway answered something else than findings: {error}"))
        })?;
        checks.extend(report.checks);
    }
    Ok(Ok(Report::new(checks)))
}

/// The configuration with what is stored beside the files, whether or not what it names is there. Where the two do not go
/// together, what the files say is looked at all the same.
fn with_stored_entries(
    of: &ConfigOption,
    environment: Vec<(OsString, OsString)>,
) -> Result<Config, crate::config::Report> {
    let arguments = ConfigArguments { config: of.config.clone(), files: Vec::new() };
    let whole = with_stored(arguments.sources(environment.clone())).trusting_paths();
    let loaded = Config::load(&whole, &|_, _| Ok(())).map(|(config, _)| config);
    loaded.or_else(|_| of.load(environment))
}

impl How {
    /// Tells it, with the exit code.
    fn tell(self, report: &Report) -> ExitCode {
        let done = if self.json { say_json(report) } else { say(&report_text(report)) };
        self.verdict(report, done)
    }

    /// The exit code.
    fn verdict(self, report: &Report, done: ExitCode) -> ExitCode {
        match report.is_wrong() || (self.strict && report.warnings > 0) {
            true => ExitCode::FAILURE,
            false => done,
        }
    }
}

/// There is nothing to look at.
fn unusable(report: &crate::config::Report, how: How) -> ExitCode {
    if how.json {
        say_json(&Report::new(vec![Checked { check: What::Config, findings: problems(report) }]));
    } else {
        complain(report);
    }
    ExitCode::FAILURE
}

/// Every key that has a value, and where it comes from.
fn effective(how: How, arguments: &ConfigArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let effective = match policy::load(&with_stored(arguments.sources(environment))) {
        Ok(Loaded { effective, .. }) => effective,
        Err(report) => return unusable(&report, how),
    };
    if !how.json {
        return say(&effective.toml());
    }
    let setting = |setting: &Setting| serde_json::json!({ "path": setting.path, "value": setting.value, "origin": setting.origin.text() });
    let settings: Vec<_> = effective.iter().map(setting).collect();
    say(&(serde_json::json!({ "settings": settings }).to_string() + "\n"))
}

fn config(how: How, arguments: &ConfigArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    match policy::load(&with_stored(arguments.sources(environment))) {
        Ok(Loaded { config, report, set_aside, .. }) => {
            let aside = checks::set_aside(&set_aside);
            let mut findings = [aside, checks::all(&config, SystemTime::now())].concat();
            // DNS may have to be asked where our front ends are.
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                findings.extend(runtime.block_on(checks::blocks::check(&config)));
            }
            let text = |warnings| format!("{}\n{}", summary(&config), looked_at(&findings, warnings));
            let text = (!how.json).then(|| text(report.problems().len()));
            let found = problems(&report).into_iter().chain(findings.clone()).collect();
            let checked = Report::new(vec![Checked { check: What::Config, findings: found }]);
            let done = match text {
                None => say_json(&checked),
                Some(text) => {
                    eprint!("{report}");
                    say(&text)
                }
            };
            how.verdict(&checked, done)
        }
        Err(report) => unusable(&report, how),
    }
}

/// What the configuration amounts to, for people.
fn summary(config: &Config) -> String {
    let mut text = String::from("The configuration can be used. It says:\n\n");
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<14} {value}");
    };
    line("node", format!("{}, state in {}", config.node.label, config.node.state_dir.display()));
    line("domains", join(config.sip.domains.iter().map(|domain| domain.to_unicode())));
    line("SIP", format!("listens on {}, calls itself {}", listeners(&config.sip.listeners), config.sip.name));
    for identity in &config.sip.identities {
        line("  identity", format!("{} for {}", identity.name, join(identity.types.iter())));
    }
    for front_end in &config.sip.front_ends {
        line(
            "  front end",
            format!(
                "{}: {} for {}, certificate {}{}",
                front_end.name,
                join(front_end.next_hops.iter().map(|hop| match hop {
                    NextHop::At(at) => at.to_string(),
                    NextHop::Of(domain) =>
                        format!("the hosts of {domain} in DNS ({})", records(front_end.lookup)),
                })),
                join(front_end.domains.iter().map(|domain| domain.to_unicode())),
                match front_end.certificate_names.is_empty() {
                    true => "of each host's own name".to_owned(),
                    false => join_or(front_end.certificate_names.iter()),
                },
                match front_end.tls_backend {
                    TlsBackend::Rustls => "",
                    TlsBackend::OpensslLegacy => ", TLS 1.2 also with CBC",
                },
            ),
        );
    }
    line("policy", config.policy.to_string());
    line("XMPP", format!("listens on {}", listeners(&config.xmpp.listeners)));
    for (identity, domains) in config.certificates.iter() {
        let domains = join(domains.iter().map(|domain| domain.to_unicode()));
        line("  certificate", format!("{} for {domains}", identity.certificate.display()));
    }
    let roots = config
        .xmpp
        .roots
        .as_ref()
        .map_or_else(|| "those of the system".into(), |roots| roots.to_string_lossy());
    line("  roots", roots.into_owned());
    let servers = config
        .dns
        .servers
        .as_ref()
        .map_or_else(|| "those of the system".to_owned(), |list| join(list.iter()));
    line("DNS", servers);
    line("partners", config.partners.len().to_string());
    const SHOWN: usize = 20;
    for partner in config.partners.iter().take(SHOWN) {
        let domains = join(partner.domains().map(|domain| domain.to_unicode()));
        let disabled = if partner.enabled { "" } else { ", disabled" };
        let methods = partner.methods();
        line("  partner", format!("{domains}: {}, {}{disabled}", partner.partner_type, methods.in_words()));
    }
    if let Some(more @ 1..) = config.partners.len().checked_sub(SHOWN) {
        line("  partner", format!("… and {more} more"));
    }
    text
}

/// What was looked at, and how it is; `warnings` were given before.
fn looked_at(findings: &[Finding], warnings: usize) -> String {
    // Who looks decides what may be read and written.
    let user = rustix::process::geteuid().as_raw();
    format!("What it names was looked at, as user {user}:\n{}", findings_text(findings, warnings))
}

fn listeners(listeners: &[Listener]) -> String {
    join(listeners.iter().map(|listener| {
        let only = if listener.only_v6 { " (IPv6 only)" } else { "" };
        let direct = if listener.direct_tls { " (Direct TLS)" } else { "" };
        format!("{}{only}{direct}", listener.bind)
    }))
}

/// The records that a look-up goes by.
pub(super) fn records(lookup: Lookup) -> &'static str {
    match lookup {
        Lookup::Sip => "NAPTR, _sips._tcp",
        Lookup::Federation => "_sipfederationtls._tcp",
    }
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn join_or(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" or ")
}

pub(super) const ABOUT: &str = "\
Check everything, or one thing, without changing anything.

Without a word it checks all of them: config, certs, store, dns, connectivity. Each finding is good, a note, a WARNING (it \
works, perhaps not with everybody or not for long) or an ERROR (it does not work), with what to do about it.

A gateway that runs makes them itself, with what it uses and as its own user, for whoever may ask it (see control.admin_group); \
standard error says whether it did. \"config\" is of the file, as a reload would find it, and \"nuncio check config\" is always \
made here. With --here, with --config, \
or where no gateway runs they are all made here; then run it as the user of the service, who may not read or write what you \
may: \"sudo -u nuncio nuncio check\".";

pub(super) const EXAMPLES: &str = "\
Examples:
  nuncio check
  nuncio check connectivity fabrikam.com
  nuncio check --strict --json | jq -r '.checks[].findings[] | select(.fix) | .text'

Exit codes:
  0  nothing is wrong; there may be warnings
  1  something is an ERROR, or the configuration cannot be used; with --strict, also if something is a WARNING
  2  the command line is wrong";

const CHECK_CONFIG_ABOUT: &str = "\
Check the configuration, and show what it amounts to.

Reads the files and the environment exactly as \"nuncio run\" does; changes nothing, and connects to nothing, but asks DNS \
where the front ends are if a network is blocked. Errors go to standard error, each with file, line and column, and the exit code is 1.

If there are none, a summary goes to standard output, and then what it names is looked at: whether each certificate is \
for the domains or the name it is shown for, is valid, for servers, and has its chain; whether the state directory and \
the key in it can be used, and by nobody else. Anything that will not work is an ERROR, with the fix, and the exit code \
is 1; warnings leave it 0.

Run it as the user of the service, who may not read or write what you may: \"sudo -u nuncio nuncio check config\".";

const CHECK_FRONT_ENDS_ABOUT: &str = "\
Ask DNS where the front ends are, and show what it says.

For each domain among the next hops: which records were asked for and what they hold, in the order in which the hosts \
would be tried, and what is not followed and why; for each host its addresses; and the names that its certificate has to \
carry. Nothing is connected to. The exit code is 1 if a front end has no host with an address.";

const CHECK_DNS_ABOUT: &str = "\
Compare what DNS says of us with what it has to say.

For each served domain the records that \"nuncio dns show\" prints: missing, leading elsewhere, with another port, refused by \
the target \".\"; for each host that they lead to its addresses: missing, private, an alias (CNAME), of a family that no \
listener takes; and for each front end whether it is found. The servers of dns.servers are asked, or those of this machine: in \
a network with answers of its own (split DNS), name one outside by NUNCIO_DNS__SERVERS=9.9.9.9:53.";

const CHECK_CONNECTIVITY_ABOUT: &str = "\
Try partners, front ends and our own listeners.

Each is tried as the running gateway would, up to the point at which stanzas or requests could flow; none is sent. Front \
ends: each address of each host, with TCP, TLS, its certificate and its names. Partners: DNS, TCP, STARTTLS or Direct TLS, his \
certificate, what he offers, and whether he takes our certificate (SASL EXTERNAL), once for each certificate of ours. Dialback \
is not tried: nuncio partner test, which asks the running gateway, tries it, too. Our own listeners: here, and at the hosts that DNS is to \
name, whether they show the right certificate.

It takes as long as the limits allow: limits.xmpp.reach for a partner who does not answer.";
