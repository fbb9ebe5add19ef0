//! The gateway is administered while it runs: the program's own commands ask it over its socket.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio::control::{Role, tokens};
use nuncio_world::promtool::promtool;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::xmpp_peer::{Outcome, XmppPeer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::town::{ALICE, CAROL, Town, from_carol, takes_all};

/// What a command said.
pub(crate) struct Said {
    pub(crate) good: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Town {
    /// An administrator's command.
    pub(crate) async fn nuncio(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
        let Output { status, stdout, stderr } =
            command.args(arguments).arg("--socket").arg(self.control()).output().await?;
        Ok(Said { good: status.success(), out: String::from_utf8(stdout)?, err: String::from_utf8(stderr)? })
    }

    /// The same, and its exit code has to be this one.
    pub(crate) async fn ends(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuncio"));
        let Output { status, stdout, stderr } =
            command.args(arguments).arg("--socket").arg(self.control()).output().await?;
        let (out, err) = (String::from_utf8(stdout)?, String::from_utf8(stderr)?);
        ensure!(status.code() == Some(code), "{status}: {out}{err}");
        Ok(out)
    }

    /// The same, and it has to be done.
    pub(crate) async fn done(&self, arguments: &[&str]) -> Result<String> {
        let Said { good, out, err } = self.nuncio(arguments).await?;
        ensure!(good, "nuncio {}: {out}{err}", arguments.join(" "));
        Ok(out)
    }

    /// The same, and it has to be refused.
    pub(crate) async fn refused(&self, arguments: &[&str]) -> Result<String> {
        let Said { good, out, err } = self.nuncio(arguments).await?;
        ensure!(!good, "nuncio {} was done: {out}{err}", arguments.join(" "));
        Ok(err)
    }

    /// Changes the file that the gateway was started with.
    pub(crate) fn edit(&self, from: &str, to: &str) -> Result<()> {
        let file = self.folder().join("nuncio.toml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains(from), "{from:?} is not in the file");
        Ok(std::fs::write(&file, text.replacen(from, to, 1))?)
    }

    /// fabrikam.com, no partner of the file, tries to come in.
    pub(crate) async fn fabrikam(&self) -> Result<Outcome> {
        let good = self.pki.good("fabrikam", &["fabrikam.com"])?;
        let (_, outcome) =
            XmppPeer::negotiate(&self.pki, Some(&good), self.xmpp(), "fabrikam.com", "contoso.com").await?;
        Ok(outcome)
    }
}

pub(crate) fn comes_in(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Authenticated)
}

/// Alice writes to Carol; the status she gets.
pub(crate) async fn alice_writes(alice: &mut SipConnection) -> Result<String> {
    let call = alice.send_message(ALICE, CAROL, "hello").await?;
    Ok(alice.final_answer(&call).await?.start)
}

#[tokio::test]
async fn a_partner_is_made_changed_and_removed_while_it_runs_and_outlasts_it() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    ensure!(!comes_in(&town.fabrikam().await?), "he is no partner yet");
    let said =
        town.done(&["partner", "new", "fabrikam.com", "type=federated", "description=Fabrikam"]).await?;
    ensure!(said.contains("fabrikam.com: federated, SASL EXTERNAL over TLS [stored]"), "{said}");
    ensure!(
        said.contains("partner[fabrikam.com]: added") && said.contains("It is in force, and saved."),
        "{said}"
    );
    ensure!(comes_in(&town.fabrikam().await?));
    let said = town.done(&["partner", "list"]).await?;
    ensure!(
        said.contains("wingtip.com (chat.wingtip.com): federated") && said.contains("nuncio.toml:"),
        "{said}"
    );

    let again = town.refused(&["partner", "new", "Fabrikam.com", "type=federated"]).await?;
    ensure!(again.contains("there is a partner fabrikam.com already; change that one"), "{again}");

    // It outlasts the process, also one that was killed.
    gateway.kill().await?;
    gateway = town.gateway("").await?;
    ensure!(comes_in(&town.fabrikam().await?));

    let said = town.done(&["partner", "disable", "fabrikam.com"]).await?;
    ensure!(said.contains("partner[fabrikam.com].enabled: true → false"), "{said}");
    ensure!(!comes_in(&town.fabrikam().await?));
    town.done(&["partner", "remove", "fabrikam.com"]).await?;
    let said = town.refused(&["partner", "show", "fabrikam.com"]).await?;
    ensure!(said.contains("there is no partner fabrikam.com"), "{said}");

    let trail = town.done(&["audit", "fabrikam.com"]).await?;
    for part in [
        "partner.created",
        "partner.changed",
        "partner.removed",
        "uid ",
        "enabled: true (the default) → false",
    ] {
        ensure!(trail.contains(part), "{part} is not in\n{trail}");
    }
    gateway.stop().await?;
    Ok(())
}

#[tokio::test]
async fn what_could_not_load_is_refused_with_the_reason_and_nothing_is_saved() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    for (arguments, why) in [
        (&["new", "fabrikam.com", "type=federated", "tls=not-supported"][..], "cannot be used"),
        (&["new", "fabrikam.com"], "the key \"type\" is missing"),
        (&["new", "fabrikam.com", "typ=federated"], "did you mean \"type\"?"),
        (&["new", "contoso.com", "type=federated"], "is served by this gateway itself"),
        (
            &["new", "fabrikam.com", "type=federated", "additional_domains=wingtip.com"],
            "wingtip.com is declared at",
        ),
        (&["new", "not a domain", "type=federated"], "domain"),
        (&["set", "wingtip.com", "enabled=false"], "is declared at"),
        (&["remove", "wingtip.com"], "is declared at"),
        (&["remove", "fabrikam.com"], "there is no partner fabrikam.com"),
    ] {
        let said = town.refused(&[&["partner"], arguments].concat()).await?;
        ensure!(said.contains(why), "{arguments:?}: {said}");
    }
    let said = town.done(&["partner", "list"]).await?;
    ensure!(said.lines().count() == 1 && said.starts_with("wingtip.com"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing_and_apply_brings_all_or_none() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let said = town.done(&["partner", "new", "fabrikam.com", "type=public-verified", "--dry-run"]).await?;
    ensure!(said.contains("partner[fabrikam.com]: added") && said.contains("Nothing was changed"), "{said}");
    ensure!(!comes_in(&town.fabrikam().await?));

    let file = town.folder().join("partners.toml");
    let path = file.to_str().context("path")?;
    let one = "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n";
    std::fs::write(&file, format!("{one}[[partner]]\ndomain = \"litware.com\"\ntype = \"federated\"\n"))?;
    let said = town.refused(&["partner", "apply", "-f", path]).await?;
    ensure!(said.contains("litware.com is served by this gateway itself"), "{said}");
    ensure!(!comes_in(&town.fabrikam().await?), "half of it");

    std::fs::write(&file, one)?;
    town.done(&["partner", "apply", "-f", path]).await?;
    let exported = town.done(&["partner", "export"]).await?;
    std::fs::write(&file, &exported)?;
    ensure!(exported.contains("domain = \"fabrikam.com\"") && !exported.contains("wingtip"), "{exported}");
    town.done(&["partner", "apply", "-f", path]).await?;
    std::fs::write(&file, one.replace("fabrikam", "northwind"))?;
    let said = town.done(&["partner", "apply", "-f", path, "--prune", "--confirm-removal"]).await?;
    ensure!(said.contains("partner[fabrikam.com]: removed"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_reload_is_all_or_nothing_and_says_what_is_different() -> Result<()> {
    let town = Town::found().await?;
    let gateway = town.gateway("").await?;
    let fabrikam = "[[partner]]\ndomain = \"fabrikam.com\"\ntype = \"federated\"\n[limits]";
    town.edit("[limits]", &format!("{fabrikam}\ndrain = 7\n"))?;
    let said = town.refused(&["reload"]).await?;
    ensure!(said.contains("drain") && said.contains("nuncio.toml:"), "{said}");
    ensure!(!comes_in(&town.fabrikam().await?), "half of the file");

    town.edit("drain = 7", "drain = \"7s\"")?;
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("partner[fabrikam.com]: added"), "{said}");
    ensure!(said.contains("waits for the next start: limits.drain: \"20s\" → \"7s\""), "{said}");
    ensure!(said.matches("limits.drain").count() == 1, "it is told twice: {said}");
    ensure!(comes_in(&town.fabrikam().await?));
    ensure!(town.done(&["reload"]).await?.contains("The files say what they said before."));

    // SIGHUP does the same.
    town.edit(fabrikam, "[limits]")?;
    let mark = town.log.mark();
    gateway.signal("HUP").await?;
    town.log.line_after(mark, "reloaded: partner[fabrikam.com]: removed").await?;
    town.log.line_after(mark, "were looked at").await?;
    ensure!(!comes_in(&town.fabrikam().await?));
    Ok(())
}

#[tokio::test]
async fn streams_of_a_partner_that_is_switched_off_end_at_once_and_others_stay() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let _front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let before = alice.send_message(ALICE, CAROL, "before").await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.body() == Some("before"));
    alice.final_answer(&before).await?;

    // Something else changes: nobody notices.
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    let listed = town.done(&["streams", "list", "wingtip.com"]).await?;
    ensure!(listed.lines().count() == 2, "{listed}");

    town.edit("domain = \"wingtip.com\"", "domain = \"wingtip.com\"\nenabled = false")?;
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("streams that end for it: 2"), "{said}");
    for stream in [&mut carol, &mut wingtip] {
        let error = stream.stream_error().await?;
        ensure!(error.children.iter().any(|child| child.name == "policy-violation"), "{error}");
    }
    let status = alice_writes(&mut alice).await?;
    ensure!(status.contains("403"), "{status}");
    Ok(())
}

#[tokio::test]
async fn tls_17_an_administrator_sees_a_stream_and_ends_it_and_there_is_a_new_one() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut carol = town.wingtip_speaks().await?;
    let listed = town.done(&["streams", "list"]).await?;
    ensure!(["wingtip.com", "TLS"].iter().all(|part| listed.contains(part)), "{listed}");
    let number = listed.split_whitespace().next().context("no stream")?;
    town.done(&["streams", "close", number]).await?;
    carol.until_closed().await?;
    let gone = town.refused(&["streams", "close", "4711"]).await?;
    ensure!(gone.contains("there is no stream 4711"), "{gone}");
    town.wingtip_speaks().await?;
    Ok(())
}

