//! Serving the group of next hops in front of one front end: connecting, and keeping its clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_sip::connection::KeepAliveInterval;
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::accept::session;
use crate::context::{Context, FrontEndTargets};
use crate::dns::host_candidates;
use crate::gateway::SipPeer;
use crate::net::listener::connect;
use crate::net::now;
use crate::net::pump::pump;
use crate::tls::{self, ChainStatus, NameMatch, TlsStream, sip_names_match};

/// Serves the front end with this number until the program ends.
pub async fn serve(context: Arc<Context>, index: usize) {
    let Some(front_end) = context.gateway.front_ends().get(index) else { return };
    let wake = front_end.hops.wake();
    loop {
        context.gateway.serve_front_end(front_end, now());
        if let Some(target) = front_end.take_connect_order() {
            // In a task of its own: what waits meanwhile must still expire in time.
            context.tasks.spawn(open(Arc::clone(&context), index, target));
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
    match attempt(&context, index, target).await {
        Ok((stream, peer)) => {
            let mut session =
                session(&context, SipPeer::FrontEnd(index), peer, Some(KeepAliveInterval::default()));
            info!(front_end = %front_end.name, %peer, "connected to front end");
            session.serves_hops(now());
            pump(stream, &mut session, Some(&context.release), |session, _| session.shut_down()).await;
        }
        Err(why) => {
            warn!(front_end = %front_end.name, "no connection to front end {}: {why}", front_end.name);
            front_end.hops.feed(|group| group.connect_failed(why, now().instant));
        }
    }
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
