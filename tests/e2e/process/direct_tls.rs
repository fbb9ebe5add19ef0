//! Streams of partners that begin with TLS (XEP-0368). Our own are in `reach.rs`.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use nuncio_world::pki::{Credential, Flaw, Usage};
use nuncio_world::wait::within;
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::{XmppListener, XmppPeer};

use crate::certificates::{ONE_ATTEMPT, try_again};
use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// Certificates of wingtip.com, and whether each proves that it is he.
fn certificates(town: &Town) -> Result<[(&'static str, Credential, bool); 6]> {
    let issue = |label: &str, name: &str, usage, flaw| town.pki.issue(label, &[name], usage, flaw);
    Ok([
        ("wrong-name", issue("wrong-name", "elsewhere.example", Usage::Both, Flaw::None)?, false),
        ("name-below", issue("name-below", "chat.wingtip.com", Usage::Both, Flaw::None)?, false),
        ("expired", issue("expired", "wingtip.com", Usage::Both, Flaw::Expired)?, false),
        ("unknown", issue("unknown", "wingtip.com", Usage::Both, Flaw::OtherAuthority)?, false),
        ("self", issue("self", "wingtip.com", Usage::Both, Flaw::SelfSigned)?, false),
        // All that public authorities issue (DEC-14). Last: a stream once open stays.
        ("server-only", issue("server-only", "wingtip.com", Usage::ServerOnly, Flaw::None)?, true),
    ])
}

/// Up to the features under TLS.
async fn opened(town: &Town, at: SocketAddr, protocols: &[&str]) -> Result<XmppPeer> {
    let good = town.good_wingtip()?;
    let mut peer = XmppPeer::dial_direct(&town.pki, Some(&good), at, "contoso.com", protocols).await?;
    let Item::Element(features) = peer.open("wingtip.com", "contoso.com").await? else {
        bail!("no features")
    };
    ensure!(features.child("starttls").is_none(), "STARTTLS under TLS: {features}");
    ensure!(features.raw.contains("EXTERNAL"), "{features}");
    Ok(peer)
}

/// On the port of STARTTLS: the first byte tells. The protocol may be named or not.
#[tokio::test]
async fn s2s_04_a_partner_may_begin_with_tls_and_be_let_in_by_his_certificate() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    for protocols in [&[][..], &["xmpp-server"], &["xmpp-client", "xmpp-server"]] {
        let mut carol = opened(&town, town.xmpp(), protocols).await?;
        carol.authenticate("wingtip.com", "contoso.com").await?;
        carol.say(&from_carol("d", "directly")).await?;
        ensure!(front_end.next_message().await?.body == "directly", "{protocols:?}");
    }
    // And the other way, as before.
    town.wingtip_speaks().await.map(drop)
}

#[tokio::test]
async fn s2s_04_who_means_another_protocol_is_turned_away_in_the_handshake() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let result = opened(&town, town.xmpp(), &["xmpp-client"]).await;
    ensure!(result.is_err(), "it was let in");
    Ok(())
}

/// A listener for Direct TLS takes nothing else.
#[tokio::test]
async fn s2s_04_a_port_for_direct_tls_alone() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut carol = opened(&town, town.direct(), &["xmpp-server"]).await?;
    carol.authenticate("wingtip.com", "contoso.com").await?;
    let mut other = XmppPeer::dial(town.direct()).await?;
    other.say_header("wingtip.com", "contoso.com").await?;
    ensure!(other.item().await.is_err(), "it answered without TLS: {}", other.transcript());
    Ok(())
}

/// He may be believed by roots of his own; who it is, is not known before the header under TLS.
#[tokio::test]
async fn sec_12_a_partner_with_roots_of_his_own_may_begin_with_tls() -> Result<()> {
    let mut town = Town::found().await?;
    let his = town.pki.issue("his", &["wingtip.com"], Usage::Both, Flaw::OtherAuthority)?;
    town.partner = format!("roots = {:?}", town.pki.other_roots_file());
    let _gateway = town.gateway("").await?;
    let mut carol =
        XmppPeer::dial_direct(&town.pki, Some(&his), town.xmpp(), "contoso.com", &["xmpp-server"]).await?;
    carol.open("wingtip.com", "contoso.com").await?;
    carol.authenticate("wingtip.com", "contoso.com").await
}

#[tokio::test]
async fn tls_10_dec_14_who_begins_with_tls_is_believed_like_anybody_else() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for (label, credential, good) in certificates(&town)? {
        for at in [town.xmpp(), town.direct()] {
            let mut peer =
                XmppPeer::dial_direct(&town.pki, Some(&credential), at, "contoso.com", &["xmpp-server"])
                    .await?;
            let opened = peer.open("wingtip.com", "contoso.com").await.context(label)?;
            let offered = matches!(&opened, Item::Element(features) if features.raw.contains("EXTERNAL"));
            let let_in = offered && peer.authenticate("wingtip.com", "contoso.com").await.is_ok();
            ensure!(let_in == good, "{label}: {}", peer.transcript());
        }
    }
    Ok(())
}

#[tokio::test]
async fn tls_10_dec_14_who_is_called_with_tls_is_believed_like_anybody_else() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        let zone = zone.host("fe.contoso.com", at(2)).host("xmpp.wingtip.com", at(3));
        zone.xmpps("wingtip.com", "xmpp.wingtip.com", 5270)
    })
    .await?;
    let gateway = town.gateway(ONE_ATTEMPT).await?;
    let listener = XmppListener::bind(town.somewhere(3, 5270)).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    for (label, credential, good) in certificates(&town)? {
        let call = alice.send_message(ALICE, CAROL, label).await?;
        let accepting = async {
            loop {
                if let Ok((mut peer, ..)) =
                    listener.accept_direct(&town.pki, &credential, "wingtip.com").await
                    && let Ok(element) = peer.element().await
                {
                    return (peer, element);
                }
            }
        };
        if good {
            let crossing = async { tokio::join!(accepting, alice.final_answer(&call)) };
            let ((_peer, element), answer) = within("the message to cross", crossing).await?;
            ensure!(element.body() == Some(label), "{label}: {element}");
            ensure!(answer?.status() == Some(200), "{label}");
            continue;
        }
        tokio::select! {
            (_, element) = accepting => bail!("{label}: was sent {element}"),
            answer = alice.final_answer(&call) => {
                let answer = answer?;
                ensure!(answer.status() == Some(504), "{label}: {answer}");
                let why = answer.must("ms-diagnostics")?;
                ensure!(why.starts_with("1010;") && why.contains("certificate"), "{label}: {answer}");
                try_again(&town, &gateway).await?;
            }
        }
    }
    Ok(())
}
