//! Front ends of the age of Lync Server 2013, played by OpenSSL's own programs with the suites that those have (TLS-07).

use std::fs;

use anyhow::{Result, ensure};
use nuncio_world::pki::{Credential, Flaw};

use crate::openssl::{OpenSsl, looks};
use crate::town::{ALICE, CAROL, Town, from_carol};

/// For RSA certificates nothing but CBC.
const CBC: &str = "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA";
const SETTING: &str = "tls_backend = \"openssl-legacy\"";
const QUICK: &str = "sip.backoff_initial = \"10ms\"\nsip.backoff_max = \"10ms\"\n";

/// A town where the gateway has an RSA certificate for front ends. `front_end`: more lines of the front end's entry.
async fn town(front_end: &str) -> Result<Town> {
    let mut town = Town::found().await?;
    town.pki.issue_rsa("gateway-sip", &["nuncio.contoso.com"], Flaw::None)?;
    town.front_end = front_end.to_owned();
    Ok(town)
}

fn fe(town: &Town) -> Result<Credential> {
    town.pki.issue_rsa("fe", &["fe.contoso.com"], Flaw::None)
}

fn options(number: u32) -> String {
    request("OPTIONS", ALICE, number, "")
}

fn message(number: u32, body: &str) -> String {
    request("MESSAGE", CAROL, number, body)
}

fn request(method: &str, to: &str, number: u32, body: &str) -> String {
    format!(
        "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS fe.contoso.com:5061;branch=z9hG4bK-old-{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{ALICE}>;tag=old{number}\r\nTo: <sip:{to}>\r\nCall-ID: old-{number}\r\n\
         CSeq: 1 {method}\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn tls_07_an_old_front_end_that_calls_is_named_the_setting_and_let_in_with_it() -> Result<()> {
    let mut town = town("").await?;
    let (fe, listener) = (fe(&town)?, town.wingtip_listens().await?);
    let mut gateway = town.gateway("").await?;
    let refused = OpenSsl::calls(&town.pki, town.sip(), &fe, CBC)?;
    let said = town.log.line_after(0, "TLS handshake failed").await?;
    ensure!(said.contains("no common cipher suite") && said.contains(SETTING), "{said}");
    refused.log.line_after(0, "handshake failure").await?;
    gateway.stop().await?;

    town.front_end = SETTING.to_owned();
    let mark = town.log.mark();
    let _gateway = town.gateway("").await?;
    let mut alice = OpenSsl::calls(&town.pki, town.sip(), &fe, CBC)?;
    alice.send(&options(1)).await?;
    ensure!(alice.next().await?.status() == Some(200));
    let said = town.log.line_after(mark, "front end connected").await?;
    ensure!(said.contains("pool1") && said.contains("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"), "{said}");
    alice.send(&message(2, "from the year 2013")).await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.body() == Some("from the year 2013"));
    ensure!(alice.next().await?.status() == Some(200));
    Ok(())
}

#[tokio::test]
async fn tls_07_an_old_front_end_that_is_called_is_named_the_setting_and_reached_with_it() -> Result<()> {
    let mut town = town("").await?;
    let mut pool = OpenSsl::listens(&town.pki, town.fe(), &fe(&town)?, CBC).await?;
    let mut gateway = town.gateway(QUICK).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "too new for you")).await?;
    let said = town.log.line_with(&["no connection to front end pool1", "handshake_failure"]).await?;
    ensure!(said.contains(SETTING) && said.contains("[[sip.front_end]] pool1"), "{said}");
    gateway.stop().await?;

    town.front_end = SETTING.to_owned();
    let _gateway = town.gateway(QUICK).await?;
    let mut carol = town.wingtip_speaks().await?;
    // Longer than one record, and one more behind it.
    let long = "long ".repeat(5000);
    for (id, body) in [("2", long.as_str()), ("3", "and short")] {
        carol.say(&from_carol(id, body)).await?;
        ensure!(pool.next_message().await?.body == body);
    }
    Ok(())
}

