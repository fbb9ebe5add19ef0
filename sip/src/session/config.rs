//! What sessions have to be told.

use std::net::IpAddr;
use std::time::Duration;

use crate::dialog::{self, Origin};

/// What comes with every input.
pub type Context<'a> = dialog::Context<'a, SessionConfig>;

/// Settings shared by all sessions; nothing of it is kept in any of them.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// `host[:port]` of our Via.
    pub sent_by: String,
    /// `host[:port]` of our Contact: it must lead to this node.
    pub contact_host: String,
    /// Further header fields of every request, `User-Agent` for one.
    pub headers: Vec<(&'static str, String)>,
    /// For form's sake in descriptions: messages never go there.
    pub address: IpAddr,
    /// The value of Allow.
    pub allow: &'static str,
    /// Media types we read; they stand in our descriptions.
    pub reads: Vec<&'static str>,
    /// How long an INVITE may wait for its answer before it is cancelled. A Lync user with several clients may take 30 s.
    pub answer_within: Duration,
    /// A session without messages ends after that (CH-05).
    pub idle: Duration,
    /// The shortest session interval we go along with, in seconds, not less than
    /// [`LEAST_INTERVAL`](super::LEAST_INTERVAL) (RFC 4028 §5).
    pub min_interval: u32,
    /// A longer one is made this long, in seconds.
    pub max_interval: u32,
}

impl SessionConfig {
    /// With the defaults.
    pub fn new(sent_by: impl Into<String>, contact_host: impl Into<String>, address: IpAddr) -> Self {
        Self {
            sent_by: sent_by.into(),
            contact_host: contact_host.into(),
            headers: Vec::new(),
            address,
            allow: "INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, UPDATE, OPTIONS",
            reads: vec!["text/plain"],
            answer_within: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            min_interval: super::LEAST_INTERVAL,
            max_interval: 1800,
        }
    }

    /// What of it stands in every request.
    pub fn origin(&self) -> Origin<'_> {
        Origin { sent_by: &self.sent_by, contact_host: &self.contact_host, headers: &self.headers }
    }
}
