//! Sessions of instant messages, as clients of Lync have them: whoever begins, refused, typing, receipts, both at a time.

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::{Chat, Decision, Invited};
use nuncio_world::gateway::Settings;
use nuncio_world::pidf::Tuple;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::xml::Element;

use super::scene::{ALICE, BOB, check_message};
use super::stage::Stage;

pub(crate) const STATES: &str = "http://jabber.org/protocol/chatstates";

/// A front end that is invited to sessions, and does that with them.
pub(crate) async fn stage(world: &World, invited: Invited) -> Result<Stage> {
    let stage = Stage::set_with(world, &Settings { im: "session", ..Settings::default() }).await?;
    stage.front_end.decide(ALICE, Decision::Accept);
    stage.front_end.when_invited(ALICE, invited);
    Ok(stage)
}

/// The next request of all, which must be of that method.
pub(crate) async fn next_request(stage: &Stage, method: &str) -> Result<SipMessage> {
    Ok(stage.front_end.next_is(method).await?.request)
}

/// The user begins a session, which is accepted.
pub(crate) async fn begins(stage: &Stage) -> Result<Chat> {
    let (chat, answer) = stage.front_end.invite(ALICE, BOB).await?;
    chat.with_context(|| format!("refused:\n{answer}"))
}

/// Bob's chat message with more than words in it.
pub(crate) async fn bob_sends(stage: &mut Stage, id: &str, inside: &str) -> Result<()> {
    stage.scene.bob.send_raw(&format!("<message type='chat' to='{ALICE}' id='{id}'>{inside}</message>")).await
}

/// The chat state in a message (XEP-0085).
pub(crate) fn state_of(message: &Element) -> Option<&str> {
    let states = ["active", "composing", "paused", "inactive", "gone"];
    states.into_iter().find(|state| message.child(state).is_some())
}

/// The user begins (CH-04): the invitation is accepted and says nothing to the contact; what is said in it are messages of one
/// thread (CH-07), the embedded first message is not said twice, and the answers come in the session.
pub(crate) async fn ch_04_a_user_begins_a_session(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    let mut chat = begins(&stage).await?;
    let mut threads = Vec::new();
    for text in ["hello", "zwölf <&> \u{1F98A}", "two\r\nlines"] {
        let answer = chat.say(text).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let message = stage.scene.bob.next_message().await?;
        check_message(&message, ALICE, BOB, &text.replace("\r\n", "\n"))?;
        ensure!(message.attribute("type") == Some("chat"), "{message}");
        threads.push(message.child("thread").context("no thread")?.text.clone());
    }
    ensure!(threads.iter().all(|thread| *thread == threads[0]), "{threads:?}");

    stage.scene.bob.send_message(ALICE, "and you").await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.must("Call-ID")? == chat.call_id() && request.body == "and you", "{request}");
    ensure!(request.must("To")?.contains(";tag="), "not in the session:\n{request}");

    let answer = chat.bye().await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let more = stage.scene.bob.stanzas_before_ping("end").await?;
    ensure!(more.iter().all(|stanza| stanza.body().is_none()), "{more:?}");
    stage.scene.gateway.still_runs()
}

/// The contact begins (CH-02): his first message invites, all that wait follow in order; the user answers in the session, and
/// after she has closed it the next message invites again.
pub(crate) async fn ch_02_a_contact_begins_a_session(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    for round in 0..2 {
        for number in 0..3 {
            stage.scene.bob.send_message(ALICE, &format!("{round} {number}")).await?;
        }
        let invite = next_request(&stage, "INVITE").await?;
        ensure!(invite.address("From")? == format!("sip:{BOB}"), "{invite}");
        ensure!(invite.header("Ms-Conversation-ID").is_some(), "{invite}");
        let mut chat = stage.front_end.chat_of(&invite)?;
        for number in 0..3 {
            let request = next_request(&stage, "MESSAGE").await?;
            ensure!(request.body == format!("{round} {number}"), "{request}");
            ensure!(request.must("Call-ID")? == chat.call_id(), "{request}");
        }
        let answer = chat.say("yes").await?;
        ensure!(answer.status() == Some(200), "{answer}");
        check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "yes")?;
        let answer = chat.bye().await?;
        ensure!(answer.status() == Some(200), "{answer}");
    }
    let more = stage.scene.bob.stanzas_before_ping("end").await?;
    ensure!(more.iter().all(|stanza| stanza.body().is_none()), "{more:?}");
    stage.scene.gateway.still_runs()
}

/// Where sessions are refused as such, messages go alone, and she is not invited again (CH-03). Where the user is refused, the
/// message comes back.
pub(crate) async fn ch_03_a_refused_session(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Refuse(488, "Not Acceptable Here")).await?;
    stage.scene.bob.send_message(ALICE, "first").await?;
    next_request(&stage, "INVITE").await?;
    for text in ["first", "second"] {
        let request = next_request(&stage, "MESSAGE").await?;
        ensure!(request.body == text && !request.must("To")?.contains(";tag="), "{request}");
        if text == "first" {
            stage.scene.bob.send_message(ALICE, "second").await?;
        }
    }

    let user = "declines@contoso.com";
    stage.front_end.when_invited(user, Invited::Refuse(603, "Decline"));
    let id = stage.scene.bob.send_message(user, "third").await?;
    next_request(&stage, "INVITE").await?;
    let error = stage.scene.bob.next_message().await?;
    ensure!(error.attribute("type") == Some("error") && error.attribute("id") == Some(&id), "{error}");
    let more = stage.front_end.waiting().await;
    ensure!(more.is_empty(), "{more:?}");
    stage.scene.gateway.still_runs()
}

