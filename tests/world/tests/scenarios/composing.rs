//! Typing as RFCs have it: isComposing in a MESSAGE (RFC 3994), where both sides read it.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Clients, Invited};

use super::scene::{ALICE, BOB, check_message};
use super::sessions::{STATES, begins, bob_sends, next_request, stage, state_of};

const IS_COMPOSING: &str = "application/im-iscomposing+xml";

fn document(state: &str) -> String {
    format!("<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>{state}</state></isComposing>")
}

/// Both ways in a session; a message ends typing without a word; outside of a session there is none (IM-30 to IM-33).
pub(crate) async fn im_33_is_composing_both_ways(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    stage.front_end.clients_are(Clients::Rfc);
    let answer = stage.front_end.send_message_as(ALICE, BOB, IS_COMPOSING, &document("active")).await?;
    ensure!(answer.status() == Some(415), "alone:\n{answer}");

    let mut chat = begins(&stage).await?;
    chat.say("hello").await?;
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "hello")?;
    bob_sends(&mut stage, "b1", &format!("<body>hi</body><active xmlns='{STATES}'/>")).await?;
    ensure!(next_request(&stage, "MESSAGE").await?.body == "hi");

    for (state, expected) in [("active", "composing"), ("idle", "active")] {
        let answer = chat.say_as(IS_COMPOSING, &document(state)).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let message = stage.scene.bob.next_message().await?;
        ensure!(state_of(&message) == Some(expected) && message.body().is_none(), "{message}");
    }
    bob_sends(&mut stage, "b2", &format!("<composing xmlns='{STATES}'/>")).await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.must("Content-Type")? == IS_COMPOSING, "{request}");
    ensure!(
        request.body.contains("<state>active</state>") && request.must("Call-ID")? == chat.call_id(),
        "{request}"
    );
    bob_sends(&mut stage, "b3", &format!("<body>done</body><active xmlns='{STATES}'/>")).await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.body == "done", "typing is over with the message:\n{request}");
    let answer = chat.bye().await?;
    ensure!(answer.status() == Some(200), "{answer}");
    stage.scene.gateway.still_runs()
}
