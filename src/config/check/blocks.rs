//! Blocks: only those who come from outside can be kept out by them.

use std::collections::HashMap;

use super::super::Domain;
use super::super::block::BlockAddress;
use super::super::file::Root;
use super::super::read::Sections;
use super::super::source::PlaceId;
use super::{Checker, Served};

impl Checker<'_> {
    pub(super) fn blocks(&mut self, root: &Root, served: &Served) {
        let Some(Sections(blocks)) = &root.blocks.value else { return };
        let mut known: HashMap<&BlockAddress, Option<PlaceId>> = HashMap::new();
        for block in blocks {
            let slot = &block.value.address;
            let Some(address) = &slot.value else { continue };
            let label = format!("[[block]] {address}:");
            let domain = match address {
                BlockAddress::Contact(jid) => {
                    jid.rsplit_once('@').and_then(|(_, domain)| Domain::new(domain).ok())
                }
                BlockAddress::Domain(domain) => Some(domain.clone()),
                BlockAddress::Network(_) => None,
            };
            if domain.is_some_and(|domain| served.domains.contains_key(&domain)) {
                self.error(
                    slot.place,
                    format!(
                        "{label} address: this is one of our own; blocks are for contacts and their servers, and rules in [policy] \
                         for SIP users"
                    ),
                );
            } else if let Some(first) = known.insert(address, slot.place) {
                let first = self.places.name(first);
                self.error(slot.place, format!("{label} address: it is blocked already, at {first}"));
            }
        }
    }
}
