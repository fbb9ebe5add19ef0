//! The process is killed, and another one starts: only what the store has committed survives.

use std::sync::Arc;

use nuncio::gateway::{FrontEnd, Gateway, Im, PlaceLimits, Route, Settings, VerifyLimits, session_config};
use nuncio::store::{Keep, Memory};
use nuncio_sip::hop::HopGroup;
use nuncio_translate::judge::Snapshot;
use nuncio_translate::message::Formats;
use nuncio_translate::pair::PresenceConfig;
use nuncio_translate::presence::Format;
use nuncio_translate::stanza_id::Key;
use nuncio_translate::text::Privacy;
use nuncio_xmpp::about::About;
use nuncio_xmpp::stream::Quiet;

use crate::net::{MILLI, SECOND};
use crate::pump::State;
use crate::world::{Event, LOCAL, Runtime, RuntimeHandle, Scale, World};

/// A gateway as the process makes it at its start.
pub(crate) fn start(
    scale: &Scale,
    runtime: &Arc<Runtime>,
    store: &Arc<Memory>,
    seed: u64,
    started_ms: u64,
) -> Arc<Gateway> {
    let mut sessions = session_config("gw.contoso.example");
    if let Some(plan) = scale.sessions {
        (sessions.idle, sessions.answer_within) = (plan.idle, plan.answer_within);
    }
    let settings = Settings {
        node_label: "n1".into(),
        node_key: Key::new([7; 16]),
        sip_name: "gw.contoso.example".into(),
        about: About::default(),
        formats: Formats::default(),
        message_cap: None,
        pair: scale.pair.clone(),
        presence: PresenceConfig::default(),
        events: Format::subscriptions("gw.contoso.example", "gw.contoso.example"),
        sessions,
        identities: Vec::new(),
        places: PlaceLimits::default(),
        restart_rate: 100,
        store_patience: PresenceConfig::default().answer,
        lane: scale.lane.clone(),
        verify: VerifyLimits::default(),
        streams: 1000,
        streams_per_partner: 20,
        quiet: Quiet::default(),
        refused_domains: 10,
        privacy: Privacy::Clear,
        started_ms,
    };
    let hops = HopGroup::new(scale.hop.clone(), ["fe0:5061".to_owned(), "fe1:5061".to_owned()], seed);
    let im = scale.sessions.map_or(Im::Pager, |plan| plan.im);
    let front_end = |name| FrontEnd::new(name, vec![LOCAL.into()]).with_im(im);
    let front_ends = ["pool0", "pool1"].map(front_end).into();
    let routes = vec![Route::new(vec![LOCAL.into()], &[0, 1], hops)];
    let handle = Box::new(RuntimeHandle(Arc::clone(runtime)));
    let keep: Arc<dyn Keep> = Arc::clone(store) as _;
    Arc::new(Gateway::new(settings, Snapshot::new(0, [], []), front_ends, routes, keep, handle))
}

impl World {
    /// `kill -9`.
    pub(crate) fn crash(&mut self) {
        if self.down || self.over {
            return;
        }
        self.note("kill -9", self.process, 0);
        (self.down, self.process) = (true, self.process + 1);
        self.store = Arc::new(self.store.crash());
        for pump in std::mem::take(&mut self.living) {
            let conn = self.pumps[pump].conn;
            self.pumps[pump].state = State::Ended;
            self.pumps[pump].ended_at = Some(self.now);
            self.reset(conn);
        }
        self.lanes.iter_mut().for_each(crate::drivers::LaneDriver::abandon);
        self.new_lanes();
        self.forget_alarms();
        self.presence_crashed();
        let delay = self.rng.pick(&[10 * MILLI, SECOND, 40 * SECOND]);
        self.after(delay, Event::Restart);
    }

    /// The next process.
    pub(crate) fn restart(&mut self) {
        self.note("restart", self.process, 0);
        let (seed, now) = (self.rng.next(), self.moment());
        self.gateway = start(&self.scale, &self.runtime, &self.store, seed, now.unix_ms);
        self.down = false;
        self.publish_policy();
        if let Err(error) = self.gateway.restore(now) {
            self.ledger.violation(format!("the next process cannot read the store: {error}"));
        }
        self.after(0, Event::Run(crate::world::Task::Clock));
    }
}
