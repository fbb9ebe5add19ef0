//! What all presence documents have in common: how they are read as XML, what they may cost, and why one is refused.

use nuncio_xmpp::{Document, ReadErrorKind, ReadLimits};

use super::model::Presentity;

/// What one document may cost. Real ones have from some hundred octets to a few thousand; 32 tuples with eight long notes
/// fit.
pub const LIMITS: ReadLimits = ReadLimits {
    stanza: 256 * 1024,
    tag: 8 * 1024,
    depth: 16,
    elements: 1024,
    attributes: 32,
    name: 128,
    namespace: 512,
    declarations: 64,
};

/// What reading depends on beside the document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The `charset` parameter of Content-Type, which beats the XML declaration (PD-01).
    pub charset: Option<&'a str>,
    /// Content-Language: of notes that name none (PM-06).
    pub language: Option<&'a str>,
    /// Whether idle times are taken in at all (PM-26).
    pub idle: bool,
    /// Milliseconds of Unix time: decides what holds now (PD-08).
    pub now_ms: u64,
    /// What earlier documents said. Categories come one by one, and what a document does not mention stays as it was.
    pub known: Option<&'a Presentity>,
}

/// Why a document is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not acceptable as XML.
    #[error("the document is not acceptable as XML: {0}")]
    Xml(#[from] nuncio_xmpp::ReadError),
    /// A character set other than UTF-8 and US-ASCII.
    #[error("the document is not in UTF-8")]
    Charset,
    /// Another kind of XML.
    #[error("the document is no {format}: its root is not <{name}/> of {ns}")]
    Root {
        /// What it was said to be.
        format: &'static str,
        /// The root element that such documents have.
        name: &'static str,
        /// Its namespace.
        ns: &'static str,
    },
    /// More tuples than [`MAX_TUPLES`](super::MAX_TUPLES).
    #[error("the document has more than {} tuples", super::MAX_TUPLES)]
    TooManyTuples,
}

impl DocumentError {
    /// The status of the answer to the NOTIFY.
    pub fn status(&self) -> u16 {
        match self {
            Self::Xml(error) => match error.kind {
                ReadErrorKind::Encoding => 415,
                ReadErrorKind::StanzaTooBig => 413,
                _ => 400,
            },
            Self::Root { .. } => 400,
            Self::Charset => 415,
            Self::TooManyTuples => 413,
        }
    }
}

/// What tells a document from the one before it, for the watchers of one contact: two of them never have the same time or
/// the same version.
///
/// Readers keep versions in 32 bits, where seconds of Unix time have room until 2106, and milliseconds have none: a version is
/// the second of the document, or one more than that of the document before. Every pair has a stamp, so it is one number:
/// milliseconds above, below them how far the version is ahead of their second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp(u64);

/// Bits of a stamp for how far its version is ahead: that of twelve days with one more document than seconds, in each of them.
const AHEAD: u32 = 20;

impl Stamp {
    /// Of a document that has none before it, made at this time in milliseconds of Unix time. Its version is above those of
    /// an earlier process, unless that was ahead of the clock when it ended: it wrote more than one in its last seconds.
    pub fn at(unix_ms: u64) -> Self {
        Self::default().next(unix_ms)
    }

    /// Of the next document: now, and its second for the version, but never the same or an earlier one than of this (PD-05).
    #[must_use]
    pub fn next(self, now_ms: u64) -> Self {
        let unix_ms = now_ms.max(self.unix_ms().saturating_add(1)).min(u64::MAX >> AHEAD);
        let ahead = (self.seconds() + 1).saturating_sub(unix_ms / 1000);
        Self(unix_ms << AHEAD | ahead.min((1 << AHEAD) - 1))
    }

    /// Milliseconds of Unix time.
    pub fn unix_ms(self) -> u64 {
        self.0 >> AHEAD
    }

    /// The number of the document.
    pub fn version(self) -> u32 {
        u32::try_from(self.seconds()).unwrap_or(u32::MAX)
    }

    fn seconds(self) -> u64 {
        self.unix_ms() / 1000 + (self.0 & ((1 << AHEAD) - 1))
    }
}

/// The one way by which documents become XML (PD-10).
pub(super) fn parse<'a>(document: &'a [u8], context: &Context<'_>) -> Result<Document<'a>, DocumentError> {
    Ok(match context.charset {
        None => Document::parse(document, &LIMITS)?,
        Some(charset) if is_utf8(charset) => Document::parse_utf8(document, &LIMITS)?,
        Some(charset) if charset.eq_ignore_ascii_case("us-ascii") && document.is_ascii() => {
            Document::parse_utf8(document, &LIMITS)?
        }
        Some(_) => return Err(DocumentError::Charset),
    })
}

fn is_utf8(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}
