use nuncio_sip::ContentType;
use nuncio_sip::event::EventConfig;

use super::document::{Context, DocumentError, Stamp};
use super::model::Presentity;
use super::{categories, msrtc, pidf, xpidf};
use crate::address::Contact;

/// The formats of presence documents that we read and write. All of one model; each has its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// `application/msrtc-event-categories+xml`.
    Categories,
    /// `text/xml+msrtc.pidf`.
    Msrtc,
    /// `application/pidf+xml` (RFC 3863) with data model and RPID.
    #[default]
    Pidf,
    /// `application/xpidf+xml`.
    Xpidf,
}

impl Format {
    /// Most wanted first, both as what we ask for and as what we tell whoever takes several (PR-43): only categories know
    /// notes and "do not disturb", and front ends choose in this order, too.
    pub const ALL: [Self; 4] = [Self::Categories, Self::Msrtc, Self::Pidf, Self::Xpidf];

    /// `type/subtype`, as a Content-Type without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Categories => "application/msrtc-event-categories+xml",
            Self::Msrtc => "text/xml+msrtc.pidf",
            Self::Pidf => "application/pidf+xml",
            Self::Xpidf => "application/xpidf+xml",
        }
    }

    /// The format of a document that came in; `None`: 415.
    pub fn of(content_type: &ContentType<'_>) -> Option<Self> {
        Self::ALL.into_iter().find(|format| {
            format.media_type().split_once('/').is_some_and(|(main, sub)| content_type.is(main, sub))
        })
    }

    /// The format of this media type; what is none of ours is PIDF, which everybody reads (RFC 3856 §6.7).
    pub fn named(media_type: &str) -> Self {
        Self::ALL.into_iter().find(|format| format.media_type() == media_type).unwrap_or_default()
    }

    /// The settings of our subscriptions, with all formats in both roles.
    pub fn subscriptions(sent_by: impl Into<String>, contact_host: impl Into<String>) -> EventConfig {
        let media: Vec<_> = Self::ALL.into_iter().map(Self::media_type).collect();
        EventConfig {
            reads: media.clone(),
            writes: media,
            default_media: Self::default().media_type(),
            ..EventConfig::presence(sent_by, contact_host)
        }
    }

    /// Reads a document of this format. `None`: it says nothing of whether the user can be reached, and nothing is known
    /// of that; see [`categories::read`].
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(self, document: &[u8], context: Context<'_>) -> Result<Option<Presentity>, DocumentError> {
        match self {
            Self::Categories => categories::read(document, context),
            Self::Msrtc => msrtc::read(document, context).map(Some),
            Self::Pidf => pidf::read(document, context).map(Some),
            Self::Xpidf => xpidf::read(document, context).map(Some),
        }
    }

    /// Appends a document of this format.
    pub fn write(self, contact: &Contact, state: &Presentity, stamp: Stamp, out: &mut Vec<u8>) {
        match self {
            Self::Categories => categories::write(contact, state, stamp, out),
            Self::Msrtc => msrtc::write(contact, state, out),
            Self::Pidf => pidf::write(contact, state, stamp, out),
            Self::Xpidf => xpidf::write(contact, state, out),
        }
    }

    /// The language of all notes in such a document, if they are of one: for `Content-Language` (PM-06).
    pub fn language(self, state: &Presentity) -> Option<&str> {
        match self {
            Self::Categories | Self::Msrtc => state.whole().note?.lang.as_deref(),
            Self::Pidf => state.language(),
            Self::Xpidf => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_media_type() {
        for format in Format::ALL {
            let with_parameter = format!("{}; charset=utf-8", format.media_type().to_uppercase());
            assert_eq!(Format::of(&ContentType::parse(&with_parameter).unwrap()), Some(format));
            assert_eq!(Format::named(format.media_type()), format);
        }
        assert_eq!(Format::of(&ContentType::parse("application/xml").unwrap()), None);
        assert_eq!(Format::named("application/xml"), Format::Pidf);
    }

    #[test]
    fn pr_43_we_ask_for_categories_first() {
        let config = Format::subscriptions("gw.example", "gw.example");
        assert_eq!(
            config.reads.join(", "),
            "application/msrtc-event-categories+xml, text/xml+msrtc.pidf, application/pidf+xml, application/xpidf+xml"
        );
        assert_eq!(config.default_media, "application/pidf+xml");
    }
}
