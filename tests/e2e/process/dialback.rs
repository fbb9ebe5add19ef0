//! Dialback in all its roles, as the entry of the partner allows it (XEP-0220).

use anyhow::{Context, Result, ensure};
use nuncio_world::pki::{Flaw, Usage};
use nuncio_world::xml::Item;
use nuncio_world::xmpp_peer::{Outcome, XmppPeer};
use tokio::process::Command;

use crate::caller::{External, ID, Says, Server, calls, gives_key};
use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

const OVER_TLS: &str = "sasl = \"optional\"";
const OVER_TCP: &str = "tls = \"not-supported\"\nsasl = \"not-supported\"\naccept_spoofable = true";

async fn town(partner: &str) -> Result<Town> {
    let mut town = Town::found().await?;
    town.partner = partner.to_owned();
    Ok(town)
}

/// Carol's server is verified by a call back to it, and her message crosses; Alice's message crosses when it has taken our
/// key; and it is told that this key is ours.
async fn both_directions(partner: &str, tls: bool, method: &str) -> Result<()> {
    let town = town(partner).await?;
    let _gateway = town.gateway("").await?;
    let flawed = town.pki.issue("flawed", &["elsewhere.example"], Usage::Both, Flaw::SelfSigned)?;
    let mut server = Server::listens(&town, tls.then_some(&flawed), Says::Valid).await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;

    let mut carol = calls(&town, tls).await?;
    let result = gives_key(&mut carol, "wingtip.com").await?;
    ensure!(result.attribute("type") == Some("valid"), "{result}");
    let asked = server.hears("db:verify").await?;
    ensure!(asked.text == "some key" && asked.attribute("from") == Some("contoso.com"), "{asked}");
    carol.say(&from_carol("c", "from a server that was called back")).await?;
    ensure!(front_end.next_message().await?.body == "from a server that was called back");

    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    let key = server.hears("db:result").await?.text;
    ensure!(server.hears("message").await?.body() == Some("hello"));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let line = town.log.line_after(0, "outbound stream established").await?;
    ensure!(line.contains(method), "{line}");
    let line = town.log.line_after(0, "inbound stream established").await?;
    ensure!(line.contains("method=dialback over "), "{line}");

    // Whoever was given the key asks, on a stream of his own that is not authenticated.
    let mut asks = calls(&town, tls).await?;
    for (id, known) in [(ID, "valid"), ("another", "invalid")] {
        asks.say(&format!(
            "<db:verify xmlns:db='jabber:server:dialback' from='wingtip.com' to='contoso.com' id='{id}'>{key}</db:verify>"
        ))
        .await?;
        let answer = asks.element().await?;
        ensure!(answer.attribute("type") == Some(known), "{id}: {answer}");
    }
    // Anybody could have asked that: what is said is from where, and in which name.
    let line = town.log.line_after(0, "asked about a dialback key of contoso.com that is not ours").await?;
    let known = [" INFO ", "claimed=wingtip.com", "peer=127.", "has proved nothing"];
    ensure!(known.iter().all(|part| line.contains(part)), "{line}");
    Ok(())
}

#[tokio::test]
async fn db_04_07_and_09_dialback_over_tls_in_both_directions() -> Result<()> {
    let why = "method=dialback over TLS, EXTERNAL not used: its certificate is not acceptable: ";
    both_directions(OVER_TLS, true, why).await
}

#[tokio::test]
async fn db_14_dialback_over_plain_tcp_where_the_administrator_takes_the_risk() -> Result<()> {
    both_directions(OVER_TCP, false, "method=dialback over plain TCP both_ways").await
}

/// What a peer is offered before TLS that does not say who it is.
async fn offered_to_nobody(partner: &str) -> Result<String> {
    let town = town(partner).await?;
    let _gateway = town.gateway("").await?;
    let mut peer = XmppPeer::dial(town.xmpp()).await?;
    peer.say(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         to='contoso.com' version='1.0'>",
    )
    .await?;
    ensure!(matches!(peer.item().await?, Item::Header(_)));
    Ok(peer.element().await?.to_string())
}

#[tokio::test]
async fn s2s_17_plain_tcp_is_offered_to_who_says_nothing_only_where_some_partner_may_use_it() -> Result<()> {
    for (partner, in_clear) in [(OVER_TCP, true), (OVER_TLS, false)] {
        let features = offered_to_nobody(partner).await?;
        ensure!(features.contains("starttls"), "{features}");
        ensure!(features.contains("required") != in_clear, "{features}");
        ensure!(features.contains("dialback") == in_clear, "{features}");
    }
    Ok(())
}

