//! The program under test, as a process with a configuration file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as BlockingCommand, ExitStatus};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::pki::{Flaw, Usage};
use crate::process::{Log, Process};
use crate::sandbox::DNS_SERVER;
use crate::status::Status;
use crate::template::fill;
use crate::wait::until;
use crate::world::{GATEWAY, GATEWAY_SIP, GATEWAY_XMPP, World};

/// Names the program to test; set for the processes inside a world.
pub const BINARY: &str = "NUNCIO_BIN";

/// A test does not wait for minutes until a partner is tried again, unless it says so.
const BACKOFF: &str = "xmpp.backoff_initial = \"100ms\"\nxmpp.backoff_max = \"1s\"";

/// The first line of what it says about its state.
const REPORT_BEGINS: &str = "status: held now";

/// A partner entry.
#[derive(Debug, Clone, Copy)]
pub struct Partner<'a> {
    /// The primary domain.
    pub domain: &'a str,
    /// `federated`, `public-verified` or `public-unverified`.
    pub kind: &'a str,
    /// Further lines.
    pub keys: &'a str,
}

impl<'a> Partner<'a> {
    /// A partner trusted like our own users.
    pub fn federated(domain: &'a str) -> Self {
        Self { domain, kind: "federated", keys: "" }
    }
}

/// What a gateway is told besides the defaults of `tests/interop/nuncio.toml`.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// The partners.
    pub partners: Vec<Partner<'a>>,
    /// The lines of `[limits]`.
    pub limits: &'a str,
    /// The front ends of the pool, in this order: names that their certificates carry.
    pub front_ends: &'a [&'a str],
    /// How messages go to their users: `pager`, `session` or `automatic`.
    pub im: &'a str,
    /// What they take the gateway for: `plain`, `edge` or `server`.
    pub trust: &'a str,
    /// Partner types for which the gateway has a name and a certificate of its own: type and name.
    pub identities: &'a [(&'a str, &'a str)],
    /// `tracing` filter.
    pub log_level: &'a str,
    /// Domains served besides `contoso.com`.
    pub more_domains: &'a [&'a str],
    /// Domains served besides, whose certificate is for servers only (serverAuth).
    pub server_only: &'a [&'a str],
}

impl Default for Settings<'_> {
    fn default() -> Self {
        let partners = ["fabrikam.com", "wingtip.com"].map(Partner::federated);
        let partners = partners.to_vec();
        Self {
            partners,
            limits: "",
            front_ends: &["fe.contoso.com"],
            im: "pager",
            trust: "plain",
            identities: &[],
            log_level: "info",
            more_domains: &[],
            server_only: &[],
        }
    }
}

/// A running gateway, for `contoso.com` at least.
#[derive(Debug)]
pub struct Gateway {
    world: World,
    config: PathBuf,
    process: Option<Process>,
}

impl Gateway {
    /// Writes the configuration, starts the gateway and waits until it is ready.
    pub async fn start(world: &World, settings: &Settings<'_>) -> Result<Self> {
        let sip =
            world.pki().good("nuncio-sip", &["nuncio.contoso.com", "contoso.com", "sip.contoso.com"])?;
        // Both usages: Debian's ejabberd does not take a client's certificate with serverAuth only.
        let both = [&["contoso.com"], settings.more_domains].concat();
        let mut certificates = String::new();
        for (label, domains, usage) in [
            ("nuncio-xmpp", &*both, Usage::Both),
            ("nuncio-xmpp-server", settings.server_only, Usage::ServerOnly),
        ] {
            if domains.is_empty() {
                continue;
            }
            let shown = world.pki().issue(label, domains, usage, Flaw::None)?;
            let (certificate, key) = (&shown.certificate_file, &shown.key_file);
            certificates += &format!(
                "[[certificate]]\ndomains = {domains:?}\ncertificate = {certificate:?}\nkey = {key:?}\n\n"
            );
        }
        let mut identities = String::new();
        for (kind, name) in settings.identities {
            let shown = world.pki().good(&format!("nuncio-{kind}"), &[name])?;
            let (certificate, key) = (&shown.certificate_file, &shown.key_file);
            identities += &format!(
                "[[sip.identity]]\nname = {name:?}\ntypes = [{kind:?}]\ncertificate = {certificate:?}\nkey = {key:?}\n\n"
            );
        }
        let domains = [&*both, settings.server_only].concat();
        let next_hops: Vec<String> = settings.front_ends.iter().map(|host| format!("{host}:5061")).collect();
        let folder = world.folder().join("nuncio");
        let state = folder.join("state");
        fs::create_dir_all(&state)?;
        let partners: String = settings
            .partners
            .iter()
            .map(|partner| {
                let Partner { domain, kind, keys } = partner;
                format!("[[partner]]\ndomain = {domain:?}\ntype = {kind:?}\n{keys}\n\n")
            })
            .collect();
        let text = fill(
            include_str!("../../interop/nuncio.toml"),
            &[
                ("state", &state.display().to_string()),
                ("control", &folder.join("control.sock").display().to_string()),
                ("log_level", settings.log_level),
                ("dns", DNS_SERVER),
                ("address", &GATEWAY.to_string()),
                ("sip_bind", &GATEWAY_SIP.to_string()),
                ("sip_certificate", &sip.certificate_file.display().to_string()),
                ("sip_key", &sip.key_file.display().to_string()),
                ("xmpp_bind", &GATEWAY_XMPP.to_string()),
                ("domains", &format!("{domains:?}")),
                ("certificates", &certificates),
                ("roots", &world.pki().roots_file().display().to_string()),
                ("front_ends", &format!("{:?}", settings.front_ends)),
                ("im", settings.im),
                ("trust", settings.trust),
                ("identities", &identities),
                ("next_hops", &format!("{next_hops:?}")),
                ("backoff", if settings.limits.contains("xmpp.backoff_") { "" } else { BACKOFF }),
                ("limits", settings.limits),
                ("partners", &partners),
            ],
        )?;
        let config = folder.join("nuncio.toml");
        fs::write(&config, text)?;
        let mut gateway = Self { world: world.clone(), config, process: None };
        gateway.start_again().await?;
        Ok(gateway)
    }

