//! Who may come in over TCP, and what the audit trail has of it.

use anyhow::{Context, Result, ensure};
use nuncio::control::{Role, tokens};

use crate::control::asks;
use crate::town::Town;

impl Town {
    /// Lines of the section for control that let somebody in over TCP.
    fn remote_control(&mut self, file: &str) {
        let pki = self.folder().join("pki");
        self.control_more = format!(
            "listen = \"{}\"\ntokens = {:?}\ncertificate = {:?}\nkey = {:?}\n",
            self.somewhere(1, 8443),
            self.folder().join(file),
            pki.join("gateway-sip.pem"),
            pki.join("gateway-sip.key"),
        );
    }
}

#[tokio::test]
async fn tokens_that_were_replaced_do_not_come_back_when_listen_is_taken_away() -> Result<()> {
    let mut town = Town::found().await?;
    let (old, new) = (tokens::make("old", Role::Admin), tokens::make("new", Role::Admin));
    std::fs::write(town.folder().join("tokens-old"), format!("{}\n", old.line))?;
    std::fs::write(town.folder().join("tokens-new"), format!("{}\n", new.line))?;
    town.remote_control("tokens-old");
    let _gateway = town.gateway("").await?;
    let mut from = 0;
    let mut opens = async |token: &str| {
        from += 1;
        asks(&town, from, "GET", "/v1/status", Some(token)).await.map(|(status, _)| status == 200)
    };
    ensure!(opens(&old.token).await?);
    town.edit("tokens-old", "tokens-new")?;
    town.done(&["reload"]).await?;
    ensure!(!opens(&old.token).await? && opens(&new.token).await?);

    let more = town.control_more.replace("tokens-old", "tokens-new");
    town.edit(&more, "")?;
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("control.listen: not set any more"), "{said}");
    ensure!(!opens(&old.token).await?, "an old token opens again");
    ensure!(!opens(&new.token).await?, "nobody is to come in over TCP any more");
    Ok(())
}

#[tokio::test]
async fn sec_48_tokens_streams_and_who_was_refused_are_in_the_audit_trail() -> Result<()> {
    let mut town = Town::found().await?;
    let (ops, viewer) = (tokens::make("ops", Role::Admin), tokens::make("grafana", Role::Viewer));
    let file = town.folder().join("tokens");
    std::fs::write(&file, format!("{}\n{}\n", ops.line, viewer.line))?;
    town.remote_control("tokens");
    let _gateway = town.gateway("").await?;
    let mut carol = town.wingtip_speaks().await?;
    let listed = town.done(&["streams", "list"]).await?;
    let number = listed.split_whitespace().next().context("no stream")?;
    town.done(&["streams", "close", number]).await?;
    carol.until_closed().await?;

    // A token is taken up with the next reload, and with nothing else.
    std::fs::write(&file, format!("{}\n", tokens::make("ops", Role::Viewer).line))?;
    town.done(&["block", "add", "mallory@wingtip.com"]).await?;
    ensure!(asks(&town, 1, "GET", "/v1/status", Some(&viewer.token)).await?.0 == 200);
    let said = town.done(&["reload"]).await?;
    ensure!(said.contains("token grafana: removed"), "{said}");
    ensure!(asks(&town, 2, "GET", "/v1/status", Some(&viewer.token)).await?.0 == 401);
    ensure!(asks(&town, 3, "POST", "/v1/reload", Some(&ops.token)).await?.0 == 401);
    // More than anybody may fill the disk with.
    for from in 0..50 {
        asks(&town, 10 + from, "GET", "/v1/partners", None).await?;
    }
    // What the trail is to have is on the disk with what is given to it later.
    town.done(&["block", "remove", "mallory@wingtip.com"]).await?;
    let trail = town.done(&["audit", "--most", "1000"]).await?;
    for part in [
        "stream.closed",
        "wingtip.com",
        "tokens.changed",
        "token grafana: removed",
        "token ops: admin → viewer, and another one",
        "request.refused",
        "POST /v1/reload",
        "this needs a token with the role admin: the one that was sent is not in the file of control.tokens",
        &town.unused(3).to_string(),
    ] {
        ensure!(trail.contains(part), "{part} is not in\n{trail}");
    }
    let refused = trail.lines().filter(|line| line.contains("request.refused")).count();
    ensure!(refused < 50, "each of them has an entry\n{trail}");
    Ok(())
}
