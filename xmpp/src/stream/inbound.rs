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
use super::identity::TlsFacts;
use super::screen::screen;
use super::settings::{InboundConfig, StreamIds};
use super::terms::Terms;
use super::wire::{Expired, Wire, disconnection};
use super::words::element_name;
use super::{Established, Method, Output};
use crate::conditions::{StreamCondition, StreamError};
use crate::dialback::Pair;
use crate::jid::Domain;
use crate::sm::Responder;
use crate::stanza::classify;
use crate::xml::{Element, StreamItem, ns};

/// A stream a peer opens, from the accepted socket to its end (RFC 6120 §9.2).
///
/// What is offered, demanded and taken follows from the [`Terms`] that the caller gives for the domain in `from`.
/// Stanzas of ours go out here if the peer asked for that, and only between its domain and ours for which it was
/// established (RFC 6120 §4.5, BI-02): then the driver writes them as on an [`Outbound`](super::Outbound), while
/// [`write_allowed`](Self::write_allowed). Errors about the stream and dialback's answers go out anyway.
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
    /// On which terms the caller let `from` in.
    terms: Option<Terms>,
    /// Whom the caller was asked about and did not answer yet.
    asking: Option<dialback::Asking>,
    tls: Option<TlsFacts>,
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
    /// What this stream was authenticated for. One pair by SASL; dialback can add more.
    pairs: Vec<Pair>,
    management: Responder,
    /// The domain that came in with a key may enable it. For the domain of the header, its terms say so.
    may_manage: bool,
    /// The peer takes our stanzas on this stream (XEP-0288).
    both_ways: bool,
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
            terms: None,
            asking: None,
            tls: None,
            certified: false,
            external: false,
            challenged: false,
            failures: 0,
            verifying: Vec::new(),
            turned_down: None,
            pairs: Vec::new(),
            management: Responder::default(),
            may_manage: true,
            both_ways: false,
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
        if self.asking.is_some() && self.wire.is_flooded() {
            return self.fault(StreamCondition::ResourceConstraint, None, Fault::TooMuchUnread, now);
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
                self.wire.set_max_stanza(terms.max_stanza);
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
        self.tls = Some(facts);
        self.phase = Phase::Secure;
        self.wire.enter(Step::SecureHeader, now);
    }

    /// The certificate, held against what is asked of the domain in the header, which peers may name only under TLS. To be
    /// said before [`partner_verdict`](Self::partner_verdict); ignored at any other time.
    pub fn judged_again(&mut self, facts: TlsFacts) {
        let asked_under_tls = self.phase == Phase::Secure && self.wire.step() == Step::Partner;
        if asked_under_tls && self.wire.is_open() {
            self.tls = Some(facts);
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
        self.fail(condition, Some(text), cause, now);
    }

    /// Closes, with a stream error if one is given (`system-shutdown`). Stanzas that are already on
    /// their way are still taken until the peer closes too, or the time for it is over.
    pub fn close(&mut self, now: Instant, error: Option<(StreamCondition, &str)>) {
        if self.wire.step() == Step::TlsHandshake {
            return self.wire.abort(Cause::WeClosed(error.map(|(condition, _)| condition)));
        }
        self.open_header();
        self.acknowledge_last();
        self.wire.close(error, now);
        self.read(now);
    }

    /// Moves everything that is to be written to the end of `out`.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        self.acknowledge();
        self.wire.transmit(out);
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.wire.poll()
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
                self.fail(condition, text, cause, now);
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
        self.ids.0.get(self.headers.checked_sub(1)?).map(CompactString::as_str)
    }

    /// The pairs of domains that this stream is authenticated for.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Whether the peer answered our [`close`](Self::close) with its closing tag. It reads a stream in order
    /// (RFC 6120 §10.1), so then it has taken everything that was sent before.
    pub fn close_answered(&self) -> bool {
        self.wire.close_answered()
    }

    /// Octets that the stream keeps: those that arrived and were not read yet, or are part of something unfinished, and
    /// those that wait for [`transmit`](Self::transmit).
    pub fn held(&self) -> usize {
        self.wire.held()
    }

    /// How far the stream has come.
    pub fn step(&self) -> Step {
        self.wire.step()
    }

    /// Reads what there is, up to a point where somebody else has to act first.
    fn read(&mut self, now: Instant) {
        while !self.wire.is_over() && !self.is_suspended() {
            match self.wire.next() {
                Ok(Some(item)) => {
                    self.item(item, now);
                    if self.wire.is_choked() {
                        self.fault(StreamCondition::PolicyViolation, None, Fault::AnswersUnread, now);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.open_header();
                    self.wire.unreadable(error, now);
                }
            }
        }
    }

    fn is_suspended(&self) -> bool {
        self.wire.is_open() && (self.asking.is_some() || self.wire.step() == Step::TlsHandshake)
    }

    fn item(&mut self, item: StreamItem, now: Instant) {
        match item {
            StreamItem::Close => {
                let cause = self.explain(Cause::PeerClosed);
                self.acknowledge_last();
                self.wire.peer_closed(cause, now);
            }
            StreamItem::Header(header) if self.wire.listens() => self.header(header, now),
            StreamItem::Element(element) if self.wire.listens() => {
                match StreamError::from_element(&element) {
                    Some(error) => {
                        let cause = self.explain(Cause::from(&error));
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
            (_, _, ns::STREAM_MANAGEMENT) => self.manage(&element, now),
            (Step::StartTls | Step::Authentication | Step::Established, _, ns::DIALBACK) => {
                self.dialback(element, now);
            }
            (Step::Established, _, _) => self.stanza(element, now),
            (Step::StartTls | Step::Authentication, "bidi", ns::BIDI) if self.both_ways_offered() => {
                self.both_ways = true;
            }
            (Step::StartTls, "starttls", ns::TLS) => self.starttls(now),
            (Step::Authentication, "starttls", ns::TLS) => self.no_starttls(now),
            (Step::StartTls | Step::Authentication, _, ns::SASL) => self.sasl(&element, now),
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
        match screen(element, self.pairs.iter().map(|pair| (&pair.from, &pair.to))) {
            Ok(mut output) => {
                output.number_by(|| self.management.handled.begin());
                self.wire.emit(output);
            }
            Err((condition, fault)) => self.fault(condition, None, fault, now),
        }
    }

    fn established(&mut self, pair: Pair, method: Method, by_certificate: bool, now: Instant) {
        let established = Established {
            local: pair.to.clone(),
            remote: pair.from.clone(),
            stream_id: self.stream_id().map(CompactString::from),
            method,
            tls: self.tls.take(),
            by_certificate,
            features: Default::default(),
            both_ways: self.both_ways,
            notes: self.wire.take_notes(),
            lang: self.lang.take(),
        };
        (self.wire.local, self.wire.remote) = (Some(pair.to.clone()), Some(pair.from.clone()));
        if !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
        self.wire.enter(Step::Established, now);
        self.wire.emit(Output::Established(Box::new(established)));
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
        match (&self.tls, &self.from, &self.terms) {
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
        self.fail(StreamCondition::PolicyViolation, text, Cause::Refused(why), now);
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
