//! Serving connections on the SIP listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use nuncio_sip::connection::{ConnectionConfig, KeepAliveInterval};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::old_suites::{why_not_accepted, why_not_taken};
use super::session::SipSession;
use crate::context::Context;
use crate::gateway::{IdentityNumber, SipPeer};
use crate::log_limit::Cause;
use crate::net::now;
use crate::net::pump::pump;
use crate::net::strangers::Unauthenticated;
use crate::tls::{self, ChainStatus, NameMatch, PeerFacts, sip_names_match};

/// Serves one connection on the SIP listener until it ends.
pub async fn serve(
    context: Arc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
    unauthenticated: Unauthenticated,
) {
    let log = context.gateway.log_budget();
    let (stream, facts) = match timeout(context.sip.handshake, tls::accept(stream, &context.sip.server)).await
    {
        Ok(Ok(accepted)) => accepted,
        failed => {
            if log.allows(Cause::SipHandshake, peer.ip(), now().instant) {
                let why = match failed {
                    Ok(Err(error)) => format!("failed: {}", why_not_accepted(&error)),
                    _ => format!("took longer than {:?}", context.sip.handshake),
                };
                info!(%peer, "SIP connection closed: TLS handshake {why}");
            }
            return;
        }
    };
    let who = recognise(&context, &facts);
    // A session has begun, and ends with its first answer, or soon.
    unauthenticated.keep();
    match &who {
        SipPeer::FrontEnd(index) => {
            unauthenticated.proved();
            let name = context.sip.front_ends.get(*index).map_or("", |front_end| front_end.name.as_str());
            info!(
                %peer, front_end = name, tls = %facts.version, cipher = facts.cipher_suite,
                "front end connected"
            );
        }
        SipPeer::Unlisted(why) if !log.allows(Cause::SipStranger, peer.ip(), now().instant) => {
            debug!(%peer, "SIP peer is no front end of ours: {why}");
        }
        SipPeer::Unlisted(why) => warn!(%peer, "SIP peer is no front end of ours: {why}"),
    }
    let mut session = session(&context, who, peer, 0, None);
    pump(Box::new(stream), &mut session, Some(&context.stop), |session, _| session.shut_down()).await;
}

/// The session of a SIP connection, in or out. `identity`: what we are there.
pub(super) fn session(
    context: &Context,
    who: SipPeer,
    peer: SocketAddr,
    identity: IdentityNumber,
    keep_alive: Option<KeepAliveInterval>,
) -> SipSession {
    let gateway = Arc::clone(&context.gateway);
    let mut secret = [0; 16];
    let halves = [gateway.random().to_le_bytes(), gateway.random().to_le_bytes()];
    secret.iter_mut().zip(halves.as_flattened()).for_each(|(byte, random)| *byte = *random);
    let name = context.sip.names.get(identity).map_or("", |name| &name.sent_by);
    let config = ConnectionConfig {
        max_pending_in: context.sip.max_pending,
        max_pending_out: context.sip.max_pending,
        keep_alive,
        ..ConnectionConfig::new(peer, name, secret)
    };
    SipSession::new(gateway, who, config, context.sip.limits, context.sip.arrival, now())
}

/// Which front end a certificate belongs to. Chain and names are judged apart, so that the refusal can say
/// what was presented and what was expected.
pub(super) fn recognise(context: &Context, facts: &PeerFacts) -> SipPeer {
    let Some(certificate) = facts.certificate() else {
        return SipPeer::Unlisted(format!(
            "it presented no certificate; expected one for {}",
            expected_names(context).join(", ")
        ));
    };
    match facts.judge(&context.sip.roots.current(), SystemTime::now()) {
        ChainStatus::Valid => {}
        status => return SipPeer::Unlisted(format!("its certificate is not trusted: {status}")),
    }
    for (index, front_end) in context.sip.front_ends.iter().enumerate() {
        if let NameMatch::Matched(_) = sip_names_match(certificate, &front_end.certificate_names) {
            return match why_not_taken(facts.backend, facts.cipher_suite, front_end) {
                None => SipPeer::FrontEnd(index),
                Some(why) => SipPeer::Unlisted(why),
            };
        }
    }
    match sip_names_match(certificate, &expected_names(context)) {
        NameMatch::Mismatch(mismatch) => SipPeer::Unlisted(mismatch.to_string()),
        NameMatch::Matched(_) => SipPeer::Unlisted("its names are ambiguous".to_owned()),
    }
}

fn expected_names(context: &Context) -> Vec<String> {
    context.sip.front_ends.iter().flat_map(|front_end| front_end.certificate_names.iter().cloned()).collect()
}
