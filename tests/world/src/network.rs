//! Faults of the network, made with nftables in the world's own namespace.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::dns::path_with_sbin;

/// Packets to and from a port of an address vanish.
#[derive(Debug)]
#[must_use]
pub struct BlackHole(());

impl BlackHole {
    /// From now on they do: those to and from that port at the address, and those from the address to that port elsewhere.
    pub async fn dig(address: IpAddr, port: u16) -> Result<Self> {
        let mut rules = "table ip hole { chain input { type filter hook input priority 0;\n".to_owned();
        for (one, other) in [("s", "s"), ("s", "d"), ("d", "s"), ("d", "d")] {
            rules += &format!("ip {one}addr {address} tcp {other}port {port} drop\n");
        }
        nft(&(rules + "}\n}")).await?;
        Ok(Self(()))
    }

    /// From now on they arrive again.
    pub async fn fill(self) -> Result<()> {
        nft("delete table ip hole").await
    }
}

/// Connections to and from a port of an address are reset by whichever packet comes next.
#[derive(Debug)]
#[must_use]
pub struct Cut(());

impl Cut {
    /// From now on each packet is answered with a reset, and does not arrive.
    pub async fn begin(address: IpAddr, port: u16) -> Result<Self> {
        // A reset goes the way of the packets, and must not be answered with another one.
        let mut rules =
            "table ip cut { chain input { type filter hook input priority 0;\ntcp flags rst accept\n"
                .to_owned();
        for end in ["d", "s"] {
            rules += &format!("ip {end}addr {address} tcp {end}port {port} reject with tcp reset\n");
        }
        nft(&(rules + "}\n}")).await?;
        Ok(Self(()))
    }

    /// From now on packets arrive again.
    pub async fn end(self) -> Result<()> {
        nft("delete table ip cut").await
    }
}

async fn nft(rules: &str) -> Result<()> {
    let mut command = Command::new("nft");
    let output =
        command.arg(rules).env("PATH", path_with_sbin()).output().await.context("cannot start nft")?;
    ensure!(output.status.success(), "nft {rules}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
