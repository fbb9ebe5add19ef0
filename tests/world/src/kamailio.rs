//! Kamailio, as the front end that the gateway knows, with the scenario's own agent or SIPp behind it.
//!
//! It is a SIP implementation of its own: TLS by OpenSSL, a parser and transactions of its own, and Record-Route, so that
//! every dialog goes through it.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::dns::path_with_sbin;
use crate::process::Process;
use crate::sipp::{ANSWERING, OUTGOING};
use crate::template::fill;
use crate::wait::{START_PATIENCE, listening};
use crate::world::{FRONT_END, FRONT_END_2, GATEWAY_SIP, POOL, POOL_2, World};

/// Who the front end is that the gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The scenario's own agent.
    Agent,
    /// Kamailio, in front of that agent.
    Kamailio,
}

/// Where the scenario's own agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its name: in its certificate, its Via and its Contact.
    pub host: &'static str,
    /// Where it is called.
    pub listens: SocketAddr,
    /// Where it calls, and who must answer there.
    pub calls: (&'static str, SocketAddr),
}

impl Edge {
    /// The place of the agent.
    pub fn place(self) -> Place {
        self.places()[0]
    }

    /// The places of two, where the scenario has two front ends.
    pub fn places(self) -> [Place; 2] {
        let at = |address| SocketAddr::new(address, 5061);
        let [first, second] = NAMES.map(|(_, name, address)| (name, at(address)));
        let place = |host, listens, calls| Place { host, listens, calls };
        match self {
            Self::Agent => {
                let gateway = ("nuncio.contoso.com", GATEWAY_SIP);
                [place(first.0, first.1, gateway), place(second.0, second.1, gateway)]
            }
            Self::Kamailio => {
                [place("pool.contoso.com", at(POOL), first), place("pool2.contoso.com", at(POOL_2), second)]
            }
        }
    }
}

/// The front ends that the gateway knows, and what each is called here.
const NAMES: [(&str, &str, IpAddr); 2] =
    [("kamailio", "fe.contoso.com", FRONT_END), ("kamailio2", "fe2.contoso.com", FRONT_END_2)];

/// Who is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// An agent at its [`Place`], over TLS both ways.
    Agent,
    /// SIPp, over plain TCP.
    Sipp,
}

/// A running Kamailio.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
}

impl Kamailio {
    /// Starts the first or the second and waits until it listens.
    pub async fn start(world: &World, which: usize, behind: Behind) -> Result<Self> {
        let (label, host, address) = *NAMES.get(which).context("there are two")?;
        let folder = world.folder().join(label);
        fs::create_dir_all(&folder)?;
        let shows = world.pki().good(&format!("{label}-tls"), &[host])?;
        let tls = fill(
            include_str!("../../interop/kamailio-tls.cfg"),
            &[
                ("certificate", &shows.certificate_file.display().to_string()),
                ("key", &shows.key_file.display().to_string()),
                ("roots", &world.pki().roots_file().display().to_string()),
            ],
        )?;
        let tls_config = folder.join("tls.cfg");
        fs::write(&tls_config, tls)?;
        let (plain, target) = match behind {
            Behind::Agent => {
                let host = Edge::Kamailio.places()[which].host;
                (String::new(), format!("sip:{host}:5061;transport=tls"))
            }
            Behind::Sipp => (format!("\nlisten=tcp:{OUTGOING}"), format!("sip:{ANSWERING};transport=tcp")),
        };
        let config = fill(
            include_str!("../../interop/kamailio.cfg"),
            &[
                ("address", &address.to_string()),
                ("host", host),
                ("plain", &plain),
                ("tls_config", &tls_config.display().to_string()),
                ("behind", &target),
            ],
        )?;
        let file = folder.join("kamailio.cfg");
        fs::write(&file, config)?;
        let mut command = Command::new("kamailio");
        command
            // In the foreground, the log on standard error, and room for the transactions of a burst.
            .args(["-DD", "-E", "-m", "256", "-M", "8"])
            .arg("-f")
            .arg(&file)
            .arg("-Y")
            .arg(&folder)
            .env("PATH", path_with_sbin())
            .current_dir(&folder)
            // It is several processes, and they are to end together.
            .process_group(0);
        let mut process = world.spawn(label, &mut command)?;
        tokio::select! {
            listens = listening(label, SocketAddr::new(address, 5061)) => listens?,
            status = process.ended_within(START_PATIENCE) => bail!("kamailio does not start: {}", status?),
        }
        Ok(Self { process })
    }

    /// `kill -9` of all of its processes.
    pub async fn kill(mut self) -> Result<()> {
        self.process.kill_group().await.context("cannot kill Kamailio")
    }
}
