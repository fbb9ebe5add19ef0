//! Dialback keys of partners that are being verified: how many at a time and in a minute (DB-15), and how what came of it
//! gets back to the stream that brought the key.
//!
//! Anybody may bring a key in the name of a partner, and each makes us look up that partner and connect to him.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome, VerifyRequest};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Gateway;

const MINUTE: Duration = Duration::from_secs(60);

/// How many keys may be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyLimits {
    /// At a time.
    pub most: usize,
    /// At a time, of one partner.
    pub per_partner: usize,
    /// In a minute.
    pub rate: usize,
    /// In a minute, of one partner.
    pub rate_per_partner: usize,
}

impl Default for VerifyLimits {
    fn default() -> Self {
        Self { most: 64, per_partner: 8, rate: 600, rate_per_partner: 60 }
    }
}

/// Why a key is not verified now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Busy {
    #[error("{0} keys are being verified (limits.xmpp.verifications)")]
    Most(usize),
    #[error("{0} keys of this partner are being verified (limits.xmpp.verifications_per_partner)")]
    PerPartner(usize),
    #[error("there were {0} in a minute (limits.xmpp.verification_rate)")]
    Rate(usize),
    #[error("there were {0} of this partner in a minute (limits.xmpp.verification_rate_per_partner)")]
    RatePerPartner(usize),
}

/// The verifications under way. Its memory is bounded by the number of partners.
#[derive(Debug)]
pub(super) struct Verifying {
    limits: VerifyLimits,
    load: Mutex<Load>,
}

#[derive(Debug, Default)]
struct Load {
    all: Count,
    partners: HashMap<CompactString, Count>,
}

#[derive(Debug, Default)]
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
}

impl Verifying {
    pub(super) fn new(limits: VerifyLimits) -> Arc<Self> {
        Arc::new(Self { limits, load: Mutex::default() })
    }

    fn begin(self: &Arc<Self>, partner: &CompactString, now: Instant) -> Result<Place, Busy> {
        let limits = &self.limits;
        let load = &mut *self.load.lock();
        let own = load.partners.entry(partner.clone()).or_default();
        if own.running >= limits.per_partner {
            return Err(Busy::PerPartner(limits.per_partner));
        }
        if load.all.running >= limits.most {
            return Err(Busy::Most(limits.most));
        }
        let own_level = own
            .one_more(limits.rate_per_partner, now)
            .ok_or(Busy::RatePerPartner(limits.rate_per_partner))?;
        let level = load.all.one_more(limits.rate, now).ok_or(Busy::Rate(limits.rate))?;
        (own.level, load.all.level) = (Some(own_level), Some(level));
        own.running += 1;
        load.all.running += 1;
        Ok(Place { verifying: Arc::clone(self), partner: partner.clone() })
    }
}

/// Counted as long as it is kept.
#[derive(Debug)]
struct Place {
    verifying: Arc<Verifying>,
    partner: CompactString,
}

impl Drop for Place {
    fn drop(&mut self) {
        let load = &mut *self.verifying.load.lock();
        load.all.running = load.all.running.saturating_sub(1);
        if let Some(own) = load.partners.get_mut(&self.partner) {
            own.running = own.running.saturating_sub(1);
        }
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
    /// Has a key verified; what came of it is put among the `verdicts`.
    ///
    /// # Errors
    /// Too much of this is under way.
    pub fn verify(&self, request: VerifyRequest, verdicts: &Verdicts, now: Instant) -> Result<(), Busy> {
        let streams = self.partner_streams(request.from.as_str());
        let place = self.verifying.begin(&streams.partner, now)?;
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

    const LIMITS: VerifyLimits = VerifyLimits { most: 3, per_partner: 2, rate: 6, rate_per_partner: 4 };

    #[test]
    fn db_15_one_partner_takes_no_more_than_its_part_and_all_no_more_than_there_is() {
        let verifying = Verifying::new(LIMITS);
        let now = Instant::now();
        let begin = |partner: &str| verifying.begin(&partner.into(), now);
        let first = begin("a.example").unwrap();
        let _second = begin("a.example").unwrap();
        assert_eq!(begin("a.example").unwrap_err(), Busy::PerPartner(2), "one past the limit");
        let _third = begin("b.example").unwrap();
        assert_eq!(begin("b.example").unwrap_err(), Busy::Most(3));
        drop(first);
        assert!(begin("b.example").is_ok());
    }

    #[test]
    fn db_15_in_a_minute_there_are_so_many_and_then_the_time_brings_new_ones() {
        let verifying = Verifying::new(LIMITS);
        let start = Instant::now();
        let begin = |partner: &str, now| verifying.begin(&partner.into(), now).map(drop);
        for _ in 0..4 {
            begin("a.example", start).unwrap();
        }
        assert_eq!(begin("a.example", start), Err(Busy::RatePerPartner(4)));
        assert_eq!(begin("a.example", start + Duration::from_secs(15)), Ok(()), "a quarter of a minute");
        assert_eq!(begin("b.example", start + Duration::from_secs(15)), Ok(()));
        assert_eq!(begin("b.example", start + Duration::from_secs(15)), Ok(()));
        assert_eq!(begin("b.example", start + Duration::from_secs(15)), Err(Busy::Rate(6)));
    }
}