/// It hangs up when asked for TLS, which it did not offer; on another connection it is taken as it is.
#[tokio::test]
async fn tls_02_a_partner_without_tls_is_met_once_more_in_clear_where_his_entry_allows() -> Result<()> {
    let town = town("tls = \"optional\"\nsasl = \"optional\"\naccept_spoofable = true").await?;
    let _gateway = town.gateway("").await?;
    let mut server = Server::listens(&town, None, Says::Valid).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    ensure!(server.hears("message").await?.body() == Some("hello"));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    // And so is the server that is asked about a key.
    let mut carol = calls(&town, false).await?;
    let result = gives_key(&mut carol, "wingtip.com").await?;
    ensure!(result.attribute("type") == Some("valid"), "{result}");
    Ok(())
}

/// A message crosses after the partner has refused our certificate; gives the lines about the stream and the attempt.
async fn refused_by(external: External) -> Result<(String, String)> {
    let town = town(OVER_TLS).await?;
    let gateway = town.gateway("").await?;
    let mut server = Server::refuses(&town, &town.good_wingtip()?, external).await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    server.hears("auth").await?;
    server.hears("db:result").await?;
    ensure!(server.hears("message").await?.body() == Some("hello"));
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    let line = town.log.line_after(0, "outbound stream established").await?;
    gateway.signal("USR1").await?;
    Ok((line, town.log.line_after(0, "status: attempt:").await?))
}

#[tokio::test]
async fn sasl_07_a_partner_that_refuses_our_certificate_gets_our_key_on_the_same_stream() -> Result<()> {
    let (line, attempt) = refused_by(External::Refused).await?;
    let why = "by dialback over TLS, EXTERNAL not used: it refused our certificate with not-authorized, saying “whose is that?”";
    ensure!(line.contains(&why[3..]), "{line}");
    ensure!(attempt.contains(why) && !attempt.contains("no stream at"), "{attempt}");
    Ok(())
}

#[tokio::test]
async fn sasl_07_a_partner_that_ends_the_stream_over_it_is_met_once_more_with_our_key() -> Result<()> {
    let (line, attempt) = refused_by(External::RefusedAndClosed).await?;
    let why = "by dialback over TLS, EXTERNAL not used: it offered EXTERNAL and refused our certificate on the connection before";
    ensure!(line.contains(&why[3..]), "{line}");
    ensure!(
        attempt.contains(why) && attempt.contains("tried again by dialback, as the entry allows"),
        "{attempt}"
    );
    Ok(())
}

#[tokio::test]
async fn sasl_07_a_partner_that_drops_the_connection_over_it_is_met_once_more_with_our_key() -> Result<()> {
    let (line, attempt) = refused_by(External::Dropped).await?;
    let why = "by dialback over TLS, EXTERNAL not used: it offered EXTERNAL and ended the connection before this one when we";
    ensure!(line.contains(&why[3..]), "{line}");
    ensure!(
        attempt.contains(why)
            && attempt.contains("left when we used it")
            && attempt.contains("tried again by dialback, as the entry allows"),
        "{attempt}"
    );
    Ok(())
}

#[tokio::test]
async fn db_10_a_key_that_its_own_server_does_not_know_lets_nobody_in() -> Result<()> {
    let mut town = Town::with_zone(|zone, at| {
        let zone = zone.host("fe.contoso.com", at(2)).host("xmpp.wingtip.com", at(3));
        zone.xmpp("wingtip.com", "old.wingtip.com", 5269).xmpp("wingtip.com", "xmpp.wingtip.com", 5269)
    })
    .await?;
    town.partner = OVER_TLS.to_owned();
    let gateway = town.gateway("").await?;
    let _server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Invalid).await?;
    let mut mallory = calls(&town, true).await?;
    let result = gives_key(&mut mallory, "wingtip.com").await?;
    ensure!(result.attribute("type") == Some("invalid"), "{result}");
    mallory.say(&from_carol("m", "this must not cross")).await.ok();
    mallory.until_closed().await?;
    let line = town.log.line_after(0, "dialback refused").await?;
    ensure!(line.contains("WARN") && line.contains("wingtip.com"), "{line}");
    // How that was found out, and what of the DNS led nowhere, stands in the line and in the evidence.
    gateway.signal("USR1").await?;
    let evidence = town.log.line_after(0, "status: attempt:").await?;
    for way in ["found INVALID by ", "xmpp.wingtip.com", "(left out: ", "old.wingtip.com"] {
        ensure!(line.contains(way) && evidence.contains(way), "{way}: {line}\n{evidence}");
    }
    Ok(())
}

