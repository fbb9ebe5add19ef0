//! How much of one message is read before it is refused (SIP-14).

/// Sizes at which reading stops. A message exactly at a limit passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line and header fields with the empty line after them, in bytes.
    pub head: usize,
    /// One header field, folded lines included, without its CRLF.
    pub header: usize,
    /// Number of header fields.
    pub header_count: usize,
    /// Body, in bytes.
    pub body: usize,
}

impl Limits {
    /// 64 KiB: Lync route sets and embedded first messages reach several KiB.
    pub const HEAD: usize = 64 * 1024;
    /// 16 KiB: RTF inside `ms-im-format` passes 3 KiB.
    pub const HEADER: usize = 16 * 1024;
    /// Lync repeats `Supported` up to fifteen times and still stays below a hundred.
    pub const HEADER_COUNT: usize = 256;
    /// 256 KiB.
    pub const BODY: usize = 256 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Self::HEAD, header: Self::HEADER, header_count: Self::HEADER_COUNT, body: Self::BODY }
    }
}
