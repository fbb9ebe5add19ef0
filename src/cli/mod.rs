//! The command line.
//!
//! Exit codes: 0 done; 1 the configuration is wrong or the gateway failed; 2 the command line is wrong; 3 the database has to
//! be seen to by somebody.

mod check;
mod front_ends;
mod log;
mod run;
mod store;

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
        Command::Check(Check::Config(arguments)) => check::config(&arguments, environment),
        Command::Check(Check::FrontEnds(arguments)) => front_ends::run(&arguments, environment),
        Command::Store(arguments) => store::run(&arguments, environment),
    }
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
    /// Check things without changing anything
    #[command(subcommand)]
    Check(Check),
    /// Look after the database of what survives a restart
    #[command(long_about = store::ABOUT)]
    Store(store::StoreArguments),
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Check the configuration, and show what it amounts to
    #[command(long_about = CHECK_CONFIG_ABOUT)]
    Config(ConfigArguments),
    /// Ask DNS where the front ends are, and show what it says
    #[command(long_about = CHECK_FRONT_ENDS_ABOUT)]
    FrontEnds(ConfigArguments),
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

fn load(sources: &Sources) -> Result<(Config, Report), Report> {
    Config::load(sources, &|certificate, key| {
        crate::tls::Identity::load(certificate, key).map(drop).map_err(|error| error.to_string())
    })
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
  2. nuncio check config
     tells line by line what is wrong with it, or what it amounts to; then
     looks at certificates and the state directory, and says what will not work.
  3. nuncio run
     The log says \"ready\" with the addresses that it listens on.

The environment overrides the file, NUNCIO_SECTION__KEY, with two underscores
between section and key: NUNCIO_LOG__LEVEL=debug,
NUNCIO_SIP__CONNECT__FAMILY=ipv4. Items of a list are separated by commas:
NUNCIO_SIP__DOMAINS=contoso.com,litware.com. That goes for every key but those
of sections in double brackets, such as [[partner]] and [[certificate]], which
may stand more than once: they are in the file only.

Exit codes:
  0  done
  1  the configuration is wrong, or the gateway failed
  2  the command line is wrong";

const RUN_ABOUT: &str = "\
Run the gateway in the foreground.

The log goes to standard error. Once all listeners are up it says \"ready\" with their addresses.

Signals:
  SIGTERM, SIGINT  drain: no new streams, queues are emptied, streams closed,
                   exit code 0; a second one ends it at once
  SIGUSR1          write into the log what it holds and has counted
  SIGUSR2          try partners and front ends that are in back-off at once
  SIGHUP           look at once at certificates, keys, roots and revocation lists;
                   the configuration itself is read at start only";

const CHECK_CONFIG_ABOUT: &str = "\
Check the configuration, and show what it amounts to.

Reads the files and the environment exactly as \"nuncio run\" does; changes nothing, connects to nothing. Errors go to \
standard error, each with file, line and column, and the exit code is 1.

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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
