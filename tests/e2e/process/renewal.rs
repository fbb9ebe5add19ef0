//! Certificates, keys and roots are replaced on disk while the gateway runs (TLS-19).

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio_world::pki::{Credential, Flaw, Pki, Usage};
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::xmpp_peer::{Outcome, XmppPeer};

use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// Long enough that nothing is looked at by itself.
const NEVER: &str = "file_check = \"24h\"";
const OFTEN: &str = "file_check = \"100ms\"";

impl Town {
    fn file(&self, name: &str) -> PathBuf {
        self.folder().join("pki").join(name)
    }

    /// Has the certificate for partners issued anew, in the same files.
    fn renew(&self) -> Result<Credential> {
        self.pki.good("gateway-contoso", &["contoso.com"])
    }
}

fn shows(peer: &XmppPeer, credential: &Credential) -> bool {
    peer.shown() == Some(&credential.certificate)
}

/// A message of the user crosses to the stream that is there already.
async fn crosses(alice: &mut SipConnection, wingtip: &mut XmppPeer, body: &str) -> Result<()> {
    alice.send_message(ALICE, CAROL, body).await?;
    loop {
        let element = wingtip.element().await?;
        if element.body() == Some(body) {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn tls_19_new_connections_are_shown_what_is_new_and_old_ones_carry_on() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway(OFTEN).await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    alice.send_message(ALICE, CAROL, "before").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.body() == Some("before"));

    let mark = town.log.mark();
    let (contoso, sip) = (town.renew()?, town.pki.good("gateway-sip", &["nuncio.contoso.com"])?);
    for file in ["gateway-contoso.pem: renewed", "gateway-sip.pem: renewed"] {
        let said = town.log.line_after(mark, file).await?;
        ensure!(said.contains("until"), "{said}");
    }
    ensure!(shows(&town.wingtip_speaks().await?, &contoso), "a partner still sees the old one");
    let again = town.calls(Some(&town.good_front_end()?)).await?;
    ensure!(again.shown() == Some(&sip.certificate), "a front end still sees the old one");

    // In both directions, on the streams and connections from before.
    carol.say(&from_carol("old", "on the old stream")).await?;
    ensure!(front_end.next_message().await?.body == "on the old stream");
    crosses(&mut alice, &mut wingtip, "on the old connection").await
}

#[tokio::test]
async fn tls_19_sighup_takes_what_is_new_at_once_and_each_domain_keeps_its_own() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway(NEVER).await?;
    let litware =
        XmppPeer::authenticated(&town.pki, &town.good_wingtip()?, town.xmpp(), "wingtip.com", "litware.com")
            .await?;
    let (before, new) = (litware.shown().cloned().context("no certificate")?, town.renew()?);
    ensure!(!shows(&town.wingtip_speaks().await?, &new), "nobody has said so yet");
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "were looked at").await?;
    ensure!(shows(&town.wingtip_speaks().await?, &new));
    let litware =
        XmppPeer::authenticated(&town.pki, &town.good_wingtip()?, town.xmpp(), "wingtip.com", "litware.com")
            .await?;
    ensure!(litware.shown() == Some(&before));
    Ok(())
}

#[tokio::test]
async fn tls_19_what_is_broken_is_refused_aloud_and_the_old_one_stays() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway(NEVER).await?;
    let good = town.renew()?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "gateway-contoso.pem: renewed").await?;
    let (certificate, key) = (town.file("gateway-contoso.pem"), town.file("gateway-contoso.key"));
    let own = &["contoso.com"];
    let issue = |label: &str, names: &[&str], flaw| town.pki.issue(label, names, Usage::Both, flaw);
    for (label, put, word) in [
        ("other-key", issue("other-key", own, Flaw::None)?, "does not belong to"),
        ("expired", issue("expired", own, Flaw::Expired)?, "it expired on"),
        ("other-name", issue("other-name", &["fabrikam.com"], Flaw::None)?, "it is not for contoso.com"),
    ] {
        fs::copy(&put.certificate_file, &certificate)?;
        if label != "other-key" {
            fs::copy(&put.key_file, &key)?;
        }
        refused(&town, &gateway, word, &good).await.context(label)?;
    }
    fs::write(&certificate, "half a certificate")?;
    refused(&town, &gateway, "it is not PEM", &good).await?;
    fs::remove_file(&certificate)?;
    refused(&town, &gateway, "No such file", &good).await?;

    // And then it is mended.
    let new = town.renew()?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "gateway-contoso.pem: renewed").await?;
    ensure!(shows(&town.wingtip_speaks().await?, &new));
    Ok(())
}

