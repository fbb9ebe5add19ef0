//! An XMPP user adds a SIP user.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::Decision;
use nuncio_world::pidf::Tuple;
use nuncio_world::xmpp_presence::{kind, text};

use super::scene::{ALICE, BOB};
use super::stage::{Stage, new_watcher, until_a_message};

/// Only who has consent sees any of it. (`unavailable` may come before `unsubscribed`: XI-06.)
const SEEN: &[&str] = &["", "subscribed"];

/// Nothing happens before the SIP user has decided (PR-02); then `subscribed` and her presence, in that order (PR-03).
pub(crate) async fn contact_adds_user_and_is_accepted(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    front_end.decide(ALICE, Decision::Pending);
    front_end.set_presence(ALICE, &[Tuple::open("desk").show("dnd").note("in <a> meeting")])?;
    bob.add_contact(ALICE).await?;
    let watcher = new_watcher(front_end).await?;
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), true));
    let early = until_a_message(front_end, bob).await?;
    ensure!(early.iter().all(|stanza| stanza.name != "presence"), "before she decided: {early:?}");

    front_end.accept(&watcher).await?;
    let consent = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&consent) == "subscribed", "{consent}");
    // XI-01
    ensure!(consent.attribute("from") == Some(ALICE), "{consent}");
    let presence = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&presence).is_empty(), "{presence}");
    ensure!(presence.attribute("from") == Some("alice@contoso.com/desk"), "{presence}");
    ensure!(text(&presence, "show") == "dnd", "{presence}");
    ensure!(text(&presence, "status") == "in <a> meeting", "{presence}");
    ensure!(bob.subscription_with(ALICE).await? == ("to".to_owned(), false));

    // He asks again: his server has it from ours, and nobody else is bothered (PR-10).
    bob.add_contact(ALICE).await?;
    until_a_message(front_end, bob).await?;
    ensure!(front_end.watchers(ALICE).len() == 1);
    let more = front_end.waiting().await;
    ensure!(more.is_empty(), "{more:?}");
    Ok(())
}

/// 423 of the front end: it is asked again for as long as it wants, and he notices nothing of that (PR-07).
pub(crate) async fn pr_07_contact_adds_user_for_longer(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    front_end.decide(ALICE, Decision::AcceptFor(7200));
    front_end.set_presence(ALICE, &[Tuple::open("desk")])?;
    bob.add_contact(ALICE).await?;
    let brief = front_end.next_is("SUBSCRIBE").await?;
    ensure!(
        brief.status == 423 && brief.request.must("Expires")?.parse::<u32>()? < 7200,
        "{}",
        brief.request
    );
    let long = front_end.next_is("SUBSCRIBE").await?;
    ensure!(long.status == 200 && long.request.must("Expires")? == "7200", "{}", long.request);
    let consent = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&consent) == "subscribed", "{consent}");
    let presence = bob.next_presence_from(ALICE).await?;
    ensure!(presence.attribute("from") == Some("alice@contoso.com/desk"), "{presence}");
    Ok(())
}

/// The front end refuses at once (403, 489, 603: PR-06), or the SIP user does later (NOTIFY rejected, PR-22): silence, as for
/// somebody who does not exist. If she takes it back: `unsubscribed`, after `unavailable` from wherever she was seen (XI-06).
pub(crate) async fn contact_adds_user_and_is_denied(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    for (status, reason) in [(403, "Forbidden"), (489, "Bad Event"), (603, "Decline")] {
        let user = format!("refuses{status}@contoso.com");
        front_end.decide(&user, Decision::Refuse(status, reason));
        bob.add_contact(&user).await?;
        let arrival = front_end.next_is("SUBSCRIBE").await?;
        ensure!(arrival.status == status, "{}", arrival.status);
        let early = until_a_message(front_end, bob).await?;
        ensure!(early.iter().all(|stanza| stanza.name != "presence"), "an answer: {early:?}");
        ensure!(bob.subscription_with(&user).await? == ("none".to_owned(), true));
    }

    front_end.decide(ALICE, Decision::Pending);
    bob.add_contact(ALICE).await?;
    let watcher = new_watcher(front_end).await?;
    front_end.end(&watcher, "rejected").await?;
    let early = until_a_message(front_end, bob).await?;
    ensure!(early.iter().all(|stanza| stanza.name != "presence"), "an answer: {early:?}");
    bob.unsubscribe(ALICE).await?;
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), false));

    let watcher = stage.bob_sees_alice(&[Tuple::open("desk")]).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    bob.presence_until(ALICE, "presence", &[], |presence| kind(presence).is_empty()).await?;
    front_end.end(&watcher, "rejected").await?;
    let gone = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&gone) == "unavailable", "{gone}");
    ensure!(gone.attribute("from") == Some("alice@contoso.com/desk"), "{gone}");
    let end = bob.presence_until(ALICE, "the end", SEEN, |answer| kind(answer) == "unsubscribed").await?;
    ensure!(end.attribute("from") == Some(ALICE), "{end}");
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), false));
    Ok(())
}

/// Somebody who does not exist is the same as somebody who does not answer (PR-15, DEC-28).
pub(crate) async fn contact_adds_nobody(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    bob.add_contact("nobody@contoso.com").await?;
    let arrival = front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.status == 404, "{}", arrival.status);
    let early = until_a_message(front_end, bob).await?;
    ensure!(early.iter().all(|stanza| stanza.name != "presence"), "an answer: {early:?}");
    ensure!(bob.subscription_with("nobody@contoso.com").await? == ("none".to_owned(), true));
    Ok(())
}

/// The contact takes it back: the subscription at the front end ends, in its dialog (PR-08), and he sees no more. Before
/// the SIP user has decided it is the same.
pub(crate) async fn contact_takes_it_back(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    let watcher = stage.bob_sees_alice(&[Tuple::open("desk")]).await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);
    bob.presence_until(ALICE, "presence", &[], |presence| kind(presence).is_empty()).await?;
    bob.unsubscribe(ALICE).await?;
    let arrival = front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.request.must("Expires")? == "0" && arrival.status == 200, "{}", arrival.request);
    // What the front end put into Record-Route has come back as it was.
    ensure!(arrival.request.must("Route")?.contains("ms-key-info=AAEAAw==;ms-route-sig=a%2Fb~c"));
    front_end.ended(&watcher).await?;
    let gone = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&gone) == "unavailable", "{gone}");
    ensure!(gone.attribute("from") == Some("alice@contoso.com/desk"), "{gone}");
    ensure!(bob.subscription_with(ALICE).await? == ("none".to_owned(), false));
    front_end.publish(ALICE, &[Tuple::open("desk").note("not for Bob")]).await?;
    let late = until_a_message(front_end, bob).await?;
    ensure!(late.iter().all(|stanza| !kind(stanza).is_empty() || stanza.name != "presence"), "{late:?}");

    front_end.decide(ALICE, Decision::Pending);
    bob.add_contact(ALICE).await?;
    new_watcher(front_end).await?;
    // (ejabberd sends no `unsubscribe` when a contact is removed who has not agreed yet.)
    bob.unsubscribe(ALICE).await?;
    let arrival = front_end.next_is("SUBSCRIBE").await?;
    ensure!(arrival.request.must("Expires")? == "0" && arrival.status == 200, "{}", arrival.request);
    ensure!(arrival.request.address("From")? == format!("sip:{BOB}"), "{}", arrival.request);
    Ok(())
}
