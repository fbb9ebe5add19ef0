//! How streams with each partner are made: what may be negotiated, where he is found, what his certificates are held
//! against. Read when a stream is opened or accepted, never for a message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use compact_str::CompactString;
use nuncio_translate::Moment;
use nuncio_xmpp::rate::{Meter, Rate};
use nuncio_xmpp::stream::{Quiet, Terms};
use nuncio_xmpp::{Methods, Negotiation, NegotiationRules};

use super::Gateway;
use super::pairs::Remote;
use crate::config::HostPort;
use crate::tls::Proof;

/// What holds for the streams with one partner.
#[derive(Debug)]
pub struct PartnerStreams {
    /// His primary domain, which names him.
    pub partner: CompactString,
    /// What may be negotiated, by which rules.
    pub negotiation: Negotiation,
    pub rules: NegotiationRules,
    /// Whether silence on his streams is looked into.
    pub keep_alive: bool,
    /// Most inbound streams of all his domains at a time.
    pub connection_limit: usize,
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
            negotiation: Negotiation::default(),
            rules: NegotiationRules::default(),
            keep_alive: true,
            connection_limit,
            rates: StreamRates::default(),
            proxy: None,
            proof: Arc::default(),
        }
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

/// What a partner has sent of that, on all his streams.
#[derive(Debug, Default)]
pub(super) struct Meters {
    stanzas: Meter,
    bytes: Meter,
}

/// The partners by each of their domains, normalised.
#[derive(Debug, Default)]
pub struct Federation {
    by_domain: HashMap<CompactString, Arc<PartnerStreams>>,
}

impl Federation {
    /// Each partner with all his domains.
    pub fn new(partners: impl IntoIterator<Item = (PartnerStreams, Vec<CompactString>)>) -> Self {
        let mut by_domain = HashMap::new();
        for (partner, domains) in partners {
            let partner = Arc::new(partner);
            by_domain.extend(domains.into_iter().map(|domain| (domain, Arc::clone(&partner))));
        }
        Self { by_domain }
    }
}

/// The place of an inbound stream among those of its partner; given back when it is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    counter: Arc<Remote>,
    rates: StreamRates,
}

impl StreamPlace {
    /// Counts what a read brought. Until when the stream is not to be read any more, if the partner has sent more than he
    /// may: what has come is worked on, and the rest waits on his side (SEC-40).
    pub fn charge(&self, bytes: u64, stanzas: u64, now: Instant) -> Option<Instant> {
        if self.rates == StreamRates::default() {
            return None;
        }
        let mut meters = self.counter.meters().lock();
        let until = [
            meters.bytes.take(self.rates.bytes, bytes, now),
            meters.stanzas.take(self.rates.stanzas, stanzas, now),
        ];
        until.into_iter().flatten().max()
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.counter.leave_stream();
    }
}

impl Gateway {
    /// What holds for streams with this domain. Whether it is a partner at all, the policy says.
    pub fn partner_streams(&self, domain: &str) -> Arc<PartnerStreams> {
        let known = self.federation.load().by_domain.get(domain).cloned();
        known.unwrap_or_else(|| Arc::new(PartnerStreams::new(domain, self.settings.streams_per_domain)))
    }

    /// What is allowed on one stream with this domain.
    pub fn terms(&self, domain: &str) -> Terms {
        let streams = self.partner_streams(domain);
        let external_proved = self.proved.has(domain);
        Terms { external_proved, ..Terms::new(streams.negotiation, streams.rules) }
    }

    /// What becomes of quiet streams with this domain.
    pub fn quiet(&self, domain: &str) -> Quiet {
        let mut quiet = self.settings.quiet.clone();
        quiet.keep_alive = quiet.keep_alive.filter(|_| self.partner_streams(domain).keep_alive);
        quiet
    }

    /// Puts other settings of partners in force, for streams from now on.
    pub fn set_federation(&self, federation: Federation) {
        self.federation.store(Arc::new(federation));
    }

