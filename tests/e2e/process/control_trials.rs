//! What the running gateway tries and looks at for an administrator.

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use nuncio::control::client::Client;
use nuncio_world::pki::{Credential, Flaw, Usage};
use nuncio_world::xmpp_peer::{XmppListener, XmppPeer};
use serde_json::{Value, json};

use crate::caller::{Says, Server, calls};
use crate::control::Said;
use crate::town::{Town, takes_all};

const CHAT: &str = "chat.wingtip.com";

/// The server of chat.wingtip.com.
struct Chat<'t> {
    town: &'t Town,
    certificate: Credential,
    listener: XmppListener,
}

impl<'t> Chat<'t> {
    async fn listens(town: &'t Town) -> Result<Self> {
        let certificate = town.pki.good("chat", &[CHAT])?;
        Ok(Self { town, certificate, listener: town.wingtip_listens().await? })
    }

    /// It opens a stream of its own.
    async fn speaks(&self, to: &str) -> Result<XmppPeer> {
        XmppPeer::authenticated(&self.town.pki, &self.certificate, self.town.xmpp(), CHAT, to).await
    }

    /// It lets in the streams of a trial, one for each certificate of ours, and gives what comes on each of them: the domain of
    /// ours, and the id of the ping.
    async fn is_pinged(&self) -> Result<Vec<(XmppPeer, String, String)>> {
        let mut pinged = Vec::new();
        for _ in 0..2 {
            let mut peer = self.listener.accept(&self.town.pki, &self.certificate, CHAT).await?;
            let ping = peer.element().await?;
            let of = |name| ping.attribute(name).unwrap_or_default().to_owned();
            ensure!(of("type") == "get" && of("to") == CHAT && ping.child("ping").is_some(), "{ping}");
            pinged.push((peer, of("from"), of("id")));
        }
        Ok(pinged)
    }
}

fn answer(kind: &str, id: &str, to: &str) -> String {
    let error =
        "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let inside = if kind == "error" { error } else { "" };
    format!("<iq type='{kind}' id='{id}' from='{CHAT}' to='{to}'>{inside}</iq>")
}

/// What `--json` has of the ping from this domain of ours.
fn ping_from<'v>(tried: &'v Value, from: &str) -> Result<&'v Value> {
    let pings = tried["pings"].as_array().with_context(|| format!("no pings: {tried}"))?;
    pings.iter().find(|ping| ping["from"] == from).with_context(|| format!("none from {from}: {tried}"))
}

#[tokio::test]
async fn a_partner_is_tried_by_the_running_gateway_and_its_streams_stay() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let mut carol = town.wingtip_speaks().await?;
    let chat = Chat::listens(&town).await?;
    let lets_in = async {
        for (mut peer, from, id) in chat.is_pinged().await? {
            // On a stream of its own, once as a result and once as an error.
            let kind = if from == "contoso.com" { "result" } else { "error" };
            let mut own = chat.speaks(&from).await?;
            own.say(&answer(kind, &id, &from)).await?;
            // Nothing but the end of the stream comes.
            peer.until_closed().await?;
        }
        anyhow::Ok(())
    };
    let (said, let_in) = tokio::join!(town.done(&["partner", "test", CHAT]), lets_in);
    let said = said?;
    let_in.with_context(|| said.clone())?;
    for from in ["contoso.com", "litware.com"] {
        ensure!(said.contains(&format!("partner chat.wingtip.com from {from}\n")), "{said}");
    }
    ensure!(said.matches("he lets us in by SASL EXTERNAL over TLS").count() == 2, "{said}");
    ensure!(said.matches(" ms: what he sends reaches us").count() == 2, "{said}");
    // Step by step, each with the time that it took.
    let steps = [
        ("to try: ", " (DNS took "),
        ("connected to ", ") in "),
        ("TLS 1.3 with ", " (the handshake took "),
        ("he lets us in by ", " (after "),
    ];
    for (step, took) in steps {
        let lines = said.lines().filter(|line| line.contains(&format!("good     {step}")));
        let timed = lines.filter(|line| line.contains(took)).count();
        ensure!(timed == 2, "{step}: {said}");
    }
    ensure!(said.contains("the chain holds, names: "), "{said}");
    ensure!(said.contains("he answers a ping after") && said.contains("he takes no pings"), "{said}");
    ensure!(said.contains("The latest attempts of either side:"), "{said}");
    ensure!(said.contains("wingtip.com at 127."), "the stream of his own: {said}");
    carol.say("<iq from='carol@wingtip.com' to='contoso.com' id='p' type='get'><ping xmlns='urn:xmpp:ping'/></iq>").await?;
    Ok(())
}

