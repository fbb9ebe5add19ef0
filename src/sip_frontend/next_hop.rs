//! Serving the group of next hops of one route: connecting, and keeping its clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nuncio_sip::connection::KeepAliveInterval;
use nuncio_sip::hop::ATTEMPTS_PER_HOLD;
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use super::accept::{believed, session};
use super::listing;
use super::old_suites::why_not_called;
use super::session::SipSession;
use crate::context::{Context, FrontEndNames, RouteHops};
use crate::dns::{Candidate, DnsError, host_candidates};
use crate::gateway::{ConnectOrder, Gateway, IdentityNumber, NextHop, Route, SipPeer};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::dial::{Tried, dial, targets, told};
use crate::net::now;
use crate::net::pump::pump;
use crate::net::race::Race;
use crate::net::session::{End, Session};
use crate::tls::{self, ChainStatus, NameMatch, PeerFacts, TlsStream, sip_names_match};

/// Serves the route with this number until the program ends.
pub async fn serve(context: Arc<Context>, index: usize) {
    let Some(route) = context.gateway.routes().get(index) else { return };
    // In a task of its own: what waits meanwhile must still expire in time.
    let connect = |order| drop(context.tasks.spawn(open(Arc::clone(&context), index, order)));
    tokio::join!(
        keep(&context.gateway, route, connect),
        listing::keep(&context, index, route),
        judge_lending(&context, index),
    );
}

/// How often it is looked at least whether who lends a connection is still who he was: certificates run out, and files with
/// roots and revocation lists change.
pub const JUDGED_EVERY: Duration = Duration::from_secs(10);

async fn judge_lending(context: &Context, index: usize) {
    let panics = &context.gateway.counters().tasks_panicked;
    loop {
        sleep(context.sip.lending_check).await;
        let _ = contained_now("a look at who lends a connection", panics, || {
            context.gateway.judge_lending(index, now());
        });
    }
}

/// Keeps the clock of a group, and passes on its orders to connect.
async fn keep(gateway: &Gateway, route: &Route, connect: impl Fn(ConnectOrder)) {
    let panics = &gateway.counters().tasks_panicked;
    let wake = route.hops.wake();
    loop {
        let _ = contained_now("a step of a route", panics, || gateway.serve_route(route, now()));
        if let Some(order) = route.take_connect_order() {
            connect(order);
            continue;
        }
        match route.arm() {
            None => wake.notified().await,
            Some(deadline) => tokio::select! {
                () = wake.notified() => {}
                () = sleep_until(deadline.into()) => {
                    route.hops.step(|group| group.handle_timeout(now().instant));
                }
            },
        }
    }
}

/// Connects to one next hop and runs the connection to its end.
async fn open(context: Arc<Context>, index: usize, ConnectOrder { target, within }: ConnectOrder) {
    let Some(RouteHops { identity, .. }) = context.sip.routes.get(index) else { return };
    let route = context.gateway.routes().get(index);
    let Some(hop) = route.and_then(|route| route.next_hop(target)) else { return };
    let Some(front_end) = context.sip.front_ends.get(hop.front_end) else { return };
    let panics = &context.gateway.counters().tasks_panicked;
    let end = within.map(|within| tokio::time::Instant::now() + within);
    let borrowed = contained("a look for a connection to borrow", panics, borrow(&context, index, &hop));
    if let Ok(Ok(Some(peer))) = in_time(end, borrowed).await {
        info!(front_end = %front_end.name, %peer, "requests go over the connection that the front end opened (RFC 5923)");
        return;
    }
    let attempt = async {
        let attempt = attempt(&context, (index, *identity), front_end, &hop, within);
        let late =
            || format!("{hop} took longer than {:?}, and there are others", within.unwrap_or_default());
        let (stream, facts, peer) = in_time(end, attempt).await.unwrap_or_else(|Late| Err(late()))?;
        let who = SipPeer::FrontEnd(hop.front_end);
        let alive = Some(KeepAliveInterval::default());
        let mut session = session(&context, who, peer, *identity, alive, Some(hop.to_string()));
        session.rests_on(believed(&context, Arc::new(facts)));
        info!(front_end = %front_end.name, %peer, "connected to front end");
        Ok((stream, session))
    };
    if let Some((stream, mut session)) = attempted(&context.gateway, index, &front_end.name, attempt).await {
        pump(Box::new(stream), &mut session, Some(&context.release), |session, _| session.shut_down()).await;
    }
}

