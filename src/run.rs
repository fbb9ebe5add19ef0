//! Running the gateway: from a checked configuration to listening sockets, and down again.

pub(crate) mod node_key;
mod setup;
mod status;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::checks::{self, Level};
use crate::config::{Config, Listener};
use crate::context::Context;
use crate::gateway::Gateway;
use crate::net::contain::contained_now;
use crate::net::listener::{ListenLimits, bind, serve};
use crate::net::now;
use crate::net::strangers::StrangerLimits;
use crate::renew::{self, Renewal};
use crate::tls::Proof;
use crate::xmpp_frontend::accept::Begins;
use crate::{sip_frontend, xmpp_frontend};

/// How long a stopping gateway waits for the disk to take the last changes.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the gateway until it is told to stop by SIGTERM or SIGINT. The first signal drains: nothing new is
/// taken, queues are flushed, streams are closed properly. A second one stops at once.
///
/// # Errors
/// What kept it from starting, or that it was stopped before it had drained.
pub async fn run(config: Config) -> anyhow::Result<()> {
    for finding in checks::all(&config, SystemTime::now()) {
        let (subject, fix) = (&finding.subject, finding.fix.as_deref().unwrap_or_default());
        match finding.level {
            Level::Good | Level::Note => {}
            Level::Warning => warn!("{subject}: {}; {fix}", finding.text),
            Level::Wrong => error!("{subject}: {}; {fix}", finding.text),
        }
    }
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let limits = config.limits.clone();
    let renewal = Renewal::open(&config, SystemTime::now())?;
    let in_use = renewal.in_use()?;
    let context = setup::context(&config, &in_use)?;
    let waiters = setup::Waiters(Arc::downgrade(&context.gateway));
    // Nothing is written before all is read.
    let restored = context.gateway.restore(now())?;
    if restored > 0 {
        info!(pairs = restored, "restored what the process before this one kept");
    }
    context.store.start(Arc::new(waiters)).context("cannot start the store's thread")?;

    // All are bound before the first connection is taken: a gateway that cannot start serves nobody.
    let sip_listeners = listen(&config.sip.listeners, "SIP")?;
    let xmpp_listeners = listen(&config.xmpp.listeners, "XMPP")?;
    let named = |name: &'static str, sockets: &[TcpListener]| -> std::io::Result<Vec<String>> {
        sockets.iter().map(|socket| Ok(format!("{name} {}", socket.local_addr()?))).collect()
    };
    let bound = [named("sip", &sip_listeners)?, named("xmpp", &xmpp_listeners)?].concat();
    let sip_limits = ListenLimits {
        open: limits.sip.connections,
        strangers: StrangerLimits {
            most: limits.sip.unauthenticated,
            per_address: limits.sip.unauthenticated_per_address,
            failures_per_address: limits.sip.failures_per_address,
        },
    };
    let xmpp_limits = ListenLimits {
        open: limits.xmpp.connections,
        strangers: StrangerLimits {
            most: limits.xmpp.unauthenticated,
            per_address: limits.xmpp.unauthenticated_per_address,
            failures_per_address: limits.xmpp.failures_per_address,
        },
    };
    for socket in sip_listeners {
        let shared = Arc::clone(&context);
        let handler =
            move |stream, peer, new| sip_frontend::accept::serve(Arc::clone(&shared), stream, peer, new);
        let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
        let log = Arc::clone(context.gateway.log_budget());
        context.tasks.spawn(serve("sip", socket, sip_limits, log, tasks, stop, handler));
    }
    for (socket, listener) in xmpp_listeners.into_iter().zip(&config.xmpp.listeners) {
        let shared = Arc::clone(&context);
        let begins = if listener.direct_tls { Begins::WithTls } else { Begins::Either };
        let handler = move |stream, peer, new| {
            xmpp_frontend::accept::serve(Arc::clone(&shared), begins, stream, peer, new)
        };
        let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
        let log = Arc::clone(context.gateway.log_budget());
        context.tasks.spawn(serve("xmpp", socket, xmpp_limits, log, tasks, stop, handler));
    }

    // These end with the process, not with its connections.
    let mut services = tokio::task::JoinSet::new();
    for index in 0..context.gateway.routes().len() {
        services.spawn(sip_frontend::next_hop::serve(Arc::clone(&context), index));
    }
    services.spawn(keep_time(Arc::clone(&context)));
    services.spawn(run_errands(Arc::clone(&context)));
    let (gateway, order) = (Arc::clone(&context.gateway), Arc::clone(&signals.renew));
    let federate = {
        let (config, gateway) = (Arc::new(config.clone()), Arc::clone(&gateway));
        move |proofs: &[Arc<Proof>]| match setup::federation(&config, proofs) {
            Ok(federation) => gateway.set_federation(federation, now()),
            Err(error) => error!("what partners' certificates are held against stays as it was: {error:#}"),
        }
    };
    services.spawn(renew::serve(renewal, in_use, gateway, limits.file_check, order, federate));

    let (partners, policy) = (config.partners.len(), config.policy.to_string());
    info!(listening = bound.join(", "), domains = %setup::domains(&config), partners, policy, "ready");
    let reason = tokio::select! {
        reason = signals.next(&context) => reason,
        () = ended(&mut services) => anyhow::bail!("a service of the gateway ended after an internal error"),
    };
    info!("{reason}: finishing what is under way; a second signal stops at once");
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

/// Until one of the tasks that never end has ended.
async fn ended(services: &mut tokio::task::JoinSet<()>) {
    if services.join_next().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Binds all listeners of one side.
fn listen(listeners: &[Listener], side: &str) -> anyhow::Result<Vec<TcpListener>> {
    let one = |listener: &Listener| {
        let address = listener.bind;
        bind(address, listener.only_v6).with_context(|| format!("cannot listen on {address} for {side}"))
    };
    listeners.iter().map(one).collect()
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
            let step = contained_now("an errand", panics, || gateway.run_errands(now()));
            if matches!(step, Ok(false)) {
                bell.notified().await;
            }
        }
        let all = move || while gateway.run_errands(now()) {};
        if spawn_blocking(all).await.is_err() {
            context.gateway.counters().tasks_panicked.add(1);
            error!("an internal error ended an errand (see the panic above); the others go on");
            continue;
        }
        bell.notified().await;
    }
}

/// Calls the gateway when one of its deadlines has come.
async fn keep_time(context: Arc<Context>) {
    let wake = context.gateway.timer_wake();
    loop {
        match context.gateway.deadline() {
            None => wake.notified().await,
            Some(deadline) => tokio::select! {
                () = wake.notified() => {}
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
    /// Rings when certificates and roots are to be looked at.
    renew: Arc<Notify>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            status: signal(SignalKind::user_defined1())?,
            retry: signal(SignalKind::user_defined2())?,
            renew: Arc::default(),
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
                _ = self.hang_up.recv() => self.renew.notify_one(),
            }
        }
    }
}
