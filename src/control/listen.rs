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
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use compact_str::format_compact;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::extract::LONGEST_BODY;
use super::peer::{self, Groups};
use super::table::ForAnyone;
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
/// Who was answered before he had sent everything may finish for so long, and send so many bytes.
const LAST_WORDS: Duration = Duration::from_secs(10);
const LONGEST_REST: usize = 4 * LONGEST_BODY;
/// Pause after an accept error, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of one user at a time.
const PER_USER: usize = 16;
/// Connections of all users together of whom it is not known yet whether they have a role. They stay for as long as the
/// system takes to say which groups they are in.
const UNKNOWN: usize = 64;
/// Connections of all users together who have none: they can ask whether the gateway lives. Those who administer it are in groups
/// whose members the administrator knows, and always find room, however many others there are.
const WITHOUT_ROLE: usize = 16;

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
            let Some(mut place) = users.enter(credentials.uid()) else {
                debug!(
                    uid = credentials.uid(),
                    "a connection to the control socket was closed: the user has too many"
                );
                continue;
            };
            let (groups, router) = (Arc::clone(&groups), router.clone());
            connections.spawn(async move {
                let who = move || {
                    let groups = groups.load_full();
                    async move { peer::caller(credentials, &groups).await }
                };
                let role = who().await.role;
                if !place.goes_on_as(role) {
                    return debug!(
                        uid = credentials.uid(),
                        "a connection to the control socket was closed: too many users without a role have one"
                    );
                }
                converse(stream, asking_each_time(router, who)).await;
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
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_uid: HashMap<u32, usize>,
    unknown: usize,
    without_role: usize,
}

/// The place of one connection.
struct Place {
    users: Arc<Users>,
    uid: u32,
    among: Among,
}

/// As what a connection is counted, besides as its user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Among {
    Unknown,
    WithoutRole,
    /// As nothing: its user has a role, or is root.
    WithRole,
}

impl Open {
    fn count(&mut self, among: Among) -> Option<(&mut usize, usize)> {
        match among {
            Among::Unknown => Some((&mut self.unknown, UNKNOWN)),
            Among::WithoutRole => Some((&mut self.without_role, WITHOUT_ROLE)),
            Among::WithRole => None,
        }
    }

    fn enter(&mut self, among: Among) -> bool {
        let Some((count, most)) = self.count(among) else { return true };
        let room = *count < most;
        *count += usize::from(room);
        room
    }

    fn leave(&mut self, among: Among) {
        if let Some((count, _)) = self.count(among) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Users {
    fn enter(self: &Arc<Self>, uid: u32) -> Option<Place> {
        let mut open = self.open.lock();
        let among = if uid == 0 { Among::WithRole } else { Among::Unknown };
        let is_full = open.by_uid.get(&uid).is_some_and(|own| *own >= PER_USER);
        if is_full || !open.enter(among) {
            return None;
        }
        *open.by_uid.entry(uid).or_default() += 1;
        Some(Place { users: Arc::clone(self), uid, among })
    }
}

impl Place {
    /// It is known now which role its user has. Whether there is room for it.
    fn goes_on_as(&mut self, role: Role) -> bool {
        let among = if role > Role::Anyone { Among::WithRole } else { Among::WithoutRole };
        let mut open = self.users.open.lock();
        let room = open.enter(among);
        if room {
            open.leave(std::mem::replace(&mut self.among, among));
        }
        room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.users.open.lock();
        open.leave(self.among);
        if let Some(count) = open.by_uid.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.by_uid.remove(&self.uid);
            }
        }
    }
}

