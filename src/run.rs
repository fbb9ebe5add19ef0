//! Running the gateway: from a checked configuration to listening sockets, and down again.

mod control;
mod life;
mod listening;
pub(crate) mod node_key;
pub(crate) mod setup;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::checks::{self, Level};
use crate::config::{Loaded, Sources};
use crate::context::Context;
use crate::control::Control;
use crate::control::access::{Access, NewAccess};
use crate::gateway::Gateway;
use crate::health::BEAT;
use crate::log_level::LogLevel;
use crate::net::contain::contained_now;
use crate::net::listener::{ListenLimits, serve};
use crate::net::now;
use crate::net::proxied::Proxies;
use crate::net::strangers::StrangerLimits;
use crate::policy::{self, Authority, Governed};
use crate::renew::{self, Renewal};
use crate::service::{Notifier, Service};
use crate::store::{Keep, Outcome, Store, Ticket};
use crate::tls::Proof;
use crate::xmpp_frontend::accept::Begins;
use crate::{sip_frontend, xmpp_frontend};
use listening::{Side, listen};

/// How long a stopping gateway waits for the disk to take the last changes.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the gateway until it is told to stop by SIGTERM or SIGINT. The first signal drains: nothing new is
/// taken, queues are flushed, streams are closed properly. A second one stops at once.
///
/// # Errors
/// What kept it from starting, or that it was stopped before it had drained.
pub async fn run(
    sources: Sources,
    loaded: Loaded,
    service: Service,
    log_level: LogLevel,
) -> anyhow::Result<()> {
    let Service { notifier, mut inherited } = service;
    let notifier = Arc::new(notifier);
    notifier.status("starting");
    // Before the store is opened: they look at its file, too, and whoever closes a file takes all locks from it that the process
    // has (fcntl(2)). Without SQLite's own, another program would tidy away the log under it.
    for finding in checks::all(&loaded.config, SystemTime::now()) {
        let (subject, fix) = (&finding.subject, finding.fix.as_deref().unwrap_or_default());
        match finding.level {
            Level::Good | Level::Note => {}
            Level::Warning => warn!("{subject}: {}; {fix}", finding.text),
            Level::Wrong => error!("{subject}: {}; {fix}", finding.text),
        }
    }
    // It says best what is wrong with the state directory.
    node_key::load(&loaded.config.node.state_dir)?;
    let store = Arc::new(setup::store(&loaded.config)?);
    let (sources, loaded) = stored(sources, loaded, &store)?;
    let config = loaded.config.clone();
    let mut signals = Signals::new(Arc::clone(&notifier)).context("cannot listen for signals")?;
    let limits = config.limits.clone();
    let renewal = Renewal::open(&config, SystemTime::now())?;
    let in_use = renewal.in_use()?;
    let context = setup::context(&config, &in_use, Arc::clone(&store))?;
    let (done, saved) = watch::channel((Ticket::default(), Outcome::Saved));
    let waiters = setup::Waiters { gateway: Arc::downgrade(&context.gateway), done };
    let renewal = Arc::new(Mutex::new(renewal));
    let access = Access::new(NewAccess::load(&config)?);
    let governed = Governed {
        gateway: Arc::clone(&context.gateway),
        store,
        renewal: Arc::clone(&renewal),
        in_use: in_use.clone(),
        access: access.clone(),
        done: saved,
        log_level,
    };
    let authority = Arc::new(Authority::new(sources, loaded, governed));
    // Nothing is written before all is read.
    let restored = context.gateway.restore(now())?;
    if restored > 0 {
        info!(pairs = restored, "restored what the process before this one kept");
    }
    context.store.start(Arc::new(waiters)).context("cannot start the store's thread")?;

    // All are bound before the first connection is taken: a gateway that cannot start serves nobody.
    let sip_listeners = listen(&config.sip.listeners, Side::Sip, &mut inherited)?;
    let xmpp_listeners = listen(&config.xmpp.listeners, Side::Xmpp, &mut inherited)?;
    inherited.all_taken()?;
    let named = |name: &'static str, sockets: &[TcpListener]| -> std::io::Result<Vec<String>> {
        sockets.iter().map(|socket| Ok(format!("{name} {}", socket.local_addr()?))).collect()
    };
    let state = Control {
        context: Arc::clone(&context),
        authority: Arc::clone(&authority),
        renew: Arc::clone(&signals.renew),
        walks: Arc::new(tokio::sync::Semaphore::new(1)),
    };
    let controls =
        control::open(&config, &access, in_use.control_identities.as_ref(), state, inherited.take_control())?;
    let bound = [named("sip", &sip_listeners)?, named("xmpp", &xmpp_listeners)?, controls.named()].concat();
    let sip_limits = ListenLimits {
        open: limits.sip.connections,
        strangers: StrangerLimits {
            most: limits.sip.unauthenticated,
            per_address: limits.sip.unauthenticated_per_address,
            failures_per_address: limits.sip.failures_per_address,
        },
        proxies: None,
    };
    let xmpp_limits = ListenLimits {
        open: limits.xmpp.connections,
        strangers: StrangerLimits {
            most: limits.xmpp.unauthenticated,
            per_address: limits.xmpp.unauthenticated_per_address,
            failures_per_address: limits.xmpp.failures_per_address,
        },
        proxies: None,
    };
    for (socket, listener) in sip_listeners.into_iter().zip(&config.sip.listeners) {
        let shared = Arc::clone(&context);
        let handler =
            move |stream, peer, new| sip_frontend::accept::serve(Arc::clone(&shared), stream, peer, new);
        let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
        let log = Arc::clone(context.gateway.log_budget());
        let proxies = Proxies::new(listener.proxies.clone(), limits.sip.handshake);
        let limits = ListenLimits { proxies, ..sip_limits.clone() };
        context.tasks.spawn(serve("sip", socket, limits, log, tasks, stop, handler));
    }
    for (socket, listener) in xmpp_listeners.into_iter().zip(&config.xmpp.listeners) {
        let shared = Arc::clone(&context);
        let begins = if listener.direct_tls { Begins::WithTls } else { Begins::Either };
        let handler = move |stream, peer, new| {
            xmpp_frontend::accept::serve(Arc::clone(&shared), begins, stream, peer, new)
        };
        let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
        let log = Arc::clone(context.gateway.log_budget());
        let proxies = Proxies::new(listener.proxies.clone(), limits.xmpp.handshake);
        let limits = ListenLimits { proxies, ..xmpp_limits.clone() };
        context.tasks.spawn(serve("xmpp", socket, limits, log, tasks, stop, handler));
    }

    // These end with the process, not with its connections.
    let mut services = tokio::task::JoinSet::new();
    for index in 0..context.gateway.routes().len() {
        services.spawn(sip_frontend::next_hop::serve(Arc::clone(&context), index));
    }
    controls.serve(&context, &mut services);
    let beats = Arc::<AtomicU64>::default();
    services.spawn(keep_time(Arc::clone(&context), Arc::clone(&beats)));
    if let Some(every) = notifier.heartbeat() {
        services.spawn(life::show(Arc::clone(&context), Arc::clone(&notifier), beats, every));
    }
    services.spawn(run_errands(Arc::clone(&context)));
    let (gateway, order) = (Arc::clone(&context.gateway), Arc::clone(&signals.renew));
    let federate = {
        let (authority, gateway) = (Arc::clone(&authority), Arc::clone(&gateway));
        move |proofs: &[Arc<Proof>]| match authority.federation(proofs) {
            Ok(federation) => gateway.set_federation(federation, now()),
            Err(error) => error!("what partners' certificates are held against stays as it was: {error:#}"),
        }
    };
    services.spawn(reload(authority, Arc::clone(&signals.reload), Arc::clone(&signals.renew)));
    let (partners, policy) = (config.partners.len(), config.policy.to_string());
    context.gateway.pulse().listens();
    let status = format!("listening on {}", bound.join(", "));
    let reloaded = {
        let (notifier, status) = (Arc::clone(&notifier), status.clone());
        move || notifier.ready(&status)
    };
    services.spawn(renew::serve(renewal, in_use, gateway, limits.file_check, order, federate, reloaded));

    info!(listening = bound.join(", "), domains = %setup::domains(&config), partners, policy, "ready");
    notifier.ready(&status);
    let reason = tokio::select! {
        reason = signals.next(&context) => reason,
        () = ended(&mut services) => anyhow::bail!("a service of the gateway ended after an internal error"),
    };
    signals.stopping = true;
    info!("{reason}: finishing what is under way; a second signal stops at once");
    notifier.stopping("finishing what is under way");
    let drained = tokio::select! {
        drained = timeout(limits.drain, drain(&context, limits.drain)) => drained,
        reason = signals.next(&context) => anyhow::bail!("{reason} again: stopped before everything was finished"),
    };
    let store = Arc::clone(&context.store);
    let closing = spawn_blocking(move || store.close(STORE_PATIENCE));
    let closed = tokio::select! {
        closed = closing => closed,
        reason = signals.next(&context) => anyhow::bail!("{reason} again: stopped before everything was written"),
    };
    context.gateway.log_budget().finish();
    status::counters(&context.gateway, "since the start");
    closed.context("the store ended with an internal error")??;
    let settled = drained.unwrap_or(false);
    anyhow::ensure!(
        settled,
        "stopped after {:?}: not everything that is owed to users was finished",
        limits.drain
    );
    info!("stopped");
    Ok(())
}

