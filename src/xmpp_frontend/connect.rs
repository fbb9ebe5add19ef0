//! Serving a lane: finding the partner, opening a stream, and running it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::{OutboundConfig, Terms};
use nuncio_xmpp::{Domain, TlsUse};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, warn};

use super::outbound::LaneSession;
use super::reach::{Failures, dns_failure, search, targets, until};
use crate::context::Context;
use crate::dns::Candidate;
use crate::gateway::attempts::{Outcome, Recorder, Step};
use crate::gateway::{Gateway, LaneKey, LanePort, LaneWants};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::listener::connect;
use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::race::{Move, Race};
use crate::net::session::{End, Session};
use crate::tls;

/// Serves a lane until the gateway has stopped.
pub async fn serve(context: Arc<Context>, key: LaneKey, lane: Arc<LanePort>) {
    let open = || {
        let (context, key, lane) = (Arc::clone(&context), key.clone(), Arc::clone(&lane));
        async move { open(&context, &key, &lane).await }
    };
    keep(&context.gateway, &key, &lane, open).await;
}

/// Keeps the clock of a lane, and opens a stream when it asks. A panic on the way is a failure of the stream, never the
/// end of the lane.
async fn keep<F: Future<Output = LaneWants>>(
    gateway: &Gateway,
    key: &LaneKey,
    lane: &LanePort,
    open: impl Fn() -> F,
) {
    let panics = &gateway.counters().tasks_panicked;
    let mut wants = LaneWants::default();
    loop {
        let outputs = || gateway.serve_lane_outputs(key, lane, now());
        wants |= contained_now("a step of a lane", panics, outputs).unwrap_or_default();
        if wants.connect {
            let opened = contained("a stream to a partner", panics, open()).await;
            wants = opened.unwrap_or_else(|_| {
                let failure = Failure::new(FailureKind::Negotiation, INTERNAL_ERROR);
                let random = rand::random();
                lane.step(|lane| lane.closed(Some(failure), random, now().instant));
                LaneWants::default()
            });
        } else if wants.close {
            return;
        } else {
            idle(lane).await;
        }
    }
}

/// Waits until the lane has something to say or its time has come.
async fn idle(lane: &LanePort) {
    let wake = lane.wake();
    match lane.step(|lane| lane.deadline()) {
        None => wake.notified().await,
        Some(deadline) => tokio::select! {
            () = wake.notified() => {}
            () = sleep_until(deadline.into()) => lane.step(|lane| lane.handle_timeout(now().instant)),
        },
    }
}

/// The time that a stopping gateway has for its streams is over.
struct GivenUp;

impl From<GivenUp> for Failure {
    fn from(_: GivenUp) -> Self {
        Self::new(FailureKind::Shutdown, "the gateway is stopping")
    }
}

/// Runs `work` while the lane's own clock goes on: what waits too long is reported meanwhile.
async fn meanwhile<T>(
    context: &Context,
    key: &LaneKey,
    lane: &LanePort,
    work: impl Future<Output = T>,
) -> Result<T, GivenUp> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return Ok(result),
            () = context.hurry.cancelled() => return Err(GivenUp),
            () = idle(lane) => {
                context.gateway.serve_lane_outputs(key, lane, now());
            }
        }
    }
}

/// Opens a stream to the partner and runs it to its end. Says what the lane wanted when it ended.
async fn open(context: &Arc<Context>, key: &LaneKey, lane: &Arc<LanePort>) -> LaneWants {
    let began = now();
    let mut attempt = Attempt {
        context,
        key,
        lane,
        recorder: Some(Recorder::outbound(&key.local, &key.remote, began)),
        failures: Failures::default(),
    };
    let mut failure = match attempt.run().await {
        Ok(wants) => return wants,
        Err(failure) => failure,
    };
    if context.stop.is_cancelled() {
        failure.kind = FailureKind::Shutdown;
    }
    let now = now();
    if let Some(recorder) = attempt.recorder.take() {
        let record = recorder.finish(Outcome::Failed(failure.text.to_string()), now.instant);
        context.gateway.keep_attempt(&key.remote, record);
    }
    warn!(partner = %key.remote, local = %key.local, "no stream to partner {}: {failure}", key.remote);
    let random = context.gateway.random();
    lane.step(|lane| lane.connect_failed(failure, random, now.instant));
    context.gateway.lane_unreachable(key);
    LaneWants::default()
}

