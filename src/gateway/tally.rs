//! Running numbers of each remote domain and of each front end, for metrics.
//!
//! They hang on what the way of a message holds anyway, so a message costs a few relaxed additions and neither a lock nor an
//! allocation. The counters for all together are in [`Counters`](super::Counters).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use compact_str::CompactString;
use nuncio_sip::Method;
use nuncio_translate::judge::{Direction, Refusal};
use nuncio_xmpp::stream::{self, Established};
use parking_lot::Mutex;

use super::{Counter, Gateway};

/// Upper bounds of the buckets of all durations, in seconds. What takes longer is in the bucket without a bound.
pub const BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The same in microseconds.
const BOUNDS_US: [u64; BOUNDS.len()] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    30_000_000,
];

/// How often something took how long.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Each with those of its own only; the last has no bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Distribution {
    /// As many as took at most so long, bucket by bucket; the last is all.
    pub cumulative: [u64; BOUNDS.len() + 1],
    /// Seconds.
    pub sum: f64,
}

impl Histogram {
    /// One more took so long.
    pub(super) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS_US.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// As it is now. What is added meanwhile may be in the sum and not yet in a bucket, or the other way round.
    pub(super) fn read(&self) -> Distribution {
        let mut distribution = Distribution::default();
        let mut all = 0;
        for (place, bucket) in distribution.cumulative.iter_mut().zip(&self.buckets) {
            all += bucket.load(Ordering::Relaxed);
            *place = all;
        }
        distribution.sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        distribution
    }
}

impl Distribution {
    /// All there were.
    pub fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or_default()
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.cumulative.iter_mut().zip(other.cumulative) {
            *own += more;
        }
        self.sum += other.sum;
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A rule forbids it.
    Refused,
    /// Its sender got an error.
    Failed,
    /// It was delivered for all that was known, and its sender was told later that it may not have arrived.
    MayBeLost,
    /// It was delivered for all that was known, and its sender was told later that it was not.
    FailedLate,
}

impl Fate {
    /// All but the good one, which the histogram of durations counts.
    pub const ALL: [Self; 4] = [Self::Refused, Self::Failed, Self::MayBeLost, Self::FailedLate];

    /// As a label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::MayBeLost => "may-be-lost",
            Self::FailedLate => "failed-late",
        }
    }
}

/// Messages that go one way.
#[derive(Debug, Default)]
struct Way {
    fates: [Counter; Fate::ALL.len()],
    /// From the arrival of those that were delivered to the evidence for it.
    delivered: Histogram,
    rules: [Counter; Refusal::ALL.len()],
    /// Attempts at streams in this direction, those of partners towards SIP.
    attempts_failed: Counter,
    /// How long the others took.
    attempts: Histogram,
}

/// What happened with one remote domain.
#[derive(Debug, Default)]
pub struct Tally {
    to_xmpp: Way,
    to_sip: Way,
    streams: Mutex<Vec<StreamTally>>,
    /// Until when what the domain showed last proves who it is, in milliseconds of Unix time; 0: it showed nothing that ends.
    proved_until_ms: AtomicU64,
}

/// Streams of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTally {
    pub kind: StreamKind,
    /// Those that are up.
    pub up: u64,
    /// Those there were since the start.
    pub established: u64,
}

/// How a stream came about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamKind {
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    pub method: &'static str,
    /// The version of TLS, or `none`.
    pub tls: CompactString,
}

