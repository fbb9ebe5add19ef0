//! How many streams there may be, with one partner and in all, whoever opens them (SEC-40); and how much a partner may send on
//! his (XE-15).
//!
//! A stream takes a place when it is established, or, one of ours, when the way to it begins; it gives the place back when it
//! has ended. A stream that speaks for domains of several partners takes a place of each, and one in all. Connections that
//! only verify a dialback key are none: they have limits of their own (`verifying`).
//!
//! A partner writes to us on his streams and reads from ours. So his last place is kept for the direction that has none:
//! twenty streams to us must not be what keeps the answers from him.
//!
//! While a dialback key of ours is out, his server has to ask ours about it, on a stream that is authenticated like any other. If
//! there is no place, it is let in beyond the limit ([`BEYOND`](counter::BEYOND)): else neither side would get anywhere. It takes
//! an ordinary place as soon as there is one, and if there is none when no key of ours is out to him any more, it ends. So what
//! is beyond the limits is there for a while only, and nobody's is another one's hindrance.

mod counter;

use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_xmpp::rate::Meter;
use nuncio_xmpp::stream::Direction;
use smallvec::SmallVec;
use thiserror::Error;
use tokio::sync::Notify;

use super::federation::{PartnerStreams, StreamRates};
use super::remote::Remote;
use super::{Gateway, LaneKey, LanePort};

use counter::Counted;
pub use counter::StreamCount;
pub(super) use counter::StreamCounter;

/// Why there is no place for one more stream. The text is for administrators, and names the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TooMany {
    // What senders are shown of it has 256 characters at most: the numbers and the keys go first.
    #[error(
        "{count} of {limit} with him: raise connection_limit in his [[partner]], or limits.xmpp.connections_per_partner; each of \
         our domains needs an outbound stream to each of his, and from 2 on each direction is sure of one"
    )]
    OfPartner { count: StreamCount, limit: usize },
    #[error("{count} of {limit} with all partners: raise limits.xmpp.streams")]
    InAll { count: StreamCount, limit: usize },
}

/// The places of a stream of ours; given back when it is dropped.
#[derive(Debug)]
pub struct OutboundPlace {
    _of_partner: Counted,
    _in_all: Counted,
}

/// A dialback key of ours is out as long as this is kept.
#[derive(Debug)]
pub struct KeyOut {
    _to_partner: Counted,
    _in_all: Counted,
}

/// The places of a stream that a peer opened: one in all, and one of each partner whose domains it speaks for. Given back when
/// it has ended, or is dropped.
#[derive(Debug, Default)]
pub struct InboundPlaces {
    in_all: Option<Counted>,
    of_partners: Vec<OfPartner>,
    /// The number of the entries of partners that their rates are from.
    under: u64,
}

#[derive(Debug)]
struct OfPartner {
    /// His primary domain.
    partner: CompactString,
    /// Those of his domains that the stream speaks for.
    domains: SmallVec<[CompactString; 1]>,
    counted: Option<Counted>,
    /// Where it is kept what he sent.
    remote: Arc<Remote>,
    rates: StreamRates,
    /// Stanzas of his that came on the stream and are not charged to him yet.
    uncharged: u64,
}

/// A partner has sent more than he may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowed<'a> {
    /// His primary domain.
    pub partner: &'a str,
    /// What he sends is not read before.
    pub until: Instant,
}

impl InboundPlaces {
    /// Whether the stream has not taken any.
    pub fn is_empty(&self) -> bool {
        self.of_partners.is_empty()
    }

    /// Whether it was let in beyond the limit.
    fn is_beyond(&self) -> bool {
        self.in_all.as_ref().is_some_and(Counted::is_beyond)
    }

    /// Whether the stream has a place for this domain.
    pub fn speak_for(&self, domain: &str) -> bool {
        self.of_partners.iter().any(|place| place.domains.iter().any(|own| own == domain))
    }

    /// What was taken for this domain is not needed; nothing came of it.
    pub fn leave(&mut self, domain: &str) {
        for place in &mut self.of_partners {
            place.domains.retain(|own| own != domain);
        }
        self.of_partners.retain(|place| !place.domains.is_empty());
    }

    /// The stream has ended: others may have its places. What came on it can still be charged.
    pub fn give_back(&mut self) {
        self.in_all = None;
        self.of_partners.iter_mut().for_each(|place| place.counted = None);
    }

    /// A stanza from this domain came, to be charged with the read that brought it.
    pub fn came(&mut self, domain: &str) {
        let from = match self.of_partners.as_mut_slice() {
            // Nearly always.
            [only] => Some(only),
            several => {
                let known = several.iter().position(|place| place.domains.iter().any(|own| own == domain));
                several.get_mut(known.unwrap_or_default())
            }
        };
        if let Some(place) = from {
            place.uncharged += 1;
        }
    }

