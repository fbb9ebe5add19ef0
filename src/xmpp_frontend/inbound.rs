//! Streams that partners open to us.

mod dialback;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::judge::Refusal as RuleRefusal;
use nuncio_translate::text::LogSafe;
use nuncio_xmpp::stream::{
    Cause as EndCause, Established, Evidence, Inbound, InboundConfig, Method, Output, PartnerVerdict,
    Refusal, Stanza, Step as Waiting, StreamIds, TlsFacts,
};
use nuncio_xmpp::{Addresses, Domain, Element, StanzaKind, StreamCondition};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::context::XmppSide;
use crate::gateway::attempts::{AttemptId, Outcome, Recorder, Step};
use crate::gateway::{Gateway, InboundPlaces, ReplySlot, Settling, TooMany, Unsettled, Verdicts, was_lost};
use crate::log_limit::{Cause, Source};
use crate::net::session::{End, Next, Session};
use crate::net::strangers::Unauthenticated;
use crate::tls::PeerFacts;

use super::presented::Presented;
use super::watch::{Ask, NO_LIFE_TOLD, Watch};

/// What a peer is told whose domain is no partner of ours.
const NOT_A_PARTNER: &str =
    "this domain does not federate with yours; ask its administrator to add it as a partner";

/// What a peer is told whose domain has as many streams as it may have.
const TOO_MANY: &str = "too many streams of your domain";

/// The same, where all domains together have.
const TOO_MANY_IN_ALL: &str = "too many streams at the moment";

/// How long a stream that has ended waits for room for the answers to its last stanzas.
const ROOM_GRACE: Duration = Duration::from_secs(5);

/// Something that may have to be answered, and waits for room for its answer.
enum Held {
    Stanza(Box<Stanza>),
    /// The second is its number, if it is to be acknowledged.
    BadAddress(Box<Element>, Option<u64>),
}

/// There is no room for an answer.
struct NoRoom;

/// The session of one stream opened by a partner.
pub struct InboundSession {
    gateway: Arc<Gateway>,
    stream: Inbound,
    peer: SocketAddr,
    /// Who the stream is between, once established.
    domains: Option<(Domain, Domain)>,
    /// The default language of the peer's stanzas (IM-14).
    lang: Option<String>,
    /// What waits for room for answers, in order; until then nothing is read, so this is what one read brought.
    held: VecDeque<Held>,
    /// The domains of ours for whose front ends messages may have been queued that were not given to them yet.
    queued: Vec<CompactString>,
    /// The stream has ended; what is held then has this long.
    room_until: Option<Instant>,
    /// The connection is to be closed as soon as nothing is held.
    leaving: bool,
    next: Next,
    wake: Arc<Notify>,
    /// Held until the stream is established.
    until_established: Option<Unauthenticated>,
    /// Held until the stream is established.
    presented: Option<Presented>,
    /// Its certificate does not prove what it is after all: nothing it sends is taken.
    disproved: bool,
    /// Notes what happens until the stream is established.
    recorder: Option<Recorder>,
    /// What was noted, afterwards.
    attempt: Option<AttemptId>,
    /// This stream's places among those of the partners that it speaks for.
    places: InboundPlaces,
    /// What came of dialback keys, once there was one.
    verdicts: Option<Verdicts>,
    /// Stanzas that came and are not charged to the partner yet.
    uncharged: u64,
    /// The partner has sent more than he may: nothing is read before this.
    slowed_until: Option<Instant>,
    /// Stanzas that are done with, once some are to be acknowledged.
    settling: Option<Arc<Settling>>,
    /// Since the stream is established.
    watch: Option<Watch>,
    /// Pairs of domains, ours and the partner's, between which it brings what is taken: the partner reaches us by it.
    reaches: Vec<(Domain, Domain)>,
    /// It ended though nobody closed it.
    lost: bool,
}

