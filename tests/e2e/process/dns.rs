//! A DNS server for one test: a few records over UDP.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const A: u16 = 1;
const SRV: u16 = 33;

/// The records of a test.
#[derive(Default)]
pub(crate) struct Zone(HashMap<(String, u16), Vec<Vec<u8>>>);

impl Zone {
    /// One more address of a host.
    pub(crate) fn host(mut self, name: &str, address: Ipv4Addr) -> Self {
        self.0.entry((name.to_owned(), A)).or_default().push(address.octets().to_vec());
        self
    }

    /// An XMPP service for `domain` on `host`, tried after those added before.
    pub(crate) fn xmpp(self, domain: &str, host: &str, port: u16) -> Self {
        self.service("_xmpp-server", domain, host, port)
    }

    /// The same with Direct TLS.
    pub(crate) fn xmpps(self, domain: &str, host: &str, port: u16) -> Self {
        self.service("_xmpps-server", domain, host, port)
    }

    /// A service for `domain` on `host`, tried after those added before.
    pub(crate) fn service(mut self, service: &str, domain: &str, host: &str, port: u16) -> Self {
        let services = self.0.entry((format!("{service}._tcp.{domain}"), SRV)).or_default();
        let mut data = vec![0, u8::try_from(services.len()).unwrap(), 0, 0];
        data.extend(port.to_be_bytes());
        for label in host.split('.') {
            data.push(u8::try_from(label.len()).unwrap());
            data.extend_from_slice(label.as_bytes());
        }
        data.push(0);
        services.push(data);
        self
    }
}

pub(crate) struct Dns {
    task: JoinHandle<()>,
    silent: Arc<AtomicBool>,
}

impl Dns {
    pub(crate) async fn serve(zone: Zone, address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let silent = Arc::new(AtomicBool::new(false));
        let says_nothing = Arc::clone(&silent);
        let task = tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((size, client)) = socket.recv_from(&mut packet).await {
                if !says_nothing.load(Ordering::Relaxed)
                    && let Some(answer) = answer(&zone, &packet[..size])
                {
                    let _ = socket.send_to(&answer, client).await;
                }
            }
        });
        Ok(Self { task, silent })
    }

    /// From now on questions go unanswered, or not any more.
    pub(crate) fn silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(zone: &Zone, query: &[u8]) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        let label = query.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&std::str::from_utf8(label).ok()?.to_ascii_lowercase());
    }
    let question = query.get(12..at + 4)?;
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let data = zone.0.get(&(name.clone(), kind));
    let known = zone.0.keys().any(|(owner, _)| *owner == name);
    let mut out = query.get(..2)?.to_vec();
    let count = u8::try_from(data.map_or(0, Vec::len)).ok()?;
    out.extend([0x85, if known { 0x80 } else { 0x83 }, 0, 1, 0, count, 0, 0, 0, 0]);
    out.extend_from_slice(question);
    for data in data.into_iter().flatten() {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend_from_slice(data);
    }
    Some(out)
}
