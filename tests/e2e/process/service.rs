//! What stands around the process: a service manager that is told things and hands sockets over, and load balancers.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use nuncio_world::wait::within;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixDatagram};

use crate::town::Town;

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

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served_in_place_of_one_of_our_own() -> Result<()> {
    let town = Town::found().await?;
    let socket = TcpListener::bind(town.xmpp()).await?;
    // It waits there before the gateway runs.
    let mut early = TcpStream::connect(town.xmpp()).await?;
    fcntl_setfd(socket.as_fd(), FdFlags::empty())?;
    let script =
        format!("exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=xmpp exec \"$@\"", socket.as_raw_fd());
    let mut gateway = town.start_by(&["bash", "-c", &script, "bash"], "", &town.folder().join("state"))?;
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
async fn a_socket_that_no_listener_is_for_keeps_the_gateway_from_starting() -> Result<()> {
    let town = Town::found().await?;
    let socket = TcpListener::bind(town.somewhere(9, 5269)).await?;
    fcntl_setfd(socket.as_fd(), FdFlags::empty())?;
    let script =
        format!("exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=xmpp exec \"$@\"", socket.as_raw_fd());
    let mut gateway = town.start_by(&["bash", "-c", &script, "bash"], "", &town.folder().join("state"))?;
    gateway.says("for which there is no [[xmpp.listener]]").await?;
    ensure!(gateway.ended().await?.code() == Some(1));
    Ok(())
}

/// What a load balancer says before a connection of `client`: PROXY, TCP over IPv4.
fn header(client: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(client) = client else { panic!("{client} is no IPv4 address") };
    let (host, port) = (client.ip().octets(), client.port().to_be_bytes());
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &host, &[192, 0, 2, 10], &port, &[0x14, 0x95]].concat()
}

async fn says(town: &Town, words: &[&[u8]]) -> Result<()> {
    let mut tcp = TcpStream::connect(town.xmpp()).await?;
    // The gateway closes when it has heard enough, which may be before all is said: then there is nobody to say it to.
    for words in words {
        tcp.write_all(words).await.ok();
    }
    tcp.shutdown().await.ok();
    let mut answer = Vec::new();
    within("the gateway to close", tcp.read_to_end(&mut answer)).await?.ok();
    Ok(())
}

/// A stream of a domain that nobody knows.
fn stranger(domain: &str) -> Vec<u8> {
    let header = format!(
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='{domain}' \
         to='contoso.com' version='1.0'>"
    );
    header.into_bytes()
}

#[tokio::test]
async fn a_connection_through_a_load_balancer_is_that_of_the_address_it_names() -> Result<()> {
    let mut town = Town::found().await?;
    town.xmpp_listener = "proxy_protocol = true\nproxies = [\"127.0.0.0/8\"]".to_owned();
    // From an address, one that fails.
    let _gateway = town.gateway("xmpp.failures_per_address = 1").await?;
    for (client, domain) in [("203.0.113.7:40122", "one.example"), ("203.0.113.8:40122", "two.example")] {
        let mark = town.log.mark();
        says(&town, &[&header(client.parse()?), &stranger(domain)]).await?;
        for what in ["connection accepted", "stream refused"] {
            let line = town.log.line_after(mark, what).await?;
            ensure!(line.contains(&format!("peer={client}")) && !line.contains("127."), "{line}");
        }
    }
    let mark = town.log.mark();
    // The limits are those of the client, not of the load balancer, which has brought two already.
    says(&town, &[&header("203.0.113.7:40123".parse()?), &stranger("one.example")]).await?;
    let refused = "too many from its address in a minute have not proved who they are";
    let line = town.log.line_after(mark, refused).await?;
    ensure!(line.contains("203.0.113.7:40123"), "{line}");
    Ok(())
}

#[tokio::test]
async fn who_is_no_load_balancer_of_ours_or_says_nothing_is_not_let_in() -> Result<()> {
    let mut town = Town::found().await?;
    town.xmpp_listener = "proxy_protocol = true\nproxies = [\"127.0.0.0/8\"]".to_owned();
    let _gateway = town.gateway("").await?;
    let mark = town.log.mark();
    says(&town, &[&stranger("one.example")]).await?;
    town.log.line_after(mark, "it sent no PROXY protocol header").await?;
    // It only looks whether we are there: no connection of anybody, and no complaint.
    let mark = town.log.mark();
    says(&town, &[b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]).await?;
    town.log.line_after(mark, "connection accepted").await?;

    let mut other = Town::found().await?;
    other.xmpp_listener = "proxy_protocol = true\nproxies = [\"192.0.2.1\"]".to_owned();
    let _gateway = other.gateway("").await?;
    let mark = other.log.mark();
    says(&other, &[&header("203.0.113.7:40122".parse()?), &stranger("one.example")]).await?;
    let line = other.log.line_after(mark, "it comes from none of the listener's proxies").await?;
    ensure!(!line.contains("203.0.113.7"), "{line}");
    Ok(())
}
