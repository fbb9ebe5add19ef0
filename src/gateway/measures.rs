//! What the gateway holds and has counted, by partner and by front end: what metrics show.
//!
//! Label values come from the configuration only. What belongs to a domain that is no partner, or is none any more, stands
//! under one name for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use nuncio_translate::judge::{Direction, PartnerType, Refusal};
use nuncio_translate::pair::{From, To};
use nuncio_xmpp::stream;

use super::tally::{Distribution, Fate, StreamKind, Tally};
use super::{FrontEndTally, Gateway, SipPeer};

/// Stands for every domain that is no partner.
pub const OTHERS: &str = "other";

/// Everything by partner and front end, at a moment.
#[derive(Debug)]
pub struct Measures<'a> {
    /// By primary domain; the last is [`OTHERS`].
    pub partners: Vec<(CompactString, PartnerMeasures)>,
    pub front_ends: Vec<FrontEndMeasures<'a>>,
    pub routes: Vec<RouteMeasures>,
    /// Connections of SIP peers that are no front ends.
    pub unlisted_connections: usize,
    /// What pairs, next hops and lanes still have to do for somebody.
    pub owed: usize,
    /// Domains on record that knocked and are no partners.
    pub refused_domains: usize,
    /// Subscriptions of ours at front ends.
    pub subscriptions_at_front_ends: usize,
    /// Dialogs, in both roles.
    pub dialogs: usize,
    /// Batched subscriptions of front ends.
    pub batches: usize,
}

/// One partner.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartnerMeasures {
    /// `None`: these are no partners.
    pub entry: Option<(PartnerType, bool)>,
    /// Messages of SIP users, and those of contacts.
    pub messages: [Messages; 2],
    /// What rules have refused, by direction and rule: messages, subscriptions, presence.
    pub refusals: [[u64; Refusal::ALL.len()]; 2],
    /// Attempts at inbound and at outbound streams.
    pub attempts: [Attempts; 2],
    /// Streams that are up, and those there were.
    pub streams: BTreeMap<StreamKind, (u64, u64)>,
    /// The first time, in seconds of Unix time, at which what a domain of his has shown on a stream that is up proves it no
    /// more.
    pub proved_until: Option<u64>,
    pub lanes: LaneStates,
    pub pairs: usize,
    /// Messages of contacts waiting for their turn.
    pub waiting: usize,
    /// Pairs whose SIP user has asked to see the contact, and those of whom he may.
    pub users_watch: (usize, usize),
    /// Pairs whose contact has asked to see the SIP user, and those who may.
    pub contacts_watch: (usize, usize),
    /// Subscriptions of SIP users' endpoints.
    pub endpoints: usize,
    pub sessions: usize,
}

/// Messages in one direction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Messages {
    pub fates: [u64; Fate::ALL.len()],
    pub delivered: Distribution,
}

/// Attempts at streams in one direction.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempts {
    pub failed: u64,
    pub took: Distribution,
}

/// The lanes to one partner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneStates {
    /// With a stream.
    pub open: usize,
    /// Without one, and none is missed.
    pub idle: usize,
    /// Without one, for the last attempt has failed.
    pub failing: usize,
    /// Stanzas queued or being written.
    pub waiting: usize,
    /// Replies queued, being written, or reserved.
    pub replies: usize,
    /// Stanzas written and not proved processed.
    pub unconfirmed: usize,
}

/// One front end.
#[derive(Debug)]
pub struct FrontEndMeasures<'a> {
    pub name: &'a str,
    pub tally: &'a FrontEndTally,
    /// Connections of both directions, living or remembered for the answers they are owed.
    pub connections: usize,
}

/// One way to front ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMeasures {
    pub domains: Vec<CompactString>,
    /// The front end for whose dialogs it is.
    pub dialogs_of: Option<CompactString>,
    pub connected: bool,
    /// There is no connection, for the last attempt has failed.
    pub failing: bool,
    /// Requests waiting or under way.
    pub load: usize,
}

const DIRECTIONS: [Direction; 2] = [Direction::SipToXmpp, Direction::XmppToSip];
const STREAMS: [stream::Direction; 2] = [stream::Direction::Inbound, stream::Direction::Outbound];

impl PartnerMeasures {
    fn add(&mut self, tally: &Tally) {
        for (messages, direction) in self.messages.iter_mut().zip(DIRECTIONS) {
            for (count, fate) in messages.fates.iter_mut().zip(Fate::ALL) {
                *count += tally.fate(direction, fate);
            }
            messages.delivered.add(&tally.deliveries(direction));
        }
        for (refusals, direction) in self.refusals.iter_mut().zip(DIRECTIONS) {
            refusals.iter_mut().zip(tally.refusals(direction)).for_each(|(count, (_, more))| *count += more);
        }
        for (attempts, direction) in self.attempts.iter_mut().zip(STREAMS) {
            let (failed, took) = tally.attempts(direction);
            attempts.failed += failed;
            attempts.took.add(&took);
        }
        let streams = tally.streams();
        if streams.iter().any(|streams| streams.up > 0) {
            self.proved_until = [self.proved_until, tally.proved_until()].into_iter().flatten().min();
        }
        for more in streams {
            let (up, established) = self.streams.entry(more.kind).or_default();
            *up += more.up;
            *established += more.established;
        }
    }
}

