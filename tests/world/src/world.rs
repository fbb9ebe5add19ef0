//! A world: its files, its certificates, its addresses, the logs of its processes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::kamailio::{Behind, Edge, Kamailio};
use crate::pki::Pki;
use crate::process::{Log, Process};
use crate::xmpp_server::Brand;
use crate::{dns, sandbox};
use dns::Changes;

/// The gateway, `nuncio.contoso.com`: SIP on 5061, XMPP for `contoso.com` on 5269.
pub const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));
/// The front end of contoso.com that the gateway connects to, `fe.contoso.com`.
pub const FRONT_END: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 20));
/// Another front end of contoso.com, `fe2.contoso.com`, where a scenario has two.
pub const FRONT_END_2: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 23));
/// The pool of users behind `fe.contoso.com`, where that is Kamailio: `pool.contoso.com`.
pub const POOL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 22));
/// The pool behind `fe2.contoso.com`, where that is Kamailio, too: `pool2.contoso.com`.
pub const POOL_2: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 24));
/// Where SIPp calls from.
pub const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 21));
/// The partner `fabrikam.com`, served by ejabberd or Prosody.
pub const FABRIKAM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 30));
/// The partner `northwind.com`, served by Prosody.
pub const NORTHWIND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 60));
/// The partner `wingtip.com`, played by a peer of our own.
pub const WINGTIP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 40));
/// `tailspin.com`: in DNS, with a good certificate, and nobody's partner.
pub const TAILSPIN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 50));

/// Where the gateway listens for front ends.
pub const GATEWAY_SIP: SocketAddr = SocketAddr::new(GATEWAY, 5061);
/// Where the gateway listens for XMPP servers.
pub const GATEWAY_XMPP: SocketAddr = SocketAddr::new(GATEWAY, 5269);

/// What the lines of [`World::note`] begin with.
pub const NOTE: &str = "note: ";

/// The closed world. Clones are the same world.
#[derive(Debug, Clone)]
pub struct World {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    brand: Brand,
    edge: Edge,
    pki: Pki,
    logs: Mutex<Vec<Arc<Log>>>,
    dns: Mutex<Option<Process>>,
    kamailio: tokio::sync::Mutex<[Option<Kamailio>; 2]>,
}

impl World {
    /// Furnishes the namespaces of this process and starts DNS in there. The partner's server is of that brand, where a
    /// scenario has no reason to choose, and so is the front end that the gateway knows.
    pub async fn start(brand: Brand, edge: Edge) -> Result<Self> {
        let folder = sandbox::furnish()?;
        let pki = Pki::new(&folder.join("pki"))?;
        let inner = Inner {
            folder,
            brand,
            edge,
            pki,
            logs: Mutex::default(),
            dns: Mutex::default(),
            kamailio: tokio::sync::Mutex::default(),
        };
        let world = Self { inner: Arc::new(inner) };
        world.change_dns(Changes::default()).await?;
        Ok(world)
    }

    /// From now on DNS says this, whatever it said before.
    pub async fn change_dns(&self, changes: Changes<'_>) -> Result<()> {
        let before = self.dns().take();
        if let Some(mut before) = before {
            before.kill().await?;
        }
        let now = dns::start(self, changes).await?;
        *self.dns() = Some(now);
        Ok(())
    }

    /// Prints a line, also where the scenario passes: what was measured, not what was judged.
    pub fn note(&self, text: &str) {
        println!("{NOTE}{text}");
    }

    /// Starts a process whose output goes to the log of that name.
    pub fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::spawn(name, command, &self.log(name))
    }

    /// The log of that name, made if it is new.
    pub fn log(&self, name: &str) -> Arc<Log> {
        let mut logs = self.logs();
        match logs.iter().find(|log| log.name() == name) {
            Some(log) => Arc::clone(log),
            None => {
                let log = Log::new(name);
                logs.push(Arc::clone(&log));
                log
            }
        }
    }

    /// The end of every log, for a test that has failed.
    pub fn report(&self, lines: usize) -> String {
        let mut report = String::new();
        for log in self.logs().iter() {
            report += &format!("---- the last of {} ({} lines)\n", log.name(), log.mark());
            for line in log.tail(lines) {
                report += &format!("{line}\n");
            }
        }
        report
    }

    /// Writes every log to a folder outside of the world.
    pub fn keep_logs(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder)?;
        for log in self.logs().iter() {
            std::fs::write(folder.join(format!("{}.log", log.name())), log.text())?;
        }
        Ok(())
    }

    /// The authorities.
    pub fn pki(&self) -> &Pki {
        &self.inner.pki
    }

    /// The brand of the partner's server.
    pub fn brand(&self) -> Brand {
        self.inner.brand
    }

    /// Who the front end is that the gateway knows.
    pub fn edge(&self) -> Edge {
        self.inner.edge
    }

    /// Where that is Kamailio: has it run, with that behind it, and returns once it does.
    pub async fn open_edge(&self, behind: Behind) -> Result<()> {
        self.open_edge_at(0, behind).await
    }

    /// As [`Self::open_edge`], the first or the second of two.
    pub async fn open_edge_at(&self, which: usize, behind: Behind) -> Result<()> {
        let mut kamailio = self.inner.kamailio.lock().await;
        let place = kamailio.get_mut(which).context("there are two")?;
        if self.inner.edge == Edge::Kamailio && place.is_none() {
            *place = Some(Kamailio::start(self, which, behind).await?);
        }
        Ok(())
    }

    /// Kills Kamailio; [`Self::open_edge`] starts another one.
    pub async fn kill_edge(&self) -> Result<()> {
        self.kill_edge_at(0).await
    }

    /// As [`Self::kill_edge`], the first or the second of two.
    pub async fn kill_edge_at(&self, which: usize) -> Result<()> {
        let mut kamailio = self.inner.kamailio.lock().await;
        kamailio.get_mut(which).and_then(Option::take).context("no Kamailio runs")?.kill().await
    }

    /// The folder of the world's files.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    fn dns(&self) -> MutexGuard<'_, Option<Process>> {
        self.inner.dns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, Vec<Arc<Log>>> {
        self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
