//! Two front ends for the same domains.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use nuncio_world::pki::Pki;
use tokio::net::TcpListener;

use crate::dns::Zone;
use crate::town::{Town, from_carol, takes_all};

/// Beside pool1, which nobody plays here.
const SPARE: &str = "sip.backoff_initial = \"10ms\"\nsip.backoff_max = \"10ms\"\n
[[sip.front_end]]\nname = \"spare\"\ncertificate_names = [\"spare.contoso.com\"]
next_hops = [\"spare.contoso.com:5061\"]\n";

#[tokio::test]
async fn the_second_takes_what_the_first_cannot_and_shows_a_name_of_its_own() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway(SPARE).await?;
    let mut carol = town.wingtip_speaks().await?;
    // The first one's name is not enough at the second's address.
    let pretender = town.good_front_end()?;
    let mut spare = town.answers_at(town.spare(), &pretender, takes_all).await?;
    carol.say(&from_carol("1", "for the spare")).await?;
    let said = town.log.line_after(0, "no connection to front end spare").await?;
    ensure!(said.contains("expected spare.contoso.com"), "{said}");
    ensure!(spare.waiting().is_empty(), "it was sent to a pretender");
    drop(spare);
    let good = town.pki.good("spare", &["spare.contoso.com"])?;
    spare = town.answers_at(town.spare(), &good, takes_all).await?;
    ensure!(spare.next_message().await?.body == "for the spare");
    Ok(())
}

/// It takes connections and says nothing.
async fn hangs(at: std::net::SocketAddr) -> Result<TcpListener> {
    Ok(TcpListener::bind(at).await?)
}

/// A message waits so long; a handshake may take longer.
const SHORT_HOLD: &str = "sip.hold = \"9s\"\n";

#[tokio::test]
async fn sip_13_a_front_end_that_hangs_costs_no_message_as_long_as_there_is_another() -> Result<()> {
    let town = Town::found().await?;
    let _first = hangs(town.fe()).await?;
    let good = town.pki.good("spare", &["spare.contoso.com"])?;
    let mut spare = town.answers_at(town.spare(), &good, takes_all).await?;
    let _gateway = town.gateway(&format!("{SHORT_HOLD}{SPARE}")).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "in time")).await?;
    ensure!(spare.next_message().await?.body == "in time");
    town.log.line_after(0, "took longer than 3s, and there are others").await.map(drop)
}

#[tokio::test]
async fn sip_13_an_address_that_hangs_costs_no_message_as_long_as_there_is_another() -> Result<()> {
    let zone = |zone: Zone, at: &dyn Fn(u8) -> Ipv4Addr| {
        zone.host("fe.contoso.com", at(5)).host("fe.contoso.com", at(2))
    };
    let town = Town::with_zone(zone).await?;
    let _hangs = hangs(town.spare()).await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let _gateway = town.gateway(SHORT_HOLD).await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "in time")).await?;
    ensure!(front_end.next_message().await?.body == "in time");
    Ok(())
}

/// A town in which DNS names the hosts of pool1: fe, then spare.
async fn found_by_dns(service: &str, pool: &str) -> Result<Town> {
    let mut town = Town::with_zone(|zone, at| {
        zone.host("fe.contoso.com", at(2))
            .host("spare.contoso.com", at(5))
            .host("sip.hoster.example", at(6))
            .service(service, "contoso.com", "fe.contoso.com", 5061)
            .service(service, "contoso.com", "spare.contoso.com", 5061)
            .service(service, "hosted.example", "sip.hoster.example", 5061)
    })
    .await?;
    town.pool = pool.to_owned();
    Ok(town)
}

