//! What the two see of each other while they come and go.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::pidf::Tuple;
use nuncio_world::xmpp_presence::{kind, text};

use super::scene::ALICE;
use super::stage::{Stage, tuple};

/// Show and note, coming, going away and going, both ways.
pub(crate) async fn presence_follows_both_ways(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    stage.bob_sees_alice(&[Tuple::closed("desk")]).await?;
    let mut watch = stage.alice_sees_bob("e1").await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);

    for (show, note) in
        [("", "here"), ("away", ""), ("xa", "back on Monday"), ("dnd", "ringing ☎ & busy"), ("chat", "")]
    {
        let mut now = Tuple::open("desk");
        now.show = (!show.is_empty()).then(|| show.to_owned());
        now.notes.extend((!note.is_empty()).then(|| note.to_owned()));
        front_end.publish(ALICE, &[now]).await?;
        // That she is not there yet, some servers tell a client who has never heard of her, others do not.
        let never: &[&str] = if show.is_empty() { &[] } else { &["unavailable"] };
        let seen = bob.presence_until(ALICE, "her presence", never, |seen| kind(seen).is_empty()).await?;
        ensure!(seen.attribute("from") == Some("alice@contoso.com/desk"), "{seen}");
        ensure!(text(&seen, "show") == show && text(&seen, "status") == note, "{show} {note}: {seen}");

        bob.show(show, note, 5).await?;
        let what = format!("{show:?} and {note:?}");
        let seen = watch
            .until(&what, |notice| {
                tuple(notice, "desk").is_some_and(|desk| {
                    desk.show.as_deref().unwrap_or_default() == show
                        && desk.notes.first().map_or("", String::as_str) == note
                        && desk.priority.as_deref() == Some("0.039")
                })
            })
            .await?;
        ensure!(seen.state == "active" && seen.is_open(), "{}", seen.request);
    }

    // PM-21, PM-22
    front_end.publish(ALICE, &[Tuple::closed("desk")]).await?;
    let gone = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&gone) == "unavailable" && gone.attribute("from") == Some(ALICE), "{gone}");
    ensure!(gone.child("show").is_none() && gone.child("priority").is_none(), "{gone}");
    bob.unavailable().await?;
    watch.until("Bob being gone", |notice| notice.state == "active" && !notice.is_open()).await?;

    front_end.publish(ALICE, &[Tuple::open("desk").note("again")]).await?;
    bob.show("", "again", 0).await?;
    watch.until("Bob being back", |notice| notice.notes("again")).await?;
    bob.presence_until(ALICE, "Alice being back", &["unavailable"], |seen| text(seen, "status") == "again")
        .await?;
    Ok(())
}

/// Several resources are several tuples, and the other way; one goes and the others stay (PM-02, PM-20).
pub(crate) async fn resources_are_tuples(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    stage
        .bob_sees_alice(&[Tuple::open("desk").note("at the desk"), Tuple::open("phone").show("away")])
        .await?;
    let bob = &mut stage.scene.bob;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let presence = bob.next_presence_from(ALICE).await?;
        let from = presence.attribute("from").unwrap_or_default();
        seen.push(format!("{from} {} {}", text(&presence, "show"), text(&presence, "status")));
    }
    seen.sort();
    ensure!(seen == ["alice@contoso.com/desk  at the desk", "alice@contoso.com/phone away "], "{seen:?}");
    stage.front_end.publish(ALICE, &[Tuple::open("desk").note("at the desk")]).await?;
    let gone = bob.next_presence_from(ALICE).await?;
    ensure!(kind(&gone) == "unavailable", "{gone}");
    ensure!(gone.attribute("from") == Some("alice@contoso.com/phone"), "{gone}");

    let mut watch = stage.alice_sees_bob("e1").await?;
    let mut phone = stage.scene.server.login_at("bob", "fabrikam.com", "phone").await?;
    // His server probes for it, and is answered without asking the front end again (PR-13, PR-14).
    let known = phone.next_presence_from(ALICE).await?;
    ensure!(text(&known, "status") == "at the desk", "{known}");
    let asked = stage.front_end.waiting().await;
    ensure!(asked.is_empty(), "{asked:?}");
    phone.show("dnd", "on the train", 1).await?;
    let both = watch
        .until("both of Bob's resources", |notice| {
            tuple(notice, "phone").is_some_and(|phone| phone.notes == ["on the train"])
        })
        .await?;
    ensure!(tuple(&both, "desk").is_some_and(|desk| desk.open), "{}", both.request);
    ensure!(tuple(&both, "phone").is_some_and(|phone| phone.open && phone.show.as_deref() == Some("dnd")));

    // Two endpoints of Alice's see the same.
    let (mut second, answer) = stage.front_end.watch(ALICE, "bob@fabrikam.com", "e2", 3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let same = second.until("both resources at the second endpoint", |notice| notice.is_open()).await?;
    ensure!(tuple(&same, "phone").is_some() && tuple(&same, "desk").is_some(), "{}", same.request);

    phone.unavailable().await?;
    for watch in [&mut watch, &mut second] {
        let one = watch
            .until("the phone being gone", |notice| tuple(notice, "phone").is_none_or(|phone| !phone.open))
            .await?;
        ensure!(tuple(&one, "desk").is_some_and(|desk| desk.open), "{}", one.request);
    }
    Ok(())
}
