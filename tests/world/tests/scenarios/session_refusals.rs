//! What no session is made of, and what is learnt where sessions are refused.

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Clients, DESCRIPTION, Invited};
use nuncio_world::gateway::Settings;
use nuncio_world::sip_text::SipMessage;

use super::scene::{ALICE, BOB, check_message};
use super::sessions::{begins, next_request, stage};
use super::stage::Stage;

/// What a user's client wants of the gateway's contact, and cannot have.
async fn invite(stage: &Stage, media: &str, body: &str, more: &[(&str, &str)]) -> Result<SipMessage> {
    let (chat, answer) = stage.front_end.invite_with(ALICE, BOB, (media, body), more).await?;
    ensure!(chat.is_none(), "accepted:\n{answer}");
    Ok(answer)
}

/// Calls, MSRP and conferences are refused with the reason, and leave nothing; messages beside a call are taken, without the
/// call (CH-10, CH-12).
pub(crate) async fn ch_10_calls_and_conferences_are_refused(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    for media in [
        "m=audio 4000 RTP/AVP 0",
        "m=applicationsharing 4000 RTP/SAVP 127",
        "m=message 2855 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:msrp://fe.contoso.com:2855/x;tcp",
    ] {
        let answer = invite(&stage, DESCRIPTION, &Clients::only(media), &[]).await?;
        ensure!(answer.status() == Some(488), "{answer}");
        ensure!(answer.header("Warning").is_some() && answer.header("ms-diagnostics").is_some(), "{answer}");
    }
    let conference = "<Conferencing version=\"2.0\"><focus-uri>sip:alice@contoso.com;gruu;opaque=app:conf:focus:id:1\
                      </focus-uri><subject/><im available=\"true\"/></Conferencing>";
    let answer = invite(&stage, "application/ms-conf-invite+xml", conference, &[]).await?;
    ensure!(
        answer.status() == Some(488) && answer.must("ms-diagnostics")?.contains("conferences"),
        "{answer}"
    );
    let required = [("Require", "com.microsoft.rtc-multiparty")];
    let answer = invite(&stage, DESCRIPTION, &Clients::Lync.description(), &required).await?;
    ensure!(answer.status() == Some(420), "{answer}");
    ensure!(answer.must("Unsupported")? == "com.microsoft.rtc-multiparty", "{answer}");
    let none = stage.scene.bob.stanzas_before_ping("refused").await?;
    ensure!(none.is_empty(), "{none:?}");

    let (chat, answer) =
        stage.front_end.invite_with(ALICE, BOB, (DESCRIPTION, &Clients::Lync.with_audio()), &[]).await?;
    let mut chat = chat.with_context(|| format!("refused:\n{answer}"))?;
    ensure!(answer.body.contains("m=audio 0 "), "{answer}");
    // Somebody else is to be brought in.
    let answer = chat.ask("REFER", &[("Refer-To", "<sip:carol@contoso.com>")], "").await?;
    ensure!(answer.status() == Some(405) && answer.must("Allow")?.contains("MESSAGE"), "{answer}");
    let answer = chat.say("only words").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "only words")?;
    stage.scene.gateway.still_runs()
}

/// `im = "automatic"`: a front end that says for two users that it knows no INVITE is not asked again, for whichever of its users and
/// whichever contact; sessions that its users begin are taken all the same (CH-03).
pub(crate) async fn ch_03_a_front_end_without_sessions_is_learnt(world: World) -> Result<()> {
    let mut stage = Stage::set_with(&world, &Settings { im: "automatic", ..Settings::default() }).await?;
    let (dave, erin) = ("dave@contoso.com", "erin@contoso.com");
    for user in [ALICE, dave, erin] {
        stage.front_end.when_invited(user, Invited::Refuse(405, "Method Not Allowed"));
        stage.front_end.decide(user, nuncio_world::front_end::Decision::Accept);
    }
    stage.scene.bob.send_message(ALICE, "first").await?;
    next_request(&stage, "INVITE").await?;
    ensure!(next_request(&stage, "MESSAGE").await?.body == "first");
    let mut carol = stage.scene.server.user("carol", "fabrikam.com").await?;
    // The word of one user's device is not yet that of the front end.
    for (user, text, asked) in [(dave, "second", true), (ALICE, "third", false), (erin, "fourth", false)] {
        carol.send_message(user, text).await?;
        if asked {
            next_request(&stage, "INVITE").await?;
        }
        let request = next_request(&stage, "MESSAGE").await?;
        ensure!(request.body == text && !request.must("To")?.contains(";tag="), "{request}");
    }

    let mut chat = begins(&stage).await?;
    let answer = chat.say("but I do").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "but I do")?;
    stage.scene.bob.send_message(ALICE, "in it").await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.must("Call-ID")? == chat.call_id() && request.body == "in it", "{request}");
    stage.scene.gateway.still_runs()
}
