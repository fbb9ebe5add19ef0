//! Lanes that go by a stream of ours besides the one it was opened for: of other domains of ours to the same domain, each let in
//! by a dialback key of its own (XEP-0220 §2.6.1).

use std::sync::Arc;
use std::time::Instant;

use nuncio_translate::Moment;
use nuncio_xmpp::Domain;
use nuncio_xmpp::dialback::Pair;
use nuncio_xmpp::lane::{Failure, LaneCounters, Offer};
use nuncio_xmpp::stream::Outbound;
use tokio::sync::Notify;

use super::carrier::Carrier;
use crate::gateway::{Gateway, Guest, KeyOut, LaneKey, LaneWants, Share, SharedStream};

/// A lane whose key is out.
struct Asking {
    pair: Pair,
    guest: Guest,
    _key: KeyOut,
}

/// The lanes that share one stream, and those that ask to.
pub(super) struct Guests {
    gateway: Arc<Gateway>,
    /// Where they ask, as long as any can be taken.
    door: Option<SharedStream>,
    share: Share,
    /// Rings the session.
    bell: Arc<Notify>,
    /// What the partner takes on the stream.
    offer: Offer,
    /// Those whose keys are out.
    asking: Vec<Asking>,
    carriers: Vec<Carrier>,
}

impl Guests {
    /// On the stream to `remote` whose session is rung by `bell`.
    pub(super) fn new(gateway: Arc<Gateway>, remote: &Domain, offer: Offer, bell: Arc<Notify>) -> Self {
        let door = gateway.share_stream(remote.as_str(), Arc::clone(&bell));
        let share = door.share();
        Self { gateway, door: Some(door), share, bell, offer, asking: Vec::new(), carriers: Vec::new() }
    }

    /// Has the partner asked for the pairs of domains of those who ask now. When he cannot be asked any more, nobody else can
    /// ask here.
    pub(super) fn ask(&mut self, stream: &mut Outbound, now: Moment) {
        let Some(door) = &self.door else { return };
        let asking = door.asking();
        if stream.may_authorize().is_err() {
            self.door.take().into_iter().for_each(|door| door.close(now));
        }
        for guest in asking {
            let LaneKey { local, remote } = guest.key();
            let (Ok(from), Ok(to)) = (Domain::parse(local), Domain::parse(remote)) else {
                self.share.refuse(guest, "its domain is malformed", now);
                continue;
            };
            let pair = Pair { from, to };
            if stream.pairs().contains(&pair) {
                // It went another way when it was let in, or has since.
                self.carry(guest, now);
                continue;
            }
            match stream.authorize(pair.clone(), now.instant) {
                Ok(()) => {
                    let key = self.gateway.key_out(pair.to.as_str());
                    self.asking.push(Asking { pair, guest, _key: key });
                }
                Err(error) => self.share.refuse(guest, &error.to_string(), now),
            }
        }
    }

    /// The partner has let a pair in: its lane goes by this stream from now on.
    pub(super) fn let_in(&mut self, pair: &Pair, now: Moment) {
        if let Some(guest) = self.answered(pair) {
            self.carry(guest, now);
        }
    }

    fn carry(&mut self, guest: Guest, now: Moment) {
        let key = guest.key().clone();
        let lane = self.share.lane(&guest);
        let carrier = Carrier::new(Arc::clone(&self.gateway), key, lane);
        match carrier.take_over(&self.bell, |lane| lane.opened(self.offer, now.instant)) {
            true => {
                guest.taken();
                self.carriers.push(carrier);
            }
            false => self.share.left(),
        }
    }

    /// It has not.
    pub(super) fn refused(&mut self, pair: &Pair, why: &str, now: Moment) {
        if let Some(guest) = self.answered(pair) {
            self.share.refuse(guest, why, now);
        }
    }

    fn answered(&mut self, pair: &Pair) -> Option<Guest> {
        let at = self.asking.iter().position(|asking| asking.pair == *pair)?;
        Some(self.asking.swap_remove(at).guest)
    }

    /// Acts on what the lanes report; what any of them wants that it did not want before.
    pub(super) fn serve(&mut self, now: Moment) -> LaneWants {
        self.carriers.iter_mut().fold(LaneWants::default(), |mut all, carrier| {
            all |= carrier.serve(now);
            all
        })
    }

    /// Whether none of the lanes has anything left for a stopping gateway to wait for.
    pub(super) fn are_drained(&self) -> bool {
        self.carriers.iter().all(|carrier| carrier.wants().close)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.carriers.len()
    }

    /// Appends what is to be written now, where the stream carries so many lanes.
    pub(super) fn write(&self, output: &mut Vec<u8>, lanes: usize, now: Moment) {
        for carrier in &self.carriers {
            carrier.write(output, lanes, now);
        }
    }

    pub(super) fn written(&self, now: Moment) {
        self.carriers.iter().for_each(|carrier| carrier.written(now));
    }

    /// What the lanes have counted, and whether they have nothing to do.
    pub(super) fn look(&self) -> (LaneCounters, bool) {
        let mut all = (LaneCounters::default(), self.asking.is_empty());
        for (counters, empty) in self.carriers.iter().map(Carrier::look) {
            all.0 += counters;
            all.1 &= empty;
        }
        all
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.carriers.iter().filter_map(Carrier::deadline).min()
    }

    pub(super) fn handle_timeout(&self, now: Moment) {
        self.carriers.iter().for_each(|carrier| carrier.handle_timeout(now));
    }

    /// The connection is gone: the lanes look for another. `answered`: the partner closed the stream when we did; `lost`: nobody
    /// did.
    pub(super) fn end(self, failure: Option<&Failure>, answered: bool, lost: bool, now: Moment) {
        for Asking { guest, .. } in self.asking {
            self.share.refuse(guest, "it has ended", now);
        }
        self.door.into_iter().for_each(|door| door.close(now));
        for carrier in self.carriers {
            let key = carrier.key().clone();
            carrier.give_back(failure.cloned(), answered, now);
            if lost {
                self.gateway.lane_lost(&key);
            }
        }
    }
}
