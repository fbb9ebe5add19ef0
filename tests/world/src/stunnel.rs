//! stunnel between SIPp, which has no TLS in Debian, and the gateway.

use std::fs;
use std::net::SocketAddr;

use anyhow::Result;
use tokio::process::Command;

use crate::dns::path_with_sbin;
use crate::pki::Credential;
use crate::process::Process;
use crate::template::fill;
use crate::wait::listening;
use crate::world::{GATEWAY_SIP, World};

/// Takes plain SIP at `accept` and carries it to the gateway over TLS, presenting the credential.
pub async fn towards_gateway(world: &World, accept: SocketAddr, presents: &Credential) -> Result<Process> {
    let config = fill(
        include_str!("../../interop/stunnel-client.conf"),
        &[
            ("accept", &accept.to_string()),
            ("connect", &GATEWAY_SIP.to_string()),
            ("certificate", &presents.certificate_file.display().to_string()),
            ("key", &presents.key_file.display().to_string()),
            ("roots", &world.pki().roots_file().display().to_string()),
        ],
    )?;
    start(world, "stunnel-to-gateway", &config, accept).await
}

/// Takes the gateway's TLS at `accept` as the front end with the credential; the gateway must present a certificate.
pub async fn from_gateway(
    world: &World,
    accept: SocketAddr,
    connect: SocketAddr,
    presents: &Credential,
) -> Result<Process> {
    let config = fill(
        include_str!("../../interop/stunnel-server.conf"),
        &[
            ("accept", &accept.to_string()),
            ("connect", &connect.to_string()),
            ("certificate", &presents.certificate_file.display().to_string()),
            ("key", &presents.key_file.display().to_string()),
            ("roots", &world.pki().roots_file().display().to_string()),
        ],
    )?;
    start(world, "stunnel-from-gateway", &config, accept).await
}

async fn start(world: &World, name: &str, config: &str, accept: SocketAddr) -> Result<Process> {
    let file = world.folder().join(format!("{name}.conf"));
    fs::write(&file, config)?;
    let mut process = world.spawn(name, Command::new("stunnel").arg(&file).env("PATH", path_with_sbin()))?;
    listening(name, accept).await?;
    process.still_runs()?;
    Ok(process)
}
