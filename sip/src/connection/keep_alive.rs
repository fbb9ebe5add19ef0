//! Keep-alive of a connection we opened: CRLF (RFC 5626 §4.4.1, §5.4; SIP-12), and OPTIONS (SIP-32) for peers that answer no
//! CRLF, as Lync servers need not.
//!
//! The first sign of life is OPTIONS, if they may be sent: it also says that the peer may use the connection (RFC 5923), and
//! asks how often it wants to hear of us. From then on it is CRLF; if nothing comes back on that, OPTIONS. A peer that knows
//! neither is left in peace.

use std::time::{Duration, Instant};

use super::{Jitter, TIMER_F};

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

/// No answer to OPTIONS for this long: the connection is dead (Timer F).
pub const ANSWER_WITHIN: Duration = TIMER_F;

/// Pings go out no oftener than this, whatever the peer asks for.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct KeepAlive {
    interval: KeepAliveInterval,
    jitter: Jitter,
    state: State,
    /// The peer has answered a ping with a pong before. Keep-alive is not negotiated on these
    /// connections, so silence means something only from a peer that knows how to answer.
    ponged: bool,
    /// What OPTIONS are good for.
    probes: Probes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probes {
    /// Nothing: none may be sent, or the first one had no answer.
    None,
    /// One goes before the first ping.
    First,
    /// They are answered.
    Answered,
    /// They are answered, and pings are not: they take their place.
    Instead,
}

#[derive(Clone, Copy, Debug)]
enum State {
    PingAt(Instant),
    PongBy(Instant),
    AnswerBy(Instant),
    /// Dead, or a peer that does not know keep-alive: nothing is sent any more.
    Over,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// OPTIONS; its answer is for [`KeepAlive::answered`].
    Probe,
    Dead,
}

impl KeepAlive {
    /// `probes`: whether OPTIONS may be sent as well.
    pub(super) fn new(interval: KeepAliveInterval, probes: bool, seed: u64, now: Instant) -> Self {
        let mut keep_alive = Self {
            interval,
            jitter: Jitter::new(seed),
            state: State::PingAt(now),
            ponged: false,
            probes: if probes { Probes::First } else { Probes::None },
        };
        keep_alive.rest(now);
        keep_alive
    }

    /// A pong arrived.
    pub(super) fn pong(&mut self, now: Instant) {
        self.ponged |= matches!(self.state, State::PongBy(_));
        self.heard(now);
    }

    /// Our OPTIONS got its final response. `timeout` is how long the peer waits for a sign of life, if it says so.
    pub(super) fn answered(&mut self, timeout: Option<Duration>, now: Instant) {
        if let Some(timeout) = timeout {
            // In good time: the last ping that the peer waits for may be on its way.
            let max = (timeout * 3 / 4).clamp(SHORTEST_INTERVAL, self.interval.max.max(SHORTEST_INTERVAL));
            let min = self.interval.min.min(max * 4 / 5).clamp(SHORTEST_INTERVAL, max);
            self.interval = KeepAliveInterval { min, max };
        }
        if self.probes == Probes::First {
            self.probes = Probes::Answered;
        }
        self.heard(now);
        // The interval may be another one now.
        if let State::PingAt(_) = self.state {
            self.rest(now);
        }
    }

    /// Something complete arrived. A pong is what RFC 5626 asks for; a whole message behind our ping
    /// proves just as well that the peer is there, and peers that know no pong need not be cut off
    /// while they talk.
    pub(super) fn heard(&mut self, now: Instant) {
        if let State::PongBy(_) | State::AnswerBy(_) = self.state {
            self.rest(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::PingAt(at) | State::PongBy(at) | State::AnswerBy(at) => Some(at),
            State::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        match self.state {
            State::PingAt(at) if at <= now => Some(match self.probes {
                Probes::First | Probes::Instead => {
                    self.state = State::AnswerBy(now + ANSWER_WITHIN);
                    Due::Probe
                }
                Probes::None | Probes::Answered => {
                    self.state = State::PongBy(now + PONG_WITHIN);
                    Due::Ping
                }
            }),
            State::PongBy(by) if by <= now => match (self.ponged, self.probes) {
                (true, _) => self.dead(),
                (false, Probes::Answered) => {
                    self.probes = Probes::Instead;
                    self.rest(now);
                    None
                }
                (false, _) => {
                    self.state = State::Over;
                    None
                }
            },
            State::AnswerBy(by) if by <= now => match self.probes {
                Probes::Instead => self.dead(),
                _ => {
                    self.probes = Probes::None;
                    self.rest(now);
                    None
                }
            },
            _ => None,
        }
    }

    fn dead(&mut self) -> Option<Due> {
        self.state = State::Over;
        Some(Due::Dead)
    }

    fn rest(&mut self, now: Instant) {
        let spread = self.interval.max.saturating_sub(self.interval.min);
        let wait = self.interval.min + spread.mul_f64(self.jitter.fraction());
        self.state = State::PingAt(now + wait);
    }
}
