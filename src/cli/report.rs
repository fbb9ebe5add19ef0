//! What checks found, for people and for programs.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::checks::{Finding, Level, Report};

/// What was found, and a verdict on it; `warnings` were given before.
pub(super) fn findings_text(findings: &[Finding], warnings: usize) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    list(findings) + &verdict(count(Level::Wrong), count(Level::Warning) + warnings)
}

/// The same of several checks.
pub(super) fn report_text(report: &Report) -> String {
    let mut text = String::new();
    for checked in &report.checks {
        if let [_, _, ..] = report.checks.as_slice() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n== {}", checked.check.as_str());
        }
        text.push_str(&list(&checked.findings));
        if checked.findings.is_empty() {
            text.push_str("\nNothing to find fault with.\n");
        }
    }
    text + &verdict(report.errors, report.warnings)
}

fn list(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut subject = "";
    for finding in findings {
        if subject != finding.subject {
            subject = &finding.subject;
            // Writing to a String cannot fail.
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
    text
}

fn verdict(wrong: usize, warnings: usize) -> String {
    let plural = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
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
    format!("\n{verdict}\n")
}

/// Writes to standard output.
pub(super) fn say(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever reads only the beginning has closed it; anybody else takes half an export for a whole one.
            if error.kind() != ErrorKind::BrokenPipe {
                eprintln!(
                    "nuncio: standard output cannot be written to: {error}; what is there is not whole"
                );
            }
            ExitCode::FAILURE
        }
    }
}

/// The same for programs.
pub(super) fn say_json(value: &impl Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say(&(text + "\n")),
        Err(error) => {
            eprintln!("nuncio: {error}");
            ExitCode::FAILURE
        }
    }
}
