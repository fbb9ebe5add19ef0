//! Streams of partners that begin with TLS (XEP-0368). Our own are in `reach.rs`.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::XmppPeer;

use crate::town::{Town, from_carol, takes_all};

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
