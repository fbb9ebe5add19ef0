//! Everything around one gateway process: addresses of its own on loopback, DNS, certificates, a configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, Result, ensure};
use nuncio_world::pki::{Credential, Pki};
use nuncio_world::process::{Log, Process};
use nuncio_world::sip_agent::{Reply, SipConnection, SipServer};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::wait::until;
use nuncio_world::xmpp_peer::{XmppListener, XmppPeer};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::dns::{Dns, Zone};

pub(crate) const ALICE: &str = "alice@contoso.com";
pub(crate) const CAROL: &str = "carol@wingtip.com";

/// The second octet of all addresses of this run, with the socket that keeps other runs on this machine from taking it too.
static RUN: LazyLock<Option<(u8, UdpSocket)>> = LazyLock::new(|| {
    let first = std::process::id() % RUNS;
    let mut numbers = (0..RUNS).filter_map(|n| u8::try_from(32 + (first + n) % RUNS).ok());
    numbers.find_map(|run| {
        UdpSocket::bind((Ipv4Addr::new(127, run, 255, 254), 5353)).ok().map(|claim| (run, claim))
    })
});
/// Runs at a time, at most.
const RUNS: u32 = 192;

/// Towns of this process so far.
static TOWNS: AtomicU8 = AtomicU8::new(1);

pub(crate) struct Town {
    pub(crate) pki: Pki,
    folder: tempfile::TempDir,
    network: [u8; 2],
    pub(crate) dns: Dns,
    /// What the gateway logs.
    pub(crate) log: Arc<Log>,
    /// Whether DNS may lead to loopback, where everything of the town is.
    pub(crate) private_addresses: bool,
    /// More lines of the front end's entry.
    pub(crate) front_end: String,
    /// More lines of the partner's entry.
    pub(crate) partner: String,
    /// More lines of the section for SIP.
    pub(crate) sip: String,
    /// More lines of the listener for front ends.
    pub(crate) sip_listener: String,
    /// More lines of the listener for partners.
    pub(crate) xmpp_listener: String,
    /// More lines of the section for control.
    pub(crate) control_more: String,
    /// How pool1 is named and found.
    pub(crate) pool: String,
}

impl Town {
    pub(crate) async fn found() -> Result<Self> {
        let zone = |zone: Zone, at: &dyn Fn(u8) -> Ipv4Addr| {
            zone.host("fe.contoso.com", at(2))
                .host("spare.contoso.com", at(5))
                .host("xmpp.wingtip.com", at(3))
                .xmpp("wingtip.com", "xmpp.wingtip.com", 5269)
                .xmpp("chat.wingtip.com", "xmpp.wingtip.com", 5269)
        };
        Self::with_zone(zone).await
    }