/// Nobody listens there: an error that says so, and the stream goes on.
#[tokio::test]
async fn db_11_the_server_that_could_verify_cannot_be_reached() -> Result<()> {
    let town = town(OVER_TLS).await?;
    let _gateway = town.gateway("").await?;
    let mut carol = calls(&town, true).await?;
    let result = gives_key(&mut carol, "wingtip.com").await?;
    ensure!(result.condition() == Some("remote-connection-failed"), "{result}");
    let _server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let result = gives_key(&mut carol, "wingtip.com").await?;
    ensure!(result.attribute("type") == Some("valid"), "{result}");
    Ok(())
}

#[tokio::test]
async fn db_15_sec_49_a_key_cannot_send_the_gateway_into_its_own_network() -> Result<()> {
    let mut town = town(OVER_TLS).await?;
    town.private_addresses = false;
    let _gateway = town.gateway("").await?;
    let mut server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let mut carol = calls(&town, true).await?;
    let result = gives_key(&mut carol, "wingtip.com").await?;
    ensure!(result.condition() == Some("remote-server-not-found"), "{result}");
    ensure!(server.nothing_heard(), "it called");
    Ok(())
}

#[tokio::test]
async fn db_15_keys_beyond_the_rate_of_a_partner_are_not_verified() -> Result<()> {
    let town = town(OVER_TLS).await?;
    let _gateway = town.gateway("xmpp.verification_rate_per_partner = 1").await?;
    let _server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let mut carol = calls(&town, true).await?;
    ensure!(gives_key(&mut carol, "wingtip.com").await?.attribute("type") == Some("valid"));
    let result = gives_key(&mut carol, "chat.wingtip.com").await?;
    ensure!(result.condition() == Some("resource-constraint"), "{result}");
    Ok(())
}

#[tokio::test]
async fn db_15_keys_beyond_the_rate_of_an_address_are_not_verified() -> Result<()> {
    let town = town(OVER_TLS).await?;
    let _gateway = town.gateway("xmpp.verification_rate_per_address = 1").await?;
    let _server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let mut carol = calls(&town, true).await?;
    ensure!(gives_key(&mut carol, "wingtip.com").await?.attribute("type") == Some("valid"));
    let mut again = calls(&town, true).await?;
    let result = gives_key(&mut again, "wingtip.com").await?;
    ensure!(result.condition() == Some("resource-constraint"), "{result}");
    Ok(())
}

