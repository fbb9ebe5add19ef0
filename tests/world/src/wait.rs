//! Waiting for a condition with a deadline: nothing here waits for time to pass.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// How long a thing that must happen may take before the test fails. Generous: it is paid only by failures.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How long a server may take to start. More than for anything else: ejabberd reads its configuration for 10 s where the machine
/// has five times more to do than it has processors for, and a scenario may start several at a time.
pub const START_PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition that cannot announce itself is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Gives a future [`PATIENCE`], and says what did not happen when that was not enough.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    within_time(what, PATIENCE, future).await
}

/// As [`within`], with another patience.
pub async fn within_time<T>(what: &str, patience: Duration, future: impl Future<Output = T>) -> Result<T> {
    timeout(patience, future).await.with_context(|| format!("waited {patience:?} in vain for {what}"))
}

/// Looks at a condition until it holds.
pub async fn until<F>(what: &str, holds: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = bool>,
{
    until_time(what, PATIENCE, holds).await
}

async fn until_time<F>(what: &str, patience: Duration, mut holds: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + patience;
    while !holds().await {
        if Instant::now() >= deadline {
            bail!("waited {patience:?} in vain for {what}");
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// As [`until`], for a condition that cannot always be looked at: then it ends with the reason.
pub async fn until_ok(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await? {
        if Instant::now() >= deadline {
            bail!("waited {PATIENCE:?} in vain for {what}");
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Waits until somebody who has been started accepts TCP connections there.
pub async fn listening(who: &str, address: SocketAddr) -> Result<()> {
    until_time(&format!("{who} to listen on {address}"), START_PATIENCE, || async move {
        TcpStream::connect(address).await.is_ok()
    })
    .await
}
