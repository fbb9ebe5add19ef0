//! `nuncio import`

mod apply;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::http::Method;
use clap::{Args, Subcommand};

use super::client::{Failed, Gateway, end, text, unusable};
use super::{ConfigArguments, load};
use crate::config::{Config, DEFAULT_FILE, Report};
use crate::import::lync::{Choices, Export, MAX_FILE, Plan};

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
for it. Partners that a running gateway has are told apart, if this user may ask it. The exit code is 1 if something is left out that has a counterpart, be it only a policy that is granted to some users, for whom a rule has to be written by hand.";

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
    let gateway = || Gateway::at(arguments.socket.clone(), environment.clone());
    let applying = arguments.apply.then(gateway);
    // Another configuration may be that of another gateway.
    let running =
        (!arguments.apply && (arguments.config.is_empty() || arguments.socket.is_some())).then(gateway);
    let running = match running.map(|gateway| gateway.ask_if_there(Method::GET, "/v1/partners", None)) {
        Some(Ok(Ok(partners))) => Some(partners),
        // Nobody can be asked.
        Some(Ok(Err(_))) | None => None,
        Some(Err(failed)) => return end(Err(failed.in_json(arguments.json))),
    };
    let config = match configured(&arguments.config, environment) {
        Ok(config) => config,
        Err(report) => return unusable(&report, arguments.json),
    };
    let choices = Choices { accept_spoofable: arguments.accept_spoofable, config: config.as_ref() };
    let mut plan = Plan::new(&export, &choices);
    if let Some(running) = &running {
        let there: BTreeSet<&str> =
            running.as_array().into_iter().flatten().map(|partner| text(partner, "domain")).collect();
        plan.leave(|domain| there.contains(domain));
    }
    if let Err(why) = plan.check() {
        return failed(format!("the plan would not load, and is not shown: {}", why.join("; ")));
    }
    let mut words = plan.to_string();
    if config.is_none() && running.is_none() {
        words.push_str(
            "\nNo configuration was found to compare with: own domains and known partners are not noticed.\n",
        );
    }
    if let Some(gateway) = applying {
        return apply::apply(&plan, &words, arguments.json, &gateway);
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
