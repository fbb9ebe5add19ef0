//! Stands in for `systemctl` where systemd does not run, so that documented commands can be performed in tests. It is NOT
//! systemd: it reads ExecStart, ExecReload, User, Group, UMask, Environment, LimitNOFILE, RuntimeDirectory, StateDirectory,
//! LoadCredential and the timeouts of the installed unit and its drop-ins, and starts the program so; it sandboxes nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match nuncio_packaging::stand_in::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
