//! What changes a session from inside, and what ends it when nothing does: re-INVITE, UPDATE, session timers, CANCEL.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Clients, DESCRIPTION, Invited};
use nuncio_world::gateway::Settings;

use super::scene::{ALICE, BOB, check_message};
use super::sessions::{begins, next_request, stage};
use super::stage::Stage;

const CAROL: &str = "carol@contoso.com";
/// The shortest session interval that there is (RFC 4028 §4).
const INTERVAL: Duration = Duration::from_secs(90);

/// Refreshed and moved to another client by UPDATE and re-INVITE; a call that is added gets port 0, and one in place of the
/// messages is refused and changes nothing (CH-12, CH-13; RFC 3261 §14, RFC 3311).
pub(crate) async fn ch_12_a_session_is_changed_from_inside(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    let description = Clients::Lync.description();
    let timer = |seconds| [("Session-Expires", seconds)];
    let (none, answer) =
        stage.front_end.invite_with(ALICE, BOB, (DESCRIPTION, &description), &timer("60")).await?;
    ensure!(none.is_none() && answer.status() == Some(422), "{answer}");
    ensure!(answer.must("Min-SE")? == "90", "{answer}");
    let (chat, answer) =
        stage.front_end.invite_with(ALICE, BOB, (DESCRIPTION, &description), &timer("1200")).await?;
    let mut chat = chat.with_context(|| format!("refused:\n{answer}"))?;
    ensure!(answer.must("Session-Expires")? == "1200;refresher=uac", "{answer}");
    ensure!(answer.must("Require")? == "timer", "{answer}");

    let fields = [("Supported", "timer"), ("Session-Expires", "900;refresher=uac")];
    let answer = chat.update(&fields).await?;
    ensure!(
        answer.status() == Some(200) && answer.must("Session-Expires")? == "900;refresher=uac",
        "{answer}"
    );

    // She goes on at another client, where she would call, too.
    let moved = chat.client().replace("epid:chat", "epid:moved");
    let answer = chat.invite_again(&moved, &Clients::Lync.with_audio()).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    ensure!(answer.body.contains("m=audio 0 ") && answer.body.contains("m=message "), "{answer}");
    stage.scene.bob.send_message(ALICE, "where are you").await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.start.contains("epid:moved") && request.must("Call-ID")? == chat.call_id(), "{request}");

    let call = Clients::only("m=audio 4000 RTP/AVP 0");
    let answer = chat.invite_again("sip:alice@contoso.com;gr=call", &call).await?;
    ensure!(answer.status() == Some(488) && answer.header("Warning").is_some(), "{answer}");
    let answer = chat.say("here").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "here")?;
    stage.scene.bob.send_message(ALICE, "still there").await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.start.contains("epid:moved") && request.body == "still there", "{request}");
    stage.scene.gateway.still_runs()
}

/// Of two sessions with an interval of 90 s, the gateway refreshes the one that it is to refresh, and ends the other one,
/// which the front end was to refresh and has forgotten (CH-13; RFC 4028 §10).
pub(crate) async fn ch_13_sessions_are_refreshed_or_end(world: World) -> Result<()> {
    let stage = stage(&world, Invited::Accept).await?;
    let description = Clients::Lync.description();
    let mut calls = Vec::new();
    for (user, asked) in [(ALICE, "90;refresher=uas"), (CAROL, "90;refresher=uac")] {
        let fields = [("Session-Expires", asked)];
        let (chat, answer) =
            stage.front_end.invite_with(user, BOB, (DESCRIPTION, &description), &fields).await?;
        let chat = chat.with_context(|| format!("refused:\n{answer}"))?;
        ensure!(answer.must("Session-Expires")? == asked, "{answer}");
        calls.push(chat.call_id().to_owned());
    }
    // After half of the interval, and after two thirds of it.
    let update = stage.front_end.next_within(INTERVAL).await?.request;
    ensure!(update.method() == Some("UPDATE") && update.must("Call-ID")? == calls[0], "{update}");
    ensure!(update.must("Session-Expires")? == "90;refresher=uac", "{update}");
    let bye = next_request(&stage, "BYE").await?;
    ensure!(bye.must("Call-ID")? == calls[1], "{bye}");
    Ok(())
}

/// Nobody accepts the invitation of the contact: it is withdrawn, and his messages come back. Alice's own one was accepted
/// when she withdraws it, which changes nothing (SIP-28; RFC 3261 §9).
pub(crate) async fn sip_28_invitations_are_withdrawn(world: World) -> Result<()> {
    let limits = "sip.answer_within = \"5s\"";
    let settings = Settings { im: "session", limits, ..Settings::default() };
    let mut stage = Stage::set_with(&world, &settings).await?;
    stage.front_end.when_invited(ALICE, Invited::Ring);
    let mut sent = BTreeSet::new();
    for text in ["are you there", "hello?"] {
        sent.insert(stage.scene.bob.send_message(ALICE, text).await?);
    }
    let invite = next_request(&stage, "INVITE").await?;
    let cancel = next_request(&stage, "CANCEL").await?;
    ensure!(cancel.header("Call-ID") == invite.header("Call-ID"), "{cancel}");
    while !sent.is_empty() {
        let error = stage.scene.bob.next_message().await?;
        ensure!(error.attribute("type") == Some("error"), "{error}");
        ensure!(sent.remove(error.attribute("id").unwrap_or_default()), "not his, or twice: {error}");
    }

    let mut chat = begins(&stage).await?;
    let answer = stage.front_end.cancel(&stage.front_end.last_sent()).await?;
    ensure!(matches!(answer.status(), Some(200 | 481)), "{answer}");
    let answer = chat.say("all the same").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "all the same")?;
    let more = stage.front_end.waiting().await;
    ensure!(more.is_empty(), "{more:?}");
    stage.scene.gateway.still_runs()
}
