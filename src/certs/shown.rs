//! Which certificate a listener of ours shows now: whoever replaces one wants to see it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;

use super::Side;
use crate::config::Config;
use crate::net::listener::connect;
use crate::tls::{self, ClientTls, PeerCertificate};

/// Longest time for a connection to a listener, and again for the handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a listener showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This certificate.
    Certificate(Box<PeerCertificate>),
    /// Nobody listens there, or not to us.
    NoConnection(String),
    /// There was no handshake.
    NoHandshake(String),
}

/// Asks whoever listens at an address for the certificate of a name. Nothing else is said, and nothing judged.
pub async fn see(side: Side, address: SocketAddr, name: &str) -> Seen {
    let stream = match connect(address, None, PATIENCE).await {
        Ok(stream) => stream,
        Err(error) => return Seen::NoConnection(error.to_string()),
    };
    let client = match ClientTls::new() {
        Ok(client) => client,
        Err(error) => return Seen::NoHandshake(error.to_string()),
    };
    let handshake = async {
        match side {
            Side::Sip | Side::Control => tls::connect(stream, &client, name, None).await,
            // Every listener for partners takes TLS from the first byte.
            Side::Xmpp => tls::connect_direct(stream, &client, name, None).await,
        }
    };
    match timeout(PATIENCE, handshake).await {
        Ok(Ok((_, facts))) => match facts.certificate() {
            Some(certificate) => Seen::Certificate(Box::new(certificate.clone())),
            None => Seen::NoHandshake("it showed no certificate that can be read".to_owned()),
        },
        Ok(Err(error)) => Seen::NoHandshake(error.to_string()),
        Err(_) => Seen::NoHandshake(format!("the handshake took longer than {PATIENCE:?}")),
    }
}

/// Where the listeners of a side are reached from this machine.
pub fn listening(config: &Config, side: Side) -> Vec<SocketAddr> {
    let binds: Vec<SocketAddr> = match side {
        Side::Sip => config.sip.listeners.iter().map(|listener| listener.bind).collect(),
        Side::Xmpp => config.xmpp.listeners.iter().map(|listener| listener.bind).collect(),
        Side::Control => config.control.remote.iter().map(|remote| remote.listen).collect(),
    };
    let reached = |bind: SocketAddr| {
        let address = match bind.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            address => address,
        };
        SocketAddr::new(address, bind.port())
    };
    binds.into_iter().map(reached).collect()
}
