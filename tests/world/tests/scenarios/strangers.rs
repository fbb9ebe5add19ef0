//! Those whom nobody has listed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::world::{FABRIKAM, GATEWAY_XMPP, TAILSPIN};
use nuncio_world::xmpp_peer::{XmppListener, XmppPeer};
use nuncio_world::xmpp_server::XmppServer;
use tokio::time::timeout;

use super::scene::{ALICE, BOB, Scene, calls_with, check_message, check_request, takes_all};

/// A SIP peer whose certificate is not listed: the handshake succeeds, the first request gets 403 with a reason that
/// names what was presented and what was expected, and the connection ends.
pub(crate) async fn sip_01_unlisted_sip_certificates_are_refused(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let pki = world.pki();
    let name = &["fe.contoso.com"];
    let presented = [
        ("unlisted", Some(pki.good("unlisted", &["stranger.contoso.com"])?)),
        ("wildcard", Some(pki.good("wildcard", &["*.contoso.com"])?)),
        ("self-signed", Some(pki.issue("self-signed", name, Usage::Both, Flaw::SelfSigned)?)),
        ("expired", Some(pki.issue("expired", name, Usage::Both, Flaw::Expired)?)),
        ("of another authority", Some(pki.issue("unknown", name, Usage::Both, Flaw::OtherAuthority)?)),
        ("none", None),
    ];
    for (which, credential) in &presented {
        let mut connection = calls_with(&world, credential.as_ref()).await?;
        let call = connection.send_message(ALICE, BOB, "this must not cross").await?;
        let answer = connection.final_answer(&call).await?;
        ensure!(answer.status() == Some(403), "{which}: {answer}");
        let reason = answer.must("ms-diagnostics")?;
        ensure!(reason.contains("reason="), "{which}: {answer}");
        if *which == "unlisted" {
            ensure!(reason.contains("stranger.contoso.com"), "what was presented is not named: {answer}");
            ensure!(reason.contains("fe.contoso.com"), "what was expected is not named: {answer}");
        }
        let more = connection.next().await?;
        ensure!(more.is_none(), "{which}: the connection goes on: {more:?}");
    }
    // What was refused did not cross: the next message that Bob gets is this one.
    let mut alice = scene.calls(&world).await?;
    alice.send_message(ALICE, BOB, "this may cross").await?;
    check_message(&scene.bob.next_message().await?, ALICE, BOB, "this may cross")
}

/// A domain that is no partner gets our header, `policy-violation` with a text, and the end of the stream; before TLS, so
/// before anything is asked of it. ejabberd's user hears of it from his own server.
pub(crate) async fn unlisted_partner_is_refused(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let mut front_end = scene.answers(&world, takes_all).await?;
    let mut peer = XmppPeer::dial(GATEWAY_XMPP).await?;
    peer.say_header("tailspin.com", "contoso.com").await?;
    let error = peer.stream_error().await?;
    ensure!(error.child("policy-violation").is_some(), "{error}");
    ensure!(error.child("text").is_some_and(|text| !text.text.is_empty()), "{error}");

    let tailspin = world.pki().good("tailspin", &["tailspin.com"])?;
    let second = XmppServer::ejabberd(&world, "tailspin", TAILSPIN, &[("tailspin.com", &tailspin)]).await?;
    let mut dave = second.user("dave", "tailspin.com").await?;
    let id = dave.send_message(ALICE, "this must not cross").await?;
    let error = dave.next_message().await?;
    ensure!(error.attribute("type") == Some("error") && error.attribute("id") == Some(&id), "{error}");

    scene.bob.send_message(ALICE, "this may cross").await?;
    check_request(&front_end.next_message().await?, BOB, ALICE, "this may cross")?;
    ensure!(front_end.waiting().is_empty());
    Ok(())
}

/// A SIP user writes to a domain that is no partner: refused with the reason, and no connection is tried.
pub(crate) async fn unlisted_partner_is_not_written_to(world: World) -> Result<()> {
    let scene = Scene::set(&world).await?;
    let listener = XmppListener::bind(SocketAddr::new(TAILSPIN, 5269)).await?;
    let tailspin = world.pki().good("tailspin", &["tailspin.com"])?;
    let mut alice = scene.calls(&world).await?;
    let call = alice.send_message(ALICE, "dave@tailspin.com", "this must not cross").await?;
    let answer = alice.final_answer(&call).await?;
    ensure!(answer.status() == Some(403), "{answer}");
    ensure!(answer.must("ms-diagnostics")?.contains("reason="), "{answer}");
    let attempt = timeout(Duration::ZERO, listener.accept(world.pki(), &tailspin, "tailspin.com")).await;
    ensure!(attempt.is_err(), "the gateway connected to a stranger");
    // And it was no accident: FABRIKAM is written to.
    ensure!(scene.server.clients().ip() == FABRIKAM);
    let call = alice.send_message(ALICE, BOB, "this may cross").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    Ok(())
}
