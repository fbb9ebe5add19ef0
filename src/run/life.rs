//! Signs of life for the service manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tracing::error;

use crate::context::Context;
use crate::service::Notifier;

/// Tells the service manager that the gateway lives, as long as its timers do: each time they have to have been looked after
/// since the last. Deadlines that nobody keeps any more are messages that nobody is told of.
pub(super) async fn show(
    context: Arc<Context>,
    notifier: Arc<Notifier>,
    beats: Arc<AtomicU64>,
    every: Duration,
) {
    let wake = context.gateway.timer_wake();
    let mut seen = beats.load(Ordering::Relaxed);
    loop {
        wake.notify_one();
        sleep(every).await;
        let now = beats.load(Ordering::Relaxed);
        if now == seen {
            error!(
                "the gateway's timers have stood still for {every:?}; the service manager is not told that it lives"
            );
        } else {
            notifier.alive();
        }
        seen = now;
    }
}
