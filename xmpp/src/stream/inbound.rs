//! The stream a peer opens: our header, the partner check, STARTTLS, SASL EXTERNAL, and then stanzas.

mod authentication;
mod header;

use std::time::Instant;

use compact_str::CompactString;

use super::evidence::{Cause, Direction, Fault, PeerText, Refusal, Step};
use super::identity::TlsFacts;
use super::screen::{Pair, screen};
use super::settings::{InboundConfig, StreamIds};
use super::wire::{Expired, Wire, disconnection};
use super::words::element_name;
use super::{Established, Method, Output};
use crate::conditions::{StreamCondition, StreamError};
use crate::jid::Domain;
use crate::stanza::classify;
use crate::xml::{Element, StartTag, StreamItem, ns};

/// A stream a peer opens, from the accepted socket to its end (RFC 6120 §9.2).
///
/// TLS and a certificate for the domain in `from` are required. Stanzas of ours never go out here
/// (RFC 6120 §4.5); errors about the stream do.
#[derive(Debug)]
pub struct Inbound {
    wire: Wire,
    config: InboundConfig,
    ids: StreamIds,
    /// Headers that were answered, or are being answered.
    headers: usize,
    phase: Phase,
    /// What stands in our header.
    answer: Answer,
    /// The peer's domain and ours, from its headers.
    from: Option<Domain>,
    to: Option<Domain>,
    lang: Option<CompactString>,
    /// The caller let the peer in.
    admitted: bool,
    tls: Option<TlsFacts>,
    /// SASL EXTERNAL was offered: the certificate proves `from`.
    external: bool,
    /// An empty challenge is out.
    challenged: bool,
    failures: u8,
    /// What this stream was authenticated for. One pair by SASL; dialback can add more.
    pairs: Vec<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Clear,
    Secure,
    Authenticated,
}

#[derive(Debug, Default)]
struct Answer {
    from: Option<Domain>,
    to: Option<Domain>,
    version: bool,
}

/// The answer to [`Output::AskPartner`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartnerVerdict {
    /// Go on.
    Allowed,
    /// End it with `policy-violation`.
    Refused {
        /// Why, for our side.
        why: Refusal,
        /// What the peer is told.
        text: String,
    },
}

/// What a peer without a usable certificate is told, whatever the reason.
const CERTIFICATE_REQUIRED: &str = "A valid certificate for the domain of this stream is required.";

