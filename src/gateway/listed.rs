//! The next hops of a route, which may come and go.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_sip::hop::MAX_TARGETS;

/// Where requests to a front end are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// The front end's place in the configuration.
    pub front_end: usize,
    /// Name or address, IPv6 in brackets.
    pub host: CompactString,
    pub port: u16,
    /// The name that its certificate has to carry, unless the front end's entry names others: what was asked for, not where
    /// DNS led (RFC 5922 §7.3).
    pub server_name: CompactString,
    /// Lower is preferred; among equal ones none is.
    pub rank: u32,
}

impl NextHop {
    /// A host that is given, as the first choice.
    pub fn new(front_end: usize, host: &str, port: u16) -> Self {
        Self { front_end, host: host.into(), port, server_name: host.into(), rank: 0 }
    }

    /// The same with another rank.
    #[must_use]
    pub fn ranked(self, rank: u32) -> Self {
        Self { rank, ..self }
    }

    fn is_at(&self, other: &Self) -> bool {
        (self.front_end, &self.host, self.port) == (other.front_end, &other.host, other.port)
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How long it counts where DNS said that a next hop is. Whoever is connected asks no more, and what was said weeks ago may be
/// somebody else's address. Longer than the resolver believes any answer.
pub(super) const ADDRESSES_COUNT_FOR: Duration = Duration::from_secs(25 * 60 * 60);

/// The next hops under the numbers that the group knows them by. Those that are listed no more are remembered for a while,
/// for connections to them may be in use.
#[derive(Debug)]
pub(super) struct Listed {
    now: Vec<(usize, NextHop)>,
    /// Latest last.
    before: Vec<(usize, NextHop)>,
    next_id: usize,
    /// Where DNS said last that those of now are, and when that was: by their numbers.
    addresses: Vec<(usize, Instant, Vec<IpAddr>)>,
    /// How they are known.
    pub(super) evidence: Vec<String>,
}

impl Listed {
    pub(super) fn new(next_hops: Vec<NextHop>) -> Self {
        let next_id = next_hops.len();
        let now = next_hops.into_iter().enumerate().collect();
        Self { now, before: Vec::new(), next_id, addresses: Vec::new(), evidence: Vec::new() }
    }

    /// Who was known before keeps his number. True if others are listed than before, or they are preferred differently.
    pub(super) fn replace(
        &mut self,
        next_hops: Vec<NextHop>,
        evidence: Vec<String>,
    ) -> (Vec<(usize, NextHop)>, bool) {
        self.evidence = evidence;
        let mut former = std::mem::take(&mut self.before);
        former.append(&mut self.now.clone());
        let mut now: Vec<(usize, NextHop)> = Vec::with_capacity(next_hops.len());
        for hop in next_hops.into_iter().take(MAX_TARGETS) {
            if now.iter().any(|(_, listed)| listed.is_at(&hop)) {
                continue;
            }
            let id = match former.iter().position(|(_, known)| known.is_at(&hop)) {
                Some(place) => former.remove(place).0,
                None => {
                    self.next_id += 1;
                    self.next_id - 1
                }
            };
            now.push((id, hop));
        }
        let before = former.len().saturating_sub(MAX_TARGETS);
        self.before = former.split_off(before);
        // Among equals the order is chance.
        let set = |list: &[(usize, NextHop)]| {
            let mut set: Vec<_> = list.iter().map(|(id, hop)| (*id, hop.rank)).collect();
            set.sort_unstable();
            set
        };
        let changed = set(&self.now) != set(&now);
        self.now.clone_from(&now);
        self.addresses.retain(|(id, ..)| now.iter().any(|(listed, _)| listed == id));
        (now, changed)
    }

    /// This is where one of them is.
    pub(super) fn found(&mut self, hop: &NextHop, addresses: Vec<IpAddr>, now: Instant) {
        let Some((id, _)) = self.now.iter().find(|(_, listed)| listed.is_at(hop)) else { return };
        self.addresses.retain(|(known, ..)| known != id);
        self.addresses.push((*id, now, addresses));
    }

    /// Where those of now are, as far as it is known: each with the front end.
    pub(super) fn addresses(&self, now: Instant) -> impl Iterator<Item = (usize, IpAddr)> {
        let fresh =
            move |(_, said, _): &&(_, Instant, _)| now.saturating_duration_since(*said) < ADDRESSES_COUNT_FOR;
        self.addresses.iter().filter(fresh).flat_map(|(id, _, addresses)| {
            let front_end = self.get(*id).map(|hop| hop.front_end);
            front_end
                .into_iter()
                .flat_map(move |index| addresses.iter().map(move |address| (index, *address)))
        })
    }

    /// Those of now, then those of late.
    pub(super) fn known(&self) -> impl Iterator<Item = &NextHop> {
        self.now.iter().chain(&self.before).map(|(_, hop)| hop)
    }

    pub(super) fn get(&self, id: usize) -> Option<&NextHop> {
        let mut all = self.now.iter().chain(&self.before);
        all.find(|(known, _)| *known == id).map(|(_, hop)| hop)
    }

    pub(super) fn now(&self) -> impl Iterator<Item = &NextHop> {
        self.now.iter().map(|(_, hop)| hop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(names: &[&str]) -> Vec<NextHop> {
        names.iter().map(|name| NextHop::new(0, name, 5061)).collect()
    }

    fn replace(listed: &mut Listed, names: &[&str]) -> (Vec<usize>, bool) {
        let (now, changed) = listed.replace(hops(names), Vec::new());
        (now.into_iter().map(|(id, _)| id).collect(), changed)
    }

    #[test]
    fn who_stays_keeps_his_number_and_who_comes_gets_a_new_one() {
        let mut listed = Listed::new(hops(&["a", "b"]));
        assert_eq!(replace(&mut listed, &["c", "b"]), (vec![2, 1], true));
        assert_eq!(listed.get(0).unwrap().host, "a", "a connection may lead there");
        assert_eq!(replace(&mut listed, &["a", "d"]), (vec![0, 3], true));
        assert_eq!(listed.now().count(), 2);
    }

    #[test]
    fn another_order_among_equals_is_no_change_and_another_rank_is_one() {
        let mut listed = Listed::new(hops(&["a", "b"]));
        assert_eq!(replace(&mut listed, &["b", "a"]), (vec![1, 0], false));
        let ranked = hops(&["a", "b"]).into_iter().map(|hop| hop.ranked(1)).collect();
        assert!(listed.replace(ranked, Vec::new()).1);
    }

    #[test]
    fn where_a_next_hop_is_is_known_as_long_as_it_is_listed() {
        let at = |last: u8| IpAddr::from([192, 0, 2, last]);
        let (mut listed, now) = (Listed::new(hops(&["a", "b"])), Instant::now());
        listed.found(&NextHop::new(0, "a", 5061), vec![at(1), at(2)], now);
        listed.found(&NextHop::new(0, "a", 5061), vec![at(3)], now);
        listed.found(&NextHop::new(0, "c", 5061), vec![at(4)], now);
        assert_eq!(listed.addresses(now).collect::<Vec<_>>(), [(0, at(3))]);
        replace(&mut listed, &["b"]);
        assert_eq!(listed.addresses(now).count(), 0);
    }

    #[test]
    fn where_a_next_hop_was_long_ago_says_nothing() {
        let at = |last: u8| IpAddr::from([192, 0, 2, last]);
        let (mut listed, start) = (Listed::new(hops(&["a", "b"])), Instant::now());
        let (minute, nearly) = (Duration::from_secs(60), ADDRESSES_COUNT_FOR - Duration::from_nanos(1));
        listed.found(&NextHop::new(0, "a", 5061), vec![at(1), at(2)], start);
        listed.found(&NextHop::new(0, "b", 5061), vec![at(3)], start + minute);
        assert_eq!(listed.addresses(start + nearly).count(), 3);
        assert_eq!(listed.addresses(start + ADDRESSES_COUNT_FOR).collect::<Vec<_>>(), [(0, at(3))]);
        listed.found(&NextHop::new(0, "a", 5061), vec![at(2)], start + ADDRESSES_COUNT_FOR);
        let all: Vec<_> = listed.addresses(start + minute + nearly).collect();
        assert_eq!(all, [(0, at(3)), (0, at(2))], "asked again, it counts again");
    }

    #[test]
    fn nobody_is_listed_twice_and_those_of_the_past_are_bounded() {
        let mut listed = Listed::new(Vec::new());
        assert_eq!(replace(&mut listed, &["a", "a"]).0, [0]);
        for n in 0..1_000 {
            replace(&mut listed, &[&format!("fe{n}")]);
        }
        assert_eq!(listed.before.len(), MAX_TARGETS);
        assert_eq!(listed.get(1_000).unwrap().host, "fe999");
        assert_eq!(listed.get(0), None);
    }
}
