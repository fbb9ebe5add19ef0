//! How the gateway finds its partners, and what it remembers of it.

use anyhow::{Context, Result, ensure};
use nuncio_world::process::Process;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::tls;
use nuncio_world::xmpp_peer::XmppListener;
use socket2::{Domain, Socket, Type};

use crate::caller::header;
use crate::town::{ALICE, CAROL, Town};

/// wingtip.com has this many addresses at which nobody listens, and then the one where somebody does.
async fn town_with_dead_addresses(dead: &'static [u8]) -> Result<Town> {
    Town::with_zone(|zone, at| {
        let zone = zone.host("fe.contoso.com", at(2)).xmpp("wingtip.com", "xmpp.wingtip.com", 5269);
        let zone = dead.iter().fold(zone, |zone, host| zone.host("xmpp.wingtip.com", at(*host)));
        zone.host("xmpp.wingtip.com", at(3)).host("proxy.example", at(3))
    })
    .await
}

async fn status_of_a_message(town: &Town, alice: &mut SipConnection) -> Result<u16> {
    let listener = town.wingtip_listens().await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let peer = async {
        let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
        ensure!(wingtip.element().await?.body() == Some("hello"));
        std::future::pending::<()>().await;
        anyhow::Ok(())
    };
    tokio::select! {
        answer = alice.final_answer(&call) => answer?.status().context("no status"),
        failed = peer => Err(failed.expect_err("it never ends")),
    }
}

/// A socket whose backlog is full: the kernel drops what else knocks there, as a firewall would.
fn black_hole(address: std::net::SocketAddr) -> Result<Vec<Socket>> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.bind(&address.into())?;
    listener.listen(0)?;
    let mut sockets = vec![listener];
    // One more than the backlog holds, so that the next one waits for ever.
    for _ in 0..2 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let _ = socket.connect(&address.into());
        sockets.push(socket);
    }
    Ok(sockets)
}

/// The first address swallows everything, and one connection attempt may take a minute; a message is held for ten
/// seconds only. It arrives because the second address does not wait for the first (RFC 8305).
#[tokio::test]
async fn s2s_02_an_address_that_swallows_everything_does_not_delay_the_next_one() -> Result<()> {
    let town = town_with_dead_addresses(&[60]).await?;
    let _hole = black_hole(town.somewhere(60, 5269))?;
    let _gateway = town.gateway("xmpp.connect = \"60s\"").await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    ensure!(status_of_a_message(&town, &mut alice).await? == 200);
    Ok(())
}

#[tokio::test]
async fn s2s_06_the_proxy_of_a_partner_counts_whatever_dns_says() -> Result<()> {
    let mut town = Town::with_zone(|zone, at| {
        zone.host("fe.contoso.com", at(2)).host("proxy.example", at(3)).host("xmpp.wingtip.com", at(61)).xmpp(
            "wingtip.com",
            "xmpp.wingtip.com",
            5269,
        )
    })
    .await?;
    town.partner = "proxy = \"proxy.example\"".to_owned();
    // Nor has DNS to be allowed what the administrator says himself.
    town.private_addresses = false;
    let _gateway = town.gateway("").await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    ensure!(status_of_a_message(&town, &mut alice).await? == 200);
    let line = town.log.line_after(0, "outbound stream established").await?;
    ensure!(line.contains("proxy.example (127."), "{line}");
    Ok(())
}

#[tokio::test]
async fn s2s_08_sec_49_dns_cannot_send_the_gateway_into_its_own_network() -> Result<()> {
    let mut town = Town::found().await?;
    town.private_addresses = false;
    let _gateway = town.gateway("").await?;
    let listener = tokio::net::TcpListener::bind(town.wingtip()).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let answer = tokio::select! {
        answer = alice.final_answer(&call) => answer?,
        _ = listener.accept() => anyhow::bail!("it knocked at a private address"),
    };
    ensure!(answer.status() != Some(200));
    let line = town.log.line_after(0, "no stream to partner wingtip.com").await?;
    ensure!(line.contains("private_addresses = true"), "{line}");
    Ok(())
}

