//! The stream a peer opens: our header, the partner check, STARTTLS or Direct TLS, SASL EXTERNAL or dialback, and then
//! stanzas.

mod authentication;
mod dialback;
mod header;
mod management;
mod security;
mod welcome;

use std::time::Instant;

use compact_str::CompactString;

use super::evidence::{Cause, DialbackRefusal, Direction, Fault, Note, OurText, Refusal, Step};
use super::features::PeerFeatures;
use super::identity::TlsFacts;
use super::settings::{InboundConfig, StreamIds};
use super::terms::Terms;
use super::wire::{Expired, Greeting, Heard, Proof, Wire, disconnection};
use super::{Method, Output};
use crate::conditions::StreamCondition;
use crate::dialback::Pair;
use crate::jid::Domain;
use crate::xml::{Element, ns};

/// A stream a peer opens, from the accepted socket to its end (RFC 6120 §9.2).
///
/// What is offered, demanded and taken follows from the [`Terms`] that the caller gives for the domain in `from`.
/// Stanzas of ours go out here if the peer asked for that, and only between its domain and ours for which it was
/// established (RFC 6120 §4.5, BI-02): then the driver writes them as on an [`Outbound`](super::Outbound), while
/// [`write_allowed`](Self::write_allowed). Errors about the stream and dialback's answers go out anyway.
#[derive(Debug)]
pub struct Inbound {
    pub(super) wire: Wire,
    config: InboundConfig,
    phase: Phase,
    /// The peer's domain and ours, from its headers.
    from: Option<Domain>,
    to: Option<Domain>,
    /// On which terms the caller let `from` in.
    terms: Option<Terms>,
    /// Whom the caller was asked about and did not answer yet.
    asking: Option<dialback::Asking>,
    /// The certificate proves `from`. It was judged for that domain, so it says nothing about any other.
    certified: bool,
    /// SASL EXTERNAL was offered: the certificate proves `from`.
    external: bool,
    /// An empty challenge is out.
    challenged: bool,
    failures: u8,
    /// Keys that are being verified.
    verifying: Vec<dialback::Verifying>,
    /// Why dialback alone did not let the peer in, if it was tried.
    turned_down: Option<DialbackRefusal>,
    /// The domain that came in with a key may enable it. For the domain of the header, its terms say so.
    may_manage: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Clear,
    Secure,
    Authenticated,
}

/// The answer to [`Output::AskPartner`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartnerVerdict {
    /// Go on, on these terms.
    Allowed(Terms),
    /// Do not let it in: the stream ends with `policy-violation`, or goes on for other domains without this one.
    Refused {
        /// Why, for our side.
        why: Refusal,
        /// What the peer is told.
        text: String,
    },
}

/// What a peer without a usable certificate is told, whatever the reason.
const CERTIFICATE_REQUIRED: &str = "A valid certificate for the domain of this stream is required.";
const TLS_REQUIRED: &str = "TLS is required.";
const NO_DIALBACK: &str = "Server dialback is not accepted here.";
const TLS_SWITCHED_OFF: &str = "TLS is not used with this domain.";

impl Inbound {
    /// Begins on a connection that was just accepted.
    pub fn new(config: InboundConfig, ids: StreamIds, now: Instant) -> Self {
        let greeting = Greeting::responder(config.served.first().cloned(), config.dialback.is_some(), ids);
        let wire = Wire::new(Direction::Inbound, greeting, config.limits, config.timeouts, now);
        Self {
            wire,
            config,
            phase: Phase::Clear,
            from: None,
            to: None,
            terms: None,
            asking: None,
            certified: false,
            external: false,
            challenged: false,
            failures: 0,
            verifying: Vec::new(),
            turned_down: None,
            may_manage: true,
        }
    }

