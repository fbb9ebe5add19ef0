//! Why a change of the configuration is not made, in words that say what to do instead.

use super::InForce;
use crate::config::{GLOBAL, Kind, Report, Severity, shown};

/// Why nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// It could not be loaded.
    #[error("{0}")]
    Configuration(Report),
    /// So it could not, and it is one that is set aside: other keys of it cannot be changed alone.
    #[error("{report}")]
    StaysAside { kind: Kind, name: String, report: Report },
    /// It could be read, and not be put in force.
    #[error("{0}")]
    Unusable(String),
    /// There is no such entry.
    #[error("{}", absent(*.0, .1))]
    Absent(Kind, String),
    /// There is one.
    #[error("there is a {0} {name} already; change that one: nuncio {0} set {name} KEY=VALUE", name = shown(.1))]
    Exists(Kind, String),
    /// It is in a file.
    #[error(
        "{kind} {name} is declared at {place}: what is in a file is changed there, and takes effect with nuncio reload{}",
        beside(*.kind, .name, *.stored), name = shown(.name)
    )]
    Declared {
        kind: Kind,
        name: String,
        place: String,
        /// One of that name is stored as well, and set aside.
        stored: bool,
    },
}

impl Refused {
    /// For the log: every reason, and no excerpt of the file.
    pub fn in_a_line(&self) -> String {
        let (Self::Configuration(report) | Self::StaysAside { report, .. }) = self else {
            return self.to_string();
        };
        let errors = report.problems().iter().filter(|problem| problem.severity == Severity::Error);
        let reasons: Vec<String> =
            errors.map(|problem| format!("{}: {}", problem.place, problem.text)).collect();
        reasons.join("; ").split('\n').map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

fn absent(kind: Kind, name: &str) -> String {
    match (kind, name) {
        (Kind::Policy, GLOBAL) => "nothing is stored of the policy global, which stands for the keys of [policy] and cannot go: to change \
             what holds, nuncio policy set global KEY=VALUE, such as enabled=false; what a file says is changed there"
            .to_owned(),
        _ => format!("there is no {kind} {}", shown(name)),
    }
}

/// What is to be done with the other one of this name.
fn beside(kind: Kind, name: &str, stored: bool) -> String {
    match stored {
        true => format!(
            "; the stored one of this name is set aside for it, and goes with nuncio {kind} remove {}",
            shown(name)
        ),
        false => String::new(),
    }
}

/// What was set aside cannot be used with this change either: then it is not the change alone that is wrong.
pub(super) fn stays_aside<'s>(
    refused: Refused,
    before: &InForce,
    mut changed: impl Iterator<Item = (Kind, &'s str)>,
) -> Refused {
    let Refused::Configuration(report) = refused else { return refused };
    let was_aside = |kind: Kind, name: &str| {
        let mut aside = before.loaded.set_aside.iter().filter(|aside| !aside.declared);
        aside.any(|aside| aside.is(kind, name))
    };
    let is_wrong = |kind: Kind, name: &str| {
        let mut of = report.problems().iter().filter_map(|problem| problem.stored.as_ref());
        of.any(|(other, wrong)| *other == kind && *wrong == kind.normalise(name))
    };
    let aside = changed.find(|(kind, name)| was_aside(*kind, name) && is_wrong(*kind, name));
    match aside.map(|(kind, name)| (kind, name.to_owned())) {
        Some((kind, name)) => Refused::StaysAside { kind, name, report },
        None => Refused::Configuration(report),
    }
}
