//! From the configuration to what the running program needs.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use anyhow::anyhow;
use compact_str::CompactString;
use nuncio_sip::event::EventConfig;
use nuncio_sip::hop::HopConfig;
use nuncio_sip::session::SessionConfig;
use nuncio_translate::message::Formats;
use nuncio_translate::pair::{PairConfig, PresenceConfig};
use nuncio_translate::presence::Format;
use nuncio_translate::text::Privacy;
use nuncio_translate::trust::TrustModel;
use nuncio_xmpp::about::{About, ContactKind};
use nuncio_xmpp::dialback::DialbackSecret;
use nuncio_xmpp::lane::LaneConfig;
use nuncio_xmpp::stream::{InboundConfig, KeepAlive, Quiet, StreamLimits, Timeouts};
use nuncio_xmpp::{Domain, ReadLimits};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::node_key;
use crate::config::{self, Config, LogAddresses, Lookup, SentBy};
use crate::context::{Context, FrontEndNames, Leave, RouteHops, SipName, SipSide, Source, XmppSide};
use crate::dns::{Dns, DnsConfig, Family, Reach};
use crate::gateway::{
    Environment, FrontEnd, Gateway, Im, LaneKey, LanePort, PlaceLimits, RequestLimits, Route, Settings,
    SipIdentity, Verification, VerifyLimits, session_config,
};
use crate::net::blocked::BlockedNetworks;
use crate::net::now;
use crate::policy;
use crate::policy::made::{self, domain, names, partner_type};
use crate::renew::InUse;
use crate::sip_frontend::listing::given;
use crate::sip_frontend::next_hop::JUDGED_EVERY;
use crate::store::{Committed, Keep, Outcome, Store, StoreOptions, Ticket};
use crate::tls::{ClientTls, ServerTls};
use crate::xmpp_frontend;

/// Everything the tasks share, ready to run.
///
/// # Errors
/// A file that cannot be used, with what to do about it.
pub(super) fn context(config: &Config, in_use: &InUse, store: Arc<Store>) -> anyhow::Result<Arc<Context>> {
    let environment = Arc::new(Runtime { context: OnceLock::new(), handle: Handle::current() });
    let gateway = Gateway::new(
        settings(config)?,
        made::snapshot(config)?,
        front_ends(config)?,
        routes(config)?,
        Arc::clone(&store) as Arc<dyn Keep>,
        Box::new(Arc::clone(&environment)),
    );
    gateway.set_federation(made::federation(config, &in_use.proofs)?, now());
    let blocked = gateway.blocked_networks().clone();
    blocked.replace(made::networks(config));
    let secret = dialback_secret(config, &*store)?;
    let dns =
        DnsConfig { servers: config.dns.servers.clone().unwrap_or_default(), timeout: config.dns.timeout };
    let context = Arc::new(Context {
        gateway: Arc::new(gateway),
        store,
        dns: Dns::new(&dns)?,
        sip: sip_side(config, in_use, &blocked)?,
        xmpp: xmpp_side(config, in_use, secret, &blocked)?,
        stop: CancellationToken::new(),
        hurry: CancellationToken::new(),
        release: CancellationToken::new(),
        lanes: TaskTracker::new(),
        tasks: TaskTracker::new(),
    });
    let _ = environment.context.set(Arc::downgrade(&context));
    Ok(context)
}

/// The store, opened and checked. It writes once it is started with whoever waits for tickets.
pub(super) fn store(config: &Config) -> anyhow::Result<Store> {
    let limits = &config.limits.store;
    let options = StoreOptions {
        audit_age: limits.audit_age,
        audit_entries: limits.audit_entries,
        ..StoreOptions::default()
    };
    let opened = Store::open(&config.node.state_dir, options)?;
    opened.log();
    Ok(opened.store)
}

/// Brings word from the store to the pairs that wait for it.
pub(super) struct Waiters {
    pub(super) gateway: Weak<Gateway>,
    /// For everybody else.
    pub(super) done: watch::Sender<policy::Done>,
}