#[tokio::test]
async fn sec_41_a_blocked_contact_is_nobody_and_a_blocked_domain_has_no_streams() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    town.done(&["block", "add", "Carol@Wingtip.com", "description=spam"]).await?;
    carol.say(&from_carol("blocked", "let me in")).await?;
    // Who answers this has read that.
    carol
        .say("<iq from='wingtip.com' to='contoso.com' id='p' type='get'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    while wingtip.element().await?.attribute("id") != Some("p") {}
    let status = alice_writes(&mut alice).await?;
    ensure!(status.contains("403"), "{status}");

    town.done(&["block", "remove", "carol@wingtip.com"]).await?;
    carol.say(&from_carol("free", "now")).await?;
    ensure!(front_end.next_message().await?.body == "now", "what was blocked came through");

    town.done(&["block", "add", "wingtip.com"]).await?;
    carol.stream_error().await?;
    ensure!(town.refused(&["block", "add", "contoso.com"]).await?.contains("one of our own"));
    Ok(())
}

#[tokio::test]
async fn sec_41_a_blocked_address_cannot_connect() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut carol = town.wingtip_speaks().await?;
    // Everybody here calls from there.
    town.done(&["block", "add", "127.0.0.0/8"]).await?;
    carol.stream_error().await?;
    ensure!(town.wingtip_speaks().await.is_err());
    town.done(&["block", "remove", "127.0.0.0/8"]).await?;
    town.wingtip_speaks().await?;
    Ok(())
}