impl InboundSession {
    pub fn new(
        gateway: Arc<Gateway>,
        config: InboundConfig,
        ids: StreamIds,
        peer: SocketAddr,
        now: Moment,
    ) -> Self {
        let stream = Inbound::new(config, ids, now.instant);
        Self::on(gateway, stream, peer, now)
    }

    /// The same where TLS begins with the first byte (XEP-0368).
    pub fn direct_tls(
        gateway: Arc<Gateway>,
        config: InboundConfig,
        ids: StreamIds,
        peer: SocketAddr,
        now: Moment,
    ) -> Self {
        let stream = Inbound::direct_tls(config, ids, now.instant);
        Self::on(gateway, stream, peer, now)
    }

    fn on(gateway: Arc<Gateway>, stream: Inbound, peer: SocketAddr, now: Moment) -> Self {
        Self {
            gateway,
            stream,
            peer,
            domains: None,
            lang: None,
            held: VecDeque::new(),
            queued: Vec::new(),
            room_until: None,
            leaving: false,
            next: Next::Run,
            wake: Arc::new(Notify::new()),
            until_established: None,
            presented: None,
            disproved: false,
            recorder: Some(Recorder::inbound(peer, now)),
            attempt: None,
            places: InboundPlaces::default(),
            verdicts: None,
            uncharged: 0,
            slowed_until: None,
            settling: None,
            watch: None,
            reaches: Vec::new(),
            lost: false,
        }
    }

    /// Keeps `place` until the peer has proved who it is.
    pub fn on_established(&mut self, place: Unauthenticated) {
        self.until_established = Some(place);
    }

    /// The domain of ours the peer asked for: its certificate is shown.
    pub fn local(&self) -> Option<&Domain> {
        self.stream.local()
    }

    /// What TLS shows of the peer, as far as it is known who it should be. It is judged again when that is known.
    pub fn judge(&mut self, xmpp: &XmppSide, peer: PeerFacts) -> TlsFacts {
        let (facts, presented) = Presented::judge(xmpp, &self.gateway, peer, self.stream.claimed());
        self.presented = Some(presented);
        facts
    }

