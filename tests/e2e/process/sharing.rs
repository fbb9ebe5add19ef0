//! Several of our domains on one stream to a partner, where there is no place for a stream of each (XEP-0220 §2.6.1).

use anyhow::{Result, ensure};
use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::process::Process;
use nuncio_world::sip_agent::SipConnection;

use crate::caller::{Says, Server};
use crate::town::{ALICE, CAROL, Town};

const DAVE: &str = "dave@litware.com";

/// A partner with room for one stream, reached by a server that knows nothing but dialback.
async fn town(says: Says) -> Result<(Town, Process, Server, SipConnection)> {
    let mut town = Town::found().await?;
    town.partner = "sasl = \"optional\"\nconnection_limit = 1".to_owned();
    let gateway = town.gateway("").await?;
    let flawed = town.pki.issue("flawed", &["elsewhere.example"], Usage::Both, Flaw::SelfSigned)?;
    let server = Server::listens(&town, Some(&flawed), says).await?;
    let front_end = town.calls(Some(&town.good_front_end()?)).await?;
    Ok((town, gateway, server, front_end))
}

#[tokio::test]
async fn db_13_a_second_domain_of_ours_goes_by_the_stream_of_the_first() -> Result<()> {
    let (town, mut gateway, mut server, mut front_end) = town(Says::Valid).await?;
    for (from, body) in [(ALICE, "one"), (DAVE, "two"), (ALICE, "three"), (DAVE, "four")] {
        let call = front_end.send_message(from, CAROL, body).await?;
        let message = server.hears("message").await?;
        ensure!(
            message.body() == Some(body) && message.attribute("from").is_some_and(|it| it.starts_with(from))
        );
        ensure!(front_end.final_answer(&call).await?.status() == Some(200), "{body}");
    }
    let opened = town.log.so_many_lines_with(1, &["outbound stream established"]).await?;
    ensure!(opened.len() == 1, "{opened:?}");
    let line = town.log.line_after(0, "the lane shares one").await?;
    ensure!(line.contains("local=litware.com"), "{line}");
    ensure!(gateway.stop().await?.success(), "{}", town.log.tail(40).join("\n"));
    let lost = town.log.lines_with(&["may_be_lost"]);
    ensure!(lost.is_empty(), "the partner's closing tag proves it all: {lost:?}");
    Ok(())
}

#[tokio::test]
async fn a_partner_that_refuses_the_second_domain_keeps_the_first() -> Result<()> {
    let (_town, _gateway, mut server, mut front_end) = town(Says::OnlyContoso).await?;
    let call = front_end.send_message(ALICE, CAROL, "one").await?;
    ensure!(server.hears("message").await?.body() == Some("one"));
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    let call = front_end.send_message(DAVE, CAROL, "two").await?;
    let answer = front_end.final_answer(&call).await?;
    ensure!(answer.status() == Some(480), "{answer:?}");
    let why = answer.header("ms-diagnostics").unwrap_or_default();
    ensure!(why.contains("0 inbound and 1 outbound streams of 1"), "{why}");
    let call = front_end.send_message(ALICE, CAROL, "three").await?;
    ensure!(server.hears("message").await?.body() == Some("three"));
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    Ok(())
}

/// The stream that both share is cut off; the one that finds the place first has it, and the other one shares it again.
#[tokio::test]
async fn when_the_stream_is_lost_both_find_another() -> Result<()> {
    let (town, _gateway, mut server, mut front_end) = town(Says::Valid).await?;
    for (from, body) in [(ALICE, "one"), (DAVE, "two")] {
        let call = front_end.send_message(from, CAROL, body).await?;
        ensure!(server.hears("message").await?.body() == Some(body));
        ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    }
    let mark = town.log.mark();
    server.hangs_up();
    town.log.line_after(mark, "outbound stream closed").await?;
    for (from, body) in [(DAVE, "three"), (ALICE, "four")] {
        let call = front_end.send_message(from, CAROL, body).await?;
        ensure!(server.hears("message").await?.body() == Some(body));
        ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    }
    Ok(())
}
