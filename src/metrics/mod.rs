//! Metrics: what the gateway holds and has counted, as Prometheus and its like read it.
//!
//! A family ([`catalog`]) has a name, a kind, a unit and a sentence; `gather` fills it from the gateway at the moment
//! somebody asks, and `exposition` writes it down. Label values come from the configuration and from lists in the program
//! only: whoever is on the other side cannot make one. What is counted for each message is counted in
//! `gateway/tally.rs`; nothing here runs unless somebody asks.
//!
//! The writer is our own: the numbers are in atomics and machines of ours already, so a registry of a library would hold them
//! a second time, look labels up under a lock for each message, and leave the same work at the time of asking.

pub mod catalog;
mod exposition;
mod gather;
mod process;
pub mod reference;

use std::time::UNIX_EPOCH;

use nuncio_translate::Moment;

pub use exposition::Format;

use crate::gateway::Gateway;
use crate::health::Ready;
use crate::tls::IdentityStore;

/// What metrics are made of.
pub struct Sources<'a> {
    pub gateway: &'a Gateway,
    pub certificates: &'a [Certificate],
    pub ready: &'a Ready,
}

/// One of our certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `sip`, `xmpp` or `control`.
    pub side: &'static str,
    /// What it is for: a domain, or a name of ours on the SIP side.
    pub name: String,
    /// Seconds of Unix time.
    pub not_after: u64,
}

/// The certificates of one side, by what each is for. One that is for everything else is there under its subject's name.
pub fn certificates(side: &'static str, identities: &IdentityStore) -> Vec<Certificate> {
    let one = |(name, identity): (String, std::sync::Arc<crate::tls::Identity>)| {
        let until = identity.certificate().not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        Certificate { side, name, not_after: until.as_secs() }
    };
    identities.named().into_iter().map(one).collect()
}

/// Writes everything. Walks all pairs ([`Gateway::measures`]): for a few times a minute, and off the threads that carry
/// messages.
pub fn render(sources: &Sources<'_>, format: Format, now: Moment) -> String {
    gather::all(sources, format, now)
}
