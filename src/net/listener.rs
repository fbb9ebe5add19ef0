//! Listening and connecting sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::now;
use super::proxied::Proxies;
use super::strangers::{Refused, StrangerLimits, Strangers, Unauthenticated};
use crate::log_limit::{Cause, LogBudget, Source};

/// Connections that may wait to be accepted; a burst of a whole pool's servers fits.
const BACKLOG: i32 = 1024;
const TOO_MANY: &str = "too many have not proved yet who they are";
/// Pause after an accept error such as "too many open files", so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds a listening socket. `v6_only`: an IPv6 wildcard does not take IPv4 connections as well.
///
/// # Errors
/// The operating system's, for example that the address is in use.
pub fn bind(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    prepare(SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Takes over a socket that listens already.
///
/// # Errors
/// The operating system's.
pub fn take_over(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    prepare(SockRef::from(&socket));
    TcpListener::from_std(socket)
}

/// How many connections a listener takes at a time, and from whom.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// All of them.
    pub open: usize,
    /// Those whose peer has not proved yet who it is.
    pub strangers: StrangerLimits,
    /// Load balancers, through which all of them come.
    pub proxies: Option<Proxies>,
}

/// Accepts connections until `stop`, each served in a task of its own. What exceeds the limits is closed
/// at once, without a word that would cost anything, and logged (SEC-40).
pub async fn serve<F, T>(
    name: &'static str,
    listener: TcpListener,
    limits: ListenLimits,
    log: Arc<LogBudget>,
    tasks: TaskTracker,
    stop: CancellationToken,
    handler: F,
) where
    F: Fn(TcpStream, SocketAddr, Unauthenticated) -> T + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.open));
    let strangers = Strangers::new(limits.strangers);
    let door = Arc::new(Door { name, limits, strangers, log, handler });
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                if door.log.allows(Cause::AcceptFailed, Source::Listener(name), now().instant) {
                    warn!(listener = name, %error, "cannot accept a connection; trying again shortly");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            door.refuse(peer, door.limits.open, "too many are open");
            continue;
        };
        if door.limits.proxies.is_none() {
            if let Some(served) = door.enter(stream, peer) {
                tasks.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            continue;
        }
        if !door.may_speak_for_others(peer) {
            continue;
        }
        let (door, stop) = (Arc::clone(&door), stop.clone());
        tasks.spawn(async move {
            let mut stream = stream;
            let client = stop.run_until_cancelled(door.whose(&mut stream, peer)).await.flatten();
            if let Some(served) = client.and_then(|client| door.enter(stream, client)) {
                served.await;
            }
            drop(slot);
        });
    }
}

/// Who comes in at a listener, and by whom he is served.
struct Door<F> {
    name: &'static str,
    limits: ListenLimits,
    strangers: Arc<Strangers>,
    log: Arc<LogBudget>,
    handler: F,
}

impl<F, T> Door<F>
where
    F: Fn(TcpStream, SocketAddr, Unauthenticated) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    fn refuse(&self, peer: SocketAddr, limit: usize, why: &str) {
        if self.log.allows(Cause::ListenerFull, peer.ip(), now().instant) {
            warn!(listener = self.name, %peer, limit, "connection closed: {why}");
        }
    }

    /// Serves a connection of `peer`, if there is room for one more stranger from there.
    fn enter(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<impl Future<Output = ()> + Send + use<F, T>> {
        let limits = &self.limits.strangers;
        let stranger = match self.strangers.enter(peer.ip(), now().instant) {
            Ok(stranger) => stranger,
            Err(refused) => {
                let (limit, why) = match refused {
                    Refused::Full => (limits.most, TOO_MANY),
                    Refused::Share => {
                        (limits.per_address, "too many from its address have not proved yet who they are")
                    }
                    Refused::Failures => (
                        limits.failures_per_address,
                        "too many from its address in a minute have not proved who they are",
                    ),
                };
                self.refuse(peer, limit, why);
                return None;
            }
        };
        debug!(listener = self.name, %peer, "connection accepted");
        let evicted = stranger.evicted();
        // In a box: a future that is handed on by value has room for itself in each that takes it.
        let task = Box::pin((self.handler)(stream, peer, stranger));
        let (name, log, most) = (self.name, Arc::clone(&self.log), limits.most);
        Some(async move {
            if evicted.run_until_cancelled(task).await.is_none()
                && log.allows(Cause::ListenerFull, peer.ip(), now().instant)
            {
                warn!(listener = name, %peer, limit = most, "connection closed: {TOO_MANY}; it was the oldest");
            }
        })
    }

    /// Whether `proxy` is one of the load balancers.
    fn may_speak_for_others(&self, proxy: SocketAddr) -> bool {
        let may = self.limits.proxies.as_ref().is_some_and(|proxies| proxies.trusts(proxy.ip()));
        if !may {
            self.not_proxied(proxy, "it comes from none of the listener's proxies");
        }
        may
    }

    /// Whose connection it is that `proxy` hands on.
    async fn whose(&self, stream: &mut TcpStream, proxy: SocketAddr) -> Option<SocketAddr> {
        match self.limits.proxies.as_ref()?.whose(stream, proxy).await {
            Ok(client) => {
                debug!(listener = self.name, %proxy, peer = %client, "connection handed on");
                Some(client)
            }
            Err(why) => {
                self.not_proxied(proxy, &why.to_string());
                None
            }
        }
    }

    fn not_proxied(&self, peer: SocketAddr, why: &str) {
        if self.log.allows(Cause::NotProxied, peer.ip(), now().instant) {
            warn!(listener = self.name, %peer, "connection closed: {why}");
        }
    }
}

/// Opens a connection, from `source` if given.
///
/// # Errors
/// The operating system's, or `TimedOut` after `timeout`.
pub async fn connect(target: SocketAddr, source: Option<IpAddr>, timeout: Duration) -> io::Result<TcpStream> {
    let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source.filter(|source| source.is_ipv4() == target.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = tokio::time::timeout(timeout, socket.connect(target))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to the connection attempt"))??;
    prepare(SockRef::from(&stream));
    Ok(stream)
}

/// Small messages leave at once, and a peer that vanished is noticed by the operating system too. What a listening socket is
/// told, those have that it accepts.
fn prepare(socket: SockRef<'_>) {
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(120));
    let _ = socket.set_tcp_keepalive(&keepalive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_is_prepared_as_what_is_opened() {
        let listener = bind(([127, 0, 0, 1], 0).into(), true).unwrap();
        let opening = connect(listener.local_addr().unwrap(), None, Duration::from_secs(60));
        let (opened, accepted) = tokio::join!(opening, listener.accept());
        for stream in [opened.unwrap(), accepted.unwrap().0] {
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
        }
    }
}
