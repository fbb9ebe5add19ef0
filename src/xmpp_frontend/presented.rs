//! What a peer presented at the handshake, kept until it is known whose it has to be.

use std::sync::Arc;
use std::time::SystemTime;

use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::TlsFacts;

use crate::context::{XmppSide, facts};
use crate::gateway::Gateway;
use crate::tls::{ChainStatus, PeerFacts, Roots};

/// A peer may say only under TLS which domain it is, and each partner's certificates are held against something else.
/// So what was judged at the handshake, as far as it was known then who it should be, is judged again at the end.
pub struct Presented {
    peer: PeerFacts,
    roots: Arc<Roots>,
    judged_for: Option<Domain>,
}

impl Presented {
    /// Judges what was presented at the handshake by a peer that claims to be `claimed`.
    pub fn judge(
        xmpp: &XmppSide,
        gateway: &Gateway,
        peer: PeerFacts,
        claimed: Option<&Domain>,
    ) -> (TlsFacts, Self) {
        let streams = gateway.partner_streams(claimed.map_or("", Domain::as_str));
        let facts = xmpp.facts(&peer, &streams.proof);
        (facts, Self { peer, roots: xmpp.roots.current(), judged_for: claimed.cloned() })
    }

    /// Judges it again for `domain`, if that is not the one it was judged for.
    pub fn judge_for(&mut self, gateway: &Gateway, domain: &Domain) -> Option<TlsFacts> {
        if self.judged_for.as_ref() == Some(domain) {
            return None;
        }
        self.judged_for = Some(domain.clone());
        Some(facts(&self.peer, &gateway.partner_streams(domain.as_str()).proof, &self.roots))
    }

    /// Why the certificate does not prove `remote` after all, if it does not.
    pub fn disproves(&self, gateway: &Gateway, remote: &Domain, now: SystemTime) -> Option<ChainStatus> {
        if self.judged_for.as_ref() == Some(remote) {
            return None;
        }
        let status = gateway.partner_streams(remote.as_str()).proof.judge(&self.peer, &self.roots, now);
        (!status.is_valid()).then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::{gateway_of, moment};
    use crate::gateway::{Federation, PartnerStreams};
    use crate::tls::Proof;
    use crate::tls::testing::{Ca, Issued, now};

    #[test]
    fn sec_12_who_names_himself_only_under_tls_does_not_get_past_the_pins() {
        let ca = Ca::new("Root");
        let (his, another) = (ca.server(&["fabrikam.example"]), ca.server(&["fabrikam.example"]));
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let proof = Arc::new(Proof::default().with_pins([his.facts().spki_sha256], false));
        let partner = PartnerStreams { proof, ..PartnerStreams::new("fabrikam.example", 20) };
        let federation = Federation::new([(partner, vec!["fabrikam.example".into()])]);
        gateway.set_federation(federation, moment());
        let remote = Domain::parse("fabrikam.example").unwrap();
        let disproved = |issued: &Issued| {
            let presented =
                Presented { peer: issued.presented(), roots: Arc::new(ca.roots()), judged_for: None };
            presented.disproves(&gateway, &remote, now())
        };
        assert_eq!(disproved(&his), None);
        assert!(matches!(disproved(&another), Some(ChainStatus::NotPinned { .. })));
    }
}
