use compact_str::CompactString;

use super::element::Element;
use super::error::{ReadError, ReadErrorKind};
use super::framer::{Framer, Piece};
use super::header::{self, StreamHeader};
use super::limits::ReadLimits;
use super::scope::Scope;
use super::tree::Tree;
use super::{chars, parse};

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
///
/// ```
/// use nuncio_xmpp::{ReadLimits, StreamItem, StreamReader};
/// let mut reader = StreamReader::new(ReadLimits::BEFORE_AUTHENTICATION);
/// reader.push(b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
///               from='example.net' to='example.com' version='1.0'><presence fr");
/// let Ok(Some(StreamItem::Header(header))) = reader.next() else { panic!("a header") };
/// assert_eq!(header.from.as_deref(), Some("example.net"));
/// assert_eq!(reader.next(), Ok(None));
/// reader.push(b"om='romeo@example.net' to='juliet@example.com'/>");
/// let Ok(Some(StreamItem::Element(presence))) = reader.next() else { panic!("an element") };
/// assert_eq!(presence.attr("to"), Some("juliet@example.com"));
/// ```
#[derive(Debug)]
pub struct StreamReader {
    limits: ReadLimits,
    buffer: Vec<u8>,
    /// Octets at the start of `buffer` that are done with.
    done: usize,
    phase: Phase,
    framer: Framer,
    /// What the header declared.
    scope: Scope,
    /// The header's element name as written, which the closing tag must repeat.
    root: CompactString,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// At the very start, where an XML declaration may stand.
    Start,
    /// White space, then the header.
    Header,
    Stream,
    /// The header was an empty-element tag: the stream is closed as soon as it is open.
    Empty,
    Closed,
    Failed(ReadError),
}

/// A buffer that has been read to its end is given back when it is larger than this, so that idle streams cost little.
const KEEP: usize = 4 * 1024;

impl StreamReader {
    /// A reader waiting for a stream header.
    pub fn new(limits: ReadLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            done: 0,
            phase: Phase::Start,
            framer: Framer::for_header(),
            scope: Scope::default(),
            root: CompactString::default(),
        }
    }

    /// Adds bytes that arrived. Drain [`StreamReader::next`] before the next call: limits are enforced there, so what
    /// is buffered stays within the limit plus one push.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.phase {
            // Nothing will be read any more.
            Phase::Closed | Phase::Failed(_) => return,
            _ => {}
        }
        // Moving the remainder costs no more than reading what lies before it did.
        if self.done > 0 && self.done >= self.buffer.len() / 2 {
            self.buffer.drain(..self.done);
            self.done = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item, or `None` until more bytes arrive. White space between first-level elements is skipped. After an
    /// error the same error is returned for ever; after [`StreamItem::Close`], `None`.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: None means not yet")]
    pub fn next(&mut self) -> Result<Option<StreamItem>, ReadError> {
        let outcome = match self.phase {
            Phase::Start => self.start(),
            Phase::Header => self.header(),
            Phase::Stream => self.piece(),
            Phase::Empty => Ok(Some(StreamItem::Close)),
            Phase::Closed => return Ok(None),
            Phase::Failed(error) => return Err(error),
        };
        match &outcome {
            Ok(Some(StreamItem::Close)) => self.end(Phase::Closed),
            Ok(None) if self.buffered() == 0 => self.release(),
            Ok(_) => {}
            Err(error) => self.end(Phase::Failed(*error)),
        }
        outcome
    }

    /// Starts over for a stream restart: everything that arrived before it and was not read is discarded (S2S-18,
    /// SEC-06). Returns how many octets that were.
    pub fn reset(&mut self) -> usize {
        let discarded = self.buffered();
        *self = Self::new(self.limits);
        discarded
    }

    /// Changes the limits, from the next octet on.
    pub fn set_limits(&mut self, limits: ReadLimits) {
        self.limits = limits;
    }

    /// Octets waiting: unread, or part of something unfinished.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.done
    }

    fn start(&mut self) -> Result<Option<StreamItem>, ReadError> {
        let waiting = self.buffer.get(self.done..).unwrap_or_default();
        if waiting.is_empty() {
            return Ok(None);
        }
        match parse::declaration(waiting, parse::Encoding::Declared) {
            Ok(length) => self.done += length.unwrap_or_default(),
            Err(ReadError { kind: ReadErrorKind::Incomplete }) => return Ok(None),
            Err(error) => return Err(error),
        }
        self.phase = Phase::Header;
        self.header()
    }

    fn header(&mut self) -> Result<Option<StreamItem>, ReadError> {
        self.skip_space();
        let waiting = self.buffer.get(self.done..).unwrap_or_default();
        match waiting {
            [] => return Ok(None),
            // UTF-16 and UTF-32, with a byte order mark or without.
            [0 | 0xFE | 0xFF, ..] | [b'<', 0, ..] => return Err(ReadErrorKind::Encoding.into()),
            [b'<', ..] => {}
            // Text before the root. That goes for U+FEFF too, which is no signature on a stream (RFC 6120 section 11.6).
            _ => return Err(ReadErrorKind::Markup.into()),
        }
        match self.framer.next(waiting, &self.limits)? {
            None => Ok(None),
            Some(Piece::Header { end, empty }) => {
                let tag = waiting.get(..end).unwrap_or_default();
                let (header, root) = header::read(tag, &mut self.scope, &self.limits)?;
                self.root = root;
                self.done += end;
                self.framer = Framer::default();
                self.phase = if empty { Phase::Empty } else { Phase::Stream };
                Ok(Some(StreamItem::Header(header)))
            }
            Some(_) => Err(ReadErrorKind::EndTag.into()),
        }
    }

    fn piece(&mut self) -> Result<Option<StreamItem>, ReadError> {
        self.skip_space();
        let waiting = self.buffer.get(self.done..).unwrap_or_default();
        match waiting.first() {
            None => return Ok(None),
            Some(b'<') => {}
            Some(_) => return Err(ReadErrorKind::StrayContent.into()),
        }
        let (end, item) = match self.framer.next(waiting, &self.limits)? {
            None => return Ok(None),
            Some(Piece::Element { end }) => {
                let bytes = waiting.get(..end).unwrap_or_default();
                let mut tree = Tree::default();
                parse::element(bytes, &mut self.scope, &self.limits, &mut tree)?;
                (end, StreamItem::Element(tree.finish()?))
            }
            Some(Piece::Close { end } | Piece::Header { end, .. }) => {
                header::check_close(waiting.get(..end).unwrap_or_default(), &self.root)?;
                (end, StreamItem::Close)
            }
        };
        self.done += end;
        Ok(Some(item))
    }

    fn skip_space(&mut self) {
        let waiting = self.buffer.get(self.done..).unwrap_or_default();
        self.done += waiting.iter().take_while(|&&byte| chars::is_space(byte)).count();
    }

    fn end(&mut self, phase: Phase) {
        self.phase = phase;
        self.buffer = Vec::new();
        self.done = 0;
    }

    fn release(&mut self) {
        self.done = 0;
        if self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
    }
}
