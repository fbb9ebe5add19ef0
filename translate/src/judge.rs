//! The rules of who may talk to whom: pure, on a snapshot of the policy and the pair's own consent.
//!
//! [`judge`] is the only maker of a [`Permit`], and everything that crosses takes one by value: traffic
//! that was not judged does not compile.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;

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
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    generation: u64,
    served: HashSet<CompactString>,
    /// Every domain of every partner, additional ones included.
    partners: HashMap<CompactString, Arc<Partner>>,
}

impl Snapshot {
    /// `served`: the SIP domains we speak for. `partners`: each with all its domains. All domains in
    /// their normalised form.
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
        Self { generation, served: served.into_iter().collect(), partners: by_domain }
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
    /// The domain is in no entry, or its entry is disabled.
    pub fn open_partner(&self, domain: &str) -> Result<&Arc<Partner>, Refusal> {
        let partner = self.partners.get(domain).ok_or(Refusal::UnlistedDomain)?;
        if partner.enabled { Ok(partner) } else { Err(Refusal::PartnerDisabled) }
    }

    pub fn served_domains(&self) -> impl Iterator<Item = &str> {
        self.served.iter().map(CompactString::as_str)
    }
}

/// What the two users of a pair have agreed to by what they did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    /// When the SIP user last wrote to the contact, in seconds of Unix time.
    pub sip_user_wrote: Option<u64>,
}

/// For how long the contact may answer after the SIP user's last message.
pub const REPLY_WINDOW: Duration = Duration::from_secs(24 * 3600);

impl Consent {
    /// Whether the contact may answer now because the SIP user wrote to him lately.
    pub fn replies_open(&self, unix_now: u64) -> bool {
        self.sip_user_wrote.is_some_and(|wrote| unix_now < wrote.saturating_add(REPLY_WINDOW.as_secs()))
    }
}

/// Which way the traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    SipToXmpp,
    XmppToSip,
}

/// What is to cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Message,
}

/// The rule that let something cross, for log, trace and audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The SIP user writes to a contact of a listed, enabled partner.
    SipUserMayWrite,
    /// The partner type lets its users write without having been added.
    PartnerTypeMayWrite,
    /// The SIP user wrote to the contact within the reply window.
    ReplyToSipUser,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SipUserMayWrite => "sip-user-may-write",
            Self::PartnerTypeMayWrite => "partner-type-may-write",
            Self::ReplyToSipUser => "reply-to-sip-user",
        })
    }
}

/// Leave to cross once, given by [`judge`] and used up by crossing.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    rule: Rule,
    generation: u64,
}

impl Permit {
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The policy generation it was given under; what waits is judged again under a newer one.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The rule that kept something from crossing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("the domain is in no partner entry")]
    UnlistedDomain,
    #[error("the partner entry is disabled")]
    PartnerDisabled,
    #[error("the partner is public-unverified and the SIP user has neither added nor written to the contact")]
    SipUserFirst,
}

impl Refusal {
    /// A short stable name for logs, metrics and `ms-diagnostics`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnlistedDomain => "unlisted-domain",
            Self::PartnerDisabled => "partner-disabled",
            Self::SipUserFirst => "sip-user-first",
        }
    }
}

/// Decides whether something may cross between a SIP user and a contact at `remote_domain`.
///
/// # Errors
/// The rule that refuses it.
pub fn judge(
    snapshot: &Snapshot,
    remote_domain: &str,
    consent: &Consent,
    direction: Direction,
    kind: Kind,
    unix_now: u64,
) -> Result<Permit, Refusal> {
    let partner = snapshot.open_partner(remote_domain)?;
    let rule = match (direction, kind) {
        (Direction::SipToXmpp, Kind::Message) => Rule::SipUserMayWrite,
        (Direction::XmppToSip, Kind::Message) => match partner.partner_type {
            PartnerType::Federated | PartnerType::PublicVerified => Rule::PartnerTypeMayWrite,
            PartnerType::PublicUnverified if consent.replies_open(unix_now) => Rule::ReplyToSipUser,
            PartnerType::PublicUnverified => return Err(Refusal::SipUserFirst),
        },
    };
    Ok(Permit { rule, generation: snapshot.generation })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 24 * 3600;

    fn snapshot() -> Snapshot {
        let partner =
            |domain: &str, partner_type, enabled| Partner { domain: domain.into(), partner_type, enabled };
        Snapshot::new(
            7,
            ["contoso.example".into()],
            [
                (
                    partner("fabrikam.example", PartnerType::Federated, true),
                    vec!["it.fabrikam.example".into()],
                ),
                (partner("verified.example", PartnerType::PublicVerified, true), vec![]),
                (partner("public.example", PartnerType::PublicUnverified, true), vec![]),
                (partner("off.example", PartnerType::Federated, false), vec![]),
            ],
        )
    }

    fn message(domain: &str, wrote: Option<u64>, direction: Direction) -> Result<Rule, Refusal> {
        let consent = Consent { sip_user_wrote: wrote };
        judge(&snapshot(), domain, &consent, direction, Kind::Message, NOW).map(|permit| permit.rule())
    }

    #[test]
    fn a_sip_user_may_write_to_every_enabled_partner() {
        for domain in ["fabrikam.example", "it.fabrikam.example", "verified.example", "public.example"] {
            assert_eq!(message(domain, None, Direction::SipToXmpp), Ok(Rule::SipUserMayWrite), "{domain}");
        }
    }

    #[test]
    fn unlisted_and_disabled_partners_are_refused_both_ways() {
        for direction in [Direction::SipToXmpp, Direction::XmppToSip] {
            assert_eq!(message("nobody.example", Some(NOW), direction), Err(Refusal::UnlistedDomain));
            assert_eq!(message("sub.fabrikam.example", Some(NOW), direction), Err(Refusal::UnlistedDomain));
            assert_eq!(message("off.example", Some(NOW), direction), Err(Refusal::PartnerDisabled));
        }
    }

    #[test]
    fn trusted_partner_types_may_write_first() {
        for domain in ["fabrikam.example", "verified.example"] {
            assert_eq!(message(domain, None, Direction::XmppToSip), Ok(Rule::PartnerTypeMayWrite));
        }
    }

    #[test]
    fn unverified_contacts_may_only_answer_and_only_for_a_day() {
        let answer = |wrote| message("public.example", wrote, Direction::XmppToSip);
        assert_eq!(answer(None), Err(Refusal::SipUserFirst));
        assert_eq!(answer(Some(NOW)), Ok(Rule::ReplyToSipUser));
        assert_eq!(answer(Some(NOW - DAY + 1)), Ok(Rule::ReplyToSipUser));
        assert_eq!(answer(Some(NOW - DAY)), Err(Refusal::SipUserFirst));
    }

    #[test]
    fn a_permit_names_the_generation_it_was_given_under() {
        let permit = judge(
            &snapshot(),
            "fabrikam.example",
            &Consent::default(),
            Direction::SipToXmpp,
            Kind::Message,
            NOW,
        );
        assert_eq!(permit.map(|permit| permit.generation()), Ok(7));
    }
}