#[tokio::test]
async fn a_partner_whose_answer_to_a_ping_does_not_reach_us_costs_the_exit_code() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("xmpp.reach = \"12s\"").await?;
    let chat = Chat::listens(&town).await?;
    let lets_in = async {
        let mut pinged = chat.is_pinged().await?;
        for (peer, from, id) in &mut pinged {
            // The one is answered where nothing may come from, the other by a stranger to it.
            match from.as_str() {
                "contoso.com" => peer.say(&answer("result", id, from)).await?,
                _ => town.wingtip_speaks().await?.say(&answer("result", id, from)).await?,
            }
        }
        for (peer, ..) in &mut pinged {
            peer.until_closed().await?;
        }
        anyhow::Ok(())
    };
    let words = ["partner", "test", CHAT, "--json"];
    let (said, let_in) = tokio::join!(town.nuncio(&words), lets_in);
    let Said { good, out, err } = said?;
    let_in.with_context(|| out.clone())?;
    ensure!(!good, "{out}{err}");
    let tried: Value = serde_json::from_str(&out)?;
    let (ours, silent) = (ping_from(&tried, "contoso.com")?, ping_from(&tried, "litware.com")?);
    ensure!(ours["outcome"] == "on-our-stream" && silent["outcome"] == "unanswered", "{tried}");
    ensure!(ours["partner"] == CHAT && silent["milliseconds"] == 12_000, "{tried}");
    for (level, text) in [
        ("warning", "he answers a ping on the stream that we opened"),
        ("wrong", "he has not answered a ping within 12.0s: what he sends does not reach us"),
    ] {
        let findings = tried["findings"].as_array().context("no findings")?;
        let finding =
            findings.iter().find(|it| it["text"].as_str().is_some_and(|said| said.starts_with(text)));
        let finding = finding.with_context(|| format!("{text:?} is not in {tried}"))?;
        ensure!(finding["level"] == level, "{finding}");
        ensure!(finding["fix"].as_str().is_some_and(|fix| fix.contains("nuncio check dns")), "{finding}");
    }
    Ok(())
}

/// Nobody would take what comes back on the stream of a trial.
#[tokio::test]
async fn bi_01_a_trial_does_not_ask_for_stanzas_on_its_stream_though_it_is_offered() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let chat = Chat::listens(&town).await?;
    let called = async {
        for _ in 0..2 {
            let refused = chat.listener.accept_both_ways(&town.pki, &chat.certificate, CHAT).await;
            let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
            ensure!(said.contains("it does not ask for both ways: <auth"), "{said}");
        }
        anyhow::Ok(())
    };
    let (said, called) = tokio::join!(town.nuncio(&["partner", "test", CHAT]), called);
    let said = said?;
    called.with_context(|| said.out.clone())?;
    ensure!(!said.good, "nobody let it in: {}", said.out);
    Ok(())
}

/// From the domains of wingtip.com to those of ours that have certificates of their own.
const WAYS_BACK: [(&str, &str); 4] = [
    ("wingtip.com", "contoso.com"),
    ("wingtip.com", "litware.com"),
    (CHAT, "contoso.com"),
    (CHAT, "litware.com"),
];

