//! The front end that the gateway knows: Kamailio, and one that goes and comes back.

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::Settings;
use nuncio_world::kamailio::{Behind, Edge};
use nuncio_world::pidf::Tuple;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::world::GATEWAY;
use nuncio_world::xmpp_presence::{kind, text};

use super::restarts::{PROMPTS_AND_FLAPS, friends, goes_on};
use super::scene::{ALICE, BOB};
use super::stage::{Stage, check_subscribe};

/// A front end that was away is looked for at once, not after a minute.
const QUICK: &str = "sip.backoff_initial = \"100ms\"\nsip.backoff_max = \"500ms\"";

/// Where the pool behind Kamailio connects from.
const HERE: &str = "127.0.0.1";

/// What has come by Kamailio: its Via stands above the gateway's.
fn check_path(request: &SipMessage) -> Result<()> {
    let path: Vec<&str> = request.all("Via").collect();
    ensure!(path.len() == 2 && path[0].contains("SIP/2.0/TLS fe.contoso.com:5061"), "{request}");
    Ok(())
}

/// Kamailio has put itself into the route of every dialog, and each request within one goes through it, by its own word
/// (RFC 3261 s12.1.1, s12.1.2, s16.12).
pub(crate) async fn kamailio_stays_in_the_path(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let watcher = stage.bob_sees_alice(&[Tuple::open("desk")]).await?;
    let mut watch = stage.alice_sees_bob("e1").await?;
    let log = world.log("kamailio");

    // The gateway's NOTIFY within the dialog that Alice's endpoint began.
    stage.scene.bob.show("away", "by way of Kamailio", 0).await?;
    let notice = watch.until("his note", |notice| notice.notes("by way of Kamailio")).await?;
    check_path(&notice.request)?;
    log.line_after(0, &format!("within a dialog: NOTIFY from {GATEWAY}:")).await?;
    // Our own entry is the one that is left of the route.
    ensure!(notice.request.must("Route")?.contains("pool.contoso.com"), "{}", notice.request);

    // Her endpoint's SUBSCRIBE within it, and the front end's NOTIFY within the dialog that the gateway began.
    let answer = watch.refresh(3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    stage.front_end.notify_again(&watcher).await?;
    for method in ["SUBSCRIBE", "NOTIFY"] {
        log.line_after(0, &format!("within a dialog: {method} from {HERE}:")).await?;
    }

    // The gateway's SUBSCRIBE that ends it.
    stage.scene.bob.unsubscribe(ALICE).await?;
    let end = stage.front_end.next_is("SUBSCRIBE").await?;
    check_path(&end.request)?;
    ensure!(end.request.must("Expires")? == "0" && end.status == 200, "{}", end.request);
    log.line_after(0, &format!("within a dialog: SUBSCRIBE from {GATEWAY}:")).await?;
    Ok(())
}

/// The one that the gateway knows is gone, with its connections.
async fn kill_front_end(world: &World, stage: &Stage) -> Result<()> {
    match world.edge() {
        Edge::Agent => stage.front_end.kill().await,
        Edge::Kamailio => world.kill_edge().await?,
    }
    Ok(())
}

async fn restart_front_end(world: &World, stage: &Stage) -> Result<()> {
    match world.edge() {
        Edge::Agent => stage.front_end.start_again().await,
        Edge::Kamailio => world.open_edge(Behind::Agent).await,
    }
}

/// The front end is killed and comes back while the gateway runs: the dialogs that were there go on, Bob is asked nothing,
/// neither is seen to have gone, and what happened meanwhile is seen right afterwards (XI-09, PR-36).
pub(crate) async fn front_end_killed_and_everything_is_as_before(world: World) -> Result<()> {
    let mut stage = Stage::set_with(&world, &Settings { limits: QUICK, ..Settings::default() }).await?;
    let mut watch = friends(&mut stage).await?;
    let watchers = stage.front_end.watchers(ALICE);
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "before the end").await?;

    kill_front_end(&world, &stage).await?;
    stage.front_end.set_presence(ALICE, &[Tuple::open("desk").show("xa").note("meanwhile")])?;
    stage.scene.bob.show("dnd", "meanwhile", 0).await?;
    // It is found to be away before it is back.
    world.log("nuncio").line_after(0, "was lost and none can be reached").await?;
    restart_front_end(&world, &stage).await?;
    let arrival = stage.front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.status == 200 && arrival.request.must("To")?.contains(";tag="), "{}", arrival.request);
    ensure!(stage.front_end.watchers(ALICE) == watchers, "another dialog");
    let bob = &mut stage.scene.bob;
    bob.presence_until(ALICE, "what she is now", PROMPTS_AND_FLAPS, |seen| {
        text(seen, "status") == "meanwhile"
    })
    .await?;
    let notice = watch.until("what Bob is now", |notice| notice.notes("meanwhile")).await?;
    ensure!(notice.state == "active", "{}", notice.request);
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "after the start").await?;
    stage.scene.gateway.still_runs()
}

/// It comes back and has forgotten all subscriptions: 481, a new dialog, and her endpoint asks again. Bob notices nothing of
/// it, and is asked nothing (PR-07, PR-36).
pub(crate) async fn front_end_killed_and_has_forgotten(world: World) -> Result<()> {
    let mut stage = Stage::set_with(&world, &Settings { limits: QUICK, ..Settings::default() }).await?;
    let watch = friends(&mut stage).await?;
    kill_front_end(&world, &stage).await?;
    stage.front_end.forget_watchers();
    drop(watch);
    stage.front_end.set_presence(ALICE, &[Tuple::open("desk").note("restarted")])?;
    world.log("nuncio").line_after(0, "was lost and none can be reached").await?;
    restart_front_end(&world, &stage).await?;

    let refresh = stage.front_end.next_is("SUBSCRIBE").await?;
    ensure!(refresh.status == 481, "{}", refresh.request);
    let arrival = stage.front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.status == 200, "{}", arrival.request);
    check_subscribe(&arrival.request)?;
    let bob = &mut stage.scene.bob;
    bob.presence_until(ALICE, "what she is now", PROMPTS_AND_FLAPS, |seen| {
        text(seen, "status") == "restarted"
    })
    .await?;

    let (mut watch, answer) = stage.front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let first = watch.next().await.context("presence right after the answer")?;
    ensure!(first.state == "active" && first.is_open(), "{}", first.request);
    goes_on(&stage.front_end, &mut stage.scene.bob, &mut watch, "after the start").await?;
    let rest = stage.scene.bob.stanzas_before_ping("end").await?;
    ensure!(rest.iter().all(|stanza| !PROMPTS_AND_FLAPS.contains(&kind(stanza))), "{rest:?}");
    Ok(())
}
