//! What the machines around a dialog have to be told.

use std::time::{Duration, Instant};

use compact_str::CompactString;

/// What stands in every request of ours.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// `host[:port]` of our Via.
    pub sent_by: &'a str,
    /// `host[:port]` of our Contact: it must lead to this node.
    pub contact_host: &'a str,
    /// Further header fields, `User-Agent` for one.
    pub headers: &'a [(&'static str, String)],
}

/// Where fresh identifiers and chance come from.
pub trait Tokens {
    /// Never given before, not to be guessed, and a token by RFC 3261 §25.1: it becomes tag, Call-ID and branch.
    fn token(&mut self) -> CompactString;
    /// For jitter.
    fn random(&mut self) -> u64;
}

/// What comes with every input of a machine; `C` is its configuration.
pub struct Context<'a, C> {
    pub config: &'a C,
    pub tokens: &'a mut dyn Tokens,
    pub now: Instant,
}

impl<C> Context<'_, C> {
    /// A number in [0, 1).
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.tokens.random() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Evenly between the two.
    pub(crate) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + most.saturating_sub(least).mul_f64(self.fraction())
    }
}
