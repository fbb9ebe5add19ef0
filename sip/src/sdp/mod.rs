//! The little SDP (RFC 4566, RFC 3264) that sessions of instant messages by MESSAGE need: an offer is read as far as
//! its media, everything but the one stream of messages is refused with port 0, answers and offers name what is read.
//!
//! Addresses and ports mean nothing: messages go inside the dialog.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{AcceptTypes, Media, Offer, SdpError, Unacceptable};
pub use write::{Description, Origin};

/// The media type of a description.
pub const MEDIA_TYPE: &str = "application/sdp";
/// A description above this size, in bytes, is not read.
pub const MAX_SIZE: usize = 16 * 1024;
/// A description with more lines is not read.
pub const MAX_LINES: usize = 512;
/// A description with more media is not read: each of them comes back in the answer.
pub const MAX_MEDIA: usize = 32;
