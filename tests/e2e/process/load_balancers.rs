//! Load balancers in front of the listeners, which say whose connections they hand on (PROXY protocol, version 2).

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::wait::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::town::Town;

/// What a load balancer says before a connection of `client`: PROXY, TCP over IPv4.
fn header(client: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(client) = client else { panic!("{client} is no IPv4 address") };
    let (host, port) = (client.ip().octets(), client.port().to_be_bytes());
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &host, &[192, 0, 2, 10], &port, &[0x14, 0x95]].concat()
}

async fn says(to: SocketAddr, words: &[&[u8]]) -> Result<()> {
    let mut tcp = TcpStream::connect(to).await?;
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
        says(town.xmpp(), &[&header(client.parse()?), &stranger(domain)]).await?;
        for what in ["connection accepted", "stream refused"] {
            let line = town.log.line_after(mark, what).await?;
            ensure!(line.contains(&format!("peer={client}")) && !line.contains("127."), "{line}");
        }
    }
    let mark = town.log.mark();
    // The limits are those of the client, not of the load balancer, which has brought two already.
    says(town.xmpp(), &[&header("203.0.113.7:40123".parse()?), &stranger("one.example")]).await?;
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
    says(town.xmpp(), &[&stranger("one.example")]).await?;
    town.log.line_after(mark, "it sent no PROXY protocol header").await?;
    // It only looks whether we are there: no connection of anybody, and no complaint.
    let mark = town.log.mark();
    says(town.xmpp(), &[b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]).await?;
    town.log.line_after(mark, "connection accepted").await?;

    let mut other = Town::found().await?;
    other.xmpp_listener = "proxy_protocol = true\nproxies = [\"192.0.2.1\"]".to_owned();
    let _gateway = other.gateway("").await?;
    let mark = other.log.mark();
    says(other.xmpp(), &[&header("203.0.113.7:40122".parse()?), &stranger("one.example")]).await?;
    let line = other.log.line_after(mark, "it comes from none of the listener's proxies").await?;
    ensure!(!line.contains("203.0.113.7"), "{line}");
    Ok(())
}

/// A front end that `client` brings by way of a load balancer, and that was answered.
async fn answered_by_way_of_one(town: &Town, client: SocketAddr) -> Result<SipConnection> {
    let mut tcp = TcpStream::connect(town.sip()).await?;
    // If it is closed before, the handshake says so.
    tcp.write_all(&header(client)).await.ok();
    let good = town.good_front_end()?;
    let mut front_end =
        SipConnection::connect_over(tcp, &town.pki, Some(&good), "nuncio.contoso.com").await?;
    let call = front_end.send_options("contoso.com").await?;
    let answer = front_end.final_answer(&call).await?;
    ensure!(answer.status() == Some(200), "{answer}");
    Ok(front_end)
}

#[tokio::test]
async fn a_front_end_through_a_load_balancer_has_the_address_that_it_names() -> Result<()> {
    let mut town = Town::found().await?;
    town.sip_listener = "proxy_protocol = true\nproxies = [\"127.0.0.0/8\"]".to_owned();
    // From an address, one that fails.
    let _gateway = town.gateway("sip.failures_per_address = 1").await?;
    for client in ["203.0.113.7:40122", "203.0.113.8:40122"] {
        let mark = town.log.mark();
        says(town.sip(), &[&header(client.parse()?), b"OPTIONS sip:contoso.com SIP/2.0\r\n\r\n"]).await?;
        for what in ["connection accepted", "SIP connection closed: TLS handshake failed"] {
            let line = town.log.line_after(mark, what).await?;
            ensure!(line.contains(&format!("peer={client}")) && !line.contains("127."), "{line}");
        }
    }
    let mark = town.log.mark();
    // The limits are those of the client, not of the load balancer, which has brought two already.
    says(town.sip(), &[&header("203.0.113.7:40123".parse()?)]).await?;
    let refused = "too many from its address in a minute have not proved who they are";
    let line = town.log.line_after(mark, refused).await?;
    ensure!(line.contains("203.0.113.7:40123"), "{line}");
    // Who proves who he is comes as often as he likes.
    for client in ["203.0.113.9:40122", "203.0.113.9:40123"] {
        let mark = town.log.mark();
        let _front_end = answered_by_way_of_one(&town, client.parse()?).await?;
        let line = town.log.line_after(mark, "front end connected").await?;
        ensure!(line.contains(&format!("peer={client}")) && !line.contains("127."), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_front_end_that_no_load_balancer_of_ours_brings_is_not_let_in() -> Result<()> {
    let mut town = Town::found().await?;
    town.sip_listener = "proxy_protocol = true\nproxies = [\"127.0.0.0/8\"]".to_owned();
    let _gateway = town.gateway("").await?;
    let mark = town.log.mark();
    ensure!(town.calls(Some(&town.good_front_end()?)).await.is_err(), "it was let in without a header");
    town.log.line_after(mark, "it sent no PROXY protocol header").await?;

    let mut other = Town::found().await?;
    other.sip_listener = "proxy_protocol = true\nproxies = [\"192.0.2.1\"]".to_owned();
    let _gateway = other.gateway("").await?;
    let mark = other.log.mark();
    let client = "203.0.113.7:40122".parse()?;
    ensure!(answered_by_way_of_one(&other, client).await.is_err(), "anybody may say who he is");
    let line = other.log.line_after(mark, "it comes from none of the listener's proxies").await?;
    ensure!(!line.contains("203.0.113.7"), "{line}");
    Ok(())
}
