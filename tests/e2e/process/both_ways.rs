//! Streams that carry stanzas both ways (XEP-0288), the gateway's and the partner's.

use anyhow::{Result, ensure};
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::XmppPeer;
use tokio::net::TcpListener;

use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// The partner opens a stream that he wants our stanzas on.
async fn wingtip_speaks_both_ways(town: &Town) -> Result<XmppPeer> {
    let good = town.good_wingtip()?;
    let mut peer =
        XmppPeer::secured(&town.pki, Some(&good), town.xmpp(), "wingtip.com", "contoso.com").await?;
    peer.say("<bidi xmlns='urn:xmpp:bidi'/>").await?;
    peer.authenticate("wingtip.com", "contoso.com").await?;
    Ok(peer)
}

/// A message of Alice that must have left; the partner is to read it.
async fn alice_writes(alice: &mut SipConnection, body: &str) -> Result<()> {
    let call = alice.send_message(ALICE, CAROL, body).await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200), "{body}");
    Ok(())
}

/// The body of the next message on the stream; pings are answered.
async fn hears(peer: &mut XmppPeer) -> Result<String> {
    loop {
        let element = peer.element().await?;
        match element.name.as_str() {
            "message" => return Ok(element.body().unwrap_or_default().to_owned()),
            "iq" => answer_ping(peer, element.attribute("id").unwrap_or_default()).await?,
            other => anyhow::bail!("{other} instead of a message"),
        }
    }
}

async fn answer_ping(peer: &mut XmppPeer, id: &str) -> Result<()> {
    peer.say(&format!("<iq type='result' id='{id}' from='wingtip.com' to='contoso.com'/>")).await
}

#[tokio::test]
async fn bi_01_our_messages_go_back_on_the_stream_that_the_partner_opened() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    // Nobody is kept from calling him.
    let _listener = town.wingtip_listens().await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut carol = wingtip_speaks_both_ways(&town).await?;
    carol.say(&from_carol("c1", "are you there?")).await?;
    ensure!(front_end.next_message().await?.body == "are you there?");
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    for body in ["yes", "and you?"] {
        alice_writes(&mut alice, body).await?;
        ensure!(hears(&mut carol).await? == body);
    }
    let line = town.log.line_after(0, "inbound stream established").await?;
    ensure!(line.contains("both_ways=true"), "{line}");
    let opened = town.log.lines_with(&["connected partner=wingtip.com"]);
    ensure!(opened.is_empty(), "the gateway opened a stream of its own: {opened:?}");
    Ok(())
}

#[tokio::test]
async fn bi_01_the_partner_answers_on_the_stream_that_we_opened() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let good = town.good_wingtip()?;
    let mut carol = listener.accept_both_ways(&town.pki, &good, "wingtip.com").await?;
    ensure!(hears(&mut carol).await? == "hello");
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    carol.say(&from_carol("c1", "hello yourself")).await?;
    ensure!(front_end.next_message().await?.body == "hello yourself");
    // What he asks there is answered there.
    carol
        .say("<iq type='get' id='p' from='wingtip.com' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await?;
    loop {
        let element = carol.element().await?;
        match element.attribute("type") {
            Some("result") if element.attribute("id") == Some("p") => return Ok(()),
            Some("get") => answer_ping(&mut carol, element.attribute("id").unwrap_or_default()).await?,
            _ => anyhow::bail!("{element} instead of the answer"),
        }
    }
}

/// BI-02: who proved one name may not use another on the way back either.
#[tokio::test]
async fn bi_02_nobody_but_the_partner_speaks_on_the_stream_that_we_opened() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    alice.send_message(ALICE, CAROL, "hello").await?;
    let good = town.good_wingtip()?;
    let mut carol = listener.accept_both_ways(&town.pki, &good, "wingtip.com").await?;
    ensure!(hears(&mut carol).await? == "hello");
    let forged = from_carol("m", "it is me, the boss").replace(CAROL, "boss@contoso.com");
    carol.say(&forged).await?;
    let error = carol.stream_error().await?;
    ensure!(error.child("invalid-from").is_some(), "{error}");
    ensure!(front_end.waiting().is_empty(), "a forged message crossed");
    Ok(())
}

#[tokio::test]
async fn where_the_entry_says_no_each_side_opens_its_own() -> Result<()> {
    let mut town = Town::found().await?;
    town.partner = "bidirectional = false".to_owned();
    let _gateway = town.gateway("").await?;
    let good = town.good_wingtip()?;
    let (pki, at) = (&town.pki, town.xmpp());
    let mut peer = XmppPeer::secured(pki, Some(&good), at, "wingtip.com", "contoso.com").await?;
    ensure!(!peer.transcript().contains("urn:xmpp:features:bidi"), "{}", peer.transcript());
    peer.say("<bidi xmlns='urn:xmpp:bidi'/>").await?;
    let error = peer.stream_error().await?;
    ensure!(error.child("unsupported-stanza-type").is_some(), "{error}");

    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    alice.send_message(ALICE, CAROL, "hello").await?;
    let asked = listener.accept_both_ways(&town.pki, &good, "wingtip.com").await;
    let asked = asked.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(asked.contains("<auth"), "asked for what the entry forbids: {asked}");
    Ok(())
}

