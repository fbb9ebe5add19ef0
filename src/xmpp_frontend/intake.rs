//! What comes from a partner on a stream: taken in order, with room for the answers, and not faster than it may come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_xmpp::stream::{Stanza, TlsFacts};
use nuncio_xmpp::{Addresses, Domain, Element};
use tokio::sync::Notify;
use tracing::warn;

use crate::gateway::{Gateway, InboundPlaces, ReplySlot, Settling, Slowed, TooMany, Unsettled, Vouched};
use crate::log_limit::{Cause, Source};

/// How long a stream that has ended waits for room for the answers to its last stanzas.
const ROOM_GRACE: Duration = Duration::from_secs(5);

/// Something that may have to be answered.
pub(super) enum Came {
    Stanza(Box<Stanza>),
    /// The second is its number, if it is to be acknowledged.
    BadAddress(Box<Element>, Option<u64>),
}

/// There is no room for an answer.
struct NoRoom;

/// The way of a partner's stanzas from one stream into the gateway.
pub(super) struct Intake {
    gateway: Arc<Gateway>,
    /// Rings the session.
    wake: Arc<Notify>,
    /// The default language of the peer's stanzas (IM-14).
    lang: Option<String>,
    /// What waits for room for answers, in order; until then nothing is read, so this is what one read brought.
    held: VecDeque<Came>,
    /// The domains of ours for whose front ends messages may have been queued that were not given to them yet.
    queued: Vec<CompactString>,
    /// The stream has ended; what is held then has this long.
    room_until: Option<Instant>,
    /// This stream's places among those of the partners that it speaks for.
    places: InboundPlaces,
    /// The partner has sent more than he may: nothing is read before this.
    slowed_until: Option<Instant>,
    /// Stanzas that are done with, once some are to be acknowledged.
    settling: Option<Arc<Settling>>,
    /// Pairs of domains, ours and the partner's, between which it brings what is taken: the partner reaches us by it.
    reaches: Vec<(Domain, Domain)>,
    /// What TLS showed.
    tls: Option<TlsFacts>,
    /// How it proved that it speaks for each domain.
    vouched: Vec<Vouched>,
}

impl Intake {
    /// For the session rung by `wake`.
    pub(super) fn new(gateway: Arc<Gateway>, wake: Arc<Notify>) -> Self {
        Self {
            gateway,
            wake,
            lang: None,
            held: VecDeque::new(),
            queued: Vec::new(),
            room_until: None,
            places: InboundPlaces::default(),
            slowed_until: None,
            settling: None,
            reaches: Vec::new(),
            tls: None,
            vouched: Vec::new(),
        }
    }

    /// The language of stanzas that name none.
    pub(super) fn speaks(&mut self, lang: Option<CompactString>) {
        self.lang = lang.map(Into::into);
    }

    /// Stanzas of the partner's domain may come to ours, on a stream that he opened.
    ///
    /// # Errors
    /// There is no place for the stream among those of that partner, or of all.
    pub(super) fn enter(&mut self, local: &Domain, remote: &Domain) -> Result<(), TooMany> {
        self.reserve(remote)?;
        self.reached(local, remote);
        Ok(())
    }

