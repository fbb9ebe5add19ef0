//! What a peer presented at the handshake, held against what is asked of the domain that it claims.

use nuncio_xmpp::stream::TlsFacts;

use crate::context::facts;
use crate::gateway::Gateway;
use crate::tls::Credentials;

/// What it proves of this domain, by the roots, pins and revocation lists of now; `""`: of one that is not known yet.
pub(super) fn judge(credentials: &Credentials, gateway: &Gateway, domain: &str) -> TlsFacts {
    facts(credentials.peer(), &gateway.partner_streams(domain).proof, &credentials.roots())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nuncio_xmpp::stream::ChainStatus;

    use super::*;
    use crate::gateway::testing::{gateway_of, moment};
    use crate::gateway::{Federation, PartnerStreams};
    use crate::tls::testing::{Ca, Issued};
    use crate::tls::{Proof, RootsStore};

    #[test]
    fn sec_12_who_names_himself_only_under_tls_does_not_get_past_the_pins() {
        let ca = Ca::new("Root");
        let (his, another) = (ca.server(&["fabrikam.example"]), ca.server(&["fabrikam.example"]));
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let proof = Arc::new(Proof::default().with_pins([his.facts().spki_sha256], false));
        let partner = PartnerStreams { proof, ..PartnerStreams::new("fabrikam.example", 20) };
        let federation = Federation::new([(partner, vec!["fabrikam.example".into()])]);
        gateway.set_federation(federation, moment());
        let judged = |issued: &Issued, domain: &str| {
            let roots = Arc::new(RootsStore::new(Arc::new(ca.roots())));
            judge(&Credentials::new(issued.presented(), roots), &gateway, domain).chain
        };
        assert_eq!(judged(&another, ""), ChainStatus::Trusted, "as far as is known");
        assert_eq!(judged(&his, "fabrikam.example"), ChainStatus::Trusted);
        assert!(matches!(judged(&another, "fabrikam.example"), ChainStatus::Untrusted(_)));
    }
}
