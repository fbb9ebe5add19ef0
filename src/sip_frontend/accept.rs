//! Serving connections on the SIP listener.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use nuncio_sip::connection::{ConnectionConfig, KeepAliveInterval};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::old_suites::{why_not_accepted, why_not_taken};
use super::session::SipSession;
use crate::context::Context;
use crate::gateway::{Believed, IdentityNumber, NextHop, Owner, SipPeer};
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
    if context.gateway.blocked_networks().contains(peer.ip()) {
        return debug!(%peer, "SIP connection closed: its address is blocked");
    }
    let log = context.gateway.log_budget();
    let (stream, facts) = match timeout(context.sip.handshake, tls::accept(stream, &context.sip.server)).await
    {
        Ok(Ok(accepted)) => accepted,
        failed => {
            if log.allows(Cause::SipHandshake, peer.ip(), now().instant) {
                let why = match failed {
                    Ok(Err(error)) => {
                        format!("failed: {}", why_not_accepted(&error, &context.sip.front_ends))
                    }
                    _ => format!("took longer than {:?}", context.sip.handshake),
                };
                info!(%peer, "SIP connection closed: TLS handshake {why}");
            }
            return;
        }
    };
    let who = recognise_settled(&context, &facts).await;
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
    let is_front_end = matches!(who, SipPeer::FrontEnd(_));
    let mut session = session(&context, who, peer, 0, None, None);
    let (shared, facts) = (Arc::downgrade(&context), Arc::new(facts));
    let of_owner = Arc::clone(&facts);
    session.belongs_to(Owner::new(move |hop| {
        shared.upgrade().is_some_and(|context| is_next_hop(&context, &of_owner, hop))
    }));
    // A stranger is shown out in any case, with a reason.
    if is_front_end {
        session.rests_on(believed(&context, facts));
    }
    pump(Box::new(stream), &mut session, Some(&context.stop), |session, _| session.shut_down()).await;
}

/// The session of a SIP connection, in or out; out with the name of the next hop, for OPTIONS. `identity`: what we are there.
pub(super) fn session(
    context: &Context,
    who: SipPeer,
    peer: SocketAddr,
    identity: IdentityNumber,
    keep_alive: Option<KeepAliveInterval>,
    probe: Option<String>,
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
        probe,
        ..ConnectionConfig::new(peer, name, secret)
    };
    SipSession::new(gateway, who, config, context.sip.limits, context.sip.arrival, now())
}

/// Whether the chain that a front end showed is believed at a moment. Its names were found good at the handshake, when they
/// were held against the entry; which names DNS gives is looked after where they are used.
pub(super) fn believed(context: &Arc<Context>, facts: Arc<PeerFacts>) -> Believed {
    let shared = Arc::downgrade(context);
    Believed::new(move || match shared.upgrade()?.sip.judge(&facts) {
        ChainStatus::Valid => None,
        status => Some(status.to_string()),
    })
}

/// Which front end a certificate belongs to, once it is known. Somebody whose certificate is good may be one that DNS has not
/// been asked for yet: the gateway has just started.
async fn recognise_settled(context: &Context, facts: &PeerFacts) -> SipPeer {
    let mut unsettled = context.sip.unsettled.subscribe();
    let waits = async {
        loop {
            let is_over = unsettled.borrow_and_update().is_empty();
            match recognise(context, facts) {
                SipPeer::Unlisted(_) if !is_over && context.sip.judge(facts).is_valid() => {}
                who => return who,
            }
            if unsettled.changed().await.is_err() {
                return recognise(context, facts);
            }
        }
    };
    timeout(context.sip.handshake, waits).await.unwrap_or_else(|_| recognise(context, facts))
}

/// Whether who presented this is the one that a next hop leads to, as if we had connected to it.
fn is_next_hop(context: &Context, facts: &PeerFacts, hop: &NextHop) -> bool {
    let named = |certificate| {
        let own = [hop.server_name.to_string()];
        let front_end = context.sip.front_ends.get(hop.front_end);
        let names = front_end.map_or(&own[..], |front_end| front_end.names_or(&own));
        matches!(sip_names_match(certificate, names), NameMatch::Matched(_))
    };
    matches!(recognise(context, facts), SipPeer::FrontEnd(front_end) if front_end == hop.front_end)
        && facts.certificate().is_some_and(named)
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
    match context.sip.judge(facts) {
        ChainStatus::Valid => {}
        status => return SipPeer::Unlisted(format!("its certificate is not trusted: {status}")),
    }
    for (index, front_end) in context.sip.front_ends.iter().enumerate() {
        if let NameMatch::Matched(_) = sip_names_match(certificate, &names_of(context, index)) {
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
    (0..context.sip.front_ends.len()).flat_map(|index| names_of(context, index).into_owned()).collect()
}

/// The names that certificates of a front end may carry: those of its entry, else those that DNS has now.
fn names_of(context: &Context, index: usize) -> Cow<'_, [String]> {
    match context.sip.front_ends.get(index) {
        Some(front_end) if !front_end.certificate_names.is_empty() => {
            Cow::Borrowed(&front_end.certificate_names)
        }
        _ => {
            let routes = context.gateway.routes().iter();
            let mut names: Vec<String> =
                routes.flat_map(|route| route.server_names(index)).map(Into::into).collect();
            names.sort();
            names.dedup();
            Cow::Owned(names)
        }
    }
}
