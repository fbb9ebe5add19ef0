use nuncio_sip::{CommaList, ContentType};

use super::model::Presentity;
use super::pidf::{self, PidfError};
use crate::address::Contact;

/// The formats of presence documents that we read and write. All of one model; each has its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// `application/pidf+xml` (RFC 3863) with data model and RPID.
    #[default]
    Pidf,
}

/// The watcher takes none of our formats: 406 to its SUBSCRIBE (PR-43).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the document types in Accept can be produced")]
pub struct FormatError;

impl Format {
    /// For `Accept` of our SUBSCRIBEs and of 406 and 415.
    pub const ACCEPT: &'static str = "application/pidf+xml";

    /// `type/subtype`, as a Content-Type without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pidf => "application/pidf+xml",
        }
    }

    /// The format of a document that came in; `None`: 415.
    pub fn of(content_type: &ContentType<'_>) -> Option<Self> {
        content_type.is("application", "pidf+xml").then_some(Self::Pidf)
    }

    /// Reads a document of this format.
    ///
    /// # Errors
    /// [`PidfError`].
    pub fn read(self, document: &[u8], context: pidf::Context<'_>) -> Result<Presentity, PidfError> {
        match self {
            Self::Pidf => pidf::read(document, context),
        }
    }

    /// Appends a document of this format; see [`pidf::write`].
    pub fn write(self, contact: &Contact, state: &Presentity, stamp_ms: u64, out: &mut Vec<u8>) {
        match self {
            Self::Pidf => pidf::write(contact, state, stamp_ms, out),
        }
    }

    /// The best format a watcher takes. `accept`: all values of the Accept field, joined by commas; `None` without the
    /// field, which means PIDF (RFC 3856 §6.5).
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn choose(accept: Option<&str>) -> Result<Self, FormatError> {
        let Some(accept) = accept else { return Ok(Self::default()) };
        let best = Self::ALL.iter().map(|format| (format.quality(accept), *format)).filter(|(q, _)| *q > 0);
        // The earlier of equals; `max_by_key` takes the later.
        best.rev().max_by_key(|(quality, _)| *quality).map(|(_, format)| format).ok_or(FormatError)
    }

    /// Most wanted first where the watcher does not care.
    const ALL: &'static [Self] = &[Self::Pidf];

    /// How much the watcher wants it, in thousandths; what names it most exactly counts (RFC 3261 §20.1, RFC 7231 §5.3.2).
    fn quality(self, accept: &str) -> u16 {
        let (main, sub) = self.media_type().split_once('/').unwrap_or_default();
        let mut best = (0, 0);
        for range in CommaList::new(accept).filter_map(|range| ContentType::parse(range).ok()) {
            let exactness = match (range.main, range.sub) {
                _ if range.is(main, sub) => 3,
                (any_main, "*") if any_main.eq_ignore_ascii_case(main) => 2,
                ("*", "*") => 1,
                _ => continue,
            };
            if exactness > best.0 {
                best = (exactness, range.param("q").map_or(1000, |q| thousandths(&q)));
            }
        }
        best.1
    }
}

/// A `qvalue`; one that is none counts as 1, since the type itself was named.
fn thousandths(q: &str) -> u16 {
    let (whole, decimals) = q.split_once('.').unwrap_or((q, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return 1000;
    }
    let digits = decimals.bytes().map(|byte| u16::from(byte - b'0')).chain(std::iter::repeat(0));
    match whole {
        "0" => digits.take(3).fold(0, |sum, digit| sum * 10 + digit),
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pr_43_without_accept_it_is_pidf() {
        assert_eq!(Format::choose(None), Ok(Format::Pidf));
    }

    #[test]
    fn pr_43_pidf_is_found_however_it_is_asked_for() {
        for accept in [
            "application/pidf+xml",
            "Application/PIDF+XML",
            "application/foo, application/pidf+xml;q=0.1",
            "text/xml+msrtc.pidf, application/rlmi+xml,application/pidf+xml",
            "*/*",
            "application/*;q=0.5",
            "application/pidf+xml;q=bad",
            ";;, application/pidf+xml",
        ] {
            assert_eq!(Format::choose(Some(accept)), Ok(Format::Pidf), "{accept}");
        }
    }

    #[test]
    fn pr_43_what_we_cannot_produce_is_refused() {
        for accept in [
            "",
            "application/foo",
            "application/pidf+xml;q=0",
            "application/pidf+xml;q=0.000, */*",
            "application/*;q=0, */*",
            "text/*",
            "application/pidf",
        ] {
            assert_eq!(Format::choose(Some(accept)), Err(FormatError), "{accept}");
        }
    }
}
