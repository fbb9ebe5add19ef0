//! The policy of one moment: whom we serve, which partners there are, which SIP users may talk to them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

use super::users::UserPolicy;
use super::{CONSENT_LIFETIME, Refusal};

/// How far the users of a partner are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartnerType {
    /// The partner vouches for its users: they may write first and see presence and notes.
    Federated,
    /// A public provider whose users are verified: they may write first, and never see notes.
    PublicVerified,
    /// A public provider whose users are not verified: a SIP user has to make the first step.
    PublicUnverified,
}

impl fmt::Display for PartnerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Federated => "federated",
            Self::PublicVerified => "public-verified",
            Self::PublicUnverified => "public-unverified",
        })
    }
}

/// One federated XMPP partner, as far as the rules need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// The primary domain, which names the partner in messages, logs and metrics.
    pub domain: CompactString,
    pub partner_type: PartnerType,
    pub enabled: bool,
}

/// The policy of one moment. A change makes a new snapshot with the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    generation: u64,
    served: HashSet<CompactString>,
    /// Every domain of every partner, additional ones included.
    partners: HashMap<CompactString, Arc<Partner>>,
    users: UserPolicy,
    consent_lifetime: Duration,
    /// Domains, and contacts as bare JIDs, all normalised.
    blocked: HashSet<CompactString>,
}

impl Snapshot {
    /// `served`: the SIP domains we speak for. `partners`: each with all its domains. All domains in
    /// their normalised form. Every SIP user may talk to every partner, and consent lasts as long as it
    /// does by default.
    pub fn new(
        generation: u64,
        served: impl IntoIterator<Item = CompactString>,
        partners: impl IntoIterator<Item = (Partner, Vec<CompactString>)>,
    ) -> Self {
        let mut by_domain = HashMap::new();
        for (partner, additional) in partners {
            let partner = Arc::new(partner);
            by_domain.insert(partner.domain.clone(), Arc::clone(&partner));
            by_domain.extend(additional.into_iter().map(|domain| (domain, Arc::clone(&partner))));
        }
        Self {
            generation,
            served: served.into_iter().collect(),
            partners: by_domain,
            users: UserPolicy::default(),
            consent_lifetime: CONSENT_LIFETIME,
            blocked: HashSet::new(),
        }
    }

    /// With rules about the SIP users.
    #[must_use]
    pub fn with_users(mut self, users: UserPolicy) -> Self {
        self.users = users;
        self
    }

    /// With another time for which a SIP user who added a contact counts as having added him.
    #[must_use]
    pub fn with_consent_lifetime(mut self, lifetime: Duration) -> Self {
        self.consent_lifetime = lifetime;
        self
    }

    /// With contacts (bare JIDs) and domains that are kept out, whatever else is said of them (SEC-41).
    #[must_use]
    pub fn with_blocked(mut self, blocked: impl IntoIterator<Item = CompactString>) -> Self {
        self.blocked = blocked.into_iter().collect();
        self
    }

    /// With another generation: of two policies the later one has the larger.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Whether this domain, or this contact, is kept out by name.
    pub fn blocks(&self, name: &str) -> bool {
        !self.blocked.is_empty() && self.blocked.contains(name)
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether `domain` is one of the SIP domains we speak for.
    pub fn serves(&self, domain: &str) -> bool {
        self.served.contains(domain)
    }

    /// The partner entry that lists `domain`.
    pub fn partner(&self, domain: &str) -> Option<&Arc<Partner>> {
        self.partners.get(domain)
    }

    /// The partner of `domain`, if it may be talked to at all.
    ///
    /// # Errors
    /// The domain is in no entry, its entry is disabled, or it is blocked.
    pub fn open_partner(&self, domain: &str) -> Result<&Arc<Partner>, Refusal> {
        let partner = self.partners.get(domain).ok_or(Refusal::UnlistedDomain)?;
        match partner.enabled {
            false => Err(Refusal::PartnerDisabled),
            true if self.blocks(domain) => Err(Refusal::DomainBlocked),
            true => Ok(partner),
        }
    }

    /// Every partner entry, in no particular order.
    pub fn partners(&self) -> impl Iterator<Item = &Partner> {
        self.partners
            .iter()
            .filter(|(domain, partner)| **domain == partner.domain)
            .map(|(_, partner)| &**partner)
    }

    pub fn served_domains(&self) -> impl Iterator<Item = &str> {
        self.served.iter().map(CompactString::as_str)
    }

    /// Which SIP users may talk to partners.
    pub fn users(&self) -> &UserPolicy {
        &self.users
    }

    pub fn consent_lifetime(&self) -> Duration {
        self.consent_lifetime
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new(0, [], [])
    }
}
