//! What a new configuration means for a gateway that runs: what can change does, the rest stays as it was at the start.

use crate::config::{Config, ControlRemote, Domain};

/// The configuration that a gateway started with `start`, and running by `before`, runs by when `new` is read.
pub(super) fn running(start: &Config, before: &Config, new: &Config) -> Config {
    let mut running = start.clone();
    running.log.level = new.log.level.clone();
    running.partners = new.partners.clone();
    running.policy = new.policy.clone();
    running.blocks = new.blocks.clone();
    running.sip.identity = new.sip.identity.clone();
    running.sip.roots = new.sip.roots.clone();
    running.sip.crls = new.sip.crls.clone();
    running.xmpp.roots = new.xmpp.roots.clone();
    // The domains stay those of the start. One that is to go has no certificate any more: it keeps the one that it has.
    running.certificates = new.certificates.for_domains(&start.sip.domains, &before.certificates);
    running.control.admin_group = new.control.admin_group.clone();
    running.control.viewer_group = new.control.viewer_group.clone();
    // Where nobody is to come in over TCP any more, tokens open nothing from now on, though the socket is there until the next
    // start: what the start had for them may have been replaced since, because it is not to open anything.
    running.control.remote = match (running.control.remote, &new.control.remote) {
        (Some(old), Some(new)) => Some(ControlRemote { listen: old.listen, ..new.clone() }),
        _ => None,
    };
    running
}

/// Partners with a domain that is served until the next start, and why that cannot be.
pub(super) fn still_served(start: &Config, new: &Config) -> Vec<(Domain, String)> {
    let early = |domain: &Domain| {
        let partner = new.partners.of(domain)?;
        let shown = domain.to_unicode();
        let why = format!(
            "{shown} is to be a partner's, and is served here until the next start: restart the gateway for it"
        );
        Some((partner.domain.clone(), why))
    };
    start.sip.domains.iter().filter_map(early).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Sources;

    /// A configuration that serves these domains, with the certificates of these files.
    fn config(domains: &str, certificates: &[(&str, &str)]) -> Config {
        let text = include_str!("../../tests/config/right/minimal.toml");
        let text = text.replace("[\"contoso.com\"]\nname", &format!("{domains}\nname"));
        let (before, after) = text.split_once("[[certificate]]").unwrap();
        let partner = &after[after.find("[[partner]]").unwrap()..];
        let certificate = |(domains, file): &(&str, &str)| {
            format!(
                "[[certificate]]\ndomains = {domains}\ncertificate = \"{file}.pem\"\nkey = \"{file}.key\"\n"
            )
        };
        let certificates: String = certificates.iter().map(certificate).collect();
        let sources = Sources::new().toml("nuncio.toml", format!("{before}{certificates}{partner}"));
        Config::load(&sources.trusting_paths(), &|_, _| Ok(())).unwrap().0
    }

    fn shown(config: &Config) -> Vec<(String, &Path)> {
        let one = |domain: &Domain| {
            let identity = config.certificates.of(domain)?;
            Some((domain.as_str().to_owned(), identity.certificate.as_path()))
        };
        config.sip.domains.iter().filter_map(one).collect()
    }

    #[test]
    fn certificates_change_also_when_the_domains_wait_for_the_next_start() {
        let both = "[\"contoso.com\", \"litware.com\"]";
        let start = config(both, &[(both, "old")]);
        let renewed = config(both, &[(both, "new")]);
        let first = running(&start, &start, &renewed);
        let one_more = config(
            "[\"contoso.com\", \"tailspin.com\"]",
            &[("[\"tailspin.com\"]", "tailspin"), ("[\"contoso.com\"]", "newest")],
        );
        let second = running(&start, &first, &one_more);
        let expected = [("contoso.com", "newest.pem"), ("litware.com", "new.pem")];
        assert_eq!(shown(&second), expected.map(|(domain, file)| (domain.to_owned(), Path::new(file))));
        assert_eq!(second.certificates.iter().count(), 2, "nothing for a domain that is not served yet");
    }
}