/// The certificate that is shown to administrators, if the handshake comes about.
async fn shown_to_administrators(town: &Town) -> Result<[u8; 32]> {
    let stream = tokio::net::TcpStream::connect(town.somewhere(1, 8443)).await?;
    let tls = nuncio::tls::ClientTls::new()?;
    let (_, facts) = nuncio::tls::connect(stream, &tls, "admin.contoso.com", None).await?;
    Ok(facts.certificate().context("no certificate")?.sha256)
}

/// Administrators come over TCP as well.
async fn town_with_control() -> Result<Town> {
    let mut town = Town::found().await?;
    let tokens = town.folder().join("tokens");
    fs::write(&tokens, "")?;
    town.control_more = format!(
        "listen = \"{}\"\ntokens = {tokens:?}\ncertificate = {:?}\nkey = {:?}\n",
        town.somewhere(1, 8443),
        town.file("control.pem"),
        town.file("control.key"),
    );
    Ok(town)
}

#[tokio::test]
async fn what_a_reload_or_an_import_brings_for_control_is_shown_to_administrators_unless_it_will_not_do()
-> Result<()> {
    let town = town_with_control().await?;
    let issue = |label, flaw| town.pki.issue(label, &["admin.contoso.com"], Usage::ServerOnly, flaw);
    let shown = async |issued: &Credential| -> Result<bool> {
        let expected = nuncio::tls::PeerCertificate::from_der(&issued.certificate)?.sha256;
        Ok(shown_to_administrators(&town).await? == expected)
    };
    let first = issue("control", Flaw::None)?;
    let _gateway = town.gateway(NEVER).await?;
    ensure!(shown(&first).await?);
    let second = issue("second", Flaw::None)?;
    for file in ["control.pem", "control.key"] {
        town.edit(&format!("pki/{file}"), &format!("pki/{}", file.replace("control", "second")))?;
    }
    town.done(&["reload"]).await?;
    ensure!(shown(&second).await?, "administrators are shown what was in the files that count no more");

    let words = |issued: &Credential| -> Vec<String> {
        let (certificate, key) = (issued.certificate_file.display(), issued.key_file.display());
        let words = ["cert", "import", "--assign", "--for", "control", "--key"].map(str::to_owned);
        words.into_iter().chain([key.to_string(), certificate.to_string()]).collect()
    };
    let expired = words(&issue("expired", Flaw::Expired)?);
    let said = town.refused(&expired.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    ensure!(said.contains("it expired on"), "{said}");
    ensure!(shown(&second).await?, "what nobody would accept was put in use");
    let third = issue("third", Flaw::None)?;
    town.done(&words(&third).iter().map(String::as_str).collect::<Vec<_>>()).await?;
    ensure!(shown(&third).await?, "administrators are shown the old one");
    Ok(())
}

#[tokio::test]
async fn the_certificate_of_control_is_checked_counted_warned_of_and_renewed_like_the_others() -> Result<()> {
    let town = town_with_control().await?;
    let issue = |days: u64| {
        town.pki.issue_as("control", Usage::ServerOnly, Flaw::None, |params| {
            params.subject_alt_names = vec![rcgen::SanType::DnsName("admin.contoso.com".try_into().unwrap())];
            params.not_after = (SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60 + 60)).into();
        })
    };
    let short = issue(12)?;
    let mark = town.log.mark();
    let _gateway = town.gateway(OFTEN).await?;
    let said = town.log.line_after(mark, "control.pem: it expires in 12 days").await?;
    ensure!(said.contains("WARN") && said.contains("[control] certificate"), "{said}");

    let said = town.nuncio(&["check", "certs"]).await?.out;
    ensure!(said.contains("control.pem") && said.contains("it expires in 12 days"), "{said}");
    let said = town.done(&["cert", "show"]).await?;
    ensure!(said.contains("control.pem") && said.contains("DNS:admin.contoso.com"), "{said}");
    let metrics = Client::new(town.control()).ask(Method::GET, "/metrics", None).await?;
    let metrics = String::from_utf8(metrics.body.to_vec())?;
    let counted = "nuncio_certificate_expiry_timestamp_seconds{side=\"control\",name=";
    ensure!(metrics.lines().any(|line| line.starts_with(counted)), "{counted} is not in\n{metrics}");

    let before = shown_to_administrators(&town).await?;
    ensure!(before == nuncio::tls::PeerCertificate::from_der(&short.certificate)?.sha256);
    let mark = town.log.mark();
    let new = issue(300)?;
    town.log.line_after(mark, "control.pem: renewed").await?;
    let new = nuncio::tls::PeerCertificate::from_der(&new.certificate)?.sha256;
    ensure!(shown_to_administrators(&town).await? == new, "administrators are shown the old one");

    // What peers would refuse does not take its place, as with the others.
    let mark = town.log.mark();
    town.pki.issue("control", &["admin.contoso.com"], Usage::ServerOnly, Flaw::Expired)?;
    town.log.line_after(mark, "control.pem: what is on disk now is not used: it expired on").await?;
    ensure!(shown_to_administrators(&town).await? == new);
    Ok(())
}

