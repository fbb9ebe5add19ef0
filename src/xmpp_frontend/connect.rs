//! Serving a lane: finding the partner, opening a stream, and running it.

use std::sync::Arc;
use std::time::Duration;

use nuncio_xmpp::Domain;
use nuncio_xmpp::lane::{Failure, FailureKind};
use nuncio_xmpp::stream::OutboundConfig;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, warn};

use super::outbound::LaneSession;
use crate::context::Context;
use crate::dns::{Candidate, DnsError, DnsErrorKind, xmpp_server_candidates};
use crate::gateway::{Gateway, LaneKey, LanePort, LaneWants};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::listener::connect;
use crate::net::now;
use crate::net::pump::{Pumped, pump};
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
    let found = meanwhile(context, key, lane, candidates(context, key)).await;
    let mut failure = match found.unwrap_or_else(|given_up| Err(given_up.into())) {
        Err(failure) => failure,
        Ok(candidates) => {
            let mut last = None;
            for candidate in candidates {
                match attempt(context, key, lane, &candidate).await {
                    Attempt::Ran(wants) => return wants,
                    Attempt::Failed(failure) => last = Some(failure),
                }
            }
            last.unwrap_or_else(|| {
                Failure::new(FailureKind::Unresolvable, "DNS gave no address to connect to")
            })
        }
    };
    if context.stop.is_cancelled() {
        failure.kind = FailureKind::Shutdown;
    }
    warn!(partner = %key.remote, local = %key.local, "no stream to partner {}: {failure}", key.remote);
    let random = context.gateway.random();
    let now = now();
    lane.step(|lane| lane.connect_failed(failure, random, now.instant));
    context.gateway.lane_unreachable(key, now);
    LaneWants::default()
}

async fn candidates(context: &Context, key: &LaneKey) -> Result<Vec<Candidate>, Failure> {
    let seed = context.gateway.random();
    let found = xmpp_server_candidates(&context.dns, &key.remote, context.xmpp.leave.family, seed).await;
    found.map_err(|error| dns_failure(&error))
}

fn dns_failure(error: &DnsError) -> Failure {
    let kind = match error.kind() {
        DnsErrorKind::DoesNotExist => FailureKind::DomainNotFound,
        DnsErrorKind::Unresolvable | DnsErrorKind::Timeout => FailureKind::Unresolvable,
    };
    Failure::new(kind, error.to_string())
}

enum Attempt {
    /// A stream was established and has ended; this is what the lane wants now.
    Ran(LaneWants),
    Failed(Failure),
}

/// Tries one address, up to the end of the stream that comes of it.
async fn attempt(
    context: &Arc<Context>,
    key: &LaneKey,
    lane: &Arc<LanePort>,
    candidate: &Candidate,
) -> Attempt {
    let (Ok(local), Ok(remote)) = (Domain::parse(&key.local), Domain::parse(&key.remote)) else {
        return Attempt::Failed(Failure::new(FailureKind::DomainNotFound, "the lane's domain is malformed"));
    };
    let leave = context.xmpp.leave;
    let address = candidate.address;
    let tcp = connect(address, leave.source, leave.timeout);
    let stream = match meanwhile(context, key, lane, tcp).await {
        Ok(Ok(stream)) => stream,
        Err(given_up) => return Attempt::Failed(given_up.into()),
        Ok(Err(error)) => {
            let text = format!("{} ({address}): {error}", candidate.host);
            return Attempt::Failed(Failure::new(FailureKind::Unreachable, text));
        }
    };
    debug!(partner = %key.remote, %address, host = %candidate.host, "connected");
    let config = OutboundConfig {
        limits: context.xmpp.limits,
        timeouts: context.xmpp.timeouts,
        ..OutboundConfig::new(local, remote)
    };
    let gateway = Arc::clone(&context.gateway);
    let mut session = LaneSession::new(gateway, key.clone(), Arc::clone(lane), config, now());
    run(context, key, lane, stream, &mut session).await;
    if session.was_open() {
        return Attempt::Ran(session.wants());
    }
    let why = session.failure().map_or("the connection ended", |failure| &failure.text);
    let text = format!("{} ({address}): {why}", candidate.host);
    Attempt::Failed(Failure::new(FailureKind::Negotiation, text))
}

/// Plain text up to STARTTLS, the handshake, then the stream inside TLS.
async fn run(
    context: &Context,
    key: &LaneKey,
    lane: &LanePort,
    stream: TcpStream,
    session: &mut LaneSession,
) {
    let hurry = Some(&context.hurry);
    let abandon = |session: &mut LaneSession, _| session.abandon();
    let Pumped::StartTls(stream) = pump(stream, session, hurry, abandon).await else { return };
    let (to, from) = (ascii(&key.remote), ascii(&key.local));
    let identity = context.xmpp.identities.choose(Some(&from));
    let handshake = tls::connect(stream, &context.xmpp.client, &to, Some(&identity));
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
