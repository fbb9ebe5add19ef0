//! `nuncio run`

use std::ffi::OsString;
use std::process::ExitCode;

use super::{RunArguments, complain, log, with_stored};
use crate::policy;
use crate::service::Service;
use crate::store::StoreError;

/// Starting it again changes nothing: service managers are told to leave it at that.
const NEEDS_SOMEBODY: u8 = 3;

pub(super) fn run(arguments: RunArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let sources = arguments
        .config
        .sources(environment.clone())
        .flag("--log-level", "log.level", arguments.log_level)
        .flag("--log-format", "log.format", arguments.log_format);
    // Read once: what is changed later while it runs is changed beside what the files say now.
    let sources = with_stored(sources.read_now());
    let loaded = match policy::load(&sources) {
        Ok(loaded) => loaded,
        Err(report) => {
            complain(&report);
            return ExitCode::FAILURE;
        }
    };
    let log_level = match log::init(&loaded.config.log) {
        Ok(log_level) => log_level,
        Err(error) => {
            eprintln!("nuncio: the log cannot be set up: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    for problem in loaded.report.problems() {
        tracing::warn!(place = %problem.place, "{}", problem.text);
    }
    // Before there are other threads.
    let service = match Service::from_environment(&environment) {
        Ok(service) => service,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(crate::run(sources, loaded, service, log_level)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("stopped: {error:#}");
            match error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()) {
                Some(error) if error.needs_somebody() => ExitCode::from(NEEDS_SOMEBODY),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
