//! What a connection has to know.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{KeepAliveInterval, Merging};

/// Name and value of a header field made of who refuses, the status and the reason in words.
pub type Explain = fn(source: &str, status: u16, why: &str) -> (&'static str, String);

/// What a connection has to know.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// The other end, for `received` and `rport`.
    pub peer: SocketAddr,
    /// `host[:port]` in the Vias we send. Responses with another one are dropped (SIP-09).
    pub sent_by: String,
    /// Further names of ours: a request with a Via of any of them was ours (SIP-37).
    pub other_names: Arc<[String]>,
    /// Requests of the peer that may wait for our answer; one more gets 503 (SIP-35, SIP-50).
    pub max_pending_in: usize,
    /// Requests of ours that may wait for the peer's answer; one more is refused to the caller.
    pub max_pending_out: usize,
    /// Unwritten bytes at which [`Connection::is_congested`](super::Connection::is_congested) begins.
    pub max_backlog: usize,
    /// Option tags that a request may require; another one gets 420 (SIP-25).
    pub supported: &'static [&'static str],
    /// What is added to a refusal that the caller never sees, so that it explains itself.
    pub explain: Option<Explain>,
    /// Keep-alive pings (RFC 5626), only for connections we opened.
    pub keep_alive: Option<KeepAliveInterval>,
    /// `host[:port]` of the peer, if OPTIONS may be sent to it for the same end.
    pub probe: Option<String>,
    /// The requests under way on all connections that copies of one may come on; none: copies are not looked for.
    pub merging: Option<Arc<dyn Merging>>,
    /// Random bytes: they key the tables against chosen collisions and spread the pings.
    pub secret: [u8; 16],
}

impl ConnectionConfig {
    /// Defaults for everything that has one.
    pub fn new(peer: SocketAddr, sent_by: impl Into<String>, secret: [u8; 16]) -> Self {
        Self {
            peer,
            sent_by: sent_by.into(),
            other_names: Arc::default(),
            max_pending_in: 16 * 1024,
            max_pending_out: 16 * 1024,
            max_backlog: 4 * 1024 * 1024,
            supported: &[],
            explain: None,
            keep_alive: None,
            probe: None,
            merging: None,
            secret,
        }
    }
}