/// Asks for each request who makes it. A connection may last, and who is taken out of a group meanwhile is out: nobody tells us of
/// it, so connections could not be closed for it instead.
fn asking_each_time<W, F>(router: Router, who: W) -> Router
where
    W: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Caller> + Send + 'static,
{
    router.layer(from_fn(move |mut request: Request, next: Next| {
        let caller = who();
        async move {
            request.extensions_mut().insert(caller.await);
            next.run(request).await
        }
    }))
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
    let shown = request.headers().get(header::AUTHORIZATION).cloned();
    // The scheme is written in any case (RFC 9110 §11.1).
    let token = shown
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let mut caller = door.tokens.load().caller(token.map(|(_, token)| token.trim()));
    if caller.role == Role::Anyone {
        caller.name = format_compact!("{} at {}", caller.name, door.from);
    } else if let Some(place) = door.place.lock().take() {
        place.proved();
    }
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    // A load balancer that asks how the gateway is has no token, and does nothing wrong.
    if shown.is_none()
        && response.extensions().get::<ForAnyone>().is_some()
        && let Some(place) = &mut *door.place.lock()
    {
        place.excuse();
    }
    response
}

/// Answers the requests of one connection.
async fn converse<S>(mut stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let service = TowerToHyperService::new(router.layer(from_fn(dismiss)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(&mut stream), service);
    match timeout(LIFETIME, pin!(connection)).await {
        Ok(Ok(())) => {
            let _ = timeout(LAST_WORDS, let_finish(stream)).await;
        }
        Ok(Err(error)) => debug!(%error, "a connection to the control plane ended"),
        Err(_) => {}
    }
}

/// Takes what is still coming from who was answered before he had said everything: with it unread the connection would be reset,
/// and the answer that tells him why perhaps with it (RFC 9112 §9.6). Ours is closed to write already.
async fn let_finish(mut stream: impl AsyncRead + Unpin) {
    let mut rest = [0; 8 * 1024];
    let mut taken = 0;
    while let Ok(length @ 1..) = stream.read(&mut rest).await {
        taken += length;
        if taken > LONGEST_REST {
            return;
        }
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
        assert_eq!(held.len(), UNKNOWN);
        assert!(enter(1005).is_none(), "nobody knows yet who the others are");
        assert!(enter(0).is_some());
        held.pop();
        assert!(enter(1005).is_some());
    }

    #[test]
    fn users_without_a_role_take_no_place_of_those_who_have_one() {
        let users = Arc::new(Users::default());
        let as_what = |uid, role| {
            let mut place = users.enter(uid)?;
            place.goes_on_as(role).then_some(place)
        };
        // As many users as there are, and all of them keep what they get.
        let strangers: Vec<Place> = (1000..3000).filter_map(|uid| as_what(uid, Role::Anyone)).collect();
        assert_eq!(strangers.len(), WITHOUT_ROLE);
        let members: Vec<Place> = (5000..5100).filter_map(|uid| as_what(uid, Role::Viewer)).collect();
        assert_eq!(members.len(), 100);
        drop(strangers);
        assert!(as_what(1000, Role::Anyone).is_some());
    }

    #[tokio::test]
    async fn who_is_taken_out_of_a_group_is_out_with_his_next_request_on_the_same_connection() {
        use std::sync::atomic::{AtomicBool, Ordering};

        use axum::Extension;
        use axum::routing::get;
        use tokio::io::AsyncWriteExt;

        let role = |Extension(caller): Extension<Caller>| async move { caller.role.as_str() };
        let router = Router::new().route("/role", get(role));
        let is_in = Arc::new(AtomicBool::new(true));
        let who = {
            let is_in = Arc::clone(&is_in);
            move || {
                let role = if is_in.load(Ordering::SeqCst) { Role::Admin } else { Role::Anyone };
                std::future::ready(Caller { name: "alice".into(), role, why: "".into(), by_token: false })
            }
        };
        let (mut client, server) = tokio::io::duplex(4096);
        let served = tokio::spawn(converse(server, asking_each_time(router, who)));
        let mut seen = String::new();
        for word in ["admin", "anyone"] {
            client.write_all(b"GET /role HTTP/1.1\r\nHost: nuncio\r\n\r\n").await.unwrap();
            seen.clear();
            while !seen.ends_with(word) {
                let mut bytes = [0; 1024];
                let count = client.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the connection ended: {seen}");
                seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
                assert!(!seen.ends_with("admin") || word == "admin", "he still is: {seen}");
            }
            is_in.store(false, Ordering::SeqCst);
        }
        drop(client);
        served.await.unwrap();
    }
}
