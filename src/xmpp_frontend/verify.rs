//! Having a partner's dialback key verified: on a connection of its own to the server that is authoritative for his domain,
//! found by DNS anew, and never on the one that brought the key (DB-12).

use std::sync::Arc;

use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome, VerifyRequest};
use nuncio_xmpp::stream::{Cause, Evidence, OutboundConfig, Retry, TlsFacts};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::errand::{self, Came, Handshake};
use super::reach::{handshake, search, take_unusable};
use crate::context::Context;
use crate::dns::{Candidate, DnsErrorKind, Found};
use crate::gateway::Verification;
use crate::net::dial::{Tried, dial, targets};
use crate::net::now;
use crate::net::race::Race;
use crate::tls::TlsStream;

/// Answers one question, within the time for it.
pub async fn serve(context: Arc<Context>, verification: Verification) {
    let Some(request) = verification.request().cloned() else { return };
    let limit = context.xmpp.verification;
    let mut asking = Asking { context: &context, request, said: Vec::new(), left_out: Vec::new() };
    let outcome = tokio::select! {
        () = verification.gone() => return,
        () = context.stop.cancelled() => return,
        outcome = timeout(limit, asking.run()) => outcome,
    };
    let outcome = outcome.unwrap_or_else(|_| {
        asking.say(format!("the time for it, {limit:?} (limits.xmpp.verification), is over"));
        VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout)
    });
    let evidence = asking.evidence(outcome);
    debug!(partner = asking.request.from.as_str(), "dialback key {evidence}");
    verification.answer(outcome, evidence);
}

struct Asking<'a> {
    context: &'a Context,
    request: VerifyRequest,
    /// What happened on the way.
    said: Vec<String>,
    /// What DNS said and nobody tried.
    left_out: Vec<String>,
}

/// How one connection ended.
enum Ended {
    /// With an answer.
    Answered(VerifyOutcome),
    /// Without.
    Failed(Box<Evidence>),
}

impl Asking<'_> {
    /// Texts that are kept of the way.
    const SAID: usize = 8;

    async fn run(&mut self) -> VerifyOutcome {
        let (context, remote) = (self.context, self.request.from.clone());
        let mut candidates = match search(context, remote.as_str()).await {
            Ok(Found { candidates, left_out }) => {
                self.left_out = left_out.iter().take(Self::SAID).map(ToString::to_string).collect();
                candidates
            }
            Err(error) => {
                self.say(error.to_string());
                return VerifyOutcome::Failed(match error.kind() {
                    DnsErrorKind::Timeout => DialbackCondition::RemoteServerTimeout,
                    DnsErrorKind::DoesNotExist | DnsErrorKind::Unresolvable => {
                        DialbackCondition::RemoteServerNotFound
                    }
                });
            }
        };
        for candidate in take_unusable(&mut candidates, &context.gateway.terms(remote.as_str())) {
            self.say(format!("{candidate}: passed over, for TLS is switched off for this partner"));
        }
        let mut race = Race::new(targets(&candidates), context.xmpp.reach_time, now().instant);
        let mut outcome = VerifyOutcome::Failed(DialbackCondition::RemoteConnectionFailed);
        while let Some((candidate, connection)) = self.connection(&mut race, &candidates).await {
            match self.ask(candidate, connection).await {
                Ended::Answered(answer) => return answer,
                Ended::Failed(evidence) => {
                    outcome = VerifyOutcome::of_failure(&evidence);
                    // An answer as well, to another question: whether it can be asked at all.
                    if matches!(evidence.cause, Cause::DialbackError(_)) {
                        return outcome;
                    }
                }
            }
            race.lost(now().instant);
        }
        outcome
    }

    async fn connection<'c>(
        &mut self,
        race: &mut Race,
        candidates: &'c [Candidate],
    ) -> Option<(&'c Candidate, TcpStream)> {
        let leave = &self.context.xmpp.leave;
        let told = |tried: Tried<'_>| match tried {
            Tried::Connected(..) => {}
            Tried::Failed(candidate, _, error) => self.say(format!("{candidate}: {error}")),
            Tried::TimeOver(left) => self.say(format!("{left} addresses were not tried")),
        };
        dial(leave, race, candidates, told).await
    }

    /// Asks on this connection; if a weaker way that the entry allows was advised, once more on another one.
    async fn ask(&mut self, candidate: &Candidate, connection: TcpStream) -> Ended {
        let first = self.ask_once(candidate, connection, None).await;
        let Ended::Failed(evidence) = &first else { return first };
        let Some(retry) = evidence.retry else { return first };
        let alone = std::slice::from_ref(candidate);
        let mut race = Race::new([1], self.context.xmpp.leave.timeout, now().instant);
        match self.connection(&mut race, alone).await {
            Some((_, connection)) => self.ask_once(candidate, connection, Some(retry)).await,
            None => first,
        }
    }

    async fn ask_once(
        &mut self,
        candidate: &Candidate,
        connection: TcpStream,
        retry: Option<Retry>,
    ) -> Ended {
        let context = self.context;
        let terms = context.gateway.terms(self.request.from.as_str());
        let config = OutboundConfig {
            limits: context.xmpp.limits,
            timeouts: context.xmpp.timeouts,
            direct_tls: candidate.direct_tls,
            retry,
            ..OutboundConfig::verify(self.request.clone(), terms)
        };
        let mut shake = Shake { context, request: &self.request, direct_tls: candidate.direct_tls };
        match errand::run(config, connection, &mut shake, None).await {
            Some(Came::Verified(outcome)) => {
                self.say(candidate.to_string());
                Ended::Answered(outcome)
            }
            Some(Came::Ended(evidence)) => {
                self.say(format!("{candidate}: {evidence}"));
                Ended::Failed(evidence)
            }
            // A machine says why it ended, always; and one that asks is for nothing else.
            Some(Came::Established(..)) | None => {
                Ended::Answered(VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout))
            }
        }
    }

    fn say(&mut self, text: String) {
        if self.said.len() < Self::SAID {
            self.said.push(text);
        }
    }

    /// In one line.
    fn evidence(&self, outcome: VerifyOutcome) -> String {
        let mut way = self.said.join("; ");
        if !self.left_out.is_empty() {
            way += &format!(" (left out: {})", self.left_out.join(", "));
        }
        match outcome {
            VerifyOutcome::Valid => format!("found valid by {way}"),
            VerifyOutcome::Invalid => format!("found INVALID by {way}"),
            VerifyOutcome::Failed(condition) => format!("not checked, {condition}: {way}"),
        }
    }
}

/// Made as for any stream to the partner.
struct Shake<'a> {
    context: &'a Context,
    request: &'a VerifyRequest,
    direct_tls: bool,
}

impl Handshake for Shake<'_> {
    async fn shake(&mut self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, TlsFacts), String> {
        let between = (self.request.to.as_str(), self.request.from.as_str());
        let (stream, facts, _) = handshake(self.context, between, self.direct_tls, stream).await?;
        Ok((stream, facts))
    }
}