#[tokio::test]
async fn a_policy_made_while_it_runs_refuses_at_once() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let _listener = town.wingtip_listens().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    town.done(&["policy", "new", "wards", "users=alice@contoso.com", "verdict=deny"]).await?;
    let status = alice_writes(&mut alice).await?;
    ensure!(status.contains("403"), "{status}");
    town.done(&["policy", "remove", "wards"]).await?;
    town.done(&["policy", "set", "global", "enabled=false"]).await?;
    let said = town.done(&["policy", "list"]).await?;
    ensure!(said.contains("global: OFF, default allow [stored]"), "{said}");
    let status = alice_writes(&mut alice).await?;
    ensure!(status.contains("403"), "{status}");
    Ok(())
}

#[tokio::test]
async fn without_a_gateway_people_are_told_what_to_do() -> Result<()> {
    let town = Town::found().await?;
    let said = town.refused(&["partner", "list"]).await?;
    ensure!(said.contains("no gateway answers at") && said.contains("systemctl start nuncio"), "{said}");
    let gateway = town.gateway("").await?;
    drop(gateway);
    Ok(())
}

/// A request over TCP, with a token or without: the status and the media type of the answer.
pub(crate) async fn asks(
    town: &Town,
    from: u8,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> Result<(u16, String)> {
    // Whoever fails too often from one address is not heard for a while.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((town.unused(from), 0).into())?;
    let stream = socket.connect(town.somewhere(1, 8443)).await?;
    let tls = nuncio::tls::ClientTls::new()?;
    let (mut stream, _) = nuncio::tls::connect(stream, &tls, "nuncio.contoso.com", None).await?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: nuncio\r\n{token}Connection: close\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    // It is over with the connection, however that ends.
    let _ = stream.read_to_end(&mut answer).await;
    let head = String::from_utf8_lossy(&answer).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let media_type = head.split("content-type: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    Ok((status, media_type.unwrap_or_default().to_owned()))
}

/// Lines of `[control]` that serve it over TCP, for those who have these tokens.
fn remote_control(town: &Town, tokens: &[&str]) -> Result<String> {
    let file = town.folder().join("tokens");
    std::fs::write(&file, tokens.join("\n"))?;
    let pki = town.folder().join("pki");
    Ok(format!(
        "listen = \"{}\"\ntokens = {file:?}\ncertificate = {:?}\nkey = {:?}\n",
        town.somewhere(1, 8443),
        pki.join("gateway-sip.pem"),
        pki.join("gateway-sip.key"),
    ))
}

/// A load balancer looks every few seconds, and may look from the address from which the gateway is administered.
#[tokio::test]
async fn who_asks_for_nothing_but_how_the_gateway_is_has_not_failed_to_prove_who_he_is() -> Result<()> {
    const MORE_THAN_MAY_FAIL: usize = 70;
    let mut town = Town::found().await?;
    let viewer = tokens::make("grafana", Role::Viewer);
    town.control_more = remote_control(&town, &[&viewer.line])?;
    let _gateway = town.gateway("").await?;
    for _ in 0..MORE_THAN_MAY_FAIL {
        let (status, _) = asks(&town, 0, "GET", "/health/live", None).await?;
        ensure!(status == 200, "{status}");
    }
    let (status, _) = asks(&town, 0, "GET", "/v1/status", Some(&viewer.token)).await?;
    ensure!(status == 200, "{status}");
    Ok(())
}

#[tokio::test]
async fn every_error_is_a_problem_document() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let client = Client::new(town.control());
    for (method, path, body, status) in [
        (Method::GET, "/v1/nothing", None, 404),
        (Method::DELETE, "/v1/status", None, 405),
        (Method::POST, "/v1/partners", Some(json!([1])), 422),
        (Method::POST, "/v1/partners", None, 415),
        (Method::DELETE, "/v1/streams/many", None, 400),
        (Method::GET, "/v1/audit?most=many", None, 400),
        (Method::GET, "/v1/subscriptions?after=alice@contoso.com", None, 422),
        (Method::PUT, "/v1/partners/a.com", Some(json!({ "domain": "b.com", "type": "federated" })), 422),
        (Method::POST, "/v1/apply/partners", Some(json!({ "entries": [{ "type": "federated" }] })), 422),
        (Method::POST, "/v1/partners", Some(json!({ "domain": "x".repeat(17 * 1024 * 1024) })), 413),
    ] {
        let reply = client.ask(method.clone(), path, body.as_ref()).await?;
        ensure!(reply.status.as_u16() == status, "{method} {path}: {}", reply.status);
        ensure!(reply.media_type == "application/problem+json", "{method} {path}: {}", reply.media_type);
        let document = reply.json().context("no JSON")?;
        ensure!(document["status"] == status && document["detail"].is_string(), "{document}");
    }
    Ok(())
}

/// Not that the gateway hung up on him, which is what a client of HTTP says who still sends when the connection is reset.
#[tokio::test]
async fn who_sends_more_than_is_taken_can_finish_and_reads_why_it_was_not() -> Result<()> {
    const TOO_MUCH: usize = 24 * 1024 * 1024;
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut stream = UnixStream::connect(town.control()).await?;
    let head = format!(
        "POST /v1/partners HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {TOO_MUCH}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b' '; TOO_MUCH]).await.context("it hung up while it was told")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}

#[tokio::test]
async fn metrics_and_health_are_served_where_the_gateway_is_administered() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let client = Client::new(town.control());
    let metrics = client.ask(Method::GET, "/metrics", None).await?;
    ensure!(metrics.media_type.starts_with("text/plain"), "{}", metrics.media_type);
    let text = String::from_utf8(metrics.body.to_vec())?;
    ensure!(promtool(["check", "metrics"], &text) == Ok(String::new()), "{text}");
    for sample in [
        "nuncio_ready 1",
        "nuncio_certificate_expiry_timestamp_seconds{side=\"xmpp\",name=\"litware.com\"}",
        "nuncio_partner_info{partner=\"wingtip.com\",type=\"federated\"} 1",
    ] {
        ensure!(text.lines().any(|line| line.starts_with(sample)), "{sample} is not in\n{text}");
    }
    for name in ["live", "ready"] {
        let reply = client.ask(Method::GET, &format!("/health/{name}"), None).await?;
        let found = reply.json().context("no JSON")?;
        ensure!(found[name] == true && found["checks"][0]["state"] == "good", "{found}");
    }
    Ok(())
}
