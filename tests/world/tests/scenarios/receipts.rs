//! What becomes of messages: notifications of the SIP side (RFC 5438, and those of Lync) beside receipts, markers and errors.

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Clients, Invited};
use nuncio_world::pidf::Tuple;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;

use super::scene::{ALICE, BOB, check_message};
use super::sessions::{begins, bob_sends, next_request, stage};
use super::stage::{Stage, until_a_message, until_a_request};

const CPIM: &str = "message/cpim";
const MS_IMDN: &str = "application/ms-imdn+xml";
const NOBODY: &str = "nobody@fabrikam.com";

/// "hello", whose sender wants to know this of it.
fn asking(id: &str, wishes: &str) -> String {
    format!(
        "From: <im:{ALICE}>\r\nTo: <im:{BOB}>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\n\
         DateTime: 2026-11-20T15:18:05+01:00\r\nimdn.Disposition-Notification: {wishes}\r\n\r\n\
         Content-Type: text/plain;charset=utf-8\r\n\r\nhello"
    )
}

/// A notification (RFC 5438) about that message, from that contact, with that word.
fn check_notification(request: &SipMessage, from: &str, id: &str, word: &str) -> Result<()> {
    ensure!(request.address("From")? == format!("sip:{from}"), "{request}");
    ensure!(request.must("Content-Type")? == CPIM, "{request}");
    for part in [&format!("<message-id>{id}</message-id>"), word, "Content-Disposition: notification"] {
        ensure!(request.body.contains(part), "no {part}:\n{request}");
    }
    Ok(())
}

/// Bob's client, or his server, says something about that message.
async fn bob_tells(stage: &mut Stage, message: &Element, word: &str) -> Result<()> {
    let id = message.attribute("id").with_context(|| format!("no id: {message}"))?;
    let to = message.attribute("from").with_context(|| format!("from nobody: {message}"))?;
    stage
        .scene
        .bob
        .send_raw(&format!("<message to='{to}' id='told-{id}'>{}</message>", word.replace("ID", id)))
        .await
}

const RECEIVED: &str = "<received xmlns='urn:xmpp:receipts' id='ID'/>";
const DISPLAYED: &str = "<displayed xmlns='urn:xmpp:chat-markers:0' id='ID'/>";

/// Her client asks what became of her messages: that they arrived, were displayed, failed; each is told once (IM-41, IM-43).
pub(crate) async fn im_41_the_user_asks_what_became_of_a_message(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let all = asking("m1", "positive-delivery, negative-delivery, display");
    let answer = stage.front_end.send_message_as(ALICE, BOB, CPIM, &all).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let message = stage.scene.bob.next_message().await?;
    check_message(&message, ALICE, BOB, "hello")?;
    ensure!(message.child("request").is_some() && message.child("markable").is_some(), "{message}");
    for (said, word) in [(RECEIVED, "<delivered/>"), (DISPLAYED, "<displayed/>")] {
        for _ in 0..2 {
            bob_tells(&mut stage, &message, said).await?;
        }
        let told = next_request(&stage, "MESSAGE").await?;
        check_notification(&told, BOB, "m1", word)?;
    }

    // ejabberd's error, which comes after the 200.
    let failing = asking("m2", "negative-delivery");
    let answer = stage.front_end.send_message_as(ALICE, NOBODY, CPIM, &failing).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_notification(&next_request(&stage, "MESSAGE").await?, NOBODY, "m2", "<failed/>")?;

    // Who has asked for nothing is told nothing.
    let answer = stage.front_end.send_message(ALICE, BOB, "no questions").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let message = stage.scene.bob.next_message().await?;
    ensure!(message.child("request").is_none() && message.child("markable").is_none(), "{message}");
    bob_tells(&mut stage, &message, RECEIVED).await?;
    let more = until_a_request(&stage.front_end, &mut stage.scene.bob).await?;
    ensure!(more.is_empty(), "{more:?}");
    stage.scene.gateway.still_runs()
}

/// In a session whose side reads such things, the notification comes in it; with Lync's clients alone (CH-08).
pub(crate) async fn ch_08_notifications_come_in_sessions(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    for clients in [Clients::Rfc, Clients::Lync] {
        stage.front_end.clients_are(clients);
        let mut chat = begins(&stage).await?;
        let answer = chat.say_as(CPIM, &asking("m1", "positive-delivery")).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let message = stage.scene.bob.next_message().await?;
        check_message(&message, ALICE, BOB, "hello")?;
        bob_tells(&mut stage, &message, RECEIVED).await?;
        let told = next_request(&stage, "MESSAGE").await?;
        check_notification(&told, BOB, "m1", "<delivered/>")?;
        let inside = told.must("Call-ID")? == chat.call_id();
        ensure!(inside == (clients == Clients::Rfc), "{clients:?}:\n{told}");
        let answer = chat.bye().await?;
        ensure!(answer.status() == Some(200), "{answer}");
    }
    stage.scene.gateway.still_runs()
}

/// What Lync's front ends say of a message that they have accepted only (202): it arrived, or not.
fn ms_imdn(id: &str, status: u16) -> String {
    format!(
        "<?xml version=\"1.0\"?><imdn xmlns=\"http://schemas.microsoft.com/rtc/2005/08/imdn\"><message-id>{id}\
         </message-id><recipient uri=\"sip:{ALICE}\"><status>{status}</status></recipient></imdn>"
    )
}

/// Bob hears of his message what the front end says later, once (IM-40, IM-41).
pub(crate) async fn im_40_the_contact_hears_what_became_of_a_message(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    // Who may not see her is not told whether she has got anything.
    stage.bob_sees_alice(&[Tuple::open("desk")]).await?;
    for (id, status) in [("kept-1", 200), ("kept-2", 408)] {
        stage.front_end.keeps_next(id);
        bob_sends(&mut stage, id, "<body>are you there</body><request xmlns='urn:xmpp:receipts'/>").await?;
        let arrival = stage.front_end.next_is("MESSAGE").await?;
        ensure!(arrival.status == 202, "{}", arrival.request);
        // The next one leaves when the gateway has read that, and no sooner: the notification comes on another connection.
        bob_sends(&mut stage, &format!("after-{id}"), "<body>and now</body>").await?;
        stage.front_end.next_is("MESSAGE").await?;
        let early = until_a_message(&stage.front_end, &mut stage.scene.bob).await?;
        ensure!(early.iter().all(|stanza| stanza.name != "message"), "nobody knows yet: {early:?}");

        for _ in 0..2 {
            let answer = stage.front_end.send_message_as(ALICE, BOB, MS_IMDN, &ms_imdn(id, status)).await?;
            ensure!(answer.status() == Some(200), "{answer}");
        }
        let told = stage.scene.bob.next_message().await?;
        match status {
            200 => {
                let received = told.child("received").with_context(|| format!("no receipt: {told}"))?;
                ensure!(received.attribute("id") == Some(id), "{told}");
            }
            _ => {
                ensure!(
                    told.attribute("type") == Some("error") && told.attribute("id") == Some(id),
                    "{told}"
                );
                ensure!(told.condition() == Some("remote-server-timeout"), "{told}");
            }
        }
        let more = until_a_message(&stage.front_end, &mut stage.scene.bob).await?;
        ensure!(more.iter().all(|stanza| stanza.name != "message"), "twice: {more:?}");
    }
    stage.scene.gateway.still_runs()
}
