//! Inbound connections of a listener whose peers have not proved yet who they are: how many there may be, in all and of one
//! origin, and how often one may try (SEC-03, SEC-40).
//!
//! A flood of half-open connections must not keep those out who would prove who they are at once. So a newcomer is let in
//! when all places are taken, and the oldest connection of the origin that has most of them goes. Whoever floods from one
//! address pays for it himself; from many addresses, everybody has as long as it takes until as many others have come.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_xmpp::rate::{Meter, Rate};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::now;
use super::origin::Origin;

/// Origins whose failures are remembered. Further ones are bounded by the number of connections alone.
const REMEMBERED: usize = 65_536;
/// How often those are looked for that need not be remembered any more.
const SWEEP: Duration = Duration::from_secs(1);
/// Failures are allowed per minute, and rates are per second.
const MINUTE: u64 = 60;

/// How many strangers a listener bears.
#[derive(Debug, Clone, Copy)]
pub struct StrangerLimits {
    /// Connections at a time.
    pub most: usize,
    /// … from one address, or one /64 network of IPv6.
    pub per_address: usize,
    /// Connections of one origin in a minute that end without proof.
    pub failures_per_address: usize,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no place, and none that could be taken from somebody.
    Full,
    /// The origin has all that it may have at a time.
    Share,
    /// The origin has failed too often in the last minute.
    Failures,
}

/// The strangers of one listener.
#[derive(Debug)]
pub struct Strangers {
    limits: StrangerLimits,
    state: Mutex<State>,
}

/// The place of a connection among them; given back when it is dropped.
#[derive(Debug)]
pub struct Unauthenticated {
    strangers: Arc<Strangers>,
    number: u64,
    origin: Origin,
    evicted: CancellationToken,
    /// It does not count as a failure any more.
    excused: bool,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    places: BTreeMap<u64, Place>,
    held: HashMap<Origin, usize>,
    failures: HashMap<Origin, Meter>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    origin: Origin,
    /// Cancelled when somebody else gets the place; `None`: nobody does.
    evict: Option<CancellationToken>,
}

impl Strangers {
    pub fn new(limits: StrangerLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// A place for a connection from `address`, if need be that of another one, which is told.
    ///
    /// # Errors
    /// There is none for it.
    pub fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Unauthenticated, Refused> {
        let origin = Origin::from(address);
        let mut state = self.state.lock();
        if !state.may_try(origin, self.rate(), now) {
            return Err(Refused::Failures);
        }
        if state.held.get(&origin).copied().unwrap_or_default() >= self.limits.per_address {
            return Err(Refused::Share);
        }
        if state.places.len() >= self.limits.most {
            state.evict()?;
        }
        let (number, evicted) = (state.next, CancellationToken::new());
        state.next += 1;
        state.places.insert(number, Place { origin, evict: Some(evicted.clone()) });
        *state.held.entry(origin).or_default() += 1;
        Ok(Unauthenticated { strangers: Arc::clone(self), number, origin, evicted, excused: false })
    }

    fn rate(&self) -> Rate {
        Rate::new(u64::try_from(self.limits.failures_per_address).unwrap_or(u64::MAX), MINUTE)
    }
}

impl Unauthenticated {
    /// Rings when somebody else got the place: the connection is to end.
    pub fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }

    /// The peer has proved who it is: this was no failure.
    pub fn proved(mut self) {
        self.excuse();
    }

    /// The peer has not proved who it is, and need not: what it wanted is for everybody. It keeps its place among those who have
    /// not, and this was no failure.
    pub fn excuse(&mut self) {
        if std::mem::replace(&mut self.excused, true) {
            return;
        }
        let rate = self.strangers.rate();
        let mut state = self.strangers.state.lock();
        if let Some(meter) = state.failures.get_mut(&self.origin) {
            meter.give_back(rate, MINUTE);
            if meter.is_full(now().instant) {
                state.failures.remove(&self.origin);
            }
        }
    }

    /// Nobody else gets the place from now on: the connection has an end of its own soon.
    pub fn keep(&self) {
        if let Some(place) = self.strangers.state.lock().places.get_mut(&self.number) {
            place.evict = None;
        }
    }
}

impl Drop for Unauthenticated {
    fn drop(&mut self) {
        self.strangers.state.lock().leave(self.number);
    }
}

