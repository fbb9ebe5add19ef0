//! Dialback on streams that partners open.

use nuncio_translate::Moment;
use nuncio_translate::text::{LogSafe, LogWhole};
use nuncio_xmpp::Domain;
use nuncio_xmpp::dialback::{DialbackCondition, Pair, VerifyOutcome, VerifyRequest};
use nuncio_xmpp::stream::{DialbackRefusal, PartnerVerdict};
use tracing::{info, warn};

use super::{InboundSession, Waiting};
use crate::gateway::attempts::{Outcome, Recorder, Step};
use crate::gateway::{Verdict, Verdicts};
use crate::log_limit::{Cause, Source};

impl InboundSession {
    /// A key came that has to be verified.
    pub(super) fn verify(&mut self, request: VerifyRequest, now: Moment) {
        if self.stream.step() == Waiting::Established {
            let mut recorder = Recorder::inbound(self.peer, now);
            recorder.between(request.to.as_str(), request.from.as_str());
            self.keys.push((request.pair(), recorder));
        }
        let verdicts = self.verdicts.get_or_insert_with(|| Verdicts::new(self.wake.clone()));
        let Err(busy) = self.gateway.verify(request.clone(), self.peer.ip(), verdicts, now.instant) else {
            return;
        };
        self.gateway.counters().dialback_busy.add(1);
        let source = Source::Domain(request.from.as_str());
        if self.gateway.log_budget().allows(Cause::DialbackBusy, source, now.instant) {
            warn!(partner = request.from.as_str(), peer = %self.peer, "dialback key not verified: {busy}");
        }
        self.note_key(&request.pair(), Step::key_checked(format_args!("not checked: {busy}")), now);
        let outcome = VerifyOutcome::Failed(DialbackCondition::ResourceConstraint);
        self.stream.verified(&request, outcome, now.instant);
    }

    /// Hands over what came of keys, and sees to what comes of each before the next.
    pub(super) fn take_verdicts(&mut self, now: Moment) {
        let Some(verdicts) = &self.verdicts else { return };
        for Verdict { request, outcome, evidence } in verdicts.take() {
            self.note_key(&request.pair(), Step::key_checked(&evidence), now);
            self.checked = Some(evidence);
            let outcome = self.on_the_terms_of_now(&request, outcome, now);
            match outcome {
                VerifyOutcome::Valid if self.stream.step() == Waiting::Established => {
                    self.proved_further(&request, now);
                }
                _ => self.stream.verified(&request, outcome, now.instant),
            }
            self.act(now);
            self.checked = None;
        }
    }

    /// The verification took a while: the entry of the domain may say something else by now, or there may be none.
    fn on_the_terms_of_now(
        &mut self,
        request: &VerifyRequest,
        outcome: VerifyOutcome,
        now: Moment,
    ) -> VerifyOutcome {
        if outcome != VerifyOutcome::Valid {
            return outcome;
        }
        self.under = self.gateway.terms_of_now();
        match self.verdict_of_policy(&request.from, now) {
            PartnerVerdict::Allowed(terms) => {
                self.stream.terms_of_now(request, terms);
                outcome
            }
            PartnerVerdict::Refused { .. } => VerifyOutcome::Failed(DialbackCondition::NotAcceptable),
        }
    }

    /// A domain has proved itself that wants to use the established stream too. Its place is taken before it is told that it
    /// may: one that has none must not cost the others their stream. It is not taken before the proof, or whoever claims to be
    /// others could use up their places.
    fn proved_further(&mut self, request: &VerifyRequest, now: Moment) {
        let reserved = self.intake.reserve(&request.from);
        let outcome = match reserved {
            Ok(_) => VerifyOutcome::Valid,
            Err(why) => {
                self.tell_no_place(&request.from, "a further domain on a stream refused", why, now);
                VerifyOutcome::Failed(DialbackCondition::ResourceConstraint)
            }
        };
        self.stream.verified(request, outcome, now.instant);
        // The peer may have waited too long for it, or the stream have ended.
        if reserved == Ok(true) && !self.stream.pairs().contains(&request.pair()) {
            self.intake.release(&request.from);
        }
    }

