//! How we prove ourselves under TLS: EXTERNAL where both can, else dialback where it is allowed.

use std::time::Instant;

use super::Outbound;
use crate::conditions::StreamCondition;
use crate::stream::evidence::{Cause, Fault, Note, PeerText, Retry, Step};
use crate::stream::sasl::{read_failure, write_identity};
use crate::stream::settings::{Authzid, Purpose};
use crate::xml::Element;

impl Outbound {
    /// The features under TLS are known.
    pub(super) fn authenticate(&mut self, now: Instant) {
        if matches!(self.config.purpose, Purpose::Verify(_)) {
            return self.ask_about_key(now);
        }
        let terms = &self.config.terms;
        // Both sides prove themselves by certificate, or neither does.
        let external = terms.methods.external && self.certified;
        let again = match self.config.retry {
            Some(Retry::WithoutExternal) => Some(Note::ExternalRefusedBefore),
            Some(Retry::WithoutUnansweredExternal) => Some(Note::ExternalUnansweredBefore),
            Some(Retry::WithoutStartTls) | None => None,
        };
        let dialback = terms.dialback_over_tls(self.certified);
        if external && self.features.offers_external() && !(again.is_some() && dialback) {
            self.ask_for_both_ways();
            self.write_identity("auth");
            return self.wire.enter(Step::Authentication, now);
        }
        if !dialback {
            let mechanisms = std::mem::take(&mut self.features.mechanisms);
            let cause = Cause::NoExternal { dialback: self.peer_knows_dialback(), mechanisms };
            return self.wire.give_up(cause, now);
        }
        if external {
            self.wire.note(again.unwrap_or(Note::NoExternal));
        }
        self.ask_to_be_let_in(now);
    }

    pub(super) fn sasl(&mut self, element: &Element, now: Instant) {
        match element.name() {
            "success" => {
                if !self.wire.nothing_pipelined() {
                    return self.wire.fault(StreamCondition::PolicyViolation, None, Fault::Pipelined, now);
                }
                self.wire.restart();
                self.wire.enter(Step::FinalHeader, now);
                self.wire.open_header();
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
                if self.may_do_without_external() {
                    self.wire.note(Note::SaslFailed { condition, text });
                    return self.ask_to_be_let_in(now);
                }
                self.wire.give_up(Cause::SaslFailed { condition, text }, now);
            }
            _ => self.unexpected(element, now),
        }
    }

    /// SASL-07: whether dialback may follow EXTERNAL that failed. The peer's certificate was good, so nothing of ours gets
    /// weaker; whether our key will do is the peer's to decide.
    pub(super) fn may_do_without_external(&self) -> bool {
        self.config.terms.dialback_over_tls(self.certified) && self.can_ask_to_be_let_in()
    }

    fn write_identity(&mut self, name: &'static str) {
        let identity = match self.config.authzid {
            Authzid::Domain => Some(&self.config.local),
            Authzid::Empty => None,
        };
        write_identity(&mut self.wire.out, name, identity);
    }
}
