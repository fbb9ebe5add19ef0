//! The real program over loopback, with TLS on both sides and peers of our own.
//!
//! What needs real servers is in the closed world (`tests/world`); here are the peers that mean no good, and the process
//! itself. Every test has addresses of its own in 127.0.0.0/8.

mod at_once;
mod both_ways;
mod caller;
mod dns;
#[cfg(feature = "openssl-legacy")]
mod openssl;
mod town;

mod certificates;
mod commands;
mod control;
mod control_access;
mod control_apply;
mod control_changes;
mod control_files;
mod control_hangs;
mod control_names;
mod control_roles;
mod control_set_aside;
mod control_told;
mod control_trials;
mod control_users;
mod correlation;
mod dialback;
mod direct_tls;
mod front_ends;
mod hostile;
mod lifetime;
mod limits;
mod load_balancers;
mod memory;
mod network;
#[cfg(feature = "openssl-legacy")]
mod old_suites;
mod privacy;
mod reach;
mod renewal;
mod schemathesis;
mod service;
mod sharing;
mod store;
mod under_load;
