//! What an administrator types, beside a gateway that runs or in its place.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use nuncio_world::pki::{Flaw, Usage};
use tokio::process::Command;

use crate::town::{Town, takes_all};

const OFTEN: &str = "file_check = \"100ms\"";

impl Town {
    /// Runs a command on the configuration of the town.
    async fn types(&self, words: &[&str]) -> Result<Output> {
        let file = self.folder().join("nuncio.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
        command.args(words).arg("--config").arg(file).env_clear();
        Ok(command.output().await?)
    }

    /// The same, written for nobody but this test.
    fn is_configured(&self) -> Result<()> {
        self.configure("", &self.folder().join("state")).map(drop)
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn tls_19_the_hook_of_an_acme_client_puts_a_certificate_in_use_live_and_undo_takes_it_back()
-> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway(OFTEN).await?;
    let before = town.wingtip_speaks().await?.shown().cloned().context("no certificate")?;
    let renewed = town.pki.good("renewed", &["contoso.com"])?;
    let text = |path: &std::path::Path| path.display().to_string();
    let (certificate, key) = (text(&renewed.certificate_file), text(&renewed.key_file));
    let output = town.types(&["cert", "import", "--assign", "--key", &key, &certificate]).await?;
    ensure!(output.status.success(), "{}", said(&output));
    let shows = format!("{} shows it to who asks for contoso.com", town.xmpp());
    ensure!(said(&output).contains(&shows), "{}", said(&output));
    ensure!(town.wingtip_speaks().await?.shown() == Some(&renewed.certificate));

    let output = town.types(&["cert", "assign", "--undo", "--for", "contoso.com"]).await?;
    ensure!(output.status.success(), "{}", said(&output));
    ensure!(town.wingtip_speaks().await?.shown() == Some(&before));
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_partners_would_refuse_is_not_imported() -> Result<()> {
    let town = Town::found().await?;
    town.is_configured()?;
    for (flaw, names, why) in [
        (Flaw::Expired, &["contoso.com"][..], "it expired on"),
        (Flaw::None, &["litware.com"], "it is not for contoso.com"),
    ] {
        let issued = town.pki.issue("renewed", names, Usage::Both, flaw)?;
        let (certificate, key) =
            (issued.certificate_file.display().to_string(), issued.key_file.display().to_string());
        let words = ["cert", "import", "--assign", "--for", "contoso.com", "--key", &key, &certificate];
        let output = town.types(&words).await?;
        ensure!(output.status.code() == Some(1), "{}", said(&output));
        ensure!(said(&output).contains(why), "{}", said(&output));
        ensure!(!town.folder().join("pki/gateway-contoso.pem.new").exists());
    }
    Ok(())
}

#[tokio::test]
async fn check_connectivity_says_how_a_partner_lets_us_in() -> Result<()> {
    let town = Town::found().await?;
    town.is_configured()?;
    let wingtip = town.wingtip_listens().await?;
    let certificate = town.pki.good("chat", &["chat.wingtip.com"])?;
    // Once for each certificate of ours.
    let lets_in = async {
        let mut peers = Vec::new();
        for _ in 0..2 {
            peers.push(wingtip.accept(&town.pki, &certificate, "chat.wingtip.com").await?);
        }
        for peer in &mut peers {
            peer.until_closed().await?;
        }
        anyhow::Ok(())
    };
    let words = ["check", "connectivity", "chat.wingtip.com"];
    let (output, let_in) = tokio::join!(town.types(&words), lets_in);
    let output = output?;
    let_in.with_context(|| said(&output))?;
    ensure!(output.status.success(), "{}", said(&output));
    for from in ["contoso.com", "litware.com"] {
        ensure!(
            said(&output).contains(&format!("partner chat.wingtip.com from {from}\n")),
            "{}",
            said(&output)
        );
    }
    let method = "he lets us in by SASL EXTERNAL over TLS";
    ensure!(said(&output).matches(method).count() == 2, "{}", said(&output));
    Ok(())
}

#[tokio::test]
async fn check_connectivity_says_what_is_wrong_with_a_partner_and_what_to_do() -> Result<()> {
    let town = Town::found().await?;
    town.is_configured()?;
    let output = town.types(&["check", "connectivity", "chat.wingtip.com"]).await?;
    ensure!(output.status.code() == Some(1), "{}", said(&output));
    ensure!(said(&output).contains("fix: see whether the firewall lets us out"), "{}", said(&output));

    let wingtip = town.wingtip_listens().await?;
    let stranger = town.pki.good("stranger", &["stranger.example"])?;
    let refused = async {
        for _ in 0..2 {
            // The gateway breaks it off.
            let _ = wingtip.accept(&town.pki, &stranger, "chat.wingtip.com").await;
        }
    };
    let (output, ()) = tokio::join!(town.types(&["check", "connectivity", "chat.wingtip.com"]), refused);
    let output = output?;
    ensure!(output.status.code() == Some(1), "{}", said(&output));
    for part in ["stranger.example", "fix: ask the partner to mend his certificate"] {
        ensure!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    let output = town.types(&["check", "connectivity", "nobody.example"]).await?;
    ensure!(said(&output).contains("\"nobody.example\" is neither"), "{}", said(&output));
    Ok(())
}

/// What is shown for partners of some types only may be what the front end does not trust.
#[tokio::test]
async fn check_connectivity_shows_front_ends_each_of_our_certificates() -> Result<()> {
    let mut town = Town::found().await?;
    town.pki.good("gateway-federated", &["federated.contoso.com"])?;
    let pki = town.folder().join("pki");
    town.partner = format!(
        "[[sip.identity]]\nname = \"federated.contoso.com\"\ntypes = [\"federated\"]\n\
         certificate = \"{pki}/gateway-federated.pem\"\nkey = \"{pki}/gateway-federated.key\"",
        pki = pki.display()
    );
    town.is_configured()?;
    let _front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let output = town.types(&["check", "connectivity", "pool1"]).await?;
    ensure!(output.status.success(), "{}", said(&output));
    for name in ["nuncio.contoso.com", "federated.contoso.com"] {
        ensure!(said(&output).contains(&format!(", as {name}: TLS")), "{name}: {}", said(&output));
    }
    Ok(())
}

#[tokio::test]
async fn sip_04_check_connectivity_judges_front_ends_by_their_certificates() -> Result<()> {
    let town = Town::found().await?;
    town.is_configured()?;
    let output = town.types(&["check", "connectivity", "pool1"]).await?;
    ensure!(output.status.code() == Some(1), "nobody listens: {}", said(&output));
    {
        let _front_end = town.answers(&town.good_front_end()?, takes_all).await?;
        let output = town.types(&["check", "connectivity", "pool1"]).await?;
        ensure!(output.status.success(), "{}", said(&output));
        ensure!(said(&output).contains("its certificate is for fe.contoso.com"), "{}", said(&output));
    }
    let other = town.pki.good("other", &["other.contoso.com"])?;
    let _front_end = town.answers(&other, takes_all).await?;
    let output = town.types(&["check", "connectivity", "pool1"]).await?;
    ensure!(output.status.code() == Some(1), "{}", said(&output));
    ensure!(said(&output).contains("certificate is for other.contoso.com"), "{}", said(&output));
    Ok(())
}

#[tokio::test]
async fn check_dns_speaks_to_people_and_programs_and_by_its_exit_code() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        zone.host("fe.contoso.com", at(2))
            .host("nuncio.contoso.com", at(1))
            .xmpp("contoso.com", "nuncio.contoso.com", 5269)
            .xmpps("contoso.com", "nuncio.contoso.com", 5270)
    })
    .await?;
    town.is_configured()?;
    let output = town.types(&["check", "dns"]).await?;
    ensure!(output.status.code() == Some(1), "litware.com has no record: {}", said(&output));
    let fix = "fix: create “_xmpp-server._tcp.litware.com. IN SRV 10 0 5269 nuncio.contoso.com.”";
    ensure!(said(&output).contains(fix), "{}", said(&output));
    let output = town.types(&["check", "dns", "--json"]).await?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["level"] == "wrong" && report["errors"] == 1, "{report}");
    ensure!(report["checks"][0]["check"] == "dns", "{report}");
    let shown = town.types(&["dns", "show"]).await?;
    ensure!(said(&shown).contains("_xmpps-server._tcp.litware.com. IN SRV 10 0 5270 nuncio.contoso.com."));
    Ok(())
}