impl Committed for Waiters {
    fn committed(&self, up_to: Ticket, outcome: Outcome) {
        self.done.send_replace((up_to, outcome));
        if let Some(gateway) = self.gateway.upgrade() {
            gateway.committed(up_to, outcome, now());
        }
    }
}

/// Subscriptions on the SIP side, in both roles.
fn events(config: &Config, name: &SentBy) -> EventConfig {
    let (name, limits) = (name.to_string(), &config.limits.presence);
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    EventConfig {
        expires: seconds(limits.subscribe),
        min_expires: seconds(limits.shortest),
        max_expires: seconds(limits.longest),
        notify_interval: limits.notify_interval,
        ..Format::subscriptions(name.clone(), name)
    }
}

/// What we are to front ends for partners of some types.
fn sip_identity(config: &Config, identity: &config::SipIdentity) -> SipIdentity {
    SipIdentity {
        types: identity.types.iter().copied().map(partner_type).collect(),
        name: identity.name.to_string().into(),
        events: events(config, &identity.name),
        sessions: sessions(config, &identity.name),
    }
}

fn im(im: config::Im) -> Im {
    match im {
        config::Im::Automatic => Im::Automatic,
        config::Im::Session => Im::Session,
        config::Im::Pager => Im::Pager,
    }
}

/// Sessions on the SIP side, in both roles.
fn sessions(config: &Config, name: &SentBy) -> SessionConfig {
    let limits = &config.limits.sip;
    SessionConfig {
        answer_within: limits.answer_within,
        idle: limits.session_idle,
        ..session_config(&name.to_string())
    }
}

/// What our domains say of themselves.
fn about(xmpp: &config::Xmpp) -> About {
    let uris = |kind| match kind {
        ContactKind::Abuse => &xmpp.contacts.abuse,
        ContactKind::Admin => &xmpp.contacts.admin,
        ContactKind::Feedback => &xmpp.contacts.feedback,
        ContactKind::Sales => &xmpp.contacts.sales,
        ContactKind::Security => &xmpp.contacts.security,
        ContactKind::Status => &xmpp.contacts.status,
        ContactKind::Support => &xmpp.contacts.support,
    };
    let contact = |kind| (kind, uris(kind).iter().map(|uri| uri.as_str().into()).collect());
    About {
        name: "Nuncio".into(),
        version: xmpp.tell_version.then(|| env!("CARGO_PKG_VERSION").into()),
        contacts: ContactKind::ALL.map(contact).into(),
    }
}

fn presence(config: &Config) -> PresenceConfig {
    let limits = &config.limits.presence;
    PresenceConfig {
        interest: limits.interest,
        kept: limits.kept,
        endpoints: limits.endpoints,
        give_up: limits.give_up,
        grace: limits.grace,
        silence: limits.silence,
        outage: limits.outage,
        idle: config.policy.idle_times,
        mixed_scripts: config.policy.mixed_scripts,
        edges: edges(config),
        ..PresenceConfig::default()
    }
}

/// The front ends that are an edge.
fn edges(config: &Config) -> Vec<CompactString> {
    let edges = config.sip.front_ends.iter().filter(|front_end| front_end.trust == config::TrustModel::Edge);
    edges.map(|front_end| front_end.name.as_str().into()).collect()
}

/// The served domains, for the log.
pub(super) fn domains(config: &Config) -> String {
    config.sip.domains.iter().map(config::Domain::as_str).collect::<Vec<_>>().join(", ")
}

/// The tokio runtime as the gateway sees it.
struct Runtime {
    context: OnceLock<Weak<Context>>,
    /// The store reports from a thread of its own, which knows no runtime.
    handle: Handle,
}

impl Environment for Arc<Runtime> {
    fn serve_lane(&self, key: LaneKey, lane: Arc<LanePort>) {
        if let Some(context) = self.context.get().and_then(Weak::upgrade) {
            let lanes = context.lanes.clone();
            lanes.spawn_on(xmpp_frontend::connect::serve(context, key, lane), &self.handle);
        }
    }

