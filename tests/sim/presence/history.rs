//! What happens in a run: who does what, and when.

use nuncio_translate::judge::PartnerType;
use nuncio_translate::pair::PairKey;

use super::server::{DEVICES, Decision};
use super::{Act, Question, User, Watched};
use crate::faults::Fault;
use crate::net::{MILLI, Micros, SECOND};
use crate::partner::{Acks, Partner, Pings};
use crate::world::{Event, LOCAL, World};

const SHOWS: [&str; 3] = ["", "away", "dnd"];
const RESOURCES: [&str; 2] = ["orchard", "balcony"];
const TYPES: [PartnerType; 3] =
    [PartnerType::Federated, PartnerType::PublicVerified, PartnerType::PublicUnverified];
/// As long as nothing goes wrong, a change is seen on the other side after so long.
const FRESH: Micros = 20 * SECOND;
/// Steps of the wall clock, in seconds, as an administrator or a time server makes them.
const STEPS: [i64; 4] = [-1800, -20, 20, 1800];
/// Things that happen in a run.
const ACTS: u64 = 45;

/// Users, contacts, what happens to them, and how it ends.
pub(crate) fn scene(seed: u64) -> World {
    let partners = vec![
        Partner::new("a.example", "a.example", Pings::Answers),
        Partner::new(
            "b.example",
            "b.example",
            if seed.is_multiple_of(3) { Pings::Ignores } else { Pings::Refuses },
        ),
    ];
    let mut world = World::new(seed, partners);
    for user in 0..2 {
        let address = format!("u{user}@{LOCAL}");
        let allowed = vec![(0, true)];
        world.presence.users.push(User { address, devices: [None, None], version: 0, allowed });
    }
    for (user, contact, partner) in [(0, "c0@a.example", 0), (1, "c0@a.example", 0), (0, "c1@b.example", 1)] {
        world.presence.pairs.push(Watched {
            user,
            address: contact.to_owned(),
            partner,
            contact: Default::default(),
            decision: Decision::Allowed,
            dialogs: Vec::new(),
            endpoints: Default::default(),
            added: vec![(0, false)],
            asked_again: None,
            adding_lost: false,
            asked_at: None,
            refused_at: None,
            wrote_at: None,
        });
    }
    for partner in 0..2 {
        let partner_type = world.rng.pick(&TYPES);
        world.types[partner] = vec![(0, partner_type)];
        world.partners[partner].acks = world.rng.pick(&[Acks::None, Acks::Promptly, Acks::Late]);
        world.partners[partner].both_ways = world.rng.chance(50);
    }
    if seed.is_multiple_of(4) {
        // Where everything hangs on consent.
        world.types[0].push((0, PartnerType::PublicUnverified));
    }
    world.publish_policy();
    let span = world.rng.pick(&[200 * SECOND, 900 * SECOND, 7200 * SECOND]);
    for _ in 0..ACTS {
        let at = world.rng.range(0, span);
        world.at(at, Event::Presence(Act::Something));
    }
    for _ in 0..world.rng.range(2, 6) {
        let (fault, duration) = Fault::draw(&mut world);
        let at = world.rng.range(SECOND, span);
        world.at(at, Event::Fault(fault));
        world.at(at + duration, Event::Repair(fault));
    }
    for _ in 0..world.rng.range(0, 4) {
        let at = world.rng.range(SECOND, span);
        world.at(at, Event::Crash);
    }
    world.at(0, Event::FrontEndConnects(0));
    world.at(0, Event::FrontEndConnects(1));
    // By then every fault is repaired.
    let mut at = span + 200 * SECOND;
    world.at(at, Event::Presence(Act::Heal));
    for round in 0..4 {
        at += 100 * SECOND;
        world.at(at, Event::Presence(Act::SignIn));
        // By the third one everybody has found his way back.
        if round == 2 {
            world.at(at + 900 * SECOND, Event::Presence(Act::Change));
            world.at(at + 900 * SECOND + FRESH, Event::Presence(Act::Fresh));
        }
        at += 1900 * SECOND;
    }
    world.at(at, Event::Presence(Act::Agree));
    world.at(at + SECOND, Event::Presence(Act::Leave));
    world.at(at + 1000 * SECOND, Event::Presence(Act::Empty));
    world
}

