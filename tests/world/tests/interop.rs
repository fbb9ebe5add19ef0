//! Interoperability with the real world: ejabberd, Prosody, SIPp behind stunnel, and peers that mean no good.
//!
//! `cargo test -p nuncio-world --test interop -- [NAME…] [--list]`. Every scenario has a world of its own.

mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    nuncio_world::runner::main(scenarios::ALL)
}
