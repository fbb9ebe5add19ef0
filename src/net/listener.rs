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

/// How many connections a listener takes at a time.
#[derive(Debug, Clone, Copy)]
pub struct ListenLimits {
    /// All of them.
    pub open: usize,
    /// Those whose peer has not proved yet who it is.
    pub strangers: StrangerLimits,
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
    F: Fn(TcpStream, SocketAddr, Unauthenticated) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.open));
    let strangers = Strangers::new(limits.strangers);
    let refuse = |peer: SocketAddr, limit: usize, why: &str| {
        if log.allows(Cause::ListenerFull, peer.ip(), now().instant) {
            warn!(listener = name, %peer, limit, "connection closed: {why}");
        }
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                if log.allows(Cause::AcceptFailed, Source::Listener(name), now().instant) {
                    warn!(listener = name, %error, "cannot accept a connection; trying again shortly");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            refuse(peer, limits.open, "too many are open");
            continue;
        };
        let stranger = match strangers.enter(peer.ip(), now().instant) {
            Ok(stranger) => stranger,
            Err(refused) => {
                let (limit, why) = match refused {
                    Refused::Full => (limits.strangers.most, TOO_MANY),
                    Refused::Share => (
                        limits.strangers.per_address,
                        "too many from its address have not proved yet who they are",
                    ),
                    Refused::Failures => (
                        limits.strangers.failures_per_address,
                        "too many from its address in a minute have not proved who they are",
                    ),
                };
                refuse(peer, limit, why);
                continue;
            }
        };
        debug!(listener = name, %peer, "connection accepted");
        let evicted = stranger.evicted();
        // In a box: a future that is handed on by value has room for itself in each that takes it.
        let task = Box::pin(handler(stream, peer, stranger));
        let (log, most) = (Arc::clone(&log), limits.strangers.most);
        tasks.spawn(async move {
            if evicted.run_until_cancelled(task).await.is_none()
                && log.allows(Cause::ListenerFull, peer.ip(), now().instant)
            {
                warn!(listener = name, %peer, limit = most, "connection closed: {TOO_MANY}; it was the oldest");
            }
            drop(slot);
        });
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
