//! The database of the process: made, closed, refused.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use nuncio::store::{self, FILE, Shown, Table};

use nuncio_world::sip_agent::Reply;
use nuncio_world::sip_text::SipMessage;
use nuncio_world::wait;

use crate::town::{Town, from_carol};

const PENDING: Shown<'_> = Shown { table: Table::Pending, json: false, with: None, most: 9 };

#[tokio::test]
async fn a_planned_stop_closes_the_database() -> Result<()> {
    let town = Town::found().await?;
    let database = town.folder().join("state").join(FILE);
    let mut gateway = town.gateway("").await?;
    town.log.line_after(0, "made: it keeps what must survive a restart").await?;
    ensure!(database.with_extension("db-wal").exists());
    ensure!(gateway.stop().await?.success());
    ensure!(database.exists() && !database.with_extension("db-wal").exists());
    Ok(())
}

#[tokio::test]
async fn after_kill_9_the_database_is_checked_and_used() -> Result<()> {
    let town = Town::found().await?;
    let state = town.folder().join("state");
    fs::create_dir(&state)?;
    // Something in the log that the process leaves behind.
    let mut gateway = town.gateway("").await?;
    rusqlite::Connection::open(state.join(FILE))?.execute("INSERT INTO secret VALUES ('x', x'00', 1)", ())?;
    gateway.kill().await?;
    let mark = town.log.mark();
    let _gateway = town.gateway("").await?;
    town.log.line_after(mark, "had not been closed: it was checked, and is whole").await?;
    Ok(())
}

/// It waits for a user who lets the invitation ring, so it may wait for long: its sender is not to lose it without a word.
#[tokio::test]
async fn a_contact_whose_message_waited_at_kill_9_is_told_by_the_next_process() -> Result<()> {
    let town = Town::found().await?;
    let state = town.folder().join("state");
    let file = town.configure("", &state)?;
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains("im = \"pager\""));
    fs::write(&file, text.replace("im = \"pager\"", "im = \"session\""))?;
    let mut gateway = town.gateway_as_configured().await?;
    let _front_end = town.answers(&town.good_front_end()?, rings).await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    carol.say(&from_carol("c1", "are you there?")).await?;
    wait::until_ok("the message on record", async || {
        let mut found = false;
        store::show(&state, PENDING, &mut |line| {
            found |= line.contains("carol@wingtip.com → alice@contoso.com  id \"c1\"");
            Ok(())
        })?;
        Ok(found)
    })
    .await?;
    gateway.kill().await?;

    let mark = town.log.mark();
    let _gateway = town.gateway_as_configured().await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    let told = wingtip.element().await?;
    ensure!((told.attribute("id"), told.attribute("type")) == (Some("c1"), Some("error")), "{told:?}");
    let words = told.child("error").and_then(|error| error.child("text")).context("no words")?;
    ensure!(words.text.ends_with("it may not have been delivered"), "{told:?}");
    town.log.line_after(mark, "ended while messages of contacts waited for users").await?;
    Ok(())
}

fn rings(request: &SipMessage) -> Reply {
    match request.method() {
        Some("INVITE") => Reply::Status(180, "Ringing"),
        Some("ACK") => Reply::Silence,
        _ => Reply::Status(200, "OK"),
    }
}

#[tokio::test]
async fn a_damaged_database_stops_the_start_and_is_left_alone() -> Result<()> {
    let town = Town::found().await?;
    let state = town.folder().join("state");
    let database = state.join(FILE);
    ensure!(town.gateway("").await?.stop().await?.success());
    let mut bytes = fs::read(&database)?;
    bytes.truncate(bytes.len() / 2);
    fs::write(&database, &bytes)?;
    let mark = town.log.mark();
    let mut gateway = town.start("", &state)?;
    ensure!(gateway.ended().await?.code() == Some(3), "a service manager must not try again and again");
    let said = town.log.line_after(mark, "stopped: ").await?;
    let path = state.display();
    ensure!(
        said.contains(&format!("{path}/nuncio.db is damaged (it has {} bytes of ", bytes.len())),
        "{said}"
    );
    ensure!(
        said.contains(&format!("See what is wrong with \"nuncio store check --state-dir {path}\"")),
        "{said}"
    );
    ensure!(fs::read(&database)? == bytes, "it was changed");
    Ok(())
}

#[tokio::test]
async fn a_read_only_state_directory_is_complained_of_and_served_from() -> Result<()> {
    const MOUNT: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let town = Town::found().await?;
    let state = town.folder().join("state");
    ensure!(town.gateway("").await?.stop().await?.success());
    let root = fs::metadata("/proc/self")?.uid() == 0;
    let namespace = if root { "--ipc" } else { "--map-root-user" };
    let shown = state.to_str().context("a path that is text")?;
    let starter = ["unshare", "--mount", namespace, "sh", "-c", MOUNT, shown];
    let mark = town.log.mark();
    let mut gateway = town.start_by(&starter, "", &state)?;
    gateway.says("ready").await?;
    let said = town.log.line_after(mark, "The gateway starts with what is in it").await?;
    let path = state.display();
    ensure!(said.contains(&format!("{path}/nuncio.db cannot be written: it, or the file system")), "{said}");
    let mut alice = town.calls(Some(&town.good_front_end()?)).await?;
    let call = alice.send_options("contoso.com").await?;
    ensure!(alice.final_answer(&call).await?.status() == Some(200));
    ensure!(gateway.stop().await?.success(), "there was nothing to write");
    Ok(())
}

#[tokio::test]
async fn a_second_gateway_in_the_same_place_does_not_start() -> Result<()> {
    let town = Town::found().await?;
    let first = town.gateway("").await?;
    let mark = town.log.mark();
    let mut second = town.start("", &town.folder().join("state"))?;
    ensure!(second.ended().await?.code() == Some(1));
    let said = town.log.line_after(mark, "stopped: ").await?;
    ensure!(said.contains(&format!("is in use by another gateway (process {} holds", first.pid())), "{said}");
    Ok(())
}

/// A process that opens a file of a database and closes it beside SQLite loses its locks on it (fcntl(2)): the next one who closes
/// the database takes himself for the last, and removes the log below the gateway.
#[tokio::test]
async fn who_looks_at_the_audit_trail_of_a_running_gateway_costs_it_no_lock() -> Result<()> {
    let town = Town::found().await?;
    let database = town.folder().join("state").join(FILE);
    let mut gateway = town.gateway("").await?;
    town.done(&["partner", "new", "fabrikam.com", "type=federated"]).await?;
    let trail = town.done(&["audit", "fabrikam.com"]).await?;
    ensure!(trail.contains("partner.created"), "{trail}");
    // The test is another process. It reads something, or SQLite would open nothing.
    let other = rusqlite::Connection::open(&database)?;
    other.query_row("SELECT count(*) FROM audit", (), |row| row.get::<_, i64>(0))?;
    other.close().map_err(|(_, error)| error)?;
    ensure!(database.with_extension("db-wal").exists(), "the log was removed below the gateway");
    town.done(&["partner", "set", "fabrikam.com", "description=written"]).await?;
    gateway.kill().await?;
    let _gateway = town.gateway("").await?;
    let shown = town.done(&["partner", "show", "fabrikam.com"]).await?;
    ensure!(shown.contains("written"), "{shown}");
    Ok(())
}