/// With what is stored. It was read before as well, where it could be; from now on nobody else writes it.
fn stored(sources: Sources, loaded: Loaded, store: &Store) -> anyhow::Result<(Sources, Loaded)> {
    let entries = store.entries();
    let sources = sources.stored(entries);
    let loaded = match policy::load(&sources) {
        Ok(loaded) => loaded,
        Err(report) => anyhow::bail!(
            "the configuration with what is stored in {}:\n{report}",
            loaded.config.node.state_dir.display()
        ),
    };
    // Of those that give way to a file there is a warning already.
    for aside in loaded.set_aside.iter().filter(|aside| !aside.declared) {
        error!("{}", policy::set_aside(aside));
    }
    Ok((sources, loaded))
}

/// Who asks for a reload by it.
const SIGHUP: &str = "SIGHUP";

/// Reads the configuration again when somebody asks for it, and then has the files with certificates looked at.
async fn reload(authority: Arc<Authority>, order: Arc<Notify>, renew: Arc<Notify>) {
    loop {
        order.notified().await;
        let authority = Arc::clone(&authority);
        let reloaded = spawn_blocking(move || authority.reload(SIGHUP)).await;
        if let Ok(Err(refused)) = reloaded {
            policy::tell(&refused, SIGHUP);
        }
        renew.notify_one();
    }
}

