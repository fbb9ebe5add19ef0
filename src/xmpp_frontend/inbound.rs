//! Streams that partners open to us.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_translate::judge::Refusal as RuleRefusal;
use nuncio_translate::text::LogSafe;
use nuncio_xmpp::stream::{
    Inbound, InboundConfig, Output, PartnerVerdict, Refusal, Stanza, StreamIds, TlsFacts,
};
use nuncio_xmpp::{Domain, Element, StreamCondition};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::gateway::{Gateway, Way};
use crate::net::listener::Unauthenticated;
use crate::net::session::{End, Next, Session};

/// What a peer is told whose domain is no partner of ours.
const NOT_A_PARTNER: &str =
    "this domain does not federate with yours; ask its administrator to add it as a partner";

/// The session of one stream opened by a partner.
pub struct InboundSession {
    gateway: Arc<Gateway>,
    stream: Inbound,
    peer: SocketAddr,
    /// Who the stream is between, once established.
    domains: Option<(Domain, Domain)>,
    /// The default language of the peer's stanzas (IM-14).
    lang: Option<String>,
    /// A stanza that waits for room for its answer; until then nothing is read.
    held: Option<Box<Stanza>>,
    /// Messages may have been queued for the front end that it was not given yet.
    queued: bool,
    /// Where the last stanza belonged, and most likely the next.
    way: Option<Way>,
    next: Next,
    wake: Arc<Notify>,
    /// Held until the stream is established.
    until_established: Option<Unauthenticated>,
    /// This stream's place among those of its domain.
    counted: bool,
    /// The connection is gone: nothing can wait any more.
    over: bool,
}

impl InboundSession {
    pub fn new(
        gateway: Arc<Gateway>,
        config: InboundConfig,
        ids: StreamIds,
        peer: SocketAddr,
        now: Moment,
    ) -> Self {
        Self {
            gateway,
            stream: Inbound::new(config, ids, now.instant),
            peer,
            domains: None,
            lang: None,
            held: None,
            queued: false,
            way: None,
            next: Next::Run,
            wake: Arc::new(Notify::new()),
            until_established: None,
            counted: false,
            over: false,
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

    pub fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.next = Next::Run;
        self.stream.tls_established(facts, now.instant);
        self.run(now);
    }

    pub fn tls_failed(&mut self, why: &str, now: Moment) {
        self.next = Next::Run;
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
        if std::mem::take(&mut self.queued)
            && let Some((local, _)) = &self.domains
        {
            self.gateway.serve_route_of(local.as_str(), now);
        }
    }

    /// Takes what the stream puts out, until there is nothing more, or no room for the next answer.
    fn work(&mut self, now: Moment) {
        if let Some(stanza) = self.held.take() {
            self.stanza(stanza, now);
        }
        while self.held.is_none() {
            let Some(output) = self.stream.poll() else { return };
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::AskPartner { from, to: _ } => {
                    let verdict = self.verdict(&from, now);
                    self.stream.partner_verdict(verdict, now.instant);
                }
                Output::Established(established) => {
                    info!(
                        partner = established.remote.as_str(), local = established.local.as_str(),
                        peer = %self.peer, tls = %established.tls.protocol, "inbound stream established"
                    );
                    self.until_established = None;
                    self.lang = established.lang.map(Into::into);
                    self.counted = self.gateway.stream_established(established.remote.as_str());
                    let remote = established.remote;
                    if !self.counted {
                        warn!(partner = remote.as_str(), peer = %self.peer,
                            "stream closed: the partner has as many as limits.xmpp.connections_per_partner allows");
                        let error = (StreamCondition::PolicyViolation, "too many streams of your domain");
                        self.stream.close(now.instant, Some(error));
                    }
                    self.domains = Some((established.local, remote));
                }
                Output::Stanza(stanza) => self.stanza(stanza, now),
                Output::BadAddress { element, .. } => self.bad_address(&element, now),
                Output::Unasked(element) => {
                    debug!(peer = %self.peer, element = element.name(), "element ignored on an inbound stream");
                }
                Output::Closed(evidence) => {
                    let who = self.domains.as_ref().map_or("", |(_, remote)| remote.as_str());
                    info!(partner = who, peer = %self.peer, why = %LogSafe(&evidence.to_string()), "inbound stream closed");
                }
                Output::ShutdownTls => self.next = Next::Close,
                Output::Abort => self.next = Next::Abort,
            }
        }
    }

    fn stanza(&mut self, mut stanza: Box<Stanza>, now: Moment) {
        let answerable = Gateway::may_be_answered(&stanza.element);
        if answerable && !self.gateway.reserve_answer(&stanza.addresses, &mut self.way, &self.wake) {
            if self.over {
                self.gateway.counters().stanzas_dropped.add(1);
                warn!(
                    partner = stanza.addresses.from.domain(),
                    "a stanza was dropped: its stream ended while too many answers to the partner were under way"
                );
                return;
            }
            self.held = Some(stanza);
            return;
        }
        // The stream's default language becomes the stanza's own, which outlives the stream (IM-14).
        if let (Some(lang), None) = (&self.lang, stanza.element.lang()) {
            stanza.element = stanza.element.with_lang(lang);
        }
        self.gateway.xmpp_stanza(stanza.element, &stanza.addresses, &mut self.way, now);
        self.queued = true;
    }

    fn bad_address(&self, element: &Element, now: Moment) {
        if let Some((local, remote)) = &self.domains {
            self.gateway.xmpp_bad_address(element, local.as_str(), remote.as_str(), now);
        }
    }

    fn verdict(&self, from: &Domain, now: Moment) -> PartnerVerdict {
        let Err(refused) = self.gateway.policy().open_partner(from.as_str()).map(drop) else {
            return PartnerVerdict::Allowed;
        };
        self.gateway.counters().streams_refused.add(1);
        // A disabled partner learns no more than a stranger (mission, rule 3).
        let why = match refused {
            RuleRefusal::PartnerDisabled => Refusal::Disabled,
            _ => Refusal::NotPartner,
        };
        let attempts = self.gateway.record_refused_domain(from.as_str(), now.unix_ms);
        // The first attempt, then ever more rarely: the log is not the stranger's to fill.
        if attempts.count.is_power_of_two() {
            warn!(
                domain = %LogSafe(from.as_str()), peer = %self.peer, attempts = attempts.count, rule = refused.name(),
                "stream refused: {refused}; add a [[partner]] entry if the domain is to federate"
            );
        }
        PartnerVerdict::Refused { why, text: NOT_A_PARTNER.to_owned() }
    }
}

impl Session for InboundSession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        self.stream.receive(input, now.instant);
        input.clear();
        self.run(now);
    }

    fn transmit(&mut self, output: &mut Vec<u8>, now: Moment) {
        self.run(now);
        self.stream.transmit(output);
    }

    fn written(&mut self, _now: Moment) {}

    fn closed(&mut self, end: End, now: Moment) {
        let why = match &end {
            End::Broken(why) => why,
            End::Peer | End::Local => "",
        };
        self.over = true;
        self.stream.disconnected(why);
        // What had arrived whole is still worked on, if there is room for its answer.
        self.run(now);
        if let (true, Some((_, remote))) = (self.counted, &self.domains) {
            self.gateway.stream_ended(remote.as_str());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.stream.deadline()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.stream.handle_timeout(now.instant);
        self.run(now);
    }

    fn wants_read(&self) -> bool {
        self.held.is_none()
    }

    fn next(&self) -> Next {
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}
