//! Servers that go and come back, and a gateway that is told to go: delivered or reported, and nothing twice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::Settings;
use nuncio_world::kamailio::Edge;
use nuncio_world::within;
use nuncio_world::xmpp_client::XmppClient;

use super::ledger::Ledger;
use super::scene::{ALICE, BOB, Scene, check_request, takes_all};

/// Reads what has come to Bob up to the message with the text.
async fn deliveries_until(ledger: &mut Ledger, bob: &mut XmppClient, last: &str) -> Result<()> {
    loop {
        let message = bob.next_message().await?;
        if message.body() == Some(last) {
            return Ok(());
        }
        let known = ledger.arrived(&message)? || message.body().is_some_and(|body| body.starts_with("last "));
        ensure!(known, "an unknown message: {message}");
    }
}

/// Done when: ejabberd stopped and started in between; delivered or reported, nothing doubled.
pub(crate) async fn ejabberd_stops_and_starts(world: World) -> Result<()> {
    // Shorter than the defaults, to make the outage longer than both.
    let limits = "xmpp.hold = \"8s\"";
    let mut scene = Scene::set_with(&world, &Settings { limits, ..Settings::default() }).await?;
    let mut reports = scene.answers(&world, takes_all).await?;
    let mut front_end = scene.calls(&world).await?;
    let mut ledger = Ledger::default();

    ledger.send(&mut front_end, BOB, 0..50).await?;
    ledger.answers(&mut front_end).await?;
    ensure!(ledger.status_of.values().all(|&status| status == 200), "{:?}", ledger.status_of);
    scene.bob.send_message(ALICE, "before").await?;
    check_request(&reports.next_message().await?, BOB, ALICE, "before")?;

    // Fifty under way while the server goes; ten more while it is gone.
    ledger.send(&mut front_end, BOB, 50..100).await?;
    // What reached Bob until then is read from the connection that ends with the server.
    scene.server.stop().await?;
    while let Ok(Ok(message)) = within("the end", scene.bob.next_message()).await {
        ensure!(ledger.arrived(&message)?, "what is this? {message}");
    }
    ledger.send(&mut front_end, BOB, 100..110).await?;
    ledger.answers(&mut front_end).await?;
    let while_down: Vec<_> = (100..110).filter_map(|number| ledger.status_of.get(&number)).collect();
    ensure!(while_down.iter().all(|&&status| status >= 400), "positive answers while down: {while_down:?}");

    scene.server.start_again().await?;
    let mut bob = scene.server.login("bob", "fabrikam.com").await?;
    ledger.send(&mut front_end, BOB, 110..130).await?;
    ledger.answers(&mut front_end).await?;

    // The way is open again when one is answered 200.
    let mut attempt = 0;
    let last = loop {
        attempt += 1;
        ensure!(attempt < 30, "ejabberd is never found again");
        let text = format!("last {attempt}");
        let call = front_end.send_message(ALICE, BOB, &text).await?;
        if front_end.final_answer(&call).await?.status() == Some(200) {
            break text;
        }
    };
    deliveries_until(&mut ledger, &mut bob, &last).await?;
    while !ledger.open().is_empty() {
        let open = ledger.open();
        let report = reports.next_message().await.with_context(|| format!("neither nor: {open:?}"))?;
        ensure!(ledger.told(&report)?, "who is that? {report}");
    }
    ledger.check()?;
    let rest = bob.stanzas_before_ping("end").await?;
    ensure!(rest.is_empty(), "came late: {rest:?}");

    bob.send_message(ALICE, "after").await?;
    loop {
        let request = reports.next_message().await?;
        if request.address("To")? == "sip:alice@contoso.com" && request.body == "after" {
            return scene.gateway.still_runs();
        }
    }
}

/// SIGTERM: what is under way is finished, the streams are closed, and the exit code is 0.
pub(crate) async fn sigterm_drains(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let mut front_end = scene.calls(&world).await?;
    let call = front_end.send_message(ALICE, BOB, "before the end").await?;
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    match world.edge() {
        Edge::Agent => {
            let (ended, last) = tokio::join!(scene.gateway.terminate(), front_end.next());
            ended?;
            ensure!(last?.is_none(), "the front end's connection was used after the end");
        }
        // Ours goes no further than to Kamailio, which finds the gateway again.
        Edge::Kamailio => scene.gateway.terminate().await?,
    }
    ensure!(scene.bob.next_message().await?.body() == Some("before the end"));
    // Nothing is doubled by the next run.
    scene.gateway.start_again().await?;
    let mut front_end = scene.calls(&world).await?;
    let call = front_end.send_message(ALICE, BOB, "after the start").await?;
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    ensure!(scene.bob.next_message().await?.body() == Some("after the start"));
    let rest = scene.bob.next_within(Duration::ZERO).await?;
    ensure!(rest.is_none(), "{rest:?}");
    Ok(())
}
