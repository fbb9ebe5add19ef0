//! Limits on connections, at the limit and one past it, and what strangers may write into the log.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::wait::{until, within};
use nuncio_world::xmpp_peer::XmppPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::town::{Town, from_carol, takes_all};

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
    from='wingtip.com' to='contoso.com' version='1.0'>";

/// Begins a stream from an address of its own, and says nothing more. `None`: the gateway closed without a word.
async fn knock(from: IpAddr, to: SocketAddr) -> Result<Option<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let mut stream = socket.connect(to).await?;
    // The gateway may have closed before this comes.
    stream.write_all(HEADER.as_bytes()).await.ok();
    let mut answer = [0; 16];
    let read = within("an answer or the end", stream.read(&mut answer)).await?;
    Ok(matches!(read, Ok(1..)).then_some(stream))
}

/// A front end that has called and was answered.
async fn answered(town: &Town) -> Result<SipConnection> {
    let mut front_end = town.calls(Some(&town.good_front_end()?)).await?;
    let call = front_end.send_options("contoso.com").await?;
    ensure!(front_end.final_answer(&call).await?.status() == Some(200));
    Ok(front_end)
}

/// Until there is room again for one more.
async fn room(from: IpAddr, to: SocketAddr) -> Result<()> {
    until("a place to be free again", || async { matches!(knock(from, to).await, Ok(Some(_))) }).await
}

#[tokio::test]
async fn sec_03_so_many_unauthenticated_streams_and_not_one_more() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("xmpp.unauthenticated = 3").await?;
    // Who has proved who he is takes no place.
    let _carol = town.wingtip_speaks().await?;
    let mut held = Vec::new();
    for number in 0..3 {
        held.push(knock(town.unused(number), town.xmpp()).await?);
        ensure!(held.iter().all(Option::is_some), "number {number} was not let in");
    }
    let mark = town.log.mark();
    // One past the limit: a flood keeps nobody out, and the one that waited longest goes.
    held.push(knock(town.unused(3), town.xmpp()).await?);
    ensure!(held.iter().all(Option::is_some), "the newcomer was not let in");
    town.log.line_after(mark, "too many have not proved yet who they are; it was the oldest").await?;
    let mut answered = Vec::new();
    for stream in held.iter_mut().flatten() {
        stream.write_all(b"</stream:stream>").await.ok();
        let mut said = Vec::new();
        within("the end of a stream", stream.read_to_end(&mut said)).await?.ok();
        answered.push(String::from_utf8_lossy(&said).contains("</stream:stream>"));
    }
    ensure!(answered == [false, true, true, true], "{answered:?}");
    Ok(())
}

#[tokio::test]
async fn sec_03_so_many_unauthenticated_sip_connections_and_not_one_more() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("sip.unauthenticated = 2").await?;
    let mut first = TcpStream::connect(town.sip()).await?;
    // Once she is answered, she is known, and takes no place any more.
    let _alice = answered(&town).await?;
    let _second = TcpStream::connect(town.sip()).await?;
    // One past the limit, and yet he is heard.
    let _again = answered(&town).await?;
    town.log.line_after(0, "too many have not proved yet who they are; it was the oldest").await?;
    within("the oldest one to be closed", first.read_to_end(&mut Vec::new())).await?.ok();
    Ok(())
}

#[tokio::test]
async fn sec_40_an_address_has_its_share_of_the_unauthenticated_and_not_one_more() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("xmpp.unauthenticated = 100\nxmpp.unauthenticated_per_address = 2").await?;
    let (hog, other) = (town.unused(0), town.unused(1));
    let first = knock(hog, town.xmpp()).await?;
    let second = knock(hog, town.xmpp()).await?;
    ensure!(first.is_some() && second.is_some(), "at the limit");
    let mark = town.log.mark();
    ensure!(knock(hog, town.xmpp()).await?.is_none(), "one past the limit was let in");
    town.log.line_after(mark, "too many from its address have not proved yet who they are").await?;
    ensure!(knock(other, town.xmpp()).await?.is_some(), "another address pays for it");
    drop(first);
    room(hog, town.xmpp()).await
}

#[tokio::test]
async fn sec_40_an_address_has_its_share_of_sip_connections_too() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("sip.unauthenticated_per_address = 1").await?;
    let good = town.good_front_end()?;
    let silent = TcpStream::connect(town.sip()).await?;
    until("the limit to be reached", || async { town.calls(Some(&good)).await.is_err() }).await?;
    drop(silent);
    until("a place to be free again", || async { answered(&town).await.is_ok() }).await?;
    // Front ends that have shown who they are take no places, however many connections they have.
    let mut many = Vec::new();
    for _ in 0..3 {
        many.push(answered(&town).await?);
    }
    Ok(())
}

#[tokio::test]
async fn sec_03_so_many_connections_and_not_one_more() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("xmpp.connections = 2\nsip.connections = 2").await?;
    let first = town.wingtip_speaks().await?;
    let _second = town.wingtip_speaks().await?;
    ensure!(town.wingtip_speaks().await.is_err(), "one past the limit was let in");
    drop(first);
    until("a place to be free again", || async { town.wingtip_speaks().await.is_ok() }).await?;

    let good = town.good_front_end()?;
    let first = answered(&town).await?;
    let _second = answered(&town).await?;
    ensure!(town.calls(Some(&good)).await.is_err(), "one past the limit was let in");
    drop(first);
    until("a place to be free again", || async { town.calls(Some(&good)).await.is_ok() }).await
}

