//! The stream we open: header, STARTTLS, certificate, SASL EXTERNAL, and then stanzas.

use std::time::Instant;

use compact_str::CompactString;

use super::evidence::{Cause, Direction, Fault, NoStartTlsAnswer, PeerText, Step};
use super::features::PeerFeatures;
use super::identity::TlsFacts;
use super::sasl::{read_failure, write_identity};
use super::settings::{Authzid, OutboundConfig};
use super::wire::{Expired, Wire, disconnection};
use super::words::element_name;
use super::{Established, Method, Output};
use crate::conditions::{StreamCondition, StreamError};
use crate::sm::Misuse;
use crate::stanza::classify;
use crate::xml::{Element, StartTag, StreamHeader, StreamItem, ns};

/// A stream we open, from the connected socket to its end (RFC 6120 §9.2).
///
/// TLS and a certificate for the remote domain are required; what is missing ends the stream with an
/// [`Evidence`](super::Evidence) that says so.
///
/// Once [`Output::Established`] came, the driver writes stanzas itself: while
/// [`write_allowed`](Self::write_allowed), append whole stanzas (and white space to keep the
/// connection alive) to the same buffer that [`transmit`](Self::transmit) filled before. The machine
/// writes nothing of its own in that time except to end the stream, so whatever was appended before
/// [`close`](Self::close) stands before the closing tag. Nothing else may be written, ever: white
/// space between `<starttls/>` and `<proceed/>` is forbidden (S2S-27).
#[derive(Debug)]
pub struct Outbound {
    wire: Wire,
    config: OutboundConfig,
    /// The peer offered STARTTLS; from before TLS, used for nothing but evidence.
    starttls_offered: bool,
    tls: Option<TlsFacts>,
    /// A challenge was answered; EXTERNAL has one at most.
    challenged: bool,
    stream_id: Option<CompactString>,
    lang: Option<CompactString>,
}

impl Outbound {
    /// Begins on a connection that was just opened: our header is ready to be transmitted.
    pub fn new(config: OutboundConfig, now: Instant) -> Self {
        let mut wire = Wire::new(Direction::Outbound, config.limits, config.timeouts, now);
        wire.local = Some(config.local.clone());
        wire.remote = Some(config.remote.clone());
        let mut stream = Self {
            wire,
            config,
            starttls_offered: false,
            tls: None,
            challenged: false,
            stream_id: None,
            lang: None,
        };
        stream.write_header();
        stream
    }

