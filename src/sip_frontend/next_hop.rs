//! Serving the group of next hops of one route: connecting, and keeping its clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_sip::connection::KeepAliveInterval;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::accept::session;
use super::old_suites::why_not_called;
use super::session::SipSession;
use crate::config::HostPort;
use crate::context::{Context, FrontEndNames, RouteHops};
use crate::dns::host_candidates;
use crate::gateway::{Gateway, IdentityNumber, Route, SipPeer};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::listener::connect;
use crate::net::now;
use crate::net::pump::pump;
use crate::net::session::{End, Session};
use crate::tls::{self, ChainStatus, NameMatch, TlsStream, sip_names_match};

/// Serves the route with this number until the program ends.
pub async fn serve(context: Arc<Context>, index: usize) {
    let Some(route) = context.gateway.routes().get(index) else { return };
    // In a task of its own: what waits meanwhile must still expire in time.
    let connect = |target| drop(context.tasks.spawn(open(Arc::clone(&context), index, target)));
    keep(&context.gateway, route, connect).await;
}

/// Keeps the clock of a group, and passes on its orders to connect.
async fn keep(gateway: &Gateway, route: &Route, connect: impl Fn(usize)) {
    let panics = &gateway.counters().tasks_panicked;
    let wake = route.hops.wake();
    loop {
        let _ = contained_now("a step of a route", panics, || gateway.serve_route(route, now()));
        if let Some(target) = route.take_connect_order() {
            connect(target);
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
async fn open(context: Arc<Context>, index: usize, target: usize) {
    let Some(RouteHops { identity, hops }) = context.sip.routes.get(index) else { return };
    let Some(hop) = hops.get(target) else { return };
    let Some(front_end) = context.sip.front_ends.get(hop.front_end) else { return };
    let attempt = async {
        let (stream, peer) = attempt(&context, *identity, front_end, &hop.address).await?;
        let who = SipPeer::FrontEnd(hop.front_end);
        let session = session(&context, who, peer, *identity, Some(KeepAliveInterval::default()));
        info!(front_end = %front_end.name, %peer, "connected to front end");
        Ok((stream, session))
    };
    if let Some((stream, mut session)) = attempted(&context.gateway, index, &front_end.name, attempt).await {
        pump(Box::new(stream), &mut session, Some(&context.release), |session, _| session.shut_down()).await;
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
    warn!(%front_end, "no connection to front end {front_end}: {why}");
    if let Some(route) = gateway.routes().get(index) {
        route.hops.feed(|group| group.connect_failed(why, now().instant));
    }
    None
}

async fn attempt(
    context: &Context,
    identity: IdentityNumber,
    front_end: &FrontEndNames,
    hop: &HostPort,
) -> Result<(TlsStream<TcpStream>, SocketAddr), String> {
    let (host, port) = (hop.host.to_string(), hop.port);
    let candidates = host_candidates(&context.dns, &host, port, context.sip.leave.family)
        .await
        .map_err(|error| error.to_string())?;
    let mut why = format!("{host} has no address");
    for candidate in candidates {
        let address = candidate.address;
        match connect(address, context.sip.leave.source, context.sip.leave.timeout).await {
            Err(error) => why = format!("{host} ({address}): {error}"),
            Ok(stream) => match handshake(context, identity, front_end, &host, stream).await {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => why = format!("{host} ({address}): {error}"),
            },
        }
    }
    Err(why)
}

/// TLS with the next hop, whose certificate must be one of the front end's (SIP-04: the configured names
/// count, never what DNS led to).
async fn handshake(
    context: &Context,
    identity: IdentityNumber,
    front_end: &FrontEndNames,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let own = (identity > 0).then(|| context.sip.names.get(identity)).flatten();
    let identity = context.sip.identities.choose(own.map(|name| name.host.as_str()));
    let handshake = tls::connect_by(front_end.backend, stream, &context.sip.client, host, &identity);
    let (stream, facts) = timeout(context.sip.handshake, handshake)
        .await
        .map_err(|_| format!("the TLS handshake took longer than {:?}", context.sip.handshake))?
        .map_err(|error| why_not_called(&error, front_end))?;
    match facts.judge(&context.sip.roots.current(), SystemTime::now()) {
        ChainStatus::Valid => {}
        status => return Err(format!("its certificate is not trusted: {status}")),
    }
    let certificate = facts.certificate().ok_or("it presented no readable certificate")?;
    match sip_names_match(certificate, &front_end.certificate_names) {
        NameMatch::Matched(_) => Ok(stream),
        NameMatch::Mismatch(mismatch) => Err(mismatch.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use nuncio_sip::hop::OutRequest;

    use super::*;
    use crate::gateway::testing::{envelope, gateway_of};

    fn request() -> OutRequest {
        let text = "MESSAGE sip:alice@contoso.example SIP/2.0\r\nVia: SIP/2.0/TLS gw;branch=z9hG4bKa\r\n\
                    Content-Length: 0\r\n\r\n";
        OutRequest::new(text.as_bytes().to_vec(), "z9hG4bKa").unwrap()
    }

    /// The group has something to send and has ordered a connection.
    fn ordered(gateway: &Gateway) -> &Route {
        let route = &gateway.routes()[0];
        route.hops.step(|group| group.push(request(), envelope(), now().instant)).unwrap();
        gateway.serve_route(route, now());
        assert_eq!(route.take_connect_order(), Some(0));
        route
    }

    /// The attempt has failed: after the back-off there is another order.
    fn tries_again(gateway: &Gateway, route: &Route) {
        let failure = route.hops.step(|group| group.last_failure().map(|failure| failure.reason.clone()));
        assert!(failure.is_some(), "the group was not told");
        let later = now() + std::time::Duration::from_secs(3);
        route.hops.step(|group| group.handle_timeout(later.instant));
        gateway.serve_route(route, later);
        assert_eq!(route.take_connect_order(), Some(0), "the group waits for an attempt that is no more");
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
