//! Which address to try next, and when (RFC 8305 “Happy Eyeballs”): a pure machine, without sockets and clock.
//!
//! The addresses stand in targets, the targets in the order of their SRV records. Within a target an address that has not
//! answered after [`STAGGER`] is joined by the next one, and the first connection that comes about is used: a dead
//! address costs a quarter of a second, not a timeout. The next target's turn comes only when all of this one's have
//! failed, for that is what SRV priorities ask for (S2S-02). If no stream comes of a connection, the others of its target
//! have their turn again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long one attempt goes on alone (RFC 8305 §5 recommends 250 ms).
pub const STAGGER: Duration = Duration::from_millis(250);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Connect to the address of this number.
    Start(usize),
    /// Give up all attempts under way.
    StopAll,
    /// There is nothing left to try.
    Exhausted,
    /// The time for all of it is over; so many addresses were not tried.
    TimeOver(usize),
}

/// The state of one search for a connection.
#[derive(Debug)]
pub struct Race {
    /// Addresses of the present target that may be tried, in order.
    waiting: VecDeque<usize>,
    running: Vec<usize>,
    /// The targets after it.
    targets: VecDeque<Vec<usize>>,
    /// A connection came about, and a stream is tried on it.
    won: bool,
    over: bool,
    /// When the next address joins.
    join_at: Option<Instant>,
    end: Instant,
    moves: VecDeque<Move>,
}

impl Race {
    /// `sizes`: how many addresses each target has, in order; they are numbered through. `time` bounds the whole.
    pub fn new(sizes: impl IntoIterator<Item = usize>, time: Duration, now: Instant) -> Self {
        let mut first = 0;
        let numbered = sizes.into_iter().map(|size| {
            first += size;
            (first - size..first).collect()
        });
        let mut race = Self {
            waiting: VecDeque::new(),
            running: Vec::new(),
            targets: numbered.collect(),
            won: false,
            over: false,
            join_at: None,
            end: now + time,
            moves: VecDeque::new(),
        };
        race.go_on(now);
        race
    }

    /// An attempt failed: the next one does not wait.
    pub fn failed(&mut self, number: usize, now: Instant) {
        let before = self.running.len();
        self.running.retain(|running| *running != number);
        if self.running.len() < before {
            self.go_on(now);
        }
    }

    /// An attempt led to a connection; the others are given up.
    pub fn connected(&mut self, number: usize) {
        if self.won || self.over || !self.running.contains(&number) {
            return;
        }
        self.won = true;
        self.join_at = None;
        let others = self.running.drain(..).filter(|other| *other != number);
        // They may be needed yet, if the stream fails; they were before those that still wait.
        for other in others.collect::<Vec<_>>().into_iter().rev() {
            self.waiting.push_front(other);
        }
        self.moves.push_back(Move::StopAll);
    }

    /// No stream came of the connection.
    pub fn lost(&mut self, now: Instant) {
        if self.won {
            self.won = false;
            self.go_on(now);
        }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Move> {
        self.moves.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. While a stream is tried, nothing is.
    pub fn deadline(&self) -> Option<Instant> {
        if self.won || self.over {
            return None;
        }
        Some(self.join_at.map_or(self.end, |join_at| join_at.min(self.end)))
    }

    /// Acts on times that have passed; harmless if none has.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.won || self.over {
            return;
        }
        if now >= self.end {
            return self.time_over();
        }
        if self.join_at.is_some_and(|join_at| join_at <= now) {
            self.start(now);
        }
    }

    /// Something ended: start the next address, of the next target if need be.
    fn go_on(&mut self, now: Instant) {
        if self.won || self.over {
            return;
        }
        if now >= self.end {
            return self.time_over();
        }
        while self.waiting.is_empty() && self.running.is_empty() {
            let Some(next) = self.targets.pop_front() else {
                self.over = true;
                self.moves.push_back(Move::Exhausted);
                return;
            };
            self.waiting.extend(next);
        }
        self.start(now);
    }

    fn start(&mut self, now: Instant) {
        if let Some(number) = self.waiting.pop_front() {
            self.running.push(number);
            self.moves.push_back(Move::Start(number));
        }
        self.join_at = (!self.waiting.is_empty()).then(|| now + STAGGER);
    }

