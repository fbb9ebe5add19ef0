//! `nuncio check`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use super::{ConfigArguments, complain, load};
use crate::config::{Config, Listener};

pub(super) fn config(arguments: &ConfigArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    match load(&arguments.sources(environment)) {
        Ok((config, report)) => {
            eprint!("{report}");
            match std::io::stdout().write_all(summary(&config).as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(report) => {
            complain(&report);
            ExitCode::FAILURE
        }
    }
}

/// What the configuration amounts to, for people.
fn summary(config: &Config) -> String {
    let mut text = String::from("The configuration is right.\n\n");
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<14} {value}");
    };
    line("node", format!("{}, state in {}", config.node.label, config.node.state_dir.display()));
    line("domains", join(config.sip.domains.iter().map(|domain| domain.to_unicode())));
    line("SIP", format!("listens on {}, calls itself {}", listeners(&config.sip.listeners), config.sip.name));
    for front_end in &config.sip.front_ends {
        line(
            "  front end",
            format!(
                "{}: {} for {}, certificate {}",
                front_end.name,
                join(front_end.next_hops.iter()),
                join(front_end.domains.iter().map(|domain| domain.to_unicode())),
                join_or(front_end.certificate_names.iter()),
            ),
        );
    }
    line("XMPP", format!("listens on {}", listeners(&config.xmpp.listeners)));
    for (identity, domains) in config.certificates.iter() {
        let domains = join(domains.iter().map(|domain| domain.to_unicode()));
        line("  certificate", format!("{} for {domains}", identity.certificate.display()));
    }
    let roots = config
        .xmpp
        .roots
        .as_ref()
        .map_or_else(|| "those of the system".into(), |roots| roots.to_string_lossy());
    line("  roots", roots.into_owned());
    let servers = config
        .dns
        .servers
        .as_ref()
        .map_or_else(|| "those of the system".to_owned(), |list| join(list.iter()));
    line("DNS", servers);
    line("partners", config.partners.len().to_string());
    const SHOWN: usize = 20;
    for partner in config.partners.iter().take(SHOWN) {
        let domains = join(partner.domains().map(|domain| domain.to_unicode()));
        let disabled = if partner.enabled { "" } else { ", disabled" };
        line("  partner", format!("{domains}: {}{disabled}", partner.partner_type));
    }
    if let Some(more @ 1..) = config.partners.len().checked_sub(SHOWN) {
        line("  partner", format!("… and {more} more"));
    }
    text
}

fn listeners(listeners: &[Listener]) -> String {
    join(listeners.iter().map(|listener| {
        let only = if listener.only_v6 { " (IPv6 only)" } else { "" };
        format!("{}{only}", listener.bind)
    }))
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn join_or(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" or ")
}
