//! The program: everything that touches the world. What it knows of SIP, XMPP and the translation between
//! them lives in the crates `nuncio-sip`, `nuncio-xmpp` and `nuncio-translate`, which know no socket.

pub mod cli;
pub mod config;
pub mod dns;
pub mod gateway;
pub mod net;
mod run;
pub mod tls;

pub use run::run;