#[tokio::test]
async fn sip_13_dns_names_the_hosts_and_the_next_one_takes_over_and_gives_back() -> Result<()> {
    let town = found_by_dns("_sips", "next_hops = [\"contoso.com\"]").await?;
    // Both prove the domain that was asked for (SIP-04).
    let pool = town.pki.good("pool", &["contoso.com"])?;
    let mut spare = town.answers_at(town.spare(), &pool, takes_all).await?;
    let _gateway = town.gateway("sip.backoff_initial = \"10ms\"\nsip.fail_back = \"200ms\"").await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "for the spare")).await?;
    ensure!(spare.next_message().await?.body == "for the spare");
    let said = town.log.line_after(0, "DNS names the hosts of front end pool1").await?;
    ensure!(said.contains("fe.contoso.com:5061, spare.contoso.com:5061"), "{said}");
    ensure!(said.contains("SRV _sips._tcp.contoso.com"), "{said}");
    let said = town
        .log
        .line_after(
            0,
            "no connection to front end pool1, which was wanted beside the one in use or in its place",
        )
        .await?;
    ensure!(said.contains(" INFO "), "everything works: {said}");
    let mark = town.log.mark();
    let mut first = town.answers(&pool, takes_all).await?;
    // The spare's, when the other one has taken its place.
    town.log.line_after(mark, "SIP connection closed").await?;
    carol.say(&from_carol("2", "for the first")).await?;
    ensure!(first.next_message().await?.body == "for the first");
    ensure!(spare.waiting().is_empty(), "it was sent twice");
    Ok(())
}

#[tokio::test]
async fn sip_04_a_host_that_dns_names_has_to_prove_the_domain() -> Result<()> {
    let town = found_by_dns("_sips", "next_hops = [\"contoso.com\"]").await?;
    // The certificate of the very host that DNS led to.
    let own = town.good_front_end()?;
    let mut first = town.answers(&own, takes_all).await?;
    let _gateway = town.gateway("").await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "for contoso.com")).await?;
    let said = town.log.line_after(0, "no connection to front end pool1").await?;
    ensure!(said.contains("expected contoso.com"), "{said}");
    ensure!(first.waiting().is_empty(), "it was sent to whoever DNS names");
    Ok(())
}

const FEDERATION: &str = "_sipfederationtls";

#[tokio::test]
async fn a_federation_record_names_hosts_that_prove_their_own_names_in_both_directions() -> Result<()> {
    let town = found_by_dns(FEDERATION, "next_hops = [\"contoso.com\"]\nlookup = \"federation\"").await?;
    let own = town.good_front_end()?;
    let mut first = town.answers(&own, takes_all).await?;
    let _gateway = town.gateway("").await?;
    town.log.line_after(0, "DNS names the hosts of front end pool1").await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "for contoso.com")).await?;
    ensure!(first.next_message().await?.body == "for contoso.com");
    let mut caller = town.calls(Some(&own)).await?;
    let call = caller.send_options("contoso.com").await?;
    ensure!(caller.final_answer(&call).await?.status() == Some(200));
    let other = town.pki.good("other", &["other.contoso.com"])?;
    let mut stranger = town.calls(Some(&other)).await?;
    let call = stranger.send_options("contoso.com").await?;
    ensure!(stranger.final_answer(&call).await?.status() == Some(403));
    Ok(())
}

#[tokio::test]
async fn a_front_end_that_only_dns_knows_may_call_before_dns_has_answered() -> Result<()> {
    let town = found_by_dns(FEDERATION, "next_hops = [\"contoso.com\"]\nlookup = \"federation\"").await?;
    town.dns.silent(true);
    let _gateway = town.gateway("").await?;
    let mut caller = town.calls(Some(&town.good_front_end()?)).await?;
    let call = caller.send_options("contoso.com").await?;
    // Whose certificate is not even good is not waited for.
    let mut stranger = town.calls(None).await?;
    let refused = stranger.send_options("contoso.com").await?;
    ensure!(stranger.final_answer(&refused).await?.status() == Some(403));
    town.dns.silent(false);
    ensure!(caller.final_answer(&call).await?.status() == Some(200));
    Ok(())
}

