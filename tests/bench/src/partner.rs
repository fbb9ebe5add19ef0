//! Streams of partners, negotiated by the machines of `nuncio-xmpp`: what comes after is bytes.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::{
    ChainStatus, Inbound, InboundConfig, Outbound, OutboundConfig, Output, PartnerVerdict, PresentedName,
    StreamIds, Terms, TlsFacts,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::job::SIP_DOMAIN;
use crate::tls::Tls;

/// What follows on a stream is looked at as bytes: each goes one way, with pings and without acknowledgements.
const TERMS: Terms = Terms { both_ways: false, management: false, ..Terms::CERTIFICATES };

/// An established stream, ready for stanzas in its one direction.
pub(crate) struct Stream {
    pub(crate) tls: TlsStream<TcpStream>,
    /// The domain of ours.
    pub(crate) local: String,
    /// Answers may go back on it (XEP-0288).
    pub(crate) both_ways: bool,
}

/// Opens a stream to the gateway.
pub(crate) async fn dial(tls: &Tls, gateway: SocketAddr, local: &str) -> Result<Stream> {
    let (local, remote) = (Domain::parse(local)?, Domain::parse(SIP_DOMAIN)?);
    let config = OutboundConfig { terms: TERMS, ..OutboundConfig::new(local.clone(), remote) };
    let mut machine = Outbound::new(config, Instant::now());
    let mut tcp =
        TcpStream::connect(gateway).await.with_context(|| format!("cannot connect to {gateway}"))?;
    tcp.set_nodelay(true)?;
    ensure!(negotiate(&mut tcp, &mut machine, TERMS).await?.is_none(), "no TLS on a stream");
    let mut stream = tls.connect(tcp, SIP_DOMAIN).await?;
    machine.tls_established(facts(SIP_DOMAIN), Instant::now());
    let (_, both_ways) = negotiate(&mut stream, &mut machine, TERMS).await?.context("a second STARTTLS")?;
    Ok(Stream { tls: stream, local: local.as_str().to_owned(), both_ways })
}

/// Takes a stream of the gateway, for whatever domain it asks for.
pub(crate) async fn accept(tls: &Tls, tcp: TcpStream, served: &[Domain], number: u64) -> Result<Stream> {
    accept_on(TERMS, tls, tcp, served, number).await
}

/// The same of one that may go both ways.
pub(crate) async fn accept_both_ways(
    tls: &Tls,
    tcp: TcpStream,
    served: &[Domain],
    number: u64,
) -> Result<Stream> {
    accept_on(Terms { both_ways: true, ..TERMS }, tls, tcp, served, number).await
}

async fn accept_on(
    terms: Terms,
    tls: &Tls,
    mut tcp: TcpStream,
    served: &[Domain],
    number: u64,
) -> Result<Stream> {
    tcp.set_nodelay(true)?;
    let id = |step: u8| format!("bench{number}.{step}").into();
    let config = InboundConfig::new(served.into());
    let mut machine = Inbound::new(config, StreamIds([id(0), id(1), id(2)]), Instant::now());
    ensure!(negotiate(&mut tcp, &mut machine, terms).await?.is_none(), "no TLS on a stream");
    let mut stream = tls.accept(tcp).await?;
    machine.tls_established(facts(SIP_DOMAIN), Instant::now());
    let (local, both_ways) =
        negotiate(&mut stream, &mut machine, terms).await?.context("a second STARTTLS")?;
    Ok(Stream { tls: stream, local, both_ways })
}

/// Runs a machine until TLS is to start (`None`) or the stream is established (its local domain, and whether it goes both ways).
async fn negotiate<S, M>(stream: &mut S, machine: &mut M, terms: Terms) -> Result<Option<(String, bool)>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
{
    let (mut chunk, mut out) = (vec![0; 8 * 1024], Vec::new());
    loop {
        let mut next = None;
        while let Some(output) = machine.poll() {
            match output {
                Output::StartTls => next = Some(None),
                Output::Established(established) => {
                    next = Some(Some((established.local.as_str().to_owned(), established.both_ways)));
                }
                Output::AskPartner { .. } => machine.welcome(terms),
                Output::Closed(why) => bail!("the stream ended: {why}"),
                other => bail!("{other:?} while a stream is negotiated"),
            }
        }
        machine.transmit(&mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if let Some(next) = next {
            return Ok(next);
        }
        let size = stream.read(&mut chunk).await?;
        ensure!(size > 0, "the gateway closed a stream that was being negotiated");
        machine.receive(chunk.get(..size).unwrap_or_default());
    }
}

/// What both machines have in common.
trait Machine {
    fn receive(&mut self, bytes: &[u8]);
    fn transmit(&mut self, out: &mut Vec<u8>);
    fn poll(&mut self) -> Option<Output>;
    fn welcome(&mut self, terms: Terms);
}

impl Machine for Outbound {
    fn receive(&mut self, bytes: &[u8]) {
        Self::receive(self, bytes, Instant::now());
    }

    fn transmit(&mut self, out: &mut Vec<u8>) {
        Self::transmit(self, out);
    }

    fn poll(&mut self) -> Option<Output> {
        Self::poll(self)
    }

    fn welcome(&mut self, _: Terms) {}
}

impl Machine for Inbound {
    fn receive(&mut self, bytes: &[u8]) {
        Self::receive(self, bytes, Instant::now());
    }

    fn transmit(&mut self, out: &mut Vec<u8>) {
        Self::transmit(self, out);
    }

    fn poll(&mut self) -> Option<Output> {
        Self::poll(self)
    }

    fn welcome(&mut self, terms: Terms) {
        self.partner_verdict(PartnerVerdict::Allowed(terms), Instant::now());
    }
}

/// The TLS layer has judged the gateway's certificate already.
fn facts(domain: &str) -> TlsFacts {
    TlsFacts {
        chain: ChainStatus::Trusted,
        names: [PresentedName::Dns(domain.into())].into(),
        protocol: "TLSv1.3".into(),
        cipher: String::new().into(),
        expires_ms: None,
    }
}
