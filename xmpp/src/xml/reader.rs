use super::element::Element;
use super::error::ReadError;
use super::header::StreamHeader;
use super::limits::ReadLimits;

/// What a stream consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// The opening tag.
    Header(StreamHeader),
    /// A complete first-level element.
    Element(Element),
    /// The closing tag. Nothing comes after it.
    Close,
}

/// Reads one direction of a stream.
#[derive(Debug)]
pub struct StreamReader {
    limits: ReadLimits,
    buffer: Vec<u8>,
}

impl StreamReader {
    /// A reader waiting for a stream header.
    pub fn new(limits: ReadLimits) -> Self {
        Self { limits, buffer: Vec::new() }
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, or `None` until more bytes arrive. White space between first-level elements is skipped. After an
    /// error the same error is returned for ever; after [`StreamItem::Close`], `None`.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None means not yet")]
    pub fn next(&mut self) -> Result<Option<StreamItem>, ReadError> {
        Ok(None)
    }

    /// Starts over for a stream restart: everything that arrived before it and was not read is discarded (S2S-18,
    /// SEC-06). Returns how many octets that were.
    pub fn reset(&mut self) -> usize {
        let discarded = self.buffer.len();
        self.buffer.clear();
        discarded
    }

    /// Changes the limits from the next first-level element on.
    pub fn set_limits(&mut self, limits: ReadLimits) {
        self.limits = limits;
    }

    /// Octets waiting: unread, or part of an unfinished element.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}
