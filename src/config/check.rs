//! What only shows between values: overlaps, contradictions, gaps.

mod blocks;
mod control;
mod partners;
mod policy;
mod sip_identities;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ::config::{Value, ValueKind};
use nuncio_sip::hop::MAX_TARGETS;

use super::Sources;
use super::address::{Bind, Domain, NextHop, SourceAddress};
use super::federation::{RATE_MIN_BYTES, RATE_MIN_STANZAS, Secret};
use super::file::{FrontEndSection, PartnerSection, Root};
use super::network::Network;
use super::pem::{self, Holds};
use super::problem::{Problem, Severity};
use super::read::{At, OneOrMore, Sections, Slot};
use super::source::{Part, PlaceId, Places};
use super::value::{Family, Lookup, TlsBackend, duration_text, nearest};
use crate::tls::Backend;

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
        self.policy(root, &served);
        self.blocks(root, &served);
        self.listeners(root);
        self.limits(root, merged);
        if !sources.trust_paths {
            self.files(root, identity);
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

    fn front_ends(&mut self, root: &Root, served: &Served) {
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
            if let Some(name) = &front_end.name.value {
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

    fn listeners(&mut self, root: &Root) {
        let mut bound: Vec<(SocketAddr, bool, Option<PlaceId>)> = Vec::new();
        if let Some(connect) = root.xmpp.value.as_ref().and_then(|xmpp| xmpp.connect.value.as_ref()) {
            self.connect("[xmpp.connect]", &connect.source_address, &connect.family);
        }
        if let Some(sip) = &root.sip.value {
            let header = "[[sip.listener]]";
            self.at_least_one(header, &sip.listeners);
            for listener in sip.listeners.value.iter().flat_map(|listeners| &listeners.0) {
                let listener = &listener.value;
                self.listener(header, &listener.bind, &listener.family, &mut bound);
                self.proxies(header, &listener.bind, &listener.proxy_protocol, &listener.proxies);
            }
        }
        if let Some(xmpp) = &root.xmpp.value {
            let header = "[[xmpp.listener]]";
            self.at_least_one(header, &xmpp.listeners);
            for listener in xmpp.listeners.value.iter().flat_map(|listeners| &listeners.0) {
                let listener = &listener.value;
                self.listener(header, &listener.bind, &listener.family, &mut bound);
                self.proxies(header, &listener.bind, &listener.proxy_protocol, &listener.proxies);
            }
        }
        self.control(root, &mut bound);
    }

    fn at_least_one<T>(&mut self, header: &str, listeners: &Slot<Sections<T>>) {
        if listeners.value.as_ref().is_some_and(|listeners| listeners.0.is_empty()) {
            self.error(listeners.place, format!("at least one {header} is needed, the list is empty"));
        }
    }

    fn listener(
        &mut self,
        header: &str,
        bind: &Slot<Bind>,
        family: &Slot<Family>,
        bound: &mut Vec<(SocketAddr, bool, Option<PlaceId>)>,
    ) {
        let (bind_place, Some(bind)) = (bind.place, bind.value.map(|bind| bind.0)) else { return };
        let label = format!("{header} {bind}");
        let every_v6 = bind.is_ipv6() && bind.ip().is_unspecified();
        match family.value {
            Some(word) if !every_v6 => self.error(
                family.place,
                format!("{label}: family: \"{word}\" says nothing here, the address decides; it goes with [::] only"),
            ),
            Some(Family::Ipv4) => self.error(
                family.place,
                format!(
                    "{label}: family: \"ipv4\" contradicts [::]; for IPv4 only bind to \"0.0.0.0:{}\"",
                    bind.port()
                ),
            ),
            _ => {}
        }
        let both = every_v6 && family.value != Some(Family::Ipv6);
        let clash = bound.iter().find(|(other, other_both, _)| overlap((bind, both), (*other, *other_both)));
        if let Some((other, _, place)) = clash {
            let place = self.places.name(*place);
            let other = if *other == bind {
                "another listener has this address".to_owned()
            } else {
                format!("it overlaps with {other}")
            };
            self.error(bind_place, format!("{label}: bind: {other}, at {place}"));
        }
        bound.push((bind, both, bind_place));
    }

    /// Who may say whose connection it is has to be known, and is asked for nothing else.
    fn proxies(
        &mut self,
        header: &str,
        bind: &Slot<Bind>,
        on: &Slot<bool>,
        proxies: &Slot<Vec<At<Network>>>,
    ) {
        let (Some(on_value), Some(list)) = (on.value, &proxies.value) else { return };
        let label = bind.value.map_or_else(|| header.to_owned(), |bind| format!("{header} {}", bind.0));
        if on_value && list.is_empty() && proxies.sound {
            self.error(
                on.place,
                format!(
                    "{label}: proxy_protocol: nobody is allowed to use it; list the load balancers in proxies"
                ),
            );
        } else if !on_value && !list.is_empty() {
            self.error(
                proxies.place,
                format!("{label}: proxies: says nothing without proxy_protocol = true; add that, or leave this out"),
            );
        }
    }

    fn connect(&mut self, header: &str, source: &Slot<SourceAddress>, family: &Slot<Family>) {
        let place = source.place;
        let (Some(source), Some(family)) = (source.value, family.value) else { return };
        let contradiction = match (source.0, family) {
            (IpAddr::V4(_), Family::Ipv6) => "an IPv4 address",
            (IpAddr::V6(_), Family::Ipv4) => "an IPv6 address",
            _ => return,
        };
        let text =
            format!("{header} source_address: {} is {contradiction}, but family is \"{family}\"", source.0);
        self.error(place, text);
    }

    fn limits(&mut self, root: &Root, merged: &Value) {
        let Some(limits) = &root.limits.value else { return };
        let (sip, xmpp) = (&limits.sip, &limits.xmpp);
        // What RFC 3428 §8 allows everywhere: no network asks for less, and the header fields alone take several
        // hundred.
        const SMALLEST_CAP: usize = 1300;
        if (1..SMALLEST_CAP).contains(&sip.message) {
            let text = format!(
                "[limits.sip] message: {} is too small: the header fields count as well, and hardly a message would pass; \
                 {SMALLEST_CAP} (RFC 3428) is the least, 0 means any length",
                sip.message
            );
            self.error(find(merged, &["limits", "sip", "message"]), text);
        }
        let xmpp_rates = [
            ("stanzas_per_second", xmpp.stanzas_per_second, RATE_MIN_STANZAS),
            ("bytes_per_second", xmpp.bytes_per_second, RATE_MIN_BYTES),
        ];
        for (key, rate, least) in xmpp_rates {
            if (1..least).contains(&rate) {
                let text = format!(
                    "[limits.xmpp] {key}: {rate} is too small: a partner would hardly be heard; {least} is the least, 0 \
                     means any number"
                );
                self.error(find(merged, &["limits", "xmpp", key]), text);
            }
        }
        let bytes = |n: usize| n.to_string();
        let rules = [
            ("sip", "header", bytes(sip.header), "head", bytes(sip.head), sip.header <= sip.head),
            (
                "sip",
                "backoff_initial",
                duration_text(sip.backoff_initial),
                "backoff_max",
                duration_text(sip.backoff_max),
                sip.backoff_initial <= sip.backoff_max,
            ),
            (
                "xmpp",
                "pre_auth_stanza",
                bytes(xmpp.pre_auth_stanza),
                "stanza",
                bytes(xmpp.stanza),
                xmpp.pre_auth_stanza <= xmpp.stanza,
            ),
            // Else a stanza that may be received could never be sent on.
            (
                "xmpp",
                "stanza",
                bytes(xmpp.stanza),
                "lane_bytes",
                bytes(xmpp.lane_bytes),
                xmpp.stanza <= xmpp.lane_bytes,
            ),
            (
                "xmpp",
                "backoff_initial",
                duration_text(xmpp.backoff_initial),
                "backoff_max",
                duration_text(xmpp.backoff_max),
                xmpp.backoff_initial <= xmpp.backoff_max,
            ),
        ];
        for (section, small, small_is, large, large_is, right) in rules {
            if right {
                continue;
            }
            let place = |key| find(merged, &["limits", section, key]);
            let (place_of_small, place_of_large) = (place(small), place(large));
            // One of the two was changed, or both: the complaint goes to one that is really written somewhere.
            let at = place_of_small.or(place_of_large);
            self.error(
                at,
                format!(
                    "[limits.{section}] {small} ({small_is}) must not be larger than {large} ({large_is})"
                ),
            );
        }
    }

    fn files(&mut self, root: &Root, identity: &dyn Fn(&Path, &Path) -> Result<(), String>) {
        if let Some(node) = &root.node.value
            && let Some(folder) = &node.state_dir.value
            && folder.exists()
            && !folder.is_dir()
        {
            let text = format!("[node] state_dir: {} is not a folder", folder.display());
            self.error(node.state_dir.place, text);
        }
        if let Some(sip) = &root.sip.value {
            self.identity("[sip]", &sip.certificate, &sip.key, identity);
            self.file("[sip] roots", &sip.roots, Holds::Roots);
            self.file("[sip] crls", &sip.crls, Holds::Crls);
            for section in sip.identities.value.iter().flat_map(|list| &list.0) {
                let own = &section.value;
                self.identity(&sip_identities::label(own), &own.certificate, &own.key, identity);
            }
        }
        if let Some(xmpp) = &root.xmpp.value {
            self.file("[xmpp] roots", &xmpp.roots, Holds::Roots);
            self.secret("[xmpp] dialback_secret", &xmpp.dialback_secret);
        }
        self.partner_files(root);
        self.control_files(root, identity);
        for (index, certificate) in root.certificates.value.iter().flat_map(|list| &list.0).enumerate() {
            let label = format!("[[certificate]] number {}:", index + 1);
            self.identity(&label, &certificate.value.certificate, &certificate.value.key, identity);
        }
    }

    fn identity(
        &mut self,
        label: &str,
        certificate: &Slot<PathBuf>,
        key: &Slot<PathBuf>,
        identity: &dyn Fn(&Path, &Path) -> Result<(), String>,
    ) {
        let right = self.file(&format!("{label} certificate"), certificate, Holds::Chain)
            & self.file(&format!("{label} key"), key, Holds::Key);
        let (Some(chain), Some(secret)) = (&certificate.value, &key.value) else { return };
        if right && let Err(sentence) = identity(chain, secret) {
            self.error(certificate.place, format!("{label} certificate: {sentence}"));
        }
        if right {
            self.keep_private(&format!("{label} key"), key);
        }
    }

    fn secret(&mut self, label: &str, path: &Slot<PathBuf>) {
        let Some(file) = &path.value else { return };
        if let Err(sentence) = Secret::from_file(file) {
            self.error(path.place, format!("{label}: {sentence}"));
        }
        self.keep_private(label, path);
    }

    /// Warns if everybody on the machine may read the file.
    fn keep_private(&mut self, label: &str, path: &Slot<PathBuf>) {
        if let Some(file) = path.value.as_deref().filter(|file| pem::readable_by_all(file)) {
            let text = format!(
                "{label}: every user of this machine may read {}; remove that permission",
                file.display()
            );
            self.problems.push(self.places.problem(Severity::Warning, path.place, Part::Value, text));
        }
    }

    fn file(&mut self, label: &str, path: &Slot<PathBuf>, holds: Holds) -> bool {
        let Some(file) = &path.value else { return false };
        match pem::check(file, holds) {
            Ok(()) => true,
            Err(sentence) => {
                self.error(path.place, format!("{label}: {sentence}"));
                false
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

fn front_end_label(front_end: &FrontEndSection) -> String {
    let name = front_end.name.value.as_deref().unwrap_or("?");
    format!("[[sip.front_end]] {name}:")
}

fn partner_label(partner: &PartnerSection, index: usize) -> String {
    match &partner.domain.value {
        Some(domain) => format!("[[partner]] {}:", domain.to_unicode()),
        None => format!("[[partner]] number {}:", index + 1),
    }
}

/// Whether two listeners cannot both be bound; the flag says that an IPv6 one takes IPv4 too.
fn overlap(a: (SocketAddr, bool), b: (SocketAddr, bool)) -> bool {
    if a.0.port() != b.0.port() || a.0.port() == 0 {
        return false;
    }
    let covers = |a: (SocketAddr, bool), b: SocketAddr| {
        a.0.ip() == b.ip() || (a.0.ip().is_unspecified() && (a.0.is_ipv4() == b.is_ipv4() || a.1))
    };
    covers(a, b.0) || covers(b, a.0)
}

/// The place of a value in the merged tree.
fn find(tree: &Value, path: &[&str]) -> Option<PlaceId> {
    let mut at = tree;
    for name in path {
        let ValueKind::Table(table) = &at.kind else { return None };
        at = table.get(*name)?;
    }
    PlaceId::of(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_overlap_when_they_cannot_both_be_bound() {
        let cases = [
            ("0.0.0.0:5061", false, "127.0.0.1:5061", false, true),
            ("127.0.0.1:5061", false, "127.0.0.2:5061", false, false),
            ("127.0.0.1:5061", false, "127.0.0.1:5061", false, true),
            ("127.0.0.1:5061", false, "127.0.0.1:5269", false, false),
            ("[::]:5061", true, "0.0.0.0:5061", false, true),
            ("[::]:5061", false, "0.0.0.0:5061", false, false),
            ("[::]:5061", false, "[::1]:5061", false, true),
            ("[::]:5061", true, "127.0.0.1:5061", false, true),
            ("127.0.0.1:0", false, "127.0.0.1:0", false, false),
        ];
        for (a, a_both, b, b_both, expected) in cases {
            let a = (a.parse().unwrap(), a_both);
            let b = (b.parse().unwrap(), b_both);
            assert_eq!(overlap(a, b), expected, "{a:?} {b:?}");
            assert_eq!(overlap(b, a), expected, "{b:?} {a:?}");
        }
    }
}
