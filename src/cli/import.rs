//! `nuncio import`

mod apply;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Failed, Gateway, end, text, unusable};
use super::{ConfigArguments, load};
use crate::config::{Config, DEFAULT_FILE, Report, both_forms};
use crate::import::lync::{Choices, Export, Known, MAX_FILE, Plan};

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From Lync Server 2013 or Skype for Business Server 2015
    #[command(long_about = LYNC_ABOUT)]
    Lync(LyncArguments),
}

#[derive(Debug, Args)]
struct LyncArguments {
    /// What the cmdlets exported; "-" is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print what goes into the configuration file, in TOML; the plan goes to standard error
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// Print the plan as one JSON object
    #[arg(long)]
    json: bool,
    /// Have the running gateway take partners and policy over, all or none; at once, and for good
    #[arg(long, conflicts_with = "toml")]
    apply: bool,
    /// Control socket of the gateway, as for the other commands
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Take over federated partners too that may come in by dialback over plain TCP: whoever controls the network or DNS
    /// can pose as them
    #[arg(long)]
    accept_spoofable: bool,
    /// The configuration that partners and domains are compared with. Without it: the file that NUNCIO_CONFIG names, else
    /// /etc/nuncio/nuncio.toml, if it is there; and the partners that the running gateway has, if there is one
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

pub(super) const ABOUT: &str = "Take over what another product was configured with";

const LYNC_ABOUT: &str = "\
Take over partners, limits and policy from Lync Server 2013 or Skype for Business Server 2015.

Export there, in the management shell:
  Get-CsXmppAllowedPartner        | Export-Clixml partners.xml
  Get-CsXmppGatewayConfiguration  | Export-Clixml gateway.xml
  Get-CsExternalAccessPolicy      | Export-Clixml policies.xml
ConvertTo-Json and Export-Csv do as well, with what docs/import.md says about words and lists.

Shows the plan: each partner with the ways to authenticate his streams that result, what has no counterpart here, and \
what cannot be taken over and why. Nothing is changed, unless --apply says so: then the running gateway takes over the partners \
that it has not, and the policy, as \"nuncio partner apply\" does. Limits stand in the configuration file only, and are printed \
for it. Partners that a running gateway has are told apart, if this user may ask it. The exit code is 1 if something is \
left out that has a counterpart, be it only a policy that is granted to some users, for whom a rule has to be written by hand.";

pub(super) fn run(arguments: ImportArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let From::Lync(arguments) = arguments.from;
    let failed = |why: String| end(Err(Failed::new(why).in_json(arguments.json)));
    let mut export = Export::default();
    for file in &arguments.files {
        let read = read(file).map_err(|error| error.to_string());
        if let Err(why) = read.and_then(|bytes| export.read(&bytes).map_err(|error| error.to_string())) {
            return failed(format!("{}: {why}", file.display()));
        }
    }
    let gateway = Gateway::at(arguments.socket.clone(), environment.clone());
    // Another configuration may be that of another gateway, unless this is the one that is to take the plan over.
    let asks = arguments.config.is_empty() || arguments.socket.is_some();
    let running = match (arguments.apply, asks) {
        (true, _) => gateway.ask(Method::GET, PARTNERS, None).map(Some),
        // Perhaps nobody can be asked.
        (false, true) => gateway.ask_if_there(Method::GET, PARTNERS, None).map(Result::ok),
        (false, false) => Ok(None),
    };
    let running = match running {
        Ok(running) => running.map(|partners| known(&partners)),
        Err(failed) => return end(Err(failed.in_json(arguments.json))),
    };
    let config = match configured(&arguments.config, environment) {
        Ok(config) => config,
        Err(report) => return unusable(&report, arguments.json),
    };
    let choices = Choices {
        accept_spoofable: arguments.accept_spoofable,
        config: config.as_ref(),
        running: running.as_deref().unwrap_or_default(),
    };
    let plan = Plan::new(&export, &choices);
    if let Err(why) = plan.check() {
        return failed(format!("the plan would not load, and is not shown: {}", why.join("; ")));
    }
    let mut words = plan.to_string();
    if config.is_none() && running.is_none() {
        words.push_str(
            "\nNo configuration was found to compare with: own domains and known partners are not noticed.\n",
        );
    }
    if arguments.apply {
        let has = |domain: &&str| choices.running.iter().any(|known| known.domain == **domain);
        let there: Vec<&str> = plan.configured.iter().map(String::as_str).filter(has).collect();
        return apply::apply(&plan, (&words, &there), arguments.json, &gateway);
    }
    let text = if arguments.json {
        match serde_json::to_string(&plan) {
            Ok(json) => json + "\n",
            Err(error) => return failed(format!("the plan cannot be written as JSON: {error}")),
        }
    } else if arguments.toml {
        eprint!("{words}");
        plan.toml()
    } else {
        words
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) if plan.is_whole() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Where the running gateway tells of its partners.
const PARTNERS: &str = "/v1/partners";

/// The partners of the answer with all their domains, in the form in which domains are compared: they are told as they were
/// written.
fn known(partners: &Value) -> Vec<Known> {
    let compared = |domain: &str| both_forms(domain).0;
    let all = |partner: &Value| Known {
        domain: compared(text(partner, "domain")),
        additional_domains: partner
            .get("additional_domains")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|domain| domain.as_str().map(compared))
            .collect(),
        entry: partner.as_object().cloned().unwrap_or_default(),
    };
    partners.as_array().into_iter().flatten().map(all).collect()
}

/// The file, or one byte more than may be.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_FILE as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The configuration to compare with; one that is named has to be right.
fn configured(named: &[PathBuf], environment: Vec<(OsString, OsString)>) -> Result<Option<Config>, Report> {
    let said = environment.iter().any(|(name, value)| name == "NUNCIO_CONFIG" && !value.is_empty());
    if named.is_empty() && !said && !Path::new(DEFAULT_FILE).exists() {
        return Ok(None);
    }
    let arguments = ConfigArguments { config: named.to_vec(), files: Vec::new() };
    // Whether its certificates can be read is not the question.
    load(&arguments.sources(environment).trusting_paths()).map(|(config, _)| Some(config))
}
