//! How many of a listener's unauthenticated connections one origin may hold, so that nobody takes them all (SEC-40).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::origin::Origin;

/// The shares of one listener. Its memory is bounded by the number of connections that hold one.
#[derive(Debug)]
pub struct Shares {
    most: usize,
    taken: Mutex<HashMap<Origin, usize>>,
}

/// One connection's part of its origin's share; dropped with the connection, or when it is authenticated.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    origin: Origin,
}

impl Shares {
    pub fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A part of the share of `address`, unless all of it is taken.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let origin = Origin::from(address);
        let mut taken = self.taken.lock();
        let held = taken.get(&origin).copied().unwrap_or_default();
        if held >= self.most {
            return None;
        }
        taken.insert(origin, held + 1);
        Some(Share { shares: Arc::clone(self), origin })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        match taken.get_mut(&self.origin) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                taken.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sec_40_an_origin_has_its_share_and_not_one_more() {
        let shares = Arc::new(Shares::new(2));
        let first = shares.take(address("192.0.2.1")).unwrap();
        let _second = shares.take(address("192.0.2.1")).unwrap();
        assert!(shares.take(address("192.0.2.1")).is_none(), "one past the limit");
        assert!(shares.take(address("192.0.2.2")).is_some(), "another address has its own");
        drop(first);
        assert!(shares.take(address("192.0.2.1")).is_some(), "what is given back can be taken");
    }

    #[test]
    fn sec_40_a_64_network_shares_one_share() {
        let shares = Arc::new(Shares::new(1));
        let _first = shares.take(address("2001:db8:0:1::1")).unwrap();
        assert!(shares.take(address("2001:db8:0:1:8000::2")).is_none());
        assert!(shares.take(address("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let shares = Arc::new(Shares::new(3));
        let held: Vec<_> = (0..3).map(|_| shares.take(address("192.0.2.1")).unwrap()).collect();
        assert_eq!(shares.taken.lock().len(), 1);
        drop(held);
        assert!(shares.taken.lock().is_empty());
    }
}
