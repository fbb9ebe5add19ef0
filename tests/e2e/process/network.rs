//! What the gateway does with addresses, sockets and streams, seen from outside.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::wait::within;
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::XmppPeer;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// Nobody answers at the first target, nor at the first two addresses of the second.
#[tokio::test]
async fn s2s_02_and_sip_13_the_next_address_is_taken_when_one_refuses() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        zone.host("gone.wingtip.com", at(51))
            .host("xmpp.wingtip.com", at(52))
            .host("xmpp.wingtip.com", at(53))
            .host("xmpp.wingtip.com", at(3))
            .xmpp("wingtip.com", "gone.wingtip.com", 5269)
            .xmpp("wingtip.com", "xmpp.wingtip.com", 5269)
            .host("fe.contoso.com", at(54))
            .host("fe.contoso.com", at(2))
    })
    .await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.body() == Some("hello"));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("c", "and back")).await?;
    ensure!(front_end.next_message().await?.body == "and back");
    Ok(())
}

/// Whatever the number of messages and of senders, one stream goes out for two domains.
#[tokio::test]
async fn s2s_09_one_stream_out_per_pair_of_domains() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let good = town.good_front_end()?;
    let (mut alice, mut bob) = (town.calls(Some(&good)).await?, town.calls(Some(&good)).await?);
    let mut calls = Vec::new();
    for number in 0..20 {
        let to = format!("user{number}@wingtip.com");
        calls.push((
            alice.send_message(ALICE, &to, "x").await?,
            bob.send_message("bob@contoso.com", &to, "x").await?,
        ));
    }
    let good = town.good_wingtip()?;
    let _wingtip = listener.accept(&town.pki, &good, "wingtip.com").await?;
    for (first, second) in calls {
        ensure!(alice.final_answer(&first).await?.status() == Some(200));
        ensure!(bob.final_answer(&second).await?.status() == Some(200));
    }
    let another = timeout(Duration::ZERO, listener.accept(&town.pki, &good, "wingtip.com")).await;
    ensure!(another.is_err(), "a second stream for the same two domains");
    Ok(())
}

/// The ids of all our headers of one stream.
async fn stream_ids(town: &Town) -> Result<Vec<String>> {
    let mut peer = XmppPeer::dial(town.xmpp()).await?;
    peer.say_header("wingtip.com", "contoso.com").await?;
    let Item::Header(header) = peer.item().await? else { anyhow::bail!("no header") };
    Ok(vec![header.attribute("id").context("no id")?.to_owned()])
}

#[tokio::test]
async fn s2s_14_stream_ids_are_new_each_time_also_after_a_restart() -> Result<()> {
    let town = Town::found().await?;
    let mut seen = HashSet::new();
    for _ in 0..2 {
        let mut gateway = town.gateway("").await?;
        for _ in 0..10 {
            for id in stream_ids(&town).await? {
                // 128 random bits, however they are written, and the node's label.
                ensure!(id.len() >= 32, "{id}");
                ensure!(seen.insert(id.clone()), "{id} twice");
            }
        }
        ensure!(gateway.stop().await?.success());
    }
    // No two share what a counter or a clock would share: the first half of the random part.
    let halves: HashSet<_> = seen.iter().map(|id| id[id.len() - 32..id.len() - 16].to_owned()).collect();
    ensure!(halves.len() == seen.len(), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn s2s_29_a_stream_ends_with_both_tags_then_tls_then_tcp() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    // The partner closes its stream to us.
    let mut carol = town.wingtip_speaks().await?;
    carol.say("</stream:stream>").await?;
    ensure!(carol.item().await? == Item::Close, "{}", carol.transcript());
    ensure!(carol.tls_is_closed_in_order().await?, "no close_notify");
    // We close our stream to the partner.
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    gateway.signal("TERM").await?;
    while wingtip.item().await? != Item::Close {}
    wingtip.say("</stream:stream>").await?;
    ensure!(wingtip.tls_is_closed_in_order().await?, "no close_notify");
    ensure!(gateway.ended().await?.success());
    Ok(())
}

/// Nothing listens on UDP, nor without TLS on the port that would be expected for it.
#[tokio::test]
async fn arc_03_nothing_is_offered_on_udp_or_in_the_clear() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for address in [town.sip(), town.xmpp()] {
        ensure!(TcpStream::connect(address).await.is_ok(), "{address}: the test looks in the wrong place");
        for port in [address.port(), 5060, 5062, 5222] {
            let mut address = address;
            address.set_port(port);
            UdpSocket::bind(address).with_context(|| format!("something is on UDP {address}"))?;
        }
        let mut clear = address;
        clear.set_port(5060);
        ensure!(TcpStream::connect(clear).await.is_err(), "something is on TCP {clear}");
    }
    Ok(())
}

#[tokio::test]
async fn dec_11_the_cap_set_in_the_file_is_the_one_messages_meet() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("sip.message = 1300").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("long", &"b".repeat(1300))).await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    let error = wingtip.element().await?;
    ensure!(
        (error.attribute("id"), error.condition()) == (Some("long"), Some("policy-violation")),
        "{error}"
    );
    carol.say(&from_carol("short", "b")).await?;
    ensure!(front_end.next_message().await?.body == "b");
    ensure!(front_end.waiting().is_empty());
    Ok(())
}

/// Partners that answer nothing when the gateway stops cost it the time of one, not of all of them.
#[tokio::test]
async fn peers_that_never_answer_the_closing_do_not_add_up() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("xmpp.close = \"300ms\"").await?;
    let listener = town.wingtip_listens().await?;
    let good = town.good_wingtip()?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut silent = Vec::new();
    for from in [ALICE, "bob@litware.com"] {
        let call = alice.send_message(from, CAROL, "hello").await?;
        silent.push(listener.accept(&town.pki, &good, "wingtip.com").await?);
        ensure!(alice.final_answer(&call).await?.status() == Some(200), "{from}");
    }
    // Each costs 0.3 s for its closing tag and 5 s for its end of TCP; there are 20 s for all.
    for _ in 0..6 {
        silent.push(town.wingtip_speaks().await?);
    }
    drop(alice);
    gateway.signal("TERM").await?;
    let status = within("the gateway to stop", gateway.ended()).await??;
    ensure!(status.success(), "{status}\n{}", town.log.tail(20).join("\n"));
    drop(silent);
    Ok(())
}

/// A partner that cannot be connected to does not keep the gateway from stopping, nor from stopping well.
#[tokio::test]
async fn an_attempt_to_connect_is_given_up_when_the_time_for_it_is_over() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("drain = \"2s\"\nxmpp.establishment = \"60s\"").await?;
    // It takes the connection and never says a word.
    let _deaf = tokio::net::TcpListener::bind(town.wingtip()).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    town.log.line_after(0, "connected partner=wingtip.com").await?;
    gateway.signal("TERM").await?;
    let answer = alice.final_answer(&call).await?;
    ensure!(answer.status() == Some(504), "{answer}");
    let status = gateway.ended().await?;
    ensure!(status.success(), "{status}\n{}", town.log.tail(20).join("\n"));
    Ok(())
}
