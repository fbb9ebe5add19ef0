//! The page about metrics, made of the catalog.

use std::fmt::Write as _;

use super::catalog::{self, Kind};

/// Where the page has its tables: everything behind this line is made.
pub const MARK: &str = "<!-- made of src/metrics/catalog.rs and src/gateway/counters.rs -->\n";

/// The tables of `docs/monitoring/metrics.md`.
pub fn markdown() -> String {
    let mut text = String::from("\n| metric | type | labels | |\n|---|---|---|---|\n");
    for family in catalog::all() {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let name = match family.kind {
            Kind::Histogram => family.name.to_owned(),
            other => format!("{}{}", family.name, other.suffix()),
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | {} | {} |",
            labels.join(", "),
            family.help.replace('|', "\\|")
        );
    }
    text
}
