//! The XMPP side: streams in and out, and the tasks that serve them.

pub mod accept;
pub mod connect;
pub mod inbound;
pub mod outbound;
pub mod presented;
mod reach;
pub mod verify;
mod watch;