/// It took too long.
struct Late;

/// The result if it is there by then.
async fn in_time<T>(end: Option<tokio::time::Instant>, work: impl Future<Output = T>) -> Result<T, Late> {
    match end {
        Some(end) => timeout_at(end, work).await.map_err(|_| Late),
        None => Ok(work.await),
    }
}

/// Sees an attempt to connect for a route to its end, whatever that is: the group waits for word of it.
async fn attempted<S>(
    gateway: &Gateway,
    index: usize,
    front_end: &str,
    attempt: impl Future<Output = Result<(S, SipSession), String>>,
) -> Option<(S, SipSession)> {
    let panics = &gateway.counters().tasks_panicked;
    let attempt = contained("an attempt to reach a front end", panics, attempt).await;
    let why = match attempt.unwrap_or_else(|_| Err(INTERNAL_ERROR.to_owned())) {
        Ok((stream, mut session)) => {
            let taken = contained_now("a new connection", panics, || session.serves_route(index, now()));
            if taken.is_ok() {
                return Some((stream, session));
            }
            // If the group has it already, it hears here that it is gone; if not, below.
            let _ = contained_now("the end of a new connection", panics, || {
                session.closed(End::Broken(INTERNAL_ERROR.into()), now());
            });
            INTERNAL_ERROR.to_owned()
        }
        Err(why) => why,
    };
    let route = gateway.routes().get(index)?;
    match route.hops.step(|group| group.active().is_some()) {
        false => warn!(%front_end, "no connection to front end {front_end}: {why}"),
        true => {
            info!(%front_end, "no connection to front end {front_end}, which was wanted beside the one in use or in its \
                place: {why}")
        }
    }
    route.connect_failed(why, now().instant);
    None
}

/// Where a next hop is. The route remembers it, for whoever asks whether a network has our front ends in it.
async fn candidates(context: &Context, index: usize, hop: &NextHop) -> Result<Vec<Candidate>, DnsError> {
    let found = host_candidates(&context.dns, &hop.host, hop.port, context.sip.leave.family).await?;
    if let Some(route) = context.gateway.routes().get(index) {
        let addresses = found.iter().map(|candidate| candidate.address.ip()).collect();
        route.found(hop, addresses, now().instant);
    }
    Ok(found)
}

/// Whether a connection that the front end opened from this next hop may be used.
async fn borrow(context: &Context, index: usize, hop: &NextHop) -> Option<SocketAddr> {
    let candidates = candidates(context, index, hop).await.ok()?;
    let addresses: Vec<_> = candidates.iter().map(|candidate| candidate.address).collect();
    context.gateway.borrow_connection(index, hop, &addresses, now())
}

/// TLS with the next hop, at the first of its addresses that gets that far. The error names what was tried. As long as there
/// is another address, none takes all the time there is: what the connection is for does not wait for ever.
async fn attempt(
    context: &Context,
    (index, identity): (usize, IdentityNumber),
    front_end: &FrontEndNames,
    hop: &NextHop,
    within: Option<Duration>,
) -> Result<(TlsStream<TcpStream>, PeerFacts, SocketAddr), String> {
    let leave = &context.sip.leave;
    let candidates = candidates(context, index, hop).await.map_err(|error| error.to_string())?;
    let began = now().instant;
    let each = leave.timeout + context.sip.handshake;
    let time = each.saturating_mul(u32::try_from(candidates.len()).unwrap_or(u32::MAX));
    let mut race = Race::new(targets(&candidates), time, began);
    let in_all = u32::try_from(candidates.len()).unwrap_or(u32::MAX).clamp(1, ATTEMPTS_PER_HOLD);
    let share = (within.unwrap_or(context.sip.hold) / in_all).min(context.sip.handshake);
    let mut failures: Vec<String> = Vec::new();
    loop {
        let note = |tried: Tried<'_>| {
            if let Tried::Failed(candidate, _, error) = tried {
                failures.push(format!("{candidate}: {error}"));
            }
        };
        let Some((candidate, stream)) = dial(leave, &mut race, &candidates, note).await else {
            return Err(told(failures.iter().map(String::as_str)));
        };
        let is_last = failures.len() + 1 >= candidates.len();
        let time = if is_last { context.sip.handshake } else { share };
        match handshake(context, identity, front_end, hop, stream, time).await {
            Ok((stream, facts)) => return Ok((stream, facts, candidate.address)),
            Err(error) => failures.push(format!("{candidate}: {error}")),
        }
        race.lost(now().instant);
    }
}

