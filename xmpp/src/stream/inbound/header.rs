//! The peer's header and ours.

use std::time::Instant;

use compact_str::CompactString;

use super::dialback::Asking;
use super::{Inbound, Phase};
use crate::conditions::StreamCondition;
use crate::jid::Domain;
use crate::stanza::Attr;
use crate::stream::Output;
use crate::stream::evidence::{Fault, PeerText, Step};
use crate::xml::StreamHeader;

/// What a peer of XMPP 0.9 is told, which has no TLS, where it would need it.
pub(super) const TOO_OLD: &str = "XMPP 1.0 is required: streams have to be encrypted here.";

/// Stream error, text for the peer, and the rule.
type Verdict<T> = Result<T, (StreamCondition, Option<&'static str>, Fault)>;

impl Inbound {
    pub(super) fn header(&mut self, header: StreamHeader, now: Instant) {
        self.wire.greeting.from = self.served(header.to.as_deref()).or_else(|| self.first_served());
        self.wire.greeting.to = parse(header.from.as_deref()).and_then(Result::ok);
        // Ours is 1.0, the lower of any two that have features; a peer of 0.9 must not see one.
        self.wire.greeting.version = header.has_features();
        if self.wire.remote.is_none() {
            self.wire.remote.clone_from(&self.wire.greeting.to);
        }
        let (from, to) = match self.judge(&header) {
            Ok(domains) => domains,
            Err((condition, text, fault)) => return self.wire.fault(condition, text, fault, now),
        };
        self.wire.greeting.from = to.clone().or_else(|| self.first_served());
        self.wire.local.clone_from(&to);
        self.wire.remote.clone_from(&from);
        self.wire.lang = header.lang;
        (self.from, self.to) = (from, to);
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if self.terms.is_none() => {
                let question = Output::AskPartner { from: from.clone(), to: to.clone() };
                self.asking = Some(Asking::Header);
                self.wire.enter(Step::Partner, now);
                self.wire.emit(question);
            }
            _ => self.welcome(now),
        }
    }

    fn judge(&self, header: &StreamHeader) -> Verdict<(Option<Domain>, Option<Domain>)> {
        if let Err(condition) = header.check() {
            return Err((condition, None, Fault::Namespace));
        }
        let old = !header.has_features();
        if old && (self.config.dialback.is_none() || self.phase != Phase::Clear) {
            return Err((StreamCondition::UnsupportedVersion, Some(TOO_OLD), Fault::Version));
        }
        // Who speaks to whom may come with the dialback key only (RFC 3920 §8.3).
        let to = match header.to.as_deref() {
            None | Some("") if old => None,
            _ => Some(self.judge_to(header.to.as_ref())?),
        };
        let from = self.judge_from(header.from.as_ref())?;
        Ok((from, to))
    }

    fn judge_to(&self, sent: Option<&CompactString>) -> Verdict<Domain> {
        let missing = || (StreamCondition::ImproperAddressing, None, Fault::HeaderMissing(Attr::To));
        let Some(to) = address(sent, Attr::To)? else {
            // What an authenticated peer said under TLS need not be said again.
            return self.known(&self.to).ok_or_else(missing);
        };
        if !self.config.served.contains(&to) {
            let fault = Fault::HostUnknown(PeerText::new(to.as_str()));
            return Err((StreamCondition::HostUnknown, None, fault));
        }
        match &self.to {
            Some(before) if *before != to => {
                let fault = Fault::HeaderChanged(Attr::To, PeerText::new(to.as_str()));
                Err((StreamCondition::HostUnknown, None, fault))
            }
            _ => Ok(to),
        }
    }

    /// SASL-06. Before TLS `from` may be missing (RFC 6120 §4.7.1); under TLS it is what the
    /// certificate is compared with.
    fn judge_from(&self, sent: Option<&CompactString>) -> Verdict<Option<Domain>> {
        match (address(sent, Attr::From)?, &self.from) {
            (Some(from), Some(before)) if from != *before => {
                let fault = Fault::HeaderChanged(Attr::From, PeerText::new(from.as_str()));
                Err((StreamCondition::InvalidFrom, None, fault))
            }
            (None, _) if self.phase == Phase::Secure => {
                Err((StreamCondition::ImproperAddressing, None, Fault::HeaderMissing(Attr::From)))
            }
            (None, before) => Ok(self.known(before)),
            (from, _) => Ok(from),
        }
    }

    fn known(&self, before: &Option<Domain>) -> Option<Domain> {
        before.clone().filter(|_| self.phase == Phase::Authenticated)
    }

    /// Who answers a peer that asked for nobody here.
    fn first_served(&self) -> Option<Domain> {
        self.config.served.first().cloned()
    }

    fn served(&self, to: Option<&str>) -> Option<Domain> {
        parse(to)?.ok().filter(|to| self.config.served.contains(to))
    }
}

/// A domain in a header; an empty one is a missing one.
fn parse(sent: Option<&str>) -> Option<Result<Domain, crate::jid::JidError>> {
    sent.filter(|sent| !sent.is_empty()).map(Domain::parse)
}

fn address(sent: Option<&CompactString>, attr: Attr) -> Verdict<Option<Domain>> {
    parse(sent.map(CompactString::as_str))
        .transpose()
        .map_err(|error| (StreamCondition::ImproperAddressing, None, Fault::HeaderAddress(attr, error)))
}
