//! What only shows between values: overlaps, contradictions, gaps.

mod blocks;
mod control;
mod files;
mod front_ends;
mod limits;
mod listeners;
mod look_alike;
pub(super) mod partners;
mod policy;
mod sip_identities;

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use ::config::Value;

use super::Sources;
use super::address::Domain;
use super::file::{PartnerSection, Root};
use super::problem::{Problem, Severity};
use super::read::{At, OneOrMore, Sections, Slot};
use super::source::{Part, PlaceId, Places};
use super::value::nearest;

pub(super) struct Checker<'a> {
    pub(super) places: &'a Places,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    /// Notes everything that is wrong between the values of `root`; `merged` is the tree that it was read from.
    pub(super) fn check(
        &mut self,
        root: &Root,
        merged: &Value,
        sources: &Sources,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) {
        let served = self.served(root);
        self.front_ends(root, &served);
        self.sip_identities(root);
        self.certificates(root, &served);
        self.partners(root, &served);
        self.look_alikes(root, &served);
        self.policy(root, &served);
        self.blocks(root, &served);
        self.listeners(root);
        self.limits(root, merged);
        if !sources.trust_paths {
            self.files(root, sources, identity);
        }
    }

    fn error(&mut self, place: Option<PlaceId>, text: String) {
        self.problems.push(self.places.problem(Severity::Error, place, Part::Value, text));
    }

    fn served(&mut self, root: &Root) -> Served {
        let mut served = Served { domains: HashMap::new(), order: Vec::new(), sound: false };
        let Some(sip) = &root.sip.value else { return served };
        served.sound = sip.domains.sound;
        for domain in elements(&sip.domains) {
            match served.domains.get(&domain.value) {
                Some(first) => {
                    let first = self.places.name(*first);
                    self.error(
                        domain.place,
                        format!(
                            "[sip] domains: {} is listed twice, first at {first}",
                            domain.value.to_unicode()
                        ),
                    );
                }
                None => {
                    served.domains.insert(domain.value.clone(), domain.place);
                    served.order.push((domain.value.clone(), domain.place));
                }
            }
        }
        served
    }

    /// A domain that has to be a served one.
    fn must_be_served(&mut self, label: &str, domain: &At<Domain>, served: &Served) {
        if !served.sound || served.domains.contains_key(&domain.value) {
            return;
        }
        let known: Vec<Cow<'_, str>> = served.order.iter().map(|(domain, _)| domain.to_unicode()).collect();
        let advice = match nearest(&domain.value.to_unicode(), known.iter().map(AsRef::as_ref)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!(
                "served are: {}",
                known.iter().take(5).map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
            ),
        };
        self.error(
            domain.place,
            format!(
                "{label}: {} is not a served domain ([sip] domains); {advice}",
                domain.value.to_unicode()
            ),
        );
    }

    fn no_repeats<T: PartialEq + std::fmt::Display>(&mut self, label: &str, list: &Slot<OneOrMore<T>>) {
        let list: Vec<&At<T>> = elements(list).collect();
        for (index, element) in list.iter().enumerate() {
            if list.iter().take(index).any(|earlier| earlier.value == element.value) {
                self.error(element.place, format!("{label}: {} is listed twice", element.value));
            }
        }
    }

    fn certificates(&mut self, root: &Root, served: &Served) {
        let Some(Sections(certificates)) = &root.certificates.value else { return };
        if certificates.is_empty() {
            self.error(
                root.certificates.place,
                "at least one [[certificate]] is needed, the list is empty".to_owned(),
            );
            return;
        }
        let mut has: HashMap<&Domain, Option<PlaceId>> = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            let label = format!("[[certificate]] number {}: domains", index + 1);
            for domain in elements(&certificate.value.domains) {
                self.must_be_served(&label, domain, served);
                if let Some(first) = has.insert(&domain.value, domain.place) {
                    let first = self.places.name(first);
                    self.error(
                        domain.place,
                        format!(
                            "{label}: {} has a certificate already, at {first}; it can have only one",
                            domain.value.to_unicode()
                        ),
                    );
                }
            }
        }
        if !root.certificates.sound {
            return;
        }
        for (domain, place) in &served.order {
            if !has.contains_key(domain) {
                self.error(
                    *place,
                    format!(
                        "[sip] domains: {} has no certificate for the XMPP side; \
                         add it to the domains of a [[certificate]]",
                        domain.to_unicode()
                    ),
                );
            }
        }
    }
}

/// The domains served, with their places.
struct Served {
    domains: HashMap<Domain, Option<PlaceId>>,
    order: Vec<(Domain, Option<PlaceId>)>,
    /// The list is as the administrator meant it: what is not in it is not served.
    sound: bool,
}

fn elements<T>(slot: &Slot<OneOrMore<T>>) -> impl Iterator<Item = &At<T>> {
    slot.value.iter().flat_map(|list| &list.0)
}

fn partner_label(partner: &PartnerSection, index: usize) -> String {
    match &partner.domain.value {
        Some(domain) => format!("[[partner]] {}:", domain.to_unicode()),
        None => format!("[[partner]] number {}:", index + 1),
    }
}