#[tokio::test]
async fn a_trial_goes_through_dialback_which_only_the_running_gateway_can_answer() -> Result<()> {
    let mut town = Town::found().await?;
    town.partner = "sasl = \"optional\"".to_owned();
    let _gateway = town.gateway("").await?;
    let flawed = town.pki.issue("flawed", &["elsewhere.example"], Usage::Both, Flaw::SelfSigned)?;
    let mut server = Server::listens(&town, Some(&flawed), Says::Valid).await?;
    let mut own = calls(&town, true).await?;
    // The way back is proved by dialback as well, for each of his domains and each of ours that asks.
    for (his, ours) in WAYS_BACK {
        own.say(&format!(
            "<db:result xmlns:db='jabber:server:dialback' from='{his}' to='{ours}'>a key of his</db:result>"
        ))
        .await?;
        let said = own.element().await?;
        ensure!(said.attribute("type") == Some("valid"), "{said}");
    }
    let answers = async {
        for _ in WAYS_BACK {
            let ping = server.hears("iq").await?;
            let of = |name| ping.attribute(name).unwrap_or_default();
            let (id, his, ours) = (of("id"), of("to"), of("from"));
            own.say(&format!("<iq type='result' id='{id}' from='{his}' to='{ours}'/>")).await?;
        }
        anyhow::Ok(())
    };
    let (said, answered) = tokio::join!(town.done(&["partner", "test", "wingtip.com"]), answers);
    let said = said?;
    answered.with_context(|| said.clone())?;
    ensure!(said.matches("he lets us in by dialback over TLS").count() == 4, "{said}");
    ensure!(said.matches("he answers a ping after").count() == 4, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_partner_that_cannot_be_reached_costs_the_exit_code_and_programs_read_why() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let Said { good, out, err } = town.nuncio(&["partner", "test", "wingtip.com", "--json"]).await?;
    ensure!(!good, "nobody listens there: {out}{err}");
    let tried: Value = serde_json::from_str(&out)?;
    ensure!(tried["partner"] == "wingtip.com" && tried["level"] == "wrong", "{tried}");
    let findings = tried["findings"].as_array().context("no findings")?;
    let wrong = findings.iter().find(|finding| finding["level"] == "wrong").context("nothing is wrong")?;
    let fix = wrong["fix"].as_str().context("no fix")?;
    ensure!(fix.contains("firewall") && !fix.contains("proxy"), "{wrong}");

    let said = town.refused(&["partner", "test", "nobody.example"]).await?;
    ensure!(said.contains("there is no partner nobody.example"), "{said}");
    town.done(&["partner", "new", "fabrikam.com", "type=federated", "enabled=false"]).await?;
    let said = town.refused(&["partner", "test", "fabrikam.com"]).await?;
    ensure!(said.contains("fabrikam.com is disabled"), "{said}");
    // He is where his entry says, and not where DNS does. Nobody listens on port 1.
    town.done(&["partner", "new", "northwind.com", "type=federated", "proxy=127.0.0.1:1"]).await?;
    let Said { good, out, .. } = town.nuncio(&["partner", "test", "northwind.com"]).await?;
    ensure!(!good && out.contains("correct the proxy of his entry, 127.0.0.1:1"), "{out}");
    Ok(())
}

#[tokio::test]
async fn what_administrators_have_put_in_the_way_themselves_is_told_before_anything_is_tried() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let asks = [["partner", "test", CHAT].to_vec(), ["check", "connectivity", CHAT].to_vec()];
    // Who is told what to do, by the line of what was found.
    let fix_of = |said: &Said, found: &str| -> Result<String> {
        let after = said.out.split_once(found).with_context(|| format!("{found} is not in {}", said.out))?.1;
        Ok(after.lines().take(4).collect())
    };
    town.done(&["block", "add", CHAT, "description=ticket 4711"]).await?;
    for ask in &asks {
        let said = town.nuncio(ask).await?;
        ensure!(!said.good, "nobody comes through: {}", said.out);
        let fix = fix_of(&said, "there is a block for chat.wingtip.com (ticket 4711)")?;
        ensure!(fix.contains("nuncio block remove chat.wingtip.com"), "{}", said.out);
        ensure!(!said.out.contains("firewall"), "it was tried: {}", said.out);
    }
    // To the others the block is nothing; the domain is one of a partner's.
    let said = town.nuncio(&["check", "connectivity"]).await?;
    ensure!(said.out.contains("WARNING  there is a block for chat.wingtip.com"), "{}", said.out);
    town.done(&["block", "remove", CHAT]).await?;

    town.done(&["block", "add", &town.wingtip().ip().to_string()]).await?;
    for ask in &asks {
        let said = town.nuncio(ask).await?;
        let fix = fix_of(&said, "not called: there is a block for")?;
        ensure!(!said.good && fix.contains("take that block away"), "{}", said.out);
        ensure!(!said.out.contains("firewall"), "it is not the firewall's fault: {}", said.out);
    }
    town.done(&["block", "remove", &town.wingtip().ip().to_string()]).await?;

    town.done(&["policy", "set", "global", "enabled=false"]).await?;
    for ask in &asks {
        let said = town.nuncio(ask).await?;
        let (off, tried) =
            (said.out.find("it is off (enabled = false)"), said.out.find("partner chat.wingtip.com from"));
        ensure!(off.context(said.out.clone())? < tried.context(said.out.clone())?, "{}", said.out);
        // Nobody would listen in any case: what is wrong is this.
        let line = said.out.lines().find(|line| line.contains("it is off")).context("it is told")?;
        ensure!(line.trim_start().starts_with("ERROR "), "{}", said.out);
        let fix = fix_of(&said, "it is off")?;
        ensure!(!said.good && fix.contains("nuncio policy set global enabled=true"), "{}", said.out);
    }
    // Who asks for nobody may mean it so.
    let said = town.nuncio(&["check", "connectivity"]).await?;
    ensure!(said.out.contains("WARNING  it is off"), "{}", said.out);
    town.done(&["policy", "set", "global", "enabled=true"]).await?;

    town.done(&["policy", "new", "all", "users=*", "verdict=deny"]).await?;
    for ask in &asks {
        let said = town.nuncio(ask).await?;
        let fix = fix_of(&said, "the rule all denies every SIP user anything")?;
        ensure!(!said.good && fix.contains("nuncio policy remove all"), "{}", said.out);
    }
    town.done(&["policy", "remove", "all"]).await?;

    town.done(&["partner", "new", "fabrikam.com", "type=federated", "enabled=false"]).await?;
    let said = town.nuncio(&["check", "connectivity", "fabrikam.com"]).await?;
    let fix = fix_of(&said, "he is disabled")?;
    ensure!(!said.good && fix.contains("nuncio partner enable fabrikam.com"), "{}", said.out);
    Ok(())
}

