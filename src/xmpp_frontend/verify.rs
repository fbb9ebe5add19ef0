//! Having a partner's dialback key verified: on a connection of its own to the server that is authoritative for his domain,
//! found by DNS anew, and never on the one that brought the key (DB-12).

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use nuncio_translate::Moment;
use nuncio_xmpp::dialback::{DialbackCondition, VerifyOutcome, VerifyRequest};
use nuncio_xmpp::stream::{Cause, Evidence, Outbound, OutboundConfig, Output, Retry, TlsFacts};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::debug;

use super::reach::{handshake, search, take_unusable};
use crate::context::Context;
use crate::dns::{Candidate, DnsErrorKind, Found};
use crate::gateway::Verification;
use crate::net::dial::{Tried, dial, targets};
use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::race::Race;
use crate::net::session::{End, Next, Session};

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
        let mut session = VerifySession::new(config, now());
        session.serve(context, &self.request, candidate, connection).await;
        match (session.outcome, session.evidence) {
            (Some(outcome), _) => {
                self.say(candidate.to_string());
                Ended::Answered(outcome)
            }
            (None, Some(evidence)) => {
                self.say(format!("{candidate}: {evidence}"));
                Ended::Failed(evidence)
            }
            // A machine says why it ended, always.
            (None, None) => Ended::Answered(VerifyOutcome::Failed(DialbackCondition::RemoteServerTimeout)),
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

/// The session of a stream on which one question is asked.
struct VerifySession {
    stream: Outbound,
    outcome: Option<VerifyOutcome>,
    evidence: Option<Box<Evidence>>,
    next: Next,
    wake: Arc<Notify>,
}

impl VerifySession {
    fn new(config: OutboundConfig, now: Moment) -> Self {
        Self {
            stream: Outbound::new(config, now.instant),
            outcome: None,
            evidence: None,
            next: Next::Run,
            wake: Arc::default(),
        }
    }

    /// Up to the answer, or the end of the connection; how it is closed afterwards is nobody's concern.
    async fn serve(
        &mut self,
        context: &Context,
        request: &VerifyRequest,
        candidate: &Candidate,
        connection: TcpStream,
    ) {
        let Pumped::StartTls(stream) = pump(connection, self, None, |_, _| {}).await else { return };
        let between = (request.to.as_str(), request.from.as_str());
        match handshake(context, between, candidate.direct_tls, stream).await {
            Ok((stream, facts, _)) => {
                self.tls_established(facts, now());
                pump(Box::new(stream), self, None, |_, _| {}).await;
            }
            Err(why) => {
                self.stream.tls_failed(&why);
                self.run();
                self.closed(End::Local, now());
            }
        }
    }

    fn tls_established(&mut self, facts: TlsFacts, now: Moment) {
        self.next = Next::Run;
        self.stream.tls_established(facts, now.instant);
        self.run();
    }

    fn run(&mut self) {
        while let Some(output) = self.stream.poll() {
            match output {
                Output::StartTls => self.next = Next::StartTls,
                Output::Verified(outcome) => self.outcome = Some(outcome),
                Output::Closed(evidence) => self.evidence = Some(evidence),
                Output::ShutdownTls => self.next = Next::Close,
                Output::Abort => self.next = Next::Abort,
                // Nothing else is asked or taken on such a stream.
                _ => {}
            }
        }
        // The peer has answered and need not be waited for.
        if self.outcome.is_some() && self.next == Next::Run {
            self.next = Next::Close;
        }
    }
}

impl Session for VerifySession {
    fn receive(&mut self, input: &mut BytesMut, now: Moment) {
        self.stream.receive(input, now.instant);
        input.clear();
        self.run();
    }

    fn transmit(&mut self, output: &mut Vec<u8>, _now: Moment) {
        self.run();
        self.stream.transmit(output);
    }

    fn written(&mut self, _now: Moment) {}

    fn closed(&mut self, end: End, _now: Moment) {
        self.stream.disconnected(end.why());
        self.run();
    }

    fn deadline(&self) -> Option<Instant> {
        self.stream.deadline()
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.stream.handle_timeout(now.instant);
        self.run();
    }

    fn wants_read(&self) -> bool {
        true
    }

    fn next(&self) -> Next {
        self.next
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}
