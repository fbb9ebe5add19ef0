//! What the machines have to be told.

use std::time::Duration;

use super::Extras;
use crate::dialog::{self, Origin};

/// What comes with every input.
pub type Context<'a> = dialog::Context<'a, EventConfig>;

/// Settings shared by all subscriptions; nothing of it is kept in any of them.
#[derive(Clone, Debug)]
pub struct EventConfig {
    /// The event package.
    pub package: &'static str,
    /// `host[:port]` of our Via.
    pub sent_by: String,
    /// `host[:port]` of our Contact: it must lead to this node.
    pub contact_host: String,
    /// Further header fields of every request, `User-Agent` for one.
    pub headers: Vec<(&'static str, String)>,
    /// As subscriber: media types we read, in order of preference. They become our Accept.
    pub reads: Vec<&'static str>,
    /// As subscriber: seconds we ask for.
    pub expires: u32,
    /// As subscriber: the longest Min-Expires, in seconds, that we go along with.
    pub longest_expires: u32,
    /// As notifier: media types we write, in order of preference.
    pub writes: Vec<&'static str>,
    /// As notifier: the media type for a watcher that names none (RFC 3856 §6.7).
    pub default_media: &'static str,
    /// As notifier: seconds for a watcher that names none (RFC 3856 §6.4).
    pub default_expires: u32,
    /// As notifier: seconds below which we answer 423, where that is allowed (PR-39).
    pub min_expires: u32,
    /// As notifier: seconds we grant at most.
    pub max_expires: u32,
    /// As notifier: at most one NOTIFY per subscription in this time (PR-42). The first one, the one after a refresh
    /// and the last one do not wait for it.
    pub notify_interval: Duration,
    /// As notifier: what of Lync's is given to who asks for it.
    pub gives: Extras,
}

impl EventConfig {
    /// What of it stands in every request.
    pub fn origin(&self) -> Origin<'_> {
        Origin { sent_by: &self.sent_by, contact_host: &self.contact_host, headers: &self.headers }
    }

    /// `presence` with the defaults of RFC 3856.
    pub fn presence(sent_by: impl Into<String>, contact_host: impl Into<String>) -> Self {
        const PIDF: &str = "application/pidf+xml";
        Self {
            package: "presence",
            sent_by: sent_by.into(),
            contact_host: contact_host.into(),
            headers: Vec::new(),
            reads: vec![PIDF],
            expires: 3600,
            longest_expires: 24 * 3600,
            writes: vec![PIDF],
            default_media: PIDF,
            default_expires: 3600,
            min_expires: 60,
            max_expires: 8 * 3600,
            notify_interval: Duration::from_secs(5),
            gives: Extras::ALL,
        }
    }
}
