//! Dialback on a stream a peer opens: taking its keys (the receiving role), and answering for ours (the authoritative
//! role).

use std::time::Instant;

use super::{
    CERTIFICATE_REQUIRED, Inbound, NO_DIALBACK, PartnerVerdict, Phase, TLS_REQUIRED, TLS_SWITCHED_OFF,
};
use crate::conditions::StreamCondition;
use crate::dialback::{
    Content, DialbackCondition, DialbackElement, DialbackKey, DialbackKind, MalformedDialback, Pair,
    VerifyOutcome, VerifyRequest, write_answer,
};
use crate::stream::evidence::{Cause, DialbackRefusal, Fault, Note, Refusal, Step};
use crate::stream::terms::Terms;
use crate::stream::words::element_name;
use crate::stream::{Method, Output};
use crate::xml::Element;

/// About whom the caller was asked.
#[derive(Debug)]
pub(super) enum Asking {
    /// The domain of the header.
    Header,
    /// Another one, which came with a key.
    Key { request: VerifyRequest, deadline: Instant },
}

/// What a domain has to show to use the stream.
#[derive(Debug, Clone, Copy)]
enum Proof {
    /// The certificate that it has shown.
    Certificate,
    /// A key that its server knows.
    Key,
}

/// A key that is being verified.
#[derive(Debug)]
pub(super) struct Verifying {
    request: VerifyRequest,
    deadline: Instant,
    /// What the entry of its sender domain allows.
    terms: Terms,
}

impl Inbound {
    /// Pairs of domains that one stream may have (DB-13).
    pub const PAIRS: usize = 64;
    /// Keys of one stream that may be verified at the same time (DB-15).
    pub const VERIFYING: usize = 8;

    /// What the entry of its sender domain allows by now: the verification of a key takes a while.
    pub fn terms_of_now(&mut self, request: &VerifyRequest, terms: Terms) {
        if let Some(verifying) = self.verifying.iter_mut().find(|verifying| verifying.request == *request) {
            verifying.terms = terms;
        }
    }

    /// What came of an [`Output::Verify`]. One that belongs to no key that is still waiting on this stream is ignored.
    pub fn verified(&mut self, request: &VerifyRequest, outcome: VerifyOutcome, now: Instant) {
        let Some(at) = self.verifying.iter().position(|v| v.request == *request) else { return };
        let terms = self.verifying.swap_remove(at).terms;
        if !self.wire.is_open() {
            return;
        }
        match outcome {
            // The terms may be others than when it came.
            VerifyOutcome::Valid => match self.judged(request, &terms) {
                Ok(_) => self.authorized(request, &terms, false, now),
                Err(why) => self.turn_down(request, why),
            },
            // DB-10: a stream that serves others does not end over it.
            VerifyOutcome::Invalid if self.wire.pairs.is_empty() => {
                self.answer_key(request, Ok(false), None);
                self.report(request, DialbackRefusal::Invalid);
                self.wire.give_up(Cause::DialbackInvalid, now);
            }
            VerifyOutcome::Invalid => self.turn_down(request, DialbackRefusal::Invalid),
            VerifyOutcome::Failed(condition) => {
                self.turn_down(request, DialbackRefusal::Unverified(condition));
            }
        }
    }

    /// An element of dialback's.
    pub(super) fn dialback(&mut self, element: Element, now: Instant) {
        // After our closing tag nothing can be answered, and no pair be used (RFC 6120 §4.4).
        if !self.wire.is_open() {
            return;
        }
        let read = match DialbackElement::read(&element) {
            Ok(read) => read,
            Err(MalformedDialback::Name) => {
                let fault = Fault::UnknownElement(element_name(&element));
                return self.wire.fault(StreamCondition::UnsupportedStanzaType, None, fault, now);
            }
            Err(MalformedDialback::Missing(_) | MalformedDialback::Address(..)) => {
                let fault = Fault::Dialback(element_name(&element));
                return self.wire.fault(StreamCondition::ImproperAddressing, None, fault, now);
            }
        };
        match (read.kind, &read.content) {
            (DialbackKind::Result, Content::Key(key)) => {
                let key = key.clone();
                self.key_given(read, key, now);
            }
            (DialbackKind::Verify, Content::Key(_)) => self.key_asked(read),
            // DB-06: we asked nothing here.
            _ => self.wire.emit(Output::Unsolicited(element)),
        }
    }

