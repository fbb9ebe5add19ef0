//! The control plane: one HTTP/JSON API by which the gateway is administered while it runs.
//!
//! It is served on a Unix socket, where the kernel says who asks, and, if `[control]` says so, on TCP with TLS, where a token
//! does. Every endpoint stands in one table ([`table`]) with the role it needs; whoever has less is refused before anything
//! of his request is read. Every error is a problem document (RFC 9457), those of the framework as well.

pub mod access;
mod applied;
mod audit;
pub mod caller;
mod certificates;
mod checks;
pub mod client;
mod configuration;
mod dialogs;
mod entries;
mod extract;
mod listen;
mod openapi;
mod peer;
mod problem;
mod proved;
mod relations;
mod status;
mod streams;
pub mod table;
pub mod tokens;
mod trials;
mod watching;

use std::sync::Arc;

use axum::Router;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;

use crate::context::Context;
use crate::policy::Authority;

pub use caller::{Caller, Role};
pub use extract::{Body, Checked};
pub use listen::{LocalSocket, Remote};
pub use peer::Groups;
pub use problem::Problem;
pub(crate) use relations::MOST as MOST_RELATIONS;
pub use table::{Answer, Change, Endpoint};

/// Where the socket is unless `control.socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/nuncio/control.sock";

/// What the handlers share.
pub struct Control {
    /// The running program.
    pub context: Arc<Context>,
    /// What holds, and the way to change it.
    pub authority: Arc<Authority>,
    /// Rings when the files with certificates and roots are to be looked at.
    pub renew: Arc<Notify>,
    /// The turn of who looks at every pair there is.
    pub walks: Arc<Semaphore>,
}

impl Control {
    /// Does what looks at every pair there is, off the threads that carry messages, and one at a time: however many ask, it is no
    /// more than one thread's work, and the others wait for their turn, or for the end of their request.
    ///
    /// # Errors
    /// It panicked.
    async fn walk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Context) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let failed = || Problem::internal("an internal error, which the log of the gateway shows");
        let turn = Arc::clone(&self.walks).acquire_owned().await.map_err(|_| failed())?;
        let context = Arc::clone(&self.context);
        // The turn goes with the work, which ends no sooner because nobody waits for it.
        let done = spawn_blocking(move || {
            let result = work(&context);
            drop(turn);
            result
        });
        done.await.map_err(|_| failed())
    }
}

/// As handlers get it: `State(control): State<Shared>`.
pub type Shared = Arc<Control>;

/// Every endpoint there is. Each part of the API has its own list beside its handlers.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = status::endpoints();
    all.extend(entries::endpoints());
    all.extend(trials::endpoints());
    all.extend(proved::endpoints());
    all.extend(streams::endpoints());
    all.extend(dialogs::endpoints());
    all.extend(configuration::endpoints());
    all.extend(audit::endpoints());
    all.extend(relations::endpoints());
    all.extend(checks::endpoints());
    all.extend(certificates::endpoints());
    all.extend(watching::endpoints());
    all.extend(openapi::endpoints_here());
    all
}

/// All endpoints behind their roles.
pub fn router(control: Shared) -> Router {
    table::router(control, endpoints())
}
