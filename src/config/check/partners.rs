//! Partners: whose domains they are, and whether what is set for one goes together.

use std::collections::HashMap;

use nuncio_xmpp::{Methods, Negotiation, NegotiationRules, SaslUse, TlsUse, Verdict};

use super::super::federation::combination;
use super::super::file::{PartnerSection, Root};
use super::super::pem::Holds;
use super::super::problem::Severity;
use super::super::read::Sections;
use super::super::source::{Part, PlaceId, Sources};
use super::super::value::PartnerType;
use super::super::{Domain, Host};
use super::{Checker, Served, elements, partner_label};

/// What holds where nobody sets anything.
const DEFAULT: Negotiation = Negotiation { tls: TlsUse::Required, sasl: SaslUse::Required, dialback: true };

/// What is to be said of a federated partner with dialback over plain TCP, which loads if somebody took the risk.
pub const SPOOFABLE: &str = "by dialback over plain TCP, which is open to this partner, whoever controls the network or DNS \
    can pose as him, and is trusted like our own users then; tls = \"required\", or another type, is surer";

impl Checker<'_> {
    pub(super) fn partners(&mut self, root: &Root, served: &Served) {
        let Some(Sections(partners)) = &root.partners.value else { return };
        let rules = root.xmpp.value.as_ref().and_then(|xmpp| xmpp.negotiation_rules.value);
        let mut known: HashMap<&Domain, (usize, Option<PlaceId>)> = HashMap::new();
        let ours = hosts(root);
        for (index, partner) in partners.iter().enumerate() {
            let partner = &partner.value;
            let label = partner_label(partner, index);
            self.is_not_this_host(partner, &label, &ours);
            self.domains_of(partner, &label, index, served, &mut known);
            if let Some(rules) = partner.negotiation_rules.value.or(rules) {
                self.negotiation(partner, &label, rules);
            }
            self.proof(partner, &label);
            self.streams(partner, &label, root, served);
        }
    }

    /// Whether all served domains can reach all of his at the same time.
    fn streams(&mut self, partner: &PartnerSection, label: &str, root: &Root, served: &Served) {
        let (Some(limits), Some(true)) = (&root.limits.value, partner.enabled.value) else { return };
        let (key, limit) = match partner.connection_limit.value {
            Some(limit) => ("connection_limit", limit.0),
            None => ("limits.xmpp.connections_per_partner", limits.xmpp.connections_per_partner),
        };
        let (ours, his) =
            (served.domains.len(), 1 + partner.additional_domains.value.iter().flatten().count());
        let (lanes, place) = (ours * his, partner.connection_limit.place.or(partner.domain.place));
        // By dialback a stream may take another of our domains, if he lets it.
        let by_dialback = partner.dialback.value == Some(true)
            && partner.sasl.value.is_some_and(|sasl| sasl != SaslUse::Required);
        let otherwise = if by_dialback { ", unless he takes several of ours on one" } else { "" };
        // He needs one to call us on.
        if limit <= lanes {
            self.warning(
                place,
                format!(
                    "{label} each served domain ({ours}) needs a stream to each of his ({his}), and he opens streams too; \
                     {key} allows {limit} together, and messages that find no place come back{otherwise}; {} is enough if \
                     he does as we do",
                    2 * lanes
                ),
            );
        }
    }

    /// The names of the gateway itself: who connects to one of them connects to it.
    fn is_not_this_host(
        &mut self,
        partner: &PartnerSection,
        label: &str,
        ours: &[(&Domain, &str, Option<PlaceId>)],
    ) {
        let primary = partner.domain.value.iter().map(|domain| (domain, partner.domain.place));
        let additional = partner.additional_domains.value.iter().flatten();
        for (domain, place) in primary.chain(additional.map(|domain| (&domain.value, domain.place))) {
            if let Some((_, key, first)) = ours.iter().find(|(host, ..)| *host == domain) {
                let (shown, first) = (domain.to_unicode(), self.places.name(*first));
                self.error(
                    place,
                    format!(
                        "{label} {shown} is the name of this gateway itself ({key}, {first}); a partner's domain is somebody else's"
                    ),
                );
            }
        }
    }

    fn domains_of<'a>(
        &mut self,
        partner: &'a PartnerSection,
        label: &str,
        index: usize,
        served: &Served,
        known: &mut HashMap<&'a Domain, (usize, Option<PlaceId>)>,
    ) {
        let primary = partner.domain.value.iter().map(|domain| ("domain", domain, partner.domain.place));
        let additional = partner.additional_domains.value.iter().flatten();
        let additional = additional.map(|domain| ("additional_domains", &domain.value, domain.place));
        for (key, domain, place) in primary.chain(additional) {
            let shown = domain.to_unicode();
            self.is_somebody_elses(domain, &format!("{label} {key}"), place);
            if let Some(served) = served.domains.get(domain) {
                let served = self.places.name(*served);
                self.error(
                    place,
                    format!(
                        "{label} {key}: {shown} is served by this gateway itself ([sip] domains, {served}); \
                         a partner's domain is somebody else's"
                    ),
                );
            } else if let Some((owner, first)) = known.get(domain) {
                let first = self.places.name(*first);
                let whose = if *owner == index { "this partner" } else { "another partner" };
                self.error(
                    place,
                    format!(
                        "{label} {key}: {shown} belongs to {whose} already, at {first}; list each domain once"
                    ),
                );
            } else {
                known.insert(domain, (index, place));
            }
        }
    }

    /// Whether it is a name that a server elsewhere can have.
    fn is_somebody_elses(&mut self, domain: &Domain, label: &str, place: Option<PlaceId>) {
        let (shown, labels) = (domain.to_unicode(), domain.as_str().split('.').collect::<Vec<_>>());
        match labels.as_slice() {
            // RFC 6761 §6.3.
            [.., "localhost"] => self.error(
                place,
                format!("{label}: {shown} is this machine itself, wherever it is asked for, and nobody's who federates"),
            ),
            [_] => self.warning(
                place,
                format!("{label}: {shown} has no dot in it: it can be found in this network at most; is a part missing?"),
            ),
            _ => {}
        }
    }

    /// Which ways to authenticate are left, and whether they go with his trust level.
    fn negotiation(&mut self, partner: &PartnerSection, label: &str, rules: NegotiationRules) {
        let (Some(tls), Some(sasl), Some(dialback)) =
            (partner.tls.value, partner.sasl.value, partner.dialback.value)
        else {
            return;
        };
        let negotiation = Negotiation { tls, sasl, dialback };
        // Where the administrator wrote something that makes it what it is.
        let written = [partner.sasl.place, partner.tls.place, partner.dialback.place];
        let place = written.into_iter().flatten().next().or(partner.domain.place);
        let shown = combination(negotiation);
        let methods = match negotiation.verdict(rules) {
            Verdict::Clean(methods) => methods,
            Verdict::Warned(methods, reason) => {
                // The defaults are such a combination: they are no decision to warn about, written out or not.
                if negotiation != DEFAULT {
                    let (letters, ways) = (methods, methods.in_words());
                    self.warning(
                        place,
                        format!("{label} {shown}: {reason}; what can result is {letters}: {ways}"),
                    );
                }
                methods
            }
            Verdict::Refused(reason) => {
                let compat = negotiation.verdict(NegotiationRules::Compat);
                let otherwise = if compat.loads() {
                    let ways = compat.methods().in_words();
                    format!("; with negotiation_rules = \"compat\" it would mean: {ways}")
                } else {
                    String::new()
                };
                self.error(place, format!("{label} {shown} cannot be used: {reason}{otherwise}"));
                return;
            }
        };
        self.spoofable(partner, label, methods, place);
    }

    fn spoofable(&mut self, partner: &PartnerSection, label: &str, methods: Methods, place: Option<PlaceId>) {
        let (Some(kind), Some(accepted)) = (partner.partner_type.value, partner.accept_spoofable.value)
        else {
            return;
        };
        let needed = kind == PartnerType::Federated && methods.dialback_tcp;
        if needed && !accepted {
            self.error(
                place,
                format!(
                    "{label} type: \"{kind}\" means trusted like our own users, and by dialback over plain TCP, which tls, \
                     sasl and dialback leave open, whoever controls the network or DNS can pose as this partner; set \
                     tls = \"required\", or another type, or accept_spoofable = true if that risk is to be taken"
                ),
            );
        } else if needed {
            self.warning(
                partner.accept_spoofable.place.or(place),
                format!("{label} accept_spoofable: {SPOOFABLE}"),
            );
        } else if accepted && partner.accept_spoofable.place.is_some() {
            let why = if methods.dialback_tcp {
                format!("a \"{kind}\" partner is not trusted that much anyway")
            } else {
                "dialback over plain TCP is not open to this partner".to_owned()
            };
            self.warning(
                partner.accept_spoofable.place,
                format!("{label} accept_spoofable: has nothing to accept, {why}; remove it"),
            );
        }
    }

    /// What his certificates are held against.
    fn proof(&mut self, partner: &PartnerSection, label: &str) {
        self.no_repeats(&format!("{label} pins"), &partner.pins);
        let pins = elements(&partner.pins).count();
        if partner.pins_replace_roots.value == Some(true) && partner.pins.place.is_none() {
            self.error(
                partner.pins_replace_roots.place,
                format!("{label} pins_replace_roots: there are no pins, so that nothing would be believed; list pins"),
            );
        }
        if pins == 1 && partner.pins.sound {
            self.warning(
                partner.pins.place,
                format!(
                    "{label} pins: there is only one, and the federation ends when the partner changes his key; add the \
                     key that he keeps in reserve"
                ),
            );
        }
        let only_tls =
            [("roots", partner.roots.place), ("pins", partner.pins.place), ("crls", partner.crls.place)];
        if partner.tls.value == Some(TlsUse::NotSupported) {
            for (key, place) in only_tls.into_iter().filter(|(_, place)| place.is_some()) {
                self.warning(
                    place,
                    format!("{label} {key}: says nothing here, without TLS there are no certificates"),
                );
            }
        }
    }

    /// Whether the files a partner names hold what they should.
    pub(super) fn partner_files(&mut self, root: &Root, sources: &Sources) {
        for (index, partner) in root.partners.value.iter().flat_map(|list| &list.0).enumerate() {
            let partner = &partner.value;
            // What is declared is at hand for whoever wrote it, and is never held.
            if let Some(domain) = &partner.domain.value
                && partner.domain.place.is_some_and(|place| self.places.is_stored(place))
                && sources.holds(domain.as_str())
            {
                continue;
            }
            let label = partner_label(partner, index);
            self.file(&format!("{label} roots"), &partner.roots, Holds::Roots);
            self.file(&format!("{label} crls"), &partner.crls, Holds::Crls);
        }
    }

    pub(super) fn warning(&mut self, place: Option<PlaceId>, text: String) {
        self.problems.push(self.places.problem(Severity::Warning, place, Part::Value, text));
    }
}

/// What the gateway is called by front ends and by partners, with the keys that say so.
fn hosts(root: &Root) -> Vec<(&Domain, &'static str, Option<PlaceId>)> {
    let sip = root.sip.value.iter();
    let named = sip.clone().filter_map(|sip| Some((sip.name.value.as_ref()?, "sip.name", sip.name.place)));
    let identities = sip.flat_map(|sip| sip.identities.value.iter().flat_map(|Sections(list)| list));
    let identities = identities.filter_map(|identity| {
        let name = &identity.value.name;
        Some((name.value.as_ref()?, "[[sip.identity]] name", name.place))
    });
    let sip = named.chain(identities).filter_map(|(name, key, place)| match &name.host {
        Host::Name(host) => Some((host, key, place)),
        Host::Address(_) => None,
    });
    let xmpp = root.xmpp.value.iter().flat_map(|xmpp| elements(&xmpp.hosts));
    sip.chain(xmpp.map(|host| (&host.value, "xmpp.hosts", host.place))).collect()
}