    /// Begins on a connection that was just accepted and starts with the TLS handshake (XEP-0368), which is asked for at
    /// once. The domain of ours that the peer wants is in its SNI then.
    pub fn direct_tls(config: InboundConfig, ids: StreamIds, now: Instant) -> Self {
        let mut stream = Self::new(config, ids, now);
        stream.wire.enter(Step::TlsHandshake, now);
        stream.wire.emit(Output::StartTls);
        stream
    }

    /// Takes bytes from the connection.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if !self.wire.take(bytes, now) {
            return;
        }
        if self.asking.is_some() && self.wire.is_flooded() {
            return self.wire.fault(StreamCondition::ResourceConstraint, None, Fault::TooMuchUnread, now);
        }
        self.read(now);
    }

    /// The answer to [`Output::AskPartner`]. Peers refused at the header get our header, the stream error with the
    /// text, and the closing tag; further domains get a dialback error.
    pub fn partner_verdict(&mut self, verdict: PartnerVerdict, now: Instant) {
        let Some(asking) = self.asking.take().filter(|_| self.wire.is_open()) else { return };
        match (asking, verdict) {
            (dialback::Asking::Header, PartnerVerdict::Allowed(terms)) => {
                self.terms = Some(terms);
                self.wire.greeting.dialback = self.dialback_is_on();
                self.wire.limit_by(&terms);
                self.welcome(now);
            }
            (dialback::Asking::Header, PartnerVerdict::Refused { why, text }) => {
                self.refuse(why, &text, now);
            }
            (dialback::Asking::Key { request, .. }, verdict) => self.key_verdict(request, verdict, now),
        }
        self.read(now);
    }

    /// The handshake that [`Output::StartTls`] asked for is done.
    pub fn tls_established(&mut self, facts: TlsFacts, now: Instant) {
        if self.wire.is_over() || self.wire.step() != Step::TlsHandshake {
            return;
        }
        self.wire.tls = Some(facts);
        self.phase = Phase::Secure;
        self.wire.enter(Step::SecureHeader, now);
    }

    /// The certificate, held against what is asked of the domain in the header, which peers may name only under TLS. To be
    /// said before [`partner_verdict`](Self::partner_verdict); ignored at any other time.
    pub fn judged_again(&mut self, facts: TlsFacts) {
        let asked_under_tls = self.phase == Phase::Secure && self.wire.step() == Step::Partner;
        if asked_under_tls && self.wire.is_open() {
            self.wire.tls = Some(facts);
        }
    }

    /// The handshake failed; `why` is what the TLS layer says (TLS-04).
    pub fn tls_failed(&mut self, why: &str) {
        if !self.wire.is_over() {
            self.wire.abort(Cause::TlsFailed(OurText::new(why)));
        }
    }

    /// The connection ended. `why` is what the transport says; empty for an ordinary end of file.
    pub fn disconnected(&mut self, why: &str) {
        let cause = self.explain(Cause::Disconnected(disconnection(why)));
        self.wire.abort(cause);
    }

    /// Turns the peer out with a stream error: what it still sends is nothing.
    pub fn turn_out(&mut self, condition: StreamCondition, text: &str, now: Instant) {
        let cause = Cause::WeClosed(Some(condition));
        self.wire.fail(condition, Some(text), cause, now);
    }

    /// Closes, with a stream error if one is given (`system-shutdown`). Stanzas that are already on
    /// their way are still taken until the peer closes too, or the time for it is over.
    pub fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>) {
        self.wire.close(error, now);
        self.read(now);
    }

    /// Acts on deadlines that passed; harmless if none did.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_keys(now);
        match self.wire.expired(now) {
            None => {}
            Some(Expired::Close) => self.wire.finish(),
            Some(Expired::Waiting(waiting)) => {
                let cause = self.explain(Cause::Timeout(waiting));
                let (condition, text) = match (self.wire.step(), &cause) {
                    (Step::TlsHandshake, _) => return self.wire.abort(cause),
                    (_, Cause::Certificate { .. } | Cause::Downgrade) => {
                        (StreamCondition::PolicyViolation, Some(CERTIFICATE_REQUIRED))
                    }
                    (_, Cause::DialbackRefused(why)) => {
                        (StreamCondition::PolicyViolation, dialback::words_for_peer(*why))
                    }
                    // It was our side that did not answer.
                    (Step::Partner, _) => (StreamCondition::ResourceConstraint, None),
                    _ => (StreamCondition::ConnectionTimeout, None),
                };
                self.wire.fail(condition, text, cause, now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. `None`: the stream is
    /// established and waits for nothing, or over.
    pub fn deadline(&self) -> Option<Instant> {
        [self.wire.deadline(), self.key_deadline()].into_iter().flatten().min()
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
        self.wire.greeting.stream_id().map(CompactString::as_str)
    }

    /// Reads what there is, up to a point where somebody else has to act first.
    fn read(&mut self, now: Instant) {
        while let Some(heard) = self.wire.next(self.asking.is_some(), now) {
            match heard {
                Heard::Header(header) => self.header(header, now),
                Heard::Element(element) => self.element(element, now),
                Heard::Error(error) => {
                    let cause = self.explain(Cause::from(&error));
                    self.wire.peer_failed(cause, now);
                }
                Heard::Close => {
                    let cause = self.explain(Cause::PeerClosed);
                    self.wire.peer_closed(cause, now);
                }
            }
        }
    }

    fn element(&mut self, element: Element, now: Instant) {
        match (self.wire.step(), element.name(), element.ns()) {
            (_, _, ns::STREAM_MANAGEMENT) => self.manage(&element, now),
            (Step::StartTls | Step::Authentication | Step::Established, _, ns::DIALBACK) => {
                self.dialback(element, now);
            }
            (Step::Established, _, _) => self.wire.stanza(element, now),
            (Step::StartTls | Step::Authentication, "bidi", ns::BIDI) if self.both_ways_offered() => {
                self.wire.both_ways = true;
            }
            (Step::StartTls, "starttls", ns::TLS) => self.starttls(now),
            (Step::Authentication, "starttls", ns::TLS) => self.no_starttls(now),
            (Step::StartTls | Step::Authentication, _, ns::SASL) => self.sasl(&element, now),
            _ => self.wire.unexpected(&element, now),
        }
    }

    fn established(&mut self, pair: Pair, method: Method, by_certificate: bool, now: Instant) {
        let (stream_id, features) = (self.stream_id().map(CompactString::from), PeerFeatures::default());
        self.wire.established(Proof { pair, method, by_certificate, stream_id, features }, now);
    }

    /// What becomes of a peer that could not authenticate in any way that is allowed is the doing of its certificate, or of
    /// its trying dialback, however the stream ends.
    fn explain(&self, cause: Cause) -> Cause {
        let waits = matches!(self.wire.step(), Step::StartTls | Step::Authentication);
        let asked_only = self.wire.has_note(|note| matches!(note, Note::KeyAnswered { .. }));
        if !waits || asked_only && self.turned_down.is_none() {
            return cause;
        }
        if self.turned_down == Some(DialbackRefusal::Downgrade) {
            return Cause::Downgrade;
        }
        match (&self.wire.tls, &self.from, &self.terms) {
            (Some(facts), Some(from), Some(terms))
                if self.phase == Phase::Secure
                    && terms.methods.external
                    && !self.external
                    && !self.dialback_over_tls(terms, false) =>
            {
                let (chain, names) = (facts.chain.clone(), facts.names.clone());
                Cause::Certificate { wanted: from.clone(), chain, names }
            }
            _ => match self.turned_down {
                Some(why) => Cause::DialbackRefused(why),
                None => cause,
            },
        }
    }

    fn refuse(&mut self, why: Refusal, text: &str, now: Instant) {
        let text = Some(text).filter(|text| !text.is_empty());
        self.wire.fail(StreamCondition::PolicyViolation, text, Cause::Refused(why), now);
    }
}
