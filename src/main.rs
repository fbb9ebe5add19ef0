//! The program `nuncio`; everything is in the library.

use std::process::ExitCode;

/// Buffers and messages are made by one task and dropped by another all the time, on which this allocator does better
/// than that of the C library (measured; docs/architecture.md, "Decisions").
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nuncio::cli::main(std::env::args_os(), std::env::vars_os())
}
