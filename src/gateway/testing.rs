//! A small gateway for tests of what stands around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nuncio_sip::hop::HopConfig;
use nuncio_translate::Moment;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use nuncio_translate::message::Formats;
use nuncio_translate::pair::{PairConfig, PairKey, PresenceConfig};
use nuncio_translate::presence::Format;
use nuncio_translate::stanza_id;
use nuncio_translate::text::Privacy;
use nuncio_xmpp::about::About;
use nuncio_xmpp::lane::{Failure, FailureKind, Lane, LaneConfig, Offer};
use nuncio_xmpp::sm::Management;
use nuncio_xmpp::stream::Quiet;
use parking_lot::Mutex;

use super::port::Port;
use super::{
    Environment, FrontEnd, Gateway, LaneKey, LanePort, NextHop, PlaceLimits, Route, Settings, ToSipEnvelope,
    ToXmppLane, Verification, VerifyLimits, session_config,
};
use crate::store::Memory;

/// Keys that were given to be verified.
pub(crate) type Keys = Arc<Mutex<Vec<Verification>>>;

/// Serves no lane, and draws no luck.
#[derive(Default)]
struct Nobody {
    keys: Keys,
    /// Draws that differ, so far; else all are the same.
    draws: Option<AtomicU64>,
}

impl Environment for Nobody {
    fn serve_lane(&self, _key: LaneKey, _lane: Arc<LanePort>) {}

    fn verify(&self, verification: Verification) {
        self.keys.lock().push(verification);
    }

    fn random(&self) -> u64 {
        self.draws.as_ref().map_or(4, |draws| draws.fetch_add(1, Ordering::Relaxed))
    }
}

/// A gateway between one served domain, with one front end of one next hop, and one partner.
pub(crate) fn gateway_of(local: &str, remote: &str) -> Gateway {
    gateway_on(Arc::new(Memory::new()), local, remote)
}

/// The same with other settings.
pub(crate) fn gateway_with(local: &str, remote: &str, change: impl FnOnce(&mut Settings)) -> Gateway {
    furnished(Arc::new(Memory::new()), local, remote, change, Nobody::default())
}

/// The same, whose names differ.
pub(crate) fn gateway_with_names(local: &str, remote: &str) -> Gateway {
    let nobody = Nobody { draws: Some(AtomicU64::new(1)), ..Nobody::default() };
    furnished(Arc::new(Memory::new()), local, remote, |_| {}, nobody)
}

/// The same, with the keys that it gives to be verified.
pub(crate) fn gateway_and_keys(local: &str, remote: &str) -> (Gateway, Keys) {
    let (store, nobody) = (Arc::new(Memory::new()), Nobody::default());
    let keys = Arc::clone(&nobody.keys);
    (furnished(store, local, remote, |_| {}, nobody), keys)
}

/// The same on a store of the caller's.
pub(crate) fn gateway_on(store: Arc<Memory>, local: &str, remote: &str) -> Gateway {
    furnished(store, local, remote, |_| {}, Nobody::default())
}

fn furnished(
    store: Arc<Memory>,
    local: &str,
    remote: &str,
    change: impl FnOnce(&mut Settings),
    environment: Nobody,
) -> Gateway {
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
        sessions: session_config("gw"),
        identities: Vec::new(),
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
    let front_ends = vec![FrontEnd::new("pool", vec![local.into()])];
    let routes =
        vec![Route::new(vec![local.into()], vec![NextHop::new(0, "fe", 5061)], HopConfig::default(), 4)];
    Gateway::new(settings, policy, front_ends, routes, store, Box::new(environment))
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

/// The lane of this name, whose stream was lost before the partner acknowledged a reply, and can be resumed.
pub(crate) fn interrupted(gateway: &Gateway, key: &LaneKey, now: Instant) -> Arc<LanePort> {
    let lane = gateway.lane(&key.local, &key.remote);
    let write = |lane: &mut ToXmppLane| {
        lane.take(1 << 16, &mut Vec::new(), &mut gateway.lane_hooks(key, moment()), now);
        lane.written(now);
    };
    lane.step(|lane| {
        lane.push_reply(b"<iq/>".to_vec(), now);
        assert!(lane.opened(Offer { management: true, ..Offer::default() }, now));
        write(lane);
        lane.managed(&Management::Enabled { resumable: Some("s1".into()) }, now).expect("it was asked for");
        write(lane);
        lane.poll_all();
        lane.closed(Some(Failure::new(FailureKind::Unreachable, "it is gone")), 0, now);
    });
    lane
}

/// The lane of this name, made if need be.
pub(crate) fn lane_of(gateway: &Gateway, key: &LaneKey) -> Arc<LanePort> {
    gateway.lane(&key.local, &key.remote)
}

/// Streams by which the partner reaches us between these domains.
pub(crate) fn reaching(gateway: &Gateway, key: &LaneKey) -> usize {
    gateway.known_remote(&key.remote).map_or(0, |remote| remote.reaching(&key.local))
}

/// Of a message of some pair, which no pair knows of.
pub(crate) fn envelope() -> ToSipEnvelope {
    let pair = PairKey::new("alice@contoso.example", "bob@fabrikam.example");
    ToSipEnvelope { pair, serial: 1, event: None, sent_ms: 0, judged: None, brings: None }
}
