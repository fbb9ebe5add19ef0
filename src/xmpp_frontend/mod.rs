//! The XMPP side: streams in and out, and the tasks that serve them.

pub mod accept;
mod carrier;
pub mod connect;
pub(crate) mod errand;
mod expiry;
mod guests;
pub mod inbound;
mod intake;
mod life;
pub mod outbound;
pub mod presented;
mod reach;
pub mod verify;
mod watch;
mod way_back;
