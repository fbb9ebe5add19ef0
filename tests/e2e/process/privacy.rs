//! What the log of a whole run tells of users: never what they wrote, and in private modes not who they are (SEC-35).

use anyhow::{Context, Result, ensure};
use nuncio_world::sip_agent::{Reply, SipConnection};
use nuncio_world::xmpp_peer::XmppPeer;

use crate::town::{ALICE, CAROL, Town, check_log, from_carol};

const SECRET: &str = "never-in-a-log";

/// A run in which most of what names users in the log happens, at level debug. The log of all of it.
async fn log_of_a_run(addresses: &str) -> Result<String> {
    let town = Town::found().await?;
    let settings = format!(
        "sip.hold = \"6s\"\nxmpp.hold = \"6s\"\nxmpp.close = \"200ms\"\ndrain = \"3s\"\n[log]\naddresses = \"{addresses}\""
    );
    let mut gateway = town.gateway(&settings).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;

    // Out: delivered, to a stranger, to an address that is none, from somebody else's user, to where
    // nobody answers, of a kind that does not cross.
    let call = alice.send_message(ALICE, CAROL, SECRET).await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    wingtip.element().await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    for (from, to) in [
        (ALICE, "carol@unlisted.example"),
        (ALICE, "caro%FFl@wingtip.com"),
        ("alice@elsewhere.example", CAROL),
        (ALICE, "carol@chat.wingtip.com"),
    ] {
        let call = alice.send_message(from, to, SECRET).await?;
        let status = alice.final_answer(&call).await?.status();
        ensure!(status.is_some_and(|status| status >= 400), "{from} to {to}: {status:?}");
    }
    let call = alice.send_subscribe(ALICE, "carol@unlisted.example").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(403));
    let call = alice.send_options("contoso.com").await?;
    alice.final_answer(&call).await?;

    // In: refused by a front end, with nobody there, with a bad address, an error with a forged id.
    let front_end = town.answers(&town.good_front_end()?, |_| Reply::Status(404, "Not Found")).await?;
    carol.say(&from_carol("a", SECRET)).await?;
    error_for(&mut wingtip, "a").await?;
    drop(front_end);
    carol.say(&from_carol("b", SECRET)).await?;
    error_for(&mut wingtip, "b").await?;
    carol.say(&from_carol("c", SECRET).replace("to='alice", "to='ali ce")).await?;
    error_for(&mut wingtip, "c").await?;
    let mark = town.log.mark();
    // An id of ours with another check at its end.
    let id = wingtip_id(&mut alice, &mut wingtip).await?;
    let id = format!("{}AAA", &id[..id.len() - 3]);
    carol
        .say(&format!(
            "<message type='error' from='{CAROL}' to='{ALICE}' id='{id}'><body>{SECRET}</body><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        ))
        .await?;
    town.log.line_after(mark, "its id fails the check").await?;
    gateway.signal("USR1").await?;
    town.log.line_after(mark, "status: counted").await?;
    // A stanza from a foreign user ends the stream.
    carol.say(&from_carol("d", SECRET).replace("@wingtip.com", "@contoso.com")).await?;
    town.log.line_after(mark, "inbound stream closed").await?;
    gateway.stop().await?;
    check_log(&town.log)?;
    Ok(town.log.text())
}

/// The next stanza error for this id; pings may stand before it.
async fn error_for(wingtip: &mut XmppPeer, id: &str) -> Result<()> {
    loop {
        let element = wingtip.element().await?;
        if element.attribute("type") == Some("error") && element.attribute("id") == Some(id) {
            return Ok(());
        }
    }
}

/// The id of a stanza that the gateway makes.
async fn wingtip_id(alice: &mut SipConnection, wingtip: &mut XmppPeer) -> Result<String> {
    alice.send_message(ALICE, CAROL, SECRET).await?;
    loop {
        let element = wingtip.element().await?;
        if element.body() == Some(SECRET) {
            return Ok(element.attribute("id").context("no id")?.to_owned());
        }
    }
}

fn names_users(log: &str) -> Option<&str> {
    log.lines().find(|line| ["alice", "ali ce", "caro"].iter().any(|name| line.contains(name)))
}

#[tokio::test]
async fn sec_35_no_log_holds_what_users_wrote() -> Result<()> {
    let log = log_of_a_run("full").await?;
    ensure!(!log.contains(SECRET), "{:?}", log.lines().find(|line| line.contains(SECRET)));
    ensure!(names_users(&log).is_some(), "nobody is named: the tests below prove nothing");
    Ok(())
}

/// Whoever asks what became of a message, or why he does not see somebody, is found in the log by his name.
#[tokio::test]
async fn what_did_not_arrive_is_logged_with_both_users() -> Result<()> {
    let log = log_of_a_run("full").await?;
    for parts in [
        ["MESSAGE refused", "user=sip:alice@contoso.com", "contact=sip:carol@unlisted.example", "status=403"],
        [
            "SUBSCRIBE refused",
            "user=sip:alice@contoso.com",
            "contact=sip:carol@unlisted.example",
            "unlisted-domain",
        ],
        ["refused by a front end", "user=alice@contoso.com", "contact=carol@wingtip.com", "status=404"],
        [
            "MESSAGE refused",
            "user=alice@contoso.com",
            "contact=carol@chat.wingtip.com",
            "partner chat.wingtip.com: ",
        ],
    ] {
        ensure!(log.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} in\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn sec_35_with_hashed_addresses_no_log_names_a_user() -> Result<()> {
    let log = log_of_a_run("hashed").await?;
    ensure!(!log.contains(SECRET));
    ensure!(names_users(&log).is_none(), "{:?}", names_users(&log));
    ensure!(log.contains("from=~"), "no tag stands for the user");
    Ok(())
}

#[tokio::test]
async fn sec_35_with_domains_only_no_log_names_a_user() -> Result<()> {
    let log = log_of_a_run("domain").await?;
    ensure!(!log.contains(SECRET));
    ensure!(names_users(&log).is_none(), "{:?}", names_users(&log));
    ensure!(log.contains("from=*@wingtip.com"), "nothing stands for the user");
    Ok(())
}
