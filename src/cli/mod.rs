//! The command line.
//!
//! Exit codes: 0 done; 1 the configuration is wrong, the gateway failed, or a check found something wrong, the database included;
//! 2 the command line is wrong; 3 `run` does not start, for the database has to be seen to by somebody; 4 a change is in force and
//! not on the disk.

mod cert;
mod check;
mod client;
mod dns;
mod entries;
mod front_ends;
mod import;
mod log;
mod partner;
mod relations;
mod report;
mod run;
mod running;
mod sessions;
mod store;
mod token;
mod trail;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, DEFAULT_FILE, LogFormat, Report, Sources};

/// Runs the program with these arguments and this environment.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too; they go to standard output with code 0, misuse to standard error
            // with code 2. A closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment = environment.into_iter().collect();
    match cli.command {
        Command::Run(arguments) => run::run(arguments, environment),
        Command::Partner(arguments) => partner::run(&arguments, environment),
        Command::Policy(arguments) => entries::policy(&arguments, environment),
        Command::Block(arguments) => entries::block(&arguments, environment),
        Command::Reload(arguments) => running::reload(&arguments, environment),
        Command::Status(arguments) => running::status(&arguments, environment),
        Command::Streams(arguments) => running::streams(&arguments, environment),
        Command::Sessions(arguments) => sessions::run(&arguments, environment),
        Command::Consent(arguments) => relations::consent(&arguments, environment),
        Command::Subscriptions(arguments) => relations::subscriptions(&arguments, environment),
        Command::Audit(arguments) => running::audit(&arguments, environment),
        Command::Check(arguments) => check::run(&arguments, environment),
        Command::Dns(verb) => dns::run(&verb, environment),
        Command::Cert(verb) => cert::run(&verb, environment),
        Command::Store(arguments) => store::run(&arguments, environment),
        Command::Token(arguments) => token::run(&arguments),
        Command::Import(arguments) => import::run(arguments, environment),
    }
}

/// The command line as data, for man pages and completions.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[derive(Debug, Parser)]
#[command(name = "nuncio", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground
    #[command(long_about = RUN_ABOUT)]
    Run(RunArguments),
    /// Partners: list, show, make, change, remove, try, export, apply
    #[command(long_about = entries::PARTNER_ABOUT)]
    Partner(partner::PartnerArguments),
    /// Which SIP users may talk to partners
    #[command(long_about = entries::POLICY_ABOUT)]
    Policy(entries::PolicyArguments),
    /// Keep contacts, domains or addresses out, at once
    #[command(long_about = entries::BLOCK_ABOUT)]
    Block(entries::BlockArguments),
    /// Have the running gateway read its configuration again: all of it is put in force, or nothing
    Reload(running::PlainArguments),
    /// What the running gateway holds and has counted
    Status(running::PlainArguments),
    /// Streams with partners: list, close
    Streams(running::StreamsArguments),
    /// Sessions of instant messages with front ends: list, close
    Sessions(sessions::SessionsArguments),
    /// Whom SIP users have added: list, remove
    Consent(relations::ConsentArguments),
    /// Who sees whom: list, close
    Subscriptions(relations::SubscriptionsArguments),
    /// Who changed what, the latest first
    Audit(running::AuditArguments),
    /// Check everything, or one thing, without changing anything
    #[command(long_about = check::ABOUT, after_long_help = check::EXAMPLES, args_conflicts_with_subcommands = true)]
    Check(check::CheckArguments),
    /// The records that have to be in DNS
    #[command(subcommand, long_about = dns::ABOUT)]
    Dns(dns::DnsVerb),
    /// Make signing requests, and put signed certificates in use
    #[command(subcommand, long_about = cert::ABOUT, after_long_help = cert::EXAMPLES)]
    Cert(cert::Cert),
    /// Look after the database of what survives a restart
    #[command(long_about = store::ABOUT)]
    Store(store::StoreArguments),
    /// Make a token for the control plane over TCP
    #[command(long_about = token::ABOUT)]
    Token(token::TokenArguments),
    /// Take over what another product was configured with
    #[command(long_about = import::ABOUT)]
    Import(import::ImportArguments),
}

#[derive(Debug, Clone, Args)]
struct ConfigArguments {
    /// Configuration file; give it again to lay another file over it, the later one wins. Without any: the file that the
    /// environment variable NUNCIO_CONFIG names, else /etc/nuncio/nuncio.toml
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// The same as --config FILE
    #[arg(value_name = "FILE", conflicts_with = "config")]
    files: Vec<PathBuf>,
}

/// The same where other files are what a command is about.
#[derive(Debug, Clone, Args)]
struct ConfigOption {
    /// Configuration file; again for another one over it. Without any: the file that the environment variable NUNCIO_CONFIG
    /// names, else /etc/nuncio/nuncio.toml
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// What to log: off, error, warn, info, debug, trace, or a list such as info,nuncio::dns=debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(LogFormat::ALL.iter().map(|f| f.as_str())))]
    log_format: Option<String>,
}