    /// The caller's word on a domain that came with a key.
    pub(super) fn key_verdict(&mut self, request: VerifyRequest, verdict: PartnerVerdict, now: Instant) {
        match verdict {
            PartnerVerdict::Allowed(terms) => self.judge_key(request, &terms, now),
            PartnerVerdict::Refused { why, text } if self.terms.is_none() && self.wire.pairs.is_empty() => {
                self.report(&request, DialbackRefusal::Refused(why));
                self.refuse(why, &text, now);
            }
            PartnerVerdict::Refused { why, text } => {
                let text = Some(text.as_str()).filter(|text| !text.is_empty());
                let condition = match why {
                    Refusal::TooManyConnections => DialbackCondition::ResourceConstraint,
                    _ => DialbackCondition::NotAcceptable,
                };
                self.answer_key(&request, Err(condition), text);
                self.report(&request, DialbackRefusal::Refused(why));
            }
        }
    }

    pub(super) fn waits_for_verification(&self) -> bool {
        !self.verifying.is_empty()
    }

    /// When the first of the keys has waited long enough, or the caller's word on a domain.
    pub(super) fn key_deadline(&self) -> Option<Instant> {
        let asking = match &self.asking {
            Some(Asking::Key { deadline, .. }) => Some(*deadline),
            _ => None,
        };
        let verifying = self.verifying.iter().map(|verifying| verifying.deadline);
        verifying.chain(asking).min().filter(|_| self.wire.is_open())
    }

    pub(super) fn expire_keys(&mut self, now: Instant) {
        if !self.wire.is_open() {
            return;
        }
        while let Some(at) = self.verifying.iter().position(|verifying| verifying.deadline <= now) {
            let request = self.verifying.swap_remove(at).request;
            let why = DialbackRefusal::Unverified(DialbackCondition::RemoteServerTimeout);
            self.turn_down(&request, why);
        }
        if let Some(Asking::Key { request, .. }) = self.asking.take_if(|asking| asking.is_late(now)) {
            self.turn_down(&request, DialbackRefusal::NoVerdict);
            self.read(now);
        }
    }

    // === the receiving role

    fn key_given(&mut self, read: DialbackElement, key: Option<DialbackKey>, now: Instant) {
        // What the caller said of the domain of the header holds until the stream is established. That may be long ago when
        // another key comes, and the domain may have proved itself by certificate since (SEC-11).
        let own = self.from.as_ref() == Some(&read.from) && self.wire.step() != Step::Established;
        let known = self.terms.filter(|_| own);
        let stream_id = self.stream_id().unwrap_or_default().into();
        let (from, to) = (read.from, read.to);
        let pair = Pair { from: from.clone(), to: to.clone() };
        if !self.dialback_is_on() {
            return self.turn_down_pair(pair, DialbackRefusal::Off);
        }
        let Some(key) = key else { return self.turn_down_pair(pair, DialbackRefusal::BadKey) };
        let request = VerifyRequest { from, to, stream_id, key };
        let why = if !self.config.served.contains(&request.to) {
            DialbackRefusal::UnknownTarget
        } else if self.config.served.contains(&request.from) {
            DialbackRefusal::OurOwn
        } else if self.wire.pairs.contains(&pair) {
            return self.answer_key(&request, Ok(true), None);
        } else if self.verifying.iter().any(|verifying| verifying.request.pair() == pair) {
            // Its answer is under way.
            return;
        } else if self.verifying.len() >= Self::VERIFYING
            || self.wire.pairs.len() + self.verifying.len() >= Self::PAIRS
        {
            DialbackRefusal::TooMany
        } else if let Some(terms) = known {
            return self.judge_key(request, &terms, now);
        } else {
            let question = Output::AskPartner { from: request.from.clone(), to: request.to.clone() };
            let deadline = now + self.config.timeouts.step;
            self.asking = Some(Asking::Key { request, deadline });
            return self.wire.emit(question);
        };
        self.turn_down(&request, why);
    }

    fn judge_key(&mut self, request: VerifyRequest, terms: &Terms, now: Instant) {
        match self.judged(&request, terms) {
            Ok(Proof::Certificate) => self.authorized(&request, terms, true, now),
            Ok(Proof::Key) => self.have_verified(request, terms, now),
            Err(why) => self.turn_down(&request, why),
        }
    }