    fn verify(&self, verification: Verification) {
        if let Some(context) = self.context.get().and_then(Weak::upgrade) {
            let tasks = context.tasks.clone();
            tasks.spawn_on(xmpp_frontend::verify::serve(context, verification), &self.handle);
        }
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    let limits = &config.limits;
    let key = node_key::load(&config.node.state_dir)?;
    Ok(Settings {
        node_label: config.node.label.as_str().into(),
        node_key: key.of_ids(),
        sip_name: config.sip.name.to_string().into(),
        about: about(&config.xmpp),
        formats: Formats { xhtml_im: config.xmpp.xhtml_im, refuse_encrypted: config.xmpp.refuse_encrypted },
        message_cap: (limits.sip.message > 0).then_some(limits.sip.message),
        pair: PairConfig { queue: limits.pair.queue, hold: limits.sip.hold },
        presence: PresenceConfig { veil: key.of_names(), ..presence(config) },
        events: events(config, &config.sip.name),
        sessions: sessions(config, &config.sip.name),
        identities: config.sip.identities.iter().map(|identity| sip_identity(config, identity)).collect(),
        places: PlaceLimits {
            subscriptions_per_contact: limits.presence.subscriptions_per_contact,
            subscriptions_per_domain: limits.presence.subscriptions_per_partner,
            subscriptions: limits.presence.subscriptions,
            kept_per_domain: limits.presence.kept_per_partner,
            invitations: limits.sip.invitations,
            invitations_per_domain: limits.sip.invitations_per_partner,
            requests: RequestLimits {
                per_pair: limits.presence.requests_per_pair as u64,
                per_contact: limits.presence.requests_per_contact as u64,
                per_user: limits.presence.requests_per_user as u64,
                per_domain: limits.presence.requests_per_partner as u64,
            },
        },
        store_patience: limits.store.patience,
        restart_rate: u32::try_from(limits.presence.restart_rate).unwrap_or(u32::MAX),
        lane: LaneConfig {
            capacity: limits.xmpp.lane_queue,
            capacity_bytes: limits.xmpp.lane_bytes,
            reply_capacity: limits.xmpp.lane_queue,
            unconfirmed: limits.xmpp.unconfirmed,
            hold: limits.xmpp.hold,
            ping_timeout: limits.xmpp.ping_timeout,
            backoff_initial: limits.xmpp.backoff_initial,
            backoff_max: limits.xmpp.backoff_max,
            ..LaneConfig::default()
        },
        quiet: Quiet {
            keep_alive: Some(KeepAlive {
                silence: limits.xmpp.keep_alive,
                answer: limits.xmpp.keep_alive_answer,
            }),
            inactivity: limits.xmpp.inactivity,
        },
        verify: VerifyLimits {
            most: limits.xmpp.verifications,
            per_partner: limits.xmpp.verifications_per_partner,
            per_address: limits.xmpp.verifications_per_address,
            rate: limits.xmpp.verification_rate,
            rate_per_partner: limits.xmpp.verification_rate_per_partner,
            rate_per_address: limits.xmpp.verification_rate_per_address,
        },
        streams: limits.xmpp.streams,
        streams_per_partner: limits.xmpp.connections_per_partner,
        refused_domains: limits.xmpp.refused_domains,
        privacy: match config.log.addresses {
            LogAddresses::Full => Privacy::Clear,
            LogAddresses::Domain => Privacy::Domain,
            LogAddresses::Hashed => Privacy::Hidden(key.of_log()),
        },
        started_ms: now().unix_ms,
    })
}

/// The names the hosts of a front end go by.
fn hosts(front_end: &config::FrontEnd) -> Vec<CompactString> {
    let certified = front_end.certificate_names.iter().map(|name| name.as_str().into());
    certified
        .chain(front_end.next_hops.iter().map(|hop| match hop {
            config::NextHop::At(at) => at.host.to_string().into(),
            config::NextHop::Of(domain) => domain.as_str().into(),
        }))
        .collect()
}

fn front_ends(config: &Config) -> anyhow::Result<Vec<FrontEnd>> {
    let front_ends = config.sip.front_ends.iter();
    front_ends
        .map(|front_end| {
            let trust = match front_end.trust {
                config::TrustModel::Plain => TrustModel::Plain,
                config::TrustModel::Edge => TrustModel::Edge,
                config::TrustModel::Server => TrustModel::Server,
            };
            Ok(FrontEnd::new(&front_end.name, names(&front_end.domains)?)
                .with_hosts(hosts(front_end))
                .with_im(im(front_end.im))
                .with_trust(trust, front_end.asserted_identity))
        })
        .collect()
}

fn routes(config: &Config) -> anyhow::Result<Vec<Route>> {
    let limits = &config.limits.sip;
    let hop_config = HopConfig {
        hold: limits.hold,
        max_requests: limits.queue + limits.pending_per_connection,
        window: limits.pending_per_connection,
        backoff_first: limits.backoff_initial,
        backoff_cap: limits.backoff_max,
        fail_back: limits.fail_back,
        ..HopConfig::default()
    };
    let mut routes = Vec::new();
    // In the order of the sources of `sip_side`.
    for identity in 0..=config.sip.identities.len() {
        let mut of_each = sources(config).into_iter();
        for (route, sources) in config.sip.routes().into_iter().zip(of_each.by_ref()) {
            let front_ends: Vec<usize> = sources.iter().map(|source| source.front_end).collect();
            let route =
                Route::new(names(route.domains)?, given(&sources), hop_config.clone(), rand::random());
            routes.push(route.leading_to(front_ends).under(identity));
        }
        for ((front_end, _), sources) in config.sip.dialog_holders().into_iter().zip(of_each) {
            let route = Route::of_dialogs(front_end, given(&sources), hop_config.clone(), rand::random());
            routes.push(route.under(identity));
        }
    }
    Ok(routes)
}

/// Where the next hops of each route of one identity come from: those to domains first, then those for dialogs.
fn sources(config: &Config) -> Vec<Vec<Source>> {
    let source = |front_end: usize, place: &config::NextHop| {
        let lookup = config.sip.front_ends.get(front_end).map_or(Lookup::Sip, |front_end| front_end.lookup);
        Source { front_end, place: place.clone(), lookup }
    };
    let routes = config.sip.routes().into_iter();
    let routes =
        routes.map(|route| route.next_hops.into_iter().map(|(of, place)| source(of, place)).collect());
    let holders = config.sip.dialog_holders().into_iter();
    let dialogs = holders.map(|(of, next_hops)| next_hops.iter().map(|place| source(of, place)).collect());
    routes.chain(dialogs).collect()
}

fn family(configured: config::Family) -> Family {
    match configured {
        config::Family::Any => Family::Any,
        config::Family::Ipv4 => Family::Ipv4,
        config::Family::Ipv6 => Family::Ipv6,
    }
}

fn leave(connect: &config::Connect, timeout: Duration, blocked: &BlockedNetworks) -> Leave {
    let blocked = blocked.clone();
    Leave { source: connect.source_address, family: family(connect.family), timeout, blocked }
}

/// The means of the SIP side.
///
/// # Errors
/// What a library cannot be set up for.
pub(crate) fn sip_side(
    config: &Config,
    in_use: &InUse,
    blocked: &BlockedNetworks,
) -> anyhow::Result<SipSide> {
    let (sip, limits) = (&config.sip, &config.limits.sip);
    let identities = Arc::clone(&in_use.sip_identities);
    let mut server = ServerTls::new(Arc::clone(&identities))?;
    for front_end in &sip.front_ends {
        server = server.also_by(front_end.tls_backend.into())?;
    }
    Ok(SipSide {
        names: sip
            .called()
            .map(|called| SipName { sent_by: called.name.to_string(), host: called.name.host.to_string() })
            .collect(),
        server,
        identities,
        client: ClientTls::new()?,
        roots: Arc::clone(&in_use.sip_roots),
        proof: Arc::clone(&in_use.sip_proof),
        leave: leave(&sip.connect, limits.connect, blocked),
        limits: nuncio_sip::Limits {
            head: limits.head,
            header: limits.header,
            header_count: limits.headers,
            body: limits.body,
        },
        max_pending: limits.pending_per_connection,
        handshake: limits.handshake,
        hold: limits.hold,
        lending_check: config.limits.file_check.min(JUDGED_EVERY),
        arrival: limits.arrival,
        front_ends: sip
            .front_ends
            .iter()
            .map(|front_end| FrontEndNames {
                name: front_end.name.clone(),
                certificate_names: front_end
                    .certificate_names
                    .iter()
                    .map(|name| name.as_str().to_owned())
                    .collect(),
                backend: front_end.tls_backend.into(),
            })
            .collect(),
        unsettled: watch::Sender::new(unsettled(config)),
        routes: (0..=sip.identities.len())
            .flat_map(|identity| {
                sources(config).into_iter().map(move |sources| RouteHops { identity, sources })
            })
            .collect(),
    })
}

/// The front ends that are known by what DNS says only.
fn unsettled(config: &Config) -> BTreeSet<usize> {
    let named_by_dns = |front_end: &config::FrontEnd| front_end.certificate_names.is_empty();
    let front_ends = config.sip.front_ends.iter().enumerate();
    front_ends.filter(|(_, front_end)| named_by_dns(front_end)).map(|(index, _)| index).collect()
}

/// The name of the generated secret in the store.
const DIALBACK: &str = "dialback";

/// What our dialback keys are made from: the configured secret, or one that is generated once and kept.
fn dialback_secret(config: &Config, store: &dyn Keep) -> anyhow::Result<Arc<DialbackSecret>> {
    if let Some(file) = &config.xmpp.dialback_secret {
        let secret = config::Secret::from_file(file).map_err(|why| anyhow!("xmpp.dialback_secret: {why}"))?;
        return Ok(Arc::new(DialbackSecret::new(secret.expose())));
    }
    let secret = store.secret(DIALBACK).unwrap_or_else(|| {
        let made: [u8; 32] = rand::random();
        store.set_secret(DIALBACK, &made);
        Box::new(made)
    });
    Ok(Arc::new(DialbackSecret::new(&secret)))
}

/// The means of the XMPP side.
///
/// # Errors
/// As [`sip_side`].
pub(crate) fn xmpp_side(
    config: &Config,
    in_use: &InUse,
    dialback: Arc<DialbackSecret>,
    blocked: &BlockedNetworks,
) -> anyhow::Result<XmppSide> {
    let limits = &config.limits.xmpp;
    let identities = Arc::clone(&in_use.xmpp_identities);
    let served: Vec<Domain> = config.sip.domains.iter().map(domain).collect::<anyhow::Result<_>>()?;
    let stream_limits = StreamLimits {
        pre_auth_total: limits.pre_auth_stanza,
        pre_auth: ReadLimits { stanza: limits.pre_auth_stanza, ..ReadLimits::BEFORE_AUTHENTICATION },
        established: ReadLimits {
            stanza: limits.stanza,
            depth: limits.depth,
            attributes: limits.attributes,
            elements: limits.elements,
            ..ReadLimits::AUTHENTICATED
        },
    };
    let timeouts = Timeouts {
        tls: limits.handshake,
        establishment: limits.establishment,
        close: limits.close,
        // Whoever asks knows more about why it took too long.
        verification: limits.verification + Duration::from_secs(2),
        ..Timeouts::default()
    };
    Ok(XmppSide {
        server: ServerTls::new(Arc::clone(&identities))?,
        identities,
        client: ClientTls::new()?,
        roots: Arc::clone(&in_use.xmpp_roots),
        leave: leave(&config.xmpp.connect.connect, limits.connect, blocked),
        inbound: InboundConfig {
            limits: stream_limits,
            timeouts,
            dialback: Some(dialback),
            ..InboundConfig::new(served.into())
        },
        limits: stream_limits,
        timeouts,
        verification: limits.verification,
        handshake: limits.handshake,
        reach: Reach {
            family: family(config.xmpp.connect.connect.family),
            private: config.xmpp.connect.private_addresses,
        },
        reach_time: limits.reach,
    })
}
