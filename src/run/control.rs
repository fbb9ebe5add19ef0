//! The control plane of the running program: its sockets, and who may use them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::warn;

use crate::config::{self, Config};
use crate::context::Context;
use crate::control::access::Access;
use crate::control::{Control, DEFAULT_SOCKET, Groups, LocalSocket, Remote, router};
use crate::net::listener::{ListenLimits, bind, serve};
use crate::net::strangers::StrangerLimits;
use crate::tls::{IdentityStore, ServerTls};

/// Connections over TCP at a time.
const CONNECTIONS: usize = 256;
/// Of these, who has not shown a token yet.
const STRANGERS: StrangerLimits = StrangerLimits { most: 64, per_address: 16, failures_per_address: 60 };

/// Sockets that are bound and not served yet.
pub(super) struct Controls {
    local: Option<LocalSocket>,
    remote: Option<(TcpListener, Remote)>,
    groups: Arc<ArcSwap<Groups>>,
    router: Router,
    names: Vec<String>,
}

/// Binds what is configured; a control socket that the service manager has opened takes the place of ours.
///
/// # Errors
/// It cannot be used. Only at the place where the socket is without being asked for, the gateway does without.
pub(super) fn open(
    config: &Config,
    access: &Access,
    identities: Option<&Arc<IdentityStore>>,
    state: Control,
    inherited: Option<UnixListener>,
) -> anyhow::Result<Controls> {
    let control = &config.control;
    let router = router(Arc::new(state));
    let mut names = Vec::new();
    let local = match inherited {
        Some(socket) => {
            names.push(named(&socket));
            Some(LocalSocket::take_over(socket).context("the control socket of systemd")?)
        }
        None => {
            let local = local(control.socket.as_deref())?;
            let path = control.socket.as_deref().unwrap_or_else(|| Path::new(DEFAULT_SOCKET));
            names.extend(local.is_some().then(|| format!("control {}", path.display())));
            local
        }
    };
    let remote = match (&control.remote, identities) {
        (Some(remote), Some(identities)) => {
            let (socket, address) = listen(remote)?;
            names.push(format!("control {address}"));
            let tls = ServerTls::new(Arc::clone(identities))?;
            Some((socket, Remote { tls, tokens: Arc::clone(&access.tokens), router: router.clone() }))
        }
        _ => None,
    };
    Ok(Controls { local, remote, groups: Arc::clone(&access.groups), router, names })
}

/// A socket that somebody else has made, by where it is, whatever the configuration says.
fn named(socket: &UnixListener) -> String {
    let address = socket.local_addr().ok();
    match address.as_ref().and_then(|address| address.as_pathname()) {
        Some(path) => format!("control {}", path.display()),
        None => "control on a socket of systemd without a path".to_owned(),
    }
}

fn local(configured: Option<&Path>) -> anyhow::Result<Option<LocalSocket>> {
    let path = configured.unwrap_or_else(|| Path::new(DEFAULT_SOCKET));
    let shown = path.display();
    match (LocalSocket::bind(path), configured) {
        (Ok(socket), _) => Ok(Some(socket)),
        (Err(error), Some(_)) if error.kind() == ErrorKind::AddrInUse => {
            Err(anyhow!("control.socket: {shown} is served by another process, or is no socket"))
        }
        (Err(error), Some(_)) => {
            Err(error).with_context(|| format!("control.socket: cannot listen on {shown}"))
        }
        (Err(error), None) => {
            warn!(
                "nobody can administer this gateway while it runs: its control socket {shown} cannot be made: {error}; set \
                 control.socket to a place where it can"
            );
            Ok(None)
        }
    }
}

fn listen(remote: &config::ControlRemote) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let address = remote.listen;
    let socket = bind(address, false).with_context(|| format!("cannot listen on {address} for control"))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

impl Controls {
    /// What it listens on, for the log.
    pub(super) fn named(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Serves them until the process ends, also while it drains.
    pub(super) fn serve(self, context: &Context, services: &mut JoinSet<()>) {
        if let Some(local) = self.local {
            services.spawn(local.serve(self.groups, self.router));
        }
        if let Some((socket, remote)) = self.remote {
            let limits = ListenLimits { open: CONNECTIONS, strangers: STRANGERS, proxies: None };
            let log = Arc::clone(context.gateway.log_budget());
            let handler = move |stream, peer, place| remote.clone().serve(stream, peer, place);
            let (tasks, stop) = (context.tasks.clone(), context.stop.clone());
            // It ends with the first signal, as all listeners on the network do, and its end is no failure.
            tokio::spawn(serve("control", socket, limits, log, tasks, stop, handler));
        }
    }
}