    fn time_over(&mut self) {
        self.over = true;
        let left = self.waiting.len() + self.targets.iter().map(Vec::len).sum::<usize>();
        if !self.running.is_empty() {
            self.moves.push_back(Move::StopAll);
        }
        self.moves.push_back(Move::TimeOver(left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Move::{Exhausted, Start, StopAll, TimeOver};

    const TIME: Duration = Duration::from_secs(120);

    /// A race and its clock.
    struct Track {
        race: Race,
        begin: Instant,
        now: Instant,
    }

    impl Track {
        fn new(sizes: &[usize]) -> Self {
            let begin = Instant::now();
            Self { race: Race::new(sizes.iter().copied(), TIME, begin), begin, now: begin }
        }

        fn moves(&mut self) -> Vec<Move> {
            std::iter::from_fn(|| self.race.poll()).collect()
        }

        /// Lets time pass up to the next deadline, which comes back in milliseconds since the beginning.
        fn wait(&mut self) -> u128 {
            self.now = self.race.deadline().unwrap();
            self.race.handle_timeout(self.now);
            (self.now - self.begin).as_millis()
        }

        fn failed(&mut self, number: usize) -> Vec<Move> {
            self.race.failed(number, self.now);
            self.moves()
        }
    }

    #[test]
    fn addresses_of_a_target_join_every_250_ms() {
        let mut track = Track::new(&[3]);
        assert_eq!(track.moves(), [Start(0)]);
        assert_eq!((track.wait(), track.moves()), (250, vec![Start(1)]));
        assert_eq!((track.wait(), track.moves()), (500, vec![Start(2)]));
        assert_eq!((track.wait(), track.moves()), (120_000, vec![StopAll, TimeOver(0)]));
        assert_eq!(track.race.deadline(), None);
    }

    #[test]
    fn nothing_joins_before_its_time() {
        let mut track = Track::new(&[2]);
        track.moves();
        track.race.handle_timeout(track.begin + STAGGER - Duration::from_millis(1));
        assert_eq!(track.moves(), []);
    }

    #[test]
    fn after_a_failure_the_next_one_starts_at_once_and_has_its_own_time() {
        let mut track = Track::new(&[3]);
        track.moves();
        track.now += Duration::from_millis(10);
        assert_eq!(track.failed(0), [Start(1)]);
        assert_eq!((track.wait(), track.moves()), (260, vec![Start(2)]));
    }

    #[test]
    fn s2s_02_the_next_target_waits_until_all_of_this_one_have_failed() {
        let mut track = Track::new(&[2, 1]);
        track.moves();
        track.wait();
        assert_eq!(track.moves(), [Start(1)]);
        assert_eq!(track.race.deadline(), Some(track.begin + TIME), "no third one joins");
        assert_eq!(track.failed(0), []);
        assert_eq!(track.failed(1), [Start(2)]);
        assert_eq!(track.failed(2), [Exhausted]);
        assert_eq!(track.race.deadline(), None);
    }

    #[test]
    fn the_first_connection_stops_the_others() {
        let mut track = Track::new(&[3]);
        track.moves();
        track.wait();
        track.moves();
        track.race.connected(1);
        assert_eq!(track.moves(), [StopAll]);
        assert_eq!(track.race.deadline(), None, "the stream has its own times");
        // What comes late changes nothing.
        track.race.connected(0);
        assert_eq!(track.failed(0), []);
    }

    #[test]
    fn s2s_02_without_a_stream_the_others_have_their_turn_again_and_the_winner_not() {
        let mut track = Track::new(&[3, 1]);
        track.moves();
        track.wait();
        track.moves();
        track.race.connected(1);
        track.moves();
        track.now += Duration::from_secs(30);
        track.race.lost(track.now);
        assert_eq!(track.moves(), [Start(0)]);
        assert_eq!(track.failed(0), [Start(2)]);
        track.race.connected(2);
        assert_eq!(track.moves(), [StopAll]);
        track.race.lost(track.now);
        assert_eq!(track.moves(), [Start(3)]);
        assert_eq!(track.failed(3), [Exhausted]);
    }

    #[test]
    fn s2s_08_the_whole_has_an_end_after_which_nothing_starts() {
        let mut track = Track::new(&[1, 2]);
        track.moves();
        track.race.connected(0);
        track.moves();
        track.race.lost(track.begin + TIME);
        assert_eq!(track.moves(), [TimeOver(2)]);
        let mut track = Track::new(&[1, 2]);
        track.moves();
        track.race.connected(0);
        track.moves();
        track.race.lost(track.begin + TIME - Duration::from_millis(1));
        assert_eq!(track.moves(), [Start(1)]);
    }

    #[test]
    fn without_addresses_it_is_over_at_once() {
        assert_eq!(Track::new(&[]).moves(), [Exhausted]);
        assert_eq!(Track::new(&[0, 0]).moves(), [Exhausted]);
    }
}
