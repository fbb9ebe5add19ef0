//! How far contacts are trusted, as front ends are told; and how far a front end's word about its users goes.

use std::sync::Arc;

use nuncio_sip::hop::{HopGroup, Outgoing};
use nuncio_sip::{Message, Method};
use nuncio_translate::Moment;
use nuncio_translate::diagnostics::Diagnostic;
use nuncio_translate::judge::Snapshot;
use nuncio_translate::trust::{self, TrustModel};

use super::answers::SipAnswer;
use super::remote::Remote;
use super::{Gateway, SipLink, SipPeer, ToSipEnvelope, ToSipMachine};

/// How the streams of a partner's domain were proved.
///
/// A domain counts as proved while every stream of it that is up was proved by certificate, and after that as the last one
/// was: who poses as a partner in a weaker way is not believed on the strength of his certificate.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// Streams that are up and came by dialback without a certificate for the domain.
    weak: usize,
    /// Whether the last one was proved, and no weak one was up then; `None`: there has been none.
    proved: Option<bool>,
}

/// One stream that speaks for a partner's domain, as long as it is kept.
#[derive(Debug)]
pub struct Vouched {
    remote: Arc<Remote>,
    by_certificate: bool,
}

impl Drop for Vouched {
    fn drop(&mut self) {
        if !self.by_certificate {
            let mut proofs = self.remote.proofs().lock();
            proofs.weak = proofs.weak.saturating_sub(1);
        }
    }
}

impl Gateway {
    /// A stream speaks for this domain from now on. `by_certificate`: its certificate says so, whatever else was done.
    pub fn vouched(&self, domain: &str, by_certificate: bool) -> Vouched {
        let remote = self.remote(domain);
        let mut proofs = remote.proofs().lock();
        proofs.proved = Some(by_certificate && proofs.weak == 0);
        if !by_certificate {
            proofs.weak += 1;
        }
        drop(proofs);
        Vouched { remote, by_certificate }
    }

    /// Whether contacts of this domain are known to be of it by certificate. Before its first stream: whether they could come
    /// in any other way.
    fn is_proved(&self, domain: &str) -> bool {
        let known = self.known_remote(domain).and_then(|remote| remote.proofs().lock().proved);
        known.unwrap_or_else(|| {
            self.proved.has(domain) || {
                let methods = self.partner_streams(domain).methods();
                !methods.dialback_tls && !methods.dialback_tcp
            }
        })
    }

    /// The evidence under which a stanza comes in that may be passed on to a front end who is told of it. It stays that of this
    /// moment, however long the stanza waits: what proves itself later vouches for nothing said before.
    pub(super) fn proof_of(&self, domain: &str) -> Option<bool> {
        let is_told = self.front_ends.iter().any(|front_end| front_end.trust.writes());
        is_told.then(|| self.is_proved(domain))
    }

    /// What the peer takes us for; a stranger for nothing.
    pub fn trust_model(&self, peer: &SipPeer) -> TrustModel {
        let SipPeer::FrontEnd(index) = *peer else { return TrustModel::Plain };
        self.front_ends.get(index).map_or(TrustModel::Plain, |front_end| front_end.trust)
    }

    /// Sends what a group has given out, with word of how far the contact is trusted where the front end believes us.
    pub(super) fn send_trusted(
        &self,
        group: &mut HopGroup<ToSipEnvelope>,
        (link, connection): (&SipLink, &mut ToSipMachine),
        outgoing: Outgoing<ToSipEnvelope>,
        policy: &Snapshot,
        now: Moment,
    ) {
        let partner = policy.partner(outgoing.envelope().pair.remote_domain());
        let sent = match partner {
            Some(partner) if self.trust_model(&link.peer).writes() => {
                let key = outgoing.envelope().pair.clone();
                let domain = key.remote_domain();
                let of_stanza = outgoing.envelope().judged.and_then(|judged| judged.proved);
                let proved = of_stanza.unwrap_or_else(|| self.is_proved(domain));
                let stamp = self.stamps.of(partner.partner_type, proved, domain);
                connection.send_on(outgoing, &stamp.pieces(), now.instant)
            }
            _ => connection.send(outgoing, now.instant),
        };
        if let Err(refused) = sent {
            group.refused(refused, now.instant);
        }
    }

    /// The header field that says the same on a 2xx that we give on the contact's behalf: an edge puts it on what comes from
    /// outside, on responses as on requests (MS-SIPRE §2.2.15).
    pub(super) fn word_of(&self, contact_domain: &str, peer: &SipPeer) -> Option<(&'static str, String)> {
        if !self.trust_model(peer).writes() {
            return None;
        }
        let policy = self.policy.load();
        let partner = policy.partner(contact_domain)?;
        Some(self.stamps.of(partner.partner_type, self.is_proved(contact_domain), contact_domain).field())
    }

    /// How long a request to front ends of this domain may be, beside what is added on the way; see
    /// [`Gateway::send_trusted`].
    pub(super) fn message_cap(&self, remote_domain: &str) -> Option<usize> {
        let added = if self.front_ends.iter().any(|front_end| front_end.trust.writes()) {
            self.stamps.longest(remote_domain)
        } else {
            0
        };
        self.settings.message_cap.map(|cap| cap.saturating_sub(added))
    }

    /// The answer to a request whose sender the edge itself does not vouch for (SEC-14).
    pub(super) fn doubted(&self, peer: &SipPeer, request: &Message) -> Option<SipAnswer> {
        if !self.trust_model(peer).reads() || request.method() == Method::Options {
            return None;
        }
        let doubt = trust::doubt(request)?;
        self.counters.sip_senders_doubted.add(1);
        Some(SipAnswer::new(403, "Forbidden").because(Diagnostic::ForeignSender, &doubt.to_string()))
    }
}
