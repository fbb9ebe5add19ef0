//! Dialback keys of partners that are being verified: how many at a time and in a minute (DB-15), and how what came of it
//! gets back to the stream that brought the key.
//!
//! Anybody may bring a key in the name of a partner, and each makes us look up that partner and connect to him. So it counts
//! in whose name a key comes, and where from: one address that speaks in the names of many partners must not use up what is
//! there for all.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome, VerifyRequest};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Gateway;
use crate::net::origin::Origin;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts in a [`Ledger`] before it is looked through for the first time for those that count nothing any more.
const FIRST_SWEEP: usize = 64;

/// How many keys may be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyLimits {
    /// At a time.
    pub most: usize,
    /// At a time, of one partner.
    pub per_partner: usize,
    /// At a time, from one address, or one /64 network of IPv6.
    pub per_address: usize,
    /// In a minute.
    pub rate: usize,
    /// In a minute, of one partner.
    pub rate_per_partner: usize,
    /// In a minute, from one address, or one /64 network of IPv6.
    pub rate_per_address: usize,
}

impl Default for VerifyLimits {
    fn default() -> Self {
        Self {
            most: 64,
            per_partner: 8,
            per_address: 16,
            rate: 600,
            rate_per_partner: 60,
            rate_per_address: 120,
        }
    }
}

/// Why a key is not verified now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Busy {
    #[error("{0} keys are being verified (limits.xmpp.verifications)")]
    Most(usize),
    #[error("{0} keys of this partner are being verified (limits.xmpp.verifications_per_partner)")]
    PerPartner(usize),
    #[error("{0} keys from this address are being verified (limits.xmpp.verifications_per_address)")]
    PerAddress(usize),
    #[error("there were {0} in a minute (limits.xmpp.verification_rate)")]
    Rate(usize),
    #[error("there were {0} of this partner in a minute (limits.xmpp.verification_rate_per_partner)")]
    RatePerPartner(usize),
    #[error("there were {0} from this address in a minute (limits.xmpp.verification_rate_per_address)")]
    RatePerAddress(usize),
}

/// The verifications under way. Who had none in the last minute is forgotten, so its memory is bounded by the rate of all.
#[derive(Debug)]
pub(super) struct Verifying {
    limits: VerifyLimits,
    load: Mutex<Load>,
}

#[derive(Debug, Default)]
struct Load {
    all: Count,
    partners: Ledger<CompactString>,
    origins: Ledger<Origin>,
}

/// The counts of those who have any.
#[derive(Debug)]
struct Ledger<K> {
    counts: HashMap<K, Count>,
    /// Looked through when it has so many: as many come as stay, so each costs a look or two.
    sweep_at: usize,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), sweep_at: FIRST_SWEEP }
    }
}

impl<K: Eq + Hash> Ledger<K> {
    fn get(&self, key: &K) -> Count {
        self.counts.get(key).copied().unwrap_or_default()
    }

    fn add(&mut self, key: K, level: Instant, now: Instant) {
        if self.counts.len() >= self.sweep_at {
            self.counts.retain(|_, count| count.says_something(now));
            self.sweep_at = FIRST_SWEEP.max(2 * self.counts.len());
        }
        self.counts.entry(key).or_default().add(level);
    }