/// What a further domain of the partner asks on the same stream is answered to that domain.
#[tokio::test]
async fn db_13_each_domain_of_a_stream_is_answered_on_its_own_lane() -> Result<()> {
    let town = town(OVER_TLS).await?;
    let _gateway = town.gateway("").await?;
    let mut server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let mut carol = calls(&town, true).await?;
    for domain in ["wingtip.com", "chat.wingtip.com"] {
        let result = gives_key(&mut carol, domain).await?;
        ensure!(result.attribute("type") == Some("valid"), "{result}");
    }
    carol
        .say("<iq type='get' id='p' from='room@chat.wingtip.com' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await?;
    let answer = loop {
        let iq = server.hears("iq").await?;
        if iq.attribute("id") == Some("p") {
            break iq;
        }
    };
    ensure!(answer.attribute("to") == Some("room@chat.wingtip.com"), "{answer}");
    let line = town.log.line_after(0, "outbound stream established").await?;
    ensure!(line.contains("chat.wingtip.com"), "{line}");
    Ok(())
}

/// The request is not answered; when the time for the stream is over, it ends, and the evidence says why.
#[tokio::test]
async fn db_14_dialback_switched_off_is_ignored_until_the_stream_ends() -> Result<()> {
    let town = town("dialback = false").await?;
    let _gateway = town.gateway("xmpp.establishment = \"8s\"").await?;
    let mut carol = calls(&town, true).await?;
    let end = gives_key(&mut carol, "wingtip.com").await?;
    ensure!(end.name == "stream:error" && end.child("policy-violation").is_some(), "{end}");
    let line = town.log.line_after(0, "inbound stream closed").await?;
    ensure!(line.contains("dialback"), "{line}");
    Ok(())
}

/// Once by certificate, never with less, also after a restart; until the administrator says so.
#[tokio::test]
async fn sec_11_dialback_alone_is_refused_to_who_proved_himself_by_certificate() -> Result<()> {
    let town = town(OVER_TLS).await?;
    let mut gateway = town.gateway("").await?;
    let _server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let mut carol = calls(&town, true).await?;
    ensure!(gives_key(&mut carol, "wingtip.com").await?.attribute("type") == Some("valid"), "not proved yet");
    let (_, outcome) = XmppPeer::negotiate(
        &town.pki,
        Some(&town.good_wingtip()?),
        town.xmpp(),
        "wingtip.com",
        "contoso.com",
    )
    .await?;
    ensure!(matches!(outcome, Outcome::Authenticated), "{outcome:?}");
    town.log.line_after(0, "proved itself by certificate").await?;
    gateway.stop().await?;

    let mark = town.log.mark();
    let mut gateway = town.gateway("").await?;
    let mut mallory = calls(&town, true).await?;
    let result = gives_key(&mut mallory, "wingtip.com").await?;
    ensure!(result.condition() == Some("not-authorized"), "{result}");
    let line = town.log.line_after(mark, "now offers dialback alone").await?;
    ensure!(line.contains("WARN") && line.contains("nuncio partner allow-dialback wingtip.com"), "{line}");
    let said = allow_dialback(&town).await?;
    ensure!(
        !said.0 && said.1.contains("have it do that, with nuncio partner allow-dialback wingtip.com"),
        "{said:?}"
    );
    gateway.stop().await?;

    let said = allow_dialback(&town).await?;
    ensure!(said.0, "{said:?}");
    let _gateway = town.gateway("").await?;
    let mut carol = calls(&town, true).await?;
    ensure!(gives_key(&mut carol, "wingtip.com").await?.attribute("type") == Some("valid"));
    let said = allow_dialback(&town).await;
    said.map(drop).context("it can be asked at any time")
}

/// The same while the gateway runs: no other partner has to notice.
#[tokio::test]
async fn sec_11_the_administrator_says_so_to_the_gateway_that_runs() -> Result<()> {
    let town = town(OVER_TLS).await?;
    let mut gateway = town.gateway("").await?;
    let _server = Server::listens(&town, Some(&town.good_wingtip()?), Says::Valid).await?;
    let wingtip = town.good_wingtip()?;
    let (_stream, outcome) =
        XmppPeer::negotiate(&town.pki, Some(&wingtip), town.xmpp(), "wingtip.com", "contoso.com").await?;
    ensure!(matches!(outcome, Outcome::Authenticated), "{outcome:?}");
    town.log.line_after(0, "proved itself by certificate").await?;
    let mut mallory = calls(&town, true).await?;
    let result = gives_key(&mut mallory, "wingtip.com").await?;
    ensure!(result.condition() == Some("not-authorized"), "{result}");

    let said = town.refused(&["partner", "allow-dialback", "contoso.org"]).await?;
    ensure!(said.contains("contoso.org has not proved itself by certificate"), "{said}");
    let mark = town.log.mark();
    let said = town.done(&["partner", "allow-dialback", "WingTip.com"]).await?;
    ensure!(said.contains("wingtip.com may come in by dialback alone again"), "{said}");
    town.log.line_after(mark, "wingtip.com may come in by dialback alone again").await?;
    let mut carol = calls(&town, true).await?;
    ensure!(gives_key(&mut carol, "wingtip.com").await?.attribute("type") == Some("valid"), "let in");
    town.refused(&["partner", "allow-dialback", "wingtip.com"]).await?;
    gateway.kill().await?;
    // It was on the disk before the command ended.
    let mut audit = Command::new(env!("CARGO_BIN_EXE_nuncio"));
    audit.args(["store", "show", "audit", "--state-dir"]).arg(town.folder().join("state"));
    let trail = String::from_utf8(audit.output().await?.stdout)?;
    ensure!(trail.contains("partner.dialback_allowed"), "{trail}");
    let gateway = town.gateway("").await?;
    let mut carol = calls(&town, true).await?;
    ensure!(gives_key(&mut carol, "wingtip.com").await?.attribute("type") == Some("valid"), "after a crash");
    drop(gateway);
    Ok(())
}

/// Whether it worked, and what it said.
async fn allow_dialback(town: &Town) -> Result<(bool, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
    command.args(["store", "allow-dialback", "wingtip.com", "--state-dir"]).arg(town.folder().join("state"));
    let output = command.output().await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(text)?))
}