/// One search for a stream, over all addresses of the partner.
struct Attempt<'a> {
    context: &'a Arc<Context>,
    key: &'a LaneKey,
    lane: &'a Arc<LanePort>,
    /// Notes what happens. A session has it while a stream is tried, and keeps it if it comes about.
    recorder: Option<Recorder>,
    failures: Failures,
}

impl Attempt<'_> {
    /// Up to the end of the stream, or why there is none.
    async fn run(&mut self) -> Result<LaneWants, Failure> {
        let search = search(self.context, self.key);
        let found = match meanwhile(self.context, self.key, self.lane, search).await? {
            Ok(found) => found,
            Err(error) => {
                self.note(Step::NotFound(error.to_string()));
                return Err(dns_failure(&error));
            }
        };
        self.note(Step::found(&found));
        let terms = self.context.gateway.partner_streams(&self.key.remote).terms();
        let candidates = self.usable(found.candidates, &terms);
        let mut race = Race::new(targets(&candidates), self.context.xmpp.reach_time, now().instant);
        loop {
            let connection = self.connection(&mut race, &candidates);
            let Some((candidate, stream)) = connection.await? else { break };
            if let Some(wants) = self.stream(candidate, stream).await? {
                return Ok(wants);
            }
            race.lost(now().instant);
        }
        Err(std::mem::take(&mut self.failures).into_one())
    }

    fn note(&mut self, step: Step) {
        if let Some(recorder) = &mut self.recorder {
            recorder.step(step, now().instant);
        }
    }

    /// Without those at which nothing could come about.
    fn usable(&mut self, mut candidates: Vec<Candidate>, terms: &Terms) -> Vec<Candidate> {
        if terms.negotiation.tls != TlsUse::NotSupported {
            return candidates;
        }
        candidates.retain(|candidate| {
            if candidate.direct_tls {
                let why = "TLS is switched off for this partner";
                self.note(Step::Skipped { address: candidate.to_string(), why: why.to_owned() });
            }
            !candidate.direct_tls
        });
        if candidates.is_empty() {
            let text = "DNS offers Direct TLS only (_xmpps-server), and TLS is switched off for this partner";
            self.failures.add(FailureKind::Negotiation, text.to_owned());
        }
        candidates
    }

    /// The next connection that comes about; `None`: there is no other.
    async fn connection<'c>(
        &mut self,
        race: &mut Race,
        candidates: &'c [Candidate],
    ) -> Result<Option<(&'c Candidate, TcpStream)>, Failure> {
        let (context, key, lane) = (self.context, self.key, self.lane);
        let leave = context.xmpp.leave;
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(next) = race.poll() {
                match next {
                    Move::Start(number) => {
                        let Some(candidate) = candidates.get(number) else { continue };
                        running.push(async move {
                            let began = now().instant;
                            let result = connect(candidate.address, leave.source, leave.timeout).await;
                            (number, candidate, now().instant.saturating_duration_since(began), result)
                        });
                    }
                    Move::StopAll => running.clear(),
                    Move::Exhausted => return Ok(None),
                    Move::TimeOver(left) => {
                        let limit = context.xmpp.reach_time;
                        let text = format!(
                            "the time for it, {limit:?} (limits.xmpp.reach), is over, {left} addresses not tried"
                        );
                        self.failures.add(FailureKind::Unreachable, text);
                        return Ok(None);
                    }
                }
            }
            let deadline = race.deadline();
            let next = async {
                tokio::select! {
                    Some(ended) = running.next(), if !running.is_empty() => Some(ended),
                    () = until(deadline) => None,
                }
            };
            match meanwhile(context, key, lane, next).await? {
                None => race.handle_timeout(now().instant),
                Some((number, candidate, took, Ok(stream))) => {
                    race.connected(number);
                    self.note(Step::connected(candidate, took));
                    debug!(partner = %key.remote, %candidate, "connected");
                    return Ok(Some((candidate, stream)));
                }
                Some((number, candidate, took, Err(error))) => {
                    self.note(Step::not_connected(candidate, took, &error));
                    self.failures.add(FailureKind::Unreachable, format!("{candidate}: {error}"));
                    race.failed(number, now().instant);
                }
            }
        }
    }

    /// Tries a stream on a connection, and runs it to its end. `None`: none came about.
    async fn stream(
        &mut self,
        candidate: &Candidate,
        stream: TcpStream,
    ) -> Result<Option<LaneWants>, Failure> {
        let (context, key) = (self.context, self.key);
        let (Ok(local), Ok(remote)) = (Domain::parse(&key.local), Domain::parse(&key.remote)) else {
            return Err(Failure::new(FailureKind::DomainNotFound, "the lane's domain is malformed"));
        };
        let config = OutboundConfig {
            limits: context.xmpp.limits,
            timeouts: context.xmpp.timeouts,
            terms: context.gateway.partner_streams(&key.remote).terms(),
            direct_tls: candidate.direct_tls,
            ..OutboundConfig::new(local, remote)
        };
        let gateway = Arc::clone(&context.gateway);
        let mut session = LaneSession::new(gateway, key.clone(), Arc::clone(self.lane), config, now());
        session.record(candidate, self.recorder.take());
        run(context, key, self.lane, candidate, stream, &mut session).await;
        if session.was_open() {
            return Ok(Some(session.wants()));
        }
        self.recorder = session.recorder();
        let why = session.failure().map_or("the connection ended", |failure| &failure.text);
        self.note(Step::NoStream { address: candidate.to_string(), why: why.to_owned() });
        self.failures.add(FailureKind::Negotiation, format!("{candidate}: {why}"));
        Ok(None)
    }
}

