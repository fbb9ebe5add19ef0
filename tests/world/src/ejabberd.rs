//! The real ejabberd, as Debian packages it.
//!
//! It is started by `erl` and not by `ejabberdctl`: the script insists on changing to user `ejabberd`, who does not exist
//! inside a user namespace, and on Erlang distribution, whose port mapper and cookie are shared by all of a machine.
//! Without a node name there is neither. Users are registered in-band, as clients do.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::pki::Credential;
use crate::process::{Log, Process};
use crate::sandbox::DNS_SERVER;
use crate::template::fill;
use crate::wait::listening;
use crate::world::World;
use crate::xmpp_client::XmppClient;

/// A server that can be stopped, started, killed and frozen. Its users outlive a restart.
#[derive(Debug)]
pub struct Ejabberd {
    world: World,
    name: String,
    address: IpAddr,
    folder: PathBuf,
    process: Option<Process>,
}

impl Ejabberd {
    /// Starts a server for the domains, each with its certificate, and waits until it listens.
    pub async fn start(
        world: &World,
        name: &str,
        address: IpAddr,
        domains: &[(&str, &Credential)],
    ) -> Result<Self> {
        let folder = world.folder().join(name);
        fs::create_dir_all(&folder)?;
        let list =
            |lines: Vec<String>| lines.iter().map(|line| format!("\n  - \"{line}\"")).collect::<String>();
        let hosts = list(domains.iter().map(|(domain, _)| (*domain).to_owned()).collect());
        let bundles = list(
            domains.iter().map(|(_, credential)| credential.bundle_file.display().to_string()).collect(),
        );
        let config = fill(
            include_str!("../../interop/ejabberd.yml"),
            &[
                ("hosts", &hosts),
                ("certificates", &bundles),
                ("roots", &world.pki().roots_file().display().to_string()),
                ("address", &address.to_string()),
            ],
        )?;
        fs::write(folder.join("ejabberd.yml"), config)?;
        let dns = DNS_SERVER.replace('.', ",");
        fs::write(
            folder.join("inetrc"),
            format!("{{lookup, [dns]}}.\n{{resolv_conf, \"\"}}.\n{{nameserver, {{{dns}}}}}.\n"),
        )?;
        let mut server = Self { world: world.clone(), name: name.to_owned(), address, folder, process: None };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts the stopped server again.
    pub async fn start_again(&mut self) -> Result<()> {
        let spool = self.folder.join("spool");
        let mut command = Command::new("erl");
        command
            // The settings that ejabberdctl makes for Debian's ejabberd.
            .args(["+K", "true", "+P", "250000"])
            .args(["-mnesia", "dir", &format!("{spool:?}")])
            .args(["-noinput", "-s", "ejabberd"])
            .env("HOME", &self.folder)
            .env("EJABBERD_CONFIG_PATH", self.folder.join("ejabberd.yml"))
            .env("EJABBERD_LOG_PATH", self.folder.join("ejabberd.log"))
            .env("ERL_INETRC", self.folder.join("inetrc"))
            .env("ERL_CRASH_DUMP", "/dev/null")
            .current_dir(&self.folder);
        if let Some(libraries) = debian_libraries() {
            command.env("ERL_LIBS", libraries);
        }
        let mut process = self.world.spawn(&self.name, &mut command)?;
        for port in [5222, 5269] {
            tokio::select! {
                listens = listening(&self.name, SocketAddr::new(self.address, port)) => listens?,
                status = process.ended() => bail!("{} ended at once ({})", self.name, status?),
            }
        }
        self.process = Some(process);
        Ok(())
    }

    /// Stops the server in good order.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().with_context(|| format!("{} does not run", self.name))?;
        process.stop().await
    }

    /// Kills the server.
    pub async fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().with_context(|| format!("{} does not run", self.name))?;
        process.kill().await
    }

    /// The server stays, its connections stay, and it does nothing any more.
    pub async fn freeze(&self) -> Result<()> {
        self.running()?.signal("STOP").await
    }

    /// The end of [`Self::freeze`].
    pub async fn thaw(&self) -> Result<()> {
        self.running()?.signal("CONT").await
    }

    /// Registers a user and logs him in.
    pub async fn user(&self, user: &str, domain: &str) -> Result<XmppClient> {
        XmppClient::register(self.clients(), user, domain).await?;
        self.login(user, domain).await
    }

    /// Logs a registered user in.
    pub async fn login(&self, user: &str, domain: &str) -> Result<XmppClient> {
        self.login_at(user, domain, "desk").await
    }

    /// As [`Self::login`], with a resource other than `desk`.
    pub async fn login_at(&self, user: &str, domain: &str, resource: &str) -> Result<XmppClient> {
        XmppClient::login(self.clients(), user, domain, resource).await
    }

    /// Where the server listens for clients.
    pub fn clients(&self) -> SocketAddr {
        SocketAddr::new(self.address, 5222)
    }

    /// What the server logs.
    pub fn log(&self) -> std::sync::Arc<Log> {
        self.world.log(&self.name)
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} does not run", self.name))
    }
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