impl State {
    /// Counts an attempt as a failure, which it is unless it is proved to be none.
    fn may_try(&mut self, origin: Origin, rate: Rate, now: Instant) -> bool {
        if self.failures.len() >= REMEMBERED && !self.failures.contains_key(&origin) {
            if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
                return true;
            }
            self.swept = Some(now);
            self.failures.retain(|_, meter| !meter.is_full(now));
            if self.failures.len() >= REMEMBERED {
                return true;
            }
        }
        let meter = self.failures.entry(origin).or_default();
        let too_often = meter.take(rate, MINUTE, now).is_some();
        if too_often {
            // Who is kept out does not fail again by it.
            meter.give_back(rate, MINUTE);
        }
        !too_often
    }

    /// Takes the place of the oldest connection of the origin that has most of them.
    fn evict(&mut self) -> Result<(), Refused> {
        let mut chosen: Option<(u64, usize)> = None;
        for (number, place) in self.places.iter().filter(|(_, place)| place.evict.is_some()) {
            let held = self.held.get(&place.origin).copied().unwrap_or_default();
            if chosen.is_none_or(|(_, most)| held > most) {
                chosen = Some((*number, held));
            }
        }
        let (number, _) = chosen.ok_or(Refused::Full)?;
        if let Some(evict) = self.leave(number).and_then(|place| place.evict) {
            evict.cancel();
        }
        Ok(())
    }

    fn leave(&mut self, number: u64) -> Option<Place> {
        let place = self.places.remove(&number)?;
        match self.held.get_mut(&place.origin) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                self.held.remove(&place.origin);
            }
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StrangerLimits = StrangerLimits { most: 4, per_address: 3, failures_per_address: 6 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    struct Door {
        strangers: Arc<Strangers>,
        now: Instant,
    }

    impl Door {
        fn new(limits: StrangerLimits) -> Self {
            Self { strangers: Strangers::new(limits), now: Instant::now() }
        }

        fn knock(&self, from: &str) -> Result<Unauthenticated, Refused> {
            self.strangers.enter(address(from), self.now)
        }
    }

    fn evicted(places: &[Unauthenticated]) -> Vec<bool> {
        places.iter().map(|place| place.evicted.is_cancelled()).collect()
    }

    #[test]
    fn sec_40_an_origin_has_its_share_and_not_one_more() {
        let door = Door::new(LIMITS);
        let held: Vec<_> = (0..3).map(|_| door.knock("192.0.2.1").unwrap()).collect();
        assert_eq!(door.knock("192.0.2.1").unwrap_err(), Refused::Share, "one past the limit");
        assert!(door.knock("192.0.2.2").is_ok(), "another address has its own");
        drop(held);
        assert!(door.knock("192.0.2.1").is_ok(), "what is given back can be taken");
    }

    #[test]
    fn sec_40_a_64_network_shares_one_share() {
        let door = Door::new(StrangerLimits { per_address: 1, ..LIMITS });
        let _first = door.knock("2001:db8:0:1::1").unwrap();
        assert_eq!(door.knock("2001:db8:0:1:8000::2").unwrap_err(), Refused::Share);
        assert!(door.knock("2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn sec_03_when_all_places_are_taken_the_oldest_of_whoever_has_most_goes() {
        let door = Door::new(LIMITS);
        let from = ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3"];
        let mut places: Vec<_> = from.iter().map(|from| door.knock(from).unwrap()).collect();
        assert_eq!(evicted(&places), [false; 4], "at the limit");
        places.push(door.knock("192.0.2.4").unwrap());
        assert_eq!(evicted(&places), [false, true, false, false, false], "one past it");
        places.push(door.knock("192.0.2.5").unwrap());
        assert_eq!(evicted(&places), [true, true, false, false, false, false], "of equals the oldest");
        assert_eq!(door.strangers.state.lock().places.len(), 4);
    }

    #[test]
    fn sec_03_a_place_that_is_kept_is_nobody_elses() {
        let door = Door::new(StrangerLimits { most: 1, ..LIMITS });
        let first = door.knock("192.0.2.1").unwrap();
        first.keep();
        assert_eq!(door.knock("192.0.2.2").unwrap_err(), Refused::Full);
        drop(first);
        assert!(door.knock("192.0.2.2").is_ok());
    }

    #[test]
    fn sec_40_an_origin_may_fail_so_often_in_a_minute_and_not_once_more() {
        let mut door = Door::new(LIMITS);
        for _ in 0..6 {
            drop(door.knock("192.0.2.1").unwrap());
        }
        assert_eq!(door.knock("192.0.2.1").unwrap_err(), Refused::Failures, "one past the limit");
        assert!(door.knock("192.0.2.2").is_ok(), "another address pays for it");
        door.now += Duration::from_millis(9_999);
        assert_eq!(door.knock("192.0.2.1").unwrap_err(), Refused::Failures);
        door.now += Duration::from_millis(1);
        assert!(door.knock("192.0.2.1").is_ok(), "a sixth of a minute later");
    }

    #[test]
    fn sec_40_who_proves_who_he_is_may_come_as_often_as_he_likes() {
        let door = Door::new(LIMITS);
        for _ in 0..1000 {
            door.knock("192.0.2.1").unwrap().proved();
        }
        let state = door.strangers.state.lock();
        assert!(state.failures.is_empty() && state.held.is_empty() && state.places.is_empty());
    }

    #[test]
    fn so_many_origins_are_remembered_and_not_one_more() {
        let mut door = Door::new(LIMITS);
        let from = |number: usize| {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            door.strangers.enter(address, door.now).map(drop)
        };
        for number in 0..=REMEMBERED {
            from(number).unwrap();
        }
        assert_eq!(door.strangers.state.lock().failures.len(), REMEMBERED);
        door.now += Duration::from_secs(60);
        door.knock("192.0.2.1").unwrap();
        assert_eq!(door.strangers.state.lock().failures.len(), 1, "and forgotten after a minute");
    }
}