    /// By what the entry of the sender's domain allows on such a stream (DB-14).
    fn judged(&self, request: &VerifyRequest, terms: &Terms) -> Result<Proof, DialbackRefusal> {
        let certified = self.certified && self.from.as_ref() == Some(&request.from);
        match self.phase {
            _ if !terms.negotiation.dialback => Err(DialbackRefusal::Off),
            Phase::Clear if !terms.methods.dialback_tcp => Err(DialbackRefusal::TlsRequired),
            Phase::Clear if !terms.clear() => Err(DialbackRefusal::Downgrade),
            Phase::Clear => Ok(Proof::Key),
            _ if !terms.tls() => Err(DialbackRefusal::TlsSwitchedOff),
            _ if !terms.methods.dialback_tls => Err(DialbackRefusal::CertificateRequired),
            _ if !terms.dialback_over_tls(certified) => Err(DialbackRefusal::Downgrade),
            // DEC-16, DB-16: the certificate says all that the authoritative server could say, and more, as long as the
            // judgement of it is no older than the establishment of the stream.
            _ if certified && terms.methods.external && self.wire.step() != Step::Established => {
                Ok(Proof::Certificate)
            }
            _ => Ok(Proof::Key),
        }
    }

    fn have_verified(&mut self, request: VerifyRequest, terms: &Terms, now: Instant) {
        let deadline = now + self.config.timeouts.verification;
        self.wire.emit(Output::Verify(Box::new(request.clone())));
        self.verifying.push(Verifying { request, deadline, terms: *terms });
        self.settle();
    }

    fn authorized(&mut self, request: &VerifyRequest, terms: &Terms, by_certificate: bool, now: Instant) {
        self.answer_key(request, Ok(true), None);
        let pair = request.pair();
        if self.wire.step() == Step::Established {
            self.wire.pairs.push(pair.clone());
            self.wire.emit(Output::PairAuthorized(pair));
        } else {
            let method = if self.phase == Phase::Clear { Method::DialbackTcp } else { Method::DialbackTls };
            if let Some(note) = self.why_not_better(request, terms) {
                self.wire.note_the_way(note);
            }
            // What the header's domain was told stands.
            if self.terms.is_none() {
                self.wire.limit_by(terms);
            }
            // Nothing goes back but to the domain that came with the key.
            self.wire.both_ways &= terms.both_ways;
            self.may_manage = terms.management;
            // A partner that proved itself before got this far because its certificate does so again. What the terms of the
            // domain in the header say is nothing about another one that came with a key.
            let own = self.from.as_ref() == Some(&request.from);
            let by_certificate =
                by_certificate || own && self.terms.is_some_and(|terms| terms.external_proved);
            self.established(pair, method, by_certificate, now);
        }
    }

    /// Why dialback is what it came to, where the entry allows better and nothing else was noted that says it.
    fn why_not_better(&self, request: &VerifyRequest, terms: &Terms) -> Option<Note> {
        let own = self.from.as_ref().is_none_or(|from| *from == request.from);
        let refused = || self.wire.has_note(|note| matches!(note, Note::SaslRefused { .. }));
        match self.phase {
            Phase::Clear if !terms.tls() => None,
            Phase::Clear if !self.wire.greeting.version => Some(Note::InClear),
            Phase::Clear => Some(Note::TlsNotTaken),
            _ if !terms.methods.external => None,
            _ if !own => Some(Note::OtherDomain),
            _ => (self.external && !refused()).then_some(Note::ExternalNotTaken),
        }
    }

    fn turn_down(&mut self, request: &VerifyRequest, why: DialbackRefusal) {
        self.turn_down_pair(request.pair(), why);
    }

    /// DB-11. An error does not end the stream: what is missing may still come on it.
    fn turn_down_pair(&mut self, pair: Pair, why: DialbackRefusal) {
        if let Some(condition) = condition_for(why) {
            let declare = self.wire.declare_dialback();
            let request = (DialbackKind::Result, &pair.from, &pair.to, "");
            write_answer(&mut self.wire.out, declare, request, Err(condition), words_for_peer(why));
        }
        self.report_pair(pair, why);
    }