impl Tally {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::SipToXmpp => &self.to_xmpp,
            Direction::XmppToSip => &self.to_sip,
        }
    }

    /// A message was delivered, so long after it came.
    pub(super) fn delivered(&self, direction: Direction, took: Duration) {
        self.way(direction).delivered.observe(took);
    }

    /// Something else became of it.
    pub(super) fn came_to(&self, direction: Direction, fate: Fate) {
        let place = Fate::ALL.iter().position(|other| *other == fate);
        if let Some(counter) = place.and_then(|place| self.way(direction).fates.get(place)) {
            counter.add(1);
        }
    }

    fn refused(&self, direction: Direction, refusal: Refusal) {
        let place = Refusal::ALL.iter().position(|other| *other == refusal);
        if let Some(counter) = place.and_then(|place| self.way(direction).rules.get(place)) {
            counter.add(1);
        }
    }

    /// How often that became of messages.
    pub fn fate(&self, direction: Direction, fate: Fate) -> u64 {
        let place = Fate::ALL.iter().position(|other| *other == fate);
        place.and_then(|place| self.way(direction).fates.get(place)).map_or(0, Counter::get)
    }

    /// How long messages took that were delivered.
    pub fn deliveries(&self, direction: Direction) -> Distribution {
        self.way(direction).delivered.read()
    }

    /// What each rule has refused.
    pub fn refusals(&self, direction: Direction) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().zip(self.way(direction).rules.iter().map(Counter::get))
    }

    /// Attempts at streams that came to nothing, and how long the others took.
    pub fn attempts(&self, direction: stream::Direction) -> (u64, Distribution) {
        let way = self.way(towards(direction));
        (way.attempts_failed.get(), way.attempts.read())
    }

    /// Streams by their kind.
    pub fn streams(&self) -> Vec<StreamTally> {
        self.streams.lock().clone()
    }

    /// Seconds of Unix time until which the certificate holds that was shown last.
    pub fn proved_until(&self) -> Option<u64> {
        Some(self.proved_until_ms.load(Ordering::Relaxed) / 1000).filter(|until| *until > 0)
    }

    fn streams_of(&self, kind: &StreamKind, change: impl FnOnce(&mut StreamTally)) {
        let mut streams = self.streams.lock();
        match streams.iter_mut().find(|known| known.kind == *kind) {
            Some(known) => change(known),
            None => {
                let mut fresh = StreamTally { kind: kind.clone(), up: 0, established: 0 };
                change(&mut fresh);
                streams.push(fresh);
            }
        }
    }
}

/// Partners open streams for what goes to SIP, and we for what goes to them.
const fn towards(direction: stream::Direction) -> Direction {
    match direction {
        stream::Direction::Inbound => Direction::XmppToSip,
        stream::Direction::Outbound => Direction::SipToXmpp,
    }
}

/// One stream that is up, as long as it is kept.
#[derive(Debug)]
pub struct StreamUp {
    tally: Arc<Tally>,
    kind: StreamKind,
}

impl Drop for StreamUp {
    fn drop(&mut self) {
        self.tally.streams_of(&self.kind, |streams| streams.up = streams.up.saturating_sub(1));
    }
}

/// Methods that are told apart; others are one.
const METHODS: [&str; 8] = ["MESSAGE", "SUBSCRIBE", "NOTIFY", "BENOTIFY", "INVITE", "BYE", "INFO", "OPTIONS"];
/// Classes of final answers; the last is no answer at all.
const CLASSES: [&str; 6] = ["2xx", "3xx", "4xx", "5xx", "6xx", "none"];

/// What happened with one front end.
#[derive(Debug, Default)]
pub struct FrontEndTally {
    /// Its requests, in the order of [`METHODS`]; the last are all others.
    requests: [Counter; METHODS.len() + 1],
    /// Final answers to ours, in the order of [`CLASSES`].
    answers: [Counter; CLASSES.len()],
    /// How long they took from when they could have left.
    took: Histogram,
}

impl FrontEndTally {
    pub(super) fn asked(&self, method: Method<'_>) {
        let place = METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len());
        if let Some(counter) = self.requests.get(place) {
            counter.add(1);
        }
    }

    /// `None`: nobody answered.
    pub(super) fn answered(&self, status: Option<u16>, took: Duration) {
        let place = match status {
            Some(status) => usize::from((status / 100).clamp(2, 6) - 2),
            None => CLASSES.len() - 1,
        };
        if let Some(counter) = self.answers.get(place) {
            counter.add(1);
        }
        if status.is_some() {
            self.took.observe(took);
        }
    }

    /// Its requests by method.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        METHODS.into_iter().chain(["other"]).zip(self.requests.iter().map(Counter::get))
    }

    /// What became of our requests.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CLASSES.into_iter().zip(self.answers.iter().map(Counter::get))
    }

    /// How long it took to answer.
    pub fn took(&self) -> Distribution {
        self.took.read()
    }
}