impl World {
    /// Somebody does something.
    pub(super) fn something_happens(&mut self) {
        let pair = self.rng.index(self.presence.pairs.len());
        let endpoint = self.rng.index(2);
        self.note("something", pair as u64, endpoint as u64);
        match self.rng.range(0, 35) {
            0..=3 => {
                let seconds = self.rng.pick(&[120, 3600, 3600]);
                self.endpoint_adds(pair, endpoint, seconds);
            }
            4 => self.endpoint_refreshes(pair, endpoint, 3600),
            5 => self.endpoint_refreshes(pair, endpoint, 0),
            6 => self.endpoint_adds(pair, endpoint, 0),
            7..=9 => self.contact_asks(pair),
            10 => self.contact_gives_up(pair),
            11..=14 => {
                let yes = !self.rng.chance(25);
                self.contact_decides(pair, yes);
            }
            15..=17 => {
                let (resource, show) = (self.rng.pick(&RESOURCES), self.rng.pick(&SHOWS));
                self.contact_is(pair, resource, Some(show));
            }
            18 => {
                let resource = self.rng.pick(&RESOURCES);
                self.contact_is(pair, resource, None);
            }
            19 => self.contact_signs_in(pair),
            20..=22 => {
                let (user, device) = (self.rng.index(2), self.rng.index(DEVICES.len()));
                let show = if self.rng.chance(30) { None } else { Some(self.rng.pick(&SHOWS)) };
                self.presence.users[user].devices[device] = show;
                self.presence.users[user].version += 1;
                self.user_changes(user);
            }
            23 => {
                let decisions = [Decision::Asked, Decision::Allowed, Decision::Allowed, Decision::Refused];
                self.presence.pairs[pair].decision = self.rng.pick(&decisions);
                self.pair_changes(pair);
            }
            24 | 25 => self.contact_writes_to_user(pair),
            26 => self.user_writes_to_contact(pair),
            27 | 28 => self.administrator(pair),
            29 => {
                let at = self.now + self.rng.range(0, 100 * MILLI);
                self.at(at, Event::Crash);
            }
            30 => self.front_end_forgets(pair),
            31 => self.endpoint_forgets(pair, endpoint),
            32 | 33 => self.much_waits_for_consent(pair),
            _ => {
                self.presence.counts.clock_steps += 1;
                let seconds = self.rng.pick(&STEPS);
                self.step_clock(seconds);
            }
        }
    }

    /// Everybody is something else than before.
    pub(super) fn everybody_changes(&mut self) {
        for user in 0..self.presence.users.len() {
            let show = self.rng.pick(&SHOWS);
            self.presence.users[user].devices[0] = Some(show);
            self.presence.users[user].version += 1;
            self.user_changes(user);
        }
        for pair in 0..self.presence.pairs.len() {
            let show = self.rng.pick(&SHOWS);
            self.contact_is(pair, RESOURCES[0], Some(show));
        }
    }

    fn user_writes_to_contact(&mut self, pair: usize) {
        let call_id = format!("w{:x}", self.rng.next());
        let question = Question::Message { pair };
        let content = ("Content-Type: text/plain\r\n", "w");
        self.front_end_sends(question, "MESSAGE", (&call_id, 1), ("w", None), content);
    }

    /// The rules change.
    fn administrator(&mut self, pair: usize) {
        let record = &self.presence.pairs[pair];
        let (user, partner) = (record.user, record.partner);
        match self.rng.range(0, 5) {
            0 | 1 => {
                let partner_type = self.rng.pick(&TYPES);
                self.types[partner].push((self.now, partner_type));
            }
            2 => {
                let allowed = !self.presence.users[user].allowed.last().is_some_and(|(_, allowed)| *allowed);
                self.presence.users[user].allowed.push((self.now, allowed));
            }
            _ => self.consent_is_taken_back(pair),
        }
        self.publish_policy();
    }

    pub(super) fn consent_is_taken_back(&mut self, pair: usize) {
        if self.down {
            return;
        }
        let record = &self.presence.pairs[pair];
        let key = PairKey::new(&self.presence.users[record.user].address, &record.address);
        self.note("taken back", pair as u64, 0);
        self.presence.counts.taken_back += 1;
        self.presence.pairs[pair].added.push((self.now, false));
        self.gateway.remove_consent(&key, self.moment());
    }

    /// Much goes to and fro between the two by the SIP user's consent, and while some of it still waits for a stream, a
    /// connection or an answer, that is taken back.
    fn much_waits_for_consent(&mut self, pair: usize) {
        let (user, endpoint) = (self.presence.pairs[pair].user, self.rng.index(2));
        self.endpoint_adds(pair, endpoint, 3600);
        self.contact_asks(pair);
        self.contact_writes_to_user(pair);
        self.presence.users[user].devices[0] = Some(self.rng.pick(&SHOWS));
        self.presence.users[user].version += 1;
        self.user_changes(user);
        let at = self.now + self.rng.pick(&[50 * MILLI, SECOND, 8 * SECOND, 30 * SECOND]);
        let at = self.rng.range(self.now, at);
        self.at(at, Event::Presence(Act::TakeBack(pair)));
    }
}
