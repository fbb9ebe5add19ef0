//! schemathesis, which makes up requests by the description of the API, good ones and bad ones, and holds the answers against it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::town::Town;

/// Where `tests/setup/install-schemathesis.sh` puts it.
fn installed() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let file = cache.or_else(home).context("no HOME")?.join("nuncio/schemathesis/bin/schemathesis");
    ensure!(file.exists(), "there is no {}: `make setup` installs it", file.display());
    Ok(file)
}

#[tokio::test]
async fn schemathesis_finds_nothing_at_the_api_of_a_running_gateway() -> Result<()> {
    let mut town = Town::found().await?;
    let keys = town.opens_control()?;
    let mut gateway = town.gateway("").await?;
    let output = Command::new(installed()?)
        .args([
            "run",
            &format!("https://{}/v1/openapi.json", town.somewhere(1, 8443)),
            "--tls-verify",
            "false",
        ])
        .args(["-H", &format!("Authorization: Bearer {}", keys.admin.token)])
        // What the configuration refuses beyond its schema is refused here, too. Who shows no token, or a wrong one, is another
        // test's: after some of it nobody is heard from this address.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance,ignored_auth"])
        // The same in every run.
        .args([
            "--seed",
            "1",
            "--workers",
            "1",
            "--max-examples",
            "6",
            "--no-shrink",
            "--request-timeout",
            "60",
        ])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(town.folder())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("Tested: "), "{said}");
    gateway.still_runs()?;
    ensure!(!town.log.text().contains("panicked at"), "{}", town.log.text());
    Ok(())
}