/// The stream is cut off: what follows goes on one of ours, and the next stream of the partner carries both ways again.
#[tokio::test]
async fn when_the_partners_stream_is_lost_we_open_one() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut carol = wingtip_speaks_both_ways(&town).await?;
    alice_writes(&mut alice, "one").await?;
    ensure!(hears(&mut carol).await? == "one");
    let mark = town.log.mark();
    drop(carol);
    town.log.line_after(mark, "inbound stream closed").await?;
    let call = alice.send_message(ALICE, CAROL, "two").await?;
    let mut ours = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(hears(&mut ours).await? == "two");
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    drop(ours);
    let mut carol = wingtip_speaks_both_ways(&town).await?;
    alice_writes(&mut alice, "three").await?;
    ensure!(hears(&mut carol).await? == "three");
    Ok(())
}

/// The partner's name leads to two addresses. The first that is tried takes the connection and says nothing, and then he opens a
/// stream himself.
#[tokio::test]
async fn an_attempt_that_the_partners_stream_makes_needless_goes_to_no_further_address() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        let zone = zone.host("fe.contoso.com", at(2)).xmpp("wingtip.com", "xmpp.wingtip.com", 5269);
        zone.host("xmpp.wingtip.com", at(60)).host("xmpp.wingtip.com", at(3))
    })
    .await?;
    let _gateway = town.gateway("").await?;
    let one = TcpListener::bind(town.somewhere(60, 5269)).await?;
    let other = TcpListener::bind(town.wingtip()).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let _silent = tokio::select! {
        silent = one.accept() => silent?,
        silent = other.accept() => silent?,
    };
    let mut carol = wingtip_speaks_both_ways(&town).await?;
    ensure!(hears(&mut carol).await? == "hello");
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    town.log.line_after(0, "a stream of the partner's carries the lane meanwhile").await?;
    let connected = town.log.lines_with(&["connected partner=wingtip.com"]);
    ensure!(connected.len() == 1, "{connected:?}");
    Ok(())
}

/// The gateway writes what it has, closes the partner's stream as its own, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_closes_a_stream_both_ways_when_everything_has_left() -> Result<()> {
    const MESSAGES: usize = 300;
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut carol = wingtip_speaks_both_ways(&town).await?;
    let reading = tokio::spawn(async move {
        let mut bodies = Vec::new();
        while let Ok(item) = carol.item().await {
            match item {
                Item::Element(element) => bodies.extend(element.body().map(str::to_owned)),
                Item::Close => carol.say("</stream:stream>").await.unwrap_or_default(),
                Item::Header(_) => {}
            }
        }
        bodies
    });
    let mut calls = Vec::new();
    let mut answers = Vec::new();
    for number in 0..MESSAGES {
        // Once it stops, it may close before all is said.
        let Ok(call) = alice.send_message(ALICE, CAROL, &number.to_string()).await else { break };
        calls.push(call);
        if number == MESSAGES / 2 {
            // It is at work, and most of what was sent is still in front of it or in it.
            answers.extend(alice.next().await?);
            gateway.signal("TERM").await?;
        }
    }
    while let Some(answer) = alice.next().await? {
        answers.push(answer);
    }
    let accepted = answers.iter().filter(|answer| answer.status() == Some(200)).map(|answer| {
        let number = calls.iter().position(|call| Some(call.as_str()) == answer.header("Call-ID"));
        number.map(|number| number.to_string()).unwrap_or_default()
    });
    let accepted: Vec<_> = accepted.collect();
    let bodies = reading.await?;
    ensure!(accepted.len() > 1, "none was under way when the signal came");
    ensure!(bodies == accepted, "delivered is not what was accepted: {bodies:?}\n{accepted:?}");
    // What was taken on before the signal was written, and not given back.
    let gone = answers.iter().filter(|answer| answer.status() == Some(504) || answer.status() == Some(480));
    ensure!(gone.count() == 0, "given back though the partner was there: {answers:?}");
    let status = gateway.ended().await?;
    ensure!(status.success(), "{status}\n{}", town.log.tail(30).join("\n"));
    Ok(())
}

/// Nothing ends the write that is under way, and nobody waits for that longer than the stop may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_up_a_stream_both_ways_whose_partner_does_not_read() -> Result<()> {
    const MESSAGES: usize = 200;
    let town = Town::found().await?;
    let mut gateway = town.gateway("drain = \"5s\"").await?;
    let _front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let _carol = wingtip_speaks_both_ways(&town).await?;
    let body = "x".repeat(50_000);
    for _ in 0..MESSAGES {
        alice.send_message(ALICE, CAROL, &body).await?;
    }
    // The connection takes what the operating system has room for, and no more.
    alice.next().await?;
    let mark = town.log.mark();
    gateway.signal("TERM").await?;
    // What it has not read it does not answer; its connection ends.
    while alice.next().await?.is_some() {}
    town.log.line_after(mark, "giving up the streams to partners").await?;
    let status = gateway.ended().await?;
    ensure!(status.success(), "{status}\n{}", town.log.tail(30).join("\n"));
    Ok(())
}
