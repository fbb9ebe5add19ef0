//! `[[certificate]]`: what is shown to partners, and for which domains.

use std::collections::HashMap;

use super::{Domain, Identity};

/// The certificates of the XMPP side.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub(super) identities: Vec<Identity>,
    pub(super) of_domain: HashMap<Domain, usize>,
}

impl Certificates {
    /// Which certificate speaks for `domain`; every served domain has one.
    pub fn of(&self, domain: &Domain) -> Option<&Identity> {
        self.of_domain.get(domain).and_then(|index| self.identities.get(*index))
    }

    /// The certificate for those who do not say which domain they want: the first one.
    pub fn default_identity(&self) -> Option<&Identity> {
        self.identities.first()
    }

    /// The certificates of these domains: their own here, or those of `otherwise` for domains that have none here.
    #[must_use]
    pub fn for_domains(&self, domains: &[Domain], otherwise: &Self) -> Self {
        let mut chosen = Self { identities: Vec::new(), of_domain: HashMap::new() };
        let mut choose = |from: &Self, domains: Vec<&Domain>| {
            for (identity, of) in from.iter() {
                let of: Vec<&Domain> = of.into_iter().filter(|domain| domains.contains(domain)).collect();
                if !of.is_empty() {
                    let index = chosen.identities.len();
                    chosen.identities.push(identity.clone());
                    chosen.of_domain.extend(of.into_iter().map(|domain| (domain.clone(), index)));
                }
            }
        };
        let (own, others) = domains.iter().partition(|domain| self.of(domain).is_some());
        choose(self, own);
        choose(otherwise, others);
        chosen
    }

    /// All certificates, in the order of the file, each with the domains that it speaks for.
    pub fn iter(&self) -> impl Iterator<Item = (&Identity, Vec<&Domain>)> {
        self.identities.iter().enumerate().map(|(index, identity)| {
            let mut domains: Vec<&Domain> =
                self.of_domain.iter().filter(|(_, i)| **i == index).map(|(d, _)| d).collect();
            domains.sort_unstable();
            (identity, domains)
        })
    }
}