#[tokio::test]
async fn check_looks_at_everything_and_at_the_listeners_of_a_gateway_that_runs() -> Result<()> {
    let town = Town::with_zone(|zone, at| {
        let zone = zone.host("fe.contoso.com", at(2)).host("nuncio.contoso.com", at(1));
        ["contoso.com", "litware.com"].iter().fold(zone, |zone, domain| {
            zone.xmpp(domain, "nuncio.contoso.com", 5269).xmpps(domain, "nuncio.contoso.com", 5270)
        })
    })
    .await?;
    let _gateway = town.gateway(OFTEN).await?;
    let _front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let output = town.types(&["check"]).await?;
    // The partner has no server in this DNS.
    ensure!(output.status.code() == Some(1), "{}", said(&output));
    for part in ["== config", "== certs", "== store", "== dns", "== connectivity", "it is whole"] {
        ensure!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    ensure!(said(&output).contains("it shows the certificate for litware.com"), "{}", said(&output));
    ensure!(said(&output).contains("it shows the certificate for nuncio.contoso.com"), "{}", said(&output));
    Ok(())
}

#[tokio::test]
async fn a_token_whose_line_cannot_be_written_is_said_to_open_nothing() -> Result<()> {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
    let token =
        command.args(["token", "grafana"]).stdout(full).stderr(std::process::Stdio::piped()).spawn()?;
    let output = token.wait_with_output().await?;
    let said = said(&output);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    ensure!(
        said.contains("standard output cannot be written to") && said.contains("it opens nothing"),
        "{said}"
    );
    Ok(())
}
