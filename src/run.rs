//! Running the gateway: from a checked configuration to listening sockets, and down again.

mod node_key;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use crate::config::{Config, Listener};
use crate::context::Context;
use crate::net::listener::{ListenLimits, bind, serve};
use crate::net::now;
use crate::{sip_frontend, xmpp_frontend};

/// How long a stopping gateway waits for the disk to take the last changes.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the gateway until it is told to stop by SIGTERM or SIGINT. The first signal drains: nothing new is
/// taken, queues are flushed, streams are closed properly. A second one stops at once.
///
/// # Errors
/// What kept it from starting, or that it was stopped before it had drained.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let limits = config.limits.clone();
    let context = setup::context(&config)?;
    context.store.start(Arc::new(setup::NobodyWaits)).context("cannot start the store's thread")?;

    let sip_limits =
        ListenLimits { open: limits.sip.connections, unauthenticated: limits.sip.unauthenticated };
    let xmpp_limits =
        ListenLimits { open: limits.xmpp.connections, unauthenticated: limits.xmpp.unauthenticated };
    let mut bound = Vec::new();
    for listener in &config.sip.listeners {
        let (socket, name) = (listen(listener, "SIP")?, "sip");
        bound.push(format!("sip {}", socket.local_addr()?));
        let shared = Arc::clone(&context);
        let handler =
            move |stream, peer, new| sip_frontend::accept::serve(Arc::clone(&shared), stream, peer, new);
        let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
        context.tasks.spawn(serve(name, socket, sip_limits, tasks, stop, handler));
    }
    for listener in &config.xmpp.listeners {
        let (socket, name) = (listen(listener, "XMPP")?, "xmpp");
        bound.push(format!("xmpp {}", socket.local_addr()?));
        let shared = Arc::clone(&context);
        let handler =
            move |stream, peer, new| xmpp_frontend::accept::serve(Arc::clone(&shared), stream, peer, new);
        let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
        context.tasks.spawn(serve(name, socket, xmpp_limits, tasks, stop, handler));
    }

    // These end with the process, not with its connections.
    let mut services = tokio::task::JoinSet::new();
    for index in 0..context.gateway.front_ends().len() {
        services.spawn(sip_frontend::next_hop::serve(Arc::clone(&context), index));
    }
    services.spawn(keep_time(Arc::clone(&context)));

    info!(listening = bound.join(", "), domains = %setup::domains(&config), partners = config.partners.len(), "ready");
    let reason = tokio::select! {
        reason = signals.next() => reason,
        () = ended(&mut services) => anyhow::bail!("a service of the gateway ended after an internal error"),
    };
    info!("{reason}: finishing what is under way; a second signal stops at once");
    let drained = tokio::select! {
        drained = timeout(limits.drain, drain(&context, limits.drain)) => drained.is_ok(),
        reason = signals.next() => anyhow::bail!("{reason} again: stopped before everything was finished"),
    };
    let store = Arc::clone(&context.store);
    let closed = tokio::task::spawn_blocking(move || store.close(STORE_PATIENCE)).await;
    for (name, count) in context.gateway.counters().list() {
        if count > 0 {
            info!(counter = name, count, "since the start");
        }
    }
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

fn listen(listener: &Listener, side: &str) -> anyhow::Result<tokio::net::TcpListener> {
    let address = listener.bind;
    bind(address, listener.only_v6).with_context(|| format!("cannot listen on {address} for {side}"))
}

/// Nothing new; everything under way to its end, or back to its sender when more than half of the time is
/// over; then the streams to partners; last the connections to front ends, which still carry what the end
/// of a stream has to be told.
async fn drain(context: &Context, time: Duration) {
    let gateway = &context.gateway;
    context.stop.cancel();
    if timeout(time.mul_f64(0.6), settled(context)).await.is_err() {
        warn!(unfinished = gateway.owes(), "giving back what could not be finished in time");
        gateway.give_up(now());
    }
    gateway.drain_lanes();
    context.lanes.close();
    context.lanes.wait().await;
    let _ = timeout(time.mul_f64(0.2), settled(context)).await;
    for front_end in gateway.front_ends() {
        front_end.hops.feed(|group| group.drain());
    }
    context.release.cancel();
    context.tasks.close();
    context.tasks.wait().await;
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

/// The signals that stop the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