#[tokio::test]
async fn checks_are_made_by_the_gateway_where_one_runs_and_here_where_not() -> Result<()> {
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let _front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    // The stored one is no less a partner.
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    let Said { out, err, .. } = town.nuncio(&["check", "connectivity", "fabrikam.com"]).await?;
    ensure!(out.contains("partner fabrikam.com from contoso.com"), "{out}{err}");
    ensure!(err.contains("Done by the running gateway"), "{err}");

    let Said { out, err, good } = town.nuncio(&["check", "--json"]).await?;
    ensure!(!good, "litware.com has no record in this DNS: {out}{err}");
    let report: Value = serde_json::from_str(&out)?;
    let checks = report["checks"].as_array().context("no checks")?.iter();
    let checks: Vec<_> = checks.filter_map(|check| check["check"].as_str()).collect();
    ensure!(checks == ["config", "certs", "store", "dns", "connectivity"], "{checks:?}");

    let shown = town.done(&["dns", "show"]).await?;
    ensure!(shown.contains("_xmpp-server._tcp.litware.com. IN SRV 10 0 5269 nuncio.contoso.com."), "{shown}");

    gateway.kill().await?;
    let Said { err, .. } = town.nuncio(&["check", "certs"]).await?;
    ensure!(err.contains("and not by a running gateway: no gateway answers at"), "{err}");
    Ok(())
}

