//! Our header and features.

use std::time::Instant;

use super::header::TOO_OLD;
use super::{Inbound, Phase, TLS_SWITCHED_OFF};
use crate::conditions::StreamCondition;
use crate::dialback::Pair;
use crate::stream::Method;
use crate::stream::evidence::{Cause, Fault, Note, Step};
use crate::stream::terms::Terms;
use crate::xml::{StartTag, ns};

impl Inbound {
    /// The peer's header is accepted and the peer is let in, or did not say yet who it is.
    pub(super) fn welcome(&mut self, now: Instant) {
        if self.phase != Phase::Clear && self.terms.is_some_and(|terms| !terms.tls()) {
            let text = Some(TLS_SWITCHED_OFF);
            return self.wire.fail(StreamCondition::PolicyViolation, text, Cause::TlsSwitchedOff, now);
        }
        if !self.wire.greeting.version && !self.may_stay_in_clear() {
            return self.wire.fault(StreamCondition::UnsupportedVersion, Some(TOO_OLD), Fault::Version, now);
        }
        self.wire.open_header();
        match self.phase {
            Phase::Clear if !self.wire.greeting.version => self.wire.enter(Step::Authentication, now),
            Phase::Clear => self.welcome_in_clear(now),
            Phase::Secure => self.welcome_under_tls(now),
            Phase::Authenticated => self.welcome_authenticated(now),
        }
        self.settle();
    }

    fn welcome_in_clear(&mut self, now: Instant) {
        let starttls = self.terms.is_none_or(|terms| terms.tls());
        let clear = self.may_stay_in_clear();
        let out = &mut self.wire.out;
        StartTag::open(out, "stream:features").end();
        if starttls {
            StartTag::open(out, "starttls").ns(ns::TLS).end();
            if !clear {
                StartTag::open(out, "required").empty();
            }
            StartTag::close(out, "starttls");
        }
        if clear {
            self.write_both_ways_feature();
            self.write_dialback_features();
        }
        StartTag::close(&mut self.wire.out, "stream:features");
        self.wire.enter(if starttls { Step::StartTls } else { Step::Authentication }, now);
    }

    fn welcome_under_tls(&mut self, now: Instant) {
        let (Some(facts), Some(from), Some(terms)) = (&self.wire.tls, &self.from, self.terms) else { return };
        let certified = facts.proves(from);
        self.certified = certified;
        self.external = terms.methods.external && certified;
        if !certified && terms.methods.external && terms.methods.dialback_tls {
            let (chain, names) = (facts.chain.clone(), facts.names.clone());
            self.wire.note(Note::Certificate { chain, names });
        }
        let out = &mut self.wire.out;
        StartTag::open(out, "stream:features").end();
        if self.external {
            StartTag::open(out, "mechanisms").ns(ns::SASL).end();
            StartTag::text_element(out, "mechanism", crate::stream::sasl::EXTERNAL);
            StartTag::close(out, "mechanisms");
        }
        self.write_both_ways_feature();
        if self.dialback_over_tls(&terms, certified) {
            self.write_dialback_features();
        }
        StartTag::close(&mut self.wire.out, "stream:features");
        self.wire.enter(Step::Authentication, now);
    }

    fn welcome_authenticated(&mut self, now: Instant) {
        let (Some(from), Some(to)) = (self.from.clone(), self.to.clone()) else { return };
        StartTag::open(&mut self.wire.out, "stream:features").end();
        if self.terms.is_some_and(|terms| self.dialback_over_tls(&terms, true)) {
            self.write_dialback_feature();
        }
        self.write_management_feature();
        self.write_limits();
        StartTag::close(&mut self.wire.out, "stream:features");
        self.established(Pair { from, to }, Method::SaslExternal, true, now);
    }

    /// A peer that cannot do what is asked of it, or whose way depends on others, has the whole time of the establishment.
    pub(super) fn settle(&mut self) {
        let hopeless = self.phase == Phase::Secure && !self.external && !self.dialback_is_offered();
        if self.wire.step() == Step::Authentication && hopeless || self.waits_for_verification() {
            self.wire.wait_without_step_deadline();
        }
    }

    /// Whether the stream may be authenticated in clear. Whether a peer may that did not say who it is, is known only when
    /// its key comes; that nobody may, before.
    pub(super) fn may_stay_in_clear(&self) -> bool {
        self.config.dialback.is_some() && self.terms.map_or(self.config.in_clear, |terms| terms.clear())
    }

    pub(super) fn dialback_over_tls(&self, terms: &Terms, certified: bool) -> bool {
        self.config.dialback.is_some() && terms.dialback_over_tls(certified)
    }

    /// Whether the domain of the header may still get in by dialback.
    pub(super) fn dialback_is_offered(&self) -> bool {
        match (self.phase, &self.terms) {
            (Phase::Clear, _) => self.may_stay_in_clear(),
            (_, Some(terms)) => self.dialback_over_tls(terms, self.certified),
            (_, None) => false,
        }
    }

    /// Whether dialback elements are read at all; announced in our headers (DB-01).
    pub(super) fn dialback_is_on(&self) -> bool {
        self.config.dialback.is_some() && self.terms.is_none_or(|terms| terms.negotiation.dialback)
    }

    /// Whether the peer may ask for our stanzas on its stream, now: after TLS where that is used, and as long as it has a way
    /// to prove itself (BI-01).
    pub(super) fn both_ways_offered(&self) -> bool {
        self.terms.is_none_or(|terms| terms.both_ways) && (self.external || self.dialback_is_offered())
    }

    fn write_both_ways_feature(&mut self) {
        if self.both_ways_offered() {
            StartTag::open(&mut self.wire.out, "bidi").ns(ns::BIDI_FEATURE).empty();
        }
    }

    /// Dialback, and what else a peer has to know that takes this way: on it there is no later list of features, and once its
    /// key is found valid it may enable what it saw here (XEP-0220 §2.1.1). Stream management before that is refused.
    fn write_dialback_features(&mut self) {
        self.write_dialback_feature();
        self.write_management_feature();
        self.write_limits();
    }

    /// DB-02: errors are survived.
    fn write_dialback_feature(&mut self) {
        let out = &mut self.wire.out;
        StartTag::open(out, "dialback").ns(ns::DIALBACK_FEATURE).end();
        StartTag::open(out, "errors").empty();
        StartTag::close(out, "dialback");
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
}
