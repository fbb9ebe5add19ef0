//! SIPp, behind stunnel or Kamailio, as a front end with presence.

use std::time::Duration;

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::documents::Format;
use nuncio_world::sipp::Sipp;
use nuncio_world::xmpp_presence::{kind, text};

use super::scene::{ALICE, BOB, Scene};

const PATIENCE: Duration = Duration::from_secs(40);

/// Subscribe and receive NOTIFY; refresh; the end; 481 after it; too short a time (423); expiry.
pub(crate) async fn sipp_subscribes_and_refreshes(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut notified = Sipp::take_notify(&world).await?;

    let status = Sipp::subscribe(&world, (ALICE, BOB), "first", 3600, 200)?.ended(PATIENCE).await?;
    ensure!(status.success(), "SUBSCRIBE: SIPp ended with {status}");
    notified.says("Subscription-State: pending;expires=").await?;
    let request = scene.bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");
    scene.bob.show("dnd", "seen by SIPp", 0).await?;
    scene.bob.approve(ALICE).await?;
    notified.says("Subscription-State: active;expires=").await?;
    notified.says("seen by SIPp").await?;

    let mark = notified.mark();
    let status = Sipp::refresh(&world, (ALICE, BOB), "second")?.ended(PATIENCE).await?;
    ensure!(status.success(), "refresh: SIPp ended with {status}");
    notified.says_after(mark, "Subscription-State: terminated;reason=timeout").await?;

    let status = Sipp::subscribe(&world, (ALICE, BOB), "third", 1, 423)?.ended(PATIENCE).await?;
    ensure!(status.success(), "a second only: SIPp ended with {status}");
    let mark = notified.mark();
    let status = Sipp::subscribe(&world, (ALICE, BOB), "fourth", 2, 200)?.ended(PATIENCE).await?;
    ensure!(status.success(), "two seconds: SIPp ended with {status}");
    notified.says_after(mark, "Subscription-State: active;expires=").await?;
    // PR-40
    notified.says_after(mark, "Subscription-State: terminated;reason=timeout").await?;
    scene.gateway.still_runs()
}

/// As a front end in the style of Lync: what is known in the answer, and then BENOTIFY after BENOTIFY, none of which is answered.
/// Another endpoint of hers asks for nothing of the kind, and is told by NOTIFY all the while.
pub(crate) async fn sipp_is_told_by_benotify(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut notified = Sipp::take_benotify(&world).await?;
    let status = Sipp::subscribe(&world, (ALICE, BOB), "plain", 3600, 200)?.ended(PATIENCE).await?;
    ensure!(status.success(), "SUBSCRIBE: SIPp ended with {status}");
    let request = scene.bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");
    scene.bob.show("away", "the first", 0).await?;
    scene.bob.approve(ALICE).await?;
    notified.says("the first").await?;

    let asks = (Format::Msrtc, "note='the first'");
    let status = Sipp::subscribe_in_lync_style(&world, (ALICE, BOB), "lync", asks)?.ended(PATIENCE).await?;
    ensure!(status.success(), "in the style of Lync: SIPp ended with {status}");
    for note in ["the second", "the third"] {
        scene.bob.show("dnd", note, 0).await?;
        for (method, form) in [("BENOTIFY", format!("note='{note}'")), ("NOTIFY", format!("{note}</note>"))] {
            let message = notified.received_with(&form).await?;
            ensure!(message.starts_with(&format!("{method} sip:{ALICE}")), "{form}: {message}");
        }
    }
    scene.gateway.still_runs()
}

/// Be subscribed to and notify; be refreshed before the end; end it; 481 to a NOTIFY after that.
pub(crate) async fn sipp_is_subscribed_to(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut sipp = Sipp::answer_subscribe(&world, ALICE).await?;
    let bob = &mut scene.bob;
    bob.add_contact(ALICE).await?;
    for (show, note) in [("", "first"), ("away", "second")] {
        let seen =
            bob.presence_until(ALICE, note, &["unavailable"], |seen| text(seen, "status") == note).await?;
        ensure!(seen.attribute("from") == Some("alice@contoso.com/sipp"), "{seen}");
        ensure!(text(&seen, "show") == show, "{seen}");
    }
    let gone = bob.presence_until(ALICE, "the end", &[], |seen| kind(seen) == "unsubscribed").await?;
    ensure!(gone.attribute("from") == Some(ALICE), "{gone}");
    let status = sipp.ended(PATIENCE).await?;
    ensure!(status.success(), "SIPp ended with {status}");
    scene.gateway.still_runs()
}
