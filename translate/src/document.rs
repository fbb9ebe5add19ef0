//! Small XML documents in bodies of SIP requests: typing, receipts. They go the way of all foreign XML (SEC-01, PD-10).

use nuncio_xmpp::{Document, ReadError, ReadErrorKind, ReadLimits};

/// What one of them may cost. Real ones have some hundred octets.
pub(crate) const LIMITS: ReadLimits = ReadLimits {
    stanza: 16 * 1024,
    tag: 4 * 1024,
    depth: 8,
    elements: 128,
    attributes: 16,
    name: 128,
    namespace: 512,
    declarations: 32,
};

/// Why a document is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not acceptable as XML.
    #[error("the document is not acceptable as XML: {0}")]
    Xml(#[from] ReadError),
    /// A character set other than UTF-8 and US-ASCII.
    #[error("the document is not in UTF-8")]
    Charset,
    /// A transfer encoding that cannot be undone.
    #[error("the transfer encoding of the document is broken")]
    Encoding,
    /// Another kind of XML than its media type says.
    #[error("the document has another root element than its media type says")]
    Root,
    /// Without something it cannot be understood without.
    #[error("the document has no <{0}/>")]
    Incomplete(&'static str),
}

impl DocumentError {
    /// The status of the answer to the request.
    pub fn status(&self) -> u16 {
        match self {
            Self::Xml(error) => match error.kind {
                ReadErrorKind::Encoding => 415,
                ReadErrorKind::StanzaTooBig => 413,
                _ => 400,
            },
            Self::Encoding | Self::Root | Self::Incomplete(_) => 400,
            Self::Charset => 415,
        }
    }
}

/// Reads a document. `charset` is the parameter of its Content-Type, which beats the XML declaration (RFC 7303 §3).
pub(crate) fn read<'a>(document: &'a [u8], charset: Option<&str>) -> Result<Document<'a>, DocumentError> {
    let is = |name: &str| charset.is_some_and(|charset| charset.eq_ignore_ascii_case(name));
    if charset.is_none() {
        Ok(Document::parse(document, &LIMITS)?)
    } else if is("utf-8") || is("us-ascii") && document.is_ascii() {
        Ok(Document::parse_utf8(document, &LIMITS)?)
    } else {
        Err(DocumentError::Charset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(document: &[u8], charset: Option<&str>) -> u16 {
        read(document, charset).map_or_else(|error| error.status(), |_| 200)
    }

    #[test]
    fn sec_01_the_rules_of_streams_hold_for_every_document() {
        for (document, charset, expected) in [
            ("<?xml version='1.0'?><a/>", None, 200),
            ("<a>\u{fc}</a>", Some("UTF-8"), 200),
            ("<a/>", Some("us-ascii"), 200),
            ("<a>\u{fc}</a>", Some("us-ascii"), 415),
            ("<a/>", Some("utf-16"), 415),
            ("<?xml version='1.0' encoding='utf-16'?><a/>", None, 415),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", None, 400),
            ("<a><!-- b --></a>", None, 400),
            ("<a>&b;</a>", None, 400),
            ("<a><?b?></a>", None, 400),
            ("<a>", None, 400),
            ("", None, 400),
        ] {
            assert_eq!(status(document.as_bytes(), charset), expected, "{document}");
        }
    }

    #[test]
    fn sec_04_documents_have_limits() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert_eq!(status(nested(LIMITS.depth).as_bytes(), None), 200);
        assert_eq!(status(nested(LIMITS.depth + 1).as_bytes(), None), 400);
        let long = |length: usize| format!("<a>{}</a>", "x".repeat(length - 7));
        assert_eq!(status(long(LIMITS.stanza).as_bytes(), None), 200);
        assert_eq!(status(long(LIMITS.stanza + 1).as_bytes(), None), 413);
    }
}