    /// Charges what a read brought: each partner with his stanzas, and with as much of the bytes as they are of all stanzas. If
    /// there is none, the bytes are the first one's. Who has sent more than he may, if somebody has: what has come is worked
    /// on, and the rest waits on his side, and that of everybody else who uses his connection (SEC-40).
    fn charge(&mut self, bytes: u64, now: Instant) -> Option<Slowed<'_>> {
        let stanzas: u64 = self.of_partners.iter().map(|place| place.uncharged).sum();
        let mut slowed: Option<Slowed<'_>> = None;
        for (index, place) in self.of_partners.iter_mut().enumerate() {
            let own = std::mem::take(&mut place.uncharged);
            let share = match stanzas {
                0 if index == 0 => bytes,
                0 => 0,
                _ => {
                    u64::try_from(u128::from(bytes) * u128::from(own) / u128::from(stanzas)).unwrap_or(bytes)
                }
            };
            let Some(until) = place.charge(share, own, now) else { continue };
            if slowed.is_none_or(|other| other.until < until) {
                slowed = Some(Slowed { partner: &place.partner, until });
            }
        }
        slowed
    }

    fn enter(
        &mut self,
        streams: &PartnerStreams,
        domain: &str,
        counted: Option<Counted>,
        remote: Arc<Remote>,
    ) {
        self.of_partners.push(OfPartner {
            partner: streams.partner.clone(),
            domains: SmallVec::from_iter([domain.into()]),
            counted,
            remote,
            rates: streams.rates,
            uncharged: 0,
        });
    }

    /// Whether the stream has a place of this partner, whose `domain` it speaks for from now on.
    fn joined(&mut self, partner: &str, domain: &str) -> bool {
        let Some(place) = self.of_partners.iter_mut().find(|place| place.partner == partner) else {
            return false;
        };
        if !place.domains.iter().any(|own| own == domain) {
            place.domains.push(domain.into());
        }
        true
    }

    fn of(&self, partner: &str) -> Option<&OfPartner> {
        self.of_partners.iter().find(|place| place.partner == partner)
    }
}

impl OfPartner {
    fn charge(&self, bytes: u64, stanzas: u64, now: Instant) -> Option<Instant> {
        if self.rates == StreamRates::default() || (bytes, stanzas) == (0, 0) {
            return None;
        }
        let mut meters = self.remote.meters().lock();
        let until = [
            meters.bytes.take(self.rates.bytes, bytes, now),
            meters.stanzas.take(self.rates.stanzas, stanzas, now),
        ];
        until.into_iter().flatten().max()
    }
}

/// What a partner has sent, on all his streams.
#[derive(Debug, Default)]
pub(super) struct Meters {
    stanzas: Meter,
    bytes: Meter,
}

impl Gateway {
    /// Streams now, with all partners.
    pub fn streams(&self) -> StreamCount {
        self.streams.count()
    }

    /// A stream that a peer opened may be used by this domain: it takes its places. Its first ones may be beyond the limit;
    /// `bell` is rung then when [`settle_stream`](Self::settle_stream) has something to do.
    ///
    /// # Errors
    /// There is none.
    pub fn enter_stream(
        &self,
        places: &mut InboundPlaces,
        domain: &str,
        bell: &Arc<Notify>,
    ) -> Result<(), TooMany> {
        let streams = self.partner_streams(domain);
        if places.joined(&streams.partner, domain) {
            return Ok(());
        }
        let remote = self.remote(&streams.partner);
        let limit = streams.connection_limit;
        if places.in_all.is_some() {
            let counted = self.place_of(&remote, Direction::Inbound, limit);
            let counted = counted.map_err(|why| self.refused(why))?;
            places.enter(&streams, domain, Some(counted), remote);
            return Ok(());
        }
        let (counted, in_all) = match self.ordinary_places(&remote, limit) {
            Ok(taken) => taken,
            Err(why) => self.places_beyond(&remote, bell).ok_or_else(|| self.refused(why))?,
        };
        places.in_all = Some(in_all);
        places.enter(&streams, domain, Some(counted), remote);
        Ok(())
    }

