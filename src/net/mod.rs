//! Sockets: listeners, connectors, and the one driver that moves bytes between a socket and a session.
//!
//! Nothing in here queues, judges or decides: sessions do, and they do it without IO, so that the
//! simulation runs the same sessions over streams of its own.

pub mod blocked;
mod clock;
pub mod contain;
pub(crate) mod dial;
pub mod listener;
pub mod origin;
pub mod proxied;
pub mod pump;
pub mod race;
pub mod session;
pub mod sever;
pub mod strangers;

pub use clock::now;
