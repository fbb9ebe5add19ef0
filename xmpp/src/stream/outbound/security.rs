//! Whether and how the stream gets under TLS.

use std::time::Instant;

use super::Outbound;
use crate::conditions::StreamCondition;
use crate::stream::Output;
use crate::stream::evidence::{Cause, NoStartTlsAnswer, Note, Retry, Step};
use crate::stream::features::PeerFeatures;
use crate::stream::identity::TlsFacts;
use crate::stream::settings::Purpose;
use crate::xml::{Element, StartTag, ns};

impl Outbound {
    /// What the responder offers before TLS. Anybody may have written it.
    pub(super) fn clear_features(&mut self, features: &Element, now: Instant) {
        self.features = PeerFeatures::read(features);
        self.starttls_offered = self.features.starttls;
        if !self.config.terms.tls() {
            if self.features.starttls_required {
                return self.wire.give_up(Cause::TlsSwitchedOff, now);
            }
            return self.in_clear(now);
        }
        let again = self.config.retry == Some(Retry::WithoutStartTls);
        if again && !self.starttls_offered && self.config.terms.clear() {
            self.wire.note(Note::InClear);
            return self.in_clear(now);
        }
        // Also when it is not offered: the offer may have been taken away on its way (TLS-02).
        StartTag::open(&mut self.wire.out, "starttls").ns(ns::TLS).empty();
        self.wire.enter(Step::StartTls, now);
    }

    /// A peer of XMPP 0.9 sends no features and knows no STARTTLS, whether it is old or somebody took the version away
    /// on its way (S2S-15, TLS-02).
    pub(super) fn no_features(&mut self, now: Instant) {
        self.features = PeerFeatures::default();
        match (self.config.terms.tls(), self.config.terms.clear()) {
            (true, false) => {
                let cause = Cause::NoStartTls { answer: NoStartTlsAnswer::OldVersion };
                return self.wire.give_up(cause, now);
            }
            (true, true) => self.wire.note(Note::InClear),
            (false, _) => {}
        }
        self.in_clear(now);
    }

    pub(super) fn proceed(&mut self, now: Instant) {
        self.wire.enter(Step::TlsHandshake, now);
        // What the peer said in clear is replaced by what it says under TLS, and what it said too early is a reason not
        // to go on at all (TLS-03).
        if self.wire.restart() {
            self.features = PeerFeatures::default();
            self.dialback_declared = false;
            self.stream_id = None;
            self.wire.emit(Output::StartTls);
        } else {
            self.wire.abort(Cause::PlaintextAfterStartTls);
        }
    }

    /// Under TLS. The certificate is judged only as far as the ways that are left depend on it.
    pub(super) fn secured(&mut self, facts: TlsFacts, now: Instant) {
        let terms = &self.config.terms;
        self.certified = facts.proves(&self.config.remote);
        if !self.certified {
            let (chain, names) = (facts.chain.clone(), facts.names.clone());
            if !terms.methods.dialback_tls {
                let wanted = self.config.remote.clone();
                return self.wire.finish_silently(Cause::Certificate { wanted, chain, names });
            }
            if terms.methods.external || terms.external_proved {
                self.wire.note(Note::Certificate { chain, names });
            }
            if !terms.dialback_over_tls(false) {
                return self.wire.finish_silently(Cause::Downgrade);
            }
        }
        self.wire.tls = Some(facts);
        self.secure = true;
        self.wire.enter(Step::SecureHeader, now);
        self.wire.open_header();
    }

    /// TLS was tried and failed. Whoever can break a handshake must not gain a stream in clear by it.
    pub(super) fn not_secured(&mut self) {
        if self.config.terms.clear() && self.wire.retry.is_none() {
            self.wire.note(Note::NotInClear);
        }
    }

    /// Whatever a peer that offers no STARTTLS does when asked for it all the same, the missing offer is the reason worth
    /// telling; and one that ends the stream over a SASL failure, or instead of one, may take dialback on the next.
    pub(super) fn explain(&mut self, answer: NoStartTlsAnswer, cause: Cause) -> Cause {
        match self.wire.step() {
            Step::StartTls if !self.starttls_offered => {
                if self.config.terms.clear() {
                    self.wire.retry = Some(Retry::WithoutStartTls);
                }
                Cause::NoStartTls { answer }
            }
            Step::Dialback if self.wire.has_note(|note| matches!(note, Note::SaslFailed { .. })) => {
                self.wire.retry = Some(Retry::WithoutExternal);
                cause
            }
            Step::Authentication if is_no_to_external(&cause) && self.may_do_without_external() => {
                self.wire.retry = Some(Retry::WithoutUnansweredExternal);
                cause
            }
            _ => cause,
        }
    }

    /// Without TLS there is dialback, and nothing else.
    fn in_clear(&mut self, now: Instant) {
        match &self.config.purpose {
            Purpose::Verify(_) => self.ask_about_key(now),
            Purpose::Carry if self.config.terms.clear() => self.ask_to_be_let_in(now),
            // The entry switches TLS off, and the partner used to prove itself under it.
            Purpose::Carry if self.config.terms.external_proved => {
                self.wire.fail(StreamCondition::PolicyViolation, None, Cause::Downgrade, now);
            }
            Purpose::Carry => self.wire.give_up(Cause::NoDialback { mechanisms: Vec::new() }, now),
        }
    }
}

/// Whether a peer that has to answer our use of EXTERNAL says no by this. Silence is no answer; and an error that speaks of
/// something else is none to that.
fn is_no_to_external(cause: &Cause) -> bool {
    match cause {
        Cause::Disconnected(_) | Cause::PeerClosed => true,
        Cause::PeerError { condition, .. } => matches!(
            condition,
            StreamCondition::NotAuthorized
                | StreamCondition::InvalidFrom
                | StreamCondition::PolicyViolation
                | StreamCondition::InternalServerError
                | StreamCondition::UndefinedCondition
        ),
        _ => false,
    }
}
