//! Stands in for `systemctl` where systemd does not run, so that documented commands can be performed in tests. It is NOT
//! systemd: it reads ExecStart, ExecReload, User, Group, UMask, Environment, LimitNOFILE, RuntimeDirectory, StateDirectory,
//! LoadCredential and the timeouts of the installed unit and its drop-ins, and starts the program so; it sandboxes nothing.
//! Called `journalctl` it shows what the program has logged.

use std::path::Path;
use std::process::ExitCode;

use nuncio_packaging::stand_in;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let called = std::env::args_os().next().unwrap_or_default();
    let done = match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("journalctl") => stand_in::show_log(&arguments),
        _ => stand_in::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
