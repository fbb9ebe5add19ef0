//! A service manager around the process: it is told things, and hands sockets over.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nuncio_world::process::Process;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::wait::within;
use nuncio_world::xmpp_peer::XmppPeer;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixDatagram, UnixListener, UnixStream};

use crate::town::{Town, from_carol, takes_all};

/// The next thing that the service manager is told.
async fn told(manager: &UnixDatagram) -> Result<String> {
    let mut words = vec![0; 4096];
    let length = within("word for the service manager", manager.recv(&mut words)).await??;
    words.truncate(length);
    Ok(String::from_utf8(words)?)
}

/// The next thing that begins so; signs of life in between are passed over.
async fn told_of(manager: &UnixDatagram, what: &str) -> Result<String> {
    loop {
        let words = told(manager).await?;
        if words.starts_with(what) {
            return Ok(words);
        }
        ensure!(words == "WATCHDOG=1" || words == "STATUS=starting", "{what} was expected: {words}");
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_start_reload_and_stop() -> Result<()> {
    let town = Town::found().await?;
    let socket = town.folder().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    let variable = format!("NOTIFY_SOCKET={}", socket.display());
    let mut gateway = town.start_by(&["env", &variable], "", &town.folder().join("state"))?;
    let ready = told_of(&manager, "READY=1").await?;
    ensure!(ready.contains("STATUS=listening on sip "), "{ready}");
    // Ready means that connections are taken.
    drop(TcpStream::connect(town.xmpp()).await?);
    gateway.signal("HUP").await?;
    let reloading = told_of(&manager, "RELOADING=1").await?;
    let begun = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").context("no time")?;
    ensure!(begun.parse::<u64>().is_ok(), "{reloading}");
    told_of(&manager, "READY=1").await?;
    gateway.signal("TERM").await?;
    told_of(&manager, "STOPPING=1").await?;
    ensure!(gateway.ended().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_gateway_whose_timers_run_says_that_it_lives() -> Result<()> {
    let town = Town::found().await?;
    let socket = town.folder().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    let variable = format!("NOTIFY_SOCKET={}", socket.display());
    let starter = ["env", &variable, "WATCHDOG_USEC=400000"];
    let _gateway = town.start_by(&starter, "", &town.folder().join("state"))?;
    let mut signs = 0;
    while signs < 3 {
        signs += usize::from(told(&manager).await? == "WATCHDOG=1");
    }
    Ok(())
}

/// Starts the gateway as a service manager does that has these sockets, each with its name.
fn handed_over(town: &Town, sockets: &[(&str, &dyn AsFd)]) -> Result<Process> {
    // Far from the numbers that they are going to have there.
    let copy = |(_, socket): &(&str, &dyn AsFd)| fcntl_dupfd_cloexec(socket, 300);
    let copies: Vec<OwnedFd> = sockets.iter().map(copy).collect::<Result<_, _>>()?;
    let mut script = String::new();
    for (copy, number) in copies.iter().zip(3..) {
        fcntl_setfd(copy, FdFlags::empty())?;
        script.push_str(&format!("exec {number}<&{0} {0}<&-; ", copy.as_raw_fd()));
    }
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let (many, names) = (names.len(), names.join(":"));
    script.push_str(&format!("LISTEN_PID=$$ LISTEN_FDS={many} LISTEN_FDNAMES={names} exec \"$@\""));
    town.start_by(&["bash", "-c", &script, "bash"], "", &town.folder().join("state"))
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served_in_place_of_one_of_our_own() -> Result<()> {
    let town = Town::found().await?;
    let socket = TcpListener::bind(town.xmpp()).await?;
    // It waits there before the gateway runs.
    let mut early = TcpStream::connect(town.xmpp()).await?;
    let mut gateway = handed_over(&town, &[("xmpp", &socket)])?;
    gateway.says("ready").await?;
    drop(socket);
    let header = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                  from='wingtip.com' to='contoso.com' version='1.0'>";
    early.write_all(header.as_bytes()).await?;
    let mut answer = [0; 64];
    let length = within("an answer", early.read(&mut answer)).await??;
    ensure!(answer[..length].starts_with(b"<?xml"), "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

#[tokio::test]
async fn a_socket_for_front_ends_is_taken_over_with_who_waits_there() -> Result<()> {
    let town = Town::found().await?;
    let socket = TcpListener::bind(town.sip()).await?;
    let early = TcpStream::connect(town.sip()).await?;
    let mut gateway = handed_over(&town, &[("sip", &socket)])?;
    gateway.says("ready").await?;
    drop(socket);
    let good = town.good_front_end()?;
    let mut front_end =
        SipConnection::connect_over(early, &town.pki, Some(&good), "nuncio.contoso.com").await?;
    let call = front_end.send_options("contoso.com").await?;
    let answer = front_end.final_answer(&call).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_socket_for_direct_tls_is_taken_over_with_who_waits_there_and_takes_nothing_else() -> Result<()> {
    let town = Town::found().await?;
    let socket = TcpListener::bind(town.direct()).await?;
    let (early, other) = (TcpStream::connect(town.direct()).await?, TcpStream::connect(town.direct()).await?);
    let mut gateway = handed_over(&town, &[("xmpps", &socket)])?;
    gateway.says("ready").await?;
    drop(socket);
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let good = town.good_wingtip()?;
    let mut carol =
        XmppPeer::direct_over(early, &town.pki, Some(&good), "contoso.com", &["xmpp-server"]).await?;
    carol.open("wingtip.com", "contoso.com").await?;
    carol.authenticate("wingtip.com", "contoso.com").await?;
    carol.say(&from_carol("d", "directly")).await?;
    ensure!(front_end.next_message().await?.body == "directly");
    let mut other = other;
    // Whoever does not begin with TLS may find it closed already.
    other.write_all(b"<stream:stream ").await.ok();
    let mut answer = Vec::new();
    within("the gateway to close", other.read_to_end(&mut answer)).await?.ok();
    ensure!(!answer.starts_with(b"<"), "it answered without TLS: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

#[tokio::test]
async fn the_control_socket_is_taken_over_with_who_waits_there_and_its_file_stays() -> Result<()> {
    let town = Town::found().await?;
    let socket = UnixListener::bind(town.control())?;
    let mut early = UnixStream::connect(town.control()).await?;
    let mut gateway = handed_over(&town, &[("control", &socket)])?;
    gateway.says("ready").await?;
    drop(socket);
    early.write_all(b"GET /health/live HTTP/1.1\r\nHost: nuncio\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    within("an answer", early.read_to_end(&mut answer)).await??;
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    // By the kernel's word on who connects, as on one of our own.
    town.done(&["partner", "list"]).await?;
    ensure!(gateway.stop().await?.success(), "{}", town.log.tail(40).join("\n"));
    // It is the service manager's, which goes on listening there.
    ensure!(town.control().exists(), "the file of a socket that is not ours was removed");
    Ok(())
}

/// Wherever its unit has put it: there it is named, and the place in the configuration is nobody's.
#[tokio::test]
async fn a_control_socket_of_the_service_manager_is_named_where_it_is() -> Result<()> {
    let town = Town::found().await?;
    let elsewhere = town.folder().join("elsewhere.sock");
    let socket = UnixListener::bind(&elsewhere)?;
    let mut gateway = handed_over(&town, &[("control", &socket)])?;
    let ready = gateway.says("ready listening=").await?;
    ensure!(ready.contains(&format!("control {}", elsewhere.display())), "{ready}");
    ensure!(!ready.contains(&format!("control {}", town.control().display())), "{ready}");
    ensure!(!town.control().exists(), "there are two");
    Ok(())
}

/// Two units of sockets beside each other, and one more of each kind: which is which, their names say, in their order.
#[tokio::test]
async fn sockets_that_are_handed_over_together_are_told_apart_by_their_names() -> Result<()> {
    let town = Town::found().await?;
    let control = UnixListener::bind(town.control())?;
    let (direct, sip) = (TcpListener::bind(town.direct()).await?, TcpListener::bind(town.sip()).await?);
    let xmpp = TcpListener::bind(town.xmpp()).await?;
    let sockets: [(&str, &dyn AsFd); 4] =
        [("control", &control), ("xmpps", &direct), ("sip", &sip), ("xmpp", &xmpp)];
    let mut gateway = handed_over(&town, &sockets)?;
    gateway.says("ready").await?;
    drop((control, direct, sip, xmpp));
    let mut front_end = town.calls(Some(&town.good_front_end()?)).await?;
    let call = front_end.send_options("contoso.com").await?;
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    drop(town.wingtip_speaks().await?);
    let good = town.good_wingtip()?;
    let at = town.direct();
    let mut carol =
        XmppPeer::dial_direct(&town.pki, Some(&good), at, "contoso.com", &["xmpp-server"]).await?;
    carol.open("wingtip.com", "contoso.com").await?;
    carol.authenticate("wingtip.com", "contoso.com").await?;
    town.done(&["partner", "list"]).await.map(drop)
}

#[tokio::test]
async fn a_socket_that_no_listener_is_for_keeps_the_gateway_from_starting() -> Result<()> {
    let town = Town::found().await?;
    for (name, at, section) in [
        ("xmpp", town.somewhere(9, 5269), "xmpp.listener"),
        ("sip", town.somewhere(9, 5061), "sip.listener"),
        ("xmpps", town.somewhere(9, 5270), "xmpp.listener"),
    ] {
        let socket = TcpListener::bind(at).await?;
        let mut gateway = handed_over(&town, &[(name, &socket)])?;
        let refused = format!("hands over the socket {name} {at}, for which there is no [[{section}]]");
        gateway.says(&refused).await?;
        ensure!(gateway.ended().await?.code() == Some(1), "{}", town.log.tail(20).join("\n"));
    }
    Ok(())
}
