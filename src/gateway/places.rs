//! Places that are counted beyond the single pair (PS-03): subscriptions at front ends by contact, by remote domain
//! and in all, and kept requests by remote domain.

use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};

use compact_str::CompactString;
use dashmap::{DashMap, Entry};
use nuncio_translate::Moment;
use nuncio_translate::pair::{Budget, PairKey, Place};

use super::prints::{PrintMap, Prints};
use super::requests::{RequestLimits, Requests};

/// How many there may be.
#[derive(Debug, Clone)]
pub struct PlaceLimits {
    /// Subscriptions at front ends for one contact.
    pub subscriptions_per_contact: usize,
    /// Subscriptions at front ends for the contacts of one remote domain.
    pub subscriptions_per_domain: usize,
    /// Subscriptions at front ends in all.
    pub subscriptions: usize,
    /// Requests of the contacts of one remote domain that are kept until they are added.
    pub kept_per_domain: usize,
    /// Invitations of SIP users under way, in all: each holds a place among the requests to its front end.
    pub invitations: usize,
    /// The same for the contacts of one remote domain.
    pub invitations_per_domain: usize,
    /// New requests in an hour.
    pub requests: RequestLimits,
}

impl Default for PlaceLimits {
    fn default() -> Self {
        Self {
            subscriptions_per_contact: 500,
            subscriptions_per_domain: 100_000,
            subscriptions: 1_000_000,
            kept_per_domain: 10_000,
            invitations: 4096,
            invitations_per_domain: 1024,
            requests: RequestLimits::default(),
        }
    }
}

/// What is taken.
#[derive(Debug)]
pub(super) struct Places {
    limits: PlaceLimits,
    prints: Prints,
    by_contact: PrintMap<u32>,
    by_domain: DashMap<CompactString, usize>,
    kept: DashMap<CompactString, usize>,
    all: AtomicUsize,
    invitations: AtomicUsize,
    inviting: DashMap<CompactString, usize>,
    requests: Requests,
}

impl Places {
    pub(super) fn new(limits: PlaceLimits) -> Self {
        Self {
            requests: Requests::new(limits.requests.clone()),
            limits,
            prints: Prints::default(),
            by_contact: PrintMap::default(),
            by_domain: DashMap::new(),
            kept: DashMap::new(),
            all: AtomicUsize::new(0),
            invitations: AtomicUsize::new(0),
            inviting: DashMap::new(),
        }
    }

    /// Whether one more request of a remote domain could be kept at this moment.
    pub(super) fn keeps_more(&self, remote_domain: &str) -> bool {
        self.kept.get(remote_domain).is_none_or(|count| *count < self.limits.kept_per_domain)
    }

    fn enter_contact(&self, contact: &str) -> bool {
        let mut count = self.by_contact.entry(self.prints.of(contact)).or_insert(0);
        let free = usize::try_from(*count).is_ok_and(|count| count < self.limits.subscriptions_per_contact);
        *count += u32::from(free);
        free
    }

    fn leave_contact(&self, contact: &str) {
        if let Entry::Occupied(mut entry) = self.by_contact.entry(self.prints.of(contact)) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Subscriptions at front ends, for status and tests.
    pub(super) fn subscriptions(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }
}

impl Budget for &Places {
    fn take(&mut self, key: &PairKey, place: Place) -> bool {
        let limits = &self.limits;
        match place {
            Place::KeptRequest => enter(&self.kept, key.remote_domain(), limits.kept_per_domain),
            Place::Invitation => {
                let next = |count: usize| (count < limits.invitations).then_some(count + 1);
                if self.invitations.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_err() {
                    return false;
                }
                let entered = enter(&self.inviting, key.remote_domain(), limits.invitations_per_domain);
                if !entered {
                    self.invitations.fetch_sub(1, Ordering::AcqRel);
                }
                entered
            }
            Place::Subscription => {
                let next = |count: usize| (count < limits.subscriptions).then_some(count + 1);
                if self.all.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_err() {
                    return false;
                }
                if enter(&self.by_domain, key.remote_domain(), limits.subscriptions_per_domain) {
                    if self.enter_contact(key.contact()) {
                        return true;
                    }
                    leave(&self.by_domain, key.remote_domain());
                }
                self.all.fetch_sub(1, Ordering::AcqRel);
                false
            }
        }
    }

