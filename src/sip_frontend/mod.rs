//! The SIP side: connections with front ends, and the tasks that serve them.

pub mod accept;
pub mod listing;
pub mod next_hop;
pub(crate) mod old_suites;
pub mod session;