    /// Charges what a read of a stream with these places brought, by what its partners may send now; the stream may be open for
    /// long. Who has sent more than he may, if somebody has.
    pub fn charge<'p>(&self, places: &'p mut InboundPlaces, bytes: u64, now: Instant) -> Option<Slowed<'p>> {
        let federation = self.federation.load();
        if places.under != federation.number() {
            places.under = federation.number();
            for place in &mut places.of_partners {
                place.rates = federation.rates_of(&place.partner).unwrap_or(place.rates);
            }
        }
        places.charge(bytes, now)
    }

    /// A stream that was let in beyond the limit takes ordinary places if there are any now.
    ///
    /// # Errors
    /// There are none, and no key of ours is out any more that it could be there to ask about: it is to end.
    pub fn settle_stream(&self, places: &mut InboundPlaces) -> Result<(), TooMany> {
        if !places.is_beyond() {
            return Ok(());
        }
        let Some(first) = places.of_partners.first_mut() else { return Ok(()) };
        let limit = self.partner_streams(&first.partner).connection_limit;
        match self.ordinary_places(&first.remote, limit) {
            Ok((counted, in_all)) => {
                first.counted = Some(counted);
                places.in_all = Some(in_all);
                Ok(())
            }
            Err(_) if first.remote.streams().count().keys_out > 0 => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// A stream of ours may be used by this domain to send to us: it has its [places](Self::outbound_place), and what comes is
    /// charged like what comes on the partner's own streams.
    pub fn enter_own_stream(&self, places: &mut InboundPlaces, domain: &str) {
        let streams = self.partner_streams(domain);
        if !places.joined(&streams.partner, domain) {
            places.enter(&streams, domain, None, self.remote(&streams.partner));
        }
    }

    /// Whether a stream with these places could take one more for this further domain.
    ///
    /// # Errors
    /// There is none.
    pub fn may_enter_stream(&self, places: &InboundPlaces, domain: &str) -> Result<(), TooMany> {
        let streams = self.partner_streams(domain);
        if places.of(&streams.partner).is_some() {
            return Ok(());
        }
        // Anybody's name may be asked about here: nothing is made for it.
        let known = self.known_remote(&streams.partner);
        let count = known.map_or_else(StreamCount::default, |remote| remote.streams().count());
        let limit = streams.connection_limit;
        if count.takes(Direction::Inbound, limit) {
            return Ok(());
        }
        Err(self.refused(TooMany::OfPartner { count, limit }))
    }

    /// The places of a stream of ours, for this lane. `None`: there are none. A [stream that can be
    /// shared](super::SharedStream) is asked to take it then; else the lane waits as after any failure, and those who wait for
    /// it are told why.
    pub fn outbound_place(&self, key: &LaneKey, lane: &LanePort, now: Moment) -> Option<OutboundPlace> {
        let why = match self.take_outbound_place(key) {
            Ok(place) => return Some(place),
            Err(why) => self.refused(why),
        };
        if !self.ask_to_share(key, lane, why, now) {
            self.no_place(key, lane, &why.to_string(), now);
        }
        None
    }

    /// A dialback key of ours goes out to this domain.
    pub fn key_out(&self, domain: &str) -> KeyOut {
        let remote = self.remote(&self.partner_streams(domain).partner);
        KeyOut { _to_partner: remote.streams().key_out(), _in_all: self.streams.key_out() }
    }

    fn take_outbound_place(&self, key: &LaneKey) -> Result<OutboundPlace, TooMany> {
        let streams = self.partner_streams(&key.remote);
        let remote = self.remote(&streams.partner);
        let (of_partner, in_all) = self.places(&remote, Direction::Outbound, streams.connection_limit)?;
        Ok(OutboundPlace { _of_partner: of_partner, _in_all: in_all })
    }

    /// A place of this partner, and one in all, for a stream that he opened.
    fn ordinary_places(&self, remote: &Remote, limit: usize) -> Result<(Counted, Counted), TooMany> {
        self.places(remote, Direction::Inbound, limit)
    }

    fn places(
        &self,
        remote: &Remote,
        direction: Direction,
        limit: usize,
    ) -> Result<(Counted, Counted), TooMany> {
        let of_partner = self.place_of(remote, direction, limit)?;
        match self.place_in_all(direction) {
            Ok(in_all) => Ok((of_partner, in_all)),
            Err(why) => {
                of_partner.withdraw();
                Err(why)
            }
        }
    }

    /// The same beyond the limits. That depends on the keys that are out to him, so in all there are as many as that makes.
    fn places_beyond(&self, remote: &Remote, bell: &Arc<Notify>) -> Option<(Counted, Counted)> {
        let of_partner = remote.streams().enter_beyond(bell, StreamCount::takes_beyond).ok()?;
        let in_all = self.streams.enter_beyond(bell, |_| true).ok()?;
        // A place that came free in the meantime rang nobody.
        bell.notify_one();
        Some((of_partner, in_all))
    }

    fn place_of(&self, remote: &Remote, direction: Direction, limit: usize) -> Result<Counted, TooMany> {
        let place = remote.streams().enter(direction, |count| count.takes(direction, limit));
        place.map_err(|count| TooMany::OfPartner { count, limit })
    }

    fn place_in_all(&self, direction: Direction) -> Result<Counted, TooMany> {
        let limit = self.settings.streams;
        let place = self.streams.enter(direction, |count| count.total() < limit);
        place.map_err(|count| TooMany::InAll { count, limit })
    }

    fn refused(&self, why: TooMany) -> TooMany {
        self.counters.streams_over_limit.add(1);
        why
    }
}

#[cfg(test)]
mod tests;