#[tokio::test]
async fn tls_18_with_old_suites_names_and_dates_count_as_ever() -> Result<()> {
    let town = town(SETTING).await?;
    let _gateway = town.gateway(QUICK).await?;
    let other = town.pki.issue_rsa("other", &["other.contoso.com"], Flaw::None)?;
    let expired = town.pki.issue_rsa("expired", &["fe.contoso.com"], Flaw::Expired)?;
    let foreign = town.pki.issue_rsa("foreign", &["fe.contoso.com"], Flaw::OtherAuthority)?;
    let mut carol = town.wingtip_speaks().await?;
    for (credential, why) in [
        (&other, "expected fe.contoso.com"),
        (&expired, "expired on"),
        (&foreign, "is not among the trusted roots"),
    ] {
        let mut caller = OpenSsl::calls(&town.pki, town.sip(), credential, CBC)?;
        caller.send(&options(1)).await?;
        let answer = caller.next().await?;
        ensure!(answer.status() == Some(403), "{answer}");
        town.log.line_with(&["SIP peer is no front end of ours", why]).await?;

        let _called = OpenSsl::listens(&town.pki, town.fe(), credential, CBC).await?;
        carol.say(&from_carol(why, "to nobody")).await?;
        town.log.line_with(&["no connection to front end pool1", why]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn tls_07_a_front_end_that_was_not_named_does_not_come_in_with_old_suites() -> Result<()> {
    let spare = "\n[[sip.front_end]]\nname = \"spare\"\ncertificate_names = [\"spare.contoso.com\"]\n\
                 next_hops = [\"spare.contoso.com:5061\"]\n";
    let town = town(&format!("{SETTING}{spare}")).await?;
    let _gateway = town.gateway("").await?;
    let spare = town.pki.issue_rsa("spare", &["spare.contoso.com"], Flaw::None)?;
    let mut caller = OpenSsl::calls(&town.pki, town.sip(), &spare, CBC)?;
    caller.send(&options(1)).await?;
    ensure!(caller.next().await?.status() == Some(403));
    let said = town.log.line_after(0, "SIP peer is no front end of ours").await?;
    ensure!(said.contains("it is front end spare") && said.contains(SETTING), "{said}");
    // With anything better it does.
    let mut caller = OpenSsl::calls(&town.pki, town.sip(), &spare, "ECDHE-RSA-AES128-GCM-SHA256")?;
    caller.send(&options(2)).await?;
    ensure!(caller.next().await?.status() == Some(200));
    Ok(())
}

/// rustls cannot at all.
#[tokio::test]
async fn tls_08_old_front_ends_cannot_renegotiate_either() -> Result<()> {
    let town = town(SETTING).await?;
    let _gateway = town.gateway("").await?;
    // To s_client this letter is an order.
    let seen = looks(&town.pki, town.sip(), &fe(&town)?, CBC, "R\n").await?;
    ensure!(seen.contains("RENEGOTIATING") && seen.contains("no renegotiation"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn tls_19_with_old_suites_a_renewed_certificate_is_shown_and_connections_carry_on() -> Result<()> {
    let town = town(SETTING).await?;
    let _gateway = town.gateway("file_check = \"100ms\"").await?;
    let fe = fe(&town)?;
    let mut alice = OpenSsl::calls(&town.pki, town.sip(), &fe, CBC)?;
    alice.send(&options(1)).await?;
    ensure!(alice.next().await?.status() == Some(200));
    let mark = town.log.mark();
    let new = town.pki.issue_rsa("gateway-sip", &["nuncio.contoso.com"], Flaw::None)?;
    town.log.line_after(mark, "gateway-sip.pem: renewed").await?;
    let seen = looks(&town.pki, town.sip(), &fe, CBC, "").await?;
    let pem = fs::read_to_string(&new.certificate_file)?.replace("\r\n", "\n");
    ensure!(seen.contains(pem.trim()), "the old certificate is shown:\n{seen}");
    for sign in ["Secure Renegotiation IS supported", "Compression: NONE"] {
        ensure!(seen.contains(sign), "no {sign:?} in\n{seen}");
    }
    ensure!(!seen.contains("TLS session ticket:"), "a session could be resumed:\n{seen}");
    alice.send(&options(2)).await?;
    ensure!(alice.next().await?.status() == Some(200));
    Ok(())
}