    fn done(&mut self, key: &K) {
        if let Some(count) = self.counts.get_mut(key) {
            count.done();
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    running: usize,
    /// When as many as the rate allows will have been used up by what there was (a leaky bucket of one minute).
    level: Option<Instant>,
}

impl Count {
    /// The level after one more; `None`: that would be one too many in a minute.
    fn one_more(&self, rate: usize, now: Instant) -> Option<Instant> {
        let each = MINUTE / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
        let level = self.level.map_or(now, |level| level.max(now)) + each;
        (level <= now + MINUTE).then_some(level)
    }

    fn add(&mut self, level: Instant) {
        self.level = Some(level);
        self.running += 1;
    }

    fn done(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    fn says_something(&self, now: Instant) -> bool {
        self.running > 0 || self.level.is_some_and(|level| level > now)
    }
}

impl Verifying {
    pub(super) fn new(limits: VerifyLimits) -> Arc<Self> {
        Arc::new(Self { limits, load: Mutex::default() })
    }

    fn begin(self: &Arc<Self>, partner: &CompactString, origin: Origin, now: Instant) -> Result<Place, Busy> {
        let limits = &self.limits;
        let load = &mut *self.load.lock();
        // Nothing is noted of what is refused.
        let (of_partner, of_origin) = (load.partners.get(partner), load.origins.get(&origin));
        if of_origin.running >= limits.per_address {
            return Err(Busy::PerAddress(limits.per_address));
        }
        if of_partner.running >= limits.per_partner {
            return Err(Busy::PerPartner(limits.per_partner));
        }
        if load.all.running >= limits.most {
            return Err(Busy::Most(limits.most));
        }
        let level_of_origin = of_origin
            .one_more(limits.rate_per_address, now)
            .ok_or(Busy::RatePerAddress(limits.rate_per_address))?;
        let level_of_partner = of_partner
            .one_more(limits.rate_per_partner, now)
            .ok_or(Busy::RatePerPartner(limits.rate_per_partner))?;
        let level = load.all.one_more(limits.rate, now).ok_or(Busy::Rate(limits.rate))?;
        load.all.add(level);
        load.partners.add(partner.clone(), level_of_partner, now);
        load.origins.add(origin, level_of_origin, now);
        Ok(Place { verifying: Arc::clone(self), partner: partner.clone(), origin })
    }
}

/// Counted as long as it is kept.
#[derive(Debug)]
struct Place {
    verifying: Arc<Verifying>,
    partner: CompactString,
    origin: Origin,
}

impl Drop for Place {
    fn drop(&mut self) {
        let load = &mut *self.verifying.load.lock();
        load.all.done();
        load.partners.done(&self.partner);
        load.origins.done(&self.origin);
    }
}

/// What came of a key.
#[derive(Debug)]
pub struct Verdict {
    pub request: VerifyRequest,
    pub outcome: VerifyOutcome,
    /// What happened, for people.
    pub evidence: String,
}

/// Where the session of an inbound stream finds what came of its keys. When it is dropped, nobody asks any more.
#[derive(Debug)]
pub struct Verdicts {
    inbox: Arc<Inbox>,
    gone: CancellationToken,
    _guard: DropGuard,
}

#[derive(Debug)]
struct Inbox {
    verdicts: Mutex<Vec<Verdict>>,
    wake: Arc<Notify>,
}

impl Verdicts {
    /// For the session that is woken by `wake`.
    pub fn new(wake: Arc<Notify>) -> Self {
        let gone = CancellationToken::new();
        let inbox = Arc::new(Inbox { verdicts: Mutex::default(), wake });
        Self { inbox, _guard: gone.clone().drop_guard(), gone }
    }

    /// What came since the last time.
    pub fn take(&self) -> Vec<Verdict> {
        std::mem::take(&mut self.inbox.verdicts.lock())
    }
}

/// A key to be verified, and the way back. Dropped without an answer, it was not verified in time.
#[derive(Debug)]
pub struct Verification {
    /// Gone once it is answered.
    request: Option<VerifyRequest>,
    inbox: Arc<Inbox>,
    gone: CancellationToken,
    _place: Place,
}

impl Verification {
    /// The key, and whose it is said to be.
    pub fn request(&self) -> Option<&VerifyRequest> {
        self.request.as_ref()
    }

    /// Ends when the stream that brought the key is over.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    pub fn answer(mut self, outcome: VerifyOutcome, evidence: String) {
        self.settle(outcome, evidence);
    }

    fn settle(&mut self, outcome: VerifyOutcome, evidence: String) {
        if let Some(request) = self.request.take() {
            self.inbox.verdicts.lock().push(Verdict { request, outcome, evidence });
            self.inbox.wake.notify_one();
        }
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        let outcome = VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout);
        self.settle(outcome, "nobody asked".to_owned());
    }
}

impl Gateway {
    /// Has a key verified that a peer at the address `from` brought; what came of it is put among the `verdicts`.
    ///
    /// # Errors
    /// Too much of this is under way.
    pub fn verify(
        &self,
        request: VerifyRequest,
        from: IpAddr,
        verdicts: &Verdicts,
        now: Instant,
    ) -> Result<(), Busy> {
        let streams = self.partner_streams(request.from.as_str());
        let place = self.verifying.begin(&streams.partner, from.into(), now)?;
        self.environment.verify(Verification {
            request: Some(request),
            inbox: Arc::clone(&verdicts.inbox),
            gone: verdicts.gone.clone(),
            _place: place,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: VerifyLimits = VerifyLimits {
        most: 4,
        per_partner: 2,
        per_address: 3,
        rate: 6,
        rate_per_partner: 4,
        rate_per_address: 5,
    };

    fn at(host: u8) -> Origin {
        IpAddr::from([192, 0, 2, host]).into()
    }

    #[test]
    fn db_15_one_partner_takes_no_more_than_its_part_and_all_no_more_than_there_is() {
        let verifying = Verifying::new(LIMITS);
        let now = Instant::now();
        let begin = |partner: &str, host| verifying.begin(&partner.into(), at(host), now);
        let first = begin("a.example", 1).unwrap();
        let _second = begin("a.example", 2).unwrap();
        assert_eq!(begin("a.example", 3).unwrap_err(), Busy::PerPartner(2), "one past the limit");
        let _others = [begin("b.example", 3).unwrap(), begin("b.example", 4).unwrap()];
        assert_eq!(begin("c.example", 5).unwrap_err(), Busy::Most(4));
        drop(first);
        assert!(begin("c.example", 5).is_ok());
    }

    #[test]
    fn db_15_one_address_takes_no_more_than_its_part_in_however_many_names() {
        let verifying = Verifying::new(LIMITS);
        let now = Instant::now();
        let begin = |partner: &str, host| verifying.begin(&partner.into(), at(host), now);
        let first = begin("a.example", 1).unwrap();
        let _others = [begin("b.example", 1).unwrap(), begin("c.example", 1).unwrap()];
        assert_eq!(begin("d.example", 1).unwrap_err(), Busy::PerAddress(3), "one past the limit");
        let other = begin("d.example", 2);
        assert!(other.is_ok(), "another address has its own");
        drop((first, other));
        assert!(begin("d.example", 1).is_ok());
    }

    #[test]
    fn db_15_in_a_minute_there_are_so_many_and_then_the_time_brings_new_ones() {
        let verifying = Verifying::new(LIMITS);
        let start = Instant::now();
        let begin = |partner: &str, now| verifying.begin(&partner.into(), at(1), now).map(drop);
        for _ in 0..4 {
            begin("a.example", start).unwrap();
        }
        assert_eq!(begin("a.example", start), Err(Busy::RatePerPartner(4)));
        assert_eq!(begin("b.example", start), Ok(()));
        assert_eq!(begin("b.example", start), Err(Busy::RatePerAddress(5)));
        assert_eq!(verifying.begin(&"b.example".into(), at(2), start).map(drop), Ok(()));
        assert_eq!(verifying.begin(&"c.example".into(), at(2), start).map(drop), Err(Busy::Rate(6)));
        assert_eq!(begin("a.example", start + Duration::from_secs(15)), Ok(()), "a quarter of a minute");
    }

    #[test]
    fn db_15_addresses_are_forgotten_when_they_count_nothing_any_more() {
        let limits = VerifyLimits { most: 10_000, per_partner: 10_000, ..VerifyLimits::default() };
        let verifying = Verifying::new(VerifyLimits { rate: 10_000, rate_per_partner: 10_000, ..limits });
        let (mut now, mut most) = (Instant::now(), 0);
        let kept = verifying.begin(&"a.example".into(), at(1), now).unwrap();
        for number in 0..1_000_u32 {
            now += Duration::from_secs(1);
            let address = IpAddr::from((0x0A00_0000 | number).to_be_bytes());
            drop(verifying.begin(&"a.example".into(), address.into(), now).unwrap());
            most = most.max(verifying.load.lock().origins.counts.len());
        }
        assert!(most <= FIRST_SWEEP, "{most}");
        assert_eq!(verifying.load.lock().origins.get(&at(1)).running, 1, "one that runs is not forgotten");
        drop(kept);
    }
}
