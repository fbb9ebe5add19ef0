//! Domains that knocked and are no partners: what an administrator looks at before adding one.

use std::collections::HashMap;

use compact_str::CompactString;

/// What is known of the attempts of one unlisted domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    pub count: u64,
    /// Milliseconds of Unix time.
    pub first: u64,
    /// Milliseconds of Unix time.
    pub last: u64,
}

/// A bounded list of refused domains. When it is full, the domain silent for longest makes room.
#[derive(Debug)]
pub struct RefusedDomains {
    capacity: usize,
    domains: HashMap<CompactString, Attempts>,
}

impl RefusedDomains {
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), domains: HashMap::new() }
    }

    /// Counts one attempt of `domain` and returns what is known of it now.
    pub fn record(&mut self, domain: &str, unix_ms: u64) -> Attempts {
        if let Some(attempts) = self.domains.get_mut(domain) {
            attempts.count += 1;
            attempts.last = unix_ms;
            return *attempts;
        }
        if self.domains.len() >= self.capacity {
            self.evict();
        }
        let attempts = Attempts { count: 1, first: unix_ms, last: unix_ms };
        self.domains.insert(domain.into(), attempts);
        attempts
    }

    /// The recorded domains, the latest attempt first.
    pub fn list(&self) -> Vec<(CompactString, Attempts)> {
        let mut list: Vec<_> =
            self.domains.iter().map(|(domain, attempts)| (domain.clone(), *attempts)).collect();
        list.sort_by(|(a, x), (b, y)| y.last.cmp(&x.last).then_with(|| a.cmp(b)));
        list
    }

    /// Linear, over at most `capacity` short entries, and only when a new name comes to a full list.
    fn evict(&mut self) {
        let oldest =
            self.domains.iter().min_by_key(|(_, attempts)| attempts.last).map(|(domain, _)| domain.clone());
        if let Some(domain) = oldest {
            self.domains.remove(&domain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_first_and_last() {
        let mut refused = RefusedDomains::new(10);
        refused.record("stranger.example", 100);
        refused.record("stranger.example", 300);
        assert_eq!(
            refused.list(),
            [("stranger.example".into(), Attempts { count: 2, first: 100, last: 300 })]
        );
    }

    #[test]
    fn bounded_and_the_longest_silent_one_makes_room() {
        let mut refused = RefusedDomains::new(2);
        refused.record("a.example", 1);
        refused.record("b.example", 2);
        refused.record("a.example", 3);
        refused.record("c.example", 4);
        let names: Vec<_> = refused.list().into_iter().map(|(domain, _)| domain).collect();
        assert_eq!(names, ["c.example", "a.example"]);
    }
}
