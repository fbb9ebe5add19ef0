//! Presence in every format that front ends in the style of Lync use, both ways.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::documents::Format;
use nuncio_world::pidf::Tuple;
use nuncio_world::sipp::Sipp;
use nuncio_world::xmpp_presence::{kind, text};

use super::scene::{ALICE, BOB, Scene};
use super::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(40);

/// What a client in the style of Lync takes.
const LYNC: &str = "application/msrtc-event-categories+xml, application/xpidf+xml, text/xml+msrtc.pidf, \
                    application/pidf+xml, application/rlmi+xml, multipart/related";

/// What a contact who wants no disturbance is in the words of a format.
fn do_not_disturb(format: Format) -> &'static str {
    match format {
        Format::Pidf => "dnd",
        Format::Msrtc => "600",
        Format::Xpidf => "busy",
        Format::Categories => "9500",
    }
}

/// Bob's presence, each endpoint being told in the format that it takes, also after a refresh (PR-43).
pub(crate) async fn pr_43_endpoints_are_told_in_their_formats(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    stage.alice_sees_bob("e0").await?;
    let mut watches = Vec::new();
    for (number, format) in (1..).zip(Format::ALL) {
        let endpoint = format!("e{number}");
        let (watch, answer) = stage.front_end.watch_as(ALICE, BOB, &endpoint, 3600, format.media()).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        watches.push((watch, format));
    }
    let (watch, answer) = stage.front_end.watch_as(ALICE, BOB, "e5", 3600, LYNC).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    watches.push((watch, Format::Categories));

    stage.scene.bob.show("dnd", "Not <now>", 0).await?;
    for (watch, expected) in &mut watches {
        let notice = watch
            .until("him being dnd", |notice| {
                notice.said.as_ref().is_some_and(|(_, said)| said.state == do_not_disturb(*expected))
            })
            .await?;
        let (format, said) = notice.said.as_ref().context("no document")?;
        ensure!(notice.state == "active" && format == expected, "{}", notice.request);
        let note = (*format != Format::Xpidf).then_some("Not <now>");
        ensure!(said.note.as_deref() == note, "{}", notice.request);

        let answer = watch.refresh(3600).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let again = watch.next().await?;
        ensure!(again.said.as_ref() == notice.said.as_ref(), "{}", again.request);
    }
    stage.scene.bob.unavailable().await?;
    for (watch, format) in &mut watches {
        let gone = match format {
            Format::Pidf | Format::Xpidf => "closed",
            Format::Msrtc => "0",
            Format::Categories => "18500",
        };
        watch
            .until("him being gone", |notice| {
                notice.state == "active" && notice.said.as_ref().is_some_and(|(_, said)| said.state == gone)
            })
            .await
            .with_context(|| format!("{format:?}"))?;
    }
    stage.scene.gateway.still_runs()
}

/// Alice's presence, whatever the format in which her front end notifies.
pub(crate) async fn contact_sees_every_format(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    stage.bob_sees_alice(&[Tuple::open("desk").note("first")]).await?;
    for format in Format::ALL {
        let note = format!("{:?} & more", format);
        stage.front_end.publish_as(ALICE, format, format.in_a_call(ALICE, &note)).await?;
        let expected = if format == Format::Xpidf { "In a call" } else { &note };
        let bob = &mut stage.scene.bob;
        let seen = bob.presence_until(ALICE, expected, &[], |seen| text(seen, "status") == expected).await?;
        ensure!(kind(&seen).is_empty() && text(&seen, "show") == "dnd", "{format:?}: {seen}");
        // Where a calendar came with it, nothing of it goes further.
        ensure!(!seen.raw.contains("AAAA") && !seen.raw.contains("computer"), "{seen}");
    }
    stage.scene.gateway.still_runs()
}

/// The same with SIPp, both ways.
pub(crate) async fn sipp_speaks_every_format(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let _lines = scene.lines_for_sipp(&world).await?;
    let mut notified = Sipp::take_notify(&world).await?;
    for format in Format::ALL {
        let endpoint = format!("{format:?}").to_lowercase();
        let status = Sipp::subscribe_as(&world, (ALICE, BOB), &endpoint, (3600, 200), format.media())?
            .ended(PATIENCE)
            .await?;
        ensure!(status.success(), "SUBSCRIBE {endpoint}: SIPp ended with {status}");
    }
    let request = scene.bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");
    scene.bob.show("dnd", "seen by SIPp", 0).await?;
    scene.bob.approve(ALICE).await?;
    for (media, part) in [
        (Format::Pidf, "<show xmlns='jabber:client'>dnd</show>"),
        (Format::Msrtc, "<activity aggregate='600' description='' note='seen by SIPp'/>"),
        (Format::Xpidf, "<msnsubstatus substatus='busy'/>"),
        (Format::Categories, "<availability>9500</availability>"),
    ] {
        notified.says(&format!("Content-Type: {}", media.media())).await?;
        notified.says(part).await?;
    }
    notified.stop().await?;

    let mut sipp = Sipp::publish(&world, ALICE).await?;
    scene.bob.add_contact(ALICE).await?;
    for note in ["Pidf", "Msrtc", "In a call", "Categories"] {
        let seen = scene.bob.presence_until(ALICE, note, &[], |seen| text(seen, "status") == note).await?;
        ensure!(text(&seen, "show") == "dnd", "{seen}");
    }
    let status = sipp.ended(PATIENCE).await?;
    ensure!(status.success(), "SIPp ended with {status}");
    scene.gateway.still_runs()
}
