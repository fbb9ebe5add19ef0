//! The sockets of the control plane, and what is done with a connection.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use compact_str::format_compact;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::peer::{self, Groups};
use super::tokens::Tokens;
use super::{Caller, Role};
use crate::net::origin::Origin;
use crate::net::strangers::Unauthenticated;
use crate::tls::{self, ServerTls};

/// The head of a request has to be there in this time, the next one of a connection as well.
const HEAD: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// A connection is not kept for longer; it ends in the middle of nothing but an answer that nobody reads.
const LIFETIME: Duration = Duration::from_secs(3600);
/// A TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after an accept error, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of one user at a time.
const PER_USER: usize = 16;
/// Connections of all users but root, who always finds room.
const ALL_USERS: usize = 64;

/// The Unix socket. A file that it has made is removed when this is dropped.
pub struct LocalSocket {
    listener: UnixListener,
    /// The file, if it is ours: its path, device and number.
    file: Option<(PathBuf, u64, u64)>,
}

impl LocalSocket {
    /// Makes the socket, with the folder it is in if need be. Everybody may connect: who it is, and what he may do, is judged
    /// then, so that he can be told.
    ///
    /// # Errors
    /// The system's; `AddrInUse` if another process serves it.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self { listener, file: Some((path.to_owned(), metadata.dev(), metadata.ino())) })
    }

    /// Takes over a socket that listens already; its file is that of whoever made it.
    ///
    /// # Errors
    /// The system's.
    pub fn take_over(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(socket)?, file: None })
    }

    /// Serves it until this is dropped.
    pub async fn serve(self, groups: Arc<ArcSwap<Groups>>, router: Router) {
        let users = Arc::new(Users::default());
        let mut connections = JoinSet::new();
        loop {
            // Those that are over are let go of.
            while connections.try_join_next().is_some() {}
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection on the control socket; trying again shortly");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(credentials) = stream.peer_cred() else { continue };
            let Some(place) = users.enter(credentials.uid()) else {
                debug!(
                    uid = credentials.uid(),
                    "a connection to the control socket was closed: the user has too many"
                );
                continue;
            };
            let (groups, router) = (groups.load_full(), router.clone());
            connections.spawn(async move {
                let caller = peer::caller(credentials, &groups).await;
                converse_locally(stream, caller, router).await;
                drop(place);
            });
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Not that of a gateway that came after this one.
        let Some((path, device, number)) = &self.file else { return };
        let is_ours = std::fs::symlink_metadata(path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (*device, *number));
        if is_ours {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether there is a socket that nobody serves: its process did not end in good order.
fn is_left_over(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refused = std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    is_socket && refused
}

/// How many connections each user has.
#[derive(Debug, Default)]
struct Users {
    open: Mutex<HashMap<u32, usize>>,
}

/// The place of one connection.
struct Place {
    users: Arc<Users>,
    uid: u32,
}

impl Users {
    fn enter(self: &Arc<Self>, uid: u32) -> Option<Place> {
        let mut open = self.open.lock();
        let others: usize = open.iter().filter(|(other, _)| **other != 0).map(|(_, count)| count).sum();
        let own = open.entry(uid).or_default();
        let full = uid != 0 && others >= ALL_USERS;
        if *own >= PER_USER || full {
            return None;
        }
        *own += 1;
        Some(Place { users: Arc::clone(self), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.users.open.lock();
        if let Some(count) = open.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

async fn converse_locally(stream: UnixStream, caller: Caller, router: Router) {
    converse(stream, router.layer(Extension(caller))).await;
}

/// What serving connections on TCP takes.
#[derive(Clone)]
pub struct Remote {
    /// The certificate it shows.
    pub tls: ServerTls,
    /// Whose token opens what.
    pub tokens: Arc<ArcSwap<Tokens>>,
    /// The endpoints.
    pub router: Router,
}

impl Remote {
    /// Serves one connection until it ends.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, place: Unauthenticated) {
        let (stream, _) = match timeout(HANDSHAKE, tls::accept(stream, &self.tls)).await {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(error)) => return debug!(%peer, "no TLS with a client of the control plane: {error}"),
            Err(_) => {
                return debug!(%peer, "a client of the control plane did not finish its handshake in time");
            }
        };
        let place = Arc::new(Mutex::new(Some(place)));
        let door = Door { tokens: self.tokens, from: peer.ip().into(), place };
        converse(Box::new(stream), self.router.layer(from_fn_with_state(door, authenticate))).await;
    }
}

/// Who comes over TCP is nobody before he shows a token.
#[derive(Clone)]
struct Door {
    tokens: Arc<ArcSwap<Tokens>>,
    from: Origin,
    /// Among those who have not proved who they are.
    place: Arc<Mutex<Option<Unauthenticated>>>,
}

async fn authenticate(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // The scheme is written in any case (RFC 9110 §11.1).
    let token = shown
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let mut caller = door.tokens.load().caller(token.map(|(_, token)| token.trim()));
    if caller.role == Role::Anyone {
        caller.name = format_compact!("{} at {}", caller.name, door.from);
    } else if let Some(place) = door.place.lock().take() {
        place.proved();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Answers the requests of one connection.
async fn converse<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(from_fn(dismiss)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(LIFETIME, pin!(connection)).await {
        debug!(%error, "a connection to the control plane ended");
    }
}

/// Who was refused for what he is does not keep his connection.
async fn dismiss(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_was_left_over_is_replaced_and_one_that_is_served_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let first = LocalSocket::bind(&path).unwrap();
        assert_eq!(LocalSocket::bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "it is removed");
        // As after kill -9.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let again = LocalSocket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        drop(again);
        std::fs::write(&path, "not a socket").unwrap();
        assert_eq!(LocalSocket::bind(&path).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    }

    #[test]
    fn a_user_fills_his_own_places_and_never_those_of_root() {
        let users = Arc::new(Users::default());
        let enter = |uid| users.enter(uid);
        let mut held: Vec<Place> = (0..PER_USER).map(|_| enter(1000).unwrap()).collect();
        assert!(enter(1000).is_none());
        for uid in 1001..1004 {
            held.extend((0..PER_USER).map(|_| enter(uid).unwrap()));
        }
        assert_eq!(held.len(), ALL_USERS);
        assert!(enter(1005).is_none(), "all places of users are taken");
        assert!(enter(0).is_some());
        held.pop();
        assert!(enter(1005).is_some());
    }
}