#[tokio::test]
async fn a_federation_record_that_leads_out_of_its_domain_leads_nowhere() -> Result<()> {
    let town = found_by_dns(FEDERATION, "next_hops = [\"hosted.example\"]\nlookup = \"federation\"").await?;
    let hoster = town.pki.good("hoster", &["sip.hoster.example"])?;
    let mut there = town.answers_at(town.somewhere(6, 5061), &hoster, takes_all).await?;
    let _gateway = town.gateway("").await?;
    let said = town.log.line_after(0, "DNS does not name the hosts of front end pool1").await?;
    ensure!(said.contains("leads to sip.hoster.example, which is not in hosted.example"), "{said}");
    ensure!(there.waiting().is_empty() && there.connections() == 0);
    Ok(())
}

#[tokio::test]
async fn sip_13_what_dns_says_can_be_asked_for_on_the_command_line() -> Result<()> {
    let check = async |domain: &str, lookup: &str| -> Result<(Option<i32>, String)> {
        let pool = format!("next_hops = [\"{domain}\"]\nlookup = \"{lookup}\"");
        let town = found_by_dns(FEDERATION, &pool).await?;
        // It writes the configuration.
        let _gateway = town.gateway("").await?;
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_nuncio"));
        let file = town.folder().join("nuncio.toml");
        let output = command.args(["check", "front-ends", "--config"]).arg(file).output().await?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    };
    let (code, said) = check("contoso.com", "federation").await?;
    ensure!(code == Some(0), "{said}");
    for line in [
        "contoso.com is looked up by _sipfederationtls._tcp",
        "SRV _sipfederationtls._tcp.contoso.com: fe.contoso.com:5061 (priority 0, weight 0), spare.contoso.com:5061",
        "  fe.contoso.com:5061 is at 127.",
        "  its certificates have to carry the name of the host",
    ] {
        ensure!(said.contains(line), "{said}");
    }
    let (code, said) = check("hosted.example", "federation").await?;
    ensure!(code == Some(1) && said.contains("ERROR the federation record"), "{said}");
    let (code, said) = check("nowhere.example", "sip").await?;
    ensure!(code == Some(1) && said.contains("ERROR there is no such domain as nowhere.example"), "{said}");
    ensure!(said.contains("have to carry nowhere.example"), "{said}");
    Ok(())
}

#[tokio::test]
async fn sip_06_a_connection_is_lent_as_long_as_its_certificate_holds() -> Result<()> {
    // Who calls over loopback has this address.
    let lender = Ipv4Addr::LOCALHOST;
    let town =
        Town::with_zone(|zone: Zone, _: &dyn Fn(u8) -> Ipv4Addr| zone.host("fe.contoso.com", lender)).await?;
    let _gateway = town.gateway("file_check = \"100ms\"\n").await?;
    let mut caller = town.calls(Some(&town.good_front_end()?)).await?;
    caller
        .send_raw(
            "OPTIONS sip:contoso.com SIP/2.0\r\nVia: SIP/2.0/TLS fe.contoso.com:5061;branch=z9hG4bKlends;alias\r\n\
             Max-Forwards: 70\r\nFrom: <sip:contoso.com>;tag=f\r\nTo: <sip:contoso.com>\r\nCall-ID: lends\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        )
        .await?;
    ensure!(caller.final_answer("lends").await?.status() == Some(200));
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("1", "borrowed")).await?;
    let message = caller.next().await?.context("the connection ended")?;
    ensure!(message.body == "borrowed", "{message:?}");
    caller.send_raw(&message.answer(200, "OK", &[])?).await?;

    let mark = town.log.mark();
    let elsewhere = tempfile::tempdir()?;
    std::fs::copy(Pki::new(elsewhere.path())?.roots_file(), town.pki.roots_file())?;
    // The whole connection is not believed any more.
    ensure!(caller.next().await?.is_none(), "it goes on");
    carol.say(&from_carol("2", "not borrowed")).await?;
    // Nobody takes calls there.
    town.log.line_after(mark, "no connection to front end pool1").await?;
    Ok(())
}
