//! A connection to the gateway, opened again whenever it ends, and what is to be written to it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// Before the next attempt to connect.
const AGAIN: Duration = Duration::from_millis(20);

/// Bytes on their way to a connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: RefCell<Vec<u8>>,
    wake: Notify,
}

impl Outbox {
    /// Appends what `write` writes.
    pub(super) fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes.borrow_mut());
        self.wake.notify_one();
    }

    /// Writes everything out, for ever.
    pub(super) async fn pump(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        loop {
            let bytes = self.bytes.take();
            if bytes.is_empty() {
                self.wake.notified().await;
                continue;
            }
            stream.write_all(&bytes).await?;
            stream.flush().await?;
        }
    }
}

/// Keeps a connection open: `connect` makes it, `read` reads it until it ends.
pub(super) fn keep<S, C, R>(
    outbox: Rc<Outbox>,
    connect: impl Fn() -> C + 'static,
    read: impl Fn(tokio::io::ReadHalf<S>) -> R + 'static,
) where
    S: AsyncRead + AsyncWrite + 'static,
    C: Future<Output = Result<S>>,
    R: Future<Output = Result<()>>,
{
    spawn_local(async move {
        loop {
            if let Ok(stream) = connect().await {
                let (reader, mut writer) = split(stream);
                // The gateway is killed in between: what then is missing is counted, not how it came about.
                tokio::select! {
                    _ = read(reader) => {}
                    _ = outbox.pump(&mut writer) => {}
                }
            }
            sleep(AGAIN).await;
        }
    });
}
