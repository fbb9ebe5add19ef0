//! The trust table, written down a second time: as a person would read it.

use nuncio_translate::judge::{PartnerType, Refusal};

use crate::pair_rig::DAY;

/// What the administrator has set, and what the SIP user did.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) partner: PartnerType,
    /// The partner has an entry.
    pub(crate) listed: bool,
    /// It is enabled.
    pub(crate) enabled: bool,
    /// The SIP user may talk to partners.
    pub(crate) user: bool,
    /// When the SIP user last subscribed, in seconds.
    pub(crate) added: Option<u64>,
    /// When he last wrote.
    pub(crate) wrote: Option<u64>,
}

impl Rules {
    pub(crate) fn is_added(&self, now: u64) -> bool {
        self.added.is_some_and(|at| now < at + 45 * DAY)
    }

    fn open(&self) -> bool {
        self.is_connected() && self.user
    }

    /// There may be streams with the partner.
    pub(crate) fn is_connected(&self) -> bool {
        self.listed && self.enabled
    }

    /// Why the SIP user may not write to the contact, as he is told.
    pub(crate) fn user_may_not_write(&self) -> Option<Refusal> {
        match self {
            Self { listed: false, .. } => Some(Refusal::UnlistedDomain),
            Self { enabled: false, .. } => Some(Refusal::PartnerDisabled),
            Self { user: false, .. } => Some(Refusal::UserNotAllowed),
            _ => None,
        }
    }

    /// The SIP user asks to see the contact, and sees him.
    pub(crate) fn user_may_see(&self) -> bool {
        self.open()
    }

    /// The contact asks to see the SIP user, and sees him.
    pub(crate) fn contact_may_see(&self, now: u64) -> bool {
        self.open() && (self.partner != PartnerType::PublicUnverified || self.is_added(now))
    }

    pub(crate) fn contact_may_write(&self, now: u64) -> bool {
        let replies = self.wrote.is_some_and(|at| now < at + DAY);
        self.open() && (self.partner != PartnerType::PublicUnverified || self.is_added(now) || replies)
    }

    pub(crate) fn contact_may_read_notes(&self) -> bool {
        self.partner == PartnerType::Federated
    }
}
