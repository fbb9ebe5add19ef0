//! What the house is furnished with, and what the gateway is told of it.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use nuncio::gateway::{Im, PlaceLimits, Settings, SipIdentity, VerifyLimits, session_config};
use nuncio::store::Memory;
use nuncio_sip::Limits;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_translate::message::Formats;
use nuncio_translate::pair::{PairConfig, PresenceConfig};
use nuncio_translate::presence::Format;
use nuncio_translate::stanza_id;
use nuncio_translate::text::Privacy;
use nuncio_translate::trust::TrustModel;
use nuncio_xmpp::about::About;
use nuncio_xmpp::lane::LaneConfig;
use nuncio_xmpp::stream::Quiet;

use crate::house::NAME;

/// What the house is furnished with.
pub(crate) struct Plan {
    pub(crate) served: &'static [&'static str],
    pub(crate) partners: &'static [(&'static str, PartnerType, bool)],
    /// The domains that the second front end speaks for, if not all.
    pub(crate) second_serves: Option<&'static [&'static str]>,
    /// What the front ends take us for.
    pub(crate) trust: TrustModel,
    /// What we are to them for partners of some types, with our names.
    pub(crate) identities: &'static [(PartnerType, &'static str)],
    /// Whether the identities that they assert count.
    pub(crate) asserted_identity: bool,
    pub(crate) label: &'static str,
    pub(crate) key: [u8; 16],
    pub(crate) unix_ms: u64,
    pub(crate) pair_queue: usize,
    /// What the domains say of themselves.
    pub(crate) about: About,
    pub(crate) formats: Formats,
    pub(crate) message_cap: Option<usize>,
    pub(crate) presence: PresenceConfig,
    /// What the process before this one left.
    pub(crate) store: Arc<Memory>,
    pub(crate) lane: LaneConfig,
    /// With all partners.
    pub(crate) streams: usize,
    pub(crate) quiet: Quiet,
    pub(crate) limits: Limits,
    /// Each with the number of its front end.
    pub(crate) next_hops: &'static [(usize, &'static str)],
    /// Requests of one connection that may wait for their answer.
    pub(crate) pending: usize,
    /// Requests that are kept for the contacts of one domain.
    pub(crate) kept_per_domain: usize,
    /// How messages go to the users of both front ends.
    pub(crate) im: Im,
    /// How long the disk may say nothing.
    pub(crate) store_patience: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            served: &["contoso.com"],
            partners: &[
                ("fabrikam.com", PartnerType::Federated, true),
                ("public.example", PartnerType::PublicUnverified, true),
                ("verified.example", PartnerType::PublicVerified, true),
                ("off.example", PartnerType::Federated, false),
                ("bücher.example", PartnerType::Federated, true),
            ],
            second_serves: None,
            trust: TrustModel::Plain,
            identities: &[],
            asserted_identity: true,
            label: "n1",
            key: *b"sixteen byte key",
            unix_ms: 1_795_184_285_000,
            pair_queue: 256,
            about: About { name: "Nuncio".into(), ..About::default() },
            formats: Formats::default(),
            message_cap: None,
            presence: PresenceConfig::default(),
            store: Arc::default(),
            lane: LaneConfig::default(),
            streams: 1000,
            quiet: Quiet::default(),
            limits: Limits::default(),
            next_hops: &[(0, "fe.contoso.com:5061")],
            pending: 16 * 1024,
            kept_per_domain: PlaceLimits::default().kept_per_domain,
            im: Im::Pager,
            store_patience: Duration::from_secs(3),
        }
    }
}

impl Plan {
    /// Who may talk to whom.
    pub(crate) fn policy(&self) -> Snapshot {
        let partners = self.partners.iter().map(|&(domain, partner_type, enabled)| {
            (Partner { domain: domain.into(), partner_type, enabled }, Vec::new())
        });
        Snapshot::new(1, self.served.iter().map(|&domain| domain.into()), partners)
    }

    /// The front ends that are an edge.
    fn edges(&self) -> Vec<CompactString> {
        let all: &[&str] = if self.trust == TrustModel::Edge { &["pool1", "pool2"] } else { &[] };
        all.iter().map(|&name| name.into()).collect()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            about: self.about.clone(),
            formats: self.formats,
            message_cap: self.message_cap,
            verify: VerifyLimits::default(),
            streams: self.streams,
            streams_per_partner: 20,
            quiet: self.quiet.clone(),
            node_label: self.label.into(),
            node_key: stanza_id::Key::new(self.key),
            sip_name: NAME.into(),
            pair: PairConfig { queue: self.pair_queue, ..PairConfig::default() },
            presence: PresenceConfig { edges: self.edges(), ..self.presence.clone() },
            events: Format::subscriptions(NAME, NAME),
            sessions: session_config(NAME),
            identities: self.identities.iter().map(|&(partner, name)| identity(partner, name)).collect(),
            places: PlaceLimits { kept_per_domain: self.kept_per_domain, ..PlaceLimits::default() },
            restart_rate: 100,
            store_patience: self.store_patience,
            lane: self.lane.clone(),
            refused_domains: 1000,
            privacy: Privacy::Clear,
            started_ms: self.unix_ms,
        }
    }
}

fn identity(partner: PartnerType, name: &str) -> SipIdentity {
    SipIdentity {
        types: vec![partner],
        name: name.into(),
        events: Format::subscriptions(name, name),
        sessions: session_config(name),
    }
}