    /// Takes the place for a domain that is about to be let in. Whether that was new.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn reserve(&mut self, remote: &Domain) -> Result<bool, TooMany> {
        let new = !self.places.speak_for(remote.as_str());
        self.gateway.enter_stream(&mut self.places, remote.as_str(), &self.wake)?;
        Ok(new)
    }

    /// The domain was not let in.
    pub(super) fn release(&mut self, remote: &Domain) {
        self.places.leave(remote.as_str());
    }

    /// Where the stream was let in beyond the limit, it takes its place as soon as there is one.
    ///
    /// # Errors
    /// There is none, and nothing it could be there for any more.
    pub(super) fn settle(&mut self) -> Result<(), TooMany> {
        self.gateway.settle_stream(&mut self.places)
    }

    /// The same on a stream of ours, which has its places.
    pub(super) fn enter_ours(&mut self, local: &Domain, remote: &Domain) {
        self.gateway.enter_own_stream(&mut self.places, remote.as_str());
        self.reached(local, remote);
    }

    /// Whether the stream could take what it needs to be used by this domain too.
    ///
    /// # Errors
    /// It could not.
    pub(super) fn may_enter(&self, remote: &Domain) -> Result<(), TooMany> {
        self.gateway.may_enter_stream(&self.places, remote.as_str())
    }

    /// The stream speaks for its first domain.
    pub(super) fn established(&mut self, remote: &Domain, tls: Option<TlsFacts>, by_certificate: bool) {
        self.tls = tls;
        self.vouched(remote, by_certificate);
    }

    /// The stream speaks for one more domain, by dialback; a certificate that names it, too, is worth as much as if it had
    /// been asked for.
    pub(super) fn vouched(&mut self, remote: &Domain, by_certificate: bool) {
        let proved = by_certificate || self.tls.as_ref().is_some_and(|tls| tls.proves(remote));
        self.vouched.push(self.gateway.vouched(remote.as_str(), proved));
    }

    fn reached(&mut self, local: &Domain, remote: &Domain) {
        self.gateway.partner_reaches(local.as_str(), remote.as_str());
        self.reaches.push((local.clone(), remote.clone()));
    }

    /// Whether anybody may send here.
    pub(super) fn is_entered(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether everything was worked on.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn wants_read(&self) -> bool {
        self.held.is_empty() && self.slowed_until.is_none()
    }

    /// Works on what came, or holds it. What needs no room for an answer overtakes what waits for it.
    pub(super) fn take(&mut self, came: Came, now: Moment) {
        match &came {
            Came::Stanza(stanza) => self.places.came(stanza.addresses.from.domain()),
            Came::BadAddress(element, _) => {
                let from = element.attr("from").and_then(Domain::of_address);
                self.places.came(from.as_ref().map_or("", Domain::as_str));
            }
        }
        if !self.held.is_empty() && may_be_answered(&came) {
            self.held.push_back(came);
        } else if let Err(came) = self.work_on(came, now) {
            self.held.push_back(came);
        }
    }

    /// Tries again what is held.
    pub(super) fn retry(&mut self, now: Moment) {
        while let Some(first) = self.held.pop_front() {
            if let Err(first) = self.work_on(first, now) {
                self.held.push_front(first);
                break;
            }
        }
    }

    /// Gives the messages that were queued to the front ends they are for.
    pub(super) fn pass_on(&mut self, now: Moment) {
        for local in self.queued.drain(..) {
            self.gateway.serve_route_of(&local, now);
        }
    }

    /// The numbers of the stanzas that nothing is left to be done for.
    pub(super) fn settled(&self) -> Vec<u64> {
        self.settling.as_ref().map(|settling| settling.take()).unwrap_or_default()
    }

    /// Charges what a read brought to the partners it came from; the stream is then perhaps not read for a while.
    pub(super) fn charge(&mut self, bytes: usize, now: Moment) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.slowed_until = None;
        let Some(Slowed { partner, until }) = self.gateway.charge(&mut self.places, bytes, now.instant)
        else {
            return;
        };
        self.slowed_until = Some(until);
        self.gateway.counters().streams_slowed.add(1);
        if self.gateway.log_budget().allows(Cause::PartnerSlowed, Source::Domain(partner), now.instant) {
            warn!(
                partner,
                "the partner sends more than stanzas_per_second or bytes_per_second allow: he is read more slowly"
            );
        }
    }

    /// Whether he is not read for a while, because he sent more than he may.
    pub(super) fn is_slowed(&self) -> bool {
        self.slowed_until.is_some()
    }

    pub(super) fn handle_timeout(&mut self, now: Moment) {
        self.slowed_until = self.slowed_until.filter(|until| *until > now.instant);
    }

    /// The stream has ended: others may have its places, and what is held has a little longer.
    pub(super) fn stream_ended(&mut self, now: Moment) {
        self.places.give_back();
        self.room_until = Some(now.instant + ROOM_GRACE);
    }

    /// Whether the connection of a stream that has ended may be closed.
    pub(super) fn may_leave(&self, now: Moment) -> bool {
        let late = self.room_until.is_none_or(|until| until <= now.instant);
        self.held.is_empty() || late
    }

    /// When something of this is due; `leaving`: the connection waits for what is held.
    pub(super) fn deadline(&self, leaving: bool) -> Option<Instant> {
        [self.slowed_until, self.room_until.filter(|_| leaving)].into_iter().flatten().min()
    }

    /// The connection is gone; `lost`: though nobody closed it. What has no room now will not get it any more.
    pub(super) fn end(&mut self, lost: bool, now: Moment) {
        self.drop_held(now);
        self.leave(lost);
        self.places.give_back();
    }

    fn leave(&mut self, lost: bool) {
        self.vouched.clear();
        for (local, remote) in std::mem::take(&mut self.reaches) {
            self.gateway.partner_reaches_no_more(local.as_str(), remote.as_str(), lost);
        }
    }

    fn drop_held(&mut self, now: Moment) {
        let dropped = self.held.len();
        self.held.clear();
        if dropped == 0 {
            return;
        }
        self.gateway.counters().stanzas_dropped.add(dropped as u64);
        let partner = self.partner();
        if self.gateway.log_budget().allows(Cause::StanzaDropped, Source::Domain(partner), now.instant) {
            warn!(
                partner,
                dropped,
                "stanzas were dropped: their stream ended while too many answers to the partner were under way"
            );
        }
    }

    /// The domain it was established for first.
    fn partner(&self) -> &str {
        self.reaches.first().map_or("", |(_, remote)| remote.as_str())
    }

    /// Hands it on, with room for its answer if it may get one; without that room it comes back.
    fn work_on(&mut self, came: Came, now: Moment) -> Result<(), Came> {
        let Ok(slot) = self.answer_slot(&came) else { return Err(came) };
        let mut unsettled = self.unsettled(&came);
        let slot = slot.map(|slot| slot.settles(unsettled.take()));
        match came {
            Came::BadAddress(element, _) => self.gateway.xmpp_bad_address(*element, slot, now),
            Came::Stanza(mut stanza) => {
                // The stream's default language becomes the stanza's own, which outlives the stream (IM-14).
                if let (Some(lang), None) = (&self.lang, stanza.element.lang()) {
                    stanza.element = stanza.element.with_lang(lang);
                }
                let local = stanza.addresses.to.domain();
                if !self.queued.iter().any(|queued| queued == local) {
                    self.queued.push(local.into());
                }
                self.gateway.xmpp_stanza(stanza.element, &stanza.addresses, slot, now);
            }
        }
        // Without a place for an answer it was settled as soon as it was worked on.
        drop(unsettled);
        Ok(())
    }

    /// What settles it, if it is to be acknowledged.
    fn unsettled(&mut self, came: &Came) -> Option<Unsettled> {
        let number = match came {
            Came::Stanza(stanza) => stanza.number,
            Came::BadAddress(_, number) => *number,
        }?;
        let settling = self.settling.get_or_insert_with(|| Settling::new(Arc::clone(&self.wake)));
        Some(Unsettled::new(settling, number))
    }

    /// A place for the answer to it, if it may get one, in the lane from the domain of ours that it went to back to the one
    /// it came from.
    fn answer_slot(&self, came: &Came) -> Result<Option<ReplySlot>, NoRoom> {
        if !may_be_answered(came) {
            return Ok(None);
        }
        let slot = match came {
            Came::Stanza(stanza) => {
                let Addresses { from, to } = &stanza.addresses;
                self.gateway.reserve_answer(to.domain(), from.domain(), &self.wake)
            }
            Came::BadAddress(element, _) => {
                let of = |name| element.attr(name).and_then(Domain::of_address);
                // The stream has vouched for both.
                let (Some(from), Some(to)) = (of("from"), of("to")) else { return Ok(None) };
                self.gateway.reserve_answer(to.as_str(), from.as_str(), &self.wake)
            }
        };
        slot.map(Some).ok_or(NoRoom)
    }
}

impl Drop for Intake {
    /// Of a session that was dropped before it said how its stream ended.
    fn drop(&mut self) {
        self.gateway.counters().stanzas_dropped.add(self.held.len() as u64);
        self.leave(true);
    }
}

fn may_be_answered(came: &Came) -> bool {
    match came {
        Came::Stanza(stanza) => Gateway::may_be_answered(&stanza.element),
        Came::BadAddress(element, _) => Gateway::bad_address_may_be_answered(element),
    }
}