/// After SIGHUP the log says `word`, and partners see what they saw before.
async fn refused(
    town: &Town,
    gateway: &nuncio_world::process::Process,
    word: &str,
    good: &Credential,
) -> Result<()> {
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    let said = town.log.line_after(mark, "what is on disk now is not used").await?;
    ensure!(said.contains("ERROR") && said.contains(word), "{said}");
    ensure!(shows(&town.wingtip_speaks().await?, good), "it was shown");
    Ok(())
}

#[tokio::test]
async fn tls_19_a_broken_pair_is_refused_without_sighup_too() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway(OFTEN).await?;
    let mark = town.log.mark();
    fs::write(town.file("gateway-contoso.key"), "no key")?;
    let said = town.log.line_after(mark, "what is on disk now is not used").await?;
    ensure!(said.contains("ERROR") && said.contains("gateway-contoso.key"), "{said}");
    town.wingtip_speaks().await?;
    Ok(())
}

#[tokio::test]
async fn tls_15_and_tls_19_new_roots_judge_new_connections_and_those_that_stand() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway(NEVER).await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "before")).await?;
    ensure!(front_end.next_message().await?.body == "before");
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let (file, old) = (town.pki.roots_file(), fs::read(town.pki.roots_file())?);

    let mark = town.log.mark();
    fs::write(&file, "")?;
    gateway.signal("HUP").await?;
    let said = town.log.line_after(mark, "xmpp.roots: what is on disk now is not used").await?;
    ensure!(said.contains("it is empty"), "{said}");
    town.wingtip_speaks().await?;

    let elsewhere = Pki::new(&town.folder().join("elsewhere"))?;
    fs::copy(elsewhere.roots_file(), &file)?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    for side in ["sip.roots: renewed", "xmpp.roots: renewed"] {
        town.log.line_after(mark, side).await?;
    }
    let good = town.good_wingtip()?;
    let (_, outcome) =
        XmppPeer::negotiate(&town.pki, Some(&good), town.xmpp(), "wingtip.com", "contoso.com").await?;
    ensure!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    let mut stranger = town.calls(Some(&town.good_front_end()?)).await?;
    let call = stranger.send_options("contoso.com").await?;
    ensure!(stranger.final_answer(&call).await?.status() == Some(403));
    let error = carol.stream_error().await?;
    ensure!(error.children.iter().any(|child| child.name == "reset"), "{error}");
    ensure!(alice.next().await?.is_none(), "the SIP connection stands");

    fs::write(&file, old)?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "xmpp.roots: renewed").await?;
    town.wingtip_speaks().await?;
    Ok(())
}

/// Whether the front end that presents this is let in.
async fn is_let_in(town: &Town, front_end: &Credential) -> Result<bool> {
    let mut caller = town.calls(Some(front_end)).await?;
    let call = caller.send_options("contoso.com").await?;
    let answer = caller.final_answer(&call).await?;
    let status = answer.status().context("no status")?;
    ensure!(status == 200 || answer.must("ms-diagnostics")?.contains("revoked"), "{answer:?}");
    Ok(status == 200)
}

#[tokio::test]
async fn tls_09_and_tls_19_revoked_front_ends_are_left_out_in_both_directions_from_the_next_list_on()
-> Result<()> {
    let mut town = Town::found().await?;
    let list = town.file("sip.crl");
    town.sip = format!("crls = {list:?}");
    let (good, other) = (town.good_front_end()?, town.pki.good("other", &["fe.contoso.com"])?);
    fs::write(&list, town.pki.revocations(&[&other])?)?;
    let gateway = town.gateway(NEVER).await?;
    ensure!(is_let_in(&town, &good).await?);
    ensure!(!is_let_in(&town, &other).await?);
    // Nor is it called.
    let mut revoked = town.answers(&other, takes_all).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "for nobody")).await?;
    let said = town.log.line_after(0, "no connection to front end pool1").await?;
    ensure!(said.contains("revoked"), "{said}");
    ensure!(revoked.waiting().is_empty(), "it was sent all the same");

    fs::write(&list, town.pki.revocations(&[&good])?)?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "sip.crls: renewed").await?;
    ensure!(!is_let_in(&town, &good).await?);
    ensure!(is_let_in(&town, &other).await?);
    fs::write(&list, "nothing of the kind")?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "sip.crls: what is on disk now is not used").await?;
    ensure!(!is_let_in(&town, &good).await?, "the last list stays in use");
    Ok(())
}
