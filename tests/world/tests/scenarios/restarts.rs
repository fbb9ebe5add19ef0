//! Servers and the gateway go and come back: everything is as before, nobody is asked twice, and nothing flaps.

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Decision, FrontEnd, Watch};
use nuncio_world::pidf::Tuple;
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_presence::{kind, text};

use super::scene::{ALICE, BOB};
use super::stage::{Stage, check_end, new_watcher};

/// What must not reach Bob while nothing happens to Alice.
pub(crate) const PROMPTS_AND_FLAPS: &[&str] =
    &["unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed"];

/// What each does next reaches the other, on the dialogs that were there, and nothing else was seen in between.
pub(crate) async fn goes_on(
    front_end: &FrontEnd,
    bob: &mut XmppClient,
    watch: &mut Watch,
    word: &str,
) -> Result<()> {
    front_end.publish(ALICE, &[Tuple::open("desk").note(word)]).await?;
    bob.presence_until(ALICE, word, PROMPTS_AND_FLAPS, |seen| text(seen, "status") == word).await?;
    bob.show("away", word, 0).await?;
    loop {
        let notice = watch.next().await?;
        ensure!(notice.state == "active" && notice.is_open(), "flapped: {}", notice.request);
        if notice.notes(word) {
            break;
        }
    }
    let answer = watch.refresh(3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    ensure!(bob.subscription_with(ALICE).await? == ("both".to_owned(), false));
    Ok(())
}

/// Both see each other.
pub(crate) async fn friends(stage: &mut Stage) -> Result<Watch> {
    stage.bob_sees_alice(&[Tuple::open("desk").note("before")]).await?;
    let watch = stage.alice_sees_bob("e1").await?;
    let bob = &mut stage.scene.bob;
    ensure!(bob.subscription_with(ALICE).await? == ("both".to_owned(), false));
    Ok(watch)
}

/// `kill -9`, with subscriptions both ways: they are taken up in their dialogs (PR-05, PR-36).
pub(crate) async fn gateway_killed_and_everything_is_as_before(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let mut watch = friends(&mut stage).await?;
    let watchers = stage.front_end.watchers(ALICE);
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "before the end").await?;

    stage.scene.gateway.kill().await?;
    stage.scene.gateway.start_again().await?;
    let arrival = stage.front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.status == 200 && arrival.request.must("To")?.contains(";tag="), "{}", arrival.request);
    ensure!(stage.front_end.watchers(ALICE) == watchers, "another dialog");
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "after the start").await?;

    // What happened to both while nobody was there.
    stage.scene.gateway.kill().await?;
    stage.front_end.set_presence(ALICE, &[Tuple::open("phone").show("xa")])?;
    stage.scene.bob.show("dnd", "meanwhile", 0).await?;
    stage.scene.gateway.start_again().await?;
    let bob = &mut stage.scene.bob;
    let seen = bob
        .presence_until(ALICE, "her phone", &PROMPTS_AND_FLAPS[1..], |seen| text(seen, "show") == "xa")
        .await?;
    ensure!(seen.attribute("from") == Some("alice@contoso.com/phone"), "{seen}");
    let gone = bob.next_presence_from(ALICE).await?;
    ensure!(
        kind(&gone) == "unavailable" && gone.attribute("from") == Some("alice@contoso.com/desk"),
        "{gone}"
    );
    let notice = watch.until("what Bob is now", |notice| notice.notes("meanwhile")).await?;
    ensure!(notice.state == "active", "{}", notice.request);
    stage.scene.gateway.still_runs()
}

/// The front end has lost its dialogs as well: 481, a new dialog, and the contact notices nothing (PR-07).
pub(crate) async fn gateway_killed_and_front_end_has_forgotten(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let mut watch = friends(&mut stage).await?;
    stage.scene.gateway.kill().await?;
    stage.front_end.forget_watchers();
    stage.scene.gateway.start_again().await?;
    let refresh = stage.front_end.next_is("SUBSCRIBE").await?;
    ensure!(refresh.status == 481, "{}", refresh.request);
    new_watcher(&stage.front_end).await?;
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "after the start").await
}

/// `kill -9` while both still have to decide: both decide later, and each was asked once.
pub(crate) async fn gateway_killed_before_they_decide(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    front_end.decide(ALICE, Decision::Pending);
    front_end.set_presence(ALICE, &[Tuple::open("desk")])?;
    bob.add_contact(ALICE).await?;
    new_watcher(front_end).await?;
    // The answer to this says that everything up to here is on disk.
    let (mut watch, answer) = front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let request = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");

    stage.scene.gateway.kill().await?;
    stage.scene.gateway.start_again().await?;
    let arrival = front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.status == 200, "{}", arrival.request);
    // Whether it is the same dialog depends on how far the store had come; that she is asked once is the front end's affair.
    let watchers = front_end.watchers(ALICE);
    front_end.accept(watchers.last().context("nobody watches")?).await?;
    let consent = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&consent) == "subscribed", "{consent}");
    bob.approve(ALICE).await?;
    watch.until("Bob being there", |notice| notice.state == "active" && notice.is_open()).await?;
    goes_on(front_end, bob, &mut watch, "both decided").await
}

/// The partner's server stops, or is killed, and comes back: the contact's client probes, nobody is asked again, and both see each other.
pub(crate) async fn ejabberd_restarts_and_everything_is_as_before(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let mut watch = friends(&mut stage).await?;
    for (word, crash) in [("back", false), ("back from the dead", true)] {
        if crash {
            stage.scene.server.kill().await?;
        } else {
            stage.scene.server.stop().await?;
        }
        stage.scene.server.start_again().await?;
        let mut bob = stage.scene.server.login("bob", "fabrikam.com").await?;
        bob.presence_until(ALICE, "her presence", PROMPTS_AND_FLAPS, |seen| kind(seen).is_empty()).await?;
        bob.show("", word, 0).await?;
        let notice = watch.until("Bob being back", |notice| notice.notes(word)).await?;
        ensure!(notice.state == "active", "{}", notice.request);
        let again = stage.front_end.waiting().await;
        ensure!(again.is_empty(), "the front end was asked again: {again:?}");
        goes_on(&stage.front_end, &mut bob, &mut watch, word).await?;
    }
    stage.scene.gateway.still_runs()
}

/// SIGTERM: endpoints are told to subscribe again (EV-15), the contact sees nothing of it; then all is as before.
pub(crate) async fn planned_stop_sends_deactivated(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let mut watch = friends(&mut stage).await?;
    stage.scene.gateway.terminate().await?;
    check_end(&watch.until("the end", |notice| notice.state == "terminated").await?, "deactivated")?;
    stage.scene.gateway.start_again().await?;
    let (mut watch, answer) = stage.front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let first = watch.next().await?;
    ensure!(first.state == "active", "{}", first.request);
    watch.until("Bob being there", |notice| notice.is_open()).await?;
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "after the start").await
}
