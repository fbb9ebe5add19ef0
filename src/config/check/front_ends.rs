//! Front ends: whose users they have, how they are told apart, and where they are.

use std::collections::HashMap;

use nuncio_sip::hop::MAX_TARGETS;

use super::super::address::{Domain, NextHop};
use super::super::file::{FrontEndSection, Root};
use super::super::read::{At, Sections, Slot};
use super::super::source::PlaceId;
use super::super::value::{Lookup, TlsBackend};
use super::super::words::EntryName;
use super::{Checker, Served, elements};
use crate::tls::Backend;

impl Checker<'_> {
    pub(super) fn front_ends(&mut self, root: &Root, served: &Served) {
        let Some(sip) = &root.sip.value else { return };
        if let Some(connect) = &sip.connect.value {
            self.connect("[sip.connect]", &connect.source_address, &connect.family);
        }
        let Some(Sections(front_ends)) = &sip.front_ends.value else { return };
        if front_ends.is_empty() {
            self.error(
                sip.front_ends.place,
                "at least one [[sip.front_end]] is needed, the list is empty".to_owned(),
            );
        }
        let mut names: HashMap<&str, Option<PlaceId>> = HashMap::new();
        let mut has: HashMap<&Domain, ()> = HashMap::new();
        let mut all = false;
        let mut sound = sip.front_ends.sound;
        let mut shown = HashMap::new();
        for front_end in front_ends {
            let front_end = &front_end.value;
            let label = front_end_label(front_end);
            if let Some(EntryName(name)) = &front_end.name.value {
                if name.trim().is_empty() {
                    self.error(
                        front_end.name.place,
                        "[[sip.front_end]] name: expected a name, this is empty".to_owned(),
                    );
                } else if let Some(first) = names.insert(name, front_end.name.place) {
                    let first = self.places.name(first);
                    self.error(
                        front_end.name.place,
                        format!("{label} name: another front end has this name, at {first}"),
                    );
                }
            }
            self.no_repeats(&format!("{label} certificate_names"), &front_end.certificate_names);
            self.no_repeats(&format!("{label} next_hops"), &front_end.next_hops);
            self.no_repeats(&format!("{label} domains"), &front_end.domains);
            self.look_up(&label, front_end);
            self.names_of_its_own(&label, front_end, &mut shown);
            self.backend_is_built_in(&label, &front_end.tls_backend);
            sound &= front_end.domains.sound;
            all |= front_end.domains.place.is_none();
            for domain in elements(&front_end.domains) {
                self.must_be_served(&format!("{label} domains"), domain, served);
                has.insert(&domain.value, ());
            }
        }
        for (domain, place) in &served.order {
            self.next_hops(domain, *place, front_ends);
        }
        if all || !sound || front_ends.is_empty() {
            return;
        }
        for (domain, place) in &served.order {
            if !has.contains_key(domain) {
                self.error(
                    *place,
                    format!(
                        "[sip] domains: no front end serves {}; add it to the domains of a [[sip.front_end]]",
                        domain.to_unicode()
                    ),
                );
            }
        }
    }

    /// A front end that connects is told by its certificate: one that two entries name would always be the first.
    fn names_of_its_own<'a>(
        &mut self,
        label: &str,
        front_end: &'a FrontEndSection,
        shown: &mut HashMap<(&'a Domain, bool), Option<PlaceId>>,
    ) {
        // Without names of its own it has those of its domains, or, of hosts that only DNS knows.
        let by_hosts = front_end.lookup.value == Some(Lookup::Federation);
        let names: Vec<_> = match front_end.certificate_names.value {
            Some(_) => {
                let names = elements(&front_end.certificate_names);
                names.map(|name| ((name.value.domain(), false), name.place)).collect()
            }
            None => elements(&front_end.next_hops)
                .filter_map(|hop| match &hop.value {
                    NextHop::At(_) => None,
                    NextHop::Of(domain) => Some(((domain, by_hosts), hop.place)),
                })
                .collect(),
        };
        let others = shown.clone();
        for (name, place) in names {
            if let Some(first) = others.get(&name) {
                let first = self.places.name(*first);
                self.error(
                    place,
                    format!(
                        "{label} certificates with the name {} are those of another front end already, at {first}; who connects \
                         with one would be taken for that one, so give each a name of its own, or make one of the two entries",
                        name.0
                    ),
                );
            }
            shown.entry(name).or_insert(place);
        }
    }

    /// What belongs to looking up next hops is there where something is looked up, and nowhere else.
    fn look_up(&mut self, label: &str, front_end: &FrontEndSection) {
        let hops = || elements(&front_end.next_hops).map(|hop| &hop.value);
        if hops().next().is_none() || !front_end.next_hops.sound {
            return;
        }
        if let Some(given) = hops().find(|hop| matches!(hop, NextHop::At(_)))
            && front_end.certificate_names.value.is_none()
            && front_end.certificate_names.sound
        {
            self.error(
                front_end.next_hops.place,
                format!(
                    "{label} certificate_names is missing: only a domain that is looked up in DNS is its own name, and {given} \
                     is a host; add the names in its certificate"
                ),
            );
        }
        if front_end.lookup.value == Some(Lookup::Federation)
            && hops().all(|hop| matches!(hop, NextHop::At(_)))
        {
            self.error(
                front_end.lookup.place,
                format!(
                    "{label} lookup: nothing is looked up, since all next_hops have a port; give a domain without port, or \
                     leave lookup out"
                ),
            );
        }
    }

    fn next_hops(&mut self, domain: &Domain, place: Option<PlaceId>, front_ends: &[At<FrontEndSection>]) {
        let of = |front_end: &FrontEndSection| {
            front_end.domains.place.is_none() || elements(&front_end.domains).any(|own| own.value == *domain)
        };
        let theirs = front_ends.iter().map(|front_end| &front_end.value).filter(|front_end| of(front_end));
        let count = theirs.map(|front_end| elements(&front_end.next_hops).count()).sum::<usize>();
        if count > MAX_TARGETS {
            let domain = domain.to_unicode();
            self.error(
                place,
                format!(
                    "[sip] domains: the front ends of {domain} have {count} next hops; only {MAX_TARGETS} would ever be \
                     tried, list fewer"
                ),
            );
        }
    }

    fn backend_is_built_in(&mut self, label: &str, backend: &Slot<TlsBackend>) {
        let Some(value) = backend.value else { return };
        if !Backend::from(value).is_built_in() {
            self.error(
                backend.place,
                format!(
                    "{label} tls_backend: this program was built without OpenSSL; build it with the cargo feature \
                     \"openssl-legacy\" (on by default), or leave this out"
                ),
            );
        }
    }
}

fn front_end_label(front_end: &FrontEndSection) -> String {
    let name = front_end.name.value.as_ref().map_or("?", |name| name.0.as_str());
    format!("[[sip.front_end]] {name}:")
}
