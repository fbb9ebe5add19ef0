//! The rules of who may talk to whom: pure, on a snapshot of the policy and the pair's own consent.
//!
//! [`judge`] is the only maker of a [`Permit`], and everything that crosses takes one by value: traffic
//! that was not judged does not compile. The rules in words are in `docs/trust.md`.

mod consent;
mod partners;
#[cfg(test)]
mod tests;
mod users;

use std::fmt;

pub use consent::{Added, CONSENT_LIFETIME, Consent, REPLY_WINDOW};
pub use partners::{Partner, PartnerType, Snapshot};
pub use users::{UserPolicy, UserRule, Verdict, Who};

/// Which way the traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    SipToXmpp,
    XmppToSip,
}

/// What is to cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An instant message.
    Message,
    /// The wish to see the other one's presence.
    Subscribe,
    /// Presence of one user, shown to the other.
    Presence,
}

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The SIP user, as a normalised bare JID.
    pub sip_user: &'a str,
    /// The contact, as a normalised bare JID.
    pub contact: &'a str,
    /// His domain.
    pub contact_domain: &'a str,
    pub direction: Direction,
    pub kind: Kind,
}

/// The rule that let something cross, for log, trace and audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The SIP user writes to a contact of a listed, enabled partner.
    SipUserMayWrite,
    /// The SIP user asks to see a contact of a listed, enabled partner.
    SipUserMayAdd,
    /// The partner type lets its users write without having been added.
    PartnerTypeMayWrite,
    /// The partner type lets its users ask for presence, and see it as far as the front end agrees.
    PartnerTypeMaySee,
    /// The SIP user added the contact.
    AddedBySipUser,
    /// The SIP user wrote to the contact within the reply window.
    ReplyToSipUser,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SipUserMayWrite => "sip-user-may-write",
            Self::SipUserMayAdd => "sip-user-may-add",
            Self::PartnerTypeMayWrite => "partner-type-may-write",
            Self::PartnerTypeMaySee => "partner-type-may-see",
            Self::AddedBySipUser => "added-by-sip-user",
            Self::ReplyToSipUser => "reply-to-sip-user",
        })
    }
}

/// Leave to cross once, given by [`judge`] and used up by crossing.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    rule: Rule,
    partner_type: PartnerType,
    generation: u64,
}

impl Permit {
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// How far the contact's partner is trusted: what a document may disclose to him.
    pub fn partner_type(&self) -> PartnerType {
        self.partner_type
    }

    /// The policy generation it was given under; what waits is judged again under a newer one.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The rule that kept something from crossing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("the SIP user's domain is not served here")]
    DomainNotServed,
    #[error("the domain is in no partner entry")]
    UnlistedDomain,
    #[error("the partner entry is disabled")]
    PartnerDisabled,
    #[error("the domain is blocked")]
    DomainBlocked,
    #[error("the contact is blocked")]
    ContactBlocked,
    #[error("talking to XMPP partners is switched off for all SIP users (policy.enabled)")]
    FederationOff,
    #[error("a policy rule denies it to this SIP user")]
    UserDenied,
    #[error("no policy rule allows it to this SIP user, and policy.default is deny")]
    UserNotAllowed,
    #[error("the partner is public-unverified and the SIP user has neither added nor written to the contact")]
    SipUserFirst,
}

impl Refusal {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::DomainNotServed,
        Self::UnlistedDomain,
        Self::PartnerDisabled,
        Self::DomainBlocked,
        Self::ContactBlocked,
        Self::FederationOff,
        Self::UserDenied,
        Self::UserNotAllowed,
        Self::SipUserFirst,
    ];

    /// A short stable name for logs, metrics and `ms-diagnostics`.
    pub fn name(self) -> &'static str {
        match self {
            Self::DomainNotServed => "domain-not-served",
            Self::UnlistedDomain => "unlisted-domain",
            Self::PartnerDisabled => "partner-disabled",
            Self::DomainBlocked => "domain-blocked",
            Self::ContactBlocked => "contact-blocked",
            Self::FederationOff => "federation-off",
            Self::UserDenied => "user-denied",
            Self::UserNotAllowed => "user-not-allowed",
            Self::SipUserFirst => "sip-user-first",
        }
    }
}

/// Decides whether something may cross between a SIP user and a contact.
///
/// # Errors
/// The rule that refuses it.
pub fn judge(
    snapshot: &Snapshot,
    question: &Question<'_>,
    consent: &Consent,
    unix_now: u64,
) -> Result<Permit, Refusal> {
    let domain = question.sip_user.rsplit_once('@').map_or(question.sip_user, |(_, domain)| domain);
    if !snapshot.serves(domain) {
        return Err(Refusal::DomainNotServed);
    }
    let partner = snapshot.open_partner(question.contact_domain)?;
    if snapshot.blocks(question.contact) {
        return Err(Refusal::ContactBlocked);
    }
    snapshot.users().check(question.sip_user, &partner.domain, question.contact_domain)?;
    let added = || consent.is_added(snapshot.consent_lifetime(), unix_now);
    let trusted = partner.partner_type != PartnerType::PublicUnverified;
    let rule = match (question.direction, question.kind) {
        (Direction::SipToXmpp, Kind::Message) => Rule::SipUserMayWrite,
        (Direction::SipToXmpp, Kind::Subscribe) => Rule::SipUserMayAdd,
        (Direction::XmppToSip, Kind::Message) if trusted => Rule::PartnerTypeMayWrite,
        (Direction::XmppToSip, Kind::Message) if consent.replies_open(unix_now) => Rule::ReplyToSipUser,
        // Whose presence it is makes no difference: the contact sees the SIP user only when he may ask to,
        // and the SIP user's endpoints see a contact the SIP user added.
        (Direction::SipToXmpp, Kind::Presence) | (Direction::XmppToSip, Kind::Subscribe) if trusted => {
            Rule::PartnerTypeMaySee
        }
        (Direction::XmppToSip, Kind::Presence) => Rule::SipUserMayAdd,
        _ if added() => Rule::AddedBySipUser,
        _ => return Err(Refusal::SipUserFirst),
    };
    Ok(Permit { rule, partner_type: partner.partner_type, generation: snapshot.generation() })
}
