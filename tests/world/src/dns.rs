//! DNS: dnsmasq with the zone of `tests/interop/zone.conf`, and no name beyond it.

use std::fs;

use anyhow::Result;
use tokio::process::Command;

use crate::process::Process;
use crate::sandbox::DNS_SERVER;
use crate::template::fill;
use crate::wait::listening;
use crate::world::{FABRIKAM, FRONT_END, GATEWAY, TAILSPIN, WINGTIP, World};

/// Starts the server and waits until it answers.
pub async fn start(world: &World) -> Result<Process> {
    let zone = fill(
        include_str!("../../interop/zone.conf"),
        &[
            ("dns", DNS_SERVER),
            ("gateway", &GATEWAY.to_string()),
            ("front_end", &FRONT_END.to_string()),
            ("fabrikam", &FABRIKAM.to_string()),
            ("wingtip", &WINGTIP.to_string()),
            ("tailspin", &TAILSPIN.to_string()),
        ],
    )?;
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
