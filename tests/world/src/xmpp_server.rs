//! The real XMPP servers of the world, as Debian packages them: ejabberd and Prosody.
//!
//! Users are registered in-band, as clients do.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::pki::Credential;
use crate::process::{Log, Process};
use crate::wait::{START_PATIENCE, listening};
use crate::world::World;
use crate::xmpp_client::XmppClient;
use crate::{ejabberd, prosody};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Brand {
    /// ejabberd.
    Ejabberd,
    /// Prosody.
    Prosody,
}

impl fmt::Display for Brand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ejabberd => "ejabberd",
            Self::Prosody => "Prosody",
        })
    }
}

/// What a server does with TLS towards other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Nothing goes without.
    Required,
    /// Used where the other server can.
    Optional,
    /// Neither offered nor used.
    Off,
}

/// How a server is set up for other servers. [`Setup::default`] is what the world's scenarios want unless they say
/// otherwise: TLS and a certificate or nothing, and no limit on traffic.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// STARTTLS.
    pub tls: Tls,
    /// Whether other servers may prove who they are by dialback (XEP-0220).
    pub dialback: bool,
    /// Whether it trusts the authority of the gateway's certificate.
    pub knows_us: bool,
    /// Whether it also listens for Direct TLS (XEP-0368), on [`DIRECT_TLS`].
    pub direct_tls: bool,
    /// Streams both ways (XEP-0288). Prosody only.
    pub bidi: bool,
    /// Stream management (XEP-0198) between servers. Prosody only.
    pub acks: bool,
    /// The 30 KiB/s that Prosody reads from another server where nothing else is configured. Prosody only.
    pub throttled: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            tls: Tls::Required,
            dialback: false,
            knows_us: true,
            direct_tls: false,
            bidi: false,
            acks: false,
            throttled: false,
        }
    }
}

/// Where a server listens for clients.
pub const CLIENTS: u16 = 5222;
/// Where a server listens for other servers.
pub const SERVERS: u16 = 5269;
/// Where a server listens for other servers that begin with TLS.
pub const DIRECT_TLS: u16 = 5270;

/// A server that can be stopped, started, killed and frozen. Its users outlive a restart.
#[derive(Debug)]
pub struct XmppServer {
    world: World,
    brand: Brand,
    name: String,
    address: IpAddr,
    folder: PathBuf,
    process: Option<Process>,
}

impl XmppServer {
    /// Starts a server for the domains, each with its certificate, and waits until it listens.
    pub async fn start(
        world: &World,
        brand: Brand,
        (name, address): (&str, IpAddr),
        domains: &[(&str, &Credential)],
        setup: &Setup,
    ) -> Result<Self> {
        let folder = world.folder().join(name);
        fs::create_dir_all(&folder)?;
        match brand {
            Brand::Ejabberd => ejabberd::configure(world, &folder, address, domains, setup)?,
            Brand::Prosody => prosody::configure(world, &folder, address, domains, setup)?,
        }
        let (world, name) = (world.clone(), name.to_owned());
        let mut server = Self { world, brand, name, address, folder, process: None };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts an ejabberd as most scenarios want it.
    pub async fn ejabberd(
        world: &World,
        name: &str,
        address: IpAddr,
        domains: &[(&str, &Credential)],
    ) -> Result<Self> {
        Self::start(world, Brand::Ejabberd, (name, address), domains, &Setup::default()).await
    }

    /// Starts the stopped server again.
    pub async fn start_again(&mut self) -> Result<()> {
        let mut command: Command = match self.brand {
            Brand::Ejabberd => ejabberd::command(&self.folder),
            Brand::Prosody => prosody::command(&self.folder),
        };
        let mut process = self.world.spawn(&self.name, &mut command)?;
        for port in [CLIENTS, SERVERS] {
            tokio::select! {
                listens = listening(&self.name, SocketAddr::new(self.address, port)) => listens?,
                status = process.ended_within(START_PATIENCE) => bail!("{} ended at once ({})", self.name, status?),
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
        SocketAddr::new(self.address, CLIENTS)
    }

    /// Which server it is.
    pub fn brand(&self) -> Brand {
        self.brand
    }

    /// What the server logs.
    pub fn log(&self) -> Arc<Log> {
        self.world.log(&self.name)
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("{} does not run", self.name))
    }
}
