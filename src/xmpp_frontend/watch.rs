//! A quiet stream: what its session remembers beside the machine that watches it.

use std::time::Instant;

use nuncio_xmpp::lane::LaneCounters;
use nuncio_xmpp::stream::{Alive, Quiet, Sign};

/// Why a stream is closed on which the partner gave no sign of life.
pub(super) const NO_LIFE: &str =
    "nothing came from the partner for as long as limits.xmpp.keep_alive allows, nor when it was asked";
/// The same, for the partner.
pub(super) const NO_LIFE_TOLD: &str = "no sign of life from you";

/// Watches one established stream, and the lane that shows whether the partner lives.
#[derive(Debug)]
pub(super) struct Watch {
    alive: Alive,
    /// White space is to be written.
    space: bool,
    /// What the lane had counted when it was looked at last.
    seen: Option<LaneCounters>,
    /// The stream was closed for want of life.
    given_up: bool,
}

/// What a quiet stream asks of its session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Ask the partner for a sign of life, on the lane to it.
    Probe,
    /// Close with `connection-timeout`.
    GiveUp,
    /// The same had no effect: end the connection.
    Abort,
    /// Close in good order if nothing is under way.
    Close,
}

impl Watch {
    pub(super) fn new(quiet: Quiet, idle_seconds: Option<u32>, now: Instant) -> Self {
        let alive = Alive::new(quiet, idle_seconds, now);
        Self { alive, space: false, seen: None, given_up: false }
    }

    /// Bytes of the partner came on this stream.
    pub(super) fn heard(&mut self, now: Instant) {
        self.alive.heard(now);
    }

    /// A message, or presence, of the partner came on this stream.
    pub(super) fn active(&mut self, now: Instant) {
        self.alive.active(now);
    }

    /// What the lane on this stream has counted: answers of the partner, on whatever stream, and what was sent.
    pub(super) fn look(&mut self, counters: LaneCounters, now: Instant) {
        let seen = self.seen.replace(counters).unwrap_or(counters);
        if counters.proofs != seen.proofs {
            self.alive.heard(now);
        }
        if counters.sent != seen.sent {
            self.alive.active(now);
        }
    }

    /// The same for a stream that carries no lane: what it was asked, the partner may have answered on another stream.
    pub(super) fn look_aside(&mut self, counters: LaneCounters, now: Instant) {
        let seen = self.seen.replace(counters).unwrap_or(counters);
        if counters.proofs != seen.proofs && self.alive.is_probed() {
            self.alive.heard(now);
        }
    }

    /// Appends white space if it is due.
    pub(super) fn write(&mut self, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.space) {
            output.push(b' ');
        }
    }

    /// Something was written on the stream.
    pub(super) fn wrote(&mut self, now: Instant) {
        self.alive.wrote(now);
    }

    pub(super) fn deadline(&self) -> Instant {
        self.alive.deadline()
    }

    /// What is due; to be asked until it is `None`.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Ask> {
        while let Some(sign) = self.alive.handle_timeout(now) {
            match sign {
                Sign::Whitespace => self.space = true,
                Sign::Probe => {
                    self.space = true;
                    return Some(Ask::Probe);
                }
                Sign::Dead if self.given_up => return Some(Ask::Abort),
                Sign::Dead => {
                    self.given_up = true;
                    return Some(Ask::GiveUp);
                }
                Sign::Idle => return Some(Ask::Close),
            }
        }
        None
    }
}
