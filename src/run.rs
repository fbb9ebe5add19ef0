//! Running the gateway: from a checked configuration to listening sockets, and down again.

pub(crate) mod node_key;
mod setup;
mod status;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::checks::{self, Level};
use crate::config::{Config, Listener};
use crate::context::Context;
use crate::net::listener::{ListenLimits, bind, serve};
use crate::net::now;
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
    let context = setup::context(&config)?;
    let waiters = setup::Waiters(Arc::downgrade(&context.gateway));
    context.store.start(Arc::new(waiters)).context("cannot start the store's thread")?;
    let restored = context.gateway.restore(now())?;
    if restored > 0 {
        info!(pairs = restored, "restored what the process before this one kept");
    }

    // All are bound before the first connection is taken: a gateway that cannot start serves nobody.
    let sip_listeners = listen(&config.sip.listeners, "SIP")?;
    let xmpp_listeners = listen(&config.xmpp.listeners, "XMPP")?;
    let named = |name: &'static str, sockets: &[TcpListener]| -> std::io::Result<Vec<String>> {
        sockets.iter().map(|socket| Ok(format!("{name} {}", socket.local_addr()?))).collect()
    };
    let bound = [named("sip", &sip_listeners)?, named("xmpp", &xmpp_listeners)?].concat();
    let sip_limits = ListenLimits {
        open: limits.sip.connections,
        unauthenticated: limits.sip.unauthenticated,
        unauthenticated_per_address: limits.sip.unauthenticated_per_address,
    };
    let xmpp_limits = ListenLimits {
        open: limits.xmpp.connections,
        unauthenticated: limits.xmpp.unauthenticated,
        unauthenticated_per_address: limits.xmpp.unauthenticated_per_address,
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
        let handler =
            move |stream, peer, new| xmpp_frontend::accept::serve(Arc::clone(&shared), begins, stream, peer, new);
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

    info!(listening = bound.join(", "), domains = %setup::domains(&config), partners = config.partners.len(), "ready");
    let reason = tokio::select! {
        reason = signals.next(&context) => reason,
        () = ended(&mut services) => anyhow::bail!("a service of the gateway ended after an internal error"),
    };
    info!("{reason}: finishing what is under way; a second signal stops at once");
    let drained = tokio::select! {
        drained = timeout(limits.drain, drain(&context, limits.drain)) => drained.is_ok(),
        reason = signals.next(&context) => anyhow::bail!("{reason} again: stopped before everything was finished"),
    };
    let store = Arc::clone(&context.store);
    let closing = tokio::task::spawn_blocking(move || store.close(STORE_PATIENCE));
    let closed = tokio::select! {
        closed = closing => closed,
        reason = signals.next(&context) => anyhow::bail!("{reason} again: stopped before everything was written"),
    };
    context.gateway.log_budget().finish();
    status::counters(&context.gateway, "since the start");
    closed.context("the store ended with an internal error")??;
    anyhow::ensure!(drained, "stopped after {:?}: not everything could be finished", limits.drain);
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
/// of a stream has to be told.
async fn drain(context: &Context, time: Duration) {
    let gateway = &context.gateway;
    let begin = Instant::now();
    let share = |part| begin + time.mul_f64(part);
    let (lanes_end, notices_end, closed_by) = (share(0.8), share(0.9), share(0.95));
    context.stop.cancel();
    gateway.end_subscriptions(now());
    if timeout(time.mul_f64(0.6), settled(context)).await.is_err() {
        warn!(unfinished = gateway.owes(), "giving back what could not be finished in time");
        gateway.give_up(now());
    }
    gateway.drain_lanes();
    context.lanes.close();
    if timeout_at(lanes_end, context.lanes.wait()).await.is_err() {
        warn!("giving up the streams to partners that did not end in time");
        context.hurry.cancel();
        context.lanes.wait().await;
    }
    let _ = timeout_at(notices_end, settled(context)).await;
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
}

/// Until the gateway owes nobody anything.
async fn settled(context: &Context) {
    let mut glance = tokio::time::interval(Duration::from_millis(20));
    while context.gateway.owes() > 0 {
        glance.tick().await;
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
    }
}

/// The signals that stop the program, and those that do not.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    status: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            status: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one that means to stop; the others are answered on the spot.
    async fn next(&mut self, context: &Context) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.status.recv() => status::log(&context.gateway),
                _ = self.hang_up.recv() => info!(
                    "SIGHUP: nothing is reloaded, the configuration is read at start only; to put a change in force: \
                     nuncio check config, then restart"
                ),
            }
        }
    }
}
