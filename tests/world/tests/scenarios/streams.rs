//! Partners that are not what they say: refused, each with the right error, and nothing crosses.

use std::cell::Cell;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::Settings;
use nuncio_world::pki::{Credential, Flaw, Usage};
use nuncio_world::sip_agent::SipServer;
use nuncio_world::world::{GATEWAY_XMPP, WINGTIP};
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::{Outcome, XmppListener, XmppPeer};

use super::scene::{ALICE, Scene, check_request, takes_all};

const CAROL: &str = "carol@wingtip.com";

fn message(from: &str, body: &str) -> String {
    format!("<message from='{from}' to='{ALICE}' type='chat' id='x1'><body>{body}</body></message>")
}

/// Sends a good message over a good stream: when it is the next to arrive, what was refused before did not cross.
async fn nothing_crossed(world: &World, good: &Credential, front_end: &mut SipServer) -> Result<()> {
    let mut peer =
        XmppPeer::authenticated(world.pki(), good, GATEWAY_XMPP, "wingtip.com", "contoso.com").await?;
    peer.say(&message(CAROL, "this may cross")).await?;
    check_request(&front_end.next_message().await?, CAROL, ALICE, "this may cross")
}

/// A `from` outside of the stream's domain ends the stream.
pub(crate) async fn foreign_from_ends_the_stream(world: World) -> Result<()> {
    let scene = Scene::set(&world).await?;
    let mut front_end = scene.answers(&world, takes_all).await?;
    let good = world.pki().good("wingtip", &["wingtip.com"])?;
    // Another partner, a subdomain, ourselves, a stranger.
    for from in ["mallory@fabrikam.com", "carol@sub.wingtip.com", ALICE, "carol@wingtip.com.example"] {
        let mut peer =
            XmppPeer::authenticated(world.pki(), &good, GATEWAY_XMPP, "wingtip.com", "contoso.com").await?;
        peer.say(&message(from, "this must not cross")).await?;
        let error = peer.stream_error().await?;
        ensure!(error.child("invalid-from").is_some(), "{from}: {error}");
    }
    nothing_crossed(&world, &good, &mut front_end).await
}

/// A stanza before TLS, and one before SASL.
pub(crate) async fn stanza_before_authentication(world: World) -> Result<()> {
    let scene = Scene::set(&world).await?;
    let mut front_end = scene.answers(&world, takes_all).await?;
    let good = world.pki().good("wingtip", &["wingtip.com"])?;

    let mut plain = XmppPeer::dial(GATEWAY_XMPP).await?;
    let Item::Element(features) = plain.open("wingtip.com", "contoso.com").await? else {
        anyhow::bail!("no features")
    };
    ensure!(features.name == "stream:features", "{features}");
    plain.say(&message(CAROL, "this must not cross")).await?;
    let error = plain.stream_error().await?;
    ensure!(error.child("not-authorized").is_some(), "before TLS: {error}");

    let mut secure =
        XmppPeer::secured(world.pki(), Some(&good), GATEWAY_XMPP, "wingtip.com", "contoso.com").await?;
    secure.say(&message(CAROL, "this must not cross")).await?;
    let error = secure.stream_error().await?;
    ensure!(error.child("not-authorized").is_some(), "before SASL: {error}");

    nothing_crossed(&world, &good, &mut front_end).await
}

fn bad_certificates(world: &World) -> Result<Vec<(&'static str, Option<Credential>)>> {
    let own = &["wingtip.com"];
    Ok(vec![
        ("none", None),
        ("for another domain", Some(world.pki().good("other-domain", &["fabrikam.com"])?)),
        ("self-signed", Some(world.pki().issue("self-signed", own, Usage::Both, Flaw::SelfSigned)?)),
        ("expired", Some(world.pki().issue("expired", own, Usage::Both, Flaw::Expired)?)),
        ("of another authority", Some(world.pki().issue("unknown", own, Usage::Both, Flaw::OtherAuthority)?)),
    ])
}

/// Who cannot prove to be the partner is not offered EXTERNAL, cannot force it, and cannot go on without.
pub(crate) async fn bad_certificates_do_not_get_in(world: World) -> Result<()> {
    let scene = Scene::set(&world).await?;
    let mut front_end = scene.answers(&world, takes_all).await?;
    for (which, presents) in bad_certificates(&world)? {
        let presents = presents.as_ref();
        let negotiate =
            || XmppPeer::negotiate(world.pki(), presents, GATEWAY_XMPP, "wingtip.com", "contoso.com");
        let (mut peer, outcome) = negotiate().await?;
        let Outcome::Refused(refusal) = outcome else { anyhow::bail!("{which}: got in") };
        ensure!(refusal.name == "stream:features", "{which}: {refusal}");
        peer.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>").await?;
        let failure = peer.element().await?;
        ensure!(failure.name == "failure", "{which}: {failure}");
        ensure!(failure.child("not-authorized").is_some(), "{which}: {failure}");
        peer.say(&message(CAROL, "this must not cross")).await.ok();
        peer.until_closed().await?;

        let (mut peer, _) = negotiate().await?;
        peer.say(&message(CAROL, "this must not cross")).await?;
        let error = peer.stream_error().await?;
        ensure!(error.child("not-authorized").is_some(), "{which}: {error}");
    }
    let good = world.pki().good("wingtip", &["wingtip.com"])?;
    nothing_crossed(&world, &good, &mut front_end).await
}

/// The same the other way: a server that cannot prove to be the partner is told nothing, and the sender gets an error.
pub(crate) async fn bad_certificates_get_no_message(world: World) -> Result<()> {
    // Each attempt lasts as long as messages are held.
    let limits = "xmpp.hold = \"2s\"";
    let scene = Scene::set_with(&world, &Settings { limits, ..Settings::default() }).await?;
    let listener = XmppListener::bind(SocketAddr::new(WINGTIP, 5269)).await?;
    let mut alice = scene.calls(&world).await?;
    for (which, presents) in bad_certificates(&world)? {
        // A server cannot do TLS without a certificate.
        let Some(presents) = presents else { continue };
        let call = alice.send_message(ALICE, CAROL, "this must not cross").await?;
        let attempts = Cell::new(0);
        let accepting = async {
            loop {
                // Every attempt of the gateway must end before it sends a stanza or believes in SASL's success.
                let peer = listener.accept(world.pki(), &presents, "wingtip.com").await;
                attempts.set(attempts.get() + 1);
                if let Ok(mut peer) = peer
                    && let Ok(element) = peer.element().await
                {
                    return format!("{which}: was sent {element}");
                }
            }
        };
        let answer = tokio::select! {
            answer = alice.final_answer(&call) => answer?,
            sent = accepting => anyhow::bail!(sent),
        };
        ensure!(answer.status().is_some_and(|status| status >= 400), "{which}: {answer}");
        ensure!(attempts.get() > 0, "{which}: the gateway never saw this certificate");
    }
    Ok(())
}
