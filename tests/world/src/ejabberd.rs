//! ejabberd: its configuration and how it is started.
//!
//! It is started by `erl` and not by `ejabberdctl`: the script insists on changing to user `ejabberd`, who does not exist
//! inside a user namespace, and on Erlang distribution, whose port mapper and cookie are shared by all of a machine.
//! Without a node name there is neither.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::pki::Credential;
use crate::sandbox::DNS_SERVER;
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
    ensure!(!setup.bidi && !setup.acks && !setup.throttled, "ejabberd cannot be set up like that: {setup:?}");
    let list = |lines: Vec<String>| lines.iter().map(|line| format!("\n  - \"{line}\"")).collect::<String>();
    let hosts = list(domains.iter().map(|(domain, _)| (*domain).to_owned()).collect());
    let bundles =
        list(domains.iter().map(|(_, credential)| credential.bundle_file.display().to_string()).collect());
    let direct_tls = if setup.direct_tls {
        format!(
            "\n  - port: {DIRECT_TLS}\n    ip: \"{address}\"\n    module: ejabberd_s2s_in\n    \
             max_stanza_size: 524288\n    shaper: none\n    tls: true"
        )
    } else {
        String::new()
    };
    let roots = if setup.knows_us { world.pki().roots_file() } else { world.pki().other_roots_file() };
    let config = fill(
        include_str!("../../interop/ejabberd.yml"),
        &[
            ("hosts", &hosts),
            ("certificates", &bundles),
            ("roots", &roots.display().to_string()),
            ("address", &address.to_string()),
            ("direct_tls", &direct_tls),
            (
                "starttls",
                match setup.tls {
                    Tls::Required => "required",
                    Tls::Optional => "optional",
                    Tls::Off => "false",
                },
            ),
            ("dialback", if setup.dialback { "\n  mod_s2s_dialback: {}" } else { "" }),
        ],
    )?;
    fs::write(folder.join("ejabberd.yml"), config)?;
    let dns = DNS_SERVER.replace('.', ",");
    let lookup = format!("{{lookup, [dns]}}.\n{{resolv_conf, \"\"}}.\n{{nameserver, {{{dns}}}}}.\n");
    Ok(fs::write(folder.join("inetrc"), lookup)?)
}

/// Starts it with the configuration in the folder.
pub(crate) fn command(folder: &Path) -> Command {
    let spool = folder.join("spool");
    let mut command = Command::new("erl");
    command
        // The settings that ejabberdctl makes for Debian's ejabberd.
        .args(["+K", "true", "+P", "250000"])
        .args(["-mnesia", "dir", &format!("{spool:?}")])
        .args(["-noinput", "-s", "ejabberd"])
        .env("HOME", folder)
        .env("EJABBERD_CONFIG_PATH", folder.join("ejabberd.yml"))
        .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
        .env("ERL_INETRC", folder.join("inetrc"))
        .env("ERL_CRASH_DUMP", "/dev/null")
        .current_dir(folder);
    if let Some(libraries) = debian_libraries() {
        command.env("ERL_LIBS", libraries);
    }
    command
}

/// The folder above `ejabberd-<version>/ebin`, where it is not Erlang's own.
fn debian_libraries() -> Option<PathBuf> {
    let holds_ejabberd = |folder: &Path| {
        fs::read_dir(folder).ok().is_some_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("ejabberd-"))
        })
    };
    fs::read_dir("/usr/lib")
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|folder| folder.is_dir() && holds_ejabberd(folder))
}
