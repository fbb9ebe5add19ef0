//! The world without the gateway: what the other scenarios take for granted.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nuncio_world::World;
use nuncio_world::dns::Changes;
use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::sip_agent::{Reply, SipConnection, SipServer};
use nuncio_world::sipp::{ANSWERING, OUTGOING, Sipp};
use nuncio_world::stunnel;
use nuncio_world::witness::{Method, Way};
use nuncio_world::world::{FABRIKAM, FRONT_END, GATEWAY_SIP, WINGTIP};
use nuncio_world::xmpp_server::{Brand, DIRECT_TLS, SERVERS, Setup, Tls, XmppServer};
use tokio::task::JoinSet;

/// Two servers find each other by SRV records and believe each other's certificates.
pub(crate) async fn two_ejabberd_domains_federate(world: World) -> Result<()> {
    let fabrikam = world.pki().good("fabrikam", &["fabrikam.com"])?;
    let wingtip = world.pki().good("wingtip", &["wingtip.com"])?;
    let mut first =
        XmppServer::ejabberd(&world, "fabrikam", FABRIKAM, &[("fabrikam.com", &fabrikam)]).await?;
    let second = XmppServer::ejabberd(&world, "wingtip", WINGTIP, &[("wingtip.com", &wingtip)]).await?;
    let mut bob = first.user("bob", "fabrikam.com").await?;
    let mut carol = second.user("carol", "wingtip.com").await?;

    bob.send_message("carol@wingtip.com", "there <&> back").await?;
    let there = carol.next_message().await?;
    ensure!(there.body() == Some("there <&> back") && there.attribute("from") == Some(bob.jid()), "{there}");

    let id = bob.send_message("nobody@wingtip.com", "to nobody").await?;
    let error = bob.next_message().await?;
    ensure!(error.attribute("id") == Some(&id), "{error}");
    ensure!(error.condition() == Some("service-unavailable"), "{error}");

    // A restart keeps the users; the other server finds its way back.
    first.stop().await?;
    first.start_again().await?;
    let mut bob = first.login("bob", "fabrikam.com").await?;
    carol.send_message("bob@fabrikam.com", "after the restart").await?;
    let message = bob.next_message().await?;
    ensure!(message.body() == Some("after the restart"), "{message}");

    first.freeze().await?;
    carol.send_message("bob@fabrikam.com", "while frozen").await?;
    first.thaw().await?;
    ensure!(bob.next_message().await?.body() == Some("while frozen"));
    Ok(())
}

/// ejabberd and Prosody by every method there is, in both directions, and each of them says which it was.
pub(crate) async fn servers_authenticate_each_other(world: World) -> Result<()> {
    let certificates = Setup::default();
    let dialback = Setup { dialback: true, ..certificates };
    let cases = [
        (certificates, Flaw::None, Method::External),
        (dialback, Flaw::SelfSigned, Method::DialbackTls),
        (Setup { tls: Tls::Off, ..dialback }, Flaw::None, Method::DialbackTcp),
        (Setup { direct_tls: true, ..certificates }, Flaw::None, Method::External),
        (Setup { direct_tls: true, ..dialback }, Flaw::Expired, Method::DialbackTls),
    ];
    let mut number = 0;
    let zone: String = cases
        .iter()
        .flat_map(|(setup, ..)| {
            number += 1;
            let (service, port) =
                if setup.direct_tls { ("xmpps-server", DIRECT_TLS) } else { ("xmpp-server", SERVERS) };
            [("e", 1), ("p", 2)].map(|(name, network)| {
                format!(
                    "host-record=xmpp.{name}{number}.example,127.0.{network}.{number}\n\
                     srv-host=_{service}._tcp.{name}{number}.example,xmpp.{name}{number}.example,{port},0,0\n"
                )
            })
        })
        .collect();
    world.change_dns(Changes { more: &zone, ..Changes::default() }).await?;
    let mut playing = JoinSet::new();
    for (number, (setup, flaw, method)) in (1..).zip(cases) {
        let world = world.clone();
        playing.spawn(async move {
            let outcome = authenticate_each_other(&world, number, &setup, flaw, method).await;
            outcome.with_context(|| format!("{setup:?} {flaw:?}"))
        });
    }
    while let Some(outcome) = playing.join_next().await {
        outcome??;
    }
    Ok(())
}