impl Inbound {
    /// Begins on a connection that was just accepted.
    pub fn new(config: InboundConfig, ids: StreamIds, now: Instant) -> Self {
        let wire = Wire::new(Direction::Inbound, config.limits, config.timeouts, now);
        Self {
            wire,
            config,
            ids,
            headers: 0,
            phase: Phase::Clear,
            answer: Answer { version: true, ..Answer::default() },
            from: None,
            to: None,
            lang: None,
            admitted: false,
            tls: None,
            external: false,
            challenged: false,
            failures: 0,
            pairs: Vec::new(),
        }
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
            return self.fault(StreamCondition::PolicyViolation, Some(text), Fault::TooMuchBeforeAuth, now);
        }
        self.read(now);
    }

    /// The answer to [`Output::AskPartner`]. Refused peers get our header, the stream error with the
    /// text, and the closing tag.
    pub fn partner_verdict(&mut self, verdict: PartnerVerdict, now: Instant) {
        if self.wire.step() != Step::Partner || !self.wire.is_open() {
            return;
        }
        match verdict {
            PartnerVerdict::Allowed => {
                self.admitted = true;
                self.welcome(now);
            }
            PartnerVerdict::Refused { why, text } => {
                let text = Some(text.as_str()).filter(|text| !text.is_empty());
                self.fail(StreamCondition::PolicyViolation, text, Cause::Refused(why), now);
            }
        }
        self.read(now);
    }

    /// The handshake that [`Output::StartTls`] asked for is done.
    pub fn tls_established(&mut self, facts: TlsFacts, now: Instant) {
        if self.wire.is_over() || self.wire.step() != Step::TlsHandshake {
            return;
        }
        self.tls = Some(facts);
        self.phase = Phase::Secure;
        self.wire.enter(Step::SecureHeader, now);
    }

    /// The handshake failed; `why` is what the TLS layer says (TLS-04).
    pub fn tls_failed(&mut self, why: &str) {
        if !self.wire.is_over() {
            self.wire.abort(Cause::TlsFailed(PeerText::new(why)));
        }
    }

    /// The connection ended. `why` is what the transport says; empty for an ordinary end of file.
    pub fn disconnected(&mut self, why: &str) {
        let cause = self.unless_unproved(Cause::Disconnected(disconnection(why)));
        self.wire.abort(cause);
    }

    /// Closes, with a stream error if one is given (`system-shutdown`). Stanzas that are already on
    /// their way are still taken until the peer closes too, or the time for it is over.
    pub fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>) {
        if self.wire.step() == Step::TlsHandshake {
            return self.wire.abort(Cause::WeClosed(error.map(|(condition, _)| condition)));
        }
        self.open_header();
        self.wire.close(error, now);
        self.read(now);
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
                let cause = self.unless_unproved(Cause::Timeout(waiting));
                match (self.wire.step(), &cause) {
                    (Step::TlsHandshake, _) => self.wire.abort(cause),
                    (_, Cause::Certificate { .. }) => {
                        self.fail(StreamCondition::PolicyViolation, Some(CERTIFICATE_REQUIRED), cause, now);
                    }
                    // It was our side that did not answer.
                    (Step::Partner, _) => self.fail(StreamCondition::ResourceConstraint, None, cause, now),
                    _ => self.fail(StreamCondition::ConnectionTimeout, None, cause, now),
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. `None`: the stream is
    /// established, or over.
    pub fn deadline(&self) -> Option<Instant> {
        self.wire.deadline()
    }

    /// The domain of ours that the peer asked for, once its header is accepted: the one whose
    /// certificate is to be shown (TLS-05).
    pub fn local(&self) -> Option<&Domain> {
        self.to.as_ref()
    }

    /// The domain the peer claims in its header, authenticated or not.
    pub fn claimed(&self) -> Option<&Domain> {
        self.from.as_ref()
    }

    /// The id of the header we sent last. Dialback keys are made for it (XEP-0220 §2.1.2).
    pub fn stream_id(&self) -> Option<&str> {
        self.ids.0.get(self.headers.checked_sub(1)?).map(CompactString::as_str)
    }

    /// How far the stream has come.
    pub fn step(&self) -> Step {
        self.wire.step()
    }

    /// Reads what there is, up to a point where somebody else has to act first.
    fn read(&mut self, now: Instant) {
        while !self.wire.is_over() && !self.is_suspended() {
            match self.wire.next() {
                Ok(Some(item)) => self.item(item, now),
                Ok(None) => break,
                Err(error) => {
                    self.open_header();
                    self.wire.unreadable(error, now);
                }
            }
        }
    }

    fn is_suspended(&self) -> bool {
        self.wire.is_open() && matches!(self.wire.step(), Step::Partner | Step::TlsHandshake)
    }

    fn item(&mut self, item: StreamItem, now: Instant) {
        match item {
            StreamItem::Close => {
                let cause = self.unless_unproved(Cause::PeerClosed);
                self.wire.peer_closed(cause, now);
            }
            StreamItem::Header(header) if self.wire.listens() => self.header(header, now),
            StreamItem::Element(element) if self.wire.listens() => {
                match StreamError::from_element(&element) {
                    Some(error) => {
                        let cause = self.unless_unproved(Cause::from(&error));
                        self.wire.give_up(cause, now);
                    }
                    None => self.element(element, now),
                }
            }
            StreamItem::Header(_) | StreamItem::Element(_) => {}
        }
    }

    fn element(&mut self, element: Element, now: Instant) {
        match (self.wire.step(), element.name(), element.ns()) {
            (Step::Established, _, ns::DIALBACK) => self.wire.emit(Output::Unasked(element)),
            (Step::Established, _, _) => self.stanza(element, now),
            (Step::StartTls, "starttls", ns::TLS) => self.starttls(now),
            (Step::Authentication, "starttls", ns::TLS) => {
                StartTag::open(&mut self.wire.out, "failure").ns(ns::TLS).empty();
                let condition = StreamCondition::UnsupportedFeature;
                self.wire.give_up(Cause::Fault { condition, fault: Fault::SecondStartTls }, now);
            }
            (Step::StartTls | Step::Authentication, _, ns::SASL) => self.sasl(&element, now),
            (_, _, ns::DIALBACK) => self.dialback(&element, now),
            _ => {
                let (condition, fault) = match classify(&element) {
                    Some(_) => (StreamCondition::NotAuthorized, Fault::EarlyStanza),
                    None => {
                        let fault = Fault::UnknownElement(element_name(&element));
                        (StreamCondition::UnsupportedStanzaType, fault)
                    }
                };
                self.fault(condition, None, fault, now);
            }
        }
    }

    fn stanza(&mut self, element: Element, now: Instant) {
        match screen(element, &self.pairs) {
            Ok(output) => self.wire.emit(output),
            Err((condition, fault)) => self.fault(condition, None, fault, now),
        }
    }

    fn starttls(&mut self, now: Instant) {
        // The answer to bytes that came along with the command is that of RFC 6120 §5.4.2.2: they
        // would otherwise be taken for something said under TLS (TLS-03).
        if self.wire.has_unread() {
            StartTag::open(&mut self.wire.out, "failure").ns(ns::TLS).empty();
            self.wire.give_up(Cause::PlaintextAfterStartTls, now);
            return self.wire.finish();
        }
        StartTag::open(&mut self.wire.out, "proceed").ns(ns::TLS).empty();
        self.wire.restart();
        self.lang = None;
        self.wire.enter(Step::TlsHandshake, now);
        self.wire.emit(Output::StartTls);
    }

    /// Our header and features: the peer's header is accepted and the peer is let in.
    fn welcome(&mut self, now: Instant) {
        self.open_header();
        let out = &mut self.wire.out;
        StartTag::open(out, "stream:features").end();
        match self.phase {
            Phase::Clear => {
                StartTag::open(out, "starttls").ns(ns::TLS).end();
                StartTag::open(out, "required").empty();
                StartTag::close(out, "starttls");
            }
            Phase::Secure => {
                self.external = match (&self.tls, &self.from) {
                    (Some(facts), Some(from)) => facts.proves(from),
                    _ => false,
                };
                if self.external {
                    StartTag::open(out, "mechanisms").ns(ns::SASL).end();
                    StartTag::text_element(out, "mechanism", super::sasl::EXTERNAL);
                    StartTag::close(out, "mechanisms");
                }
            }
            Phase::Authenticated => self.write_limits(),
        }
        StartTag::close(&mut self.wire.out, "stream:features");
        match self.phase {
            Phase::Clear => self.wire.enter(Step::StartTls, now),
            Phase::Secure => {
                self.wire.enter(Step::Authentication, now);
                if !self.external {
                    self.wire.wait_without_step_deadline();
                }
            }
            Phase::Authenticated => self.established(now),
        }
    }

    /// XEP-0478.
    fn write_limits(&mut self) {
        let max_bytes = self.wire.max_stanza().to_string();
        let out = &mut self.wire.out;
        StartTag::open(out, "limits").ns(ns::STREAM_LIMITS).end();
        StartTag::text_element(out, "max-bytes", &max_bytes);
        if let Some(seconds) = self.config.idle_seconds {
            StartTag::text_element(out, "idle-seconds", &seconds.to_string());
        }
        StartTag::close(out, "limits");
    }

    fn established(&mut self, now: Instant) {
        let (Some(remote), Some(local), Some(tls)) = (&self.from, &self.to, self.tls.take()) else { return };
        let established = Established {
            local: local.clone(),
            remote: remote.clone(),
            stream_id: self.stream_id().map(CompactString::from),
            method: Method::SaslExternal,
            tls,
            features: Default::default(),
            lang: self.lang.take(),
        };
        self.wire.enter(Step::Established, now);
        self.wire.emit(Output::Established(Box::new(established)));
    }

    /// What becomes of a peer whose certificate does not prove its domain is the certificate's doing,
    /// however the stream ends.
    fn unless_unproved(&self, cause: Cause) -> Cause {
        match (&self.tls, &self.from) {
            (Some(facts), Some(from)) if self.wire.step() == Step::Authentication && !self.external => {
                Cause::Certificate {
                    wanted: from.clone(),
                    chain: facts.chain.clone(),
                    names: facts.names.clone(),
                }
            }
            _ => cause,
        }
    }

    fn fault(&mut self, condition: StreamCondition, text: Option<&str>, fault: Fault, now: Instant) {
        self.fail(condition, text, Cause::Fault { condition, fault }, now);
    }

    /// A stream error needs our header before it, even if the peer's was never good (S2S-16).
    fn fail(&mut self, condition: StreamCondition, text: Option<&str>, cause: Cause, now: Instant) {
        self.open_header();
        self.wire.fail(condition, text, cause, now);
    }
}
