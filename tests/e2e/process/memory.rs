//! What the gateway can be made to keep by those who send and never come to an end (SEC-03, SEC-40).
//!
//! Measured at the process, not at a counter of ours: what nobody counts would not be seen there. And measured twice, the
//! second time with the limit raised: a measurement that is the same then would show nothing.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use nuncio_world::process::Process;
use nuncio_world::sip_agent::SipConnection;
use nuncio_world::wait::{until_ok, within};
use nuncio_world::xmpp_peer::XmppPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::town::{Town, from_carol};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Memory of the process now, and the most since [`measure_anew`], in bytes.
fn memory(gateway: &Process) -> Result<(usize, usize)> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid()))?;
    let of = |name: &str| {
        let value =
            status.lines().find_map(|line| line.strip_prefix(name)).context("a process without memory")?;
        let kibibytes: usize = value.trim().strip_suffix(" kB").context("not in kB")?.parse()?;
        anyhow::Ok(kibibytes * KIB)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

fn measure_anew(gateway: &Process) -> Result<()> {
    // proc(5): resets the peak.
    Ok(std::fs::write(format!("/proc/{}/clear_refs", gateway.pid()), "5")?)
}

/// Bytes on their way to a listener that it has not read, those aside that come to connections that it has ended.
fn unread(listener: SocketAddr) -> Result<usize> {
    let IpAddr::V4(ip) = listener.ip() else { anyhow::bail!("an address of another family") };
    let end = format!("{:08X}:{:04X}", u32::from_le_bytes(ip.octets()), listener.port());
    let mut sum = 0;
    // proc(5): "sl local_address rem_address st tx_queue:rx_queue …"; 01 is ESTABLISHED.
    for line in std::fs::read_to_string("/proc/net/tcp")?.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, remote, "01", queues, ..] = fields[..] else { continue };
        let (sent, received) = queues.split_once(':').context("queues")?;
        let queue = if local == end {
            received
        } else if remote == end {
            sent
        } else {
            continue;
        };
        sum += usize::from_str_radix(queue, 16)?;
    }
    Ok(sum)
}

enum Peer {
    Xmpp(XmppPeer),
    Sip(SipConnection),
}

impl Peer {
    /// One piece more, if the gateway still takes any.
    async fn goes_on(&mut self, text: &str) -> Result<()> {
        let said = async {
            match self {
                Self::Xmpp(peer) => peer.say(text).await,
                Self::Sip(peer) => peer.send_raw(text).await,
            }
        };
        within("the gateway to read or to close", said).await?.ok();
        Ok(())
    }
}

/// Somebody who begins something that the gateway takes, and goes on with it.
struct Sender {
    peer: Peer,
    begins: String,
    piece: String,
    pieces: usize,
}

/// What the process takes at most, beyond what it took when they were all let in, while they send and then hold what they
/// have. They take turns: nobody is done before the others have begun.
async fn taken(gateway: &mut Process, listener: SocketAddr, mut senders: Vec<Sender>) -> Result<usize> {
    until_ok("the gateway to have read what they began with", async || Ok(unread(listener)? == 0)).await?;
    measure_anew(gateway)?;
    let (before, _) = memory(gateway)?;
    for sender in &mut senders {
        sender.peer.goes_on(&sender.begins).await?;
    }
    for turn in 0..senders.iter().map(|sender| sender.pieces).max().unwrap_or_default() {
        for sender in senders.iter_mut().filter(|sender| turn < sender.pieces) {
            sender.peer.goes_on(&sender.piece).await?;
        }
    }
    until_ok("the gateway to have read what they sent", async || Ok(unread(listener)? == 0)).await?;
    gateway.still_runs()?;
    let (_, most) = memory(gateway)?;
    Ok(most.saturating_sub(before))
}

