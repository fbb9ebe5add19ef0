//! What most scenarios begin with: the gateway, the partner's server with Bob, and a front end with Alice.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::{Gateway, Settings};
use nuncio_world::kamailio::{Behind, Edge};
use nuncio_world::pki::Credential;
use nuncio_world::process::Process;
use nuncio_world::sip_agent::{Reply, SipConnection, SipServer};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::sipp::{ANSWERING, OUTGOING};
use nuncio_world::stunnel;
use nuncio_world::world::{FABRIKAM, FRONT_END, GATEWAY_SIP};
use nuncio_world::xml::Element;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_server::{Brand, Setup, XmppServer};

pub(crate) const ALICE: &str = "alice@contoso.com";
pub(crate) const BOB: &str = "bob@fabrikam.com";

/// Where the gateway finds the front end.
pub(crate) const FRONT_END_SIP: SocketAddr = SocketAddr::new(FRONT_END, 5061);

/// The gateway between a front end and the partner's server.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    /// For fabrikam.com.
    pub(crate) server: XmppServer,
    /// Logged in at fabrikam.com.
    pub(crate) bob: XmppClient,
    /// The front end's certificate.
    pub(crate) front_end: Credential,
}

impl Scene {
    pub(crate) async fn set(world: &World) -> Result<Self> {
        Self::set_with(world, &Settings::default()).await
    }

    pub(crate) async fn set_with(world: &World, settings: &Settings<'_>) -> Result<Self> {
        Self::set_at(world, world.brand(), &Setup::default(), settings).await
    }

    /// With a certain server and setup.
    pub(crate) async fn set_at(
        world: &World,
        brand: Brand,
        setup: &Setup,
        settings: &Settings<'_>,
    ) -> Result<Self> {
        let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
        let host = world.edge().place().host;
        let front_end = world.pki().good(host, &[host])?;
        let gateway = Gateway::start(world, settings).await?;
        let name = brand.to_string().to_lowercase();
        let domains = [("fabrikam.com", &fabrikam)];
        let server = XmppServer::start(world, brand, (&name, FABRIKAM), &domains, setup).await?;
        let bob = server.user("bob", "fabrikam.com").await?;
        Ok(Self { gateway, server, bob, front_end })
    }

    /// The front end, or what is behind Kamailio, listens and gives every request the answer of the rule.
    pub(crate) async fn answers(
        &self,
        world: &World,
        rule: impl Fn(&SipMessage) -> Reply + Send + Sync + 'static,
    ) -> Result<SipServer> {
        world.open_edge(Behind::Agent).await?;
        SipServer::listen(world.pki(), &self.front_end, world.edge().place().listens, rule).await
    }

    /// SIPp has a way to the gateway and the gateway one to SIPp: stunnel in each direction, or Kamailio.
    pub(crate) async fn lines_for_sipp(&self, world: &World) -> Result<Vec<Process>> {
        match world.edge() {
            Edge::Agent => Ok(vec![
                stunnel::from_gateway(world, FRONT_END_SIP, ANSWERING, &self.front_end).await?,
                stunnel::towards_gateway(world, OUTGOING, &self.front_end).await?,
            ]),
            Edge::Kamailio => {
                world.open_edge(Behind::Sipp).await?;
                Ok(Vec::new())
            }
        }
    }

    /// The front end connects to the gateway, or to Kamailio in front of it.
    pub(crate) async fn calls(&self, world: &World) -> Result<SipConnection> {
        world.open_edge(Behind::Agent).await?;
        let (name, address) = world.edge().place().calls;
        SipConnection::connect(world.pki(), Some(&self.front_end), name, address).await
    }
}

pub(crate) async fn calls_with(world: &World, presents: Option<&Credential>) -> Result<SipConnection> {
    SipConnection::connect(world.pki(), presents, "nuncio.contoso.com", GATEWAY_SIP).await
}

/// 200 to everything.
pub(crate) fn takes_all(_: &SipMessage) -> Reply {
    Reply::Status(200, "OK")
}

/// A message that came to an XMPP user from a SIP user.
pub(crate) fn check_message(message: &Element, from: &str, to: &str, body: &str) -> Result<()> {
    let bare = |address: &str| address.split('/').next().unwrap_or_default().to_owned();
    ensure!(message.name == "message" && message.attribute("type") != Some("error"), "{message}");
    ensure!(message.attribute("from").map(bare).as_deref() == Some(from), "{message}");
    ensure!(message.attribute("to").map(bare).as_deref() == Some(to), "{message}");
    ensure!(message.body() == Some(body), "{message}");
    Ok(())
}

/// A MESSAGE that came to a SIP user from an XMPP user.
pub(crate) fn check_request(request: &SipMessage, from: &str, to: &str, body: &str) -> Result<()> {
    let without_parameters = |uri: &str| uri.split(';').next().unwrap_or_default().to_owned();
    ensure!(request.method() == Some("MESSAGE"), "{request}");
    ensure!(without_parameters(request.address("From")?) == format!("sip:{from}"), "{request}");
    ensure!(without_parameters(request.address("To")?) == format!("sip:{to}"), "{request}");
    ensure!(request.start.starts_with(&format!("MESSAGE sip:{to}")), "{request}");
    ensure!(request.must("Content-Type")?.to_ascii_lowercase().starts_with("text/plain"), "{request}");
    ensure!(request.header("Contact").is_none(), "a Contact in a pager message:\n{request}");
    ensure!(request.body == body, "{request}");
    Ok(())
}

/// The report of a failed delivery to a SIP user: from the contact's address, one line, without the message.
pub(crate) fn check_notice(request: &SipMessage, from: &str, to: &str, body: &str) -> Result<()> {
    check_request(request, from, to, &request.body)?;
    ensure!(!request.body.trim().is_empty() && request.body.trim_end().lines().count() == 1, "{request}");
    ensure!(!request.body.contains(body), "the message itself is in the report:\n{request}");
    Ok(())
}