#[tokio::test]
async fn sec_03_so_many_streams_of_a_partner_and_not_one_more() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("xmpp.connections_per_partner = 3").await?;
    let mut front_end = town.answers(&town.good_front_end()?, takes_all).await?;
    let ping = "<iq type='get' id='p' from='wingtip.com' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>";
    let mut first = town.wingtip_speaks().await?;
    let mut second = town.wingtip_speaks().await?;
    let mut third = town.wingtip_speaks().await?;
    third.say(&from_carol("third", "by a stream that is one too many")).await?;
    let error = third.stream_error().await?;
    ensure!(error.child("policy-violation").is_some(), "{error}");
    first.say(&from_carol("first", "by a stream that has its place")).await?;
    let heard = front_end.next_message().await?;
    ensure!(heard.body == "by a stream that has its place", "{}", heard.body);
    // The last place is for the answers to the others, which go on.
    first.say(ping).await?;
    second.say(ping).await?;
    let listener = town.wingtip_listens().await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    ensure!(wingtip.element().await?.attribute("type") == Some("result"));
    drop(first);
    let pinged = || async {
        let Ok(mut peer) = town.wingtip_speaks().await else { return false };
        peer.say("</stream:stream>").await.ok();
        // A stream that is one too many ends with an error, this one with our closing tag.
        peer.stream_error().await.is_err()
    };
    until("a place to be free again", pinged).await
}

#[tokio::test]
async fn sec_40_an_address_may_fail_so_often_in_a_minute_and_not_once_more() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway("xmpp.failures_per_address = 3").await?;
    let (hog, other) = (town.unused(0), town.unused(1));
    for number in 0..3 {
        ensure!(knock(hog, town.xmpp()).await?.is_some(), "number {number} was not let in");
    }
    let mark = town.log.mark();
    ensure!(knock(hog, town.xmpp()).await?.is_none(), "one past the limit was let in");
    town.log.line_after(mark, "too many from its address in a minute have not proved who they are").await?;
    ensure!(knock(other, town.xmpp()).await?.is_some(), "another address pays for it");
    // Who proves who he is comes as often as he likes.
    for _ in 0..5 {
        town.wingtip_speaks().await?;
    }
    Ok(())
}

#[tokio::test]
async fn sec_40_what_a_partner_sends_too_fast_waits_and_is_not_lost() -> Result<()> {
    const PINGS: usize = 1200;
    let town = Town::found().await?;
    // A thousand may come at once.
    let _gateway = town.gateway("xmpp.stanzas_per_second = 200").await?;
    let listener = town.wingtip_listens().await?;
    let mut carol = town.wingtip_speaks().await?;
    let ping = |id| {
        format!(
            "<iq type='get' id='p{id}' from='wingtip.com' to='contoso.com'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
    };
    let mark = town.log.mark();
    carol.say(&(0..PINGS).map(ping).collect::<String>()).await?;
    let mut wingtip = listener.accept(&town.pki, &town.good_wingtip()?, "wingtip.com").await?;
    for id in 0..PINGS {
        let answer = wingtip.element().await?;
        ensure!(answer.attribute("id") == Some(&format!("p{id}")), "{id}: {answer}");
    }
    let said = town.log.line_after(mark, "he is read more slowly").await?;
    ensure!(said.contains("wingtip.com"), "{said}");
    Ok(())
}

/// Lines that are shown without asking for details.
fn shown(town: &Town, text: &str) -> usize {
    let log = town.log.text();
    log.lines().filter(|line| line.contains(text) && !line.contains("DEBUG")).count()
}

#[tokio::test]
async fn sec_35_strangers_get_a_few_lines_of_the_log_and_one_that_counts_the_rest() -> Result<()> {
    const TIMES: usize = 12;
    let town = Town::found().await?;
    let mut gateway = town.gateway("").await?;
    let nobody = town.pki.good("nobody", &["stranger.contoso.com"])?;
    for _ in 0..TIMES {
        let mut stranger = town.calls(Some(&nobody)).await?;
        let call = stranger.send_options("contoso.com").await?;
        ensure!(stranger.final_answer(&call).await?.status() == Some(403));
        let mut peer = XmppPeer::dial(town.xmpp()).await?;
        peer.say_header("stranger.example", "contoso.com").await?;
        peer.stream_error().await?;
        let mut lost = XmppPeer::dial(town.xmpp()).await?;
        lost.say_header("wingtip.com", "nowhere.example").await?;
        lost.stream_error().await?;
        let mut plain = TcpStream::connect(town.sip()).await?;
        plain.write_all(b"no TLS at all").await?;
        plain.read_to_end(&mut Vec::new()).await.ok();
    }
    let mark = town.log.mark();
    ensure!(gateway.stop().await?.success());
    for (line, lines, summary) in [
        (
            "SIP peer is no front end of ours",
            5,
            "SIP connections of peers that are no front ends of ours: 7 more",
        ),
        ("stream refused: ", 1, "streams refused because the domain is no partner: 11 more"),
        ("connection closed: TLS handshake failed", 5, "SIP connections whose TLS handshake failed: 7 more"),
        ("inbound stream closed", 5, "ends of inbound streams that nobody had authenticated: 7 more"),
    ] {
        let said = town.log.line_after(mark, summary).await?;
        ensure!(said.contains("in the last minute from 1 "), "{said}");
        ensure!(shown(&town, line) == lines, "{line}: {}\n{}", shown(&town, line), town.log.text());
    }
    ensure!(shown(&town, "SIP request refused") == 0);
    Ok(())
}
