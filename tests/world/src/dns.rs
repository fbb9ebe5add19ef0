//! DNS: dnsmasq with the zone of `tests/interop/zone.conf`, and no name beyond it but those a scenario adds.

use std::fs;

use anyhow::Result;
use tokio::process::Command;

use crate::process::Process;
use crate::sandbox::DNS_SERVER;
use crate::template::fill;
use crate::wait::listening;
use crate::world::{
    FABRIKAM, FRONT_END, FRONT_END_2, GATEWAY, NORTHWIND, POOL, POOL_2, TAILSPIN, WINGTIP, World,
};

/// What a scenario changes in the zone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes<'a> {
    /// Lines of dnsmasq's configuration.
    pub more: &'a str,
    /// Lines with one of these names are left out.
    pub without: &'a [&'a str],
}

/// Starts the server and waits until it answers.
pub async fn start(world: &World, changes: Changes<'_>) -> Result<Process> {
    let zone = fill(
        include_str!("../../interop/zone.conf"),
        &[
            ("dns", DNS_SERVER),
            ("gateway", &GATEWAY.to_string()),
            ("front_end", &FRONT_END.to_string()),
            ("front_end_2", &FRONT_END_2.to_string()),
            ("pool", &POOL.to_string()),
            ("pool_2", &POOL_2.to_string()),
            ("fabrikam", &FABRIKAM.to_string()),
            ("northwind", &NORTHWIND.to_string()),
            ("wingtip", &WINGTIP.to_string()),
            ("tailspin", &TAILSPIN.to_string()),
        ],
    )?;
    let mut zone: String = zone
        .lines()
        .filter(|line| !changes.without.iter().any(|name| line.contains(name)))
        .map(|line| format!("{line}\n"))
        .collect();
    zone += changes.more;
    let file = world.folder().join("zone.conf");
    fs::write(&file, zone)?;
    let mut command = Command::new("dnsmasq");
    command.arg("--no-daemon").arg(format!("--conf-file={}", file.display())).env("PATH", path_with_sbin());
    let process = world.spawn("dnsmasq", &mut command)?;
    listening("dnsmasq", format!("{DNS_SERVER}:53").parse()?).await?;
    Ok(process)
}

/// Debian keeps servers out of an ordinary user's path.
pub fn path_with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
