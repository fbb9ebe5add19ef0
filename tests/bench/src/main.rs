//! `nuncio-bench`: how many messages the gateway carries, what they cost, and how far that is from a bare relay.
//!
//! The program runs itself: the process without a hidden command plans and reports, and starts the generator, the sink
//! and the bare relay as processes of their own. `docs/benchmarks.md` says what is measured and how to read it.

mod child;
mod dns;
mod front_end;
mod gateway;
mod generator;
mod handshakes;
mod job;
mod partner;
mod pki;
mod plan;
mod presence;
mod process;
mod relay;
mod report;
mod rounds;
mod sessions;
mod sink;
mod tally;
mod template;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use job::{GeneratorJob, HandshakeJob, PresenceJob, RelayJob, SinkJob};

/// Measures the gateway and a bare relay on this machine.
#[derive(Parser, Debug)]
#[command(name = "nuncio-bench", max_term_width = 100)]
struct Arguments {
    /// A few hundred messages each way, to see that everything counts right; the times mean nothing.
    #[arg(long)]
    quick: bool,
    /// Runs per line of the table.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Length of one run, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Pairs of a SIP user and a contact.
    #[arg(long, default_value_t = 10_000)]
    pairs: u32,
    /// Measures only the lines whose name contains this ("relay", "sip", "xmpp", "memory", "lync", "presence", "presence-memory",
    /// "restart", "handshakes", "idle streams").
    #[arg(long)]
    only: Option<String>,
    /// Where the results go as JSON; absent: bench/ in the target folder.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Prints the section of docs/benchmarks.md that holds this machine's figures.
    #[arg(long)]
    markdown: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What the processes of a measurement are; started by the program itself.
#[derive(Subcommand, Debug)]
enum Role {
    #[command(hide = true)]
    Generator { job: String },
    #[command(hide = true)]
    Sink { job: String },
    #[command(hide = true)]
    Relay { job: String },
    #[command(hide = true)]
    End { job: String },
    #[command(hide = true)]
    House { job: String },
    #[command(hide = true)]
    Contacts { job: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.role {
        None => plan::run(&arguments),
        Some(Role::Generator { job }) => child::run::<GeneratorJob, _>(job, false, generator::run),
        Some(Role::Sink { job }) => child::run::<SinkJob, _>(job, false, sink::run),
        Some(Role::Relay { job }) => child::run::<RelayJob, _>(job, true, relay::run),
        Some(Role::End { job }) => child::run::<HandshakeJob, _>(job, true, handshakes::end::run),
        Some(Role::House { job }) => child::run::<PresenceJob, _>(job, false, presence::house::run),
        Some(Role::Contacts { job }) => child::run::<PresenceJob, _>(job, false, presence::contacts::run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nuncio-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
