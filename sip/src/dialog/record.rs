//! What of a dialog outlives the process.

use compact_str::CompactString;

/// A dialog as plain data (RFC 3261 §12): enough to send and to recognise requests in it after a restart.
/// What the other side chose is kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialogRecord {
    pub call_id: CompactString,
    pub local_tag: CompactString,
    /// Empty while the other side has not chosen one; behind it further parameters of its From or To (`;epid=…`).
    pub remote_tag: CompactString,
    /// The URI of our From in requests we send.
    pub local_uri: Box<str>,
    /// The URI of our To in requests we send.
    pub remote_uri: Box<str>,
    /// The other side's Contact URI.
    pub remote_target: Box<str>,
    /// The route set in the order it is sent, each as it came.
    pub routes: Box<[Box<str>]>,
    /// `CSeq` number of our last request. It may lag behind what was sent; a restored dialog jumps ahead.
    pub local_cseq: u32,
    /// `CSeq` number of the other side's last request.
    pub remote_cseq: Option<u32>,
    /// The `id` parameter of Event.
    pub event_id: Option<CompactString>,
}