    /// Domains whose entry takes no certificates any more have nothing to prove (SEC-11). To be called when entries have
    /// changed, and at the start: they may have changed since the last one.
    pub fn release_proved(&self, now: Moment) {
        let federation = self.federation.load();
        for domain in self.proved.list() {
            let partner = federation.by_domain.get(&domain);
            if partner.is_some_and(|partner| !partner.methods().external) {
                self.set_proved(&domain, false, "nuncio", "his entry takes no certificates", now);
            }
        }
    }

    /// Whether there is room for one more inbound stream of this domain's partner.
    pub fn has_stream_room(&self, remote: &str) -> bool {
        let streams = self.partner_streams(remote);
        // Anybody's name may be asked about here: nothing is kept under it.
        let open = self.known_remote(&streams.partner).map_or(0, |counter| counter.streams());
        open < streams.connection_limit
    }

    /// Counts an inbound stream of a remote domain, for as long as the place is kept. `None`: it is one too many.
    pub fn stream_established(&self, remote: &str) -> Option<StreamPlace> {
        let streams = self.partner_streams(remote);
        let counter = self.remote(&streams.partner);
        let entered = counter.enter_stream(streams.connection_limit);
        entered.then(|| StreamPlace { counter, rates: streams.rates })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::gateway_of;
    use super::*;

    fn two_domains(limit: usize) -> Gateway {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let partner = PartnerStreams { keep_alive: false, ..PartnerStreams::new("fabrikam.example", limit) };
        let domains = vec!["fabrikam.example".into(), "it.fabrikam.example".into()];
        gateway.set_federation(Federation::new([(partner, domains)]));
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
    fn the_streams_of_all_his_domains_count_together_up_to_his_limit() {
        let gateway = two_domains(2);
        let first = gateway.stream_established("fabrikam.example");
        let second = gateway.stream_established("it.fabrikam.example");
        assert!(first.is_some() && second.is_some());
        assert!(gateway.stream_established("fabrikam.example").is_none(), "one past the limit");
        assert_eq!(gateway.holdings().streams, 2);
        drop(first);
        assert!(gateway.stream_established("it.fabrikam.example").is_some());
    }

    #[test]
    fn sec_03_to_ask_about_a_stranger_keeps_nothing_of_him() {
        let gateway = two_domains(1);
        assert!(gateway.has_stream_room("stranger.example"));
        assert!(gateway.known_remote("stranger.example").is_none());
        let _place = gateway.stream_established("it.fabrikam.example");
        assert!(!gateway.has_stream_room("fabrikam.example"), "his places count by his primary domain");
    }

    #[test]
    fn sec_40_what_all_his_streams_bring_counts_together_and_nobody_elses() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let rates = StreamRates { stanzas: Rate::new(10, 1), bytes: Rate::new(1000, 1) };
        let of = |domain: &str| PartnerStreams { rates, ..PartnerStreams::new(domain, 20) };
        let federation = Federation::new([
            (of("fabrikam.example"), vec!["fabrikam.example".into(), "it.fabrikam.example".into()]),
            (of("wingtip.example"), vec!["wingtip.example".into()]),
        ]);
        gateway.set_federation(federation);
        let [one, two, other] = ["fabrikam.example", "it.fabrikam.example", "wingtip.example"]
            .map(|domain| gateway.stream_established(domain).unwrap());
        let begin = Instant::now();
        let after = |millis| Some(begin + std::time::Duration::from_millis(millis));
        assert_eq!(one.charge(10, 10, begin), None, "at the limit");
        assert_eq!(two.charge(10, 1, begin), after(100), "one past it, on another stream");
        assert_eq!(one.charge(1980, 0, begin), after(1000), "the longer of both counts");
        assert_eq!(other.charge(1000, 10, begin), None);
    }

    #[test]
    fn without_rates_nobody_waits() {
        let gateway = gateway_of("contoso.example", "fabrikam.example");
        let place = gateway.stream_established("fabrikam.example").unwrap();
        assert_eq!(place.charge(u64::MAX, u64::MAX, Instant::now()), None);
    }
}
