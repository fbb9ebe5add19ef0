//! CRLF keep-alive of a connection we opened (RFC 5626 §4.4.1, §5.4; SIP-12).

use std::time::{Duration, Instant};

use super::Jitter;

/// Pings go out this far apart: each interval is drawn anew from `min..max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAliveInterval {
    pub min: Duration,
    pub max: Duration,
}

impl Default for KeepAliveInterval {
    /// 95–120 s (RFC 5626 §4.4.1).
    fn default() -> Self {
        Self { min: Duration::from_secs(95), max: Duration::from_secs(120) }
    }
}

/// No answer to a ping for this long: the connection is dead (RFC 5626 §4.4.1).
pub const PONG_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: KeepAliveInterval,
    jitter: Jitter,
    state: State,
    /// The peer has answered a ping with a pong before. Keep-alive is not negotiated on these
    /// connections, so silence means something only from a peer that knows how to answer.
    ponged: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    PingAt(Instant),
    PongBy(Instant),
    /// Dead, or a peer that does not know keep-alive: nothing is sent any more.
    Over,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    Dead,
}

impl KeepAlive {
    pub(super) fn new(interval: KeepAliveInterval, seed: u64, now: Instant) -> Self {
        let mut keep_alive =
            Self { interval, jitter: Jitter::new(seed), state: State::PingAt(now), ponged: false };
        keep_alive.rest(now);
        keep_alive
    }

    /// A pong arrived.
    pub(super) fn pong(&mut self, now: Instant) {
        self.ponged |= matches!(self.state, State::PongBy(_));
        self.heard(now);
    }

    /// Something complete arrived. A pong is what RFC 5626 asks for; a whole message behind our ping
    /// proves just as well that the peer is there, and peers that know no pong need not be cut off
    /// while they talk.
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::PongBy(_) = self.state {
            self.rest(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::PingAt(at) | State::PongBy(at) => Some(at),
            State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        match self.state {
            State::PingAt(at) if at <= now => {
                self.state = State::PongBy(now + PONG_WITHIN);
                Some(Due::Ping)
            }
            State::PongBy(by) if by <= now => {
                self.state = State::Over;
                self.ponged.then_some(Due::Dead)
            }
            _ => None,
        }
    }

    fn rest(&mut self, now: Instant) {
        let spread = self.interval.max.saturating_sub(self.interval.min);
        let wait = self.interval.min + spread.mul_f64(self.jitter.fraction());
        self.state = State::PingAt(now + wait);
    }
}
