//! What can be set about a pair's presence.

use std::time::Duration;

use compact_str::CompactString;

use crate::diagnostics::Form;

/// Settings of presence, the same for all pairs.
#[derive(Debug, Clone)]
pub struct PresenceConfig {
    /// For how long a subscription at a front end is kept without evidence that the contact still wants it
    /// (DEC-07).
    pub interest: Duration,
    /// For how long a request is kept that the SIP user has to answer by adding the contact.
    pub kept: Duration,
    /// Most subscriptions that the endpoints of the SIP user may hold in one pair. One more ends the oldest.
    pub endpoints: usize,
    /// How long a request of the SIP user may find no way to the partner before its subscriptions end.
    pub give_up: Duration,
    /// After which time an endpoint whose subscription ended so may try again.
    pub retry_after: Duration,
    /// How long a contact whose presence was asked for may be silent before he counts as unknown.
    pub answer: Duration,
    /// How long a subscription at a front end may be gone before the contact is told that the SIP user is
    /// unavailable (XI-09).
    pub grace: Duration,
    /// At most one fetch of the SIP user's presence in this time, however often the contact asks (PR-13).
    pub fetch_interval: Duration,
    /// After which silence of an available contact he is asked again (XI-10).
    pub silence: Duration,
    /// How long the partner may be out of reach after its streams were lost before its contacts count as unknown
    /// (XI-10).
    pub outage: Duration,
    /// Whether idle times cross (PM-26).
    pub idle: bool,
    /// Whether contacts whose addresses mix scripts may ask to see SIP users (SEC-13).
    pub mixed_scripts: bool,
    /// Our key of the names under which public partners see resources.
    pub veil: [u8; 16],
    /// The front ends, by name, that are an edge: what they are told of reasons crosses a border.
    pub edges: Vec<CompactString>,
}

impl PresenceConfig {
    /// In which form this front end is told of reasons.
    pub(super) fn diagnostics_for(&self, front_end: &str) -> Form {
        if self.edges.iter().any(|edge| edge == front_end) { Form::Public } else { Form::Inward }
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            interest: Duration::from_secs(24 * HOUR),
            kept: Duration::from_secs(30 * 24 * HOUR),
            endpoints: 8,
            give_up: Duration::from_secs(HOUR),
            retry_after: Duration::from_secs(HOUR),
            answer: Duration::from_secs(30),
            grace: Duration::from_secs(300),
            fetch_interval: Duration::from_secs(30),
            silence: Duration::from_secs(12 * HOUR),
            outage: Duration::from_secs(300),
            idle: false,
            mixed_scripts: false,
            veil: [0; 16],
            edges: Vec::new(),
        }
    }
}
