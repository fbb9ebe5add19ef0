//! What the fuzz targets do with their input: properties that hold for any bytes. Ordinary tests include these
//! files and replay the corpus through the same functions.

// The gateway itself would bring everything that it is made of.
#[path = "../../../src/net/proxied/header.rs"]
mod header;
pub mod negotiation;
pub mod proxied;
pub mod sip;
pub mod translate;
pub mod xmpp;