    /// A town whose DNS says something else.
    pub(crate) async fn with_zone(zone: impl Fn(Zone, &dyn Fn(u8) -> Ipv4Addr) -> Zone) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pki = Pki::new(&folder.path().join("pki"))?;
        // Other runs on this machine have other numbers, other towns of this run another third octet.
        let (run, _) = RUN.as_ref().context("too many runs at a time on this machine")?;
        let network = [*run, TOWNS.fetch_add(1, Ordering::Relaxed)];
        let at = |host| Ipv4Addr::new(127, network[0], network[1], host);
        let zone = zone(Zone::default(), &at);
        let dns = Dns::serve(zone, SocketAddr::new(at(4).into(), 5353)).await?;
        pki.good("gateway-sip", &["nuncio.contoso.com"])?;
        pki.good("gateway-contoso", &["contoso.com"])?;
        pki.good("gateway-litware", &["litware.com"])?;
        Ok(Self {
            pki,
            folder,
            network,
            dns,
            log: Log::new("nuncio"),
            private_addresses: true,
            front_end: String::new(),
            partner: String::new(),
            sip: String::new(),
            sip_listener: String::new(),
            xmpp_listener: String::new(),
            control_more: String::new(),
            pool: "certificate_names = [\"fe.contoso.com\"]\nnext_hops = [\"fe.contoso.com:5061\"]"
                .to_owned(),
        })
    }

    fn at(&self, host: u8, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, self.network[0], self.network[1], host)), port)
    }

    /// An address of the town that nobody has.
    pub(crate) fn unused(&self, number: u8) -> IpAddr {
        self.at(100 + number, 0).ip()
    }

    /// The address of a host that has none of the others.
    pub(crate) fn somewhere(&self, host: u8, port: u16) -> SocketAddr {
        self.at(host, port)
    }

    /// The gateway, for front ends.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.at(1, 5061)
    }

    /// The front end.
    pub(crate) fn fe(&self) -> SocketAddr {
        self.at(2, 5061)
    }

    /// The gateway, for partners.
    pub(crate) fn xmpp(&self) -> SocketAddr {
        self.at(1, 5269)
    }

    /// The gateway, for partners that begin with TLS.
    pub(crate) fn direct(&self) -> SocketAddr {
        self.at(1, 5270)
    }

    /// The partner wingtip.com.
    pub(crate) fn wingtip(&self) -> SocketAddr {
        self.at(3, 5269)
    }

    /// The control socket of the gateway.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder().join("control.sock")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the gateway and waits until it is ready. `limits` are lines below `[limits]`.
    pub(crate) async fn gateway(&self, limits: &str) -> Result<Process> {
        let mut gateway = self.start(limits, &self.folder().join("state"))?;
        gateway.says("ready").await?;
        Ok(gateway)
    }

    pub(crate) fn start(&self, limits: &str, state: &Path) -> Result<Process> {
        self.start_by(&[], limits, state)
    }

    /// Writes the configuration. `limits` are lines below `[limits]`.
    pub(crate) fn configure(&self, limits: &str, state: &Path) -> Result<PathBuf> {
        let pki = self.folder().join("pki");
        let text = format!(
            r#"
node.state_dir = {state:?}
dns.servers = ["{dns}"]
[sip]
domains = ["contoso.com", "litware.com"]
name = "nuncio.contoso.com"
certificate = "{pki}/gateway-sip.pem"
key = "{pki}/gateway-sip.key"
roots = "{pki}/roots.pem"
{sip_more}
[[sip.listener]]
bind = "{sip}"
{sip_listener}
[[sip.front_end]]
name = "pool1"
{pool}
im = "pager"
{front_end}
[xmpp]
roots = "{pki}/roots.pem"
connect.private_addresses = {private}
[[xmpp.listener]]
bind = "{xmpp}"
{xmpp_listener}
[[xmpp.listener]]
bind = "{direct}"
direct_tls = true
[[certificate]]
domains = ["contoso.com"]
certificate = "{pki}/gateway-contoso.pem"
key = "{pki}/gateway-contoso.key"
[[certificate]]
domains = ["litware.com"]
certificate = "{pki}/gateway-litware.pem"
key = "{pki}/gateway-litware.key"
[[partner]]
domain = "wingtip.com"
additional_domains = ["chat.wingtip.com"]
type = "federated"
{partner}
[control]
socket = {socket:?}
{control_more}
[limits]
{limits}
"#,
            socket = self.control(),
            control_more = self.control_more,
            dns = self.at(4, 5353),
            private = self.private_addresses,
            front_end = self.front_end,
            partner = self.partner,
            pool = self.pool,
            sip_more = self.sip,
            pki = pki.display(),
            sip = self.sip(),
            sip_listener = self.sip_listener,
            xmpp = self.xmpp(),
            xmpp_listener = self.xmpp_listener,
            direct = self.direct(),
        );
        let file = self.folder().join("nuncio.toml");
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Starts the gateway by a program that turns into the one it is given.
    pub(crate) fn start_by(&self, starter: &[&str], limits: &str, state: &Path) -> Result<Process> {
        let file = self.configure(limits, state)?;
        self.spawn(starter, &file)
    }

    /// Starts the gateway again with its configuration as it is on the disk.
    pub(crate) async fn gateway_as_configured(&self) -> Result<Process> {
        let mut gateway = self.spawn(&[], &self.folder().join("nuncio.toml"))?;
        gateway.says("ready").await?;
        Ok(gateway)
    }

    fn spawn(&self, starter: &[&str], file: &Path) -> Result<Process> {
        let words = [starter, &[env!("CARGO_BIN_EXE_nuncio")]].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .arg("run")
            .arg("--config")
            .arg(file)
            .env("RUST_BACKTRACE", "1")
            .arg("--log-level")
            .arg("debug");
        Process::spawn("nuncio", &mut command, &self.log)
    }

    pub(crate) fn good_front_end(&self) -> Result<Credential> {
        self.pki.good("fe", &["fe.contoso.com"])
    }

    pub(crate) fn good_wingtip(&self) -> Result<Credential> {
        self.pki.good("wingtip", &["wingtip.com"])
    }

    /// The front end calls, presenting this.
    pub(crate) async fn calls(&self, presents: Option<&Credential>) -> Result<SipConnection> {
        SipConnection::connect(&self.pki, presents, "nuncio.contoso.com", self.sip()).await
    }

    /// The front end answers calls, presenting this.
    pub(crate) async fn answers(
        &self,
        presents: &Credential,
        rule: impl Fn(&SipMessage) -> Reply + Send + Sync + 'static,
    ) -> Result<SipServer> {
        self.answers_at(self.fe(), presents, rule).await
    }

    /// Where spare.contoso.com is.
    pub(crate) fn spare(&self) -> SocketAddr {
        self.at(5, 5061)
    }

    /// The same at another address.
    pub(crate) async fn answers_at(
        &self,
        address: SocketAddr,
        presents: &Credential,
        rule: impl Fn(&SipMessage) -> Reply + Send + Sync + 'static,
    ) -> Result<SipServer> {
        // One that has just been dropped may still hold the address.
        until(
            "the front end's address to be free",
            || async move { TcpListener::bind(address).await.is_ok() },
        )
        .await?;
        SipServer::listen(&self.pki, presents, address, rule).await
    }

    /// wingtip.com opens a stream to us.
    pub(crate) async fn wingtip_speaks(&self) -> Result<XmppPeer> {
        let good = self.good_wingtip()?;
        XmppPeer::authenticated(&self.pki, &good, self.xmpp(), "wingtip.com", "contoso.com").await
    }

    /// wingtip.com takes streams from us.
    pub(crate) async fn wingtip_listens(&self) -> Result<XmppListener> {
        XmppListener::bind(self.wingtip()).await
    }
}

pub(crate) fn takes_all(_: &SipMessage) -> Reply {
    Reply::Status(200, "OK")
}

pub(crate) fn from_carol(id: &str, body: &str) -> String {
    format!("<message from='{CAROL}' to='{ALICE}' id='{id}' type='chat'><body>{body}</body></message>")
}

/// The gateway writes lines that people read in a terminal: nothing in them may act or pretend to be another line.
pub(crate) fn check_log(log: &Log) -> Result<()> {
    let text = log.text();
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for line in text.lines() {
        ensure!(!line.contains(bad), "a control in a log line: {line:?}");
        ensure!(!line.trim_start().starts_with("FORGED"), "a forged log line: {line:?}");
    }
    Ok(())
}
