//! A connection is cut in the middle of traffic where stanzas are acknowledged (XEP-0198).
//!
//! Prosody resumes no session of another server: it agrees to stream management and names none. So each stream begins a session
//! of its own, and what was not acknowledged on the one that is gone is its sender's to know of, on either side.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::Settings;
use nuncio_world::network::Cut;
use nuncio_world::sip_agent::Reply;
use nuncio_world::wait::until_ok;
use nuncio_world::world::{FABRIKAM, GATEWAY};
use nuncio_world::xmpp_server::{Brand, SERVERS, Setup};

use super::ledger::Ledger;
use super::scene::{ALICE, BOB, Scene, check_request, takes_all};

/// Written to a server that does nothing: without acknowledgement when the connection is cut.
const UNDER_WAY: std::ops::Range<usize> = 50..70;
/// The one that finds out.
const FINDS_OUT: usize = UNDER_WAY.end;
const LAST: usize = 120;

pub(crate) async fn sm_02_a_cut_stream_begins_a_new_session(world: World) -> Result<()> {
    our_stream_is_cut(&world, Setup { acks: true, ..Setup::default() }).await
}

pub(crate) async fn sm_02_a_cut_stream_both_ways_begins_a_new_session(world: World) -> Result<()> {
    our_stream_is_cut(&world, Setup { acks: true, bidi: true, ..Setup::default() }).await
}

/// What was acknowledged had been answered with 200, what was not is answered with 504, and what comes later goes by a new
/// stream. Nothing comes twice.
async fn our_stream_is_cut(world: &World, setup: Setup) -> Result<()> {
    let mut scene = Scene::set_at(world, Brand::Prosody, &setup, &Settings::default()).await?;
    let mut reports = scene.answers(world, takes_all).await?;
    let mut front_end = scene.calls(world).await?;
    let mut ledger = Ledger::default();
    ledger.send(&mut front_end, BOB, 0..UNDER_WAY.start).await?;
    ledger.answers(&mut front_end).await?;

    scene.server.freeze().await?;
    ledger.send(&mut front_end, BOB, UNDER_WAY).await?;
    until_ok("all of it to be written", async || {
        let lane = scene.gateway.status().await?.lane("fabrikam.com")?;
        Ok(lane.unconfirmed == UNDER_WAY.len() as u64)
    })
    .await?;
    let cut = Cut::begin(FABRIKAM, SERVERS).await?;
    ledger.send(&mut front_end, BOB, FINDS_OUT..FINDS_OUT + 1).await?;
    until_ok("the stream to be lost", async || Ok(!scene.gateway.status().await?.lane("fabrikam.com")?.open))
        .await?;
    cut.end().await?;
    scene.server.thaw().await?;
    ledger.send(&mut front_end, BOB, FINDS_OUT + 1..LAST).await?;
    ledger.answers(&mut front_end).await?;
    for (number, status) in &ledger.status_of {
        let expected: &[u16] = match *number {
            FINDS_OUT => &[200, 504],
            number if UNDER_WAY.contains(&number) => &[504],
            _ => &[200],
        };
        ensure!(expected.contains(status), "message {number}: {status}");
    }

    // What the server had read before the cut it has passed on, too: that is what "may or may not" means.
    for message in scene.bob.stanzas_before_ping("end").await? {
        ensure!(ledger.arrived(&message)?, "{message}");
    }
    ensure!(ledger.open().is_empty(), "answered with 200, and not there: {:?}", ledger.open());
    ledger.check()?;
    let told = reports.waiting();
    ensure!(told.is_empty(), "reported after its answer: {told:?}");

    let log = scene.server.log();
    let agreed = log.so_many_lines_with(2, &["Sending[s2sin]: <enabled "]).await?;
    ensure!(agreed.len() == 2, "a session for each of two streams: {agreed:?}");
    ensure!(agreed.iter().all(|line| !line.contains(" id='")), "a session that could be resumed: {agreed:?}");
    let resumed = log.lines_with(&["Received[s2sin", ": <resume "]);
    ensure!(resumed.is_empty(), "a session that it has not named: {resumed:?}");
    scene.gateway.still_runs()
}

/// The other way: what we have not acknowledged, Prosody reports to its user, and it goes on with a new stream. Nothing that had
/// reached the front end comes a second time.
pub(crate) async fn sm_02_a_cut_stream_of_prosodys_begins_a_new_session(world: World) -> Result<()> {
    let setup = Setup { acks: true, ..Setup::default() };
    let mut scene = Scene::set_at(&world, Brand::Prosody, &setup, &Settings::default()).await?;
    // Without an answer of the front end nothing is acknowledged.
    let mut front_end = scene
        .answers(&world, |request| match request.address("To") {
            Ok(to) if to.starts_with("sip:slow") => Reply::Silence,
            _ => Reply::Status(200, "OK"),
        })
        .await?;
    scene.bob.send_message(ALICE, "first").await?;
    check_request(&front_end.next_message().await?, BOB, ALICE, "first")?;
    scene.server.log().line_with(&["Received[s2sout]: <enabled "]).await?;

    let mut under_way = BTreeSet::new();
    for number in 0..5 {
        let user = format!("slow{number}@contoso.com");
        under_way.insert(scene.bob.send_message(&user, "under way").await?);
        check_request(&front_end.next_message().await?, BOB, &user, "under way")?;
    }
    let cut = Cut::begin(GATEWAY, SERVERS).await?;
    under_way.insert(scene.bob.send_message(ALICE, "finds out").await?);
    while !under_way.is_empty() {
        let error = scene.bob.next_message().await?;
        let condition = error.condition();
        ensure!(condition == Some("recipient-unavailable"), "{condition:?}: {error}");
        ensure!(under_way.remove(error.attribute("id").unwrap_or_default()), "reported twice: {error}");
    }
    cut.end().await?;

    scene.bob.send_message(ALICE, "after").await?;
    check_request(&front_end.next_message().await?, BOB, ALICE, "after")?;
    let rest = front_end.waiting();
    ensure!(rest.is_empty(), "come a second time: {rest:?}");
    let established = ["inbound stream established", "partner=\"fabrikam.com\""];
    let opened = scene.gateway.log().so_many_lines_with(2, &established).await?;
    ensure!(opened.len() == 2, "{opened:?}");
    let asked = scene.server.log().lines_with(&["Sending[s2sout", ": <resume "]);
    ensure!(asked.is_empty(), "{asked:?}");
    scene.gateway.still_runs()
}