    /// The established stream speaks for one more pair of domains.
    pub(super) fn authorized(&mut self, pair: &Pair, now: Moment) {
        let source = Source::Domain(pair.from.as_str());
        if self.gateway.log_budget().allows(Cause::StreamOpened, source, now.instant) {
            info!(
                partner = pair.from.as_str(), local = pair.to.as_str(), peer = %self.peer,
                "inbound stream may be used for these domains too, by dialback"
            );
        }
        let recorder = self.recorder_of(pair).unwrap_or_else(|| {
            let mut recorder = Recorder::inbound(self.peer, now);
            recorder.between(pair.to.as_str(), pair.from.as_str());
            recorder
        });
        let method = "dialback on an established stream";
        let outcome = Outcome::extended(method);
        self.life.noted(self.gateway.keep_attempt(pair.from.as_str(), recorder.finish(outcome, now.instant)));
        self.intake.vouched(&pair.from, false);
        self.life.joined(&self.gateway, &pair.to, &pair.from, self.under);
        if let Some(why) = self.life.dismissed() {
            return self.turn_out(&why, now);
        }
        if self.enter(&pair.to, &pair.from, now) {
            self.gateway.partner_is_back(pair.from.as_str(), now.instant);
        }
    }

    /// What comes of a key that came on the established stream is noted by itself.
    fn note_key(&mut self, pair: &Pair, step: Step, now: Moment) {
        match self.keys.iter_mut().find(|(known, _)| known == pair) {
            Some((_, recorder)) => recorder.step(step, now.instant),
            None => self.note(step, now),
        }
    }

    fn recorder_of(&mut self, pair: &Pair) -> Option<Recorder> {
        let at = self.keys.iter().position(|(known, _)| known == pair)?;
        Some(self.keys.swap_remove(at).1)
    }

    pub(super) fn dialback_refused(&mut self, pair: &Pair, why: DialbackRefusal, now: Moment) {
        self.gateway.counters().dialback_refused.add(1);
        let from = &pair.from;
        if let Some(recorder) = self.recorder_of(pair) {
            let outcome = Outcome::Failed(format!("dialback refused: {why}"));
            self.gateway.keep_attempt(from.as_str(), recorder.finish(outcome, now.instant));
        }
        if why == DialbackRefusal::Downgrade {
            return self.gateway.downgraded(from.as_str(), &self.peer.to_string(), now);
        }
        let source = Source::from(self.peer.ip());
        if !self.gateway.log_budget().allows(Cause::DialbackRefused, source, now.instant) {
            return;
        }
        let domain = LogSafe(from.as_str());
        // The whole way: who reads the line wants to know which server said so, or why none could be asked.
        let way = self.checked.as_ref().map(|way| format!("; its key was {way}")).unwrap_or_default();
        let way = LogWhole(&way);
        match why.is_alarm() {
            true => warn!(%domain, peer = %self.peer, "dialback refused: {why}{way}"),
            false => info!(%domain, peer = %self.peer, "dialback refused: {why}{way}"),
        }
    }

    /// Somebody asked whether a key is ours. Anybody may, and in any name, so nobody is accused.
    pub(super) fn key_answered(&self, from: &Domain, to: &Domain, valid: bool, now: Moment) {
        if valid {
            return;
        }
        self.gateway.counters().dialback_not_ours.add(1);
        let source = Source::from(self.peer.ip());
        if self.gateway.log_budget().allows(Cause::DialbackNotOurs, source, now.instant) {
            let (claimed, domain) = (LogSafe(from.as_str()), to.as_str());
            info!(
                %claimed, domain, peer = %self.peer,
                "asked about a dialback key of {domain} that is not ours, and said so. Whoever asked has proved nothing; if it \
                 really was {claimed}, somebody gave it that key in the name of {domain}, or the nodes that serve {domain} \
                 have not the same xmpp.dialback_secret"
            );
        }
    }
}
