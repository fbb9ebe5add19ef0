//! Serving the group of next hops in front of one front end: connecting, and keeping its clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_sip::connection::KeepAliveInterval;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::accept::session;
use super::session::SipSession;
use crate::context::{Context, FrontEndTargets};
use crate::dns::host_candidates;
use crate::gateway::{FrontEnd, Gateway, SipPeer};
use crate::net::contain::{INTERNAL_ERROR, contained, contained_now};
use crate::net::listener::connect;
use crate::net::now;
use crate::net::pump::pump;
use crate::net::session::{End, Session};
use crate::tls::{self, ChainStatus, NameMatch, TlsStream, sip_names_match};

/// Serves the front end with this number until the program ends.
pub async fn serve(context: Arc<Context>, index: usize) {
    let Some(front_end) = context.gateway.front_ends().get(index) else { return };
    // In a task of its own: what waits meanwhile must still expire in time.
    let connect = |target| drop(context.tasks.spawn(open(Arc::clone(&context), index, target)));
    keep(&context.gateway, front_end, connect).await;
}

/// Keeps the clock of a group, and passes on its orders to connect.
async fn keep(gateway: &Gateway, front_end: &FrontEnd, connect: impl Fn(usize)) {
    let panics = &gateway.counters().tasks_panicked;
    let wake = front_end.hops.wake();
    loop {
        let _ = contained_now("a step of a front end", panics, || gateway.serve_front_end(front_end, now()));
        if let Some(target) = front_end.take_connect_order() {
            connect(target);
            continue;
        }
        match front_end.arm() {
            None => wake.notified().await,
            Some(deadline) => tokio::select! {
                () = wake.notified() => {}
                () = sleep_until(deadline.into()) => {
                    front_end.hops.step(|group| group.handle_timeout(now().instant));
                }
            },
        }
    }
}

/// Connects to one next hop and runs the connection to its end.
async fn open(context: Arc<Context>, index: usize, target: usize) {
    let Some(front_end) = context.gateway.front_ends().get(index) else { return };
    let attempt = async {
        let (stream, peer) = attempt(&context, index, target).await?;
        let session = session(&context, SipPeer::FrontEnd(index), peer, Some(KeepAliveInterval::default()));
        info!(front_end = %front_end.name, %peer, "connected to front end");
        Ok((stream, session))
    };
    if let Some((stream, mut session)) = attempted(&context.gateway, front_end, attempt).await {
        pump(stream, &mut session, Some(&context.release), |session, _| session.shut_down()).await;
    }
}

/// Sees an attempt to connect to its end, whatever that is: the group waits for word of it.
async fn attempted<S>(
    gateway: &Gateway,
    front_end: &FrontEnd,
    attempt: impl Future<Output = Result<(S, SipSession), String>>,
) -> Option<(S, SipSession)> {
    let panics = &gateway.counters().tasks_panicked;
    let attempt = contained("an attempt to reach a front end", panics, attempt).await;
    let why = match attempt.unwrap_or_else(|_| Err(INTERNAL_ERROR.to_owned())) {
        Ok((stream, mut session)) => {
            let taken = contained_now("a new connection", panics, || session.serves_hops(now()));
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
    warn!(front_end = %front_end.name, "no connection to front end {}: {why}", front_end.name);
    front_end.hops.feed(|group| group.connect_failed(why, now().instant));
    None
}

async fn attempt(
    context: &Context,
    index: usize,
    target: usize,
) -> Result<(TlsStream<TcpStream>, SocketAddr), String> {
    let targets = context.sip.front_ends.get(index).ok_or("no such front end")?;
    let hop = targets.next_hops.get(target).ok_or("no such next hop")?;
    let (host, port) = (hop.host.to_string(), hop.port);
    let candidates = host_candidates(&context.dns, &host, port, context.sip.leave.family)
        .await
        .map_err(|error| error.to_string())?;
    let mut why = format!("{host} has no address");
    for candidate in candidates {
        let address = candidate.address;
        match connect(address, context.sip.leave.source, context.sip.leave.timeout).await {
            Err(error) => why = format!("{host} ({address}): {error}"),
            Ok(stream) => match handshake(context, targets, &host, stream).await {
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
    targets: &FrontEndTargets,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let identity = context.sip.identities.choose(None);
    let handshake = tls::connect(stream, &context.sip.client, host, Some(&identity));
    let (stream, facts) = timeout(context.sip.handshake, handshake)
        .await
        .map_err(|_| format!("the TLS handshake took longer than {:?}", context.sip.handshake))?
        .map_err(|error| error.to_string())?;
    match facts.judge(&context.sip.roots, SystemTime::now()) {
        ChainStatus::Valid => {}
        status => return Err(format!("its certificate is not trusted: {status}")),
    }
    let certificate = facts.certificate().ok_or("it presented no readable certificate")?;
    match sip_names_match(certificate, &targets.certificate_names) {
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
    fn ordered(gateway: &Gateway) -> &FrontEnd {
        let front_end = &gateway.front_ends()[0];
        front_end.hops.step(|group| group.push(request(), envelope(), now().instant)).unwrap();
        gateway.serve_front_end(front_end, now());
        assert_eq!(front_end.take_connect_order(), Some(0));
        front_end
    }

    /// The attempt has failed: after the back-off there is another order.
    fn tries_again(gateway: &Gateway, front_end: &FrontEnd) {
        let failure = front_end.hops.step(|group| group.last_failure().map(|failure| failure.reason.clone()));
        assert!(failure.is_some(), "the group was not told");
        let later = now() + std::time::Duration::from_secs(3);
        front_end.hops.step(|group| group.handle_timeout(later.instant));
        gateway.serve_front_end(front_end, later);
        assert_eq!(front_end.take_connect_order(), Some(0), "the group waits for an attempt that is no more");
        assert_eq!(gateway.counters().tasks_panicked.get(), 1);
    }

    #[tokio::test]
    async fn a_panic_while_connecting_counts_as_a_failed_attempt() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let front_end = ordered(&gateway);
        let panics = async { panic!("on purpose") };
        assert!(attempted::<()>(&gateway, front_end, panics).await.is_none());
        tries_again(&gateway, front_end);
    }
}
