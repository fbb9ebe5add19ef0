//! A partner of type public-unverified: the SIP user goes first.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::gateway::{Partner, Settings};
use nuncio_world::pidf::Tuple;
use nuncio_world::xmpp_presence::{kind, text};

use super::scene::{ALICE, BOB};
use super::stage::{Stage, new_watcher, until_a_message};

/// Before the SIP user has added the contact nothing of his crosses, and his request is kept; once she has, it is acted
/// on, and he sees that she is there and no word of hers.
pub(crate) async fn public_unverified_contact_waits_for_the_user(world: World) -> Result<()> {
    let partners = vec![Partner { domain: "fabrikam.com", kind: "public-unverified", keys: "" }];
    let mut stage = Stage::set_with(&world, &Settings { partners, ..Settings::default() }).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    front_end.set_presence(ALICE, &[Tuple::open("secret-desk").show("dnd").note("for friends only")])?;

    bob.add_contact(ALICE).await?;
    let id = bob.send_message(ALICE, "let me in").await?;
    let error = bob.next_message().await?;
    ensure!(error.attribute("type") == Some("error") && error.attribute("id") == Some(&id), "{error}");
    ensure!(error.condition() == Some("service-unavailable"), "{error}");
    let crossed = front_end.waiting().await;
    ensure!(crossed.is_empty(), "before she added him: {crossed:?}");
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), true));

    // The request is kept through a crash as well.
    stage.scene.gateway.stores(BOB, r#""from":"kept""#).await?;
    stage.scene.gateway.kill().await?;
    stage.scene.gateway.start_again().await?;
    let (mut watch, answer) = front_end.watch(ALICE, BOB, "e1", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    new_watcher(front_end).await?;
    let request = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&request) == "subscribe", "{request}");
    bob.approve(ALICE).await?;
    watch.until("Bob being there", |notice| notice.state == "active" && notice.is_open()).await?;
    let seen =
        bob.presence_until(ALICE, "her presence", &["unsubscribed"], |seen| kind(seen).is_empty()).await?;
    ensure!(text(&seen, "show") == "dnd", "{seen}");
    ensure!(seen.child("status").is_none() && !seen.raw.contains("friends"), "a word of hers: {seen}");
    ensure!(!seen.raw.contains("secret"), "the name of her device: {seen}");
    ensure!(bob.subscription_with(ALICE).await? == ("both".to_owned(), false));
    bob.send_message(ALICE, "thank you").await?;
    let arrival = front_end.next_is("MESSAGE").await?;
    ensure!(arrival.request.body == "thank you", "{}", arrival.request);

    // Signing out does not take it back.
    let answer = watch.refresh(0).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    bob.send_message(ALICE, "still?").await?;
    let arrival = front_end.next_is("MESSAGE").await?;
    ensure!(arrival.request.body == "still?", "{}", arrival.request);
    let stanzas = until_a_message(front_end, bob).await?;
    let ended = |kind: &str| ["unsubscribe", "unsubscribed"].contains(&kind);
    ensure!(!stanzas.iter().any(|stanza| ended(kind(stanza))), "{stanzas:?}");
    Ok(())
}
