//! Sockets: listeners, connectors, and the one driver that moves bytes between a socket and a session.
//!
//! Nothing in here queues, judges or decides: sessions do, and they do it without IO, so that the
//! simulation runs the same sessions over streams of its own.

pub mod contain;
pub mod listener;
pub mod origin;
pub mod pump;
pub mod race;
pub mod session;
pub mod sever;
pub mod strangers;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nuncio_translate::Moment;

/// Reads both clocks.
pub fn now() -> Moment {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { instant: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
}