/// Nobody listens there, and the next attempt is an hour away.
async fn out_of_reach_for_an_hour() -> Result<(Town, Process, SipConnection)> {
    let town = Town::found().await?;
    let limits = "xmpp.backoff_initial = \"1h\"\nxmpp.backoff_max = \"1h\"";
    let gateway = town.gateway(limits).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    for body in ["finds nobody", "is refused at once"] {
        let call = alice.send_message(ALICE, CAROL, body).await?;
        ensure!(alice.final_answer(&call).await?.status() != Some(200), "{body}");
    }
    Ok((town, gateway, alice))
}

#[tokio::test]
async fn s2s_05_sigusr2_ends_the_back_off() -> Result<()> {
    let (town, gateway, mut alice) = out_of_reach_for_an_hour().await?;
    gateway.signal("USR2").await?;
    let line = town.log.line_after(0, "SIGUSR2").await?;
    ensure!(line.contains("lanes_to_partners=1") && line.contains("ways_to_front_ends=0"), "{line}");
    ensure!(status_of_a_message(&town, &mut alice).await? == 200);
    Ok(())
}

#[tokio::test]
async fn s2s_05_a_stream_of_the_partners_ends_the_back_off() -> Result<()> {
    let (town, _gateway, mut alice) = out_of_reach_for_an_hour().await?;
    let _carol = town.wingtip_speaks().await?;
    ensure!(status_of_a_message(&town, &mut alice).await? == 200);
    Ok(())
}

/// Two addresses refuse, the third has a stream: what happened is told step by step, and so is how it ended.
#[tokio::test]
async fn what_became_of_attempts_is_remembered_step_by_step() -> Result<()> {
    let town = town_with_dead_addresses(&[62, 63]).await?;
    let gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    wingtip
        .say(
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>moving house</text></stream:error></stream:stream>",
        )
        .await?;
    town.log.line_after(0, "outbound stream closed").await?;
    // One that comes in, and one that does not get far.
    let _carol = town.wingtip_speaks().await?;
    town.log.line_after(0, "inbound stream established").await?;

    let mark = town.log.mark();
    gateway.signal("USR1").await?;
    let line = town.log.line_after(mark, "status: attempt:").await?;
    let parts = [
        "wingtip.com at 127.",
        "to contoso.com: stream after ",
        " by SASL EXTERNAL over TLS",
        "TLS 1.3 with ",
    ];
    in_order(&line, &parts)?;
    let line = town.log.line_after(mark, "contoso.com to wingtip.com").await?;
    let parts = [
        "stream after ",
        " by SASL EXTERNAL over TLS",
        "to try: xmpp.wingtip.com (127.",
        "no connection to xmpp.wingtip.com (127.",
        "Connection refused",
        "no connection to xmpp.wingtip.com (127.",
        "Connection refused",
        "connected to xmpp.wingtip.com (127.",
        "TLS 1.3 with ",
        "the chain holds, names: wingtip.com",
        "ended: ",
        "moving house",
    ];
    in_order(&line, &parts)
}

fn in_order(line: &str, parts: &[&str]) -> Result<()> {
    let mut rest = line;
    for part in parts {
        (_, rest) = rest
            .split_once(part)
            .with_context(|| format!("{part:?} is missing, or too early, in\n{line}"))?;
    }
    Ok(())
}