impl Gateway {
    /// The numbers of a remote domain. Those that are no partners share theirs: their number is not ours to bound.
    pub(super) fn tally(&self, domain: &str) -> Arc<Tally> {
        match self.policy().partner(domain) {
            Some(_) => Arc::clone(self.remote(domain).tally()),
            None => Arc::clone(&self.others),
        }
    }

    /// A rule has refused something.
    pub(super) fn count_refusal(&self, partner: &str, direction: Direction, refusal: Refusal) {
        self.tally(partner).refused(direction, refusal);
    }

    /// An attempt at a stream is over.
    pub(super) fn count_attempt(&self, remote: &str, direction: stream::Direction, took: Option<Duration>) {
        let tally = self.tally(remote);
        let way = tally.way(towards(direction));
        match took {
            Some(took) => way.attempts.observe(took),
            None => way.attempts_failed.add(1),
        }
    }

    /// A stream is up, as long as what is returned is kept.
    pub fn stream_up(&self, established: &Established, direction: stream::Direction) -> StreamUp {
        let tally = self.tally(established.remote.as_str());
        let kind = StreamKind {
            direction: match direction {
                stream::Direction::Inbound => "inbound",
                stream::Direction::Outbound => "outbound",
            },
            method: match established.method {
                stream::Method::SaslExternal => "sasl-external",
                stream::Method::DialbackTls => "dialback-tls",
                stream::Method::DialbackTcp => "dialback-tcp",
                _ => "other",
            },
            tls: established
                .tls
                .as_ref()
                .map_or(CompactString::const_new("none"), |tls| tls.protocol.clone()),
        };
        let until =
            established.tls.as_ref().filter(|_| established.by_certificate).and_then(|tls| tls.expires_ms);
        if let Some(until) = until {
            tally.proved_until_ms.store(until, Ordering::Relaxed);
        }
        tally.streams_of(&kind, |streams| {
            streams.up += 1;
            streams.established += 1;
        });
        StreamUp { tally, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_of_its_bound_and_one_past_it_in_the_next() {
        let histogram = Histogram::default();
        for (place, bound) in BOUNDS.into_iter().enumerate() {
            let bound = Duration::from_secs_f64(bound);
            histogram.observe(bound);
            assert_eq!(
                histogram.buckets[place].load(Ordering::Relaxed),
                1 + u64::from(place > 0),
                "{bound:?}"
            );
            histogram.observe(bound + Duration::from_micros(1));
        }
        assert_eq!(histogram.read().count(), 24);
        assert_eq!(histogram.buckets[12].load(Ordering::Relaxed), 1);
    }

    #[test]
    fn buckets_include_those_before_them() {
        let histogram = Histogram::default();
        [1, 20, 700, 60_000].into_iter().for_each(|ms| histogram.observe(Duration::from_millis(ms)));
        let Distribution { cumulative, sum } = histogram.read();
        assert_eq!(cumulative, [1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4]);
        assert!((sum - 60.721).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn an_answer_is_in_its_class_whatever_the_number() {
        let tally = FrontEndTally::default();
        for status in [Some(200), Some(299), Some(302), Some(486), Some(503), Some(603), Some(799), None] {
            tally.answered(status, Duration::ZERO);
        }
        let answers: Vec<_> = tally.answers().collect();
        assert_eq!(answers, [("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 1), ("6xx", 2), ("none", 1)]);
        assert_eq!(tally.took().count(), 7, "what is not answered took no time");
    }
}