    fn answer_key(
        &mut self,
        request: &VerifyRequest,
        answer: Result<bool, DialbackCondition>,
        text: Option<&str>,
    ) {
        let declare = self.wire.declare_dialback();
        let request = (DialbackKind::Result, &request.from, &request.to, "");
        write_answer(&mut self.wire.out, declare, request, answer, text);
    }

    fn report(&mut self, request: &VerifyRequest, why: DialbackRefusal) {
        self.report_pair(request.pair(), why);
    }

    fn report_pair(&mut self, pair: Pair, why: DialbackRefusal) {
        if self.wire.pairs.is_empty() {
            self.turned_down = Some(why);
            if why == DialbackRefusal::Off {
                // The peer waits for an answer that does not come; so do we, as long as it may take.
                self.wire.wait_without_step_deadline();
            }
        }
        self.say_refused(pair, why);
    }

    fn say_refused(&mut self, pair: Pair, why: DialbackRefusal) {
        self.wire.note(Note::DialbackRefused(why));
        self.wire.emit(Output::DialbackRefused { from: pair.from, to: pair.to, why });
    }

    // === the authoritative role

    /// DB-09: answered at once, whoever asks and however far the stream has come.
    fn key_asked(&mut self, read: DialbackElement) {
        let Content::Key(key) = &read.content else { return };
        let pair = Pair { from: read.from.clone(), to: read.to.clone() };
        if !self.dialback_is_on() {
            return self.say_refused(pair, DialbackRefusal::Off);
        }
        let answer = if self.phase == Phase::Clear && self.terms.is_some_and(|t| t.tls() && !t.clear()) {
            Err(DialbackRefusal::TlsRequired)
        } else if !self.config.served.contains(&read.to) {
            Err(DialbackRefusal::UnknownTarget)
        } else {
            let known = |key| {
                let secret = self.config.dialback.as_ref();
                secret.is_some_and(|secret| secret.knows(&read.from, &read.to, &read.id, key))
            };
            Ok(key.as_ref().is_some_and(known))
        };
        let declare = self.wire.declare_dialback();
        let request = (DialbackKind::Verify, &read.from, &read.to, read.id.as_str());
        let told = answer.map_err(|why| condition_for(why).unwrap_or(DialbackCondition::Undefined));
        let text = answer.err().and_then(words_for_peer);
        write_answer(&mut self.wire.out, declare, request, told, text);
        match answer {
            Ok(valid) => {
                self.wire.note(Note::KeyAnswered { valid });
                self.wire.emit(Output::KeyAnswered { from: read.from, to: read.to, valid });
            }
            Err(why) => self.say_refused(pair, why),
        }
    }
}

impl Asking {
    fn is_late(&self, now: Instant) -> bool {
        matches!(self, Self::Key { deadline, .. } if *deadline <= now)
    }
}

/// What the peer is told in a dialback error; `None` where it is told nothing.
fn condition_for(why: DialbackRefusal) -> Option<DialbackCondition> {
    Some(match why {
        DialbackRefusal::Off => return None,
        DialbackRefusal::TlsRequired => DialbackCondition::PolicyViolation,
        DialbackRefusal::CertificateRequired | DialbackRefusal::Downgrade => DialbackCondition::NotAuthorized,
        DialbackRefusal::UnknownTarget => DialbackCondition::ItemNotFound,
        DialbackRefusal::TooMany | DialbackRefusal::NoVerdict => DialbackCondition::ResourceConstraint,
        DialbackRefusal::Invalid => DialbackCondition::Forbidden,
        DialbackRefusal::Unverified(condition) => condition,
        DialbackRefusal::TlsSwitchedOff
        | DialbackRefusal::Refused(_)
        | DialbackRefusal::OurOwn
        | DialbackRefusal::BadKey => DialbackCondition::NotAcceptable,
    })
}

/// The same in words.
pub(super) fn words_for_peer(why: DialbackRefusal) -> Option<&'static str> {
    match why {
        DialbackRefusal::Off => Some(NO_DIALBACK),
        DialbackRefusal::TlsRequired => Some(TLS_REQUIRED),
        DialbackRefusal::CertificateRequired | DialbackRefusal::Downgrade => Some(CERTIFICATE_REQUIRED),
        DialbackRefusal::TlsSwitchedOff => Some(TLS_SWITCHED_OFF),
        _ => None,
    }
}