/// TLS with the next hop, whose certificate must be one of the front end's, or that of the domain that was asked for (SIP-04:
/// never of what DNS led to).
async fn handshake(
    context: &Context,
    identity: IdentityNumber,
    front_end: &FrontEndNames,
    hop: &NextHop,
    stream: TcpStream,
    time: Duration,
) -> Result<(TlsStream<TcpStream>, PeerFacts), String> {
    let identity = context.sip.identity_of(identity);
    let handshake =
        tls::connect_by(front_end.backend, stream, &context.sip.client, &hop.server_name, &identity);
    let (stream, facts) = timeout(time, handshake)
        .await
        .map_err(|_| format!("the TLS handshake took longer than {time:?}"))?
        .map_err(|error| why_not_called(&error, front_end))?;
    match context.sip.judge(&facts) {
        ChainStatus::Valid => {}
        status => return Err(format!("its certificate is not trusted: {status}")),
    }
    let certificate = facts.certificate().ok_or("it presented no readable certificate")?;
    let own = [hop.server_name.to_string()];
    match sip_names_match(certificate, front_end.names_or(&own)) {
        NameMatch::Matched(_) => Ok((stream, facts)),
        NameMatch::Mismatch(mismatch) => Err(mismatch.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use nuncio_sip::hop::OutRequest;

    use super::*;
    use crate::gateway::testing::{envelope, gateway_of};

    /// There is nobody else to try.
    const ORDER: ConnectOrder = ConnectOrder { target: 0, within: None };

    fn request() -> OutRequest {
        let text = "MESSAGE sip:alice@contoso.example SIP/2.0\r\nVia: SIP/2.0/TLS gw;branch=z9hG4bKa\r\n\
                    Content-Length: 0\r\n\r\n";
        OutRequest::new(text.as_bytes().to_vec(), "z9hG4bKa").unwrap()
    }

    /// The group has something to send and has ordered a connection.
    fn ordered(gateway: &Gateway) -> &Route {
        let route = &gateway.routes()[0];
        assert!(route.hops.step(|group| group.push(request(), envelope(), now().instant).is_ok()));
        gateway.serve_route(route, now());
        assert_eq!(route.take_connect_order(), Some(ORDER));
        route
    }

    /// The attempt has failed: after the back-off there is another order.
    fn tries_again(gateway: &Gateway, route: &Route) {
        let failure = route.hops.step(|group| group.last_failure().map(|failure| failure.reason.clone()));
        assert!(failure.is_some(), "the group was not told");
        let later = now() + Duration::from_secs(3);
        route.hops.step(|group| group.handle_timeout(later.instant));
        gateway.serve_route(route, later);
        assert_eq!(route.take_connect_order(), Some(ORDER), "the group waits for an attempt that is no more");
        assert_eq!(gateway.counters().tasks_panicked.get(), 1);
    }

    #[tokio::test]
    async fn a_panic_while_connecting_counts_as_a_failed_attempt() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let route = ordered(&gateway);
        let panics = async { panic!("on purpose") };
        assert!(attempted::<()>(&gateway, 0, "pool", panics).await.is_none());
        tries_again(&gateway, route);
    }
}
