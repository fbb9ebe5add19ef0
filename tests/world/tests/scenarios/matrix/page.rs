//! The matrix in `docs/interop.md`: written from a run, and compared with every run.
//!
//! `BLESS=1 cargo test -p nuncio-world --test interop -- matrix` writes it. Versions are not compared: another server
//! with the same results is no reason to fail.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Observed;
use super::table::{Expected, Row};

/// A line with what came of it: to the server, and from it.
pub(super) struct Line<'a> {
    pub(super) row: &'a Row,
    pub(super) results: &'a [Observed],
}

/// Compares the section of the page with the table that was seen, or writes it.
pub(super) fn compare(section: &str, version: &str, table: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/interop.md");
    let (begin, end) = (format!("<!-- matrix {section} -->\n"), format!("<!-- end {section} -->"));
    // Another section may be written at the same time.
    let file = fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    file.lock()?;
    let page = fs::read_to_string(&path)?;
    let split = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let (before, (committed, after)) =
        split.with_context(|| format!("no section {section} in {}", path.display()))?;
    let seen = format!("**{version}**\n\n{table}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{begin}{seen}{end}{after}"))?;
        return Ok(());
    }
    let without_version = |text: &str| text.split_once("\n\n").map(|(_, table)| table.to_owned());
    ensure!(
        without_version(committed) == without_version(&seen),
        "docs/interop.md says something else than this run (BLESS=1 writes it):\n{seen}"
    );
    Ok(())
}

pub(super) fn table(lines: &[Line<'_>]) -> String {
    let mut text = String::from(
        "| the server is set up for | its certificate | tls, sasl, dialback of its partner entry | we call it | it calls us \
         | remark |\n|---|---|---|---|---|---|\n",
    );
    for Line { row, results } in lines {
        let cell = |result: Option<&Observed>, expected: Expected| match (result, expected) {
            (Some(Observed::By(method)), _) => {
                let both_ways = if row.stance.goes_both_ways() { ", both ways" } else { "" };
                let acknowledged = if row.stance.acknowledges() { ", acknowledged" } else { "" };
                format!("{method}{both_ways}{acknowledged}")
            }
            // The gateway's line has times and addresses; what was looked for in it has not.
            (Some(Observed::Refused(_)), Expected::WeRefuse(why)) => format!("we refuse: “{why}”"),
            (Some(Observed::Refused(_)), Expected::TheyRefuse(why)) => format!("it refuses: “{why}”"),
            (Some(Observed::Refused(_)) | None, _) => String::new(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            row.stance,
            row.certificate,
            row.entry,
            cell(results.first(), row.to_server),
            cell(results.get(1), row.from_server),
            row.because,
        );
    }
    text
}
