//! Serving a stream that a partner opened.

use std::net::SocketAddr;
use std::sync::Arc;

use nuncio_translate::Moment;
use nuncio_xmpp::stream::{InboundConfig, StreamIds};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::inbound::InboundSession;
use crate::context::Context;
use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::session::Session;
use crate::net::sever::Sever;
use crate::net::strangers::Unauthenticated;
use crate::tls::{self, Credentials};

/// How connections to a listener begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// With a stream header, or with TLS: the first byte tells (XEP-0368 §4).
    Either,
    /// With TLS.
    WithTls,
}

/// The first byte of a TLS handshake, which begins no XML.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves one connection on an XMPP listener until it ends.
pub async fn serve(
    context: Arc<Context>,
    begins: Begins,
    stream: TcpStream,
    peer: SocketAddr,
    unauthenticated: Unauthenticated,
) {
    if context.gateway.blocked_networks().contains(peer.ip()) {
        return debug!(%peer, "XMPP connection closed: its address is blocked");
    }
    let began = now();
    let Some(direct) = begins_with_tls(&context, begins, &stream).await else { return };
    let mut session = session(&context, peer, direct, began);
    // Given back as soon as the stream is established, or with the session.
    session.on_established(unauthenticated);

    let Pumped::StartTls(stream) = until_stop(&context, stream, &mut session).await else { return };
    let handshake = async {
        if direct {
            return tls::accept_direct(stream, &context.xmpp.server).await;
        }
        let local = session.local().map(|domain| domain.to_ascii().into_owned()).unwrap_or_default();
        tls::accept_for(stream, &context.xmpp.server, &local).await
    };
    let handshake = context.stop.run_until_cancelled(timeout(context.xmpp.handshake, handshake)).await;
    let Some(handshake) = handshake else { return };
    let why = match handshake {
        Ok(Ok((stream, facts))) => {
            let facts = session.judge(Credentials::new(facts, Arc::clone(&context.xmpp.roots)));
            session.tls_established(facts, now());
            until_stop(&context, Box::new(stream), &mut session).await;
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the TLS handshake took longer than {:?}", context.xmpp.handshake),
    };
    debug!(%peer, %why, "TLS handshake with a partner failed");
    session.tls_failed(&why, now());
    session.closed(crate::net::session::End::Local, now());
}

/// Whether the connection begins with TLS. A peer that says nothing has as long as for its header, whose time then is over
/// as well. `None`: it is gone, or the gateway stops.
async fn begins_with_tls(context: &Context, begins: Begins, stream: &TcpStream) -> Option<bool> {
    if begins == Begins::WithTls {
        return Some(true);
    }
    let mut first = [0];
    let peeked = timeout(context.xmpp.timeouts.header, stream.peek(&mut first));
    match context.stop.run_until_cancelled(peeked).await? {
        Ok(Ok(0) | Err(_)) => None,
        Ok(Ok(_)) => Some(first == [TLS_HANDSHAKE]),
        Err(_) => Some(false),
    }
}

fn session(context: &Context, peer: SocketAddr, direct: bool, began: Moment) -> InboundSession {
    let gateway = Arc::clone(&context.gateway);
    // Fresh for every header of the stream (RFC 6120 §4.7.3).
    let ids = StreamIds([gateway.token(), gateway.token(), gateway.token()]);
    let in_clear = gateway.lets_anybody_in_in_clear();
    let config = InboundConfig { in_clear, ..context.xmpp.inbound.clone() };
    match direct {
        true => InboundSession::direct_tls(gateway, config, ids, peer, began),
        false => InboundSession::new(gateway, config, ids, peer, began),
    }
}

/// Pumps until the connection ends; when the gateway stops, the session is told to close.
async fn until_stop<S>(context: &Context, stream: S, session: &mut InboundSession) -> Pumped<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Sever + Unpin + Send,
{
    pump(stream, session, Some(&context.stop), InboundSession::shut_down).await
}