impl Gateway {
    /// Everything by partner and front end. Walks all pairs: for a few times a minute, and off the threads that carry
    /// messages.
    pub fn measures(&self) -> Measures<'_> {
        let policy = self.policy();
        let entry = |domain| policy.partner(domain).map(|partner| (partner.partner_type, partner.enabled));
        let mut partners: BTreeMap<CompactString, PartnerMeasures> = BTreeMap::new();
        for partner in policy.partners() {
            let measures = PartnerMeasures { entry: entry(&partner.domain), ..PartnerMeasures::default() };
            partners.insert(partner.domain.clone(), measures);
        }
        let mut others = PartnerMeasures::default();
        others.add(&self.others);
        let mut owed = self.owes_outside_pairs();
        let remotes: Vec<_> =
            self.remotes.iter().map(|remote| (remote.key().clone(), Arc::clone(&remote))).collect();
        for (domain, remote) in remotes {
            let primary = policy.partner(&domain).map(|partner| &partner.domain);
            let measures = primary.and_then(|primary| partners.get_mut(primary)).unwrap_or(&mut others);
            measures.add(remote.tally());
            for lane in remote.lanes() {
                lane.step(|lane| measures.lanes.add(lane));
            }
            remote.pairs.each(|pair| {
                owed += pair.owes();
                measures.add_pair(pair);
            });
        }
        let mut partners: Vec<_> = partners.into_iter().collect();
        partners.push((OTHERS.into(), others));
        let (front_ends, unlisted_connections) = self.measured_front_ends();
        Measures {
            partners,
            front_ends,
            unlisted_connections,
            routes: self.measured_routes(),
            owed,
            refused_domains: self.refused.lock().list().len(),
            subscriptions_at_front_ends: self.places.subscriptions(),
            dialogs: self.dialogs.len(),
            batches: self.batches.len(),
        }
    }

    fn measured_front_ends(&self) -> (Vec<FrontEndMeasures<'_>>, usize) {
        let named = self.front_ends.iter().zip(&self.front_end_tallies);
        let mut measures: Vec<_> = named
            .map(|(front_end, tally)| FrontEndMeasures { name: &front_end.name, tally, connections: 0 })
            .collect();
        let mut unlisted = 0;
        // What has ended and is remembered for answers is no connection any more.
        let open =
            self.connections.iter().filter(|link| link.port.step(|connection| !connection.is_closed()));
        for link in open {
            let known = match link.peer {
                SipPeer::FrontEnd(index) => measures.get_mut(index),
                SipPeer::Unlisted(_) => None,
            };
            *known.map_or(&mut unlisted, |front_end| &mut front_end.connections) += 1;
        }
        (measures, unlisted)
    }

    fn measured_routes(&self) -> Vec<RouteMeasures> {
        let measured = |route: &super::Route| {
            let (load, connected, failing) = route
                .hops
                .step(|group| (group.load(), group.active().is_some(), group.last_failure().is_some()));
            let holder = route.dialogs_of.and_then(|holder| self.front_ends.get(holder));
            RouteMeasures {
                domains: route.domains.clone(),
                dialogs_of: holder.map(|holder| holder.name.clone()),
                connected,
                failing: failing && !connected,
                load,
            }
        };
        self.routes.iter().map(measured).collect()
    }
}

impl LaneStates {
    fn add(&mut self, lane: &super::ToXmppLane) {
        match (lane.is_open(), lane.last_failure()) {
            (true, _) => self.open += 1,
            (false, None) => self.idle += 1,
            (false, Some(_)) => self.failing += 1,
        }
        let (waiting, replies) = lane.occupancy();
        self.waiting += waiting;
        self.replies += replies;
        self.unconfirmed += lane.unconfirmed();
    }
}

impl PartnerMeasures {
    fn add_pair(&mut self, pair: &super::Pair) {
        self.pairs += 1;
        self.waiting += pair.waiting();
        self.endpoints += pair.endpoints();
        self.sessions += pair.sessions();
        match pair.to() {
            To::No => {}
            To::Pending => self.users_watch.0 += 1,
            To::Yes => self.users_watch.1 += 1,
        }
        match pair.from() {
            From::No => {}
            From::Kept | From::Pending => self.contacts_watch.0 += 1,
            From::Yes => self.contacts_watch.1 += 1,
        }
    }
}