impl ConfigArguments {
    fn sources(&self, environment: Vec<(OsString, OsString)>) -> Sources {
        let named = environment.iter().find(|(name, value)| name == "NUNCIO_CONFIG" && !value.is_empty());
        let fallback = [named.map_or_else(|| DEFAULT_FILE.into(), |(_, value)| value.into())];
        // Only one of the two was given.
        let given: Vec<&PathBuf> = self.config.iter().chain(&self.files).collect();
        let files = if given.is_empty() { fallback.iter().collect() } else { given };
        files.into_iter().fold(Sources::new(), Sources::file).environment(environment)
    }
}

impl ConfigOption {
    /// The configuration, without a look at the files that it names: they may not be there yet.
    fn load(&self, environment: Vec<(OsString, OsString)>) -> Result<Config, Report> {
        let arguments = ConfigArguments { config: self.config.clone(), files: Vec::new() };
        let sources = arguments.sources(environment).trusting_paths();
        Config::load(&sources, &|_, _| Ok(())).map(|(config, _)| config)
    }
}

fn load(sources: &Sources) -> Result<(Config, Report), Report> {
    Config::load(sources, &|certificate, key| {
        crate::tls::Identity::load(certificate, key).map(drop).map_err(|error| error.to_string())
    })
}

/// With the partners, policies and blocks that are stored, as far as they can be read.
fn with_stored(sources: Sources) -> Sources {
    let stored = Config::state_dir(&sources).map(|state_dir| crate::store::stored(&state_dir));
    match stored {
        Some(Ok(stored)) => sources.stored(stored),
        // Whoever needs the database says what is wrong with it.
        Some(Err(_)) | None => sources,
    }
}

/// Tells on standard error what is wrong with the configuration.
fn complain(report: &Report) {
    let errors = match report.errors() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    eprint!("{report}");
    eprintln!("\nThe configuration has {errors}.");
}

const ABOUT: &str = "SIP-to-XMPP translating edge proxy";

const LONG_ABOUT: &str = "\
Nuncio stands at the network edge between SIP front ends in the style of Lync or Skype for Business and the XMPP \
federation, and translates between them: a SIP user and an XMPP user add each other, see each other's presence and status \
note, and write to each other, each with the client they already have.";

const AFTER_HELP: &str = "\
First steps:
  1. Write /etc/nuncio/nuncio.toml, from examples/nuncio.toml;
     docs/configuration.md explains every key.
  2. nuncio cert request, and nuncio cert import with what the CA sends, unless
     there are certificates already.
  3. nuncio check config
     tells line by line what is wrong with it, or what it amounts to; then
     looks at certificates and the state directory, and says what will not work.
  4. nuncio dns show
     prints the records to create.
  5. nuncio run
     The log says \"ready\" with the addresses that it listens on.
  6. nuncio check
     also asks DNS, and tries every partner and front end.

The environment overrides the file, NUNCIO_SECTION__KEY, with two underscores
between section and key: NUNCIO_LOG__LEVEL=debug,
NUNCIO_SIP__CONNECT__FAMILY=ipv4. Items of a list are separated by commas:
NUNCIO_SIP__DOMAINS=contoso.com,litware.com. That goes for every key but those
of sections in double brackets, such as [[partner]] and [[certificate]], which
may stand more than once: they are in the file only.

Exit codes:
  0  done
  1  refused, or not done: the configuration is wrong, the gateway failed, or
     a check found something wrong, the database included
  2  the command line is wrong
  3  of nuncio run: the database has to be seen to by somebody; it is damaged,
     of a newer version, or not one of Nuncio
  4  the change is in force, and not on the disk: it is gone when the gateway
     stops, unless its disk works before";

const RUN_ABOUT: &str = "\
Run the gateway in the foreground.

The log goes to standard error. Once all listeners are up it says \"ready\" with their addresses.

Signals:
  SIGTERM, SIGINT  drain: no new streams, queues are emptied, streams closed,
                   exit code 0; a second one ends it at once
  SIGUSR1          write into the log what it holds and has counted
  SIGUSR2          try partners and front ends that are in back-off at once
  SIGHUP           read the configuration again, all or nothing, and look at
                   once at certificates, keys, roots and revocation lists;
                   nuncio reload does the same, and says what came of it";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Whoever makes an entry has to know what can be in it, without the documentation at hand.
    #[test]
    fn the_help_of_what_makes_an_entry_lists_its_keys() {
        for (words, section, named_by) in [
            (["partner", "new"], "partner", "domain"),
            (["policy", "new"], "policy.rule", "name"),
            (["block", "add"], "block", "address"),
        ] {
            let mut command = Cli::command();
            let mut found = &mut command;
            for word in words {
                found = found.find_subcommand_mut(word).unwrap();
            }
            let help = found.render_long_help().to_string();
            let schema = crate::config::reference::json_schema(section, Some(named_by));
            for key in schema["properties"].as_object().unwrap().keys() {
                assert!(help.contains(&format!("\n  {key}: ")), "{key} is not in\n{help}");
            }
        }
    }
}
