//! The program `nuncio`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nuncio::cli::main(std::env::args_os(), std::env::vars_os())
}
