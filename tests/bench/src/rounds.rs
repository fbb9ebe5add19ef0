//! The record of one round in a generator: what was sent when, and what came back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::job::{Outcome, Pace, Round, Until};

/// How long a round may last beyond its sending.
const DRAIN: Duration = Duration::from_secs(30);

/// One round's record.
#[derive(Debug)]
pub(crate) struct Record {
    round: Round,
    begin: Instant,
    last: Instant,
    sent: u64,
    answered: u64,
    refused: u64,
    trouble: Option<String>,
    nanoseconds: Vec<u64>,
}

impl Record {
    pub(crate) fn new(round: Round) -> Self {
        let begin = Instant::now();
        Self {
            round,
            begin,
            last: begin,
            sent: 0,
            answered: 0,
            refused: 0,
            trouble: None,
            nanoseconds: Vec::new(),
        }
    }

    /// Whether one more message is to be sent; counts it if so.
    pub(crate) fn send(&mut self, now: Instant) -> bool {
        let more = match self.round.until {
            Until::Seconds(seconds) => now.duration_since(self.begin).as_secs_f64() < seconds,
            Until::Messages(messages) => self.sent < messages,
        };
        self.sent += u64::from(more);
        more
    }

    /// Counts an answer.
    pub(crate) fn answered(&mut self, sent_at: Instant, now: Instant) {
        self.answered += 1;
        self.last = now;
        self.nanoseconds.push(now.duration_since(sent_at).as_nanos() as u64);
    }

    /// Counts an answer other than 200.
    pub(crate) fn refused(&mut self, what: String) {
        self.refused += 1;
        self.trouble(what);
    }

    /// Notes what went wrong.
    pub(crate) fn trouble(&mut self, what: String) {
        self.trouble.get_or_insert(what);
    }

    /// When the round must be over.
    pub(crate) fn limit(&self) -> Duration {
        match self.round.until {
            Until::Seconds(seconds) => Duration::from_secs_f64(seconds) + DRAIN,
            Until::Messages(_) => DRAIN * 6,
        }
    }

    /// Between two messages of one of `senders`; `None` for a window.
    pub(crate) fn interval(&self, senders: usize) -> Option<Duration> {
        match self.round.pace {
            Pace::Window(_) => None,
            Pace::Rate(rate) => Some(Duration::from_secs_f64(senders as f64 / f64::from(rate))),
        }
    }

    /// What to tell.
    pub(crate) fn outcome(mut self) -> Outcome {
        self.nanoseconds.sort_unstable();
        let quantile = |part: f64| {
            let index = (self.nanoseconds.len() as f64 * part) as usize;
            self.nanoseconds
                .get(index)
                .or_else(|| self.nanoseconds.last())
                .map_or(0.0, |&nanoseconds| nanoseconds as f64 / 1e3)
        };
        Outcome {
            sent: self.sent,
            answered: self.answered,
            refused: self.refused,
            seconds: self.last.duration_since(self.begin).as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            trouble: self.trouble,
        }
    }
}

/// Pairs of one sender: who is free, since when the others wait, and how far their numbers are.
#[derive(Debug)]
pub(crate) struct Pairs {
    free: VecDeque<u32>,
    sent_at: Vec<Instant>,
    sequences: Vec<u32>,
}

impl Pairs {
    pub(crate) fn new(count: u32) -> Self {
        let count = count as usize;
        Self { free: VecDeque::new(), sent_at: vec![Instant::now(); count], sequences: vec![0; count] }
    }

    /// These take part in the round, all of them free.
    pub(crate) fn begin(&mut self, pairs: impl Iterator<Item = u32>) {
        self.free.clear();
        self.free.extend(pairs);
    }

    /// The next free pair and the number of its next message.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(u32, u32)> {
        let pair = self.free.pop_front()?;
        let sequence = self.sequences.get_mut(pair as usize)?;
        *sequence += 1;
        *self.sent_at.get_mut(pair as usize)? = now;
        Some((pair, *sequence))
    }

    /// Its message was answered: returns when it was sent.
    pub(crate) fn give_back(&mut self, pair: u32) -> Option<Instant> {
        let sent_at = self.sent_at.get(pair as usize).copied()?;
        self.free.push_back(pair);
        Some(sent_at)
    }

    pub(crate) fn any_free(&self) -> bool {
        !self.free.is_empty()
    }
}
