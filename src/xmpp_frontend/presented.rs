//! What a peer presented at the handshake, kept until it is known whose it has to be.

use std::sync::Arc;

use nuncio_xmpp::Domain;
use nuncio_xmpp::stream::TlsFacts;

use crate::context::facts;
use crate::gateway::Gateway;
use crate::tls::{PeerFacts, Roots};

/// The certificates of a peer that did not say yet which domain it is: each partner's are held against something else. It
/// has to say so in its first header under TLS.
pub struct Presented {
    peer: PeerFacts,
    roots: Arc<Roots>,
}

impl Presented {
    /// Judges what was presented at the handshake. Of a peer that claims to be `claimed`, which it cannot change any more,
    /// nothing is kept but the facts; of one that claims nothing, all of it is.
    pub fn judge(
        roots: Arc<Roots>,
        gateway: &Gateway,
        peer: PeerFacts,
        claimed: Option<&Domain>,
    ) -> (TlsFacts, Option<Self>) {
        let streams = gateway.partner_streams(claimed.map_or("", Domain::as_str));
        let facts = facts(&peer, &streams.proof, &roots);
        (facts, claimed.is_none().then_some(Self { peer, roots }))
    }

    /// Judges it again, for `domain`.
    pub fn judge_for(self, gateway: &Gateway, domain: &Domain) -> TlsFacts {
        facts(&self.peer, &gateway.partner_streams(domain.as_str()).proof, &self.roots)
    }
}

#[cfg(test)]
mod tests {
    use nuncio_xmpp::stream::ChainStatus;

    use super::*;
    use crate::gateway::testing::{gateway_of, moment};
    use crate::gateway::{Federation, PartnerStreams};
    use crate::tls::Proof;
    use crate::tls::testing::{Ca, Issued};

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
        let judge = |issued: &Issued, claimed| {
            Presented::judge(Arc::new(ca.roots()), &gateway, issued.presented(), claimed)
        };
        let judged_late = |issued: &Issued| {
            let (facts, presented) = judge(issued, None);
            assert_eq!(facts.chain, ChainStatus::Trusted, "as far as is known");
            presented.expect("kept").judge_for(&gateway, &remote).chain
        };
        assert_eq!(judged_late(&his), ChainStatus::Trusted);
        assert!(matches!(judged_late(&another), ChainStatus::Untrusted(_)));
        // Who has named himself before is judged once, and his certificates are not kept.
        let (facts, presented) = judge(&another, Some(&remote));
        assert!(matches!(facts.chain, ChainStatus::Untrusted(_)) && presented.is_none());
    }
}
