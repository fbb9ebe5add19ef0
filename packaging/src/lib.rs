//! What a package holds besides the program, made from the program itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap_complete::Shell;

pub mod stand_in;
pub mod unit;

/// Writes man pages to `folder/man` and completions to `folder/completions`.
///
/// # Errors
/// The file system's.
pub fn write(folder: &Path) -> Result<()> {
    let [man, completions] = ["man", "completions"].map(|name| folder.join(name));
    for place in [&man, &completions] {
        // Commands that are gone have no page.
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place).with_context(|| format!("{} cannot be made", place.display()))?;
    }
    let command = nuncio::cli::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    compress(&man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "nuncio", &completions)?;
    }
    Ok(())
}

/// As Debian wants man pages, with nothing in them of when or where they were made.
fn compress(folder: &Path) -> Result<()> {
    let pages: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let status = Command::new("gzip").args(["-9", "-n"]).args(&pages).status().context("gzip")?;
    ensure!(status.success(), "gzip ended with {status}");
    Ok(())
}