async fn authenticate_each_other(
    world: &World,
    number: u8,
    setup: &Setup,
    flaw: Flaw,
    expected: Method,
) -> Result<()> {
    let mut servers = Vec::new();
    for (brand, name, network) in [(Brand::Ejabberd, "e", 1), (Brand::Prosody, "p", 2)] {
        let domain = format!("{name}{number}.example");
        let credential = world.pki().issue(&domain, &[&domain], Usage::Both, flaw)?;
        let place = (domain.as_str(), IpAddr::from([127, 0, network, number]));
        let server = XmppServer::start(world, brand, place, &[(&domain, &credential)], setup).await?;
        let user = server.user("user", &domain).await?;
        servers.push((server, user, domain));
    }
    for _ in 0..2 {
        // The one who says it, and the one who hears it.
        let [(sender, from, ours), (receiver, to, theirs)] = servers.as_mut_slice() else {
            bail!("two servers")
        };
        from.send_message(&format!("user@{theirs}"), "by every method").await?;
        let message = to.next_message().await?;
        ensure!(message.body() == Some("by every method") && message.condition().is_none(), "{message}");
        for (server, outbound) in [(sender, true), (receiver, false)] {
            let method = server.authenticated(Way { from: ours, to: theirs, outbound }).await?;
            ensure!(method == expected, "{} says {method} for {ours} → {theirs}", server.brand());
        }
        servers.reverse();
    }
    Ok(())
}

/// SIPp → stunnel → TLS with a client certificate, and TLS with a client certificate → stunnel → SIPp.
pub(crate) async fn sipp_speaks_through_stunnel(world: World) -> Result<()> {
    let front_end = world.pki().good("fe", &["fe.contoso.com"])?;
    let gateway = world.pki().good("nuncio", &["nuncio.contoso.com"])?;
    let mut server =
        SipServer::listen(world.pki(), &gateway, GATEWAY_SIP, |_| Reply::Status(200, "OK")).await?;
    let _out = stunnel::towards_gateway(&world, OUTGOING, &front_end).await?;
    let mut caller = Sipp::send_messages(&world, 3, 4, "bob@fabrikam.com")?;
    let (mut requests, mut counts) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..12 {
        let message = server.next_message().await?;
        ensure!(
            requests.insert(message.must("Via")?.to_owned()),
            "a branch that was there before:\n{message}"
        );
        let count = (message.must("Call-ID")?.to_owned(), message.must("CSeq")?.to_owned());
        ensure!(counts.insert(count), "a CSeq that was there before:\n{message}");
        ensure!(message.address("To")? == "sip:bob@fabrikam.com", "{message}");
        ensure!(message.body.ends_with("a numbered message of a conversation"), "{message}");
    }
    let status = caller.ended(Duration::from_secs(30)).await?;
    ensure!(status.success(), "{status}");

    let accept = SocketAddr::new(FRONT_END, 5061);
    let _in = stunnel::from_gateway(&world, accept, ANSWERING, &front_end).await?;
    let _answering = Sipp::answer_messages(&world, 404, "Not Found").await?;
    let mut connection =
        SipConnection::connect(world.pki(), Some(&gateway), "fe.contoso.com", accept).await?;
    for body in ["one", "two"] {
        let call = connection.send_message("bob@fabrikam.com", "alice@contoso.com", body).await?;
        let answer = connection.final_answer(&call).await?;
        ensure!(answer.status() == Some(404), "{answer}");
    }
    Ok(())
}

/// stunnel as a front end lets nobody through whose certificate nobody vouches for.
pub(crate) async fn refuses_unknown_authorities(world: World) -> Result<()> {
    let front_end = world.pki().good("fe", &["fe.contoso.com"])?;
    let accept = SocketAddr::new(FRONT_END, 5061);
    let _in = stunnel::from_gateway(&world, accept, ANSWERING, &front_end).await?;
    let _answering = Sipp::answer_messages(&world, 200, "OK").await?;
    let names = &["nuncio.contoso.com"];
    let stranger = world.pki().issue("stranger", names, Usage::Both, Flaw::OtherAuthority)?;
    let expired = world.pki().issue("expired", names, Usage::Both, Flaw::Expired)?;
    for presents in [None, Some(&stranger), Some(&expired)] {
        // With TLS 1.3 the client hears of the refusal only after its handshake.
        if let Ok(mut connection) =
            SipConnection::connect(world.pki(), presents, "fe.contoso.com", accept).await
        {
            connection.send_message("bob@fabrikam.com", "alice@contoso.com", "let me in").await.ok();
            let answer = connection.next().await?;
            ensure!(answer.is_none(), "an answer: {answer:?}");
        }
    }
    Ok(())
}
