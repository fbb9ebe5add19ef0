//! `nuncio check`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use super::{ConfigArguments, complain, load};
use crate::checks::{self, Finding, Level};
use crate::config::{Config, Listener, TlsBackend};

pub(super) fn config(arguments: &ConfigArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    match load(&arguments.sources(environment)) {
        Ok((config, report)) => {
            eprint!("{report}");
            let findings = checks::all(&config, SystemTime::now());
            let warnings = report.problems().len();
            let text = format!("{}\n{}", summary(&config), findings_text(&findings, warnings));
            let wrong = findings.iter().any(|finding| finding.level == Level::Wrong);
            match std::io::stdout().write_all(text.as_bytes()) {
                Ok(()) if !wrong => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
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
    let mut text = String::from("The configuration can be used. It says:\n\n");
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<14} {value}");
    };
    line("node", format!("{}, state in {}", config.node.label, config.node.state_dir.display()));
    line("domains", join(config.sip.domains.iter().map(|domain| domain.to_unicode())));
    line("SIP", format!("listens on {}, calls itself {}", listeners(&config.sip.listeners), config.sip.name));
    for identity in &config.sip.identities {
        line("  identity", format!("{} for {}", identity.name, join(identity.types.iter())));
    }
    for front_end in &config.sip.front_ends {
        line(
            "  front end",
            format!(
                "{}: {} for {}, certificate {}{}",
                front_end.name,
                join(front_end.next_hops.iter()),
                join(front_end.domains.iter().map(|domain| domain.to_unicode())),
                join_or(front_end.certificate_names.iter()),
                match front_end.tls_backend {
                    TlsBackend::Rustls => "",
                    TlsBackend::OpensslLegacy => ", TLS 1.2 also with CBC",
                },
            ),
        );
    }
    line("policy", config.policy.to_string());
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
        let methods = partner.methods();
        line("  partner", format!("{domains}: {}, {}{disabled}", partner.partner_type, methods.in_words()));
    }
    if let Some(more @ 1..) = config.partners.len().checked_sub(SHOWN) {
        line("  partner", format!("… and {more} more"));
    }
    text
}

/// What was looked at, and how it is; `warnings` were given before.
fn findings_text(findings: &[Finding], warnings: usize) -> String {
    let mut text = String::from("What it names was looked at");
    // Who looks decides what may be read and written.
    let _ = writeln!(text, ", as user {}:", rustix::process::geteuid().as_raw());
    let mut subject = "";
    for finding in findings {
        if subject != finding.subject {
            subject = &finding.subject;
            let _ = writeln!(text, "\n{subject}");
        }
        let level = match finding.level {
            Level::Good => "good",
            Level::Note => "note",
            Level::Warning => "WARNING",
            Level::Wrong => "ERROR",
        };
        let _ = writeln!(text, "  {level:<8} {}", finding.text);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(text, "  {:<8} fix: {fix}", "");
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let (wrong, warnings) = (count(Level::Wrong), count(Level::Warning) + warnings);
    let verdict = match (wrong, warnings) {
        (0, 0) => "Everything is right.".to_owned(),
        (0, _) => format!("It works, with {}.", plural(warnings, "warning")),
        (_, 0) => format!("{}: what is named there will not work.", plural(wrong, "error")),
        _ => format!(
            "{} and {}: what is named there will not work.",
            plural(wrong, "error"),
            plural(warnings, "warning")
        ),
    };
    let _ = writeln!(text, "\n{verdict}");
    text
}

fn listeners(listeners: &[Listener]) -> String {
    join(listeners.iter().map(|listener| {
        let only = if listener.only_v6 { " (IPv6 only)" } else { "" };
        let direct = if listener.direct_tls { " (Direct TLS)" } else { "" };
        format!("{}{only}{direct}", listener.bind)
    }))
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn join_or(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" or ")
}
