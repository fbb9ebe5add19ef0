//! Prosody: its configuration and how it is started.
//!
//! Debian's Prosody changes to user `prosody` unless it is told that it may be root; inside a world everybody is.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::pki::Credential;
use crate::template::fill;
use crate::world::World;
use crate::xmpp_server::{DIRECT_TLS, Setup, Tls};

/// Writes the configuration for these domains.
pub(crate) fn configure(
    world: &World,
    folder: &Path,
    address: IpAddr,
    domains: &[(&str, &Credential)],
    setup: &Setup,
) -> Result<()> {
    let mut modules = String::new();
    for (name, wanted) in [
        ("tls", setup.tls != Tls::Off || setup.direct_tls),
        ("dialback", setup.dialback),
        ("s2s_bidi", setup.bidi),
        ("smacks", setup.acks),
        ("limits", setup.throttled),
    ] {
        if wanted {
            let _ = write!(modules, "\n    \"{name}\";");
        }
    }
    let mut hosts = String::new();
    for (domain, credential) in domains {
        let _ = write!(hosts, "\nVirtualHost \"{domain}\"\n");
        // The second is for those who say whom they want.
        for key in ["ssl", "s2s_direct_tls_ssl"] {
            let _ = writeln!(
                hosts,
                "    {key} = {{ certificate = \"{}\"; key = \"{}\" }}",
                credential.certificate_file.display(),
                credential.key_file.display()
            );
        }
    }
    let mut direct_tls = String::new();
    if setup.direct_tls {
        // The first certificate is for those who do not say whom they want (ejabberd does not).
        let (_, first) = domains.first().context("a server without a domain")?;
        let _ = write!(
            direct_tls,
            "s2s_direct_tls_ports = {{ {DIRECT_TLS} }}\n\
             s2s_direct_tls_ssl = {{ certificate = \"{}\"; key = \"{}\" }}\n",
            first.certificate_file.display(),
            first.key_file.display()
        );
    }
    let roots = if setup.knows_us { world.pki().roots_file() } else { world.pki().other_roots_file() };
    let config = fill(
        include_str!("../../interop/prosody.cfg.lua"),
        &[
            ("folder", &folder.display().to_string()),
            ("address", &address.to_string()),
            ("roots", &roots.display().to_string()),
            ("modules", &modules),
            ("direct_tls", &direct_tls),
            ("require_encryption", if setup.tls == Tls::Required { "true" } else { "false" }),
            ("secure_auth", if setup.dialback { "false" } else { "true" }),
            ("hosts", &hosts),
        ],
    )?;
    fs::create_dir_all(folder.join("data"))?;
    Ok(fs::write(folder.join("prosody.cfg.lua"), config)?)
}

/// Starts it with the configuration in the folder.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new("prosody");
    command
        .arg("-F")
        .arg("--config")
        .arg(folder.join("prosody.cfg.lua"))
        .env("HOME", folder)
        .current_dir(folder);
    command
}
