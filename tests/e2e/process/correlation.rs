//! One message, one id in the log: from the Call-ID to the stanza, and from the stanza to the Call-ID, in both formats.

use anyhow::{Context, Result, ensure};
use nuncio_world::sip_agent::Reply;
use nuncio_world::xmpp_peer::XmppPeer;
use serde_json::Value;

use crate::town::{ALICE, CAROL, Town, from_carol};

const SECRET: &str = "never-in-a-log";

/// A field of a line, in either format.
fn field(line: &str, name: &str) -> Option<String> {
    if line.starts_with('{') {
        let value: Value = serde_json::from_str(line).expect("a line is one JSON object");
        return value.get(name)?.as_str().map(str::to_owned);
    }
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    Some(rest.split(' ').next().unwrap_or_default().trim_matches('"').to_owned())
}

/// The lines of a run, each with the texts that it has to have, must be all that have this id, in this order.
fn told(log: &str, id: &str, steps: &[&[&str]]) -> Result<()> {
    let lines: Vec<_> = log.lines().filter(|line| field(line, "id").as_deref() == Some(id)).collect();
    ensure!(lines.len() == steps.len(), "{} lines with {id}: {lines:#?}", lines.len());
    for (line, texts) in lines.iter().zip(steps) {
        ensure!(texts.iter().all(|text| line.contains(text)), "{texts:?} in {line}");
    }
    Ok(())
}

/// The next message of the gateway; pings and presence may stand before it.
async fn message(wingtip: &mut XmppPeer) -> Result<nuncio_world::xml::Element> {
    loop {
        let element = wingtip.element().await?;
        if element.body().is_some() {
            return Ok(element);
        }
    }
}

struct Run {
    log: String,
    /// Of the MESSAGE of the SIP user.
    call_id: String,
    /// Of the stanza that it became.
    stanza_id: String,
    /// Of the MESSAGE that the contact's became.
    received_call_id: String,
}

/// A message of a SIP user, which comes back later; two of a contact, the second of which is refused; a request to see the
/// contact.
async fn run(format: &str) -> Result<Run> {
    let town = Town::found().await?;
    let mut gateway = town.gateway(&format!("drain = \"3s\"\n[log]\nformat = \"{format}\"")).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut front_end = town
        .answers(&town.good_front_end()?, |request| match request.body.contains("second") {
            true => Reply::Status(404, "Not Found"),
            false => Reply::Status(200, "OK"),
        })
        .await?;

    let call_id = alice.send_message(ALICE, CAROL, SECRET).await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    let stanza_id = message(&mut wingtip).await?.attribute("id").context("no id")?.to_owned();
    ensure!(alice.final_answer(&call_id).await?.status() == Some(200));
    carol
        .say(&format!(
            "<message type='error' from='{CAROL}' to='{ALICE}' id='{stanza_id}'><body>{SECRET}</body><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ))
        .await?;
    town.log.line_with(&["came back"]).await?;
    // The notice about it.
    front_end.next_message().await?;

    carol.say(&from_carol("m-1", SECRET)).await?;
    let received = front_end.next_message().await?;
    let received_call_id = received.must("Call-ID")?.to_owned();
    carol.say(&from_carol("m-2", &format!("{SECRET} second"))).await?;
    town.log.line_with(&["refused by a front end"]).await?;

    let call = alice.send_subscribe(ALICE, CAROL).await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    while wingtip.element().await?.attribute("type") != Some("subscribe") {}
    carol.say(&format!("<presence type='subscribed' from='{CAROL}' to='{ALICE}'/>")).await?;
    town.log.line_with(&["may see the contact"]).await?;
    gateway.stop().await?;
    Ok(Run { log: town.log.text(), call_id, stanza_id, received_call_id })
}

async fn one_id_in(format: &str) -> Result<()> {
    let Run { log, call_id, stanza_id, received_call_id } = run(format).await?;
    ensure!(log.lines().any(|line| line.starts_with('{')) == (format == "json"), "{log}");
    ensure!(!log.contains(SECRET), "{:?}", log.lines().find(|line| line.contains(SECRET)));

    let (id, _) = stanza_id.rsplit_once('.').context("no id of ours")?;
    // The partner confirms nothing before his stream ends.
    let steps: [&[&str]; 4] = [
        &["taken", &call_id, ALICE, CAROL],
        &["answered with 200"],
        &["came back", "item-not-found"],
        &["may not have arrived"],
    ];
    told(&log, id, &steps)?;

    let id_of = |stanza_id: &str| {
        let line = log.lines().find(|line| field(line, "stanza_id").as_deref() == Some(stanza_id));
        line.and_then(|line| field(line, "id")).with_context(|| format!("{stanza_id} is in no line"))
    };
    told(
        &log,
        &id_of("m-1")?,
        &[&["taken", CAROL, ALICE], &["leaves", &received_call_id], &["taken it", "200"]],
    )?;
    told(&log, &id_of("m-2")?, &[&["taken"], &["leaves"], &["refused by a front end", "404"]])?;

    let of_pair: Vec<_> =
        log.lines().filter_map(|line| field(line, "id")).filter(|id| id.starts_with("pair.")).collect();
    ensure!(of_pair.len() >= 2, "{of_pair:?}\n{log}");
    ensure!(of_pair.iter().all(|id| *id == of_pair[0]), "{of_pair:?}");
    Ok(())
}

#[tokio::test]
async fn a_message_has_one_id_from_call_id_to_stanza_in_a_log_for_people() -> Result<()> {
    one_id_in("human").await
}

#[tokio::test]
async fn a_message_has_one_id_from_call_id_to_stanza_in_a_log_for_programs() -> Result<()> {
    one_id_in("json").await
}
