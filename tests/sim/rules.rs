//! What the administrator lets happen, and since when.

use nuncio_translate::judge::{Partner as PartnerEntry, PartnerType, Snapshot};

use crate::net::Micros;
use crate::world::{LOCAL, World};

impl World {
    pub(crate) fn publish_policy(&mut self) {
        self.policy_generation += 1;
        let entries = self.partners.iter().enumerate().map(|(index, partner)| {
            let entry = PartnerEntry {
                domain: partner.domain.as_str().into(),
                partner_type: self.types[index].last().map_or(PartnerType::Federated, |(_, kind)| *kind),
                enabled: self.is_enabled(index),
            };
            (entry, vec![])
        });
        let snapshot = Snapshot::new(self.policy_generation, [LOCAL.into()], entries);
        let snapshot = snapshot.with_users(self.presence.user_policy());
        // The next process reads it when it starts.
        if !self.down {
            self.gateway.set_policy(snapshot);
        }
    }

    pub(crate) fn is_enabled(&self, partner: usize) -> bool {
        self.enabled[partner].last().is_some_and(|(_, enabled)| *enabled)
    }

    /// Whether the partner was enabled at any time since.
    pub(crate) fn was_enabled_since(&self, partner: usize, since: Micros) -> bool {
        was_ever(&self.enabled[partner], since, |enabled| *enabled)
    }

    /// Whether its users could write without having been written to, at any time since.
    pub(crate) fn was_trusted_since(&self, partner: usize, since: Micros) -> bool {
        was_ever(&self.types[partner], since, |kind| *kind != PartnerType::PublicUnverified)
    }
}

pub(crate) fn was_ever<T>(list: &[(Micros, T)], since: Micros, is: impl Fn(&T) -> bool) -> bool {
    list.iter().enumerate().any(|(index, (_, value))| {
        let until = list.get(index + 1).map_or(Micros::MAX, |(at, _)| *at);
        is(value) && until >= since
    })
}
