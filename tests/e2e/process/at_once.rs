//! What new rules forbid ends at once: streams and SIP connections that stand, and those that are just coming about.

use std::fs;

use anyhow::{Context, Result, ensure};
use nuncio_world::pki::Credential;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::xmpp_peer::{Outcome, XmppPeer};

use crate::control::alice_writes;
use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// A message of Alice's is on a stream of ours to wingtip.com.
async fn reaches_wingtip(town: &Town, alice: &mut SipConnection, presents: &Credential) -> Result<XmppPeer> {
    let listener = town.wingtip_listens().await?;
    let call = alice.send_message(ALICE, CAROL, "before").await?;
    let mut wingtip = listener.accept(&town.pki, presents, "wingtip.com").await?;
    ensure!(wingtip.element().await?.body() == Some("before"));
    alice.final_answer(&call).await?;
    Ok(wingtip)
}

/// The condition of the stream error that ends it.
async fn condition(peer: &mut XmppPeer) -> Result<String> {
    let error = peer.stream_error().await?;
    Ok(error.children.first().context("no condition")?.name.clone())
}

#[tokio::test]
async fn sec_41_a_block_of_an_address_ends_our_streams_to_it_and_nobody_is_called_there() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut wingtip = reaches_wingtip(&town, &mut alice, &town.good_wingtip()?).await?;
    // He comes from another address, and stays.
    let mut carol = town.wingtip_speaks().await?;
    let address = town.wingtip().ip().to_string();
    let said = town.done(&["block", "add", &address]).await?;
    ensure!(said.contains("streams that end for it: 1"), "{said}");
    ensure!(condition(&mut wingtip).await? == "policy-violation");
    let mark = town.log.mark();
    let _listener = town.wingtip_listens().await?;
    let status = alice_writes(&mut alice).await?;
    ensure!(!status.contains("200"), "{status}");
    let said = town.log.line_after(mark, "no stream to partner wingtip.com").await?;
    ensure!(said.contains(&format!("there is a block for {address}")), "{said}");
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    carol.say(&from_carol("1", "still here")).await?;
    ensure!(front_end.next_message().await?.body == "still here");
    Ok(())
}

#[tokio::test]
async fn sec_41_our_own_front_end_is_not_blocked_by_mistake_and_by_intention_at_once() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_options("contoso.com").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    for network in ["127.0.0.1", "127.0.0.0/8"] {
        let said = town.refused(&["block", "add", network]).await?;
        ensure!(said.contains("keeps out our own front end pool1, which is at 127.0.0.1"), "{said}");
    }
    // Nobody of ours is there now, and somebody may be found there by DNS.
    let said = town.refused(&["block", "add", "::/0"]).await?;
    ensure!(said.contains("the block of ::/0 keeps out whoever has an address of this kind"), "{said}");
    town.edit("[control]", "[[block]]\naddress = \"127.0.0.1\"\n[control]")?;
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("keeps out our own front end pool1"), "{said}");
    ensure!(alice.next().await?.is_none(), "the connection stands");
    town.log.line_after(0, "SIP connection is being closed: there is a block").await?;
    Ok(())
}

#[tokio::test]
async fn sec_41_a_front_end_that_is_named_and_not_connected_is_not_blocked_by_mistake_either() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    // Nobody is there; DNS was asked for it.
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "anybody there?")).await?;
    town.log.line_after(0, "no connection to front end pool1").await?;
    let address = town.fe().ip().to_string();
    let cut_off = format!("keeps out our own front end pool1, which is at {address}");
    let said = town.refused(&["block", "add", &address]).await?;
    ensure!(said.contains(&cut_off), "{said}");
    ensure!(!town.by_file(&["check", "config"]).await?.out.contains("keeps out"));

    // In a file it is told before it holds, and with it.
    let block = format!("[[block]]\naddress = \"{address}\"\n[control]");
    town.edit("[control]", &block)?;
    let said = town.by_file(&["check", "config"]).await?;
    let warned = said.out.contains("WARNING") && said.out.contains(&cut_off);
    ensure!(said.good && warned, "{}{}", said.out, said.err);
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains(&cut_off), "{said}");
    gateway.stop().await?;
    // Where DNS does not know it, nobody is found, and nothing fails.
    town.edit("fe.contoso.com:5061", "nowhere.contoso.com:5061")?;
    let said = town.by_file(&["check", "config"]).await?;
    ensure!(said.good && !said.out.contains("keeps out"), "{}{}", said.out, said.err);
    // Without DNS it is known where an entry says so itself.
    town.edit("nowhere.contoso.com:5061", &format!("{address}:5061"))?;
    let said = town.by_file(&["check", "config"]).await?;
    ensure!(said.good && said.out.contains(&cut_off), "{}{}", said.out, said.err);
    Ok(())
}

