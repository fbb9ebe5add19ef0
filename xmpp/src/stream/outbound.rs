//! The stream we open: header, STARTTLS or Direct TLS, SASL EXTERNAL or dialback, and then stanzas.

mod authentication;
mod both_ways;
mod dialback;
mod security;

use std::time::Instant;

use compact_str::CompactString;

use super::evidence::{Cause, Direction, Fault, NoStartTlsAnswer, OurText, Step};
use super::features::PeerFeatures;
use super::identity::TlsFacts;
use super::redirect::Redirect;
use super::settings::OutboundConfig;
use super::wire::{Expired, Greeting, Heard, Proof, Wire, disconnection};
use super::words::element_name;
use super::{Method, Output};
use crate::conditions::{StreamCondition, StreamError};
use crate::dialback::Pair;
use crate::xml::{Element, StreamHeader, ns};

pub use dialback::PairError;

/// A stream we open, from the connected socket to its end (RFC 6120 §9.2).
///
/// It is authenticated in the best way that the [`Terms`](super::Terms) allow and the peer offers; what is missing ends
/// the stream with an [`Evidence`](super::Evidence) that says so.
///
/// Once [`Output::Established`] came, the driver writes stanzas itself: while
/// [`write_allowed`](Self::write_allowed), append whole stanzas (and white space to keep the
/// connection alive) to the same buffer that [`transmit`](Self::transmit) filled before. The machine
/// writes nothing of its own in that time except acknowledgements, keys that [`authorize`](Self::authorize) asked for
/// and answers to keys, and to end the stream, so whatever was appended before [`close`](Self::close) stands before the closing tag.
/// Nothing else may be written, ever: white space between `<starttls/>` and `<proceed/>` is forbidden (S2S-27).
#[derive(Debug)]
pub struct Outbound {
    pub(super) wire: Wire,
    config: OutboundConfig,
    /// The peer offered STARTTLS; from before TLS, used for nothing but evidence.
    starttls_offered: bool,
    /// The stream is under TLS.
    secure: bool,
    /// The certificate proves the remote domain.
    certified: bool,
    /// A challenge was answered; EXTERNAL has one at most.
    challenged: bool,
    /// What the peer offered last, and what its header says of dialback.
    features: PeerFeatures,
    dialback_declared: bool,
    stream_id: Option<CompactString>,
    /// The pairs that were asked for and not answered yet.
    asked: Vec<dialback::Asked>,
    /// The peer found a key of ours invalid.
    no_more_pairs: bool,
}

impl Outbound {
    /// Begins on a connection that was just opened: our header is ready to be transmitted, or the handshake of
    /// Direct TLS is asked for.
    pub fn new(config: OutboundConfig, now: Instant) -> Self {
        let dialback = config.terms.methods.dialback();
        let greeting = Greeting::initiator(config.local.clone(), config.remote.clone(), dialback);
        let mut wire = Wire::new(Direction::Outbound, greeting, config.limits, config.timeouts, now);
        wire.local = Some(config.local.clone());
        wire.remote = Some(config.remote.clone());
        wire.limit_by(&config.terms);
        let mut stream = Self {
            wire,
            config,
            starttls_offered: false,
            secure: false,
            certified: false,
            challenged: false,
            features: PeerFeatures::default(),
            dialback_declared: false,
            stream_id: None,
            asked: Vec::new(),
            no_more_pairs: false,
        };
        match (stream.config.direct_tls, stream.config.terms.tls()) {
            (false, _) => stream.wire.open_header(),
            (true, true) => {
                stream.wire.enter(Step::TlsHandshake, now);
                stream.wire.emit(Output::StartTls);
            }
            (true, false) => stream.wire.abort(Cause::TlsSwitchedOff),
        }
        stream
    }