/// Plain text up to STARTTLS (nothing at all with Direct TLS), the handshake, then the stream inside TLS.
async fn run(
    context: &Context,
    key: &LaneKey,
    lane: &LanePort,
    candidate: &Candidate,
    stream: TcpStream,
    session: &mut LaneSession,
) {
    let hurry = Some(&context.hurry);
    let abandon = |session: &mut LaneSession, _| session.abandon();
    let Pumped::StartTls(stream) = pump(stream, session, hurry, abandon).await else { return };
    let (to, from) = (ascii(&key.remote), ascii(&key.local));
    let identity = context.xmpp.identities.choose(Some(&from));
    let client = &context.xmpp.client;
    let handshake = async {
        if candidate.direct_tls {
            tls::connect_direct(stream, client, &to, Some(&identity)).await
        } else {
            tls::connect(stream, client, &to, Some(&identity)).await
        }
    };
    let limit: Duration = context.xmpp.handshake;
    let why = match meanwhile(context, key, lane, timeout(limit, handshake)).await {
        Ok(Ok(Ok((stream, facts)))) => {
            let partner = context.gateway.partner_streams(&key.remote);
            session.tls_established(context.xmpp.facts(&facts, &partner.proof), now());
            pump(stream, session, hurry, abandon).await;
            return;
        }
        Err(given_up) => Failure::from(given_up).to_string(),
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) => format!("the TLS handshake took longer than {limit:?}"),
    };
    session.tls_failed(&why, now());
    session.closed(End::Local, now());
}

fn ascii(domain: &str) -> String {
    Domain::parse(domain).map_or_else(|_| domain.to_owned(), |domain| domain.to_ascii().into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::gateway::testing::{gateway_of, lane};

    const WHILE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_panic_while_connecting_counts_as_a_failed_attempt_and_the_next_one_follows() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let (key, lane) = lane("contoso.example", "fabrikam.example");
        let (attempts, second) = (AtomicUsize::new(0), Notify::new());
        let open = || async {
            if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
                panic!("on purpose");
            }
            second.notify_one();
            std::future::pending().await
        };
        // A reply, which nobody waits for, makes the lane connect, and another one makes it connect again.
        lane.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
        let again = async {
            while gateway.counters().tasks_panicked.get() == 0
                || lane.step(|lane| lane.last_failure().is_none())
            {
                tokio::task::yield_now().await;
            }
            let failure = lane.step(|lane| lane.last_failure().cloned());
            assert_eq!(failure.map(|failure| failure.kind), Some(FailureKind::Negotiation));
            lane.feed(|lane| lane.retry_now());
            lane.feed(|lane| lane.push_reply(b"<iq/>".to_vec(), now().instant));
            second.notified().await;
        };
        tokio::select! {
            () = keep(&gateway, &key, &lane, open) => panic!("the lane is served no longer"),
            () = again => {}
            () = tokio::time::sleep(WHILE) => panic!("there was no second attempt"),
        }
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
    }
}