    fn give_back(&mut self, key: &PairKey, place: Place) {
        match place {
            Place::KeptRequest => leave(&self.kept, key.remote_domain()),
            Place::Invitation => {
                leave(&self.inviting, key.remote_domain());
                self.invitations.fetch_sub(1, Ordering::AcqRel);
            }
            Place::Subscription => {
                self.leave_contact(key.contact());
                leave(&self.by_domain, key.remote_domain());
                self.all.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn ask(&mut self, key: &PairKey, now: Moment) -> bool {
        self.requests.ask(key, now)
    }
}

fn enter<K: Eq + Hash + for<'k> From<&'k str> + std::borrow::Borrow<str>>(
    counts: &DashMap<K, usize>,
    name: &str,
    most: usize,
) -> bool {
    let mut count = counts.entry(name.into()).or_insert(0);
    if *count >= most {
        return false;
    }
    *count += 1;
    true
}

fn leave<K: Eq + Hash + std::borrow::Borrow<str>>(counts: &DashMap<K, usize>, name: &str) {
    let emptied = counts.get_mut(name).is_some_and(|mut count| {
        *count = count.saturating_sub(1);
        *count == 0
    });
    if emptied {
        counts.remove_if(name, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(per_contact: usize, per_domain: usize, all: usize) -> Places {
        Places::new(PlaceLimits {
            subscriptions_per_contact: per_contact,
            subscriptions_per_domain: per_domain,
            subscriptions: all,
            kept_per_domain: 1,
            invitations: all,
            invitations_per_domain: per_domain,
            requests: RequestLimits::default(),
        })
    }

    fn key(user: &str, contact: &str) -> PairKey {
        PairKey::new(&format!("{user}@contoso.example"), contact)
    }

    #[test]
    fn invitations_are_bounded_by_domain_and_in_all() {
        for (places, third) in
            [(places(9, 2, 9), "eve@fabrikam.example"), (places(9, 9, 2), "eve@other.example")]
        {
            let mut places = &places;
            let one = key("a", "bob@fabrikam.example");
            assert!(places.take(&one, Place::Invitation) && places.take(&one, Place::Invitation));
            assert!(!places.take(&key("b", third), Place::Invitation));
            places.give_back(&one, Place::Invitation);
            assert!(places.take(&key("b", third), Place::Invitation));
        }
    }

    #[test]
    fn ps_03_each_bound_holds_at_the_limit_and_one_past_it() {
        for (places, second, third) in [
            (places(2, 9, 9), "bob@fabrikam.example", "bob@fabrikam.example"),
            (places(9, 2, 9), "carol@fabrikam.example", "dave@fabrikam.example"),
            (places(9, 9, 2), "eve@other.example", "mallory@third.example"),
        ] {
            let mut places = &places;
            assert!(places.take(&key("a", "bob@fabrikam.example"), Place::Subscription));
            assert!(places.take(&key("b", second), Place::Subscription));
            assert!(!places.take(&key("c", third), Place::Subscription));
            assert_eq!(places.subscriptions(), 2, "a refusal takes nothing");
            places.give_back(&key("b", second), Place::Subscription);
            assert!(places.take(&key("c", third), Place::Subscription));
        }
    }

    #[test]
    fn xi_04_kept_requests_are_counted_by_domain_and_nothing_remains_of_them() {
        let owned = places(1, 1, 1);
        let mut places = &owned;
        assert!(places.take(&key("a", "eve@public.example"), Place::KeptRequest));
        assert!(!places.take(&key("b", "mallory@public.example"), Place::KeptRequest));
        assert!(places.take(&key("b", "eve@other.example"), Place::KeptRequest));
        places.give_back(&key("a", "eve@public.example"), Place::KeptRequest);
        places.give_back(&key("b", "eve@other.example"), Place::KeptRequest);
        assert!(owned.kept.is_empty());
        assert!(places.take(&key("b", "mallory@public.example"), Place::KeptRequest));
    }
}
