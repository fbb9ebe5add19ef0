//! The closed world: everything around the gateway, real, on one machine, cut off from every network.
//!
//! A program that uses this crate starts itself again inside namespaces of its own ([`sandbox`]): a network with
//! nothing but loopback, its own mounts, its own process tree. In there a [`World`] brings up DNS ([`dns`]), a
//! certificate authority ([`pki`]), ejabberd and Prosody ([`xmpp_server`]), SIPp behind stunnel ([`sipp`], [`stunnel`]),
//! Kamailio ([`kamailio`]) and the gateway itself ([`gateway`]). Whatever the servers cannot be made to do is done by peers of our own: an XMPP
//! client ([`xmpp_client`]), an XMPP server that says any bytes ([`xmpp_peer`]), a SIP agent with any certificate
//! ([`sip_agent`]). They parse with code of their own ([`xml`], [`sip_text`]), so that they cannot share a mistake with
//! the code under test.
//!
//! The world's process is process 1 of its namespace. When it ends, however it ends, the kernel ends all the others.

pub mod dns;
pub mod documents;
mod ejabberd;
pub mod front_end;
pub mod gateway;
pub mod kamailio;
pub mod network;
pub mod pidf;
pub mod pki;
pub mod process;
pub mod promtool;
mod prosody;
pub mod runner;
pub mod sandbox;
pub mod screen;
pub mod sip_agent;
pub mod sip_text;
pub mod sipp;
pub mod status;
pub mod stunnel;
pub mod template;
pub mod tls;
pub mod wait;
pub mod witness;
pub mod world;
pub mod xml;
pub mod xmpp_client;
pub mod xmpp_peer;
pub mod xmpp_presence;
pub mod xmpp_server;

pub use wait::{PATIENCE, within};
pub use world::World;
