//! What a new configuration means for a gateway that runs: what can change does, the rest stays as it was at the start.

use crate::config::{Config, Domain};

/// The configuration that a gateway started with `start` runs by when `new` is read.
pub(super) fn running(start: &Config, new: &Config) -> Config {
    let mut running = start.clone();
    running.partners = new.partners.clone();
    running.policy = new.policy.clone();
    running.blocks = new.blocks.clone();
    running.sip.identity = new.sip.identity.clone();
    running.sip.roots = new.sip.roots.clone();
    running.sip.crls = new.sip.crls.clone();
    running.xmpp.roots = new.xmpp.roots.clone();
    // Which certificate is for which domain goes with the domains.
    if start.sip.domains == new.sip.domains {
        running.certificates = new.certificates.clone();
    }
    running.control.admin_group = new.control.admin_group.clone();
    running.control.viewer_group = new.control.viewer_group.clone();
    if let (Some(old), Some(new)) = (&mut running.control.remote, &new.control.remote) {
        old.identity = new.identity.clone();
        old.tokens = new.tokens.clone();
    }
    running
}

/// A partner's domain that is served until the next start.
pub(super) fn still_served<'c>(start: &'c Config, new: &Config) -> Option<&'c Domain> {
    start.sip.domains.iter().find(|domain| new.partners.of(domain).is_some())
}
