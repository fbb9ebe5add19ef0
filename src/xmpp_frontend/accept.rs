//! Serving a stream that a partner opened.

use std::net::SocketAddr;
use std::sync::Arc;

use nuncio_xmpp::stream::StreamIds;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::inbound::InboundSession;
use crate::context::Context;
use crate::net::now;
use crate::net::pump::{Pumped, pump};
use crate::net::session::Session;
use crate::net::strangers::Unauthenticated;
use crate::tls;

/// Serves one connection on the XMPP listener until it ends.
pub async fn serve(
    context: Arc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
    unauthenticated: Unauthenticated,
) {
    let gateway = Arc::clone(&context.gateway);
    // Fresh for every header of the stream (RFC 6120 §4.7.3).
    let ids = StreamIds([gateway.token(), gateway.token(), gateway.token()]);
    let mut session =
        InboundSession::new(Arc::clone(&gateway), context.xmpp.inbound.clone(), ids, peer, now());
    // Given back as soon as the stream is established, or with the session.
    session.on_established(unauthenticated);

    let Pumped::StartTls(stream) = until_stop(&context, stream, &mut session).await else { return };
    let local = session.local().map(|domain| domain.to_ascii().into_owned()).unwrap_or_default();
    let handshake = tls::accept_for(stream, &context.xmpp.server, &local);
    let handshake = context.stop.run_until_cancelled(timeout(context.xmpp.handshake, handshake)).await;
    let Some(handshake) = handshake else { return };
    let why = match handshake {
        Ok(Ok((stream, facts))) => {
            let facts = session.judge(&context.xmpp, facts);
            session.tls_established(facts, now());
            until_stop(&context, stream, &mut session).await;
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the TLS handshake took longer than {:?}", context.xmpp.handshake),
    };
    debug!(%peer, %why, "TLS handshake with a partner failed");
    session.tls_failed(&why, now());
    session.closed(crate::net::session::End::Local, now());
}

/// Pumps until the connection ends; when the gateway stops, the session is told to close.
async fn until_stop<S>(context: &Context, stream: S, session: &mut InboundSession) -> Pumped<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
{
    pump(stream, session, Some(&context.stop), InboundSession::shut_down).await
}