#[tokio::test]
async fn the_check_of_the_configuration_finds_what_a_reload_would() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let client = Client::new(town.control());
    let level = async || -> Result<Value> {
        let reply = client.ask(Method::GET, "/v1/checks/config", None).await?;
        Ok(reply.json().context("no JSON")?["level"].clone())
    };
    ensure!(level().await? != "wrong");
    town.edit("[limits]", "[limits]\ndrain = 7\n")?;
    ensure!(level().await? == "wrong");
    town.edit("drain = 7", "drain = \"7s\"")?;
    ensure!(level().await? != "wrong");
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_asked_for_imported_and_put_in_use_by_the_api_and_its_key_is_never_shown()
-> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let before = town.wingtip_speaks().await?.shown().cloned().context("no certificate")?;
    let client = Client::new(town.control());
    let ask = async |method, path: &str, body: Option<Value>| -> Result<(u16, Value)> {
        let reply = client.ask(method, path, body.as_ref()).await?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        ensure!(!text.contains("PRIVATE KEY"), "{path}: {text}");
        Ok((reply.status.as_u16(), reply.json().context("no JSON")?))
    };
    let asked = json!({ "for": ["contoso.com"], "organisation": "Contoso", "key_type": "p256" });
    let (status, made) = ask(Method::POST, "/v1/certificates/request", Some(asked)).await?;
    ensure!(status == 200 && made["request"].as_str().is_some_and(|pem| pem.contains("REQUEST")), "{made}");
    let (_, shown) = ask(Method::GET, "/v1/certificates", None).await?;
    let waits = |shown: &Value| {
        shown.as_array().is_some_and(|all| all.iter().any(|one| one["waiting"]["key"] == true))
    };
    ensure!(waits(&shown), "{shown}");

    // One from elsewhere, with its key.
    let renewed = town.pki.good("renewed", &["contoso.com"])?;
    let certificates = std::fs::read_to_string(&renewed.certificate_file)?;
    let key = std::fs::read_to_string(&renewed.key_file)?;
    let other = json!({ "certificates": certificates, "key": key, "for": ["litware.com"], "assign": true });
    let (status, refused) = ask(Method::POST, "/v1/certificates/import", Some(other)).await?;
    ensure!(
        status == 422 && refused["errors"].to_string().contains("it is not for litware.com"),
        "{refused}"
    );
    let mark = town.log.mark();
    let mut brought =
        json!({ "certificates": certificates, "key": key, "for": ["contoso.com"], "assign": true });
    let (status, refused) = ask(Method::POST, "/v1/certificates/import", Some(brought.clone())).await?;
    ensure!(status == 422 && refused["detail"].to_string().contains("a request is with the CA"), "{refused}");
    brought["replace_key"] = json!(true);
    let (status, imported) = ask(Method::POST, "/v1/certificates/import", Some(brought)).await?;
    ensure!(status == 200 && imported["assigned"][0]["undo"] == true, "{imported}");
    let kept = imported["kept"][0].as_str().context("the key that waited is lost")?;
    ensure!(std::fs::read_to_string(kept)?.contains("PRIVATE KEY"), "{kept}");
    town.log.line_after(mark, "were looked at").await?;
    ensure!(town.wingtip_speaks().await?.shown() == Some(&renewed.certificate));

    let mark = town.log.mark();
    let undo = json!({ "undo": true, "for": ["contoso.com"] });
    let (status, undone) = ask(Method::POST, "/v1/certificates/assign", Some(undo)).await?;
    ensure!(status == 200, "{undone}");
    town.log.line_after(mark, "were looked at").await?;
    ensure!(town.wingtip_speaks().await?.shown() == Some(&before));
    let trail = town.done(&["audit", "gateway-contoso"]).await?;
    for part in ["certificate.requested", "certificate.imported", "certificate.assigned"] {
        ensure!(trail.contains(part), "{part} is not in\n{trail}");
    }
    // Which one came in the place of which.
    for (what, from_to) in
        [("certificate.imported", "in use there: serial "), ("certificate.assigned", " → serial ")]
    {
        let mut lines = trail.lines().filter(|line| line.contains(what));
        ensure!(lines.all(|line| line.contains("serial ") && line.contains(from_to)), "{trail}");
    }
    Ok(())
}

