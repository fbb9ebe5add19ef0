//! How streams with each partner are made: what may be negotiated, where he is found, what his certificates are held
//! against. Read when a stream is opened or accepted, never for a message.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_xmpp::rate::Rate;
use nuncio_xmpp::stream::{Quiet, Terms};
use nuncio_xmpp::{Methods, Negotiation, NegotiationRules};

use super::Gateway;
use crate::config::HostPort;
use crate::tls::Proof;

/// What holds for the streams with one partner.
#[derive(Debug)]
pub struct PartnerStreams {
    /// His primary domain, which names him.
    pub partner: CompactString,
    /// Whether he may come in at all. Who is refused, the policy says.
    pub enabled: bool,
    /// What may be negotiated, by which rules.
    pub negotiation: Negotiation,
    pub rules: NegotiationRules,
    /// Whether silence on his streams is looked into.
    pub keep_alive: bool,
    /// Whether stanzas may go both ways on one stream with him (XEP-0288).
    pub both_ways: bool,
    /// Whether stream management is spoken with him (XEP-0198).
    pub management: bool,
    /// Most streams with all his domains at a time, whoever opens them.
    pub connection_limit: usize,
    /// Octets of the largest stanza that is taken of him; absent: as of all.
    pub max_stanza: Option<usize>,
    /// Deepest nesting in them.
    pub max_depth: Option<usize>,
    /// Most attributes of one element in them.
    pub max_attributes: Option<usize>,
    /// How much he may send, on all streams of his domains together.
    pub rates: StreamRates,
    /// Where to connect instead of asking DNS.
    pub proxy: Option<HostPort>,
    /// What his certificates are held against.
    pub proof: Arc<Proof>,
}

impl PartnerStreams {
    /// What holds for a partner of whom nothing is said.
    pub fn new(partner: &str, connection_limit: usize) -> Self {
        Self {
            partner: partner.into(),
            enabled: true,
            negotiation: Negotiation::default(),
            rules: NegotiationRules::default(),
            keep_alive: true,
            both_ways: true,
            management: true,
            connection_limit,
            max_stanza: None,
            max_depth: None,
            max_attributes: None,
            rates: StreamRates::default(),
            proxy: None,
            proof: Arc::default(),
        }
    }

    /// Whether streams are made under the same terms: what may be negotiated with him, and where he is found. What his
    /// certificates are held against is none of them: each certificate is judged again when that changes.
    fn has_terms_of(&self, other: &Self) -> bool {
        self.negotiation == other.negotiation && self.rules == other.rules && self.proxy == other.proxy
    }

    /// The ways to authenticate his streams.
    pub fn methods(&self) -> Methods {
        self.negotiation.verdict(self.rules).methods()
    }
}

/// How much a partner may send in a time. The default sets no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamRates {
    pub stanzas: Rate,
    pub bytes: Rate,
}

impl Default for StreamRates {
    fn default() -> Self {
        Self { stanzas: Rate::UNLIMITED, bytes: Rate::UNLIMITED }
    }
}

/// The partners by each of their domains, normalised.
#[derive(Debug, Default)]
pub struct Federation {
    by_domain: HashMap<CompactString, Entry>,
    /// Grows with each change.
    number: u64,
    /// Whether any of them may come in by dialback over plain TCP.
    in_clear: bool,
}

#[derive(Debug)]
struct Entry {
    streams: Arc<PartnerStreams>,
    /// The number of the change that made its terms what they are.
    since: u64,
}

/// The terms of all partners at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TermsOfNow(u64);

impl Federation {
    /// Grows with each change.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How much the partner of this domain may send.
    pub(super) fn rates_of(&self, domain: &str) -> Option<StreamRates> {
        self.by_domain.get(domain).map(|entry| entry.streams.rates)
    }

    /// Each partner with all his domains.
    pub fn new(partners: impl IntoIterator<Item = (PartnerStreams, Vec<CompactString>)>) -> Self {
        let mut by_domain = HashMap::new();
        let mut in_clear = false;
        for (partner, domains) in partners {
            in_clear |= partner.enabled && partner.methods().dialback_tcp;
            let partner = Arc::new(partner);
            let entry = |domain| (domain, Entry { streams: Arc::clone(&partner), since: 0 });
            by_domain.extend(domains.into_iter().map(entry));
        }
        Self { by_domain, number: 0, in_clear }
    }

    /// The next after `before`: terms that are the same are as old as they were.
    fn after(mut self, before: &Self) -> Self {
        self.number = before.number + 1;
        for (domain, entry) in &mut self.by_domain {
            let same = before.by_domain.get(domain).filter(|old| old.streams.has_terms_of(&entry.streams));
            entry.since = same.map_or(self.number, |old| old.since);
        }
        self
    }
}

