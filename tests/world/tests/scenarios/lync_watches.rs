//! A SIP user whose front end is in the style of Lync watches XMPP users: BENOTIFY, the document in the answer, many at once.

use anyhow::{Result, ensure};
use nuncio_world::World;
use nuncio_world::front_end::Asks;
use nuncio_world::sip_text::SipMessage;

use super::scene::{ALICE, BOB};
use super::stage::{Stage, until_a_message};

/// Nobody answers a BENOTIFY; the next SUBSCRIBE is told with its answer what is known.
pub(crate) async fn lync_is_told_by_benotify_and_in_the_answer(world: World) -> Result<()> {
    let mut stage = Stage::set(&world).await?;
    stage.scene.bob.show("away", "first", 0).await?;
    // Who forgets it, ends it.
    let _first = stage.alice_sees_bob("e1").await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);

    let (mut watch, answer) = front_end.watch_with(ALICE, BOB, "e2", 3600, Asks::Extras).await?;
    ensure!(answer.status() == Some(200) && answer.header("ms-piggyback-cseq") == Some("1"), "{answer}");
    ensure!(answer.must("Subscription-State")?.starts_with("active;expires="), "{answer}");
    ensure!(
        answer.must("Content-Type")? == "application/pidf+xml" && answer.body.contains("first"),
        "{answer}"
    );
    for note in ["second", "third"] {
        bob.show("dnd", note, 0).await?;
        let notice = watch.until(note, |notice| notice.notes(note)).await?;
        ensure!(notice.request.method() == Some("BENOTIFY"), "{}", notice.request);
    }
    let answer = watch.refresh(3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    // While the BENOTIFY is still being written there is no room in the answer: one of its own follows.
    if !answer.body.contains("third") {
        ensure!(answer.body.is_empty(), "{answer}");
        watch.until("it once more", |notice| notice.notes("third")).await?;
    }
    let answer = watch.refresh(0).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let last = watch.until("the end", |notice| notice.state == "terminated").await?;
    // The last word takes something back, and wants an answer.
    ensure!(last.request.method() == Some("NOTIFY"), "{}", last.request);
    let stanzas = until_a_message(front_end, bob).await?;
    ensure!(stanzas.iter().all(|stanza| stanza.attribute("type") != Some("unavailable")), "{stanzas:?}");
    stage.scene.gateway.still_runs()
}

/// One subscription to a contact who is there, one who is not, and one of a domain that is no partner.
pub(crate) async fn lync_watches_many_at_once(world: World) -> Result<()> {
    const NOBODY: &str = "nobody@elsewhere.example";
    let mut stage = Stage::set(&world).await?;
    stage.scene.bob.show("away", "first", 0).await?;
    // Who forgets it, ends it.
    let _first = stage.alice_sees_bob("e1").await?;
    let (front_end, bob) = (&stage.front_end, &mut stage.scene.bob);

    let asks = Asks::Batch(vec![BOB, NOBODY]);
    let (mut batch, answer) = front_end.watch_with(ALICE, ALICE, "e2", 3600, asks).await?;
    ensure!(answer.status() == Some(200) && answer.must("Require")? == "eventlist", "{answer}");
    check_list(&answer, true)?;
    ensure!(answer.body.contains(&member(BOB, "state='active' cid='member1@batch'")), "{answer}");
    ensure!(answer.body.contains(&member(NOBODY, "state='terminated' reason='rejected'")), "{answer}");
    ensure!(answer.body.contains("first"), "{answer}");

    bob.show("dnd", "second", 0).await?;
    let list = loop {
        let list = batch.next_request().await?;
        ensure!(list.method() == Some("BENOTIFY") && list.must("Require")? == "eventlist", "{list}");
        check_list(&list, false)?;
        if list.body.contains("second") {
            break list;
        }
    };
    ensure!(!list.body.contains(NOBODY), "no news of this one:\n{list}");
    let answer = batch.refresh(3600).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    // While the BENOTIFY is still being written there is no room in the answer: one of its own follows.
    let told = if answer.body.is_empty() { batch.next_request().await? } else { answer };
    ensure!(told.body.contains("second"), "{told}");
    check_list(&told, true)?;
    let answer = batch.refresh(0).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    let last = batch.next_request().await?;
    ensure!(last.must("Subscription-State")?.starts_with("terminated"), "{last}");
    stage.scene.gateway.still_runs()
}

fn member(contact: &str, instance: &str) -> String {
    format!("<resource uri='sip:{contact}'><instance id='0' {instance}/></resource>")
}

fn check_list(message: &SipMessage, full: bool) -> Result<()> {
    let media = message.must("Content-Type")?;
    ensure!(media.starts_with("multipart/related;type=\"application/rlmi+xml\""), "{message}");
    ensure!(message.body.contains(&format!("fullState='{full}'")), "{message}");
    Ok(())
}