    /// Starts the stopped gateway again, with the same configuration and state.
    pub async fn start_again(&mut self) -> Result<()> {
        let program = std::env::var_os(BINARY).with_context(|| format!("{BINARY} is not set"))?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&self.config).env("RUST_BACKTRACE", "1").env_remove(BINARY);
        let mut process = self.world.spawn("nuncio", &mut command)?;
        process.says("ready").await?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGTERM: the gateway must drain and end with success.
    pub async fn terminate(&mut self) -> Result<()> {
        let status: ExitStatus = self.running()?.stop().await?;
        self.process = None;
        ensure!(status.success(), "the gateway ended with {status}");
        Ok(())
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.running()?.kill().await?;
        self.process = None;
        Ok(())
    }

    /// Waits until a line of what `nuncio store show` says about this contact has the text. The gateway may run meanwhile.
    pub async fn stores(&self, contact: &str, text: &str) -> Result<()> {
        let program = std::env::var_os(BINARY).with_context(|| format!("{BINARY} is not set"))?;
        until(&format!("{text:?} in the store"), || async {
            let mut command = Command::new(&program);
            command.args(["store", "show", "--json", "--with", contact, "--config"]).arg(&self.config);
            let shown = command.env_remove(BINARY).output().await;
            shown.is_ok_and(|shown| String::from_utf8_lossy(&shown.stdout).contains(text))
        })
        .await
    }

    /// What `nuncio partner test` says of one of the domains of a partner, whether good or bad.
    pub async fn tries(&self, partner: &str) -> Result<String> {
        let program = std::env::var_os(BINARY).with_context(|| format!("{BINARY} is not set"))?;
        let mut command = Command::new(program);
        command
            .args(["partner", "test", partner, "--socket"])
            .arg(self.config.with_file_name("control.sock"));
        let tried = command.env_remove(BINARY).output().await?;
        Ok(format!("{}{}", String::from_utf8_lossy(&tried.stdout), String::from_utf8_lossy(&tried.stderr)))
    }

    /// Has the gateway write its state into its log: the latest attempts to open streams among it.
    pub async fn write_status(&mut self) -> Result<()> {
        self.running()?.signal("USR1").await
    }

    /// What the gateway says of itself now.
    pub async fn status(&mut self) -> Result<Status> {
        let log = self.log();
        let begin = log.mark();
        self.write_status().await?;
        log.line_after(begin, REPORT_BEGINS).await?;
        // A report has no last line: it ends where the next one begins.
        let next = log.mark();
        self.write_status().await?;
        log.line_after(next, REPORT_BEGINS).await?;
        let lines = log.text();
        let report = lines.lines().skip(begin).skip_while(|line| !line.contains(REPORT_BEGINS));
        let report = report.enumerate().take_while(|(at, line)| *at == 0 || !line.contains(REPORT_BEGINS));
        Ok(Status::new(report.map(|(_, line)| line.to_owned()).collect()))
    }

    /// Fails when the gateway is no longer there.
    pub fn still_runs(&mut self) -> Result<()> {
        self.running()?.still_runs()
    }

    /// The gateway's process id.
    pub fn pid(&mut self) -> Result<u32> {
        Ok(self.running()?.pid())
    }

    /// What the gateway logs.
    pub fn log(&self) -> Arc<Log> {
        self.world.log("nuncio")
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the gateway does not run")
    }
}

/// Builds the gateway as this program was built, unless [`BINARY`] names one, and returns its path.
pub fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY) {
        return Ok(fs::canonicalize(path)?);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = BlockingCommand::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(["build", "--quiet", "--package", "nuncio", "--bin", "nuncio"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    ensure!(command.status().context("cannot start cargo")?.success(), "the gateway does not build");
    let own = std::env::current_exe()?;
    // <target>/<profile>/demo or <target>/<profile>/deps/interop-<hash>
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("nuncio"))
        .find(|path| path.is_file())
        .with_context(|| format!("no nuncio beside {}", own.display()))
}
