//! A page of the documentation as what is to be done, in order.

use anyhow::{Context as _, Result, bail, ensure};

/// One thing after the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A block of commands, as it stands on the page.
    Run(String),
    /// What the block before it has printed, as the page shows it: `…` stands for anything.
    Shown(String),
    /// What somebody else does at this point, who has no command on this page.
    Here(String),
}

/// The steps of a page: blocks fenced as `sh` and `text`, and `<!-- here: … -->`. Others are not run.
pub(crate) fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(what) = line.strip_prefix("<!-- here: ").and_then(|rest| rest.strip_suffix(" -->")) {
            steps.push(Step::Here(what.to_owned()));
        }
        let Some(language) = line.strip_prefix("```") else {
            ensure!(!line.starts_with("    "), "a block that is indented, and nobody would run: {line}");
            continue;
        };
        let mut block = String::new();
        loop {
            match lines.next() {
                Some("```") => break,
                Some(line) => block += &format!("{line}\n"),
                None => bail!("a block has no end: {block}"),
            }
        }
        match language {
            "sh" => steps.push(Step::Run(block)),
            "text" => {
                ensure!(matches!(steps.last(), Some(Step::Run(..))), "printed by no command: {block}");
                steps.push(Step::Shown(block));
            }
            "powershell" | "toml" => {}
            other => bail!("a block in {other:?}"),
        }
    }
    Ok(steps)
}

/// The commands in the middle column of the table of a section.
pub(crate) fn asked<'a>(page: &'a str, section: &str) -> Result<Vec<&'a str>> {
    let (_, rest) =
        page.split_once(&format!("\n## {section}\n")).with_context(|| format!("no section {section}"))?;
    let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cell = row.split('|').nth(2).map(str::trim).unwrap_or_default();
        let command = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
        command.with_context(|| format!("no command: {row}"))
    })
    .collect()
}

/// Whether `said` has the lines that the page shows, in this order; a line `…` stands for any number of lines, and within a
/// line it stands for any text.
pub(crate) fn compare(shown: &str, said: &str) -> Result<()> {
    let mut lines = said.lines().map(str::trim_end);
    let mut gap = true;
    for expected in shown.lines().map(str::trim_end) {
        if expected == "…" {
            gap = true;
            continue;
        }
        let found = if gap {
            lines.any(|line| fits(expected, line))
        } else {
            lines.next().is_some_and(|line| fits(expected, line))
        };
        ensure!(found, "the page shows\n  {expected}\nand this was printed:\n{said}");
        gap = false;
    }
    Ok(())
}

/// Whether the pieces between `…` stand in the line in this order, with nothing else before the first and after the last.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(mut line) = line.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('…').map_or(("", rest), |(middle, last)| (middle, last));
    for piece in middle.split('…') {
        let Some(at) = line.find(piece) else { return false };
        line = &line[at + piece.len()..];
    }
    line.ends_with(last)
}
