//! schemathesis, which makes up requests by the description of the API, good ones and bad ones, and holds the answers against it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio::control::{Role, tokens};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
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

/// Where the control socket is to be had by TCP, for it knows no sockets of Unix. Nor are there the limits for strangers, who
/// do not come again when they have sent too much that is no HTTP; and this one means to.
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

/// The same over TCP, for who has a token. It comes from another address each time, for strangers who do not behave are not
/// heard for a while.
async fn relayed_with(town: &Town) -> Result<SocketAddr> {
    let (listener, remote) = (TcpListener::bind(town.somewhere(1, 8081)).await?, town.somewhere(1, REMOTE));
    let address = listener.local_addr()?;
    let from: Vec<_> = (0..100).map(|number| town.unused(number)).collect();
    tokio::spawn(async move {
        for from in from.into_iter().cycle() {
            let Ok((client, _)) = listener.accept().await else { return };
            tokio::spawn(carries(client, from, remote));
        }
    });
    Ok(address)
}

/// Carries one connection.
async fn carries(mut client: TcpStream, from: IpAddr, remote: SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let tls = nuncio::tls::ClientTls::new()?;
    let (mut gateway, _) =
        nuncio::tls::connect(socket.connect(remote).await?, &tls, "nuncio.contoso.com", None).await?;
    // However it ends, one of the two notices.
    let _ = copy_bidirectional(&mut client, &mut gateway).await;
    Ok(())
}

/// Where whoever has a token comes in.
const REMOTE: u16 = 8443;

/// What the made-up requests depend on: the same in every run, unless somebody wants others.
fn seed() -> Result<u64> {
    let seed = std::env::var("NUNCIO_SCHEMATHESIS_SEED").map_or(Ok(1), |text| text.parse());
    seed.context("NUNCIO_SCHEMATHESIS_SEED is no number")
}

#[tokio::test]
async fn schemathesis_finds_nothing_at_the_api_of_a_running_gateway() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let address = relayed(&town).await?;
    finds_nothing(&town, address, &[], 25).await?;
    gateway.still_runs()
}

#[tokio::test]
async fn schemathesis_finds_nothing_as_somebody_who_may_only_look() -> Result<()> {
    let mut town = Town::found().await?;
    let viewer = tokens::make("viewer", Role::Viewer);
    let (file, pki) = (town.folder().join("tokens"), town.folder().join("pki"));
    std::fs::write(&file, format!("{}\n", viewer.line))?;
    town.control_more = format!(
        "listen = \"{}\"\ntokens = {file:?}\ncertificate = {:?}\nkey = {:?}\n",
        town.somewhere(1, REMOTE),
        pki.join("gateway-sip.pem"),
        pki.join("gateway-sip.key"),
    );
    let mut gateway = town.gateway("").await?;
    let before = town.done(&["partner", "export"]).await?;
    let address = relayed_with(&town).await?;
    finds_nothing(&town, address, &["-H", &format!("Authorization: Bearer {}", viewer.token)], 8).await?;
    gateway.still_runs()?;
    ensure!(town.done(&["partner", "export"]).await? == before, "who may only look has changed something");
    let trail = town.done(&["audit", "--most", "1000"]).await?;
    let refused = |line: &str| line.contains("request.refused") && line.contains("viewer");
    ensure!(trail.lines().any(refused), "was he known at all?\n{trail}");
    let others = trail.lines().filter(|line| !line.contains("request.refused"));
    ensure!(!others.clone().any(|line| line.contains("viewer")), "{}", others.collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// So many requests for each operation, and what else it makes up.
async fn finds_nothing(town: &Town, address: SocketAddr, more: &[&str], examples: usize) -> Result<()> {
    let seed = seed()?;
    println!("NUNCIO_SCHEMATHESIS_SEED={seed}");
    let (seed, examples) = (seed.to_string(), examples.to_string());
    let output = Command::new(installed()?)
        .arg("run")
        .arg(described(town).await?)
        .args(more)
        .args(["--url", &format!("http://{address}")])
        // What the configuration refuses beyond its schema is refused here, too.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--seed", &seed, "--max-examples", &examples, "--no-shrink"])
        .args(["--workers", "1", "--request-timeout", "60"])
        // Who is answered before all of his body was read may find the connection closed with his next request.
        .args(["--request-retries", "3"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(town.folder())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "seed {seed}: {said}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("Tested: "), "{said}");
    ensure!(!town.log.text().contains("panicked at"), "{}", town.log.text());
    Ok(())
}
