//! Lanes that go by a stream of ours besides the one it was opened for: of other domains of ours to the same domain, each let in
//! by a dialback key of its own (XEP-0220 §2.6.1).

use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_xmpp::Domain;
use nuncio_xmpp::dialback::Pair;
use nuncio_xmpp::lane::{LaneCounters, Offer};
use nuncio_xmpp::stream::Outbound;
use tokio::sync::Notify;

use super::carrier::{Carrier, Ended};
use crate::gateway::attempts::AttemptId;
use crate::gateway::{Gateway, Guest, KeyOut, LaneKey, LaneWants, Seat, SharedStream};

/// A lane whose key is out.
struct Asking {
    pair: Pair,
    guest: Guest,
    _key: KeyOut,
}

/// A lane that goes by the stream.
struct Seated {
    carrier: Carrier,
    _seat: Option<Seat>,
    /// What was noted of it.
    attempt: Option<AttemptId>,
}

/// The lanes that share one stream, and those that ask to.
pub(super) struct Guests {
    gateway: Arc<Gateway>,
    /// Where the stream leads.
    remote: CompactString,
    /// Where they ask, as long as any can be taken.
    door: Option<SharedStream>,
    /// Rings the session.
    bell: Arc<Notify>,
    /// What the partner takes on the stream.
    offer: Offer,
    /// Those whose keys are out.
    asking: Vec<Asking>,
    seated: Vec<Seated>,
}

impl Guests {
    /// On the stream to `remote` whose session is rung by `bell`.
    pub(super) fn new(gateway: Arc<Gateway>, remote: &Domain, offer: Offer, bell: Arc<Notify>) -> Self {
        let door = Some(gateway.share_stream(remote.as_str(), Arc::clone(&bell)));
        Self {
            gateway,
            remote: remote.as_str().into(),
            door,
            bell,
            offer,
            asking: Vec::new(),
            seated: Vec::new(),
        }
    }

    /// Has the partner asked for the pairs of domains of those who ask now. When he cannot be asked any more, nobody else can
    /// ask here.
    pub(super) fn ask(&mut self, stream: &mut Outbound, now: Moment) {
        let Some(door) = &self.door else { return };
        let asking = door.asking();
        if asking.is_empty() {
            return;
        }
        let terms = self.gateway.terms(&self.remote);
        if stream.may_authorize(&terms).is_err() {
            self.door = None;
        }
        for guest in asking {
            let LaneKey { local, remote } = guest.key();
            let (Ok(from), Ok(to)) = (Domain::parse(local), Domain::parse(remote)) else {
                guest.refuse("its domain is malformed", now);
                continue;
            };
            let pair = Pair { from, to };
            if stream.pairs().contains(&pair) {
                // It went another way when it was let in, or has since.
                self.carry(guest, now);
                continue;
            }
            match stream.authorize(pair.clone(), &terms, now.instant) {
                Ok(()) => {
                    let key = self.gateway.key_out(pair.to.as_str());
                    self.asking.push(Asking { pair, guest, _key: key });
                }
                // It has just ended: they look for another one.
                Err(_) if !stream.write_allowed() => drop(guest),
                Err(error) => guest.refuse(&error.to_string(), now),
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
        let mut carrier = Carrier::new(Arc::clone(&self.gateway), guest.key().clone(), guest.lane(), now);
        match carrier.take_over(&self.bell, |lane| lane.opened(self.offer, now.instant)) {
            true => {
                let (seat, attempt) = guest.taken(now);
                self.seated.push(Seated { carrier, _seat: seat, attempt });
            }
            false => guest.left(),
        }
    }

    /// It has not.
    pub(super) fn refused(&mut self, pair: &Pair, why: &str, now: Moment) {
        if let Some(guest) = self.answered(pair) {
            guest.refuse(why, now);
        }
    }

    fn answered(&mut self, pair: &Pair) -> Option<Guest> {
        let at = self.asking.iter().position(|asking| asking.pair == *pair)?;
        Some(self.asking.swap_remove(at).guest)
    }

    /// Acts on what the lanes report; what any of them wants that it did not want before.
    pub(super) fn serve(&mut self, now: Moment) -> LaneWants {
        let served = self.seated.iter_mut().map(|seated| seated.carrier.serve(now));
        served.fold(LaneWants::default(), |all, wants| all | wants)
    }

    /// Whether none of the lanes has anything left for a stopping gateway to wait for.
    pub(super) fn are_drained(&self) -> bool {
        self.carriers().all(|carrier| carrier.wants().close)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.seated.len()
    }

    fn carriers(&self) -> impl Iterator<Item = &Carrier> {
        self.seated.iter().map(|seated| &seated.carrier)
    }

    /// Appends what is to be written now, where the stream carries so many lanes.
    pub(super) fn write(&self, output: &mut Vec<u8>, lanes: usize, now: Moment) {
        for carrier in self.carriers() {
            carrier.write(output, lanes, now);
        }
    }

    pub(super) fn written(&self, now: Moment) {
        self.carriers().for_each(|carrier| carrier.written(now));
    }

    /// What the lanes have counted, and whether they have nothing to do.
    pub(super) fn look(&self) -> (LaneCounters, bool) {
        let mut all = (LaneCounters::default(), self.asking.is_empty());
        for (counters, empty) in self.carriers().map(Carrier::look) {
            all.0 += counters;
            all.1 &= empty;
        }
        all
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.carriers().filter_map(Carrier::deadline).min()
    }

    pub(super) fn handle_timeout(&self, now: Moment) {
        self.carriers().for_each(|carrier| carrier.handle_timeout(now));
    }

    /// The connection is gone: the lanes, and those that asked, look for another.
    pub(super) fn end(self, ended: Ended<'_>, now: Moment) {
        // While one of those that asked looks, it should not find this one.
        drop((self.door, self.asking));
        for mut seated in self.seated {
            seated.carrier.end(ended, now);
            let why = ended.failure.map_or("", |failure| &failure.text);
            self.gateway.attempt_ended(seated.attempt, why);
        }
    }
}
