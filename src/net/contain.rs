//! Work that may fail by a panic without taking more with it than itself.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use tracing::error;

use crate::gateway::Counter;

/// A panic ended the work; it has been logged and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// What a failure by panic is called where its cause is shown to others.
pub const INTERNAL_ERROR: &str = "the gateway met an internal error; see its log";

/// Runs `work` to its end, or to its panic. Whoever calls this repairs what the work shares with others.
///
/// # Errors
/// It panicked.
pub async fn contained<T>(
    what: &str,
    panics: &Counter,
    work: impl Future<Output = T>,
) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|_| report(what, panics))
}

/// The same for work that does not wait.
///
/// # Errors
/// It panicked.
pub fn contained_now<T>(what: &str, panics: &Counter, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| report(what, panics))
}

fn report(what: &str, panics: &Counter) -> Panicked {
    panics.add(1);
    error!("an internal error ended {what} (see the panic above)");
    Panicked
}
