//! What we call ourselves to front ends.
//!
//! An Access Edge knows a federated peer by its name, and has one entry with one level of trust for each. So partners of one
//! type can have a name of their own there, with a certificate for it: requests on behalf of their contacts carry it, and go
//! over connections of their own, which show that certificate. Everything else goes by the name for all.

use std::sync::Arc;

use compact_str::CompactString;
use nuncio_sip::event::EventConfig;
use nuncio_sip::session::SessionConfig;
use nuncio_translate::judge::{PartnerType, Snapshot};

use super::{Gateway, Route, Settings};

/// What we are to front ends for the contacts of some partners.
#[derive(Debug, Clone)]
pub struct SipIdentity {
    /// The types of these partners.
    pub types: Vec<PartnerType>,
    /// Our name in Via and Contact.
    pub name: CompactString,
    /// As [`Settings::events`], under this name.
    pub events: EventConfig,
    /// As [`Settings::sessions`], under this name.
    pub sessions: SessionConfig,
}

/// The number of an identity: 0 is the one for all, the others follow in the order of the settings.
pub type IdentityNumber = usize;

impl Settings {
    fn own_identity(&self, number: IdentityNumber) -> Option<&SipIdentity> {
        self.identities.get(number.checked_sub(1)?)
    }

    pub(super) fn identity_for(&self, partner: PartnerType) -> IdentityNumber {
        let own = self.identities.iter().position(|identity| identity.types.contains(&partner));
        own.map_or(0, |place| place + 1)
    }

    /// All names.
    pub(super) fn sip_names(&self) -> Arc<[String]> {
        let others = self.identities.iter().map(|identity| &identity.name);
        std::iter::once(&self.sip_name).chain(others).map(ToString::to_string).collect()
    }

    pub(super) fn name_of(&self, identity: IdentityNumber) -> &CompactString {
        self.own_identity(identity).map_or(&self.sip_name, |identity| &identity.name)
    }

    pub(super) fn events_of(&self, identity: IdentityNumber) -> &EventConfig {
        self.own_identity(identity).map_or(&self.events, |identity| &identity.events)
    }

    pub(super) fn sessions_of(&self, identity: IdentityNumber) -> &SessionConfig {
        self.own_identity(identity).map_or(&self.sessions, |identity| &identity.sessions)
    }
}

impl Gateway {
    /// All names of ours on the SIP side.
    pub fn sip_names(&self) -> Arc<[String]> {
        Arc::clone(&self.sip_names)
    }

    /// What we are to front ends on behalf of contacts of this domain.
    pub(super) fn identity_of(&self, policy: &Snapshot, remote_domain: &str) -> IdentityNumber {
        if self.settings.identities.is_empty() {
            return 0;
        }
        policy.partner(remote_domain).map_or(0, |partner| self.settings.identity_for(partner.partner_type))
    }

    /// The way to the users of a served domain, under an identity.
    pub(super) fn route_of(&self, identity: IdentityNumber, local_domain: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.identity == identity && route.serves(local_domain))
    }
}