    /// Takes bytes from the connection.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if self.wire.is_over() {
            return;
        }
        if self.wire.step() == Step::TlsHandshake {
            return self.wire.abort(Cause::PlaintextAfterStartTls);
        }
        if !self.wire.push(bytes) {
            let text = "Too much data before authentication.";
            return self.wire.fault(
                StreamCondition::PolicyViolation,
                Some(text),
                Fault::TooMuchBeforeAuth,
                now,
            );
        }
        while !self.wire.is_over() && self.wire.step() != Step::TlsHandshake {
            match self.wire.next() {
                Ok(Some(item)) => self.item(item, now),
                Ok(None) => break,
                Err(error) => self.wire.unreadable(error, now),
            }
        }
    }

    /// The handshake that [`Output::StartTls`] asked for is done. If the certificate does not prove
    /// the remote domain, not one byte follows (TLS-10, TLS-14).
    pub fn tls_established(&mut self, facts: TlsFacts, now: Instant) {
        if self.wire.is_over() || self.wire.step() != Step::TlsHandshake {
            return;
        }
        if !facts.proves(&self.config.remote) {
            return self.wire.finish_silently(Cause::Certificate {
                wanted: self.config.remote.clone(),
                chain: facts.chain,
                names: facts.names,
            });
        }
        self.tls = Some(facts);
        self.wire.enter(Step::SecureHeader, now);
        self.write_header();
    }

    /// The handshake failed; `why` is what the TLS layer says.
    pub fn tls_failed(&mut self, why: &str) {
        if !self.wire.is_over() {
            self.wire.abort(Cause::TlsFailed(PeerText::new(why)));
        }
    }

    /// The connection ended. `why` is what the transport says; empty for an ordinary end of file.
    pub fn disconnected(&mut self, why: &str) {
        let cause =
            self.unless_starttls_missing(NoStartTlsAnswer::Closed, Cause::Disconnected(disconnection(why)));
        self.wire.abort(cause);
    }

    /// Closes: what the driver appended so far is the last the peer gets. With a stream error if one
    /// is given (`system-shutdown`).
    pub fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>) {
        if self.wire.step() == Step::TlsHandshake {
            return self.wire.abort(Cause::WeClosed(error.map(|(condition, _)| condition)));
        }
        self.wire.close(error, now);
    }

    /// The peer misused the stream management that the caller speaks with it: the stream ends with the error for it.
    pub fn misused(&mut self, misuse: Misuse, now: Instant) {
        self.wire.misuse(misuse, now);
    }

    /// Moves everything that is to be written to the end of `out`.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        self.wire.transmit(out);
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.wire.poll()
    }

    /// Acts on deadlines that passed; harmless if none did.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.wire.expired(now) {
            None => {}
            Some(Expired::Close) => self.wire.finish(),
            Some(Expired::Waiting(waiting)) => {
                let cause = Cause::Timeout(waiting);
                if self.wire.step() == Step::TlsHandshake {
                    return self.wire.abort(cause);
                }
                let cause = self.unless_starttls_missing(NoStartTlsAnswer::Silence, cause);
                self.wire.fail(StreamCondition::ConnectionTimeout, None, cause, now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. `None`: the stream is
    /// established, or over.
    pub fn deadline(&self) -> Option<Instant> {
        self.wire.deadline()
    }

    /// Whether the driver may append stanzas now.
    pub fn write_allowed(&self) -> bool {
        self.wire.step() == Step::Established && self.wire.is_open()
    }

    /// Whether the peer answered our [`close`](Self::close) with its closing tag. It reads a stream in order
    /// (RFC 6120 §10.1), so then it has taken everything that was sent before.
    pub fn close_answered(&self) -> bool {
        self.wire.close_answered()
    }

    /// How far the stream has come.
    pub fn step(&self) -> Step {
        self.wire.step()
    }

    fn item(&mut self, item: StreamItem, now: Instant) {
        match item {
            StreamItem::Close => {
                let cause = self.unless_starttls_missing(NoStartTlsAnswer::Closed, Cause::PeerClosed);
                self.wire.peer_closed(cause, now);
            }
            StreamItem::Header(header) if self.wire.listens() => self.header(header, now),
            StreamItem::Element(element) if self.wire.listens() => {
                match StreamError::from_element(&element) {
                    Some(error) => {
                        let answer = NoStartTlsAnswer::StreamError(error.condition);
                        let cause = self.unless_starttls_missing(answer, Cause::from(&error));
                        self.wire.give_up(cause, now);
                    }
                    None => self.element(element, now),
                }
            }
            StreamItem::Header(_) | StreamItem::Element(_) => {}
        }
    }

    fn header(&mut self, header: StreamHeader, now: Instant) {
        if let Err(condition) = header.check() {
            return self.wire.fault(condition, None, Fault::Namespace, now);
        }
        let next = match self.wire.step() {
            // A peer without features cannot be asked for TLS, whether it is old or somebody took
            // the version away on its way (TLS-02).
            Step::Header if !header.has_features() => {
                return self.wire.give_up(Cause::NoStartTls { answer: NoStartTlsAnswer::OldVersion }, now);
            }
            _ if !header.has_features() => {
                return self.wire.fault(StreamCondition::UnsupportedVersion, None, Fault::Version, now);
            }
            Step::Header => Step::Features,
            Step::SecureHeader => Step::SecureFeatures,
            _ => Step::FinalFeatures,
        };
        self.stream_id = header.id;
        self.lang = header.lang;
        self.wire.enter(next, now);
    }

    fn element(&mut self, element: Element, now: Instant) {
        match (self.wire.step(), element.name(), element.ns()) {
            (Step::Features, "features", ns::STREAMS) => {
                self.starttls_offered = PeerFeatures::read(&element).starttls;
                // Also when it is not offered: the offer may have been taken away on its way (TLS-02).
                StartTag::open(&mut self.wire.out, "starttls").ns(ns::TLS).empty();
                self.wire.enter(Step::StartTls, now);
            }
            (Step::StartTls, "proceed", ns::TLS) => self.proceed(now),
            (Step::StartTls, "failure", ns::TLS) => {
                let cause = self.unless_starttls_missing(NoStartTlsAnswer::Failure, Cause::StartTlsFailed);
                self.wire.give_up(cause, now);
            }
            (Step::SecureFeatures, "features", ns::STREAMS) => {
                self.authenticate(PeerFeatures::read(&element), now);
            }
            (Step::Authentication, _, ns::SASL) => self.sasl(&element, now),
            (Step::FinalFeatures, "features", ns::STREAMS) => {
                self.established(PeerFeatures::read(&element), now);
            }
            (Step::Established, _, _) => self.wire.emit(Output::Unasked(element)),
            _ => self.unexpected(&element, now),
        }
    }

    fn proceed(&mut self, now: Instant) {
        self.wire.enter(Step::TlsHandshake, now);
        // What the peer said in clear is replaced by what it says under TLS, and what it said too early is a reason not
        // to go on at all (TLS-03).
        if self.wire.restart() {
            self.wire.emit(Output::StartTls);
        } else {
            self.wire.abort(Cause::PlaintextAfterStartTls);
        }
    }

    fn authenticate(&mut self, features: PeerFeatures, now: Instant) {
        if !features.offers_external() {
            let cause = Cause::NoExternal { dialback: features.dialback, mechanisms: features.mechanisms };
            return self.wire.give_up(cause, now);
        }
        self.write_identity("auth");
        self.wire.enter(Step::Authentication, now);
    }

    fn sasl(&mut self, element: &Element, now: Instant) {
        match element.name() {
            "success" => {
                if !self.wire.nothing_pipelined() {
                    return self.wire.fault(StreamCondition::PolicyViolation, None, Fault::Pipelined, now);
                }
                self.wire.restart();
                self.wire.enter(Step::FinalHeader, now);
                self.write_header();
            }
            // A peer that overlooked the initial response asks for it.
            "challenge" if !self.challenged => {
                self.challenged = true;
                self.write_identity("response");
                self.wire.enter(Step::Authentication, now);
            }
            "failure" => {
                let (condition, text) = read_failure(element);
                let text = text.as_deref().map(PeerText::new);
                self.wire.give_up(Cause::SaslFailed { condition, text }, now);
            }
            _ => self.unexpected(element, now),
        }
    }

    fn established(&mut self, features: PeerFeatures, now: Instant) {
        if let Some(feature) = features.unknown_required {
            return self.wire.fail(
                StreamCondition::UnsupportedFeature,
                None,
                Cause::UnknownFeature(feature),
                now,
            );
        }
        let Some(tls) = self.tls.take() else { return };
        self.wire.enter(Step::Established, now);
        self.wire.emit(Output::Established(Box::new(Established {
            local: self.config.local.clone(),
            remote: self.config.remote.clone(),
            stream_id: self.stream_id.clone(),
            method: Method::SaslExternal,
            tls,
            features,
            lang: self.lang.take(),
        })));
    }

    fn unexpected(&mut self, element: &Element, now: Instant) {
        let name = element_name(element);
        if self.wire.step() == Step::StartTls && !self.starttls_offered {
            let answer = NoStartTlsAnswer::Other(name);
            return self.wire.give_up(Cause::NoStartTls { answer }, now);
        }
        let (condition, fault) = match classify(element) {
            Some(_) => (StreamCondition::NotAuthorized, Fault::EarlyStanza),
            None => (StreamCondition::UnsupportedStanzaType, Fault::UnknownElement(name)),
        };
        self.wire.fault(condition, None, fault, now);
    }

    /// Whatever a peer that offers no STARTTLS does when asked for it all the same, the missing offer
    /// is the reason worth telling.
    fn unless_starttls_missing(&self, answer: NoStartTlsAnswer, cause: Cause) -> Cause {
        if self.wire.step() == Step::StartTls && !self.starttls_offered {
            Cause::NoStartTls { answer }
        } else {
            cause
        }
    }

    fn write_header(&mut self) {
        let (from, to) = (self.config.local.as_str(), self.config.remote.as_str());
        self.wire.write_header(from, Some(to), None, true);
    }

    fn write_identity(&mut self, name: &'static str) {
        let identity = match self.config.authzid {
            Authzid::Domain => Some(&self.config.local),
            Authzid::Empty => None,
        };
        write_identity(&mut self.wire.out, name, identity);
    }
}
