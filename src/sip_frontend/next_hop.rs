//! Serving the group of next hops of one route: connecting, and keeping its clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_sip::connection::KeepAliveInterval;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::accept::session;
use crate::config::HostPort;
use crate::context::{Context, FrontEndNames};
use crate::dns::host_candidates;
use crate::gateway::SipPeer;
use crate::net::listener::connect;
use crate::net::now;
use crate::net::pump::pump;
use crate::tls::{self, ChainStatus, NameMatch, TlsStream, sip_names_match};

/// Serves the route with this number until the program ends.
pub async fn serve(context: Arc<Context>, index: usize) {
    let Some(route) = context.gateway.routes().get(index) else { return };
    let wake = route.hops.wake();
    loop {
        context.gateway.serve_route(route, now());
        if let Some(target) = route.take_connect_order() {
            // In a task of its own: what waits meanwhile must still expire in time.
            context.tasks.spawn(open(Arc::clone(&context), index, target));
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
    let Some(route) = context.gateway.routes().get(index) else { return };
    let Some(hop) = context.sip.routes.get(index).and_then(|hops| hops.get(target)) else { return };
    let Some(front_end) = context.sip.front_ends.get(hop.front_end) else { return };
    match attempt(&context, front_end, &hop.address).await {
        Ok((stream, peer)) => {
            let who = SipPeer::FrontEnd(hop.front_end);
            let mut session = session(&context, who, peer, Some(KeepAliveInterval::default()));
            info!(front_end = %front_end.name, %peer, "connected to front end");
            session.serves_route(index, now());
            pump(stream, &mut session, Some(&context.release), |session, _| session.shut_down()).await;
        }
        Err(why) => {
            warn!(front_end = %front_end.name, "no connection to front end {}: {why}", front_end.name);
            route.hops.feed(|group| group.connect_failed(why, now().instant));
        }
    }
}

async fn attempt(
    context: &Context,
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
            Ok(stream) => match handshake(context, front_end, &host, stream).await {
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
    front_end: &FrontEndNames,
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
    match sip_names_match(certificate, &front_end.certificate_names) {
        NameMatch::Matched(_) => Ok(stream),
        NameMatch::Mismatch(mismatch) => Err(mismatch.to_string()),
    }
}
