//! What a group of next hops has to know.

use std::time::Duration;

/// What a group has to know.
#[derive(Clone, Debug)]
pub struct HopConfig {
    /// How long a request may wait to be sent.
    pub hold: Duration,
    /// Requests that may wait for their answer on the connection; further ones are held. No more than
    /// [`ConnectionConfig::max_pending_out`](crate::connection::ConnectionConfig::max_pending_out).
    pub window: usize,
    /// Requests the group takes, held and sent together.
    pub max_requests: usize,
    /// Bytes of all requests the group takes.
    pub max_bytes: usize,
    /// Wait after the first round in which every next hop failed; it doubles with each further one …
    pub backoff_first: Duration,
    /// … up to this.
    pub backoff_cap: Duration,
    /// A connection that ends sooner, and without any response, counts as a failed one.
    pub stable_after: Duration,
    /// How long a next hop that answered 503 without Retry-After is left alone while there are others.
    pub avoid: Duration,
    /// The longest Retry-After that is obeyed.
    pub avoid_cap: Duration,
    /// How often it is looked whether a next hop that is preferred to the one in use can be reached (fail-back). The wait
    /// doubles with each that takes the connection and then does not answer, up to [`FAIL_BACK_CAP`] times.
    pub fail_back: Duration,
}

/// Attempts to connect that have to find room within [`HopConfig::hold`], as long as there is somebody else to try.
pub const ATTEMPTS_PER_HOLD: u32 = 3;

/// How much longer the wait for the next fail-back gets at most.
pub const FAIL_BACK_CAP: u32 = 16;

impl HopConfig {
    /// How long an attempt may take while there is somebody else to try: what waits for it has to get there in time.
    pub fn attempt(&self) -> Duration {
        self.hold / ATTEMPTS_PER_HOLD
    }
}

impl Default for HopConfig {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(10),
            window: 16 * 1024,
            max_requests: 64 * 1024,
            max_bytes: 64 * 1024 * 1024,
            backoff_first: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(30),
            stable_after: Duration::from_secs(5),
            avoid: Duration::from_secs(5),
            avoid_cap: Duration::from_secs(60),
            fail_back: Duration::from_secs(60),
        }
    }
}
