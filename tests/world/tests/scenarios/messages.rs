//! One message each way, and every way in which one can fail to arrive.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::Settings;
use nuncio_world::sip_agent::Reply;

use super::scene::{ALICE, BOB, Scene, check_message, check_notice, check_request, takes_all};

const TEXTS: [&str; 4] =
    ["Hello", "<b>&amp; \"quotes\" 'n' ]]>", "zwölf Boxkämpfer 🦊 — שלום", "two lines\nand  spaces "];

/// Bodies arrive verbatim (IM-03), between the right addresses, in order.
pub(crate) async fn messages_go_both_ways(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let mut front_end = scene.answers(&world, takes_all).await?;
    let mut alice = scene.calls(&world).await?;
    for text in TEXTS {
        let call = alice.send_message(ALICE, BOB, text).await?;
        check_message(&scene.bob.next_message().await?, ALICE, BOB, text)?;
        let answer = alice.final_answer(&call).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        // IM-02
        ensure!(answer.header("Contact").is_none() && answer.body.is_empty(), "{answer}");

        scene.bob.send_message(ALICE, text).await?;
        // The lines of text/plain end in CRLF (RFC 2046 s4.1.1).
        check_request(&front_end.next_message().await?, BOB, ALICE, &text.replace('\n', "\r\n"))?;
    }
    let options = alice.send_options("contoso.com").await?;
    ensure!(alice.final_answer(&options).await?.status() == Some(200));
    ensure!(front_end.waiting().is_empty());
    let more = scene.bob.stanzas_before_ping("end").await?;
    ensure!(more.is_empty(), "{more:?}");
    scene.gateway.still_runs()
}

/// ejabberd's error for a user who does not exist reaches the SIP user as a message from that address.
pub(crate) async fn unknown_xmpp_user_is_reported(world: World) -> Result<()> {
    let scene = Scene::set(&world).await?;
    let mut front_end = scene.answers(&world, takes_all).await?;
    let mut alice = scene.calls(&world).await?;
    let call = alice.send_message(ALICE, "nobody@fabrikam.com", "are you there").await?;
    let answer = alice.final_answer(&call).await?;
    // ejabberd has no acknowledgements between servers: written out is the strongest evidence there is.
    ensure!(answer.status() == Some(200), "{answer}");
    check_notice(&front_end.next_message().await?, "nobody@fabrikam.com", ALICE, "are you there")
}

/// The front end's 404 reaches the XMPP user as an error that gives nothing away (DEC-03).
pub(crate) async fn unknown_sip_user_is_reported(world: World) -> Result<()> {
    let mut scene = Scene::set(&world).await?;
    let mut front_end = scene
        .answers(&world, |request| {
            if request.start.contains("nobody@") {
                Reply::Status(404, "Not Found")
            } else {
                takes_all(request)
            }
        })
        .await?;
    let id = scene.bob.send_message("nobody@contoso.com", "are you there").await?;
    check_request(&front_end.next_message().await?, BOB, "nobody@contoso.com", "are you there")?;
    let error = scene.bob.next_message().await?;
    ensure!(error.attribute("type") == Some("error"), "{error}");
    ensure!(error.attribute("id") == Some(&id), "{error}");
    ensure!(error.attribute("from") == Some("nobody@contoso.com"), "{error}");
    ensure!(error.condition() == Some("service-unavailable"), "{error}");
    let class = error.child("error").and_then(|error| error.attribute("type"));
    ensure!(class == Some("cancel"), "{error}");

    // And somebody who is there is not bothered by that.
    scene.bob.send_message(ALICE, "hello").await?;
    check_request(&front_end.next_message().await?, BOB, ALICE, "hello")
}

/// Nobody listens where the front end should be: the sender is told.
pub(crate) async fn absent_front_end_is_reported(world: World) -> Result<()> {
    let limits = "sip.hold = \"2s\"";
    let mut scene = Scene::set_with(&world, &Settings { limits, ..Settings::default() }).await?;
    let id = scene.bob.send_message(ALICE, "into the void").await?;
    let error = scene.bob.next_message().await?;
    ensure!(error.attribute("type") == Some("error") && error.attribute("id") == Some(&id), "{error}");
    ensure!(error.condition().is_some(), "{error}");
    world.log("scenario").push(format!("the first is reported: {error}"));

    // The front end comes up: the next message that is not refused arrives, and only that.
    let mut front_end = scene.answers(&world, takes_all).await?;
    for number in 0.. {
        let text = format!("attempt {number}");
        let id = scene.bob.send_message(ALICE, &text).await?;
        tokio::select! {
            request = front_end.next_message() => {
                check_request(&request?, BOB, ALICE, &text)?;
                break;
            }
            error = scene.bob.next_message() => {
                let error = error?;
                ensure!(error.attribute("id") == Some(&id), "{error}");
                ensure!(number < 100, "the front end is never found again: {error}");
            }
        }
    }
    Ok(())
}

/// A partner that is listed, whose server is not there: the SIP user is told by a final answer.
pub(crate) async fn absent_partner_is_reported(world: World) -> Result<()> {
    let limits = "xmpp.hold = \"2s\"";
    let scene = Scene::set_with(&world, &Settings { limits, ..Settings::default() }).await?;
    let mut alice = scene.calls(&world).await?;
    let call = alice.send_message(ALICE, "carol@wingtip.com", "into the void").await?;
    let answer = alice.final_answer(&call).await?;
    ensure!(answer.status().is_some_and(|status| status >= 400), "{answer}");
    Ok(())
}