/// Of the two services of wingtip.com, at the same priority, Direct TLS is tried first (XEP-0368, DEC-15).
#[tokio::test]
async fn s2s_04_direct_tls_is_spoken_where_dns_offers_it() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        zone.host("fe.contoso.com", at(2))
            .host("xmpp.wingtip.com", at(3))
            .xmpps("wingtip.com", "xmpp.wingtip.com", 5270)
            .xmpp("wingtip.com", "xmpp.wingtip.com", 5269)
    })
    .await?;
    let _gateway = town.gateway("").await?;
    let direct = XmppListener::bind(town.somewhere(3, 5270)).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let (mut wingtip, name, protocol) =
        direct.accept_direct(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(name.as_deref() == Some("wingtip.com"), "SNI is {name:?}, not the domain");
    ensure!(protocol.as_deref() == Some("xmpp-server"), "ALPN is {protocol:?}");
    ensure!(wingtip.element().await?.body() == Some("hello"));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let line = town.log.line_after(0, "outbound stream established").await?;
    ensure!(line.contains("Direct TLS)"), "{line}");
    Ok(())
}

/// Where nobody speaks Direct TLS, the other service is next.
#[tokio::test]
async fn s2s_04_starttls_follows_where_direct_tls_fails() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        zone.host("fe.contoso.com", at(2))
            .host("xmpp.wingtip.com", at(3))
            .xmpps("wingtip.com", "xmpp.wingtip.com", 5270)
            .xmpp("wingtip.com", "xmpp.wingtip.com", 5269)
    })
    .await?;
    let _gateway = town.gateway("").await?;
    // It takes the connection and ends it.
    let direct = tokio::net::TcpListener::bind(town.somewhere(3, 5270)).await?;
    let deaf = async {
        loop {
            drop(direct.accept().await);
        }
    };
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    tokio::select! {
        status = status_of_a_message(&town, &mut alice) => ensure!(status? == 200),
        () = deaf => {}
    }
    Ok(())
}

/// wingtip.com is at the third address, and elsewhere.wingtip.com at the fourth.
async fn town_with_another_host() -> Result<Town> {
    Town::with_zone(|zone, at| {
        let zone = zone.host("fe.contoso.com", at(2)).xmpp("wingtip.com", "xmpp.wingtip.com", 5269);
        zone.host("xmpp.wingtip.com", at(3)).host("elsewhere.wingtip.com", at(64))
    })
    .await
}

/// Sends one caller elsewhere, as wingtip.com.
async fn sends_away(town: &Town, listener: &XmppListener, to: &str) -> Result<()> {
    let mut peer = listener.accept_plain().await?;
    header(&mut peer).await?;
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
    peer.say(&format!("<stream:features>{starttls}</stream:features>")).await?;
    ensure!(peer.element().await?.name == "starttls");
    let mut peer = peer.proceed(&tls::acceptor(&town.pki, &town.good_wingtip()?)?).await?;
    header(&mut peer).await?;
    let error = "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>";
    peer.say(&format!("<stream:error>{error}{to}</see-other-host></stream:error></stream:stream>")).await?;
    peer.until_closed().await
}

/// The certificate there has to be for wingtip.com still.
#[tokio::test]
async fn s2s_30_a_partner_may_be_found_where_he_says() -> Result<()> {
    let town = town_with_another_host().await?;
    let _gateway = town.gateway("").await?;
    let first = town.wingtip_listens().await?;
    let second = XmppListener::bind(town.somewhere(64, 5280)).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    sends_away(&town, &first, "elsewhere.wingtip.com:5280").await?;
    let mut wingtip = second.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.body() == Some("hello"));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let line = town.log.line_after(0, "outbound stream established").await?;
    ensure!(line.contains("elsewhere.wingtip.com (127."), "{line}");
    Ok(())
}

#[tokio::test]
async fn s2s_30_from_one_host_to_the_next_there_is_an_end() -> Result<()> {
    let town = town_with_another_host().await?;
    let _gateway = town.gateway("").await?;
    let listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    for _ in 0..4 {
        sends_away(&town, &listener, "xmpp.wingtip.com:5269").await?;
    }
    let line = town.log.line_after(0, "no stream to partner wingtip.com").await?;
    ensure!(line.contains("3 redirects were followed"), "{line}");
    drop(listener);
    ensure!(alice.final_answer(&call).await?.status() != Some(200));
    Ok(())
}
