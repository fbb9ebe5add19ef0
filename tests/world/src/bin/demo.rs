//! The demonstration: a closed world on this machine, messages through it both ways, and what becomes of those that may
//! not or cannot arrive. Ends with success only if every step really happened.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use nuncio_world::ejabberd::Ejabberd;
use nuncio_world::gateway::{self, Gateway, Settings};
use nuncio_world::sandbox::{self, Sandbox};
use nuncio_world::screen::Screen;
use nuncio_world::sip_agent::{Reply, SipConnection, SipServer};
use nuncio_world::world::{FABRIKAM, FRONT_END, GATEWAY_SIP, GATEWAY_XMPP};
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_peer::XmppPeer;
use nuncio_world::{World, runner};

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";

fn main() -> ExitCode {
    if sandbox::inside() {
        return runner::run_inside(demonstrate);
    }
    match enter() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

enum Never {}

/// Builds the gateway and becomes this same program inside namespaces of its own.
fn enter() -> Result<Never> {
    let gateway = gateway::build()?;
    let mut command = Sandbox::find()?.command(&std::env::current_exe()?);
    Err(command.env(gateway::BINARY, gateway).exec()).context("cannot start setpriv (package util-linux)")
}

async fn demonstrate(world: World) -> Result<()> {
    let mut screen = Screen::new();
    let mut cast = Cast::gather(&world, &mut screen).await?;
    cast.sip_to_xmpp(&mut screen).await?;
    cast.xmpp_to_sip(&mut screen).await?;
    cast.unknown_xmpp_user(&mut screen).await?;
    cast.unknown_sip_user(&mut screen).await?;
    unlisted_partner(&mut screen).await?;
    cast.unlisted_front_end(&world, &mut screen).await?;

    screen.step("The gateway is told to go (SIGTERM)");
    let (ended, last) = tokio::join!(cast.gateway.terminate(), cast.alice.next());
    ensure!(last?.is_none(), "the front end's connection is still used");
    ended?;
    screen.done("it drained, closed its streams and ended with exit code 0");
    screen.end("Every step happened. Nothing of this world is left when this program ends.");
    Ok(())
}

struct Cast {
    gateway: Gateway,
    /// Keeps fabrikam.com alive.
    _ejabberd: Ejabberd,
    bob: XmppClient,
    /// The front end as the gateway's client ...
    alice: SipConnection,
    /// ... and as its server.
    front_end: SipServer,
}

impl Cast {
    async fn gather(world: &World, screen: &mut Screen) -> Result<Self> {
        screen.step("A closed world: a network with nothing but loopback");
        screen.done("DNS (dnsmasq) and a certificate authority");
        let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
        let ejabberd = Ejabberd::start(world, "ejabberd", FABRIKAM, &[("fabrikam.com", &fabrikam)]).await?;
        screen.done(&format!("ejabberd for fabrikam.com on {FABRIKAM}"));
        let bob = ejabberd.user("bob", "fabrikam.com").await?;
        screen.done(&format!("{} is logged in there", bob.jid()));
        let gateway = Gateway::start(world, &Settings::default()).await?;
        screen.done(&format!("nuncio for contoso.com: SIP on {GATEWAY_SIP}, XMPP on {GATEWAY_XMPP}"));
        let credential = world.pki().good("fe", &["fe.contoso.com"])?;
        let listens = SocketAddr::new(FRONT_END, 5061);
        let front_end = SipServer::listen(world.pki(), &credential, listens, |request| {
            if request.start.contains("nobody@") {
                Reply::Status(404, "Not Found")
            } else {
                Reply::Status(200, "OK")
            }
        })
        .await?;
        let alice =
            SipConnection::connect(world.pki(), Some(&credential), "nuncio.contoso.com", GATEWAY_SIP).await?;
        screen.done(&format!("a SIP front end with {ALICE} on {listens}, mutual TLS both ways"));
        Ok(Self { gateway, _ejabberd: ejabberd, bob, alice, front_end })
    }

    async fn sip_to_xmpp(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Alice (SIP) writes to Bob (XMPP)");
        let text = "Hello Bob, is 1 < 2 & so on? 🦊";
        let call = self.alice.send_message(ALICE, BOB, text).await?;
        let message = self.bob.next_message().await?;
        screen.beside(
            ("SIP: the front end sends", self.alice.last_sent()),
            ("XMPP: Bob receives", &message.raw),
        );
        ensure!(message.body() == Some(text), "another text: {message}");
        ensure!(message.attribute("from").is_some_and(|from| from.starts_with(ALICE)), "{message}");
        screen.done("the text arrived as it was sent, from Alice's own address");
        let answer = self.alice.final_answer(&call).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        screen.done(&format!("the front end's answer: {}", answer.start));
        Ok(())
    }

    async fn xmpp_to_sip(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Bob (XMPP) answers Alice (SIP)");
        let text = "Hello Alice, yes. Grüße!";
        self.bob.send_message(ALICE, text).await?;
        let request = self.front_end.next_message().await?;
        screen
            .beside(("SIP: the front end receives", &request.raw), ("XMPP: Bob sends", self.bob.last_sent()));
        ensure!(request.body == text, "another text:\n{request}");
        ensure!(request.address("From")?.starts_with(&format!("sip:{BOB}")), "{request}");
        screen.done("the text arrived as it was sent, from Bob's own address");
        Ok(())
    }

    async fn unknown_xmpp_user(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Alice writes to somebody at fabrikam.com who does not exist");
        let to = "nobody@fabrikam.com";
        self.alice.send_message(ALICE, to, "Are you there?").await?;
        let report = self.front_end.next_message().await?;
        screen.beside(
            ("SIP: the front end sends", self.alice.last_sent()),
            ("SIP: and is told later", &report.raw),
        );
        ensure!(report.address("From")?.starts_with(&format!("sip:{to}")), "{report}");
        ensure!(report.address("To")?.starts_with(&format!("sip:{ALICE}")), "{report}");
        ensure!(!report.body.contains("Are you there"), "{report}");
        let answer = self.alice.next().await?.context("no answer")?;
        ensure!(answer.status() == Some(200), "{answer}");
        screen.done("ejabberd's error came back to Alice as a message, without what she wrote");
        Ok(())
    }

    async fn unknown_sip_user(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Bob writes to somebody at contoso.com who does not exist");
        let id = self.bob.send_message("nobody@contoso.com", "Are you there?").await?;
        let request = self.front_end.next_message().await?;
        let error = self.bob.next_message().await?;
        let refusal = request.answer(404, "Not Found", &[])?;
        screen.beside(("SIP: the front end answers", &refusal), ("XMPP: Bob receives", &error.raw));
        ensure!(error.attribute("type") == Some("error"), "{error}");
        ensure!(error.attribute("id") == Some(&id), "{error}");
        ensure!(error.condition() == Some("service-unavailable"), "{error}");
        screen.done("the error reached Bob, and tells no more than he may know");
        Ok(())
    }

    async fn unlisted_front_end(&mut self, world: &World, screen: &mut Screen) -> Result<()> {
        screen.step(
            "stranger.contoso.com, a SIP peer with a good certificate that nobody has listed, writes to Bob",
        );
        let stranger = world.pki().good("stranger", &["stranger.contoso.com"])?;
        let mut connection =
            SipConnection::connect(world.pki(), Some(&stranger), "nuncio.contoso.com", GATEWAY_SIP).await?;
        let call = connection.send_message(ALICE, BOB, "I am Alice, really").await?;
        let answer = connection.final_answer(&call).await?;
        screen
            .beside(("SIP: the stranger sends", connection.last_sent()), ("SIP: and receives", &answer.raw));
        ensure!(answer.status() == Some(403), "{answer}");
        ensure!(answer.header("ms-diagnostics").is_some(), "{answer}");
        ensure!(connection.next().await?.is_none(), "the connection goes on");
        screen.done("refused with 403 and the reason, and closed");
        let crossed = self.bob.stanzas_before_ping("demo").await?;
        ensure!(crossed.is_empty(), "Bob received {crossed:?}");
        screen.done("nothing of it reached Bob");
        Ok(())
    }
}

async fn unlisted_partner(screen: &mut Screen) -> Result<()> {
    screen.step("tailspin.com, which nobody has listed as a partner, knocks");
    let mut stranger = XmppPeer::dial(GATEWAY_XMPP).await?;
    stranger.say_header("tailspin.com", "contoso.com").await?;
    let error = stranger.stream_error().await?;
    screen.note(&format!("XMPP: {error}"));
    ensure!(error.child("policy-violation").is_some(), "{error}");
    screen.done("refused with policy-violation, before TLS, and closed");
    Ok(())
}
