//! SASL EXTERNAL as the responder (XEP-0178 §3).

use std::time::Instant;

use super::{CERTIFICATE_REQUIRED, Inbound, Phase};
use crate::conditions::StreamCondition;
use crate::dialback::Pair;
use crate::stream::evidence::{Cause, Fault, Note, PeerText, Step};
use crate::stream::sasl::{EXTERNAL, Response, SaslCondition, read_response, write_failure};
use crate::stream::words::element_name;
use crate::xml::{Element, StartTag, ns};

impl Inbound {
    pub(super) fn sasl(&mut self, element: &Element, now: Instant) {
        if self.phase == Phase::Clear {
            return self.sasl_failed(SaslCondition::EncryptionRequired, now);
        }
        match element.name() {
            // A second one before the first is answered replaces it (SASL-09).
            "auth" => {
                self.challenged = false;
                self.auth(element, now);
            }
            "response" if self.challenged => {
                self.challenged = false;
                match read_response(element) {
                    Ok(Response::Absent) => self.identified(Response::Empty, now),
                    Ok(response) => self.identified(response, now),
                    Err(condition) => self.sasl_failed(condition, now),
                }
            }
            "response" => self.sasl_failed(SaslCondition::MalformedRequest, now),
            "abort" => {
                self.challenged = false;
                self.sasl_failed(SaslCondition::Aborted, now);
            }
            _ => {
                let fault = Fault::UnknownElement(element_name(element));
                self.wire.fault(StreamCondition::UnsupportedStanzaType, None, fault, now);
            }
        }
    }

    fn auth(&mut self, auth: &Element, now: Instant) {
        if auth.attr("mechanism") != Some(EXTERNAL) {
            return self.sasl_failed(SaslCondition::InvalidMechanism, now);
        }
        if !self.external {
            let condition = SaslCondition::NotAuthorized;
            // SASL-07: dialback may still do. It does not for ever: tries are counted.
            if self.dialback_is_offered() {
                return self.sasl_failed(condition, now);
            }
            // It was not offered, and trying again will not change the certificate (XEP-0178 §3).
            write_failure(&mut self.wire.out, condition, Some(CERTIFICATE_REQUIRED));
            let cause = self.explain(Cause::SaslFailed { condition, text: None });
            return self.wire.give_up(cause, now);
        }
        match read_response(auth) {
            Ok(Response::Absent) => {
                self.challenged = true;
                StartTag::open(&mut self.wire.out, "challenge").ns(ns::SASL).empty();
                self.wire.enter(Step::Authentication, now);
            }
            Ok(response) => self.identified(response, now),
            Err(condition) => self.sasl_failed(condition, now),
        }
    }

    /// The certificate proves `from`; no other identity may be asked for (SASL-03, SASL-06).
    fn identified(&mut self, response: Response, now: Instant) {
        let (Some(from), Some(to)) = (self.from.clone(), self.to.clone()) else { return };
        if let Response::Domain(authzid) = response
            && authzid != from
        {
            return self.sasl_failed_as(SaslCondition::InvalidAuthzid, Some(authzid.as_str()), now);
        }
        if !self.wire.nothing_pipelined() {
            return self.wire.fault(StreamCondition::PolicyViolation, None, Fault::Pipelined, now);
        }
        StartTag::open(&mut self.wire.out, "success").ns(ns::SASL).empty();
        self.restart();
        self.wire.pairs.push(Pair { from, to });
        self.phase = Phase::Authenticated;
        self.wire.enter(Step::FinalHeader, now);
    }

    fn sasl_failed(&mut self, condition: SaslCondition, now: Instant) {
        self.sasl_failed_as(condition, None, now);
    }

    /// `identity`: whom the peer wanted to be, if that is why.
    fn sasl_failed_as(&mut self, condition: SaslCondition, identity: Option<&str>, now: Instant) {
        write_failure(&mut self.wire.out, condition, None);
        self.wire.note(Note::SaslRefused { condition, identity: identity.map(PeerText::new) });
        self.failures = self.failures.saturating_add(1);
        // SASL-08.
        if self.failures > self.config.sasl_retries.clamp(2, 5) {
            let cause = self.explain(Cause::SaslFailed { condition, text: None });
            let text = "Too many failures to authenticate.";
            return self.wire.fail(StreamCondition::PolicyViolation, Some(text), cause, now);
        }
        let step = self.wire.step();
        self.wire.enter(step, now);
        self.settle();
    }
}
