//! Whether what is proposed would load: it is read as the configuration is read.

use serde::Serialize;

use super::gateway::LimitEntry;
use super::partner::PartnerEntry;
use crate::config::{Config, Severity, Sources};

/// A configuration that has all that must be there, and nothing that a partner could clash with.
const BASE: &str = r#"
[sip]
domains = ["nuncio.invalid"]
name = "sip.nuncio.invalid"
certificate = "c"
key = "k"
roots = "r"
listener = [{ bind = "127.0.0.1:5061" }]
front_end = [{ name = "f", certificate_names = ["f.nuncio.invalid"], next_hops = ["f.nuncio.invalid:5061"] }]
[xmpp]
listener = [{ bind = "127.0.0.1:5269" }]
[[certificate]]
domains = ["nuncio.invalid"]
certificate = "c"
key = "k"
"#;

/// An entry as it stands in the file.
#[derive(Serialize)]
struct Partners<'a> {
    partner: [&'a PartnerEntry; 1],
}

/// The entry in TOML, with its header.
pub(super) fn toml(entry: &PartnerEntry) -> String {
    toml::to_string(&Partners { partner: [entry] }).unwrap_or_default()
}

/// Whether the entry would load by itself.
pub(super) fn partner(entry: &PartnerEntry) -> Result<(), Vec<String>> {
    loads(&toml(entry))
}

/// Whether the limit would load by itself.
pub(super) fn limit(entry: &LimitEntry) -> Result<(), Vec<String>> {
    loads(&format!("[limits]\n{}\n", entry.line()))
}

pub(super) fn with_base(lines: &str) -> String {
    format!("{BASE}\n{lines}")
}

/// Whether these lines would load with everything else at its default.
pub(super) fn loads(lines: &str) -> Result<(), Vec<String>> {
    let sources = Sources::new().toml("import", with_base(lines)).trusting_paths();
    match Config::load(&sources, &|_, _| Ok(())) {
        Ok(_) => Ok(()),
        Err(report) => {
            let errors = report.problems().iter().filter(|problem| problem.severity == Severity::Error);
            Err(errors.map(|problem| problem.text.clone()).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_loads_alone() {
        assert_eq!(loads(""), Ok(()));
    }
}
