//! The demonstration: a closed world on this machine, messages and presence through it both ways, and what becomes of
//! those that may not or cannot arrive. Ends with success only if every step really happened.

mod chat;
mod presence;

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use nuncio_world::front_end::{Decision, FrontEnd, Invited};
use nuncio_world::gateway::{self, Gateway, Partner, Settings};
use nuncio_world::kamailio::Edge;
use nuncio_world::sandbox::{self, Sandbox};
use nuncio_world::screen::Screen;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::world::{FABRIKAM, GATEWAY_SIP, GATEWAY_XMPP};
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_peer::XmppPeer;
use nuncio_world::xmpp_server::{Brand, XmppServer};
use nuncio_world::{World, runner};

const ALICE: &str = "alice@contoso.com";
const BOB: &str = "bob@fabrikam.com";
const DAVE: &str = "dave@litware.com";

fn main() -> ExitCode {
    if sandbox::inside() {
        return runner::run_inside((Brand::Ejabberd, Edge::Agent), demonstrate);
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
    cast.sip_user_begins_a_chat(&mut screen).await?;
    cast.xmpp_user_begins_a_chat(&mut screen).await?;
    cast.unknown_xmpp_user(&mut screen).await?;
    cast.unknown_sip_user(&mut screen).await?;
    unlisted_partner(&mut screen).await?;
    cast.unlisted_front_end(&world, &mut screen).await?;

    let mut watch = cast.sip_user_adds_xmpp_user(&mut screen).await?;
    cast.xmpp_user_adds_sip_user(&mut screen).await?;
    cast.presence_both_ways(&mut watch, &mut screen).await?;
    cast.stranger_waits(&mut screen).await?;
    cast.stranger_is_added(&mut screen).await?;
    cast.crash(&mut watch, &mut screen).await?;
    cast.leave(&mut watch, &mut screen).await?;
    screen.end("Every step happened. Nothing of this world is left when this program ends.");
    Ok(())
}

struct Cast {
    gateway: Gateway,
    /// Keeps fabrikam.com and litware.com alive.
    _ejabberd: XmppServer,
    bob: XmppClient,
    /// Of a partner whose users are not trusted before they are added.
    dave: XmppClient,
    front_end: FrontEnd,
}

impl Cast {
    async fn gather(world: &World, screen: &mut Screen) -> Result<Self> {
        screen.step("A closed world: a network with nothing but loopback");
        screen.done("DNS (dnsmasq) and a certificate authority");
        let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
        let litware = world.pki().good("litware", &["litware.com"])?;
        let domains = [("fabrikam.com", &fabrikam), ("litware.com", &litware)];
        let ejabberd = XmppServer::ejabberd(world, "ejabberd", FABRIKAM, &domains).await?;
        screen.done(&format!("ejabberd for fabrikam.com and litware.com on {FABRIKAM}"));
        let bob = ejabberd.user("bob", "fabrikam.com").await?;
        let dave = ejabberd.user("dave", "litware.com").await?;
        screen.done(&format!("{} and {} are logged in there", bob.jid(), dave.jid()));
        let partners = vec![
            Partner::federated("fabrikam.com"),
            Partner { domain: "litware.com", kind: "public-unverified", keys: "" },
        ];
        let settings = Settings { partners, im: "session", ..Settings::default() };
        let gateway = Gateway::start(world, &settings).await?;
        screen.done(&format!("nuncio for contoso.com: SIP on {GATEWAY_SIP}, XMPP on {GATEWAY_XMPP}"));
        screen.done("its partners: fabrikam.com (federated) and litware.com (public-unverified)");
        let credential = world.pki().good("fe", &["fe.contoso.com"])?;
        let front_end = FrontEnd::start(world, &credential).await?;
        front_end.decide(ALICE, Decision::Pending);
        front_end.when_invited(ALICE, Invited::Refuse(488, "Not Acceptable Here"));
        screen.done(&format!(
            "a SIP front end with {ALICE} on {}, mutual TLS both ways",
            world.edge().place().listens
        ));
        Ok(Self { gateway, _ejabberd: ejabberd, bob, dave, front_end })
    }

    async fn sip_to_xmpp(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Alice (SIP) writes to Bob (XMPP)");
        let text = "Hello Bob, is 1 < 2 & so on? 🦊";
        let answer = self.front_end.send_message(ALICE, BOB, text).await?;
        let message = self.bob.next_message().await?;
        screen.beside(
            ("SIP: the front end sends", &self.front_end.last_sent()),
            ("XMPP: Bob receives", &message.raw),
        );
        ensure!(message.body() == Some(text), "another text: {message}");
        ensure!(message.attribute("from").is_some_and(|from| from.starts_with(ALICE)), "{message}");
        screen.done("the text arrived as it was sent, from Alice's own address");
        ensure!(answer.status() == Some(200), "{answer}");
        screen.done(&format!("the front end's answer: {}", answer.start));
        Ok(())
    }

    async fn xmpp_to_sip(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Bob (XMPP) answers Alice (SIP)");
        let text = "Hello Alice, yes. Grüße!";
        self.bob.send_message(ALICE, text).await?;
        self.front_end.next_is("INVITE").await?;
        screen.done("her client is asked whether it wants a chat (INVITE), and refuses: 488");
        let request = self.front_end.next_is("MESSAGE").await?.request;
        screen
            .beside(("SIP: the front end receives", &request.raw), ("XMPP: Bob sends", self.bob.last_sent()));
        ensure!(request.body == text, "another text:\n{request}");
        ensure!(request.address("From")?.starts_with(&format!("sip:{BOB}")), "{request}");
        screen.done("the text arrived all the same, alone, as it was sent and from Bob's own address");
        Ok(())
    }

    async fn unknown_xmpp_user(&self, screen: &mut Screen) -> Result<()> {
        screen.step("Alice writes to somebody at fabrikam.com who does not exist");
        let to = "nobody@fabrikam.com";
        let answer = self.front_end.send_message(ALICE, to, "Are you there?").await?;
        let sent = self.front_end.last_sent();
        let report = self.front_end.next_is("MESSAGE").await?.request;
        screen.beside(("SIP: the front end sends", &sent), ("SIP: and is told later", &report.raw));
        ensure!(report.address("From")?.starts_with(&format!("sip:{to}")), "{report}");
        ensure!(report.address("To")?.starts_with(&format!("sip:{ALICE}")), "{report}");
        ensure!(!report.body.contains("Are you there"), "{report}");
        ensure!(answer.status() == Some(200), "{answer}");
        screen.done("ejabberd's error came back to Alice as a message, without what she wrote");
        Ok(())
    }

    async fn unknown_sip_user(&mut self, screen: &mut Screen) -> Result<()> {
        screen.step("Bob writes to somebody at contoso.com who does not exist");
        let id = self.bob.send_message("nobody@contoso.com", "Are you there?").await?;
        let request = self.front_end.next_is("INVITE").await?.request;
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