/// Until one of the tasks that never end has ended.
async fn ended(services: &mut tokio::task::JoinSet<()>) {
    if services.join_next().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Nothing new; everything under way to its end, or back to its sender when more than half of the time is
/// over; then the streams to partners; last the connections to front ends, which still carry what the end
/// of a stream has to be told. Says whether everything that somebody is owed came to its end.
async fn drain(context: &Context, time: Duration) -> bool {
    let gateway = &context.gateway;
    let begin = Instant::now();
    let share = |part| begin + time.mul_f64(part);
    let (lanes_end, notices_end, closed_by) = (share(0.8), share(0.9), share(0.95));
    context.stop.cancel();
    gateway.end_subscriptions();
    let goodbyes = until(context, |gateway| gateway.is_settled() && gateway.has_said_goodbye());
    if timeout(time.mul_f64(0.6), goodbyes).await.is_err() {
        let subscriptions = gateway.stop_ending_subscriptions();
        if subscriptions > 0 {
            warn!(
                subscriptions,
                "the front ends have not answered in time that these subscriptions of their users end; the next start \
                 takes them up again; without one they run out, or begin anew with their next refresh"
            );
        }
        let unfinished = gateway.owes();
        if unfinished > 0 {
            warn!(unfinished, "giving back what could not be finished in time");
        }
        gateway.give_up(now());
    }
    gateway.drain_lanes();
    context.lanes.close();
    if timeout_at(lanes_end, context.lanes.wait()).await.is_err() {
        warn!("giving up the streams to partners that did not end in time");
        context.hurry.cancel();
        gateway.abandon_lanes();
        let _ = timeout_at(notices_end, context.lanes.wait()).await;
    }
    let _ = timeout_at(notices_end, until(context, Gateway::is_settled)).await;
    for route in gateway.routes() {
        route.hops.feed(|group| group.drain());
    }
    context.release.cancel();
    context.tasks.close();
    // Nothing is owed to a peer that lets the end of its connection wait.
    if timeout_at(closed_by, context.tasks.wait()).await.is_err() {
        warn!(
            connections = context.tasks.len(),
            "not waiting any longer for peers to close their connections"
        );
    }
    gateway.is_settled()
}

/// Until this is so.
async fn until(context: &Context, is_so: fn(&Gateway) -> bool) {
    const GLANCE: Duration = Duration::from_millis(20);
    loop {
        let (gateway, begin) = (Arc::clone(&context.gateway), Instant::now());
        // It may have to walk hundreds of thousands of pairs: not where others wait for their turn, and not all the time.
        if spawn_blocking(move || is_so(&gateway)).await.unwrap_or(false) {
            return;
        }
        sleep(GLANCE.max(begin.elapsed() * 10)).await;
    }
}

/// Does what concerns many pairs, off the threads that carry messages.
async fn run_errands(context: Arc<Context>) {
    let bell = context.gateway.errand_bell();
    loop {
        let gateway = Arc::clone(&context.gateway);
        let panics = &context.gateway.counters().tasks_panicked;
        while gateway.errands_are_short() {
            gateway.pulse().errands.beat(now().instant);
            let step = contained_now("an errand", panics, || gateway.run_errands(now()));
            if matches!(step, Ok(false)) {
                rung(&bell).await;
            }
        }
        let all = move || {
            while gateway.run_errands(now()) {
                gateway.pulse().errands.beat(now().instant);
            }
        };
        if spawn_blocking(all).await.is_err() {
            context.gateway.counters().tasks_panicked.add(1);
            error!("an internal error ended an errand (see the panic above); the others go on");
            continue;
        }
        rung(&bell).await;
    }
}

/// Until the bell is rung, or it is time for a sign of life.
async fn rung(bell: &Notify) {
    let _ = timeout(BEAT, bell.notified()).await;
}

/// Calls the gateway when one of its deadlines has come, and counts its rounds in `beats`.
async fn keep_time(context: Arc<Context>, beats: Arc<AtomicU64>) {
    let wake = context.gateway.timer_wake();
    loop {
        beats.fetch_add(1, Ordering::Relaxed);
        context.gateway.pulse().timers.beat(now().instant);
        match context.gateway.deadline() {
            None => rung(&wake).await,
            Some(deadline) => tokio::select! {
                () = rung(&wake) => {}
                () = sleep_until(deadline.into()) => context.gateway.handle_timeout(now()),
            },
        }
        // Much may be due at once: others have their turn in between.
        yield_now().await;
    }
}

/// The signals that stop the program, and those that do not.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    status: Signal,
    retry: Signal,
    /// Rings when the configuration is to be read again.
    reload: Arc<Notify>,
    /// Rings when certificates and roots are to be looked at.
    renew: Arc<Notify>,
    /// Is told of that.
    notifier: Arc<Notifier>,
    /// It has been told to stop.
    stopping: bool,
}

impl Signals {
    fn new(notifier: Arc<Notifier>) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            status: signal(SignalKind::user_defined1())?,
            retry: signal(SignalKind::user_defined2())?,
            reload: Arc::default(),
            renew: Arc::default(),
            notifier,
            stopping: false,
        })
    }

    /// The next one that means to stop; the others are answered on the spot.
    async fn next(&mut self, context: &Context) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.status.recv() => status::log(&context.gateway),
                _ = self.retry.recv() => status::retry(&context.gateway),
                // What it would change is what a stopping gateway is about to leave; and the service manager is told that it
                // stops, not that it reloads.
                _ = self.hang_up.recv() => if self.stopping {
                    info!("SIGHUP: nothing is read again, the gateway is stopping");
                } else {
                    self.notifier.reloading();
                    self.reload.notify_one();
                }
            }
        }
    }
}
