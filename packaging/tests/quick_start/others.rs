//! Everybody who is on the page, but not at the keyboard of the gateway.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use nuncio_world::World;
use nuncio_world::dns::Changes;
use nuncio_world::sip_agent::{Reply, SipConnection, SipServer};
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_server::{Brand, Setup, XmppServer};

use crate::machine::{self, Machine};

/// Inside.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10));
const FRONT_END: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 20));
/// Outside: addresses of documentation, which count as public ones.
const GATEWAY_OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
const FABRIKAM: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

const SIP: u16 = 5061;
const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";

/// What of `tests/interop/zone.conf` is not there yet, or elsewhere.
const NOT_YET: [&str; 2] = ["contoso.com", "host-record=xmpp.fabrikam.com"];

pub(crate) struct Others {
    world: World,
    /// For fabrikam.com.
    _ejabberd: XmppServer,
    bob: XmppClient,
    front_end: Option<SipServer>,
    done: BTreeSet<&'static str>,
}

/// What the page says that they do.
const DEEDS: [&str; 4] = [
    "the CAs sign",
    "the records are created",
    "the front end is set up",
    "a user writes to a contact, who answers",
];

impl Others {
    /// The world as it is before anybody has heard of the gateway: fabrikam.com is there.
    pub(crate) async fn new(world: &World) -> Result<Self> {
        for address in [GATEWAY, FRONT_END, GATEWAY_OUTSIDE, FABRIKAM] {
            let added = Command::new("ip")
                .args(["address", "add", &format!("{address}/32"), "dev", "lo"])
                .status()?;
            ensure!(added.success(), "{address} cannot be had");
        }
        world.change_dns(Changes { more: &theirs(), without: &NOT_YET }).await?;
        let credential = world.pki().good("fabrikam", &["fabrikam.com"])?;
        let domains = [("fabrikam.com", &credential)];
        let ejabberd =
            XmppServer::start(world, Brand::Ejabberd, ("ejabberd", FABRIKAM), &domains, &Setup::default())
                .await?;
        let bob = ejabberd.user("bob", "fabrikam.com").await?;
        let done = BTreeSet::new();
        Ok(Self { world: world.clone(), _ejabberd: ejabberd, bob, front_end: None, done })
    }

    /// What the page says that one has before one begins; and the machine trusts public CAs, which here is the world's own.
    pub(crate) fn furnish(&self, machine: &Machine) -> Result<()> {
        let roots = self.world.pki().roots_file();
        machine.put(&machine::package()?, "/root/nuncio_0_amd64.deb")?;
        machine.put(&roots, "/root/contoso-root-ca.pem")?;
        machine.put(&roots, "/usr/local/share/ca-certificates/world.crt")?;
        machine.must("update-ca-certificates")?;
        Ok(())
    }

    pub(crate) async fn act(&mut self, what: &str, machine: &Machine, said: &str) -> Result<()> {
        let deed = DEEDS.into_iter().find(|deed| *deed == what).context("nobody knows what to do")?;
        match deed {
            "the CAs sign" => {
                self.sign(machine, &[("sip.pem.csr", "sip.crt"), ("contoso.pem.csr", "contoso.crt")])?
            }
            "the records are created" => self.create_records(said).await?,
            "the front end is set up" => self.set_up_front_end().await?,
            "a user writes to a contact, who answers" => self.write().await?,
            _ => bail!("nobody does it"),
        }
        self.done.insert(deed);
        Ok(())
    }

    /// Nothing was left out.
    pub(crate) fn all_done(&self) -> Result<()> {
        ensure!(self.done == BTreeSet::from(DEEDS), "the page has only {:?}", self.done);
        Ok(())
    }

    fn sign(&self, machine: &Machine, requests: &[(&str, &str)]) -> Result<()> {
        let (pki, folder) = (self.world.pki(), self.world.folder());
        for (request, certificate) in requests {
            let (asked, signed) = (folder.join(request), folder.join(certificate));
            fs::write(&asked, machine.must(&format!("cat /etc/nuncio/{request}"))?)?;
            let output = Command::new("openssl")
                .args(["x509", "-req", "-days", "397", "-copy_extensions", "copy", "-in"])
                .arg(&asked)
                .arg("-CA")
                .arg(pki.roots_file())
                .arg("-CAkey")
                .arg(pki.root_key_file())
                .arg("-out")
                .arg(&signed)
                .output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            machine.put(&signed, &format!("/root/{certificate}"))?;
        }
        Ok(())
    }

    /// Creates what `nuncio dns show` has printed, and nothing else.
    async fn create_records(&self, said: &str) -> Result<()> {
        let mut zone = theirs();
        for line in said.lines().filter(|line| !line.starts_with([';', 'D']) && !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_end_matches('.')).collect();
            zone += &match words[..] {
                [name, "IN", "SRV", priority, weight, port, host] => {
                    format!("srv-host={name},{host},{port},{priority},{weight}\n")
                }
                [name, "IN", "A", address] => format!("host-record={name},{address}\n"),
                _ => bail!("what record is that? {line}"),
            };
        }
        self.world.change_dns(Changes { more: &zone, without: &NOT_YET }).await
    }

    async fn set_up_front_end(&mut self) -> Result<()> {
        let credential = self.world.pki().good("fe", &["fe.contoso.com"])?;
        let address = SocketAddr::new(FRONT_END, SIP);
        let takes_all = |_: &_| Reply::Status(200, "OK");
        self.front_end = Some(SipServer::listen(self.world.pki(), &credential, address, takes_all).await?);
        Ok(())
    }

    /// Alice to Bob, and Bob to Alice.
    async fn write(&mut self) -> Result<()> {
        let credential = self.world.pki().good("fe", &["fe.contoso.com"])?;
        let gateway = SocketAddr::new(GATEWAY, SIP);
        let mut front_end =
            SipConnection::connect(self.world.pki(), Some(&credential), "nuncio.contoso.com", gateway)
                .await?;
        let call = front_end.send_message(ALICE, BOB, "Hello Bob").await?;
        let message = self.bob.next_message().await?;
        ensure!(
            message.body() == Some("Hello Bob") && message.attribute("type") != Some("error"),
            "{message}"
        );
        ensure!(message.attribute("from").is_some_and(|from| from.starts_with(ALICE)), "{message}");
        let answer = front_end.final_answer(&call).await?;
        ensure!(answer.status() == Some(200), "{answer}");

        self.bob.send_message(ALICE, "Hello Alice").await?;
        let request = self.front_end.as_mut().context("the front end is not set up")?.next_message().await?;
        ensure!(request.body == "Hello Alice", "{request}");
        ensure!(request.address("From")?.starts_with(&format!("sip:{BOB}")), "{request}");
        Ok(())
    }
}

/// What other people have in DNS: the partner, and contoso.com inside.
fn theirs() -> String {
    format!("host-record=fe.contoso.com,{FRONT_END}\nhost-record=xmpp.fabrikam.com,{FABRIKAM}\n")
}
