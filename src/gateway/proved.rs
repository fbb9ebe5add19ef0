//! Which domains of partners proved themselves by certificate once, and are not taken with less any more (SEC-11).

use std::collections::BTreeSet;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_translate::text::LogSafe;
use nuncio_xmpp::lane::Lane;
use parking_lot::RwLock;
use tracing::{info, warn};

use super::Gateway;
use crate::log_limit::{Cause, Source};
use crate::store::{AuditEntry, Ticket};

/// Their names, normalised. Only partners' domains come in, so that their number is bounded by the configuration.
#[derive(Debug, Default)]
pub(super) struct Proved(RwLock<BTreeSet<CompactString>>);

impl Proved {
    pub(super) fn new(domains: impl IntoIterator<Item = CompactString>) -> Self {
        Self(RwLock::new(domains.into_iter().collect()))
    }

    pub(super) fn has(&self, domain: &str) -> bool {
        self.0.read().contains(domain)
    }

    pub(super) fn list(&self) -> Vec<CompactString> {
        self.0.read().iter().cloned().collect()
    }

    /// Whether that changed anything.
    fn set(&self, domain: &str, proved: bool) -> bool {
        let mut domains = self.0.write();
        if proved { domains.insert(domain.into()) } else { domains.remove(domain) }
    }
}

impl Gateway {
    /// A stream with this domain was authenticated by SASL EXTERNAL, and its certificate holds.
    pub fn proved_by_certificate(&self, domain: &str, now: Moment) {
        // Most streams bring no news.
        if !self.proved.has(domain) {
            self.set_proved(domain, true, domain, "SASL EXTERNAL", now);
        }
    }

    /// Whether dialback alone is refused to this domain.
    pub fn has_proved(&self, domain: &str) -> bool {
        self.proved.has(domain)
    }

    /// A domain that proved itself before offered nothing but dialback, and was refused: an alarm. `at`: where it was, or
    /// came from.
    pub fn downgraded(&self, domain: &str, at: &str, now: Moment) {
        self.counters.dialback_downgrades.add(1);
        if self.log_budget.allows(Cause::Downgrade, Source::Domain(domain), now.instant) {
            warn!(
                partner = domain, at = %LogSafe(at),
                "refused: {domain} proved itself by certificate before, and now offers dialback alone. Somebody may be posing \
                 as it. Ask its administrator, by other means, whether its certificate is gone for good; if so: nuncio \
                 partner allow-dialback {domain}"
            );
        }
    }

    /// All domains of which that is so.
    pub fn all_proved(&self) -> Vec<CompactString> {
        self.proved.list()
    }

    /// The administrator says that a domain's certificate is gone for good: it is taken with dialback alone again, and what waits
    /// for it is tried at once. The ticket of the entry in the audit trail; `None`: nothing was known of the domain.
    pub fn allow_dialback(&self, domain: &str, actor: &str, now: Moment) -> Option<Ticket> {
        if !self.proved.set(domain, false) {
            return None;
        }
        self.store.set_proved(domain, false);
        info!(partner = domain, by = actor, "{domain} may come in by dialback alone again");
        let ticket = self.store.audit(AuditEntry::dialback_allowed(domain, actor, now.unix()));
        if let Some(remote) = self.known_remote(domain) {
            for (_, lane) in remote.named_lanes() {
                lane.feed_if(Lane::retry_now);
            }
        }
        Some(ticket)
    }

    pub(super) fn set_proved(&self, domain: &str, proved: bool, actor: &str, why: &str, now: Moment) {
        if !self.proved.set(domain, proved) {
            return;
        }
        self.store.set_proved(domain, proved);
        let (what, text) = match proved {
            true => ("partner.proved", "proved itself by certificate: it is not taken with less from now on"),
            false => ("partner.not_proved", "need not prove itself by certificate any more"),
        };
        info!(partner = domain, why, "{domain} {text}");
        self.store.audit(AuditEntry {
            at: now.unix(),
            actor: actor.into(),
            what: what.into(),
            subject: domain.into(),
            from: None,
            to: Some(why.into()),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nuncio_xmpp::{Negotiation, SaslUse, TlsUse};

    use super::super::testing::{gateway_on, moment};
    use crate::gateway::{Federation, Gateway, PartnerStreams};
    use crate::store::{Keep, Memory};

    fn with_entry(gateway: &Gateway, sasl: SaslUse) {
        let negotiation = Negotiation { tls: TlsUse::Optional, sasl, dialback: true };
        let partner = PartnerStreams { negotiation, ..PartnerStreams::new("fabrikam.example", 20) };
        let domains = vec!["fabrikam.example".into(), "it.fabrikam.example".into()];
        gateway.set_federation(Federation::new([(partner, domains)]), moment());
    }

    #[test]
    fn sec_11_who_proved_himself_is_known_after_a_restart_and_each_domain_on_its_own() {
        let store = Arc::new(Memory::new());
        let gateway = gateway_on(Arc::clone(&store), "contoso.example", "fabrikam.example");
        with_entry(&gateway, SaslUse::Optional);
        assert!(!gateway.terms("fabrikam.example").external_proved);
        gateway.proved_by_certificate("fabrikam.example", moment());
        gateway.proved_by_certificate("fabrikam.example", moment());
        assert!(gateway.terms("fabrikam.example").external_proved);
        assert!(!gateway.terms("it.fabrikam.example").external_proved);
        store.commit(9);
        let trail: Vec<_> = store.audit_trail().into_iter().map(|entry| entry.what).collect();
        assert_eq!(trail, ["partner.proved"], "said once");
        let gateway = gateway_on(Arc::new(store.crash()), "contoso.example", "fabrikam.example");
        assert!(gateway.terms("fabrikam.example").external_proved);
    }

    #[test]
    fn sec_11_an_entry_that_takes_no_certificates_any_more_ends_it() {
        let store = Arc::new(Memory::new());
        let gateway = gateway_on(Arc::clone(&store), "contoso.example", "fabrikam.example");
        with_entry(&gateway, SaslUse::Optional);
        gateway.proved_by_certificate("fabrikam.example", moment());
        with_entry(&gateway, SaslUse::Optional);
        assert!(gateway.has_proved("fabrikam.example"), "other changes of the entry leave it");
        with_entry(&gateway, SaslUse::NotSupported);
        assert!(!gateway.has_proved("fabrikam.example"));
        store.commit(9);
        assert_eq!(store.proved(), [""; 0]);
    }
}
