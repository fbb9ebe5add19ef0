//! Whether the peer of a quiet stream is still there, and whether the stream is still needed (RFC 6120 §4.6).

use std::time::{Duration, Instant};

/// Times of a quiet stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// `None`: keep-alive is off, so nothing is sent to keep the stream alive, and no life is expected.
    pub keep_alive: Option<KeepAlive>,
    /// A stream without a stanza for this long is closed.
    pub inactivity: Duration,
}

/// When the peer is asked for a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// After so long without a byte of the peer.
    pub silence: Duration,
    /// It has so long to answer; any byte will do.
    pub answer: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { silence: Duration::from_secs(300), answer: Duration::from_secs(60) }
    }
}

impl Default for Quiet {
    fn default() -> Self {
        Self { keep_alive: Some(KeepAlive::default()), inactivity: Duration::from_secs(600) }
    }
}

/// What the quiet of a stream asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Write white space: the peer would take the stream for idle soon (XEP-0478).
    Whitespace,
    /// Write white space, and ask the peer for a sign of life.
    Probe,
    /// The peer gave none: close with `connection-timeout`.
    Dead,
    /// The stream is not needed: close it in good order. If it still is, this is said again a little later.
    Idle,
}

/// Watches one established stream.
///
/// The caller says what happens on it, and asks for signs when [`deadline`](Self::deadline) has come.
#[derive(Debug)]
pub struct Alive {
    quiet: Quiet,
    /// How long the peer takes silence without thinking of us as idle, a good part of it.
    patience: Option<Duration>,
    heard: Instant,
    wrote: Instant,
    /// When the stream counts as not needed any more.
    idle: Instant,
    /// Since when a sign of life is awaited.
    probed: Option<Instant>,
}

impl Alive {
    /// Begins with the establishment of the stream. `idle_seconds` is what the peer announced (XEP-0478).
    pub fn new(quiet: Quiet, idle_seconds: Option<u32>, now: Instant) -> Self {
        let seconds = idle_seconds.filter(|seconds| *seconds > 0 && quiet.keep_alive.is_some());
        // In time, and not more often than once a second whatever the peer says.
        let patience = seconds.map(|seconds| (Duration::from_secs(seconds.into()) * 3 / 4).max(LEAST));
        let idle = now + quiet.inactivity;
        Self { quiet, patience, heard: now, wrote: now, idle, probed: None }
    }

    /// Bytes of the peer came, or an answer of it on another stream.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.probed = None;
    }

    /// Bytes were written.
    pub fn wrote(&mut self, now: Instant) {
        self.wrote = now;
    }

    /// A stanza passed, whichever way.
    pub fn active(&mut self, now: Instant) {
        self.idle = now + self.quiet.inactivity;
    }

    /// Whether a sign of life is awaited.
    pub fn is_probed(&self) -> bool {
        self.probed.is_some()
    }

    /// When there is something to do.
    pub fn deadline(&self) -> Instant {
        let keep_alive = self.quiet.keep_alive.map(|keep_alive| match self.probed {
            Some(since) => since + keep_alive.answer,
            None => self.heard + keep_alive.silence,
        });
        let whitespace = self.patience.map(|patience| self.wrote + patience);
        [keep_alive, whitespace].into_iter().flatten().fold(self.idle, Instant::min)
    }

    /// What is due; to be asked until it is `None`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Sign> {
        if let Some(keep_alive) = self.quiet.keep_alive {
            match self.probed {
                Some(since) if since + keep_alive.answer <= now => {
                    // Said again only after another such time, should the caller be slow to act.
                    self.probed = Some(now);
                    return Some(Sign::Dead);
                }
                None if self.heard + keep_alive.silence <= now => {
                    self.probed = Some(now);
                    self.wrote = now;
                    return Some(Sign::Probe);
                }
                _ => {}
            }
        }
        if self.idle <= now {
            self.idle = now + AGAIN;
            return Some(Sign::Idle);
        }
        if self.patience.is_some_and(|patience| self.wrote + patience <= now) {
            self.wrote = now;
            return Some(Sign::Whitespace);
        }
        None
    }
}

/// The shortest time between two white spaces.
const LEAST: Duration = Duration::from_secs(1);

/// How long a quiet stream that could not be closed is left alone.
const AGAIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    struct Stream {
        alive: Alive,
        start: Instant,
    }

    impl Stream {
        fn new(keep_alive: bool, idle_seconds: Option<u32>) -> Self {
            let start = Instant::now();
            let quiet = Quiet { keep_alive: keep_alive.then(KeepAlive::default), ..Quiet::default() };
            Self { alive: Alive::new(quiet, idle_seconds, start), start }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// The signs up to that second, each with its own.
        fn until(&mut self, second: u64) -> Vec<(u64, Sign)> {
            let mut signs = Vec::new();
            while self.alive.deadline() <= self.at(second) {
                let now = self.alive.deadline();
                while let Some(sign) = self.alive.handle_timeout(now) {
                    signs.push((now.duration_since(self.start).as_secs(), sign));
                }
            }
            signs
        }
    }

    #[test]
    fn s2s_31_a_silent_peer_is_asked_after_five_minutes_and_given_up_after_one_more() {
        let mut stream = Stream::new(true, None);
        assert_eq!(stream.until(299), []);
        assert_eq!(stream.until(300), [(300, Sign::Probe)]);
        assert_eq!(stream.until(359), []);
        assert_eq!(stream.until(360), [(360, Sign::Dead)]);
    }

    #[test]
    fn s2s_31_any_byte_is_a_sign_of_life() {
        let mut stream = Stream::new(true, None);
        stream.until(300);
        stream.alive.heard(stream.at(359));
        stream.alive.active(stream.at(359));
        assert_eq!(stream.until(658), []);
        assert_eq!(stream.until(659), [(659, Sign::Probe)]);
    }

    #[test]
    fn with_keep_alive_off_nothing_is_sent_and_nothing_expected() {
        let mut stream = Stream::new(false, Some(60));
        assert_eq!(stream.until(600), [(600, Sign::Idle)]);
    }

    #[test]
    fn a_stream_without_stanzas_is_closed_after_ten_minutes_however_many_bytes_come() {
        let mut stream = Stream::new(true, None);
        for second in (100..600).step_by(100) {
            stream.alive.heard(stream.at(second));
            stream.alive.wrote(stream.at(second));
        }
        assert_eq!(stream.until(599), []);
        assert_eq!(stream.until(600), [(600, Sign::Idle)]);
        let mut stream = Stream::new(false, None);
        stream.alive.active(stream.at(599));
        assert_eq!(stream.until(1198), []);
        assert_eq!(stream.until(1199), [(1199, Sign::Idle)]);
    }

    #[test]
    fn a_quiet_stream_that_is_needed_is_asked_about_again_soon() {
        let mut stream = Stream::new(false, None);
        assert_eq!(stream.until(600), [(600, Sign::Idle)]);
        assert_eq!(stream.until(609), []);
        assert_eq!(stream.until(610), [(610, Sign::Idle)]);
    }

    #[test]
    fn s2s_35_white_space_goes_out_before_the_peer_takes_us_for_idle() {
        let mut stream = Stream::new(true, Some(120));
        assert_eq!(stream.until(200), [(90, Sign::Whitespace), (180, Sign::Whitespace)]);
        stream.alive.wrote(stream.at(200));
        assert_eq!(stream.until(290), [(290, Sign::Whitespace)]);
        for impatient in [0, 1] {
            let mut stream = Stream::new(true, Some(impatient));
            assert!(stream.until(10).len() <= 10, "once a second at most");
        }
    }
}
