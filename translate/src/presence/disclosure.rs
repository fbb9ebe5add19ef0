use crate::judge::PartnerType;

/// How much of a SIP user's presence a partner gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disclosure {
    /// Show, priority, note or activity text, idle time where that is switched on.
    Full,
    /// Show and priority; no text of anybody's, not even as the name of a resource.
    BasicOnly,
}

impl Disclosure {
    /// What users of such a partner get.
    pub fn to(partner: PartnerType) -> Self {
        match partner {
            PartnerType::Federated => Self::Full,
            PartnerType::PublicVerified | PartnerType::PublicUnverified => Self::BasicOnly,
        }
    }
}