/// Holds what `senders` can make the gateway keep against what the limits allow, and that with the limit raised it is more.
async fn bounds(
    town: &Town,
    limits: [&str; 2],
    listener: SocketAddr,
    allowed: usize,
    senders: impl AsyncFn() -> Result<Vec<Sender>>,
) -> Result<()> {
    let [limited, raised] = limits;
    let mut gateway = town.gateway(limited).await?;
    let most = taken(&mut gateway, listener, senders().await?).await?;
    ensure!(gateway.stop().await?.success());
    let mut gateway = town.gateway(raised).await?;
    let more = taken(&mut gateway, listener, senders().await?).await?;
    ensure!(most <= allowed, "{} KiB more, {} allowed", most / KIB, allowed / KIB);
    ensure!(more > allowed, "{} KiB with the limit raised, which {} would allow", more / KIB, allowed / KIB);
    Ok(())
}

/// What a connection takes while it is read: a buffer of up to 64 KiB, and as much again with TLS.
const PER_CONNECTION: usize = 128 * KIB;
/// How often what is kept is there: a buffer doubles as it grows, the allocator does not give back at once what the smaller
/// ones leave, and an answer may quote it.
const KEPT: usize = 8;
/// What the work itself takes, and what the allocator keeps of that.
const WORK: usize = 8 * MIB;

fn allowed(connections: usize, limit: usize) -> usize {
    connections * (PER_CONNECTION + KEPT * limit) + WORK
}

/// What is said at a time.
const PIECE: usize = 4 * KIB;

/// So many strangers at a time, from one address.
fn places(side: &str, count: usize) -> String {
    format!(
        "{side}.unauthenticated = {count}\n{side}.unauthenticated_per_address = {count}\n\
         {side}.failures_per_address = 1000000"
    )
}

#[tokio::test]
async fn sec_03_and_40_streams_without_proof_take_no_more_memory_than_their_limit_allows() -> Result<()> {
    const STREAMS: usize = 64;
    const LIMIT: usize = 16 * KIB;
    const RAISED: usize = 2 * MIB;
    let town = Town::found().await?;
    let limited = places("xmpp", STREAMS);
    let raised = format!("{limited}\nxmpp.pre_auth_stanza = {RAISED}\nxmpp.stanza = {RAISED}");
    let (from, to, good) = ("wingtip.com", "contoso.com", town.good_wingtip()?);
    let senders = async || {
        let mut senders = Vec::new();
        for number in 0..STREAMS {
            let peer = if number % 2 == 0 {
                let mut peer = XmppPeer::dial(town.xmpp()).await?;
                peer.open(from, to).await?;
                peer
            } else {
                XmppPeer::secured(&town.pki, Some(&good), town.xmpp(), from, to).await?
            };
            // One in four stays below the limit.
            let size = if number % 8 < 2 { LIMIT - 2 * PIECE } else { MIB };
            senders.push(Sender {
                peer: Peer::Xmpp(peer),
                begins: "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>".to_owned(),
                piece: "QUJD".repeat(PIECE / 4),
                pieces: size / PIECE,
            });
        }
        Ok(senders)
    };
    bounds(&town, [&limited, &raised], town.xmpp(), allowed(STREAMS, LIMIT), senders).await
}

/// The beginning of a request, with everything that it needs but its length.
const REQUEST: &str = "OPTIONS sip:contoso.com SIP/2.0\r\nVia: SIP/2.0/TLS x;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: <sip:x@contoso.com>;tag=1\r\nTo: <sip:contoso.com>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n";

#[tokio::test]
async fn sec_03_and_40_heads_of_strangers_take_no_more_memory_than_their_limit_allows() -> Result<()> {
    const CONNECTIONS: usize = 64;
    const LIMIT: usize = 64 * KIB;
    const RAISED: usize = MIB;
    let town = Town::found().await?;
    let limited = places("sip", CONNECTIONS);
    let raised = format!("{limited}\nsip.head = {RAISED}");
    let senders = async || {
        let mut senders = Vec::new();
        for number in 0..CONNECTIONS {
            let size = if number % 4 == 0 { LIMIT } else { RAISED };
            senders.push(Sender {
                peer: Peer::Sip(town.calls(None).await?),
                begins: REQUEST.to_owned(),
                piece: format!("X: {}\r\n", "x".repeat(PIECE - "X: \r\n".len())),
                pieces: size / PIECE - 1,
            });
        }
        Ok(senders)
    };
    bounds(&town, [&limited, &raised], town.sip(), allowed(CONNECTIONS, LIMIT), senders).await
}