impl Gateway {
    /// What holds for streams with this domain. Whether it is a partner at all, the policy says.
    pub fn partner_streams(&self, domain: &str) -> Arc<PartnerStreams> {
        let known = self.federation.load().by_domain.get(domain).map(|entry| Arc::clone(&entry.streams));
        known.unwrap_or_else(|| Arc::new(PartnerStreams::new(domain, self.settings.streams_per_partner)))
    }

    /// To be asked before the terms themselves are: what is negotiated under them may be old when it is done.
    pub fn terms_of_now(&self) -> TermsOfNow {
        TermsOfNow(self.federation.load().number)
    }

    /// Whether the terms for streams with this domain are others than they were then.
    pub fn terms_changed(&self, domain: &str, since: TermsOfNow) -> bool {
        self.federation.load().by_domain.get(domain).is_some_and(|entry| entry.since > since.0)
    }

    /// What is allowed on one stream with this domain.
    pub fn terms(&self, domain: &str) -> Terms {
        let streams = self.partner_streams(domain);
        let external_proved = self.proved.has(domain);
        Terms {
            external_proved,
            max_stanza: streams.max_stanza,
            max_depth: streams.max_depth,
            max_attributes: streams.max_attributes,
            both_ways: streams.both_ways,
            management: streams.management,
            ..Terms::new(streams.negotiation, streams.rules)
        }
    }

    /// Whether there is any partner who may come in by dialback over plain TCP.
    pub fn lets_anybody_in_in_clear(&self) -> bool {
        self.federation.load().in_clear
    }

    /// What becomes of quiet streams with this domain.
    pub fn quiet(&self, domain: &str) -> Quiet {
        let mut quiet = self.settings.quiet.clone();
        quiet.keep_alive = quiet.keep_alive.filter(|_| self.partner_streams(domain).keep_alive);
        quiet
    }

    /// Puts other settings of partners in force, for streams from now on. Domains whose entry takes no certificates any more
    /// have nothing to prove (SEC-11); the entry may have changed since the last start, too.
    pub fn set_federation(&self, federation: Federation, now: Moment) {
        // One change at a time: those who make them see to that.
        let next = federation.after(&self.federation.load());
        self.federation.store(Arc::new(next));
        self.release_proved(now);
    }

    fn release_proved(&self, now: Moment) {
        let federation = self.federation.load();
        for domain in self.proved.list() {
            let partner = federation.by_domain.get(&domain);
            if partner.is_some_and(|entry| !entry.streams.methods().external) {
                self.set_proved(&domain, false, "nuncio", "his entry takes no certificates", now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{gateway_of, moment};
    use super::*;

    fn two_domains(limit: usize) -> Gateway {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let partner = PartnerStreams { keep_alive: false, ..PartnerStreams::new("fabrikam.example", limit) };
        let domains = vec!["fabrikam.example".into(), "it.fabrikam.example".into()];
        gateway.set_federation(Federation::new([(partner, domains)]), moment());
        gateway
    }

    #[test]
    fn each_domain_of_a_partner_has_his_settings_and_others_the_defaults() {
        let gateway = two_domains(3);
        for domain in ["fabrikam.example", "it.fabrikam.example"] {
            assert!(!gateway.partner_streams(domain).keep_alive, "{domain}");
            assert_eq!(gateway.quiet(domain).keep_alive, None);
        }
        let other = gateway.partner_streams("wingtip.example");
        assert!(other.keep_alive && other.negotiation == Negotiation::default() && other.proof.is_plain());
        assert!(gateway.quiet("wingtip.example").keep_alive.is_some());
        assert_eq!(other.methods().to_string(), "S");
    }
    #[test]
    fn s2s_17_plain_tcp_is_offered_to_nobody_unless_a_partner_who_is_let_in_may_use_it() {
        use nuncio_xmpp::{SaslUse, TlsUse};
        let in_clear = |tls, enabled| {
            let gateway = gateway_of("contoso.example", "fabrikam.example");
            let negotiation = Negotiation { tls, sasl: SaslUse::NotSupported, dialback: true };
            let partner =
                PartnerStreams { negotiation, enabled, ..PartnerStreams::new("fabrikam.example", 20) };
            let usual = (PartnerStreams::new("wingtip.example", 20), vec!["wingtip.example".into()]);
            let federation = Federation::new([(partner, vec!["fabrikam.example".into()]), usual]);
            gateway.set_federation(federation, moment());
            gateway.lets_anybody_in_in_clear()
        };
        assert!(in_clear(TlsUse::NotSupported, true) && in_clear(TlsUse::Optional, true));
        assert!(!in_clear(TlsUse::Required, true) && !in_clear(TlsUse::NotSupported, false));
    }
}
