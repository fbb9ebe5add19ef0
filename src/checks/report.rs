//! What checks come to: one form for people, programs and exit codes.

use std::collections::HashSet;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::connectivity::{ConnectivityError, Whom, connectivity};
use super::{Finding, Findings, Level, blocks, certificates, dns, keys, policy, state};
use crate::config::{self, Config, SetAside, Severity};
use crate::dns::{Dns, DnsConfig};
use crate::store;

/// What can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The configuration by itself.
    Config,
    /// Certificates and keys.
    Certs,
    /// Records in DNS.
    Dns,
    /// Whether partners, front ends and our own listeners can be reached.
    Connectivity,
    /// The state directory and the database.
    Store,
}

impl What {
    /// Everything, in the order in which it is best mended.
    pub const ALL: [Self; 5] = [Self::Config, Self::Certs, Self::Store, Self::Dns, Self::Connectivity];

    /// Its word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Certs => "certs",
            Self::Dns => "dns",
            Self::Connectivity => "connectivity",
            Self::Store => "store",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Which check it was.
    pub check: What,
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
}

/// What all checks found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worst of it.
    pub level: Level,
    /// How many things do not work.
    pub errors: usize,
    /// How many do, perhaps not with everybody or not for long.
    pub warnings: usize,
    /// Each check.
    pub checks: Vec<Checked>,
}

impl Report {
    /// Of what these checks found. What one has told already is not told by another again.
    pub fn new(mut checks: Vec<Checked>) -> Self {
        let mut told = HashSet::new();
        let name = |finding: &Finding| (finding.subject.clone(), finding.text.clone());
        for checked in &mut checks {
            checked.findings.retain(|finding| !told.contains(&name(finding)));
            told.extend(checked.findings.iter().map(name));
        }
        let count = |level| all(&checks).filter(|finding| finding.level == level).count();
        Self {
            level: all(&checks).map(|finding| finding.level).max().unwrap_or(Level::Good),
            errors: count(Level::Wrong),
            warnings: count(Level::Warning),
            checks,
        }
    }

    /// Whether anything does not work.
    pub fn is_wrong(&self) -> bool {
        self.level == Level::Wrong
    }
}

fn all(checks: &[Checked]) -> impl Iterator<Item = &Finding> {
    checks.iter().flat_map(|checked| &checked.findings)
}

/// Does one check. Nothing is changed. Where it has to go to the world, it takes as long as the limits of the configuration
/// allow; `whom` is for [`What::Connectivity`]. What keeps a check from being made is a finding of it.
pub async fn look(config: &Config, what: What, whom: &Whom, now: SystemTime) -> Checked {
    let findings = match what {
        What::Config => {
            let mut findings = Findings::default();
            policy(config, false, &mut findings);
            [findings.into_list(), blocks::check(config).await].concat()
        }
        What::Certs => [certificates(config, now), keys(config)].concat(),
        What::Store => stored(config),
        What::Dns => {
            let servers = config.dns.servers.clone().unwrap_or_default();
            match Dns::new(&DnsConfig { servers, timeout: config.dns.timeout }) {
                Ok(resolver) => dns::compare(config, &resolver).await,
                Err(error) => cannot("DNS", error.to_string(), "name the servers in dns.servers"),
            }
        }
        What::Connectivity => match connectivity(config, whom).await {
            Ok(findings) => findings,
            Err(error @ ConnectivityError::Unknown(_)) => cannot(
                "connections",
                error.to_string(),
                "“nuncio partner list” has the partners, “nuncio check config” the front ends",
            ),
            Err(error @ ConnectivityError::Setup(_)) => cannot(
                "connections",
                error.to_string(),
                "“nuncio check config” and “nuncio check certs” say what to do about it",
            ),
        },
    };
    Checked { check: what, findings }
}

fn cannot(subject: &str, text: String, fix: &str) -> Vec<Finding> {
    let mut findings = Findings::default();
    findings.about(subject.to_owned());
    findings.wrong(text, fix.to_owned());
    findings.into_list()
}

/// The directory, and all of the database, which is read from end to end.
fn stored(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    state::check(config, &mut findings);
    let broken = findings.list.iter().any(|finding| finding.level == Level::Wrong);
    // What cannot be opened was spoken of, and what is not there yet cannot be damaged.
    if broken || !config.node.state_dir.join(store::FILE).exists() {
        return findings.into_list();
    }
    if let Ok(checked) = store::check(&config.node.state_dir) {
        findings.about(format!("[node] state_dir, store {}", checked.path.display()));
        if checked.findings.is_empty() {
            findings.good(format!("it is whole ({} KiB)", checked.bytes / 1024));
        }
        for damage in &checked.findings {
            let fix =
                "stop the gateway, keep a copy of the three files nuncio.db*, and restore the last backup";
            findings.wrong(format!("it is damaged: {damage}"), fix.to_owned());
        }
    }
    findings.into_list()
}

/// Stored entries that do not hold for what is wrong with them, as findings.
pub fn set_aside(list: &[SetAside]) -> Vec<Finding> {
    let finding = |aside: &SetAside| Finding {
        level: Level::Wrong,
        subject: format!("stored {} {}", aside.kind, aside.name),
        text: format!("it is set aside, and does not hold: {}", aside.why.join("; ")),
        fix: Some(format!(
            "mend that, and have it read again (nuncio reload); or change it: nuncio {} set",
            aside.kind
        )),
    };
    list.iter().filter(|aside| !aside.declared).map(finding).collect()
}

/// What reading the configuration found, as findings.
pub fn problems(report: &config::Report) -> Vec<Finding> {
    let finding = |problem: &config::Problem| Finding {
        level: match problem.severity {
            Severity::Error => Level::Wrong,
            Severity::Warning => Level::Warning,
        },
        subject: problem.place.clone(),
        text: problem.text.clone(),
        fix: None,
    };
    report.problems().iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_as_bad_as_the_worst_of_it() {
        let finding = |level| Finding { level, subject: "x".into(), text: "y".into(), fix: None };
        let of = |levels: &[Level]| {
            let findings = levels.iter().map(|level| finding(*level)).collect();
            Report::new(vec![Checked { check: What::Dns, findings }])
        };
        let none = of(&[]);
        assert_eq!((none.level, none.errors, none.warnings), (Level::Good, 0, 0));
        let some = of(&[Level::Warning, Level::Good, Level::Warning]);
        assert_eq!((some.level, some.errors, some.warnings, some.is_wrong()), (Level::Warning, 0, 2, false));
        assert!(of(&[Level::Good, Level::Wrong, Level::Note]).is_wrong());
    }

    #[test]
    fn programs_read_words_and_no_fix_where_there_is_none() {
        let good = Finding { level: Level::Good, subject: "a".into(), text: "b".into(), fix: None };
        let wrong = Finding { level: Level::Wrong, fix: Some("c".into()), ..good.clone() };
        let report = Report::new(vec![Checked { check: What::Certs, findings: vec![good, wrong] }]);
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({
                "level": "wrong", "errors": 1, "warnings": 0,
                "checks": [{ "check": "certs", "findings": [
                    { "level": "good", "subject": "a", "text": "b" },
                    { "level": "wrong", "subject": "a", "text": "b", "fix": "c" },
                ]}],
            })
        );
    }
}