    pub fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.next = Next::Run;
        self.note(Step::tls(&facts), now);
        self.stream.tls_established(facts, now.instant);
        self.run(now);
    }

    pub fn tls_failed(&mut self, why: &str, now: Moment) {
        self.next = Next::Run;
        self.note(Step::NoTls(why.to_owned()), now);
        self.stream.tls_failed(why);
        self.run(now);
    }

    /// The gateway is stopping.
    pub fn shut_down(&mut self, now: Moment) {
        // Nothing is owed to a peer that has not proved yet who it is.
        if self.domains.is_none() {
            self.next = Next::Abort;
            return;
        }
        let error = (StreamCondition::SystemShutdown, "the server is being shut down");
        self.stream.close(now.instant, Some(error));
        self.run(now);
    }

    fn run(&mut self, now: Moment) {
        self.work(now);
        for local in self.queued.drain(..) {
            self.gateway.serve_route_of(&local, now);
        }
    }

    /// Takes what waits, and what the stream puts out.
    fn work(&mut self, now: Moment) {
        if let Some(settling) = &self.settling {
            settling.take().into_iter().for_each(|number| self.stream.settled(number));
        }
        self.take_verdicts(now);
        self.retry_held(now);
        // Whatever waits for room, the stream's own affairs do not.
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::AskPartner { from, to: _ } => {
                    let verdict = self.verdict(&from, now);
                    self.judge_for(&from);
                    self.stream.partner_verdict(verdict, now.instant);
                }
                Output::Established(established) => {
                    let source = Source::Domain(established.remote.as_str());
                    if self.gateway.log_budget().allows(Cause::StreamOpened, source, now.instant) {
                        info!(
                            partner = established.remote.as_str(), local = established.local.as_str(),
                            peer = %self.peer, method = %established.method,
                            tls = established.tls.as_ref().map_or("none", |tls| tls.protocol.as_str()),
                            cipher = established.tls.as_ref().map_or("none", |tls| tls.cipher.as_str()),
                            "inbound stream established"
                        );
                    }
                    self.keep_success(&established, now);
                    if let Some(place) = self.until_established.take() {
                        place.proved();
                    }
                    self.lang = established.lang.map(Into::into);
                    let (local, remote) = (established.local, established.remote);
                    let quiet = self.gateway.quiet(remote.as_str());
                    self.watch = Some(Watch::new(quiet, None, now.instant));
                    // Where dialback takes the place of the certificate, it need not prove anything.
                    if established.by_certificate {
                        self.disprove(&remote, now);
                    }
                    self.presented = None;
                    if established.by_certificate
                        && established.method == Method::SaslExternal
                        && !self.disproved
                    {
                        self.gateway.proved_by_certificate(remote.as_str(), now);
                    }
                    self.enter(&local, &remote, now);
                    self.domains = Some((local, remote));
                }
                Output::Stanza(_) | Output::BadAddress { .. } if self.disproved => {}
                Output::Stanza(stanza) => {
                    if let (Some(watch), false) = (&mut self.watch, stanza.kind == StanzaKind::Iq) {
                        watch.active(now.instant);
                    }
                    self.take(Held::Stanza(stanza), now);
                }
                Output::BadAddress { element, number, .. } => {
                    self.take(Held::BadAddress(Box::new(element), number), now);
                }
                Output::Unasked(element) => {
                    debug!(peer = %self.peer, element = element.name(), "element ignored on an inbound stream");
                }
                Output::Verify(request) => self.verify(*request, now),
                Output::PairAuthorized(pair) => self.authorized(&pair, now),
                Output::DialbackRefused { from, why, .. } => self.dialback_refused(&from, why, now),
                Output::KeyAnswered { from, to, valid } => self.key_answered(&from, &to, valid, now),
                Output::Unsolicited(element) => {
                    self.gateway.counters().dialback_unsolicited.add(1);
                    debug!(peer = %self.peer, element = element.name(), "an answer to nothing we asked was dropped");
                }
                // Inbound streams neither ask about keys nor for pairs.
                Output::PairRefused { .. } | Output::Verified(_) => {}
                Output::Closed(evidence) => {
                    self.room_until = Some(now.instant + ROOM_GRACE);
                    self.places.give_back();
                    self.lost = was_lost(&evidence.cause);
                    self.keep_end(&evidence, now);
                    self.log_end(&evidence, now);
                }
                Output::ShutdownTls => {
                    self.leaving = true;
                    self.leave(now);
                }
                Output::Abort => self.next = Next::Abort,
            }
        }
    }

    /// The stream may be used by a partner's domain. It takes its place among those of the partner; if there is none left,
    /// it ends.
    fn enter(&mut self, local: &Domain, remote: &Domain, now: Moment) {
        if self.disproved {
            return;
        }
        let Err(why) = self.gateway.enter_stream(&mut self.places, remote.as_str()) else {
            self.gateway.partner_reaches(local.as_str(), remote.as_str());
            return self.reaches.push((local.clone(), remote.clone()));
        };
        let source = Source::Domain(remote.as_str());
        if self.gateway.log_budget().allows(Cause::TooManyStreams, source, now.instant) {
            warn!(partner = remote.as_str(), peer = %self.peer, "stream closed: {why}");
        }
        let error = match why {
            TooMany::OfPartner { .. } => (StreamCondition::PolicyViolation, TOO_MANY),
            TooMany::InAll { .. } => (StreamCondition::ResourceConstraint, TOO_MANY_IN_ALL),
        };
        self.stream.close(now.instant, Some(error));
    }

    /// The domain in the header is known: what the peer presented is held against what is asked of that one.
    fn judge_for(&mut self, from: &Domain) {
        if self.stream.step() != Waiting::Partner {
            return;
        }
        if let Some(facts) = self.presented.as_mut().and_then(|shown| shown.judge_for(&self.gateway, from)) {
            self.stream.judged_again(facts);
        }
    }

    /// Ends the stream if the certificate does not prove `remote` by what is asked of that partner.
    fn disprove(&mut self, remote: &Domain, now: Moment) {
        let Some(presented) = self.presented.take() else { return };
        let Some(status) = presented.disproves(&self.gateway, remote, SystemTime::now()) else { return };
        if self.gateway.log_budget().allows(
            Cause::StreamRefused,
            Source::Domain(remote.as_str()),
            now.instant,
        ) {
            warn!(partner = remote.as_str(), peer = %self.peer, "stream refused: {status}");
        }
        self.disproved = true;
        self.stream
            .close(now.instant, Some((StreamCondition::PolicyViolation, "your certificate is not accepted")));
    }

    fn note(&mut self, step: Step, now: Moment) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now.instant);
        }
    }

    fn keep_success(&mut self, established: &Established, now: Moment) {
        let Some(mut recorder) = self.recorder.take() else { return };
        let remote = established.remote.as_str();
        recorder.between(established.local.as_str(), remote);
        let outcome = Outcome::established(established.method, &established.features);
        self.attempt = self.gateway.keep_attempt(remote, recorder.finish(outcome, now.instant));
    }

    /// How the stream ended, or why none came about, if it claimed to be a partner's.
    fn keep_end(&mut self, evidence: &Evidence, now: Moment) {
        let why = evidence.to_string();
        self.gateway.attempt_ended(self.attempt.take(), &why);
        if let (Some(mut recorder), Some(remote)) = (self.recorder.take(), &evidence.remote) {
            recorder.between(evidence.local.as_ref().map_or("", Domain::as_str), remote.as_str());
            self.gateway.keep_attempt(remote.as_str(), recorder.finish(Outcome::Failed(why), now.instant));
        }
    }

    fn log_end(&self, evidence: &Evidence, now: Moment) {
        let partner = self.domains.as_ref().map(|(_, remote)| remote.as_str());
        let (cause, source) = match partner {
            Some(partner) => (Cause::StreamEnded, Source::Domain(partner)),
            // Its refusal has a line, or a budget, of its own.
            None if matches!(evidence.cause, EndCause::Refused(_)) => return,
            None => (Cause::StrangerStreamEnded, Source::from(self.peer.ip())),
        };
        if self.gateway.log_budget().allows(cause, source, now.instant) {
            let why = evidence.to_string();
            info!(partner, peer = %self.peer, why = %LogSafe(&why), "inbound stream closed");
        }
    }

    /// Charges what a read brought to the partner, who is then perhaps not read for a while.
    fn charge(&mut self, bytes: usize, now: Moment) {
        let stanzas = std::mem::take(&mut self.uncharged);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.slowed_until = self.places.charge(bytes, stanzas, now.instant);
        if self.slowed_until.is_none() {
            return;
        }
        self.gateway.counters().streams_slowed.add(1);
        let partner = self.domains.as_ref().map_or("", |(_, remote)| remote.as_str());
        if self.gateway.log_budget().allows(Cause::PartnerSlowed, Source::Domain(partner), now.instant) {
            warn!(
                partner,
                "the partner sends more than stanzas_per_second or bytes_per_second allow: he is read more slowly"
            );
        }
    }

    /// Works on what came, or holds it. What needs no room for an answer overtakes what waits for it.
    fn take(&mut self, came: Held, now: Moment) {
        self.uncharged += 1;
        if !self.held.is_empty() && may_be_answered(&came) {
            self.held.push_back(came);
        } else if let Err(came) = self.work_on(came, now) {
            self.held.push_back(came);
        }
    }

    fn retry_held(&mut self, now: Moment) {
        while let Some(first) = self.held.pop_front() {
            if let Err(first) = self.work_on(first, now) {
                self.held.push_front(first);
                break;
            }
        }
        self.leave(now);
    }

    /// Closes the connection of a stream that has ended, once nothing is held or the time for it is over.
    fn leave(&mut self, now: Moment) {
        let late = self.room_until.is_none_or(|until| until <= now.instant);
        if self.leaving && (self.held.is_empty() || late) && self.next == Next::Run {
            self.next = Next::Close;
        }
    }

    /// The connection is gone: what has no room now will not get it any more.
    fn drop_held(&mut self, now: Moment) {
        let dropped = self.held.len();
        self.held.clear();
        if dropped == 0 {
            return;
        }
        self.gateway.counters().stanzas_dropped.add(dropped as u64);
        let partner = self.domains.as_ref().map_or("", |(_, remote)| remote.as_str());
        if self.gateway.log_budget().allows(Cause::StanzaDropped, Source::Domain(partner), now.instant) {
            warn!(
                partner,
                dropped,
                "stanzas were dropped: their stream ended while too many answers to the partner were under way"
            );
        }
    }

    /// Hands it on, with room for its answer if it may get one; without that room it comes back.
    fn work_on(&mut self, came: Held, now: Moment) -> Result<(), Held> {
        let Ok(slot) = self.answer_slot(&came) else { return Err(came) };
        let mut unsettled = self.unsettled(&came);
        let slot = slot.map(|slot| slot.settles(unsettled.take()));
        match came {
            Held::BadAddress(element, _) => self.gateway.xmpp_bad_address(*element, slot, now),
            Held::Stanza(mut stanza) => {
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
    fn unsettled(&mut self, came: &Held) -> Option<Unsettled> {
        let number = match came {
            Held::Stanza(stanza) => stanza.number,
            Held::BadAddress(_, number) => *number,
        }?;
        let settling = self.settling.get_or_insert_with(|| Settling::new(Arc::clone(&self.wake)));
        Some(Unsettled::new(settling, number))
    }

    /// Sees to it that a quiet stream stays alive, or ends.
    fn watch(&mut self, now: Moment) {
        let (Some(watch), Some((local, remote))) = (&mut self.watch, &self.domains) else { return };
        if !self.stream.write_allowed() {
            return;
        }
        let (local, remote) = (local.as_str(), remote.as_str());
        if let Some(counters) = self.gateway.lane_counters(local, remote) {
            watch.look_aside(counters, now.instant);
        }
        while let Some(ask) = watch.handle_timeout(now.instant) {
            match ask {
                // Nothing of ours may be asked on this stream (RFC 6120 §4.5). Without a lane nothing is expected: a
                // partner who does not write has nothing to say.
                Ask::Probe if !self.gateway.probe_lane(local, remote) => watch.heard(now.instant),
                Ask::Probe => {}
                Ask::GiveUp => {
                    let error = (StreamCondition::ConnectionTimeout, NO_LIFE_TOLD);
                    self.stream.close(now.instant, Some(error));
                }
                Ask::Abort => self.next = Next::Abort,
                Ask::Close if self.held.is_empty() && !self.stream.has_unsettled() => {
                    self.stream.close(now.instant, None);
                }
                Ask::Close => {}
            }
        }
    }

    /// A place for the answer to it, if it may get one, in the lane from the domain of ours that it went to back to the one
    /// it came from.
    fn answer_slot(&self, came: &Held) -> Result<Option<ReplySlot>, NoRoom> {
        if !may_be_answered(came) {
            return Ok(None);
        }
        let slot = match came {
            Held::Stanza(stanza) => {
                let Addresses { from, to } = &stanza.addresses;
                self.gateway.reserve_answer(to.domain(), from.domain(), &self.wake)
            }
            Held::BadAddress(element, _) => {
                let of = |name| element.attr(name).and_then(Domain::of_address);
                // The stream has vouched for both.
                let (Some(from), Some(to)) = (of("from"), of("to")) else { return Ok(None) };
                self.gateway.reserve_answer(to.as_str(), from.as_str(), &self.wake)
            }
        };
        slot.map(Some).ok_or(NoRoom)
    }

    /// Whether the domain may come in, and on which terms.
    fn verdict(&self, from: &Domain, now: Moment) -> PartnerVerdict {
        // The limit on the first domain of a stream counts streams that are established.
        if self.domains.is_some() && self.gateway.may_enter_stream(&self.places, from.as_str()).is_err() {
            return PartnerVerdict::Refused { why: Refusal::TooManyConnections, text: TOO_MANY.to_owned() };
        }
        let Err(refused) = self.gateway.policy().open_partner(from.as_str()).map(drop) else {
            return PartnerVerdict::Allowed(self.gateway.terms(from.as_str()));
        };
        self.gateway.counters().streams_refused.add(1);
        let source = Source::Domain(from.as_str());
        let tell = || self.gateway.log_budget().allows(Cause::StreamRefused, source, now.instant);
        // Nobody federates with himself, so there is no entry to be added.
        if self.gateway.policy().serves(from.as_str()) {
            if tell() {
                warn!(
                    domain = %LogSafe(from.as_str()), peer = %self.peer,
                    "stream refused: it claims to come from a domain that is served here. Somebody poses as it, or another \
                     server believes that it serves it too"
                );
            }
            return PartnerVerdict::Refused { why: Refusal::NotPartner, text: NOT_A_PARTNER.to_owned() };
        }
        // A disabled partner learns no more than a stranger (mission, rule 3).
        let (why, fix) = match refused {
            RuleRefusal::PartnerDisabled => (Refusal::Disabled, "set enabled = true in his entry"),
            _ => (Refusal::NotPartner, "add a [[partner]] entry"),
        };
        let attempts = self.gateway.record_refused_domain(from.as_str(), now.unix_ms);
        if tell() {
            warn!(
                domain = %LogSafe(from.as_str()), peer = %self.peer, attempts = attempts.count, rule = refused.name(),
                "stream refused: {refused}; {fix} if the domain is to federate"
            );
        }
        PartnerVerdict::Refused { why, text: NOT_A_PARTNER.to_owned() }
    }
}

fn may_be_answered(came: &Held) -> bool {
    match came {
        Held::Stanza(stanza) => Gateway::may_be_answered(&stanza.element),
        Held::BadAddress(element, _) => Gateway::bad_address_may_be_answered(element),
    }
}

impl Session for InboundSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        // What establishes the stream is not charged: it has limits of its own.
        let bytes = if self.places.is_empty() { 0 } else { input.len() };
        if let Some(watch) = &mut self.watch {
            watch.heard(now.instant);
        }
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
        self.charge(bytes, now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        self.stream.transmit(output);
        if let (Some(watch), true) = (&mut self.watch, self.stream.write_allowed()) {
            watch.write(output);
        }
    }

    fn written(&mut self, _now: Moment) {}

    fn closed(&mut self, end: End, now: Moment) {
        let why = match &end {
            End::Broken(why) => why,
            End::Peer | End::Local => "",
        };
        self.stream.disconnected(why);
        // What had arrived whole is still worked on, if there is room for its answer.
        self.run(now);
        self.drop_held(now);
        for (local, remote) in std::mem::take(&mut self.reaches) {
            self.gateway.partner_reaches_no_more(local.as_str(), remote.as_str(), self.lost);
        }
        self.places.give_back();
        self.verdicts = None;
    }

    fn deadline(&self) -> Option<Instant> {
        let room = self.room_until.filter(|_| self.leaving && self.next == Next::Run);
        let quiet = self.watch.as_ref().filter(|_| self.stream.write_allowed()).map(Watch::deadline);
        [self.stream.deadline(), room, quiet, self.slowed_until].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Moment) {
        // Not to be read is not to be silent.
        if let (Some(watch), Some(_)) = (&mut self.watch, self.slowed_until) {
            watch.heard(now.instant);
        }
        self.slowed_until = self.slowed_until.filter(|until| *until > now.instant);
        self.stream.handle_timeout(now.instant);
        self.watch(now);
        self.run(now);
    }

    fn wants_read(&self) -> bool {
        self.held.is_empty() && self.slowed_until.is_none()
    }

    fn next(&self) -> Next {
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}
