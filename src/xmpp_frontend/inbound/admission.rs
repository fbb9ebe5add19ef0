//! Who may use a stream that a partner opened, and whether there is a place for it.

use nuncio_translate::Moment;
use nuncio_translate::judge::Refusal as RuleRefusal;
use nuncio_translate::text::LogSafe;
use nuncio_xmpp::stream::{PartnerVerdict, Refusal};
use nuncio_xmpp::{Domain, StreamCondition};
use tracing::{info, warn};

use super::{InboundSession, Waiting, presented};
use crate::gateway::TooMany;
use crate::log_limit::{Cause, Source};

/// What a peer is told whose domain is no partner of ours.
const NOT_A_PARTNER: &str =
    "this domain does not federate with yours; ask its administrator to add it as a partner";

/// What a peer is told whose domain has as many streams as it may have.
const TOO_MANY: &str = "too many streams of your domain";

/// The same, where all domains together have.
const TOO_MANY_IN_ALL: &str = "too many streams at the moment";

impl InboundSession {
    /// Whether the domain may come in, and on which terms.
    pub(super) fn verdict(&self, from: &Domain, now: Moment) -> PartnerVerdict {
        match self.verdict_of_policy(from, now) {
            // The limit on the first domain of a stream counts streams that are established.
            PartnerVerdict::Allowed(_) if self.domains.is_some() && self.intake.may_enter(from).is_err() => {
                PartnerVerdict::Refused { why: Refusal::TooManyConnections, text: TOO_MANY.to_owned() }
            }
            verdict => verdict,
        }
    }

    /// The same as far as the entries of partners say.
    pub(super) fn verdict_of_policy(&self, from: &Domain, now: Moment) -> PartnerVerdict {
        let Err(refused) = self.gateway.policy().open_partner(from.as_str()).map(drop) else {
            return PartnerVerdict::Allowed(self.gateway.terms(from.as_str()));
        };
        self.gateway.counters().streams_refused.add(1);
        let source = Source::Domain(from.as_str());
        let tell = || self.gateway.log_budget().allows(Cause::StreamRefused, source, now.instant);
        // Nobody federates with himself, so there is no entry to be added.
        if self.gateway.policy().serves(from.as_str()) {
            if tell() {
                warn!(
                    domain = %LogSafe(from.as_str()), peer = %self.peer,
                    "stream refused: it claims to come from a domain that is served here. Somebody poses as it, or another \
                     server believes that it serves it too"
                );
            }
            return PartnerVerdict::Refused { why: Refusal::NotPartner, text: NOT_A_PARTNER.to_owned() };
        }
        // A disabled partner learns no more than a stranger (mission, rule 3).
        let (why, fix) = match refused {
            RuleRefusal::PartnerDisabled => (Refusal::Disabled, "set enabled = true in his entry"),
            _ => (Refusal::NotPartner, "add a [[partner]] entry"),
        };
        let attempts = self.gateway.record_refused_domain(from.as_str(), now.unix_ms);
        if tell() {
            warn!(
                domain = %LogSafe(from.as_str()), peer = %self.peer, attempts = attempts.count, rule = refused.name(),
                "stream refused: {refused}; {fix} if the domain is to federate"
            );
        }
        PartnerVerdict::Refused { why, text: NOT_A_PARTNER.to_owned() }
    }

    /// The domain in the header is known: what the peer presented is held against what is asked of that one.
    pub(super) fn judge_for(&mut self, from: &Domain) {
        if self.stream.step() != Waiting::Partner {
            return;
        }
        if let Some(credentials) = &self.credentials {
            self.stream.judged_again(presented::judge(credentials, &self.gateway, from.as_str()));
        }
    }

    /// The stream may be used by a partner's domain. It takes its place among those of the partner; if there is none left,
    /// it ends. Whether it goes on.
    pub(super) fn enter(&mut self, local: &Domain, remote: &Domain, now: Moment) -> bool {
        let Err(why) = self.intake.enter(local, remote) else { return true };
        self.tell_no_place(remote, "stream closed", why, now);
        let (condition, text) = match why {
            TooMany::OfPartner { .. } => (StreamCondition::PolicyViolation, TOO_MANY),
            TooMany::InAll { .. } => (StreamCondition::ResourceConstraint, TOO_MANY_IN_ALL),
        };
        self.stream.turn_out(condition, text, now.instant);
        false
    }

    pub(super) fn tell_no_place(&self, remote: &Domain, what: &str, why: TooMany, now: Moment) {
        let source = Source::Domain(remote.as_str());
        if self.gateway.log_budget().allows(Cause::TooManyStreams, source, now.instant) {
            warn!(partner = remote.as_str(), peer = %self.peer, "{what}: {why}");
        }
    }

    /// A stream that was let in beyond the limit, for the sake of a key of ours, takes its place, or has had its time.
    pub(super) fn settle(&mut self, now: Moment) {
        let Err(why) = self.intake.settle() else { return };
        if !self.stream.write_allowed() {
            return;
        }
        let partner = self.domains.as_ref().map(|(_, remote)| remote.as_str());
        info!(partner, peer = %self.peer, "stream closed that was let in to verify a dialback key of ours: {why}");
        // In good order: he has done nothing wrong, and what is under way is taken.
        self.stream.close(now.instant, None);
    }
}
