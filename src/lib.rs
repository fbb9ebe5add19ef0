//! The program: everything that touches the world. What it knows of SIP, XMPP and the translation between
//! them lives in the crates `nuncio-sip`, `nuncio-xmpp` and `nuncio-translate`, which know no socket.

#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod certs;
pub mod checks;
pub mod cli;
pub mod config;
mod context;
pub mod control;
pub mod dns;
pub mod gateway;
pub mod health;
pub mod import;
pub mod log_level;
pub mod log_limit;
pub mod metrics;
pub mod net;
pub mod policy;
pub mod renew;
mod run;
pub mod service;
pub mod sip_frontend;
pub mod store;
pub mod tls;
pub mod xmpp_frontend;

pub use run::run;