#[tokio::test]
async fn sec_03_and_40_bodies_of_strangers_take_no_more_memory_than_their_limit_allows() -> Result<()> {
    const CONNECTIONS: usize = 16;
    const LIMIT: usize = 256 * KIB;
    const RAISED: usize = 8 * MIB;
    let town = Town::found().await?;
    let limited = places("sip", CONNECTIONS);
    let raised = format!("{limited}\nsip.body = {RAISED}");
    let senders = async || {
        let mut senders = Vec::new();
        for number in 0..CONNECTIONS {
            let size = if number % 4 == 0 { LIMIT } else { RAISED };
            senders.push(Sender {
                peer: Peer::Sip(town.calls(None).await?),
                begins: format!("{REQUEST}Content-Length: {size}\r\n\r\n"),
                piece: "x".repeat(16 * PIECE),
                pieces: size / (16 * PIECE) - 1,
            });
        }
        Ok(senders)
    };
    bounds(&town, [&limited, &raised], town.sip(), allowed(CONNECTIONS, LIMIT), senders).await
}

#[tokio::test]
async fn sec_03_and_40_what_a_partner_leaves_unfinished_takes_no_more_memory_than_his_limit_allows()
-> Result<()> {
    const STREAMS: usize = 16;
    const LIMIT: usize = 512 * KIB;
    const RAISED: usize = 8 * MIB;
    let town = Town::found().await?;
    // One place is kept for the other direction.
    let limited = format!("xmpp.connections_per_partner = {}\nxmpp.bytes_per_second = 0", STREAMS + 1);
    let raised = format!("{limited}\nxmpp.stanza = {RAISED}\nxmpp.lane_bytes = {RAISED}");
    let begins = from_carol("x", "");
    let begins = begins.strip_suffix("</body></message>").context("another form of message")?;
    let senders = async || {
        let mut senders = Vec::new();
        for number in 0..STREAMS {
            let size = if number % 4 == 0 { LIMIT } else { RAISED };
            senders.push(Sender {
                peer: Peer::Xmpp(town.wingtip_speaks().await?),
                begins: begins.to_owned(),
                piece: "b".repeat(16 * PIECE),
                pieces: size / (16 * PIECE) - 1,
            });
        }
        Ok(senders)
    };
    bounds(&town, [&limited, &raised], town.xmpp(), allowed(STREAMS, LIMIT), senders).await
}

/// A first message of TLS that says that 16 MiB are to come. Whoever reads it ends it, long before the time for handshakes does.
#[tokio::test]
async fn sec_03_a_handshake_that_never_ends_is_cut_off() -> Result<()> {
    const ENDLESS: usize = 16 * MIB;
    const RECORD: usize = 16 * KIB;
    let town = Town::found().await?;
    let _gateway = town.gateway("sip.handshake = \"60s\"\nxmpp.handshake = \"60s\"").await?;
    for listener in [town.sip(), town.xmpp(), town.direct()] {
        let mut tcp = TcpStream::connect(listener).await?;
        let record = |first: &[u8]| {
            // RFC 8446 §5.1: handshake, legacy version, length.
            let mut record = vec![22, 3, 1, 0x40, 0];
            record.extend_from_slice(first);
            record.resize(5 + RECORD, 0);
            record
        };
        // §4: ClientHello, length.
        let mut next = record(&[1, 0xff, 0xff, 0xff]);
        for _ in 0..ENDLESS / RECORD {
            if within("the gateway to read or to close", tcp.write_all(&next)).await?.is_err() {
                break;
            }
            next = record(&[]);
        }
        within("the gateway to close", tcp.read_to_end(&mut Vec::new())).await?.ok();
    }
    Ok(())
}
