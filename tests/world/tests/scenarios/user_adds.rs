//! A SIP user adds an XMPP user.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::xmpp_presence::kind;

use super::scene::{ALICE, BOB};
use super::stage::{Stage, check_end, until_a_message, until_a_request};

/// Answered and notified at once as pending (PR-31); active with the contact's presence when he agrees (PR-32). Signing
/// out ends it, and does not take back what he agreed to (PR-35); signing in again does not ask him again (PR-36).
pub(crate) async fn user_adds_contact_and_is_accepted(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    bob.show("away", "back <soon>", 5).await?;
    let (mut watch, answer) = front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    ensure!(answer.must("Expires")?.parse::<u32>()? <= 3600, "{answer}");
    let first = watch.next().await?;
    ensure!(first.state == "pending" && !first.is_open(), "{}", first.request);
    let request = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe" && request.attribute("from") == Some(ALICE), "{request}");
    let early = until_a_request(front_end, bob).await?;
    ensure!(early.is_empty(), "before he decided: {early:?}");
    ensure!(watch.waiting()?.iter().all(|notice| notice.state == "pending"));

    bob.approve(ALICE).await?;
    let notice = watch.until("Bob being there", |notice| notice.is_open()).await?;
    ensure!(notice.state == "active" && notice.notes("back <soon>"), "{}", notice.request);
    ensure!(bob.subscription_with(ALICE).await? == ("from".to_owned(), false));

    let answer = watch.refresh(3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let notice = watch.next().await?;
    ensure!(notice.state == "active" && notice.is_open(), "{}", notice.request);

    let answer = watch.refresh(0).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let last = watch.until("the end", |notice| notice.state == "terminated").await?;
    check_end(&last, "timeout")?;
    ensure!(!last.is_open(), "{}", last.request);
    let answer = watch.refresh(3600).await?;
    ensure!(answer.status() == Some(481), "{answer}");
    let stanzas = until_a_message(front_end, bob).await?;
    ensure!(stanzas.iter().all(|stanza| kind(stanza) != "unsubscribe"), "{stanzas:?}");
    ensure!(bob.subscription_with(ALICE).await? == ("from".to_owned(), false));

    let (mut watch, answer) = front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    watch.until("Bob being there", |notice| notice.state == "active" && notice.is_open()).await?;
    let stanzas = until_a_message(front_end, bob).await?;
    ensure!(stanzas.iter().all(|stanza| kind(stanza) != "subscribe"), "asked twice: {stanzas:?}");
    Ok(())
}

/// `unsubscribed` ends it as rejected, whether he never agreed or takes it back (PR-33).
pub(crate) async fn user_adds_contact_and_is_denied(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (mut watch, answer) = stage.front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let bob = &mut stage.scene.bob;
    let request = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");
    bob.deny(ALICE).await?;
    check_end(&watch.until("the end", |notice| notice.state == "terminated").await?, "rejected")?;
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), false));

    let mut watch = stage.alice_sees_bob("e1").await?;
    let bob = &mut stage.scene.bob;
    bob.deny(ALICE).await?;
    check_end(&watch.until("the end", |notice| notice.state == "terminated").await?, "rejected")?;
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), false));
    Ok(())
}

/// The SIP user signs out before the contact has decided, and somebody else only wants to know once (PR-37).
pub(crate) async fn user_takes_it_back(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    let (mut watch, answer) = front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let request = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");
    let answer = watch.refresh(0).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    check_end(&watch.until("the end", |notice| notice.state == "terminated").await?, "timeout")?;
    let stanzas = until_a_message(front_end, bob).await?;
    ensure!(stanzas.iter().all(|stanza| kind(stanza) != "unsubscribe"), "{stanzas:?}");

    let (mut fetch, answer) = front_end.watch("carol@contoso.com", BOB, "e2", 0).await?;
    ensure!(answer.status() == Some(200) && answer.must("Expires")? == "0", "{answer}");
    let only = fetch.next().await?;
    check_end(&only, "timeout")?;
    ensure!(!only.is_open(), "Bob has not let her: {}", only.request);
    let stanzas = until_a_message(front_end, bob).await?;
    ensure!(stanzas.iter().all(|stanza| kind(stanza) != "subscribe"), "{stanzas:?}");
    Ok(())
}