    /// Takes bytes from the connection.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if self.wire.take(bytes, now) {
            self.read(now);
        }
    }

    /// The handshake that [`Output::StartTls`] asked for is done. If the certificate does not prove the remote domain,
    /// and dialback may not take its place, not one byte follows (TLS-10, TLS-14).
    pub fn tls_established(&mut self, facts: TlsFacts, now: Instant) {
        if !self.wire.is_over() && self.wire.step() == Step::TlsHandshake {
            self.secured(facts, now);
        }
    }

    /// The handshake failed; `why` is what the TLS layer says.
    pub fn tls_failed(&mut self, why: &str) {
        if !self.wire.is_over() {
            self.not_secured();
            self.wire.abort(Cause::TlsFailed(OurText::new(why)));
        }
    }

    /// The connection ended. `why` is what the transport says; empty for an ordinary end of file.
    pub fn disconnected(&mut self, why: &str) {
        let cause = self.explain(NoStartTlsAnswer::Closed, Cause::Disconnected(disconnection(why)));
        self.wire.abort(cause);
    }

    /// Closes: what the driver appended so far is the last the peer gets. With a stream error if one
    /// is given (`system-shutdown`).
    pub fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>) {
        self.wire.close(error, now);
    }

    /// Acts on deadlines that passed; harmless if none did.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_pairs(now);
        match self.wire.expired(now) {
            None => {}
            Some(Expired::Close) => self.wire.finish(),
            Some(Expired::Waiting(waiting)) => {
                let cause = Cause::Timeout(waiting);
                if self.wire.step() == Step::TlsHandshake {
                    self.not_secured();
                    return self.wire.abort(cause);
                }
                let cause = self.explain(NoStartTlsAnswer::Silence, cause);
                self.wire.fail(StreamCondition::ConnectionTimeout, None, cause, now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. `None`: the stream is
    /// established and waits for nothing, or over.
    pub fn deadline(&self) -> Option<Instant> {
        [self.wire.deadline(), self.pair_deadline()].into_iter().flatten().min()
    }

    fn read(&mut self, now: Instant) {
        while let Some(heard) = self.wire.next(false, now) {
            match heard {
                Heard::Header(header) => self.header(header, now),
                Heard::Element(element) => self.element(element, now),
                Heard::Error(error) => {
                    self.redirected(&error);
                    let answer = NoStartTlsAnswer::StreamError(error.condition);
                    let cause = self.explain(answer, Cause::from(&error));
                    self.wire.peer_failed(cause, now);
                }
                Heard::Close => {
                    let cause = self.explain(NoStartTlsAnswer::Closed, Cause::PeerClosed);
                    self.wire.peer_closed(cause, now);
                }
            }
        }
    }

    /// Who has not proved that he is the peer sends us nowhere (S2S-30).
    fn redirected(&mut self, error: &StreamError) {
        let negotiating = self.secure && self.certified && self.wire.step() != Step::Established;
        if negotiating && let Some(host) = &error.other_host {
            self.wire.redirect = Redirect::parse(host);
        }
    }

    fn header(&mut self, header: StreamHeader, now: Instant) {
        if let Err(condition) = header.check() {
            return self.wire.fault(condition, None, Fault::Namespace, now);
        }
        let old = !header.has_features();
        let next = match self.wire.step() {
            Step::Header => Step::Features,
            _ if old => {
                return self.wire.fault(StreamCondition::UnsupportedVersion, None, Fault::Version, now);
            }
            Step::SecureHeader => Step::SecureFeatures,
            _ => Step::FinalFeatures,
        };
        self.stream_id = header.id.filter(|id| !id.is_empty());
        self.wire.lang = header.lang;
        self.dialback_declared = header.dialback_ns;
        self.wire.enter(next, now);
        if old {
            self.no_features(now);
        }
    }

    fn element(&mut self, element: Element, now: Instant) {
        match (self.wire.step(), element.name(), element.ns()) {
            (Step::Features, "features", ns::STREAMS) => self.clear_features(&element, now),
            (Step::StartTls, "proceed", ns::TLS) => self.proceed(now),
            (Step::StartTls, "failure", ns::TLS) => {
                let cause = self.explain(NoStartTlsAnswer::Failure, Cause::StartTlsFailed);
                self.not_secured();
                self.wire.give_up(cause, now);
            }
            (Step::SecureFeatures, "features", ns::STREAMS) => {
                self.features = PeerFeatures::read(&element);
                self.authenticate(now);
            }
            (Step::Authentication, _, ns::SASL) => self.sasl(&element, now),
            (Step::FinalFeatures, "features", ns::STREAMS) => {
                self.features = PeerFeatures::read(&element);
                self.established(Method::SaslExternal, now);
            }
            // They say what the peer can do, and ask for nothing any more.
            (Step::Dialback | Step::Verify, "features", ns::STREAMS) => {
                self.features = PeerFeatures::read(&element);
            }
            (_, _, ns::DIALBACK) => self.dialback(element, now),
            (Step::Established, _, ns::STREAM_MANAGEMENT) => self.managed(element, now),
            (Step::Established, _, _) if self.wire.both_ways => self.wire.stanza(element, now),
            (Step::Established, _, _) => self.wire.emit(Output::Unasked(element)),
            _ => self.unexpected(&element, now),
        }
    }

    fn established(&mut self, method: Method, now: Instant) {
        if let Some(feature) = self.features.unknown_required.take() {
            let cause = Cause::UnknownFeature(feature);
            return self.wire.fail(StreamCondition::UnsupportedFeature, None, cause, now);
        }
        // The entry has the last word, whatever led here.
        if !self.config.terms.allow(method) {
            return self.wire.give_up(Cause::NoDialback { mechanisms: Vec::new() }, now);
        }
        let terms = &self.config.terms;
        let by_certificate = self.certified && (terms.methods.external || terms.external_proved);
        let pair = Pair { from: self.config.local.clone(), to: self.config.remote.clone() };
        let (stream_id, features) = (self.stream_id.clone(), self.features.clone());
        self.wire.established(Proof { pair, method, by_certificate, stream_id, features }, now);
    }

    fn unexpected(&mut self, element: &Element, now: Instant) {
        if self.wire.step() == Step::StartTls && !self.starttls_offered {
            let answer = NoStartTlsAnswer::Other(element_name(element));
            let cause = self.explain(answer, Cause::StartTlsFailed);
            return self.wire.give_up(cause, now);
        }
        self.wire.unexpected(element, now);
    }
}
