//! How many new requests of contacts to see SIP users reach the front ends in an hour (SEC-41). Each shows the SIP user
//! something to decide on, and whoever is refused may ask again: without a bound one contact, or one domain with names enough,
//! could fill his screen. Counted by pair, by contact, by SIP user and by remote domain.
//!
//! What is too much is dropped, and its sender hears as much of it as of any other request that nobody has decided on.

use std::sync::atomic::{AtomicUsize, Ordering};

use nuncio_translate::Moment;
use nuncio_translate::pair::PairKey;
use nuncio_xmpp::rate::{Meter, Rate};

use super::prints::{PrintMap, Prints};

/// Meters run in seconds and requests are counted by the hour: one weighs so much.
const WEIGHT: u64 = 3600;
/// After so many requests it is looked which meters are full again and need not be remembered.
const SWEEP_EVERY: usize = 4096;
/// A table with fewer entries for its room is made smaller then.
const SPARSE: usize = 4;

/// How many there may be in an hour, and as many at once after a pause.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// Of one contact for one SIP user.
    pub per_pair: u64,
    /// Of one contact.
    pub per_contact: u64,
    /// For one SIP user.
    pub per_user: u64,
    /// Of the contacts of one remote domain.
    pub per_domain: u64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { per_pair: 10, per_contact: 500, per_user: 1000, per_domain: 100_000 }
    }
}

/// What has been asked for lately.
#[derive(Debug)]
pub(super) struct Requests {
    limits: RequestLimits,
    prints: Prints,
    /// By pair, contact, SIP user and domain: no two of these are written alike.
    meters: PrintMap<Meter>,
    asked: AtomicUsize,
}

impl Requests {
    pub(super) fn new(limits: RequestLimits) -> Self {
        Self { limits, prints: Prints::default(), meters: PrintMap::default(), asked: AtomicUsize::new(0) }
    }

    /// One more; false: there have been too many.
    pub(super) fn ask(&self, key: &PairKey, now: Moment) -> bool {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.meters.retain(|_, meter| !meter.is_full(now.instant));
            if self.meters.len() < self.meters.capacity() / SPARSE {
                self.meters.shrink_to_fit();
            }
        }
        let limits = &self.limits;
        let counted = [
            (key.remote_domain(), limits.per_domain),
            (key.sip_user(), limits.per_user),
            (key.contact(), limits.per_contact),
            (key.as_str(), limits.per_pair),
        ];
        let rate = |per_hour: u64| Rate::new(per_hour, WEIGHT);
        for (taken, (name, per_hour)) in counted.iter().enumerate() {
            let over = |meter: &mut Meter| meter.take(rate(*per_hour), WEIGHT, now.instant).is_some();
            if !over(&mut self.meters.entry(self.prints.of(name)).or_default()) {
                continue;
            }
            // Who is refused has asked for nothing.
            for (name, per_hour) in counted.iter().take(taken + 1) {
                if let Some(mut meter) = self.meters.get_mut(&self.prints.of(name)) {
                    meter.give_back(rate(*per_hour), WEIGHT);
                }
            }
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const MANY: u64 = 1000;

    fn at(seconds: u64, start: Instant) -> Moment {
        Moment { instant: start + Duration::from_secs(seconds), unix_ms: 1_790_000_000_000 + seconds * 1000 }
    }

    fn key(user: usize, contact: usize, domain: usize) -> PairKey {
        PairKey::new(&format!("u{user}@contoso.example"), &format!("c{contact}@d{domain}.example"))
    }

    #[test]
    fn sec_41_each_quota_holds_at_the_limit_and_one_past_it() {
        let limits = |per_pair, per_contact, per_user, per_domain| RequestLimits {
            per_pair,
            per_contact,
            per_user,
            per_domain,
        };
        let by_number = |make: fn(usize) -> PairKey| make;
        for (limits, make) in [
            (limits(3, MANY, MANY, MANY), by_number(|_| key(0, 0, 0))),
            (limits(MANY, 3, MANY, MANY), by_number(|number| key(number, 0, 0))),
            (limits(MANY, MANY, 3, MANY), by_number(|number| key(0, number, number))),
            (limits(MANY, MANY, MANY, 3), by_number(|number| key(number, number, 0))),
        ] {
            let (requests, start) = (Requests::new(limits), Instant::now());
            for number in 0..3 {
                assert!(requests.ask(&make(number), at(0, start)), "{:?}", requests.limits);
            }
            assert!(!requests.ask(&make(3), at(1199, start)), "{:?}", requests.limits);
            assert!(
                requests.ask(&make(4), at(1200, start)),
                "a third of an hour later: {:?}",
                requests.limits
            );
            assert!(!requests.ask(&make(5), at(1200, start)), "{:?}", requests.limits);
        }
    }

    #[test]
    fn sec_41_who_is_refused_takes_nothing_from_others() {
        let limits = RequestLimits { per_pair: 1, per_contact: MANY, per_user: 3, per_domain: MANY };
        let (requests, start) = (Requests::new(limits), Instant::now());
        assert!(requests.ask(&key(0, 0, 0), at(0, start)));
        for _ in 0..100 {
            assert!(!requests.ask(&key(0, 0, 0), at(0, start)));
        }
        assert!(requests.ask(&key(0, 1, 0), at(0, start)));
        assert!(requests.ask(&key(0, 2, 0), at(0, start)));
        assert!(!requests.ask(&key(0, 3, 0), at(0, start)));
    }

    #[test]
    fn what_is_long_ago_is_not_remembered() {
        let (requests, start) = (Requests::new(RequestLimits::default()), Instant::now());
        for number in 0..SWEEP_EVERY {
            // A hundredth of a second apart, so that the domain has room.
            requests.ask(&key(number, number, number), at(number as u64, start));
        }
        assert!(requests.meters.len() < SWEEP_EVERY * 4);
        for number in 0..SWEEP_EVERY {
            requests.ask(&key(0, 0, 0), at(100_000 + number as u64 * 10_000, start));
        }
        assert_eq!(requests.meters.len(), 4);
    }
}
