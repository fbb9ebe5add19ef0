//! Certificates with serverAuth only, as public authorities issue them: good enough on both sides (DEC-14).

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::{Gateway, Settings};
use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::sip_agent::SipServer;
use nuncio_world::world::{FABRIKAM, GATEWAY_XMPP};
use nuncio_world::xmpp_peer::XmppPeer;
use nuncio_world::xmpp_server::XmppServer;

use super::scene::{ALICE, BOB, FRONT_END_SIP, Scene, calls_with, check_message, check_request, takes_all};

/// A front end whose only certificate has serverAuth only connects and is connected to.
pub(crate) async fn front_end_with_server_auth_only(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let server_only = world.pki().issue("fe-server", &["fe.contoso.com"], Usage::ServerOnly, Flaw::None)?;
    let mut front_end = SipServer::listen(world.pki(), &server_only, FRONT_END_SIP, takes_all).await?;
    let mut alice = calls_with(&world, Some(&server_only)).await?;
    let call = alice.send_message(ALICE, BOB, "in").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    check_message(&scene.bob.next_message().await?, ALICE, BOB, "in")?;
    scene.bob.send_message(ALICE, "out").await?;
    check_request(&front_end.next_message().await?, BOB, ALICE, "out")
}

/// So does a partner: a peer of our own, and the real ejabberd, which presents it as a client on its streams to us.
pub(crate) async fn partner_with_server_auth_only(world: World) -> Result<()> {
    let front_end = world.pki().good("fe", &["fe.contoso.com"])?;
    let fabrikam = world.pki().issue("fabrikam", &["fabrikam.com"], Usage::ServerOnly, Flaw::None)?;
    let wingtip = world.pki().issue("wingtip", &["wingtip.com"], Usage::ServerOnly, Flaw::None)?;
    let mut gateway = Gateway::start(&world, &Settings::default()).await?;
    let mut server = SipServer::listen(world.pki(), &front_end, FRONT_END_SIP, takes_all).await?;

    let mut peer =
        XmppPeer::authenticated(world.pki(), &wingtip, GATEWAY_XMPP, "wingtip.com", "contoso.com").await?;
    peer.say("<message from='carol@wingtip.com' to='alice@contoso.com'><body>one</body></message>").await?;
    check_request(&server.next_message().await?, "carol@wingtip.com", ALICE, "one")?;

    let ejabberd = XmppServer::ejabberd(&world, "ejabberd", FABRIKAM, &[("fabrikam.com", &fabrikam)]).await?;
    let mut bob = ejabberd.user("bob", "fabrikam.com").await?;
    bob.send_message(ALICE, "two").await?;
    check_request(&server.next_message().await?, BOB, ALICE, "two")?;
    let mut alice = calls_with(&world, Some(&front_end)).await?;
    let call = alice.send_message(ALICE, BOB, "three").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    check_message(&bob.next_message().await?, ALICE, BOB, "three")?;
    gateway.still_runs()
}
