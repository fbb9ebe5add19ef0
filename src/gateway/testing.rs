//! A small gateway for tests of what stands around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nuncio_sip::hop::{HopConfig, HopGroup};
use nuncio_translate::Moment;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_translate::message::Formats;
use nuncio_translate::pair::{PairConfig, PairKey, PresenceConfig};
use nuncio_translate::presence::Format;
use nuncio_translate::stanza_id;
use nuncio_translate::text::Privacy;
use nuncio_xmpp::about::About;
use nuncio_xmpp::lane::{Lane, LaneConfig};
use nuncio_xmpp::stream::Quiet;

use super::port::Port;
use super::{
    Environment, FrontEnd, Gateway, LaneKey, LanePort, PlaceLimits, Route, Settings, ToSipEnvelope,
    Verification, VerifyLimits,
};
use crate::store::Memory;

/// Serves no lane, and draws no luck.
struct Nobody;

impl Environment for Nobody {
    fn serve_lane(&self, _key: LaneKey, _lane: Arc<LanePort>) {}

    fn verify(&self, _verification: Verification) {}

    fn random(&self) -> u64 {
        4
    }
}

/// A gateway between one served domain, with one front end of one next hop, and one partner.
pub(crate) fn gateway_of(local: &str, remote: &str) -> Gateway {
    gateway_on(Arc::new(Memory::new()), local, remote)
}

/// The same with other settings.
pub(crate) fn gateway_with(local: &str, remote: &str, change: impl FnOnce(&mut Settings)) -> Gateway {
    furnished(Arc::new(Memory::new()), local, remote, change)
}

/// The same on a store of the caller's.
pub(crate) fn gateway_on(store: Arc<Memory>, local: &str, remote: &str) -> Gateway {
    furnished(store, local, remote, |_| {})
}

fn furnished(store: Arc<Memory>, local: &str, remote: &str, change: impl FnOnce(&mut Settings)) -> Gateway {
    let mut settings = Settings {
        node_label: "n1".into(),
        node_key: stanza_id::Key::new([7; 16]),
        sip_name: "gw".into(),
        about: About::default(),
        formats: Formats::default(),
        message_cap: None,
        pair: PairConfig::default(),
        presence: PresenceConfig::default(),
        events: Format::subscriptions("gw", "gw"),
        places: PlaceLimits::default(),
        restart_rate: 100,
        store_patience: Duration::from_secs(3),
        lane: LaneConfig::default(),
        quiet: Quiet::default(),
        verify: VerifyLimits::default(),
        streams: 1000,
        streams_per_partner: 20,
        refused_domains: 10,
        privacy: Privacy::Clear,
        started_ms: 0,
    };
    change(&mut settings);
    let partner = Partner { domain: remote.into(), partner_type: PartnerType::Federated, enabled: true };
    let policy = Snapshot::new(1, [local.into()], [(partner, Vec::new())]);
    let group = HopGroup::new(HopConfig::default(), ["fe:5061".to_owned()], 4);
    let front_ends = vec![FrontEnd::new("pool", vec![local.into()])];
    let routes = vec![Route::new(vec![local.into()], &[0], group)];
    Gateway::new(settings, policy, front_ends, routes, store, Box::new(Nobody))
}

/// Some moment.
pub(crate) fn moment() -> Moment {
    Moment { instant: Instant::now(), unix_ms: 1_700_000_000_000 }
}

/// A lane that nobody serves yet.
pub(crate) fn lane(local: &str, remote: &str) -> (LaneKey, LanePort) {
    let key = LaneKey { local: local.into(), remote: remote.into() };
    (key, Port::new(Lane::new(LaneConfig::default())))
}

/// Of a message of some pair, which no pair knows of.
pub(crate) fn envelope() -> ToSipEnvelope {
    let pair = PairKey::new("alice@contoso.example", "bob@fabrikam.example");
    ToSipEnvelope { pair, serial: 1, event: None, sent_ms: 0, judged: None }
}