/// Typing crosses both ways once both have shown that they know it (IM-30, IM-34), and receipts where they are asked for (IM-40).
pub(crate) async fn im_30_typing_and_receipts(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    // Who may not see her is not told whether she has got anything.
    stage.bob_sees_alice(&[Tuple::open("desk")]).await?;
    let mut chat = begins(&stage).await?;
    chat.say("hello").await?;
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "hello")?;

    bob_sends(
        &mut stage,
        "r1",
        &format!("<body>hi</body><active xmlns='{STATES}'/><request xmlns='urn:xmpp:receipts'/>"),
    )
    .await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.body == "hi", "{request}");
    let receipt = stage.scene.bob.next_message().await?;
    let received = receipt.child("received").with_context(|| format!("no receipt: {receipt}"))?;
    ensure!(received.attribute("id") == Some("r1"), "{receipt}");

    for (typing, state) in [(true, "composing"), (false, "active")] {
        let answer = chat.types(typing).await?;
        ensure!(answer.status() == Some(200), "{answer}");
        let message = stage.scene.bob.next_message().await?;
        ensure!(state_of(&message) == Some(state) && message.body().is_none(), "{message}");
    }
    for (state, status) in [("composing", "type"), ("paused", "idle")] {
        bob_sends(&mut stage, state, &format!("<{state} xmlns='{STATES}'/>")).await?;
        let request = next_request(&stage, "INFO").await?;
        ensure!(request.must("Content-Type")?.starts_with("application/xml"), "{request}");
        ensure!(request.body.contains("KeyboardActivity") && request.body.contains(status), "{request}");
    }

    let answer = chat.bye().await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let gone = stage.scene.bob.next_message().await?;
    ensure!(state_of(&gone) == Some("gone"), "{gone}");
    Ok(())
}

/// Both invite each other: what the contact wrote goes in the session that there is, once, and his invitation is withdrawn.
pub(crate) async fn glare_ends_in_one_session(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Ring).await?;
    stage.scene.bob.send_message(ALICE, "at the same time").await?;
    let invite = next_request(&stage, "INVITE").await?;
    let mut chat = begins(&stage).await?;
    let mut methods = Vec::new();
    while methods.len() < 2 {
        let request = stage.front_end.next().await?.request;
        methods.push(request.method().unwrap_or_default().to_owned());
        match request.method() {
            Some("CANCEL") => ensure!(request.header("Call-ID") == invite.header("Call-ID"), "{request}"),
            _ => ensure!(request.must("Call-ID")? == chat.call_id(), "{request}"),
        }
    }
    methods.sort();
    ensure!(methods == ["CANCEL", "MESSAGE"], "{methods:?}");
    let answer = chat.say("so there").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "so there")?;
    let more = stage.front_end.waiting().await;
    ensure!(more.is_empty(), "{more:?}");
    stage.scene.gateway.still_runs()
}

/// The front end is killed in a session and comes back without it: the next message invites again, and arrives once.
pub(crate) async fn front_end_has_forgotten_the_session(world: World) -> Result<()> {
    let mut stage = stage(&world, Invited::Accept).await?;
    stage.scene.bob.send_message(ALICE, "before").await?;
    next_request(&stage, "INVITE").await?;
    let before = next_request(&stage, "MESSAGE").await?;
    stage.front_end.kill().await;
    stage.front_end.forget_chats();
    stage.front_end.start_again().await?;
    // What the gateway writes before it sees that the connection has ended is reported; then he writes again.
    let mut attempt = 0;
    let (text, first) = loop {
        attempt += 1;
        let text = format!("attempt {attempt}");
        let id = stage.scene.bob.send_message(ALICE, &text).await?;
        tokio::select! {
            arrival = stage.front_end.next() => break (text, arrival?),
            error = stage.scene.bob.next_message() => {
                let error = error?;
                ensure!(error.attribute("id") == Some(&id) && error.condition().is_some(), "{error}");
                ensure!(attempt < 20, "the front end is never found again: {error}");
            }
        }
    };
    ensure!(first.request.method() == Some("MESSAGE") && first.status == 481, "{}", first.request);
    ensure!(first.request.header("Call-ID") == before.header("Call-ID"), "{}", first.request);
    let invite = next_request(&stage, "INVITE").await?;
    let request = next_request(&stage, "MESSAGE").await?;
    ensure!(request.body == text && request.header("Call-ID") == invite.header("Call-ID"), "{request}");
    let mut chat = stage.front_end.chat_of(&invite)?;
    let answer = chat.say("after").await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_message(&stage.scene.bob.next_message().await?, ALICE, BOB, "after")?;
    let more = stage.front_end.waiting().await;
    ensure!(more.is_empty(), "{more:?}");
    stage.scene.gateway.still_runs()
}
