//! Connections that come through a load balancer, which says whose they are (PROXY protocol, version 2).
//!
//! The header is taken from the socket to its last octet and no further, before TLS or anything else. From then on the
//! connection is that of the address in it: for limits, for the log, and as evidence.

pub mod header;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::config::Network;
use header::{FIXED, Header, Progress, Refusal};

/// The load balancers of a listener.
#[derive(Debug, Clone)]
pub struct Proxies {
    networks: Vec<Network>,
    patience: Duration,
}

/// Why it is not known whose connection it is.
#[derive(Debug)]
pub enum Unknown {
    /// What came is no such header.
    Refused(Refusal),
    /// The connection ended.
    Ended(io::Error),
    /// It took too long.
    Late(Duration),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "it sent {refusal}"),
            Self::Ended(error) => write!(f, "it ended before its PROXY protocol header was there: {error}"),
            Self::Late(patience) => write!(f, "its PROXY protocol header took longer than {patience:?}"),
        }
    }
}

impl Proxies {
    /// Those in `networks`, which have to say it within `patience`; `None`: there are none, peers connect themselves.
    pub fn new(networks: Vec<Network>, patience: Duration) -> Option<Self> {
        (!networks.is_empty()).then_some(Self { networks, patience })
    }

    /// Whether whoever connects from `address` may say whose connection it is.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Whose connection it is, as the load balancer at `proxy` says: his own, if he only looks whether we are there.
    ///
    /// # Errors
    /// He does not say it.
    pub async fn whose(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        proxy: SocketAddr,
    ) -> Result<SocketAddr, Unknown> {
        let read = timeout(self.patience, read(stream));
        match read.await.map_err(|_| Unknown::Late(self.patience))?? {
            Header::Local => Ok(proxy),
            Header::Proxied { source, .. } => Ok(source),
        }
    }
}

/// Reads the header and not one octet more.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, Unknown> {
    let mut octets: Vec<u8> = Vec::with_capacity(FIXED);
    loop {
        match header::read(&octets).map_err(Unknown::Refused)? {
            Progress::Done(header) => return Ok(header),
            Progress::Needs(more) => {
                let limit = u64::try_from(more).unwrap_or(u64::MAX);
                let taken = (&mut *stream).take(limit).read_buf(&mut octets).await.map_err(Unknown::Ended)?;
                if taken == 0 {
                    return Err(Unknown::Ended(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::config::Text as _;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// 203.0.113.7:40122 to 192.0.2.10:5269.
    const HEADER: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\xc0\x00\x02\x0a\x9c\xba\x14\x95";

    fn proxies() -> Proxies {
        Proxies::new(vec![Network::parse("10.0.0.0/8").unwrap()], PATIENCE).unwrap()
    }

    fn proxy() -> SocketAddr {
        ([10, 0, 0, 1], 50_000).into()
    }

    #[tokio::test]
    async fn what_comes_behind_the_header_is_left_for_whoever_reads_next() {
        for cut in 0..HEADER.len() {
            let (mut ours, mut theirs) = tokio::io::duplex(4096);
            let all = [HEADER, b"<?xml"].concat();
            let write = async {
                theirs.write_all(&all[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                theirs.write_all(&all[cut..]).await.unwrap();
            };
            let proxies = proxies();
            let (client, ()) = tokio::join!(proxies.whose(&mut ours, proxy()), write);
            assert_eq!(client.unwrap(), ([203, 0, 113, 7], 40122).into(), "cut at {cut}");
            let mut rest = [0; 5];
            ours.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"<?xml", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_load_balancer_that_speaks_for_itself_has_its_own_address() {
        let local = [&header::SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(proxies().whose(&mut &local[..], proxy()).await.unwrap(), proxy());
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let hasty = Proxies { patience: Duration::from_millis(1), ..proxies() };
        let late = hasty.whose(&mut ours, proxy()).await;
        assert!(matches!(late, Err(Unknown::Late(_))), "{late:?}");
        drop(theirs);
        let ended = proxies().whose(&mut ours, proxy()).await;
        assert!(matches!(ended, Err(Unknown::Ended(_))), "{ended:?}");
    }

    #[test]
    fn only_who_is_listed_may_say_it() {
        assert!(proxies().trusts(proxy().ip()));
        assert!(!proxies().trusts([203, 0, 113, 7].into()));
        assert!(Proxies::new(Vec::new(), PATIENCE).is_none());
    }
}
