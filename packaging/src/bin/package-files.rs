//! Writes man pages and completions: `package-files FOLDER`. Part of `make package`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("usage: package-files FOLDER")?.into();
    nuncio_packaging::write(&folder)
}
