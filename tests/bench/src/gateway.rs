//! The gateway under test: built, configured, started, and asked for its own counters at the end.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::dns::{self, Zone};
use crate::job::{FRONT_END, GATEWAY, SIP_DOMAIN, partner_domain};
use crate::pki;
use crate::process::{Usage, spawn_logged};

/// Names the program to measure; without it the workspace's is built.
const BINARY: &str = "NUNCIO_BIN";
/// Partners in its configuration.
pub(crate) const PARTNERS: usize = 600;
/// Longest start: with a large store it takes time.
const START: Duration = Duration::from_secs(120);
/// Longest stop: who watched is told that it ends.
const STOP: Duration = Duration::from_secs(120);

/// Addresses of a measurement: loopback, and different in every process, so that two at a time do not meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    net: [u8; 2],
}

impl Place {
    pub(crate) fn new() -> Self {
        let pid = std::process::id();
        // 127.0.x and 127.x.0 are for others.
        Self { net: [64 + (pid >> 8) as u8 % 128, 1 + (pid % 254) as u8] }
    }

    fn host(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.net[0], self.net[1], number)
    }

    /// Where the process under test takes SIP.
    pub(crate) fn sip(self) -> SocketAddr {
        (self.host(1), 5061).into()
    }

    /// Where it takes XMPP.
    pub(crate) fn xmpp(self) -> SocketAddr {
        (self.host(1), 5269).into()
    }

    /// Where the sink listens as a front end.
    pub(crate) fn front_end(self) -> SocketAddr {
        (self.host(2), 5061).into()
    }

    /// Where the sink listens as partner, or as the relay's end.
    pub(crate) fn partner(self) -> SocketAddr {
        (self.host(3), 5269).into()
    }

    fn dns(self) -> SocketAddr {
        (self.host(4), 5353).into()
    }

    /// Starts the name server.
    pub(crate) fn serve_names(self) -> Result<()> {
        let zone = Zone { front_end: self.host(2), partner: self.host(3), port: self.partner().port() };
        dns::serve(self.dns(), zone).with_context(|| format!("cannot listen on {}", self.dns()))
    }
}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: PathBuf,
}

impl Gateway {
    /// Starts it, with as many partners as there are to be streams if they are many, and waits until it is ready.
    /// `sessions`: users are invited to them.
    pub(crate) fn start(
        program: &Path,
        place: Place,
        folder: &Path,
        sessions: bool,
        streams: usize,
    ) -> Result<Self> {
        let mut text = configuration(place, folder, PARTNERS.max(streams));
        if streams > PARTNERS {
            // All partners are one sink or source here, and open theirs at once.
            let most = streams + 1_000;
            text.push_str(&format!(
                "[limits.xmpp]\nconnections = {most}\nstreams = {most}\nunauthenticated = {most}\n\
                 unauthenticated_per_address = {most}\nfailures_per_address = {most}\n"
            ));
        }
        let text = if sessions { text.replace("im = 'pager'", "im = 'session'") } else { text };
        Self::start_from(program, folder, &text)
    }

    /// The same with more in its configuration, and with so many partners.
    pub(crate) fn start_with(
        program: &Path,
        place: Place,
        folder: &Path,
        more: &str,
        partners: usize,
    ) -> Result<Self> {
        Self::start_from(program, folder, &(configuration(place, folder, partners) + more))
    }

    fn start_from(program: &Path, folder: &Path, text: &str) -> Result<Self> {
        let (config, log) = (folder.join("nuncio.toml"), folder.join("nuncio.log"));
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&config);
        let child = spawn_logged(&mut command, &log)?;
        let mut gateway = Self { child, log };
        let deadline = Instant::now() + START;
        while !gateway.said("ready") {
            let ended = gateway.child.try_wait()?.is_some();
            ensure!(!ended && Instant::now() < deadline, "the gateway does not start:\n{}", gateway.text());
            sleep(Duration::from_millis(20));
        }
        Ok(gateway)
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Tells it to stop. Its own count of delivered messages must be `expected`, and nothing may have failed.
    pub(crate) fn stop(self, counter: &str, expected: u64) -> Result<()> {
        let mut delivered = 0;
        let (counters, text) = self.end()?;
        for (name, count) in counters {
            if name == counter {
                delivered = count;
            } else if !["streams_refused", "sessions_begun"].contains(&name.as_str()) {
                bail!("the gateway counted {count} × {name}:\n{text}");
            }
        }
        ensure!(
            delivered == expected,
            "the gateway counted {delivered} × {counter} instead of {expected}:\n{text}"
        );
        Ok(())
    }

    /// Ends it without a word, as a power failure would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Tells it to stop and waits; returns its counters and the end of its log.
    pub(crate) fn end(mut self) -> Result<(Vec<(String, u64)>, String)> {
        let told = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        ensure!(told.success(), "cannot stop the gateway");
        let deadline = Instant::now() + STOP;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "the gateway does not stop:\n{}", self.text());
            sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "the gateway ended with {status}:\n{}", self.text());
        Ok((self.counters(), self.text()))
    }

    /// Its last words, for an error message.
    pub(crate) fn text(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    fn said(&self, message: &str) -> bool {
        self.events().iter().any(|event| event["message"] == message)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        let counter = |event: &Value| Some((event["counter"].as_str()?.to_owned(), event["count"].as_u64()?));
        self.events().iter().filter_map(counter).collect()
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(place: Place, folder: &Path, partners: usize) -> String {
    let dir = folder.display();
    let (sip, xmpp, root) = (pki::SIP, pki::XMPP, pki::ROOT);
    let mut text = format!(
        "[node]\nstate_dir = '{dir}/state'\n\n\
         [control]\nsocket = '{dir}/control.sock'\n\n\
         [log]\nformat = 'json'\nlevel = 'info'\n\n\
         [dns]\nservers = ['{}']\n\n\
         [sip]\ndomains = ['{SIP_DOMAIN}']\nname = '{GATEWAY}'\n\
         certificate = '{dir}/{sip}.pem'\nkey = '{dir}/{sip}.key'\nroots = '{dir}/{root}'\n\n\
         [[sip.listener]]\nbind = '{}'\n\n\
         [[sip.front_end]]\nname = 'front'\ncertificate_names = ['{FRONT_END}']\nnext_hops = ['{FRONT_END}:{}']\nim = 'pager'\n\n\
         [xmpp]\nroots = '{dir}/{root}'\nconnect.private_addresses = true\n\n\
         [[xmpp.listener]]\nbind = '{}'\n\n\
         [[certificate]]\ndomains = ['{SIP_DOMAIN}']\ncertificate = '{dir}/{xmpp}.pem'\nkey = '{dir}/{xmpp}.key'\n\n",
        place.dns(),
        place.sip(),
        place.front_end().port(),
        place.xmpp(),
    );
    for number in 0..partners {
        text.push_str(&format!(
            "[[partner]]\ndomain = '{}'\ntype = 'federated'\nstanzas_per_second = 0\nbytes_per_second = 0\n",
            partner_domain(number)
        ));
    }
    text
}

/// Builds the gateway as this program was built, unless [`BINARY`] names one, and returns its path.
pub(crate) fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY) {
        return Ok(fs::canonicalize(path)?);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["build", "--quiet", "--package", "nuncio", "--bin", "nuncio"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    ensure!(command.status().context("cannot start cargo")?.success(), "the gateway does not build");
    let own = std::env::current_exe()?;
    let program = own.with_file_name("nuncio");
    ensure!(program.is_file(), "no nuncio beside {}", own.display());
    Ok(program)
}