#[tokio::test]
async fn certificates_are_looked_after_by_the_gateway_where_one_runs() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let said = town.nuncio(&["cert", "request", "--for", "contoso.com", "--key-type", "p256"]).await?;
    ensure!(said.good && said.err.contains("Done by the running gateway"), "{}{}", said.out, said.err);
    ensure!(
        said.out.contains("BEGIN CERTIFICATE REQUEST") && said.out.contains("partners look for it"),
        "{}",
        said.out
    );
    // Both words for the same check have one form for programs.
    let file = town.folder().join("nuncio.toml").display().to_string();
    let checked = town.by_file(&["cert", "check", "--json", "--config", &file]).await?;
    let certs = town.by_file(&["check", "certs", "--json", "--config", &file]).await?;
    let checked: Value = serde_json::from_str(&checked.out).with_context(|| checked.err)?;
    let certs: Value = serde_json::from_str(&certs.out).with_context(|| certs.err)?;
    for key in ["level", "errors", "warnings", "checks"] {
        ensure!(checked[key] == certs[key] && !checked[key].is_null(), "{key}: {checked}\n{certs}");
    }
    ensure!(checked["waiting"][0]["key"] == true, "{checked}");
    let shown = town.done(&["cert", "show"]).await?;
    ensure!(shown.contains("gateway-contoso.pem") && shown.contains("DNS:litware.com"), "{shown}");

    let before = town.wingtip_speaks().await?.shown().cloned().context("no certificate")?;
    let renewed = town.pki.good("renewed", &["contoso.com"])?;
    let path = |file: &std::path::Path| file.display().to_string();
    let (certificate, key) = (path(&renewed.certificate_file), path(&renewed.key_file));
    let words = ["cert", "import", "--for", "litware.com", "--key", &key, &certificate];
    let refused = town.refused(&words).await?;
    ensure!(refused.contains("it is not for litware.com"), "{refused}");
    let words = ["cert", "import", "--assign", "--key", &key, &certificate];
    let refused = town.refused(&words).await?;
    ensure!(refused.contains("a request is with the CA") && refused.contains("--replace-key"), "{refused}");
    let said = town.done(&[&words[..], &["--replace-key"]].concat()).await?;
    ensure!(said.contains("is kept as") && said.contains("gateway-contoso.key.new.kept-1"), "{said}");
    ensure!(said.contains(&format!("{} shows it to who asks for contoso.com", town.xmpp())), "{said}");
    ensure!(town.wingtip_speaks().await?.shown() == Some(&renewed.certificate));
    let said = town.done(&["cert", "assign", "--undo", "--for", "contoso.com"]).await?;
    ensure!(said.contains("in its place, serial"), "{said}");
    ensure!(town.wingtip_speaks().await?.shown() == Some(&before));
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_may_not_write_its_certificates_is_told_at_once_that_somebody_else_has() -> Result<()>
{
    const MOUNT: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let town = Town::found().await?;
    let pki = town.folder().join("pki");
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?) == 0;
    let namespace = if root { "--ipc" } else { "--map-root-user" };
    let starter =
        ["unshare", "--mount", namespace, "sh", "-c", MOUNT, pki.to_str().context("a path that is text")?];
    // It does not find out by itself.
    let mut gateway = town.start_by(&starter, "file_check = \"24h\"", &town.folder().join("state"))?;
    gateway.says("ready").await?;
    let renewed = town.pki.good("renewed", &["contoso.com"])?;
    let path = |file: &std::path::Path| file.display().to_string();
    let (certificate, key) = (path(&renewed.certificate_file), path(&renewed.key_file));
    let shows = format!("{} shows it to who asks for contoso.com", town.xmpp());
    for words in [
        &["cert", "import", "--assign", "--for", "contoso.com", "--key", &key, &certificate][..],
        &["cert", "assign", "--undo", "--for", "contoso.com"],
    ] {
        let Said { good, out, err } = town.by_file(words).await?;
        ensure!(err.contains("the gateway itself may not write"), "{words:?}: {out}{err}");
        ensure!(good && out.contains(&shows), "{words:?}: {out}{err}");
    }
    Ok(())
}

#[tokio::test]
async fn an_import_is_applied_all_or_none_and_what_is_there_stays_as_it_is() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("").await?;
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let file = |name: &str| fixtures.join(name).display().to_string();
    let (partners, gateway, policies) = (file("partners.xml"), file("gateway.json"), file("policies.csv"));
    let config = town.folder().join("nuncio.toml").display().to_string();
    town.done(&["partner", "new", "fabrikam.com", "type=public-verified", "description=ours"]).await?;
    // In the export it is a partner by itself.
    town.done(&["partner", "new", "others.example", "type=federated", "additional_domains=gmail.com"])
        .await?;
    let words = ["import", "lync", &partners, &gateway, &policies, "--config", &config, "--apply"];
    let Said { good, out, err } = town.nuncio(&words).await?;
    ensure!(!good, "something is left out, as without --apply: {out}{err}");
    for part in [
        "NOT taken over:",
        "Applied to the running gateway:",
        "policy.default: \"allow\" → \"deny\"",
        "Configured already, and not touched: fabrikam.com",
        "Not touched, for it has them already: fabrikam.com",
        "gmail.com is a domain of the partner others.example already",
        "Limits are in the configuration file only",
    ] {
        ensure!(out.contains(part), "{part}: {out}{err}");
    }
    let listed = town.done(&["partner", "list"]).await?;
    ensure!(listed.contains("fabrikam.com: public-verified"), "{listed}");
    ensure!(listed.lines().filter(|line| line.ends_with("[stored]")).count() == 3, "{listed}");
    ensure!(listed.contains("tailspin.com: federated"), "{listed}");
    let again = town.nuncio(&words).await?;
    ensure!(again.out.contains("it was so already"), "{}", again.out);

    // That what holds is not on the disk counts for more than what is left out.
    town.done(&["partner", "remove", "tailspin.com"]).await?;
    let database = town.folder().join("state").join(nuncio::store::FILE);
    std::fs::rename(&database, database.with_extension("away"))?;
    let said = town.ends(4, &words).await?;
    ensure!(said.contains("it holds, but is not on the disk"), "{said}");
    Ok(())
}
