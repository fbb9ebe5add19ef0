//! What the fuzz targets do with their input: properties that hold for any bytes. Ordinary tests include these
//! files and replay the corpus through the same functions.

pub mod negotiation;
pub mod sip;
pub mod translate;
pub mod xmpp;
