//! schemathesis, which makes up requests by the description of the API, good ones and bad ones, and holds the answers against it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
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

/// Where the control socket is to be had by TCP, for it knows no sockets of Unix. Nor are there the limits for strangers, who do not
/// come again when they have sent too much that is no HTTP; and this one means to.
async fn relayed(town: &Town) -> Result<SocketAddr> {
    let (listener, socket) = (TcpListener::bind(town.somewhere(1, 8080)).await?, town.control());
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                if let Ok(mut gateway) = UnixStream::connect(socket).await {
                    // However it ends, one of the two notices.
                    let _ = copy_bidirectional(&mut client, &mut gateway).await;
                }
            });
        }
    });
    Ok(address)
}

/// The description, but for tokens: on the socket it is the kernel that says who asks.
async fn described(town: &Town) -> Result<PathBuf> {
    let reply = Client::new(town.control()).ask(Method::GET, "/v1/openapi.json", None).await?;
    let mut description = reply.json().context("no JSON")?;
    for path in description["paths"].as_object_mut().into_iter().flatten() {
        for operation in path.1.as_object_mut().into_iter().flatten() {
            operation.1.as_object_mut().map(|operation| operation.remove("security"));
        }
    }
    let file = town.folder().join("openapi.json");
    std::fs::write(&file, description.to_string())?;
    Ok(file)
}

#[tokio::test]
async fn schemathesis_finds_nothing_at_the_api_of_a_running_gateway() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let address = relayed(&town).await?;
    let output = Command::new(installed()?)
        .arg("run")
        .arg(described(&town).await?)
        .args(["--url", &format!("http://{address}")])
        // What the configuration refuses beyond its schema is refused here, too.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
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
        // Who is answered before all of his body was read may find the connection closed with his next request.
        .args(["--request-retries", "3"])
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