#[tokio::test]
async fn sec_41_a_front_end_at_a_blocked_address_is_not_called() -> Result<()> {
    let mut town = Town::found().await?;
    town.control_more = format!("[[block]]\naddress = \"{}\"", town.fe().ip());
    let _gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "for nobody")).await?;
    let said = town.log.line_after(0, "no connection to front end pool1").await?;
    ensure!(said.contains("there is a block for"), "{said}");
    ensure!(front_end.waiting().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_negotiated_while_its_terms_change_carries_nothing() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let good = town.good_wingtip()?;
    let secured =
        async || XmppPeer::secured(&town.pki, Some(&good), town.xmpp(), "wingtip.com", "contoso.com").await;
    let (mut terms, mut other) = (secured().await?, secured().await?);
    town.edit("domain = \"wingtip.com\"", "domain = \"wingtip.com\"\nnegotiation_rules = \"compat\"")?;
    town.done(&["reload"]).await?;
    // He has his features already when we see that it came about, and gets no further.
    let refused = async |peer: &mut XmppPeer| -> Result<()> {
        peer.authenticate("wingtip.com", "contoso.com").await?;
        let why = condition(peer).await?;
        ensure!(why == "reset", "{why}");
        Ok(())
    };
    refused(&mut terms).await.context("other terms")?;

    // A pin is no term: the certificate is judged again.
    let pin = "pins = [\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]";
    let mut pinned = secured().await?;
    town.edit("negotiation_rules = \"compat\"", &format!("negotiation_rules = \"compat\"\n{pin}"))?;
    town.done(&["reload"]).await?;
    refused(&mut pinned).await.context("a pin")?;
    refused(&mut other).await?;
    Ok(())
}

#[tokio::test]
async fn tls_09_a_stream_whose_certificate_is_on_a_new_list_ends_and_others_stay() -> Result<()> {
    let mut town = Town::found().await?;
    let list = town.folder().join("partner.crl");
    town.partner = format!("crls = {list:?}");
    let (good, other) = (town.good_wingtip()?, town.pki.good("other", &["wingtip.com"])?);
    fs::write(&list, town.pki.revocations(&[])?)?;
    let gateway = town.gateway("file_check = \"24h\"").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let mut stays =
        XmppPeer::authenticated(&town.pki, &other, town.xmpp(), "wingtip.com", "contoso.com").await?;
    let mut comes =
        XmppPeer::authenticated(&town.pki, &good, town.xmpp(), "wingtip.com", "contoso.com").await?;
    let mut ours = reaches_wingtip(&town, &mut alice, &good).await?;
    fs::write(&list, town.pki.revocations(&[&good])?)?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    let said = town.log.line_after(mark, "stream is being closed").await?;
    ensure!(said.contains("revoked"), "{said}");
    ensure!(condition(&mut comes).await? == "reset" && condition(&mut ours).await? == "reset");
    stays.say(&from_carol("1", "undisturbed")).await?;
    ensure!(front_end.next_message().await?.body == "undisturbed");
    let (_, outcome) =
        XmppPeer::negotiate(&town.pki, Some(&good), town.xmpp(), "wingtip.com", "contoso.com").await?;
    ensure!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn tls_09_a_front_end_whose_certificate_is_on_a_new_list_loses_its_connection() -> Result<()> {
    let mut town = Town::found().await?;
    let list = town.folder().join("sip.crl");
    town.sip = format!("crls = {list:?}");
    let (good, other) = (town.good_front_end()?, town.pki.good("other", &["fe.contoso.com"])?);
    fs::write(&list, town.pki.revocations(&[])?)?;
    let gateway = town.gateway("file_check = \"24h\"").await?;
    let (mut goes, mut stays) = (town.calls(Some(&good)).await?, town.calls(Some(&other)).await?);
    for caller in [&mut goes, &mut stays] {
        let call = caller.send_options("contoso.com").await?;
        ensure!(caller.final_answer(&call).await?.status() == Some(200));
    }
    fs::write(&list, town.pki.revocations(&[&good])?)?;
    gateway.signal("HUP").await?;
    ensure!(goes.next().await?.is_none(), "the connection stands");
    let call = stays.send_options("contoso.com").await?;
    ensure!(stays.final_answer(&call).await?.status() == Some(200));
    Ok(())
}
